//! ICMP errors about a packet that cannot be forwarded (RFC 792, RFC 1122 section 3.2.2, RFC 1812
//! section 4.3.2, RFC 1191).
//!
//! What is sent, and about what, follows the kernel's own `icmp_send` (`net/ipv4/icmp.c`), so that a
//! network does not notice which of the two routes; `tests/icmp_oracle/` compares byte by byte.
//!
//! ```text
//!   IPv4 header, 20 bytes         ICMP, 8 bytes                  quote
//!   | TOS, TTL 64, from, to |     | type | code | sum | MTU |    | header and data as they arrived … |
//!   |<------------------- at most 576 bytes, and the MTU of the link back ------------------->|
//! ```
//!
//! *Never* is an error sent about an ICMP error (or an unknown ICMP type, which could be one): two
//! routers could go on for ever. Nor about a later fragment (the first one had its error), nor where
//! many would answer at once (broadcast, multicast), nor to an address that is no single host's.
//!
//! The precedence is "internetwork control", with the TOS bits of the original (RFC 1812 section
//! 4.3.2.5). "Don't fragment" is not set, so the identification counts (RFC 6864).
//!
//! *Caveat.* The kernel echoes the original's record-route, timestamp and source-route options
//! in its error. Weir does not: its errors have no options.

use crate::wire::ipv4::HEADER_BYTES_MIN;
use crate::wire::{IcmpHeader, IcmpType, IpProtocol, Ipv4, Ipv4Header, Malformed, NoRoom, icmp};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The most that an ICMP error takes, its IP header included (RFC 1812 section 4.3.2.3).
pub const ERROR_BYTES_MAX: usize = 576;

/// The source of errors of a router that has no IPv4 address (RFC 7600 section 4.8).
pub const SOURCE_DUMMY: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 8);

/// Network control, the two upper levels of IP precedence.
const PRECEDENCE_INTERNETWORK_CONTROL: u8 = 0xc0;

/// The TOS bits that an error takes over from its original (RFC 1349); precedence and ECT(0) are not
/// among them. As the kernel's `IPTOS_TOS_MASK`.
const TOS_MASK: u8 = 0x1e;

/// Time to live of what Weir sends (RFC 1700; the kernel's `ip_default_ttl`).
const TTL: u8 = 64;

/// Headers of an error before its quote.
const HEADERS_BYTES: usize = HEADER_BYTES_MIN + icmp::HEADER_BYTES;

/// What went wrong with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpError {
    /// Type 11 code 0: its TTL ran out in transit.
    TimeExceeded,
    /// Type 3: it cannot be delivered.
    DestinationUnreachable(Unreachable),
    /// Type 3 code 4: it is larger than the next link takes, and must not be fragmented.
    FragmentationNeeded {
        /// The MTU of the next link, in bytes (RFC 1191 section 4).
        mtu: u16,
    },
}

/// Why a packet cannot be delivered: codes of type 3, with the names of iptables'
/// `REJECT --reject-with icmp-…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// Code 0: no route.
    Net,
    /// Code 1: no neighbour answers.
    Host,
    /// Code 2: the host does not know the protocol.
    Protocol,
    /// Code 3: nobody listens.
    Port,
    /// Code 9: the network is prohibited.
    NetProhibited,
    /// Code 10: the host is prohibited.
    HostProhibited,
    /// Code 13: filtered (RFC 1812 section 5.2.7.1).
    AdminProhibited,
}

impl Unreachable {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Net => 0,
            Self::Host => 1,
            Self::Protocol => 2,
            Self::Port => 3,
            Self::NetProhibited => 9,
            Self::HostProhibited => 10,
            Self::AdminProhibited => 13,
        }
    }
}

impl IcmpError {
    /// Whether it counts against the rate limit. Path MTU discovery does not, as in the kernel
    /// (`icmpv4_mask_allow`): a lost "fragmentation needed" stalls a connection.
    #[must_use]
    pub const fn is_rate_limited(self) -> bool {
        !matches!(self, Self::FragmentationNeeded { .. })
    }

    fn header(self) -> IcmpHeader {
        let (message_type, code, mtu) = match self {
            Self::TimeExceeded => (IcmpType::TIME_EXCEEDED, 0, 0),
            Self::DestinationUnreachable(why) => (IcmpType::DESTINATION_UNREACHABLE, why.code(), 0),
            Self::FragmentationNeeded { mtu } => (IcmpType::DESTINATION_UNREACHABLE, 4, mtu),
        };
        let [high, low] = mtu.to_be_bytes();
        IcmpHeader { message_type, code, rest_of_header: [0, 0, high, low] }
    }
}

/// All that an error takes beside the packet it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// What went wrong.
    pub error: IcmpError,
    /// Weir's address on the link the error leaves by (RFC 1812 section 4.3.2.4). 0.0.0.0, for want of
    /// one, becomes [`SOURCE_DUMMY`].
    pub source: Ipv4Addr,
    /// Identification of the error; a different one each time.
    pub identification: u16,
    /// MTU of the link the error leaves by, in bytes.
    pub mtu: u16,
    /// Whether the original came to a broadcast or multicast address of its link, or goes to one that the
    /// routes say is a broadcast. Multicast and 255.255.255.255 are recognised without.
    pub to_group: bool,
}

/// Why no error is sent. The packet it would have been about is dropped all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The original cannot be read.
    #[error("the packet to answer cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// The original is a fragment and not the first.
    #[error("about a later fragment")]
    LaterFragment,
    /// The original is an ICMP error, or could be one.
    #[error("about ICMP type {0}, an error or unknown")]
    AboutIcmpError(u8),
    /// The original was for many.
    #[error("about a packet to a broadcast or multicast address")]
    GroupDestination,
    /// The original's source is no single host: "this network", loopback, multicast, reserved,
    /// broadcast.
    #[error("to {0}, no single host")]
    Source(Ipv4Addr),
    /// The same of IPv6: unspecified or multicast.
    #[error("to {0}, no single node")]
    Source6(Ipv6Addr),
    /// The original's transport checksum is wrong: its addresses may be, too.
    #[error("about a packet with a wrong transport checksum")]
    Checksum,
    /// A reset was asked for, and the original is no TCP segment, or cut off.
    #[error("about what is no TCP segment")]
    NotTcp,
    /// A reset was asked for, and the original is one.
    #[error("about a TCP reset")]
    AboutReset,
    /// The link back takes no error that quotes more than an IP header.
    #[error("the link back has an MTU of {mtu} bytes")]
    LinkMtu {
        /// Its MTU.
        mtu: u16,
    },
    /// The caller's buffer is too small.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// Writes the IPv4 packet with the error about `original` into `out`, and returns its length: at most
/// [`ERROR_BYTES_MAX`].
///
/// `original` starts at the IPv4 header, as it arrived: with the TTL it had, before any translation.
/// Padding behind it is not quoted. Nothing here limits the rate: [`super::rate`].
///
/// # Errors
/// [`NotSent`], with `out` unchanged, when there must or can be no error.
pub fn build(original: &[u8], reply: &Reply, out: &mut [u8]) -> Result<usize, NotSent> {
    let ip = Ipv4::new_checked(original)?;
    permitted(&ip, reply.to_group)?;
    let limit = ERROR_BYTES_MAX.min(usize::from(reply.mtu));
    // A quote of the bare header would tell the sender nothing.
    let quote_max = limit.checked_sub(HEADERS_BYTES).filter(|max| *max > HEADER_BYTES_MIN);
    let quote_max = quote_max.ok_or(NotSent::LinkMtu { mtu: reply.mtu })?;
    let quote = &ip.packet()[..quote_max.min(ip.packet().len())];

    let header = Ipv4Header {
        tos: ip.tos() & TOS_MASK | PRECEDENCE_INTERNETWORK_CONTROL,
        identification: reply.identification,
        dont_fragment: false,
        ttl: TTL,
        protocol: IpProtocol::ICMP,
        source: if reply.source.is_unspecified() { SOURCE_DUMMY } else { reply.source },
        destination: ip.source(),
    };
    let len = HEADERS_BYTES + quote.len();
    header.emit(len - HEADER_BYTES_MIN, out)?;
    out[HEADERS_BYTES..len].copy_from_slice(quote);
    reply.error.header().emit(&mut out[HEADER_BYTES_MIN..len])?;
    Ok(len)
}

/// Whether there may be an error about `original` at all. To be asked before the rate limit: what is never
/// answered must not use up what others are owed. `original` and `to_group` as for [`build`], which asks
/// again.
///
/// # Errors
/// [`NotSent`] when there must be none.
pub fn may_answer(original: &[u8], to_group: bool) -> Result<(), NotSent> {
    permitted(&Ipv4::new_checked(original)?, to_group)
}

/// The rules of RFC 1122 section 3.2.2 and RFC 1812 section 4.3.2.7.
fn permitted(ip: &Ipv4<&[u8]>, to_group: bool) -> Result<(), NotSent> {
    let destination = ip.destination();
    if to_group || destination.is_multicast() || destination.is_broadcast() {
        return Err(NotSent::GroupDestination);
    }
    if ip.fragment_offset() > 0 {
        return Err(NotSent::LaterFragment);
    }
    let source = ip.source();
    let [first, ..] = source.octets();
    if first == 0 || source.is_loopback() || first >= 224 {
        return Err(NotSent::Source(source));
    }
    if ip.protocol() == IpProtocol::ICMP {
        // The type alone decides, as in the kernel; the rest of the header need not be there.
        let Some(kind) = ip.payload().first() else {
            return Err(Malformed::Truncated { need: icmp::HEADER_BYTES, have: 0 }.into());
        };
        if !IcmpType(*kind).is_query_or_reply() {
            return Err(NotSent::AboutIcmpError(*kind));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
