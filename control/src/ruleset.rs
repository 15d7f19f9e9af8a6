//! The rule set as the daemon holds it, and how commands change it.
//!
//! Every rule gets a [`RuleId`] when it is made, and no id is ever given twice. Counters and
//! other per-rule state are kept by id outside of this module, so they survive every change
//! that does not touch their rule. `-R` makes a new rule: a new id, counters at zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::{ChainName, Command};
use crate::rule::{InvalidRule, Rule};

/// How many rules all chains together may hold. Beyond it, `-A` and `-I` fail and change
/// nothing ([`RuleError::TooManyRules`]).
pub const RULES_MAX: usize = 65_536;

/// Names a rule for as long as it exists; never reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RuleId(pub u64);

/// What a chain does with packets that none of its rules decided about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Policy {
    /// Let them pass.
    #[default]
    Accept,
    /// Throw them away.
    Drop,
}

impl Policy {
    /// The word after the chain in `-P`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }
}

/// One rule in its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The rule's name for its life.
    pub id: RuleId,
    /// What it says.
    pub rule: Rule,
}

/// Rules in order, and what happens after the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Its name.
    pub name: ChainName,
    /// What happens to packets that no rule decided about.
    pub policy: Policy,
    /// The rules; rule number 1 is `rules[0]`.
    pub rules: Vec<Entry>,
}

/// Packets and bytes (IP total length) that fulfilled all conditions of a rule, or fell to a
/// policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Counters of a whole rule set, as a listing shows them. What is missing counts as zero.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterTable {
    /// By rule.
    pub rules: BTreeMap<RuleId, Counters>,
    /// By chain: packets that its policy decided about.
    pub policies: BTreeMap<ChainName, Counters>,
}

impl CounterTable {
    /// Counters of one rule.
    pub fn rule(&self, id: RuleId) -> Counters {
        self.rules.get(&id).copied().unwrap_or_default()
    }

    /// Counters of one chain's policy.
    pub fn policy(&self, chain: &ChainName) -> Counters {
        self.policies.get(chain).copied().unwrap_or_default()
    }
}

/// All chains. The order is the order of listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruleset {
    chains: Vec<Chain>,
    next_id: u64,
}

impl Default for Ruleset {
    fn default() -> Self {
        Self::new()
    }
}

/// What a command did, for whoever keeps state beside the rules.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Rules made, in the order in which the command named them. Their counters start at zero.
    pub added: Vec<RuleId>,
    /// Rules gone, with their counters.
    pub removed: Vec<RuleId>,
    /// Rules whose counters are to be set to zero.
    pub zeroed_rules: Vec<RuleId>,
    /// Chains whose policy counters are to be set to zero.
    pub zeroed_policies: Vec<ChainName>,
    /// Whether packets may now be treated otherwise, so that a new policy must be compiled and
    /// adopted before the command is answered.
    pub changed: bool,
}

/// Why a command failed. Nothing was changed. The texts are those of iptables where it has one,
/// without its `iptables: ` in front.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuleError {
    /// No such chain.
    #[error("No chain/target/match by that name.")]
    NoSuchChain {
        /// The name asked for.
        chain: String,
    },
    /// `-I` beyond the end.
    #[error("Index of insertion too big.")]
    InsertIndex,
    /// `-R` beyond the end.
    #[error("Index of replacement too big.")]
    ReplaceIndex,
    /// `-D` beyond the end.
    #[error("Index of deletion too big.")]
    DeleteIndex,
    /// `-Z` beyond the end.
    #[error("Index of counter too big.")]
    ZeroIndex,
    /// `-C` or `-D` of a rule that is not there.
    #[error("Bad rule (does a matching rule exist in that chain?).")]
    NoSuchRule,
    /// The rule set is full.
    #[error(
        "the rule set would hold {wanted} rules, and Weir's limit is {RULES_MAX}: delete rules, or join some by ranges and masks"
    )]
    TooManyRules {
        /// Rules there would be.
        wanted: usize,
    },
    /// A rule that cannot be enforced; only a client other than `weirctl` sends one.
    #[error("Invalid argument: {reason}")]
    InvalidRule {
        /// What is wrong with it, from [`InvalidRule`].
        reason: String,
    },
}

impl From<InvalidRule> for RuleError {
    fn from(error: InvalidRule) -> Self {
        Self::InvalidRule { reason: error.to_string() }
    }
}

impl Ruleset {
    /// The rule set of a fresh start: the chain FORWARD, empty, with policy ACCEPT.
    pub fn new() -> Self {
        let forward =
            Chain { name: ChainName::forward(), policy: Policy::Accept, rules: Vec::new() };
        Self { chains: vec![forward], next_id: 1 }
    }

    /// The chains in the order of listings.
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The chain of that name.
    pub fn chain(&self, name: &ChainName) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == *name)
    }

    /// Rules in all chains.
    pub fn rule_count(&self) -> usize {
        self.chains.iter().map(|chain| chain.rules.len()).sum()
    }

    /// Carries out `command`: wholly, or not at all. Listings are only checked for an existing
    /// chain.
    ///
    /// # Errors
    /// See [`RuleError`]; the rule set is then as before, though ids may have been used up.
    pub fn apply(&mut self, command: &Command) -> Result<Outcome, RuleError> {
        match command {
            Command::Append { chain, rules } => {
                let position = self.chain_mut(chain)?.rules.len();
                self.insert(chain, position, rules, |_, offset| position + offset)
            }
            Command::Insert { chain, number, rules } => {
                let count = self.chain_mut(chain)?.rules.len();
                let position = index(*number).filter(|position| *position <= count);
                let position = position.ok_or(RuleError::InsertIndex)?;
                self.insert(chain, position, rules, |position, _| position)
            }
            Command::Delete { chain, rules } => self.delete(chain, rules),
            Command::DeleteNumber { chain, number } => {
                let rules = &mut self.chain_mut(chain)?.rules;
                let position = existing(*number, rules.len()).ok_or(RuleError::DeleteIndex)?;
                let removed = rules.remove(position).id;
                Ok(Outcome { removed: vec![removed], changed: true, ..Outcome::default() })
            }
            Command::Replace { chain, number, rule } => self.replace(chain, *number, rule),
            Command::Check { chain, rules } => {
                let entries = &self.chain_mut(chain)?.rules;
                match rules.iter().all(|rule| entries.iter().any(|entry| entry.rule == *rule)) {
                    true => Ok(Outcome::default()),
                    false => Err(RuleError::NoSuchRule),
                }
            }
            Command::Flush { chain } => {
                let mut outcome = Outcome { changed: true, ..Outcome::default() };
                for chain in self.selected_mut(chain.as_ref())? {
                    outcome.removed.extend(chain.rules.drain(..).map(|entry| entry.id));
                }
                Ok(outcome)
            }
            Command::Policy { chain, policy } => {
                self.chain_mut(chain)?.policy = *policy;
                // libiptc gives a policy fresh counters whenever it is set.
                let zeroed_policies = vec![chain.clone()];
                Ok(Outcome { zeroed_policies, changed: true, ..Outcome::default() })
            }
            Command::Zero { chain, number } => self.zero(chain.as_ref(), *number),
            Command::List { selection, .. } | Command::ListRules { selection, .. } => {
                self.selected_mut(selection.chain.as_ref())?;
                Ok(Outcome::default())
            }
        }
    }

    fn chain_mut(&mut self, name: &ChainName) -> Result<&mut Chain, RuleError> {
        self.chains
            .iter_mut()
            .find(|chain| chain.name == *name)
            .ok_or_else(|| RuleError::NoSuchChain { chain: name.to_string() })
    }

    /// One chain, or all of them.
    fn selected_mut(&mut self, name: Option<&ChainName>) -> Result<&mut [Chain], RuleError> {
        match name {
            None => Ok(&mut self.chains),
            Some(name) => self.chain_mut(name).map(std::slice::from_mut),
        }
    }

    /// Inserts each rule at `place(position, offset)`, where `offset` counts the rules before it.
    fn insert(
        &mut self,
        chain: &ChainName,
        position: usize,
        rules: &[Rule],
        place: impl Fn(usize, usize) -> usize,
    ) -> Result<Outcome, RuleError> {
        let wanted = self.rule_count() + rules.len();
        for rule in rules {
            rule.validate()?;
        }
        if wanted > RULES_MAX {
            return Err(RuleError::TooManyRules { wanted });
        }
        let mut next_id = self.next_id;
        let entries = &mut self.chain_mut(chain)?.rules;
        let mut added = Vec::with_capacity(rules.len());
        for (offset, rule) in rules.iter().enumerate() {
            let id = RuleId(next_id);
            next_id += 1;
            entries.insert(place(position, offset), Entry { id, rule: rule.clone() });
            added.push(id);
        }
        self.next_id = next_id;
        Ok(Outcome { changed: !added.is_empty(), added, ..Outcome::default() })
    }

    fn delete(&mut self, chain: &ChainName, rules: &[Rule]) -> Result<Outcome, RuleError> {
        let entries = &mut self.chain_mut(chain)?.rules;
        // Marked first and removed at the end, so that a missing rule leaves all others.
        let mut removed: Vec<RuleId> = Vec::with_capacity(rules.len());
        for rule in rules {
            let found = entries
                .iter()
                .find(|entry| entry.rule == *rule && !removed.contains(&entry.id))
                .ok_or(RuleError::NoSuchRule)?;
            removed.push(found.id);
        }
        entries.retain(|entry| !removed.contains(&entry.id));
        Ok(Outcome { changed: !removed.is_empty(), removed, ..Outcome::default() })
    }

    fn replace(
        &mut self,
        chain: &ChainName,
        number: u32,
        rule: &Rule,
    ) -> Result<Outcome, RuleError> {
        rule.validate()?;
        let id = RuleId(self.next_id);
        let entries = &mut self.chain_mut(chain)?.rules;
        let position = existing(number, entries.len()).ok_or(RuleError::ReplaceIndex)?;
        let old = std::mem::replace(&mut entries[position], Entry { id, rule: rule.clone() });
        self.next_id += 1;
        Ok(Outcome { added: vec![id], removed: vec![old.id], changed: true, ..Outcome::default() })
    }

    fn zero(
        &mut self,
        chain: Option<&ChainName>,
        number: Option<u32>,
    ) -> Result<Outcome, RuleError> {
        let mut outcome = Outcome::default();
        for chain in self.selected_mut(chain)? {
            match number {
                None => {
                    outcome.zeroed_rules.extend(chain.rules.iter().map(|entry| entry.id));
                    outcome.zeroed_policies.push(chain.name.clone());
                }
                Some(number) => {
                    let position =
                        existing(number, chain.rules.len()).ok_or(RuleError::ZeroIndex)?;
                    outcome.zeroed_rules.push(chain.rules[position].id);
                }
            }
        }
        Ok(outcome)
    }
}

/// Where rule `number` is, counting from 0; 0 is no rule number.
fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}

/// As [`index`], of a rule that exists.
fn existing(number: u32, count: usize) -> Option<usize> {
    index(number).filter(|position| *position < count)
}
