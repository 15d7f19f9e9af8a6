//! `parse`: from bytes to headers, and away with what a router must not forward.
//!
//! The checks and their order are those of `ip_rcv_core` and `ip_route_input_slow` (`net/ipv4/ip_input.c`,
//! `net/ipv4/route.c`): not for our MAC address, not IPv4, malformed, wrong header checksum, and addresses
//! that never stand on a wire (RFC 1812 5.3.7). IPv6, where it is forwarded, is read by `parse6`.

use std::net::Ipv4Addr;

use super::parse6::{Refused, headers6};
use crate::batch::{Addresses, Batch, Headers, Piece};
use crate::frame::prefetch;
use crate::route::Forwarding;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_BYTES, MacAddr};
use crate::wire::ipv4::{HEADER_BYTES_MIN, Ipv4};
use crate::wire::{IpProtocol, Malformed};

/// Reads the headers of every packet that has no verdict yet, and cuts Ethernet padding off.
pub fn parse(batch: &mut Batch, forwarding: &Forwarding) {
    // What the driver has written is in another core's cache, or in memory: all of it is asked for before the first is
    // waited for.
    for i in batch.turn() {
        if let Some(first) = batch.bytes(i).first() {
            prefetch(first);
        }
    }
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        let Some(link) = forwarding.port(batch.ingress[i]) else {
            batch.verdict[i] = Verdict::Drop(DropReason::PortDown);
            continue;
        };
        let ipv6 = forwarding.forwards_ipv6();
        match headers(batch.bytes(i), MacAddr(link.mac), ipv6) {
            Ok(headers)
                if forwarding.host() != Some(batch.ingress[i])
                    && is_in_own_name(&headers.addresses, forwarding) =>
            {
                batch.verdict[i] = Verdict::Drop(DropReason::Martian);
            }
            Ok(headers) => {
                let len = usize::from(headers.l3) + usize::from(headers.total_len);
                batch.headers[i] = headers;
                if let Some(frame) = batch.frame_mut(i) {
                    frame.truncate(len);
                }
            }
            Err(Refused { reason, answer }) => {
                batch.verdict[i] = Verdict::Drop(reason);
                batch.answer[i] = answer;
                batch.headers[i].l3 = narrow(HEADER_BYTES);
            }
        }
    }
}

/// From the wire, in the machine's own name: `fib_validate_source` (`net/ipv4/fib_frontend.c`). The kernel lets IPv6
/// pass that does so; here only where the machine's own packets pass through, and nobody else is to be taken for it.
#[inline]
fn is_in_own_name(addresses: &Addresses, forwarding: &Forwarding) -> bool {
    match addresses {
        Addresses::V4 { source, .. } => forwarding.local_addresses().binary_search(source).is_ok(),
        Addresses::V6 { source, .. } => forwarding.host().is_some() && forwarding.has6(*source),
    }
}

fn headers(bytes: &[u8], mac: MacAddr, ipv6: bool) -> Result<Headers, Refused> {
    let frame = Ethernet::new_checked(bytes).map_err(|_| DropReason::Truncated)?;
    let to = frame.destination();
    if to != mac {
        let group = to.is_multicast();
        return Err(if group { DropReason::L2Group } else { DropReason::OtherHost }.into());
    }
    match frame.ether_type() {
        EtherType::IPV4 => Ok(headers4(frame.payload())?),
        EtherType::IPV6 if ipv6 => headers6(frame.payload()),
        _ => Err(DropReason::EtherType.into()),
    }
}

#[inline]
fn headers4(bytes: &[u8]) -> Result<Headers, DropReason> {
    let packet = Ipv4::new_checked(bytes).map_err(|malformed| match malformed {
        Malformed::Truncated { .. } => DropReason::Truncated,
        Malformed::TotalLength { declared, have, .. } if declared > have => DropReason::Truncated,
        _ => DropReason::IpHeader,
    })?;
    if !packet.checksum_ok() {
        return Err(DropReason::IpChecksum);
    }
    let (source, destination) = (packet.source(), packet.destination());
    if is_martian_source(source) || is_martian_destination(destination) {
        return Err(DropReason::Martian);
    }
    if packet.header_len() > HEADER_BYTES_MIN {
        // A broken option hides what stands behind it (ip_options_compile refuses it, too).
        if packet.options().any(|option| option.is_err()) {
            return Err(DropReason::IpHeader);
        }
        if packet.has_source_route() {
            return Err(DropReason::SourceRoute);
        }
    }
    let piece = match (packet.fragment_offset(), packet.more_fragments()) {
        (0, false) => Piece::Whole,
        (0, true) => Piece::First,
        // The view gives the offset in bytes; it is always a multiple of eight.
        (offset, _) => Piece::Later(offset / 8),
    };
    let l3 = HEADER_BYTES;
    let mut headers = Headers {
        l3: narrow(l3),
        l4: narrow(l3 + packet.header_len()),
        total_len: packet.total_len(),
        addresses: Addresses::V4 { source, destination },
        protocol: packet.protocol().0,
        ttl: packet.ttl(),
        piece,
        dont_fragment: packet.dont_fragment(),
        ..Headers::default()
    };
    if !matches!(piece, Piece::Later(_)) {
        transport(packet.protocol(), packet.payload(), &mut headers);
    }
    Ok(headers)
}

/// Reads ports and TCP flags. A header that is cut off leaves `transport` false: what that means is for
/// the rules to say, as in the kernel.
pub(super) fn transport(protocol: IpProtocol, payload: &[u8], headers: &mut Headers) {
    let header_len = match protocol {
        IpProtocol::TCP => 20,
        IpProtocol::UDP => 8,
        _ => return,
    };
    let Some(header) = payload.get(..header_len) else { return };
    headers.source_port = u16::from_be_bytes([header[0], header[1]]);
    headers.destination_port = u16::from_be_bytes([header[2], header[3]]);
    if protocol == IpProtocol::TCP {
        headers.tcp_flags = header[13];
    }
    headers.transport = true;
}

/// `ip_route_input_slow`: multicast, limited broadcast, "this network" and loopback are no sources.
/// (The kernel accepts 0.0.0.0 only together with a limited broadcast, which is never forwarded.)
fn is_martian_source(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 0 | 127 | 224..=239) || address.is_broadcast()
}

fn is_martian_destination(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 0 | 127)
}

/// Offsets inside a frame are below 64 KiB.
pub(super) fn narrow(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{EthernetHeader, IpProtocol, Ipv4Header};

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const ALICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const BOB: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);

    /// A frame for Weir with an IPv4 packet of this protocol and payload, and perhaps bytes behind it.
    fn frame(protocol: IpProtocol, payload: &[u8], padding: usize) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES + 20 + payload.len() + padding];
        let ether_type = EtherType::IPV4;
        let ethernet = EthernetHeader { destination: MAC, source: MacAddr([4; 6]), ether_type };
        ethernet.emit(&mut bytes).expect("room");
        let header = Ipv4Header::new(ALICE, BOB, protocol);
        header.emit(payload.len(), &mut bytes[HEADER_BYTES..]).expect("room");
        bytes[HEADER_BYTES + 20..][..payload.len()].copy_from_slice(payload);
        bytes
    }

    /// Changes a packet and makes its header checksum right again.
    fn changed(mut frame: Vec<u8>, change: fn(&mut Ipv4<&mut [u8]>)) -> Vec<u8> {
        let mut packet = Ipv4::new_checked(&mut frame[HEADER_BYTES..]).expect("a packet");
        change(&mut packet);
        packet.fill_checksum();
        frame
    }

    #[test]
    fn everything_that_later_stages_need_is_read() {
        let mut segment = [0; 25];
        segment[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        segment[13] = 0x12;
        let headers = headers(&frame(IpProtocol::TCP, &segment, 6), MAC, false).expect("a packet");
        assert_eq!((headers.l3, headers.l4, headers.total_len), (14, 34, 45));
        assert_eq!(headers.v4(), Some((ALICE, BOB)));
        assert_eq!((headers.protocol, headers.ttl), (6, 64));
        assert_eq!((headers.source_port, headers.destination_port), (40_000, 80));
        assert_eq!((headers.tcp_flags, headers.transport), (0x12, true));
        assert_eq!((headers.piece, headers.dont_fragment), (Piece::Whole, true));
    }

    #[test]
    fn a_transport_header_counts_only_if_it_is_whole() {
        for (protocol, len, whole) in [
            (IpProtocol::TCP, 19, false),
            (IpProtocol::TCP, 20, true),
            (IpProtocol::UDP, 7, false),
            (IpProtocol::UDP, 8, true),
            (IpProtocol::ICMP, 64, false),
        ] {
            // Padding is no part of the packet, whatever it looks like.
            let headers =
                headers(&frame(protocol, &vec![1; len], 20), MAC, false).expect("a packet");
            assert_eq!(headers.transport, whole, "{protocol} {len}");
            assert_eq!(headers.source_port, if whole { 0x0101 } else { 0 });
        }
    }

    #[test]
    fn fragments_are_told_apart() {
        let datagram = frame(IpProtocol::UDP, &[1; 16], 0);
        let first = changed(datagram.clone(), |packet| packet.set_fragment(0, true));
        let middle = changed(datagram.clone(), |packet| packet.set_fragment(16, true));
        let last = changed(datagram, |packet| packet.set_fragment(24, false));
        for (frame, piece, ports) in [
            (first, Piece::First, true),
            (middle, Piece::Later(2), false),
            (last, Piece::Later(3), false),
        ] {
            let headers = headers(&frame, MAC, false).expect("a packet");
            assert_eq!((headers.piece, headers.transport), (piece, ports));
        }
    }

    proptest! {
        /// Whatever comes: no panic, and what is read lies inside the frame.
        #[test]
        fn any_bytes_are_read_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..120),
            valid_start: bool, ihl in 0_u8..16, total_len in 0_u16..140,
        ) {
            if valid_start && bytes.len() >= 34 {
                bytes[..6].copy_from_slice(&MAC.0);
                bytes[12..15].copy_from_slice(&[8, 0, 0x40 | ihl]);
                bytes[16..18].copy_from_slice(&total_len.to_be_bytes());
                // An address that may be; and the right checksum, if the header is one at all.
                (bytes[26], bytes[30]) = (10, 10);
                if let Ok(mut packet) = Ipv4::new_checked(&mut bytes[14..]) {
                    packet.fill_checksum();
                }
            }
            if let Ok(headers) = headers(&bytes, MAC, false) {
                let end = usize::from(headers.l3) + usize::from(headers.total_len);
                prop_assert!(usize::from(headers.l4) <= end && end <= bytes.len());
                prop_assert!(!headers.transport || usize::from(headers.l4) + 8 <= end);
            }
        }
    }
}
