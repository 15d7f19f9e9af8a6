//! The rules that were compiled last, to be taken over: a change touches few of many.

use std::sync::Arc;

use ahash::AHashMap;
use weir_control::ruleset::{RuleId, Ruleset};

use crate::policy::rule::CompiledRule;

/// See the module. A rule costs 8 bytes here, and the rules live as long as the policy does that they were made for.
#[derive(Debug, Default)]
pub(super) struct Last {
    /// What the rules are called, in the order of all chains.
    ids: Box<[RuleId]>,
    rules: Arc<[CompiledRule]>,
    /// No rule is called by this or a higher number.
    end: u64,
}

impl Last {
    /// The rules of a rule set, compiled.
    pub(super) fn new(ruleset: &Ruleset, rules: Arc<[CompiledRule]>) -> Self {
        let entries = ruleset.chains().iter().flat_map(|chain| &chain.rules);
        let mut ids = Vec::with_capacity(rules.len());
        ids.extend(entries.map(|entry| entry.id));
        let end = ids.iter().map(|id| id.0 + 1).max().unwrap_or(0);
        Self { ids: ids.into(), rules, end }
    }

    /// Looks for rules one after the other.
    pub(super) fn search(&self) -> Search<'_> {
        Search { last: self, next: 0, places: None }
    }
}

/// Looks for the rules of a rule set, of which most are as they were and where they were.
#[derive(Debug)]
pub(super) struct Search<'a> {
    last: &'a Last,
    /// Behind the rule that was found before.
    next: usize,
    /// Where all rules are; made for the first one that is not the next.
    places: Option<AHashMap<RuleId, usize>>,
}

impl<'a> Search<'a> {
    /// The rule of that name, if it was there and may be taken over.
    pub(super) fn find(&mut self, id: RuleId) -> Option<&'a CompiledRule> {
        let ids = &self.last.ids;
        if id.0 >= self.last.end {
            return None;
        }
        let place = if ids.get(self.next) == Some(&id) {
            self.next
        } else {
            let places = || ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
            *self.places.get_or_insert_with(places).get(&id)?
        };
        self.next = place + 1;
        self.last.rules.get(place).filter(|rule| !rule.asks.past)
    }
}
