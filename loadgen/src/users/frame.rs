//! From frames to segments and back: Ethernet, IPv4 or IPv6, TCP.

use std::net::IpAddr;

use weir_dataplane::wire::ethernet::{
    EtherType, FRAME_BYTES_MIN, HEADER_BYTES as ETHERNET_BYTES, MacAddr,
};
use weir_dataplane::wire::ipv4::HEADER_BYTES_MIN as IPV4_BYTES;
use weir_dataplane::wire::ipv6::HEADER_BYTES as IPV6_BYTES;
use weir_dataplane::wire::tcp::HEADER_BYTES_MIN as TCP_BYTES;
use weir_dataplane::wire::{IpProtocol, Ipv4, Ipv4Header, Ipv6, Ipv6Header, Tcp, checksum};

use super::address::Address;
use super::content::Content;
use super::index::Pair;
use super::tcp::Segment;
use crate::packet::{Tag, tag};

/// Hops that our packets may make.
const HOPS: u8 = 64;

/// The two ends of the first hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Our own hardware address.
    pub source: MacAddr,
    /// The one that everything is sent to: a gateway's, or the peer's.
    pub destination: MacAddr,
    /// The VLAN tag that frames bear, if any. Those that come are read with or without one.
    pub tag: Option<Tag>,
}

/// Addresses and ports of a frame, seen from its receiver, if it is whole TCP.
pub(super) fn peek(frame: &[u8]) -> Option<Pair> {
    let (ether_type, at) = tag::untagged(frame)?;
    let packet = frame.get(at..)?;
    let (remote, local, at) = match ether_type {
        EtherType::IPV4 => {
            let header = packet.get(..IPV4_BYTES)?;
            let is_fragment = header[6] & 0x3f != 0 || header[7] != 0;
            if header[9] != IpProtocol::TCP.0 || is_fragment || header[0] >> 4 != 4 {
                return None;
            }
            let address = |at: usize| Address::from(std::net::Ipv4Addr::from(four(&header[at..])));
            (address(12), address(16), usize::from(header[0] & 15) * 4)
        }
        EtherType::IPV6 => {
            let header = packet.get(..IPV6_BYTES)?;
            if header[6] != IpProtocol::TCP.0 || header[0] >> 4 != 6 {
                return None;
            }
            let view = Ipv6::new_checked(packet).ok()?;
            (view.source().into(), view.destination().into(), IPV6_BYTES)
        }
        _ => return None,
    };
    let &[a, b, c, d] = packet.get(at..at + 4)? else { return None };
    let (remote_port, local_port) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    Some(Pair { local, remote, local_port, remote_port })
}

fn four(bytes: &[u8]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

/// The segment of a frame that [`peek`] knows, and its data; `None` if header or checksum is wrong.
///
/// A checksum that holds only the sum of the pseudo-header is right: so frames come from a kernel that leaves the rest
/// to hardware, which a veth has not.
pub(super) fn read(frame: &[u8]) -> Option<(Segment, &[u8])> {
    let packet = frame.get(tag::untagged(frame)?.1..)?;
    let segment = if packet.first()? >> 4 == 4 {
        let ip = Ipv4::new_checked(packet).ok().filter(Ipv4::checksum_ok)?;
        let at = ip.header_len();
        let segment = packet.get(at..usize::from(ip.total_len()))?;
        let length = u16::try_from(segment.len()).ok()?;
        let pseudo = checksum::pseudo_v4(ip.source(), ip.destination(), IpProtocol::TCP, length);
        is_right(pseudo, segment).then_some(segment)?
    } else {
        let ip = Ipv6::new_checked(packet).ok()?;
        let segment = packet.get(IPV6_BYTES..IPV6_BYTES + usize::from(ip.payload_len()))?;
        let length = u32::try_from(segment.len()).ok()?;
        let pseudo = checksum::pseudo_v6(ip.source(), ip.destination(), IpProtocol::TCP, length);
        is_right(pseudo, segment).then_some(segment)?
    };
    let tcp = Tcp::new_checked(segment).ok()?;
    let data = &segment[tcp.header_len()..];
    Some((Segment::read(&tcp), data))
}

fn is_right(pseudo: u16, segment: &[u8]) -> bool {
    checksum::verify_transport(pseudo, segment) || checksum::is_partial_tcp(pseudo, segment)
}

/// Bytes of the longest frame with segments of this size, which counts options (RFC 6691), but neither the headers
/// without them nor a tag.
pub(super) fn frame_bytes_max(mss: u16, is_ipv4: bool) -> usize {
    let ip_bytes = if is_ipv4 { IPV4_BYTES } else { IPV6_BYTES };
    ETHERNET_BYTES + ip_bytes + TCP_BYTES + usize::from(mss)
}

/// Writes a segment with its data; returns the frame's length, `None` if it does not fit.
pub(super) fn write(
    link: Link,
    pair: &Pair,
    segment: &Segment,
    content: &Content,
    out: &mut [u8],
) -> Option<usize> {
    let header = segment.encode();
    let header_bytes = header.header_bytes();
    let tcp_bytes = header_bytes + segment.data_bytes as usize;
    let is_v4 = pair.local.is_ipv4();
    let ip_bytes = if is_v4 { IPV4_BYTES } else { IPV6_BYTES };
    let untagged_bytes = (ETHERNET_BYTES + ip_bytes + tcp_bytes).max(FRAME_BYTES_MIN);
    let frame_bytes = untagged_bytes + tag::header_bytes(link.tag) - ETHERNET_BYTES;
    let out = out.get_mut(..frame_bytes)?;
    let ether_type = if is_v4 { EtherType::IPV4 } else { EtherType::IPV6 };
    let at = tag::emit_header([link.source, link.destination], link.tag, ether_type, out).ok()?;
    let packet = &mut out[at..];
    let pseudo = match (pair.local.ip(), pair.remote.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Ipv4Header::new(source, destination, IpProtocol::TCP).emit(tcp_bytes, packet).ok()?;
            checksum::pseudo_v4(
                source,
                destination,
                IpProtocol::TCP,
                u16::try_from(tcp_bytes).ok()?,
            )
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let protocol = IpProtocol::TCP;
            Ipv6Header { protocol, hop_limit: HOPS, source, destination }
                .emit(tcp_bytes, packet)
                .ok()?;
            checksum::pseudo_v6(
                source,
                destination,
                IpProtocol::TCP,
                u32::try_from(tcp_bytes).ok()?,
            )
        }
        _ => return None,
    };
    let (body, padding) = packet[ip_bytes..].split_at_mut(tcp_bytes);
    padding.fill(0);
    header.write(pair.local_port, pair.remote_port, body).ok()?;
    content.write(segment.data_at, &mut body[header_bytes..]);
    let sum = !checksum::add(pseudo, checksum::sum(body));
    Tcp::new_checked(body).ok()?.set_checksum(sum);
    Some(frame_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_dataplane::wire::TcpFlags;

    use super::*;

    const LINK: Link = Link {
        source: MacAddr([2, 0, 0, 0, 0, 1]),
        destination: MacAddr([2, 0, 0, 0, 0, 2]),
        tag: None,
    };

    fn pair(six: bool) -> Pair {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        let (local, remote) =
            if six { ("2001:db8::1", "2001:db8::2") } else { ("198.18.0.2", "198.19.0.2") };
        Pair { local: address(local), remote: address(remote), local_port: 40_000, remote_port: 80 }
    }

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let content = Content::text(5_000);
        let tag = Some(Tag { id: 100, priority: 3 });
        for (six, data_bytes, tag) in [
            (false, 0, None),
            (false, 1, None),
            (true, 0, None),
            (true, 1_400, None),
            (false, 0, tag),
            (false, 1_460, tag),
            (true, 0, tag),
        ] {
            let link = Link { tag, ..LINK };
            let segment = Segment {
                sequence: 5,
                acknowledgment: 6,
                flags: TcpFlags::ACK,
                window: 7,
                data_bytes,
                ..Segment::default()
            };
            let mut out = [0xaa; 2_000];
            let length = write(link, &pair(six), &segment, &content, &mut out).unwrap();
            let tag_bytes = if tag.is_some() { 4 } else { 0 };
            let longest = frame_bytes_max(1_460, !six) + tag_bytes;
            assert!(length >= 60 + tag_bytes && length <= longest);
            assert_eq!(tag::of(&out), tag);
            let there = peek(&out[..length]).unwrap();
            let back = Pair {
                local: there.remote,
                remote: there.local,
                local_port: there.remote_port,
                remote_port: there.local_port,
            };
            assert_eq!(back, pair(six));
            let (read, data) = read(&out[..length]).unwrap();
            assert_eq!(read, segment);
            assert!(content.is_at(0, data) && data.len() == data_bytes as usize);
        }
    }

    #[test]
    fn a_buffer_that_is_too_short_is_left_alone() {
        let segment = Segment { data_bytes: 100, ..Segment::default() };
        let mut out = [0; 153];
        assert_eq!(write(LINK, &pair(false), &segment, &Content::text(200), &mut out), None);
        assert_eq!(out, [0; 153]);
    }

    proptest! {
        /// One bit that is not where it was is seen, wherever it lies behind the Ethernet header.
        #[test]
        fn damage_is_seen(six in any::<bool>(), at in 0_usize..120, bit in 0_u8..8) {
            let segment = Segment { data_bytes: 60, ..Segment::default() };
            let mut out = [0; 200];
            let length = write(LINK, &pair(six), &segment, &Content::text(200), &mut out).unwrap();
            // Of the IPv6 header only addresses, length and next header are covered by any sum.
            let at = if six { 18 + at % (length - 18) } else { 14 + at % (length - 14) };
            if six && at == 21 {
                return Ok(());
            }
            out[at] ^= 1 << bit;
            let known = peek(&out[..length]).is_some_and(|found| found.local == pair(six).remote);
            prop_assert!(!known || read(&out[..length]).is_none());
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0..3) {
            let mut bytes = bytes;
            if let (Some(ether_type), 1..) = (bytes.get_mut(12..15), kind) {
                ether_type.copy_from_slice(if kind == 1 { &[8, 0, 0x45] } else { &[0x86, 0xdd, 0x60] });
            }
            peek(&bytes);
            read(&bytes);
        }
    }
}
