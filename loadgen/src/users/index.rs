//! From two addresses and two ports to a connection: a hash table whose size is fixed before the run.
//!
//! Open addressing with linear probing, at most half full, so the way is short. What is removed leaves no mark: those
//! behind it move up (Knuth, volume 3, section 6.4, algorithm R). A million connections that come and go leave it as
//! fast as it was.

use ahash::RandomState;

use super::address::Address;

/// Who talks to whom, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Our address.
    pub local: Address,
    /// The peer's.
    pub remote: Address,
    /// Our port.
    pub local_port: u16,
    /// The peer's.
    pub remote_port: u16,
}

/// A place in the table: the hash, and which connection. [`FREE`] is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    hash: u32,
    connection: u32,
}

const FREE: Place = Place { hash: 0, connection: u32::MAX };

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    places: Box<[Place]>,
    mask: u32,
    hasher: RandomState,
}

impl Index {
    /// For so many connections at most.
    pub(super) fn new(connections: u32, seed: u64) -> Self {
        let places = (u64::from(connections) * 2).next_power_of_two().max(16);
        let mask = u32::try_from(places - 1).unwrap_or(u32::MAX >> 1);
        let hasher = RandomState::with_seeds(seed, !seed, seed.rotate_left(21), 0x5eed);
        Self { places: vec![FREE; mask as usize + 1].into(), mask, hasher }
    }

    /// Bytes that each connection costs, at most.
    pub(super) const CONNECTION_BYTES: usize = 4 * size_of::<Place>();

    pub(super) fn hash(&self, pair: &Pair) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "a hash")]
        let hash = self.hasher.hash_one(pair) as u32;
        hash
    }

    /// The connection of this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = hash & self.mask;
        loop {
            let place = self.places[at as usize];
            if place == FREE {
                return None;
            }
            if place.hash == hash && is_it(place.connection) {
                return Some(place.connection);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Enters a connection. The caller keeps to the number that the table was made for.
    pub(super) fn insert(&mut self, hash: u32, connection: u32) {
        let mut at = hash & self.mask;
        while self.places[at as usize] != FREE {
            at = (at + 1) & self.mask;
        }
        self.places[at as usize] = Place { hash, connection };
    }

    /// Takes a connection out, if it is there.
    pub(super) fn remove(&mut self, hash: u32, connection: u32) {
        let wanted = Place { hash, connection };
        let mut gap = hash & self.mask;
        while self.places[gap as usize] != wanted {
            if self.places[gap as usize] == FREE {
                return;
            }
            gap = (gap + 1) & self.mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & self.mask;
            let place = self.places[at as usize];
            if place == FREE {
                break;
            }
            // It may move into the gap unless its own way begins behind the gap.
            let way = at.wrapping_sub(place.hash) & self.mask;
            let back = at.wrapping_sub(gap) & self.mask;
            if way >= back {
                self.places[gap as usize] = place;
                gap = at;
            }
        }
        self.places[gap as usize] = FREE;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the standard library's, with hashes that collide and lie at the end of the table.
        #[test]
        fn it_is_a_map(acts in prop::collection::vec((0_u32..24, any::<bool>()), 1..400)) {
            let mut index = Index::new(24, 1);
            let mut model: HashMap<u32, u32> = HashMap::new();
            let hash = |key: u32| if key.is_multiple_of(3) { 63 } else { key % 5 + 60 };
            for (key, add) in acts {
                if add && !model.contains_key(&key) {
                    index.insert(hash(key), key);
                    model.insert(key, key);
                } else if !add {
                    index.remove(hash(key), key);
                    model.remove(&key);
                }
                for key in 0..24 {
                    let found = index.find(hash(key), |connection| connection == key);
                    prop_assert_eq!(found, model.get(&key).copied());
                }
            }
            let full = index.places.iter().filter(|place| **place != FREE).count();
            prop_assert_eq!(full, model.len());
        }
    }
}
