//! How many ICMP errors Weir sends (RFC 1812 section 4.3.2.8).
//!
//! The kernel's global limit: `icmp_msgs_per_sec` (1,000) and `icmp_msgs_burst` (50), one token a
//! message. "Fragmentation needed" passes free, see [`IcmpError::is_rate_limited`]. A packet that provokes an
//! error costs an attacker one packet and us one as well; without a limit a flood of packets with TTL 1
//! would be answered in full, perhaps to a forged source.
//!
//! The bucket counts billionths of a token: `per_second` of them come in every nanosecond, so nothing is
//! lost to rounding, however often it is asked. (The kernel fills its own in steps of 20 ms.)
//!
//! [`IcmpError::is_rate_limited`]: super::IcmpError::is_rate_limited

use super::{IcmpError, Icmpv6Error};

/// The kernel's default for `icmp_msgs_per_sec`.
pub const ICMP_PER_SECOND: u32 = 1_000;

/// The kernel's default for `icmp_msgs_burst`.
pub const ICMP_BURST: u32 = 50;

/// One token, in the unit that the bucket counts.
const TOKEN: u64 = 1_000_000_000;

/// Admits `burst` at once and `per_second` in the long run: in any `t` seconds at most
/// `burst + per_second × t`.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: u32,
    /// At most `burst` tokens: below 2^32 × 10^9, which fits.
    level: u64,
    level_max: u64,
    filled_ns: u64,
}

impl TokenBucket {
    /// A full bucket at `now_ns`. With a `burst` of 0 nothing is ever admitted; with `per_second` 0
    /// only the first `burst`.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, now_ns: u64) -> Self {
        let level_max = u64::from(burst) * TOKEN;
        Self { per_second, level: level_max, level_max, filled_ns: now_ns }
    }

    /// Takes a token if there is one. A time before the last one counts as the last one.
    #[inline]
    pub fn take(&mut self, now_ns: u64) -> bool {
        let elapsed_ns = now_ns.saturating_sub(self.filled_ns);
        self.filled_ns += elapsed_ns;
        let gained = elapsed_ns.saturating_mul(u64::from(self.per_second));
        self.level = self.level.saturating_add(gained).min(self.level_max);
        match self.level.checked_sub(TOKEN) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }
}

/// The budget for ICMP errors of one worker. Workers share nothing: each gets its part of the rate.
#[derive(Debug, Clone)]
pub struct IcmpBudget {
    bucket: TokenBucket,
}

impl IcmpBudget {
    /// The kernel's default rate and burst, divided among `workers` (0 counts as 1). Every worker has a rate
    /// and a burst of 1 at least.
    #[must_use]
    pub fn new(workers: u32, now_ns: u64) -> Self {
        let workers = workers.max(1);
        let part = |whole: u32| (whole / workers).max(1);
        Self { bucket: TokenBucket::new(part(ICMP_PER_SECOND), part(ICMP_BURST), now_ns) }
    }

    /// Whether this error may be sent now; takes a token if it counts.
    #[inline]
    pub fn admit(&mut self, error: IcmpError, now_ns: u64) -> bool {
        !error.is_rate_limited() || self.bucket.take(now_ns)
    }

    /// The same of IPv6, whose errors the kernel counts with the others (`icmpv6_global_allow`, `net/ipv6/icmp.c`).
    #[inline]
    pub fn admit6(&mut self, error: Icmpv6Error, now_ns: u64) -> bool {
        !error.is_rate_limited() || self.bucket.take(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn admitted(bucket: &mut TokenBucket, now_ns: u64, asked: u32) -> u32 {
        (0..asked).map(|_| u32::from(bucket.take(now_ns))).sum()
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(1_000, 50, 7);
        assert_eq!(admitted(&mut bucket, 7, 100), 50);
        assert_eq!(admitted(&mut bucket, 7 + 999_999, 1), 0);
        assert_eq!(admitted(&mut bucket, 7 + 1_000_000, 2), 1);
        assert_eq!(admitted(&mut bucket, 7 + 11_000_000, 100), 10);
        assert_eq!(admitted(&mut bucket, 7 + 100 * SECOND_NS, 100), 50);
    }

    #[test]
    fn nothing_overflows_and_time_does_not_go_back() {
        let mut bucket = TokenBucket::new(u32::MAX, u32::MAX, 0);
        assert!(bucket.take(u64::MAX));
        assert!(bucket.take(0));
        let mut bucket = TokenBucket::new(1, 1, 10 * SECOND_NS);
        assert!(bucket.take(10 * SECOND_NS));
        assert!(!bucket.take(0));
        assert!(!bucket.take(10 * SECOND_NS), "going back and forth makes no tokens");
        assert!(bucket.take(11 * SECOND_NS));
        assert!(!TokenBucket::new(5, 0, 0).take(u64::MAX));
        let mut bucket = TokenBucket::new(0, 1, 0);
        assert_eq!((bucket.take(1), bucket.take(u64::MAX)), (true, false));
    }

    #[test]
    fn path_mtu_discovery_passes_free_and_workers_share() {
        let mut budget = IcmpBudget::new(2, 0);
        let free = IcmpError::FragmentationNeeded { mtu: 1400 };
        assert!((0..1_000).all(|_| budget.admit(free, 0)));
        let sent = (0..1_000).filter(|_| budget.admit(IcmpError::TimeExceeded, 0)).count();
        assert_eq!(sent, 25);
        assert!(!budget.admit6(Icmpv6Error::TimeExceeded, 0), "one budget for both families");
        let free = Icmpv6Error::PacketTooBig { mtu: 1400 };
        assert!((0..1_000).all(|_| budget.admit6(free, 0)));
        assert!(IcmpBudget::new(1_000_000, 0).admit(IcmpError::TimeExceeded, 0));
        assert!(IcmpBudget::new(0, 0).admit(IcmpError::TimeExceeded, 0));
    }

    proptest! {
        /// Against a twin in exact arithmetic that fills from the start every time.
        #[test]
        fn the_bucket_is_exact(
            per_second in 0u32..5_000, burst in 0u32..100,
            steps in prop::collection::vec(0u64..3_000_000, 1..300)
        ) {
            let mut bucket = TokenBucket::new(per_second, burst, 0);
            let (mut now_ns, mut level) = (0u64, u128::from(burst) * u128::from(TOKEN));
            let mut taken = 0u128;
            for step in steps {
                now_ns += step;
                level += u128::from(step) * u128::from(per_second);
                level = level.min(u128::from(burst) * u128::from(TOKEN));
                let expected = level >= u128::from(TOKEN);
                if expected {
                    level -= u128::from(TOKEN);
                    taken += 1;
                }
                prop_assert_eq!(bucket.take(now_ns), expected);
                let bound = u128::from(burst) * u128::from(TOKEN) + u128::from(now_ns) * u128::from(per_second);
                prop_assert!(taken * u128::from(TOKEN) <= bound);
            }
        }

        #[test]
        fn any_times_and_sizes_are_safe(
            per_second: u32, burst: u32, times in prop::collection::vec(any::<u64>(), 0..20)
        ) {
            let mut bucket = TokenBucket::new(per_second, burst, 0);
            for now_ns in times {
                let _ = bucket.take(now_ns);
            }
        }
    }
}
