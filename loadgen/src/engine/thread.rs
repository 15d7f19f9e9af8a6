//! A thread of a run: reads the clock, lets its worker take a turn, and waits when there is nothing to do.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::worker::{Turn, Worker};
use crate::clock::Clock;
use crate::pace::SECOND_NS;

/// A gap longer than this is slept through, up to this long before its end; the rest is spun.
pub(super) const SPIN_NS: u64 = 200_000;

/// Longest sleep: what has changed elsewhere is seen after it.
const SLEEP_NS_MAX: u64 = 20_000_000;

/// What a thread does when nothing is due and nothing comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// It asks again at once. A packet that comes is seen soonest, and a core is busy all the time.
    #[default]
    Spin,
    /// It sleeps until a packet comes or is due. A packet that comes waits for the wake-up, which is in its latency.
    Sleep,
}

/// Runs a worker to its end.
pub(super) fn drive(mut worker: Worker, clock: &Clock, idle: Idle, core: Option<usize>) -> Worker {
    if let Some(id) = core {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
    loop {
        let now_ns = clock.now_ns();
        match worker.turn(now_ns) {
            Turn::Over => return worker,
            Turn::Busy => {}
            Turn::Idle(due_ns) if idle == Idle::Sleep => {
                wait(&worker, due_ns.saturating_sub(now_ns));
            }
            Turn::Idle(_) => std::hint::spin_loop(),
        }
    }
}

/// Sleeps until a packet comes, or until shortly before the gap is over.
fn wait(worker: &Worker, gap_ns: u64) {
    let Some(sleep_ns) = gap_ns.min(SLEEP_NS_MAX).checked_sub(SPIN_NS) else {
        std::hint::spin_loop();
        return;
    };
    let ready = worker.ports().filter_map(|port| port.readiness());
    let mut ready: Vec<PollFd<'_>> =
        ready.map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let time =
        Timespec { tv_sec: 0, tv_nsec: i64::try_from(sleep_ns.min(SECOND_NS - 1)).unwrap_or(0) };
    // A signal ends the wait early, and anything else that is wrong shows in the next turn.
    let _ = rustix::event::poll(&mut ready, Some(&time));
}
