//! Latency histograms: how long a poll takes, how long packets stay.
//!
//! The worker reads the clock once a poll. A packet that was received in one poll has left by the next
//! reading, so `forward_ns` is the time from the reading before it was received to the reading after it
//! was handed to the transmit ring: an upper bound by construction. For a packet that was held, or handed
//! over by another worker, it is the time since it was let go or taken in, not since it was received.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use hdrhistogram::Histogram;

/// Longest time that is told apart, in nanoseconds: 10 s. Longer ones count as this.
pub const LATENCY_NS_MAX: u64 = 10_000_000_000;

/// Three significant digits would be 172 KB a histogram; two are enough for tens of nanoseconds.
const SIGNIFICANT_DIGITS: u8 = 2;

/// A worker's histograms, in nanoseconds.
#[derive(Debug, Clone)]
pub struct Latency {
    /// From one clock reading to the next, polls that slept left out.
    pub poll_ns: Histogram<u64>,
    /// From reception to transmission, one count a packet.
    pub forward_ns: Histogram<u64>,
    /// Recordings skipped because a reader held the histograms.
    pub missed: u64,
}

/// The worker's side and the reader's side of one worker's [`Latency`].
#[derive(Debug, Clone)]
pub struct LatencyRecorder(Arc<Mutex<Latency>>);

impl Default for LatencyRecorder {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyRecorder {
    /// Empty histograms, memory allocated.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts.
    #[must_use]
    pub fn new() -> Self {
        let empty = || {
            Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)
                .expect("constant bounds are valid")
        };
        Self(Arc::new(Mutex::new(Latency { poll_ns: empty(), forward_ns: empty(), missed: 0 })))
    }

    /// Records one poll of `elapsed_ns` in which `forwarded` packets left. Never waits: while a reader
    /// copies, the recording is skipped and counted in the worker's own `missed`.
    pub fn record(&self, elapsed_ns: u64, forwarded: u64, missed: &mut u64) {
        let mut latency = match self.0.try_lock() {
            Ok(latency) => latency,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                *missed += 1;
                return;
            }
        };
        latency.missed += std::mem::take(missed);
        let elapsed_ns = elapsed_ns.clamp(1, LATENCY_NS_MAX);
        latency.poll_ns.saturating_record(elapsed_ns);
        if forwarded > 0 {
            latency.forward_ns.saturating_record_n(elapsed_ns, forwarded);
        }
    }

    /// A copy of the histograms.
    #[must_use]
    pub fn read(&self) -> Latency {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_counts_once_and_each_packet_once() {
        let recorder = LatencyRecorder::new();
        let mut missed = 0;
        recorder.record(1_000, 64, &mut missed);
        recorder.record(0, 0, &mut missed);
        recorder.record(u64::MAX, 1, &mut missed);
        let latency = recorder.read();
        assert_eq!((latency.poll_ns.len(), latency.forward_ns.len(), latency.missed), (3, 65, 0));
        assert!(latency.forward_ns.equivalent(latency.forward_ns.value_at_quantile(0.5), 1_000));
    }

    #[test]
    fn a_reader_costs_the_worker_a_sample_never_a_wait() {
        let recorder = LatencyRecorder::new();
        let mut missed = 0;
        let reading = recorder.0.lock().expect("no one else");
        recorder.record(1_000, 1, &mut missed);
        assert_eq!(missed, 1);
        drop(reading);
        recorder.record(1_000, 1, &mut missed);
        let latency = recorder.read();
        assert_eq!((latency.poll_ns.len(), latency.missed, missed), (1, 1, 0));
    }
}
