//! What the `mark` match asks for and the `MARK` target sets (net/netfilter/xt_mark.c).
//!
//! A mark is a number that rules give a packet for later rules to see, in whatever chain. It is 0
//! when the packet comes, and goes with the verdict, unless `-j CONNMARK` has saved it for the flow:
//! nothing else in Weir looks at it yet (no policy routing, no queues), and it never leaves the machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{Extension, ListedLine, Negatable, SavedWords, parse_number};

/// Some bits of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// What the bits must be. One outside of the mask is never met.
    pub value: u32,
    /// Which bits are looked at.
    pub mask: u32,
}

impl Mark {
    /// Whether a packet's mark has the bits.
    pub fn matches(self, mark: u32) -> bool {
        mark & self.mask == self.value
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { value, mask: u32::MAX } => write!(f, "{value:#x}"),
            Self { value, mask } => write!(f, "{value:#x}/{mask:#x}"),
        }
    }
}

/// The text is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write VALUE or VALUE/MASK, from 0 to 0xffffffff")]
pub struct MarkError;

impl FromStr for Mark {
    type Err = MarkError;

    /// `VALUE` or `VALUE/MASK`; without a mask all bits are meant.
    fn from_str(text: &str) -> Result<Self, MarkError> {
        let number = |text| parse_number(text, u32::MAX).ok_or(MarkError);
        let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
        Ok(Self { value: number(value)?, mask: number(mask)? })
    }
}

/// The `mark` match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkMatch {
    /// `--mark`
    pub mark: Negatable<Mark>,
}

impl Extension for MarkMatch {
    fn name(&self) -> &'static str {
        "mark"
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--mark", &self.mark);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.mark;
        line.push(format_args!(" mark match{} {value}", if negated { " !" } else { "" }));
    }
}

/// `-j MARK`. All its options are ways to write `--set-xmark VALUE/MASK`, which clears the bits of
/// the mask and then flips those of the value:
///
/// | option | value | mask |
/// |---|---|---|
/// | `--set-mark V/M` | V | M or V |
/// | `--and-mark B` | 0 | not B |
/// | `--or-mark B` | B | B |
/// | `--xor-mark B` | B | 0 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkTarget {
    /// Bits that are flipped.
    pub value: u32,
    /// Bits that are cleared before.
    pub mask: u32,
}

impl TargetExtension for MarkTarget {
    fn save(&self, words: &mut SavedWords) {
        words.word("--set-xmark");
        words.word(format!("{:#x}/{:#x}", self.value, self.mask));
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        // In the order in which iptables tells them apart (extensions/libxt_MARK.c).
        match *self {
            Self { value: 0, mask } => line.push(format_args!(" MARK and {:#x}", !mask)),
            Self { value, mask } if value == mask => line.push(format_args!(" MARK or {value:#x}")),
            Self { value, mask: 0 } => line.push(format_args!(" MARK xor {value:#x}")),
            Self { value, mask: u32::MAX } => line.push(format_args!(" MARK set {value:#x}")),
            Self { value, mask } => line.push(format_args!(" MARK xset {value:#x}/{mask:#x}")),
        }
    }
}
