//! What the `connmark` match asks for and the `CONNMARK` target does (net/netfilter/xt_connmark.c).
//!
//! A flow has a mark, 0 at first, that lives as long as the flow does. A packet that belongs to no flow, since it is
//! not tracked or INVALID, meets no condition about such marks, negated or not, and no rule changes one for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{Extension, InvalidRule, ListedLine, Mark, Negatable, Rule, SavedWords};

/// The `connmark` match: the mark of the packet's flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnmarkMatch {
    /// `--mark`
    pub mark: Negatable<Mark>,
}

impl Extension for ConnmarkMatch {
    fn name(&self) -> &'static str {
        "connmark"
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--mark", &self.mark);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        // Where libxt_mark.c prints one blank, libxt_connmark.c prints two.
        let Negatable { value, negated } = self.mark;
        line.push(format_args!(" connmark match {}{value}", if negated { "! " } else { " " }));
    }
}

/// What `-j CONNMARK` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnmarkMode {
    /// `--set-xmark`, and what stands for it as with MARK: of the flow's mark the bits of the mask are cleared, and
    /// then those of the value are flipped.
    Set {
        /// Bits that are flipped.
        value: u32,
    },
    /// `--save-mark`: the packet's mark goes into the flow's.
    Save,
    /// `--restore-mark`: the flow's mark goes into the packet's.
    Restore,
}

/// By how much, and whereto, the flow's new mark is shifted where a value is set, else what is saved or restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkShift {
    /// `--left-shift-mark`
    Left(u8),
    /// `--right-shift-mark`
    Right(u8),
}

impl MarkShift {
    /// Most bits.
    pub const BITS_MAX: u8 = 31;

    /// By how many bits.
    pub fn bits(self) -> u8 {
        match self {
            Self::Left(bits) | Self::Right(bits) => bits,
        }
    }

    /// The number, shifted. What leaves it is lost.
    pub fn apply(self, mark: u32) -> u32 {
        let shifted = match self {
            Self::Left(bits) => mark.checked_shl(bits.into()),
            Self::Right(bits) => mark.checked_shr(bits.into()),
        };
        shifted.unwrap_or(0)
    }
}

impl fmt::Display for MarkShift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if matches!(self, Self::Left(_)) { "left" } else { "right" };
        write!(f, "{way}-shift-mark")
    }
}

/// `-j CONNMARK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnmarkTarget {
    /// What it does.
    pub mode: ConnmarkMode,
    /// `--ctmask`, or the mask of what is set: bits of the flow's mark.
    pub flow_mask: u32,
    /// `--nfmask`: bits of the packet's mark. Nothing looks at it where a value is set.
    pub packet_mask: u32,
    /// `--left-shift-mark`, `--right-shift-mark`
    pub shift: MarkShift,
}

impl Default for ConnmarkTarget {
    fn default() -> Self {
        Self {
            mode: ConnmarkMode::Set { value: 0 },
            flow_mask: u32::MAX,
            packet_mask: u32::MAX,
            shift: MarkShift::Left(0),
        }
    }
}

impl TargetExtension for ConnmarkTarget {
    fn validate(&self, _rule: &Rule) -> Result<(), InvalidRule> {
        match self.shift.bits() {
            ..=MarkShift::BITS_MAX => Ok(()),
            by => Err(InvalidRule::MarkShift { by }),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        let Self { mode, flow_mask, packet_mask, shift } = *self;
        match mode {
            ConnmarkMode::Set { value } => {
                words.word("--set-xmark");
                words.word(format!("{value:#x}/{flow_mask:#x}"));
            }
            ConnmarkMode::Save | ConnmarkMode::Restore => {
                let save = mode == ConnmarkMode::Save;
                words.word(if save { "--save-mark" } else { "--restore-mark" });
                words.option("--nfmask", &Negatable::is(format!("{packet_mask:#x}")));
                words.option("--ctmask", &Negatable::is(format!("{flow_mask:#x}")));
            }
        }
        if shift.bits() > 0 {
            words.option(&format!("--{shift}"), &Negatable::is(shift.bits()));
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Self { mode, flow_mask, packet_mask, shift } = *self;
        line.push(format_args!(" CONNMARK"));
        match (mode, flow_mask) {
            // In the order in which iptables tells them apart (extensions/libxt_CONNMARK.c).
            (ConnmarkMode::Set { value: 0 }, mask) => line.push(format_args!(" and {:#x}", !mask)),
            (ConnmarkMode::Set { value }, mask) if value == mask => {
                line.push(format_args!(" or {value:#x}"));
            }
            (ConnmarkMode::Set { value }, 0) => line.push(format_args!(" xor {value:#x}")),
            (ConnmarkMode::Set { value }, u32::MAX) => line.push(format_args!(" set {value:#x}")),
            (ConnmarkMode::Set { value }, mask) => {
                line.push(format_args!(" xset {value:#x}/{mask:#x}"));
            }
            (mode, mask) => {
                let save = mode == ConnmarkMode::Save;
                line.push(format_args!(" {}", if save { "save" } else { "restore" }));
                if mask != packet_mask {
                    let (nfmask, ctmask) = (packet_mask, flow_mask);
                    match save {
                        true => line.push(format_args!(" nfmask {nfmask:#x} ctmask ~{ctmask:#x}")),
                        false => line.push(format_args!(" ctmask {ctmask:#x} nfmask ~{nfmask:#x}")),
                    }
                } else if mask != u32::MAX {
                    line.push(format_args!(" mask {mask:#x}"));
                }
            }
        }
        if shift.bits() > 0 {
            line.push(format_args!(" {shift} {}", shift.bits()));
        }
    }
}
