//! The way of a packet through the rules of all chains.

use arrayvec::ArrayVec;
use weir_control::ruleset::CHAIN_DEPTH_MAX;

/// A place among the rules, and the way that led there.
#[derive(Debug, Clone, Default)]
pub(super) struct Walk {
    /// The next rule.
    pub(super) at: usize,
    /// Its chain.
    pub(super) chain: usize,
    pub(super) ways: Ways,
}

/// The rules by which a packet left chains for others, to come back after them. A rule set that leads deeper
/// than [`CHAIN_DEPTH_MAX`] chains is refused when it is made. Most packets leave none: then nothing is written here.
#[derive(Debug, Clone, Default)]
pub(super) struct Ways {
    pub(super) rules: ArrayVec<u32, CHAIN_DEPTH_MAX>,
}

impl Ways {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most RULES_MAX rules")]
    pub(super) fn leave(&mut self, rule: usize) {
        self.rules.push(rule as u32);
    }

    pub(super) fn back(&mut self) -> Option<usize> {
        self.rules.pop().map(|rule| rule as usize)
    }

    /// How many chains lead here.
    pub(super) fn depth(&self) -> usize {
        self.rules.len()
    }
}
