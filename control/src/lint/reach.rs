//! Which packets come to a chain.
//!
//! A packet that passes through has two interfaces. What is for the machine has none to leave by, nor has what comes
//! to PREROUTING, and what the machine
//! sends came in by none ([`Interfaces::NOTHING`]). So the base chains have three boxes of packets, and a
//! chain that rules of more than one lead to has the union of theirs: one box where that is one, else two.
//!
//! Whether the rules on the way let any packet through is not asked. So more packets are thought to come than
//! may. No harm is done: all that is said of a rule, is said of all packets that come to it.

use std::collections::BTreeMap;

use super::interfaces::Interfaces;
use super::leads_to;
use super::region::Region;
use crate::command::ChainName;
use crate::ruleset::Ruleset;

/// In which base chains packets begin that come to a chain: a bit for each.
type Hooks = u8;

const INPUT: Hooks = 0b001;
const FORWARD: Hooks = 0b010;
const OUTPUT: Hooks = 0b100;
const ALL: Hooks = 0b111;

/// Of each chain that packets may come to, where these begin.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    hooks: BTreeMap<&'a ChainName, Hooks>,
    /// Every interface.
    ports: u128,
}

impl<'a> Reach<'a> {
    pub(super) fn of(ruleset: &'a Ruleset, interfaces: &Interfaces) -> Self {
        let mut hooks: BTreeMap<&ChainName, Hooks> = BTreeMap::new();
        for base in ruleset.chains().iter().filter(|chain| chain.policy.is_some()) {
            let hook = match base.name.as_str() {
                // Neither has an interface to leave by, and the two are in different tables.
                "INPUT" | "PREROUTING" => INPUT,
                "FORWARD" => FORWARD,
                "OUTPUT" => OUTPUT,
                _ => ALL,
            };
            let mut waiting = vec![&base.name];
            while let Some(name) = waiting.pop() {
                let known = hooks.entry(name).or_default();
                if *known & hook == hook {
                    continue;
                }
                *known |= hook;
                let rules = ruleset.chain(name).map_or(&[][..], |chain| &chain.rules);
                waiting.extend(rules.iter().filter_map(|entry| leads_to(&entry.rule)));
            }
        }
        Self { hooks, ports: interfaces.ports() }
    }

    /// Whether a packet may come to the chain.
    pub(super) fn comes_to(&self, chain: &ChainName) -> bool {
        self.hooks.contains_key(chain)
    }

    /// Those packets of a region that may come to the chain, in boxes that do not overlap, none of them
    /// empty. To a chain that nothing leads to rules may lead some day: from anywhere.
    pub(super) fn parts(&self, chain: &ChainName, region: &Region) -> Vec<Region> {
        let (some, none) = (self.ports, Interfaces::NOTHING);
        let boxes: &[(u128, u128)] = match self.hooks.get(chain).copied().unwrap_or(ALL) {
            INPUT => &[(some, none)],
            FORWARD => &[(some, some)],
            OUTPUT => &[(none, some)],
            hooks if hooks == INPUT | FORWARD => &[(some, some | none)],
            hooks if hooks == FORWARD | OUTPUT => &[(some | none, some)],
            hooks if hooks == INPUT | OUTPUT => &[(some, none), (none, some)],
            _ => &[(some, some | none), (none, some)],
        };
        let parts = boxes.iter().map(|interfaces| region.by(*interfaces));
        parts.filter(|part| !part.is_empty()).collect()
    }
}
