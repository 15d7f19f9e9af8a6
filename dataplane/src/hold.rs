//! `Hold`: packets that wait for the hardware address of their next hop.
//!
//! The kernel resolves neighbours on our behalf, and that takes a packet there and back. Without a hold
//! the first packets of every conversation with a new neighbour would be lost; with an unbounded one, a
//! scan of an empty subnet would eat all frames. So a worker holds at most [`HELD_MAX`] packets, and at
//! most [`HELD_PER_NEIGHBOUR_MAX`] for one neighbour; further ones are dropped as `hold_full`. (The kernel
//! bounds the queue of one neighbour alike: `unres_qlen_bytes`.)

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::frame::Frame;
use crate::port::PortIndex;
use crate::route::{Forwarding, Neighbour, NeighbourState};

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
    pub next_hop: IpAddr,
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
            // As for a packet that comes now, or the two would part ways.
            Some(neighbour) if neighbour.is_usable() => Outlook::Resolved,
            // A failure that was known before this packet asked anew says nothing about the answer. Another
            // snapshot alone does not make it a new one, something else may have changed: the kernel takes
            // three seconds to give up.
            Some(Neighbour { state: NeighbourState::Failed, .. })
                if epoch > self.since_epoch
                    && now_ns.saturating_sub(self.since_ns) >= ASK_AGAIN_NS =>
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
    pub fn waiting_for(&self, port: PortIndex, next_hop: impl Into<IpAddr>) -> usize {
        let next_hop = next_hop.into();
        self.held.iter().filter(|held| held.port == port && held.next_hop == next_hop).count()
    }

    /// Holds a packet. Returns how many were waiting for the same neighbour already.
    ///
    /// # Errors
    /// Gives it back when the hold, or this neighbour's share of it, is full.
    pub fn push(&mut self, held: Held) -> Result<usize, Held> {
        if self.held.len() >= HELD_MAX {
            return Err(held);
        }
        let waiting = self.waiting_for(held.port, held.next_hop);
        if waiting >= HELD_PER_NEIGHBOUR_MAX {
            return Err(held);
        }
        self.held.push_back(held);
        Ok(waiting)
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use af_xdp::{Area, AreaConfig};

    use super::*;
    use crate::frame::Memory;

    const PORT: PortIndex = PortIndex(0);
    const NEXT_HOP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    /// Frames of an area of so many chunks.
    fn frames(chunks: u32) -> (Arc<Memory>, Vec<Frame>) {
        let config = AreaConfig { chunk_bytes: 2048, chunks, huge_pages: false };
        Memory::new(Area::new(&config).expect("memory"))
    }

    /// A packet that has waited since 1,000 ns and epoch 5.
    fn held(frame: Frame, next_hop: Ipv4Addr) -> Held {
        let next_hop = next_hop.into();
        let ingress = Some(PortIndex(1));
        Held {
            frame,
            port: PORT,
            next_hop,
            ingress,
            since_ns: 1_000,
            asked_ns: 1_000,
            since_epoch: 5,
        }
    }

    fn knowing(state: Option<NeighbourState>) -> Forwarding {
        let mut builder = Forwarding::builder();
        if let Some(state) = state {
            builder = builder.neighbour(PORT, NEXT_HOP, Neighbour::new([2; 6], state));
        }
        builder.build()
    }

    #[test]
    fn the_outlook_follows_the_neighbour() {
        let (_memory, mut all) = frames(1);
        let held = held(all.remove(0), NEXT_HOP);
        let outlook = |state, epoch| held.outlook(&knowing(state), epoch, 1_000 + HELD_NS_MAX);
        for usable in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Probing] {
            assert_eq!(outlook(Some(usable), 6), Outlook::Resolved, "{usable:?}");
        }
        assert_eq!(outlook(Some(NeighbourState::Failed), 6), Outlook::Failed);
        assert_eq!(outlook(Some(NeighbourState::Failed), 5), Outlook::Waiting, "an old failure");
        assert_eq!(outlook(Some(NeighbourState::Incomplete), 6), Outlook::Waiting);
        assert_eq!(outlook(None, 6), Outlook::Waiting);
    }

    #[test]
    fn patience_ends() {
        let (_memory, mut all) = frames(1);
        let held = held(all.remove(0), NEXT_HOP);
        for state in [None, Some(NeighbourState::Incomplete), Some(NeighbourState::Failed)] {
            let forwarding = knowing(state);
            let outlook = |now_ns| held.outlook(&forwarding, 5, now_ns);
            assert_eq!(outlook(0), Outlook::Waiting, "time before its own is no time at all");
            assert_eq!(outlook(1_000 + HELD_NS_MAX), Outlook::Waiting, "{state:?}");
            assert_eq!(outlook(1_001 + HELD_NS_MAX), Outlook::Failed, "{state:?}");
        }
        let late = knowing(Some(NeighbourState::Reachable));
        assert_eq!(held.outlook(&late, 5, u64::MAX), Outlook::Resolved, "better late than never");
    }

    #[test]
    fn each_neighbour_has_its_share_and_all_have_the_whole() {
        let (_memory, mut all) = frames(u32::try_from(HELD_MAX).expect("small") + 2);
        let mut hold = Hold::new();
        let mut push = |hold: &mut Hold, next_hop: u32| {
            hold.push(held(all.pop().expect("enough frames"), next_hop.into())).is_ok()
        };
        for _ in 0..HELD_PER_NEIGHBOUR_MAX {
            assert!(push(&mut hold, 0));
        }
        assert!(!push(&mut hold, 0));
        assert_eq!(hold.waiting_for(PORT, Ipv4Addr::from(0)), HELD_PER_NEIGHBOUR_MAX);
        assert_eq!(hold.waiting_for(PortIndex(1), Ipv4Addr::from(0)), 0);
        for next_hop in (1..).take(HELD_MAX - HELD_PER_NEIGHBOUR_MAX) {
            assert!(push(&mut hold, next_hop));
        }
        assert!(!push(&mut hold, u32::MAX));
        assert_eq!((hold.len(), hold.is_empty()), (HELD_MAX, false));
    }

    #[test]
    fn those_that_wait_on_keep_their_order() {
        let (_memory, all) = frames(6);
        let mut hold = Hold::new();
        for frame in all {
            let next_hop = u32::from(frame.chunk() % 2 == 0).into();
            hold.push(held(frame, next_hop)).expect("room");
        }
        for _ in 0..hold.len() {
            let held = hold.pop().expect("counted");
            if held.next_hop == Ipv4Addr::from(1) {
                hold.keep(held);
            }
        }
        let order: Vec<_> = std::iter::from_fn(|| hold.pop()).map(|h| h.frame.chunk()).collect();
        assert_eq!(order, [0, 2, 4]);
    }
}
