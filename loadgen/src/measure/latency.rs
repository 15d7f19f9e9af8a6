//! Distributions of times, in HDR histograms.
//!
//! A value is kept to two significant digits, so a bucket is at most 1 % wide; least and greatest are exact.
//! Percentiles of several threads are those of the joined histogram, never means of percentiles.

use hdrhistogram::Histogram as Buckets;

use crate::result::Latency;

/// Longest time that is told apart, in nanoseconds: an hour. Longer ones count as this in the histogram, not in the
/// maximum.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Digits that are kept: 1 % at worst, and a histogram of 70 KB.
const SIGNIFICANT_DIGITS: u8 = 2;

/// A distribution of times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Buckets<u64>,
    min_ns: u64,
    max_ns: u64,
    sum_ns: u128,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty one; allocates all that it will ever need.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    #[must_use]
    pub fn new() -> Self {
        let buckets = Buckets::new_with_bounds(1, LONGEST_NS, SIGNIFICANT_DIGITS);
        let buckets = buckets.expect("constant bounds are valid");
        Self { buckets, min_ns: u64::MAX, max_ns: 0, sum_ns: 0 }
    }

    /// Records a time.
    #[inline]
    pub fn record(&mut self, time_ns: u64) {
        self.buckets.saturating_record(time_ns.max(1));
        self.min_ns = self.min_ns.min(time_ns);
        self.max_ns = self.max_ns.max(time_ns);
        self.sum_ns += u128::from(time_ns);
    }

    /// Takes in another's times.
    pub fn join(&mut self, other: &Self) {
        // Of the same bounds, so it cannot fail.
        let _ = self.buckets.add(&other.buckets);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.sum_ns += other.sum_ns;
    }

    /// The distribution as results keep it; `None` if nothing was recorded.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean is no exact number")]
    pub fn result(&self) -> Option<Latency> {
        let count = self.buckets.len();
        if count == 0 {
            return None;
        }
        let at =
            |quantile| self.buckets.value_at_quantile(quantile).clamp(self.min_ns, self.max_ns);
        let buckets = self.buckets.iter_recorded();
        Some(Latency {
            count,
            min_ns: self.min_ns,
            mean_ns: self.sum_ns as f64 / count as f64,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: self.max_ns,
            buckets: buckets
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_one_percent_and_ends_are_exact() {
        let mut histogram = Histogram::new();
        (1..=1_000_000_u64).for_each(|time| histogram.record(time * 1_003));
        let latency = histogram.result().unwrap();
        let near = |value: u64, exact: u64| value.abs_diff(exact) * 100 <= exact;
        assert_eq!(
            (latency.count, latency.min_ns, latency.max_ns),
            (1_000_000, 1_003, 1_003_000_000)
        );
        assert!(near(latency.p50_ns, 501_500_000) && near(latency.p90_ns, 902_700_000));
        assert!(near(latency.p99_ns, 992_970_000) && near(latency.p9999_ns, 1_002_899_700));
        assert!((latency.mean_ns - 501_500_501.5).abs() < 1.0);
        let counted: u64 = latency.buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 1_000_000);
        let pairs = latency.buckets.windows(2);
        let wide = pairs.clone().filter(|pair| pair[0].0 > 1_000_000);
        assert!(wide.clone().all(|pair| (pair[1].0 - pair[0].0) * 100 <= pair[1].0));
        assert!(pairs.clone().all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn joined_is_as_if_recorded_together() {
        let (mut a, mut b, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for time in 0..1000 {
            if time % 3 == 0 {
                a.record(time * time)
            } else {
                b.record(time * time)
            }
            both.record(time * time);
        }
        a.join(&b);
        assert_eq!(a.result(), both.result());
        a.join(&Histogram::new());
        assert_eq!(a.result(), both.result());
    }

    #[test]
    fn nothing_recorded_is_nothing_and_the_longest_is_bounded() {
        assert_eq!(Histogram::new().result(), None);
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        histogram.record(0);
        let latency = histogram.result().unwrap();
        assert_eq!((latency.min_ns, latency.max_ns, latency.count), (0, u64::MAX, 2));
    }
}
