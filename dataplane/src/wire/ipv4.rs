//! IPv4 (RFC 791, RFC 1122 section 3.2.1, RFC 1812 section 4.2).
//!
//! ```text
//!  0        1        2                 4                 6
//!  | V  IHL | TOS    | total length    | identification  | RDM offset/8  |
//!  8        9        10                12                16
//!  | TTL    | proto  | header checksum | source          | destination   | options … (IHL × 4)
//! ```
//!
//! *Total length* rules: bytes behind it are Ethernet padding and are ignored; a total length greater
//! than the bytes received is an error. [`Ipv4::new_quoted`] is the exception, for the packets quoted in
//! ICMP errors, which are cut off by intent.
//!
//! The view keeps the header and total length that `new_checked` found. Nothing that is written
//! through it can make a getter leave the packet.

use super::checksum;
use super::{IpProtocol, Malformed, NoRoom, need, read, read_u16, room, write_u16};
use std::net::Ipv4Addr;

/// Bytes of a header without options.
pub const HEADER_BYTES_MIN: usize = 20;

/// Bytes of a header with the most options it can have.
pub const HEADER_BYTES_MAX: usize = 60;

/// What every host must take in one piece (RFC 791 section 3.2); also the least MTU a router meets.
pub const MTU_BYTES_MIN: u16 = 68;

/// Option kinds (RFC 791 section 3.1; IANA "Internet Protocol Version 4 Parameters").
pub mod option {
    /// End of the list.
    pub const END: u8 = 0;
    /// One byte of nothing.
    pub const NO_OPERATION: u8 = 1;
    /// Record route.
    pub const RECORD_ROUTE: u8 = 7;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 68;
    /// Loose source and record route.
    pub const LOOSE_SOURCE_ROUTE: u8 = 131;
    /// Strict source and record route.
    pub const STRICT_SOURCE_ROUTE: u8 = 137;
    /// Router alert (RFC 2113).
    pub const ROUTER_ALERT: u8 = 148;
    /// The bit in a kind that says: copy me into every fragment.
    pub const COPIED: u8 = 0x80;
}

mod field {
    use std::ops::Range;

    pub(super) const VERSION_IHL: usize = 0;
    pub(super) const TOS: usize = 1;
    pub(super) const TOTAL_LENGTH: Range<usize> = 2..4;
    pub(super) const IDENTIFICATION: Range<usize> = 4..6;
    pub(super) const FLAGS_OFFSET: Range<usize> = 6..8;
    pub(super) const TTL: usize = 8;
    pub(super) const TTL_PROTOCOL: Range<usize> = 8..10;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: Range<usize> = 10..12;
    pub(super) const SOURCE: Range<usize> = 12..16;
    pub(super) const DESTINATION: Range<usize> = 16..20;
    /// Bits of FLAGS_OFFSET.
    pub(super) const DONT_FRAGMENT: u16 = 0x4000;
    pub(super) const MORE_FRAGMENTS: u16 = 0x2000;
    pub(super) const OFFSET_MASK: u16 = 0x1fff;
}

/// A packet: header, options, payload, and perhaps padding behind it.
#[derive(Debug, Clone, Copy)]
pub struct Ipv4<T> {
    bytes: T,
    /// 20 to 60, and not above `packet_len`.
    header_len: u8,
    /// Not above the bytes there are.
    packet_len: u16,
}

impl<T: AsRef<[u8]>> Ipv4<T> {
    /// Looks at `bytes` as a packet.
    ///
    /// # Errors
    /// `Truncated` when the header is cut off, `Version`, `HeaderLength` below 20, `TotalLength`
    /// below the header or above `bytes`.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let (header_len, have) = check_header(bytes.as_ref())?;
        let declared = read_u16(bytes.as_ref(), field::TOTAL_LENGTH);
        let (min, max) = (usize::from(header_len), have);
        if usize::from(declared) < min || usize::from(declared) > max {
            let declared = usize::from(declared);
            return Err(Malformed::TotalLength { declared, min, have });
        }
        Ok(Self { bytes, header_len, packet_len: declared })
    }

    /// Looks at `bytes` as the start of a packet, as an ICMP error quotes it: the total length may be
    /// greater than what is there. The payload then is what is there.
    ///
    /// # Errors
    /// As [`Self::new_checked`], but for a total length above `bytes`.
    pub fn new_quoted(bytes: T) -> Result<Self, Malformed> {
        let (header_len, have) = check_header(bytes.as_ref())?;
        let declared = read_u16(bytes.as_ref(), field::TOTAL_LENGTH);
        let min = usize::from(header_len);
        if usize::from(declared) < min {
            return Err(Malformed::TotalLength { declared: usize::from(declared), min, have });
        }
        let packet_len = u16::try_from(have).unwrap_or(u16::MAX).min(declared);
        Ok(Self { bytes, header_len, packet_len })
    }

    /// Bytes of the header with its options: 20 to 60.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// As [`Self::header_len`], in the type that lengths of packets are counted in.
    #[inline]
    #[must_use]
    pub fn header_len_u16(&self) -> u16 {
        u16::from(self.header_len)
    }

    /// The total length field: bytes of header and payload, padding not counted.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::TOTAL_LENGTH)
    }

    /// Type of service: six bits of DSCP (RFC 2474), two of ECN (RFC 3168).
    #[inline]
    #[must_use]
    pub fn tos(&self) -> u8 {
        self.bytes.as_ref()[field::TOS]
    }

    /// What ties the fragments of a packet together.
    #[inline]
    #[must_use]
    pub fn identification(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::IDENTIFICATION)
    }

    /// Whether routers must not fragment the packet.
    #[inline]
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        self.flags_offset() & field::DONT_FRAGMENT != 0
    }

    /// Whether fragments follow this one.
    #[inline]
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        self.flags_offset() & field::MORE_FRAGMENTS != 0
    }

    /// Where the payload belongs in the original packet's, in bytes; a multiple of 8.
    #[inline]
    #[must_use]
    pub fn fragment_offset(&self) -> u16 {
        (self.flags_offset() & field::OFFSET_MASK) << 3
    }

    /// Whether this is part of a packet, first and last included.
    #[inline]
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        self.flags_offset() & (field::MORE_FRAGMENTS | field::OFFSET_MASK) != 0
    }

    /// Time to live, in hops.
    #[inline]
    #[must_use]
    pub fn ttl(&self) -> u8 {
        self.bytes.as_ref()[field::TTL]
    }

    /// What the payload is.
    #[inline]
    #[must_use]
    pub fn protocol(&self) -> IpProtocol {
        IpProtocol(self.bytes.as_ref()[field::PROTOCOL])
    }

    /// The header checksum as it stands.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::CHECKSUM)
    }

    /// Whether the header checksum is right. A packet where it is not is to be dropped silently
    /// (RFC 1122 section 3.2.1.2).
    #[inline]
    #[must_use]
    pub fn checksum_ok(&self) -> bool {
        checksum::verify_ipv4_header(self.header())
    }

    /// The sender's address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        read::<4>(self.bytes.as_ref(), field::SOURCE).into()
    }

    /// The receiver's address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        read::<4>(self.bytes.as_ref(), field::DESTINATION).into()
    }

    /// The header with its options.
    #[inline]
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.bytes.as_ref()[..self.header_len()]
    }

    /// The options, one after the other. Bounded by the header; ends after the first error.
    #[inline]
    #[must_use]
    pub fn options(&self) -> Options<'_> {
        Options { header: self.header(), at: HEADER_BYTES_MIN }
    }

    /// Whether the sender wants to choose the route (LSRR or SSRR). A firewall should refuse: such a
    /// packet's destination is not where it goes. Options behind a broken one do not count.
    #[must_use]
    pub fn has_source_route(&self) -> bool {
        self.options()
            .flatten()
            .any(|o| matches!(o.kind, option::LOOSE_SOURCE_ROUTE | option::STRICT_SOURCE_ROUTE))
    }

    /// What the packet carries, padding not included.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[self.header_len()..usize::from(self.packet_len)]
    }

    /// Header and payload, padding not included.
    #[inline]
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.bytes.as_ref()[..usize::from(self.packet_len)]
    }

    #[inline]
    fn flags_offset(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::FLAGS_OFFSET)
    }
}

/// The checks that do not depend on the total length: (header length, bytes there are).
#[inline]
fn check_header(bytes: &[u8]) -> Result<(u8, usize), Malformed> {
    need(bytes, HEADER_BYTES_MIN)?;
    let version_ihl = bytes[field::VERSION_IHL];
    if version_ihl >> 4 != 4 {
        return Err(Malformed::Version { found: version_ihl >> 4 });
    }
    let header_len = (version_ihl & 0x0f) * 4;
    if usize::from(header_len) < HEADER_BYTES_MIN {
        let declared = usize::from(header_len);
        return Err(Malformed::HeaderLength { declared, min: HEADER_BYTES_MIN });
    }
    need(bytes, usize::from(header_len))?;
    Ok((header_len, bytes.len()))
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4<T> {
    /// Takes one hop off the TTL and updates the checksum (RFC 1812 section 5.3.1, RFC 1624).
    ///
    /// Returns the new TTL; `None`, with the packet unchanged, when it is 0 or 1: the packet must not be
    /// forwarded, and its sender gets a "time exceeded". A wrong checksum stays wrong.
    #[inline]
    pub fn decrement_ttl(&mut self) -> Option<u8> {
        let ttl = self.ttl().checked_sub(1).filter(|left| *left > 0)?;
        self.set_ttl(ttl);
        Some(ttl)
    }

    /// Sets the time to live, and updates the header checksum (RFC 1624).
    pub fn set_ttl(&mut self, ttl: u8) {
        let bytes = self.bytes.as_mut();
        let old = read_u16(bytes, field::TTL_PROTOCOL);
        bytes[field::TTL] = ttl;
        let new = read_u16(bytes, field::TTL_PROTOCOL);
        let updated = checksum::replace_u16(read_u16(bytes, field::CHECKSUM), old, new);
        write_u16(bytes, field::CHECKSUM, updated);
    }

    /// Sets the type of service. The checksum is for [`Self::fill_checksum`].
    pub fn set_tos(&mut self, tos: u8) {
        self.bytes.as_mut()[field::TOS] = tos;
    }

    /// Sets the sender's address. Checksums are for the caller.
    pub fn set_source(&mut self, address: Ipv4Addr) {
        self.bytes.as_mut()[field::SOURCE].copy_from_slice(&address.octets());
    }

    /// Sets the receiver's address. Checksums are for the caller.
    pub fn set_destination(&mut self, address: Ipv4Addr) {
        self.bytes.as_mut()[field::DESTINATION].copy_from_slice(&address.octets());
    }

    /// Sets offset (bytes; the low three bits are ignored) and "more fragments", and clears "don't
    /// fragment". The checksum is for [`Self::fill_checksum`].
    pub fn set_fragment(&mut self, offset: u16, more: bool) {
        let more = if more { field::MORE_FRAGMENTS } else { 0 };
        write_u16(self.bytes.as_mut(), field::FLAGS_OFFSET, offset >> 3 | more);
    }

    /// Sets "don't fragment". The checksum is for [`Self::fill_checksum`].
    pub fn set_dont_fragment(&mut self, dont_fragment: bool) {
        let others = read_u16(self.bytes.as_ref(), field::FLAGS_OFFSET) & !field::DONT_FRAGMENT;
        let flag = if dont_fragment { field::DONT_FRAGMENT } else { 0 };
        write_u16(self.bytes.as_mut(), field::FLAGS_OFFSET, others | flag);
    }

    /// Sets the total length, and so the end of the payload. The checksum is for
    /// [`Self::fill_checksum`].
    ///
    /// # Errors
    /// `TotalLength`, with nothing written, when the header or the bytes there are do not allow it.
    pub fn set_total_len(&mut self, total_len: u16) -> Result<(), Malformed> {
        let (declared, min) = (usize::from(total_len), self.header_len());
        let have = self.bytes.as_ref().len();
        if declared < min || declared > have {
            return Err(Malformed::TotalLength { declared, min, have });
        }
        write_u16(self.bytes.as_mut(), field::TOTAL_LENGTH, total_len);
        self.packet_len = total_len;
        Ok(())
    }

    /// Sets the header checksum as it stands, e.g. after an update by [`checksum::replace_u32`].
    pub fn set_checksum(&mut self, value: u16) {
        write_u16(self.bytes.as_mut(), field::CHECKSUM, value);
    }

    /// Computes the header checksum anew.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let value = checksum::checksum(self.header());
        self.set_checksum(value);
    }

    /// What the packet carries, to write.
    #[inline]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let range = self.header_len()..usize::from(self.packet_len);
        &mut self.bytes.as_mut()[range]
    }
}

/// One option of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Option<'a> {
    /// What it is, see [`option`].
    pub kind: u8,
    /// Where its kind byte stands in the header.
    pub at: usize,
    /// What it carries, kind and length not included.
    pub data: &'a [u8],
}

impl Ipv4Option<'_> {
    /// Bytes that it takes in the header, kind and length included.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        if self.kind == option::NO_OPERATION { 1 } else { self.data.len() + 2 }
    }

    /// Whether it goes into every fragment, or only into the first.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.kind & option::COPIED != 0
    }
}

/// The options of a header in order; see [`Ipv4::options`]. The end-of-list option is not yielded.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    header: &'a [u8],
    /// Always moves on; at the header's length when done.
    at: usize,
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Ipv4Option<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.header.get(at..)?;
        let kind = *rest.first()?;
        // Nothing is read behind the end or a broken option.
        self.at = self.header.len();
        match (kind, rest.get(1)) {
            (option::END, _) => None,
            (option::NO_OPERATION, _) => {
                self.at = at + 1;
                Some(Ok(Ipv4Option { kind, at, data: &[] }))
            }
            (_, length) => {
                let declared = length.map_or(0, |length| usize::from(*length));
                match rest.get(2..declared) {
                    Some(data) => {
                        self.at = at + declared;
                        Some(Ok(Ipv4Option { kind, at, data }))
                    }
                    None => Some(Err(Malformed::OptionLength { kind, declared, left: rest.len() })),
                }
            }
        }
    }
}

/// The header of a packet that Weir sends: no options, not a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Type of service.
    pub tos: u8,
    /// Identification; needs to be unique per (source, destination, protocol) only without
    /// `dont_fragment` (RFC 6864).
    pub identification: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Time to live, in hops.
    pub ttl: u8,
    /// What the payload is.
    pub protocol: IpProtocol,
    /// The sender's address.
    pub source: Ipv4Addr,
    /// The receiver's address.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// A header with the usual rest: TOS 0, identification 0, "don't fragment", TTL 64.
    #[must_use]
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: IpProtocol) -> Self {
        let (tos, identification, dont_fragment, ttl) = (0, 0, true, 64);
        Self { tos, identification, dont_fragment, ttl, protocol, source, destination }
    }

    /// Writes the header for `payload_len` bytes of payload, checksum included, at the start of `out`, and
    /// returns its length, 20. The payload itself is for the caller.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` has no room for header and payload, or both together exceed 65,535.
    pub fn emit(&self, payload_len: usize, out: &mut [u8]) -> Result<usize, NoRoom> {
        let total = HEADER_BYTES_MIN.saturating_add(payload_len);
        let have = out.len().min(usize::from(u16::MAX));
        let Ok(packet_len) = u16::try_from(total) else { return Err(NoRoom { need: total, have }) };
        let bytes = room(out, total)?;
        bytes[field::VERSION_IHL] = 0x45;
        bytes[field::TOS] = self.tos;
        write_u16(bytes, field::TOTAL_LENGTH, packet_len);
        write_u16(bytes, field::IDENTIFICATION, self.identification);
        let flags = if self.dont_fragment { field::DONT_FRAGMENT } else { 0 };
        write_u16(bytes, field::FLAGS_OFFSET, flags);
        bytes[field::TTL] = self.ttl;
        bytes[field::PROTOCOL] = self.protocol.0;
        bytes[field::SOURCE].copy_from_slice(&self.source.octets());
        bytes[field::DESTINATION].copy_from_slice(&self.destination.octets());
        let header_len = 20; // HEADER_BYTES_MIN
        Ipv4 { bytes, header_len, packet_len }.fill_checksum();
        Ok(HEADER_BYTES_MIN)
    }
}

#[cfg(test)]
mod tests;
