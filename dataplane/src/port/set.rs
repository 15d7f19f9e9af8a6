//! `PortSet`: the ports of one worker, and what is on its way to their transmit rings.

use std::collections::VecDeque;

use super::{PORTS_MAX, Port, PortIndex, Trouble};
use crate::batch::BATCH_MAX;
use crate::frame::{Frame, FramePool};
use crate::telemetry::{Counter, Counters};
use crate::verdict::DropReason;

/// Packets that wait for one port's ring between two flushes at most: two batches.
const OUTBOX_MAX: usize = 2 * BATCH_MAX;

/// One worker's queues of all ports, with an outbox for each port.
///
/// A worker may have several queues of one port; it transmits by the first.
pub struct PortSet {
    queues: Vec<Box<dyn Port>>,
    outboxes: Vec<Vec<Frame>>,
    /// Ports with something in their outbox, as bits.
    waiting: u32,
    /// Ports that have been given packets since the last kick, as bits.
    unkicked: u32,
    /// What went wrong in queues that are closed by now.
    past: Trouble,
    /// Frames of closed queues that their devices may still touch, by the time at which they are safe;
    /// they count as lent.
    quarantine: VecDeque<(u64, Vec<Frame>)>,
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.queues.iter().map(|queue| queue.index())).finish()
    }
}

impl PortSet {
    /// No queues yet; memory for the outboxes is allocated.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queues: Vec::new(),
            outboxes: (0..PORTS_MAX).map(|_| Vec::with_capacity(OUTBOX_MAX)).collect(),
            waiting: 0,
            unkicked: 0,
            past: Trouble::default(),
            quarantine: VecDeque::new(),
        }
    }

    /// Adds a queue.
    pub fn open(&mut self, queue: Box<dyn Port>) {
        self.queues.push(queue);
    }

    /// Closes all queues of a port at `now_ns`. Their frames go back to the pool, now or when the device
    /// has surely let go of them: [`release`](Self::release).
    pub fn close(
        &mut self,
        port: PortIndex,
        pool: &mut FramePool,
        counters: &mut Counters,
        now_ns: u64,
    ) {
        let (closing, staying) = self.queues.drain(..).partition(|queue| queue.index() == port);
        self.queues = staying;
        let closing: Vec<Box<dyn Port>> = closing;
        for queue in closing {
            self.past = self.past + queue.trouble();
            let quarantine_ns = queue.quarantine_ns();
            if quarantine_ns == 0 {
                queue.close(&mut |frame| pool.put(frame));
            } else {
                let mut frames = Vec::with_capacity(queue.lent());
                queue.close(&mut |frame| frames.push(frame));
                self.quarantine.push_back((now_ns.saturating_add(quarantine_ns), frames));
            }
        }
        let Some(outbox) = self.outboxes.get_mut(port.as_usize()) else { return };
        for frame in outbox.drain(..) {
            counters.drop_one(DropReason::PortDown);
            pool.put(frame);
        }
    }

    /// Ends the quarantine of frames whose devices have let go of them by now.
    pub fn release(&mut self, pool: &mut FramePool, now_ns: u64) {
        while self.quarantine.front().is_some_and(|(safe_ns, _)| now_ns >= *safe_ns) {
            let Some((_, frames)) = self.quarantine.pop_front() else { break };
            frames.into_iter().for_each(|frame| pool.put(frame));
        }
    }

    /// The queues.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Port> {
        self.queues.iter().map(|queue| &**queue)
    }

    /// The queue at a place, for receiving from it.
    pub fn queue_mut(&mut self, place: usize) -> Option<&mut (dyn Port + 'static)> {
        self.queues.get_mut(place).map(|queue| &mut **queue)
    }

    /// How many queues there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queues.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Puts a packet into a port's outbox; a full outbox is flushed first.
    pub fn send(
        &mut self,
        frame: Frame,
        port: PortIndex,
        pool: &mut FramePool,
        counters: &mut Counters,
    ) {
        if self.outboxes[port.as_usize()].len() == OUTBOX_MAX {
            self.flush_port(port.as_usize(), pool, counters);
        }
        self.waiting |= port.bit();
        self.outboxes[port.as_usize()].push(frame);
    }

    /// Makes room for `packets` packets in a port's outbox, so that sending them flushes nothing (a flush
    /// takes frames from the pool to lend them). False when there will never be so much room.
    #[must_use]
    pub fn reserve(
        &mut self,
        packets: usize,
        port: PortIndex,
        pool: &mut FramePool,
        counters: &mut Counters,
    ) -> bool {
        if self.outboxes[port.as_usize()].len() + packets > OUTBOX_MAX {
            self.flush_port(port.as_usize(), pool, counters);
        }
        packets <= OUTBOX_MAX
    }

    /// Hands all outboxes to the transmit rings. Returns how many packets were transmitted.
    pub fn flush(&mut self, pool: &mut FramePool, counters: &mut Counters) -> u64 {
        let mut transmitted = 0;
        while self.waiting != 0 {
            transmitted += self.flush_port(self.waiting.trailing_zeros() as usize, pool, counters);
        }
        transmitted
    }

    /// What does not fit after one kick is dropped: better a counted loss than a queue that grows and
    /// adds latency to all that follows.
    fn flush_port(&mut self, port: usize, pool: &mut FramePool, counters: &mut Counters) -> u64 {
        let outbox = &mut self.outboxes[port];
        self.waiting &= !(1 << port);
        if outbox.is_empty() {
            return 0;
        }
        let bytes_all: usize = outbox.iter().map(Frame::len).sum();
        let mut taken = 0;
        let mut reason = DropReason::PortDown;
        if let Some(queue) = self.queues.iter_mut().find(|queue| queue.index().as_usize() == port) {
            reason = DropReason::TxRingFull;
            taken = queue.transmit(outbox);
            if !outbox.is_empty() {
                queue.kick();
                queue.recycle(pool);
                taken += queue.transmit(outbox);
            }
            self.unkicked |= queue.index().bit();
            let bytes_left: usize = outbox.iter().map(Frame::len).sum();
            let bytes_taken = (bytes_all - bytes_left) as u64;
            match queue.is_host() {
                true => counters.delivered(queue.index(), taken as u64, bytes_taken),
                false => counters.transmitted(queue.index(), taken as u64, bytes_taken),
            }
        }
        for frame in outbox.drain(..) {
            counters.drop_one(reason);
            pool.put(frame);
        }
        taken as u64
    }

    /// Tells the devices that were given packets since the last call: of each port the queue that
    /// transmits, which is its first.
    pub fn kick(&mut self) {
        let mut unkicked = std::mem::take(&mut self.unkicked);
        for queue in &mut self.queues {
            if queue.index().bit() & unkicked != 0 {
                unkicked &= !queue.index().bit();
                queue.kick();
            }
        }
    }

    /// Whether some queue holds packets that its device has not taken yet.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.queues.iter().any(|queue| queue.is_unfinished())
    }

    /// Takes back what was transmitted and lends frames for receiving, on every queue.
    pub fn recycle(&mut self, pool: &mut FramePool) {
        for queue in &mut self.queues {
            queue.recycle(pool);
        }
    }

    /// Frames lent by all queues, those in quarantine included.
    #[must_use]
    pub fn lent(&self) -> usize {
        let resting: usize = self.quarantine.iter().map(|(_, frames)| frames.len()).sum();
        resting + self.queues.iter().map(|queue| queue.lent()).sum::<usize>()
    }

    /// Copies levels and troubles into the counters.
    pub fn gauge(&self, counters: &mut Counters) {
        let trouble = self.queues.iter().fold(self.past, |sum, queue| sum + queue.trouble());
        counters.set(Counter::ForeignAddresses, trouble.foreign_addresses);
        counters.set(Counter::KickErrors, trouble.kick_errors);
        counters.set(Counter::FramesLent, self.lent() as u64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use af_xdp::{Area, AreaConfig};

    use super::*;
    use crate::batch::Batch;
    use crate::frame::Memory;
    use crate::port::{MemoryPort, Wire};

    /// A port that takes so many packets between two recycles, and counts its kicks.
    struct Narrow {
        index: PortIndex,
        room: usize,
        sent: Vec<Frame>,
        kicks: Arc<AtomicUsize>,
    }

    impl Port for Narrow {
        fn index(&self) -> PortIndex {
            self.index
        }

        fn receive(&mut self, _: &mut Batch) -> usize {
            0
        }

        fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
            let taken = outbox.len().min(self.room - self.sent.len());
            self.sent.extend(outbox.drain(..taken));
            taken
        }

        fn kick(&mut self) {
            self.kicks.fetch_add(1, Ordering::Relaxed);
        }

        fn recycle(&mut self, pool: &mut FramePool) {
            self.sent.drain(..).for_each(|frame| pool.put(frame));
        }

        fn lent(&self) -> usize {
            self.sent.len()
        }

        fn close(mut self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
            self.sent.drain(..).for_each(give_back);
        }
    }

    const CHUNKS: u32 = 512;

    struct Fixture {
        ports: PortSet,
        pool: FramePool,
        counters: Counters,
    }

    impl Fixture {
        /// One queue for each room; returns the counts of their kicks.
        fn new(queues: &[(u8, usize)]) -> (Self, Vec<Arc<AtomicUsize>>) {
            let config = AreaConfig { chunk_bytes: 2048, chunks: CHUNKS, huge_pages: false };
            let (_, frames) = Memory::new(Area::new(&config).expect("memory"));
            let pool = FramePool::split(frames, 1).remove(0);
            let mut ports = PortSet::new();
            let kicks: Vec<Arc<AtomicUsize>> = queues.iter().map(|_| Arc::default()).collect();
            for (&(index, room), kicks) in queues.iter().zip(&kicks) {
                let (index, kicks) = (PortIndex(index), Arc::clone(kicks));
                ports.open(Box::new(Narrow { index, room, sent: Vec::new(), kicks }));
            }
            (Self { ports, pool, counters: Counters::default() }, kicks)
        }

        fn send(&mut self, port: u8, packets: usize) {
            for _ in 0..packets {
                let mut frame = self.pool.take().expect("enough frames");
                assert!(frame.fill(&[0; 60]));
                self.ports.send(frame, PortIndex(port), &mut self.pool, &mut self.counters);
            }
        }

        fn flush(&mut self) -> u64 {
            self.ports.flush(&mut self.pool, &mut self.counters)
        }

        /// Sent, dropped for want of room, dropped for want of a port.
        fn counted(&self) -> [u64; 3] {
            let dropped = |reason| self.counters.dropped(reason);
            [
                self.counters.get(Counter::Transmitted),
                dropped(DropReason::TxRingFull),
                dropped(DropReason::PortDown),
            ]
        }

        fn frames(&self) -> usize {
            self.pool.available() + self.ports.lent()
        }
    }

    fn kicked(kicks: &[Arc<AtomicUsize>]) -> Vec<usize> {
        kicks.iter().map(|kicks| kicks.load(Ordering::Relaxed)).collect()
    }

    #[test]
    fn only_ports_with_something_to_send_are_kicked() {
        let (mut fixture, kicks) = Fixture::new(&[(0, 64), (1, 64), (2, 64)]);
        fixture.send(1, 3);
        assert_eq!(fixture.flush(), 3);
        fixture.ports.kick();
        fixture.ports.kick();
        assert_eq!(kicked(&kicks), [0, 1, 0]);
        assert_eq!(fixture.counters.port(PortIndex(1)).transmitted_bytes, 180);
    }

    #[test]
    fn a_full_ring_gets_one_more_chance_and_then_packets_are_dropped() {
        let (mut fixture, kicks) = Fixture::new(&[(0, 10)]);
        fixture.send(0, 25);
        assert_eq!((fixture.flush(), fixture.counted()), (20, [20, 5, 0]));
        assert_eq!(fixture.frames(), CHUNKS as usize);
        assert_eq!(kicked(&kicks), [1]);
        fixture.ports.kick();
        assert_eq!(kicked(&kicks), [2], "for those that were queued after the first kick");
    }

    #[test]
    fn an_outbox_is_flushed_before_it_grows() {
        let (mut fixture, _) = Fixture::new(&[(0, 400)]);
        fixture.send(0, OUTBOX_MAX);
        assert_eq!(fixture.counted(), [0, 0, 0]);
        fixture.send(0, 1);
        assert_eq!(fixture.counted(), [OUTBOX_MAX as u64, 0, 0]);
        let Fixture { ports, pool, counters } = &mut fixture;
        assert!(ports.reserve(OUTBOX_MAX - 1, PortIndex(0), pool, counters));
        assert_eq!(counters.get(Counter::Transmitted), OUTBOX_MAX as u64, "there was room");
        assert!(ports.reserve(OUTBOX_MAX, PortIndex(0), pool, counters));
        assert_eq!(counters.get(Counter::Transmitted), OUTBOX_MAX as u64 + 1);
        assert!(!ports.reserve(OUTBOX_MAX + 1, PortIndex(0), pool, counters));
    }

    #[test]
    fn without_a_queue_there_is_no_port() {
        let (mut fixture, _) = Fixture::new(&[(0, 64), (1, 64)]);
        fixture.send(1, 2);
        fixture.send(31, 3);
        let Fixture { ports, pool, counters } = &mut fixture;
        ports.close(PortIndex(1), pool, counters, 0);
        assert_eq!(fixture.counted(), [0, 0, 2], "they were in its outbox");
        assert_eq!((fixture.flush(), fixture.counted()), (0, [0, 0, 5]));
        assert_eq!((fixture.ports.len(), fixture.frames()), (1, CHUNKS as usize));
    }

    #[test]
    fn of_several_queues_of_a_port_the_first_transmits_and_all_are_closed() {
        let (mut fixture, kicks) = Fixture::new(&[(0, 64), (0, 64), (1, 64)]);
        fixture.send(0, 5);
        fixture.flush();
        assert_eq!(fixture.ports.iter().map(Port::lent).collect::<Vec<_>>(), [5, 0, 0]);
        fixture.ports.kick();
        assert_eq!(kicked(&kicks)[2], 0);
        let Fixture { ports, pool, counters } = &mut fixture;
        ports.close(PortIndex(0), pool, counters, 0);
        assert_eq!((fixture.ports.len(), fixture.pool.available()), (1, CHUNKS as usize));
    }

    /// A device may touch the frames of a closed socket for a while.
    #[test]
    fn frames_in_quarantine_are_lent_until_their_time() {
        struct Slow(MemoryPort);
        impl Port for Slow {
            fn index(&self) -> PortIndex {
                self.0.index()
            }
            fn receive(&mut self, batch: &mut Batch) -> usize {
                self.0.receive(batch)
            }
            fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
                self.0.transmit(outbox)
            }
            fn kick(&mut self) {}
            fn recycle(&mut self, pool: &mut FramePool) {
                self.0.recycle(pool);
            }
            fn lent(&self) -> usize {
                self.0.lent()
            }
            fn quarantine_ns(&self) -> u64 {
                100
            }
            fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
                Box::new(self.0).close(give_back);
            }
        }
        let config = af_xdp::AreaConfig { chunk_bytes: 2048, chunks: 8, huge_pages: false };
        let (_, frames) = Memory::new(af_xdp::Area::new(&config).expect("memory"));
        let mut pool = FramePool::split(frames, 1).remove(0);
        let (mut ports, mut counters) = (PortSet::new(), Counters::default());
        ports.open(Box::new(Slow(MemoryPort::new(PortIndex(0), Wire::default(), 4, 4))));
        ports.recycle(&mut pool);
        ports.close(PortIndex(0), &mut pool, &mut counters, 1_000);
        ports.release(&mut pool, 1_099);
        assert_eq!((pool.available(), ports.lent()), (4, 4));
        ports.release(&mut pool, 1_100);
        assert_eq!((pool.available(), ports.lent()), (8, 0));
    }
}
