//! `Frame`: the right to one UMEM chunk; `FramePool`: the chunks that nobody uses now.
//!
//! # Who may touch a chunk
//!
//! An AF_XDP UMEM is plain memory that the process and the kernel both write. What keeps them apart is
//! only the protocol of the rings: a chunk whose address is on the fill or TX ring is the kernel's, until
//! its address comes back on the RX or completion ring. A [`Frame`] is that protocol as a type. It can be
//! neither copied nor cloned, so there is at most one for each chunk:
//!
//! ```text
//!             take                 lend                       (kernel)
//!  FramePool ------> Frame ------------------> Ledger slot  ==> fill / TX ring
//!      ^               |  ^                        |
//!      |               |  '------ reclaim ---------'  <== RX / completion ring
//!      '---- put ------'
//! ```
//!
//! While the kernel has a chunk, its frame sits in the [`Ledger`](crate::port::Ledger) of the port that
//! lent it. No ring address is ever turned into a frame out of nothing: an address that was not lent finds
//! an empty slot. So a kernel that answers nonsense costs a counter, not memory safety, and a ring that
//! vanishes with its device loses nothing: the port gives back what its ledger holds.
//!
//! # Lifetime
//!
//! Each frame holds a reference to its [`Memory`]; the mapping lives as long as the last frame. The
//! reference is counted when frames are minted and when they are retired, never per packet.
//!
//! # Homes
//!
//! Chunk `c` belongs to the pool of worker `c / chunks_per_worker`. A worker that finishes with another's
//! frame sends it home through that worker's return queue, which has room for every chunk of its pool and
//! so is never full.

#![expect(unsafe_code, reason = "the one place that turns chunks into slices")]

use std::fmt;
use std::sync::Arc;

use af_xdp::Area;
use crossbeam_queue::ArrayQueue;

/// Bytes at the front of a chunk that the kernel keeps for the XDP program
/// (`XDP_PACKET_HEADROOM`, `include/uapi/linux/bpf.h`).
pub const HEADROOM_BYTES: u16 = 256;

/// The memory behind all frames: one area cut into equal chunks.
pub struct Memory {
    area: Arc<Area>,
    chunk_bytes: u16,
}

impl Memory {
    /// Takes over an area and mints its frames.
    ///
    /// # Panics
    /// If the area has been taken over before: there must be one frame a chunk.
    #[must_use]
    pub fn new(area: Arc<Area>) -> (Arc<Self>, Vec<Frame>) {
        let chunk_bytes =
            u16::try_from(area.chunk_bytes()).expect("an area has 2,048 or 4,096-byte chunks");
        let chunks = area.chunks();
        assert!(area.claim(), "an area's frames are minted once");
        let memory = Arc::new(Self { area, chunk_bytes });
        let frames = (0..chunks)
            .map(|chunk| Frame {
                memory: Arc::clone(&memory),
                chunk,
                offset: HEADROOM_BYTES,
                len: 0,
            })
            .collect();
        (memory, frames)
    }

    /// The area, for binding sockets to it.
    #[must_use]
    pub fn area(&self) -> &Arc<Area> {
        &self.area
    }

    /// Frames that exist: as many as chunks, or some have been dropped on the floor.
    #[must_use]
    pub fn frames_alive(self: &Arc<Self>, other_holders: usize) -> usize {
        Arc::strong_count(self) - 1 - other_holders
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.area.chunks()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({} chunks of {} bytes)", self.chunks(), self.chunk_bytes)
    }
}

/// The right to one chunk, and the packet in it: `len` bytes from `offset` on.
pub struct Frame {
    memory: Arc<Memory>,
    chunk: u32,
    offset: u16,
    len: u16,
}

impl Frame {
    /// The packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let start = self.start();
        // SAFETY: `start .. start + len` lies inside this frame's chunk (kept by `set_window`), the chunk
        // inside the mapping that `memory` keeps alive. Nobody else writes it: there is one frame a chunk
        // (`Memory::new` claims the area), it is borrowed here, and whoever puts its address on a ring
        // locks the frame up until the kernel gives the address back (`XdpQueue`, with its `Ledger`).
        unsafe { std::slice::from_raw_parts(start, usize::from(self.len)) }
    }

    /// The packet, to be rewritten in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let start = self.start();
        // SAFETY: as in `bytes`; and `&mut self` is the only way to this chunk while the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start, usize::from(self.len)) }
    }

    fn start(&self) -> *mut u8 {
        let at =
            self.chunk as usize * usize::from(self.memory.chunk_bytes) + usize::from(self.offset);
        // SAFETY: `chunk < chunks` (minted so) and `offset <= chunk_bytes` (kept by `set_window`), so the
        // result is inside the area's mapping or one past its end.
        unsafe { self.memory.area.base().as_ptr().add(at) }
    }

    /// Length of the packet in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether there is no packet in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Longest packet that fits behind the headroom.
    #[must_use]
    pub fn capacity(&self) -> usize {
        usize::from(self.memory.chunk_bytes - HEADROOM_BYTES)
    }

    /// The chunk's number.
    #[must_use]
    pub fn chunk(&self) -> u32 {
        self.chunk
    }

    /// The packet's address in the UMEM, as descriptors carry it.
    #[must_use]
    pub fn address(&self) -> u64 {
        u64::from(self.chunk) * u64::from(self.memory.chunk_bytes) + u64::from(self.offset)
    }

    /// Empties the frame and puts its start behind the headroom.
    pub fn clear(&mut self) {
        self.offset = HEADROOM_BYTES;
        self.len = 0;
    }

    /// Makes the packet the `len` bytes that start `offset` bytes into the chunk. False, and unchanged, if
    /// that is not inside the chunk.
    #[must_use]
    pub fn set_window(&mut self, offset: usize, len: usize) -> bool {
        let chunk_bytes = usize::from(self.memory.chunk_bytes);
        if offset > chunk_bytes || len > chunk_bytes - offset {
            return false;
        }
        let (Ok(offset), Ok(len)) = (u16::try_from(offset), u16::try_from(len)) else {
            return false;
        };
        (self.offset, self.len) = (offset, len);
        true
    }

    /// Copies a packet in, behind the headroom. False, and left empty, if it is longer than
    /// [`capacity`](Self::capacity).
    #[must_use]
    pub fn fill(&mut self, packet: &[u8]) -> bool {
        self.clear();
        if !self.set_window(usize::from(HEADROOM_BYTES), packet.len()) {
            return false;
        }
        self.bytes_mut().copy_from_slice(packet);
        true
    }

    /// Shortens the packet to at most `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if let Ok(len) = u16::try_from(len) {
            self.len = self.len.min(len);
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame(chunk {}, {} bytes)", self.chunk, self.len)
    }
}

/// One worker's unused frames, and the way home for the frames of others.
#[derive(Debug)]
pub struct FramePool {
    home: usize,
    chunks_per_worker: u32,
    free: Vec<Frame>,
    returns: Arc<[ArrayQueue<Frame>]>,
}

impl FramePool {
    /// Splits all frames of an area among `workers` pools, as equally as whole numbers allow.
    ///
    /// # Panics
    /// If there are no workers, or more workers than frames.
    #[must_use]
    pub fn split(frames: Vec<Frame>, workers: usize) -> Vec<Self> {
        assert!(
            workers > 0 && workers <= frames.len(),
            "{workers} pools from {} frames",
            frames.len()
        );
        let total = u32::try_from(frames.len()).expect("chunks are counted in u32");
        let chunks_per_worker = total.div_ceil(u32::try_from(workers).expect("few workers"));
        let room = frames.len();
        let returns: Arc<[_]> =
            (0..workers).map(|_| ArrayQueue::new(chunks_per_worker as usize)).collect();
        let mut pools: Vec<Self> = (0..workers)
            .map(|home| Self {
                home,
                chunks_per_worker,
                // Room for all: a pool never allocates, whatever comes back to it.
                free: Vec::with_capacity(room),
                returns: Arc::clone(&returns),
            })
            .collect();
        for frame in frames {
            let home = (frame.chunk / chunks_per_worker) as usize;
            pools[home].free.push(frame);
        }
        pools
    }

    /// An unused frame, empty; `None` when the pool has run dry.
    #[must_use]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop()
    }

    /// Takes a frame back: here, or on its way home to the worker that it belongs to.
    pub fn put(&mut self, mut frame: Frame) {
        frame.clear();
        let home = (frame.chunk / self.chunks_per_worker) as usize;
        if home == self.home {
            self.free.push(frame);
        } else if let Err(frame) = self.returns[home].push(frame) {
            // Cannot happen (the queue has room for all of that home's chunks); if it did, keep it.
            self.free.push(frame);
        }
    }

    /// Takes in the frames that other workers have sent home.
    pub fn collect_returns(&mut self) {
        while let Some(frame) = self.returns[self.home].pop() {
            self.free.push(frame);
        }
    }

    /// Unused frames here.
    #[must_use]
    pub fn available(&self) -> usize {
        self.free.len()
    }

    /// Frames on their way home to this pool.
    #[must_use]
    pub fn returning(&self) -> usize {
        self.returns[self.home].len()
    }
}

/// Asks for the cache line in which `value` begins to be brought near: a hint, without any effect on what is computed.
///
/// It stands here because this is where the crate's unsafe code is: the instruction takes a pointer.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction reads nothing that a program could observe, and the pointer comes from a reference,
        // which the caller's borrow keeps valid.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// The same of all cache lines of `value`.
#[inline(always)]
pub fn prefetch_all<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of::<T>()).step_by(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start: *const i8 = std::ptr::from_ref(value).cast();
        // SAFETY: as above; the address, which nothing is read from, lies within `value`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(at)) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    use af_xdp::AreaConfig;

    use super::*;

    fn frames(chunks: u32) -> (Arc<Memory>, Vec<Frame>) {
        let config = AreaConfig { chunk_bytes: 2048, chunks, huge_pages: false };
        Memory::new(Area::new(&config).expect("memory"))
    }

    #[test]
    fn a_frame_holds_what_is_put_in() {
        let (_, mut all) = frames(2);
        let (mut a, mut b) = (all.remove(0), all.remove(0));
        assert!(a.fill(&[1; 100]));
        assert!(b.fill(&[2; 1792]));
        assert_eq!(a.bytes(), [1; 100]);
        assert_eq!(b.bytes(), [2; 1792]);
        assert_eq!((a.address(), b.address()), (256, 2048 + 256));
        assert!(!a.fill(&[0; 1793]), "longer than a chunk less its headroom");
        assert!(a.is_empty());
    }

    #[test]
    fn a_window_outside_the_chunk_is_refused() {
        let (_, mut all) = frames(1);
        let frame = &mut all[0];
        for (offset, len) in [(0, 2049), (2048, 1), (2049, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(!frame.set_window(offset, len), "{offset} {len}");
        }
        assert!(frame.set_window(2048, 0));
        assert!(frame.set_window(0, 2048));
        assert_eq!(frame.bytes().len(), 2048);
    }

    #[test]
    fn frames_go_home() {
        let (memory, all) = frames(7);
        let mut pools = FramePool::split(all, 2);
        assert_eq!(pools.iter().map(FramePool::available).collect::<Vec<_>>(), [4, 3]);
        let strangers: Vec<_> = std::iter::from_fn(|| pools[0].take()).collect();
        for frame in strangers {
            pools[1].put(frame);
        }
        assert_eq!((pools[0].available(), pools[0].returning()), (0, 4));
        pools[0].collect_returns();
        assert_eq!((pools[0].available(), pools[0].returning(), pools[1].available()), (4, 0, 3));
        assert_eq!(memory.frames_alive(0), 7);
        drop(pools);
        assert_eq!(memory.frames_alive(0), 0);
    }
}
