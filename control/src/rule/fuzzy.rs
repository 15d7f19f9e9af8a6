//! What the `fuzzy` match lets pass: all below one rate, 1 % above another, and the less the faster between.
//!
//! The match is that of Hime Aguiar e Oliveira Jr. (patch-o-matic, 2002; later `libxt_fuzzy` and `xt_fuzzy` of
//! xtables-addons), and so are the words.

use serde::{Deserialize, Serialize};

use super::{Extension, InvalidRule, ListedLine, SavedWords};

/// The `fuzzy` match. It holds for what must be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FuzzyMatch {
    /// `--lower-limit`: up to so many packets a second all pass; at least [`FuzzyMatch::RATE_MIN`].
    pub lower_pps: u32,
    /// `--upper-limit`: from so many packets a second on 1 % pass; above the other, at most [`FuzzyMatch::RATE_MAX`].
    pub upper_pps: u32,
}

impl Default for FuzzyMatch {
    fn default() -> Self {
        Self { lower_pps: 1000, upper_pps: 2000 }
    }
}

impl FuzzyMatch {
    /// The least that the module takes for a rate.
    pub const RATE_MIN: u32 = 3;

    /// The most that it takes.
    pub const RATE_MAX: u32 = 10_000_000;
}

impl Extension for FuzzyMatch {
    fn name(&self) -> &'static str {
        "fuzzy"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let Self { lower_pps: lower, upper_pps: upper } = *self;
        if lower < Self::RATE_MIN || upper > Self::RATE_MAX || lower >= upper {
            return Err(InvalidRule::FuzzyLimits { lower, upper });
        }
        Ok(())
    }

    /// The module of 2002 printed the two options the other way round, and so could not read what it had written; later
    /// ones do not.
    fn save(&self, words: &mut SavedWords) {
        for (option, rate) in [("--lower-limit", self.lower_pps), ("--upper-limit", self.upper_pps)]
        {
            words.word(option);
            words.word(rate.to_string());
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Self { lower_pps: lower, upper_pps: upper } = self;
        line.push(format_args!(" fuzzy: lower limit = {lower} pps - upper limit = {upper} pps "));
    }
}
