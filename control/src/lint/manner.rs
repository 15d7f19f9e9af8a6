//! What matches do besides holding or not.

use super::sets::Headers;
use crate::rule::Match;

/// How a match goes about the packets that it is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whether it says the same of a packet wherever it stands. (The clock stands still while rules are asked.)
    pub(super) steady: bool,
    /// Packets that it may drop on the spot: those whose headers it wants to read and cannot.
    pub(super) drops: Headers,
    /// Whether what it was asked of changes what it says of the next packet.
    pub(super) remembers: bool,
    /// Whether other rules may ask for what it remembers.
    pub(super) shares: bool,
}

impl Manner {
    /// Holds or not.
    pub(super) const QUIET: Self =
        Self { steady: true, drops: Headers::NONE, remembers: false, shares: false };

    /// Of a match that is not named here everything is believed.
    pub(super) fn of(extension: &Match) -> Self {
        let drops = |drops| Self { drops, ..Self::QUIET };
        match (extension.name(), extension) {
            // It looks for its option behind the header that the others read.
            (_, Match::Tcp(tcp)) if tcp.option.is_some() => drops(Headers::ALL),
            ("tcpmss", _) => drops(Headers::ALL),
            ("icmp" | "icmp6" | "multiport" | "tcp" | "udp", _) => drops(Headers::BROKEN),
            (
                "addrtype" | "comment" | "connbytes" | "conntrack" | "dscp" | "ecn" | "hl"
                | "iprange" | "length" | "mac" | "pkttype" | "rt" | "set" | "state" | "string"
                | "time" | "tos" | "ttl" | "u32",
                _,
            ) => Self::QUIET,
            // A rule between may have changed the number.
            ("connmark" | "mark", _) => Self { steady: false, ..Self::QUIET },
            ("recent", _) => Self { steady: false, remembers: true, shares: true, ..Self::QUIET },
            ("fuzzy" | "limit" | "statistic", _) => {
                Self { steady: false, remembers: true, ..Self::QUIET }
            }
            _ => Self { steady: false, drops: Headers::ALL, remembers: true, shares: true },
        }
    }

    /// What two do together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            steady: self.steady && other.steady,
            drops: self.drops.or(other.drops),
            remembers: self.remembers || other.remembers,
            shares: self.shares || other.shares,
        }
    }
}
