//! The table of a set: a directory of shards.

use std::sync::Arc;

use ahash::RandomState;

use super::Found;
use super::key::Key;
use super::shard::{Extra, Shard};

/// Bits by which the directory distinguishes, at most. With evenly spread hashes the entries that there may be
/// need 14.
const DEPTH_MAX: u32 = 20;

/// Entries of a kind.
#[derive(Debug, Clone)]
pub(super) struct Table<K: Key> {
    hash: RandomState,
    /// By the first `depth` bits of the hash; a shard that knows fewer bits stands in several places.
    directory: Vec<Arc<Shard<K>>>,
    /// At least 1.
    depth: u32,
    len: usize,
    /// Of nets: how many there are of each length of prefix.
    counts: [u32; LENGTHS],
    /// Of nets: a bit for each length that there is, that of length 1 the lowest.
    present: u128,
}

/// Prefixes have lengths from 1 to 128.
const LENGTHS: usize = 128;

/// So many keys meet in the first bits of their hashes that no room can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

impl<K: Key> Table<K> {
    pub(super) fn new(hash: RandomState) -> Self {
        let shard = Arc::new(Shard::new(0));
        let directory = vec![Arc::clone(&shard), shard];
        Self { hash, directory, depth: 1, len: 0, counts: [0; LENGTHS], present: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "at most DEPTH_MAX bits")]
    fn place(&self, hash: u64) -> usize {
        (hash >> (64 - self.depth)) as usize
    }

    /// The places of the shard at `place`.
    fn places(&self, place: usize) -> std::ops::Range<usize> {
        let count = 1 << (self.depth - self.directory[place].depth);
        let first = place & !(count - 1);
        first..first + count
    }

    #[inline]
    pub(super) fn find(&self, key: K) -> Found {
        let hash = key.hash(&self.hash);
        self.directory[self.place(hash)].find(key, hash)
    }

    /// The lengths of prefixes that there are, longest first.
    #[inline]
    pub(super) fn lengths(&self) -> impl Iterator<Item = u8> + use<K> {
        let mut left = self.present;
        std::iter::from_fn(move || {
            let place = left.checked_ilog2()?;
            left &= !(1 << place);
            u8::try_from(place + 1).ok()
        })
    }

    /// Puts an entry in, or in the place of what it was; tells whether it is new. `of_nets`: whether the
    /// entries are nets.
    pub(super) fn set(
        &mut self,
        key: K,
        (nomatch, extra): (bool, Extra),
        of_nets: bool,
    ) -> Result<bool, Crowded> {
        let hash = key.hash(&self.hash);
        let new = self.find(key) == Found::No;
        while new && self.directory[self.place(hash)].is_full() {
            self.split(self.place(hash))?;
        }
        self.edit(hash, |shard, _| shard.set(key, hash, nomatch, extra));
        if new {
            self.len += 1;
            if of_nets {
                self.count(key.length(), 1);
            }
        }
        Ok(new)
    }

    /// Takes an entry out, and tells whether it was there.
    pub(super) fn remove(&mut self, key: K, of_nets: bool) -> bool {
        if self.find(key) == Found::No {
            return false;
        }
        let hash = key.hash(&self.hash);
        self.edit(hash, |shard, hashes| {
            shard.remove(key, hash, |key| key.hash(hashes));
        });
        self.len -= 1;
        if of_nets {
            self.count(key.length(), -1);
        }
        true
    }

    fn count(&mut self, length: u8, by: i32) {
        let place = usize::from(length.max(1) - 1).min(LENGTHS - 1);
        let count = &mut self.counts[place];
        *count = count.saturating_add_signed(by);
        let bit = 1 << place;
        self.present = if *count > 0 { self.present | bit } else { self.present & !bit };
    }

    /// Changes the shard of that hash, or a copy of it if others have it too.
    fn edit(&mut self, hash: u64, change: impl FnOnce(&mut Shard<K>, &RandomState)) {
        let place = self.place(hash);
        let places = self.places(place);
        // Out of all places first: those are not others.
        let mut shard = std::mem::replace(&mut self.directory[place], K::blank());
        self.directory[places.clone()].fill(K::blank());
        change(Arc::make_mut(&mut shard), &self.hash);
        self.directory[places].fill(shard);
    }

    /// Splits the shard at `place` by the next bit of the hashes.
    fn split(&mut self, place: usize) -> Result<(), Crowded> {
        let depth = self.directory[place].depth;
        if depth == DEPTH_MAX {
            return Err(Crowded);
        }
        if depth == self.depth {
            let twice = |shard: &Arc<Shard<K>>| [Arc::clone(shard), Arc::clone(shard)];
            self.directory = self.directory.iter().flat_map(twice).collect();
            self.depth += 1;
            return self.split(place * 2);
        }
        let places = self.places(place);
        let mut halves = [Shard::new(depth + 1), Shard::new(depth + 1)];
        for (key, nomatch) in self.directory[place].iter() {
            let hash = key.hash(&self.hash);
            let extra = self.directory[place].extra(key).cloned().unwrap_or_default();
            let half = usize::from(hash >> (63 - depth) & 1 == 1);
            halves[half].set(key, hash, nomatch, extra);
        }
        let middle = places.start.midpoint(places.end);
        let [low, high] = halves.map(Arc::new);
        self.directory[places.start..middle].fill(low);
        self.directory[middle..places.end].fill(high);
        Ok(())
    }

    /// Each shard once, in the order of their hashes, with its first place.
    fn shards(&self) -> impl Iterator<Item = (usize, &Shard<K>)> {
        let mut place = 0;
        std::iter::from_fn(move || {
            let shard = self.directory.get(place)?;
            let first = place;
            place = self.places(place).end;
            Some((first, &**shard))
        })
    }

    /// All entries, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = K> {
        self.shards().flat_map(|(_, shard)| shard.iter().map(|(key, _)| key))
    }

    /// The entries of as many shards as have `count` or more, from the hash `from` on, in the order of their hashes;
    /// and the hash from which on there are others. So the order depends on the entries alone, and a shard that splits
    /// between two calls does not disturb it.
    pub(super) fn page(&self, from: u64, count: usize) -> (Vec<Listed<'_, K>>, Option<u64>) {
        let mut page = Vec::new();
        let mut place = self.place(from);
        while page.len() < count {
            let Some(shard) = self.directory.get(place) else { return (page, None) };
            let hashed = shard.iter().map(|(key, nomatch)| {
                (key.hash(&self.hash), Listed { key, nomatch, extra: shard.extra(key) })
            });
            let mut hashed: Vec<_> = hashed.filter(|(hash, _)| *hash >= from).collect();
            hashed.sort_unstable_by_key(|(hash, listed)| (*hash, listed.key));
            page.extend(hashed.into_iter().map(|(_, listed)| listed));
            place = self.places(place).end;
        }
        let next = (place < self.directory.len()).then(|| (place as u64) << (64 - self.depth));
        (page, next)
    }

    /// Takes out what is over at `now_ms`; how many there were.
    pub(super) fn expire(&mut self, now_ms: u64, of_nets: bool) -> usize {
        let due: Vec<usize> = self
            .shards()
            .filter(|(_, shard)| shard.expires_ms <= now_ms)
            .map(|(place, _)| place)
            .collect();
        let before = self.len;
        for place in due {
            let mut over = Vec::new();
            let hash = (place as u64) << (64 - self.depth);
            self.edit(hash, |shard, _| over = shard.over(now_ms));
            for key in over {
                self.remove(key, of_nets);
            }
        }
        before - self.len
    }

    /// When it is worth looking for what is over.
    pub(super) fn expires_ms(&self) -> u64 {
        self.shards().map(|(_, shard)| shard.expires_ms).min().unwrap_or(u64::MAX)
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let shards: usize = self.shards().map(|(_, shard)| shard.bytes()).sum();
        size_of::<Self>() + self.directory.len() * size_of::<Arc<Shard<K>>>() + shards
    }
}

/// An entry of a page.
#[derive(Debug)]
pub(super) struct Listed<'a, K> {
    pub(super) key: K,
    pub(super) nomatch: bool,
    pub(super) extra: Option<&'a Extra>,
}
