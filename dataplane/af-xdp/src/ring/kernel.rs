//! A ring in memory that the kernel maps for a socket.

use std::marker::PhantomData;
use std::mem::size_of;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Storage;
use crate::mapping::Mapping;

/// Where the parts of a ring lie in its mapping, in bytes: one member of `XDP_MMAP_OFFSETS`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    pub(crate) flags: usize,
    pub(crate) desc: usize,
}

/// A ring of a socket. The mapping is removed when this is dropped, and keeps the socket alive
/// until then.
///
/// Kernel memory is reached through raw pointers and atomics only: no reference to a slot ever
/// exists.
#[derive(Debug)]
pub struct KernelRing<T> {
    producer: NonNull<u32>,
    consumer: NonNull<u32>,
    flags: NonNull<u32>,
    slots: NonNull<T>,
    entries: u32,
    /// Keeps the pointers above valid.
    _mapping: Mapping,
    entry: PhantomData<T>,
}

impl<T: Copy> KernelRing<T> {
    /// Maps the ring that the socket `fd` has at the page offset `page_offset`; `None` when
    /// `layout` does not fit `entries` (which the kernel has accepted) into a mapping at all.
    ///
    /// # Errors
    /// What `mmap` says.
    pub(crate) fn map(
        fd: BorrowedFd<'_>,
        page_offset: u64,
        layout: Layout,
        entries: u32,
    ) -> std::io::Result<KernelRing<T>> {
        let bytes = (entries as usize)
            .checked_mul(size_of::<T>())
            .and_then(|slots| slots.checked_add(layout.desc))
            .filter(|_| entries.is_power_of_two() && layout.is_sound::<T>())
            .ok_or_else(|| std::io::Error::other("the kernel's ring layout makes no sense"))?;
        let mapping = Mapping::of_ring(fd, page_offset, bytes)?;
        let at = |offset: usize| {
            // SAFETY: `is_sound` saw that all offsets lie below `desc`, which lies inside the
            // mapping.
            unsafe { mapping.base().add(offset) }
        };
        Ok(KernelRing {
            producer: at(layout.producer).cast(),
            consumer: at(layout.consumer).cast(),
            flags: at(layout.flags).cast(),
            slots: at(layout.desc).cast(),
            entries,
            _mapping: mapping,
            entry: PhantomData,
        })
    }

    /// The word at one of our three word pointers.
    fn word(&self, pointer: NonNull<u32>) -> &AtomicU32 {
        // SAFETY: `pointer` is aligned and inside the mapping (`map`), which lives as long as
        // `self`; the kernel writes these words with single stores, and we only through this
        // atomic.
        unsafe { AtomicU32::from_ptr(pointer.as_ptr()) }
    }
}

impl Layout {
    /// Whether indices and flags are aligned words before the slots, and the slots are aligned too.
    fn is_sound<T>(&self) -> bool {
        let word = |at: usize| at.is_multiple_of(4) && at + 4 <= self.desc;
        word(self.producer)
            && word(self.consumer)
            && word(self.flags)
            && self.desc.is_multiple_of(align_of::<T>())
    }
}

// SAFETY: the pointers lead to a mapping that belongs to this value alone and is bound to no
// thread.
unsafe impl<T: Send> Send for KernelRing<T> {}

// SAFETY: `map` takes powers of two only; indices are atomics; the slots pointer has room for
// `entries` values behind it.
unsafe impl<T: Copy> Storage<T> for KernelRing<T> {
    fn entries(&self) -> u32 {
        self.entries
    }

    fn producer(&self, order: Ordering) -> u32 {
        self.word(self.producer).load(order)
    }

    fn consumer(&self, order: Ordering) -> u32 {
        self.word(self.consumer).load(order)
    }

    fn set_producer(&self, index: u32, order: Ordering) {
        self.word(self.producer).store(index, order);
    }

    fn set_consumer(&self, index: u32, order: Ordering) {
        self.word(self.consumer).store(index, order);
    }

    fn flags(&self) -> u32 {
        self.word(self.flags).load(Ordering::Relaxed)
    }

    #[inline]
    unsafe fn read(&self, slot: u32) -> T {
        // SAFETY: the caller passes `slot < entries`.
        let pointer = unsafe { self.slots.add(slot as usize) };
        // SAFETY: inside the mapping and aligned; the kernel has published it and leaves it alone
        // until we release it.
        unsafe { pointer.read() }
    }

    #[inline]
    unsafe fn write(&self, slot: u32, value: T) {
        // SAFETY: the caller passes `slot < entries`.
        let pointer = unsafe { self.slots.add(slot as usize) };
        // SAFETY: inside the mapping and aligned; the kernel does not read it before we publish it.
        unsafe { pointer.write(value) };
    }
}
