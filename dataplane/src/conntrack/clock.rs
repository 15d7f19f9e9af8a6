//! The clock of the flow table: 4 ms a tick, 29 bits, compared modulo 2^29.
//!
//! A deadline stands in every flow, so its bits are dear. The kernel keeps 32 bits of jiffies, 4 ms each on
//! most machines, and calls a flow expired when `deadline - now <= 0` as a signed number
//! (`nf_ct_is_expired`, `include/net/netfilter/nf_conntrack.h`). Here it is the same with 29 bits: the
//! difference is right as long as no deadline is farther away than 2^28 ticks, 12.4 days.

/// Nanoseconds of a tick.
pub(super) const TICK_NS: u64 = 4_000_000;

/// Bits of a time.
pub(super) const TIME_BITS: u32 = 29;

const MASK: u32 = (1 << TIME_BITS) - 1;

/// A span of time in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticks(pub(super) u32);

impl Ticks {
    pub(super) const fn from_seconds(seconds: u32) -> Self {
        let ticks = seconds as u64 * (1_000_000_000 / TICK_NS);
        // No deadline may be farther than half the circle.
        let max = (MASK >> 1) as u64;
        #[expect(clippy::cast_possible_truncation, reason = "at most 28 bits")]
        Self(if ticks > max { max as u32 } else { ticks as u32 })
    }

    pub(super) fn as_ms(self) -> u64 {
        u64::from(self.0) * (TICK_NS / 1_000_000)
    }
}

/// A moment, modulo 2^29 ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Time(u32);

impl Time {
    pub(super) fn from_ns(ns: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "masked to 29 bits")]
        Self((ns / TICK_NS) as u32 & MASK)
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits & MASK)
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn after(self, span: Ticks) -> Self {
        Self(self.0.wrapping_add(span.0) & MASK)
    }

    /// `self - earlier`; negative if `self` is the earlier one.
    #[inline]
    pub(super) fn since(self, earlier: Self) -> i32 {
        let shift = 32 - TIME_BITS;
        // Moves the sign bit of the 29-bit difference to that of the machine.
        (self.0.wrapping_sub(earlier.0) << shift).cast_signed() >> shift
    }

    /// Time left at `now` until this deadline; zero once it is over.
    pub(super) fn left(self, now: Self) -> Ticks {
        Ticks(u32::try_from(self.since(now)).unwrap_or(0))
    }

    /// Whether this deadline is over at `now`.
    #[inline]
    pub(super) fn is_over(self, now: Self) -> bool {
        self.since(now) <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_survive_the_wrap_of_the_clock() {
        let near_wrap = Time::from_bits(MASK - 2);
        let deadline = near_wrap.after(Ticks(10));
        assert_eq!(deadline.bits(), 7);
        assert_eq!(deadline.since(near_wrap), 10);
        assert_eq!(near_wrap.since(deadline), -10);
        assert!(!deadline.is_over(near_wrap) && near_wrap.is_over(deadline));
        assert_eq!(deadline.left(near_wrap), Ticks(10));
        assert_eq!(near_wrap.left(deadline), Ticks(0));
        assert!(deadline.is_over(deadline), "as in the kernel, over when it is reached");
    }

    #[test]
    fn the_longest_timeout_is_nearer_than_half_the_circle() {
        let longest = Ticks::from_seconds(super::super::TIMEOUT_S_MAX);
        assert_eq!(longest.as_ms(), 1_000_000_000);
        let now = Time::from_ns(u64::MAX);
        assert!(!now.after(longest).is_over(now));
        assert_eq!(Ticks::from_seconds(u32::MAX).0, MASK >> 1);
    }
}
