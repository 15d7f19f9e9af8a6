//! Interface names in rules, with the `+` wildcard.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest interface name in bytes: the kernel's IFNAMSIZ less its final zero.
pub const INTERFACE_CHARS_MAX: usize = 15;

/// An interface name, or every name that begins alike: `eth+` matches `eth`, `eth0`, `eth10`;
/// `+` alone matches all. A `+` that is not the last character is an ordinary one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfacePattern(String);

/// Why a text is no [`InterfacePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InterfaceError {
    /// Nothing given.
    #[error("Empty interface is likely to be undesired")]
    Empty,
    /// More than [`INTERFACE_CHARS_MAX`] bytes.
    #[error("interface name `{0}' must be shorter than IFNAMSIZ ({INTERFACE_CHARS_MAX})")]
    TooLong(String),
    /// A newline, say: a saved rule set could not be read again.
    #[error("interface name `{0}' has a control character, which no interface's name has")]
    Control(String),
}

impl InterfacePattern {
    /// As written, with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the name must begin with if this ends in `+`, else `None`.
    pub fn prefix(&self) -> Option<&str> {
        self.0.strip_suffix('+')
    }

    /// Whether `name` is matched.
    pub fn matches(&self, name: &str) -> bool {
        match self.prefix() {
            Some(prefix) => name.starts_with(prefix),
            None => name == self.0,
        }
    }

    /// Whether every name is matched (`+`). A parsed [`super::Rule`] has such a pattern only
    /// negated, where it matches nothing.
    pub fn is_any(&self) -> bool {
        self.0 == "+"
    }

    /// Whether the kernel could give a device this name; iptables warns about `/` and blanks
    /// and then accepts them.
    pub fn has_weird_character(&self) -> bool {
        self.0.contains(|character: char| character == '/' || character.is_ascii_whitespace())
    }
}

impl fmt::Display for InterfacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for InterfacePattern {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InterfaceError::Empty);
        }
        if text.len() > INTERFACE_CHARS_MAX {
            return Err(InterfaceError::TooLong(text.to_owned()));
        }
        if text.contains(char::is_control) {
            return Err(InterfaceError::Control(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for InterfacePattern {
    type Error = InterfaceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InterfacePattern> for String {
    fn from(pattern: InterfacePattern) -> Self {
        pattern.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plus_is_a_wildcard_only_at_the_end() {
        let matched = |pattern: &str, name: &str| {
            pattern.parse::<InterfacePattern>().map(|pattern| pattern.matches(name))
        };
        assert_eq!(matched("eth+", "eth0"), Ok(true));
        assert_eq!(matched("eth+", "eth"), Ok(true));
        assert_eq!(matched("eth+", "et"), Ok(false));
        assert_eq!(matched("+", "lo"), Ok(true));
        assert_eq!(matched("a+b", "a+b"), Ok(true));
        assert_eq!(matched("a+b", "axb"), Ok(false));
        assert_eq!(matched("eth0", "eth01"), Ok(false));
        assert_eq!(matched("++", "+x"), Ok(true));
    }

    #[test]
    fn length_is_bounded() {
        assert!("abcdefghijklmno".parse::<InterfacePattern>().is_ok());
        assert!("abcdefghijklmn+".parse::<InterfacePattern>().is_ok());
        assert_eq!(
            "abcdefghijklmno+".parse::<InterfacePattern>(),
            Err(InterfaceError::TooLong("abcdefghijklmno+".into()))
        );
        assert_eq!("".parse::<InterfacePattern>(), Err(InterfaceError::Empty));
    }
}
