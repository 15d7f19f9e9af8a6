//! Events: what begins, changes and ends, for whoever listens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use super::view::{FlowId, FlowView};

/// What happened to a flow (`NFCT_T_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It was put into the table.
    New,
    /// Its state changed, it was answered for the first time, or it became assured.
    Update,
    /// It is no longer in the table.
    Destroy,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowEvent {
    /// What happened.
    pub kind: EventKind,
    /// Which flow.
    pub id: FlowId,
    /// The flow afterwards; at its end as it was last.
    pub flow: FlowView,
}

/// Events of one worker on their way to a listener: a bounded queue that a worker never waits for.
#[derive(Debug)]
pub struct EventQueue {
    events: ArrayQueue<FlowEvent>,
    wanted: AtomicBool,
    lost: AtomicU64,
}

impl EventQueue {
    /// For at most `events_max` events that nobody has taken yet.
    ///
    /// # Panics
    /// When `events_max` is 0.
    #[must_use]
    pub fn new(events_max: usize) -> Self {
        Self {
            events: ArrayQueue::new(events_max),
            wanted: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        }
    }

    /// Says whether anybody listens. What nobody wants is not recorded, nor counted as lost.
    pub fn listen(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::Relaxed);
        if !wanted {
            while self.events.pop().is_some() {}
            self.lost.store(0, Ordering::Relaxed);
        }
    }

    /// The oldest event.
    #[must_use]
    pub fn take(&self) -> Option<FlowEvent> {
        self.events.pop()
    }

    /// How many were lost since the last call because the queue was full.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    pub(super) fn put(&self, event: FlowEvent) {
        if self.events.push(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}
