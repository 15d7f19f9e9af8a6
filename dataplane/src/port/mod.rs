//! Ports: where frames come from and go to.
//!
//! A [`Port`] is one queue of one device (or something that behaves so) in the hands of one worker. All
//! of the ring operations happen behind this trait, so that what decides about packets needs memory and
//! nothing else: the same engine runs over AF_XDP, over vectors and over capture files.
//!
//! ```text
//!   recycle:  completions --> FramePool --> fill ring        every poll, traffic or not
//!   receive:  RX ring     --> Batch                          at most one batch a poll
//!   transmit: outbox      --> TX ring                        what does not fit stays in the outbox
//!   kick:     one system call for all that was queued, if the device wants one
//! ```

use std::os::fd::BorrowedFd;

use crate::batch::Batch;
use crate::frame::{Frame, FramePool};

mod capture;
mod host;
mod index;
mod ledger;
mod memory;
mod set;
pub mod xdp;

pub use capture::{CaptureError, CapturePort};
pub use host::{HostPort, Packets};
pub use index::{PORTS_MAX, PortIndex};
pub use ledger::Ledger;
pub use memory::{MemoryPort, Wire};
pub use set::PortSet;

/// What went wrong inside a port since it was opened; each only counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Addresses that the kernel named although they were not lent to it.
    pub foreign_addresses: u64,
    /// Kicks that the kernel answered with an unexpected error.
    pub kick_errors: u64,
}

impl std::ops::Add for Trouble {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            foreign_addresses: self.foreign_addresses + other.foreign_addresses,
            kick_errors: self.kick_errors + other.kick_errors,
        }
    }
}

/// One queue of one device, owned by one worker.
pub trait Port: Send {
    /// Which port this queue belongs to.
    fn index(&self) -> PortIndex;

    /// Appends received frames to the batch while it has room; returns how many.
    fn receive(&mut self, batch: &mut Batch) -> usize;

    /// Queues frames for transmission, in order, from the front of `outbox`; what finds no room stays
    /// there. Returns how many were taken.
    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize;

    /// Tells the device that there is work, if it needs telling.
    fn kick(&mut self);

    /// Puts transmitted frames back into the pool, and lends frames of the pool for receiving.
    fn recycle(&mut self, pool: &mut FramePool);

    /// Frames that are lent out, to be received into or being transmitted.
    fn lent(&self) -> usize;

    /// Of these, frames that are to be transmitted and that the device has not given back. 0 where the
    /// port cannot tell.
    fn in_transmission(&self) -> usize {
        0
    }

    /// How long after [`close`](Self::close) the device may still touch the frames that it had, in
    /// nanoseconds.
    fn quarantine_ns(&self) -> u64 {
        0
    }

    /// Ends the port and gives every frame back, those that the device still held included. They may be
    /// used again after [`quarantine_ns`](Self::quarantine_ns).
    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame));

    /// Whether packets are queued that the device has not taken, so that it must be told again.
    fn is_unfinished(&self) -> bool {
        false
    }

    /// What to wait on for received packets; `None` if the port cannot be waited on.
    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether it is the way to the machine itself: what it transmits is counted as such.
    fn is_host(&self) -> bool {
        false
    }

    /// What has gone wrong so far.
    fn trouble(&self) -> Trouble {
        Trouble::default()
    }
}
