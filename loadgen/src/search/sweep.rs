//! A flood at rising rates, each repeated, the repeats interleaved.
//!
//! All repeats of one rate in a row would share whatever the machine did in that minute. So each round has every rate
//! once, in an order that is drawn anew: what drifts hits all rates alike, and shows as an interval.

use super::{Failure, check};
use crate::result::RunResult;

/// Most rates, and most rounds.
const MOST: usize = 1_000;

/// The order of all runs: the rates of `rounds` rounds, each in an order of its own that the seed draws.
///
/// # Errors
/// No rate or more than 1,000, a rate that is none, no round or more than 1,000.
pub fn order(rates: &[f64], rounds: usize, seed: u64) -> Result<Vec<f64>, Failure> {
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    check("number of rates", count(rates.len()), 1.0..=count(MOST), "1 to 1000")?;
    check("rounds", count(rounds), 1.0..=count(MOST), "1 to 1000")?;
    for rate in rates {
        check("rate", *rate, 0.0..=1e12, "0 to 10^12 a second")?;
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let mut runs = Vec::with_capacity(rates.len() * rounds);
    for _ in 0..rounds {
        let mut round = rates.to_vec();
        random.shuffle(&mut round);
        runs.extend(round);
    }
    Ok(runs)
}

/// Makes the runs of a sweep. A void run is made once more at the end of the sweep, and kept as it then is: a report
/// names it and leaves it out. `observer` is told how many of all are done.
///
/// # Errors
/// What [`order`] refuses, or the run says that there is no going on.
pub fn sweep(
    rates: &[f64],
    rounds: usize,
    seed: u64,
    run: &mut dyn FnMut(f64) -> Result<RunResult, Failure>,
    observer: &mut dyn FnMut(usize, usize, &RunResult),
) -> Result<Vec<RunResult>, Failure> {
    let order = order(rates, rounds, seed)?;
    let mut again = Vec::new();
    let mut results = Vec::with_capacity(order.len());
    for (done, rate) in order.iter().enumerate() {
        let result = run(*rate)?;
        observer(done + 1, order.len(), &result);
        if result.void.is_some() {
            again.push(*rate);
        } else {
            results.push(result);
        }
    }
    for rate in again {
        let result = run(rate)?;
        observer(results.len() + 1, order.len(), &result);
        results.push(result);
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{sample, study};

    #[test]
    fn every_round_has_every_rate_in_an_order_of_its_own() {
        let rates = [0.0, 1e4, 1e5, 1e6];
        let order = order(&rates, 6, 0x5eed).unwrap();
        let rounds: Vec<&[f64]> = order.chunks(4).collect();
        for round in &rounds {
            let mut sorted = round.to_vec();
            sorted.sort_by(f64::total_cmp);
            assert_eq!(sorted, rates);
        }
        assert!(rounds.windows(2).any(|pair| pair[0] != pair[1]));
        assert_eq!(order, super::order(&rates, 6, 0x5eed).unwrap());
        assert_ne!(order, super::order(&rates, 6, 7).unwrap());
    }

    #[test]
    fn a_void_run_is_made_again_at_the_end() {
        let mut failures = 2;
        let mut run = |rate: f64| {
            let mut result = sample::study("weir", rate, 1);
            if rate == 1e5 && failures > 0 {
                failures -= 1;
                result.void = Some("too slow".to_owned());
            }
            Ok(result)
        };
        let mut seen = Vec::new();
        let results =
            sweep(&[0.0, 1e5], 3, 1, &mut run, &mut |done, of, _| seen.push((done, of))).unwrap();
        assert_eq!(seen, [(1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (6, 6), (5, 6), (6, 6)]);
        let levels = &study::groups(&results)[0].levels;
        assert_eq!(levels.iter().map(|level| level.runs.len()).collect::<Vec<_>>(), [3, 3]);
    }

    #[test]
    fn what_is_no_sweep_is_refused() {
        for (rates, rounds, expected) in [
            (&[][..], 1, "number of rates = 0"),
            (&[1.0], 0, "rounds = 0"),
            (&[1.0], 1_001, "rounds = 1001"),
            (&[-1.0], 1, "rate = -1"),
            (&[f64::NAN], 1, "rate = NaN"),
        ] {
            let error = order(rates, rounds, 1).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
