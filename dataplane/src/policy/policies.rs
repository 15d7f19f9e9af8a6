//! The rules of all tables and both families: published, and adopted by workers, together.

use std::ops::BitOrAssign;
use std::sync::Arc;

use weir_control::rule::{Family, Table};

use super::Policy;
use crate::batch::Addresses;
use crate::limit::connections::{Connections, Counting};
use crate::limit::verified::Verified;
use crate::set::Sets;

/// A policy for each family, of each table. A change of one leaves the others as they are.
#[derive(Debug, Clone)]
pub struct Policies {
    /// Table filter of IPv4.
    pub v4: Arc<Policy>,
    /// Table filter of IPv6.
    pub v6: Arc<Policy>,
    /// Table raw of IPv4, of IPv6. As long as nobody has used it there is none, and nobody asks for it.
    raw: [Option<Arc<Policy>>; 2],
}

impl Policies {
    /// Of these rules of table filter, and no table raw.
    #[must_use]
    pub fn new(v4: Policy, v6: Policy) -> Self {
        Self { v4: Arc::new(v4), v6: Arc::new(v6), raw: [None, None] }
    }

    /// No rules; everything is accepted.
    #[must_use]
    pub fn accept_all(workers: usize) -> Self {
        Self::new(Policy::accept_all(workers), Policy::accept_all(workers))
    }

    /// The same with another policy in the place of one.
    #[must_use]
    pub fn with(mut self, family: Family, table: Table, policy: Arc<Policy>) -> Self {
        match (table, family) {
            (Table::Filter, Family::V4) => self.v4 = policy,
            (Table::Filter, Family::V6) => self.v6 = policy,
            (Table::Raw, _) => self.raw[family as usize] = Some(policy),
        }
        self
    }

    /// The same with other sets, in which every set that rules of IPv4 name has the number that it had.
    #[must_use]
    pub fn with_sets(self, sets: &Arc<Sets>) -> Self {
        let with_sets = |policy: &Policy| Arc::new(policy.with_sets(Arc::clone(sets)));
        let raw = self.raw.map(|raw| raw.map(|policy| with_sets(&policy)));
        Self { v4: with_sets(&self.v4), v6: with_sets(&self.v6), raw }
    }

    /// That of table filter for packets between such addresses.
    #[must_use]
    #[inline]
    pub fn of(&self, addresses: &Addresses) -> &Policy {
        match addresses {
            Addresses::V4 { .. } => &self.v4,
            Addresses::V6 { .. } => &self.v6,
        }
    }

    /// That of table raw for packets between such addresses; `None` if nobody has used it.
    #[must_use]
    #[inline]
    pub fn raw_of(&self, addresses: &Addresses) -> Option<&Policy> {
        let family = match addresses {
            Addresses::V4 { .. } => Family::V4,
            Addresses::V6 { .. } => Family::V6,
        };
        self.raw(family)
    }

    /// Table raw of a family; `None` if nobody has used it.
    #[must_use]
    #[inline]
    pub fn raw(&self, family: Family) -> Option<&Policy> {
        self.raw[family as usize].as_deref()
    }

    /// Whether there is a table raw, of whichever family.
    #[must_use]
    #[inline]
    pub fn have_raw(&self) -> bool {
        self.raw.iter().any(Option::is_some)
    }

    /// Whether table raw has nothing to decide, of neither family.
    #[must_use]
    pub fn raw_merely_counts(&self) -> bool {
        self.raw.iter().flatten().all(|policy| policy.merely_counts())
    }

    /// Of which families some rule asks for connection tracking. As in the kernel, a rule asks for its own alone
    /// (`nf_ct_netns_get`, net/netfilter/nf_conntrack_proto.c).
    #[must_use]
    pub fn tracks(&self) -> Tracks {
        let tracks = |raw: &Option<Arc<Policy>>| raw.as_ref().is_some_and(|raw| raw.tracks());
        let [raw, raw6] = self.raw.each_ref().map(tracks);
        Tracks { v4: self.v4.tracks() || raw, v6: self.v6.tracks() || raw6 }
    }

    /// How many packets may be decided about together. One, where some rule asks for more of a flow than the state of
    /// the packet ([`Policy::inspects_flows`]; those of table raw meet no packet that has a flow), or where rules of
    /// two tables may ask for what the other's have kept of the packet before.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let filter = [&self.v4, &self.v6];
        let remember = |policy: &Arc<Policy>| policy.remembers();
        let one_by_one = filter.iter().any(|policy| policy.inspects_flows())
            || filter.into_iter().any(remember) && self.raw.iter().flatten().any(remember);
        match one_by_one {
            true => Pace::OneByOne,
            false if filter.iter().any(|policy| policy.counts_connections()) => Pace::InRuns,
            false => Pace::Together,
        }
    }
}

/// How many packets are decided about together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A whole batch.
    Together,
    /// As many as come in a row of which none ends or changes a connection that counts for those before it.
    InRuns,
    /// One.
    OneByOne,
}

impl Counting for Policies {
    fn connections(&self, family: usize) -> &[Arc<Connections>] {
        if family == 0 { &self.v4.connections } else { &self.v6.connections }
    }

    fn verified(&self, family: usize) -> Option<&Verified> {
        if family == 0 { self.v4.verified.as_deref() } else { self.v6.verified.as_deref() }
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

    /// Whether of both.
    #[must_use]
    #[inline]
    pub fn both(self) -> bool {
        self.v4 && self.v6
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
