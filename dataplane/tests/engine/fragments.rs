//! Fragments under connection tracking: judged as a datagram, sent on as they came.

use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{Count, Drop, In, Out};
use crate::packet::Packet;
use crate::world::*;

const TRACKED: Sizes = Sizes { always_track: true, ..Sizes::ONE };

/// A datagram of three fragments with 16, 16 and 16 bytes of payload (UDP header included).
fn pieces(port: u16, identification: u16) -> [Packet; 3] {
    let whole = Packet::udp((ALICE, port), (BOB, 53), &[9; 40]);
    [(0, true, 0..16), (2, true, 16..32), (4, false, 32..48)].map(|(offset, more, range)| Packet {
        offset,
        more_fragments: more,
        identification,
        payload: whole.payload[range].to_vec(),
        ..whole.clone()
    })
}

const BYTES: usize = 14 + 20 + 16;

fn send(world: &mut World, packet: &Packet) {
    world.inject_packet(0, EAST, packet);
}

/// What leaves when all three are accepted.
fn routed(pieces: &[Packet; 3]) -> Vec<(weir_dataplane::port::PortIndex, Vec<u8>)> {
    pieces.iter().map(|piece| (WEST, piece.routed().frame(host_mac(BOB), mac(WEST)))).collect()
}

#[test]
fn the_rules_see_the_whole_once_and_all_fragments_share_its_fate_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let mut world = World::new(TRACKED);
        world.rules(&[
            "-A FORWARD -p udp --dport 53 -m state --state NEW -j ACCEPT",
            "-P FORWARD DROP",
        ]);
        let pieces = pieces(1000, 7);
        for place in &order[..2] {
            send(&mut world, &pieces[*place]);
            assert_eq!(world.expect(&[In(EAST.0, 1, BYTES), Count(Counter::Held, 1)]), []);
        }
        send(&mut world, &pieces[order[2]]);
        let left = world.expect(&[
            In(EAST.0, 1, BYTES),
            Out(WEST.0, 3, 3 * BYTES),
            Count(Counter::Held, -2),
        ]);
        assert_eq!(left, routed(&pieces), "{order:?}");
        assert_eq!((world.count(1), world.count(0)), ((1, 68), (0, 0)), "one datagram of 68 bytes");
        assert_eq!(world.engine(0).conntrack().stats().insert, 1);
        world.rules(&["-F"]);
        for piece in &pieces {
            send(&mut world, piece);
        }
        world.expect(&[In(EAST.0, 3, 3 * BYTES), Drop(DropReason::RulePolicy, 3)]);
        world.shut_down();
    }
}

/// RFC 3168 5.3.
#[test]
fn congestion_met_by_a_fragment_was_met_by_the_datagram() {
    let mut world = World::new(TRACKED);
    world.rules(&["-A FORWARD -m tos --tos 0x13", "-A FORWARD -f"]);
    let marked = |marks: [u8; 3], identification| {
        let mut pieces = pieces(1000, identification);
        pieces.iter_mut().zip(marks).for_each(|(piece, mark)| piece.tos = mark);
        pieces
    };
    for (identification, marks) in (1..).zip([[0x12, 0x03, 0x01], [0x12, 0x13, 0x12]]) {
        marked(marks, identification).iter().for_each(|piece| send(&mut world, piece));
        let left = world.expect(&[In(EAST.0, 3, 3 * BYTES), Out(WEST.0, 3, 3 * BYTES)]);
        assert_eq!(left, routed(&marked([0x13; 3], identification)), "{marks:x?}");
    }
    assert_eq!([1, 2].map(|rule| world.count(rule)), [(2, 136), (0, 0)], "whole, and no fragment");
    for (identification, marks) in (7..).zip([[0, 3, 0], [1, 0, 1], [2, 2, 0]]) {
        marked(marks, identification).iter().for_each(|piece| send(&mut world, piece));
        world.expect(&[In(EAST.0, 3, 3 * BYTES), Drop(DropReason::Reassembly, 3)]);
    }
    world.shut_down();
}

/// The kernel's `kmp` finds it too; its `bm` does not look across the borders of fragments.
#[test]
fn a_pattern_on_the_border_of_fragments_is_found_in_the_datagram() {
    let cut = |whole: &Packet| {
        [(0, true, 0..24), (3, false, 24..48)].map(|(offset, more, range)| Packet {
            offset,
            more_fragments: more,
            payload: whole.payload[range].to_vec(),
            ..whole.clone()
        })
    };
    let mut data = [b'.'; 40];
    data[13..19].copy_from_slice(b"secret");
    let pieces = cut(&Packet::udp((ALICE, 1000), (BOB, 53), &data));
    for (sizes, stopped) in [(TRACKED, true), (Sizes::ONE, false)] {
        let mut world = World::new(sizes);
        world.rules(&["-A FORWARD -m string --string secret --algo bm --from 41 --to 47 -j DROP"]);
        pieces.iter().for_each(|piece| send(&mut world, piece));
        let bytes = 2 * (14 + 20 + 24);
        let fate = if stopped { Drop(DropReason::Rule, 2) } else { Out(WEST.0, 2, bytes) };
        world.expect(&[In(EAST.0, 2, bytes), fate]);
        world.shut_down();
    }
}

#[test]
fn a_wrong_checksum_over_all_fragments_is_invalid() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&["-A FORWARD -m state --state INVALID -j DROP"]);
    let mut pieces = pieces(1000, 7);
    pieces[2].payload[3] ^= 1;
    pieces.iter().for_each(|piece| send(&mut world, piece));
    world.expect(&[In(EAST.0, 3, 3 * BYTES), Drop(DropReason::Rule, 3)]);
    world.shut_down();
}

#[test]
fn copies_are_dropped_and_overlaps_end_the_datagram() {
    let mut world = World::new(TRACKED);
    let pieces = pieces(1000, 7);
    send(&mut world, &pieces[0]);
    send(&mut world, &pieces[0]);
    world.expect(&[
        In(EAST.0, 2, 2 * BYTES),
        Drop(DropReason::Reassembly, 1),
        Count(Counter::Held, 1),
    ]);
    send(&mut world, &Packet { offset: 1, ..pieces[1].clone() });
    world.expect(&[
        In(EAST.0, 1, BYTES),
        Drop(DropReason::Reassembly, 2),
        Count(Counter::Held, -1),
    ]);
    // The same identification may then begin anew.
    pieces.iter().for_each(|piece| send(&mut world, piece));
    let left = world.expect(&[In(EAST.0, 3, 3 * BYTES), Out(WEST.0, 3, 3 * BYTES)]);
    assert_eq!(left, routed(&pieces));
    world.shut_down();
}

#[test]
fn what_is_never_complete_is_dropped_after_thirty_seconds() {
    let mut world = World::new(TRACKED);
    let pieces = pieces(1000, 7);
    send(&mut world, &pieces[0]);
    send(&mut world, &pieces[2]);
    world.settle();
    world.now_ns += 29_999_000_000;
    assert_eq!(world.poll(0), 0);
    world.now_ns += 1_000_000;
    world.expect(&[Drop(DropReason::Reassembly, 2), Count(Counter::Held, -2)]);
    world.shut_down();
}

#[test]
fn a_flood_of_first_fragments_takes_no_more_than_its_share_of_frames() {
    let mut world = World::new(TRACKED);
    for identification in 0..2000 {
        send(&mut world, &pieces(1000, identification)[0]);
        if identification % 50 == 0 {
            world.settle();
            world.now_ns += 1_000_000;
        }
    }
    world.settle();
    assert_eq!(world.counters().get(Counter::Held), 64, "one frame of each datagram");
    assert_eq!(world.counters().dropped(DropReason::Reassembly), 2000 - 64);
    // And a datagram that is complete in time still passes.
    let pieces = pieces(2000, 9999);
    pieces.iter().for_each(|piece| send(&mut world, piece));
    world.settle();
    assert_eq!(world.left_by_port(), routed(&pieces));
    world.shut_down();
}

#[test]
fn several_datagrams_and_whole_packets_in_one_batch() {
    let mut world = World::new(TRACKED);
    let (one, two) = (pieces(1000, 1), pieces(1001, 2));
    let plain = Packet::udp((ALICE, 1002), (BOB, 53), b"plain");
    for packet in [&one[0], &two[2], &plain, &two[0], &one[2], &one[1], &two[1]] {
        send(&mut world, packet);
    }
    world.settle();
    let mut expected = vec![(WEST, plain.routed().frame(host_mac(BOB), mac(WEST)))];
    expected.extend(routed(&one));
    expected.extend(routed(&two));
    assert_eq!(world.left_by_port(), expected);
    assert_eq!(world.engine(0).conntrack().len(), 3);
    world.shut_down();
}

#[test]
fn a_datagram_is_judged_where_its_flow_lives() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::TWO });
    for port in 0..30 {
        let whole = Packet::udp((ALICE, 1000 + port), (BOB, 53), &[9; 40]);
        world.inject_packet(usize::from(port % 2), EAST, &whole);
        world.settle();
        for piece in pieces(1000 + port, port) {
            world.inject_packet(usize::from(port / 2 % 2), EAST, &piece);
        }
        world.settle();
        assert_eq!(world.left().len(), 4);
        let flows: usize = (0..2).map(|worker| world.engine(worker).conntrack().len()).sum();
        assert_eq!(flows, usize::from(port) + 1, "the fragments began no flow of their own");
    }
    world.shut_down();
}

#[test]
fn fragments_are_cut_further_for_a_smaller_link() {
    let mut world = World::new(TRACKED);
    let whole = Packet::udp((ALICE, 1), (CAROL, 2), &[5; 1992]);
    for (offset, more, range) in [(0, true, 0..1000), (125, false, 1000..2000)] {
        let payload = whole.payload[range].to_vec();
        send(&mut world, &Packet { offset, more_fragments: more, payload, ..whole.clone() });
    }
    world.settle();
    let left = world.left_by_port();
    assert!(left.len() == 4 && left.iter().all(|(port, bytes)| *port == WAN && bytes.len() <= 614));
    let mut payload = Vec::new();
    for (_, bytes) in &left {
        let offset = usize::from(u16::from_be_bytes([bytes[20], bytes[21]]) & 0x1fff) * 8;
        assert_eq!(offset, payload.len());
        payload.extend_from_slice(&bytes[34..]);
    }
    assert_eq!(payload, whole.payload);
    world.shut_down();
}

#[test]
fn a_crowd_of_datagrams_never_costs_the_one_that_is_just_being_completed() {
    let mut world = World::new(TRACKED);
    for place in [0, 1, 2] {
        for identification in 0..64 {
            send(&mut world, &pieces(1000 + identification, identification)[place]);
        }
        world.settle();
    }
    assert_eq!(world.left().len(), 64 * 3, "all of them were complete");
    assert_eq!(world.counters().dropped(DropReason::Reassembly), 0);
    world.shut_down();
}

#[test]
fn the_whole_has_one_time_to_live_and_one_answer_when_it_is_too_large() {
    let mut world = World::new(TRACKED);
    let mut uneven = pieces(1000, 7);
    uneven[1].ttl = 1;
    uneven[2].ttl = 0;
    uneven.iter().for_each(|piece| send(&mut world, piece));
    world.settle();
    assert_eq!(world.left_by_port(), routed(&pieces(1000, 7)));
    // Towards Carol 600 bytes are the most. What came uncut in 620 is not to be cut.
    let whole = Packet::udp((ALICE, 1), (CAROL, 2), &[5; 792]);
    for (offset, more, range) in [(0, true, 0..600), (75, false, 600..800)] {
        let payload = whole.payload[range].to_vec();
        let piece = Packet { offset, more_fragments: more, payload, ..whole.clone() };
        send(&mut world, &Packet { dont_fragment: true, ..piece });
    }
    world.settle();
    assert_eq!(world.counters().dropped(DropReason::MtuExceeded), 2, "none of it goes on");
    let left = world.left_by_port();
    assert_eq!(left.len(), 1);
    let (port, answer) = &left[0];
    assert_eq!((*port, &answer[34..36]), (EAST, &[3, 4][..]), "fragmentation needed");
    world.shut_down();
}

#[test]
fn what_arrives_after_a_datagram_is_tracked_after_it() {
    use crate::packet::{ACK, FIN, SYN};
    let mut world = World::new(TRACKED);
    let (client, server) = ((ALICE, 40_000), (BOB, 80));
    for packet in [
        Packet::segment(client, server, SYN, (100, 0), b""),
        Packet::segment(server, client, SYN | ACK, (500, 101), b""),
        Packet::segment(client, server, ACK, (101, 501), b""),
    ] {
        world.inject_packet(0, if packet.source == ALICE { EAST } else { WEST }, &packet);
        world.settle();
    }
    let data = Packet::segment(client, server, ACK, (101, 501), &[7; 60]);
    for (offset, more, range) in [(0, true, 0..40), (5, false, 40..80)] {
        let payload = data.payload[range].to_vec();
        send(&mut world, &Packet { offset, more_fragments: more, payload, ..data.clone() });
    }
    send(&mut world, &Packet::segment(client, server, FIN | ACK, (161, 501), b""));
    world.settle();
    let mut states = Vec::new();
    world.engine(0).conntrack().scan(0, u32::MAX, &mut |_, flow| states.push(flow.tcp_state));
    assert_eq!(states, [Some(weir_dataplane::conntrack::TcpState::FinWait)]);
    world.shut_down();
}
