use weir_dataplane::wire::{Icmp, Ipv4, Ipv6, Malformed, Tcp, Udp};

use super::*;
use crate::address::Address;
use crate::packet::{Place, tag};

const KEY: fn() -> Key = || Key::new(0x5eed);

fn shape(kind: Kind, frame_bytes: usize) -> Shape<'static> {
    Shape {
        source_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        destination_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        tag: None,
        is_ipv4: true,
        kind,
        frame_bytes,
        text: None,
        wall_s: 0,
        window: 64_240,
        dont_fragment: true,
        is_stamped: true,
    }
}

fn v4(bits: u32) -> Address {
    std::net::Ipv4Addr::from_bits(bits).into()
}

const SOURCE: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0x2001, 2, 0, 0x18, 0, 0, 0xdead, 1);
const DESTINATION: std::net::Ipv6Addr = std::net::Ipv6Addr::new(0x2001, 2, 0, 0x19, 0, 0, 0, 2);

/// The same of IPv6.
fn fields_v6() -> Fields {
    Fields { source: SOURCE.into(), destination: DESTINATION.into(), ..fields() }
}

fn fields() -> Fields {
    Fields {
        source: v4(0x0a00_0001),
        destination: v4(0xc613_0002),
        source_port: 1024,
        destination_port: 80,
        identification: 0xfeed,
        ttl: 64,
        sequence: 0xdead_beef,
        acknowledgment: 0x0102_0304,
    }
}

const STAMP: Stamp = Stamp { lane: 3, number: 77, due_ns: 123_456_784 };

/// A packet of a template, written over rubbish.
fn packet(template: &Template) -> Vec<u8> {
    packet_of(template, &fields())
}

fn packet_of(template: &Template, fields: &Fields) -> Vec<u8> {
    let mut out = vec![0x55; template.len()];
    assert!(template.write(fields, STAMP, KEY(), &mut out, true));
    out
}

fn made(kind: Kind, frame_bytes: usize) -> Vec<Vec<u8>> {
    let parts = kind.parts().iter();
    parts.map(|&part| packet(&Template::new(&shape(kind, frame_bytes), part).unwrap())).collect()
}

/// Reads the stamp as the receiver does.
fn read(frame: &[u8]) -> Option<Stamp> {
    let place = Place::of(frame)?;
    let behind = place.tail(frame).and_then(|tail| KEY().open(tail));
    let bare = || KEY().open_bare(place.bare(frame)?, 1_000_000_000, |_| Some(1_000));
    behind.or_else(bare)
}

#[test]
fn every_kind_of_every_length_bears_its_stamp_and_right_checksums() {
    for (kind, _) in Kind::ALL.into_iter().filter(|(kind, _)| kind.is_checkable()) {
        // All lengths near the ends, and odd and even ones between.
        let lengths = (60..100).chain((100..1500).step_by(37)).chain(1500..=FRAME_BYTES_MAX);
        for frame_bytes in lengths {
            for frame in made(kind, frame_bytes) {
                let place = Place::of(&frame).unwrap();
                assert!(place.is_intact(&frame), "{kind} {frame_bytes}");
                let ip = Ipv4::new_checked(&frame[14..]).unwrap();
                assert!(ip.checksum_ok() && ip.ttl() == 64 && ip.identification() == 0xfeed);
                assert_eq!(read(&frame), Some(STAMP), "{kind} {frame_bytes}");
            }
        }
    }
}

#[test]
fn ipv6_and_tags_likewise() {
    let tag = Some(Tag { id: 100, priority: 5 });
    for (kind, _) in Kind::ALL.into_iter().filter(|(kind, _)| kind.is_checkable()) {
        for (is_ipv4, tag) in [(true, tag), (false, None), (false, tag)] {
            let shape = |frame_bytes| Shape { is_ipv4, tag, ..shape(kind, frame_bytes) };
            let least = if is_ipv4 {
                60
            } else if kind.transport_is_tcp() {
                74
            } else {
                78
            };
            let fields = if is_ipv4 { fields() } else { fields_v6() };
            let lengths = (least..least + 40).chain((120..1500).step_by(37)).chain(1500..=1514);
            for frame_bytes in lengths {
                let template = Template::new(&shape(frame_bytes), Part::Whole).unwrap();
                let frame = packet_of(&template, &fields);
                let tag_bytes = if tag.is_some() { 4 } else { 0 };
                assert_eq!((frame.len(), tag::of(&frame)), (frame_bytes + tag_bytes, tag));
                let place = Place::of(&frame).unwrap();
                assert!(place.is_intact(&frame), "{kind} {frame_bytes} {is_ipv4} {tag:?}");
                assert_eq!(place.addresses(&frame), (fields.source, fields.destination));
                assert_eq!(place.ports(&frame), Some((1024, 80)), "{kind}");
                assert_eq!(place.protocol, kind.protocol(is_ipv4));
                assert_eq!(read(&frame), Some(STAMP), "{kind} {frame_bytes} {is_ipv4}");
                // Recorded, and sent again with another stamp.
                let again = packet_of(&Template::recorded(&frame, true), &fields);
                assert!(Place::of(&again).unwrap().is_intact(&again), "{kind} {frame_bytes}");
            }
            let short = Template::new(&shape(59), Part::Whole).unwrap_err();
            assert_eq!(short.have, 59);
        }
    }
}

/// The views of the firewall read what was made, whose sums are computed in another way.
#[test]
fn ipv6_is_read_by_others() {
    let made = |kind| {
        let shape = Shape { is_ipv4: false, ..shape(kind, 200) };
        packet_of(&Template::new(&shape, Part::Whole).unwrap(), &fields_v6())
    };
    let pseudo = |protocol, len| checksum::pseudo_v6(SOURCE, DESTINATION, protocol, len);
    for (kind, protocol) in [
        (Kind::Udp, IpProtocol::UDP),
        (Kind::TcpSyn, IpProtocol::TCP),
        (Kind::Land, IpProtocol::TCP),
    ] {
        let frame = made(kind);
        let ip = Ipv6::new_checked(&frame[14..]).unwrap();
        assert_eq!((ip.source(), ip.destination(), ip.hop_limit()), (SOURCE, DESTINATION, 64));
        assert_eq!((ip.payload_len(), ip.next_header()), (200 - 54, protocol.0));
        assert!(checksum::verify_transport(pseudo(protocol, 146), ip.payload()), "{kind}");
    }
    for (kind, message) in [(Kind::IcmpEcho, 128), (Kind::IcmpReply, 129)] {
        let frame = made(kind);
        let ip = Ipv6::new_checked(&frame[14..]).unwrap();
        assert_eq!((ip.next_header(), ip.payload()[0]), (IpProtocol::ICMPV6.0, message));
        assert!(checksum::verify_transport(pseudo(IpProtocol::ICMPV6, 146), ip.payload()));
    }
    for kind in [Kind::BadTcpChecksum, Kind::BadUdpChecksum] {
        let frame = made(kind);
        assert!(!Place::of(&frame).unwrap().is_intact(&frame), "{kind}");
        assert_eq!(read(&frame), Some(STAMP), "{kind}");
    }
    let version = made(Kind::BadIpVersion);
    let refused = Ipv6::new_checked(&version[14..]).map(drop);
    assert_eq!(refused, Err(Malformed::Version { found: 5 }));
    let length = made(Kind::BadIpLength);
    let refused = Ipv6::new_checked(&length[14..]).map(drop);
    assert!(matches!(refused, Err(Malformed::TotalLength { .. })));
    let of_ipv6 = Kind::ALL.iter().filter(|(kind, _)| kind.is_of_ipv6()).count();
    assert_eq!(of_ipv6, Kind::ALL.len() - 7, "all but three of the header's, and fragments");
}

#[test]
fn the_headers_say_what_the_kind_promises() {
    for (kind, flags) in [
        (Kind::TcpSyn, 0x02),
        (Kind::TcpSynAck, 0x12),
        (Kind::TcpAck, 0x10),
        (Kind::TcpData, 0x18),
        (Kind::TcpRst, 0x04),
        (Kind::TcpFin, 0x11),
        (Kind::TcpXmas, 0x29),
        (Kind::TcpNull, 0x00),
        (Kind::BadTcpFlags, 0x03),
    ] {
        let frame = made(kind, 200).remove(0);
        let ip = Ipv4::new_checked(&frame[14..]).unwrap();
        let tcp = Tcp::new_checked(ip.payload()).unwrap();
        assert_eq!((tcp.flags(), tcp.window()), (TcpFlags(flags), 64_240), "{kind}");
        let acknowledgment = if flags & 0x10 == 0 { 0 } else { 0x0102_0304 };
        assert_eq!((tcp.sequence(), tcp.acknowledgment()), (0xdead_beef, acknowledgment));
        assert_eq!((tcp.source_port(), tcp.destination_port()), (1024, 80));
        assert!(ip.dont_fragment() && tcp.checksum_ok(ip.source(), ip.destination()));
    }
    for (kind, message) in [(Kind::IcmpEcho, 8), (Kind::IcmpReply, 0)] {
        let frame = made(kind, 60).remove(0);
        let ip = Ipv4::new_checked(&frame[14..]).unwrap();
        let icmp = Icmp::new_checked(ip.payload()).unwrap();
        assert!(icmp.checksum_ok() && icmp.message_type().0 == message);
        assert_eq!((icmp.identifier(), icmp.sequence()), (1024, 80));
    }
    let frame = made(Kind::TcpSyn, 60).remove(0);
    assert_eq!(Ipv4::new_checked(&frame[14..]).unwrap().total_len(), 40, "a bare segment");
}

#[test]
fn fragments_are_what_reassembly_takes() {
    let halves = made(Kind::FragmentPair, 600);
    let ips = halves.each_ref_ip();
    assert_eq!((ips[0].fragment_offset(), ips[0].more_fragments()), (0, true));
    let half = ips[0].payload().len();
    assert_eq!((half % 8, ips[1].payload().len()), (0, half));
    // `fragment_offset` counts bytes or units of 8; either way the halves meet.
    assert_eq!(usize::from(u16::from_be_bytes([halves[1][20], halves[1][21]])), half / 8);
    assert!(!ips[1].more_fragments() && ips[0].identification() == ips[1].identification());
    let whole: Vec<u8> = [ips[0].payload(), ips[1].payload()].concat();
    let udp = Udp::new_checked(&whole[..]).unwrap();
    assert_eq!((usize::from(udp.len()), udp.checksum()), (2 * half, 0));
    assert!(halves.iter().all(|half| read(half) == Some(STAMP)));
    let tiny = made(Kind::FragmentTiny, 60).remove(0);
    let ip = Ipv4::new_checked(&tiny[14..]).unwrap();
    assert_eq!((ip.total_len(), ip.more_fragments(), read(&tiny)), (28, true, None));
    let later = made(Kind::FragmentLater, 60).remove(0);
    let ip = Ipv4::new_checked(&later[14..]).unwrap();
    assert!(ip.is_fragment() && ip.fragment_offset() != 0 && read(&later) == Some(STAMP));
}

trait Ips {
    fn each_ref_ip(&self) -> Vec<Ipv4<&[u8]>>;
}

impl Ips for Vec<Vec<u8>> {
    fn each_ref_ip(&self) -> Vec<Ipv4<&[u8]>> {
        self.iter().map(|frame| Ipv4::new_checked(&frame[14..]).unwrap()).collect()
    }
}

#[test]
fn malformed_packets_are_malformed_in_the_one_way_that_they_name() {
    let of = |kind| made(kind, 80).remove(0);
    let ip = |frame: &[u8]| Ipv4::new_checked(&frame[14..]).map(|_| ());
    assert_eq!(ip(&of(Kind::BadIpVersion)), Err(Malformed::Version { found: 5 }));
    assert!(matches!(ip(&of(Kind::BadIpHeader)), Err(Malformed::HeaderLength { .. })));
    assert!(matches!(ip(&of(Kind::BadIpLength)), Err(Malformed::TotalLength { .. })));
    let frame = of(Kind::BadIpChecksum);
    assert!(!Ipv4::new_checked(&frame[14..]).unwrap().checksum_ok());
    let frame = of(Kind::BadIpOption);
    let view = Ipv4::new_checked(&frame[14..]).unwrap();
    assert!(view.checksum_ok() && view.has_source_route());
    let segment = |frame: &[u8]| Ipv4::new_checked(&frame[14..]).unwrap().payload().to_vec();
    assert!(Tcp::new_checked(&segment(&of(Kind::BadTcpOffset))[..]).is_err());
    assert!(Udp::new_checked(&segment(&of(Kind::BadUdpLength))[..]).is_err());
    for kind in [Kind::BadTcpChecksum, Kind::BadUdpChecksum] {
        let frame = of(kind);
        let place = Place::of(&frame).unwrap();
        assert!(!place.is_intact(&frame), "{kind}");
    }
    // And all of them bear a stamp, so that one that comes through is known.
    for (kind, _) in Kind::ALL.into_iter().filter(|(kind, _)| kind.is_malformed()) {
        assert_eq!(read(&of(kind)), Some(STAMP), "{kind}");
    }
}

#[test]
fn a_chunk_that_has_the_rest_already_needs_only_the_headers() {
    let template = Template::new(&shape(Kind::Udp, 1000), Part::Whole).unwrap();
    let mut out = packet(&template);
    let other = Fields { source: v4(1), destination_port: 9, ..fields() };
    assert!(template.write(&other, STAMP, KEY(), &mut out, false));
    let mut whole = vec![0; 1000];
    assert!(template.write(&other, STAMP, KEY(), &mut whole, true));
    assert_eq!(out, whole);
    assert!(!template.write(&other, STAMP, KEY(), &mut out[1..], true), "another length");
}

#[test]
fn a_text_is_told_with_the_time() {
    for text in ["Now {time}", "It is: {time}", "odd {time} and on", "{time}"] {
        let text = Text::new(text);
        for (is_stamped, frame_bytes) in [(true, 200), (false, 54 + text.len().max(6))] {
            let shape = Shape { text: Some(&text), is_stamped, ..shape(Kind::TcpSyn, frame_bytes) };
            let mut template = Template::new(&shape, Part::Whole).unwrap();
            assert!(template.tell(1_795_680_688));
            let frame = packet(&template);
            let place = Place::of(&frame).unwrap();
            assert!(place.is_intact(&frame), "{text:?}");
            assert!(frame[place.payload..].starts_with(&text.at(1_795_680_688)));
        }
    }
    let plain = Text::new("plain");
    let shape = Shape { text: Some(&plain), ..shape(Kind::Udp, 60) };
    let mut template = Template::new(&shape, Part::Whole).unwrap();
    assert!(!template.tell(9));
    assert_eq!(packet(&template)[42..47], *b"plain");
}

#[test]
fn what_does_not_fit_is_refused() {
    let text = Text::new("0123456789");
    let short = Shape { text: Some(&text), ..shape(Kind::TcpSyn, 60) };
    assert_eq!(Template::new(&short, Part::Whole).unwrap_err(), NoRoom { need: 64, have: 60 });
    let short = shape(Kind::Udp, 59);
    assert_eq!(Template::new(&short, Part::Whole).unwrap_err(), NoRoom { need: 60, have: 59 });
}

#[test]
fn a_recorded_packet_is_sent_as_it_was_but_for_its_stamp() {
    for kind in [Kind::Udp, Kind::TcpData, Kind::IcmpEcho, Kind::TcpSyn] {
        for frame_bytes in [60, 61, 75, 76, 400] {
            let unstamped = Shape { is_stamped: false, ..shape(kind, frame_bytes) };
            let original = packet(&Template::new(&unstamped, Part::Whole).unwrap());
            let exact = packet(&Template::recorded(&original, false));
            assert_eq!(exact, original);
            let template = Template::recorded(&original, true);
            let stamped = packet(&template);
            let place = Place::of(&stamped).unwrap();
            assert!(place.is_intact(&stamped), "{kind} {frame_bytes}");
            match template.sign() {
                Sign::Behind(at) => {
                    assert_eq!(stamped[..36], original[..36]);
                    assert_eq!((read(&stamped), at), (Some(STAMP), place.end - 16));
                }
                _ => assert_eq!(stamped, original),
            }
        }
    }
    let odd = vec![7; 61];
    assert_eq!(packet(&Template::recorded(&odd, true)), odd, "no IPv4");
}

#[test]
fn no_frame_is_too_strange() {
    let mut rng = fastrand::Rng::with_seed(11);
    let heads: [&[u8]; 5] = [
        &[0x08, 0x00, 0x45],
        &[0x86, 0xdd, 0x60],
        &[0x81, 0x00, 0x00, 0x64, 0x86, 0xdd, 0x60],
        &[0x81, 0x00, 0x00, 0x64, 0x08, 0x00, 0x45],
        &[0x88, 0xa8, 0x00, 0x01, 0x81, 0x00, 0x00, 0x02, 0x86, 0xdd, 0x60],
    ];
    for round in 0..50_000 {
        let mut frame: Vec<u8> = (0..rng.usize(..120)).map(|_| rng.u8(..)).collect();
        let head = heads[round % heads.len()];
        for (byte, wanted) in frame.iter_mut().skip(12).zip(head) {
            *byte = *wanted;
        }
        // Lengths and next headers that mean something, often.
        if let (true, Some(next)) = (rng.bool(), frame.get_mut(10 + head.len() + 7)) {
            *next = [0, 6, 17, 43, 44, 51, 58, 60][rng.usize(..8)];
        }
        if let (true, Some(length)) = (rng.bool(), frame.get_mut(10 + head.len() + 5)) {
            *length = 0;
        }
        tag::of(&frame);
        if let Some(place) = Place::of(&frame) {
            assert!(place.l4 <= place.end && place.end <= frame.len(), "{place:?} {frame:02x?}");
            place.is_intact(&frame);
            place.tail(&frame);
            place.bare(&frame);
            place.ports(&frame);
            place.addresses(&frame);
        }
        // Recordings have no shorter ones.
        if frame.len() >= FRAME_BYTES_MIN {
            assert_eq!(packet(&Template::recorded(&frame, true)).len(), frame.len());
        }
    }
}
