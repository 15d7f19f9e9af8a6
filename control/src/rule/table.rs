//! The tables of rules that Weir has: what its name is to iptables, and which chains begin there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table of rules. Each has chains, rules and counters of its own, of each family.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// What may pass.
    #[default]
    Filter,
    /// What is asked before connections are tracked (`NF_IP_PRI_RAW`, linux/netfilter_ipv4.h): of packets as they come,
    /// and of those that the machine itself sends.
    Raw,
}

impl Table {
    /// All of them, in the order in which a packet meets them, which is that of saved rule sets.
    pub const ALL: [Self; 2] = [Self::Raw, Self::Filter];

    /// The word after `-t`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Raw => "raw",
        }
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }

    /// The chains that it has in the kernel, in the order of listings. Weir has INPUT and OUTPUT where the machine's
    /// own traffic passes through it.
    pub fn built_in(self) -> &'static [&'static str] {
        match self {
            Self::Filter => &["INPUT", "FORWARD", "OUTPUT"],
            Self::Raw => &["PREROUTING", "OUTPUT"],
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
