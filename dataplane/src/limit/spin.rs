//! `Spin`: a value that workers take in turns.
//!
//! What a match keeps in more than one word is changed by one worker at a time. That is no lock that anybody sleeps
//! for, and none that is held for long:
//!
//! * Whoever holds it runs some tens of nanoseconds of code that allocates nothing, calls nothing of the system and
//!   takes no other such turn. So a worker waits at most for one such piece of each other worker.
//! * Inside is a [`Mutex`], which gives safe code the one value that changes; only [`Mutex::try_lock`] is ever called.
//!   As nobody ever sleeps for it, nobody is ever woken: to take it is a compare-and-swap, to leave it a store.
//! * Workers have cores of their own and are not interrupted. A control thread may be while it holds it (`weirctl
//!   recent` does, for one entry at a time), and so may a worker where there are fewer cores than workers. Then those
//!   that wait let others run after a while: a system call, where waiting would be worse.

use std::sync::{Mutex, TryLockError};

/// Looks before others are let run: some microseconds.
const LOOKS: u32 = 1 << 12;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Spin<T>(Mutex<T>);

impl<T> Spin<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Calls `turn` with the value, which nobody else has then.
    #[inline]
    pub(super) fn with<R>(&self, turn: impl FnOnce(&mut T) -> R) -> R {
        let mut looks = 0_u32;
        loop {
            match self.0.try_lock() {
                Ok(mut value) => return turn(&mut value),
                // Whoever panicked with it ended its process; in tests what is left is good enough to look at.
                Err(TryLockError::Poisoned(poisoned)) => return turn(&mut poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if looks < LOOKS => {
                    looks += 1;
                    std::hint::spin_loop();
                }
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_do_not_mix() {
        let pair = Spin::new((0_u64, 0_u64));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        pair.with(|(one, other)| {
                            assert_eq!(one, other);
                            *one += 1;
                            *other += 1;
                        });
                    }
                });
            }
        });
        assert_eq!(pair.with(|pair| *pair), (80_000, 80_000));
    }
}
