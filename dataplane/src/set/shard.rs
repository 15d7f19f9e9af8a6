//! A piece of a table: a small hash table of its own, with linear probing, that is copied as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Found;
use super::key::Key;

/// Slots of a shard; a power of two.
const SLOTS: usize = 512;

/// With more entries than that a shard splits: searches for what is not there end after four slots on
/// average, half a cache line.
const FILL_MAX: usize = 320;

/// What is known of an entry besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Extra {
    /// When its time is over, in milliseconds of the owner's clock.
    pub(super) expires_ms: Option<u64>,
    pub(super) comment: Option<Arc<str>>,
}

impl Extra {
    fn is_empty(&self) -> bool {
        self.expires_ms.is_none() && self.comment.is_none()
    }

    /// Bytes that its comment takes, about.
    fn comment_bytes(&self) -> usize {
        self.comment.as_ref().map_or(0, |comment| comment.len() + 16)
    }
}

/// Entries whose hashes begin with the same bits.
#[derive(Debug, Clone)]
pub(super) struct Shard<K> {
    /// Keys as [`Key::slot`] has them, or [`Key::FREE`].
    slots: [K; SLOTS],
    live: usize,
    /// How many bits their hashes have in common.
    pub(super) depth: u32,
    /// When the first of them ends, or later; no entry ends before.
    pub(super) expires_ms: u64,
    extras: BTreeMap<K, Extra>,
    /// Bytes that their comments take.
    comment_bytes: usize,
}

#[expect(clippy::cast_possible_truncation, reason = "a slot's number is the last bits of the hash")]
fn home(hash: u64) -> usize {
    hash as usize % SLOTS
}

impl<K: Key> Shard<K> {
    pub(super) fn new(depth: u32) -> Self {
        Self {
            slots: [K::FREE; SLOTS],
            live: 0,
            depth,
            expires_ms: u64::MAX,
            extras: BTreeMap::new(),
            comment_bytes: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.live >= FILL_MAX
    }

    /// Where the key is, or where it would be.
    #[inline]
    fn place(&self, key: K, hash: u64) -> usize {
        let mut place = home(hash);
        // There are always free slots.
        while self.slots[place] != K::FREE && K::of_slot(self.slots[place]).0 != key {
            place = (place + 1) % SLOTS;
        }
        place
    }

    #[inline]
    pub(super) fn find(&self, key: K, hash: u64) -> Found {
        match self.slots[self.place(key, hash)] {
            slot if slot == K::FREE => Found::No,
            slot if K::of_slot(slot).1 => Found::Exception,
            _ => Found::Yes,
        }
    }

    /// Puts the entry in, or in the place of what it was. Not to be called when full and new.
    pub(super) fn set(&mut self, key: K, hash: u64, nomatch: bool, extra: Extra) {
        let place = self.place(key, hash);
        self.live += usize::from(self.slots[place] == K::FREE);
        self.slots[place] = key.slot(nomatch);
        if let Some(expires) = extra.expires_ms {
            self.expires_ms = self.expires_ms.min(expires);
        }
        self.comment_bytes += extra.comment_bytes();
        let before = if extra.is_empty() {
            self.extras.remove(&key)
        } else {
            self.extras.insert(key, extra)
        };
        self.comment_bytes -= before.map_or(0, |before| before.comment_bytes());
    }

    /// Takes the entry out, which must be there, and moves up those behind it that belong further ahead.
    pub(super) fn remove(&mut self, key: K, hash: u64, hash_of: impl Fn(K) -> u64) {
        let extra = self.extras.remove(&key);
        self.comment_bytes -= extra.map_or(0, |extra| extra.comment_bytes());
        let mut gap = self.place(key, hash);
        self.live -= 1;
        let mut place = gap;
        loop {
            place = (place + 1) % SLOTS;
            let slot = self.slots[place];
            if slot == K::FREE {
                break;
            }
            let from_home = |to: usize| to.wrapping_sub(home(hash_of(K::of_slot(slot).0))) % SLOTS;
            if from_home(gap) <= from_home(place) {
                self.slots[gap] = slot;
                gap = place;
            }
        }
        self.slots[gap] = K::FREE;
    }

    /// All entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, bool)> {
        self.slots.iter().filter(|slot| **slot != K::FREE).map(|slot| K::of_slot(*slot))
    }

    pub(super) fn extra(&self, key: K) -> Option<&Extra> {
        self.extras.get(&key)
    }

    /// The entries whose time is over at `now_ms`; sets when to look again.
    pub(super) fn over(&mut self, now_ms: u64) -> Vec<K> {
        let ends = |extra: &Extra| extra.expires_ms;
        let over = |extra: &Extra| ends(extra).is_some_and(|end| end <= now_ms);
        let keys = self.extras.iter().filter(|(_, extra)| over(extra)).map(|(key, _)| *key);
        let keys: Vec<K> = keys.collect();
        let left = self.extras.values().filter(|extra| !over(extra)).filter_map(ends);
        self.expires_ms = left.min().unwrap_or(u64::MAX);
        keys
    }

    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        const EXTRA_BYTES: usize = 64;
        size_of::<Self>() + self.extras.len() * EXTRA_BYTES + self.comment_bytes
    }
}
