//! What the threads of a run have in common: counters to look at, a flag to stop, and letter boxes.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use weir_dataplane::frame::Frame;

use crate::profile::Side;

/// Frames that one thread may have waiting for another.
const LETTERS_MAX: usize = 4096;

/// A frame that arrived on one thread and is another's business.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) frame: Frame,
    pub(super) side: Side,
    pub(super) arrived_ns: u64,
}

/// A lane's counters, each written by one thread only. (A cache line of their own.)
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Counters {
    pub(super) made: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    /// By lane.
    pub(super) lanes: Box<[Counters]>,
    /// By thread: frames for it.
    pub(super) letters: Box<[ArrayQueue<Letter>]>,
    /// Connections completed, and given up.
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Everybody is to end now.
    pub(super) halt: AtomicBool,
    /// Threads that have nothing more to wait for.
    pub(super) content: AtomicUsize,
}

impl Board {
    pub(super) fn new(lanes: usize, threads: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Counters::default()).collect(),
            letters: (0..threads).map(|_| ArrayQueue::new(LETTERS_MAX)).collect(),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            halt: AtomicBool::new(false),
            content: AtomicUsize::new(0),
        }
    }

    /// How many packets a lane has made; `None` if there is no such lane.
    #[inline]
    pub(super) fn made(&self, lane: u8) -> Option<u64> {
        self.lanes.get(usize::from(lane)).map(|lane| lane.made.load(Ordering::Relaxed))
    }
}
