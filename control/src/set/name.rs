//! Names of sets.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name in bytes (`IPSET_MAXNAMELEN` less the final zero).
pub const SET_NAME_BYTES_MAX: usize = 31;

/// A set's name, 1 to [`SET_NAME_BYTES_MAX`] bytes, without blanks, control characters, commas and
/// double quotes: a saved set could not be read again. ipset takes them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(String);

/// A name that no set can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetNameError {
    /// In the words of ipset.
    #[error("Syntax error: setname '{0}' is longer than {SET_NAME_BYTES_MAX} characters")]
    TooLong(String),
    /// Which ipset would take.
    #[error(
        "setname '{0}' must not be empty, nor have blanks, commas, control characters or double quotes: a saved set could not be read again"
    )]
    Odd(String),
}

impl SetName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SetName {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for SetName {
    type Error = SetNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > SET_NAME_BYTES_MAX {
            return Err(SetNameError::TooLong(text));
        }
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | ',');
        if text.is_empty() || text.contains(odd) {
            return Err(SetNameError::Odd(text));
        }
        Ok(Self(text))
    }
}

impl From<SetName> for String {
    fn from(name: SetName) -> Self {
        name.0
    }
}
