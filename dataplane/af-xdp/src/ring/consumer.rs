//! The side of a ring that takes entries out: completion and rx.

use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use super::{KernelRing, Storage};

/// The reading end of a ring.
///
/// Entries come out through a [`Peeked`], so that a batch costs one index update.
#[derive(Debug)]
pub struct Consumer<T, S = KernelRing<T>> {
    storage: S,
    /// Our index: everything before it is given back.
    consumer: u32,
    /// The other side's index as last seen; it may be further by now.
    producer_seen: u32,
    /// The other side's index was impossible.
    broken: bool,
    entry: PhantomData<T>,
}

impl<T: Copy, S: Storage<T>> Consumer<T, S> {
    /// Takes the reading end of `storage` and goes on where its indices stand.
    ///
    /// One ring has one consumer; a second one over the same storage would read the first one's
    /// entries again.
    pub(crate) fn new(storage: S) -> Consumer<T, S> {
        let consumer = storage.consumer(Ordering::Relaxed);
        let producer_seen = storage.producer(Ordering::Acquire);
        let broken = producer_seen.wrapping_sub(consumer) > storage.entries();
        Consumer { storage, consumer, producer_seen, broken, entry: PhantomData }
    }

    /// Number of slots.
    pub fn entries(&self) -> u32 {
        self.storage.entries()
    }

    /// Entries that can be read now. Always reads the other side's index.
    pub fn available(&mut self) -> u32 {
        self.look();
        self.available_seen()
    }

    /// Shows up to `wanted` entries; fewer when there are fewer, see [`Peeked::len`].
    ///
    /// Nothing is given back before [`Peeked::release`].
    pub fn peek(&mut self, wanted: u32) -> Peeked<'_, T, S> {
        if self.available_seen() < wanted {
            self.look();
        }
        let len = self.available_seen().min(wanted);
        Peeked { ring: self, len }
    }

    /// Whether the kernel asks to be woken. It does so on rings that it consumes, so not on this
    /// kind today.
    pub fn needs_wakeup(&self) -> bool {
        self.storage.flags() & libc::XDP_RING_NEED_WAKEUP != 0
    }

    /// Whether the other side's index was seen further away than the ring is long. It stays so:
    /// such a ring has no entries any more, and its socket has to be closed.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Reads the other side's index.
    fn look(&mut self) {
        // Acquire: the producer has written the slots before its index, so they may be read.
        let producer = self.storage.producer(Ordering::Acquire);
        if producer.wrapping_sub(self.consumer) > self.storage.entries() {
            self.broken = true;
        } else {
            self.producer_seen = producer;
        }
    }

    /// Entries that can be read according to the index seen last.
    fn available_seen(&self) -> u32 {
        if self.broken { 0 } else { self.producer_seen.wrapping_sub(self.consumer) }
    }
}

/// Entries at the front of a ring, still in it.
///
/// Dropping it without [`release`](Peeked::release) leaves all of them there for the next peek.
#[derive(Debug)]
#[must_use = "entries stay in the ring without release"]
pub struct Peeked<'r, T: Copy, S: Storage<T> = KernelRing<T>> {
    ring: &'r mut Consumer<T, S>,
    len: u32,
}

impl<'r, T: Copy, S: Storage<T>> Peeked<'r, T, S> {
    /// Number of entries shown; it may be less than what was asked for.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there was nothing to show.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entry number `i`, the oldest being 0; `None` from [`len`](Peeked::len) on.
    #[inline]
    pub fn get(&self, i: u32) -> Option<T> {
        if i >= self.len {
            return None;
        }
        let slot = self.ring.consumer.wrapping_add(i) & (self.ring.storage.entries() - 1);
        // SAFETY: masked, so below `entries`; and one of the `len` slots that `peek` found between
        // the indices, which the producer leaves alone until `release`.
        Some(unsafe { self.ring.storage.read(slot) })
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> PeekedIter<'_, 'r, T, S> {
        PeekedIter { peeked: self, next: 0 }
    }

    /// Gives all slots back, and returns how many those were.
    #[inline]
    pub fn release(self) -> u32 {
        let len = self.len;
        self.release_n(len)
    }

    /// Gives the `n` oldest slots back (all when `n` is more than was shown), and returns how many
    /// those were. The rest stays in the ring.
    #[inline]
    pub fn release_n(self, n: u32) -> u32 {
        let n = n.min(self.len);
        if n > 0 {
            self.ring.consumer = self.ring.consumer.wrapping_add(n);
            // Release: the slots are read before the index.
            self.ring.storage.set_consumer(self.ring.consumer, Ordering::Release);
        }
        n
    }
}

impl<'p, 'r, T: Copy, S: Storage<T>> IntoIterator for &'p Peeked<'r, T, S> {
    type Item = T;
    type IntoIter = PeekedIter<'p, 'r, T, S>;

    fn into_iter(self) -> PeekedIter<'p, 'r, T, S> {
        self.iter()
    }
}

/// Entries of a [`Peeked`], oldest first.
#[derive(Debug)]
pub struct PeekedIter<'p, 'r, T: Copy, S: Storage<T> = KernelRing<T>> {
    peeked: &'p Peeked<'r, T, S>,
    next: u32,
}

impl<T: Copy, S: Storage<T>> Iterator for PeekedIter<'_, '_, T, S> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let value = self.peeked.get(self.next)?;
        self.next += 1;
        Some(value)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.peeked.len - self.next) as usize;
        (left, Some(left))
    }
}

impl<T: Copy, S: Storage<T>> ExactSizeIterator for PeekedIter<'_, '_, T, S> {}
