//! `parse`: from bytes to headers, and away with what a router must not forward.
//!
//! The checks and their order are those of `ip_rcv_core` and `ip_route_input_slow` (`net/ipv4/ip_input.c`,
//! `net/ipv4/route.c`): not for our MAC address, not IPv4, malformed, wrong header checksum, and addresses
//! that never stand on a wire (RFC 1812 5.3.7).

use std::net::Ipv4Addr;

use crate::batch::{Batch, Headers, Piece};
use crate::route::Forwarding;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet::{EtherType, Ethernet, HEADER_BYTES, MacAddr};
use crate::wire::ipv4::Ipv4;
use crate::wire::{IpProtocol, Malformed};

/// Reads the headers of every packet that has no verdict yet, and cuts Ethernet padding off.
pub fn parse(batch: &mut Batch, forwarding: &Forwarding) {
    for i in 0..batch.len() {
        if !batch.is_open(i) {
            continue;
        }
        let Some(link) = forwarding.port(batch.ingress[i]) else {
            batch.verdict[i] = Verdict::Drop(DropReason::PortDown);
            continue;
        };
        match headers(batch.bytes(i), MacAddr(link.mac)) {
            Ok(headers) => {
                let len = usize::from(headers.l3) + usize::from(headers.total_len);
                batch.headers[i] = headers;
                if let Some(frame) = batch.frame_mut(i) {
                    frame.truncate(len);
                }
            }
            Err(reason) => batch.verdict[i] = Verdict::Drop(reason),
        }
    }
}

fn headers(bytes: &[u8], mac: MacAddr) -> Result<Headers, DropReason> {
    let frame = Ethernet::new_checked(bytes).map_err(|_| DropReason::Truncated)?;
    let to = frame.destination();
    if to != mac {
        return Err(if to.is_multicast() { DropReason::L2Group } else { DropReason::OtherHost });
    }
    if frame.ether_type() != EtherType::IPV4 {
        return Err(DropReason::EtherType);
    }
    let packet = Ipv4::new_checked(frame.payload()).map_err(|malformed| match malformed {
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
    if packet.header_len() > 20 && packet.has_source_route() {
        return Err(DropReason::SourceRoute);
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
        source,
        destination,
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
fn transport(protocol: IpProtocol, payload: &[u8], headers: &mut Headers) {
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
fn narrow(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}
