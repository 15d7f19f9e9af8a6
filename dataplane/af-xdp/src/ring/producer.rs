//! The side of a ring that puts entries in: fill and tx.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use super::{KernelRing, Storage};

/// The writing end of a ring.
///
/// Entries go in through a [`Reservation`], so that a batch costs one index update.
#[derive(Debug)]
pub struct Producer<T, S = KernelRing<T>> {
    storage: S,
    /// Our index: everything before it is published.
    producer: u32,
    /// The other side's index as last seen; it may be further by now.
    consumer_seen: u32,
    /// The other side's index was impossible.
    broken: bool,
    entry: PhantomData<T>,
}

impl<T: Copy, S: Storage<T>> Producer<T, S> {
    /// Takes the writing end of `storage` and goes on where its indices stand.
    ///
    /// One ring has one producer; a second one over the same storage would overwrite the first
    /// one's entries.
    pub(crate) fn new(storage: S) -> Producer<T, S> {
        let producer = storage.producer(Ordering::Relaxed);
        let consumer_seen = storage.consumer(Ordering::Acquire);
        let broken = producer.wrapping_sub(consumer_seen) > storage.entries();
        Producer { storage, producer, consumer_seen, broken, entry: PhantomData }
    }

    /// Number of slots.
    pub fn entries(&self) -> u32 {
        self.storage.entries()
    }

    /// Slots that are free now. Always reads the other side's index.
    pub fn free(&mut self) -> u32 {
        self.look();
        self.free_seen()
    }

    /// Takes up to `wanted` free slots; fewer when the ring has fewer, see [`Reservation::len`].
    ///
    /// Nothing is published before [`Reservation::submit`].
    pub fn reserve(&mut self, wanted: u32) -> Reservation<'_, T, S> {
        if self.free_seen() < wanted {
            self.look();
        }
        let len = self.free_seen().min(wanted);
        Reservation { ring: self, len, written: 0 }
    }

    /// Whether the kernel asks to be woken when there is something new in this ring.
    ///
    /// A hint: the kernel may set it at any time, also just after it was read as clear. Ask in
    /// every round of the poll loop while entries are waiting, not only once after a submit.
    pub fn needs_wakeup(&self) -> bool {
        self.storage.flags() & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Entries published and not yet taken by the other side. Always reads the other side's index.
    pub fn pending(&mut self) -> u32 {
        self.look();
        if self.broken { 0 } else { self.producer.wrapping_sub(self.consumer_seen) }
    }

    /// Whether the other side's index was seen further away than the ring is long. It stays so:
    /// such a ring has no free slots any more, and its socket has to be closed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Reads the other side's index.
    fn look(&mut self) {
        // Acquire: the consumer has read the slots before its index, so they may be written.
        let consumer = self.storage.consumer(Ordering::Acquire);
        if self.producer.wrapping_sub(consumer) > self.storage.entries() {
            self.broken = true;
        } else {
            self.consumer_seen = consumer;
        }
    }

    /// Slots that are free according to the index seen last.
    fn free_seen(&self) -> u32 {
        if self.broken {
            return 0;
        }
        // Cannot underflow: `look` and `new` keep the distance at or below `entries`, and `submit`
        // adds no more than is free.
        self.storage.entries() - self.producer.wrapping_sub(self.consumer_seen)
    }
}

/// Slots taken from a ring, to be written in order and then published together.
///
/// Dropping it without [`submit`](Reservation::submit) publishes nothing, and the slots are free
/// again.
#[derive(Debug)]
#[must_use = "nothing is published without submit"]
pub struct Reservation<'r, T: Copy, S: Storage<T> = KernelRing<T>> {
    ring: &'r mut Producer<T, S>,
    len: u32,
    written: u32,
}

impl<T: Copy, S: Storage<T>> Reservation<'_, T, S> {
    /// Number of slots taken; it may be less than what was asked for.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there was no free slot at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries pushed so far.
    pub fn written(&self) -> u32 {
        self.written
    }

    /// Slots that are still to be written.
    pub fn remaining(&self) -> u32 {
        self.len - self.written
    }

    /// Writes the next slot.
    ///
    /// # Errors
    /// The value itself when all slots are written.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.written == self.len {
            return Err(value);
        }
        let index = self.ring.producer.wrapping_add(self.written);
        let slot = index & (self.ring.storage.entries() - 1);
        // SAFETY: masked, so below `entries`; and one of the `len` slots that `reserve` found free,
        // which stay ours until `submit`, since the consumer does not pass the published index.
        unsafe { self.ring.storage.write(slot, value) };
        self.written += 1;
        Ok(())
    }

    /// Writes slots from `values` until one of the two ends; returns how many were written now.
    /// Of `values` no more is taken than fits.
    #[inline]
    pub fn extend(&mut self, values: impl IntoIterator<Item = T>) -> u32 {
        let before = self.written;
        let mut values = values.into_iter();
        while self.written < self.len {
            let Some(value) = values.next() else { break };
            if self.push(value).is_err() {
                break;
            }
        }
        self.written - before
    }

    /// Publishes what was pushed, and returns how much that was. Slots that were not written stay
    /// free.
    #[inline]
    pub fn submit(self) -> u32 {
        let written = self.written;
        if written > 0 {
            self.ring.producer = self.ring.producer.wrapping_add(written);
            // Release: the slots are written before the index.
            self.ring.storage.set_producer(self.ring.producer, Ordering::Release);
        }
        written
    }

    /// Publishes nothing. The same as dropping, but says so.
    pub fn cancel(self) {}
}
