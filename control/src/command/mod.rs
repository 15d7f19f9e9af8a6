//! iptables command lines: what they may say ([`Command`]) and how they are read ([`parse`]).

mod error;
mod extension;
mod finish;
mod getopt;
mod known;
mod options;
mod parse;
mod refusal;
mod remedy;
mod specification;
mod value_error;

use serde::{Deserialize, Serialize};

pub use error::{
    ExitStatus, ParseError, ParseErrorKind, Position, VERSION_LINE, VERSION_LINE_IPV6, version_line,
};
pub(crate) use finish::is_host_chain;
pub(crate) use known::is_table;
pub use parse::{CommandLine, Context, Parsed, Wait, parse, parse_in};
pub(crate) use refusal::visible;
pub use value_error::ValueError;

pub use crate::rule::{CHAIN_CHARS_MAX, ChainName, ChainNameError};
use crate::rule::{Rule, Table};
use crate::ruleset::{Counters, Policy};

/// How many rules one command line may expand to by comma lists in `-s` and `-d`.
pub const RULES_PER_COMMAND_MAX: usize = 1_024;

/// One command: a change of the rule set, or a question about it. Rule numbers count from 1.
///
/// Where `rules` is a list, comma lists expanded to it: sources outside, destinations inside, in
/// the order written. A command applies to all of them or to none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Command {
    /// `-A`: at the end of the chain.
    Append {
        /// The chain.
        chain: ChainName,
        /// What to append, in order.
        rules: Vec<Rule>,
        /// `-c`: what the counters of each begin with; zero unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counters: Option<Counters>,
    },
    /// `-I`: each rule in turn *before* rule `number`, so several end up in reverse order, as
    /// iptables does it.
    Insert {
        /// The chain.
        chain: ChainName,
        /// The number the rule will have; 1 unless given.
        number: u32,
        /// What to insert.
        rules: Vec<Rule>,
        /// As for `Append`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counters: Option<Counters>,
    },
    /// `-D` with a rule: the first equal rule of the chain, for each.
    Delete {
        /// The chain.
        chain: ChainName,
        /// What to delete.
        rules: Vec<Rule>,
    },
    /// `-D` with a number.
    DeleteNumber {
        /// The chain.
        chain: ChainName,
        /// Which rule.
        number: u32,
    },
    /// `-R`: the new rule starts with counters at zero, or as `-c` says.
    Replace {
        /// The chain.
        chain: ChainName,
        /// Which rule.
        number: u32,
        /// What takes its place.
        rule: Rule,
        /// As for `Append`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counters: Option<Counters>,
    },
    /// `-C`: does every one of these rules exist?
    Check {
        /// The chain.
        chain: ChainName,
        /// What to look for.
        rules: Vec<Rule>,
    },
    /// `-F`: all rules of one chain, or of all.
    Flush {
        /// The chain; `None` for all.
        chain: Option<ChainName>,
    },
    /// `-P`: what happens to packets that no rule decided about.
    Policy {
        /// The chain.
        chain: ChainName,
        /// The new policy.
        policy: Policy,
        /// `-c`: what its counters begin with; zero unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counters: Option<Counters>,
    },
    /// `-N`: a new chain, empty.
    NewChain {
        /// Its name.
        chain: ChainName,
    },
    /// A line `:CHAIN` of a saved rule set: a chain, empty, whether or not there was one. The rules of
    /// a built-in one stay.
    DeclareChain {
        /// Its name.
        chain: ChainName,
    },
    /// `-X`: a user-defined chain goes, or all do. It must be empty, and no rule lead to it.
    DeleteChain {
        /// The chain; `None` for all.
        chain: Option<ChainName>,
    },
    /// `-E`: another name for a user-defined chain. Rules that led to it lead to it still.
    RenameChain {
        /// The chain.
        chain: ChainName,
        /// Its new name.
        to: ChainName,
    },
    /// `-Z`: counters of one rule, one chain, or all, back to zero.
    Zero {
        /// The chain; `None` for all.
        chain: Option<ChainName>,
        /// One rule of it; `None` for all its rules and its policy.
        number: Option<u32>,
    },
    /// `-L`: answered with the rule set and its counters; the client prints it.
    List {
        /// What to print.
        selection: Selection,
        /// How to print it.
        format: ListFormat,
    },
    /// `-S`: as `List`, printed as the command lines that would make the rules.
    ListRules {
        /// What to print.
        selection: Selection,
        /// `-v`: with `-c PACKETS BYTES` on each line.
        counters: bool,
    },
}

impl Command {
    /// Whether the command asks for a listing and changes nothing.
    pub fn is_listing(&self) -> bool {
        matches!(self, Self::List { .. } | Self::ListRules { .. })
    }
}

/// A table of a saved rule set, or a part of one: commands that are carried out together or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transaction {
    /// Of which table.
    #[serde(default)]
    pub table: Table,
    /// Whether all of its rules and user-defined chains go before the first command.
    pub flush: bool,
    /// The commands, in order.
    pub commands: Vec<Command>,
}

/// Which part of the rule set `-L` and `-S` show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selection {
    /// One chain; `None` for all.
    pub chain: Option<ChainName>,
    /// One rule of it. A number beyond the last shows nothing, without an error, as iptables.
    pub number: Option<u32>,
}

/// How `-L` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListFormat {
    /// `-n`: numbers instead of names of protocols, services and flags.
    pub numeric: bool,
    /// `-v`: with counters and interfaces.
    pub verbose: bool,
    /// `-x`: counters in full instead of K, M, G.
    pub exact: bool,
    /// `--line-numbers`
    pub line_numbers: bool,
}
