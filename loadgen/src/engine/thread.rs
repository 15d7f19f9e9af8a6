//! A thread of a run: reads the clock, lets its worker take a turn, and waits when there is nothing to do.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::worker::{Turn, Worker};
use crate::clock::Clock;
use crate::pace::SECOND_NS;
use crate::result::Stalls;

/// A gap longer than this is slept through, up to this long before its end; the rest is spun.
pub(super) const SPIN_NS: u64 = 200_000;

/// Longest sleep: what has changed elsewhere is seen after it.
const SLEEP_NS_MAX: u64 = 20_000_000;

/// A turn that takes so long was interrupted: the longest work of one is a full call for live frames, a sixth of that.
const STALL_NS: u64 = 1_000_000;

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
    let mut now_ns = clock.now_ns();
    loop {
        let turn = worker.turn(now_ns);
        let before_ns = std::mem::replace(&mut now_ns, clock.now_ns());
        worker.stalls.turn(now_ns.saturating_sub(before_ns));
        match turn {
            Turn::Over => return worker,
            Turn::Busy => {}
            Turn::Idle(due_ns) if idle == Idle::Sleep => {
                wait(&worker, due_ns.saturating_sub(now_ns));
                now_ns = clock.now_ns();
            }
            Turn::Idle(_) => std::hint::spin_loop(),
        }
    }
}

impl Stalls {
    /// Counts a turn that took so long, if it was too long.
    #[inline]
    fn turn(&mut self, took_ns: u64) {
        if took_ns >= STALL_NS {
            *self = self.and(Self { count: 1, total_ns: took_ns, longest_ns: took_ns });
        }
    }

    /// Those of two threads.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            total_ns: self.total_ns + other.total_ns,
            longest_ns: self.longest_ns.max(other.longest_ns),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_turns_are_stalls() {
        let (mut one, mut other) = (Stalls::default(), Stalls::default());
        [10, 999_999, 1_000_000, 3_000_000].into_iter().for_each(|ns| one.turn(ns));
        other.turn(2_000_000);
        assert_eq!(one, Stalls { count: 2, total_ns: 4_000_000, longest_ns: 3_000_000 });
        let all = Stalls { count: 3, total_ns: 6_000_000, longest_ns: 3_000_000 };
        assert_eq!((one.and(other), other.and(one)), (all, all));
    }
}
