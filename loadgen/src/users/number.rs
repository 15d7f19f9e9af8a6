//! The first sequence number of a connection, and what its clock is ahead by (RFC 6528, RFC 7323 section 7.1).
//!
//! A keyed hash of who talks to whom, and for the number a clock of 4 µs on top: of the same pair a later connection
//! begins with a later number, so a peer in TIME-WAIT knows it for a new one.

use ahash::RandomState;

use super::index::Pair;

/// The clock of numbers, in nanoseconds (RFC 9293 section 3.4.1).
const TICK_NS: u64 = 4_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Numbers {
    secret: RandomState,
}

impl Numbers {
    pub(super) fn new(seed: u64) -> Self {
        Self { secret: RandomState::with_seeds(seed, 0x15, !seed, 0x4e) }
    }

    pub(super) fn first(&self, now_ns: u64, pair: &Pair) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "numbers lie on a circle")]
        let number = self.secret.hash_one(pair).wrapping_add(now_ns / TICK_NS) as u32;
        number
    }

    pub(super) fn clock_offset(&self, pair: &Pair) -> u32 {
        u32::try_from(self.secret.hash_one(pair) >> 32).unwrap_or(0)
    }
}
