//! `PushDown`: which sources of a rule the program drops, and when it is left to the workers again.
//!
//! A loop with a delay: the program drops, and what it has dropped is known a turn of the control thread later. Three
//! things keep it from swinging.
//!
//! * **Counts come back.** [`Step::Count`] is what the program has dropped since the last turn; the limiter adds it to
//!   the source's window, or its rate would collapse the moment it is pushed.
//! * **There is a gap between the way in and the way out.** A turn's counts come in one lump, so a window of a tenth of
//!   a second may have one lump too many or too few: half of its rate. A source is pushed from *twice* the limit on,
//!   and taken back below *once* the limit, by the counts of whole turns, whose length is known exactly, however late
//!   they are. Between the two both sides throw alike, so it does not matter which does.
//! * **It has to last.** For [`HOT_TURNS`] in a row on the way in, [`CALM_TURNS`] on the way out.
//!
//! Who decides? The program throws: of a flood at the limit it lets through what the floor is in packets, of a faster
//! one more, for it does not know how fast it is. A worker holds that to the floor
//! ([`Bounds`](crate::limit::fuzzy::Bounds)); while a source is trusted ([`Step::Trust`]), whatever its window has come
//! to, which may miss a lump. Trust comes a turn after the push and goes a turn before the entry is taken out. It ends
//! by itself before the entry does, should the control thread hang; then the flood is as a new one to the rule, of
//! which one full window passes.

use std::collections::BTreeMap;

use super::maps::{ConditionNumber, Maps};
use super::net::Net;
use super::pushed::{Feedback, Pushed};
use super::{EarlyDrop, EarlyDropError};
use crate::program::PacketCount;

/// Turns in a row that a source must have been far above its limit to be pushed.
pub const HOT_TURNS: u8 = 4;

/// Turns in a row that it must have been below its limit to be taken back.
pub const CALM_TURNS: u8 = 4;

/// How long an entry lasts unless it is renewed, in nanoseconds; it is when half of that is left.
pub const HOLD_NS: u64 = 2_000_000_000;

/// How long before its entry trust ends, in nanoseconds: far more than two clocks of a machine differ.
pub const MARGIN_NS: u64 = 100_000_000;

/// Sources that one turn looks at, or pushes, at most; the others have theirs later.
pub const SOURCES_A_TURN_MAX: usize = 1_024;

/// A source at the floor, as the limiter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floored {
    /// The source.
    pub source: Net,
    /// Its rate in the last window, in packets a second.
    pub rate_pps: u32,
}

/// What the limiter is to do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Add what was dropped to the source's window and to the rule's counters.
    Count(Net, PacketCount),
    /// Hold packets of this source that meet the condition to the floor, until then (CLOCK_MONOTONIC): the program has
    /// thrown for them.
    Trust(Net, u64),
    /// Decide by the source's window again.
    Distrust(Net),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Far above its limit for so many turns.
    Hot(u8),
    /// Pushed until then; below its limit for so many turns.
    Pushed { until_ns: u64, calm: u8 },
    /// Distrusted, to be taken back in the next turn.
    Leaving,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    state: State,
    /// Dropped since the last turn.
    dropped: u64,
}

/// The sources of one rule. See the module.
#[derive(Debug)]
pub struct PushDown {
    condition: ConditionNumber,
    acceptance: u32,
    upper_pps: u32,
    kept: BTreeMap<Net, Kept>,
    last_ns: u64,
}

impl PushDown {
    /// Of a rule with this condition and upper limit, of which `acceptance` of 2^32 packets are let through.
    #[must_use]
    pub fn new(condition: ConditionNumber, acceptance: u32, upper_pps: u32, now_ns: u64) -> Self {
        Self { condition, acceptance, upper_pps, kept: BTreeMap::new(), last_ns: now_ns }
    }

    /// A turn: takes in what was dropped since the last one, takes back, renews, pushes. `feedback` is what
    /// [`EarlyDrop::feedback`] has just said, for all rules; `floored` are sources at the rule's floor, the fastest
    /// first, of which [`SOURCES_A_TURN_MAX`] are looked at. What is to be done is put behind `steps`, also on failure.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`]; the lists try again, and the next turn goes on from there.
    pub fn turn<M: Maps>(
        &mut self,
        lists: &mut EarlyDrop<M>,
        feedback: &Feedback,
        floored: &[Floored],
        now_ns: u64,
        steps: &mut Vec<Step>,
    ) -> Result<(), EarlyDropError<M::Error>> {
        self.take_in(feedback, steps);
        let elapsed_ns = now_ns.saturating_sub(self.last_ns).max(1);
        self.last_ns = now_ns;
        let leaving = self.cool(elapsed_ns, steps);
        lists.take_back(&leaving, now_ns)?;
        let hot = self.heat(floored);
        let renewed = self.kept.iter().filter_map(|(source, kept)| match kept.state {
            State::Pushed { until_ns, .. } if until_ns < now_ns + HOLD_NS / 2 => Some(*source),
            _ => None,
        });
        let until_ns = now_ns.saturating_add(HOLD_NS);
        let push = |source| Pushed {
            source,
            acceptance: self.acceptance,
            until_ns,
            condition: self.condition,
        };
        let batch: Vec<Pushed> = renewed.chain(hot).map(push).collect();
        let outcomes = lists.push(&batch, now_ns)?;
        for (pushed, outcome) in batch.iter().zip(outcomes) {
            let before = self.kept.get(&pushed.source).map(|kept| kept.state);
            if outcome.is_err() {
                self.kept.remove(&pushed.source);
                steps.push(Step::Distrust(pushed.source));
                continue;
            }
            let calm = match before {
                Some(State::Pushed { calm, .. }) => {
                    steps.push(Step::Trust(pushed.source, until_ns - MARGIN_NS));
                    calm
                }
                _ => 0,
            };
            let state = State::Pushed { until_ns, calm };
            self.kept.insert(pushed.source, Kept { state, dropped: 0 });
        }
        Ok(())
    }

    /// Takes all sources back, at once. What is to be done is put behind `steps`, also on failure.
    ///
    /// # Errors
    /// As [`turn`](Self::turn).
    pub fn withdraw<M: Maps>(
        &mut self,
        lists: &mut EarlyDrop<M>,
        now_ns: u64,
        steps: &mut Vec<Step>,
    ) -> Result<(), EarlyDropError<M::Error>> {
        let kept = std::mem::take(&mut self.kept).into_iter();
        let pushed = kept.filter(|(_, kept)| !matches!(kept.state, State::Hot(_)));
        let pushed: Vec<Net> = pushed.map(|(source, _)| source).collect();
        steps.extend(pushed.iter().copied().map(Step::Distrust));
        lists.take_back(&pushed, now_ns)
    }

    /// How many sources are pushed.
    #[must_use]
    pub fn pushed_len(&self) -> usize {
        self.kept.values().filter(|kept| !matches!(kept.state, State::Hot(_))).count()
    }

    /// Whether a source is pushed.
    #[must_use]
    pub fn is_pushed(&self, source: Net) -> bool {
        self.kept.get(&source).is_some_and(|kept| !matches!(kept.state, State::Hot(_)))
    }

    fn take_in(&mut self, feedback: &Feedback, steps: &mut Vec<Step>) {
        for counted in feedback.counted.iter().filter(|counted| counted.condition == self.condition)
        {
            steps.push(Step::Count(counted.source, counted.dropped));
            if let Some(kept) = self.kept.get_mut(&counted.source) {
                kept.dropped += counted.dropped.packets;
            }
        }
        for gone in &feedback.gone {
            if self.kept.remove(gone).is_some() {
                steps.push(Step::Distrust(*gone));
            }
        }
    }

    /// Trusts what was pushed a turn ago, looks who has calmed down, and returns who is to be taken back.
    fn cool(&mut self, elapsed_ns: u64, steps: &mut Vec<Step>) -> Vec<Net> {
        let upper_pps = u128::from(self.upper_pps);
        let mut leaving = Vec::new();
        self.kept.retain(|source, kept| {
            let dropped = u128::from(std::mem::take(&mut kept.dropped));
            let State::Pushed { until_ns, calm } = kept.state else {
                if kept.state == State::Leaving {
                    leaving.push(*source);
                }
                return kept.state != State::Leaving;
            };
            // What has passed, a hundredth, is left out: it makes no difference at the limit.
            let is_calm = dropped * 1_000_000_000 < upper_pps * u128::from(elapsed_ns);
            let calm = if is_calm { calm + 1 } else { 0 };
            if calm < CALM_TURNS {
                kept.state = State::Pushed { until_ns, calm };
                steps.push(Step::Trust(*source, until_ns - MARGIN_NS));
            } else {
                kept.state = State::Leaving;
                steps.push(Step::Distrust(*source));
            }
            true
        });
        leaving
    }

    /// Looks who is far above the limit, and returns who has been for long enough.
    fn heat(&mut self, floored: &[Floored]) -> Vec<Net> {
        let twice = u64::from(self.upper_pps) * 2;
        let looked_at = floored.iter().take(SOURCES_A_TURN_MAX);
        let far: Vec<Net> = looked_at
            .filter(|floored| u64::from(floored.rate_pps) >= twice)
            .map(|floored| floored.source)
            .collect();
        let mut hot = Vec::new();
        let mut turns_of = BTreeMap::new();
        self.kept.retain(|source, kept| match kept.state {
            State::Hot(turns) => {
                turns_of.insert(*source, turns);
                false
            }
            _ => true,
        });
        for source in far {
            if self.kept.contains_key(&source) {
                continue;
            }
            let turns = turns_of.get(&source).copied().unwrap_or(0) + 1;
            let turns = turns.min(HOT_TURNS);
            self.kept.insert(source, Kept { state: State::Hot(turns), dropped: 0 });
            if turns == HOT_TURNS {
                hot.push(source);
            }
        }
        hot
    }
}
