//! One AF_XDP socket as a [`Port`].
//!
//! ```text
//!   pool --lend--> fill ring ==> kernel ==> RX ring --reclaim--> batch
//!   outbox --lend--> TX ring ==> kernel ==> completion ring --reclaim--> pool
//! ```
//!
//! Transmission in copy mode happens inside the wake-up call, a budget of packets at a time; where the
//! kernel says that it is not done, the next `recycle` wakes it again. Completions are drained at every
//! poll, traffic or not: a full completion ring stops transmission.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use af_xdp::{Desc, RxWake, Socket, TxWake};

use crate::batch::Batch;
use crate::frame::{Frame, FramePool, Memory};
use crate::port::{Ledger, Port, PortIndex, Trouble};
use crate::verdict::{DropReason, Verdict};

/// How long the kernel may take to let go of the chunks of a closed socket. A zero-copy driver is told by
/// a work item after `close` has returned (`xp_release_deferred`, `net/xdp/xsk_buff_pool.c`), and some
/// drivers send copies that still point into the chunks (`IFF_TX_SKB_NO_LINEAR`): some milliseconds, both.
const QUARANTINE_NS: u64 = 1_000_000_000;

/// The fill ring is topped up when it lacks so many frames: often enough never to run dry, rarely
/// enough not to pull its index line to and fro with the kernel for every packet.
const REFILL_FRAMES: usize = 32;

/// An AF_XDP socket with the frames it has lent to the kernel.
#[derive(Debug)]
pub struct XdpQueue {
    index: PortIndex,
    socket: Socket,
    ledger: Ledger,
    chunk_mask: u64,
    /// Most frames on the fill ring.
    fill_frames: usize,
    /// Frames on the fill ring, or with the kernel for receiving.
    filled: usize,
    wake_again: bool,
    busy_poll: bool,
    trouble: Trouble,
}

impl XdpQueue {
    /// Takes over a bound socket of port `index`. It lends at most `fill_frames` frames for receiving at a
    /// time; more than the fill ring has entries mean as many as those.
    ///
    /// # Panics
    /// If the socket is bound to other memory than `memory`, whose frames it is going to lend.
    #[must_use]
    pub fn new(index: PortIndex, socket: Socket, memory: &Memory, fill_frames: u32) -> Self {
        assert!(Arc::ptr_eq(socket.area(), memory.area()), "the socket is bound to this memory");
        let fill_frames = fill_frames.min(socket.fill.entries()) as usize;
        let (chunks, chunk_bytes) = (socket.area().chunks(), socket.area().chunk_bytes());
        Self {
            index,
            socket,
            ledger: Ledger::new(chunks, chunk_bytes),
            chunk_mask: u64::from(chunk_bytes) - 1,
            fill_frames,
            filled: 0,
            wake_again: false,
            busy_poll: false,
            trouble: Trouble::default(),
        }
    }

    /// Makes every `recycle` run the driver's poll loop: for a socket that was bound with busy polling.
    #[must_use]
    pub fn with_busy_poll(mut self, busy_poll: bool) -> Self {
        self.busy_poll = busy_poll;
        self
    }

    fn take_completions(&mut self, pool: &mut FramePool) {
        let completed = self.socket.completion.peek(u32::MAX);
        for address in &completed {
            match self.ledger.reclaim(address) {
                Some(frame) => pool.put(frame),
                None => self.trouble.foreign_addresses += 1,
            }
        }
        completed.release();
    }

    fn refill(&mut self, pool: &mut FramePool) {
        let missing = self.fill_frames.saturating_sub(self.filled);
        let wanted = missing.min(pool.available());
        if wanted == 0 || (missing < REFILL_FRAMES && self.filled > REFILL_FRAMES) {
            return;
        }
        let mut slots = self.socket.fill.reserve(u32::try_from(wanted).unwrap_or(u32::MAX));
        slots.extend(std::iter::from_fn(|| pool.take().map(|frame| self.ledger.lend(frame))));
        self.filled += slots.submit() as usize;
    }
}

impl Port for XdpQueue {
    fn index(&self) -> PortIndex {
        self.index
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        let received = self.socket.rx.peek(u32::try_from(batch.room()).unwrap_or(u32::MAX));
        let mut count = 0;
        for descriptor in &received {
            let Some(mut frame) = self.ledger.reclaim(descriptor.addr) else {
                self.trouble.foreign_addresses += 1;
                continue;
            };
            self.filled = self.filled.saturating_sub(1);
            count += 1;
            let offset = usize::try_from(descriptor.addr & self.chunk_mask).unwrap_or(usize::MAX);
            let len = usize::try_from(descriptor.len).unwrap_or(usize::MAX);
            let whole = !descriptor.is_continued() && frame.set_window(offset, len);
            let verdict = if whole {
                Verdict::Drop(DropReason::Unclassified)
            } else {
                Verdict::Drop(DropReason::MultiBuffer)
            };
            batch.push_decided(frame, self.index, verdict);
        }
        received.release();
        count
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        let mut slots = self.socket.tx.reserve(u32::try_from(outbox.len()).unwrap_or(u32::MAX));
        let taken = slots.len() as usize;
        slots.extend(outbox.drain(..taken).map(|frame| {
            let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            Desc::new(self.ledger.lend(frame), len)
        }));
        slots.submit() as usize
    }

    fn kick(&mut self) {
        if !self.socket.tx_needs_wake() {
            self.wake_again = false;
            return;
        }
        match self.socket.wake_tx() {
            Ok(TxWake::Done) => self.wake_again = false,
            Ok(TxWake::Again) => self.wake_again = true,
            // Descriptors stay in the ring until the link is up, or come back when the port is closed.
            Ok(TxWake::DeviceDown | TxWake::DeviceGone) => self.wake_again = false,
            Err(_) => {
                self.wake_again = false;
                self.trouble.kick_errors += 1;
            }
        }
    }

    fn recycle(&mut self, pool: &mut FramePool) {
        if self.wake_again {
            self.kick();
        }
        self.take_completions(pool);
        self.refill(pool);
        // With busy polling it is this call that runs the driver's poll loop.
        if self.busy_poll || self.socket.fill.needs_wakeup() {
            match self.socket.wake_rx() {
                Ok(RxWake::Done | RxWake::Again | RxWake::DeviceDown | RxWake::DeviceGone) => {}
                Err(_) => self.trouble.kick_errors += 1,
            }
        }
    }

    fn quarantine_ns(&self) -> u64 {
        QUARANTINE_NS
    }

    fn lent(&self) -> usize {
        self.ledger.lent()
    }

    fn in_transmission(&self) -> usize {
        self.ledger.lent().saturating_sub(self.filled)
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        let Self { socket, mut ledger, .. } = *self;
        // Nobody holds a handle for longer than a call (`OpenPort` keeps weak ones), so this closes it.
        drop(socket);
        for frame in ledger.drain() {
            give_back(frame);
        }
    }

    fn is_unfinished(&self) -> bool {
        self.wake_again
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn trouble(&self) -> Trouble {
        self.trouble
    }
}
