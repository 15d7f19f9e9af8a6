//! Connection tracking in the pipeline: the order of things, whole batches, workers, limits. What a segment does to a
//! connection is judged elsewhere, by the kernel (`tests/conntrack`).

use std::net::Ipv4Addr;

use weir_dataplane::conntrack::{Conntrack, FlowView, TcpState, Tuple};
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{Drop, In, Out};
use crate::packet::{ACK, FIN, Packet, RST, SYN};
use crate::world::*;

const CLIENT: (Ipv4Addr, u16) = (ALICE, 40_000);
const SERVER: (Ipv4Addr, u16) = (BOB, 80);

fn tuple(packet: &Packet) -> Tuple {
    let port = |at: usize| u16::from_be_bytes([packet.payload[at], packet.payload[at + 1]]);
    let (source_port, destination_port) = match packet.protocol {
        1 => (port(4), port(0)),
        6 | 17 => (port(0), port(2)),
        _ => (0, 0),
    };
    Tuple {
        source: packet.source.into(),
        destination: packet.destination.into(),
        source_port,
        destination_port,
        protocol: packet.protocol,
    }
}

fn flow(conntrack: &Conntrack, packet: &Packet) -> Option<FlowView> {
    let (id, _) = conntrack.find(&tuple(packet))?;
    conntrack.flow(id)
}

/// Sends a packet and says whether it was forwarded.
fn passes(world: &mut World, packet: &Packet) -> bool {
    let port = if packet.source == ALICE { EAST } else { WEST };
    world.inject_packet(0, port, packet);
    world.settle();
    !world.left().is_empty()
}

fn syn() -> Packet {
    Packet::segment(CLIENT, SERVER, SYN, (100, 0), b"")
}

fn syn_ack() -> Packet {
    Packet::segment(SERVER, CLIENT, SYN | ACK, (500, 101), b"")
}

fn ack() -> Packet {
    Packet::segment(CLIENT, SERVER, ACK, (101, 501), b"")
}

fn establish(world: &mut World) {
    for packet in [syn(), syn_ack(), ack()] {
        assert!(passes(world, &packet), "{packet:?}");
    }
    let view = flow(world.engine(0).conntrack(), &ack()).expect("tracked");
    assert_eq!((view.tcp_state, view.assured), (Some(TcpState::Established), true));
}

#[test]
fn the_trojans_answer_to_nothing_is_invalid() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&["-A FORWARD -m state --state INVALID -j DROP"]);
    let forged = Packet::segment((BOB, 6666), (ALICE, 7777), SYN | ACK, (1, 2), b"secret");
    let bytes = 14 + usize::try_from(forged.len()).expect("small");
    world.inject_packet(0, WEST, &forged);
    assert_eq!(world.expect(&[In(WEST.0, 1, bytes), Drop(DropReason::Rule, 1)]), []);
    establish(&mut world);
    assert_eq!(world.count(1), (1, forged.len()));
    assert_eq!(world.engine(0).conntrack().stats().invalid, 1);
    world.shut_down();
}

#[test]
fn nothing_is_tracked_until_a_rule_asks_and_then_for_good() {
    let mut world = World::new(Sizes::ONE);
    assert!(passes(&mut world, &syn()));
    assert_eq!(world.engine(0).conntrack().len(), 0);
    world.rules(&["-A FORWARD -m state --state NEW"]);
    assert!(passes(&mut world, &syn()));
    assert_eq!((world.engine(0).conntrack().len(), world.count(1).0), (1, 1));
    world.rules(&["-F"]);
    assert!(passes(&mut world, &Packet::udp((ALICE, 1), (BOB, 2), b"")));
    assert_eq!(world.engine(0).conntrack().len(), 2);
    world.shut_down();
}

#[test]
fn a_new_flow_whose_packet_is_dropped_was_never_there() {
    let mut world = World::new(Sizes::ONE);
    world
        .rules(&["-A FORWARD -p tcp --syn -j DROP", "-A FORWARD -m state --state INVALID -j DROP"]);
    assert!(!passes(&mut world, &syn()));
    assert_eq!(world.engine(0).conntrack().len(), 0);
    assert!(!passes(&mut world, &syn_ack()), "it answers nothing that was let through");
    // Nor one that has nowhere to go.
    world.rules(&["-F"]);
    // (What comes back is an ICMP error.)
    let unreachable = "10.66.0.1".parse().expect("an address");
    passes(&mut world, &Packet::segment(CLIENT, (unreachable, 80), SYN, (100, 0), b""));
    passes(&mut world, &Packet { ttl: 1, ..syn() });
    let dropped = [DropReason::RouteUnreachable, DropReason::TtlExceeded]
        .map(|reason| world.counters().dropped(reason));
    assert_eq!(dropped, [1, 1]);
    assert_eq!(world.engine(0).conntrack().len(), 0);
    world.shut_down();
}

#[test]
fn a_fin_that_a_rule_drops_has_been_seen() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::ONE });
    establish(&mut world);
    world.rules(&["-A FORWARD -p tcp --tcp-flags FIN FIN -j DROP"]);
    assert!(!passes(&mut world, &Packet::segment(CLIENT, SERVER, FIN | ACK, (101, 501), b"")));
    let view = flow(world.engine(0).conntrack(), &ack()).expect("tracked");
    assert_eq!(view.tcp_state, Some(TcpState::FinWait));
    world.shut_down();
}

#[test]
fn a_change_of_rules_decides_anew_about_flows_that_live() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&["-A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT"]);
    establish(&mut world);
    world.rules(&["-I FORWARD 1 -p tcp --dport 80 -j DROP"]);
    assert!(!passes(&mut world, &ack()), "refused at once");
    world.rules(&["-D FORWARD 1"]);
    assert!(passes(&mut world, &ack()), "and its state was kept");
    world.shut_down();
}

#[test]
fn packets_of_a_flow_that_this_batch_begins_are_tracked_in_the_order_of_their_arrival() {
    let mut world = World::new(Sizes::ONE);
    let burst = |world: &mut World, port| {
        for number in 0..5_u8 {
            let packet = Packet::udp((ALICE, port), (BOB, 53), &[number]);
            world.inject_packet(0, EAST, &packet);
            world.inject_packet(0, EAST, &Packet::udp((ALICE, port + 1), (BOB, 53), &[number]));
        }
    };
    world.rules(&["-A FORWARD -m state --state NEW"]);
    burst(&mut world, 1000);
    let (received, sent) = (In(EAST.0, 10, 10 * 43), Out(WEST.0, 10, 10 * 43));
    let left = world.expect(&[received, sent]);
    let numbers: Vec<(u8, u8)> = left.iter().map(|(_, bytes)| (bytes[35], bytes[42])).collect();
    let first = 1000_u16.to_be_bytes()[1];
    let expected: Vec<_> = (0..5).flat_map(|n| [(first, n), (first + 1, n)]).collect();
    assert_eq!(numbers, expected, "in order");
    assert_eq!(world.count(1).0, 10, "no answer was seen, so all of them are NEW");
    assert_eq!(world.engine(0).conntrack().stats().insert, 2);
    // Thrown away one by one: each would begin the flow.
    world.rules(&["-A FORWARD -m conntrack --ctstate NEW -p udp -j DROP"]);
    burst(&mut world, 2000);
    world.expect(&[In(EAST.0, 10, 10 * 43), Drop(DropReason::Rule, 10)]);
    assert_eq!(world.engine(0).conntrack().stats().insert, 2);
    world.shut_down();
}

#[test]
fn a_reset_and_what_came_before_it_in_one_batch_are_told_apart() {
    let mut world = World::new(Sizes::ONE);
    let rules =
        ["-A FORWARD -m conntrack --ctstate ESTABLISHED --ctorigsrc 10.0.1.2 --ctproto tcp"];
    world.rules(&rules);
    establish(&mut world);
    let before = world.count(1).0;
    world.inject_packet(0, EAST, &ack());
    world.inject_packet(0, EAST, &Packet::segment(CLIENT, SERVER, RST, (101, 0), b""));
    world.inject_packet(0, EAST, &Packet::segment(CLIENT, SERVER, SYN, (9000, 0), b""));
    world.settle();
    assert_eq!(world.left().len(), 3);
    // The SYN begins a connection anew, as its sender has reset the old one.
    assert_eq!(world.count(1).0, before + 2);
    let view = flow(world.engine(0).conntrack(), &syn()).expect("tracked");
    assert_eq!((view.tcp_state, view.seen_reply), (Some(TcpState::SynSent), false));
    world.shut_down();
}

#[test]
fn an_error_is_related_wherever_the_flow_lives() {
    let mut world = World::new(Sizes::TWO);
    world.rules(&["-A FORWARD -m state --state RELATED", "-A FORWARD -m state --state INVALID"]);
    for port in 0..20 {
        let question = Packet::udp((ALICE, 3000 + port), (BOB, 53), b"?");
        world.inject_packet(usize::from(port % 2), EAST, &question);
        world.settle();
        let error = Packet::icmp(BOB, ALICE, 3, &question.bytes()[..28]);
        world.inject_packet(usize::from(port / 2 % 2), WEST, &error);
        world.settle();
    }
    assert_eq!((world.count(1).0, world.count(2).0), (20, 0));
    // To somebody else, or about nothing: INVALID.
    let known = Packet::udp((ALICE, 3000), (BOB, 53), b"?");
    for error in [
        Packet::icmp(BOB, CAROL, 3, &known.bytes()[..28]),
        Packet::icmp(BOB, ALICE, 3, &Packet::udp((ALICE, 1), (BOB, 53), b"?").bytes()[..28]),
        Packet::icmp(BOB, ALICE, 3, &known.bytes()[..23]),
    ] {
        world.inject_packet(0, WEST, &error);
        world.settle();
    }
    assert_eq!((world.count(1).0, world.count(2).0), (20, 3));
    world.shut_down();
}

#[test]
fn a_flood_of_syns_takes_nothing_from_those_who_talk() {
    let mut world =
        World::new(Sizes { always_track: true, flows: 64, half_open: 32, ..Sizes::ONE });
    let talkers = 40;
    let segment = |talker: u16, flags, numbers| match flags {
        f if f == SYN | ACK => Packet::segment(SERVER, (ALICE, talker), flags, numbers, b""),
        _ => Packet::segment((ALICE, talker), SERVER, flags, numbers, b""),
    };
    for talker in 0..talkers {
        for (flags, numbers) in [(SYN, (1, 0)), (SYN | ACK, (1, 2)), (ACK, (2, 2))] {
            assert!(passes(&mut world, &segment(talker, flags, numbers)));
        }
    }
    for wave in 0..20_u16 {
        for port in 0..64 {
            let forged = Ipv4Addr::new(10, 0, 1, 100 + u8::try_from(wave).expect("small"));
            world.inject_packet(
                0,
                EAST,
                &Packet::segment((forged, port), SERVER, SYN, (7, 0), b""),
            );
        }
        world.settle();
        world.left();
        for talker in 0..talkers {
            assert!(passes(&mut world, &segment(talker, ACK, (2, 2))), "{talker} in wave {wave}");
            let view = flow(world.engine(0).conntrack(), &segment(talker, ACK, (2, 2)));
            let state = view.expect("never displaced").tcp_state;
            assert_eq!(state, Some(TcpState::Established));
        }
    }
    let conntrack = world.engine(0).conntrack();
    assert!(conntrack.len() <= 64 && conntrack.half_open() <= 32);
    assert!(conntrack.stats().early_drop_half_open > 0);
    assert_eq!(conntrack.stats().early_drop_closing, 0);
    world.shut_down();
}

#[test]
fn when_all_are_worth_more_a_new_flow_is_refused_and_counted() {
    let mut world = World::new(Sizes { always_track: true, flows: 1, ..Sizes::ONE });
    establish(&mut world);
    world.inject_packet(0, EAST, &Packet::udp((ALICE, 1), (BOB, 2), b""));
    world.expect(&[In(EAST.0, 1, 42), Drop(DropReason::FlowTableFull, 1)]);
    assert!(passes(&mut world, &ack()));
    // A closing one gives way.
    assert!(passes(&mut world, &Packet::segment(CLIENT, SERVER, FIN | ACK, (101, 501), b"")));
    assert!(passes(&mut world, &Packet::udp((ALICE, 1), (BOB, 2), b"")));
    let stats = *world.engine(0).conntrack().stats();
    assert_eq!((stats.insert, stats.insert_failed, stats.early_drop_closing), (2, 1, 1));
    world.shut_down();
}

#[test]
fn flows_end_with_their_time_a_few_in_each_poll() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::ONE });
    for port in 0..200 {
        assert!(passes(&mut world, &Packet::udp((ALICE, port), (BOB, 53), b"?")));
    }
    assert_eq!(world.engine(0).conntrack().len(), 200);
    world.now_ns += 29_000_000_000;
    world.poll(0);
    assert_eq!(world.engine(0).conntrack().len(), 200);
    world.now_ns += 2_000_000_000;
    world.poll(0);
    let left = world.engine(0).conntrack().len();
    assert!(left > 0 && left < 200, "{left}: not all of them in one poll");
    assert!(world.engine(0).has_news(), "so it does not sleep");
    // Whoever looks for one of those that are overdue finds none.
    assert!(
        flow(world.engine(0).conntrack(), &Packet::udp((ALICE, 199), (BOB, 53), b"?")).is_none()
    );
    for _ in 0..4 {
        world.poll(0);
    }
    assert_eq!(world.engine(0).conntrack().len(), 0);
    assert_eq!(world.engine(0).conntrack().stats().expired, 200);
    world.shut_down();
}

#[test]
fn two_workers_have_each_their_flows_and_hand_over_the_rest() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::TWO });
    for port in 0..50 {
        world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, &port_bytes(port)));
        world.inject_packet(0, EAST, &Packet::udp((ALICE, port), (BOB, 53), b"?"));
        world.settle();
    }
    let flows = [0, 1].map(|worker| world.engine(worker).conntrack().len());
    // One ping flow, 50 of UDP.
    assert_eq!(flows.iter().sum::<usize>(), 51);
    assert!(flows.iter().all(|flows| *flows > 10), "{flows:?}");
    assert!(world.counters().get(Counter::HandedOut) > 10);
    world.shut_down();
}

fn port_bytes(port: u16) -> [u8; 2] {
    port.to_be_bytes()
}
