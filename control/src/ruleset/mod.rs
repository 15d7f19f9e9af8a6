//! The rule set as the daemon holds it, and how commands change it.
//!
//! Chains are those of libiptc: the built-in ones first, then user-defined ones in the order of their
//! names' bytes. A user-defined chain ends where a `RETURN` would stand; a chain may be left only by
//! rules that exist, so jumps always lead somewhere and never in circles.
//!
//! Every rule gets a [`RuleId`] when it is made, and no id is ever given twice. Counters and
//! other per-rule state are kept by id outside of this module, so they survive every change
//! that does not touch their rule. `-R` makes a new rule: a new id, counters at zero.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod apply;
mod chains;

use std::sync::Arc;

use crate::rule::{ChainName, Family, InvalidRule, Rule, Table};
use crate::set::SetName;

/// How many chains there may be. Beyond it, `-N` fails ([`RuleError::TooManyChains`]).
pub const CHAINS_MAX: usize = 4_096;

/// How many chains deep a packet may be: the base chain and what is jumped to from there, one from the
/// other. Rules that would lead deeper are refused ([`RuleError::TooDeep`]).
pub const CHAIN_DEPTH_MAX: usize = 64;

/// How often one packet may be led from chain to chain, if it fulfils the conditions of every rule. Chains
/// that lead twice each to the next double it with each of them, and one packet would keep a worker
/// for ever. Beyond it, rules are refused ([`RuleError::TooManyJumps`]).
pub const JUMPS_MAX: u64 = 1 << 20;

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
    /// What it says. Shared by all copies of the rule set that have the rule.
    pub rule: Arc<Rule>,
}

/// Rules in order, and what happens after the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Its name.
    pub name: ChainName,
    /// What happens to packets that no rule decided about; `None` for a user-defined chain, from
    /// which they return to the rule after the one that led here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<Policy>,
    /// The rules; rule number 1 is `rules[0]`.
    pub rules: Vec<Entry>,
}

impl Chain {
    /// Whether it is the base chain of that name: a user-defined one may have the name of another table's.
    pub fn is_base(&self, name: &ChainName) -> bool {
        self.policy.is_some() && self.name == *name
    }
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

/// All chains of a table of one family. The order is the order of listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ruleset {
    family: Family,
    #[serde(default)]
    table: Table,
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
    /// Rules whose counters are to be set to something else (`-c`), after all that is set to zero.
    pub counted_rules: Vec<(RuleId, Counters)>,
    /// Chains whose policy counters are, likewise.
    pub counted_policies: Vec<(ChainName, Counters)>,
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
    /// `-N` or `-E` to a name that is taken.
    #[error("{}", taken(*renaming))]
    ChainExists {
        /// The name.
        chain: ChainName,
        /// Whether it is `-E`, for which iptables has other words.
        renaming: bool,
    },
    /// `-X` of a chain that rules lead to.
    #[error("Too many links.")]
    ChainInUse {
        /// The chain.
        chain: ChainName,
        /// Rules that lead to it.
        references: usize,
    },
    /// `-X` of a chain that has rules.
    #[error("Directory not empty.")]
    ChainNotEmpty {
        /// The chain.
        chain: ChainName,
        /// Its rules.
        rules: usize,
    },
    /// `-X` or `-E` of a built-in chain, `-j` to one.
    #[error("Invalid argument. Run `dmesg' for more information.")]
    BuiltInChain {
        /// The chain.
        chain: ChainName,
    },
    /// `-P` of a user-defined chain.
    #[error("Bad built-in chain name.")]
    NoPolicy {
        /// The chain.
        chain: ChainName,
    },
    /// `-j` or `-g` to a chain that is not there.
    #[error("No chain/target/match by that name.")]
    NoSuchTarget {
        /// The name.
        chain: ChainName,
    },
    /// Rules that lead in a circle.
    #[error("Too many levels of symbolic links.")]
    Loop {
        /// A chain from which a packet could come back to it.
        chain: ChainName,
    },
    /// Rules that lead too deep.
    #[error(
        "from chain {chain} a packet could come {depth} chains deep, and Weir's limit is {CHAIN_DEPTH_MAX}: use -g instead of -j, or join chains"
    )]
    TooDeep {
        /// The base chain.
        chain: ChainName,
        /// How deep.
        depth: usize,
    },
    /// Rules that lead one packet through too many chains.
    #[error(
        "from chain {chain} one packet could be led from chain to chain {jumps} times, and Weir's limit is {JUMPS_MAX}: lead to each chain by fewer rules, or use -g instead of -j"
    )]
    TooManyJumps {
        /// The base chain.
        chain: ChainName,
        /// How often.
        jumps: u64,
    },
    /// There are too many chains.
    #[error(
        "there would be more than {CHAINS_MAX} chains, which is Weir's limit: delete some, or join them"
    )]
    TooManyChains,
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
    /// A set that is not there.
    #[error("Set {name} doesn't exist.")]
    NoSuchSet {
        /// Its name.
        name: SetName,
    },
    /// A set of addresses of the other family.
    #[error("The protocol family of set {name} is {family}, which is not applicable.")]
    SetFamily {
        /// Its name.
        name: SetName,
        /// Its family.
        family: Family,
    },
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

fn taken(renaming: bool) -> &'static str {
    if renaming { "File exists." } else { "Chain already exists." }
}

impl From<InvalidRule> for RuleError {
    fn from(error: InvalidRule) -> Self {
        Self::InvalidRule { reason: error.to_string() }
    }
}
