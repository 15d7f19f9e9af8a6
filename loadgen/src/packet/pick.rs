//! How one field of a packet is chosen: from a space of values, in an order.
//!
//! Nothing is kept for the values: the i-th of "1000 sources somewhere in 10.0.0.0/8" is computed, by a permutation
//! that the seed chooses. So four million sources cost no more than one.

use super::stamp::mix;

/// Values that a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// From a first value on, so many: 1 to 2^32.
    Range {
        /// The first.
        first: u32,
        /// How many.
        len: u64,
    },
    /// Every IPv4 address that a host may have: 1.0.0.0 to 223.255.255.255 without 127.0.0.0/8 (RFC 1122 3.2.1.3).
    Anywhere,
}

/// The first octets of [`Space::Anywhere`]: 1 to 223, without 127.
const FIRST_OCTETS: u64 = 222;

impl Space {
    /// One value.
    #[must_use]
    pub fn one(value: u32) -> Self {
        Self::Range { first: value, len: 1 }
    }

    /// From `first` to `last`, both included; an empty one is taken as its first value.
    #[must_use]
    pub fn between(first: u32, last: u32) -> Self {
        Self::Range { first, len: u64::from(last.saturating_sub(first)) + 1 }
    }

    /// How many values.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a space is never empty")]
    pub fn len(self) -> u64 {
        match self {
            Self::Range { len, .. } => len,
            Self::Anywhere => FIRST_OCTETS << 24,
        }
    }

    /// The value at a place below [`len`](Self::len).
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "places of a space are below 2^32")]
    pub fn value(self, place: u64) -> u32 {
        match self {
            Self::Range { first, .. } => first.wrapping_add(place as u32),
            Self::Anywhere => {
                let place = place as u32 + (1 << 24);
                if place < 127 << 24 { place } else { place + (1 << 24) }
            }
        }
    }

    /// Whether it has a value.
    #[must_use]
    pub fn contains(self, value: u32) -> bool {
        match self {
            Self::Range { first, len } => u64::from(value.wrapping_sub(first)) < len,
            Self::Anywhere => matches!(value >> 24, 1..=126 | 128..=223),
        }
    }
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One after the other, and again from the first.
    #[default]
    Walk,
    /// Each time any of them.
    Random,
}

/// A field's values in order.
#[derive(Clone, Copy, Debug)]
pub struct Pick {
    space: Space,
    order: Order,
    /// So many values of the space, the first ones of a permutation.
    some: Option<Permutation>,
    count: u64,
    place: u64,
    step: u64,
}

impl Pick {
    /// All values of a space.
    #[must_use]
    pub fn new(space: Space, order: Order) -> Self {
        Self { space, order, some: None, count: space.len(), place: 0, step: 1 }
    }

    /// `count` different values of the space, chosen by the seed; at most all of them.
    #[must_use]
    pub fn some(space: Space, order: Order, count: u64, seed: u64) -> Self {
        let count = count.clamp(1, space.len());
        let some = Some(Permutation::new(space.len(), seed));
        Self { space, order, some, count, place: 0, step: 1 }
    }

    /// The same for one of `lanes` threads: they walk over the values together.
    #[must_use]
    pub fn lane(mut self, lane: u64, lanes: u64) -> Self {
        self.place = lane % self.count;
        self.step = lanes % self.count;
        self
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// How many different values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value at a place below [`count`](Self::count).
    #[inline]
    #[must_use]
    pub fn value(&self, place: u64) -> u32 {
        let place = self.some.map_or(place, |permutation| permutation.at(place));
        self.space.value(place)
    }

    /// The next value.
    #[inline]
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> u32 {
        if self.count == 1 {
            return self.value(0);
        }
        let place = self.next_place(rng);
        self.value(place)
    }

    #[inline]
    pub(super) fn next_place(&mut self, rng: &mut fastrand::Rng) -> u64 {
        if self.order == Order::Random {
            return rng.u64(..self.count);
        }
        let place = self.place;
        self.place += self.step;
        if self.place >= self.count {
            self.place -= self.count;
        }
        place
    }
}

/// A permutation of the numbers below `len`: a Feistel network of four rounds (Luby and Rackoff 1988) over the next
/// power of four, walked on until it hits a number that is small enough.
#[derive(Clone, Copy, Debug)]
struct Permutation {
    len: u64,
    half_bits: u32,
    key: u64,
}

impl Permutation {
    fn new(len: u64, key: u64) -> Self {
        let bits = 64 - len.saturating_sub(1).leading_zeros();
        Self { len, half_bits: bits.div_ceil(2).max(1), key }
    }

    #[inline]
    fn at(self, place: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let mut number = place;
        // Four numbers at most of the network's are one of ours, so this ends soon; it is a cycle, so it ends.
        loop {
            let (mut high, mut low) = (number >> self.half_bits, number & mask);
            for round in 0..4_u64 {
                let mixed = mix(self.key ^ (round << 56) ^ low) & mask;
                (high, low) = (low, high ^ mixed);
            }
            number = (high << self.half_bits) | low;
            if number < self.len {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_walk_visits_all_and_begins_again() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut pick = Pick::new(Space::between(10, 12), Order::Walk);
        let values: Vec<u32> = (0..7).map(|_| pick.next(&mut rng)).collect();
        assert_eq!(values, [10, 11, 12, 10, 11, 12, 10]);
        let mut lane = Pick::new(Space::between(10, 14), Order::Walk).lane(1, 2);
        let values: Vec<u32> = (0..5).map(|_| lane.next(&mut rng)).collect();
        assert_eq!(values, [11, 13, 10, 12, 14]);
    }

    #[test]
    fn chance_reaches_every_value_and_no_other() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut pick = Pick::new(Space::between(u32::MAX - 9, u32::MAX), Order::Random);
        let values: BTreeSet<u32> = (0..500).map(|_| pick.next(&mut rng)).collect();
        assert_eq!(values, (u32::MAX - 9..=u32::MAX).collect());
    }

    #[test]
    fn some_of_a_space_are_different_and_the_seed_chooses() {
        for len in [1, 2, 3, 5, 64, 1000, 65_535] {
            let values = |count, seed| -> BTreeSet<u32> {
                let pick = Pick::some(Space::Range { first: 7, len }, Order::Walk, count, seed);
                (0..pick.count()).map(|place| pick.value(place)).collect()
            };
            assert_eq!(
                values(len, 1),
                (7..7 + u32::try_from(len).unwrap()).collect(),
                "all of {len}"
            );
            assert_eq!(values(len / 2 + 1, 1).len() as u64, len / 2 + 1);
            assert!(len < 1000 || values(10, 1) != values(10, 2));
        }
        let million = Pick::some(Space::Anywhere, Order::Walk, 1 << 22, 3);
        let values: BTreeSet<u32> = (0..100_000).map(|place| million.value(place * 41)).collect();
        assert_eq!(values.len(), 100_000);
    }

    #[test]
    fn anywhere_is_where_hosts_may_be() {
        let space = Space::Anywhere;
        let ends = [0, (126 << 24) - 1, 126 << 24, space.len() - 1].map(|place| space.value(place));
        assert_eq!(ends, [1 << 24, (127 << 24) - 1, 128 << 24, (224 << 24) - 1]);
        assert!(ends.iter().all(|&value| space.contains(value)));
        for value in [0, 127 << 24, 224 << 24, u32::MAX] {
            assert!(!space.contains(value));
        }
    }
}
