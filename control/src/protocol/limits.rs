//! What rules that limit keep, for `weirctl limits`.

use serde::{Deserialize, Serialize};

use crate::rule::Family;

/// Keys that are told of each rule or table, at most.
pub const LIMIT_KEYS_MAX: usize = 1_000;

/// What a rule keeps, or what rules share by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitReport {
    /// The family of the rules.
    pub family: Family,
    /// The match.
    pub of: String,
    /// The name that rules share it by; `None` where it is a rule's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its settings, as the rule says them; where it is a rule's own, with the rule.
    pub settings: String,
    /// How many keys it has room for, where it has keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_max: Option<u64>,
    /// How many keys it knows now.
    pub keys: u64,
    /// Keys, those first that are held back most. Without keys, one for all packets.
    pub top: Vec<LimitKey>,
    /// What of it is done in the XDP program, where its keys are such as could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<LimitPushed>,
}

/// What of a rule's limit is done in the XDP program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitPushed {
    /// How many sources are dropped there now.
    pub sources: u64,
    /// Why none ever is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitKey {
    /// The key: addresses and ports.
    pub key: String,
    /// Packets a second, as measured last; `None` where they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_pps: Option<u32>,
    /// Of `fuzzy`, which share of packets passes, 0 for less than one of a hundred; of the others, which share of the
    /// credit is left. In percent.
    pub percent: u32,
}
