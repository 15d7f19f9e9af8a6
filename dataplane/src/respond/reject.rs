//! What `-j REJECT` sends: the answers of `net/ipv4/netfilter/nf_reject_ipv4.c`.
//!
//! An ICMP error is [`icmp_error`](super::icmp_error)'s; here is what comes before it (a packet whose transport
//! checksum is wrong is not answered: its addresses may be wrong, too) and the TCP reset:
//!
//! ```text
//!   to be reset              the reset
//!   ACK set                  seq = its ack, no ACK                 as RFC 9293 3.10.7.1
//!   no ACK                   seq = 0, ack = its seq + SYN + FIN + bytes of data, ACK
//!   always                   from its destination to its source, ports swapped, 20 + 20 bytes, window 0,
//!                            identification 0, "don't fragment", TOS 0, TTL 64
//! ```
//!
//! A reset answers one segment and is not larger than it, so it is under no rate limit, as in the kernel.
//! "Bytes of data" are what the lengths say: a data offset that points behind the end makes them negative.

use std::net::Ipv4Addr;

use super::Unreachable6;
use super::icmp_error::{NotSent, Unreachable};
use crate::wire::tcp::{HEADER_BYTES_MIN as TCP_BYTES, TcpFlags, TcpHeader};
use crate::wire::{IpProtocol, Ipv4, Ipv4Header, Tcp, checksum, ipv4, udp};

/// Bytes of a reset, from its IPv4 header on.
pub const RESET_BYTES: usize = ipv4::HEADER_BYTES_MIN + TCP_BYTES;

/// Time to live of a reset: `ip4_dst_hoplimit` without a route's metric.
const TTL: u8 = 64;

/// How a packet is rejected (`enum ipt_reject_with`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reject {
    /// By "destination unreachable".
    Unreachable(Unreachable),
    /// The same of an IPv6 packet (`enum ip6t_reject_with`).
    Unreachable6(Unreachable6),
    /// By a TCP reset.
    Reset,
}

/// Whether the transport checksum allows an ICMP error about `original` (`nf_send_unreach`): right, left to
/// hardware that a virtual link does not have, or of a protocol that has none or another.
///
/// # Errors
/// [`NotSent`].
pub fn may_answer(original: &[u8]) -> Result<(), NotSent> {
    let ip = Ipv4::new_checked(original)?;
    if ip.fragment_offset() > 0 {
        return Err(NotSent::LaterFragment);
    }
    if checks(ip.protocol(), ip.payload()) && !checksum_ok(&ip) {
        return Err(NotSent::Checksum);
    }
    Ok(())
}

/// Whether a protocol has a checksum of 16 bits over all of its payload (`nf_reject_verify_csum`; Linux 6.18 does not
/// except DCCP any more).
pub(super) fn checks(protocol: IpProtocol, payload: &[u8]) -> bool {
    const GRE: IpProtocol = IpProtocol(47);
    const ESP: IpProtocol = IpProtocol(50);
    const AH: IpProtocol = IpProtocol(51);
    const SCTP: IpProtocol = IpProtocol(132);
    const UDP_LITE: IpProtocol = IpProtocol(136);
    match protocol {
        GRE | ESP | AH | SCTP | UDP_LITE => false,
        // 0 is "no checksum" (RFC 768).
        IpProtocol::UDP => payload.get(..udp::HEADER_BYTES).is_none_or(|udp| udp[6..8] != [0, 0]),
        _ => true,
    }
}

/// `nf_ip_checksum`: with a pseudo-header for TCP and UDP, of any other protocol without.
fn checksum_ok(ip: &Ipv4<&[u8]>) -> bool {
    let (protocol, payload) = (ip.protocol(), ip.payload());
    let len = ip.total_len() - ip.header_len_u16();
    let pseudo = checksum::pseudo_v4(ip.source(), ip.destination(), protocol, len);
    match protocol {
        IpProtocol::TCP if checksum::is_partial_tcp(pseudo, payload) => true,
        IpProtocol::UDP if checksum::is_partial_udp(pseudo, payload) => true,
        IpProtocol::TCP | IpProtocol::UDP => checksum::verify_transport(pseudo, payload),
        // The header adds up to zero, and is summed, too: so nothing at all is right.
        _ => payload.is_empty() || matches!(checksum::sum(payload), 0 | 0xffff),
    }
}

/// Whether a reset may answer `original` (`nf_reject_ip_tcphdr_get`), and what it says.
///
/// # Errors
/// [`NotSent`] when there must be none.
pub fn reset_of(original: &[u8]) -> Result<Reset, NotSent> {
    let ip = Ipv4::new_checked(original)?;
    if ip.fragment_offset() > 0 {
        return Err(NotSent::LaterFragment);
    }
    if ip.protocol() != IpProtocol::TCP {
        return Err(NotSent::NotTcp);
    }
    let header = header_of_reset(ip.payload())?;
    if !checksum_ok(&ip) {
        return Err(NotSent::Checksum);
    }
    Ok(Reset { source: ip.destination(), destination: ip.source(), header })
}

/// The TCP header of the reset that answers a segment.
pub(super) fn header_of_reset(segment: &[u8]) -> Result<TcpHeader, NotSent> {
    let Some(header) = segment.first_chunk::<TCP_BYTES>() else { return Err(NotSent::NotTcp) };
    let flags = TcpFlags(header[13]);
    if flags.contains(TcpFlags::RST) {
        return Err(NotSent::AboutReset);
    }
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (sequence, acknowledgment) = (word(4), word(8));
    // Inside one packet.
    let octets = u32::try_from(segment.len()).unwrap_or(0);
    let data = octets.wrapping_sub(u32::from(header[12] >> 4) * 4);
    let control =
        u32::from(flags.contains(TcpFlags::SYN)) + u32::from(flags.contains(TcpFlags::FIN));
    let (sequence, acknowledgment, flags) = if flags.contains(TcpFlags::ACK) {
        (acknowledgment, 0, TcpFlags::RST)
    } else {
        let next = sequence.wrapping_add(control).wrapping_add(data);
        (0, next, TcpFlags::RST | TcpFlags::ACK)
    };
    Ok(TcpHeader {
        source_port: port(2),
        destination_port: port(0),
        sequence,
        acknowledgment,
        flags,
        window: 0,
    })
}

/// A reset to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Reset {
    source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    header: TcpHeader,
}

impl Reset {
    /// Writes the IPv4 packet, of [`RESET_BYTES`].
    ///
    /// # Errors
    /// [`NotSent::NoRoom`], with `out` in an undefined state.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, NotSent> {
        let Self { source, destination, header } = *self;
        let ip = Ipv4Header {
            tos: 0,
            identification: 0,
            dont_fragment: true,
            ttl: TTL,
            protocol: IpProtocol::TCP,
            source,
            destination,
        };
        ip.emit(TCP_BYTES, out)?;
        let segment = &mut out[ipv4::HEADER_BYTES_MIN..RESET_BYTES];
        header.emit(&[], segment)?;
        let mut segment = Tcp::new_checked(segment)?;
        segment.fill_checksum(source, destination);
        if segment.checksum() == 0 {
            // The other zero, as the kernel completes checksums (`skb_checksum_help`).
            segment.set_checksum(0xffff);
        }
        Ok(RESET_BYTES)
    }
}
