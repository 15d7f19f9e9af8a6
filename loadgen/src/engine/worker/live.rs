//! The way out for live frames: many at a time, for each call costs as much as a hundred of them.

use super::*;
use crate::live_frames::SLOTS;

/// A call is made so long after the one before, unless that one was full: half a millisecond, or as long as it takes
/// until so many packets are due, for more of them at once are a burst that nobody asked for; but not so short that
/// most of the time goes into calls.
const GAP_NS_MAX: u64 = 500_000;
const GAP_NS_MIN: u64 = 100_000;
const DUE_WANTED: u64 = 64;

impl LiveExit {
    pub(super) fn new(frames: LiveFrames) -> Self {
        Self {
            frames,
            tags: vec![NO_TAG; SLOTS].into(),
            filled: Vec::with_capacity(SLOTS),
            next_ns: 0,
            gap_ns: GAP_NS_MAX,
        }
    }
}

impl Worker {
    /// Sends what is due of the streams that go by live frames; whether there was anything.
    pub(super) fn send_live(&mut self, side: Side, now_ns: u64) -> bool {
        let exit = &self.exits[side.index()];
        if self.phase != Phase::Sending
            || exit.live.as_ref().is_none_or(|live| now_ns < live.next_ns)
        {
            return false;
        }
        let (count, first) = (self.lanes.len(), self.first_lane);
        let goes = |lane: &Lane, is_flood| {
            lane.side == side && lane.way == Way::Live && lane.pace.is_flood() == is_flood
        };
        for at in (0..count).map(|place| (first + place) % count) {
            if goes(&self.lanes[at], false) {
                self.fill_live(side, at, now_ns, usize::MAX);
            }
        }
        // Floods share what is left.
        let floods = self.lanes.iter().filter(|lane| goes(lane, true)).count();
        if let Some(live) = self.exits[side.index()].live.as_ref().filter(|_| floods > 0) {
            let share = (SLOTS - live.filled.len()).div_ceil(floods);
            for at in 0..count {
                if goes(&self.lanes[at], true) {
                    self.fill_live(side, at, now_ns, share);
                }
            }
        }
        self.flush_live(side, now_ns)
    }

    /// Makes what is due of a lane, at most so many packets.
    fn fill_live(&mut self, side: Side, at: usize, now_ns: u64, most: usize) {
        let Some(live) = &mut self.exits[side.index()].live else { return };
        let lane = &mut self.lanes[at];
        let is_flood = lane.pace.is_flood();
        let horizon_ns = now_ns.min(self.timing.duration_ns.saturating_sub(1));
        let left = self.timing.packets_max.saturating_sub(self.made);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let before = lane.made;
        for _ in 0..most.min(SLOTS - live.filled.len()).min(left) {
            let due_ns = if is_flood { now_ns } else { lane.pace.due_ns() };
            if due_ns > horizon_ns && !is_flood {
                break;
            }
            let (slot, len) = (live.filled.len(), lane.next_len());
            lane.make(due_ns, self.key, live.frames.slot(slot, len), &mut live.tags[slot]);
            live.filled.push((u8::try_from(at).unwrap_or(NO_LANE), len));
        }
        self.made += lane.made - before;
        // Before the frames are on their way: whoever receives one must know that its number exists.
        self.board.lanes[usize::from(lane.seat.lane)].made.store(lane.made, Ordering::Relaxed);
    }

    /// Sends what the slots have; whether there was anything.
    fn flush_live(&mut self, side: Side, now_ns: u64) -> bool {
        let Some(live) = &mut self.exits[side.index()].live else { return false };
        let count = live.filled.len();
        if count == 0 {
            return false;
        }
        let gap_ns = live.gap_ns * DUE_WANTED / count as u64;
        live.gap_ns = gap_ns.clamp(GAP_NS_MIN, GAP_NS_MAX);
        live.next_ns = if count == SLOTS { now_ns } else { now_ns.saturating_add(live.gap_ns) };
        if let Err(error) = live.frames.send(count)
            && self.live_trouble.is_none()
        {
            self.live_trouble = Some(error.to_string());
        }
        let second = usize::try_from(now_ns / SECOND_NS).unwrap_or(usize::MAX);
        for ((owner, len), taken) in live.filled.drain(..).zip(live.frames.taken()) {
            let Some(lane) = self.lanes.get_mut(usize::from(owner)) else { continue };
            if *taken {
                lane.count_sent(second, len);
            } else {
                lane.refused += 1;
            }
        }
        true
    }
}
