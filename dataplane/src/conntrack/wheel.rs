//! The timer wheel: which flows may have expired.
//!
//! ```text
//!   slot    0   1   2  ...  1023       64 ms each, 65.5 s around
//!           |       |
//!           v       v
//!          flow    flow <-> flow      a list through `Aside::next` and `previous`
//! ```
//!
//! A flow's deadline moves with every packet, and most packets move it *later*. So the wheel is lazy: it keeps a
//! flow where it was put, and looks at the deadline when that slot comes round. If it is still to come, the flow
//! is put off, never farther than once around. An established connection is thus looked at once a minute however
//! many packets it has, and a packet touches nothing but the deadline in the flow's own cache line. Only a
//! deadline that moves *nearer*, to less than once around, is worth a new place at once: the few segments that
//! begin or end a close.
//!
//! Work is bounded: [`Wheel::next_due`] hands out one flow at a time, and its caller counts. What is late is looked
//! at in the next poll; nothing depends on it, for whoever finds a flow looks at the deadline itself.

use super::clock::{Ticks, Time};
use super::flow::Aside;

/// Slots, a power of two.
const SLOTS: u32 = 1024;

/// Clock ticks of a slot, a power of two: 64 ms.
const SLOT_TICKS: u32 = 16;

/// Slots ahead at most. Less than once around, so that a slot is never put to use while it is being emptied.
const AHEAD_MAX: u32 = SLOTS - 2;

/// No flow.
pub(super) const NIL: u32 = u32::MAX;

/// Marks a [`Aside::previous`] that is a slot.
const IS_SLOT: u32 = 1 << 31;

/// Deadlines nearer than this may need a new place when they move nearer.
pub(super) const AROUND: Ticks = Ticks(SLOTS * SLOT_TICKS);

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    /// The slot that is being emptied, counted without wrapping around the wheel.
    at: u32,
}

impl Wheel {
    pub(super) fn new(now: Time) -> Self {
        Self { heads: vec![NIL; SLOTS as usize].into(), at: now.bits() / SLOT_TICKS }
    }

    /// Puts a flow where its deadline, or the next look at it, falls due.
    pub(super) fn link(&mut self, asides: &mut [Aside], flow: u32, deadline: Time) {
        // One slot later than the deadline lies: when it comes round, the deadline is over.
        let due = deadline.bits() / SLOT_TICKS + 1;
        let ahead = due.wrapping_sub(self.at) & (Self::CIRCLE - 1);
        // Beyond half of the clock's circle lies the past.
        let ahead = if ahead > Self::CIRCLE / 2 { 1 } else { ahead.clamp(1, AHEAD_MAX) };
        let slot = (self.at + ahead) & (SLOTS - 1);
        let head = std::mem::replace(&mut self.heads[slot as usize], flow);
        let aside = &mut asides[flow as usize];
        aside.next = head;
        aside.previous = slot | IS_SLOT;
        aside.linked = true;
        if head != NIL {
            asides[head as usize].previous = flow;
        }
    }

    /// Takes a flow out.
    pub(super) fn unlink(&mut self, asides: &mut [Aside], flow: u32) {
        let Aside { next, previous, linked, .. } = asides[flow as usize];
        if !linked {
            return;
        }
        asides[flow as usize].linked = false;
        if next != NIL {
            asides[next as usize].previous = previous;
        }
        if previous & IS_SLOT != 0 {
            self.heads[(previous & !IS_SLOT) as usize] = next;
        } else {
            asides[previous as usize].next = next;
        }
    }

    /// The next flow to look at, taken out of the wheel; `None` once it has come to `now`.
    pub(super) fn next_due(&mut self, asides: &mut [Aside], now: Time) -> Option<u32> {
        let target = now.bits() / SLOT_TICKS;
        // After a leap of the clock one turn finds everything.
        if target.wrapping_sub(self.at) & (Self::CIRCLE - 1) > SLOTS {
            self.at = target.wrapping_sub(SLOTS) & (Self::CIRCLE - 1);
        }
        loop {
            let flow = self.heads[(self.at & (SLOTS - 1)) as usize];
            if flow != NIL {
                self.unlink(asides, flow);
                return Some(flow);
            }
            if self.at == target {
                return None;
            }
            self.at = (self.at + 1) & (Self::CIRCLE - 1);
        }
    }

    /// Slots in a circle of the clock.
    const CIRCLE: u32 = (1 << super::clock::TIME_BITS) / SLOT_TICKS;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(ticks: u64) -> Time {
        Time::from_ns(ticks * super::super::clock::TICK_NS)
    }

    proptest! {
        /// Against the obvious: every flow comes up in time, exactly once, and never long before its deadline
        /// unless that is beyond a turn.
        #[test]
        fn every_flow_comes_up_when_it_is_due(
            start in prop::sample::select(vec![0_u64, 5, (1 << 29) - 100, (1 << 29) * 3 - 7]),
            spans in prop::collection::vec(0_u32..40_000, 1..60),
            drop in prop::collection::vec(any::<bool>(), 60),
            step in 1_u64..5_000,
        ) {
            let mut asides = vec![Aside::default(); spans.len()];
            let mut wheel = Wheel::new(time(start));
            for (flow, span) in (0..).zip(&spans) {
                wheel.link(&mut asides, flow, time(start).after(Ticks(*span)));
            }
            let mut waiting: Vec<u32> = (0..).take(spans.len()).collect();
            for (flow, _) in (0..).zip(&spans).filter(|(flow, _)| drop[*flow as usize]) {
                wheel.unlink(&mut asides, flow);
                wheel.unlink(&mut asides, flow);
                waiting.retain(|other| *other != flow);
            }
            let mut now = start;
            while !waiting.is_empty() {
                now += step;
                while let Some(flow) = wheel.next_due(&mut asides, time(now)) {
                    let deadline = start + u64::from(spans[flow as usize]);
                    prop_assert!(waiting.contains(&flow));
                    if now >= deadline {
                        waiting.retain(|other| *other != flow);
                    } else {
                        // Before its time only because the wheel is too small for it.
                        prop_assert!(deadline - start > u64::from(AHEAD_MAX * SLOT_TICKS) - 32);
                        wheel.link(&mut asides, flow, time(deadline));
                    }
                }
                let late = waiting.iter().map(|flow| u64::from(spans[*flow as usize]));
                let slack = 2 * u64::from(SLOT_TICKS);
                prop_assert!(late.into_iter().all(|span| start + span + slack > now));
            }
        }
    }
}
