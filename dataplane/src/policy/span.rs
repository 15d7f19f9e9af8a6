//! The rules of a chain among those of all, and how those of them are found that a packet may match.

use std::sync::Arc;

use super::Candidate;
use super::address::{Ends, Windows};
use super::classify::{Classifier, PacketKey};

/// The rules of a chain.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) end: usize,
    /// Finds the rules that a packet may match, where there are many.
    pub(super) classified: Option<Classified>,
}

/// Rules of a chain that a classifier knows: most of them. Those before and behind have been added since it was
/// built, and are walked through.
#[derive(Debug, Clone)]
pub(super) struct Classified {
    pub(super) classifier: Arc<Classifier>,
    /// What it knows of addresses of IPv6.
    pub(super) windows: Windows,
    /// The first of them, among the rules of all chains.
    pub(super) first: usize,
    /// One behind the last.
    pub(super) end: usize,
}

impl Span {
    /// A chain without rules.
    pub(super) const EMPTY: Self = Self { first: 0, end: 0, classified: None };

    /// What its classifier knows of addresses of IPv6.
    pub(super) fn windows(&self) -> Windows {
        self.classified.as_ref().map_or(Windows::default(), |classified| classified.windows)
    }

    /// What its classifier looks at of a packet that has a key, if that is of IPv6 other bits than in other chains.
    #[inline(always)]
    pub(super) fn key<E: Ends>(&self, candidate: &Candidate<'_>, key: PacketKey) -> PacketKey {
        let own = || candidate.key(self.windows());
        if E::WINDOWED { own().unwrap_or(key) } else { key }
    }

    /// The first rule from `at` on that a packet may match; the end of the chain if there is none. Without a key
    /// every rule may be one.
    #[expect(clippy::cast_possible_truncation, reason = "there are at most RULES_MAX rules")]
    pub(super) fn next(&self, at: usize, key: Option<&PacketKey>) -> usize {
        match (&self.classified, key) {
            (Some(Classified { classifier, first, end, .. }), Some(key))
                if (*first..*end).contains(&at) =>
            {
                let next = classifier.next(key, (at - first) as u32);
                next.map_or(*end, |rule| first + rule as usize)
            }
            _ => at,
        }
    }
}
