//! Chains and the ways between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{CHAIN_DEPTH_MAX, Chain, JUMPS_MAX, Policy, RuleError, Ruleset};
use crate::rule::{AddrtypeMatch, ChainName, Family, IfaceLimit, Match, Rule, Table, Target};

impl Ruleset {
    /// The rule set of IPv4 of a fresh start where the machine's own traffic is the kernel's: the
    /// chain FORWARD, empty, with policy ACCEPT.
    pub fn new() -> Self {
        Self::of(Family::V4)
    }

    /// As [`new`](Self::new), of either family.
    pub fn of(family: Family) -> Self {
        Self::with_chains(family, Table::Filter, [ChainName::forward()])
    }

    /// The rule set of IPv4 of a fresh start where the machine's own traffic passes through Weir, too:
    /// the chains INPUT, FORWARD and OUTPUT.
    pub fn with_host_chains() -> Self {
        Self::with_host_chains_of(Family::V4)
    }

    /// As [`with_host_chains`](Self::with_host_chains), of either family.
    pub fn with_host_chains_of(family: Family) -> Self {
        let names = [ChainName::input(), ChainName::forward(), ChainName::output()];
        Self::with_chains(family, Table::Filter, names)
    }

    /// Table raw of a fresh start where the machine's own traffic is the kernel's: the chain PREROUTING, empty, with
    /// policy ACCEPT.
    pub fn raw(family: Family) -> Self {
        Self::with_chains(family, Table::Raw, [ChainName::prerouting()])
    }

    /// The same where the machine's own traffic passes through Weir, too: the chains PREROUTING and OUTPUT.
    pub fn raw_with_host_chains(family: Family) -> Self {
        Self::with_chains(family, Table::Raw, [ChainName::prerouting(), ChainName::output()])
    }

    /// Whether no rule, chain or policy has changed it since a fresh start.
    pub fn is_untouched(&self) -> bool {
        let fresh = |chain: &Chain| chain.policy == Some(Policy::Accept) && chain.rules.is_empty();
        self.chains.iter().all(fresh)
    }

    fn with_chains<const N: usize>(family: Family, table: Table, names: [ChainName; N]) -> Self {
        let chain = |name| Chain { name, policy: Some(Policy::Accept), rules: Vec::new() };
        Self { family, table, chains: names.map(chain).into(), next_id: 1 }
    }

    /// The family that its rules are about; those of the other are refused.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Which table it is.
    pub fn table(&self) -> Table {
        self.table
    }

    /// The chains in the order of listings: built-in ones, then the others by name.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The chain of that name.
    pub fn chain(&self, name: &ChainName) -> Option<&Chain> {
        self.place_of(name).map(|place| &self.chains[place])
    }

    /// Where the chain of that name is: the built-in ones are few, the others in order.
    pub(super) fn place_of(&self, name: &ChainName) -> Option<usize> {
        let built_in = self.chains.partition_point(|chain| chain.policy.is_some());
        let (few, many) = self.chains.split_at(built_in);
        few.iter().position(|chain| chain.name == *name).or_else(|| {
            let found = many.binary_search_by(|chain| chain.name.cmp(name)).ok()?;
            Some(built_in + found)
        })
    }

    /// Rules in all chains.
    pub fn rule_count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// Rules that lead to a chain.
    pub fn references(&self, name: &ChainName) -> usize {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.filter(|entry| leads_to(&entry.rule) == Some(name)).count()
    }

    /// Rules that lead to each chain that any leads to: for those who ask for all.
    pub fn all_references(&self) -> BTreeMap<&ChainName, usize> {
        let mut references = BTreeMap::new();
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        for chain in rules.filter_map(|entry| leads_to(&entry.rule)) {
            *references.entry(chain).or_default() += 1;
        }
        references
    }

    /// Puts a user-defined chain in its place.
    pub(super) fn place(&mut self, chain: Chain) {
        let after = |other: &Chain| other.policy.is_some() || other.name < chain.name;
        let position = self.chains.partition_point(after);
        self.chains.insert(position, chain);
    }

    /// Whether all chains that rules lead to exist and may be led to.
    pub(super) fn check_targets(&self, rules: &[Rule]) -> Result<(), RuleError> {
        // All rules of a command are alike in it.
        let Some(name) = rules.first().and_then(leads_to) else { return Ok(()) };
        match self.chain(name) {
            Some(chain) if chain.policy.is_none() => Ok(()),
            None if !name.is_reserved(self.table) => {
                Err(RuleError::NoSuchTarget { chain: name.clone() })
            }
            _ => Err(RuleError::BuiltInChain { chain: name.clone() }),
        }
    }

    /// Rules that led to `name` lead to `to`. They are the same rules as before.
    pub(super) fn redirect(&mut self, name: &ChainName, to: &ChainName) {
        let entries = self.chains.iter_mut().flat_map(|chain| &mut chain.rules);
        for entry in entries.filter(|entry| leads_to(&entry.rule) == Some(name)) {
            let rule = Arc::make_mut(&mut entry.rule);
            rule.target = match rule.target.take() {
                Some(Target::Jump(_)) => Some(Target::Jump(to.clone())),
                Some(Target::Goto(_)) => Some(Target::Goto(to.clone())),
                other => other,
            };
        }
    }

    /// That no way from a base chain comes back to where it was, leads too deep, or through too many
    /// chains. What no packet can come to may go in circles, as in the kernel (`mark_source_chains`,
    /// net/ipv4/netfilter/ip_tables.c).
    pub(super) fn check_jumps(&self) -> Result<(), RuleError> {
        if self.chains.iter().all(|chain| chain.policy.is_some()) {
            // Nothing can be led to.
            return Ok(());
        }
        let places: BTreeMap<&ChainName, usize> =
            self.chains.iter().enumerate().map(|(place, chain)| (&chain.name, place)).collect();
        let ways: Vec<Vec<Way>> = self.chains.iter().map(|chain| ways(chain, &places)).collect();
        let mut walk = Walk::new(&ways);
        for (place, chain) in self.chains.iter().enumerate() {
            if chain.policy.is_none() {
                continue;
            }
            let Below { depth, jumps } = walk
                .below(place)
                .map_err(|place| RuleError::Loop { chain: self.chains[place].name.clone() })?;
            if depth > CHAIN_DEPTH_MAX {
                return Err(RuleError::TooDeep { chain: chain.name.clone(), depth });
            }
            if jumps > JUMPS_MAX {
                return Err(RuleError::TooManyJumps { chain: chain.name.clone(), jumps });
            }
        }
        Ok(())
    }
}

impl Ruleset {
    /// That no rule asks for what packets do not have that come to it: those of the machine itself, and those that
    /// have no way yet. The kernel
    /// refuses it when a chain is led to from there (`xt_check_match`, net/netfilter/x_tables.c).
    pub(super) fn check_hooks(&self) -> Result<(), RuleError> {
        for base in [ChainName::prerouting(), ChainName::input(), ChainName::output()] {
            // A user-defined chain may have the name of one that another table has.
            if !base.is_built_in(self.table) {
                continue;
            }
            let mut known = BTreeSet::from([&base]);
            let mut waiting = vec![&base];
            while let Some(chain) = waiting.pop().and_then(|name| self.chain(name)) {
                for entry in &chain.rules {
                    if let Some(reason) = unfit(&entry.rule, &base) {
                        return Err(RuleError::InvalidRule { reason });
                    }
                    waiting.extend(leads_to(&entry.rule).filter(|name| known.insert(*name)));
                }
            }
        }
        Ok(())
    }
}

/// What a rule asks for that packets in this base chain do not have (`mac_mt_reg`, net/netfilter/xt_mac.c;
/// `synproxy_tg4_reg`, net/ipv4/netfilter/ipt_SYNPROXY.c; `addrtype_mt_checkentry_v1`, net/netfilter/xt_addrtype.c).
fn unfit(rule: &Rule, base: &ChainName) -> Option<String> {
    let input = *base != ChainName::output();
    if matches!(rule.target, Some(Target::Synproxy(_))) && !input {
        return Some(format!(
            "target SYNPROXY stands where chain {base} leads to, and connections that the machine itself begins are not taken over"
        ));
    }
    rule.matches.iter().find_map(|asked| match asked {
        Match::Mac(_) if !input => Some(format!("-m mac stands where chain {base} leads to, and what the machine sends has no Ethernet address yet")),
        Match::Addrtype(AddrtypeMatch { limit: Some(IfaceLimit::Out), .. }) if input => {
            Some(format!("--limit-iface-out stands where chain {base} leads to, and what comes there has no interface to leave by"))
        }
        Match::Addrtype(AddrtypeMatch { limit: Some(IfaceLimit::In), .. }) if !input => {
            Some(format!("--limit-iface-in stands where chain {base} leads to, and what the machine sends comes in by no interface"))
        }
        _ => None,
    })
}

/// The chain that packets which fulfil a rule's conditions go to.
fn leads_to(rule: &Rule) -> Option<&ChainName> {
    match rule.target.as_ref()? {
        Target::Jump(chain) | Target::Goto(chain) => Some(chain),
        _ => None,
    }
}

/// Whether no packet comes past a rule: it has no conditions, and decides or leads back.
fn ends_chain(rule: &Rule) -> bool {
    let target = match &rule.target {
        Some(target @ (Target::Accept | Target::Drop | Target::Return)) => target.clone(),
        _ => return false,
    };
    *rule == Rule { target: Some(target), ..Rule::default() }
}

/// The ways that lead out of a chain, one for each chain that they lead to.
fn ways(chain: &Chain, places: &BTreeMap<&ChainName, usize>) -> Vec<Way> {
    // Past a rule that decides about every packet the kernel does not look; for one with `-i +` it does,
    // whose name it compares without its mask. Here that is no condition.
    let end = chain.rules.iter().position(|entry| ends_chain(&entry.rule));
    let mut ways: BTreeMap<usize, Way> = BTreeMap::new();
    for entry in chain.rules.iter().take(end.unwrap_or(usize::MAX)) {
        let Some(to) = leads_to(&entry.rule).and_then(|name| places.get(name).copied()) else {
            continue;
        };
        let way = ways.entry(to).or_insert(Way { to, jumps: 0, goes: false });
        match entry.rule.target {
            Some(Target::Goto(_)) => way.goes = true,
            _ => way.jumps += 1,
        }
    }
    ways.into_values().collect()
}

/// Rules that lead from one chain to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// Where.
    to: usize,
    /// How many come back.
    jumps: u64,
    /// Whether one does not.
    goes: bool,
}

/// What the worst packet may meet that comes to a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Below {
    /// Chains on the longest way that begins here, this one included.
    depth: usize,
    /// How often it is led to a chain, if it fulfils the conditions of every rule. Not more than a
    /// number of 64 bits can say.
    jumps: u64,
}

/// What is below each chain.
struct Walk<'a> {
    ways: &'a [Vec<Way>],
    /// `Some` of depth 0 while the way to it is being walked.
    below: Vec<Option<Below>>,
}

impl<'a> Walk<'a> {
    fn new(ways: &'a [Vec<Way>]) -> Self {
        Self { ways, below: vec![None; ways.len()] }
    }

    /// What is below `start`; the chain that would be met twice, if there is one. Not by recursion: a
    /// rule set may have thousands of chains in a row.
    fn below(&mut self, start: usize) -> Result<Below, usize> {
        let mut path = vec![(start, 0)];
        self.below[start] = Some(Below::default());
        while let Some((place, next)) = path.last_mut() {
            let (here, turn) = (*place, *next);
            *next += 1;
            let Some(way) = self.ways[here].get(turn) else {
                self.below[here] = Some(self.sum(here));
                path.pop();
                continue;
            };
            match self.below[way.to] {
                Some(Below { depth: 0, .. }) => return Err(way.to),
                Some(_) => {}
                None => {
                    self.below[way.to] = Some(Below::default());
                    path.push((way.to, 0));
                }
            }
        }
        Ok(self.below[start].unwrap_or_default())
    }

    /// What is below a chain, when it is known of all that it leads to. A packet takes every jump, and
    /// at the end one way without return.
    fn sum(&self, here: usize) -> Below {
        let (mut depth, mut jumps, mut last) = (0, 0_u64, 0);
        for way in &self.ways[here] {
            let below = self.below[way.to].unwrap_or_default();
            let each = below.jumps.saturating_add(1);
            depth = depth.max(below.depth);
            jumps = jumps.saturating_add(each.saturating_mul(way.jumps));
            if way.goes {
                last = last.max(each);
            }
        }
        Below { depth: 1 + depth, jumps: jumps.saturating_add(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(ways: &[&[usize]]) -> Result<Below, usize> {
        let jump = |to: &usize| Way { to: *to, jumps: 1, goes: false };
        let ways: Vec<Vec<Way>> = ways.iter().map(|ways| ways.iter().map(jump).collect()).collect();
        Walk::new(&ways).below(0)
    }

    #[test]
    fn the_longest_way_counts() {
        let depth = |ways| below(ways).map(|below| below.depth);
        assert_eq!(depth(&[&[]]), Ok(1));
        assert_eq!(depth(&[&[1, 2], &[2], &[]]), Ok(3));
        assert_eq!(depth(&[&[1, 2, 3], &[3], &[1], &[]]), Ok(4));
        assert_eq!(depth(&[&[1, 2], &[3], &[3], &[]]), Ok(3), "two ways to one chain are no loop");
    }

    #[test]
    fn loops_are_found_where_a_packet_can_come() {
        assert_eq!(below(&[&[0]]), Err(0));
        assert_eq!(below(&[&[1], &[2], &[1]]), Err(1));
        assert_eq!(
            below(&[&[], &[2], &[1]]),
            Ok(Below { depth: 1, jumps: 0 }),
            "nobody comes there"
        );
        let jump = |to| vec![Way { to, jumps: 1, goes: false }];
        let chain: Vec<Vec<Way>> = (1..100_000).map(jump).chain([vec![]]).collect();
        let all = Below { depth: 100_000, jumps: 99_999 };
        assert_eq!(Walk::new(&chain).below(0), Ok(all));
    }

    #[test]
    fn every_jump_is_counted_and_of_those_without_return_the_worst() {
        let jumps = |ways: &[Vec<Way>]| Walk::new(ways).below(0).map(|below| below.jumps);
        let twice = |to| Way { to, jumps: 2, goes: false };
        let goes = |to| Way { to, jumps: 0, goes: true };
        assert_eq!(jumps(&[vec![twice(1)], vec![twice(2)], vec![]]), Ok(2 * (1 + 2)));
        assert_eq!(jumps(&[vec![goes(1), goes(2)], vec![twice(2)], vec![]]), Ok(1 + 2));
        let both = Way { to: 1, jumps: 3, goes: true };
        assert_eq!(jumps(&[vec![both], vec![]]), Ok(4));
        let doubled: Vec<Vec<Way>> = (1..100).map(|to| vec![twice(to)]).chain([vec![]]).collect();
        assert_eq!(jumps(&doubled), Ok(u64::MAX), "and not one less than none");
    }
}
