//! Sets that a region is made of, but for those of numbers (`intervals.rs`).

use super::intervals::Intervals;
use crate::rule::{Negatable, Protocol};

/// What sets can do.
pub(super) trait Set: Clone {
    /// Whether something is in both. Asked far more often than what.
    fn meets(&self, other: &Self) -> bool;
    fn and(&self, other: &Self) -> Self;
    fn without(&self, other: &Self) -> Self;
    fn is_empty(&self) -> bool;
}

impl Set for Intervals {
    fn meets(&self, other: &Self) -> bool {
        self.meets(other)
    }
    fn and(&self, other: &Self) -> Self {
        self.and(other)
    }
    fn without(&self, other: &Self) -> Self {
        self.without(other)
    }
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! bit_sets {
    ($($type:ty),*) => { $(
        impl Set for $type {
            fn meets(&self, other: &Self) -> bool {
                self & other != 0
            }
            fn and(&self, other: &Self) -> Self {
                self & other
            }
            fn without(&self, other: &Self) -> Self {
                self & !other
            }
            fn is_empty(&self) -> bool {
                *self == 0
            }
        }
    )* };
}

bit_sets!(u16, u64, u128);

/// A set of protocol numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protocols([u64; 4]);

impl Protocols {
    pub(super) const ALL: Self = Self([u64::MAX; 4]);

    pub(super) fn of(condition: Option<Negatable<Protocol>>) -> Self {
        let Some(Negatable { value: Protocol(number), negated }) = condition else {
            return Self::ALL;
        };
        let mut one = [0; 4];
        one[usize::from(number >> 6)] = 1 << (number & 63);
        Self(if negated { one.map(|word| !word) } else { one })
    }

    /// Its least number.
    pub(super) fn first(self) -> Option<u8> {
        (0..=u8::MAX).find(|number| self.0[usize::from(number >> 6)] >> (number & 63) & 1 == 1)
    }
}

impl Set for Protocols {
    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(ours, theirs)| ours & theirs != 0)
    }
    fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }
    fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }
    fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

/// A set of ways in which the transport header of a packet can be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Headers(u8);

impl Headers {
    pub(super) const NONE: Self = Self(0);
    pub(super) const ALL: Self = Self(0b111);
    /// As much of it as `-m tcp`, `udp`, `icmp` and `icmp6` read.
    pub(super) const WHOLE: Self = Self(0b001);
    /// Less; or the packet is a later fragment, and its header in another.
    pub(super) const BROKEN: Self = Self(0b010);
    /// Nobody knows which: a chain of IPv6 headers without an end. No `-p` holds, negated or not
    /// (`ip6_packet_match`, net/ipv6/netfilter/ip6_tables.c).
    pub(super) const LOST: Self = Self(0b100);

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Set for Headers {
    fn meets(&self, other: &Self) -> bool {
        self.0 & other.0 != 0
    }
    fn and(&self, other: &Self) -> Self {
        Self(self.0 & other.0)
    }
    fn without(&self, other: &Self) -> Self {
        Self(self.0 & !other.0)
    }
    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}
