//! The way out: what is due now?

use super::*;

impl Worker {
    /// Sends what is due; whether there was anything.
    pub(super) fn send(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        for side in Side::BOTH {
            if self.exits[side.index()].outbox.is_empty() {
                self.fill(side, now_ns);
            }
            any |= self.flush(side, now_ns);
            any |= self.send_live(side, now_ns);
        }
        self.first_lane += 1;
        any
    }

    /// Makes packets that are due on a side, as many as a turn allows.
    fn fill(&mut self, side: Side, now_ns: u64) {
        self.fill_from_actors(side, now_ns);
        if self.phase != Phase::Sending {
            return;
        }
        let (count, first) = (self.lanes.len(), self.first_lane);
        for at in (0..count).map(|place| (first + place) % count) {
            let lane = &self.lanes[at];
            if lane.side == side && lane.way == Way::Socket && !lane.pace.is_flood() {
                self.fill_from_lane(side, at, now_ns, usize::MAX);
            }
        }
        // Floods share what is left.
        let is_flood =
            |lane: &Lane| lane.side == side && lane.way == Way::Socket && lane.pace.is_flood();
        let floods = self.lanes.iter().filter(|lane| is_flood(lane)).count();
        if floods > 0 {
            let room = BURST - self.exits[side.index()].outbox.len();
            for at in 0..count {
                if is_flood(&self.lanes[at]) {
                    self.fill_from_lane(side, at, now_ns, room.div_ceil(floods));
                }
            }
        }
    }

    fn fill_from_actors(&mut self, side: Side, now_ns: u64) {
        let exit = &mut self.exits[side.index()];
        for acting in self.actors.iter_mut().filter(|acting| acting.side == side) {
            while exit.outbox.len() < ACTORS_BURST
                && acting.actor.due_ns().is_some_and(|due_ns| due_ns <= now_ns)
            {
                let Some(mut frame) = self.pool.take() else { return };
                let longest = acting.actor.frame_bytes_max().min(frame.capacity());
                let fits = frame.set_window(usize::from(HEADROOM_BYTES), longest);
                debug_assert!(fits, "no longer than the chunk");
                self.tags[frame.chunk() as usize] = NO_TAG;
                match acting.actor.send(now_ns, frame.bytes_mut()) {
                    Some(len) => {
                        frame.truncate(len);
                        exit.outbox.push(frame);
                        exit.owners.push(NO_LANE);
                    }
                    None => {
                        self.pool.put(frame);
                        break;
                    }
                }
            }
        }
    }

    #[inline]
    fn fill_from_lane(&mut self, side: Side, at: usize, now_ns: u64, most: usize) {
        let exit = &mut self.exits[side.index()];
        let lane = &mut self.lanes[at];
        let is_flood = lane.pace.is_flood();
        let horizon_ns = now_ns.min(self.timing.duration_ns.saturating_sub(1));
        let left = self.timing.packets_max.saturating_sub(self.made);
        let most =
            most.min(BURST - exit.outbox.len()).min(usize::try_from(left).unwrap_or(usize::MAX));
        let owner = u8::try_from(at).unwrap_or(NO_LANE);
        let before = lane.made;
        for _ in 0..most {
            let due_ns = if is_flood { now_ns } else { lane.pace.due_ns() };
            if due_ns > horizon_ns && !is_flood {
                break;
            }
            let Some(mut frame) = self.pool.take() else { break };
            let tag = &mut self.tags[frame.chunk() as usize];
            let fits = frame.set_window(usize::from(HEADROOM_BYTES), lane.next_len());
            debug_assert!(fits, "a chunk has room for the longest frame");
            lane.make(due_ns, self.key, frame.bytes_mut(), tag);
            exit.outbox.push(frame);
            exit.owners.push(owner);
        }
        self.made += lane.made - before;
        // Before the frames are on their way: whoever receives one must know that its number exists.
        self.board.lanes[usize::from(lane.seat.lane)].made.store(lane.made, Ordering::Relaxed);
    }

    /// Gives the device what it takes of a side's outbox; whether it took anything.
    fn flush(&mut self, side: Side, now_ns: u64) -> bool {
        let exit = &mut self.exits[side.index()];
        let Some(port) = exit.ports.first_mut() else {
            exit.owners.clear();
            exit.outbox.drain(..).for_each(|frame| self.pool.put(frame));
            return false;
        };
        if exit.outbox.is_empty() {
            return false;
        }
        // A frame that is given away has no length here any more.
        let mut lens = [0; BURST];
        for (len, frame) in lens.iter_mut().zip(&exit.outbox) {
            *len = frame.len();
        }
        let taken = port.transmit(&mut exit.outbox);
        let second = usize::try_from(now_ns / SECOND_NS).unwrap_or(usize::MAX);
        for (owner, len) in exit.owners.drain(..taken).zip(lens) {
            if let Some(lane) = self.lanes.get_mut(usize::from(owner)) {
                lane.count_sent(second, len);
            }
        }
        // Also when the ring was full: the device has to be told to empty it.
        port.kick();
        taken > 0
    }
}
