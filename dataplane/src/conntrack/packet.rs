//! `Packet`: a datagram as connection tracking sees it.
//!
//! Only what is needed to find the flow is read here; what the protocols read is behind [`Packet::l4`]. The
//! lengths at which a header is too short are the kernel's (`nf_ct_get_tuple`, `ipv4_get_l4proto`).

use std::net::IpAddr;

use super::Kind;
use super::tuple::Tuple;
use crate::wire::checksum;
use crate::wire::ipv4::Ipv4;
use crate::wire::tcp::TcpFlags;
use crate::wire::{IpProtocol, icmp, ipv6};

/// ICMP types that report on another packet (`icmp_is_err`): unreachable, source quench, redirect, time exceeded,
/// parameter problem (RFC 792).
const ICMP_ERRORS: [u8; 5] = [3, 4, 5, 11, 12];

/// The highest type of RFC 1122 3.2.2; what is beyond is to be discarded, but for extended echo (RFC 8335).
const ICMP_TYPE_MAX: u8 = 18;
const ICMP_EXT_ECHO: [u8; 2] = [42, 43];

pub(super) const SCTP: u8 = 132;

const GRE_VERSION: u8 = 7;
const GRE_PPP: [u8; 2] = [0x88, 0x0b];

/// A whole datagram.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    pub(super) kind: Kind,
    pub(super) protocol: u8,
    /// The transport header and all behind it.
    pub(super) l4: &'a [u8],
    /// Bytes of the whole, IP header included.
    pub(super) len: u32,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

/// Which flow a packet is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Subject {
    /// The one that it is part of.
    Own(Tuple),
    /// The one that the quoted packet is part of; this is the tuple of those that answer the quoted one. It comes
    /// with that packet's own sender, who must be whom the error is sent to.
    Quoted(Tuple),
}

/// Why a packet cannot be part of any flow. It is INVALID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untrackable {
    /// A header that is cut off, or a fragment.
    Malformed,
    /// An ICMP message with something wrong: counted as `error`, not as `invalid`.
    Icmp,
    /// Neighbour discovery and the like (ICMPv6 130 to 136, 143) is never tracked: not INVALID, but UNTRACKED, unless
    /// checksums matter and its own is wrong.
    NeighbourDiscovery {
        /// Whether it is right.
        sound: bool,
    },
}

impl<'a> Packet<'a> {
    /// Reads a datagram from its IPv4 header on; bytes behind its total length do not count.
    ///
    /// # Errors
    /// [`Untrackable`]: it has the state INVALID, and touches no flow.
    pub fn ipv4(bytes: &'a [u8]) -> Result<Self, Untrackable> {
        let ip = Ipv4::new_checked(bytes).map_err(|_| Untrackable::Malformed)?;
        if ip.is_fragment() {
            return Err(Untrackable::Malformed);
        }
        let header_len = ip.header_len();
        let l4 = bytes.get(header_len..usize::from(ip.total_len()));
        let l4 = l4.ok_or(Untrackable::Malformed)?;
        let packet = Self::new(ip.source().into(), ip.destination().into(), ip.protocol().0, l4);
        Ok(packet.of_len(ip.total_len().into()))
    }

    /// As [`Packet::ipv4`], of what a parser has found already. `l4` is everything behind the IP header, which is taken
    /// for one without options: see [`Packet::of_len`].
    #[must_use]
    #[inline]
    pub fn new(source: IpAddr, destination: IpAddr, protocol: u8, l4: &'a [u8]) -> Self {
        let kind = Kind::of(protocol, source.is_ipv4());
        let header_len = if source.is_ipv4() { 20 } else { 40 };
        #[expect(clippy::cast_possible_truncation, reason = "a packet is shorter than 4 GB")]
        let len = l4.len() as u32 + header_len;
        Self { kind, protocol, l4, len, source, destination }
    }

    /// The same, of that many bytes, IP header included.
    #[must_use]
    #[inline]
    pub fn of_len(self, len: u32) -> Self {
        Self { len, ..self }
    }

    /// Which flow it is about.
    #[inline]
    pub(super) fn subject(&self) -> Result<Subject, Untrackable> {
        let quoting = match self.kind {
            Kind::Icmp => icmp_error(self.l4)?,
            Kind::Icmpv6 => self.icmpv6_error()?,
            _ => false,
        };
        if quoting {
            let quoted = quoted(self.source.is_ipv4(), self.l4).ok_or(Untrackable::Icmp)?;
            return Ok(Subject::Quoted(quoted.inverted().ok_or(Untrackable::Icmp)?));
        }
        let Self { kind, protocol, l4, source, destination, .. } = *self;
        let tuple = tuple(source, destination, protocol, kind, l4);
        Ok(Subject::Own(tuple.ok_or(Untrackable::Malformed)?))
    }

    /// As [`icmp_error`] for ICMPv6 (`nf_conntrack_icmpv6_error`): types below 128 report on another packet (RFC 4443
    /// 2.1).
    fn icmpv6_error(&self) -> Result<bool, Untrackable> {
        match *self.l4 {
            [130..=136 | 143, ..] if self.l4.len() >= icmp::HEADER_BYTES => {
                Err(Untrackable::NeighbourDiscovery { sound: self.checksum_ok() })
            }
            [kind, ..] if self.l4.len() >= icmp::HEADER_BYTES => Ok(kind < 128),
            _ => Err(Untrackable::Icmp),
        }
    }

    /// The tuple of the flow that it is about; of a packet that quotes another, the tuple of those that answer that
    /// other one.
    #[must_use]
    pub fn tuple(&self) -> Option<Tuple> {
        match self.subject().ok()? {
            Subject::Own(tuple) | Subject::Quoted(tuple) => Some(tuple),
        }
    }

    /// Its own tuple, also of a packet that quotes another; `None` if its transport header is cut off
    /// (`nf_ct_get_tuplepr`, net/netfilter/nf_conntrack_core.c).
    #[must_use]
    pub fn own_tuple(&self) -> Option<Tuple> {
        tuple(self.source, self.destination, self.protocol, self.kind, self.l4)
    }

    /// Whether it is a TCP segment that acknowledges, and neither begins nor ends anything.
    #[inline]
    pub(super) fn merely_acknowledges(&self) -> bool {
        let flags = TcpFlags(self.l4.get(13).copied().unwrap_or(0));
        let ends = [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST];
        flags.contains(TcpFlags::ACK) && !ends.into_iter().any(|flag| flags.contains(flag))
    }

    /// Whether its transport checksum is right, partial (the sender left it to hardware that a virtual link does not
    /// have: [`checksum`]), or absent. Lengths too: what cannot be summed is not right.
    #[must_use]
    #[inline]
    pub fn checksum_ok(&self) -> bool {
        let (protocol, covered) = match self.kind {
            Kind::Tcp => (IpProtocol::TCP, self.l4),
            Kind::Udp => match udp_datagram(self.l4) {
                Some(datagram) if datagram[6..8] == [0, 0] => return true,
                // The kernel sums to the end of the packet, also behind a shorter datagram.
                Some(_) => (IpProtocol::UDP, self.l4),
                None => return false,
            },
            Kind::Icmp => return checksum::checksum(self.l4) == 0,
            Kind::Icmpv6 => (IpProtocol::ICMPV6, self.l4),
            Kind::Gre | Kind::Other | Kind::Free => return true,
        };
        let Ok(len) = u16::try_from(covered.len()) else { return false };
        let pseudo = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                checksum::pseudo_v4(source, destination, protocol, len)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                checksum::pseudo_v6(source, destination, protocol, u32::from(len))
            }
            _ => return false,
        };
        let partial = match self.kind {
            Kind::Tcp => checksum::is_partial_tcp(pseudo, covered),
            Kind::Udp => checksum::is_partial_udp(pseudo, covered),
            _ => false,
        };
        partial || checksum::verify_transport(pseudo, covered)
    }
}

/// What of the payload is the UDP datagram; `None` if its length field is wrong (`udp_error`).
pub(super) fn udp_datagram(l4: &[u8]) -> Option<&[u8]> {
    let header: &[u8; 8] = l4.first_chunk()?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if len < header.len() { None } else { l4.get(..len) }
}

#[inline]
fn tuple(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    kind: Kind,
    l4: &[u8],
) -> Option<Tuple> {
    let ports = |l4: &[u8]| {
        let [a, b, c, d] = *l4.first_chunk::<4>()?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    };
    let (source_port, destination_port) = match kind {
        Kind::Tcp | Kind::Udp => ports(l4)?,
        Kind::Icmp | Kind::Icmpv6 => {
            let header: &[u8; 8] = l4.first_chunk()?;
            let id = u16::from_be_bytes([header[4], header[5]]);
            (id, u16::from_be_bytes([header[0], header[1]]))
        }
        Kind::Gre => gre_key(l4)?,
        Kind::Other if protocol == SCTP => ports(l4)?,
        // Nothing that could be tracked (`ipv6_skip_exthdr`, net/ipv6/exthdrs_core.c), and what only IPv4 has
        // (`nf_conntrack_icmp_packet`).
        Kind::Other
            if source.is_ipv6()
                && matches!(IpProtocol(protocol), ipv6::NO_NEXT_HEADER | IpProtocol::ICMP) =>
        {
            return None;
        }
        Kind::Other | Kind::Free => (0, 0),
    };
    Some(Tuple { source, destination, source_port, destination_port, protocol })
}

/// The call of a PPTP tunnel (RFC 2637 4.1) takes the place of a port; plain GRE (RFC 2784) has none
/// (`gre_pkt_to_tuple`).
fn gre_key(l4: &[u8]) -> Option<(u16, u16)> {
    match *l4 {
        [_, flags, a, b, ref rest @ ..] if flags & GRE_VERSION == 1 => {
            match rest.first_chunk::<4>() {
                None => Some((0, 0)),
                Some(_) if [a, b] != GRE_PPP => None,
                Some([_, _, call @ ..]) => Some((0, u16::from_be_bytes(*call))),
            }
        }
        _ => Some((0, 0)),
    }
}

/// Whether an ICMP message reports on another packet (`nf_conntrack_icmpv4_error`).
#[inline]
fn icmp_error(l4: &[u8]) -> Result<bool, Untrackable> {
    let kind = match l4 {
        [kind, ..] if l4.len() >= icmp::HEADER_BYTES => *kind,
        _ => return Err(Untrackable::Icmp),
    };
    if kind > ICMP_TYPE_MAX && !ICMP_EXT_ECHO.contains(&kind) {
        return Err(Untrackable::Icmp);
    }
    Ok(ICMP_ERRORS.contains(&kind))
}

/// The tuple of the packet that an ICMP message quotes (`nf_ct_get_tuplepr`).
fn quoted(ipv4: bool, l4: &[u8]) -> Option<Tuple> {
    let inner = l4.get(icmp::HEADER_BYTES..)?;
    if ipv4 {
        let header: &[u8; 20] = inner.first_chunk()?;
        // A fragment does not say whose it is.
        if header[6] & 0x1f != 0 || header[7] != 0 {
            return None;
        }
        let l4 = inner.get(usize::from(header[0] & 0x0f) * 4..)?;
        let address = |at: usize| -> IpAddr {
            [header[at], header[at + 1], header[at + 2], header[at + 3]].into()
        };
        let kind = Kind::of(header[9], true);
        return tuple(address(12), address(16), header[9], kind, l4);
    }
    let header: &[u8; 40] = inner.first_chunk()?;
    let address = |at: usize| -> IpAddr {
        let mut octets = [0_u8; 16];
        octets.copy_from_slice(&header[at..at + 16]);
        octets.into()
    };
    let payload = &inner[header.len()..];
    let upper = ipv6::upper_layer_of(header[6], payload).ok()?;
    if upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
        return None;
    }
    let (protocol, l4) = (upper.protocol.0, payload.get(upper.offset..)?);
    tuple(address(8), address(24), protocol, Kind::of(protocol, false), l4)
}
