//! What `-j REJECT` sends about IPv6 packets: the answers of `net/ipv6/netfilter/nf_reject_ipv6.c`.
//!
//! As [`reject`](super::reject), with three differences: every checksum has a pseudo-header, so that of a protocol
//! without one (but for those that are excepted) it is as good as always wrong; a packet without payload is not
//! answered; and a reset has no "don't fragment" to set, and a hop limit of 64.

use std::net::Ipv6Addr;

use super::icmp_error::NotSent;
use super::reject::{checks, header_of_reset};
use crate::wire::ipv6::{self, HEADER_BYTES};
use crate::wire::tcp::{HEADER_BYTES_MIN as TCP_BYTES, TcpHeader};
use crate::wire::{IpProtocol, Ipv6, Ipv6Header, Tcp, checksum};

/// Bytes of a reset, from its IPv6 header on.
pub const RESET6_BYTES: usize = HEADER_BYTES + TCP_BYTES;

/// Hop limit of a reset: `ip6_dst_hoplimit` without a route's metric.
const HOP_LIMIT: u8 = 64;

/// Whether the transport checksum allows an ICMPv6 error about `original` (`reject6_csum_ok`).
///
/// # Errors
/// [`NotSent`].
pub fn may_answer(original: &[u8]) -> Result<(), NotSent> {
    let ip = Ipv6::new_checked(original)?;
    let (protocol, payload) = transport(&ip)?;
    // Nothing to be summed, or nothing that says what it is.
    if payload.is_empty() || protocol == ipv6::NO_NEXT_HEADER {
        return Err(NotSent::Checksum);
    }
    if checks(protocol, payload) && !checksum_ok(&ip, protocol, payload) {
        return Err(NotSent::Checksum);
    }
    Ok(())
}

/// The protocol behind the extension headers, and what it carries.
fn transport<'a>(ip: &'a Ipv6<&[u8]>) -> Result<(IpProtocol, &'a [u8]), NotSent> {
    let upper = ip.upper_layer()?;
    if upper.fragment.is_some_and(|fragment| fragment.offset > 0) {
        return Err(NotSent::LaterFragment);
    }
    Ok((upper.protocol, ip.payload().get(upper.offset..).unwrap_or_default()))
}

/// `nf_ip6_checksum`: with a pseudo-header, whatever the protocol.
fn checksum_ok(ip: &Ipv6<&[u8]>, protocol: IpProtocol, payload: &[u8]) -> bool {
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let pseudo = checksum::pseudo_v6(ip.source(), ip.destination(), protocol, len);
    match protocol {
        IpProtocol::TCP if checksum::is_partial_tcp(pseudo, payload) => true,
        IpProtocol::UDP if checksum::is_partial_udp(pseudo, payload) => true,
        _ => checksum::verify_transport(pseudo, payload),
    }
}

/// Whether a reset may answer `original` (`nf_send_reset6`, `nf_reject_ip6_tcphdr_get`), and what it says.
///
/// # Errors
/// [`NotSent`] when there must be none.
pub fn reset_of(original: &[u8]) -> Result<Reset6, NotSent> {
    let ip = Ipv6::new_checked(original)?;
    let (source, destination) = (ip.destination(), ip.source());
    if !ipv6::is_unicast(source) {
        return Err(NotSent::GroupDestination);
    }
    if !ipv6::is_unicast(destination) {
        return Err(NotSent::Source6(destination));
    }
    let (protocol, segment) = transport(&ip)?;
    if protocol != IpProtocol::TCP {
        return Err(NotSent::NotTcp);
    }
    let header = header_of_reset(segment)?;
    if !checksum_ok(&ip, protocol, segment) {
        return Err(NotSent::Checksum);
    }
    Ok(Reset6 { source, destination, header })
}

/// A reset to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Reset6 {
    source: Ipv6Addr,
    /// To whom.
    pub destination: Ipv6Addr,
    header: TcpHeader,
}

impl Reset6 {
    /// Writes the IPv6 packet, of [`RESET6_BYTES`].
    ///
    /// # Errors
    /// [`NotSent::NoRoom`], with `out` in an undefined state.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, NotSent> {
        let Self { source, destination, header } = *self;
        let ip =
            Ipv6Header { protocol: IpProtocol::TCP, hop_limit: HOP_LIMIT, source, destination };
        ip.emit(TCP_BYTES, out)?;
        let segment = &mut out[HEADER_BYTES..RESET6_BYTES];
        header.emit(&[], segment)?;
        // The header's 20 bytes.
        let pseudo = checksum::pseudo_v6(source, destination, IpProtocol::TCP, 20);
        let sum = !checksum::add(pseudo, checksum::sum(segment));
        Tcp::new_checked(segment)?.set_checksum(sum);
        Ok(RESET6_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::TcpFlags;

    const ALICE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
    const BOB: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

    /// A packet of Alice's to Bob, its checksum right where there is one of TCP's kind.
    fn packet(
        extensions: &[u8],
        next: u8,
        protocol: IpProtocol,
        mut payload: Vec<u8>,
        sum_at: usize,
    ) -> Vec<u8> {
        if let Some(field) = payload.get_mut(sum_at..sum_at + 2) {
            field.fill(0);
            let len = u32::try_from(payload.len()).unwrap();
            let pseudo = checksum::pseudo_v6(ALICE, BOB, protocol, len);
            let sum = !checksum::add(pseudo, checksum::sum(&payload));
            payload[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        let header = Ipv6Header {
            protocol: IpProtocol(next),
            hop_limit: 9,
            source: ALICE,
            destination: BOB,
        };
        let mut bytes = [&[0; HEADER_BYTES], extensions, &payload].concat();
        header.emit(extensions.len() + payload.len(), &mut bytes).unwrap();
        bytes
    }

    fn segment(flags: u8) -> Vec<u8> {
        let mut segment = vec![0; 23];
        segment[..4].copy_from_slice(&[0x9c, 0x40, 0, 80]);
        segment[4..8].copy_from_slice(&7_u32.to_be_bytes());
        segment[8..12].copy_from_slice(&99_u32.to_be_bytes());
        (segment[12], segment[13]) = (5 << 4, flags);
        segment
    }

    #[test]
    fn a_reset_says_what_its_segment_asks_for() {
        let options = [6, 0, 1, 4, 0, 0, 0, 0];
        for (flags, sequence, acknowledgment, answer) in [
            (0x02, 0, 7 + 1 + 3, TcpFlags::RST | TcpFlags::ACK),
            (0x01, 0, 7 + 1 + 3, TcpFlags::RST | TcpFlags::ACK),
            (0x10, 99, 0, TcpFlags::RST),
        ] {
            for (extensions, next) in [(&[][..], 6), (&options, 60)] {
                let original = packet(extensions, next, IpProtocol::TCP, segment(flags), 16);
                assert_eq!(may_answer(&original), Ok(()));
                let mut out = [0xee; RESET6_BYTES];
                let written = reset_of(&original).and_then(|reset| reset.write(&mut out));
                assert_eq!(written, Ok(RESET6_BYTES));
                assert_eq!(out[..8], [0x60, 0, 0, 0, 0, 20, 6, 64]);
                assert_eq!((&out[8..24], &out[24..40]), (&BOB.octets()[..], &ALICE.octets()[..]));
                let tcp = Tcp::new_checked(&out[40..]).unwrap();
                assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 40_000));
                assert_eq!((tcp.sequence(), tcp.acknowledgment()), (sequence, acknowledgment));
                assert_eq!((tcp.flags(), tcp.window()), (answer, 0));
                let pseudo = checksum::pseudo_v6(BOB, ALICE, IpProtocol::TCP, 20);
                assert!(checksum::verify_transport(pseudo, &out[40..]));
            }
        }
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        let reset = |bytes: &[u8]| reset_of(bytes).map(drop);
        let tcp = |flags| packet(&[], 6, IpProtocol::TCP, segment(flags), 16);
        assert_eq!(reset(&tcp(0x04)), Err(NotSent::AboutReset));
        let mut wrong = tcp(0x02);
        wrong[57] ^= 1;
        assert_eq!(
            (reset(&wrong), may_answer(&wrong)),
            (Err(NotSent::Checksum), Err(NotSent::Checksum))
        );
        let mut group = tcp(0x02);
        group[24] = 0xff;
        assert_eq!(reset(&group), Err(NotSent::GroupDestination));
        let short = packet(&[], 6, IpProtocol::TCP, vec![0; 19], 16);
        assert_eq!((reset(&short), may_answer(&short)), (Err(NotSent::NotTcp), Ok(())));
        let udp = packet(&[], 17, IpProtocol::UDP, vec![0, 1, 0, 2, 0, 8, 0, 0], 6);
        assert_eq!((reset(&udp), may_answer(&udp)), (Err(NotSent::NotTcp), Ok(())));
        let later = packet(&[6, 0, 0, 8, 0, 0, 0, 1], 44, IpProtocol::TCP, segment(2), 16);
        let refused = Err(NotSent::LaterFragment);
        assert_eq!((reset(&later), may_answer(&later)), (refused, refused));
        for (protocol, answered) in [(17, false), (132, true), (253, false), (59, false)] {
            let bytes = packet(&[], protocol, IpProtocol(protocol), vec![1; 9], 100);
            assert_eq!(may_answer(&bytes).is_ok(), answered, "{protocol}");
            let empty = packet(&[], protocol, IpProtocol(protocol), Vec::new(), 100);
            assert_eq!(may_answer(&empty), Err(NotSent::Checksum), "{protocol}");
        }
    }
}
