//! `Hold`: packets that wait for the hardware address of their next hop.
//!
//! The kernel resolves neighbours on our behalf, and that takes a packet there and back. Without a hold
//! the first packets of every conversation with a new neighbour would be lost; with an unbounded one, a
//! scan of an empty subnet would eat all frames. So a worker holds at most [`HELD_MAX`] packets, and at
//! most [`HELD_PER_NEIGHBOUR_MAX`] for one neighbour; further ones are dropped as `hold_full`. (The kernel
//! bounds the queue of one neighbour alike: `unres_qlen_bytes`.)

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use crate::frame::Frame;
use crate::port::PortIndex;
use crate::route::{Forwarding, NeighbourState};

/// Most packets that one worker holds.
pub const HELD_MAX: usize = 1024;

/// Most packets that one worker holds for one neighbour.
pub const HELD_PER_NEIGHBOUR_MAX: usize = 64;

/// How long a packet waits when the kernel says nothing at all: a little longer than the kernel's own
/// three probes of a second each.
pub const HELD_NS_MAX: u64 = 3_500_000_000;

/// How long until a next hop of which nothing is heard is asked for again. A request can get lost: the
/// resolver may have been full, or the kernel's entry was deleted while it waited for the answer.
pub const ASK_AGAIN_NS: u64 = 1_000_000_000;

/// A packet that waits: complete but for its Ethernet header.
#[derive(Debug)]
pub struct Held {
    /// The packet.
    pub frame: Frame,
    /// The port by which it will leave.
    pub port: PortIndex,
    /// Whose hardware address it waits for.
    pub next_hop: Ipv4Addr,
    /// The port by which it came, to answer through; `None` for Weir's own packets, which are never
    /// answered.
    pub ingress: Option<PortIndex>,
    /// When it began to wait.
    pub since_ns: u64,
    /// When its next hop was asked for last.
    pub asked_ns: u64,
    /// The forwarding epoch when it began to wait: a failure known before then is an old one.
    pub since_epoch: u64,
}

/// What is known now of a held packet's next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Its hardware address: let the packet go.
    Resolved,
    /// It will not answer.
    Failed,
    /// Nothing yet.
    Waiting,
}

impl Held {
    /// What `forwarding`, of the given epoch, knows about the next hop at `now_ns`.
    #[must_use]
    pub fn outlook(&self, forwarding: &Forwarding, epoch: u64, now_ns: u64) -> Outlook {
        match forwarding.neighbour(self.port, self.next_hop) {
            Some(neighbour) if neighbour.is_usable() => Outlook::Resolved,
            // A failure that was known before this packet asked anew says nothing about the answer.
            Some(neighbour)
                if neighbour.state == NeighbourState::Failed && epoch > self.since_epoch =>
            {
                Outlook::Failed
            }
            _ if now_ns.saturating_sub(self.since_ns) > HELD_NS_MAX => Outlook::Failed,
            _ => Outlook::Waiting,
        }
    }
}

/// The packets that one worker holds, oldest first.
#[derive(Debug)]
pub struct Hold {
    held: VecDeque<Held>,
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

impl Hold {
    /// An empty hold, memory allocated.
    #[must_use]
    pub fn new() -> Self {
        Self { held: VecDeque::with_capacity(HELD_MAX) }
    }

    /// Packets held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Packets held for one neighbour.
    #[must_use]
    pub fn waiting_for(&self, port: PortIndex, next_hop: Ipv4Addr) -> usize {
        self.held.iter().filter(|held| held.port == port && held.next_hop == next_hop).count()
    }

    /// Holds a packet.
    ///
    /// # Errors
    /// Gives it back when the hold, or this neighbour's share of it, is full.
    pub fn push(&mut self, held: Held) -> Result<(), Held> {
        let full = self.held.len() >= HELD_MAX
            || self.waiting_for(held.port, held.next_hop) >= HELD_PER_NEIGHBOUR_MAX;
        if full {
            return Err(held);
        }
        self.held.push_back(held);
        Ok(())
    }

    /// Takes out the packet that has waited longest.
    #[must_use]
    pub fn pop(&mut self) -> Option<Held> {
        self.held.pop_front()
    }

    /// Puts a packet back that was taken out by [`pop`](Self::pop) and has to wait on. Taking all out
    /// once, in order, and keeping some keeps the order.
    pub fn keep(&mut self, held: Held) {
        self.held.push_back(held);
    }
}
