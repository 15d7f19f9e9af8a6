//! What the `statistic` match looks at: chance, or how many packets have come by.
//!
//! The words are those of extensions/libxt_statistic.c of iptables, the meaning is that of
//! net/netfilter/xt_statistic.c.

use serde::{Deserialize, Serialize};

use super::transport::is_default;
use super::{Extension, InvalidRule, ListedLine, Negatable, SavedWords};

/// 1 as a probability, in the kernel's fixed point of 31 bits.
pub const PROBABILITY_ONE: u32 = 1 << 31;

/// `--mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatisticMode {
    /// By chance.
    Random,
    /// By counting.
    Nth,
}

/// The `statistic` match as it is written; [`Self::statistic`] is what it means. Its default says
/// nothing, and no rule may hold it ([`super::Rule::validate`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticMatch {
    /// `--mode`
    pub mode: Option<StatisticMode>,
    /// `--probability`, of [`PROBABILITY_ONE`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<u32>,
    /// `--every`, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// `--packet`, below `every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packet: Option<u32>,
    /// `!` before `--probability` or `--every`: it is the turn of all other packets.
    #[serde(skip_serializing_if = "is_default")]
    pub negated: bool,
}

/// Which packets a `statistic` match is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// Each with this probability, of [`PROBABILITY_ONE`].
    Random {
        /// At most [`PROBABILITY_ONE`].
        probability: u32,
    },
    /// One of `every` packets that reach the match, first number `packet`, counted from 0.
    Nth {
        /// At least 1.
        every: u32,
        /// Below `every`.
        packet: u32,
    },
}

/// Why a `statistic` match means nothing. The words are iptables'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum StatisticError {
    #[error("--probability must be specified when using random mode")]
    NoProbability,
    #[error("--every and --packet must be specified when using nth mode")]
    NoNumbers,
    #[error("the --packet p must be 0 <= p <= n-1")]
    Packet,
    #[error("statistic: option \"--mode\" must be specified")]
    NoMode,
    #[error("statistic: option \"--probability\" cannot be used together with \"--{0}\".")]
    Both(&'static str),
    #[error("statistic: option \"--every\" also requires \"--packet\".")]
    NoPacket,
    #[error("statistic: option \"--packet\" also requires \"--every\".")]
    NoEvery,
    #[error("statistic: a probability is at most {PROBABILITY_ONE}, in 31 bits")]
    Probability,
}

impl StatisticMatch {
    /// What it means; `None` if that is nothing.
    pub fn statistic(&self) -> Option<Statistic> {
        match (self.mode?, self.probability, self.every, self.packet) {
            (StatisticMode::Random, Some(probability), None, None) => {
                Some(Statistic::Random { probability })
            }
            (StatisticMode::Nth, None, Some(every), Some(packet)) => {
                Some(Statistic::Nth { every, packet })
            }
            _ => None,
        }
    }

    /// In the order in which iptables looks. Without a mode, it takes chance for meant at first.
    fn check(&self) -> Result<(), StatisticError> {
        let Self { probability, every, packet, .. } = *self;
        let nth = self.mode == Some(StatisticMode::Nth);
        if !nth && probability.is_none() {
            return Err(StatisticError::NoProbability);
        }
        if nth && every.is_none() && packet.is_none() {
            return Err(StatisticError::NoNumbers);
        }
        if nth && packet.unwrap_or(0) > every.unwrap_or(1).saturating_sub(1) || every == Some(0) {
            return Err(StatisticError::Packet);
        }
        if self.mode.is_none() {
            return Err(StatisticError::NoMode);
        }
        match (probability, every, packet) {
            (Some(_), Some(_), _) => Err(StatisticError::Both("every")),
            (Some(_), None, Some(_)) => Err(StatisticError::Both("packet")),
            (Some(value), None, None) if value > PROBABILITY_ONE => {
                Err(StatisticError::Probability)
            }
            (None, Some(_), None) => Err(StatisticError::NoPacket),
            (None, None, Some(_)) => Err(StatisticError::NoEvery),
            _ => Ok(()),
        }
    }
}

/// As iptables prints it; eleven digits are enough to read the same number again.
fn decimal(probability: u32) -> String {
    format!("{:.11}", f64::from(probability) / f64::from(PROBABILITY_ONE))
}

impl Extension for StatisticMatch {
    fn name(&self) -> &'static str {
        "statistic"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        Ok(self.check()?)
    }

    fn save(&self, words: &mut SavedWords) {
        let negated = self.negated;
        match self.statistic() {
            Some(Statistic::Random { probability }) => {
                words.option("--mode", &Negatable::is("random"));
                let value = decimal(probability);
                words.option("--probability", &Negatable { value, negated });
            }
            Some(Statistic::Nth { every, packet }) => {
                words.option("--mode", &Negatable::is("nth"));
                words.option("--every", &Negatable { value: every, negated });
                words.option("--packet", &Negatable::is(packet));
            }
            None => {}
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let not = if self.negated { " !" } else { "" };
        match self.statistic() {
            Some(Statistic::Random { probability }) => {
                let probability = decimal(probability);
                let mode = "statistic mode random";
                line.push(format_args!(" {mode}{not} probability {probability}"));
            }
            Some(Statistic::Nth { every, packet }) => {
                line.push(format_args!(" statistic mode nth{not} every {every}"));
                if packet != 0 {
                    line.push(format_args!(" packet {packet}"));
                }
            }
            None => {}
        }
    }
}
