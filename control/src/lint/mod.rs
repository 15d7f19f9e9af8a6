//! Rules that do not do what somebody meant: `weirctl lint`.
//!
//! Every finding names the rule and either the rules that are to blame or a packet that shows it. What is
//! found is certain: the packets of a rule are sets (`space.rs`), and a rule is hidden only if nothing
//! is left of its set when those of earlier rules are taken away. Not everything is found: where sets
//! come in too many pieces (512), or conditions are no sets, nothing is said.
//!
//! | kind | what it means |
//! |---|---|
//! | `contradiction` | the rule's own conditions exclude each other |
//! | `shadowed` | earlier rules decide about all of its packets, otherwise |
//! | `redundant` | without the rule, all packets would be treated the same |
//! | `unreachable` | nothing leads to the chain, or only with other packets |
//! | `no_effect` | the rule leads to a chain without rules |
//! | `one_way` | connections may begin, and their answers are dropped |
//! | `unknown_interface` | no port of Weir has a name that the rule asks for |

mod intervals;
mod space;
mod spaces;

use serde::Serialize;

use crate::command::ChainName;
use crate::rule::{CtStates, Match, Rule, Target};
use crate::ruleset::{Chain, Policy, Ruleset};
use space::{Interfaces, Region, Space};
use spaces::Spaces;

/// More pieces than this are not kept of what is left of a rule.
const PIECES_MAX: usize = 512;

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
    /// Its conditions exclude each other.
    Contradiction,
    /// Earlier rules decide otherwise about all of its packets.
    Shadowed,
    /// It changes nothing.
    Redundant,
    /// No packet of its kind comes there.
    Unreachable,
    /// It leads to a chain without rules.
    NoEffect,
    /// Answers are dropped.
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
    let rules = || ruleset.chains().iter().flat_map(|chain| &chain.rules).map(|entry| &*entry.rule);
    let interfaces = match ports {
        Some(ports) => Interfaces::known(ports),
        None => Interfaces::mentioned(rules()),
    };
    let linter = Linter { ruleset, interfaces };
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
    interfaces: Interfaces,
}

/// What becomes of packets that a rule decides about, as seen from its chain.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End<'a> {
    /// The rule's own target: of two equal ones, either will do.
    Target(&'a Target),
    /// As the chain's end.
    Policy(Option<Policy>),
}

impl Linter<'_> {
    fn chain(&self, chain: &Chain, findings: &mut Vec<Finding>) {
        let entrances = self.entrances(chain);
        if chain.policy.is_none() && entrances.is_empty() {
            let what = format!("no rule leads to chain {}", chain.name);
            findings.push(about_chain(chain, Kind::Unreachable, what));
        }
        let spaces =
            Spaces::of(chain.rules.iter().map(|entry| Space::of(&entry.rule, &self.interfaces)));
        for (place, entry) in chain.rules.iter().enumerate() {
            if let Some("ingress" | "egress") = spaces.at(place).region.empty_dimension() {
                // Told as an interface that there is not.
                continue;
            }
            let finding = self
                .contradiction(spaces.at(place))
                .or_else(|| self.never_entered(chain, &entrances, spaces.at(place)))
                .or_else(|| self.hidden(chain, &spaces, place))
                .or_else(|| self.repeated_below(chain, &spaces, place))
                .or_else(|| self.no_effect(&entry.rule));
            if let Some(finding) = finding {
                let Found { kind, what, because_of, witness } = finding;
                let (chain, rule) = (chain.name.clone(), Some(place + 1));
                findings.push(Finding { kind, chain, rule, what, because_of, witness });
            }
        }
        self.one_way(chain, findings);
    }

    /// The packets with which rules lead to a chain; of a built-in one, all.
    fn entrances(&self, chain: &Chain) -> Vec<Region> {
        if chain.policy.is_some() {
            return vec![Region::all(&self.interfaces)];
        }
        let rules = self.ruleset.chains().iter().flat_map(|chain| &chain.rules);
        let leading = rules
            .filter(|entry| entry.rule.target.as_ref().and_then(leads_to) == Some(&chain.name));
        leading.map(|entry| Space::of(&entry.rule, &self.interfaces).region).collect()
    }

    fn contradiction(&self, space: &Space<'_>) -> Option<Found> {
        let dimension = space.region.empty_dimension()?.replace('_', " ");
        let what = format!("no packet has what its conditions ask of {dimension}");
        Some(Found::new(Kind::Contradiction, what))
    }

    fn never_entered(
        &self,
        chain: &Chain,
        entrances: &[Region],
        space: &Space<'_>,
    ) -> Option<Found> {
        if entrances.is_empty() || entrances.iter().any(|way| way.meets(&space.region)) {
            return None;
        }
        let what = format!("the rules that lead to chain {} lead other packets there", chain.name);
        Some(Found::new(Kind::Unreachable, what))
    }

    /// Whether earlier rules decide about all packets of a rule.
    fn hidden(&self, chain: &Chain, spaces: &Spaces<'_>, place: usize) -> Option<Found> {
        let space = spaces.at(place);
        let mut left = vec![space.region.clone()];
        let mut blame = Vec::new();
        for earlier in spaces.near(place, 0..place) {
            let decides = chain.rules[earlier].rule.target.as_ref().is_some_and(decides);
            if !decides || !spaces.at(earlier).is_cut_no_more_than(space) {
                continue;
            }
            let hider = &spaces.at(earlier).region;
            let untouched = left.len();
            let cut: Vec<Region> = left.extract_if(.., |piece| piece.meets(hider)).collect();
            if left.len() == untouched {
                continue;
            }
            left.extend(cut.iter().flat_map(|piece| piece.without(hider)));
            blame.push(earlier);
            if left.len() > PIECES_MAX {
                return None;
            }
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            return None;
        }
        let own = chain.rules[place].rule.target.as_ref();
        let same = blame.iter().all(|earlier| chain.rules[*earlier].rule.target.as_ref() == own);
        let kind = if same { Kind::Redundant } else { Kind::Shadowed };
        let because_of: Vec<usize> = blame.iter().map(|earlier| earlier + 1).collect();
        let what = format!(
            "{} before it decide{} about all of its packets{}",
            numbered(&because_of),
            if because_of.len() == 1 { "s" } else { "" },
            if same { ", and as it would" } else { "" }
        );
        let witness = space.region.example(&self.interfaces, self.ruleset.family());
        Some(Found { because_of, witness, ..Found::new(kind, what) })
    }

    /// Whether a later rule, or the chain's policy, would treat all packets of a rule as it does.
    fn repeated_below(&self, chain: &Chain, spaces: &Spaces<'_>, place: usize) -> Option<Found> {
        let own = chain.rules[place].rule.target.as_ref().filter(|target| decides(target))?;
        let space = spaces.at(place);
        for later in spaces.near(place, place + 1..chain.rules.len()) {
            let target = chain.rules[later].rule.target.as_ref();
            if target == Some(own)
                && spaces.at(later).is_cut_no_more_than(space)
                && space.region.without(&spaces.at(later).region).is_empty()
            {
                let because_of = vec![later + 1];
                let what = format!("rule {} would do the same with all of its packets", later + 1);
                return Some(Found { because_of, ..Found::new(Kind::Redundant, what) });
            }
            // What stands between must not touch them, or do nothing that can be told.
            if target.is_some()
                && spaces.at(later).region.meets(&space.region)
                && target != Some(own)
            {
                return None;
            }
        }
        let end = match own {
            Target::Accept => End::Policy(Some(Policy::Accept)),
            Target::Drop => End::Policy(Some(Policy::Drop)),
            Target::Return => End::Policy(None),
            other => End::Target(other),
        };
        let what =
            format!("the policy of chain {} would do the same with all of its packets", chain.name);
        let by_return = "the chain ends for all of its packets anyway".to_owned();
        match (end, chain.policy) {
            (End::Policy(Some(own)), Some(policy)) if own == policy => {
                Some(Found::new(Kind::Redundant, what))
            }
            (End::Policy(None), _) => Some(Found::new(Kind::Redundant, by_return)),
            _ => None,
        }
    }

    fn no_effect(&self, rule: &Rule) -> Option<Found> {
        let Some(Target::Jump(name)) = &rule.target else { return None };
        let chain = self.ruleset.chain(name)?;
        chain
            .rules
            .is_empty()
            .then(|| Found::new(Kind::NoEffect, format!("chain {name} has no rules")))
    }

    /// A chain that lets connections begin, drops by its policy, and lets no answer pass.
    fn one_way(&self, chain: &Chain, findings: &mut Vec<Finding>) {
        if chain.policy != Some(Policy::Drop) {
            return;
        }
        let asks = |rule: &Rule, state: CtStates| {
            rule.matches.iter().any(|extension| {
                let states = match extension {
                    Match::State(asked) => Some(asked.states),
                    Match::Conntrack(asked) => asked.states,
                    _ => None,
                };
                states.is_some_and(|states| states.value.intersects(state) != states.negated)
            })
        };
        // Another chain may.
        let accepts = |rule: &Rule| {
            matches!(rule.target, Some(Target::Accept | Target::Jump(_) | Target::Goto(_)))
        };
        let new = chain.rules.iter().position(|entry| {
            accepts(&entry.rule)
                && asks(&entry.rule, CtStates::NEW)
                && !asks(&entry.rule, CtStates::ESTABLISHED)
        });
        let Some(new) = new else { return };
        let established = CtStates::ESTABLISHED;
        let answered = chain.rules.iter().any(|entry| {
            let stateless = entry
                .rule
                .matches
                .iter()
                .all(|extension| !matches!(extension, Match::State(_) | Match::Conntrack(_)));
            accepts(&entry.rule) && (stateless || asks(&entry.rule, established))
        });
        if answered {
            return;
        }
        let what = format!(
            "rule {} lets connections begin, and no rule lets their answers pass: policy DROP drops them; \
             `-m state --state ESTABLISHED,RELATED -j ACCEPT' is missing",
            new + 1
        );
        findings
            .push(Finding { because_of: vec![new + 1], ..about_chain(chain, Kind::OneWay, what) });
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
                if ports.iter().any(|port| pattern.value.matches(port)) {
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

/// Whether packets for which a rule holds meet no later rule of its chain.
fn decides(target: &Target) -> bool {
    !matches!(target, Target::Jump(_)) && !target.continues()
}

fn leads_to(target: &Target) -> Option<&ChainName> {
    match target {
        Target::Jump(chain) | Target::Goto(chain) => Some(chain),
        _ => None,
    }
}

/// `rule 3`, `rules 3, 5 and 7`.
fn numbered(rules: &[usize]) -> String {
    match rules {
        [] => "nothing".to_owned(),
        [one] => format!("rule {one}"),
        [some @ .., last] => {
            let some: Vec<String> = some.iter().map(ToString::to_string).collect();
            format!("rules {} and {last}", some.join(", "))
        }
    }
}
