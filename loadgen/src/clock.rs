//! Time as the engine reads it: nanoseconds since the run began, by the processor's time stamp counter.
//!
//! The counter costs a few nanoseconds to read and no system call, so that the loop can ask before every batch.
//! `quanta` finds out whether it may be used at all (constant rate, never stopping) and measures its rate against the
//! kernel's monotonic clock; where it may not, that clock is read instead. How well the two agree tells
//! [`drift_ppm`](Clock::drift_ppm): a rate of ours is wrong by as much.

use std::time::Instant;

/// A clock that stands at 0 when it is made. Copies agree with each other on every core.
#[derive(Clone, Debug)]
pub struct Clock {
    source: quanta::Clock,
    origin: u64,
    kernel_origin: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}

impl Clock {
    /// Starts one. The first of a process takes up to 0.2 s to learn the counter's rate.
    #[must_use]
    pub fn start() -> Self {
        let source = quanta::Clock::new();
        let kernel_origin = Instant::now();
        let origin = source.raw();
        Self { source, origin, kernel_origin }
    }

    /// Nanoseconds since the start.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.source.delta_as_nanos(self.origin, self.source.raw())
    }

    /// How much faster than the kernel's monotonic clock it has run since its start, in millionths; negative when it
    /// was slower. Meaningless in the first seconds, when it is mostly the time between two readings: `None` before 0.1
    /// s.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a day is below 2^53 ns")]
    pub fn drift_ppm(&self) -> Option<f64> {
        let (ours, kernel) = (self.now_ns(), self.kernel_origin.elapsed().as_nanos());
        let kernel = u64::try_from(kernel).ok().filter(|&kernel| kernel >= 100_000_000)?;
        Some((ours as f64 - kernel as f64) / kernel as f64 * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_falls_and_copies_agree() {
        let clock = Clock::start();
        let copy = clock.clone();
        let mut last = 0;
        for _ in 0..1_000 {
            let now = clock.now_ns();
            assert!(now >= last);
            last = copy.now_ns();
            assert!(last >= now);
        }
        assert_eq!(clock.drift_ppm(), None, "too early to tell");
    }
}
