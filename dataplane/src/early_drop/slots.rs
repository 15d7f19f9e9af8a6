//! Slots: where entries count.
//!
//! A slot only ever grows; who gets it remembers where it stood. A packet that was on its way through the program while
//! its entry was taken out still counts, a moment later: so a slot rests before another entry gets it, and what it has
//! counted until then is owed to whoever asks for the counts of the entry before.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::maps::ConditionNumber;
use super::net::Net;
use crate::program::PacketCount;

/// How long a slot rests. A program run takes microseconds.
pub(super) const REST_NS: u64 = 100_000_000;

/// A slot in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    /// Where it stood when the entry got it.
    pub(super) base: PacketCount,
    /// Where it stood when its count was last handed on.
    pub(super) read: PacketCount,
}

/// What a resting slot still counts for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) source: Net,
    pub(super) condition: ConditionNumber,
    /// Where it stood when its count was last handed on.
    pub(super) read: PacketCount,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Resting {
    number: u32,
    until_ns: u64,
    pub(super) owed: Option<Owed>,
}

/// All slots.
#[derive(Debug)]
pub(super) struct Slots {
    max: u32,
    /// Those below have been used.
    used: u32,
    free: BinaryHeap<Reverse<u32>>,
    resting: VecDeque<Resting>,
}

impl Slots {
    pub(super) fn new(max: u32) -> Self {
        Self { max, used: 0, free: BinaryHeap::new(), resting: VecDeque::new() }
    }

    /// How many are, or have been, in use: the first ones.
    pub(super) fn used(&self) -> u32 {
        self.used
    }

    /// A slot, the lowest that is free, and whether nobody had it before, so that nothing is counted there. If none is
    /// free, the one that has rested longest: what is still on its way there, a packet or two, will be counted for the
    /// new entry.
    pub(super) fn take(&mut self) -> (u32, bool) {
        if let Some(Reverse(number)) = self.free.pop() {
            return (number, false);
        }
        if self.used < self.max {
            self.used += 1;
            return (self.used - 1, true);
        }
        // There are twice as many slots as entries, so half of them rest.
        (self.resting.pop_front().map_or(0, |resting| resting.number), false)
    }

    /// Lays a slot to rest.
    pub(super) fn retire(&mut self, number: u32, owed: Option<Owed>, now_ns: u64) {
        let until_ns = now_ns.saturating_add(REST_NS);
        self.resting.push_back(Resting { number, until_ns, owed });
    }

    /// Frees the slots that have rested and owe nothing.
    pub(super) fn release(&mut self, now_ns: u64) {
        while let Some(first) = self.resting.front() {
            if first.until_ns > now_ns || first.owed.is_some() {
                break;
            }
            self.free.push(Reverse(first.number));
            self.resting.pop_front();
        }
    }

    /// What is owed, with the slot it stands in; paid for good after its rest.
    pub(super) fn pay(&mut self, now_ns: u64, mut pay: impl FnMut(u32, &mut Owed)) {
        for resting in &mut self.resting {
            let Some(owed) = &mut resting.owed else { continue };
            pay(resting.number, owed);
            if resting.until_ns <= now_ns {
                resting.owed = None;
            }
        }
    }

    /// Whether anything is owed.
    pub(super) fn owes(&self) -> bool {
        self.resting.iter().any(|resting| resting.owed.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_rests_before_it_is_used_again() {
        let mut slots = Slots::new(3);
        assert_eq!([slots.take(), slots.take()], [(0, true), (1, true)]);
        slots.retire(0, None, 5);
        slots.release(REST_NS + 4);
        assert_eq!((slots.take(), slots.used()), ((2, true), 3), "the first still rests");
        slots.retire(2, None, 6);
        slots.release(REST_NS + 5);
        assert_eq!(slots.take(), (0, false));
        assert_eq!(slots.take(), (2, false), "for want of others");
        assert_eq!(slots.used(), 3);
    }

    #[test]
    fn what_is_owed_is_paid_until_the_rest_is_over() {
        let mut slots = Slots::new(4);
        let (number, _) = slots.take();
        let condition = ConditionNumber::all().next().expect("the first");
        let source = Net::host([192, 0, 2, 1].into());
        slots.retire(number, Some(Owed { source, condition, read: PacketCount::default() }), 0);
        slots.release(REST_NS);
        assert!(slots.owes(), "nobody has asked yet");
        let mut paid = Vec::new();
        slots.pay(1, |number, owed| paid.push((number, owed.source)));
        slots.pay(REST_NS, |number, owed| paid.push((number, owed.source)));
        slots.pay(REST_NS, |_, _| panic!("it is paid"));
        assert_eq!(paid, [(number, source); 2]);
        slots.release(REST_NS);
        assert_eq!(slots.take(), (number, false));
    }
}
