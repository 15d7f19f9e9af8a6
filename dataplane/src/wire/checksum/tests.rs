//! The naive twin of every sum as oracle, and the promise that completing harms no good packet.

use super::*;
use crate::wire::{Ipv4Header, TcpFlags, TcpHeader, UdpHeader};
use proptest::prelude::*;

/// RFC 1071 as its first paragraph says it: word by word, carry by carry.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(pair[0]) << 8 | u32::from(low);
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    u16::try_from(sum).unwrap()
}

fn naive_pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> u16 {
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend([0, protocol]);
    bytes.extend(len.to_be_bytes());
    naive(&bytes)
}

/// The checksum that the naive twin gives an IPv4 packet's TCP or UDP part, and where it belongs.
fn naive_complete(packet: &[u8]) -> (u16, usize) {
    let ip = Ipv4::new_checked(packet).unwrap();
    let segment = ip.payload();
    let at = if ip.protocol() == IpProtocol::TCP { 16 } else { 6 };
    let mut bytes = segment.to_vec();
    bytes[at..at + 2].fill(0);
    let len = u16::try_from(segment.len()).unwrap();
    let pseudo = naive_pseudo_v4(ip.source(), ip.destination(), ip.protocol().0, len);
    let sum = u32::from(pseudo) + u32::from(naive(&bytes));
    let checksum = !u16::try_from(if sum > 0xffff { sum - 0xffff } else { sum }).unwrap();
    let udp_zero = ip.protocol() == IpProtocol::UDP && checksum == 0;
    (if udp_zero { 0xffff } else { checksum }, ip.header_len() + at)
}

/// A packet with a checksum field of 0, TCP or UDP, with two bytes of padding behind it.
fn packet(tcp: bool, source: u32, destination: u32, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 20 + 20 + data.len() + 2];
    let segment = if tcp { 20 } else { 8 } + data.len();
    let protocol = if tcp { IpProtocol::TCP } else { IpProtocol::UDP };
    let header = Ipv4Header::new(source.into(), destination.into(), protocol);
    header.emit(segment, &mut out).unwrap();
    let header = if tcp {
        let header = TcpHeader {
            source_port: 1,
            destination_port: 2,
            sequence: 3,
            acknowledgment: 4,
            flags: TcpFlags::ACK,
            window: 5,
        };
        header.emit(&[], &mut out[20..]).unwrap()
    } else {
        let header = UdpHeader { source_port: 1, destination_port: 2 };
        header.emit(data.len(), &mut out[20..]).unwrap()
    };
    out[20 + header..20 + header + data.len()].copy_from_slice(data);
    out.truncate(20 + segment + 2);
    out
}

fn set_field(packet: &mut [u8], at: usize, value: u16) {
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn pseudo_of(packet: &[u8]) -> u16 {
    let ip = Ipv4::new_checked(packet).unwrap();
    let len = u16::try_from(ip.payload().len()).unwrap();
    naive_pseudo_v4(ip.source(), ip.destination(), ip.protocol().0, len)
}

#[test]
fn the_example_of_rfc_1071() {
    // Section 3 of the RFC: the words 0001 f203 f4f5 f6f7 sum to ddf2.
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
}

#[test]
fn the_example_of_rfc_1624() {
    // Section 4: checksum dd2f, the word 5555 becomes 3285; equation 3 gives 0000, not ffff.
    assert_eq!(replace_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn the_largest_packet_of_ones_does_not_overflow() {
    assert_eq!(sum(&vec![0xff; 65_535]), naive(&vec![0xff; 65_535]));
    assert_eq!(sum(&[]), 0);
}

#[test]
fn a_udp_checksum_that_computes_to_zero_is_sent_as_ones() {
    let mut packet = packet(false, 0x0a00_0002, 0xc0a8_0002, &[0, 0]);
    // Choose the data such that everything sums to 0xffff.
    let (checksum, at) = naive_complete(&packet);
    packet[28..30].copy_from_slice(&checksum.to_be_bytes());
    let pseudo = pseudo_of(&packet);
    set_field(&mut packet, at, pseudo);
    assert_eq!(complete_partial(&mut packet), Completion::Completed);
    assert_eq!(packet[at..at + 2], [0xff, 0xff]);
}

#[test]
fn what_cannot_be_partial_is_left_alone() {
    let mut udp = packet(false, 1, 2, b"data");
    let before = udp.clone();
    assert_eq!(complete_partial(&mut udp), Completion::NotApplicable(NotApplicable::NoChecksum));
    assert_eq!(udp, before);

    for (flags, what) in [([0x20, 0], "first"), ([0, 5], "last")] {
        let mut fragment = packet(true, 1, 2, b"data");
        let pseudo = pseudo_of(&fragment);
        set_field(&mut fragment, 36, pseudo);
        fragment[6..8].copy_from_slice(&flags);
        let before = fragment.clone();
        let done = complete_partial(&mut fragment);
        assert_eq!(done, Completion::NotApplicable(NotApplicable::Fragment), "{what}");
        assert_eq!(fragment, before);
    }

    let mut other = packet(true, 1, 2, b"data");
    other[9] = 132;
    let done = complete_partial(&mut other);
    assert_eq!(done, Completion::NotApplicable(NotApplicable::Protocol(IpProtocol(132))));

    let mut cut = packet(true, 1, 2, b"");
    cut[3] = 39; // total length: one byte too few for TCP
    let why = NotApplicable::Malformed(Malformed::Truncated { need: 20, have: 19 });
    assert_eq!(complete_partial(&mut cut), Completion::NotApplicable(why));
}

#[test]
fn a_partial_v6_checksum_is_completed() {
    // IPv6, hop-by-hop options (8 bytes), UDP with 3 bytes of data.
    let mut packet = vec![0x60, 0, 0, 0, 0, 19, 0, 64];
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    packet.extend([17, 0, 1, 4, 0, 0, 0, 0]);
    packet.extend([0, 53, 0x12, 0x34, 0, 11, 0, 0, b'a', b'b', b'c']);
    let mut covered = packet[8..40].to_vec();
    covered.extend([0, 0, 0, 11, 0, 0, 0, 17]);
    let pseudo = naive(&covered);
    covered.extend(&packet[48..]);
    let complete = !naive(&covered);
    set_field(&mut packet, 54, pseudo);
    assert_eq!(complete_partial_v6(&mut packet), Completion::Completed);
    assert_eq!(packet[54..56], complete.to_be_bytes());
    assert_eq!(complete_partial_v6(&mut packet), Completion::NotPartial);
}

proptest! {
    #[test]
    fn sums_are_the_naive_twins(bytes in prop::collection::vec(any::<u8>(), 0..200), skip in 0..9usize) {
        // `skip` moves the start through every alignment.
        let bytes = &bytes[skip.min(bytes.len())..];
        prop_assert_eq!(sum(bytes), naive(bytes));
    }

    #[test]
    fn pseudo_sums_are_the_naive_twins(source: u32, destination: u32, protocol: u8, len: u16) {
        let (source, destination) = (source.into(), destination.into());
        prop_assert_eq!(
            pseudo_v4(source, destination, IpProtocol(protocol), len),
            naive_pseudo_v4(source, destination, protocol, len)
        );
    }

    #[test]
    fn v6_pseudo_sums_are_the_naive_twins(source: u128, destination: u128, protocol: u8, len: u32) {
        let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        bytes.extend(len.to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        prop_assert_eq!(
            pseudo_v6(source.into(), destination.into(), IpProtocol(protocol), len),
            naive(&bytes)
        );
    }

    #[test]
    fn an_update_is_a_recomputation(
        bytes in prop::collection::vec(any::<u8>(), 20..60), at in 0..8usize, new: u32
    ) {
        let mut bytes = bytes;
        bytes[18] = 1; // not all zero: then zero has one representation only
        let before = checksum(&bytes);
        let at = at * 2;
        let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(replace_u32(before, old, new), checksum(&bytes));
        let udp = replace_udp(nonzero(before), old, new);
        prop_assert_eq!(udp, nonzero(checksum(&bytes)));
        prop_assert_eq!(replace_udp(0, old, new), 0);
        let (old, new) = (old >> 16, new >> 16);
        bytes[at..at + 2].copy_from_slice(&u16::try_from(old).unwrap().to_be_bytes());
        let before = checksum(&bytes);
        bytes[at..at + 2].copy_from_slice(&u16::try_from(new).unwrap().to_be_bytes());
        let (old, new) = (u16::try_from(old).unwrap(), u16::try_from(new).unwrap());
        prop_assert_eq!(replace_u16(before, old, new), checksum(&bytes));
    }

    #[test]
    fn a_partial_checksum_becomes_the_right_one(
        tcp: bool, source: u32, destination: u32, data in prop::collection::vec(any::<u8>(), 0..80)
    ) {
        let mut packet = packet(tcp, source, destination, &data);
        let (complete, at) = naive_complete(&packet);
        let pseudo = pseudo_of(&packet);
        set_field(&mut packet, at, pseudo);
        let mut expected = packet.clone();
        set_field(&mut expected, at, complete);
        prop_assert_eq!(complete_partial(&mut packet), Completion::Completed);
        prop_assert_eq!(packet, expected);
    }

    #[test]
    fn a_good_packet_is_never_harmed(
        tcp: bool, source: u32, destination: u32,
        data in prop::collection::vec(any::<u8>(), 2..80), collide: bool
    ) {
        let mut packet = packet(tcp, source, destination, &data);
        let at = naive_complete(&packet).1;
        if collide {
            // Choose the first two bytes of data such that the right checksum equals the partial one,
            // which random packets would do once in 65,536.
            let data_at = if tcp { 40 } else { 28 };
            packet[data_at..data_at + 2].fill(0);
            let pseudo = pseudo_of(&packet);
            let word = add(!add(pseudo, pseudo), !sum(&packet[20..packet.len() - 2]));
            packet[data_at..data_at + 2].copy_from_slice(&word.to_be_bytes());
        }
        let complete = naive_complete(&packet).0;
        set_field(&mut packet, at, complete);
        let before = packet.clone();
        let done = complete_partial(&mut packet);
        prop_assert_eq!(&packet, &before);
        if collide && complete == pseudo_of(&packet) {
            prop_assert_eq!(done, Completion::Completed);
        }
    }

    #[test]
    fn any_bytes_are_completed_or_left(
        bytes in prop::collection::vec(any::<u8>(), 0..120), v4: bool, udp: bool
    ) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if v4 { 0x45 } else { 0x60 };
        }
        if let Some(protocol) = bytes.get_mut(if v4 { 9 } else { 6 }) {
            *protocol = if udp { 17 } else { 6 };
        }
        let before = bytes.clone();
        let done = if v4 { complete_partial(&mut bytes) } else { complete_partial_v6(&mut bytes) };
        if done != Completion::Completed {
            prop_assert_eq!(bytes, before);
        }
    }
}
