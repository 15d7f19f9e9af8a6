//! Packets that end here: why, and what their sender hears about it.

use std::net::Ipv4Addr;

use weir_dataplane::port::PortIndex;
use weir_dataplane::respond::icmp_error::SOURCE_DUMMY;
use weir_dataplane::route::{Forwarding, Target};
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason::{self, *};

use crate::delta::Moved::{self, Count, Drop, In, Out};
use crate::packet::{ACK, Packet, ethernet};
use crate::world::*;

/// Type and code of ICMP errors.
const TIME_EXCEEDED: [u8; 2] = [11, 0];
const NET_UNREACHABLE: [u8; 2] = [3, 0];
const HOST_UNREACHABLE: [u8; 2] = [3, 1];
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
const PROHIBITED: [u8; 2] = [3, 13];

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

/// A packet that comes in on a port and is dropped in silence.
#[track_caller]
fn silent(world: &mut World, port: PortIndex, frame: Vec<u8>, reason: DropReason) {
    let bytes = frame.len();
    world.inject(0, port, frame);
    let left = world.expect(&[In(port.0, 1, bytes), Drop(reason, 1)]);
    assert_eq!(left, [], "{reason:?}");
}

/// The ICMP error that Weir owes Alice about `packet`, as a frame.
fn error(kind: [u8; 2], mtu: u16, identification: u16, packet: &Packet) -> Vec<u8> {
    let quote = packet.bytes();
    let mut answer = Packet::icmp(address(EAST), packet.source, kind[0], &quote);
    let [high, low] = mtu.to_be_bytes();
    answer.payload[1..8].copy_from_slice(&[kind[1], 0, 0, 0, 0, high, low]);
    answer.payload.truncate(576 - 20);
    let sum = !crate::packet::fold(crate::packet::sum(&answer.payload));
    answer.payload[2..4].copy_from_slice(&sum.to_be_bytes());
    let answer = Packet { tos: 0xc0 | packet.tos & 0x1e, identification, ..answer };
    answer.frame(host_mac(packet.source), mac(EAST))
}

/// A packet of Alice's that is dropped and answered.
#[track_caller]
fn answered(world: &mut World, packet: &Packet, reason: DropReason, error: Vec<u8>) {
    let frame = packet.frame(mac(EAST), host_mac(packet.source));
    let moved = [
        In(0, 1, frame.len()),
        Drop(reason, 1),
        Count(Counter::Originated, 1),
        Out(0, 1, error.len()),
    ];
    world.inject(0, EAST, frame);
    let left = world.expect(&moved);
    assert_eq!(left, [(EAST, error)], "{packet:?}");
}

#[test]
fn what_is_not_for_weir_or_not_ipv4_ends_in_silence() {
    let mut world = World::new(Sizes::ONE);
    let packet = Packet::ping(ALICE, BOB, b"").bytes();
    let alice = host_mac(ALICE);
    let to = |to, ether_type| ethernet(to, alice, ether_type, &packet);
    for (frame, reason) in [
        (to([2, 0, 0, 0, 0, 9], 0x0800), OtherHost),
        (to(mac(WEST), 0x0800), OtherHost),
        (to([0xff; 6], 0x0800), L2Group),
        (to([1, 0, 0x5e, 0, 0, 1], 0x0800), L2Group),
        (to(mac(EAST), 0x86dd), EtherType),
        (to(mac(EAST), 0x0806), EtherType),
        (to(mac(EAST), 0x8100), EtherType),
        (to(mac(EAST), 0x88a8), EtherType),
        (to(mac(EAST), 0x1234), EtherType),
        (to(mac(EAST), 46), EtherType),
        (to(mac(EAST), 0x0800)[..13].to_vec(), Truncated),
        (vec![], Truncated),
        (mac(EAST).to_vec(), Truncated),
    ] {
        silent(&mut world, EAST, frame, reason);
    }
    world.shut_down();
}

#[test]
fn malformed_ipv4_ends_in_silence() {
    let mut world = World::new(Sizes::ONE);
    let good = Packet::udp((ALICE, 1), (BOB, 2), b"12345678");
    let frame = |packet: &Packet| packet.frame(mac(EAST), host_mac(ALICE));
    let cut = |len: usize| frame(&good)[..14 + len].to_vec();
    let header = |version_ihl| frame(&Packet { version_ihl: Some(version_ihl), ..good.clone() });
    let total = |total_len| frame(&Packet { total_len: Some(total_len), ..good.clone() });
    let right = good.bytes();
    let wrong_sum = u16::from_be_bytes([right[10], right[11]]) ^ 1;
    for (frame, reason) in [
        (cut(0), Truncated),
        (cut(19), Truncated),
        (cut(20), Truncated),
        (cut(35), Truncated),
        (header(0x65), IpHeader),
        (header(0x05), IpHeader),
        (header(0x44), IpHeader),
        (header(0x40), IpHeader),
        // Options announced up to byte 60 where there are 36.
        (header(0x4f), Truncated),
        (total(19), IpHeader),
        (total(0), IpHeader),
        (total(37), Truncated),
        (total(0xffff), Truncated),
        (frame(&Packet { checksum: Some(wrong_sum), ..good.clone() }), IpChecksum),
        (frame(&Packet { checksum: Some(0), ..good.clone() }), IpChecksum),
    ] {
        silent(&mut world, EAST, frame, reason);
    }
    world.shut_down();
}

#[test]
fn addresses_that_never_stand_on_a_wire_end_in_silence() {
    let mut world = World::new(Sizes::ONE);
    let sources = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255"];
    let destinations = ["0.0.0.0", "0.255.1.1", "127.0.0.1", "127.255.255.255"];
    let packets = (sources.iter().map(|source| Packet::ping(ip(source), BOB, b"")))
        .chain(destinations.iter().map(|to| Packet::ping(ALICE, ip(to), b"")));
    for packet in packets {
        silent(&mut world, EAST, packet.frame(mac(EAST), host_mac(ALICE)), Martian);
    }
    // Somebody speaks in Weir's name.
    for port in PORTS {
        let packet = Packet::ping(address(port), BOB, b"");
        silent(&mut world, EAST, packet.frame(mac(EAST), host_mac(ALICE)), Martian);
    }
    // Class E is a source like any other, as in the kernel.
    world.inject_packet(0, EAST, &Packet::ping(ip("240.0.0.1"), BOB, b""));
    world.expect(&[In(0, 1, 42), Out(1, 1, 42)]);
    world.shut_down();
}

#[test]
fn source_routes_end_in_silence_wherever_they_stand() {
    let mut world = World::new(Sizes::ONE);
    for options in
        [vec![131, 3, 4, 0], vec![137, 7, 4, 10, 0, 0, 9, 0], vec![1, 1, 131, 3, 4, 0, 0, 0]]
    {
        let packet = Packet { options, ..Packet::ping(ALICE, BOB, b"") };
        silent(&mut world, EAST, packet.frame(mac(EAST), host_mac(ALICE)), SourceRoute);
    }
    // Behind the end of the options it is no option.
    let packet = Packet { options: vec![0, 131, 3, 4], ..Packet::ping(ALICE, BOB, b"") };
    world.inject_packet(0, EAST, &packet);
    world.expect(&[In(0, 1, 46), Out(1, 1, 46)]);
    world.shut_down();
}

#[test]
fn what_is_for_weir_itself_or_for_many_is_not_forwarded() {
    let mut world = World::new(Sizes::ONE);
    for to in ["10.0.1.1", "10.0.2.1", "10.0.2.255", "255.255.255.255", "224.0.0.5"] {
        let packet = Packet::ping(ALICE, ip(to), b"");
        silent(&mut world, EAST, packet.frame(mac(EAST), host_mac(ALICE)), LocalAddress);
    }
    world.shut_down();
}

#[test]
fn routes_that_forbid_are_answered_by_their_kind() {
    let mut world = World::new(Sizes::ONE);
    let to = |destination| Packet::udp((ALICE, 7), (ip(destination), 9), &[1; 100]);
    let packets = [
        (to("192.0.2.1"), NoRoute, NET_UNREACHABLE),
        (to("10.66.0.1"), RouteUnreachable, HOST_UNREACHABLE),
        (to("10.67.0.1"), RouteUnreachable, PROHIBITED),
        // Its time to live does not matter: there is no way to go.
        (Packet { ttl: 1, ..to("192.0.2.1") }, NoRoute, NET_UNREACHABLE),
    ];
    for (n, (packet, reason, kind)) in (1..).zip(packets) {
        let error = error(kind, 0, n, &packet);
        answered(&mut world, &packet, reason, error);
    }
    let frame = to("10.68.0.1").frame(mac(EAST), host_mac(ALICE));
    silent(&mut world, EAST, frame, RouteUnreachable);
    let frame = to("10.69.0.1").frame(mac(EAST), host_mac(ALICE));
    silent(&mut world, EAST, frame, NotAPort);
    world.shut_down();
}

#[test]
fn time_exceeded_quotes_the_packet_as_it_came() {
    let mut world = World::new(Sizes::ONE);
    let packets = [
        Packet { ttl: 1, tos: 0x48, ..Packet::udp((ALICE, 33_000), (BOB, 33_434), b"traceroute") },
        Packet { ttl: 0, ..Packet::ping(ALICE, BOB, b"none left") },
        // More than fits 576 bytes.
        Packet { ttl: 1, ..Packet::tcp((ALICE, 1), (BOB, 2), ACK, &[5; 1400]) },
        Packet { ttl: 1, options: vec![1, 1, 1, 0], ..Packet::ping(ALICE, BOB, b"") },
        // A first fragment.
        Packet { ttl: 1, more_fragments: true, ..Packet::udp((ALICE, 1), (BOB, 2), &[0; 16]) },
    ];
    for (n, packet) in (1..).zip(packets) {
        let error = error(TIME_EXCEEDED, 0, n, &packet);
        answered(&mut world, &packet, TtlExceeded, error);
    }
    world.shut_down();
}

/// The source is the address that the machine has on the way back, wherever the packet came in; the
/// quote is no longer than the link back takes.
#[test]
fn answers_leave_by_the_route_back_under_its_address() {
    let narrow = Forwarding::builder()
        .port(link(EAST, 1500))
        .port(link(WEST, 100))
        .port(link(WAN, 600))
        .neighbour(WEST, BOB, reachable(BOB))
        .neighbour(WAN, GATEWAY, reachable(GATEWAY));
    let preferred = ip("203.0.113.7");
    let via = |source| Target::Forward { port: WAN, gateway: Some(GATEWAY), mtu: None, source };
    let forwarding = narrow
        .route(ip("10.70.0.0"), 16, via(Some(preferred)))
        .route(ip("10.71.0.0"), 16, via(None))
        .build();
    let mut world = World::over(Sizes::ONE, forwarding);
    for (from, port, next_hop, source, quoted) in
        [(BOB, WEST, BOB, address(WEST), 100 - 28), (ip("10.70.1.1"), WAN, GATEWAY, preferred, 228)]
    {
        let packet = Packet { ttl: 1, ..Packet::udp((from, 1), (ALICE, 2), &[4; 200]) };
        // All come in at east: the way back is another.
        world.inject_packet(0, EAST, &packet);
        world.settle();
        let left = world.left_by_port();
        let [(by, frame)] = &left[..] else { panic!("{left:?}") };
        assert_eq!((*by, &frame[..6]), (port, &host_mac(next_hop)[..]));
        assert_eq!(frame[26..30], source.octets());
        assert_eq!(frame[30..34], from.octets());
        assert_eq!(frame[42..], packet.bytes()[..quoted]);
    }
    // The machine has no address for this way: the answer comes from the dummy (RFC 7600 4.8).
    world.inject_packet(0, EAST, &Packet { ttl: 1, ..Packet::ping(ip("10.71.1.1"), ALICE, b"") });
    let left = world.expect(&[
        In(0, 1, 42),
        Drop(TtlExceeded, 1),
        Count(Counter::Originated, 1),
        Out(2, 1, 70),
    ]);
    assert_eq!(left[0].1[26..30], SOURCE_DUMMY.octets());
    world.shut_down();
}

#[test]
fn padding_is_not_quoted() {
    let mut world = World::new(Sizes::ONE);
    let packet = Packet { ttl: 1, ..Packet::ping(ALICE, BOB, b"") };
    let mut frame = packet.frame(mac(EAST), host_mac(ALICE));
    frame.resize(60, 0xee);
    world.inject(0, EAST, frame);
    world.settle();
    assert_eq!(world.left_by_port(), [(EAST, error(TIME_EXCEEDED, 0, 1, &packet))]);
    world.shut_down();
}

#[test]
fn what_is_too_large_and_may_not_be_cut_is_answered_with_the_mtu() {
    let mut world = World::new(Sizes::ONE);
    let large = |to, len: usize| Packet {
        dont_fragment: true,
        ..Packet::tcp((ALICE, 1), (to, 2), ACK, &vec![6; len - 40])
    };
    let packet = large(CAROL, 601);
    let answer = error(FRAGMENTATION_NEEDED, 600, 1, &packet);
    answered(&mut world, &packet, MtuExceeded, answer);
    let packet = large(ip("10.71.0.1"), 401);
    let answer = error(FRAGMENTATION_NEEDED, 400, 2, &packet);
    answered(&mut world, &packet, MtuExceeded, answer);
    world.inject_packet(0, EAST, &large(CAROL, 600));
    world.expect(&[In(0, 1, 614), Out(2, 1, 614)]);
    world.shut_down();
}

/// RFC 1122 3.2.2: never about an ICMP error or a later fragment. What is not sent is counted.
#[test]
fn some_packets_are_never_answered() {
    let mut world = World::new(Sizes::ONE);
    for packet in [
        Packet::icmp(ALICE, BOB, 3, &[0; 28]),
        Packet::icmp(ALICE, BOB, 11, &[0; 28]),
        Packet::icmp(ALICE, BOB, 200, b""),
        Packet { payload: Vec::new(), ..Packet::new(ALICE, BOB, 1) },
        Packet { offset: 1, ..Packet::udp((ALICE, 1), (BOB, 2), &[0; 8]) },
        // There is no way back to it.
        Packet::ping(ip("192.0.2.1"), BOB, b""),
        Packet::ping(ip("10.68.0.1"), BOB, b""),
        Packet::ping(ip("10.69.0.1"), BOB, b""),
    ] {
        let packet = Packet { ttl: 1, ..packet };
        world.inject_packet(0, EAST, &packet);
        let bytes = 14 + usize::try_from(packet.len()).expect("small");
        let left = world.expect(&[
            In(0, 1, bytes),
            Drop(TtlExceeded, 1),
            Count(Counter::AnswersSuppressed, 1),
        ]);
        assert_eq!(left, [], "{packet:?}");
    }
    world.shut_down();
}

#[test]
fn answers_are_bounded_in_time_but_for_path_mtu_discovery() {
    let mut world = World::new(Sizes::ONE);
    let short = Packet { ttl: 1, ..Packet::ping(ALICE, BOB, b"") };
    for _ in 0..120 {
        world.inject_packet(0, EAST, &short);
    }
    let moved = |sent: usize, suppressed: usize| -> Vec<Moved> {
        let all = sent + suppressed;
        vec![
            In(0, all as u64, all * 42),
            Drop(TtlExceeded, all as u64),
            Count(Counter::Originated, sent.try_into().expect("few")),
            Count(Counter::AnswersSuppressed, suppressed.try_into().expect("few")),
            Out(0, sent as u64, sent * (14 + 56)),
        ]
    };
    world.expect(&moved(50, 70));
    // One token a millisecond.
    world.now_ns += 5_000_000;
    (0..20).for_each(|_| world.inject_packet(0, EAST, &short));
    world.expect(&moved(5, 15));
    let large =
        Packet { dont_fragment: true, ..Packet::tcp((ALICE, 1), (CAROL, 2), ACK, &[6; 700]) };
    (0..20).for_each(|_| world.inject_packet(0, EAST, &large));
    world.expect(&[
        In(0, 20, 20 * 754),
        Drop(MtuExceeded, 20),
        Count(Counter::Originated, 20),
        Out(0, 20, 20 * 590),
    ]);
    world.shut_down();
}

/// Otherwise whoever sends packets that must not be answered keeps all others from being answered.
#[test]
fn what_is_never_answered_costs_no_token() {
    let mut world = World::new(Sizes::ONE);
    let mute = Packet { ttl: 1, ..Packet::icmp(ALICE, BOB, 3, &[0; 28]) };
    (0..200).for_each(|_| world.inject_packet(0, EAST, &mute));
    world.settle();
    assert_eq!(world.left(), []);
    let packet = Packet { ttl: 1, ..Packet::ping(ALICE, BOB, b"") };
    let answer = error(TIME_EXCEEDED, 0, 1, &packet);
    answered(&mut world, &packet, TtlExceeded, answer);
    world.shut_down();
}

#[test]
fn a_link_that_is_down_is_answered_by_host_unreachable() {
    let mut down = link(WEST, 1500);
    down.up = false;
    let forwarding = Forwarding::builder()
        .port(link(EAST, 1500))
        .port(down)
        .port(link(WAN, 600))
        .neighbour(EAST, ALICE, reachable(ALICE))
        .neighbour(WEST, BOB, reachable(BOB))
        .build();
    let mut world = World::over(Sizes::ONE, forwarding);
    let packet = Packet::ping(ALICE, BOB, b"");
    let answer = error(HOST_UNREACHABLE, 0, 1, &packet);
    answered(&mut world, &packet, PortDown, answer);
    world.shut_down();
}

#[test]
fn a_port_that_is_closed_takes_its_packets_with_it() {
    let mut world = World::new(Sizes::ONE);
    world.engine(0).close(WEST);
    world.check();
    let packet = Packet::ping(ALICE, BOB, b"");
    world.inject_packet(0, EAST, &packet);
    let left = world.expect(&[In(0, 1, 42), Drop(PortDown, 1)]);
    assert_eq!(left, []);
    world.open(0, WEST);
    world.inject_packet(0, EAST, &packet);
    world.expect(&[In(0, 1, 42), Out(1, 1, 42)]);
    world.shut_down();
}

#[test]
fn a_full_transmit_ring_drops_what_does_not_fit() {
    // The newest 64 stay in flight, so the ring of 80 has room for 16, and once more after a kick.
    let sizes = Sizes { tx: 80, completion_lag: 64, ..Sizes::ONE };
    let mut world = World::new(sizes);
    let packet = Packet::ping(ALICE, BOB, b"");
    (0..64).for_each(|_| world.inject_packet(0, EAST, &packet));
    world.expect(&[In(0, 64, 64 * 42), Out(1, 64, 64 * 42)]);
    (0..64).for_each(|_| world.inject_packet(0, EAST, &packet));
    world.expect(&[In(0, 64, 64 * 42), Out(1, 32, 32 * 42), Drop(TxRingFull, 32)]);
    world.shut_down();
}

#[test]
fn without_frames_for_all_fragments_none_is_sent() {
    // Three ports take 32 each; of the last 2 frames the datagram needs 3.
    let sizes = Sizes { chunks: 98, fill: 32, ..Sizes::ONE };
    let mut world = World::new(sizes);
    let packet = Packet::udp((ALICE, 1000), (CAROL, 2000), &[0; 1400]);
    world.inject_packet(0, EAST, &packet);
    let left = world.expect(&[In(0, 1, 1442), Drop(NoFrame, 1)]);
    assert_eq!(left, []);
    world.shut_down();
}

#[test]
fn without_a_frame_no_answer_is_sent() {
    let sizes = Sizes { chunks: 96, fill: 32, ..Sizes::ONE };
    let mut world = World::new(sizes);
    world.inject_packet(0, EAST, &Packet { ttl: 1, ..Packet::ping(ALICE, BOB, b"") });
    let left =
        world.expect(&[In(0, 1, 42), Drop(TtlExceeded, 1), Count(Counter::AnswersSuppressed, 1)]);
    assert_eq!(left, []);
    world.shut_down();
}

/// The outbox fills up in the middle of a datagram, and the flush lends the last free frames to the
/// port: even so no datagram leaves in part.
#[test]
fn a_flush_between_fragments_takes_no_frame_from_them() {
    let sizes = Sizes { fill: 64, tx: 200, completion_lag: 182, ..Sizes::ONE };
    let mut world = World::new(Sizes { chunks: 3 * 64 + 90 + 95, ..sizes });
    let packet = Packet::ping(ALICE, CAROL, b"");
    (0..90).for_each(|_| world.inject_packet(0, EAST, &packet));
    world.expect(&[In(0, 90, 90 * 42), Out(2, 90, 90 * 42)]);
    // In at "wan0" and out again: 42 in three pieces each and two whole ones fill the outbox of
    // 128.
    let whole = Packet::udp((CAROL, 1000), (ip("10.70.0.1"), 2000), &[0; 1400]);
    let packets = vec![&whole; 42].into_iter().chain([&packet, &packet, &whole]);
    packets.for_each(|packet| world.inject_packet(0, WAN, packet));
    world.expect(&[
        In(2, 45, 43 * 1442 + 2 * 42),
        Count(Counter::Originated, 126),
        Count(Counter::Absorbed, 42),
        Out(2, 128, 42 * (1408 + 3 * 34) + 2 * 42),
        Drop(NoFrame, 1),
    ]);
    world.shut_down();
}
