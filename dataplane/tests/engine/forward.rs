//! Packets that go through: the bytes that leave, exactly, and the counters.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weir_dataplane::port::PortIndex;
use weir_dataplane::telemetry::Counter;

use crate::delta::Moved::{self, Count, In, Out};
use crate::packet::{ACK, Packet, SYN, adds_up};
use crate::world::*;

/// What a packet that is forwarded moves.
fn through(from: PortIndex, to: PortIndex, bytes: usize) -> [Moved; 2] {
    [In(from.0, 1, bytes), Out(to.0, 1, bytes)]
}

/// A frame from Weir to a host.
fn from_weir(port: PortIndex, next_hop: std::net::Ipv4Addr, packet: &Packet) -> Vec<u8> {
    packet.frame(host_mac(next_hop), mac(port))
}

#[test]
fn tcp_udp_icmp_and_others_are_forwarded_untouched_but_for_macs_and_ttl() {
    let mut world = World::new(Sizes::ONE);
    let mut odd = Packet::new(ALICE, BOB, 253);
    odd.payload = vec![0xab; 33];
    let mut unchecked = Packet::udp((ALICE, 1), (BOB, 2), b"no checksum");
    unchecked.payload[6..8].fill(0);
    let mut wrong = Packet::tcp((ALICE, 1), (BOB, 2), ACK, b"a wrong checksum is the receiver's");
    wrong.payload[16] ^= 0x55;
    let mut options = Packet::udp((ALICE, 1), (BOB, 2), b"options");
    // Record route with room for one address: Weir does not write into it, as it says nowhere.
    options.options = vec![1, 1, 1, 0];
    let packets = [
        Packet::tcp((ALICE, 40_000), (BOB, 80), SYN, b""),
        Packet::tcp((ALICE, 40_000), (BOB, 80), ACK, b"GET / HTTP/1.0\r\n\r\n"),
        Packet::udp((ALICE, 5353), (BOB, 53), b"a question"),
        Packet::ping(ALICE, BOB, &[7; 56]),
        Packet::icmp(ALICE, BOB, 3, &[0; 28]),
        Packet { tos: 0xb8, identification: 0, dont_fragment: true, ..odd.clone() },
        odd,
        unchecked,
        wrong,
        options,
        Packet { ttl: 2, ..Packet::ping(ALICE, BOB, b"the last hop but one") },
        Packet { ttl: 255, ..Packet::ping(ALICE, BOB, b"") },
        Packet { payload: Vec::new(), ..Packet::new(ALICE, BOB, 6) },
    ];
    for packet in packets {
        world.inject_packet(0, EAST, &packet);
        let bytes = 14 + usize::try_from(packet.len()).expect("small");
        let left = world.expect(&through(EAST, WEST, bytes));
        assert_eq!(left, [(WEST, from_weir(WEST, BOB, &packet.routed()))], "{packet:?}");
    }
    world.shut_down();
}

#[test]
fn fragments_pass_as_they_are() {
    let mut world = World::new(Sizes::ONE);
    let whole = Packet::udp((ALICE, 1), (BOB, 2), &[3; 40]);
    for (offset, more, range) in [(0, true, 0..16), (2, true, 16..32), (4, false, 32..48)] {
        let payload = whole.payload[range].to_vec();
        let piece = Packet { offset, more_fragments: more, payload, ..whole.clone() };
        world.inject_packet(0, EAST, &piece);
        let bytes = 14 + usize::try_from(piece.len()).expect("small");
        let left = world.expect(&through(EAST, WEST, bytes));
        assert_eq!(left, [(WEST, from_weir(WEST, BOB, &piece.routed()))]);
    }
    world.shut_down();
}

#[test]
fn a_gateway_gets_what_is_beyond_it_and_a_port_may_send_back_what_it_received() {
    let mut world = World::new(Sizes::ONE);
    let far = "10.70.1.2".parse().expect("an address");
    let packet = Packet::ping(ALICE, far, b"far");
    world.inject_packet(0, EAST, &packet);
    let left = world.expect(&through(EAST, WAN, 14 + 31));
    assert_eq!(left, [(WAN, from_weir(WAN, GATEWAY, &packet.routed()))]);

    let packet = Packet::ping(CAROL, far, b"back");
    world.inject_packet(0, WAN, &packet);
    let left = world.expect(&through(WAN, WAN, 14 + 32));
    assert_eq!(left, [(WAN, from_weir(WAN, GATEWAY, &packet.routed()))]);
    world.shut_down();
}

#[test]
fn a_partial_checksum_is_completed() {
    let mut world = World::new(Sizes::ONE);
    for whole in [
        Packet::tcp((ALICE, 40_000), (BOB, 80), ACK, b"odd number of bytes"),
        Packet::udp((ALICE, 5353), (BOB, 53), b"a question"),
        Packet::tcp((ALICE, 1), (BOB, 2), SYN, b""),
    ] {
        let partial = whole.clone().with_partial_checksum();
        assert_ne!(partial.payload, whole.payload);
        world.inject_packet(0, EAST, &partial);
        let bytes = 14 + usize::try_from(whole.len()).expect("small");
        let left = world.expect(&through(EAST, WEST, bytes));
        assert_eq!(left, [(WEST, from_weir(WEST, BOB, &whole.routed()))]);
    }
    world.shut_down();
}

#[test]
fn ethernet_padding_is_cut_off() {
    let mut world = World::new(Sizes::ONE);
    let packet = Packet::ping(ALICE, BOB, b"");
    let mut frame = packet.frame(mac(EAST), host_mac(ALICE));
    frame.resize(60, 0xee);
    world.inject(0, EAST, frame);
    let left = world.expect(&[In(0, 1, 60), Out(1, 1, 42)]);
    assert_eq!(left, [(WEST, from_weir(WEST, BOB, &packet.routed()))]);
    world.shut_down();
}

#[test]
fn what_is_too_long_for_the_next_link_is_cut_into_fragments() {
    let mut world = World::new(Sizes::ONE);
    let data: Vec<u8> = (0..1400_u32).map(|n| n.to_be_bytes()[3]).collect();
    let packet = Packet::udp((ALICE, 1000), (CAROL, 2000), &data);
    world.inject_packet(0, EAST, &packet);
    // 1,408 bytes of payload over links of 600: 576 + 576 + 256.
    let left = world.expect(&[
        In(0, 1, 14 + 1428),
        Out(2, 3, 3 * 34 + 1408),
        Count(Counter::Originated, 3),
        Count(Counter::Absorbed, 1),
    ]);
    let expected: Vec<_> = [(0, true, 0..576), (72, true, 576..1152), (144, false, 1152..1408)]
        .into_iter()
        .map(|(offset, more_fragments, range)| {
            let payload = packet.payload[range].to_vec();
            let piece = Packet { offset, more_fragments, payload, ..packet.routed() };
            (WAN, from_weir(WAN, CAROL, &piece))
        })
        .collect();
    assert_eq!(left, expected);
    world.shut_down();
}

#[test]
fn a_partial_checksum_is_completed_before_the_packet_is_cut() {
    let mut world = World::new(Sizes::ONE);
    let whole = Packet::udp((ALICE, 1000), (CAROL, 2000), &[9; 1001]);
    world.inject_packet(0, EAST, &whole.clone().with_partial_checksum());
    world.settle();
    let pieces = world.left_by_port();
    let payload: Vec<u8> = pieces.iter().flat_map(|(_, frame)| frame[34..].to_vec()).collect();
    assert_eq!(payload, whole.payload);
    assert!(pieces.iter().all(|(_, frame)| adds_up(&frame[14..34])));
    world.shut_down();
}

#[test]
fn a_route_may_have_a_smaller_mtu_than_its_port() {
    let mut world = World::new(Sizes::ONE);
    let far = "10.71.1.2".parse().expect("an address");
    let packet = Packet { dont_fragment: true, ..Packet::ping(ALICE, far, &[0; 372]) };
    world.inject_packet(0, EAST, &packet);
    let left = world.expect(&through(EAST, WAN, 414));
    assert_eq!(left, [(WAN, from_weir(WAN, GATEWAY, &packet.routed()))]);

    let packet = Packet::ping(ALICE, far, &[0; 373]);
    world.inject_packet(0, EAST, &packet);
    world.expect(&[
        In(0, 1, 415),
        Out(2, 2, 34 + 376 + 34 + 5),
        Count(Counter::Originated, 2),
        Count(Counter::Absorbed, 1),
    ]);
    world.shut_down();
}

#[test]
fn more_than_a_batch_keeps_its_order() {
    let mut world = World::new(Sizes::ONE);
    let packets: Vec<Packet> = (0..500)
        .map(|identification| Packet { identification, ..Packet::ping(ALICE, BOB, b"") })
        .collect();
    packets.iter().for_each(|packet| world.inject_packet(0, EAST, packet));
    let left = world.expect(&[In(0, 500, 500 * 42), Out(1, 500, 500 * 42)]);
    let expected: Vec<_> =
        packets.iter().map(|packet| (WEST, from_weir(WEST, BOB, &packet.routed()))).collect();
    assert_eq!(left, expected);
    world.shut_down();
}

#[test]
fn a_packet_of_another_workers_flow_is_handed_over_and_leaves_there() {
    let mut world = World::new(Sizes::TWO);
    for port in 1000..1016 {
        let there = Packet::udp((ALICE, port), (BOB, 53), b"question");
        let back = Packet::udp((BOB, 53), (ALICE, port), b"answer");
        let homes: Vec<usize> = [(0, EAST, there.clone()), (1, WEST, back)]
            .into_iter()
            .map(|(worker, port, packet)| {
                world.inject_packet(worker, port, &packet);
                world.settle();
                let left = world.left();
                assert_eq!(left.len(), 1);
                left[0].worker
            })
            .collect();
        assert_eq!(homes[0], homes[1], "both directions by one worker");
        // Arriving on the wrong worker's queue costs exactly one hand-over.
        world.inject_packet(1 - homes[0], EAST, &there);
        let left = world.expect(&[
            In(0, 1, 50),
            Count(Counter::HandedOut, 1),
            Count(Counter::HandedIn, 1),
            Out(1, 1, 50),
        ]);
        assert_eq!(left, [(WEST, from_weir(WEST, BOB, &there.routed()))]);
    }
    world.shut_down();
}

/// A worker that has announced its sleep is woken for what it is handed, and for nothing else.
#[test]
fn whoever_is_handed_a_packet_is_woken() {
    let mut world = World::new(Sizes::TWO);
    let rings = |world: &World, worker: usize| {
        let waker = world.inboxes.waker(worker);
        let mut fds = [PollFd::new(waker, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("a poll") > 0
    };
    (0..2).for_each(|worker| world.inboxes.waker(worker).announce_sleep());
    let mut handed_over = 0;
    for port in 0..16 {
        world.inject_packet(0, EAST, &Packet::udp((ALICE, port), (BOB, 53), b""));
        world.poll(0);
        let waits = world.inboxes.waiting(1) > 0;
        assert_eq!((rings(&world, 0), rings(&world, 1)), (false, waits));
        handed_over += u32::from(waits);
        world.inboxes.waker(1).awake();
        world.settle();
        world.inboxes.waker(1).awake();
        world.inboxes.waker(1).announce_sleep();
    }
    assert!((1..16).contains(&handed_over), "{handed_over} of 16");
    world.shut_down();
}
