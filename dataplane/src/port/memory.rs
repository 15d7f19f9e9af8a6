//! `MemoryPort`: a port over vectors, for tests, simulation and benchmarks.
//!
//! It behaves as an AF_XDP queue does where that matters: it can only receive into frames that it was
//! lent before, it has a bounded transmit ring, and a transmitted frame comes back only some polls later.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Port, PortIndex};
use crate::batch::Batch;
use crate::frame::{Frame, FramePool};

/// The far end of a [`MemoryPort`]: what it will receive, and what it has sent.
#[derive(Debug, Clone, Default)]
pub struct Wire(Arc<Mutex<Queues>>);

#[derive(Debug, Default)]
struct Queues {
    to_port: VecDeque<Vec<u8>>,
    from_port: Vec<Vec<u8>>,
}

impl Wire {
    fn queues(&self) -> std::sync::MutexGuard<'_, Queues> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a packet on the wire towards the port.
    pub fn send(&self, packet: impl Into<Vec<u8>>) {
        self.queues().to_port.push_back(packet.into());
    }

    /// Takes all that the port has transmitted, oldest first.
    #[must_use]
    pub fn take_sent(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.queues().from_port)
    }

    /// Packets that the port has not received yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queues().to_port.len()
    }
}

/// A port over a [`Wire`].
#[derive(Debug)]
pub struct MemoryPort {
    index: PortIndex,
    wire: Wire,
    /// Lent for receiving: the "fill ring".
    fill: Vec<Frame>,
    fill_entries: usize,
    /// Sent, not yet completed: the "TX ring".
    in_flight: VecDeque<Frame>,
    tx_entries: usize,
    /// How many of the newest sent frames `recycle` leaves uncompleted.
    completion_lag: usize,
    is_host: bool,
}

impl MemoryPort {
    /// A port with the given ring sizes; the wire is its far end.
    #[must_use]
    pub fn new(index: PortIndex, wire: Wire, fill_entries: usize, tx_entries: usize) -> Self {
        Self {
            index,
            wire,
            fill: Vec::with_capacity(fill_entries),
            fill_entries,
            in_flight: VecDeque::with_capacity(tx_entries),
            tx_entries,
            completion_lag: 0,
            is_host: false,
        }
    }

    /// Makes it the way to the machine itself.
    #[must_use]
    pub fn as_host(mut self) -> Self {
        self.is_host = true;
        self
    }

    /// Makes completions lag: the newest `frames` sent frames stay in flight at each `recycle`.
    #[must_use]
    pub fn with_completion_lag(mut self, frames: usize) -> Self {
        self.completion_lag = frames;
        self
    }
}

impl Port for MemoryPort {
    fn index(&self) -> PortIndex {
        self.index
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        let mut queues = self.wire.queues();
        let mut received = 0;
        while batch.room() > 0 && !queues.to_port.is_empty() {
            let Some(mut frame) = self.fill.pop() else { break };
            let packet = queues.to_port.pop_front().unwrap_or_default();
            let len = packet.len().min(frame.capacity());
            // A device cuts what is longer than its buffers; so does this one.
            let fits = frame.fill(&packet[..len]);
            debug_assert!(fits, "cut to the frame's capacity");
            batch.push(frame, self.index);
            received += 1;
        }
        received
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        let room = self.tx_entries - self.in_flight.len();
        let taken = room.min(outbox.len());
        let mut queues = self.wire.queues();
        for frame in outbox.drain(..taken) {
            queues.from_port.push(frame.bytes().to_vec());
            self.in_flight.push_back(frame);
        }
        taken
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        while self.in_flight.len() > self.completion_lag {
            let Some(frame) = self.in_flight.pop_front() else { break };
            pool.put(frame);
        }
        while self.fill.len() < self.fill_entries {
            let Some(frame) = pool.take() else { break };
            self.fill.push(frame);
        }
    }

    fn lent(&self) -> usize {
        self.fill.len() + self.in_flight.len()
    }

    fn in_transmission(&self) -> usize {
        self.in_flight.len()
    }

    fn is_host(&self) -> bool {
        self.is_host
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        for frame in self.fill.into_iter().chain(self.in_flight) {
            give_back(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use af_xdp::{Area, AreaConfig};

    use super::*;
    use crate::frame::Memory;

    fn pool(chunks: u32) -> FramePool {
        let config = AreaConfig { chunk_bytes: 2048, chunks, huge_pages: false };
        let (_, frames) = Memory::new(Area::new(&config).expect("memory"));
        FramePool::split(frames, 1).remove(0)
    }

    fn port(wire: &Wire, fill: usize, tx: usize) -> MemoryPort {
        MemoryPort::new(PortIndex(0), wire.clone(), fill, tx)
    }

    #[test]
    fn it_receives_only_into_frames_that_it_was_lent() {
        let (wire, mut pool, mut batch) = (Wire::default(), pool(8), Batch::new());
        let mut port = port(&wire, 2, 2);
        (0..5).for_each(|n| wire.send([n; 60]));
        assert_eq!(port.receive(&mut batch), 0);
        port.recycle(&mut pool);
        assert_eq!((port.lent(), pool.available()), (2, 6));
        assert_eq!((port.receive(&mut batch), wire.pending()), (2, 3));
        assert_eq!([batch.bytes(0), batch.bytes(1)], [[0; 60], [1; 60]]);
        batch.drain().for_each(|frame| pool.put(frame));
        Box::new(port).close(&mut |frame| pool.put(frame));
        assert_eq!(pool.available(), 8);
    }

    #[test]
    fn a_packet_longer_than_a_frame_is_cut() {
        let (wire, mut pool, mut batch) = (Wire::default(), pool(1), Batch::new());
        let mut port = port(&wire, 1, 1);
        port.recycle(&mut pool);
        wire.send(vec![7; 4000]);
        assert_eq!(port.receive(&mut batch), 1);
        assert_eq!(batch.bytes(0).len(), 2048 - 256);
    }

    #[test]
    fn it_receives_no_more_than_the_batch_takes() {
        let (wire, mut pool, mut batch) = (Wire::default(), pool(128), Batch::new());
        let mut port = port(&wire, 128, 1);
        port.recycle(&mut pool);
        (0..100).for_each(|_| wire.send([0; 60]));
        assert_eq!((port.receive(&mut batch), port.receive(&mut batch)), (64, 0));
    }

    #[test]
    fn sent_frames_come_back_when_they_are_completed() {
        let (wire, mut pool) = (Wire::default(), pool(8));
        let mut port = port(&wire, 0, 4).with_completion_lag(1);
        let mut outbox: Vec<Frame> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!((port.transmit(&mut outbox), outbox.len()), (4, 4));
        assert_eq!(port.transmit(&mut outbox), 0, "the ring is full");
        port.recycle(&mut pool);
        assert_eq!((pool.available(), port.lent()), (3, 1));
        assert_eq!((port.transmit(&mut outbox), outbox.len()), (3, 1));
        assert_eq!((wire.take_sent().len(), wire.take_sent().len()), (7, 0));
    }
}
