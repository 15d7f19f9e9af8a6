//! Which load is tried next.

use std::collections::BTreeMap;

use super::classify::{Class, Sums, confidence};
use super::{Answer, Bound, Caveat, Failure, Found, Goal, Settings, Trial, Tried};
use crate::search::{Offer, Outcome, measure};

/// How many stages lead to a goal: each with twice the width of the next.
const STAGES: u32 = 4;

/// The next load is so far below what the generator did offer when it was told to offer more.
const LOWERED: f64 = 0.02;

/// After so many void offers in a row the search gives up.
const VOIDS_MAX: u32 = 20;

/// A search under way.
pub(super) struct Pursuit<'a> {
    settings: &'a Settings,
    trial: &'a mut dyn Trial,
    observer: &'a mut dyn FnMut(&Tried),
    /// By load: positive numbers are ordered as their bits are.
    tried: BTreeMap<u64, Vec<Tried>>,
    trials: Vec<Tried>,
    load_max: f64,
    generator_max: Option<f64>,
    voids: u32,
    spent_s: f64,
    /// What came through of the first trial: near it the search begins.
    hint: f64,
}

/// A goal on its way: a shorter sum of durations and a wider answer than in the end.
#[derive(Clone, Copy, Debug)]
struct Stage {
    duration_sum_s: f64,
    width: f64,
}

/// The relevant bounds of a goal.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bounds {
    lower: Option<f64>,
    upper: Option<f64>,
}

impl<'a> Pursuit<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        trial: &'a mut dyn Trial,
        observer: &'a mut dyn FnMut(&Tried),
    ) -> Self {
        Self {
            settings,
            trial,
            observer,
            tried: BTreeMap::new(),
            trials: Vec::new(),
            load_max: settings.load_max,
            generator_max: None,
            voids: 0,
            spent_s: 0.0,
            hint: settings.load_max,
        }
    }

    pub(super) fn run(mut self) -> Result<Found, Failure> {
        let cut_short = match self.pursue_all() {
            Ok(()) => None,
            Err(failure) if failure.cuts_short() => Some(failure),
            Err(failure) => return Err(failure),
        };
        let is_cut_short = cut_short.is_some();
        let answers = self.settings.goals.iter().map(|goal| self.answer(goal, is_cut_short));
        Ok(Found {
            answers: answers.collect(),
            trials: self.trials,
            generator_max: self.generator_max,
            spent_s: self.spent_s,
            cut_short,
        })
    }

    /// Tries loads until all goals are reached or time is over.
    fn pursue_all(&mut self) -> Result<(), Failure> {
        let goals = &self.settings.goals;
        if let Some(goal) = goals.first() {
            self.find_maximum(goal)?;
        }
        for stage in (0..STAGES).rev() {
            // Again, until a round of all goals needs no trial: trials are common to all of them.
            while !self.is_over() {
                let before = self.trials.len();
                for goal in goals {
                    self.pursue(goal, stage_of(goal, stage))?;
                }
                if self.trials.len() == before {
                    break;
                }
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.spent_s >= self.settings.search_max_s
    }

    /// Offers the greatest load; what comes through is near what the box carries. Lowers it until the generator
    /// reaches it.
    fn find_maximum(&mut self, goal: &Goal) -> Result<(), Failure> {
        loop {
            if let Some(through) = self.try_load(self.load_max, goal)? {
                self.hint = through.clamp(self.settings.load_min, self.load_max);
                return Ok(());
            }
            if self.is_over() {
                return Ok(());
            }
        }
    }

    /// One trial. What came through, or `None` if the generator did not reach the load: then it is out of the search.
    fn try_load(&mut self, load: f64, goal: &Goal) -> Result<Option<f64>, Failure> {
        let offer = Offer::Rate { per_second: load, duration_s: goal.trial_s };
        let outcome = measure(self.trial, offer)?;
        self.spent_s += goal.trial_s * f64::from(outcome.tries);
        if let Some(why) = &outcome.void {
            return self.void(load, &outcome, why).map(|()| None);
        }
        self.voids = 0;
        let tried = Tried { load, duration_s: goal.trial_s, loss_ratio: outcome.loss_ratio() };
        self.tried.entry(load.to_bits()).or_default().push(tried);
        self.trials.push(tried);
        (self.observer)(&tried);
        Ok(Some(outcome.completed_per_second()))
    }

    /// The generator did not do what it was told.
    fn void(&mut self, load: f64, outcome: &Outcome, why: &str) -> Result<(), Failure> {
        let what = || format!("the generator did not do what it was told: {why}");
        self.voids += 1;
        if load <= self.settings.load_min || self.voids > VOIDS_MAX {
            return Err(Failure::LeastLoad { load: load.to_string(), what: what() });
        }
        // A load that it offered before is in its reach: it stumbled.
        let reached =
            self.tried.last_key_value().is_some_and(|(bits, _)| f64::from_bits(*bits) >= load);
        if !reached {
            // Each time twice as far: a generator whose reach moves is not felt for by a hundred void trials.
            let further = LOWERED * f64::from(1_u32 << (self.voids - 1).min(4));
            let lowered = load.min(outcome.offered_per_second()) * (1.0 - further);
            self.load_max = lowered.max(self.settings.load_min);
            self.generator_max = Some(self.load_max);
        }
        Ok(())
    }

    /// Tries loads until the goal is reached as far as the stage wants it.
    fn pursue(&mut self, goal: &Goal, stage: Stage) -> Result<(), Failure> {
        let mut step = stage.width;
        while !self.is_over() {
            let bounds = self.bounds(goal, stage.duration_sum_s);
            let Some(load) = self.next(goal, stage, bounds, &mut step) else { break };
            let before = self.class(goal, stage.duration_sum_s, load);
            debug_assert_eq!(before, Class::Undecided, "a load is not tried once it is decided");
            while self.class(goal, stage.duration_sum_s, load) == Class::Undecided
                && !self.is_over()
            {
                if self.try_load(load, goal)?.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The load to try, or `None` if the bounds are good enough. `step` is how far beyond the only bound; it doubles.
    fn next(&self, goal: &Goal, stage: Stage, bounds: Bounds, step: &mut f64) -> Option<f64> {
        let (min, max) = (self.settings.load_min, self.load_max);
        let mut beyond = |load: f64, sign: f64| {
            let next = if sign > 0.0 { load / (1.0 - *step) } else { load * (1.0 - *step) };
            *step = (*step * 2.0).min(0.5);
            next.clamp(min, max)
        };
        let next = match (bounds.lower, bounds.upper) {
            (None, None) => self.hint.clamp(min, max),
            (Some(lower), None) if lower >= max => return None,
            // What the stage before took for a bound is tried first: it mostly is one.
            (Some(lower), None) => self
                .undecided(goal, stage, lower, f64::INFINITY, true)
                .unwrap_or_else(|| beyond(lower, 1.0)),
            (None, Some(upper)) if upper <= min => return None,
            (None, Some(upper)) => self
                .undecided(goal, stage, 0.0, upper, false)
                .unwrap_or_else(|| beyond(upper, -1.0)),
            (Some(lower), Some(upper)) if (upper - lower) / upper <= stage.width => return None,
            (Some(lower), Some(upper)) => {
                let inner = self.undecided(goal, stage, lower, upper, false);
                let near = inner.filter(|load| is_worth(*load, lower, upper));
                near.unwrap_or(lower + (upper - lower) / 2.0)
            }
        };
        // A load beyond the generator is out of the search.
        Some(next.min(max))
            .filter(|load| self.class(goal, stage.duration_sum_s, *load) == Class::Undecided)
    }

    /// A load between the two that has trials, but not enough: the lowest or the highest.
    fn undecided(
        &self,
        goal: &Goal,
        stage: Stage,
        above: f64,
        below: f64,
        lowest: bool,
    ) -> Option<f64> {
        let loads = self.tried.keys().map(|bits| f64::from_bits(*bits));
        let mut open = loads.filter(|load| {
            *load > above
                && *load < below
                && *load <= self.load_max
                && self.class(goal, stage.duration_sum_s, *load) == Class::Undecided
        });
        if lowest { open.next() } else { open.next_back() }
    }

    fn trials_at(&self, load: f64) -> &[Tried] {
        self.tried.get(&load.to_bits()).map_or(&[], Vec::as_slice)
    }

    fn class(&self, goal: &Goal, duration_sum_s: f64, load: f64) -> Class {
        Sums::of(self.trials_at(load).iter(), goal).class(goal, duration_sum_s)
    }

    /// The smallest upper bound, and the largest lower bound below it.
    fn bounds(&self, goal: &Goal, duration_sum_s: f64) -> Bounds {
        let mut bounds = Bounds::default();
        for bits in self.tried.keys() {
            let load = f64::from_bits(*bits);
            match self.class(goal, duration_sum_s, load) {
                Class::Lower => bounds.lower = Some(load),
                Class::Upper => {
                    bounds.upper = Some(load);
                    break;
                }
                Class::Undecided => {}
            }
        }
        bounds
    }

    /// The sum of durations by which a goal's bounds are judged: its own. Where the search was cut short before any
    /// load had so many trials, that of the last stage that has both bounds, or at least one.
    fn judged_by_s(&self, goal: &Goal, is_cut_short: bool) -> f64 {
        let sums = || (0..STAGES).map(|before_last| stage_of(goal, before_last).duration_sum_s);
        let count = |sum_s: f64| {
            let Bounds { lower, upper } = self.bounds(goal, sum_s);
            usize::from(lower.is_some()) + usize::from(upper.is_some())
        };
        let with = |bounds: usize| sums().find(|sum_s| count(*sum_s) >= bounds);
        let found = if is_cut_short { with(2).or_else(|| with(1)) } else { None };
        found.unwrap_or(goal.duration_sum_s)
    }

    fn answer(&self, goal: &Goal, is_cut_short: bool) -> Answer {
        let judged_by_s = self.judged_by_s(goal, is_cut_short);
        let bounds = self.bounds(goal, judged_by_s);
        let judged = Goal { duration_sum_s: judged_by_s, ..goal.clone() };
        let bound = |class, load: Option<f64>| {
            let load = load?;
            let trials = Sums::of(self.trials_at(load).iter(), goal).trials;
            Some(Bound { load, trials, confidence: confidence(class, trials, goal.exceed_ratio) })
        };
        let caveat = match (bounds.lower, bounds.upper) {
            (Some(lower), Some(upper)) => {
                ((upper - lower) / upper > goal.width).then_some(Caveat::TimeOver)
            }
            (Some(lower), None) if lower >= self.load_max => {
                Some(if self.generator_max.is_some() {
                    Caveat::AtGenerator
                } else {
                    Caveat::AtMaximum
                })
            }
            (None, Some(upper)) if upper <= self.settings.load_min => Some(Caveat::AtMinimum),
            _ => Some(Caveat::TimeOver),
        };
        let is_preliminary = caveat == Some(Caveat::TimeOver) || judged_by_s < goal.duration_sum_s;
        let caveat = if is_cut_short && is_preliminary { Some(Caveat::CutShort) } else { caveat };
        Answer {
            lower: bound(Class::Lower, bounds.lower),
            upper: bound(Class::Upper, bounds.upper),
            conditional_throughput: bounds
                .lower
                .and_then(|load| judged.conditional_throughput(load, self.trials_at(load))),
            caveat,
            judged_by_s,
            goal: goal.clone(),
        }
    }
}

/// Whether a load divides the interval well enough to be tried before its middle.
fn is_worth(load: f64, lower: f64, upper: f64) -> bool {
    let share = (load - lower) / (upper - lower);
    (0.2..=0.8).contains(&share)
}

/// The stage so many before the last, which is the goal itself.
fn stage_of(goal: &Goal, before_last: u32) -> Stage {
    let share = f64::from(STAGES - 1 - before_last) / f64::from(STAGES - 1);
    Stage {
        // From one trial to the whole sum, by equal factors.
        duration_sum_s: goal.trial_s * (goal.duration_sum_s / goal.trial_s).powf(share),
        width: (goal.width * f64::from(1_u32 << before_last)).min(0.5),
    }
}
