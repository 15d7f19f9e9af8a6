//! Addresses that an operator cuts himself off by blocking: the machine's own, and the routers it sends by.
//!
//! Without the routers there is no way back to him; a packet from one of the machine's own addresses is forged, but
//! a prefix around one is the network that he sits in. So blocking them is refused unless they are allowed for as long,
//! or the operator insists; and so is taking them out of the allowlist while something blocks them.

use std::net::IpAddr;

use super::maps::Maps;
use super::net::Net;
use super::{Blocked, EarlyDrop};

/// Why an address must not be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuardedBy {
    /// It is the machine's own.
    Own,
    /// It is the next hop of a route.
    Gateway,
}

/// An address that must not be blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guarded {
    /// The address.
    pub address: IpAddr,
    /// Why.
    pub by: GuardedBy,
}

impl<M: Maps> EarlyDrop<M> {
    /// The first address that would be blocked if `source` were until `until_ns`.
    pub fn exposed_by_block(
        &self,
        source: Net,
        until_ns: u64,
        guarded: &[Guarded],
    ) -> Option<Guarded> {
        let mut inside = guarded.iter().filter(|guarded| source.covers(Net::host(guarded.address)));
        inside.find(|guarded| !self.is_allowed(guarded.address, until_ns, None)).copied()
    }

    /// The first address that would be blocked if `source` were no longer allowed, or all were not.
    pub fn exposed_by_unallow(&self, source: Option<Net>, guarded: &[Guarded]) -> Option<Guarded> {
        let inside = |guarded: &&Guarded| {
            source.is_none_or(|source| source.covers(Net::host(guarded.address)))
        };
        let blocked = |guarded: &&Guarded| {
            let until_ns = self.blocked_until_ns(guarded.address);
            until_ns.is_some_and(|until_ns| match source {
                Some(_) => !self.is_allowed(guarded.address, until_ns, source),
                None => true,
            })
        };
        guarded.iter().filter(inside).find(blocked).copied()
    }

    /// Until when a source is allowed by an entry of its own.
    pub fn allowed_until_ns(&self, source: Net) -> Option<u64> {
        self.allowed.get(&source).map(|allowed| allowed.until_ns)
    }

    /// Those that are blocked as things are.
    pub fn exposed(&self, guarded: &[Guarded]) -> Vec<Guarded> {
        let exposed = |guarded: &&Guarded| {
            let until_ns = self.blocked_until_ns(guarded.address);
            until_ns.is_some_and(|until_ns| !self.is_allowed(guarded.address, until_ns, None))
        };
        guarded.iter().filter(exposed).copied().collect()
    }

    /// Until when the operator's entries block an address; `None` if none does.
    fn blocked_until_ns(&self, address: IpAddr) -> Option<u64> {
        let host = Net::host(address);
        let own = self.blocked.get(&host).filter(|blocked| blocked.is_operator_s());
        own.into_iter()
            .chain(self.operator_covers(host))
            .map(|blocked: &Blocked| blocked.until_ns)
            .max()
    }

    /// Whether an address is allowed at least until then, by another entry than `without`.
    fn is_allowed(&self, address: IpAddr, until_ns: u64, without: Option<Net>) -> bool {
        let host = Net::host(address);
        let covers = (0..=host.prefix_len()).map(|len| host.shortened(len));
        let entries = covers
            .filter(|cover| Some(*cover) != without)
            .filter_map(|cover| self.allowed.get(&cover));
        entries.map(|allowed| allowed.until_ns).any(|end_ns| end_ns >= until_ns)
    }
}
