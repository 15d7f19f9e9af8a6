//! How a worker asks for a neighbour's MAC address.
//!
//! The worker must not wait and must not make a system call per packet. So it pushes the request onto a bounded queue
//! and, once a batch, rings a bell (an eventfd) that wakes the mirror; while the bell has not been heard yet, ringing
//! again is one atomic operation:
//!
//! ```text
//!   worker                                 mirror thread                       kernel
//!   request(port, address)  --- queue -->
//!   wake()                  --- bell --->  RTM_NEWNEIGH with NTF_USE  ---->    ARP
//!   ... packet held ...                    new snapshot  <---- RTM_NEWNEIGH    answer
//!   refresh(); neighbour()  <------------
//! ```
//!
//! A neighbour that has not answered is asked for at most once in [`ASK_INTERVAL_NS`]; the kernel itself repeats its
//! ARP request and gives up after three. Someone who scans a large subnet makes the worker ask for thousands of hosts
//! that do not exist: what exceeds the queue or [`OUTSTANDING_MAX`] is refused, and asked again by a later packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use rustix::event::{EventfdFlags, eventfd};

use super::link::PortIndex;

/// Requests that may wait for the mirror.
const QUEUE_MAX: usize = 1024;

/// Neighbours that may be asked for within [`ASK_INTERVAL_NS`].
pub(crate) const OUTSTANDING_MAX: usize = 1024;

/// A neighbour that does not answer is asked for at most once in this time.
pub(crate) const ASK_INTERVAL_NS: u64 = 1_000_000_000;

/// A neighbour that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResolveRequest {
    /// The port it is on.
    pub port: PortIndex,
    /// Its address: the next hop of a route.
    pub address: IpAddr,
}

/// A worker's way to ask for neighbours. Clones share one queue.
#[derive(Debug, Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<ResolveRequest>,
    bell: OwnedFd,
    /// The bell has been rung and not been heard yet.
    rung: AtomicBool,
    /// The mirror has to end.
    stop: AtomicBool,
    refused: AtomicU64,
}

impl Resolver {
    /// A resolver with an empty queue. [`Mirror`](super::Mirror) makes its own; this is for whoever stands in for the
    /// kernel: tests, the replay of captures. Such a one takes the requests out by [`Resolver::next`].
    ///
    /// # Errors
    /// When the system has no file descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            shared: Arc::new(Shared {
                queue: ArrayQueue::new(QUEUE_MAX),
                bell,
                rung: AtomicBool::new(false),
                stop: AtomicBool::new(false),
                refused: AtomicU64::new(0),
            }),
        })
    }

    /// Asks for a neighbour that is not usable, be it unknown or `Failed`. Follow up with [`Resolver::wake`] once per
    /// batch. Returns false when the queue is full; a later packet then asks again.
    #[inline]
    pub fn request(&self, port: PortIndex, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        let taken = self.shared.queue.push(ResolveRequest { port, address }).is_ok();
        if !taken {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Wakes the mirror. A system call only when it has not been woken already.
    #[inline]
    pub fn wake(&self) {
        if !self.shared.rung.swap(true, Ordering::AcqRel) {
            self.ring();
        }
    }

    /// Requests refused because the queue was full.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// The descriptor that becomes readable when the bell rings.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }

    /// Silences the bell. What is pushed after this rings it anew.
    pub(crate) fn hear(&self) {
        // The only error is that it has not rung.
        let _ = rustix::io::read(&self.shared.bell, &mut [0; 8]);
        // A swap, not a store: it sees what was pushed before a `wake` that found the bell rung and did nothing.
        self.shared.rung.swap(false, Ordering::AcqRel);
    }

    /// Takes the oldest request out.
    pub fn next(&self) -> Option<ResolveRequest> {
        self.shared.queue.pop()
    }

    /// Tells the mirror to end.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.ring();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }

    fn ring(&self) {
        // The only error is a full counter, and then the bell is ringing.
        let _ = rustix::io::write(&self.shared.bell, &1_u64.to_ne_bytes());
    }
}

/// Which neighbours have been asked for of late.
#[derive(Debug, Default)]
pub(crate) struct Outstanding {
    asked_ns: HashMap<ResolveRequest, u64>,
}

impl Outstanding {
    /// Whether to ask the kernel now: not asked within [`ASK_INTERVAL_NS`], and there is room.
    pub(crate) fn admit(&mut self, request: ResolveRequest, now_ns: u64) -> bool {
        let recent = |asked_ns: u64| now_ns.saturating_sub(asked_ns) < ASK_INTERVAL_NS;
        if self.asked_ns.get(&request).is_some_and(|&asked_ns| recent(asked_ns)) {
            return false;
        }
        if self.asked_ns.len() >= OUTSTANDING_MAX {
            self.asked_ns.retain(|_, asked_ns| recent(*asked_ns));
        }
        let room = self.asked_ns.len() < OUTSTANDING_MAX;
        if room {
            self.asked_ns.insert(request, now_ns);
        }
        room
    }

    /// Notes that a neighbour has answered. Should it be lost again it may be asked for at once: the interval is there
    /// for those who do not answer.
    pub(crate) fn answered(&mut self, request: ResolveRequest) {
        self.asked_ns.remove(&request);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn request(number: usize) -> ResolveRequest {
        let address = Ipv4Addr::from(u32::try_from(number).unwrap()).into();
        ResolveRequest { port: PortIndex(0), address }
    }

    #[test]
    fn a_neighbour_is_asked_for_once_in_an_interval() {
        let mut outstanding = Outstanding::default();
        assert!(outstanding.admit(request(1), 5));
        assert!(!outstanding.admit(request(1), 5 + ASK_INTERVAL_NS - 1));
        assert!(outstanding.admit(request(2), 6));
        assert!(outstanding.admit(request(1), 5 + ASK_INTERVAL_NS));
        assert!(!outstanding.admit(request(1), 6 + ASK_INTERVAL_NS));
    }

    #[test]
    fn one_that_answered_and_was_lost_is_asked_for_at_once() {
        let mut outstanding = Outstanding::default();
        assert!(outstanding.admit(request(1), 5));
        outstanding.answered(request(1));
        outstanding.answered(request(2));
        assert!(outstanding.admit(request(1), 6));
        assert!(!outstanding.admit(request(1), 7));
    }

    #[test]
    fn at_most_so_many_are_asked_for_and_then_again() {
        let mut outstanding = Outstanding::default();
        let admitted = (0..OUTSTANDING_MAX + 100).filter(|&n| outstanding.admit(request(n), 0));
        assert_eq!(admitted.count(), OUTSTANDING_MAX);
        assert!(outstanding.admit(request(OUTSTANDING_MAX + 50), ASK_INTERVAL_NS));
        assert_eq!(outstanding.asked_ns.len(), 1);
    }

    #[test]
    fn a_full_queue_refuses_and_counts() {
        let resolver = Resolver::new().unwrap();
        for number in 0..QUEUE_MAX {
            assert!(resolver.request(PortIndex(0), request(number).address));
        }
        assert!(!resolver.request(PortIndex(0), Ipv4Addr::LOCALHOST));
        assert_eq!(resolver.refused(), 1);
        assert_eq!(resolver.next(), Some(request(0)));
        assert!(resolver.request(PortIndex(0), Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn the_bell_rings_once_until_it_is_heard() {
        let resolver = Resolver::new().unwrap();
        let rings = |resolver: &Resolver| {
            let mut count = [0; 8];
            rustix::io::read(&resolver.shared.bell, &mut count).map(|_| u64::from_ne_bytes(count))
        };
        resolver.wake();
        resolver.wake();
        assert_eq!(rings(&resolver), Ok(1));
        resolver.hear();
        resolver.wake();
        assert_eq!(rings(&resolver), Ok(1));
    }
}
