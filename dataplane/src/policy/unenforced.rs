//! Why a rule cannot be enforced that the language knows.

use crate::limit::connections::RULES_MAX;
use crate::limit::{KEYS_MAX, NoMemory};

/// A rule that the language knows and this engine cannot enforce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {number} of chain {chain}: {why}")]
pub struct CompileError {
    /// The chain.
    pub chain: String,
    /// The rule's number in it.
    pub number: usize,
    /// Why it cannot be enforced.
    pub why: Unenforced,
}

/// Why a rule cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unenforced {
    /// Nothing does what this word says.
    #[error("`{0}' is not enforced by this version of Weir, so it is refused")]
    Word(&'static str),
    /// It asks for what is not counted. The kernel begins to count then, but only what flows have from then on.
    #[error(
        "`-m connbytes' asks for packets and bytes of flows, and they are not counted: set acct = true in [conntrack] of the configuration and start weir again, so that all flows are counted from their first packet on"
    )]
    NotCounted,
    /// It makes connections whose numbers are to be translated, and there is no room for those.
    #[error(
        "`-j SYNPROXY' makes connections of which more is to be kept than of others: set synproxy = true in [conntrack] of the configuration and start weir again"
    )]
    NotProxied,
    /// A table that is known by that name is another one.
    #[error(
        "`-m {of} --{of}-name {name}' has another rate, mode or table than an earlier rule of that name, whose settings would hold for both: say the same, or give it another name"
    )]
    OtherTable {
        /// The match.
        of: &'static str,
        /// The name.
        name: String,
    },
    /// Tables would take too much memory.
    #[error(
        "the tables of `-m hashlimit' and `-m fuzzy' would have room for more than {KEYS_MAX} keys, which is Weir's limit: ask for less with --hashlimit-htable-max or --fuzzy-htable-max, or let rules share tables by name"
    )]
    TooManyKeys,
    /// A table of `-m recent` would be too large.
    #[error(
        "`-m recent --name {name}' needs {mebibytes} MiB for the addresses of that table and the packets of each, and all such tables have {most} MiB: ask for a smaller --hitcount, or set a smaller addresses_max in [recent] of the configuration"
    )]
    RecentTooLarge {
        /// The table.
        name: String,
        /// Its size.
        mebibytes: usize,
        /// The size of all.
        most: usize,
    },
    /// Rules of table raw see packets before their connections are known.
    #[error(
        "`-m connlimit' counts connections, and in table raw no packet has one yet: write the rule into table filter"
    )]
    ConnlimitRaw,
    /// Likewise: nobody has completed a handshake there.
    #[error(
        "`--fuzzy-unverified' asks which sources have completed a handshake, and table raw is for packets whose connections nobody follows: write the rule into table filter, and here one with --fuzzy-mode if need be"
    )]
    UnverifiedRaw,
    /// Too many rules count connections.
    #[error(
        "more than {RULES_MAX} matches with `-m connlimit', each of which looks at every connection that ends: let them stand in fewer rules, a chain that several rules lead to for one"
    )]
    ConnlimitTooMany,
    /// There is no memory for what the rule keeps.
    #[error(
        "there is no memory for what the rule keeps of each connection: set a smaller max in [conntrack] of the configuration"
    )]
    NoMemory,
}

impl From<NoMemory> for Unenforced {
    fn from(NoMemory: NoMemory) -> Self {
        Self::NoMemory
    }
}

impl From<&'static str> for Unenforced {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}
