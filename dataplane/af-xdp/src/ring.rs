//! The four rings between a program and the kernel, and the index arithmetic that they share.
//!
//! ```text
//!   fill         program --chunk addresses-->  kernel    chunks to receive into
//!   rx           program <--descriptors------  kernel    received packets
//!   tx           program --descriptors------>  kernel    packets to send
//!   completion   program <--chunk addresses--  kernel    chunks that were sent
//!
//!   slot       0   1   2   3   4   5   6   7
//!            +---+---+---+---+---+---+---+---+
//!            |   |   | a | b | c |   |   |   |      entries = 8
//!            +---+---+---+---+---+---+---+---+
//!                      ^           ^
//!              consumer = 10   producer = 13        slot of an index = index mod entries
//! ```
//!
//! * A ring has one producer and one consumer. Each owns one index and reads the other's. The
//!   kernel reads what it needs of ours under its own locks, so one Rust value a side (`&mut self`
//!   to move an index) is all it takes.
//! * Indices are free-running `u32` and wrap: at 10 million packets a second after seven minutes.
//!   Only their wrapping difference means something. It is 0 when the ring is empty and `entries`
//!   when it is full.
//! * A side first works on the slots and then stores its index with Release; the other loads the
//!   index with Acquire and then touches the slots. This is so in both directions (a slot may be
//!   overwritten only after it has been read) and on every architecture: that x86 keeps the order
//!   of stores does not bind the compiler.
//! * Reading the other side's index costs a cache miss when it has moved. So each side keeps the
//!   value it saw last and reads anew only when that does not suffice for what is asked.
//! * Nobody but the kernel should write its index. If the difference is ever above `entries` the
//!   ring is broken: it gives and takes nothing any more and says so ([`Producer::is_broken`],
//!   [`Consumer::is_broken`]). Slot numbers are masked, so that no index, however wrong, leads out
//!   of the ring.
//!
//! The index code is generic over [`Storage`]. [`KernelRing`] is memory shared with the kernel,
//! [`HeapRing`] is ordinary memory with the other side in the same program: unit tests, loom and
//! Miri run the very code that talks to the kernel.

mod consumer;
mod heap;
mod kernel;
mod producer;
#[cfg(test)]
mod tests;

pub use consumer::{Consumer, Peeked, PeekedIter};
pub use heap::{HeapEnds, HeapRing};
pub use kernel::KernelRing;
pub(crate) use kernel::Layout;
pub use producer::{Producer, Reservation};

use std::sync::atomic::Ordering;

use crate::desc::Desc;

/// Chunk addresses from the program to the kernel: room to receive into.
pub type FillRing = Producer<u64>;
/// Chunk addresses from the kernel to the program: chunks whose packets are sent.
pub type CompletionRing = Consumer<u64>;
/// Received packets.
pub type RxRing = Consumer<Desc>;
/// Packets to send.
pub type TxRing = Producer<Desc>;

/// Largest number of entries a ring may have.
///
/// The kernel's only limit is its memory (4 Gi entries of 16 bytes); this one turns a slip of a
/// digit into an error.
pub const RING_ENTRIES_MAX: u32 = 1 << 20;

/// Where a ring lives: two indices, a flags word and a power of two of slots.
///
/// The orderings are arguments so that they stand in one place, the index code, and are tested there.
///
/// # Safety
/// * [`entries`](Storage::entries) is a power of two, not above 2^31, and never changes.
/// * The index methods are single atomic accesses, with the ordering that they are given, to words
///   that the other side accesses atomically too.
/// * [`read`](Storage::read) and [`write`](Storage::write) reach slot `slot` for every `slot <
///   entries` and touch nothing else.
pub unsafe trait Storage<T: Copy> {
    /// Number of slots.
    fn entries(&self) -> u32;

    /// Loads the producer's index.
    fn producer(&self, order: Ordering) -> u32;

    /// Loads the consumer's index.
    fn consumer(&self, order: Ordering) -> u32;

    /// Stores the producer's index.
    fn set_producer(&self, index: u32, order: Ordering);

    /// Stores the consumer's index.
    fn set_consumer(&self, index: u32, order: Ordering);

    /// Loads the flags word. Relaxed: it is only a hint.
    fn flags(&self) -> u32;

    /// Reads slot `slot`.
    ///
    /// # Safety
    /// `slot < entries`, and the slot lies between consumer and producer index, as seen by the
    /// consumer.
    unsafe fn read(&self, slot: u32) -> T;

    /// Writes slot `slot`.
    ///
    /// # Safety
    /// `slot < entries`, and the slot does not lie between consumer and producer index, as seen by
    /// the producer.
    unsafe fn write(&self, slot: u32, value: T);
}
