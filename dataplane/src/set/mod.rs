//! Sets of addresses: what `ipset` keeps, and what `-m set` asks.
//!
//! [`Sets`] is a value that is copied and never shared while it changes. The control thread has one, and
//! each [`crate::policy::Policy`] has the copy that its workers look into, so a packet meets rules and sets
//! of one moment, and swapping two sets is one publication like any other. Workers take no lock, write
//! nothing, and read no clock: entries whose time is over are taken out by the control thread
//! ([`Sets::expire`]), which looks ten times a second.
//!
//! Copies share what they have in common:
//!
//! ```text
//!   Sets ── places ──► Arc<Set> ── directory, by the first bits of the hash ──► Arc<Shard>
//!    │                                                                            512 slots of 8 bytes
//!    └─ a copy has the same Arcs. A change replaces the set, its directory and the shards it touches.
//! ```
//!
//! To add one entry to a million copies a directory of 4,096 pointers and a shard of 4 KiB: 0.06 ms, most of
//! it for the counts of the pointers. A transaction is a copy that is thrown away when a line is wrong.
//!
//! A table is an extendible hash table (Fagin, Nievergelt, Pippenger and Strong, 1979): a shard that is
//! full splits in two, and the directory doubles when it has to, so that no entry but those of one shard
//! ever moves. A look-up costs the directory, which stays in the cache, and one or two lines of a shard.
//! `hash:net` makes one for each length of prefix that is in the set, longest first. An entry takes 19
//! bytes on average, and with a timeout or comment some 70 more.
//!
//! The hash is keyed by a seed drawn at each start: nobody who may fill a set, by a list that is downloaded
//! say, can make entries that meet.

mod apply;
mod expand;
mod key;
mod list;
mod page;
mod shard;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::RandomState;
use weir_control::set::{SetKind, SetName, SetSpec};

pub use apply::{References, Refused};
use key::Key;
use list::Member;
use table::Table;

/// What became of the search for a packet's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is not in the set.
    No,
    /// It is.
    Yes,
    /// It is in the set as an exception (`nomatch`).
    Exception,
}

/// All sets. To copy it costs as much as there are sets, not entries.
#[derive(Debug, Clone)]
pub struct Sets {
    hash: RandomState,
    /// By number, as rules know them. As long as rules or lists refer to a name, it keeps its number.
    places: Vec<Option<Named>>,
    names: Arc<BTreeMap<SetName, u16>>,
    /// Entries of all tables.
    entries: usize,
    next_id: u64,
}

#[derive(Debug, Clone)]
struct Named {
    name: Arc<SetName>,
    set: Arc<Set>,
}

/// One set.
#[derive(Debug, Clone)]
pub struct Set {
    /// Never given twice; a new one when the set is flushed, so that a listing notices.
    id: u64,
    spec: SetSpec,
    contents: Contents,
}

#[derive(Debug, Clone)]
enum Contents {
    Table(Table),
    List(Vec<Member>),
}

impl Sets {
    /// None, with hashes of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            hash: RandomState::with_seeds(seed, !seed, seed.rotate_left(32), 0x5e75),
            places: Vec::new(),
            names: Arc::default(),
            entries: 0,
            next_id: 0,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The number of the set of that name.
    #[must_use]
    pub fn place_of(&self, name: &SetName) -> Option<u16> {
        self.names.get(name).copied()
    }

    /// The set of that number.
    #[inline]
    #[must_use]
    pub fn at(&self, place: u16) -> Option<&Set> {
        self.places.get(usize::from(place))?.as_ref().map(|named| &*named.set)
    }

    /// The kind of the set of that name.
    #[must_use]
    pub fn kind_of(&self, name: &SetName) -> Option<SetKind> {
        self.at(self.place_of(name)?).map(Set::kind)
    }
}

impl Set {
    /// Its kind.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> SetKind {
        self.spec.kind
    }

    /// Of `hash:ip`: whether it has the address, or the net that stands for it.
    #[inline]
    #[must_use]
    pub fn find_address(&self, address: u32) -> Found {
        let address = address & key::mask(self.spec.netmask.unwrap_or(32));
        if address == 0 { Found::No } else { self.find(Key::address(address)) }
    }

    /// Of `hash:net`: what the longest prefix says that it has of the address.
    #[inline]
    #[must_use]
    pub fn find_in_nets(&self, address: u32) -> Found {
        let Contents::Table(table) = &self.contents else { return Found::No };
        for length in table.lengths() {
            match table.find(Key::net(address, length)) {
                Found::No => {}
                found => return found,
            }
        }
        Found::No
    }

    /// Of `hash:ip,port`: whether it has the address with that port.
    #[inline]
    #[must_use]
    pub fn find_port(&self, address: u32, protocol: u8, port: u16) -> Found {
        self.find(Key::port(address, protocol, port))
    }

    #[inline]
    fn find(&self, key: Key) -> Found {
        match &self.contents {
            Contents::Table(table) => table.find(key),
            Contents::List(_) => Found::No,
        }
    }

    /// Of `list:set`: the numbers of the sets in it, in order.
    pub fn members(&self) -> impl Iterator<Item = u16> {
        let members = match &self.contents {
            Contents::List(members) => &members[..],
            Contents::Table(_) => &[],
        };
        members.iter().map(|member| member.place)
    }
}

#[cfg(test)]
mod tests;
