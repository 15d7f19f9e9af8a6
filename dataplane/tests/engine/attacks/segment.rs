//! Segments as the hosts of a simulation read them: what they need of a frame that has left, and no more.

use std::net::Ipv4Addr;

use crate::packet::Packet;

/// An address and a port.
pub(crate) type End = (Ipv4Addr, u16);

/// A TCP segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) window: u16,
    /// Bytes of data.
    pub(crate) len: u32,
}

impl Segment {
    /// Reads a frame; `None` for what is no TCP.
    pub(crate) fn read(frame: &[u8]) -> Option<Self> {
        let word = |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("four"));
        let half = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let address = |at: usize| Ipv4Addr::from_bits(word(at));
        let len = half(16).checked_sub(20 + u16::from(frame.get(46)? >> 4) * 4)?;
        (frame[23] == 6).then(|| Self {
            from: (address(26), half(34)),
            to: (address(30), half(36)),
            flags: frame[47],
            sequence: word(38),
            acknowledgment: word(42),
            window: half(48),
            len: u32::from(len),
        })
    }

    pub(crate) fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// An answer with these numbers.
    pub(crate) fn answer(&self, flags: u8, numbers: (u32, u32), data: &[u8]) -> Packet {
        Packet::segment(self.to, self.from, flags, numbers, data)
    }
}
