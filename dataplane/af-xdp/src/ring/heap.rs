//! A ring in ordinary memory, with both ends in the same program.

use super::{Consumer, Producer, Storage};
use crate::sync::{Arc, AtomicU32, Ordering, UnsafeCell};

/// Memory of a ring that no kernel knows: for tests of rings and of code above them, and for loom
/// and Miri.
#[derive(Debug)]
pub struct HeapRing<T>(Arc<Shared<T>>);

/// The two ends of a ring in ordinary memory.
pub type HeapEnds<T> = (Producer<T, HeapRing<T>>, Consumer<T, HeapRing<T>>);

#[derive(Debug)]
struct Shared<T> {
    producer: AtomicU32,
    consumer: AtomicU32,
    flags: AtomicU32,
    slots: Box<[UnsafeCell<T>]>,
}

// SAFETY: the slots are accessed through `Storage` only, whose callers (one producer and one
// consumer, see `HeapRing::pair`) never touch a slot at the same time: the indices hand it over.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T: Copy + Default> HeapRing<T> {
    /// Both ends of an empty ring of `entries` slots whose indices begin at `first_index`.
    ///
    /// # Panics
    /// When `entries` is not a power of two up to [`RING_ENTRIES_MAX`](super::RING_ENTRIES_MAX).
    #[must_use]
    pub fn pair(entries: u32, first_index: u32) -> HeapEnds<T> {
        HeapRing::with_memory(entries, first_index).0
    }

    /// As [`pair`](HeapRing::pair), with the memory, in order to play a kernel that misbehaves.
    pub(super) fn with_memory(entries: u32, first_index: u32) -> (HeapEnds<T>, HeapRing<T>) {
        assert!(
            entries.is_power_of_two() && entries <= super::RING_ENTRIES_MAX,
            "a ring has a power of two of entries, up to {}, not {entries}",
            super::RING_ENTRIES_MAX
        );
        let shared = Arc::new(Shared {
            producer: AtomicU32::new(first_index),
            consumer: AtomicU32::new(first_index),
            flags: AtomicU32::new(0),
            slots: (0..entries).map(|_| UnsafeCell::new(T::default())).collect(),
        });
        let producer = Producer::new(HeapRing(Arc::clone(&shared)));
        let consumer = Consumer::new(HeapRing(Arc::clone(&shared)));
        ((producer, consumer), HeapRing(shared))
    }
}

impl<T> HeapRing<T> {
    /// Sets the flags word, as the kernel does.
    #[cfg(all(test, not(loom)))]
    pub(super) fn set_flags(&self, flags: u32) {
        self.0.flags.store(flags, Ordering::Relaxed);
    }
}

// SAFETY: `with_memory` takes powers of two only; indices are atomics; slots are reached by checked
// indexing.
unsafe impl<T: Copy> Storage<T> for HeapRing<T> {
    fn entries(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "made from a u32")]
        let entries = self.0.slots.len() as u32;
        entries
    }

    fn producer(&self, order: Ordering) -> u32 {
        self.0.producer.load(order)
    }

    fn consumer(&self, order: Ordering) -> u32 {
        self.0.consumer.load(order)
    }

    fn set_producer(&self, index: u32, order: Ordering) {
        self.0.producer.store(index, order);
    }

    fn set_consumer(&self, index: u32, order: Ordering) {
        self.0.consumer.store(index, order);
    }

    fn flags(&self) -> u32 {
        self.0.flags.load(Ordering::Relaxed)
    }

    unsafe fn read(&self, slot: u32) -> T {
        // SAFETY: the caller holds a slot that the producer has published, so nobody writes it.
        self.0.slots[slot as usize].with(|pointer| unsafe { *pointer })
    }

    unsafe fn write(&self, slot: u32, value: T) {
        // SAFETY: the caller holds a free slot, so nobody reads it.
        self.0.slots[slot as usize].with_mut(|pointer| unsafe { *pointer = value });
    }
}
