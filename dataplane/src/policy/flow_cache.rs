//! `FlowCache`: what is left of the rules for the packets of a flow, per worker.
//!
//! ```text
//!   key (addresses, ports, protocol, interfaces, hook, state)
//!    │ hash
//!    ▼
//!   tags  8 bytes: 16 bits of hash for each of two entries, and for two keys that were seen once
//!    │
//!    ▼
//!   set  two entries: a key, and the residual of its packets. Of IPv4 each is a cache line; of IPv6 they are three
//! ```
//!
//! Each family has a table of its own. Of IPv6 the hash is of both addresses, and they are in the key whole, though the
//! classifier looks at 32 bits of each alone, others in each chain.
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
//! All memory is allocated when the cache is made.

use std::net::Ipv6Addr;

use super::classify::PacketKey;
use super::residual::Residual;
use crate::conntrack::CtState;
use crate::frame::prefetch;

/// By what the cache knows a packet, but for its addresses of IPv6, which the packet has.
#[derive(Debug, Clone, Copy)]
pub struct CacheKey {
    pub(super) packet: PacketKey,
    hash: u64,
    six: bool,
}

impl CacheKey {
    pub(super) fn new(packet: PacketKey) -> Self {
        Self { packet, hash: packet.mixed(), six: false }
    }

    pub(super) fn of_six(packet: PacketKey, source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { packet, hash: packet.mixed_with(source, destination), six: true }
    }
}

/// What stands in a table of the cache for a key.
pub(super) trait Key: Copy + Eq + Default {
    /// The table.
    fn table(cache: &mut FlowCache) -> &mut Table<Self>;
}

impl Key for PacketKey {
    fn table(cache: &mut FlowCache) -> &mut Table<Self> {
        &mut cache.four
    }
}

/// What tells a packet of IPv6 from those of other flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key6 {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    /// [`PacketKey::rest`]
    pub(super) rest: u64,
}

impl Default for Key6 {
    fn default() -> Self {
        let nobody = Ipv6Addr::UNSPECIFIED;
        Self { source: nobody, destination: nobody, rest: 0 }
    }
}

impl Key for Key6 {
    fn table(cache: &mut FlowCache) -> &mut Table<Self> {
        &mut cache.six
    }
}

/// A key, and the residual of its packets.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Entry<K> {
    key: K,
    /// Of which policy the residual is; 0 before it is known.
    policy: u32,
    residual: Residual,
}

/// Two entries, at the begin of a cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Set<K>([Entry<K>; 2]);

/// What the cache knows of a packet.
#[derive(Debug)]
pub(super) enum Known<'a, K> {
    /// What is left of the rules for it.
    Residual(&'a Residual),
    /// It is worth it to find that out, and put it here.
    Again(Unknown<'a, K>),
    /// It is the first with its key, or nothing is kept.
    New,
}

/// A residual that is to be found out.
#[derive(Debug)]
pub(super) struct Unknown<'a, K> {
    entry: &'a mut Entry<K>,
    key: K,
    policy: u32,
}

impl<'a, K: Copy> Unknown<'a, K> {
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

/// The keys of a family.
#[derive(Debug)]
pub(super) struct Table<K> {
    tags: Box<[Tags]>,
    sets: Box<[Set<K>]>,
    /// Which entry of a set gives way next, if both are of use.
    turn: usize,
}

impl<K: Key> Table<K> {
    fn new(entries: usize) -> Self {
        let sets = if entries == 0 { 0 } else { entries.next_power_of_two().max(2) / 2 };
        let tags = vec![Tags::default(); sets].into();
        Self { tags, sets: vec![Set::default(); sets].into(), turn: 0 }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.tags) + size_of_val(&*self.sets)
    }

    fn forget(&mut self) {
        self.sets.fill(Set::default());
    }

    fn prefetch_tags(&self, hash: u64) {
        if let Some(tags) = self.tags.get(self.place(hash).0) {
            prefetch(tags);
        }
    }

    fn prefetch_entry(&self, hash: u64) {
        let (place, tag) = self.place(hash);
        let way =
            self.tags.get(place).and_then(|tags| tags.entries.iter().position(|of| *of == tag));
        if let (Some(Set(set)), Some(way)) = (self.sets.get(place), way) {
            prefetch(&set[way]);
            if size_of::<Entry<K>>() > 64 {
                prefetch(&set[way].residual);
            }
        }
    }

    /// What is known of packets with this key, and that one has come. `eager` as of the cache.
    fn look_up(&mut self, key: K, hash: u64, policy: u32, eager: bool) -> Known<'_, K> {
        let (place, tag) = self.place(hash);
        let (Some(tags), Some(Set(set))) = (self.tags.get_mut(place), self.sets.get_mut(place))
        else {
            return Known::New;
        };
        let is = |way: &usize| tags.entries[*way] == tag && set[*way].key == key;
        let way = match (0..2).find(is) {
            Some(way) => way,
            None if eager || tags.seen.contains(&tag) => {
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
    fn place(&self, hash: u64) -> (usize, u16) {
        (hash as usize & self.sets.len().wrapping_sub(1), (hash >> 32) as u16)
    }
}

/// See the module.
#[derive(Debug)]
pub struct FlowCache {
    four: Table<PacketKey>,
    six: Table<Key6>,
    /// The number of the policy in force, from 1.
    policy: u32,
    /// Its epoch.
    epoch: u64,
    /// Whether it is asked of rule sets of any size, and does not wait for a second packet.
    eager: bool,
}

impl FlowCache {
    /// For so many keys of IPv4, rounded up to a power of two, and none of IPv6; 0 keeps nothing.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        let (four, six) = (Table::new(entries), Table::new(0));
        Self { four, six, policy: 1, epoch: 0, eager: false }
    }

    /// The same with as many keys of IPv6, or with none.
    #[must_use]
    pub fn with_ipv6(self, wanted: bool) -> Self {
        let entries = if wanted { 2 * self.four.sets.len() } else { 0 };
        Self { six: Table::new(entries), ..self }
    }

    /// The same, used wherever that is possible, not only where it pays: for tests that compare.
    #[must_use]
    pub fn eagerly(self) -> Self {
        Self { eager: true, ..self }
    }

    /// Whether it keeps something, of IPv6 or of IPv4.
    #[must_use]
    pub fn keeps(&self, six: bool) -> bool {
        if six { !self.six.sets.is_empty() } else { !self.four.sets.is_empty() }
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
        self.four.bytes() + self.six.bytes()
    }

    /// What it knows is of the policy of that epoch; what it knew of another is forgotten.
    pub fn adopt(&mut self, epoch: u64) {
        if self.epoch == epoch {
            return;
        }
        self.epoch = epoch;
        self.policy = self.policy.checked_add(1).unwrap_or_else(|| {
            // Once in 4 billion policies.
            self.four.forget();
            self.six.forget();
            1
        });
    }

    /// Asks for the tags of a key to be brought near.
    #[inline]
    pub fn prefetch_tags(&self, key: &CacheKey) {
        if key.six {
            self.six.prefetch_tags(key.hash);
        } else {
            self.four.prefetch_tags(key.hash);
        }
    }

    /// Asks for the entry of a key to be brought near, if it has one.
    #[inline]
    pub fn prefetch_entry(&self, key: &CacheKey) {
        if key.six {
            self.six.prefetch_entry(key.hash);
        } else {
            self.four.prefetch_entry(key.hash);
        }
    }

    /// What is known of packets with this key, which stands in the table as `kept`, and that one has come.
    pub(super) fn look_up<K: Key>(&mut self, key: &CacheKey, kept: K) -> Known<'_, K> {
        let (policy, eager) = (self.policy, self.eager);
        K::table(self).look_up(kept, key.hash, policy, eager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortIndex;

    fn key(n: u32) -> CacheKey {
        CacheKey::new(PacketKey::new((n, 1), (2, 3), 6, PortIndex(0), PortIndex(1)))
    }

    fn look_up(cache: &mut FlowCache, n: u32) -> Known<'_, PacketKey> {
        let key = key(n);
        cache.look_up(&key, key.packet)
    }

    fn look_up6(cache: &mut FlowCache, n: u16) -> Known<'_, Key6> {
        let packet = key(7).packet;
        let [source, destination] = [n, 9].map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n));
        let kept = Key6 { source, destination, rest: packet.rest };
        cache.look_up(&CacheKey::of_six(packet, source, destination), kept)
    }

    #[test]
    fn an_entry_is_a_cache_line_and_two_of_ipv6_are_three() {
        assert_eq!(size_of::<Entry<PacketKey>>(), 64);
        assert_eq!((size_of::<Set<PacketKey>>(), align_of::<Set<PacketKey>>()), (128, 64));
        assert_eq!((size_of::<Set<Key6>>(), align_of::<Set<Key6>>()), (192, 64));
        assert_eq!(FlowCache::new(1000).bytes(), 1024 * 64 + 512 * 8);
        let both = FlowCache::new(1000).with_ipv6(true);
        assert_eq!(both.bytes(), 1024 * (64 + 96) + 1024 * 8);
        assert!(both.keeps(true) && both.keeps(false) && !FlowCache::new(1).keeps(true));
        assert!(!FlowCache::new(0).keeps(false) && !FlowCache::new(0).with_ipv6(true).keeps(true));
    }

    #[test]
    fn the_second_packet_is_worth_it_and_another_policy_forgets() {
        let mut cache = FlowCache::new(2);
        cache.adopt(7);
        assert!(matches!(look_up(&mut cache, 1), Known::New));
        let Known::Again(unknown) = look_up(&mut cache, 1) else { panic!("known, or new") };
        unknown.keep(Residual::default());
        assert!(matches!(look_up(&mut cache, 1), Known::Residual(_)));
        cache.adopt(7);
        assert!(matches!(look_up(&mut cache, 1), Known::Residual(_)));
        cache.adopt(8);
        assert!(matches!(look_up(&mut cache, 1), Known::Again(_)));
    }

    #[test]
    fn each_family_has_its_own() {
        let mut cache = FlowCache::new(2).with_ipv6(true).eagerly();
        let Known::Again(unknown) = look_up6(&mut cache, 7) else { panic!("known, or new") };
        unknown.keep(Residual::default());
        assert!(matches!(look_up(&mut cache, 7), Known::Again(_)));
        assert!(matches!(look_up6(&mut cache, 8), Known::Again(_)));
        assert!(matches!(look_up6(&mut cache, 7), Known::Residual(_)));
        assert!(matches!(look_up6(&mut FlowCache::new(2), 7), Known::New));
    }

    #[test]
    fn what_was_of_use_stays_when_others_come() {
        let mut cache = FlowCache::new(2);
        cache.adopt(1);
        for _ in 0..2 {
            if let Known::Again(unknown) = look_up(&mut cache, 1) {
                unknown.keep(Residual::default());
            }
        }
        for other in 2..100 {
            assert!(matches!(look_up(&mut cache, other), Known::New));
        }
        assert!(matches!(look_up(&mut cache, 1), Known::Residual(_)));
    }
}
