//! `FlowCache`: what is left of the rules for the packets of a flow, per worker.
//!
//! ```text
//!   key (addresses, ports, protocol, interfaces, hook, state)
//!    │ hash
//!    ▼
//!   tags  8 bytes: 16 bits of hash for each of two entries, and for two keys that were seen once
//!    │
//!    ▼
//!   set  two entries of a cache line each: a key, and the residual of its packets
//! ```
//!
//! A packet's direction and state are in the key, so a flow has an entry for each direction and state it has been in.
//! Where connections are tracked, only packets of established ones are asked for: a flood of new ones costs nothing.
//! Where not, the first packet with a key only leaves its tag, and the second finds out the residual: a flood costs a
//! look at tags, which are few enough to stay near, and no entry gives way to it.
//!
//! Residuals stand in the entries themselves. To keep each once, and its number in the entries, was tried: with many
//! rules nearly every flow has a residual of its own, and then it costs one more way into memory.
//!
//! Residuals belong to one policy. Policies are numbered, and a residual of another number is worth nothing: with a new
//! policy nobody goes through the table. What a residual does not take for granted is what may change without a new
//! policy: routes, addresses, sets, the clock, marks (see `MatchTest::settled`).
//!
//! Packets of IPv6 are not in it: their keys would take a cache line of their own. They go through the rules.
//!
//! All memory is allocated when the cache is made.

use super::classify::PacketKey;
use super::residual::Residual;
use crate::conntrack::CtState;
use crate::frame::prefetch;

/// By what the cache knows a packet.
#[derive(Debug, Clone, Copy)]
pub struct CacheKey {
    pub(super) packet: PacketKey,
    hash: u64,
}

impl CacheKey {
    pub(super) fn new(packet: PacketKey) -> Self {
        Self { packet, hash: packet.mixed() }
    }
}

/// A key, and the residual of its packets.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Entry {
    key: PacketKey,
    /// Of which policy the residual is; 0 before it is known.
    policy: u32,
    residual: Residual,
}

/// What the cache knows of a packet.
#[derive(Debug)]
pub(super) enum Known<'a> {
    /// What is left of the rules for it.
    Residual(&'a Residual),
    /// It is worth it to find that out, and put it here.
    Again(Unknown<'a>),
    /// It is the first with its key, or nothing is kept.
    New,
}

/// A residual that is to be found out.
#[derive(Debug)]
pub(super) struct Unknown<'a> {
    entry: &'a mut Entry,
    key: PacketKey,
    policy: u32,
}

impl<'a> Unknown<'a> {
    /// Keeps it, once it is.
    pub(super) fn keep(self, residual: Residual) -> &'a Residual {
        *self.entry = Entry { key: self.key, policy: self.policy, residual };
        &self.entry.residual
    }
}

/// Tags of a set: of its entries, then of the keys seen last.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(8))]
struct Tags {
    entries: [u16; 2],
    seen: [u16; 2],
}

/// See the module.
#[derive(Debug)]
pub struct FlowCache {
    tags: Box<[Tags]>,
    sets: Box<[[Entry; 2]]>,
    /// The number of the policy in force, from 1.
    policy: u32,
    /// Its epoch.
    epoch: u64,
    /// Which entry of a set gives way next, if both are of use.
    turn: usize,
    /// Whether it is asked of rule sets of any size, and does not wait for a second packet.
    eager: bool,
}

impl FlowCache {
    /// For so many keys, rounded up to a power of two; 0 keeps nothing.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        let sets = if entries == 0 { 0 } else { entries.next_power_of_two().max(2) / 2 };
        let tags = vec![Tags::default(); sets].into();
        let sets = vec![[Entry::default(); 2]; sets].into();
        Self { tags, sets, policy: 1, epoch: 0, turn: 0, eager: false }
    }

    /// The same, used wherever that is possible, not only where it pays: for tests that compare.
    #[must_use]
    pub fn eager(entries: usize) -> Self {
        Self { eager: true, ..Self::new(entries) }
    }

    /// Whether it keeps nothing.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.sets.is_empty()
    }

    pub(super) fn is_eager(&self) -> bool {
        self.eager
    }

    /// Whether packets in this state are worth a key: flows that go on are, and where nothing is tracked all may.
    #[must_use]
    pub fn wants(&self, state: CtState) -> bool {
        self.eager || matches!(state, CtState::Established | CtState::Untracked)
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.sets)
    }

    /// What it knows is of the policy of that epoch; what it knew of another is forgotten.
    pub fn adopt(&mut self, epoch: u64) {
        if self.epoch == epoch {
            return;
        }
        self.epoch = epoch;
        self.policy = self.policy.checked_add(1).unwrap_or_else(|| {
            // Once in 4 billion policies.
            self.sets.fill([Entry::default(); 2]);
            1
        });
    }

    /// Asks for the tags of a key to be brought near.
    pub fn prefetch_tags(&self, key: &CacheKey) {
        if let Some(tags) = self.tags.get(self.place(key).0) {
            prefetch(tags);
        }
    }

    /// Asks for the entry of a key to be brought near, if it has one.
    pub fn prefetch_entry(&self, key: &CacheKey) {
        let (place, tag) = self.place(key);
        let way =
            self.tags.get(place).and_then(|tags| tags.entries.iter().position(|of| *of == tag));
        if let (Some(set), Some(way)) = (self.sets.get(place), way) {
            prefetch(&set[way]);
        }
    }

    /// What is known of packets with this key, and that one has come.
    pub(super) fn look_up(&mut self, key: &CacheKey) -> Known<'_> {
        let ((place, tag), policy) = (self.place(key), self.policy);
        let key = key.packet;
        let (Some(tags), Some(set)) = (self.tags.get_mut(place), self.sets.get_mut(place)) else {
            return Known::New;
        };
        let is = |way: &usize| tags.entries[*way] == tag && set[*way].key == key;
        let way = match (0..2).find(is) {
            Some(way) => way,
            None if self.eager || tags.seen.contains(&tag) => {
                self.turn += 1;
                let stale = (0..2).find(|way| set[*way].policy != policy);
                let way = stale.unwrap_or(self.turn & 1);
                (tags.entries[way], set[way].policy) = (tag, 0);
                way
            }
            None => {
                tags.seen = [tag, tags.seen[0]];
                return Known::New;
            }
        };
        let entry = &mut set[way];
        if entry.policy == policy {
            return Known::Residual(&entry.residual);
        }
        Known::Again(Unknown { entry, key, policy })
    }

    /// The set of a key, and its tag.
    #[expect(clippy::cast_possible_truncation, reason = "masked, and a tag has 16 bits")]
    fn place(&self, CacheKey { hash, .. }: &CacheKey) -> (usize, u16) {
        (*hash as usize & self.sets.len().wrapping_sub(1), (*hash >> 32) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortIndex;

    fn key(n: u32) -> CacheKey {
        CacheKey::new(PacketKey::new((n, 1), (2, 3), 6, PortIndex(0), PortIndex(1)))
    }

    #[test]
    fn an_entry_is_a_cache_line() {
        assert_eq!((size_of::<Entry>(), align_of::<Entry>()), (64, 64));
        assert_eq!(FlowCache::new(1000).bytes(), 1024 * 64 + 512 * 8);
        assert!(FlowCache::new(0).is_off());
    }

    #[test]
    fn the_second_packet_is_worth_it_and_another_policy_forgets() {
        let mut cache = FlowCache::new(2);
        cache.adopt(7);
        assert!(matches!(cache.look_up(&key(1)), Known::New));
        let Known::Again(unknown) = cache.look_up(&key(1)) else { panic!("known, or new") };
        unknown.keep(Residual::default());
        assert!(matches!(cache.look_up(&key(1)), Known::Residual(_)));
        cache.adopt(7);
        assert!(matches!(cache.look_up(&key(1)), Known::Residual(_)));
        cache.adopt(8);
        assert!(matches!(cache.look_up(&key(1)), Known::Again(_)));
    }

    #[test]
    fn what_was_of_use_stays_when_others_come() {
        let mut cache = FlowCache::new(2);
        cache.adopt(1);
        for _ in 0..2 {
            if let Known::Again(unknown) = cache.look_up(&key(1)) {
                unknown.keep(Residual::default());
            }
        }
        for other in 2..100 {
            assert!(matches!(cache.look_up(&key(other)), Known::New));
        }
        assert!(matches!(cache.look_up(&key(1)), Known::Residual(_)));
    }
}
