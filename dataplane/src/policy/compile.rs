//! From a rule set to a [`Policy`].
//!
//! Interface names become bits: a rule about `eth+` is compiled to the set of ports that the name covers,
//! with `!` already applied. Counters are found again by the rule's identity, so a rule that a change does
//! not touch goes on counting where it was. Rules that were there before are taken over as they were compiled
//! ([`last`]): a rule added to ten thousand costs a copy of them, and not to compile them.

mod last;

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_control::command::ChainName;
use weir_control::rule::{ConnmarkTarget, InterfacePattern, Negatable, Rule, Table, Target};
use weir_control::ruleset::{self, CounterTable, Outcome, RuleId, Ruleset};

use super::address::{AddressTests, Windows};
use super::classify::{Classifier, RuleKey};
use super::counters::{Count, RuleCounters};
use super::matches::{Around, MatchTest};
use super::near;
use super::room::{LimitSettings, Room};
use super::rule::{Action, Asks, CompiledRule};
use super::unenforced::{CompileError, Unenforced};
use super::{Base, Classified, Decision, Hook, Policy, Span, target};
use crate::limit::kept::{Changes, Kept, Tables};
use crate::limit::recent::{RECENT, RecentTable};
use crate::packet_log::LogSpec;
use crate::set::Sets;
use crate::verdict::DropReason;
use last::Last;

/// Chains with fewer rules are walked through: that takes no longer.
const CLASSIFIED_MIN: usize = 6;

/// Rules that may stand before and behind those that a classifier was built of, together: then it is built anew. To
/// spare that saves most of what it takes to add a rule to ten thousand (`benches/benches/change.rs`).
const ADDED_MAX: usize = 32;

/// A counter and what it stood at when it was last set to zero, or would have stood at if it had been.
#[derive(Debug)]
struct Tally {
    counters: Arc<RuleCounters>,
    /// What the XDP program has dropped for the rule.
    early: Count,
    zero: Count,
}

impl Tally {
    fn new(workers: usize) -> Self {
        let (early, zero) = Default::default();
        Self { counters: RuleCounters::new(workers), early, zero }
    }

    fn total(&self) -> Count {
        self.counters.read() + self.early
    }

    fn read(&self) -> ruleset::Counters {
        let Count { packets, bytes } = self.total() - self.zero;
        ruleset::Counters { packets, bytes }
    }

    fn set(&mut self, to: ruleset::Counters) {
        let ruleset::Counters { packets, bytes } = to;
        self.zero = self.total() - Count { packets, bytes };
    }
}

/// What counters stood at when they were last set to zero.
#[derive(Debug)]
pub struct Zeros {
    rules: Vec<(RuleId, Count)>,
    policies: [Count; Hook::ALL.len()],
}

/// Compiles the rule sets of a family, and keeps the counters of the rules in force.
#[derive(Debug)]
pub struct Compiler {
    workers: usize,
    port_names: Vec<String>,
    /// Whether the packets and bytes of flows are counted.
    counts_flows: bool,
    /// Whether connections may be proxied.
    proxies: bool,
    sets: Arc<Sets>,
    rules: BTreeMap<RuleId, Tally>,
    /// Of the chains' policies, by [`Hook`].
    policies: [Tally; Hook::ALL.len()],
    /// Those of the chains as they were compiled last.
    classifiers: BTreeMap<ChainName, Built>,
    /// What was compiled last.
    last: Last,
    kept: Kept,
    limits: LimitSettings,
}

/// The rules of a rule set, compiled, and what comes with them.
#[derive(Debug)]
struct Drafted {
    /// Of all chains, one after the other.
    rules: Vec<CompiledRule>,
    lists: Lists,
    /// Counters of the rules that are new.
    fresh: Vec<(RuleId, Tally)>,
    /// What their matches keep.
    changes: Changes,
}

/// A chain's classifier, and the rules that it was made of.
#[derive(Debug)]
struct Built {
    rules: Box<[RuleId]>,
    windows: Windows,
    classifier: Arc<Classifier>,
}

impl Built {
    /// How many rules were added before those that it was made of, if these are there as they were, and few were added
    /// before and behind.
    fn stands_in(&self, chain: &[ruleset::Entry]) -> Option<usize> {
        let added = chain.len().checked_sub(self.rules.len())?;
        if added > ADDED_MAX {
            return None;
        }
        let first = self.rules.first()?;
        let before = chain[..=added].iter().position(|entry| entry.id == *first)?;
        let there = chain[before..].iter().map(|entry| entry.id).take(self.rules.len());
        there.eq(self.rules.iter().copied()).then_some(before)
    }
}

impl Compiler {
    /// For `workers` workers and the ports of these names, in the order of their indices. The port of the machine
    /// itself has the name "": what goes to the machine or comes from it has no interface on that side, which rules
    /// take for a name without letters (`ip_packet_match`, `net/ipv4/netfilter/ip_tables.c`).
    #[must_use]
    pub fn new(workers: usize, port_names: Vec<String>) -> Self {
        Self {
            workers,
            port_names,
            counts_flows: false,
            proxies: false,
            sets: Arc::new(Sets::new(0)),
            rules: BTreeMap::new(),
            policies: Hook::ALL.map(|_| Tally::new(workers)),
            classifiers: BTreeMap::new(),
            last: Last::default(),
            kept: Kept::default(),
            limits: LimitSettings::default(),
        }
    }

    /// The same where the packets and bytes of flows are counted, or are not: then rules that ask for them are refused.
    #[must_use]
    pub fn counting_flows(self, counts_flows: bool) -> Self {
        Self { counts_flows, ..self }
    }

    /// The same where connections may be proxied, or not: then rules that would do that are refused.
    #[must_use]
    pub fn proxying(self, proxies: bool) -> Self {
        Self { proxies, ..self }
    }

    /// The same with these for what matches share by name; those of other compilers are given the same.
    #[must_use]
    pub fn sharing(self, tables: Tables) -> Self {
        Self { kept: Kept::new(tables), ..self }
    }

    /// The same where what rules keep is as large as this.
    #[must_use]
    pub fn limiting(self, limits: LimitSettings) -> Self {
        Self { limits, ..self }
    }

    /// What the matches of its rules keep.
    #[must_use]
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Sets the sets that rules look into.
    pub fn set_sets(&mut self, sets: Arc<Sets>) {
        self.sets = sets;
    }

    /// Compiles a rule set. Rules new to the compiler get counters at zero. An id must mean the same rule each time.
    ///
    /// Chains that no packet can come to are compiled like the others: what cannot be enforced is refused when
    /// it is written, not when a later rule leads there.
    ///
    /// # Errors
    /// [`CompileError`] names the first rule that cannot be enforced; the counters are as before.
    pub fn compile(&mut self, ruleset: &Ruleset) -> Result<Policy, CompileError> {
        let Drafted { rules, lists, fresh, changes } = self.draft(ruleset)?;
        let chains = ruleset.chains();
        let mut spans = Vec::with_capacity(chains.len() + 1);
        let mut first = 0;
        for chain in chains {
            let end = first + chain.rules.len();
            let classified = self.classified(chain, &rules[first..end], first);
            spans.push(Span { first, end, classified });
            first = end;
        }
        // For hooks without a chain.
        spans.push(Span::EMPTY);
        self.rules.extend(fresh);
        self.kept.keep(changes);
        rules.iter().flat_map(|rule| &*rule.tests).for_each(MatchTest::prepare);
        self.classifiers.retain(|name, _| chains.iter().any(|chain| chain.name == *name));
        let asks = rules.iter().fold(Asks::default(), |asks, rule| asks | rule.asks);
        let asks = asks | Asks::of_flows(!lists.connmarks.is_empty());
        let verified = rules.iter().flat_map(|rule| &*rule.tests).find_map(MatchTest::verified);
        let proxies = rules.iter().any(|rule| matches!(rule.action, Action::Synproxy(_)));
        let closes = rules.iter().any(|rule| rule.action.closes());
        let keyed = near::keyed(&rules);
        let rules: Arc<[CompiledRule]> = rules.into();
        self.last = Last::new(ruleset, Arc::clone(&rules));
        Ok(Policy {
            tracks: asks.tracking || proxies,
            // What a rule closes, or has begun by another hand, counts otherwise for the next packet.
            inspects_flows: asks.flow || asks.connections && (closes || proxies),
            counts_connections: asks.connections,
            remembers: asks.past,
            bases: Hook::ALL.map(|hook| self.base(hook, chains)),
            rules,
            classifies: spans.iter().any(|chain| chain.classified.is_some()),
            chains: spans.into(),
            logs: lists.logs.into(),
            connmarks: lists.connmarks.into(),
            sets: Arc::clone(&self.sets),
            connections: self.kept.every().collect(),
            keyed,
            verified,
        })
    }

    /// Finds out whether a rule set could be compiled, and changes nothing.
    ///
    /// # Errors
    /// As [`compile`](Self::compile).
    pub fn check(&self, ruleset: &Ruleset) -> Result<(), CompileError> {
        self.draft(ruleset).map(|_| ())
    }

    fn draft(&self, ruleset: &Ruleset) -> Result<Drafted, CompileError> {
        let chains = ruleset.chains();
        let places: BTreeMap<&ChainName, u32> =
            (0..).zip(chains).map(|(place, chain)| (&chain.name, place)).collect();
        let mut fresh = Vec::new();
        let mut rules: Vec<CompiledRule> = Vec::with_capacity(ruleset.rule_count());
        let mut lists = Lists::default();
        let mut keeps = self.kept.draft(ruleset);
        let tables = self.kept.tables().all_of::<RecentTable>(RECENT);
        let recent_bytes = tables.iter().map(|(_, table)| table.bytes()).sum();
        let mut room = Room::new(self.limits, self.workers, ruleset.table(), recent_bytes);
        let mut last = self.last.search();
        for (place, chain) in (0..).zip(chains) {
            for (number, entry) in (1..).zip(&chain.rules) {
                let refused = |why| CompileError { chain: chain.name.to_string(), number, why };
                let known = last.find(entry.id);
                let action = match known.map(|known| known.action) {
                    Some(action) if action.is_whole() => action,
                    _ => action(&entry.rule, &places, &mut lists)
                        .map_err(|word| refused(word.into()))?,
                };
                if let Some(known) = known {
                    rules.push(CompiledRule { chain: place, action, ..known.clone() });
                    continue;
                }
                let counters = self.counters_of(entry.id, &mut fresh);
                let around = Around {
                    family: ruleset.family(),
                    sets: &self.sets,
                    keeper: keeps.rule(&chain.name, &entry.rule, entry.id),
                    room: &mut room,
                };
                let rule =
                    self.rule((ruleset.table(), &entry.rule), around, counters, (place, action));
                rules.push(rule.map_err(refused)?);
            }
        }
        Ok(Drafted { rules, lists, fresh, changes: keeps.finish() })
    }

    /// What a hook begins with: its chain, or the empty one after all of them.
    fn base(&self, hook: Hook, chains: &[ruleset::Chain]) -> Base {
        let name = hook.chain();
        let Some((chain, base)) = (0..).zip(chains).find(|(_, base)| base.is_base(&name)) else {
            return Base::accept_all(chains.len(), self.workers);
        };
        let default = match base.policy {
            None | Some(ruleset::Policy::Accept) => Decision::Accept,
            Some(ruleset::Policy::Drop) => Decision::Drop(DropReason::RulePolicy),
        };
        let default_counters = Arc::clone(&self.policies[hook as usize].counters);
        Base { chain, default, default_counters }
    }

    /// The counters of a rule; new ones also go to `fresh`.
    fn counters_of(&self, id: RuleId, fresh: &mut Vec<(RuleId, Tally)>) -> Arc<RuleCounters> {
        if let Some(tally) = self.rules.get(&id) {
            return Arc::clone(&tally.counters);
        }
        let tally = Tally::new(self.workers);
        let counters = Arc::clone(&tally.counters);
        fresh.push((id, tally));
        counters
    }

    /// The classifier of a chain with these rules, the first of which is that in the policy, if they are many: the one
    /// of the last time if most of them are the same.
    fn classified(
        &mut self,
        chain: &ruleset::Chain,
        rules: &[CompiledRule],
        first: usize,
    ) -> Option<Classified> {
        if rules.len() < CLASSIFIED_MIN {
            self.classifiers.remove(&chain.name);
            return None;
        }
        if let Some(known) = self.classifiers.get(&chain.name)
            && let Some(before) = known.stands_in(&chain.rules)
        {
            let (classifier, first) = (Arc::clone(&known.classifier), first + before);
            let (windows, end) = (known.windows, first + known.rules.len());
            return Some(Classified { classifier, windows, first, end });
        }
        let windows = Windows::choose(rules.iter().map(|rule| &rule.addresses));
        let keys: Vec<RuleKey> = rules.iter().map(|rule| rule.key(windows)).collect();
        // More rules than it takes are more than a rule set may have.
        let classifier = Arc::new(Classifier::build(&keys).ok()?);
        let ids = chain.rules.iter().map(|entry| entry.id).collect();
        let built = Built { rules: ids, windows, classifier: Arc::clone(&classifier) };
        self.classifiers.insert(chain.name.clone(), built);
        Some(Classified { classifier, windows, first, end: first + rules.len() })
    }

    /// Where the counters stand that an outcome sets, for [`go_back`](Self::go_back).
    #[must_use]
    pub fn zeros(&self, outcome: &Outcome) -> Zeros {
        let counted = outcome.counted_rules.iter().map(|(id, _)| id);
        let rules = outcome.zeroed_rules.iter().chain(counted);
        Zeros {
            rules: rules.filter_map(|id| Some((*id, self.rules.get(id)?.zero))).collect(),
            policies: self.policies.each_ref().map(|tally| tally.zero),
        }
    }

    /// Undoes what an outcome did to counters: they stand where they would stand without it.
    pub fn go_back(&mut self, zeros: &Zeros) {
        for (id, zero) in &zeros.rules {
            if let Some(tally) = self.rules.get_mut(id) {
                tally.zero = *zero;
            }
        }
        for (tally, zero) in self.policies.iter_mut().zip(zeros.policies) {
            tally.zero = zero;
        }
    }

    /// Counts packets that the XDP program has dropped for a rule.
    pub fn count_early(&mut self, rule: RuleId, dropped: Count) {
        if let Some(tally) = self.rules.get_mut(&rule) {
            tally.early = tally.early + dropped;
        }
    }

    /// Forgets, zeroes and sets counters as a command's outcome says.
    pub fn settle(&mut self, outcome: &Outcome) {
        let zero = ruleset::Counters::default();
        for id in &outcome.removed {
            self.rules.remove(id);
        }
        self.kept.forget(&outcome.removed);
        let rules = outcome.zeroed_rules.iter().map(|id| (*id, zero));
        for (id, to) in rules.chain(outcome.counted_rules.iter().copied()) {
            if let Some(tally) = self.rules.get_mut(&id) {
                tally.set(to);
            }
        }
        let zeroed = outcome.zeroed_policies.iter().map(|chain| (chain, zero));
        let counted = outcome.counted_policies.iter().map(|(chain, to)| (chain, *to));
        for (chain, to) in zeroed.chain(counted) {
            if let Some(hook) = Hook::ALL.into_iter().find(|hook| *chain == hook.chain()) {
                self.policies[hook as usize].set(to);
            }
        }
    }

    /// What all rules and policies have counted since they were last zeroed.
    #[must_use]
    pub fn counters(&self) -> CounterTable {
        CounterTable {
            rules: self.rules.iter().map(|(id, tally)| (*id, tally.read())).collect(),
            policies: Hook::ALL
                .into_iter()
                .map(|hook| (hook.chain(), self.policies[hook as usize].read()))
                .collect(),
        }
    }

    fn rule(
        &self,
        (table, rule): (Table, &Rule),
        mut around: Around<'_, '_>,
        counters: Arc<RuleCounters>,
        (chain, action): (u32, Action),
    ) -> Result<CompiledRule, Unenforced> {
        let family = around.family;
        let compile = |asked| MatchTest::compile(asked, &mut around);
        let tests = rule.matches.iter().map(compile).collect::<Result<Arc<[_]>, _>>()?;
        if !self.counts_flows && tests.iter().any(MatchTest::counts_flows) {
            return Err(Unenforced::NotCounted);
        }
        if !self.proxies && matches!(action, Action::Synproxy(_)) {
            return Err(Unenforced::NotProxied);
        }
        let asks = Asks::of(&tests);
        Ok(CompiledRule {
            chain,
            addresses: AddressTests::new(family, rule.source, rule.destination)?,
            ingress_mask: self.port_mask(rule.in_interface.as_ref()),
            egress_mask: self.egress_mask(table, rule.out_interface.as_ref()),
            protocol: rule.protocol.map_or(0, |protocol| protocol.value.0),
            protocol_negated: rule.protocol.is_some_and(|protocol| protocol.negated),
            fragment: rule.fragment,
            asks: Asks { past: around.keeper.gave() || asks.past, ..asks },
            tests,
            action,
            counters,
        })
    }

    /// The ports by which packets may leave. Where the machine's own traffic is the kernel's, those of table raw have
    /// no way yet, and so no interface there: the mask holds for whatever stands in its place, or for nothing.
    fn egress_mask(&self, table: Table, pattern: Option<&Negatable<InterfacePattern>>) -> u32 {
        let without_way = table == Table::Raw && !self.port_names.iter().any(String::is_empty);
        match pattern {
            Some(pattern) if without_way => {
                if pattern.value.matches("") == pattern.negated {
                    0
                } else {
                    u32::MAX
                }
            }
            pattern => self.port_mask(pattern),
        }
    }

    fn port_mask(&self, pattern: Option<&Negatable<InterfacePattern>>) -> u32 {
        let Some(pattern) = pattern else { return u32::MAX };
        let names = self.port_names.iter().enumerate();
        names.fold(0, |mask, (index, name)| {
            let bit = u32::from(pattern.value.matches(name) != pattern.negated);
            mask | bit << index
        })
    }
}

/// What targets say at length; rules name entries of these.
#[derive(Debug, Default)]
struct Lists {
    logs: Vec<LogSpec>,
    connmarks: Vec<ConnmarkTarget>,
}

/// What a rule does, with what its target says at length added to `lists`; the target's name if this engine cannot do
/// it.
fn action<'a>(
    rule: &'a Rule,
    places: &BTreeMap<&ChainName, u32>,
    lists: &mut Lists,
) -> Result<Action, &'static str> {
    let place =
        |chain: &'a ChainName| places.get(chain).copied().ok_or("-j to a chain that is not there");
    Ok(match &rule.target {
        None => Action::Continue,
        Some(Target::Accept) => Action::End(Decision::Accept),
        Some(Target::Drop) => Action::End(Decision::Drop(DropReason::Rule)),
        Some(Target::Reject(with)) => Action::End(Decision::Reject(target::reject(*with))),
        Some(Target::Reject6(with)) => Action::End(Decision::Reject(target::reject6(*with))),
        Some(Target::Log(log)) => target::log(log, &mut lists.logs),
        Some(Target::Mark(mark)) => target::mark(*mark),
        Some(Target::Connmark(connmark)) => target::connmark(*connmark, &mut lists.connmarks),
        Some(Target::Ct(_)) => Action::Notrack,
        Some(Target::Synproxy(synproxy)) => Action::Synproxy(*synproxy),
        Some(Target::Jump(chain)) => Action::Jump(place(chain)?),
        Some(Target::Goto(chain)) => Action::Goto(place(chain)?),
        Some(Target::Return) => Action::Return,
        Some(_) => return Err("-j"),
    })
}

#[cfg(test)]
mod tests;
