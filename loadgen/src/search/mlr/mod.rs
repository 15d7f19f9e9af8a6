//! Multiple Loss Ratio search (RFC 9971).
//!
//! The plain way to a throughput is to bisect on trials of a minute. On a box that shares its processor with anything
//! else it does not repeat: one stumble in a minute makes a good load bad. This search asks for less at a time and more
//! often. A goal says how much loss a trial may have, in which share of the trials it may be exceeded, how long one
//! trial and all trials of a load together are, and how narrow the answer. At each load short trials are made until
//! their durations decide, whatever the trials to come would say, that it is a *lower bound* or an *upper bound*
//! (appendix A). The answer to a goal is the smallest upper bound, the largest lower bound below it, and the
//! throughput that the lower bound really gave ([`Goal::conditional_throughput`], appendix B).
//!
//! Which load is tried next is the implementation's choice. Here each goal is pursued in stages: a first stage with one
//! trial a load and a wide answer, each next one with a longer sum and half the width, from the bounds of the one
//! before. All goals share all trials. The search ends when every goal is reached on all that was measured, so a trial
//! for one goal that changes another's bounds is answered with more trials; or at its bound on time.

mod classify;
mod pursuit;

use serde::{Deserialize, Serialize};

pub use classify::{Class, Sums, confidence};

use super::{Failure, Trial, check};
use pursuit::Pursuit;

/// What is searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// What to call it: `NDR`, `PDR`.
    pub name: String,
    /// A trial is good if it loses no more than this share.
    pub loss_ratio: f64,
    /// A load is good if no more than this share of the time is spent in bad trials.
    pub exceed_ratio: f64,
    /// How long a trial is, in seconds.
    pub trial_s: f64,
    /// How long the trials of a load are together, in seconds, before it is judged as good as can be.
    pub duration_sum_s: f64,
    /// How near to each other the bounds are to be: (upper - lower) / upper.
    pub width: f64,
}

/// The goals, and what bounds the search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The goals.
    pub goals: Vec<Goal>,
    /// The least load that is tried, a second.
    pub load_min: f64,
    /// The greatest.
    pub load_max: f64,
    /// After trials of so many seconds the search ends with what it has.
    pub search_max_s: f64,
}

impl Goal {
    /// No loss: in half of 21 trials of a second at most there may be any. What is commonly called NDR, as FD.io's CSIT
    /// has it.
    #[must_use]
    pub fn ndr() -> Self {
        Self::like_csit("NDR", 0.0)
    }

    /// A loss of one in two hundred.
    #[must_use]
    pub fn pdr() -> Self {
        Self::like_csit("PDR", 0.005)
    }

    fn like_csit(name: &str, loss_ratio: f64) -> Self {
        let name = name.to_owned();
        Self {
            name,
            loss_ratio,
            exceed_ratio: 0.5,
            trial_s: 1.0,
            duration_sum_s: 21.0,
            width: 0.005,
        }
    }

    fn check(&self) -> Result<(), Failure> {
        check("loss ratio", self.loss_ratio, 0.0..=0.999, "0 to 0.999")?;
        check("exceed ratio", self.exceed_ratio, 0.0..=0.999, "0 to 0.999")?;
        check("trial", self.trial_s, 0.001..=86_400.0, "0.001 to 86400 seconds")?;
        check(
            "duration sum",
            self.duration_sum_s,
            self.trial_s..=86_400.0,
            "one trial to 86400 seconds",
        )?;
        check("width", self.width, 1e-6..=0.5, "0.000001 to 0.5")
    }
}

/// One trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The load, a second.
    pub load: f64,
    /// How long it was offered, in seconds.
    pub duration_s: f64,
    /// The share that was lost.
    pub loss_ratio: f64,
}

/// The answer to a goal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The goal.
    pub goal: Goal,
    /// The largest load below the upper bound that is good; `None`: not even the least load is.
    pub lower: Option<Bound>,
    /// The smallest load that is bad; `None`: not even the greatest load is.
    pub upper: Option<Bound>,
    /// What came through at the lower bound, a second: its load without the loss of the quantile trial.
    pub conditional_throughput: Option<f64>,
    /// What keeps the answer from being one, if anything does.
    pub caveat: Option<Caveat>,
    /// How long the trials of a load had to be together for it to be a bound, in seconds: the goal's sum, or less where
    /// the search was cut short before any load had so many.
    pub judged_by_s: f64,
}

/// A load that was classified.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bound {
    /// The load, a second.
    pub load: f64,
    /// Trials at it: good and bad ones.
    pub trials: (u32, u32),
    /// How sure the classification is, if trials are independent: the chance that a load exactly at the goal's exceed
    /// ratio would have shown fewer (or more) bad trials.
    pub confidence: f64,
}

/// What an answer lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Caveat {
    /// The greatest load is good: the box may carry more.
    AtMaximum,
    /// The generator does not reach the loads above: the box may carry more.
    AtGenerator,
    /// The least load is bad: the box may carry less, or nothing.
    AtMinimum,
    /// Time was over: the bounds are farther apart than they should be.
    TimeOver,
    /// The search was ended from outside: the bounds are farther apart than they should be, or rest on fewer trials.
    CutShort,
}

/// All answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// In the order of the goals.
    pub answers: Vec<Answer>,
    /// Every trial, in the order in which it was made.
    pub trials: Vec<Tried>,
    /// The greatest load that the generator could offer, if that was less than the greatest load asked for.
    pub generator_max: Option<f64>,
    /// Seconds of all trials together.
    pub spent_s: f64,
    /// Why the search ended before its time, if it did: then the answers are what was known until then.
    pub cut_short: Option<Failure>,
}

/// Searches for all goals. `observer` is called after each trial.
///
/// # Errors
/// A setting is out of its range, or the generator is of no use even at the least load. What comes from outside
/// (Ctrl-C, an interface that is lost) is no error: it is told by [`Found::cut_short`], beside what was found.
pub fn search(
    settings: &Settings,
    trial: &mut dyn Trial,
    observer: &mut dyn FnMut(&Tried),
) -> Result<Found, Failure> {
    for goal in &settings.goals {
        goal.check()?;
    }
    check("least load", settings.load_min, 1e-3..=1e12, "0.001 to 10^12 a second")?;
    check(
        "greatest load",
        settings.load_max,
        settings.load_min..=1e12,
        "the least load to 10^12 a second",
    )?;
    check("search", settings.search_max_s, 0.001..=1e7, "0.001 to 10^7 seconds")?;
    Pursuit::new(settings, trial, observer).run()
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Device;
    use super::*;

    fn settings() -> Settings {
        Settings {
            goals: vec![Goal::ndr(), Goal::pdr()],
            load_min: 1e3,
            load_max: 1e6,
            search_max_s: 1e5,
        }
    }

    fn find(device: &mut Device) -> Found {
        search(&settings(), device, &mut |_| ()).unwrap()
    }

    fn bounds(answer: &Answer) -> (f64, f64) {
        (answer.lower.as_ref().unwrap().load, answer.upper.as_ref().unwrap().load)
    }

    #[test]
    fn an_exact_box_is_found_exactly() {
        for capacity in [1_234.0, 45_678.0, 400_000.0, 987_654.0] {
            let mut device = Device::exact(capacity);
            let found = find(&mut device);
            let [ndr, pdr] = found.answers.as_slice() else { panic!() };
            for (answer, truth) in [(ndr, capacity), (pdr, capacity / 0.995)] {
                let (lower, upper) = bounds(answer);
                // A frame is lost or not: the load may be above by what rounds to no frame.
                assert!(lower <= truth + 1.0 && truth <= upper + 1.0, "{lower} {truth} {upper}");
                assert!((upper - lower) / upper <= 0.005, "{lower} {upper}");
                assert_eq!(answer.caveat, None);
                assert!(answer.lower.as_ref().unwrap().confidence > 0.999);
            }
            assert!((ndr.conditional_throughput.unwrap() - bounds(ndr).0).abs() < 1e-6);
            assert!(pdr.conditional_throughput.unwrap() <= capacity * 1.001);
            // Less than bisecting each goal from 1 k to 1 M with 21 s a load would take.
            assert!(
                found.spent_s < 300.0 && (found.spent_s - device.spent_s()).abs() < 1e-6,
                "{}",
                found.spent_s
            );
        }
    }

    #[test]
    fn stumbles_do_not_hide_the_capacity() {
        // A fifth of the trials loses something at any load: no trial of a minute would be without.
        let mut near = 0;
        for seed in 0..40 {
            let mut device = Device {
                stumbles: 0.2,
                random: fastrand::Rng::with_seed(seed),
                ..Device::exact(300_000.0)
            };
            let (lower, upper) = bounds(&find(&mut device).answers[0]);
            near += i32::from(lower > 300_000.0 * 0.98 && upper < 300_000.0 * 1.01);
        }
        assert!(near >= 38, "{near} of 40");
    }

    #[test]
    fn noise_widens_the_answer_only_as_far_as_it_goes() {
        for seed in 0..40 {
            let mut device = Device {
                noise: 0.03,
                random: fastrand::Rng::with_seed(seed),
                ..Device::exact(300_000.0)
            };
            for answer in find(&mut device).answers {
                // At exceed ratio 0.5 the median capacity counts, and no load outside of the noise is ever taken.
                let (lower, upper) = bounds(&answer);
                assert!(
                    lower > 300_000.0 * 0.96 && upper < 300_000.0 * 1.04 / 0.995,
                    "{lower} {upper}"
                );
            }
        }
    }

    #[test]
    fn searches_repeat() {
        let once = find(&mut Device { noise: 0.03, stumbles: 0.1, ..Device::exact(3e5) });
        assert_eq!(once, find(&mut Device { noise: 0.03, stumbles: 0.1, ..Device::exact(3e5) }));
    }

    #[test]
    fn limits_are_told_from_answers() {
        let beyond = find(&mut Device::exact(5e6));
        assert_eq!(beyond.answers[0].caveat, Some(Caveat::AtMaximum));
        assert_eq!(
            (beyond.answers[0].lower.as_ref().unwrap().load, beyond.answers[0].upper.is_none()),
            (1e6, true)
        );

        let slow = find(&mut Device { generator: 200_000.0, ..Device::exact(5e6) });
        assert_eq!(slow.answers[0].caveat, Some(Caveat::AtGenerator));
        let reached = slow.generator_max.unwrap();
        assert!((180_000.0..=200_000.0).contains(&reached), "{reached}");

        let dead = find(&mut Device::exact(0.0));
        assert_eq!(dead.answers[0].caveat, Some(Caveat::AtMinimum));
        assert_eq!(
            (dead.answers[0].lower.is_none(), dead.answers[0].conditional_throughput),
            (true, None)
        );
    }

    #[test]
    fn time_is_bounded() {
        let mut device = Device { noise: 0.05, ..Device::exact(3e5) };
        let found =
            search(&Settings { search_max_s: 20.0, ..settings() }, &mut device, &mut |_| ())
                .unwrap();
        assert!(found.spent_s <= 21.0, "{}", found.spent_s);
        assert_eq!(found.answers[0].caveat, Some(Caveat::TimeOver));
    }

    #[test]
    fn an_end_from_outside_leaves_the_bounds_that_there_were() {
        let mut bounded = 0;
        for trials_max in [0, 1, 2, 5, 20, 1_000] {
            let mut device = Device { trials_max, ..Device::exact(3e5) };
            let found = find(&mut device);
            let is_whole = found.trials.len() < trials_max;
            assert_eq!(found.cut_short, (!is_whole).then_some(Failure::Interrupted));
            for answer in &found.answers {
                let (lower, upper) = (answer.lower.as_ref(), answer.upper.as_ref());
                let truth = 3e5 / (1.0 - answer.goal.loss_ratio);
                assert!(lower.is_none_or(|bound| bound.load <= truth + 1.0), "{answer:?}");
                assert!(upper.is_none_or(|bound| bound.load >= truth - 1.0), "{answer:?}");
                let is_sure = answer.judged_by_s == answer.goal.duration_sum_s;
                match answer.caveat {
                    None => assert!(lower.is_some() && upper.is_some() && is_sure),
                    Some(caveat) => assert_eq!((caveat, is_whole), (Caveat::CutShort, false)),
                }
                bounded += usize::from(upper.is_some() && !is_whole);
            }
        }
        // From the first trial on, which is at the greatest load.
        assert_eq!(bounded, 2 * 4);
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        type Case = (fn(&mut Settings), &'static str);
        let change: [Case; 6] = [
            (|s| s.goals[0].loss_ratio = 1.0, "loss ratio = 1 is not possible: 0 to 0.999"),
            (|s| s.goals[0].exceed_ratio = f64::NAN, "exceed ratio = NaN"),
            (
                |s| s.goals[1].duration_sum_s = 0.5,
                "duration sum = 0.5 is not possible: one trial to 86400 seconds",
            ),
            (|s| s.goals[1].width = 0.0, "width = 0"),
            (|s| s.load_max = 1.0, "greatest load = 1"),
            (|s| s.search_max_s = -1.0, "search = -1"),
        ];
        for (change, expected) in change {
            let mut wrong = settings();
            change(&mut wrong);
            let error =
                search(&wrong, &mut Device::exact(1e5), &mut |_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
