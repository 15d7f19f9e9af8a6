//! Ranges of sizes, for the `length` and `tcpmss` matches.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes from `first` to `last`, both included; `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct SizeRange {
    first: u16,
    last: u16,
}

/// The first size is above the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first}:{last} is no range of sizes (min > max)")]
pub struct SizeRangeError {
    first: u16,
    last: u16,
}

impl SizeRange {
    /// Sizes `first..=last`.
    ///
    /// # Errors
    /// If `first > last`, which iptables refuses since 1.8.11.
    pub fn new(first: u16, last: u16) -> Result<Self, SizeRangeError> {
        if first > last { Err(SizeRangeError { first, last }) } else { Ok(Self { first, last }) }
    }

    /// Whether `size` is inside.
    pub fn contains(self, size: u16) -> bool {
        self.first <= size && size <= self.last
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}:{}", self.first, self.last)
    }
}

impl TryFrom<(u16, u16)> for SizeRange {
    type Error = SizeRangeError;

    fn try_from((first, last): (u16, u16)) -> Result<Self, Self::Error> {
        Self::new(first, last)
    }
}

impl From<SizeRange> for (u16, u16) {
    fn from(range: SizeRange) -> Self {
        (range.first, range.last)
    }
}
