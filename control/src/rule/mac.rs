//! What the `mac` match looks at (net/netfilter/xt_mac.c).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, SavedWords};

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

/// A text that is no [`MacAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}' is no Ethernet address")]
pub struct MacAddressError(String);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    /// Six hexadecimal numbers of at most two characters, with iptables' freedoms: one may be
    /// empty, which is 0, and have a sign or a blank in front.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let Some(read) = parts.next().and_then(parse_byte) else {
                return Err(MacAddressError(text));
            };
            *byte = read;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(MacAddressError(text)),
        }
    }
}

fn parse_byte(text: &str) -> Option<u8> {
    if text.is_empty() || text.len() > 2 {
        return text.is_empty().then_some(0);
    }
    let digits = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let (digits, negative) = match digits.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (digits.strip_prefix('+').unwrap_or(digits), false),
    };
    // `from_str_radix` would take a second sign.
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(if negative { byte.wrapping_neg() } else { byte })
}

impl From<MacAddress> for String {
    fn from(address: MacAddress) -> Self {
        address.to_string()
    }
}

/// The `mac` match: the frame's source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MacMatch {
    /// `--mac-source`
    pub source: Negatable<MacAddress>,
}

impl Extension for MacMatch {
    fn name(&self) -> &'static str {
        "mac"
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--mac-source", &self.source);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.source;
        line.push(format_args!(" MAC {}{value}", if negated { "! " } else { "" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_like_iptables() {
        let read = |text: &str| MacAddress::try_from(text.to_owned()).map(|mac| mac.to_string());
        // From `iptables -A … -m mac --mac-source …`.
        for (text, printed) in [
            ("00:11:22:aA:Ff:0", "00:11:22:aa:ff:00"),
            (":::::", "00:00:00:00:00:00"),
            ("-1:+a:f:F0:00:1", "ff:0a:0f:f0:00:01"),
        ] {
            assert_eq!(read(text), Ok(printed.to_owned()));
        }
        for text in ["", "0:1:2:3:4", "0:1:2:3:4:5:", "0:1:2:3:4:100", "0:1:2:3:4:g", "-:::::"] {
            assert_eq!(read(text), Err(MacAddressError(text.to_owned())));
        }
    }
}
