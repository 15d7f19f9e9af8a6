//! What the kernel counts for a socket.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys;

/// Counters of one socket since it was opened: `XDP_STATISTICS`, all in packets (or descriptors,
/// which for packets in one piece is the same). Kernels before 5.9 count only the first three and
/// leave the others 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Received packets dropped because no chunk was there or the packet did not fit into it; not
    /// those of `rx_ring_full`.
    pub rx_dropped: u64,
    /// Invalid rx descriptors. The kernel takes this from the rx ring, which it writes itself, so
    /// it stays 0: a fill ring entry outside the UMEM is skipped without being counted
    /// (`xsk_getsockopt` in `net/xdp/xsk.c`).
    pub rx_invalid_descs: u64,
    /// Tx descriptors that are not inside one chunk: a mistake of the program that wrote them.
    pub tx_invalid_descs: u64,
    /// Packets dropped because the rx ring was full: the program is too slow.
    pub rx_ring_full: u64,
    /// Times that the kernel wanted a chunk and the fill ring was empty: too few chunks are lent.
    /// In copy mode the packet is counted in `rx_dropped` too.
    pub rx_fill_ring_empty_descs: u64,
    /// Times that the kernel looked at the tx ring and found nothing.
    pub tx_ring_empty_descs: u64,
}

impl Statistics {
    /// Reads the counters of the `AF_XDP` socket `fd`.
    pub(crate) fn read(fd: BorrowedFd<'_>) -> io::Result<Statistics> {
        let none = libc::xdp_statistics {
            rx_dropped: 0,
            rx_invalid_descs: 0,
            tx_invalid_descs: 0,
            rx_ring_full: 0,
            rx_fill_ring_empty_descs: 0,
            tx_ring_empty_descs: 0,
        };
        let (raw, _) = sys::option(fd, libc::SOL_XDP, libc::XDP_STATISTICS, none)?;
        Ok(Statistics {
            rx_dropped: raw.rx_dropped,
            rx_invalid_descs: raw.rx_invalid_descs,
            tx_invalid_descs: raw.tx_invalid_descs,
            rx_ring_full: raw.rx_ring_full,
            rx_fill_ring_empty_descs: raw.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: raw.tx_ring_empty_descs,
        })
    }
}
