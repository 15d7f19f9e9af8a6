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
