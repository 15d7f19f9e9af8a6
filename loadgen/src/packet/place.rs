//! Where things lie in a frame that was received or recorded, for reading its stamp and seeing damage.
//!
//! Broken headers are no reason to give up here: what a box lets through although it is malformed has to be recognised
//! too. So nothing is believed that would lead out of the frame, and nothing else is asked.

use std::net::Ipv4Addr;

use weir_dataplane::wire::ethernet::HEADER_BYTES as L3;
use weir_dataplane::wire::ipv4::HEADER_BYTES_MIN;
use weir_dataplane::wire::{IpProtocol, checksum};

use super::stamp::{Bare, STAMP_BYTES};

/// The parts of an IPv4 frame, as offsets in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The transport header.
    pub(crate) l4: usize,
    /// Its payload.
    pub(crate) payload: usize,
    /// The end of the IP packet; what follows is padding.
    pub(crate) end: usize,
    pub(crate) protocol: IpProtocol,
    /// Whether it is a part of a datagram only.
    pub(crate) is_fragment: bool,
}

fn word(frame: &[u8], at: usize) -> u16 {
    frame.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn long(frame: &[u8], at: usize) -> u32 {
    (u32::from(word(frame, at)) << 16) | u32::from(word(frame, at + 2))
}

impl Place {
    /// Finds the parts; `None` if it is no IPv4 or has not even a header.
    #[inline]
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        if frame.len() < L3 + HEADER_BYTES_MIN || word(frame, 12) != 0x0800 {
            return None;
        }
        let header = (usize::from(frame[14] & 0x0f) * 4).max(HEADER_BYTES_MIN);
        let l4 = L3 + header;
        let end = (L3 + usize::from(word(frame, 16))).min(frame.len());
        let protocol = IpProtocol(frame[23]);
        let header = match protocol {
            IpProtocol::TCP => usize::from(frame.get(l4 + 12)? >> 4).max(5) * 4,
            IpProtocol::UDP | IpProtocol::ICMP => 8,
            _ => 0,
        };
        let is_fragment = word(frame, 20) & 0x3fff != 0;
        let payload = if word(frame, 20) & 0x1fff == 0 { l4 + header } else { l4 };
        (l4 <= end).then_some(Self { l4, payload, end, protocol, is_fragment })
    }

    /// Its last 16 bytes, where a stamp may lie.
    #[inline]
    pub(crate) fn tail<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8; STAMP_BYTES]> {
        let at = self.end.checked_sub(STAMP_BYTES).filter(|&at| at >= self.l4)?;
        frame.get(at..self.end)?.first_chunk()
    }

    /// The words of its TCP header where a stamp may lie.
    #[inline]
    pub(crate) fn bare(&self, frame: &[u8]) -> Option<Bare> {
        let l4 = self.l4;
        // Whatever the protocol: that byte may be what was damaged.
        (self.end >= l4 + 20).then(|| Bare {
            sequence: long(frame, l4 + 4),
            acknowledgment: long(frame, l4 + 8),
            window: word(frame, l4 + 14),
            urgent: word(frame, l4 + 18),
        })
    }

    /// Source and destination address.
    pub(crate) fn addresses(frame: &[u8]) -> (u32, u32) {
        (long(frame, 26), long(frame, 30))
    }

    /// Source and destination port, where they can be read; of an echo its identifier and number.
    pub(crate) fn ports(&self, frame: &[u8]) -> Option<(u16, u16)> {
        let at = match self.protocol {
            _ if self.payload == self.l4 => return None,
            IpProtocol::ICMP => self.l4 + 4,
            _ => self.l4,
        };
        (at + 4 <= self.end).then(|| (word(frame, at), word(frame, at + 2)))
    }

    /// Whether the checksums say that nothing was changed. Of a fragment only the header's is asked.
    pub(crate) fn is_intact(&self, frame: &[u8]) -> bool {
        let Some(header) = frame.get(L3..self.l4) else { return false };
        if !checksum::verify_ipv4_header(header) {
            return false;
        }
        let Some(segment) = frame.get(self.l4..self.end).filter(|_| !self.is_fragment) else {
            return true;
        };
        let (source, destination) = Self::addresses(frame);
        let len = u16::try_from(segment.len()).unwrap_or(u16::MAX);
        let (source, destination) = (Ipv4Addr::from_bits(source), Ipv4Addr::from_bits(destination));
        let pseudo = checksum::pseudo_v4(source, destination, self.protocol, len);
        match self.protocol {
            IpProtocol::UDP if word(segment, 6) == 0 => true,
            IpProtocol::TCP | IpProtocol::UDP => checksum::verify_transport(pseudo, segment),
            IpProtocol::ICMP => checksum::sum(segment) == 0xffff,
            _ => true,
        }
    }
}
