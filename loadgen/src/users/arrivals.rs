//! When connections are due: an open loop.
//!
//! People do not wait for each other: the next one comes when he comes, whatever became of those before him. So the
//! times are drawn from the rate alone, and latencies count from them.

/// Nanoseconds in a second.
const SECOND_NS: f64 = 1e9;

/// How the times lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// Evenly.
    Constant,
    /// At random, as many independent people come: the gaps are exponential.
    #[default]
    Poisson,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Arrivals {
    spacing: Spacing,
    per_second: f64,
    dice: fastrand::Rng,
    start_ns: u64,
    /// How many have come.
    count: u64,
    /// How many come at most.
    most: u64,
    /// When the next one is due, in nanoseconds after the start. A sum of whole nanoseconds would drift at high rates.
    next: f64,
}

impl Arrivals {
    /// None before [`begin`](Self::begin).
    #[must_use]
    pub fn new(spacing: Spacing, per_second: f64, seed: u64) -> Self {
        let dice = fastrand::Rng::with_seed(seed);
        Self {
            spacing,
            per_second,
            dice,
            start_ns: 0,
            count: 0,
            most: u64::MAX,
            next: f64::INFINITY,
        }
    }

    /// So many come at most.
    #[must_use]
    pub fn at_most(mut self, most: u64) -> Self {
        self.most = most;
        self
    }

    /// The schedule begins.
    pub fn begin(&mut self, now_ns: u64) {
        self.start_ns = now_ns;
        self.next = match self.spacing {
            _ if self.per_second <= 0.0 || self.most == 0 => f64::INFINITY,
            Spacing::Constant => 0.0,
            Spacing::Poisson => self.gap(),
        };
    }

    /// No more come.
    pub fn stop(&mut self) {
        self.next = f64::INFINITY;
    }

    /// When the next one is due.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of a run, not negative"
        )]
        let after_ns = self.next as u64;
        self.next.is_finite().then(|| self.start_ns.saturating_add(after_ns))
    }

    /// The one that is due at or before `now_ns`, if any: when it was due.
    pub fn take(&mut self, now_ns: u64) -> Option<u64> {
        let due_ns = self.due_ns().filter(|due_ns| *due_ns <= now_ns)?;
        self.count += 1;
        #[expect(clippy::cast_precision_loss, reason = "connections are below 2^53")]
        let count = self.count as f64;
        self.next = match self.spacing {
            _ if self.count >= self.most => f64::INFINITY,
            Spacing::Constant => count * SECOND_NS / self.per_second,
            Spacing::Poisson => self.next + self.gap(),
        };
        Some(due_ns)
    }

    fn gap(&mut self) -> f64 {
        // 1 - [0, 1) is never 0.
        -(1.0 - self.dice.f64()).ln() * SECOND_NS / self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(mut arrivals: Arrivals, end_ns: u64) -> Vec<u64> {
        arrivals.begin(1_000);
        std::iter::from_fn(|| arrivals.take(1_000 + end_ns)).collect()
    }

    #[test]
    fn a_constant_rate_is_even_and_does_not_drift() {
        let times = until(Arrivals::new(Spacing::Constant, 3.0, 1), 1_000_000_000);
        assert_eq!(times, [1_000, 333_334_333, 666_667_666, 1_000_001_000]);
        let times = until(Arrivals::new(Spacing::Constant, 1e6, 1), 1_000_000_000);
        assert_eq!((times.len(), times[999_999]), (1_000_001, 999_999_000 + 1_000));
    }

    /// Mean and variation of exponential gaps; four standard errors at this number.
    #[test]
    fn poisson_is_poisson() {
        let times = until(Arrivals::new(Spacing::Poisson, 10_000.0, 0x5eed), 10_000_000_000);
        assert!(times.len().abs_diff(100_000) < 1_300, "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!(
            (mean / 1e5 - 1.0).abs() < 0.013 && (square.sqrt() / mean - 1.0).abs() < 0.02,
            "{mean} {square}"
        );
    }

    #[test]
    fn the_seed_is_all_there_is() {
        let draw = |seed| until(Arrivals::new(Spacing::Poisson, 100.0, seed), 1_000_000_000);
        assert!(draw(1) == draw(1) && draw(1) != draw(2));
    }

    #[test]
    fn nobody_comes_before_the_start_after_the_end_or_at_rate_0() {
        let mut arrivals = Arrivals::new(Spacing::Constant, 10.0, 1);
        assert_eq!((arrivals.due_ns(), arrivals.take(u64::MAX)), (None, None));
        arrivals.begin(5);
        assert_eq!(
            (arrivals.due_ns(), arrivals.take(4), arrivals.take(5)),
            (Some(5), None, Some(5))
        );
        arrivals.stop();
        assert_eq!(arrivals.take(u64::MAX), None);
        assert!(until(Arrivals::new(Spacing::Constant, 0.0, 1), u64::MAX / 2).is_empty());
        for most in 0..3_u64 {
            let some = Arrivals::new(Spacing::Constant, 10.0, 1).at_most(most);
            assert_eq!(until(some, u64::MAX / 2).len() as u64, most);
        }
    }
}
