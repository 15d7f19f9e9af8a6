//! ICMPv6 errors about a packet that cannot be forwarded (RFC 4443).
//!
//! What is sent, and about what, follows the kernel's own `icmp6_send` (`net/ipv6/icmp.c`), as
//! [`icmp_error`](super::icmp_error) does for IPv4.
//!
//! ```text
//!   IPv6 header, 40 bytes        ICMPv6, 8 bytes                         quote
//!   | hop limit 64, from, to |   | type | code | sum | MTU or pointer |  | the packet as it arrived … |
//!   |<------------------------ at most 1280 bytes, which every link takes ------------------------>|
//! ```
//!
//! *Never* is an error sent about an ICMPv6 error or a redirect, about a packet to a multicast address, or to an
//! address that is no single node's (RFC 4443 section 2.4 e). Both may be for "packet too big" and an unknown option,
//! which serve multicast; but Weir routes no multicast.
//!
//! *Caveat.* The kernel draws a flow label for each error (`net.ipv6.auto_flowlabels`); Weir's have none.

use std::net::Ipv6Addr;

use super::icmp_error::NotSent;
use crate::wire::ipv6::HEADER_BYTES;
use crate::wire::{IpProtocol, Ipv6, Ipv6Header, checksum, icmp};

/// The most that an ICMPv6 error takes, its IP header included (RFC 4443 section 2.4 c).
pub const ERROR_BYTES_MAX: usize = 1280;

/// Hop limit of what Weir sends (`net.ipv6.conf.default.hop_limit`).
const HOP_LIMIT: u8 = 64;

/// Headers of an error before its quote.
const HEADERS_BYTES: usize = HEADER_BYTES + icmp::HEADER_BYTES;

/// From this type on messages are no errors (RFC 4443 section 2.1).
const INFORMATIONAL: u8 = 128;

/// What went wrong with an IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icmpv6Error {
    /// Type 1: it cannot be delivered.
    DestinationUnreachable(Unreachable6),
    /// Type 2: it is larger than the next link takes.
    PacketTooBig {
        /// The MTU of the next link, in bytes.
        mtu: u32,
    },
    /// Type 3 code 0: its hop limit ran out in transit.
    TimeExceeded,
    /// Type 4 code 2: it has an option that every station has to know, and Weir does not.
    UnknownOption {
        /// Where the option begins in the packet.
        pointer: u32,
    },
}

/// Why an IPv6 packet cannot be delivered: codes of type 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable6 {
    /// Code 0: no route.
    NoRoute,
    /// Code 1: prohibited.
    AdminProhibited,
    /// Code 2: beyond the scope of its source.
    BeyondScope,
    /// Code 3: no neighbour answers.
    Address,
    /// Code 4: nobody listens.
    Port,
    /// Code 5: its source is not let in.
    PolicyFail,
    /// Code 6: a route rejects it.
    RejectRoute,
}

impl Unreachable6 {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::NoRoute => 0,
            Self::AdminProhibited => 1,
            Self::BeyondScope => 2,
            Self::Address => 3,
            Self::Port => 4,
            Self::PolicyFail => 5,
            Self::RejectRoute => 6,
        }
    }
}

impl Icmpv6Error {
    /// Whether it counts against the rate limit: all but "packet too big" (`net.ipv6.icmp.ratemask`).
    #[must_use]
    pub const fn is_rate_limited(self) -> bool {
        !matches!(self, Self::PacketTooBig { .. })
    }

    /// Type, code, and the four bytes behind the checksum.
    fn header(self) -> (u8, u8, u32) {
        match self {
            Self::DestinationUnreachable(why) => (1, why.code(), 0),
            Self::PacketTooBig { mtu } => (2, 0, mtu),
            Self::TimeExceeded => (3, 0, 0),
            Self::UnknownOption { pointer } => (4, 2, pointer),
        }
    }
}

/// All that an error takes beside the packet it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply6 {
    /// What went wrong.
    pub error: Icmpv6Error,
    /// The address that it bears (RFC 4443 section 2.2).
    pub source: Ipv6Addr,
}

/// Writes the IPv6 packet with the error about `original` into `out`, and returns its length: at most
/// [`ERROR_BYTES_MAX`].
///
/// `original` starts at the IPv6 header, as it arrived. Padding behind it is not quoted.
///
/// # Errors
/// [`NotSent`], with `out` unchanged, when there must or can be no error.
pub fn build(original: &[u8], reply: &Reply6, out: &mut [u8]) -> Result<usize, NotSent> {
    let ip = Ipv6::new_checked(original)?;
    permitted(&ip)?;
    let len = HEADER_BYTES + usize::from(ip.payload_len());
    let quote = &original[..len.min(ERROR_BYTES_MAX - HEADERS_BYTES)];
    let header = Ipv6Header {
        protocol: IpProtocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source: reply.source,
        destination: ip.source(),
    };
    let len = HEADERS_BYTES + quote.len();
    header.emit(len - HEADER_BYTES, out)?;
    let message = &mut out[HEADER_BYTES..len];
    let (kind, code, rest) = reply.error.header();
    message[..4].copy_from_slice(&[kind, code, 0, 0]);
    message[4..8].copy_from_slice(&rest.to_be_bytes());
    message[icmp::HEADER_BYTES..].copy_from_slice(quote);
    // At most 1,240 bytes.
    let message_len = u32::try_from(message.len()).unwrap_or(0);
    let pseudo = checksum::pseudo_v6(reply.source, ip.source(), IpProtocol::ICMPV6, message_len);
    let sum = !checksum::add(pseudo, checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    Ok(len)
}

/// Whether there may be an error about `original` at all. To be asked before the rate limit.
///
/// # Errors
/// [`NotSent`] when there must be none.
pub fn may_answer(original: &[u8]) -> Result<(), NotSent> {
    permitted(&Ipv6::new_checked(original)?)
}

/// The rules of RFC 4443 section 2.4 e, as far as the bytes tell (`is_ineligible`).
fn permitted(ip: &Ipv6<&[u8]>) -> Result<(), NotSent> {
    if ip.destination().is_multicast() {
        return Err(NotSent::GroupDestination);
    }
    let source = ip.source();
    if source.is_unspecified() || source.is_multicast() {
        return Err(NotSent::Source6(source));
    }
    // What stands behind headers that cannot be followed is no error that anybody could read.
    let Ok(upper) = ip.upper_layer() else { return Ok(()) };
    let later = upper.fragment.is_some_and(|fragment| fragment.offset > 0);
    if upper.protocol == IpProtocol::ICMPV6 && !later {
        let kind = ip.payload().get(upper.offset).copied();
        if kind.is_none_or(|kind| kind < INFORMATIONAL) {
            return Err(NotSent::AboutIcmpError(kind.unwrap_or_default()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::NoRoom;

    const ALICE: &str = "2001:db8:1::2";
    const BOB: &str = "2001:db8:2::2";
    const WEIR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

    fn packet(source: &str, destination: &str, next: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv6Header {
            protocol: IpProtocol(next),
            hop_limit: 1,
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let mut bytes = vec![0; HEADER_BYTES + payload.len()];
        header.emit(payload.len(), &mut bytes).unwrap();
        bytes[HEADER_BYTES..].copy_from_slice(payload);
        bytes
    }

    fn built(original: &[u8], error: Icmpv6Error) -> Result<Vec<u8>, NotSent> {
        let mut out = [0xee; 1500];
        let len = build(original, &Reply6 { error, source: WEIR }, &mut out);
        if len.is_err() {
            assert_eq!(out, [0xee; 1500], "nothing is written when nothing is sent");
        }
        len.map(|len| out[..len].to_vec())
    }

    #[test]
    fn every_kind_has_its_bytes() {
        use Icmpv6Error::{
            DestinationUnreachable as Dest, PacketTooBig, TimeExceeded, UnknownOption,
        };
        let original = packet(ALICE, BOB, 17, &[0x13, 0x88, 0, 53, 0, 8, 0, 0]);
        let mut padded = original.clone();
        padded.resize(60, 9);
        for (error, head) in [
            (Dest(Unreachable6::NoRoute), [1, 0, 0, 0, 0, 0]),
            (Dest(Unreachable6::AdminProhibited), [1, 1, 0, 0, 0, 0]),
            (Dest(Unreachable6::BeyondScope), [1, 2, 0, 0, 0, 0]),
            (Dest(Unreachable6::Address), [1, 3, 0, 0, 0, 0]),
            (PacketTooBig { mtu: 1400 }, [2, 0, 0, 0, 5, 0x78]),
            (TimeExceeded, [3, 0, 0, 0, 0, 0]),
            (UnknownOption { pointer: 42 }, [4, 2, 0, 0, 0, 42]),
        ] {
            let bytes = built(&padded, error).unwrap();
            assert_eq!(bytes[..8], [0x60, 0, 0, 0, 0, 56, 58, 64], "{error:?}");
            assert_eq!((&bytes[8..24], &bytes[24..40]), (&WEIR.octets()[..], &original[8..24]));
            assert_eq!(([bytes[40], bytes[41]], &bytes[44..48]), ([head[0], head[1]], &head[2..]));
            assert_eq!(bytes[48..], original);
            let to = ALICE.parse().unwrap();
            let pseudo = checksum::pseudo_v6(WEIR, to, IpProtocol::ICMPV6, 56);
            assert!(checksum::verify_transport(pseudo, &bytes[40..]));
            assert_eq!(error.is_rate_limited(), head[0] != 2);
        }
    }

    #[test]
    fn the_quote_ends_at_1280_bytes() {
        for (payload, expected) in [(1191, 1279), (1192, 1280), (1193, 1280), (1400, 1280)] {
            let original = packet(ALICE, BOB, 17, &vec![7; payload]);
            let error = built(&original, Icmpv6Error::TimeExceeded).unwrap();
            assert_eq!(error.len(), expected);
            assert_eq!(error[48..], original[..expected - 48]);
        }
    }

    #[test]
    fn no_error_is_about_an_error_or_for_many() {
        let answer = |original: &[u8]| built(original, Icmpv6Error::TimeExceeded).map(drop);
        for kind in 0..=255 {
            let expected = if kind < 128 { Err(NotSent::AboutIcmpError(kind)) } else { Ok(()) };
            assert_eq!(answer(&packet(ALICE, BOB, 58, &[kind])), expected);
            let behind = packet(ALICE, BOB, 60, &[58, 0, 1, 4, 0, 0, 0, 0, kind]);
            assert_eq!(answer(&behind), expected);
            let later = packet(ALICE, BOB, 44, &[58, 0, 0, 8, 0, 0, 0, 1, kind]);
            assert_eq!(answer(&later), Ok(()), "a later fragment does not say what it is");
        }
        assert_eq!(answer(&packet(ALICE, BOB, 58, &[])), Err(NotSent::AboutIcmpError(0)));
        let group = packet(ALICE, "ff0e::1", 17, &[0; 8]);
        assert_eq!(answer(&group), Err(NotSent::GroupDestination));
        for source in ["::", "ff02::1"] {
            let expected = Err(NotSent::Source6(source.parse().unwrap()));
            assert_eq!(answer(&packet(source, BOB, 17, &[0; 8])), expected);
        }
        let mut out = [0; 95];
        let reply = Reply6 { error: Icmpv6Error::TimeExceeded, source: WEIR };
        let refused = build(&packet(ALICE, BOB, 17, &[0; 8]), &reply, &mut out);
        assert_eq!(refused, Err(NotSent::NoRoom(NoRoom { need: 96, have: 95 })));
    }

    proptest! {
        #[test]
        fn any_packet_is_answered_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..1500), readable: bool, next: u8,
        ) {
            if readable && bytes.len() >= HEADER_BYTES {
                let len = u16::try_from(bytes.len() - HEADER_BYTES).unwrap();
                bytes[0] = 0x60;
                bytes[4..6].copy_from_slice(&len.to_be_bytes());
                bytes[6] = next;
            }
            if let Ok(error) = built(&bytes, Icmpv6Error::TimeExceeded) {
                prop_assert!(error.len() <= ERROR_BYTES_MAX);
                prop_assert_eq!(
                    built(&error, Icmpv6Error::TimeExceeded), Err(NotSent::AboutIcmpError(3))
                );
            }
        }
    }
}
