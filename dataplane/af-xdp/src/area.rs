//! The memory that packets live in (the UMEM's memory).
//!
//! ```text
//!   area   | chunk 0 | chunk 1 | chunk 2 | ...     a chunk starts at a multiple of its size
//!
//!   chunk  |<-- 256 -->|<------- frame_bytes_max ------->|
//!          | headroom  | packet as received              |
//!          ^           ^
//!          chunk addr  Desc::addr of a received packet
//! ```
//!
//! The kernel keeps the first 256 bytes of a chunk free in front of a received packet
//! (`XDP_PACKET_HEADROOM`), room for a program to put headers in front. A packet to be sent may
//! start anywhere but has to end in the chunk it starts in. A packet that does not fit is dropped
//! (counted in `rx_dropped`), so [`AreaConfig::frame_bytes_max`] has to be at least the MTU plus
//! the Ethernet header and tags.

use std::mem;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::SetupError;
use crate::mapping::Mapping;

/// Bytes that the kernel leaves free in front of a received packet: `XDP_PACKET_HEADROOM`
/// (`linux/bpf.h`).
pub const PACKET_HEADROOM_BYTES: u32 = 256;

/// Chunk sizes that the kernel takes in aligned mode: powers of two from 2,048 to the smallest page
/// (`xdp_umem_reg` in `net/xdp/xdp_umem.c`).
pub const CHUNK_BYTES_ALLOWED: [u32; 2] = [2048, 4096];

/// Size and kind of an [`Area`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaConfig {
    /// Size of a chunk in bytes, 2,048 or 4,096.
    pub chunk_bytes: u32,
    /// Number of chunks, at least 1.
    pub chunks: u32,
    /// Take the memory from the system's huge pages. It is an error if they do not suffice.
    pub huge_pages: bool,
}

impl Default for AreaConfig {
    /// 4,096 chunks of 4,096 bytes (16 MiB) in ordinary pages.
    fn default() -> AreaConfig {
        AreaConfig { chunk_bytes: 4096, chunks: 4096, huge_pages: false }
    }
}

impl AreaConfig {
    /// Longest packet that can be received into a chunk, in bytes, Ethernet header included.
    #[must_use]
    pub const fn frame_bytes_max(&self) -> u32 {
        self.chunk_bytes.saturating_sub(PACKET_HEADROOM_BYTES)
    }
}

/// Packet memory: zeroed, page-aligned, every page present.
///
/// An area needs no privilege and no kernel support as long as no socket is bound to it, so it also
/// serves ports that exist in memory only.
///
/// It hands out a raw pointer and never a reference: who may touch which chunk is decided by rings
/// and by the owner's bookkeeping, not here. The area has to outlive every use of the pointer; each
/// socket bound to it keeps it.
#[derive(Debug)]
pub struct Area {
    mapping: Mapping,
    config: AreaConfig,
    bytes: usize,
    claimed: AtomicBool,
}

impl Area {
    /// Maps the memory.
    ///
    /// # Errors
    /// [`SetupError::ChunkSize`], [`SetupError::ChunkCount`], [`SetupError::Memory`],
    /// [`SetupError::HugePages`].
    pub fn new(config: &AreaConfig) -> Result<Arc<Area>, SetupError> {
        if !CHUNK_BYTES_ALLOWED.contains(&config.chunk_bytes) {
            return Err(SetupError::ChunkSize { chunk_bytes: config.chunk_bytes });
        }
        let too_many = SetupError::ChunkCount { chunks: config.chunks };
        let bytes = (config.chunks as usize).checked_mul(config.chunk_bytes as usize);
        let Some(bytes) = bytes.filter(|&bytes| bytes > 0) else { return Err(too_many) };
        let page_bytes = if config.huge_pages { huge_page_bytes() } else { page_bytes() };
        let Some(mapped) = bytes.checked_next_multiple_of(page_bytes) else { return Err(too_many) };
        let mapping = Mapping::anonymous(mapped, config.huge_pages).map_err(|source| {
            if config.huge_pages {
                SetupError::HugePages { pages: mapped / page_bytes, page_bytes, source }
            } else {
                SetupError::Memory { what: format!("map {bytes} bytes of packet memory"), source }
            }
        })?;
        Ok(Arc::new(Area { mapping, config: *config, bytes, claimed: AtomicBool::new(false) }))
    }

    /// Claims the right to make references to the chunks: true for the first caller, false for all others.
    ///
    /// The area itself never makes any. Whoever does must know of every chunk that the kernel has, and must
    /// be the only one.
    #[must_use]
    pub fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::AcqRel)
    }

    /// The first byte. `base() + Desc::addr` is the first byte of a packet.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.mapping.base()
    }

    /// Size in bytes: chunks times their size.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Size of a chunk in bytes.
    #[must_use]
    pub fn chunk_bytes(&self) -> u32 {
        self.config.chunk_bytes
    }

    /// Number of chunks.
    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.config.chunks
    }

    /// Longest packet that can be received into a chunk, in bytes, Ethernet header included.
    #[must_use]
    pub fn frame_bytes_max(&self) -> u32 {
        self.config.frame_bytes_max()
    }

    /// Address of a chunk, as fill rings take it; `None` when there is no such chunk.
    #[must_use]
    pub fn chunk_addr(&self, chunk: u32) -> Option<u64> {
        (chunk < self.chunks()).then(|| u64::from(chunk) * u64::from(self.chunk_bytes()))
    }

    /// Number of the chunk that holds the byte at `addr`, as rx and completion rings give it;
    /// `None` outside the area.
    #[must_use]
    pub fn chunk_of(&self, addr: u64) -> Option<u32> {
        let chunk = u32::try_from(addr / u64::from(self.chunk_bytes())).ok()?;
        (chunk < self.chunks()).then_some(chunk)
    }
}

/// Size of an ordinary page in bytes.
fn page_bytes() -> usize {
    // SAFETY: takes no pointers.
    let answer = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(answer).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
}

/// Size of the system's default huge page in bytes (`Hugepagesize` of /proc/meminfo); 2 MiB if it
/// does not say.
fn huge_page_bytes() -> usize {
    const FALLBACK: usize = 2 << 20;
    let Ok(meminfo) = std::fs::read_to_string("/proc/meminfo") else { return FALLBACK };
    meminfo
        .lines()
        .find_map(|line| line.strip_prefix("Hugepagesize:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kib| kib.trim().parse::<usize>().ok())
        .and_then(|kib| kib.checked_mul(1024))
        .filter(|bytes| bytes.is_power_of_two())
        .unwrap_or(FALLBACK)
}

// An area is shared by all threads that have a socket on it.
const _: () = {
    const fn shared_by_threads<T: Send + Sync>() {}
    shared_by_threads::<Area>();
    assert!(mem::size_of::<usize>() >= 4, "chunk counts are cast to usize");
};

#[cfg(test)]
mod tests {
    use super::{Area, AreaConfig};
    use crate::error::SetupError;

    #[test]
    fn area_is_zeroed_and_writable_to_its_last_byte() {
        let config = AreaConfig { chunk_bytes: 2048, chunks: 3, huge_pages: false };
        let area = Area::new(&config).unwrap();
        assert_eq!((area.bytes(), area.chunk_bytes(), area.chunks()), (6144, 2048, 3));
        assert_eq!(area.frame_bytes_max(), 1792);
        assert_eq!(area.base().as_ptr() as usize % 4096, 0);
        // SAFETY: inside the area, which nobody else uses.
        let last = unsafe { area.base().add(6143) };
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 0);
        // SAFETY: as above.
        unsafe { last.write(7) };
        // SAFETY: as above.
        assert_eq!(unsafe { last.read() }, 7);
    }

    #[test]
    fn chunks_and_addresses_belong_together() {
        let area =
            Area::new(&AreaConfig { chunk_bytes: 4096, chunks: 4, huge_pages: false }).unwrap();
        let addresses: Vec<_> = (0..5).map(|chunk| area.chunk_addr(chunk)).collect();
        assert_eq!(addresses, [Some(0), Some(4096), Some(8192), Some(12288), None]);
        let chunks: Vec<_> =
            [0, 256, 4095, 4096, 16383, 16384, u64::MAX].map(|a| area.chunk_of(a)).to_vec();
        assert_eq!(chunks, [Some(0), Some(0), Some(0), Some(1), Some(3), None, None]);
    }

    #[test]
    fn other_chunk_sizes_and_counts_are_refused() {
        for chunk_bytes in [0, 1, 1024, 2047, 3000, 8192, 1 << 31] {
            let config = AreaConfig { chunk_bytes, ..AreaConfig::default() };
            let error = Area::new(&config).unwrap_err();
            let SetupError::ChunkSize { chunk_bytes: named } = error else { panic!("{error}") };
            assert_eq!(named, chunk_bytes);
        }
        let config = AreaConfig { chunks: 0, ..AreaConfig::default() };
        assert!(matches!(Area::new(&config), Err(SetupError::ChunkCount { chunks: 0 })));
    }

    #[test]
    fn huge_pages_are_used_or_named_with_the_remedy() {
        let config = AreaConfig { huge_pages: true, chunks: 3, ..AreaConfig::default() };
        match Area::new(&config) {
            Ok(area) => assert_eq!(area.bytes(), 3 * 4096),
            Err(error) => {
                assert!(matches!(error, SetupError::HugePages { pages: 1, .. }));
                assert!(error.to_string().contains("/proc/sys/vm/nr_hugepages"), "{error}");
            }
        }
    }
}
