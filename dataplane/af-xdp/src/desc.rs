//! The descriptor that rx and tx rings carry.

/// One packet, or one piece of a packet, in the UMEM: `struct xdp_desc` of `linux/if_xdp.h`.
///
/// On the rx ring the kernel sets `addr` to the first byte of the packet, which lies
/// [`PACKET_HEADROOM_BYTES`](crate::PACKET_HEADROOM_BYTES) or more behind the start of its chunk.
///
/// On the tx ring the packet has to lie inside one chunk. A descriptor that does not is counted
/// ([`Statistics::tx_invalid_descs`](crate::Statistics::tx_invalid_descs)) and not sent. Whether
/// its address then comes back on the completion ring depends on the kernel (6.18.44 returns it,
/// many others lose it), so do not rely on either.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Desc {
    /// Offset of the first byte from the start of the area, in bytes.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Flags; see [`Desc::CONTINUED`]. Other bits must be 0 on the tx ring unless the UMEM has TX
    /// metadata.
    pub options: u32,
}

impl Desc {
    /// `XDP_PKT_CONTD`: the packet goes on in the next descriptor.
    pub const CONTINUED: u32 = libc::XDP_PKT_CONTD;

    /// A descriptor of a whole packet.
    #[must_use]
    pub const fn new(addr: u64, len: u32) -> Desc {
        Desc { addr, len, options: 0 }
    }

    /// Whether the packet goes on in the next descriptor (multi-buffer packets).
    #[must_use]
    pub const fn is_continued(&self) -> bool {
        self.options & Desc::CONTINUED != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Desc;

    #[test]
    fn layout_is_the_kernels() {
        assert_eq!(size_of::<Desc>(), size_of::<libc::xdp_desc>());
        assert_eq!(std::mem::offset_of!(Desc, len), std::mem::offset_of!(libc::xdp_desc, len));
        assert_eq!(
            std::mem::offset_of!(Desc, options),
            std::mem::offset_of!(libc::xdp_desc, options)
        );
    }

    #[test]
    fn only_the_lowest_option_bit_means_continued() {
        assert!(!Desc::new(4096, 60).is_continued());
        assert!(Desc { options: 1, ..Desc::new(0, 60) }.is_continued());
        assert!(!Desc { options: 2, ..Desc::new(0, 60) }.is_continued());
    }
}
