//! Ranges of sizes, for the `length` and `tcpmss` matches, and of other numbers.

use std::fmt;
use std::ops::RangeInclusive;

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

/// Numbers from `first` to `last`, both included; `first <= last`. Of seconds, what is left of a connection's life
/// rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct NumberRange {
    first: u32,
    last: u32,
}

/// The first number is above the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first}:{last} is no range of numbers (min > max)")]
pub struct NumberRangeError {
    first: u32,
    last: u32,
}

impl NumberRange {
    /// Numbers `first..=last`.
    ///
    /// # Errors
    /// If `first > last`, which iptables refuses since 1.8.11.
    pub fn new(first: u32, last: u32) -> Result<Self, NumberRangeError> {
        if first > last { Err(NumberRangeError { first, last }) } else { Ok(Self { first, last }) }
    }

    /// The numbers.
    pub fn range(self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    /// Whether it is a single number.
    pub fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Whether every number is inside.
    pub fn is_all(self) -> bool {
        self.range() == (0..=u32::MAX)
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}:{}", self.first, self.last)
    }
}

impl TryFrom<(u32, u32)> for NumberRange {
    type Error = NumberRangeError;

    fn try_from((first, last): (u32, u32)) -> Result<Self, Self::Error> {
        Self::new(first, last)
    }
}

impl From<NumberRange> for (u32, u32) {
    fn from(range: NumberRange) -> Self {
        (range.first, range.last)
    }
}
