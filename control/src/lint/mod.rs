//! Rules that do not do what somebody meant: `weirctl lint`.
//!
//! Every finding names the rule and either the rules that are to blame or a packet that shows it. What is
//! found is certain: the packets of a rule are sets (`space.rs`) of those that come to its chain (`reach.rs`),
//! and a rule is hidden only if nothing is left of its set when those of earlier rules are taken away. Not
//! everything is found: where sets come in too many pieces (512), or conditions are no sets, nothing is said.
//!
//! | kind | what it means |
//! |---|---|
//! | `contradiction` | no packet that comes to the chain fulfils all of the rule's conditions |
//! | `shadowed` | earlier rules decide about all of its packets |
//! | `redundant` | the same, as the rule would; or what follows would treat them as the rule does |
//! | `unreachable` | nothing leads to the chain, or only with other packets |
//! | `no_effect` | the rule leads to a chain without rules |
//! | `one_way` | connections may begin, and what follows is let through by no rule |
//! | `unknown_interface` | no port of Weir has a name that the rule asks for |
//!
//! A rule's packets are those for which all of its conditions hold. A rule that reads a header of TCP, UDP or
//! ICMP also drops on the spot what should have one and has none whole (`tcp_mt`, net/netfilter/xt_tcpudp.c): that is
//! left aside where it is the rule in question that would do so, for no such packet is one of its own, and
//! counted where other rules would do it to the rule's own packets.
//!
//! In table raw a rule may change the state of a packet (`-j CT --notrack`), so conditions about it are no sets there.
//! What table raw drops or leaves untracked is not taken into account in table filter.
//!
//! Findings are true one by one: when a rule has been taken out, the others may be needed.

mod interfaces;
mod intervals;
mod manner;
mod one_way;
mod overlap;
mod reach;
mod region;
mod sets;
mod space;
mod spaces;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::command::ChainName;
use crate::rule::{Rule, Target};
use crate::ruleset::{Chain, Ruleset};
use interfaces::Interfaces;
use reach::Reach;
use region::{Packets, Region};
use space::Space;
use spaces::Spaces;

/// One thing that is wrong, or likely to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind it is of.
    pub kind: Kind,
    /// The chain.
    pub chain: ChainName,
    /// The rule's number in it; `None` if it is about the chain.
    pub rule: Option<usize>,
    /// What is wrong, in words.
    pub what: String,
    /// Rules of the same chain that are to blame.
    pub because_of: Vec<usize>,
    /// A packet that shows it.
    pub witness: Option<String>,
}

/// What kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// No packet fulfils all of its conditions.
    Contradiction,
    /// Earlier rules decide about all of its packets.
    Shadowed,
    /// Its packets would be treated the same without it.
    Redundant,
    /// No packet of its kind comes there.
    Unreachable,
    /// It leads to a chain without rules.
    NoEffect,
    /// What follows the first packet of a connection is let through by no rule.
    OneWay,
    /// It names an interface that there is not.
    UnknownInterface,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contradiction => "contradiction",
            Self::Shadowed => "shadowed",
            Self::Redundant => "redundant",
            Self::Unreachable => "unreachable",
            Self::NoEffect => "no_effect",
            Self::OneWay => "one_way",
            Self::UnknownInterface => "unknown_interface",
        }
    }
}

/// Looks at a rule set. `ports` are the names of Weir's ports, if they are known.
pub fn lint(ruleset: &Ruleset, ports: Option<&[String]>) -> Vec<Finding> {
    let linter = Linter::new(ruleset, ports);
    let mut findings = Vec::new();
    for chain in ruleset.chains() {
        linter.chain(chain, &mut findings);
    }
    if let Some(ports) = ports {
        unknown_interfaces(ruleset, ports, &mut findings);
    }
    findings
}

struct Linter<'a> {
    ruleset: &'a Ruleset,
    ports: Option<&'a [String]>,
    packets: Packets,
    reach: Reach<'a>,
    /// With which packets rules lead to each chain that packets come to.
    entrances: BTreeMap<&'a ChainName, Vec<Region>>,
}

/// The rules of a chain, and what they are about.
struct Looked<'a> {
    chain: &'a Chain,
    spaces: Spaces<'a>,
    /// Of each rule, its packets among those that come to the chain.
    parts: Vec<Vec<Region>>,
}

impl<'a> Linter<'a> {
    fn new(ruleset: &'a Ruleset, ports: Option<&'a [String]>) -> Self {
        let rules =
            || ruleset.chains().iter().flat_map(|chain| &chain.rules).map(|entry| &*entry.rule);
        let interfaces = match ports {
            Some(ports) => Interfaces::known(ports),
            None => Interfaces::mentioned(rules()),
        };
        let reach = Reach::of(ruleset, &interfaces);
        let (family, table) = (ruleset.family(), ruleset.table());
        let packets = Packets { family, table, interfaces };
        let mut entrances: BTreeMap<_, Vec<Region>> = BTreeMap::new();
        for chain in ruleset.chains().iter().filter(|chain| reach.comes_to(&chain.name)) {
            for entry in &chain.rules {
                let Some(name) = leads_to(&entry.rule) else { continue };
                let region = Space::of(&entry.rule, &packets).region;
                entrances.entry(name).or_default().extend(reach.parts(&chain.name, &region));
            }
        }
        Self { ruleset, ports, packets, reach, entrances }
    }

    fn chain(&self, chain: &'a Chain, findings: &mut Vec<Finding>) {
        if !self.reach.comes_to(&chain.name) {
            let what = match self.ruleset.references(&chain.name) {
                0 => format!("no rule leads to chain {}", chain.name),
                _ => format!("only chains lead to chain {} that no packet comes to", chain.name),
            };
            findings.push(about_chain(chain, Kind::Unreachable, what));
        }
        let rules = chain.rules.iter();
        let spaces = Spaces::of(rules.map(|entry| Space::of(&entry.rule, &self.packets)));
        let places = 0..chain.rules.len();
        let parts =
            places.clone().map(|place| self.reach.parts(&chain.name, &spaces.at(place).region));
        let looked = Looked { chain, parts: parts.collect(), spaces };
        let mut idle = Vec::with_capacity(chain.rules.len());
        for place in places {
            let rule = &*chain.rules[place].rule;
            let finding = match self.names_no_port(rule) {
                // Told as an interface that there is not.
                true => None,
                false => self
                    .contradiction(&looked, place)
                    .or_else(|| self.never_entered(&looked, place))
                    .or_else(|| self.hidden(&looked, place))
                    .or_else(|| self.repeated_below(&looked, place))
                    .or_else(|| self.no_effect(rule)),
            };
            idle.push(finding.is_some());
            if let Some(Found { kind, what, because_of, witness }) = finding {
                let (chain, rule) = (chain.name.clone(), Some(place + 1));
                findings.push(Finding { kind, chain, rule, what, because_of, witness });
            }
        }
        findings.extend(self.one_way(&looked, &idle));
    }

    /// Whether a rule asks for an interface that is known to be none.
    fn names_no_port(&self, rule: &Rule) -> bool {
        let Some(ports) = self.ports else { return false };
        let patterns = [&rule.in_interface, &rule.out_interface].into_iter().flatten();
        let mut asked = patterns.filter(|pattern| !pattern.negated);
        asked.any(|pattern| !ports.iter().any(|port| pattern.value.matches(port)))
    }

    fn contradiction(&self, looked: &Looked<'_>, place: usize) -> Option<Found> {
        if !looked.parts[place].is_empty() {
            return None;
        }
        let what = match looked.spaces.at(place).region.empty_dimension() {
            Some(dimension) if dimension != "ingress" && dimension != "egress" => {
                format!("no packet has what its conditions ask of {}", dimension.replace('_', " "))
            }
            _ => {
                let name = &looked.chain.name;
                format!("no packet that comes to chain {name} has the interfaces that it asks for")
            }
        };
        Some(Found::new(Kind::Contradiction, what))
    }

    fn never_entered(&self, looked: &Looked<'_>, place: usize) -> Option<Found> {
        let name = &looked.chain.name;
        let ways = self.entrances.get(name)?;
        if ways.iter().any(|way| looked.parts[place].iter().any(|part| way.meets(part))) {
            return None;
        }
        let what = format!("the rules that lead to chain {name} lead other packets there");
        Some(Found::new(Kind::Unreachable, what))
    }

    fn no_effect(&self, rule: &Rule) -> Option<Found> {
        let Some(Target::Jump(name)) = &rule.target else { return None };
        let chain = self.ruleset.chain(name)?;
        chain
            .rules
            .is_empty()
            .then(|| Found::new(Kind::NoEffect, format!("chain {name} has no rules")))
    }
}

/// A finding about a rule.
struct Found {
    kind: Kind,
    what: String,
    because_of: Vec<usize>,
    witness: Option<String>,
}

impl Found {
    fn new(kind: Kind, what: String) -> Self {
        Self { kind, what, because_of: Vec::new(), witness: None }
    }
}

fn about_chain(chain: &Chain, kind: Kind, what: String) -> Finding {
    let chain = chain.name.clone();
    Finding { kind, chain, rule: None, what, because_of: Vec::new(), witness: None }
}

fn unknown_interfaces(ruleset: &Ruleset, ports: &[String], findings: &mut Vec<Finding>) {
    for chain in ruleset.chains() {
        for (number, entry) in (1..).zip(&chain.rules) {
            let rule = &entry.rule;
            for (option, pattern) in [("-i", &rule.in_interface), ("-o", &rule.out_interface)] {
                let Some(pattern) = pattern else { continue };
                // `+' fits also where there is no interface.
                if pattern.value.is_any() || ports.iter().any(|port| pattern.value.matches(port)) {
                    continue;
                }
                let always = if pattern.negated {
                    "so the condition always holds"
                } else {
                    "so the rule never matches"
                };
                let what = format!(
                    "no port of Weir is called `{}' ({option}), {always}; there are {}",
                    pattern.value,
                    ports.join(", ")
                );
                let kind = Kind::UnknownInterface;
                findings.push(Finding { rule: Some(number), ..about_chain(chain, kind, what) });
            }
        }
    }
}

/// The chain that packets of the rule go to.
fn leads_to(rule: &Rule) -> Option<&ChainName> {
    match rule.target.as_ref()? {
        Target::Jump(chain) | Target::Goto(chain) => Some(chain),
        _ => None,
    }
}
