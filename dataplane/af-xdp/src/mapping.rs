//! A piece of address space that is given back on drop.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// An `mmap` that this value owns.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// `bytes` of zeroed, private memory, with every page present; in huge pages if asked. `bytes`
    /// must be a multiple of the page size that applies.
    pub(crate) fn anonymous(bytes: usize, huge: bool) -> io::Result<Mapping> {
        let huge = if huge { libc::MAP_HUGETLB } else { 0 };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE | huge;
        Mapping::map(bytes, flags, -1, 0)
    }

    /// The ring that the `AF_XDP` socket `fd` shows at `offset`.
    pub(crate) fn of_ring(fd: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<Mapping> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        Mapping::map(bytes, libc::MAP_SHARED | libc::MAP_POPULATE, fd.as_raw_fd(), offset)
    }

    fn map(
        bytes: usize,
        flags: libc::c_int,
        fd: libc::c_int,
        offset: libc::off_t,
    ) -> io::Result<Mapping> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let base =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, fd, offset) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast())
            .ok_or_else(|| io::Error::other("mmap returned address zero"))?;
        Ok(Mapping { base, bytes })
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` was given, and this value's owner drops every
        // pointer into it with it.
        let failed = unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(failed, 0, "munmap of a range that was mapped");
    }
}

// SAFETY: address space belongs to the process, not to a thread; this type hands out a raw pointer
// only.
unsafe impl Send for Mapping {}
// SAFETY: as above; there is nothing to change through a shared reference.
unsafe impl Sync for Mapping {}
