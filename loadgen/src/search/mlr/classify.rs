//! What the trials of one load say about it (RFC 9971, appendices A and B).

use super::{Goal, Tried};

/// What a load is, for a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Good, whatever the trials to come would say.
    Lower,
    /// Bad, whatever the trials to come would say.
    Upper,
    /// It depends on the trials to come.
    Undecided,
}

/// Durations of the trials of one load, in seconds: good or bad, of the goal's length or shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Good ones of the goal's length or more.
    pub good_long_s: f64,
    /// Bad ones of the goal's length or more.
    pub bad_long_s: f64,
    /// Good ones that are shorter.
    pub good_short_s: f64,
    /// Bad ones that are shorter.
    pub bad_short_s: f64,
    /// How many trials are good and bad.
    pub trials: (u32, u32),
}

impl Sums {
    /// Adds up the trials of one load.
    pub fn of<'a>(trials: impl Iterator<Item = &'a Tried>, goal: &Goal) -> Self {
        let mut sums = Self::default();
        for trial in trials {
            let is_good = trial.loss_ratio <= goal.loss_ratio;
            // A clock's last digit makes no trial short.
            let is_long = trial.duration_s >= goal.trial_s * 0.999;
            let sum = match (is_good, is_long) {
                (true, true) => &mut sums.good_long_s,
                (false, true) => &mut sums.bad_long_s,
                (true, false) => &mut sums.good_short_s,
                (false, false) => &mut sums.bad_short_s,
            };
            *sum += trial.duration_s;
            if is_good {
                sums.trials.0 += 1;
            } else {
                sums.trials.1 += 1;
            }
        }
        sums
    }

    /// Judges the load as if the goal's duration sum were `duration_sum_s`.
    #[must_use]
    pub fn class(&self, goal: &Goal, duration_sum_s: f64) -> Class {
        // Good short trials excuse bad short ones in the share that the goal allows; the rest counts as if long.
        let excused_s = self.good_short_s * goal.exceed_ratio / (1.0 - goal.exceed_ratio);
        let bad_s = self.bad_long_s + (self.bad_short_s - excused_s).max(0.0);
        let whole_s = (self.good_long_s + bad_s).max(duration_sum_s);
        let allowed_s = whole_s * goal.exceed_ratio;
        // A sum of seconds is not exact; a nanosecond decides nothing.
        let within = |bad_s: f64| bad_s <= allowed_s + 1e-9;
        match (within(bad_s), within(whole_s - self.good_long_s)) {
            (true, true) => Class::Lower,
            (false, false) => Class::Upper,
            _ => Class::Undecided,
        }
    }
}

impl Goal {
    /// What a load really gave: without the loss of that trial, in the order of their losses, at which the share of
    /// time that has to be good is full. `None` if no trial of the goal's length was made.
    #[must_use]
    pub fn conditional_throughput(&self, load: f64, trials: &[Tried]) -> Option<f64> {
        let is_long = |trial: &&Tried| trial.duration_s >= self.trial_s * 0.999;
        let mut long: Vec<&Tried> = trials.iter().filter(is_long).collect();
        long.sort_by(|a, b| a.loss_ratio.total_cmp(&b.loss_ratio));
        let measured_s: f64 = long.iter().map(|trial| trial.duration_s).sum();
        let mut missing_s = measured_s.max(self.duration_sum_s) * (1.0 - self.exceed_ratio);
        let mut loss_ratio = long.first()?.loss_ratio;
        for trial in &long {
            if missing_s <= 1e-9 {
                break;
            }
            loss_ratio = trial.loss_ratio;
            missing_s -= trial.duration_s;
        }
        // What was not measured may have been lost.
        let loss_ratio = if missing_s > 1e-9 { 1.0 } else { loss_ratio };
        Some(load * (1.0 - loss_ratio))
    }
}

/// The chance that of so many independent trials, each bad with the goal's exceed ratio, more (for a lower bound) or
/// fewer (for an upper bound) are bad than were seen.
///
/// Trials end as soon as they have decided, which leaves the decision what it would have been, so the chance is that of
/// the decision and not of a lucky moment.
#[must_use]
pub fn confidence(class: Class, (good, bad): (u32, u32), exceed_ratio: f64) -> f64 {
    let trials = good + bad;
    let chance = |bad: u32| {
        binomial(trials, bad) * power(exceed_ratio, bad) * power(1.0 - exceed_ratio, trials - bad)
    };
    match class {
        Class::Lower => (bad + 1..=trials).map(chance).sum::<f64>().clamp(0.0, 1.0),
        Class::Upper => (0..bad).map(chance).sum::<f64>().clamp(0.0, 1.0),
        Class::Undecided => 0.0,
    }
}

fn binomial(n: u32, k: u32) -> f64 {
    (0..k.min(n - k)).fold(1.0, |ways, i| ways * f64::from(n - i) / f64::from(i + 1))
}

fn power(base: f64, exponent: u32) -> f64 {
    base.powi(i32::try_from(exponent).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(exceed_ratio: f64) -> Goal {
        Goal { exceed_ratio, ..Goal::ndr() }
    }

    fn trials(losses: &[f64], duration_s: f64) -> Vec<Tried> {
        losses.iter().map(|&loss_ratio| Tried { load: 100.0, duration_s, loss_ratio }).collect()
    }

    fn class(trials: &[Tried], goal: &Goal) -> Class {
        Sums::of(trials.iter(), goal).class(goal, goal.duration_sum_s)
    }

    #[test]
    fn half_of_the_sum_decides() {
        let goal = goal(0.5);
        for good in 0..=21 {
            // Of 21 seconds, 10.5 may be bad.
            let expected = if good >= 11 { Class::Lower } else { Class::Undecided };
            assert_eq!(class(&trials(&vec![0.0; good], 1.0), &goal), expected, "{good} good");
        }
        for bad in 0..=21 {
            let expected = if bad >= 11 { Class::Upper } else { Class::Undecided };
            assert_eq!(class(&trials(&vec![0.1; bad], 1.0), &goal), expected, "{bad} bad");
        }
        let mixed = [vec![0.0; 10], vec![0.1; 10]].concat();
        assert_eq!(class(&trials(&mixed, 1.0), &goal), Class::Undecided);
        let mixed = [mixed, vec![0.1]].concat();
        assert_eq!(class(&trials(&mixed, 1.0), &goal), Class::Upper);
    }

    #[test]
    fn no_exceeding_means_one_bad_trial_is_enough() {
        let goal = goal(0.0);
        assert_eq!(class(&trials(&[0.1], 1.0), &goal), Class::Upper);
        assert_eq!(class(&trials(&[0.0; 20], 1.0), &goal), Class::Undecided);
        assert_eq!(class(&trials(&[0.0; 21], 1.0), &goal), Class::Lower);
    }

    #[test]
    fn short_trials_condemn_but_do_not_acquit() {
        let goal = goal(0.5);
        assert_eq!(class(&trials(&[0.0; 100], 0.5), &goal), Class::Undecided);
        assert_eq!(class(&trials(&[0.1; 22], 0.5), &goal), Class::Upper);
        // As many good short ones excuse the bad.
        let mixed = [vec![0.0; 22], vec![0.1; 22]].concat();
        assert_eq!(class(&trials(&mixed, 0.5), &goal), Class::Undecided);
    }

    #[test]
    fn the_throughput_is_that_of_the_quantile() {
        let goal = goal(0.5);
        let throughput =
            |losses: &[f64]| goal.conditional_throughput(100.0, &trials(losses, 1.0)).unwrap();
        // Half of 21 s is reached within the eleventh of the ordered trials.
        let mut losses = [vec![0.0; 10], vec![0.1], vec![0.5; 10]].concat();
        losses.reverse();
        assert!((throughput(&losses) - 90.0).abs() < 1e-9);
        assert!((throughput(&[0.0; 11]) - 100.0).abs() < 1e-9);
        // Ten of 21: the rest may be lost.
        assert!(throughput(&[0.0; 10]).abs() < 1e-9);
        assert_eq!(goal.conditional_throughput(100.0, &trials(&[0.0; 30], 0.5)), None);
    }

    #[test]
    fn confidence_is_the_binomial_one() {
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(confidence(Class::Lower, (11, 0), 0.5), 1.0 - 0.5_f64.powi(11)));
        assert!(close(confidence(Class::Upper, (0, 11), 0.5), 1.0 - 0.5_f64.powi(11)));
        assert!(close(confidence(Class::Lower, (2, 1), 0.5), 0.5));
        assert!(close(confidence(Class::Upper, (0, 1), 0.0), 1.0));
        assert!(close(confidence(Class::Undecided, (5, 5), 0.5), 0.0));
    }
}
