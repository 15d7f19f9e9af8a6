//! `Table`: what is kept of each key, in bounded memory, whoever asks.
//!
//! ```text
//!   key --hash--> bucket, of WAYS entries
//!
//!   first line: tags | when each entry was asked for last | its rank | turn
//!   then:       what is kept of each: the key, where its tag does not say it, and the state
//! ```
//!
//! Of a key that is known two lines are needed, the first and that of its entry, and of one that is not known and only
//! looked for ([`knows`](Table::knows)) the first alone, in nobody's turn. Where packets come in batches all of it is
//! brought near first ([`Table::prefetch`]), since most keys of a flood are far away. All memory is allocated when the
//! table is made. Workers take turns with a bucket (`Spin`); two that want different ones never meet.
//!
//! **Expiry.** An entry that nobody has asked for longer than the table says is gone: whoever asks for its key finds a
//! new one, and whoever needs room takes its place. Nothing is swept. (Times are kept in 32 bits of ticks, which go
//! round in 198 days.)
//!
//! **Full.** A new key always gets an entry. In its bucket gives way: one that is free, or has expired; else the one
//! with the smallest weight, and of several that are equal the one that was asked for the longest time ago. A state's
//! weight says how much would be lost with it; it is 0 for one that says no more than a new one would. So a flood of
//! sources that come once drives out each other, and neither those that are held back nor, for long, those that come
//! for the first time: in the kernel's `hashlimit` these are dropped while its table is full. What a flood can win in
//! this way is to be forgotten: where more sources than there are entries all are held back at the same time, some of
//! them get the start of a new one again.
//!
//! **Nobody chooses buckets.** Which keys meet depends on a seed that nobody knows (`ahash`, seeded by the operating
//! system at the start of the daemon).

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use ahash::RandomState;

use super::spin::Spin;
use crate::frame::{prefetch, prefetch_all};

/// Entries of a bucket: what is needed to find them is one cache line.
pub const WAYS: usize = 6;

/// The share of entries that are in use when all keys are there for which a table was made: buckets do not fill evenly,
/// and with so much room a hundredth of the keys has given way by then.
const FILL_PERCENT: usize = 45;

/// What is kept of a key.
pub trait State: Copy {
    /// How much would be lost with it; 0 where nothing.
    fn weight(&self) -> u8;
}

/// By what something is kept.
pub trait Key: Copy + Eq + Hash {
    /// What an entry has of it besides its tag.
    type Rest: Copy + Debug + Default;

    /// Tag and rest. `hash` are 32 bits of its hash.
    fn split(self, hash: u32) -> (u32, Self::Rest);

    /// The key that was split like this.
    fn join(tag: u32, rest: Self::Rest) -> Self;

    /// Whether its rest is this, where its tag is known to be the same.
    fn has(&self, rest: &Self::Rest) -> bool;
}

impl Key for u32 {
    type Rest = ();

    #[inline]
    fn split(self, _: u32) -> (u32, ()) {
        (self, ())
    }

    fn join(tag: u32, (): ()) -> Self {
        tag
    }

    #[inline]
    fn has(&self, (): &()) -> bool {
        true
    }
}

/// Keys that are longer than a tag are kept whole.
macro_rules! key {
    ($key:ty) => {
        impl $crate::limit::table::Key for $key {
            type Rest = Self;

            #[inline]
            fn split(self, hash: u32) -> (u32, Self) {
                (hash, self)
            }

            fn join(_: u32, rest: Self) -> Self {
                rest
            }

            #[inline]
            fn has(&self, rest: &Self) -> bool {
                self == rest
            }
        }
    };
}

pub(super) use key;

key!(u64);

/// Where no entry is, and where one is the weight of whose state is so much less.
const FREE: u8 = 0;
const WEIGHTLESS: u8 = 1;

/// What is needed of entries to find them. It changes in somebody's turn alone.
#[derive(Debug, Default)]
#[repr(C)]
struct Head {
    tags: [AtomicU32; WAYS],
    seen: [AtomicU32; WAYS],
    ranks: [AtomicU8; WAYS],
}

impl Head {
    /// How many ticks ago an entry was asked for last. That may be later than `now`: the clock of another worker is
    /// ahead by a poll, and a control thread takes longer to look through all entries than a busy one needs to be asked
    /// for again.
    #[inline]
    fn age(&self, way: usize, now: u32) -> u32 {
        let age = now.wrapping_sub(self.seen[way].load(Relaxed));
        if age > u32::MAX / 2 { 0 } else { age }
    }

    fn is_there(&self, way: usize) -> bool {
        self.ranks[way].load(Relaxed) != FREE
    }

    /// The entry that gives way to a new one at `now`.
    #[inline]
    fn victim(&self, now: u32, expire: u32) -> usize {
        // One number for each, so that nothing is guessed on the way: a flood of new keys comes here with every packet.
        let order = |way: usize| {
            let (rank, age) = (self.ranks[way].load(Relaxed), self.age(way, now));
            let lasts = u64::from(rank != FREE)
                + (u64::from(rank) & (u64::from(age >= expire).wrapping_sub(1)));
            lasts << 40 | u64::from(u32::MAX - age) << 8 | way as u64
        };
        let first = (0..WAYS).map(order).fold(u64::MAX, u64::min);
        (first & 0xff) as usize
    }

    /// Which entries have a tag, a bit each.
    #[inline]
    fn tagged(&self, tag: u32) -> u32 {
        (0..WAYS).rev().fold(0, |bits, way| {
            let is = (self.tags[way].load(Relaxed) == tag) & self.is_there(way);
            bits << 1 | u32::from(is)
        })
    }
}

/// What is kept in an entry.
#[derive(Debug, Clone, Copy)]
struct Slot<R, S> {
    rest: R,
    state: S,
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Bucket<R, S> {
    head: Head,
    slots: Spin<[Slot<R, S>; WAYS]>,
}

/// See the module.
#[derive(Debug)]
pub struct Table<K: Key, S> {
    buckets: Box<[Bucket<K::Rest, S>]>,
    hashes: RandomState,
    keys_max: usize,
    /// In ticks.
    expire: u32,
}

/// An entry, as others may see it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<K, S> {
    /// Its key.
    pub key: K,
    /// What is kept of it.
    pub state: S,
    /// How many ticks ago it was asked for last.
    pub age: u32,
}

impl<K: Key, S: State> Table<K, S> {
    /// For so many keys (at least one), which are forgotten when they were not asked for in `expire` ticks (at least
    /// one). `blank` fills the memory.
    #[must_use]
    pub fn new(keys_max: usize, expire: u32, seed: u64, blank: S) -> Self {
        let bucket = || {
            let slot = Slot { rest: K::Rest::default(), state: blank };
            Bucket { head: Head::default(), slots: Spin::new([slot; WAYS]) }
        };
        Self {
            buckets: (0..buckets_for(keys_max)).map(|_| bucket()).collect(),
            hashes: RandomState::with_seeds(
                seed,
                !seed,
                seed.rotate_left(32),
                0x5851_f42d_4c95_7f2d,
            ),
            keys_max,
            expire: expire.max(1),
        }
    }

    /// Bytes that a table for so many keys takes.
    #[must_use]
    pub fn bytes_for(keys_max: usize) -> usize {
        buckets_for(keys_max) * size_of::<Bucket<K::Rest, S>>()
    }

    /// For how many keys it was made.
    #[must_use]
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// The bucket of a key, by the first half of its hash, and the last half.
    #[expect(clippy::cast_possible_truncation, reason = "below the number of buckets; a half")]
    #[inline]
    fn place(&self, key: &K) -> (&Bucket<K::Rest, S>, u32) {
        let hash = self.hashes.hash_one(key);
        let bucket = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        (&self.buckets[bucket as usize], hash as u32)
    }

    /// Asks for all that is needed of a key to be brought near: a hint for whoever will ask for it soon.
    #[inline]
    pub fn prefetch(&self, key: &K) {
        prefetch_all(self.place(key).0);
    }

    /// The same where it is only asked whether it is known.
    #[inline]
    pub fn prefetch_head(&self, key: &K) {
        prefetch(&self.place(key).0.head);
    }

    /// Calls `turn` with what is kept of a key at the tick `now`, and how many ticks ago it was asked for last: 0 if it
    /// is new, and then it is what `make` makes.
    #[inline]
    pub fn with<R>(
        &self,
        key: K,
        now: u64,
        make: impl FnOnce() -> S,
        turn: impl FnOnce(&mut S, u32) -> R,
    ) -> R {
        let (Bucket { head, slots }, hash) = self.place(&key);
        let ((tag, rest), now) = (key.split(hash), ticks(now));
        slots.with(|slots| {
            let known = find(head, slots, tag, &key);
            let age = known.map_or(0, |way| head.age(way, now));
            let way = known.unwrap_or_else(|| head.victim(now, self.expire));
            let slot = &mut slots[way];
            let goes_on = known.is_some() && age < self.expire;
            if !goes_on {
                *slot = Slot { rest, state: make() };
                head.tags[way].store(tag, Relaxed);
            }
            let result = turn(&mut slot.state, if goes_on { age } else { 0 });
            let rank = slot.state.weight().saturating_add(WEIGHTLESS);
            head.ranks[way].store(rank, Relaxed);
            // Nor does it go back.
            if !goes_on || age > 0 {
                head.seen[way].store(now, Relaxed);
            }
            result
        })
    }

    /// Whether a key is known at the tick `now`. To ask does not keep it from expiring.
    #[inline]
    #[must_use]
    pub fn knows(&self, key: &K, now: u64) -> bool {
        let (Bucket { head, slots }, hash) = self.place(key);
        let (tag, _) = key.split(hash);
        // Of a flood none is.
        head.tagged(tag) != 0
            && slots.with(|slots| {
                let known = find(head, slots, tag, key);
                known.is_some_and(|way| head.age(way, ticks(now)) < self.expire)
            })
    }

    /// Forgets a key; whether it was known at the tick `now`.
    pub fn forget(&self, key: &K, now: u64) -> bool {
        let (Bucket { head, slots }, hash) = self.place(key);
        let (tag, _) = key.split(hash);
        slots.with(|slots| {
            let Some(way) = find(head, slots, tag, key) else { return false };
            head.ranks[way].store(FREE, Relaxed);
            head.age(way, ticks(now)) < self.expire
        })
    }

    /// Everything that is kept at the tick `now`, a bucket after the other. What changes meanwhile may be there or not.
    pub fn entries(&self, now: u64) -> impl Iterator<Item = Seen<K, S>> {
        let now = ticks(now);
        self.buckets
            .iter()
            .flat_map(move |Bucket { head, slots }| {
                slots.with(|slots| {
                    std::array::from_fn::<_, WAYS, _>(|way| {
                        let Slot { rest, state } = slots[way];
                        let (key, age) =
                            (K::join(head.tags[way].load(Relaxed), rest), head.age(way, now));
                        let there = head.is_there(way) && age < self.expire;
                        there.then_some(Seen { key, state, age })
                    })
                })
            })
            .flatten()
    }
}

/// The entry of a key.
#[inline]
fn find<K: Key, S>(
    head: &Head,
    slots: &[Slot<K::Rest, S>; WAYS],
    tag: u32,
    key: &K,
) -> Option<usize> {
    let mut left = head.tagged(tag);
    while left != 0 {
        let way = left.trailing_zeros() as usize;
        if key.has(&slots[way].rest) {
            return Some(way);
        }
        left &= left - 1;
    }
    None
}

fn buckets_for(keys_max: usize) -> usize {
    (keys_max.max(1) * 100 / FILL_PERCENT).div_ceil(WAYS)
}

/// The last 32 bits of a tick.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn ticks(now: u64) -> u32 {
    now as u32
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests;
