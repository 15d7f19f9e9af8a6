//! What the `dscp` match looks at (net/netfilter/xt_dscp.c).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, SavedWords, negation};

/// A codepoint of differentiated services (RFC 2474, section 3), 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Dscp(u8);

/// A number above [`Dscp::MAX`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no codepoint of six bits")]
pub struct DscpError(u8);

impl Dscp {
    /// The largest codepoint: there are six bits for it.
    pub const MAX: u8 = 0x3f;

    /// The classes by their names, in the order in which iptables looks for them.
    pub(crate) const CLASSES: [(&'static str, Self); 22] = [
        ("CS0", Self(0x00)),
        ("CS1", Self(0x08)),
        ("CS2", Self(0x10)),
        ("CS3", Self(0x18)),
        ("CS4", Self(0x20)),
        ("CS5", Self(0x28)),
        ("CS6", Self(0x30)),
        ("CS7", Self(0x38)),
        ("BE", Self(0x00)),
        ("AF11", Self(0x0a)),
        ("AF12", Self(0x0c)),
        ("AF13", Self(0x0e)),
        ("AF21", Self(0x12)),
        ("AF22", Self(0x14)),
        ("AF23", Self(0x16)),
        ("AF31", Self(0x1a)),
        ("AF32", Self(0x1c)),
        ("AF33", Self(0x1e)),
        ("AF41", Self(0x22)),
        ("AF42", Self(0x24)),
        ("AF43", Self(0x26)),
        ("EF", Self(0x2e)),
    ];

    /// The codepoint of this number.
    ///
    /// # Errors
    /// If it is above [`Self::MAX`].
    pub fn new(number: u8) -> Result<Self, DscpError> {
        if number > Self::MAX { Err(DscpError(number)) } else { Ok(Self(number)) }
    }

    /// Whether the second byte of an IPv4 header, this one, carries it.
    pub fn is_in(self, tos: u8) -> bool {
        tos >> 2 == self.0
    }
}

impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}", self.0)
    }
}

impl TryFrom<u8> for Dscp {
    type Error = DscpError;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}

impl From<Dscp> for u8 {
    fn from(dscp: Dscp) -> Self {
        dscp.0
    }
}

/// The `dscp` match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DscpMatch {
    /// `--dscp`, `--dscp-class`
    pub dscp: Negatable<Dscp>,
}

impl Extension for DscpMatch {
    fn name(&self) -> &'static str {
        "dscp"
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--dscp", &self.dscp);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.dscp;
        line.push(format_args!(" DSCP match {}{value}", negation(negated)));
    }
}
