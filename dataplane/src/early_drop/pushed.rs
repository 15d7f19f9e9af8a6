//! The limiter's side: what it pushes down, what it hears back.
//!
//! A source at the floor of a rule with DROP is pushed with the rule's condition and acceptance, and an end not far
//! away; pushing it again before that renews it. What the program drops of it never reaches the rule, so the limiter
//! reads [`Feedback`] and adds the counts to the source's window and to the rule's counters: else the rate would seem
//! to fall the moment the source is pushed, and the acceptance to swing between floor and ceiling.
//!
//! While a source is pushed, the program has thrown for its packets that meet the condition
//! ([`Condition::is_met`](super::Condition::is_met)), and the limiter must not throw again for those, but only see to
//! it that no more of them pass than are due.

use super::maps::{ConditionNumber, FOR_EVER, MapChange, Maps};
use super::net::Net;
use super::placed::map_of;
use super::slots::Slot;
use super::{Blocked, By, Condition, EarlyDrop, EarlyDropError};
use crate::program::PacketCount;

/// A source at the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The source.
    pub source: Net,
    /// Of 2^32 packets so many are let through: at the limit as many as by the rule itself, above it more.
    pub acceptance: u32,
    /// When it ends unless it is renewed, in nanoseconds of CLOCK_MONOTONIC.
    pub until_ns: u64,
    /// Which packets it is about.
    pub condition: ConditionNumber,
}

/// Why a source is not pushed. The limiter goes on dropping its packets itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushRefusal {
    /// The operator has blocked it already, or a prefix inside it, for all packets.
    Blocked,
    /// The operator has allowed some of it.
    Allowed,
    /// Another entry of the limiter's is about the same source, inside it or around it.
    Overlaps,
    /// No condition of that number, or of the other family.
    NoCondition,
    /// It would be over already, or never.
    Until,
    /// There is no room.
    Full,
}

/// What an entry has dropped since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The source.
    pub source: Net,
    /// The condition it was pushed with.
    pub condition: ConditionNumber,
    /// Packets and bytes.
    pub dropped: PacketCount,
}

/// What the limiter has to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// What was dropped since the last time; a source is there twice if it was taken back and pushed anew.
    pub counted: Vec<Counted>,
    /// What has ended without having been taken back: over, displaced by the operator, allowed.
    pub gone: Vec<Net>,
}

impl<M: Maps> EarlyDrop<M> {
    /// Says what a condition means from now on. Whatever was pushed with another meaning of it is taken out.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`], and it is tried again.
    pub fn set_condition(
        &mut self,
        number: ConditionNumber,
        condition: Option<Condition>,
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        if self.conditions[number.index()] == condition {
            return Ok(());
        }
        let is_of = |source: &&Net| match self.blocked.get(*source).map(|blocked| &blocked.by) {
            Some(By::Limiter { condition, .. }) => *condition == number,
            _ => false,
        };
        let pushed: Vec<Net> = self.pushed.iter().filter(is_of).copied().collect();
        pushed.into_iter().for_each(|source| self.displace(source, now_ns));
        self.conditions[number.index()] = condition;
        if let Some(condition) = condition {
            self.changes.push(MapChange::Condition(number, condition));
        }
        self.commit()
    }

    /// Pushes sources, or renews them. Says of each whether it was taken; all that were are in force together.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`], and it is tried again.
    pub fn push(
        &mut self,
        batch: &[Pushed],
        now_ns: u64,
    ) -> Result<Vec<Result<(), PushRefusal>>, EarlyDropError<M::Error>> {
        let mut outcomes = Vec::with_capacity(batch.len());
        for pushed in batch {
            let outcome = match self.check(pushed, now_ns) {
                Ok(()) => self.stage_push(*pushed).map(Ok)?,
                Err(refusal) => Err(refusal),
            };
            outcomes.push(outcome);
        }
        self.commit().map(|()| outcomes)
    }

    fn stage_push(&mut self, pushed: Pushed) -> Result<(), EarlyDropError<M::Error>> {
        let Pushed { source, acceptance, until_ns, condition } = pushed;
        let slot: Slot = match self.blocked.get(&source) {
            Some(old) => old.slot,
            None => self.new_slot()?,
        };
        let by = By::Limiter { condition, acceptance };
        self.insert(source, Blocked { by, until_ns, placed_until_ns: until_ns, slot });
        Ok(())
    }

    fn check(&self, pushed: &Pushed, now_ns: u64) -> Result<(), PushRefusal> {
        let Pushed { source, until_ns, condition, .. } = *pushed;
        let meaning = self.conditions[condition.index()];
        if meaning.is_none_or(|meaning| meaning.destination.family() != source.family()) {
            return Err(PushRefusal::NoCondition);
        }
        if until_ns <= now_ns || until_ns == FOR_EVER {
            return Err(PushRefusal::Until);
        }
        let old = self.blocked.get(&source);
        if old.is_some_and(Blocked::is_operator_s) || self.operator_covers(source).next().is_some()
        {
            return Err(PushRefusal::Blocked);
        }
        let mut inside =
            self.blocked.range(source.around()).filter(|(inner, _)| source.covers(**inner));
        if inside.any(|(inner, blocked)| !inner.is_host() && blocked.is_operator_s()) {
            return Err(PushRefusal::Blocked);
        }
        if (0..=source.prefix_len()).any(|len| self.allowed.contains_key(&source.shortened(len)))
            || self.allowed.range(source.around()).any(|(inner, _)| source.covers(*inner))
        {
            return Err(PushRefusal::Allowed);
        }
        if let Some(old) = old {
            let same = matches!(old.by, By::Limiter { condition: other, .. } if other == condition);
            return if same { Ok(()) } else { Err(PushRefusal::Overlaps) };
        }
        let around =
            (0..source.prefix_len()).any(|len| self.pushed.contains(&source.shortened(len)));
        if around || self.pushed.range(source.around()).any(|inner| source.covers(*inner)) {
            return Err(PushRefusal::Overlaps);
        }
        let max = if source.is_host() { self.sizes.sources_max } else { self.sizes.prefixes_max };
        if self.filled[map_of(source)] >= max {
            return Err(PushRefusal::Full);
        }
        Ok(())
    }

    /// Takes back what was pushed; what is no longer there, or the operator's by now, stays as it is. What it drops in
    /// this very moment is in the next feedback.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`], and it is tried again.
    pub fn take_back(
        &mut self,
        sources: &[Net],
        now_ns: u64,
    ) -> Result<(), EarlyDropError<M::Error>> {
        for source in sources
            .iter()
            .filter(|source| self.pushed.contains(source))
            .copied()
            .collect::<Vec<_>>()
        {
            self.remove(source, now_ns);
        }
        self.commit()
    }

    /// What has been dropped of pushed sources, and which of them have ended, since this was called last.
    ///
    /// # Errors
    /// [`EarlyDropError::Maps`]; nothing is lost, the next call tells it.
    pub fn feedback(&mut self, now_ns: u64) -> Result<Feedback, EarlyDropError<M::Error>> {
        let mut feedback = Feedback::default();
        if self.pushed.is_empty() && !self.slots.owes() {
            feedback.gone = std::mem::take(&mut self.gone);
            return Ok(feedback);
        }
        let counts = self.maps.counts(self.slots.used()).map_err(EarlyDropError::Maps)?;
        let at = |slot: u32| counts.get(slot as usize).copied().unwrap_or_default();
        let mut count = |source, condition, dropped: PacketCount| {
            if dropped != PacketCount::default() {
                feedback.counted.push(Counted { source, condition, dropped });
            }
        };
        for source in &self.pushed {
            let Some(blocked) = self.blocked.get_mut(source) else { continue };
            let By::Limiter { condition, .. } = blocked.by else { continue };
            let now = at(blocked.slot.number);
            count(*source, condition, now.since(blocked.slot.read));
            blocked.slot.read = now;
        }
        self.slots.pay(now_ns, |slot, owed| {
            let now = at(slot);
            count(owed.source, owed.condition, now.since(owed.read));
            owed.read = now;
        });
        feedback.gone = std::mem::take(&mut self.gone);
        Ok(feedback)
    }
}
