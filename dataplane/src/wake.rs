//! `Waker`: ends the sleep of a thread that waits in `poll(2)`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, eventfd};

/// Ends a thread's sleep, and knows whether it sleeps: waking one that does not costs no system call.
///
/// The sleeper announces its sleep, then looks once more whether there is work, then sleeps. Whoever has
/// work for it leaves the work first and looks for the announcement then. With a full fence on each side
/// at least one of the two sees the other, so no wake-up is lost.
#[derive(Debug)]
pub struct Waker {
    event: OwnedFd,
    asleep: AtomicBool,
}

impl Waker {
    /// A waker for a thread that is awake.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event, asleep: AtomicBool::new(false) })
    }

    /// Announces that the thread is about to sleep. What it finds to do *after* this call it must do
    /// instead of sleeping.
    pub fn announce_sleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake again.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        let mut count = [0; 8];
        // Nothing to read is the usual case: something else ended the sleep.
        let _ = rustix::io::read(&self.event, &mut count);
    }

    /// Whether the thread has announced its sleep.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Ends the sleep, if the thread sleeps. Call it after the work is where the thread will look.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.is_asleep() {
            // A full counter means that a wake-up is on its way already.
            let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
        }
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Whether a sleep would end at once.
    fn rings(waker: &Waker) -> bool {
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("a poll") > 0
    }

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let waker = Waker::new().expect("a file descriptor");
        waker.wake();
        assert!(!rings(&waker), "it does not sleep");
        waker.announce_sleep();
        assert!(waker.is_asleep() && !rings(&waker));
        waker.wake();
        waker.wake();
        assert!(rings(&waker));
        waker.awake();
        assert!(!waker.is_asleep() && !rings(&waker), "the next sleep lasts");
    }

    /// The sleeper sleeps without a limit: a lost wake-up would hang this test.
    #[test]
    fn no_wake_up_is_lost() {
        const ROUNDS: usize = 20_000;
        let waker = Arc::new(Waker::new().expect("a file descriptor"));
        let work = Arc::new(AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut done = 0;
                while done < ROUNDS {
                    waker.announce_sleep();
                    if work.load(Ordering::Relaxed) == done {
                        let mut fds = [PollFd::new(&*waker, PollFlags::IN)];
                        // An interrupted sleep is looked at like any other.
                        let _ = poll(&mut fds, None);
                    }
                    waker.awake();
                    done = work.load(Ordering::Relaxed);
                }
            });
            for n in 0..ROUNDS {
                work.store(n + 1, Ordering::Relaxed);
                waker.wake();
                if n % 3 == 0 {
                    std::thread::yield_now();
                }
            }
        });
    }
}
