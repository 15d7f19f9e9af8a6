//! A template's frame, with all that stays.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_dataplane::wire::NoRoom;
use weir_dataplane::wire::ethernet::{EtherType, FRAME_BYTES_MIN, HEADER_BYTES as ETHERNET_BYTES};
use weir_dataplane::wire::ipv4::{HEADER_BYTES_MIN as IPV4_BYTES, Ipv4Header};
use weir_dataplane::wire::ipv6::{HEADER_BYTES as IPV6_BYTES, Ipv6Header};

use super::{Shape, Sign};
use crate::packet::kind::{Kind, Part, Transport};
use crate::packet::stamp::STAMP_BYTES;
use crate::packet::tag;
use crate::packet::text::Text;

/// Bytes of the option that [`Kind::BadIpOption`] bears: one of padding and a loose source route over two stations.
const OPTION: [u8; 12] = [1, 131, 11, 4, 198, 18, 0, 1, 198, 19, 0, 1];

/// A frame, and where its parts are.
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    pub(super) l3: usize,
    pub(super) l4: usize,
    /// The end of the IP packet; what follows is padding.
    pub(super) end: usize,
    pub(super) sign: Sign,
    /// Where its text tells the time.
    pub(super) time_at: Option<usize>,
}

/// Makes the frame of one part of a datagram; what each packet brings is zero.
pub(super) fn frame(shape: &Shape<'_>, part: Part) -> Result<Built, NoRoom> {
    let (kind, transport) = (shape.kind, shape.kind.transport(part));
    let options: &[u8] = if kind == Kind::BadIpOption { &OPTION } else { &[] };
    let l3 = tag::header_bytes(shape.tag);
    let l4 = l3 + if shape.is_ipv4 { IPV4_BYTES + options.len() } else { IPV6_BYTES };
    let text = shape.text.map(|text| text.at(shape.wall_s)).unwrap_or_default();
    let payload = l4 + header_bytes(transport);
    let need = (payload + text.len() - tag_bytes(shape)).max(FRAME_BYTES_MIN);
    if shape.frame_bytes < need {
        return Err(NoRoom { need, have: shape.frame_bytes });
    }
    let mut bytes = vec![0; shape.frame_bytes + tag_bytes(shape)];
    let ip_payload = ip_payload_bytes(shape, l4, header_bytes(transport), part);
    let end = l4 + ip_payload;
    let ether_type = if shape.is_ipv4 { EtherType::IPV4 } else { EtherType::IPV6 };
    let macs = [shape.source_mac, shape.destination_mac];
    tag::emit_header(macs, shape.tag, ether_type, &mut bytes)?;
    if shape.is_ipv4 {
        write_ipv4(shape, part, ip_payload, options, &mut bytes[l3..])?;
    } else {
        write_ipv6(shape, ip_payload, &mut bytes[l3..])?;
    }
    // A tiny fragment ends in the middle of the header; the rest of it is padding.
    if kind != Kind::FragmentTiny && payload + text.len() <= end {
        bytes[payload..payload + text.len()].copy_from_slice(&text);
    }
    write_transport(shape, transport, l4, end, &mut bytes);
    let sign = sign(shape, transport, payload + text.len(), end);
    let time_at = shape.text.and_then(Text::time_at).map(|at| payload + at);
    Ok(Built { bytes, l3, l4, end, sign, time_at })
}

fn tag_bytes(shape: &Shape<'_>) -> usize {
    tag::header_bytes(shape.tag) - ETHERNET_BYTES
}

/// Bytes of a transport header.
pub(super) fn header_bytes(transport: Transport) -> usize {
    match transport {
        Transport::Tcp(_) => 20,
        Transport::Udp | Transport::Icmp(_) => 8,
        Transport::Nothing => 0,
    }
}

/// Where the checksum lies in its header. Fragments have none: it would cover bytes that are elsewhere, and UDP may do
/// without (RFC 768).
pub(super) fn checksum_at(kind: Kind, transport: Transport, part: Part) -> Option<usize> {
    if part != Part::Whole || kind == Kind::FragmentTiny {
        return None;
    }
    match transport {
        Transport::Tcp(_) => Some(16),
        Transport::Udp => Some(6),
        Transport::Icmp(_) => Some(2),
        Transport::Nothing => None,
    }
}

/// Bytes behind the IP header that are no padding.
///
/// The shortest frame has six bytes more than a bare TCP segment of IPv4. A SYN may carry data (RFC 9293 3.4), but
/// hardly any does, so there these six are Ethernet padding.
fn ip_payload_bytes(shape: &Shape<'_>, l4: usize, l4_header: usize, part: Part) -> usize {
    let all = shape.frame_bytes + tag_bytes(shape) - l4;
    let is_tcp = matches!(shape.kind.transport(part), Transport::Tcp(_));
    match part {
        Part::First if shape.kind == Kind::FragmentTiny => 8,
        // All but a last fragment have a multiple of 8 (RFC 791 section 3.2); both halves are as long as each other.
        Part::First | Part::Later(..) => all & !7,
        Part::Whole if is_tcp && shape.frame_bytes == FRAME_BYTES_MIN && shape.text.is_none() => {
            l4_header
        }
        Part::Whole => match shape.text {
            // A text is as long as it is; what is left of the shortest frame is padding.
            Some(text) if shape.frame_bytes == FRAME_BYTES_MIN => l4_header + text.len(),
            _ => all,
        },
    }
}

/// Where the stamp goes. `free` is the first byte that it may take, `end` the end of the packet.
fn sign(shape: &Shape<'_>, transport: Transport, free: usize, end: usize) -> Sign {
    match transport {
        _ if !shape.is_stamped || shape.kind == Kind::FragmentTiny => Sign::Not,
        _ if end >= free + STAMP_BYTES => Sign::Behind(end - STAMP_BYTES),
        Transport::Tcp(_) => Sign::Bare,
        _ => Sign::Not,
    }
}

fn write_ipv4(
    shape: &Shape<'_>,
    part: Part,
    payload: usize,
    options: &[u8],
    out: &mut [u8],
) -> Result<(), NoRoom> {
    let any = Ipv4Addr::UNSPECIFIED;
    let header = Ipv4Header {
        dont_fragment: shape.dont_fragment && part == Part::Whole,
        ..Ipv4Header::new(any, any, shape.kind.protocol(true))
    };
    let at = header.emit(payload + options.len(), out)?;
    out[at..at + options.len()].copy_from_slice(options);
    let words = (IPV4_BYTES + options.len()) / 4;
    out[0] = match shape.kind {
        Kind::BadIpVersion => 0x55,
        Kind::BadIpHeader => 0x44,
        _ => 0x40 | u8::try_from(words).unwrap_or(5),
    };
    if shape.kind == Kind::BadIpLength {
        lengthen(&mut out[2..4]);
    }
    let fragment = match part {
        Part::Whole => None,
        Part::First => Some(0x2000),
        Part::Later(0, more) => {
            Some(u16::try_from(payload / 8).unwrap_or(0) | (u16::from(more) << 13))
        }
        Part::Later(offset, more) => Some(offset | (u16::from(more) << 13)),
    };
    if let Some(word) = fragment {
        out[6..8].copy_from_slice(&word.to_be_bytes());
    }
    // What each packet brings: TTL, checksum.
    (out[8], out[10], out[11]) = (0, 0, 0);
    Ok(())
}

/// Hop limit and addresses are what each packet brings.
fn write_ipv6(shape: &Shape<'_>, payload: usize, out: &mut [u8]) -> Result<(), NoRoom> {
    let (any, protocol) = (Ipv6Addr::UNSPECIFIED, shape.kind.protocol(false));
    Ipv6Header { protocol, hop_limit: 0, source: any, destination: any }.emit(payload, out)?;
    match shape.kind {
        Kind::BadIpVersion => out[0] = 0x50,
        Kind::BadIpLength => lengthen(&mut out[4..6]),
        _ => {}
    }
    Ok(())
}

/// Makes a length lead out of the frame.
fn lengthen(field: &mut [u8]) {
    let length = u16::from_be_bytes([field[0], field[1]]).saturating_add(400);
    field.copy_from_slice(&length.to_be_bytes());
}

fn write_transport(shape: &Shape<'_>, transport: Transport, l4: usize, end: usize, out: &mut [u8]) {
    match transport {
        Transport::Nothing => {}
        Transport::Tcp(_) if shape.kind == Kind::FragmentTiny => {}
        Transport::Tcp(flags) => {
            let words: u8 = if shape.kind == Kind::BadTcpOffset { 4 } else { 5 };
            out[l4 + 12..l4 + 14].copy_from_slice(&[words << 4, flags.0]);
            let window = if sign_is_bare(shape, l4, end) { 0 } else { shape.window };
            out[l4 + 14..l4 + 16].copy_from_slice(&window.to_be_bytes());
        }
        Transport::Udp => {
            let len = end - l4;
            let len = match shape.kind {
                Kind::FragmentPair => 2 * len,
                Kind::FragmentFirst => len + 1480,
                Kind::BadUdpLength => len + 400,
                _ => len,
            };
            let len = u16::try_from(len).unwrap_or(u16::MAX);
            out[l4 + 4..l4 + 6].copy_from_slice(&len.to_be_bytes());
        }
        Transport::Icmp(message) if shape.is_ipv4 => out[l4] = message,
        // Echo request and reply of RFC 4443 section 4.
        Transport::Icmp(message) => out[l4] = if message == 8 { 128 } else { 129 },
    }
}

fn sign_is_bare(shape: &Shape<'_>, l4: usize, end: usize) -> bool {
    let text = shape.text.map_or(0, Text::len);
    let transport = shape.kind.transport(Part::Whole);
    sign(shape, transport, l4 + header_bytes(transport) + text, end) == Sign::Bare
}
