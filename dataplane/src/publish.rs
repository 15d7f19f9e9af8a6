//! Immutable values that a control thread publishes and workers adopt between batches.
//!
//! A worker must see one consistent set of rules, routes and addresses for a whole batch, and must neither wait for
//! the thread that changes them nor pay for the possibility of a change. So a value is built aside, never altered
//! afterwards, and put in place as a whole:
//!
//! ```text
//!   control thread                        worker
//!   publish(new) ----> current (Mutex)
//!        |             epoch += 1 <------ refresh(): one atomic load;
//!        v                                only when the epoch moved: lock, clone the Arc
//!   old: Arc<T>  (kept until adopted)
//! ```
//!
//! The worker must not free memory either: dropping a table of a million routes takes milliseconds. Therefore
//! [`Published::publish`] hands the replaced value back and the publisher keeps it, in a [`Retired`] list for
//! instance, until nobody else holds it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use crate::wake::Waker;

/// The place where a control thread puts the newest value and workers look for it.
#[derive(Debug)]
pub struct Published<T> {
    /// Counts publications. Written only while `slot` is locked, read without.
    epoch: AtomicU64,
    slot: Mutex<Slot<T>>,
}

#[derive(Debug)]
struct Slot<T> {
    current: Arc<T>,
    /// What each living reader has adopted. A reader that is dropped leaves a dead `Weak`, swept at the next use.
    adopted: Vec<Weak<AtomicU64>>,
    /// Threads that are to look at once, should they be asleep.
    wakers: Vec<Arc<Waker>>,
}

impl<T> Published<T> {
    /// Starts with `value` at epoch 1.
    pub fn new(value: T) -> Self {
        Self {
            epoch: AtomicU64::new(1),
            slot: Mutex::new(Slot {
                current: Arc::new(value),
                adopted: Vec::new(),
                wakers: Vec::new(),
            }),
        }
    }

    /// Replaces the current value. Returns the new epoch and the value that was replaced.
    ///
    /// Hold the old value until [`Published::is_adopted`] says that every reader runs `epoch` (or give it to a
    /// [`Retired`] list): otherwise the last reader to let go frees it, on a packet path.
    pub fn publish(&self, value: T) -> (u64, Arc<T>) {
        let value = Arc::new(value);
        let mut slot = self.lock();
        let old = std::mem::replace(&mut slot.current, value);
        // Only writers that hold the lock store here, so load and store need not be one step.
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(epoch, Ordering::Release);
        let wakers = slot.wakers.clone();
        drop(slot);
        wakers.iter().for_each(|waker| waker.wake());
        (epoch, old)
    }

    /// Wakes a sleeping thread at every publication from now on.
    pub fn wake_on_publish(&self, waker: Arc<Waker>) {
        self.lock().wakers.push(waker);
    }

    /// The newest value. Takes a lock: for control threads; workers use a [`Reader`].
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.lock().current)
    }

    /// How many values have been published, the first included.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// A reader that starts with the newest value.
    pub fn reader(self: &Arc<Self>) -> Reader<T> {
        let mut slot = self.lock();
        let epoch = self.epoch.load(Ordering::Relaxed);
        let adopted = Arc::new(AtomicU64::new(epoch));
        slot.adopted.retain(|reader| reader.strong_count() > 0);
        slot.adopted.push(Arc::downgrade(&adopted));
        let value = Arc::clone(&slot.current);
        drop(slot);
        Reader { source: Arc::clone(self), value, epoch, adopted }
    }

    /// Whether every living reader has adopted `epoch` or a later one. True when there is no reader.
    pub fn is_adopted(&self, epoch: u64) -> bool {
        let mut slot = self.lock();
        slot.adopted.retain(|reader| reader.strong_count() > 0);
        slot.adopted
            .iter()
            .filter_map(Weak::upgrade)
            .all(|adopted| adopted.load(Ordering::Acquire) >= epoch)
    }

    /// A holder of the lock only moves pointers and cannot panic half-way, so a poisoned lock still guards a whole
    /// value.
    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`lock`](Self::lock), or `None` where that would wait.
    fn try_lock(&self) -> Option<MutexGuard<'_, Slot<T>>> {
        match self.slot.try_lock() {
            Ok(slot) => Some(slot),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// One worker's view of a [`Published`] value: unchanged between two calls of [`Reader::refresh`].
#[derive(Debug)]
pub struct Reader<T> {
    source: Arc<Published<T>>,
    value: Arc<T>,
    epoch: u64,
    adopted: Arc<AtomicU64>,
}

impl<T> Reader<T> {
    /// Adopts the newest value and tells whether it changed. One atomic load when it did not.
    pub fn refresh(&mut self) -> bool {
        if self.source.epoch.load(Ordering::Acquire) == self.epoch {
            return false;
        }
        // A publisher that is interrupted with the lock in its hand must not hold up packets: the old value
        // serves for another batch.
        let Some(slot) = self.source.try_lock() else { return false };
        let value = Arc::clone(&slot.current);
        self.epoch = self.source.epoch.load(Ordering::Relaxed);
        drop(slot);
        // Let go of the old value before saying so: the publisher may free it right after.
        self.value = value;
        self.adopted.store(self.epoch, Ordering::Release);
        true
    }

    /// Whether something newer than the adopted value has been published.
    #[inline]
    pub fn is_stale(&self) -> bool {
        self.source.epoch.load(Ordering::Acquire) != self.epoch
    }

    /// The adopted value.
    #[inline]
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The same, to be held until it is replaced: its publisher does not free it as long as it is.
    #[inline]
    pub fn shared(&self) -> &Arc<T> {
        &self.value
    }

    /// The epoch of the adopted value.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Replaced values, kept by their publisher until no reader holds them.
///
/// It grows only while a reader does not refresh; a publisher that wants a bound checks [`Retired::len`] before it
/// publishes again.
#[derive(Debug)]
pub struct Retired<T> {
    values: Vec<Arc<T>>,
}

impl<T> Default for Retired<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T> Retired<T> {
    /// Keeps `old` until [`Retired::collect`] finds that it is the only one left holding it.
    pub fn push(&mut self, old: Arc<T>) {
        self.values.push(old);
    }

    /// Frees the values that nobody else holds; returns how many are left.
    pub fn collect(&mut self) -> usize {
        // A retired value is in nobody's slot any more, so its count can only fall.
        self.values.retain(|value| Arc::strong_count(value) > 1);
        self.values.len()
    }

    /// How many values are kept.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_adopts_only_when_it_refreshes() {
        let published = Arc::new(Published::new("one"));
        let mut reader = published.reader();
        assert_eq!((published.epoch(), reader.epoch(), *reader.get()), (1, 1, "one"));
        assert!(!reader.refresh());

        let (epoch, old) = published.publish("two");
        assert_eq!((epoch, *old, *published.current()), (2, "one", "two"));
        assert_eq!((reader.epoch(), *reader.get()), (1, "one"));
        assert!(!published.is_adopted(2));

        assert!(reader.refresh());
        assert_eq!((reader.epoch(), *reader.get()), (2, "two"));
        assert!(published.is_adopted(2));
        assert!(!reader.refresh());
    }

    #[test]
    fn epochs_may_be_skipped() {
        let published = Arc::new(Published::new(0));
        let mut reader = published.reader();
        for value in 1..=5 {
            published.publish(value);
        }
        assert!(reader.refresh());
        assert_eq!((reader.epoch(), *reader.get()), (6, 5));
        assert!(!reader.refresh());
    }

    #[test]
    fn a_dropped_reader_holds_nothing_up() {
        let published = Arc::new(Published::new(0));
        let reader = published.reader();
        let (epoch, _old) = published.publish(1);
        assert!(!published.is_adopted(epoch));
        drop(reader);
        assert!(published.is_adopted(epoch));
    }

    #[test]
    fn retired_values_live_as_long_as_a_reader_needs_them() {
        let published = Arc::new(Published::new(vec![1]));
        let mut reader = published.reader();
        let mut retired = Retired::default();
        retired.push(published.publish(vec![2]).1);
        assert_eq!((retired.collect(), retired.len()), (1, 1));
        reader.refresh();
        assert_eq!((retired.collect(), retired.is_empty()), (0, true));
    }

    #[test]
    fn threads_see_whole_values_in_order_and_never_free_them() {
        const PUBLICATIONS: u64 = 2_000;
        /// Notes the thread that freed it.
        struct Value {
            pair: (u64, u64),
            freed_by: Arc<Mutex<Vec<std::thread::ThreadId>>>,
        }
        impl Drop for Value {
            fn drop(&mut self) {
                self.freed_by.lock().unwrap().push(std::thread::current().id());
            }
        }
        let freed_by = Arc::new(Mutex::new(Vec::new()));
        let value = |n: u64| Value { pair: (n, !n), freed_by: Arc::clone(&freed_by) };
        let published = Arc::new(Published::new(value(1)));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let mut reader = published.reader();
                std::thread::spawn(move || {
                    let mut seen = reader.get().pair.0;
                    while seen <= PUBLICATIONS {
                        if !reader.refresh() {
                            std::thread::yield_now();
                            continue;
                        }
                        let (n, inverse) = reader.get().pair;
                        assert_eq!(inverse, !n);
                        assert_eq!(n, reader.epoch());
                        assert!(n > seen, "{n} after {seen}");
                        seen = n;
                    }
                })
            })
            .collect();
        let mut retired = Retired::default();
        for n in 2..=PUBLICATIONS + 1 {
            let (epoch, old) = published.publish(value(n));
            assert_eq!(epoch, n);
            retired.push(old);
            if n % 64 == 0 {
                std::thread::yield_now();
                retired.collect();
            }
        }
        for reader in readers {
            reader.join().unwrap();
        }
        assert!(published.is_adopted(PUBLICATIONS + 1));
        assert_eq!(retired.collect(), 0);
        let me = std::thread::current().id();
        let freed = freed_by.lock().unwrap();
        assert_eq!(freed.len() as u64, PUBLICATIONS);
        assert!(freed.iter().all(|by| *by == me), "a reader freed a value");
    }
}
