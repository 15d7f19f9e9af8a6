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
//!    │                                                                            512 slots of 8 bytes, of IPv6 24
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
//! bytes on average (of IPv6 some 55), and with a timeout or comment some 70 more.
//!
//! The hash is keyed by a seed drawn at each start: nobody who may fill a set, by a list that is downloaded
//! say, can make entries that meet.

mod apply;
mod expand;
mod expand6;
mod fill;
mod key;
mod list;
mod page;
mod shard;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use weir_control::set::{SetForm, SetKind, SetName, SetSpec};

pub use apply::{References, Refused};
use key::{Key, Key4, Key6};
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
    V4(Table<Key4>),
    V6(Table<Key6>),
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

    /// The form of the set of that name.
    #[must_use]
    pub fn form_of(&self, name: &SetName) -> Option<SetForm> {
        self.at(self.place_of(name)?).map(Set::form)
    }
}

impl Set {
    /// Its kind.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> SetKind {
        self.spec.kind
    }

    /// By what its entries are read.
    #[must_use]
    pub fn form(&self) -> SetForm {
        self.spec.form()
    }

    /// Of `hash:ip`: whether it has the address, or the net that stands for it. As everywhere below, no set has
    /// addresses of the other family.
    #[inline]
    #[must_use]
    pub fn find_address(&self, address: IpAddr) -> Found {
        match (&self.contents, address) {
            (Contents::V4(table), IpAddr::V4(address)) => {
                let address = address.to_bits() & key::mask(self.spec.netmask.unwrap_or(32));
                if address == 0 { Found::No } else { table.find(Key4::address(address)) }
            }
            (Contents::V6(table), IpAddr::V6(address)) => {
                let address = address.to_bits() & key::mask6(self.spec.netmask.unwrap_or(128));
                if address == 0 { Found::No } else { table.find(Key6::address(address)) }
            }
            _ => Found::No,
        }
    }

    /// Of `hash:net`: what the longest prefix says that it has of the address.
    #[inline]
    #[must_use]
    pub fn find_in_nets(&self, address: IpAddr) -> Found {
        match (&self.contents, address) {
            (Contents::V4(table), IpAddr::V4(address)) => {
                longest(table, |length| Key4::net(address.to_bits(), length))
            }
            (Contents::V6(table), IpAddr::V6(address)) => {
                longest(table, |length| Key6::net(address.to_bits(), length))
            }
            _ => Found::No,
        }
    }

    /// Of `hash:ip,port`: whether it has the address with that port.
    #[inline]
    #[must_use]
    pub fn find_port(&self, address: IpAddr, protocol: u8, port: u16) -> Found {
        match (&self.contents, address) {
            (Contents::V4(table), IpAddr::V4(address)) => {
                table.find(Key4::port(address.to_bits(), protocol, port))
            }
            (Contents::V6(table), IpAddr::V6(address)) => {
                table.find(Key6::port(address.to_bits(), protocol, port))
            }
            _ => Found::No,
        }
    }

    /// Of `list:set`: the numbers of the sets in it, in order.
    pub fn members(&self) -> impl Iterator<Item = u16> {
        let members = match &self.contents {
            Contents::List(members) => &members[..],
            Contents::V4(_) | Contents::V6(_) => &[],
        };
        members.iter().map(|member| member.place)
    }
}

/// What the longest of the nets says that there is.
#[inline]
fn longest<K: Key>(table: &Table<K>, net: impl Fn(u8) -> K) -> Found {
    for length in table.lengths() {
        match table.find(net(length)) {
            Found::No => {}
            found => return found,
        }
    }
    Found::No
}

#[cfg(test)]
mod tests;
