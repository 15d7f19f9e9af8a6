//! IPv6 (RFC 8200).
//!
//! ```text
//!  0                   4              6      7       8        24             40
//!  | V, class, flow label | payload len | next | hops | source | destination  | extension headers …
//! ```
//!
//! The transport header stands behind a chain of extension headers, each naming the next.
//! [`Ipv6::upper_layer`] walks at most [`EXTENSIONS_MAX`] of them and never leaves the payload. It stops
//! at a fragment header that is not the first one's: what stands behind it is data.
//! A payload length of 0 with a jumbo option (RFC 2675) is read as an empty payload.

use super::{
    IpProtocol, Malformed, NoRoom, need, read, read_u16, read_u32, room, write_u16, write_u32,
};
use std::net::Ipv6Addr;

/// Bytes of the fixed header.
pub const HEADER_BYTES: usize = 40;

/// The most extension headers that are followed.
pub const EXTENSIONS_MAX: usize = 8;

/// The next-header value that says that nothing follows (RFC 8200 section 4.7).
pub const NO_NEXT_HEADER: IpProtocol = IpProtocol(59);

/// Next-header values of extension headers (IANA "IPv6 Extension Header Types").
pub mod extension {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Fragment.
    pub const FRAGMENT: u8 = 44;
    /// Authentication (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// Destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;

    /// Whether it is one of them.
    #[must_use]
    pub const fn is_one(next: u8) -> bool {
        matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION_OPTIONS)
    }
}

mod field {
    use std::ops::Range;

    pub(super) const VERSION_CLASS_FLOW: Range<usize> = 0..4;
    pub(super) const PAYLOAD_LENGTH: Range<usize> = 4..6;
    pub(super) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: Range<usize> = 8..24;
    pub(super) const DESTINATION: Range<usize> = 24..40;
}

/// Whether an address is one host's, as the kernel takes it (`__ipv6_addr_type`, net/ipv6/addrconf_core.c): what is not
/// assigned to anything yet is not, nor are multicast, `::` and IPv4-mapped addresses.
#[must_use]
pub fn is_unicast(address: Ipv6Addr) -> bool {
    let [first, ..] = address.octets();
    match first >> 5 {
        // ::1, and ::a.b.c.d of old.
        0b000 => address.segments()[..6] == [0; 6] && !address.is_unspecified(),
        // fc00::/7, fe80::/10, fec0::/10.
        0b111 => first & 0xfe == 0xfc || first == 0xfe && address.octets()[1] & 0x80 != 0,
        _ => true,
    }
}

/// A packet: fixed header, payload with extension headers, and perhaps padding behind it.
#[derive(Debug, Clone, Copy)]
pub struct Ipv6<T> {
    bytes: T,
    /// Header and payload; not above the bytes there are.
    packet_len: usize,
}

impl<T: AsRef<[u8]>> Ipv6<T> {
    /// Looks at `bytes` as a packet.
    ///
    /// # Errors
    /// `Truncated` below 40 bytes, `Version`, `TotalLength` when header and payload exceed `bytes`.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let b = bytes.as_ref();
        need(b, HEADER_BYTES)?;
        let version = b[field::VERSION_CLASS_FLOW.start] >> 4;
        if version != 6 {
            return Err(Malformed::Version { found: version });
        }
        let packet_len = HEADER_BYTES + usize::from(read_u16(b, field::PAYLOAD_LENGTH));
        let have = b.len();
        if packet_len > have {
            return Err(Malformed::TotalLength { declared: packet_len, min: HEADER_BYTES, have });
        }
        Ok(Self { bytes, packet_len })
    }

    /// Traffic class: six bits of DSCP, two of ECN.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        let [a, b, ..] = read::<4>(self.bytes.as_ref(), field::VERSION_CLASS_FLOW);
        a << 4 | b >> 4
    }

    /// Flow label, 20 bits (RFC 6437).
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        read_u32(self.bytes.as_ref(), field::VERSION_CLASS_FLOW) & 0x000f_ffff
    }

    /// Bytes behind the fixed header, extension headers included, padding not.
    #[must_use]
    pub fn payload_len(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::PAYLOAD_LENGTH)
    }

    /// What follows the fixed header: an extension or a protocol.
    #[must_use]
    pub fn next_header(&self) -> u8 {
        self.bytes.as_ref()[field::NEXT_HEADER]
    }

    /// Hops left.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.bytes.as_ref()[field::HOP_LIMIT]
    }

    /// The sender's address.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        read::<16>(self.bytes.as_ref(), field::SOURCE).into()
    }

    /// The receiver's address. With a routing header, that of the next station on the way.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        read::<16>(self.bytes.as_ref(), field::DESTINATION).into()
    }

    /// Everything behind the fixed header, padding not included.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[HEADER_BYTES..self.packet_len]
    }

    /// Walks the extension headers to the protocol behind them.
    ///
    /// # Errors
    /// `Truncated` when one leads out of the payload, `TooManyHeaders` behind the eighth.
    pub fn upper_layer(&self) -> Result<UpperLayer, Malformed> {
        upper_layer_of(self.next_header(), self.payload())
    }

    /// The first routing header, as far as [`Self::upper_layer`] walks.
    #[must_use]
    pub fn routing_header(&self) -> Option<RoutingHeader> {
        let (mut next, mut rest) = (self.next_header(), self.payload());
        for _ in 0..EXTENSIONS_MAX {
            let header = rest.get(..8).filter(|_| extension::is_one(next))?;
            let len = extension_len(next, header);
            match next {
                extension::ROUTING => {
                    rest.get(..len)?;
                    // Not above 2,048.
                    let bytes = u16::try_from(len).ok()?;
                    return Some(RoutingHeader {
                        kind: header[2],
                        segments_left: header[3],
                        bytes,
                    });
                }
                extension::FRAGMENT if read_u16(header, 2..4) & 0xfff8 > 0 => return None,
                _ => (next, rest) = (header[0], rest.get(len..)?),
            }
        }
        None
    }
}

/// Bytes of the extension header `next` that begins so.
fn extension_len(next: u8, header: &[u8]) -> usize {
    let units = usize::from(header[1]);
    match next {
        extension::FRAGMENT => 8,
        extension::AUTHENTICATION => (units + 2) * 4,
        _ => (units + 1) * 8,
    }
}

/// The same of what a packet carries, of which the end may be missing: as an ICMPv6 error quotes it. `next` is the
/// next header of the packet.
///
/// # Errors
/// As [`Ipv6::upper_layer`].
pub fn upper_layer_of(mut next: u8, payload: &[u8]) -> Result<UpperLayer, Malformed> {
    let mut named_at = field::NEXT_HEADER;
    let mut offset = 0;
    let mut fragment = None;
    for _ in 0..=EXTENSIONS_MAX {
        let later_fragment = fragment.is_some_and(|f: Fragment| f.offset > 0);
        if !extension::is_one(next) || later_fragment {
            return Ok(UpperLayer { protocol: IpProtocol(next), offset, fragment });
        }
        need(payload, offset + 8)?;
        let header = &payload[offset..];
        let len = extension_len(next, header);
        if next == extension::FRAGMENT {
            let bits = read_u16(header, 2..4);
            let place = FragmentPlace { at: offset, named_at };
            let (offset, more) = (bits & 0xfff8, bits & 1 != 0);
            let identification = read_u32(header, 4..8);
            fragment = Some(Fragment { offset, more, identification, place });
        }
        need(payload, offset + len)?;
        next = header[0];
        named_at = HEADER_BYTES + offset;
        offset += len;
    }
    Err(Malformed::TooManyHeaders { max: EXTENSIONS_MAX })
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6<T> {
    /// Takes one hop off. Returns the new limit; `None`, with the packet unchanged, when it is 0 or 1:
    /// the packet must not be forwarded (RFC 8200 section 3). IPv6 has no header checksum.
    pub fn decrement_hop_limit(&mut self) -> Option<u8> {
        let left = self.hop_limit().checked_sub(1).filter(|left| *left > 0)?;
        self.bytes.as_mut()[field::HOP_LIMIT] = left;
        Some(left)
    }

    /// Sets how many hops are left.
    pub fn set_hop_limit(&mut self, hops: u8) {
        self.bytes.as_mut()[field::HOP_LIMIT] = hops;
    }

    /// Sets the traffic class.
    pub fn set_traffic_class(&mut self, class: u8) {
        let bytes = self.bytes.as_mut();
        bytes[0] = bytes[0] & 0xf0 | class >> 4;
        bytes[1] = bytes[1] & 0x0f | class << 4;
    }

    /// Everything behind the fixed header, to write.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = self.packet_len;
        &mut self.bytes.as_mut()[HEADER_BYTES..end]
    }
}

/// A fragment header (RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where this part belongs in the original, in bytes; a multiple of 8.
    pub offset: u16,
    /// Whether fragments follow this one.
    pub more: bool,
    /// What ties the fragments together.
    pub identification: u32,
    /// Where it stands.
    pub place: FragmentPlace,
}

/// Where a fragment header stands in its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentPlace {
    /// Its first byte in [`Ipv6::payload`]. What stands before it was not fragmented.
    pub at: usize,
    /// The byte of the packet that names it as the next header.
    pub named_at: usize,
}

impl Fragment {
    /// Whether this is part of a packet. Not so for an "atomic fragment" (RFC 6946), which is whole.
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.more || self.offset > 0
    }
}

/// What a routing header says (RFC 8200 section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingHeader {
    /// Its type.
    pub kind: u8,
    /// Stations yet to be visited.
    pub segments_left: u8,
    /// Its length.
    pub bytes: u16,
}

/// What stands behind the extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpperLayer {
    /// The protocol. In a fragment that is not the first, what the fragment header names.
    pub protocol: IpProtocol,
    /// Where it starts in [`Ipv6::payload`].
    pub offset: usize,
    /// The fragment header passed on the way.
    pub fragment: Option<Fragment>,
}

/// The header of a packet that Weir sends: traffic class and flow label 0, no extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Header {
    /// What the payload is.
    pub protocol: IpProtocol,
    /// Hops it may make.
    pub hop_limit: u8,
    /// The sender's address.
    pub source: Ipv6Addr,
    /// The receiver's address.
    pub destination: Ipv6Addr,
}

impl Ipv6Header {
    /// Writes the header for `payload_len` bytes of payload at the start of `out` and returns its length,
    /// 40. The payload itself is for the caller.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` has no room for header and payload, or the payload exceeds 65,535.
    pub fn emit(&self, payload_len: usize, out: &mut [u8]) -> Result<usize, NoRoom> {
        let total = HEADER_BYTES.saturating_add(payload_len);
        let have = out.len().min(HEADER_BYTES + usize::from(u16::MAX));
        let Ok(payload_len) = u16::try_from(payload_len) else {
            return Err(NoRoom { need: total, have });
        };
        let bytes = room(out, total)?;
        write_u32(bytes, field::VERSION_CLASS_FLOW, 6 << 28);
        write_u16(bytes, field::PAYLOAD_LENGTH, payload_len);
        bytes[field::NEXT_HEADER] = self.protocol.0;
        bytes[field::HOP_LIMIT] = self.hop_limit;
        bytes[field::SOURCE].copy_from_slice(&self.source.octets());
        bytes[field::DESTINATION].copy_from_slice(&self.destination.octets());
        Ok(HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests;
