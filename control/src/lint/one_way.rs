//! Chains that let connections begin, and nothing after that.

use super::{Finding, Kind, Linter, Looked, about_chain, leads_to};
use crate::command::ChainName;
use crate::rule::{CtStates, Rule, Table, Target};
use crate::ruleset::Policy;

impl Linter<'_> {
    /// A chain with policy DROP that has a rule for what begins connections, and none that could let through what is
    /// established: for instance answers. Where answers come to another chain (INPUT and OUTPUT have each
    /// other's), it is the rest of what was let begin. `idle` rules are those with findings of their own.
    ///
    /// Which way packets go is not asked: that no rule lets anything through is so on all ways.
    pub(super) fn one_way(&self, looked: &Looked<'_>, idle: &[bool]) -> Option<Finding> {
        let chain = looked.chain;
        // In table raw no packet has a connection yet.
        if chain.policy != Some(Policy::Drop) || self.ruleset.table() == Table::Raw {
            return None;
        }
        let asks = |place: usize, state: CtStates| {
            looked.parts[place].iter().any(|part| part.states & state.bits() != 0)
        };
        // Packets may be accepted where a rule leads.
        let accepts = |place: usize| {
            let rule = &*chain.rules[place].rule;
            rule.target == Some(Target::Accept) || leads_to(rule).is_some()
        };
        let mut places = 0..chain.rules.len();
        if places.clone().any(|place| accepts(place) && asks(place, CtStates::ESTABLISHED)) {
            return None;
        }
        let new = places.find(|place| {
            let is_new = asks(*place, CtStates::NEW) && !idle[*place] && accepts(*place);
            is_new && self.may_accept(&chain.rules[*place].rule)
        })?;
        let what = format!(
            "rule {} is for what begins connections, and no rule lets through what follows (ESTABLISHED): \
             `-m state --state ESTABLISHED,RELATED -j ACCEPT' is missing",
            new + 1
        );
        Some(Finding { because_of: vec![new + 1], ..about_chain(chain, Kind::OneWay, what) })
    }

    /// Whether a rule accepts, or leads to where one does.
    fn may_accept(&self, rule: &Rule) -> bool {
        let mut seen: Vec<&ChainName> = Vec::new();
        let mut waiting = vec![rule];
        while let Some(rule) = waiting.pop() {
            if rule.target == Some(Target::Accept) {
                return true;
            }
            let Some(name) = leads_to(rule).filter(|name| !seen.contains(name)) else { continue };
            seen.push(name);
            let rules = self.ruleset.chain(name).map_or(&[][..], |chain| &chain.rules);
            waiting.extend(rules.iter().map(|entry| &*entry.rule));
        }
        false
    }
}
