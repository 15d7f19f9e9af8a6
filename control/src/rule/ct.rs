//! `-j CT --notrack` and `-j NOTRACK`: the packet is not tracked (net/netfilter/xt_CT.c).
//!
//! It is UNTRACKED from then on, in all tables, and goes on to the next rule. CT's other options choose helpers,
//! timeouts, events and zones, which Weir has not.

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{InvalidRule, ListedLine, Rule, SavedWords, Table};

/// The target CT, of which Weir has one option. `-j CT --notrack` and `-j NOTRACK` do the same, and are two rules to
/// `iptables -C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CtTarget {
    /// `--notrack`, which must be given.
    pub notrack: bool,
    /// Whether it was written `-j NOTRACK` (`XT_CT_NOTRACK_ALIAS`).
    pub alias: bool,
}

impl CtTarget {
    /// `-j NOTRACK`.
    pub const ALIAS: Self = Self { notrack: true, alias: true };

    /// The word after `-j`.
    pub fn name(self) -> &'static str {
        if self.alias { "NOTRACK" } else { "CT" }
    }
}

impl TargetExtension for CtTarget {
    fn validate(&self, _rule: &Rule) -> Result<(), InvalidRule> {
        if self.notrack { Ok(()) } else { Err(InvalidRule::CtWithoutNotrack) }
    }

    fn check_table(&self, table: Table) -> Result<(), InvalidRule> {
        super::target::only(Table::Raw, self.name(), table)
    }

    fn save(&self, words: &mut SavedWords) {
        if !self.alias {
            words.word("--notrack");
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" {}", if self.alias { "NOTRACK" } else { "CT notrack" }));
    }
}
