//! Medians and their intervals.
//!
//! The interval comes from order statistics: of `n` values, the k-th smallest and the k-th
//! largest enclose the true median unless fewer than k values fell on one side of it, and on
//! which side a value falls is a fair coin. No assumption about the shape of the noise, which on
//! a shared machine has a long tail, and no random numbers. Sign test; e.g. Conover, Practical
//! Nonparametric Statistics, section 3.2.

use serde::Serialize;

/// How sure an interval should be.
const COVERAGE_WANTED: f64 = 0.95;

/// A median and what is known about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub values: usize,
    /// The median.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How sure the interval is: 0.95 at least, unless there are fewer than six values.
    pub coverage: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Of at least one number; `None` of none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let (rank, coverage) = rank(sorted.len());
        Some(Self {
            values: sorted.len(),
            median: quantile(&sorted, 0.5),
            low: sorted[rank],
            high: sorted[sorted.len() - 1 - rank],
            coverage,
            min,
            max,
        })
    }
}

/// The largest rank (from 0) whose interval still covers enough, and what it covers.
fn rank(n: usize) -> (usize, f64) {
    // Chance that at most k of n coins fall on one side, from Pascal's triangle in floating point.
    let exponent = i32::try_from(n).unwrap_or(i32::MAX);
    let mut ways = 1.0;
    let mut below = 0.0;
    let mut best = (0, 0.0);
    for k in 0..n.div_ceil(2) {
        below += ways * 0.5_f64.powi(exponent);
        #[expect(clippy::cast_precision_loss, reason = "numbers of runs are small")]
        let next = ways * (n - k) as f64 / (k + 1) as f64;
        ways = next;
        let coverage = (1.0 - 2.0 * below).max(0.0);
        if k == 0 || coverage >= COVERAGE_WANTED {
            best = (k, coverage);
        }
    }
    best
}

/// The `q` quantile of sorted numbers, between neighbours where it falls between; 0 of none.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    #[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
    let at = q.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to last")]
    let below = (at.floor() as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Known ranks (from 1) and coverages of the sign test.
        let table =
            [(6, 1, 0.9688), (10, 2, 0.9785), (15, 4, 0.9648), (20, 6, 0.9586), (30, 10, 0.9572)];
        for (n, expected, coverage) in table {
            let (rank, covered) = rank(n);
            assert_eq!(rank + 1, expected, "n = {n}");
            assert!((covered - coverage).abs() < 1e-4, "n = {n}: {covered}");
        }
        // Too few for 95 %: the whole range, and it says so.
        assert_eq!(rank(5), (0, 0.9375));
        assert_eq!(rank(1), (0, 0.0));
    }

    #[test]
    fn a_summary_states_everything() {
        let values: Vec<f64> = (1..=10).rev().map(f64::from).collect();
        let summary = Summary::of(&values).unwrap();
        assert_eq!((summary.values, summary.median), (10, 5.5));
        assert_eq!((summary.low, summary.high, summary.min, summary.max), (2.0, 9.0, 1.0, 10.0));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[1.0, 2.0], 0.25), 1.25);
        assert_eq!(quantile(&[7.0], 0.99), 7.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
