//! `Bucket`: the bucket of `-m limit` (net/netfilter/xt_limit.c), in one word.
//!
//! The kernel keeps two numbers: the credit that is left and when it was counted last. With each packet the credit
//! grows by what the ticks since then are worth, up to the bucket's size; if it covers the cost of a packet, that is
//! taken off and the packet matches. Credit grows evenly, so when the bucket would be full again says the same:
//!
//! ```text
//!   credit(now) = size - max(full_at - now, 0)                all of it in credits; a tick is so many of them
//!   a packet matches if credit(now) >= cost; then full_at = max(full_at, now) + cost
//! ```
//!
//! One word, changed by one compare-and-swap. A bucket that has never been asked is full: `full_at` is 0.
//!
//! It differs from the kernel's in nothing but this: the kernel's numbers have 32 bits, and after some 37 hours without
//! a packet what they have grown by goes round. Here it does not.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a bucket holds and what a packet costs, in its own credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Credits that a tick adds, at least 1.
    pub per_jiffy: u64,
    /// The most that there may be.
    pub size: u64,
    /// What one packet takes, at most `size`.
    pub cost: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Bucket {
    rate: Rate,
    full_at: AtomicU64,
}

impl Bucket {
    /// Full.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self { rate, full_at: AtomicU64::new(0) }
    }

    /// How it fills, and what packets cost.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes what a packet costs, at the tick `now`, if that is there; whether it was.
    pub fn take(&self, now: u64) -> bool {
        let Rate { per_jiffy, size, cost } = self.rate;
        let now = now.saturating_mul(per_jiffy);
        let take = |full_at: u64| {
            let full_at = full_at.max(now);
            (size.saturating_sub(full_at - now) >= cost).then(|| full_at.saturating_add(cost))
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// The credit that there is at the tick `now`.
    #[must_use]
    pub fn credit(&self, now: u64) -> u64 {
        let now = now.saturating_mul(self.rate.per_jiffy);
        self.rate.size.saturating_sub(self.full_at.load(Ordering::Relaxed).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_control::rule::LIMIT_CREDITS_PER_JIFFY;

    use super::*;

    /// What the kernel keeps, and what it does with it: two numbers of 32 bits (`limit_mt`).
    struct Model {
        prev: u64,
        credit: u32,
    }

    impl Model {
        fn new(rate: Rate) -> Self {
            Self { prev: 0, credit: u32::try_from(rate.size).expect("32 bits") }
        }

        #[expect(clippy::cast_possible_truncation, reason = "as the kernel does")]
        fn take(&mut self, rate: Rate, now: u64) -> bool {
            let (size, cost) = (rate.size as u32, rate.cost as u32);
            let grown = ((now - self.prev) as u32).wrapping_mul(LIMIT_CREDITS_PER_JIFFY);
            self.prev = now;
            self.credit = self.credit.wrapping_add(grown).min(size);
            let holds = self.credit >= cost;
            if holds {
                self.credit -= cost;
            }
            holds
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn it_says_what_the_kernels_two_numbers_say(
            cost in 1_u64..1_000_000,
            burst in 1_u64..40,
            // Up to an hour between two packets, mostly none or a few ticks.
            steps in prop::collection::vec(prop_oneof![
                4 => Just(0), 4 => 0_u64..4, 2 => 0_u64..5000, 1 => 0_u64..900_000,
            ], 1..300),
        ) {
            let per_jiffy = u64::from(LIMIT_CREDITS_PER_JIFFY);
            let rate = Rate { per_jiffy, size: cost * burst, cost };
            let (bucket, mut model, mut now) = (Bucket::new(rate), Model::new(rate), 0);
            for step in steps {
                now += step;
                prop_assert_eq!(bucket.take(now), model.take(rate, now));
                prop_assert_eq!(bucket.credit(now), u64::from(model.credit));
            }
        }
    }

    #[test]
    fn workers_share_a_bucket_to_the_last_credit() {
        let rate = Rate { per_jiffy: 128, size: 1000 * 7, cost: 7 };
        let bucket = Bucket::new(rate);
        let taken: usize = std::thread::scope(|scope| {
            let worker = || scope.spawn(|| (0..5000).filter(|_| bucket.take(0)).count());
            [worker(), worker(), worker()]
                .map(|worker| worker.join().expect("it counts"))
                .iter()
                .sum()
        });
        assert_eq!((taken, bucket.credit(0)), (1000, 0));
        // An idle bucket is full again and no fuller.
        assert_eq!(bucket.credit(u64::MAX / 256), 7000);
    }
}
