//! Connections a second, and connections at once (RFC 9411 sections 7.2 and 7.5; RFC 3511 sections 5.2 and 5.3).

use serde::Serialize;

use super::mlr::Goal;
use super::{Failure, Offer, Trial, measure};

/// RFC 9411 calls a trial valid if fewer than one in 100,000 transactions failed.
pub const FAILURES_MAX: f64 = 1e-5;

/// The goal of a search for the greatest rate of connections: as [`Goal::ndr`], with the failures that RFC 9411 allows.
#[must_use]
pub fn rate_goal() -> Goal {
    Goal { name: "connection rate".to_owned(), loss_ratio: FAILURES_MAX, ..Goal::ndr() }
}

/// Most connections that were open at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Concurrent {
    /// So many were held, with no more failures than allowed.
    pub held: u64,
    /// So many were not; `None`: the most that were tried were held.
    pub failed_at: Option<u64>,
    /// Why the search ended before these were near enough to each other, if it did.
    pub cut_short: Option<Failure>,
}

/// Bisects for the most connections that a box holds at once: to 1 % of the answer, between 1 and `most`.
///
/// A number is tried twice before it counts as too many: a box that forgets connections forgets them again.
///
/// # Errors
/// Not even one connection is held, or `most` is 0. What comes from outside (Ctrl-C, an interface that is lost) is no
/// error: it is told by [`Concurrent::cut_short`], beside what was found.
pub fn concurrent(most: u64, trial: &mut dyn Trial) -> Result<Concurrent, Failure> {
    if most == 0 {
        return Err(Failure::Setting {
            what: "connections",
            value: "0".to_owned(),
            allowed: "1 and more",
        });
    }
    let mut found = Concurrent { held: 0, failed_at: None, cut_short: None };
    match bisect(most, trial, &mut found) {
        Err(failure) if failure.cuts_short() => found.cut_short = Some(failure),
        Err(failure) => return Err(failure),
        Ok(()) if found.held == 0 => {
            return Err(Failure::LeastLoad {
                load: "1 connection".to_owned(),
                what: "it was not held".to_owned(),
            });
        }
        Ok(()) => {}
    }
    Ok(found)
}

/// Narrows what was found until it is an answer.
fn bisect(most: u64, trial: &mut dyn Trial, found: &mut Concurrent) -> Result<(), Failure> {
    let mut holds = |connections: u64| -> Result<bool, Failure> {
        for _ in 0..2 {
            let outcome = measure(trial, Offer::Hold { connections })?;
            if outcome.void.is_none() && outcome.loss_ratio() <= FAILURES_MAX {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // Upwards by tenfold steps: a box is not hit with the most it was built for at once.
    let mut next = 1;
    while found.failed_at.is_none() && found.held < most {
        if holds(next)? {
            found.held = next;
            next = next.saturating_mul(10).min(most);
        } else {
            found.failed_at = Some(next);
        }
    }
    while let Some(too_many) = found.failed_at
        && found.held > 0
        && too_many - found.held > (too_many / 100).max(1)
    {
        let middle = found.held + (too_many - found.held) / 2;
        if holds(middle)? { found.held = middle } else { found.failed_at = Some(middle) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::mlr::{Settings, search};
    use super::super::simulated::Device;
    use super::*;

    fn table(table: u64) -> Device {
        Device { table, ..Device::exact(1e5) }
    }

    #[test]
    fn the_table_is_found_to_a_hundredth() {
        for size in [1, 9, 10, 777, 65_536, 987_654] {
            let found = concurrent(1_000_000, &mut table(size)).unwrap();
            let bad = found.failed_at.unwrap();
            // One in 100,000 may fail.
            assert!(found.held <= size + size / 100_000 + 10 && bad > size, "{found:?} {size}");
            assert!(bad - found.held <= (bad / 100).max(1), "{found:?} {size}");
        }
    }

    #[test]
    fn limits_are_told() {
        assert_eq!(
            concurrent(5_000, &mut table(1 << 30)).unwrap(),
            Concurrent { held: 5_000, failed_at: None, cut_short: None }
        );
        let none = concurrent(5_000, &mut table(0)).unwrap_err().to_string();
        assert_eq!(none, "at the least load, 1 connection, it was not held");
        assert!(concurrent(0, &mut table(1)).unwrap_err().to_string().contains("connections = 0"));
    }

    #[test]
    fn what_was_held_before_the_end_is_told() {
        let cut = |trials_max| {
            let mut device = Device { trials_max, ..table(777) };
            let found = concurrent(1_000_000, &mut device).unwrap();
            assert_eq!(found.cut_short, Some(Failure::Interrupted));
            (found.held, found.failed_at)
        };
        // 1, 10, 100; 1,000 twice; then halves.
        assert_eq!([0, 2, 4, 5].map(cut), [(0, None), (10, None), (100, None), (100, Some(1_000))]);
        assert_eq!(cut(6), (550, Some(1_000)));
    }

    #[test]
    fn the_rate_is_searched_as_any_goal() {
        let settings =
            Settings { goals: vec![rate_goal()], load_min: 10.0, load_max: 1e5, search_max_s: 1e4 };
        let found = search(&settings, &mut Device::exact(12_345.0), &mut |_| ()).unwrap();
        let answer = &found.answers[0];
        let (lower, upper) =
            (answer.lower.as_ref().unwrap().load, answer.upper.as_ref().unwrap().load);
        assert!(
            lower <= 12_346.0 && upper >= 12_344.0 && (upper - lower) / upper <= 0.005,
            "{answer:?}"
        );
    }
}
