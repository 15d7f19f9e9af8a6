//! What `parse` reads from an IPv6 packet.
//!
//! The checks and their order are those of `ip6_rcv_core` (`net/ipv6/ip6_input.c`) and, of hop-by-hop options,
//! `ip6_parse_tlv` (`net/ipv6/exthdrs.c`). Two are stricter, for behind a chain of extension headers that cannot be
//! followed no rule could be asked: one that leads out of the packet (the kernel forwards it; RFC 7112 section 5 lets
//! a firewall drop it), and one of more than eight. A jumbogram (RFC 2675) fits no frame and is refused.

use std::net::Ipv6Addr;

use super::parse::{narrow, transport};
use crate::batch::{Addresses, Headers, Piece};
use crate::respond::{Answer, Icmpv6Error};
use crate::verdict::DropReason;
use crate::wire::ethernet::HEADER_BYTES as LINK_BYTES;
use crate::wire::ipv6::{HEADER_BYTES, extension};
use crate::wire::{Ipv6, Malformed};

/// Options other than padding that are looked at, at most (`net.ipv6.max_hbh_opts_number`).
const OPTIONS_MAX: usize = 8;

/// Bytes of padding in a row: more would not be needed to align anything.
const PADDING_MAX: usize = 7;

/// Option types (IANA "Destination Options and Hop-by-Hop Options").
mod option {
    pub(super) const PAD1: u8 = 0;
    pub(super) const PADN: u8 = 1;
    pub(super) const ROUTER_ALERT: u8 = 5;
    pub(super) const JUMBO: u8 = 0xc2;
}

/// Why a packet ends, and what its sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) reason: DropReason,
    pub(super) answer: Option<Answer>,
}

impl From<DropReason> for Refused {
    fn from(reason: DropReason) -> Self {
        Self { reason, answer: None }
    }
}

/// Reads the headers of the IPv6 packet at the start of `bytes`, which follows an Ethernet header.
pub(super) fn headers6(bytes: &[u8]) -> Result<Headers, Refused> {
    let packet = Ipv6::new_checked(bytes);
    // The addresses come before the length.
    if let Ok(packet) = &packet
        && (is_martian_source(packet.source()) || is_martian_destination(packet.destination()))
    {
        return Err(DropReason::Martian.into());
    }
    let packet = packet.map_err(|malformed| match malformed {
        Malformed::Version { .. } => DropReason::IpHeader,
        _ => DropReason::Truncated,
    })?;
    if packet.next_header() == extension::HOP_BY_HOP {
        hop_by_hop(packet.payload(), packet.destination())?;
    }
    let upper = packet.upper_layer().map_err(|_| DropReason::IpHeader)?;
    let piece = match upper.fragment {
        Some(fragment) if fragment.offset > 0 => Piece::Later(fragment.offset / 8),
        Some(fragment) if fragment.more => Piece::First,
        Some(_) => Piece::Atomic,
        None => Piece::Whole,
    };
    let mut headers = Headers {
        l3: narrow(LINK_BYTES),
        l4: narrow(LINK_BYTES + HEADER_BYTES + upper.offset),
        // A frame is shorter than 64 KiB.
        total_len: narrow(HEADER_BYTES + packet.payload().len()),
        addresses: Addresses::V6 { source: packet.source(), destination: packet.destination() },
        protocol: upper.protocol.0,
        ttl: packet.hop_limit(),
        piece,
        dont_fragment: true,
        ..Headers::default()
    };
    if !matches!(piece, Piece::Later(_)) {
        let payload = packet.payload().get(upper.offset..).unwrap_or_default();
        transport(upper.protocol, payload, &mut headers);
    }
    Ok(headers)
}

/// Multicast and loopback are no sources, nor are IPv4 addresses in IPv6 clothes; and a router forwards nothing that
/// nobody sent (RFC 4291 section 2.5.2; `ip6_forward`, `net/ipv6/ip6_output.c`).
fn is_martian_source(address: Ipv6Addr) -> bool {
    address.is_multicast()
        || address.is_loopback()
        || address.is_unspecified()
        || address.to_ipv4_mapped().is_some()
}

fn is_martian_destination(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// Checks the hop-by-hop options at the start of a payload, which every router on the way has to look at (RFC 8200
/// section 4.3). The upper bits of an unknown option's type say what is to be done (section 4.2).
fn hop_by_hop(payload: &[u8], destination: Ipv6Addr) -> Result<(), Refused> {
    let refused = Refused::from(DropReason::IpHeader);
    let len = payload.get(1).map(|units| (usize::from(*units) + 1) * 8);
    let options = len.and_then(|len| payload.get(..len)).ok_or(refused)?;
    let (mut at, mut count, mut padding) = (2, 0, 0);
    while let Some(kind) = options.get(at).copied() {
        if kind == option::PAD1 {
            (at, padding) = (at + 1, padding + 1);
            if padding > PADDING_MAX {
                return Err(refused);
            }
            continue;
        }
        let len = options.get(at + 1).map(|len| usize::from(*len)).ok_or(refused)?;
        let data = options.get(at + 2..at + 2 + len).ok_or(refused)?;
        if kind == option::PADN {
            padding += len + 2;
            if padding > PADDING_MAX || data.iter().any(|byte| *byte != 0) {
                return Err(refused);
            }
        } else {
            (count, padding) = (count + 1, 0);
            let known = kind == option::ROUTER_ALERT && len == 2;
            if count > OPTIONS_MAX
                || kind == option::JUMBO
                || kind == option::ROUTER_ALERT && !known
            {
                return Err(refused);
            }
            match kind >> 6 {
                0b00 => {}
                0b01 => return Err(refused),
                0b11 if destination.is_multicast() => return Err(refused),
                _ => {
                    let pointer = u32::try_from(HEADER_BYTES + at).unwrap_or(0);
                    let error = Icmpv6Error::UnknownOption { pointer };
                    return Err(Refused { answer: Some(Answer::Error6(error)), ..refused });
                }
            }
        }
        at += len + 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{IpProtocol, Ipv6Header};

    const ALICE: &str = "2001:db8:1::2";
    const BOB: &str = "2001:db8:2::2";

    fn packet(source: &str, destination: &str, next: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            protocol: IpProtocol(next),
            hop_limit: 64,
            source: source.parse().expect("an address"),
            destination: destination.parse().expect("an address"),
        };
        let mut bytes = vec![0; HEADER_BYTES + payload.len()];
        header.emit(payload.len(), &mut bytes).expect("room");
        bytes[HEADER_BYTES..].copy_from_slice(payload);
        bytes
    }

    fn reason(bytes: &[u8]) -> Option<DropReason> {
        headers6(bytes).err().map(|refused| refused.reason)
    }

    #[test]
    fn everything_that_later_stages_need_is_read_behind_extension_headers() {
        let mut payload =
            vec![60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 6, 0, 4, 0, 0, 0, 0, 0];
        let mut segment = [0; 21];
        segment[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        segment[13] = 0x12;
        payload.extend(segment);
        let mut bytes = packet(ALICE, BOB, 0, &payload);
        bytes.extend([9; 5]);
        let headers = headers6(&bytes).expect("a packet");
        assert_eq!((headers.l3, headers.l4, headers.total_len), (14, 14 + 64, 85));
        assert_eq!(headers.source().to_string(), ALICE);
        assert_eq!(headers.destination().to_string(), BOB);
        assert_eq!(headers.v4(), None);
        assert_eq!((headers.protocol, headers.ttl), (6, 64));
        assert_eq!((headers.source_port, headers.destination_port), (40_000, 80));
        assert_eq!((headers.tcp_flags, headers.transport), (0x12, true));
        assert_eq!((headers.piece, headers.dont_fragment), (Piece::Whole, true));
    }

    #[test]
    fn fragments_are_told_apart_and_an_atomic_one_has_ports() {
        let fragment = |bits: u16| {
            let [a, b] = bits.to_be_bytes();
            let mut payload = vec![17, 0, a, b, 0, 0, 0, 7];
            payload.extend([1; 16]);
            let headers = headers6(&packet(ALICE, BOB, 44, &payload)).expect("a packet");
            (headers.piece, headers.protocol, headers.transport, headers.l4)
        };
        assert_eq!(fragment(0), (Piece::Atomic, 17, true, 14 + 48));
        assert_eq!(fragment(1), (Piece::First, 17, true, 14 + 48));
        assert_eq!(fragment(16 << 3 | 1), (Piece::Later(16), 17, false, 14 + 48));
        assert_eq!(fragment(3 << 3), (Piece::Later(3), 17, false, 14 + 48));
    }

    #[test]
    fn what_stands_on_no_wire_is_refused() {
        for (source, destination) in [
            ("::", BOB),
            ("::1", BOB),
            ("ff02::1", BOB),
            ("::ffff:10.0.0.1", BOB),
            (ALICE, "::1"),
            (ALICE, "::"),
        ] {
            let bytes = packet(source, destination, 59, &[]);
            assert_eq!(reason(&bytes), Some(DropReason::Martian), "{source} {destination}");
        }
        // A source of the link is for `route` to tell: it is answered.
        assert_eq!(reason(&packet("fe80::1", BOB, 59, &[])), None);
        let mut bytes = packet(ALICE, BOB, 17, &[0; 8]);
        assert_eq!(reason(&bytes[..47]), Some(DropReason::Truncated));
        assert_eq!(reason(&bytes[..39]), Some(DropReason::Truncated));
        bytes[0] = 0x45;
        assert_eq!(reason(&bytes), Some(DropReason::IpHeader));
        // A chain that leads out, and one of nine headers.
        assert_eq!(
            reason(&packet(ALICE, BOB, 60, &[17, 1, 1, 4, 0, 0, 0, 0])),
            Some(DropReason::IpHeader)
        );
        let long = [60, 0, 1, 4, 0, 0, 0, 0].repeat(9);
        assert_eq!(reason(&packet(ALICE, BOB, 60, &long)), Some(DropReason::IpHeader));
    }

    #[test]
    fn hop_by_hop_options_are_looked_at_as_the_kernel_does() {
        let fine = None;
        let refused = Some((DropReason::IpHeader, None));
        let unknown = |pointer| {
            let error = Icmpv6Error::UnknownOption { pointer };
            Some((DropReason::IpHeader, Some(Answer::Error6(error))))
        };
        let nine = [6, 0].repeat(9);
        for (options, expected) in [
            (&[1, 4, 0, 0, 0, 0][..], fine),
            (&[5, 2, 0, 0, 1, 0], fine),
            (&[5, 3, 0, 0, 0, 0], refused),
            (&[1, 4, 0, 0, 0, 1], refused),
            (&[1, 5, 0, 0, 0, 0], refused),
            (&[0, 0, 0, 0, 0, 1], refused),
            // Six of padding, and two more.
            (&[0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], refused),
            (&[0x1e, 4, 9, 9, 9, 9], fine),
            (&[0x5e, 4, 9, 9, 9, 9], refused),
            (&[0x9e, 4, 9, 9, 9, 9], unknown(42)),
            (&[0, 0, 0xde, 2, 9, 9], unknown(44)),
            // A jumbogram.
            (&[0xc2, 4, 0, 1, 0, 0], refused),
            (&[&nine[..16], &[1, 4, 0, 0, 0, 0]].concat(), fine),
            (&[&nine[..], &[1, 2, 0, 0]].concat(), refused),
        ] {
            let units = u8::try_from((options.len() + 2) / 8 - 1).expect("few");
            let payload = [&[59, units], options].concat();
            let found = headers6(&packet(ALICE, BOB, 0, &payload)).err();
            let found = found.map(|refused| (refused.reason, refused.answer));
            assert_eq!(found, expected, "{options:02x?}");
        }
        let many = packet(ALICE, "ff0e::1", 0, &[59, 0, 0xde, 4, 0, 0, 0, 0]);
        assert_eq!(headers6(&many).err(), Some(DropReason::IpHeader.into()));
        // Of no length, as a jumbogram has it.
        let mut jumbo = packet(ALICE, BOB, 0, &[59, 0, 0xc2, 4, 0, 1, 0, 0]);
        jumbo[4..6].fill(0);
        assert_eq!(reason(&jumbo), Some(DropReason::IpHeader));
    }

    proptest! {
        /// Whatever comes: no panic, and what is read lies inside the packet.
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..160),
            next in prop::sample::select(vec![0_u8, 6, 17, 43, 44, 51, 58, 59, 60]), len in 0_u16..130,
        ) {
            if bytes.len() > HEADER_BYTES {
                bytes[0] = 0x60;
                bytes[4..6].copy_from_slice(&len.to_be_bytes());
                bytes[6] = next;
                (bytes[8], bytes[24]) = (0x20, 0x20);
            }
            if let Ok(headers) = headers6(&bytes) {
                let end = LINK_BYTES + usize::from(headers.total_len);
                prop_assert!(usize::from(headers.l4) <= end && end <= LINK_BYTES + bytes.len());
                prop_assert!(!headers.transport || usize::from(headers.l4) + 8 <= end);
            }
        }
    }
}
