//! How one field of a packet is chosen: from a space of values, in an order.
//!
//! Nothing is kept for the values: the i-th of "1000 sources somewhere in 10.0.0.0/8" is computed, by a permutation
//! that the seed chooses. So four million sources cost no more than one.
//!
//! Values are numbers: ports and TTLs as they are, addresses as [`Address`] has them, so that both families are of one
//! kind here.

use super::stamp::mix;
use crate::address::Address;

/// Values that a field may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// From a first value on, so many: at least 1.
    Range {
        /// The first.
        first: u128,
        /// How many.
        len: u128,
    },
    /// Every IPv4 address that a host may have: 1.0.0.0 to 223.255.255.255 without 127.0.0.0/8 (RFC 1122 3.2.1.3).
    Anywhere,
}

/// The first octets of [`Space::Anywhere`]: 1 to 223, without 127.
const FIRST_OCTETS: u128 = 222;

/// The first address of IPv4 as a number.
const IPV4: u128 = 0xffff << 32;

/// Spaces up to here are permuted as they are; of greater ones, whose length is a power of two, the upper 64 bits.
const PERMUTED_MAX: u128 = 1 << 64;

impl Space {
    /// One value.
    #[must_use]
    pub fn one(value: impl Into<u128>) -> Self {
        Self::Range { first: value.into(), len: 1 }
    }

    /// From `first` to `last`, both included; an empty one is taken as its first value.
    #[must_use]
    pub fn between(first: impl Into<u128>, last: impl Into<u128>) -> Self {
        let first = first.into();
        Self::Range { first, len: last.into().saturating_sub(first).saturating_add(1) }
    }

    /// All addresses between two of one family, both included.
    #[must_use]
    pub fn addresses(first: Address, last: Address) -> Self {
        Self::between(first.bits(), last.bits())
    }

    /// Whether [`Pick::some`] of its values can be had.
    #[must_use]
    pub fn has_some(self) -> bool {
        self.len() <= PERMUTED_MAX || self.len().is_power_of_two()
    }

    /// How many values.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a space is never empty")]
    pub fn len(self) -> u128 {
        match self {
            Self::Range { len, .. } => len,
            Self::Anywhere => FIRST_OCTETS << 24,
        }
    }

    /// The value at a place below [`len`](Self::len).
    #[inline]
    #[must_use]
    pub fn value(self, place: u128) -> u128 {
        match self {
            Self::Range { first, .. } => first.wrapping_add(place),
            Self::Anywhere => {
                let place = IPV4 + place + (1 << 24);
                if place < IPV4 + (127 << 24) { place } else { place + (1 << 24) }
            }
        }
    }

    /// Whether it has a value.
    #[must_use]
    pub fn contains(self, value: u128) -> bool {
        match self {
            Self::Range { first, len } => value.wrapping_sub(first) < len,
            Self::Anywhere => matches!(value.wrapping_sub(IPV4) >> 24, 1..=126 | 128..=223),
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
    count: u128,
    place: u128,
    step: u128,
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
        let count = u128::from(count).clamp(1, space.len());
        let some = Some(Permutation::new(space.len(), seed));
        Self { space, order, some, count, place: 0, step: 1 }
    }

    /// The same for one of `lanes` threads: they walk over the values together.
    #[must_use]
    pub fn lane(mut self, lane: u64, lanes: u64) -> Self {
        self.place = u128::from(lane) % self.count;
        self.step = u128::from(lanes) % self.count;
        self
    }

    /// The space.
    #[must_use]
    pub fn space(&self) -> Space {
        self.space
    }

    /// How many different values.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.count
    }

    /// The value at a place below [`count`](Self::count).
    #[inline]
    #[must_use]
    pub fn value(&self, place: u128) -> u128 {
        let place = self.some.map_or(place, |permutation| permutation.at(place));
        self.space.value(place)
    }

    /// The next value.
    #[inline]
    pub fn next(&mut self, rng: &mut fastrand::Rng) -> u128 {
        if self.count == 1 {
            return self.value(0);
        }
        let place = self.next_place(rng);
        self.value(place)
    }

    #[inline]
    pub(super) fn next_place(&mut self, rng: &mut fastrand::Rng) -> u128 {
        if self.order == Order::Random {
            // A number of 64 bits is drawn at a fraction of the cost.
            return match u64::try_from(self.count) {
                Ok(count) => rng.u64(..count).into(),
                Err(_) => rng.u128(..self.count),
            };
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
    len: u128,
    half_bits: u32,
    /// Bits behind the permuted ones, which each place chooses by itself.
    low_bits: u32,
    key: u64,
}

impl Permutation {
    fn new(len: u128, key: u64) -> Self {
        let bits = 128 - len.saturating_sub(1).leading_zeros();
        let low_bits = bits.saturating_sub(64);
        Self { len, half_bits: (bits - low_bits).div_ceil(2).max(1), low_bits, key }
    }

    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "of some values only so many are asked for"
    )]
    fn at(self, place: u128) -> u128 {
        let number = u128::from(self.high(place as u64));
        if self.low_bits == 0 {
            return number;
        }
        let low = u128::from(mix(self.key ^ number as u64)) & ((1 << self.low_bits) - 1);
        (number << self.low_bits) | low
    }

    #[inline]
    fn high(self, place: u64) -> u64 {
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
            if u128::from(number) < self.len {
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
        let mut pick = Pick::new(Space::between(10_u32, 12_u32), Order::Walk);
        let values: Vec<u128> = (0..7).map(|_| pick.next(&mut rng)).collect();
        assert_eq!(values, [10, 11, 12, 10, 11, 12, 10]);
        let mut lane = Pick::new(Space::between(10_u32, 14_u32), Order::Walk).lane(1, 2);
        let values: Vec<u128> = (0..5).map(|_| lane.next(&mut rng)).collect();
        assert_eq!(values, [11, 13, 10, 12, 14]);
    }

    #[test]
    fn chance_reaches_every_value_and_no_other() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut pick = Pick::new(Space::between(u32::MAX - 9, u32::MAX), Order::Random);
        let values: BTreeSet<u128> = (0..500).map(|_| pick.next(&mut rng)).collect();
        assert_eq!(values, (u128::from(u32::MAX - 9)..=u128::from(u32::MAX)).collect());
    }

    #[test]
    fn some_of_a_space_are_different_and_the_seed_chooses() {
        for len in [1_u64, 2, 3, 5, 64, 1000, 65_535] {
            let values = |count, seed| -> BTreeSet<u128> {
                let len = u128::from(len);
                let pick = Pick::some(Space::Range { first: 7, len }, Order::Walk, count, seed);
                (0..pick.count()).map(|place| pick.value(place)).collect()
            };
            assert_eq!(values(len, 1), (7..7 + u128::from(len)).collect(), "all of {len}");
            assert_eq!(values(len / 2 + 1, 1).len() as u64, len / 2 + 1);
            assert!(len < 1000 || values(10, 1) != values(10, 2));
        }
        let million = Pick::some(Space::Anywhere, Order::Walk, 1 << 22, 3);
        let values: BTreeSet<u128> = (0..100_000).map(|place| million.value(place * 41)).collect();
        assert_eq!(values.len(), 100_000);
    }

    #[test]
    fn prefixes_of_ipv6_are_spaces_like_others() {
        let mut rng = fastrand::Rng::with_seed(4);
        for host_bits in [1, 63, 64, 65, 80, 96, 127] {
            let first = 0x2001_u128 << 112;
            let space = Space::Range { first, len: 1 << host_bits };
            assert!(space.has_some() && space.contains(space.value(space.len() - 1)));
            assert!(!space.contains(first - 1) && !space.contains(first + (1 << host_bits)));
            let mut all = Pick::new(space, Order::Random);
            let drawn: BTreeSet<u128> = (0..200).map(|_| all.next(&mut rng)).collect();
            assert!(drawn.iter().all(|value| space.contains(*value)), "{host_bits}");
            assert!(drawn.len() == 200 || host_bits == 1, "{host_bits}");
            let some = Pick::some(space, Order::Walk, 1000, 5);
            let chosen: BTreeSet<u128> = (0..some.count()).map(|place| some.value(place)).collect();
            assert_eq!(chosen.len() as u128, some.count(), "{host_bits}");
            assert!(chosen.iter().all(|value| space.contains(*value)), "{host_bits}");
            // Of a /48 they lie in different /64s.
            let nets: BTreeSet<u128> = chosen.iter().map(|value| value >> 64).collect();
            assert!(host_bits != 80 || nets.len() > 900, "{}", nets.len());
        }
        assert!(!Space::Range { first: 0, len: (1 << 64) + 1 }.has_some());
    }

    #[test]
    fn anywhere_is_where_hosts_may_be() {
        let space = Space::Anywhere;
        let ends = [0, (126 << 24) - 1, 126 << 24, space.len() - 1].map(|place| space.value(place));
        let expected = [1 << 24, (127 << 24) - 1, 128 << 24, (224 << 24) - 1];
        assert_eq!(ends, expected.map(|end| IPV4 + end));
        assert!(ends.iter().all(|&value| space.contains(value)));
        for value in [0, 127 << 24, 224 << 24, u128::from(u32::MAX)] {
            assert!(!space.contains(IPV4 + value) && !space.contains(value));
        }
    }
}
