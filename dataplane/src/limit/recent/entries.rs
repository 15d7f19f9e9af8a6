//! `Entries`: the addresses of a table, and when packets of each were seen.
//!
//! ```text
//!   heads, by hash ──► slot ──chain──► slot            oldest ──newer──► .. ──newer──► newest
//!                       │
//!                       └ stamps: a ring of times, the last `count` of them, the newest before `index`
//! ```
//!
//! All slots and their rings are allocated when the table is made. In which order addresses were noted is a list
//! through the slots, so that the one that gives way when all are taken is found at once.
//!
//! Times in a ring never go back, for the kernel's clock does not: workers read theirs at different moments, so what is
//! noted is the latest that any of them came with. Then whether an address was seen often enough, lately, is one look
//! into its ring, not one at each time: at the one that is as many back as are asked for.

use ahash::RandomState;

use super::{Ask, Known};
use weir_control::rule::RecentAction;

/// No slot.
const NONE: u32 = u32::MAX;

/// By what an address is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) bits: u128,
    pub(super) ipv6: bool,
}

/// An address, or room for one.
#[derive(Debug)]
struct Slot {
    key: Key,
    /// 0 stands for any: it was noted by hand.
    ttl: u8,
    /// Times in the ring; 0 where the slot is free.
    count: u32,
    /// Behind the newest, from 1 on.
    index: u32,
    /// The one noted before this, and the one after.
    older: u32,
    newer: u32,
    /// The next of the same hash, or the next free one.
    chain: u32,
    /// In ticks. Their number is a power of two.
    stamps: Box<[u64]>,
}

impl Slot {
    fn note(&mut self, now: u64) {
        let mask = self.stamps.len() - 1;
        let at = self.index as usize & mask;
        self.stamps[at] = now;
        #[expect(clippy::cast_possible_truncation, reason = "a ring has at most 65,536 times")]
        let index = at as u32 + 1;
        self.index = index;
        self.count = self.count.max(index);
    }

    /// The time when a packet was noted `back` packets ago, from 1 on; `None` if there were fewer.
    fn stamp(&self, back: u32) -> Option<u64> {
        if back > self.count {
            return None;
        }
        let mask = self.stamps.len() - 1;
        self.stamps.get((self.index.wrapping_sub(back)) as usize & mask).copied()
    }

    /// Whether it was seen so often, counting from `since` on.
    fn was_seen(&self, times: u32, since: u64) -> bool {
        self.stamp(times).is_some_and(|stamp| stamp >= since)
    }

    fn is_free(&self) -> bool {
        self.count == 0
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Entries {
    hash: RandomState,
    heads: Box<[u32]>,
    slots: Box<[Slot]>,
    free: u32,
    oldest: u32,
    newest: u32,
    len: u32,
    /// The latest time that anybody came with.
    now: u64,
}

impl Entries {
    /// What an address takes besides its ring.
    pub(super) const BYTES: usize = size_of::<Slot>() + 2 * size_of::<u32>();

    /// For so many addresses, at least one, and as many times of each, a power of two.
    pub(super) fn new(addresses: u32, stamps: u32, hash: RandomState) -> Self {
        let slot = |number: u32| Slot {
            key: Key { bits: 0, ipv6: false },
            ttl: 0,
            count: 0,
            index: 0,
            older: NONE,
            newer: NONE,
            chain: if number + 1 < addresses { number + 1 } else { NONE },
            stamps: ring(stamps),
        };
        Self {
            hash,
            heads: vec![NONE; addresses.next_power_of_two() as usize].into(),
            slots: (0..addresses).map(slot).collect(),
            free: 0,
            oldest: NONE,
            newest: NONE,
            len: 0,
            now: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// For how many there is room.
    pub(super) fn capacity(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// What a packet of an address makes of a question, at the tick `now` (`recent_mt`, net/netfilter/xt_recent.c).
    pub(super) fn ask(&mut self, ask: &Ask, key: Key, ttl: u8, now: u64) -> bool {
        let now = self.clock(now);
        let holds = !ask.negated;
        let Some(found) = self.find(key, if ask.rttl { ttl } else { 0 }) else {
            if ask.action != RecentAction::Set {
                return !holds;
            }
            self.add(key, ttl, now);
            return holds;
        };
        match ask.action {
            RecentAction::Set => {
                self.note(found, ttl, now);
                holds
            }
            RecentAction::Remove => {
                self.remove(found);
                holds
            }
            RecentAction::Rcheck | RecentAction::Update => {
                let since = ask.jiffies.map_or(0, |jiffies| now.saturating_sub(jiffies));
                let seen = self.slots[found as usize].was_seen(ask.hitcount.max(1), since);
                if ask.reap {
                    self.reap(since);
                }
                let says = seen == holds;
                // It may have been the one that was reaped.
                let there = !self.slots[found as usize].is_free();
                if ask.action == RecentAction::Update && says && there {
                    self.note(found, ttl, now);
                }
                says
            }
        }
    }

    /// Notes an address by hand.
    pub(super) fn note_by_hand(&mut self, key: Key, now: u64) {
        let now = self.clock(now);
        match self.find(key, 0) {
            Some(found) => {
                let ttl = self.slots[found as usize].ttl;
                self.note(found, ttl, now);
            }
            None => self.add(key, 0, now),
        }
    }

    /// Forgets an address; false if it is not there.
    pub(super) fn forget(&mut self, key: Key) -> bool {
        let found = self.find(key, 0);
        found.into_iter().for_each(|found| self.remove(found));
        found.is_some()
    }

    /// Forgets up to so many, those first that were noted longest ago.
    pub(super) fn forget_oldest(&mut self, most: u32) {
        for _ in 0..most.min(self.len) {
            self.remove(self.oldest);
        }
    }

    /// What is known of the address in a slot, if there is one, with as many of its times as fit into `jiffies`, the
    /// oldest of them first.
    pub(super) fn known(&self, number: u32, mut jiffies: Vec<u64>) -> Option<Known> {
        let slot = self.slots.get(number as usize).filter(|slot| !slot.is_free())?;
        let most = u32::try_from(jiffies.capacity()).unwrap_or(u32::MAX).min(slot.count);
        jiffies.extend((1..=most).rev().filter_map(|back| slot.stamp(back)));
        Some(Known { key: slot.key, ttl: slot.ttl, jiffies })
    }

    /// Gives a slot a longer ring, with all times that it has; the shorter one is returned. Nothing happens if it is
    /// not longer.
    pub(super) fn widen(&mut self, number: u32, mut stamps: Box<[u64]>) -> Box<[u64]> {
        let Some(slot) = self.slots.get_mut(number as usize) else { return stamps };
        if stamps.len() <= slot.stamps.len() {
            return stamps;
        }
        for back in 1..=slot.count {
            if let (Some(stamp), Some(own)) =
                (slot.stamp(back), stamps.get_mut((slot.count - back) as usize))
            {
                *own = stamp;
            }
        }
        slot.index = slot.count;
        std::mem::replace(&mut slot.stamps, stamps)
    }

    /// The time, which does not go back.
    fn clock(&mut self, now: u64) -> u64 {
        self.now = self.now.max(now);
        self.now
    }

    /// The address's slot, if it was noted with that time to live, or if 0 stands for either (`recent_entry_lookup`).
    fn find(&self, key: Key, ttl: u8) -> Option<u32> {
        let mut at = self.heads[self.head(key)];
        while let Some(slot) = self.slots.get(at as usize) {
            if slot.key == key && (ttl == 0 || slot.ttl == 0 || slot.ttl == ttl) {
                return Some(at);
            }
            at = slot.chain;
        }
        None
    }

    #[expect(clippy::cast_possible_truncation, reason = "masked")]
    fn head(&self, key: Key) -> usize {
        self.hash.hash_one(key) as usize & (self.heads.len() - 1)
    }

    /// A new address; the oldest gives way if all slots are taken (`recent_entry_init`).
    fn add(&mut self, key: Key, ttl: u8, now: u64) {
        if self.free == NONE {
            self.remove(self.oldest);
        }
        let (number, head) = (self.free, self.head(key));
        let slot = &mut self.slots[number as usize];
        self.free = std::mem::replace(&mut slot.chain, self.heads[head]);
        self.heads[head] = number;
        (slot.key, slot.ttl, slot.count, slot.index) = (key, ttl, 0, 0);
        slot.note(now);
        self.len += 1;
        self.make_newest(number);
    }

    /// One more packet of an address (`recent_entry_update`).
    fn note(&mut self, number: u32, ttl: u8, now: u64) {
        let slot = &mut self.slots[number as usize];
        slot.ttl = ttl;
        slot.note(now);
        self.leave_order(number);
        self.make_newest(number);
    }

    fn remove(&mut self, number: u32) {
        self.leave_order(number);
        let key = self.slots[number as usize].key;
        let head = self.head(key);
        let chain = self.slots[number as usize].chain;
        let mut at = self.heads[head];
        if at == number {
            self.heads[head] = chain;
        } else {
            while self.slots[at as usize].chain != number {
                at = self.slots[at as usize].chain;
            }
            self.slots[at as usize].chain = chain;
        }
        let slot = &mut self.slots[number as usize];
        (slot.count, slot.chain) = (0, self.free);
        self.free = number;
        self.len -= 1;
    }

    /// The oldest address goes, if it was seen last before `since` (`recent_entry_reap`).
    fn reap(&mut self, since: u64) {
        let oldest = self.slots.get(self.oldest as usize);
        if oldest.is_some_and(|slot| !slot.was_seen(1, since)) {
            self.remove(self.oldest);
        }
    }

    fn leave_order(&mut self, number: u32) {
        let Slot { older, newer, .. } = self.slots[number as usize];
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn make_newest(&mut self, number: u32) {
        let newest = std::mem::replace(&mut self.newest, number);
        let slot = &mut self.slots[number as usize];
        (slot.older, slot.newer) = (newest, NONE);
        match self.slots.get_mut(newest as usize) {
            Some(slot) => slot.newer = number,
            None => self.oldest = number,
        }
    }

    /// All addresses, those first that were noted longest ago.
    #[cfg(test)]
    pub(super) fn in_order(&self) -> Vec<Known> {
        let next = |at: &u32| self.slots.get(*at as usize).map(|slot| slot.newer);
        let order = std::iter::successors(Some(self.oldest), next);
        order.filter_map(|number| self.known(number, Vec::with_capacity(99))).collect()
    }
}

/// A ring for so many times, all of it written to, so that no page is first touched by a packet.
pub(super) fn ring(stamps: u32) -> Box<[u64]> {
    let mut ring = vec![u64::MAX; stamps as usize];
    std::hint::black_box(&mut ring).fill(0);
    ring.into()
}
