//! The Internet checksum (RFC 1071), its incremental update (RFC 1624), and partial checksums.
//!
//! **Sums.** The checksum is the complement of the ones'-complement sum of 16-bit big-endian words.
//! Such a sum does not depend on the byte order it is computed in, nor on the word size (RFC 1071
//! section 2): so the bytes are added as native 32-bit halves of 64-bit chunks into a 64-bit accumulator,
//! which cannot overflow below 2^32 chunks, folded to 16 bits once, and turned to big-endian last. An odd
//! last byte counts as the high byte of a word.
//!
//! In ones' complement zero has two representations. A sum is 0x0000 only if everything summed is zero;
//! else the zero of a sum is 0xffff. That matters to UDP, where a checksum field of 0 means "none": a
//! computed 0 is sent as 0xffff (RFC 768).
//!
//! **Partial checksums: the trap of every virtual network.** A local TCP or UDP socket behind veth,
//! virtio or a tap leaves the checksum to "the hardware", and there is none. What arrives here is only
//! the folded, *not complemented* sum of the pseudo-header:
//!
//! ```text
//!   on the wire     field = ~fold(pseudo-header + header with field 0 + data)
//!   partial         field =  fold(pseudo-header)
//! ```
//!
//! Forwarded as it is, the receiver drops it, and no connection is ever made.
//! [`complete_partial`] recognises the second form and makes the first of it.
//! A correct packet whose checksum happens to look partial is not harmed: the completed value is the
//! value it had. A *corrupt* packet whose field happens to look partial is blessed; that is one corrupt
//! packet in 65,536, and nothing in the bytes could tell it from a packet sent by the host next door.
//! Complete first: an incremental update needs a complete checksum to start from.
//!
//! Not recognised: SCTP (its CRC32c is no sum) and the inner packets of tunnels.

use super::{IpProtocol, Ipv4, Ipv6, Malformed, read_u16, tcp, udp, write_u16};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The ones'-complement sum of big-endian words, folded, not complemented.
#[inline]
#[must_use]
pub fn sum(bytes: &[u8]) -> u16 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut accumulator: u64 = 0;
    for chunk in chunks {
        let word = u64::from_ne_bytes(*chunk);
        accumulator += (word & 0xffff_ffff) + (word >> 32);
    }
    // The tail in steps of known length: a copy of unknown length into a buffer costs a call, and three
    // times as much for the 20 bytes of an IPv4 header.
    let (words, rest) = rest.as_chunks::<4>();
    for word in words {
        accumulator += u64::from(u32::from_ne_bytes(*word));
    }
    let (pairs, rest) = rest.as_chunks::<2>();
    for pair in pairs {
        accumulator += u64::from(u16::from_ne_bytes(*pair));
    }
    if let [last] = rest {
        accumulator += u64::from(u16::from_ne_bytes([*last, 0]));
    }
    u16::from_be(fold(accumulator))
}

/// Adds two folded sums.
#[inline]
#[must_use]
pub fn add(a: u16, b: u16) -> u16 {
    fold(u64::from(a) + u64::from(b))
}

/// The checksum of bytes whose checksum field is zero (RFC 1071).
///
/// Over bytes that contain a correct checksum the result is 0.
#[inline]
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// The sum of TCP's and UDP's pseudo-header over IPv4 (RFC 9293 section 3.1, RFC 768).
#[inline]
#[must_use]
pub fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: IpProtocol, len: u16) -> u16 {
    let (s, d) = (u64::from(source.to_bits()), u64::from(destination.to_bits()));
    fold(s + d + u64::from(protocol.0) + u64::from(len))
}

/// The sum of the pseudo-header over IPv6 (RFC 8200 section 8.1).
#[must_use]
pub fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: IpProtocol, len: u32) -> u16 {
    let addresses = add(sum(&source.octets()), sum(&destination.octets()));
    fold(u64::from(addresses) + u64::from(protocol.0) + u64::from(len))
}

/// A complete checksum after a covered word went from `old` to `new` (RFC 1624 equation 3).
///
/// The word must lie at an even distance from the start of what is covered. Not for a UDP field
/// of 0 (there is no checksum to update): [`replace_udp`].
#[inline]
#[must_use]
pub fn replace_u16(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// As [`replace_u16`] for two words, e.g. an IPv4 address or a sequence number.
#[inline]
#[must_use]
pub fn replace_u32(checksum: u16, old: u32, new: u32) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// As [`replace_u32`] for UDP: "no checksum" (0) stays, and a computed 0 becomes 0xffff.
#[inline]
#[must_use]
pub fn replace_udp(checksum: u16, old: u32, new: u32) -> u16 {
    if checksum == 0 { 0 } else { nonzero(replace_u32(checksum, old, new)) }
}

/// Whether an IPv4 header, options included, has a correct checksum (RFC 1122 section 3.2.1.2).
///
/// `header` is exactly the header; an all-zero slice is not one.
#[inline]
#[must_use]
pub fn verify_ipv4_header(header: &[u8]) -> bool {
    sum(header) == 0xffff
}

/// Whether a segment with its pseudo-header sum has a correct checksum.
#[inline]
#[must_use]
pub fn verify_transport(pseudo: u16, segment: &[u8]) -> bool {
    add(pseudo, sum(segment)) == 0xffff
}

/// What [`complete_partial`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// The checksum was partial and is now complete.
    Completed,
    /// The checksum is not partial; nothing was written.
    NotPartial,
    /// The question does not arise; nothing was written.
    NotApplicable(NotApplicable),
}

/// Why a packet has no checksum that could be partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotApplicable {
    /// The packet cannot be read.
    Malformed(Malformed),
    /// A fragment: its checksum covers bytes that are elsewhere. Senders complete before they fragment.
    Fragment,
    /// Neither TCP nor UDP.
    Protocol(IpProtocol),
    /// UDP without a checksum (field 0). It stays so.
    NoChecksum,
}

/// Whether a TCP segment's checksum field holds only its pseudo-header sum.
#[inline]
#[must_use]
pub fn is_partial_tcp(pseudo: u16, segment: &[u8]) -> bool {
    segment.len() >= tcp::HEADER_BYTES_MIN && read_u16(segment, tcp::CHECKSUM) == pseudo
}

/// Whether a UDP datagram's checksum field holds only its pseudo-header sum. Never for a field of 0.
#[inline]
#[must_use]
pub fn is_partial_udp(pseudo: u16, datagram: &[u8]) -> bool {
    datagram.len() >= udp::HEADER_BYTES && {
        let field = read_u16(datagram, udp::CHECKSUM);
        field != 0 && field == pseudo
    }
}

/// Completes the partial TCP or UDP checksum of an IPv4 packet; see the module's essay.
///
/// `packet` starts at the IPv4 header and may have trailing padding. Harmless to every packet
/// whose checksum is complete. Cost when nothing is to be done: a few additions.
pub fn complete_partial(packet: &mut [u8]) -> Completion {
    let mut ip = match Ipv4::new_checked(packet) {
        Ok(ip) => ip,
        Err(why) => return Completion::NotApplicable(NotApplicable::Malformed(why)),
    };
    if ip.is_fragment() {
        return Completion::NotApplicable(NotApplicable::Fragment);
    }
    let (source, destination, protocol) = (ip.source(), ip.destination(), ip.protocol());
    let pseudo = |len: u16| pseudo_v4(source, destination, protocol, len);
    complete_segment(protocol, ip.payload_mut(), pseudo)
}

/// As [`complete_partial`] for an IPv6 packet, behind its extension headers.
pub fn complete_partial_v6(packet: &mut [u8]) -> Completion {
    let found = Ipv6::new_checked(packet).and_then(|ip| ip.upper_layer().map(|upper| (ip, upper)));
    let (mut ip, upper) = match found {
        Ok(found) => found,
        Err(why) => return Completion::NotApplicable(NotApplicable::Malformed(why)),
    };
    if upper.fragment.is_some_and(|fragment| fragment.is_fragment()) {
        return Completion::NotApplicable(NotApplicable::Fragment);
    }
    let (source, destination) = (ip.source(), ip.destination());
    let pseudo = |len: u16| pseudo_v6(source, destination, upper.protocol, u32::from(len));
    complete_segment(upper.protocol, &mut ip.payload_mut()[upper.offset..], pseudo)
}

/// The common part: `segment` is the whole payload of an unfragmented packet.
fn complete_segment(
    protocol: IpProtocol,
    segment: &mut [u8],
    pseudo: impl Fn(u16) -> u16,
) -> Completion {
    let truncated = |need, have| {
        Completion::NotApplicable(NotApplicable::Malformed(Malformed::Truncated { need, have }))
    };
    let have = segment.len();
    match protocol {
        IpProtocol::TCP => {
            let Some(len) = u16::try_from(have).ok().filter(|_| have >= tcp::HEADER_BYTES_MIN)
            else {
                return truncated(tcp::HEADER_BYTES_MIN, have);
            };
            let pseudo = pseudo(len);
            if !is_partial_tcp(pseudo, segment) {
                return Completion::NotPartial;
            }
            // The field holds the pseudo-header sum, so the sum over the segment has it in already.
            let complete = checksum(segment);
            write_u16(segment, tcp::CHECKSUM, complete);
            Completion::Completed
        }
        IpProtocol::UDP => {
            let datagram = match udp::Udp::new_checked(&mut *segment) {
                Ok(datagram) => datagram,
                Err(why) => return Completion::NotApplicable(NotApplicable::Malformed(why)),
            };
            if datagram.checksum() == 0 {
                return Completion::NotApplicable(NotApplicable::NoChecksum);
            }
            let len = datagram.len();
            let datagram = &mut segment[..usize::from(len)];
            if !is_partial_udp(pseudo(len), datagram) {
                return Completion::NotPartial;
            }
            let complete = nonzero(checksum(datagram));
            write_u16(datagram, udp::CHECKSUM, complete);
            Completion::Completed
        }
        other => Completion::NotApplicable(NotApplicable::Protocol(other)),
    }
}

/// UDP's rule for a computed checksum of 0 (RFC 768).
#[inline]
#[must_use]
pub const fn nonzero(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// Folds a sum to 16 bits, adding the carries back.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the carries were folded in before")]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32); // below 2^33
    let sum = (sum & 0xffff) + (sum >> 16); // below 2^18
    let sum = (sum & 0xffff) + (sum >> 16); // at most 0x10002
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests;
