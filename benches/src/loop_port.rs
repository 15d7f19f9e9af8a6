//! `LoopPort`: a port that receives the same packets for ever, and forgets what it sends.

use std::collections::VecDeque;
use std::sync::Arc;

use weir_dataplane::batch::Batch;
use weir_dataplane::frame::{Frame, FramePool};
use weir_dataplane::port::{Port, PortIndex};

/// Slots of its rings: as many as Weir's defaults, so that as many chunks go round as over AF_XDP.
const RING_ENTRIES: usize = 2048;

/// A port over templates.
///
/// Receiving costs a copy of the template (what the kernel does in copy mode), everything else a
/// pointer: nothing is allocated after [`LoopPort::new`], nothing is locked. Frames are used
/// first in, first out, as a fill ring does, so that the memory touched is that of a real ring
/// and not of one hot chunk.
#[derive(Debug)]
pub struct LoopPort {
    index: PortIndex,
    templates: Arc<[Vec<u8>]>,
    next: usize,
    fill: VecDeque<Frame>,
    sent: Vec<Frame>,
}

impl LoopPort {
    /// A port that receives these packets in turn, as many as are wanted. Without any it only
    /// sends.
    #[must_use]
    pub fn new(index: PortIndex, templates: Arc<[Vec<u8>]>) -> Self {
        let fill = VecDeque::with_capacity(RING_ENTRIES);
        Self { index, templates, next: 0, fill, sent: Vec::with_capacity(RING_ENTRIES) }
    }
}

impl Port for LoopPort {
    fn index(&self) -> PortIndex {
        self.index
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        if self.templates.is_empty() {
            return 0;
        }
        let mut received = 0;
        while batch.room() > 0 {
            let Some(mut frame) = self.fill.pop_front() else { break };
            let fits = frame.fill(&self.templates[self.next]);
            debug_assert!(fits, "templates are shorter than a chunk");
            self.next = if self.next + 1 == self.templates.len() { 0 } else { self.next + 1 };
            batch.push(frame, self.index);
            received += 1;
        }
        received
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        let taken = outbox.len().min(RING_ENTRIES - self.sent.len());
        self.sent.extend(outbox.drain(..taken));
        taken
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        for frame in self.sent.drain(..) {
            pool.put(frame);
        }
        // A port that receives nothing is lent nothing.
        while self.fill.len() < RING_ENTRIES && !self.templates.is_empty() {
            let Some(frame) = pool.take() else { break };
            self.fill.push_back(frame);
        }
    }

    fn lent(&self) -> usize {
        self.fill.len() + self.sent.len()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        for frame in self.fill.into_iter().chain(self.sent) {
            give_back(frame);
        }
    }
}
