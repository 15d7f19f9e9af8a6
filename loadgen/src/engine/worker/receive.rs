//! The way in: whose is a frame?

use super::*;

impl Worker {
    /// Takes in what has come by the ports and from other threads; whether there was anything.
    pub(super) fn receive(&mut self, now_ns: u64) -> bool {
        let mut any = false;
        self.pool.collect_returns();
        for side in Side::BOTH {
            for port in 0..self.exits[side.index()].ports.len() {
                any |= self.receive_from(side, port, now_ns);
            }
        }
        while let Some(letter) = self.board.letters[self.thread].pop() {
            any = true;
            let Letter { frame, side, arrived_ns } = letter;
            self.take_in(side, frame, arrived_ns, true);
        }
        any
    }

    fn receive_from(&mut self, side: Side, port: usize, now_ns: u64) -> bool {
        let mut any = false;
        for _ in 0..BATCHES {
            let port = &mut self.exits[side.index()].ports[port];
            port.recycle(&mut self.pool);
            if port.receive(&mut self.batch) == 0 {
                break;
            }
            any = true;
            // The batch is taken out for as long as its frames are looked at; a box moves, nothing is copied.
            let mut batch = std::mem::take(&mut self.batch);
            batch.drain().for_each(|frame| self.take_in(side, frame, now_ns, false));
            self.batch = batch;
        }
        any
    }

    /// Finds out whose a frame is. `is_letter`: another thread has found that it is this one's business.
    fn take_in(&mut self, side: Side, frame: Frame, now_ns: u64, is_letter: bool) {
        // Whatever template the chunk had before, it has this frame now.
        self.tags[frame.chunk() as usize] = NO_TAG;
        let bytes = frame.bytes();
        let place = Place::of(bytes);
        let stamp = place.and_then(|place| self.read_stamp(&place, bytes, now_ns));
        let owner = match stamp {
            Some(stamp) => usize::from(stamp.lane) % self.threads,
            None if is_letter => self.thread,
            // Users live on the first thread, which so decides about everything that bears no stamp.
            None => 0,
        };
        if owner != self.thread && !is_letter {
            self.hand_over(owner, side, frame, now_ns);
            return;
        }
        match stamp {
            Some(stamp) if owner == self.thread => {
                self.take_stamped(side, stamp, place, bytes_of(&frame), now_ns);
                // A flood on the users' server is the server's business, too: it fills its queue.
                if self.has_users && self.thread != 0 {
                    self.hand_over(0, side, frame, now_ns);
                    return;
                }
                self.offer(side, &frame, now_ns);
            }
            // Counted by the thread of its stream.
            Some(_) => drop(self.offer(side, &frame, now_ns)),
            None => self.take_unstamped(side, &frame, now_ns),
        }
        self.pool.put(frame);
    }

    /// Leaves a frame to another thread. One that its letter box has no room for is lost, and the run is void.
    fn hand_over(&mut self, to: usize, side: Side, frame: Frame, now_ns: u64) {
        let letter = Letter { frame, side, arrived_ns: now_ns };
        if let Err(letter) = self.board.letters[to].push(letter) {
            self.overruns += 1;
            self.pool.put(letter.frame);
        }
    }

    /// Gives a frame to the actor that owns it, if one does.
    fn offer(&mut self, side: Side, frame: &Frame, now_ns: u64) -> bool {
        let bytes = frame.bytes();
        let mut actors = self.actors.iter_mut();
        let owner = actors.find(|acting| acting.side == side && acting.actor.owns(bytes));
        let is_owned = owner.is_some();
        if let Some(acting) = owner {
            acting.actor.receive(now_ns, bytes);
        }
        is_owned
    }

    #[inline]
    fn read_stamp(&self, place: &Place, bytes: &[u8], now_ns: u64) -> Option<Stamp> {
        let behind = place.tail(bytes).and_then(|tail| self.key.open(tail));
        let stamp = behind.or_else(|| {
            let made = |lane| self.board.made(lane);
            self.key.open_bare(place.bare(bytes)?, now_ns, made)
        })?;
        (usize::from(stamp.lane) < self.board.lanes.len()).then_some(stamp)
    }

    #[inline]
    fn take_stamped(
        &mut self,
        side: Side,
        stamp: Stamp,
        place: Option<Place>,
        bytes: &[u8],
        now_ns: u64,
    ) {
        let stream = usize::from(stamp.lane) / self.threads;
        let known = &self.known[stream];
        if known.from == side {
            // Sent back to where it came from: not arrived.
            self.foreign += 1;
            return;
        }
        let is_intact = !known.is_checkable() || place.is_some_and(|place| place.is_intact(bytes));
        let arrivals = &mut self.arrivals[stream];
        arrivals.damaged += u64::from(!is_intact);
        let latency_ns = now_ns.saturating_sub(stamp.due_ns);
        arrivals.numbered(stamp.number, latency_ns, second(now_ns), bytes.len());
        self.last_arrival_ns = now_ns;
    }

    fn take_unstamped(&mut self, side: Side, frame: &Frame, now_ns: u64) {
        if self.offer(side, frame, now_ns) {
            return;
        }
        let bytes = frame.bytes();
        let streams = self.known.iter().enumerate().filter(|(_, known)| known.from != side);
        let mut claims = streams.filter_map(|(stream, known)| Some((stream, known.claims(bytes)?)));
        match claims.next() {
            Some((stream, is_whole)) => {
                self.arrivals[stream].unnumbered(!is_whole, second(now_ns), bytes.len());
                self.last_arrival_ns = now_ns;
            }
            None => self.foreign += 1,
        }
    }
}

fn bytes_of(frame: &Frame) -> &[u8] {
    frame.bytes()
}

fn second(now_ns: u64) -> usize {
    usize::try_from(now_ns / SECOND_NS).unwrap_or(usize::MAX)
}
