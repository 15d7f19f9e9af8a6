//! `Groups`: how many connections each address has, one count for all workers.
//!
//! Groups are in shards by the hash of their address. A group is looked for, made and given up in its shard's turn
//! (`spin.rs`); its count changes in that turn as well, and can be read at any time by who knows its number.

use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;

use super::NoMemory;
use super::spin::Spin;

/// Groups of a shard at least.
const SHARD_GROUPS_MIN: usize = 64;

/// Shards at most: workers seldom meet in one of so many.
const SHARDS_MAX: usize = 256;

/// Numbers have 31 bits.
const NUMBER_MAX: u32 = u32::MAX >> 1;

/// No slot.
const NONE: u32 = u32::MAX;

/// Names a group for as long as it has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group(u32);

impl Group {
    /// From 1 on.
    pub(super) fn number(self) -> u32 {
        self.0
    }

    /// The one of that number; none has 0.
    pub(super) fn of(number: u32) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }
}

/// An address, or room for one.
#[derive(Debug, Clone, Copy)]
struct Slot {
    address: [u64; 2],
    /// The next of the same hash, or the next free one.
    next: u32,
}

/// How the groups of a shard are found.
#[derive(Debug)]
struct Index {
    heads: Box<[u32]>,
    slots: Box<[Slot]>,
    free: u32,
}

#[derive(Debug)]
struct Shard {
    index: Spin<Index>,
    /// By slot.
    counts: Box<[AtomicU32]>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Groups {
    hash: RandomState,
    shards: Box<[Shard]>,
    per_shard: usize,
}

/// An array that can be had, all of it written to, so that no page is first touched by a packet.
pub(super) fn array<T>(len: usize, each: impl FnMut(usize) -> T) -> Result<Box<[T]>, NoMemory> {
    let mut array = Vec::new();
    array.try_reserve_exact(len).map_err(|_| NoMemory)?;
    array.extend((0..len).map(each));
    Ok(std::hint::black_box(array).into())
}

impl Groups {
    /// Room for so many, and some: hashes do not fill all shards alike.
    pub(super) fn new(groups: usize) -> Result<Self, NoMemory> {
        let shards = (groups / SHARD_GROUPS_MIN).max(1).next_power_of_two().min(SHARDS_MAX);
        let share = groups.div_ceil(shards);
        let per_shard = share + share / 8 + SHARD_GROUPS_MIN;
        let shard = |_| {
            let (index, counts) =
                (Index::new(per_shard)?, array(per_shard, |_| AtomicU32::new(0))?);
            Ok(Shard { index: Spin::new(index), counts })
        };
        let shards = (0..shards).map(shard).collect::<Result<_, NoMemory>>()?;
        // Who may open connections must not know what makes addresses meet.
        Ok(Self { hash: RandomState::new(), shards, per_shard })
    }

    /// Connections of an address.
    pub(super) fn count(&self, address: u128) -> u32 {
        let (shard, hash, address) = self.place(address);
        let Shard { index, counts } = &self.shards[shard];
        index.with(|index| match index.find(hash, address) {
            Some(slot) => counts[slot].load(Ordering::Relaxed),
            None => 0,
        })
    }

    /// One more connection of an address: its group, if there is room for it, and how many it has now.
    pub(super) fn enter(&self, address: u128) -> (Option<Group>, u32) {
        self.enter_if(address, |_| true)
    }

    /// Likewise if it has none; else no group, and how many there are.
    pub(super) fn enter_first(&self, address: u128) -> (Option<Group>, u32) {
        self.enter_if(address, |count| count == 0)
    }

    fn enter_if(&self, address: u128, enters: impl Fn(u32) -> bool) -> (Option<Group>, u32) {
        let (shard, hash, address) = self.place(address);
        let Shard { index, counts } = &self.shards[shard];
        index.with(|index| {
            let found = index.find(hash, address);
            let count = found.map_or(0, |slot| counts[slot].load(Ordering::Relaxed));
            if !enters(count) {
                return (None, count);
            }
            // Without room it is the only one of its group.
            let Some(slot) = found.or_else(|| index.add(hash, address)) else { return (None, 1) };
            counts[slot].store(count + 1, Ordering::Relaxed);
            (self.number(shard, slot), count + 1)
        })
    }

    /// One connection less.
    pub(super) fn leave(&self, group: Group) {
        let (shard, slot) = self.slot(group);
        let Shard { index, counts } = &self.shards[shard];
        index.with(|index| {
            let left = counts[slot].load(Ordering::Relaxed).saturating_sub(1);
            counts[slot].store(left, Ordering::Relaxed);
            if left == 0 {
                index.remove(self.hash.hash_one(index.slots[slot].address), slot);
            }
        });
    }

    /// Whether a group, which has at least one connection, is that of an address.
    pub(super) fn is_of(&self, group: Group, address: u128) -> bool {
        let (_, _, address) = self.place(address);
        let (shard, slot) = self.slot(group);
        self.shards[shard].index.with(|index| index.slots[slot].address == address)
    }

    /// Connections of a group, of which there is at least one.
    pub(super) fn count_in(&self, group: Group) -> u32 {
        let (shard, slot) = self.slot(group);
        self.shards[shard].counts[slot].load(Ordering::Relaxed)
    }

    /// All connections, and groups, as far as they hold still.
    #[cfg(test)]
    fn sum(&self) -> (u64, u64) {
        let counts = self.shards.iter().flat_map(|shard| &shard.counts);
        let counts = counts.map(|count| u64::from(count.load(Ordering::Relaxed)));
        counts.filter(|count| *count > 0).fold((0, 0), |(sum, groups), n| (sum + n, groups + 1))
    }

    /// The shard of an address, its hash, and the address as it is kept.
    fn place(&self, address: u128) -> (usize, u64, [u64; 2]) {
        #[expect(clippy::cast_possible_truncation, reason = "in two halves")]
        let address = [(address >> 64) as u64, address as u64];
        let hash = self.hash.hash_one(address);
        let shard = usize::try_from(hash >> 48).unwrap_or(0) & (self.shards.len() - 1);
        (shard, hash, address)
    }

    fn number(&self, shard: usize, slot: usize) -> Option<Group> {
        let number = u32::try_from(shard * self.per_shard + slot + 1).ok();
        number.filter(|number| *number <= NUMBER_MAX).map(Group)
    }

    fn slot(&self, Group(number): Group) -> (usize, usize) {
        let number = number as usize - 1;
        (number / self.per_shard, number % self.per_shard)
    }
}

impl Index {
    fn new(slots: usize) -> Result<Self, NoMemory> {
        let next = |at: usize| u32::try_from(at + 1).ok().filter(|_| at + 1 < slots);
        Ok(Self {
            heads: array(slots.next_power_of_two(), |_| NONE)?,
            slots: array(slots, |at| Slot { address: [0; 2], next: next(at).unwrap_or(NONE) })?,
            free: 0,
        })
    }

    fn find(&self, hash: u64, address: [u64; 2]) -> Option<usize> {
        let mut at = self.heads[self.head(hash)];
        while let Some(slot) = self.slots.get(at as usize) {
            if slot.address == address {
                return Some(at as usize);
            }
            at = slot.next;
        }
        None
    }

    fn add(&mut self, hash: u64, address: [u64; 2]) -> Option<usize> {
        let (number, head) = (self.free, self.head(hash));
        let slot = self.slots.get_mut(number as usize)?;
        self.free = slot.next;
        *slot = Slot { address, next: self.heads[head] };
        self.heads[head] = number;
        Some(number as usize)
    }

    fn remove(&mut self, hash: u64, slot: usize) {
        let head = self.head(hash);
        let next = self.slots[slot].next;
        let mut at = self.heads[head] as usize;
        if at == slot {
            self.heads[head] = next;
        } else {
            while self.slots[at].next as usize != slot {
                at = self.slots[at].next as usize;
            }
            self.slots[at].next = next;
        }
        self.slots[slot].next = self.free;
        self.free = u32::try_from(slot).unwrap_or(NONE);
    }

    fn head(&self, hash: u64) -> usize {
        usize::try_from(hash & u64::from(u32::MAX)).unwrap_or(0) & (self.heads.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(
            events in prop::collection::vec((0_u128..40, any::<bool>(), any::<prop::sample::Index>()), 1..400),
        ) {
            let groups = Groups::new(16).expect("little");
            let (mut model, mut entered) = (BTreeMap::<u128, u32>::new(), Vec::new());
            for (address, enters, which) in events {
                let address = address << 70 | address;
                if enters || entered.is_empty() {
                    let (group, count) = groups.enter(address);
                    let known = model.entry(address).or_default();
                    prop_assert_eq!(count, *known + 1);
                    // 16 fit, and 66 more.
                    *known += 1;
                    entered.push((address, group.expect("room")));
                } else {
                    let (address, group) = entered.swap_remove(which.index(entered.len()));
                    let known = model.get_mut(&address).expect("entered");
                    prop_assert_eq!(groups.count_in(group), *known);
                    *known -= 1;
                    groups.leave(group);
                }
                prop_assert_eq!(groups.count(address), model.get(&address).copied().unwrap_or(0));
            }
            let living = model.values().filter(|count| **count > 0).count() as u64;
            prop_assert_eq!(groups.sum(), (entered.len() as u64, living));
            for (_, group) in entered {
                groups.leave(group);
            }
            prop_assert_eq!(groups.sum(), (0, 0));
        }
    }

    #[test]
    fn a_group_for_which_there_is_no_room_is_not_remembered_and_others_are() {
        let groups = Groups::new(1).expect("little");
        let entered: Vec<_> = (0..66).map(|address| groups.enter(address)).collect();
        let kept = entered.iter().filter(|(group, _)| group.is_some()).count();
        assert_eq!(kept, 65);
        assert!(entered.iter().all(|(_, count)| *count == 1));
        assert_eq!((groups.enter(3).1, groups.enter_first(3), groups.count(3)), (2, (None, 2), 2));
        entered
            .iter()
            .take(1)
            .filter_map(|(group, _)| *group)
            .for_each(|group| groups.leave(group));
        assert!(groups.enter(99).0.is_some(), "there is room again");
        assert_eq!(groups.enter_first(77), (None, 1), "there is none");
    }

    #[test]
    fn workers_count_together() {
        let groups = Groups::new(64).expect("little");
        let most = std::thread::scope(|scope| {
            let work = || {
                let mut most = 0;
                for round in 0..20_000_u128 {
                    let (group, count) = groups.enter(round % 5);
                    most = most.max(count);
                    group.into_iter().for_each(|group| groups.leave(group));
                }
                most
            };
            [0; 3].map(|_| scope.spawn(work)).map(|worker| worker.join().expect("it counts"))
        });
        assert!(most.iter().all(|most| (1..=3).contains(most)), "{most:?}");
        assert_eq!(groups.sum(), (0, 0));
    }
}
