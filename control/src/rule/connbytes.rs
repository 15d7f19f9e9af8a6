//! What the `connbytes` match looks at: what a flow's packets have come to (net/netfilter/xt_connbytes.c).
//!
//! A packet that belongs to no flow meets no such condition, negated or not. The packet itself is counted already.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Extension, InvalidRule, ListedLine, Negatable, SavedWords};

/// Counts from `first` to `last`, both included; `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u64, u64)", into = "(u64, u64)")]
pub struct CountRange {
    first: u64,
    last: u64,
}

/// The first count is above the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{first}:{last} is no range of counts (min > max)")]
pub struct CountRangeError {
    first: u64,
    last: u64,
}

impl CountRange {
    /// Counts `first..=last`.
    ///
    /// # Errors
    /// If `first > last`, which iptables refuses.
    pub fn new(first: u64, last: u64) -> Result<Self, CountRangeError> {
        if first > last { Err(CountRangeError { first, last }) } else { Ok(Self { first, last }) }
    }

    /// Whether `count` is inside.
    pub fn contains(self, count: u64) -> bool {
        self.first <= count && count <= self.last
    }
}

impl fmt::Display for CountRange {
    /// As iptables, but for `0:0`, which it prints as `0` and would read again as everything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { first, last: u64::MAX } => write!(f, "{first}"),
            Self { first, last } => write!(f, "{first}:{last}"),
        }
    }
}

impl TryFrom<(u64, u64)> for CountRange {
    type Error = CountRangeError;

    fn try_from((first, last): (u64, u64)) -> Result<Self, Self::Error> {
        Self::new(first, last)
    }
}

impl From<CountRange> for (u64, u64) {
    fn from(range: CountRange) -> Self {
        (range.first, range.last)
    }
}

/// `--connbytes-dir`: whose packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnbytesDirection {
    /// Those of the direction of the flow's first packet.
    Original,
    /// Those of the answers.
    Reply,
    /// All.
    Both,
}

impl ConnbytesDirection {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Original, Self::Reply, Self::Both];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Reply => "reply",
            Self::Both => "both",
        }
    }
}

/// `--connbytes-mode`: what of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnbytesMode {
    /// How many they are.
    Packets,
    /// How many bytes they have, IP headers included.
    Bytes,
    /// How many bytes each has on average, rounded down; 0 where there is none.
    Avgpkt,
}

impl ConnbytesMode {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Packets, Self::Bytes, Self::Avgpkt];

    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Bytes => "bytes",
            Self::Avgpkt => "avgpkt",
        }
    }
}

/// The `connbytes` match as it is written. Its default says nothing, and no rule may hold it
/// ([`super::Rule::validate`]): all three must be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnbytesMatch {
    /// `--connbytes`. Of one number there is no negation: iptables loses the `!` by turning the bounds round.
    pub count: Option<Negatable<CountRange>>,
    /// `--connbytes-dir`
    pub direction: Option<ConnbytesDirection>,
    /// `--connbytes-mode`
    pub mode: Option<ConnbytesMode>,
}

impl ConnbytesMatch {
    /// Whether it asks for a count of 0.
    pub fn is_none_at_all(&self) -> bool {
        self.count.is_some_and(|count| count.value == CountRange { first: 0, last: 0 })
    }

    fn names(&self) -> (&'static str, &'static str) {
        let mode = self.mode.map_or("", ConnbytesMode::name);
        (mode, self.direction.map_or("", ConnbytesDirection::name))
    }
}

impl Extension for ConnbytesMatch {
    fn name(&self) -> &'static str {
        "connbytes"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let missing = |option| Err(InvalidRule::ConnbytesMissing(option));
        match self {
            Self { count: None, .. } => missing("connbytes"),
            Self { direction: None, .. } => missing("connbytes-dir"),
            Self { mode: None, .. } => missing("connbytes-mode"),
            Self { count: Some(Negatable { value, negated: true }), .. }
                if value.first == value.last =>
            {
                Err(InvalidRule::ConnbytesNegatedOne { count: value.first })
            }
            _ => Ok(()),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        let (mode, direction) = self.names();
        if let Some(count) = &self.count {
            words.option("--connbytes", count);
        }
        words.option("--connbytes-mode", &Negatable::is(mode));
        words.option("--connbytes-dir", &Negatable::is(direction));
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let (mode, direction) = self.names();
        if let Some(Negatable { value, negated }) = self.count {
            line.push(format_args!("{} connbytes {value}", if negated { " !" } else { "" }));
        }
        line.push(format_args!(" connbytes mode {mode} connbytes direction {direction}"));
    }
}
