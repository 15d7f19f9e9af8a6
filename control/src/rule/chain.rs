//! Names of chains.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Table;

/// The longest chain name in bytes (XT_EXTENSION_MAXNAMELEN less the final zero).
pub const CHAIN_CHARS_MAX: usize = 28;

/// A chain's name, 1 to [`CHAIN_CHARS_MAX`] bytes, without blanks, control characters and double
/// quotes: a saved rule set could not be read again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChainName(String);

/// A name that no chain can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "chain name `{0}' must have 1 to {CHAIN_CHARS_MAX} characters, and no blanks, control characters or double quotes"
)]
pub struct ChainNameError(String);

impl ChainName {
    /// The chain for packets that pass through this machine.
    pub fn forward() -> Self {
        Self("FORWARD".to_owned())
    }

    /// The chain for packets to this machine itself.
    pub fn input() -> Self {
        Self("INPUT".to_owned())
    }

    /// The chain for packets that this machine itself sends.
    pub fn output() -> Self {
        Self("OUTPUT".to_owned())
    }

    /// The chain for packets as they come, before they are tracked and have a way.
    pub fn prerouting() -> Self {
        Self("PREROUTING".to_owned())
    }

    /// Whether the table has the chain in every kernel.
    pub fn is_built_in(&self, table: Table) -> bool {
        table.built_in().contains(&self.as_str())
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether no user-defined chain of the table may have the name: it is that of a chain that it has in every
    /// kernel, or that of a verdict.
    pub fn is_reserved(&self, table: Table) -> bool {
        self.is_built_in(table) || ["ACCEPT", "DROP", "QUEUE", "RETURN"].contains(&self.as_str())
    }
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ChainName {
    type Err = ChainNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ChainName {
    type Error = ChainNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || c == '"';
        if text.is_empty() || text.len() > CHAIN_CHARS_MAX || text.contains(odd) {
            return Err(ChainNameError(text));
        }
        Ok(Self(text))
    }
}

impl From<ChainName> for String {
    fn from(name: ChainName) -> Self {
        name.0
    }
}
