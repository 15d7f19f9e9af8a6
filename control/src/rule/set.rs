//! The `set` match: is the packet in a set (net/netfilter/xt_set.c)?

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Extension, InvalidRule, ListedLine, Negatable, SavedWords};
use crate::set::SetName;

/// Which end of the packet each part of an entry is compared with: `src` or `dst`, up to
/// [`Self::COUNT_MAX`] of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetDirections {
    count: u8,
    /// Bits from the lowest on: 1 for `src`.
    sources: u8,
}

/// Why directions were not understood. The texts are those of iptables, the slip in one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum SetDirectionsError {
    #[error("You must spefify (the comma separated list of) 'src' or 'dst'.")]
    Word,
    #[error("Can't be more src/dst options than {}.", SetDirections::COUNT_MAX)]
    TooMany,
}

impl SetDirections {
    /// How many there may be (`IPSET_DIM_MAX`).
    pub const COUNT_MAX: u8 = 6;

    /// How many there are.
    pub fn len(self) -> usize {
        self.count.into()
    }

    /// Whether there are none, which no command line can say.
    pub fn is_empty(self) -> bool {
        self.count == 0
    }

    /// Whether the part of that number, from 0, is compared with the source.
    pub fn is_source(self, part: usize) -> bool {
        part < self.len() && self.sources >> part & 1 == 1
    }
}

impl FromStr for SetDirections {
    type Err = SetDirectionsError;

    /// As iptables, which looks at three letters of each word.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut directions = Self::default();
        for word in text.split(',') {
            if directions.count == Self::COUNT_MAX {
                return Err(SetDirectionsError::TooMany);
            }
            match word.get(..3) {
                Some("src") => directions.sources |= 1 << directions.count,
                Some("dst") => {}
                _ => return Err(SetDirectionsError::Word),
            }
            directions.count += 1;
        }
        Ok(directions)
    }
}

impl fmt::Display for SetDirections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |part| if self.is_source(part) { "src" } else { "dst" };
        f.write_str(&(0..self.len()).map(word).collect::<Vec<_>>().join(","))
    }
}

impl TryFrom<String> for SetDirections {
    type Error = SetDirectionsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SetDirections> for String {
    fn from(directions: SetDirections) -> Self {
        directions.to_string()
    }
}

/// The `set` match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetMatch {
    /// `--match-set NAME …`; `None` only while the line is read.
    pub set: Option<Negatable<SetName>>,
    /// `--match-set … src,dst`
    pub directions: SetDirections,
    /// `--return-nomatch`: what the set has as an exception (`nomatch`) matches, and what else it
    /// has does not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub return_nomatch: bool,
}

impl Extension for SetMatch {
    fn name(&self) -> &'static str {
        "set"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        match self.set {
            Some(_) if !self.directions.is_empty() => Ok(()),
            _ => Err(InvalidRule::SetMissing),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        if let Some(set) = &self.set {
            words.option("--match-set", set);
            words.word(self.directions.to_string());
        }
        if self.return_nomatch {
            words.word("--return-nomatch");
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        if let Some(Negatable { value, negated }) = &self.set {
            let not = if *negated { " !" } else { "" };
            line.push(format_args!("{not} match-set {value} {}", self.directions));
        }
        if self.return_nomatch {
            line.push(format_args!(" return-nomatch"));
        }
    }
}
