//! `Table`: what is kept of each key, in bounded memory, whoever asks.
//!
//! ```text
//!   key --hash--> bucket, of WAYS entries
//!
//!   head:    turn | when each entry was asked for last | 16 bits of its hash | its weight
//!   entries: key, state
//! ```
//!
//! A bucket of IPv4 is four cache lines, of which a key that is known costs two: the head and its entry. Where packets
//! come in batches all of it is brought near first ([`Table::prefetch`]), since most keys of a flood are far away. All
//! memory is allocated when the table is made. Workers take turns with a bucket (`Spin`); two that want different ones
//! never meet.
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

use std::hash::Hash;

use ahash::RandomState;

use super::spin::Spin;
use crate::frame::prefetch_all;

/// Entries of a bucket: with what belongs to them, four cache lines of IPv4.
pub const WAYS: usize = 7;

/// The share of entries that are in use when all keys are there for which a table was made: buckets do not fill evenly,
/// and with so much room a hundredth of the keys has given way by then.
const FILL_PERCENT: usize = 50;

/// What is kept of a key.
pub trait State: Copy {
    /// How much would be lost with it; 0 where nothing.
    fn weight(&self) -> u8;
}

/// What is needed of an entry to find it.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Head {
    seen: [u32; WAYS],
    /// Of the hash; 0 where there is no entry.
    tags: [u16; WAYS],
    weights: [u8; WAYS],
}

impl Head {
    /// How many ticks ago an entry was asked for last. That may be later than `now`: the clock of another worker is
    /// ahead by a poll, and a control thread takes longer to look through all entries than a busy one needs to be asked
    /// for again.
    fn age(&self, way: usize, now: u32) -> u32 {
        let age = now.wrapping_sub(self.seen[way]);
        if age > u32::MAX / 2 { 0 } else { age }
    }

    /// The entry that gives way to a new one at `now`.
    fn victim(&self, now: u32, expire: u32) -> usize {
        // One number for each, so that nothing is guessed on the way: a flood of new keys comes here with every packet.
        let order = |way: usize| {
            let age = self.age(way, now);
            let weight = 2 + u64::from(self.weights[way]);
            let weight = if age >= expire { 1 } else { weight };
            let weight = if self.tags[way] == 0 { 0 } else { weight };
            weight << 40 | u64::from(u32::MAX - age) << 8 | way as u64
        };
        let first = (0..WAYS).map(order).fold(u64::MAX, u64::min);
        (first & 0xff) as usize
    }

    /// Which entries have a tag, a bit each.
    #[inline]
    fn tagged(&self, tag: u16) -> u32 {
        self.tags.iter().rev().fold(0, |bits, other| bits << 1 | u32::from(*other == tag))
    }
}

/// One entry.
#[derive(Debug, Clone, Copy)]
struct Slot<K, S> {
    key: K,
    state: S,
}

#[derive(Debug)]
#[repr(C)]
struct Bucket<K, S> {
    head: Head,
    slots: [Slot<K, S>; WAYS],
}

/// A bucket at the beginning of a cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Line<K, S>(Spin<Bucket<K, S>>);

/// See the module.
#[derive(Debug)]
pub struct Table<K, S> {
    buckets: Box<[Line<K, S>]>,
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

impl<K: Copy + Default + Eq + Hash, S: State> Table<K, S> {
    /// For so many keys (at least one), which are forgotten when they were not asked for in `expire` ticks (at least
    /// one). `blank` fills the memory.
    #[must_use]
    pub fn new(keys_max: usize, expire: u32, seed: u64, blank: S) -> Self {
        let bucket = || {
            let head = Head { seen: [0; WAYS], tags: [0; WAYS], weights: [0; WAYS] };
            let slot = Slot { key: K::default(), state: blank };
            Line(Spin::new(Bucket { head, slots: [slot; WAYS] }))
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
        buckets_for(keys_max) * size_of::<Line<K, S>>()
    }

    /// For how many keys it was made.
    #[must_use]
    pub fn keys_max(&self) -> usize {
        self.keys_max
    }

    /// The bucket of a key, by the first half of its hash, and the tag in it, by the last bits.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "below the number of buckets; a tag has 16 bits"
    )]
    fn place(&self, key: &K) -> (&Line<K, S>, u16) {
        let hash = self.hashes.hash_one(key);
        let bucket = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        (&self.buckets[bucket as usize], (hash as u16).max(1))
    }

    /// Asks for all that is needed of a key to be brought near: a hint for whoever will ask for it soon.
    #[inline]
    pub fn prefetch(&self, key: &K) {
        prefetch_all(self.place(key).0);
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
        let (Line(bucket), tag) = self.place(&key);
        let now = ticks(now);
        bucket.with(|Bucket { head, slots }| {
            let known = find(head, slots, tag, &key);
            let age = known.map_or(0, |way| head.age(way, now));
            let way = known.unwrap_or_else(|| head.victim(now, self.expire));
            let slot = &mut slots[way];
            let goes_on = known.is_some() && age < self.expire;
            if !goes_on {
                *slot = Slot { key, state: make() };
                head.tags[way] = tag;
            }
            let result = turn(&mut slot.state, if goes_on { age } else { 0 });
            head.weights[way] = slot.state.weight();
            // Nor does it go back.
            if !goes_on || age > 0 {
                head.seen[way] = now;
            }
            result
        })
    }

    /// Whether a key is known at the tick `now`. To ask does not keep it from expiring.
    #[inline]
    #[must_use]
    pub fn knows(&self, key: &K, now: u64) -> bool {
        let (Line(bucket), tag) = self.place(key);
        let now = ticks(now);
        bucket.with(|Bucket { head, slots }| {
            (0..WAYS).any(|way| {
                let is = head.tags[way] == tag && slots[way].key == *key;
                is && head.age(way, now) < self.expire
            })
        })
    }

    /// Forgets a key; whether it was known at the tick `now`.
    pub fn forget(&self, key: &K, now: u64) -> bool {
        let (Line(bucket), tag) = self.place(key);
        let now = ticks(now);
        bucket.with(|Bucket { head, slots }| {
            let Some(way) = find(head, slots, tag, key) else { return false };
            head.tags[way] = 0;
            head.age(way, now) < self.expire
        })
    }

    /// Everything that is kept at the tick `now`, a bucket after the other. What changes meanwhile may be there or not.
    pub fn entries(&self, now: u64) -> impl Iterator<Item = Seen<K, S>> {
        let now = ticks(now);
        self.buckets
            .iter()
            .flat_map(move |Line(bucket)| {
                bucket.with(|Bucket { head, slots }| {
                    std::array::from_fn::<_, WAYS, _>(|way| {
                        let Slot { key, state } = slots[way];
                        let age = head.age(way, now);
                        let there = head.tags[way] != 0 && age < self.expire;
                        there.then_some(Seen { key, state, age })
                    })
                })
            })
            .flatten()
    }
}

/// The entry of a key.
#[inline]
fn find<K: Eq, S>(head: &Head, slots: &[Slot<K, S>; WAYS], tag: u16, key: &K) -> Option<usize> {
    let mut left = head.tagged(tag);
    while left != 0 {
        let way = left.trailing_zeros() as usize;
        if slots[way].key == *key {
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
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// How often it was asked for, and what it weighs.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Count(u32, u8);

    impl State for Count {
        fn weight(&self) -> u8 {
            self.1
        }
    }

    fn table(keys: usize, expire: u32) -> Table<u32, Count> {
        Table::new(keys, expire, 7, Count(0, 0))
    }

    /// Asks for a key; how often that has been done.
    fn ask(table: &Table<u32, Count>, key: u32, now: u64, weight: u8) -> u32 {
        table.with(
            key,
            now,
            || Count(0, 0),
            |count, _| {
                *count = Count(count.0 + 1, weight);
                count.0
            },
        )
    }

    #[test]
    fn a_bucket_of_ipv4_is_four_cache_lines() {
        assert!(size_of::<Head>() + 8 <= 64);
        assert_eq!(Table::<[u32; 3], [u32; 4]>::bytes_for(6), 2 * 4 * 64);
    }

    impl State for [u32; 4] {
        fn weight(&self) -> u8 {
            0
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_map_with_expiry_as_long_as_there_is_room(
            steps in prop::collection::vec((0_u32..40, 0_u64..30), 1..400),
        ) {
            // 40 keys in room for thousands: hardly two buckets meet, and none is full.
            let (table, mut model, mut now) = (table(1000, 100), BTreeMap::new(), 1 << 33);
            for (key, step) in steps {
                now += step;
                let (count, seen) = model.entry(key).or_insert((0, now));
                if now - *seen >= 100 {
                    *count = 0;
                }
                (*count, *seen) = (*count + 1, now);
                prop_assert_eq!(ask(&table, key, now, 0), *count);
            }
            let mut there: Vec<_> =
                table.entries(now).map(|entry| (entry.key, entry.state.0, entry.age)).collect();
            there.sort_unstable();
            let expected: Vec<_> = model
                .iter()
                .filter(|(_, (_, seen))| now - seen < 100)
                .map(|(key, (count, seen))| (*key, *count, (now - seen) as u32))
                .collect();
            prop_assert_eq!(there, expected);
        }

        #[test]
        fn it_never_holds_more_than_its_entries_and_the_last_key_is_always_there(
            keys in 1_usize..200, seed in any::<u64>(), asked in prop::collection::vec(any::<u32>(), 1..2000),
        ) {
            let table = Table::new(keys, u32::MAX, seed, Count(0, 0));
            let entries = buckets_for(keys) * WAYS;
            for key in asked {
                ask(&table, key, 5, 1);
                prop_assert!(ask(&table, key, 5, 1) >= 2);
            }
            prop_assert!(table.entries(5).count() <= entries);
        }
    }

    #[test]
    fn as_many_keys_as_it_is_made_for_nearly_all_fit() {
        for keys in [1000, 65_536] {
            let table = table(keys, 1000);
            (0..keys as u32).for_each(|key| assert_eq!(ask(&table, key, 1, 0), 1));
            let there = table.entries(1).count();
            assert!(there * 100 >= keys * 98, "{there} of {keys}");
        }
    }

    #[test]
    fn a_flood_of_strangers_drives_out_no_one_that_is_held_back() {
        let table = table(1000, u32::MAX);
        let held_back = 0..200_u32;
        for round in 1..=5 {
            for key in held_back.clone() {
                assert_eq!(ask(&table, key, round, 9), round as u32, "{key} is known");
            }
            for stranger in 0..20_000 {
                ask(&table, (round as u32) << 20 | stranger, round, 0);
            }
        }
        // And one that comes for the first time is known at once.
        assert_eq!([1, 2, 3].map(|_| ask(&table, u32::MAX, 6, 0)), [1, 2, 3]);
    }

    #[test]
    fn what_weighs_the_least_and_was_asked_for_the_longest_time_ago_gives_way() {
        let (seen, weights) = ([10, 20, 30, 40, 50, 60, 70], [2, 1, 1, 3, 2, 1, 1]);
        let mut head = Head { seen, tags: [1; WAYS], weights };
        assert_eq!(head.victim(71, 1000), 1);
        assert_eq!(head.victim(71, 45), 0, "it has expired");
        head.tags[5] = 0;
        assert_eq!(head.victim(71, 45), 5, "it is free");
        // A clock that has gone round.
        let head = Head { seen: [u32::MAX, 2, 3, 4, 5, 6, 6], tags: [1; WAYS], weights: [0; WAYS] };
        assert_eq!(head.victim(7, 1000), 0);
    }

    #[test]
    fn what_was_asked_for_a_little_later_is_there() {
        let table = table(100, 50);
        ask(&table, 7, 1000, 0);
        let there = |now| table.entries(now).map(|entry| entry.age).collect::<Vec<_>>();
        assert_eq!((there(998), there(1000), there(1049)), (vec![0], vec![0], vec![49]));
        assert!(table.knows(&7, 990) && table.knows(&7, 1049) && !table.knows(&8, 1000));
        assert!(there(1050).is_empty() && !table.knows(&7, 1050));
    }

    #[test]
    fn workers_that_meet_lose_nothing() {
        let table = table(100, u32::MAX);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope
                    .spawn(|| (0..30_000_u32).for_each(|n| assert!(ask(&table, n % 10, 1, 0) > 0)));
            }
        });
        assert_eq!((0..10).map(|key| ask(&table, key, 1, 0)).collect::<Vec<_>>(), [9001; 10]);
        assert!(table.forget(&3, 1) && !table.forget(&3, 1) && !table.forget(&77, 1));
        assert_eq!(table.entries(1).count(), 9);
    }
}
