//! A packet before the rules, and by what classifier and flow cache know it.

use super::address::Windows;
use super::classify::PacketKey;
use super::flow_cache::CacheKey;
use super::{Connection, Dice, Hook};
use crate::batch::{Addresses, Headers, Piece};
use crate::conntrack::CtState;
use crate::port::PortIndex;
use crate::route::Forwarding;
use crate::wire::IpProtocol;

/// Bits of a hook's number.
const HOOK_BITS: u32 = 2;

/// A packet before the rules.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Where it meets the rules.
    pub hook: Hook,
    /// What was read from it.
    pub headers: &'a Headers,
    /// Where it came in; in OUTPUT the port of the machine itself, which has no name.
    pub ingress: PortIndex,
    /// Where it would leave; in INPUT the port of the machine itself.
    pub egress: PortIndex,
    /// Its bytes from the IP header to the end of the datagram, also of one that came in fragments.
    pub packet: &'a [u8],
    /// Its Ethernet header.
    pub link: &'a [u8],
    /// Addresses and routes of the machine.
    pub forwarding: &'a Forwarding,
    /// The flow it belongs to.
    pub connection: Connection<'a>,
    /// The worker's random numbers.
    pub dice: &'a Dice,
    /// Now, in nanoseconds of a clock that only goes forward.
    pub now_ns: u64,
    /// The time of day, UTC, in seconds since 1970.
    pub wall_s: u64,
    /// The mark that rules gave it, for later rules to see; 0 before the first. That of table raw is there for table
    /// filter; nothing behind the rules looks at marks.
    pub mark: u32,
}

impl<'a> Candidate<'a> {
    /// The second byte of its IPv4 header: type of service (RFC 791), or DSCP and ECN (RFC 3168); of IPv6 the traffic
    /// class, which is the same.
    pub(super) fn tos(&self) -> u8 {
        match (self.headers.addresses, self.packet) {
            (Addresses::V4 { .. }, &[_, tos, ..]) => tos,
            (Addresses::V6 { .. }, &[a, b, ..]) => a << 4 | b >> 4,
            _ => 0,
        }
    }

    /// Its bytes behind the IP header, and behind extension headers. Of a later fragment of IPv6 the kernel of today
    /// does not say where they are, and takes the packet itself for them (`ipv6_find_hdr`,
    /// net/ipv6/exthdrs_core.c).
    pub(super) fn transport_header(&self) -> &'a [u8] {
        let headers = self.headers;
        if matches!((headers.addresses, headers.piece), (Addresses::V6 { .. }, Piece::Later(_))) {
            return self.packet;
        }
        let header_len = headers.l4.saturating_sub(headers.l3);
        self.packet.get(usize::from(header_len)..).unwrap_or_default()
    }
}

impl Candidate<'_> {
    pub(super) fn key(&self, windows: Windows) -> Option<PacketKey> {
        packet_key(self.headers, (self.ingress, self.egress), windows)
    }
}

/// Whether the ports of packets of this protocol are read: those of TCP and UDP.
pub(super) fn has_ports(protocol: u8) -> bool {
    matches!(IpProtocol(protocol), IpProtocol::TCP | IpProtocol::UDP)
}

/// What the classifier looks at. A packet whose ports should be there and cannot be read has none: what a test of
/// ports makes of it is for each rule to say.
pub(super) fn packet_key(
    headers: &Headers,
    (ingress, egress): (PortIndex, PortIndex),
    windows: Windows,
) -> Option<PacketKey> {
    let unread = has_ports(headers.protocol) && !headers.transport;
    if matches!(headers.piece, Piece::Later(_)) || unread {
        return None;
    }
    let (source, destination) = windows.of(&headers.addresses);
    Some(PacketKey::new(
        (source, headers.source_port),
        (destination, headers.destination_port),
        headers.protocol,
        ingress,
        egress,
    ))
}

/// By what a [`super::FlowCache`] knows a packet, if it can know it: what the classifier looks at, the hook and the
/// state. Of IPv6 the classifier does not look at all of an address; the cache does.
#[must_use]
pub fn cache_key(
    hook: Hook,
    headers: &Headers,
    ports: (PortIndex, PortIndex),
    state: CtState,
) -> Option<CacheKey> {
    let key = packet_key(headers, ports, Windows::default())?
        .marked(hook as u8 | (state as u8) << HOOK_BITS);
    Some(match headers.addresses {
        Addresses::V4 { .. } => CacheKey::new(key),
        Addresses::V6 { source, destination } => CacheKey::of_six(key, source, destination),
    })
}
