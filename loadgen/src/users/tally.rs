//! What became of the connections: counts, and times from the moment at which each was due.

use hdrhistogram::Histogram;

use crate::result::Latency;

/// The longest time that is told from a longer one: an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Two digits: buckets at most 1 % wide.
const DIGITS: u8 = 2;

/// A distribution of times. Memory is allocated when it is made.
#[derive(Clone, Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST_NS, DIGITS);
        Self(histogram.unwrap_or_else(|error| unreachable!("bounds that are constants: {error}")))
    }

    pub(super) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    /// As it stands in results; `None` when nothing was recorded.
    pub(super) fn latency(&self) -> Option<Latency> {
        let all = &self.0;
        if all.is_empty() {
            return None;
        }
        let at = |quantile| all.value_at_quantile(quantile);
        Some(Latency {
            count: all.len(),
            min_ns: all.min(),
            mean_ns: all.mean(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: all.max(),
            buckets: all
                .iter_recorded()
                .map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value()))
                .collect(),
        })
    }
}

/// How connections ended, as their client sees it: each in exactly one way, or not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Begun.
    pub attempted: u64,
    /// Due, and not begun for want of a port or of room.
    pub not_begun: u64,
    /// Handshakes completed.
    pub connected: u64,
    /// Answers received whole and connections closed.
    pub completed: u64,
    /// Given up: the handshake was never answered.
    pub failed_connect: u64,
    /// Given up later, or closed before the answer was whole.
    pub failed_transfer: u64,
    /// Ended by a reset.
    pub reset: u64,
}

impl Ends {
    /// Neither completed nor failed.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.attempted - self.completed - self.failed()
    }

    /// Given up or reset.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_connect + self.failed_transfer + self.reset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_hundredth() {
        let mut times = Times::new();
        assert_eq!(times.latency(), None);
        for us in 1..=10_000 {
            times.record(us * 1_000);
        }
        let latency = times.latency().unwrap();
        let close = |ns: u64, to_us: u64| ns.abs_diff(to_us * 1_000) * 100 <= to_us * 1_000;
        assert!(
            close(latency.p50_ns, 5_000)
                && close(latency.p99_ns, 9_900)
                && close(latency.p9999_ns, 9_999)
        );
        assert!(close(latency.min_ns, 1) && close(latency.max_ns, 10_000));
        assert_eq!(latency.buckets.iter().map(|(_, count)| count).sum::<u64>(), 10_000);
        times.record(u64::MAX);
        assert_eq!(times.latency().unwrap().count, 10_001, "too long counts as the longest");
    }
}
