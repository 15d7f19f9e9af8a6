//! The rules of both families: published, and adopted by workers, together.

use std::ops::BitOrAssign;
use std::sync::Arc;

use super::Policy;
use crate::batch::Addresses;
use crate::limit::connections::{Connections, Counting};

/// A policy for each family. A change of one leaves the other as it is.
#[derive(Debug, Clone)]
pub struct Policies {
    /// Of IPv4.
    pub v4: Arc<Policy>,
    /// Of IPv6.
    pub v6: Arc<Policy>,
}

impl Policies {
    /// Of these rules.
    #[must_use]
    pub fn new(v4: Policy, v6: Policy) -> Self {
        Self { v4: Arc::new(v4), v6: Arc::new(v6) }
    }

    /// No rules; everything is accepted.
    #[must_use]
    pub fn accept_all(workers: usize) -> Self {
        Self::new(Policy::accept_all(workers), Policy::accept_all(workers))
    }

    /// That of packets between such addresses.
    #[must_use]
    #[inline]
    pub fn of(&self, addresses: &Addresses) -> &Policy {
        match addresses {
            Addresses::V4 { .. } => &self.v4,
            Addresses::V6 { .. } => &self.v6,
        }
    }

    /// Of which families some rule asks for connection tracking. As in the kernel, a rule asks for its own alone
    /// (`nf_ct_netns_get`, net/netfilter/nf_conntrack_proto.c).
    #[must_use]
    pub fn tracks(&self) -> Tracks {
        Tracks { v4: self.v4.tracks(), v6: self.v6.tracks() }
    }

    /// Whether some rule asks for more of a flow than the state of the packet; see [`Policy::inspects_flows`].
    #[must_use]
    pub fn inspects_flows(&self) -> bool {
        self.v4.inspects_flows() || self.v6.inspects_flows()
    }
}

impl Counting for Policies {
    fn connections(&self, family: usize) -> &[Arc<Connections>] {
        if family == 0 { &self.v4.connections } else { &self.v6.connections }
    }
}

/// Of which families packets are tracked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracks {
    v4: bool,
    v6: bool,
}

impl Tracks {
    /// Of both, or of none.
    #[must_use]
    pub const fn all(tracked: bool) -> Self {
        Self { v4: tracked, v6: tracked }
    }

    /// Whether of any.
    #[must_use]
    #[inline]
    pub fn any(self) -> bool {
        self.v4 || self.v6
    }

    /// Whether packets between such addresses are.
    #[must_use]
    #[inline]
    pub fn of(self, addresses: &Addresses) -> bool {
        match addresses {
            Addresses::V4 { .. } => self.v4,
            Addresses::V6 { .. } => self.v6,
        }
    }
}

impl BitOrAssign for Tracks {
    fn bitor_assign(&mut self, other: Self) {
        self.v4 |= other.v4;
        self.v6 |= other.v6;
    }
}
