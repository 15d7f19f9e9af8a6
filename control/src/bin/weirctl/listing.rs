//! `weirctl --json iptables -L`.

use serde::Serialize;

use weir_control::command::{ChainName, Selection};
use weir_control::protocol::Listing;
use weir_control::rule::{Names, Rule, Table};
use weir_control::ruleset::{Policy, RuleId};

/// What is printed.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    table: Table,
    chains: Vec<ChainDocument<'a>>,
}

#[derive(Serialize)]
struct ChainDocument<'a> {
    name: &'a ChainName,
    /// `null` for a user-defined chain.
    policy: Option<Policy>,
    /// Rules that lead to it.
    references: usize,
    packets: u64,
    bytes: u64,
    rules: Vec<RuleDocument<'a>>,
}

#[derive(Serialize)]
struct RuleDocument<'a> {
    number: u32,
    id: RuleId,
    packets: u64,
    bytes: u64,
    /// The rule as `-S` writes it.
    line: String,
    #[serde(flatten)]
    rule: &'a Rule,
}

pub(crate) fn document<'a>(
    listing: &'a Listing,
    selection: &Selection,
    names: &Names,
) -> Document<'a> {
    let references = listing.ruleset.all_references();
    let chains = listing
        .ruleset
        .chains()
        .iter()
        .filter(|chain| selection.chain.as_ref().is_none_or(|name| chain.name == *name))
        .map(|chain| {
            let policy = listing.counters.policy(&chain.name);
            let rules = (1..)
                .zip(&chain.rules)
                .filter(|(number, _)| selection.number.is_none_or(|wanted| wanted == *number))
                .map(|(number, entry)| {
                    let counters = listing.counters.rule(entry.id);
                    let (conditions, target) = entry.rule.saved_line(names);
                    let words = format!("-A {} {conditions}", chain.name);
                    let line = format!("{} {target}", words.trim_end()).trim_end().to_owned();
                    let (packets, bytes) = (counters.packets, counters.bytes);
                    RuleDocument { number, id: entry.id, packets, bytes, line, rule: &entry.rule }
                })
                .collect();
            ChainDocument {
                name: &chain.name,
                policy: chain.policy,
                references: references.get(&chain.name).copied().unwrap_or(0),
                packets: policy.packets,
                bytes: policy.bytes,
                rules,
            }
        })
        .collect();
    Document { table: listing.ruleset.table(), chains }
}
