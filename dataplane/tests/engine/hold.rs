//! Packets that wait for the hardware address of their next hop.

use std::net::Ipv4Addr;

use weir_dataplane::hold::{ASK_AGAIN_NS, HELD_MAX, HELD_NS_MAX, HELD_PER_NEIGHBOUR_MAX};
use weir_dataplane::route::{Neighbour, NeighbourState, ResolveRequest};
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason::{HoldFull, NeighbourUnresolved, PortDown, TtlExceeded};

use crate::delta::Moved::{Count, Drop, In, Out};
use crate::packet::Packet;
use crate::world::*;

/// Numbered packets to an address without a known neighbour.
fn numbered(to: Ipv4Addr, count: u16) -> Vec<Packet> {
    let packet = Packet::ping(ALICE, to, b"");
    (0..count).map(|identification| Packet { identification, ..packet.clone() }).collect()
}

/// Makes it known how it stands with `NOBODY`.
fn publish(world: &mut World, state: NeighbourState) {
    let neighbour = Neighbour::new(host_mac(NOBODY), state);
    let _ = world.forwarding.publish(network().neighbour(WEST, NOBODY, neighbour).build());
}

fn identifications(left: &[(weir_dataplane::port::PortIndex, Vec<u8>)]) -> Vec<u16> {
    left.iter().map(|(_, bytes)| u16::from_be_bytes([bytes[18], bytes[19]])).collect()
}

#[test]
fn they_leave_in_order_once_it_is_known_and_before_later_ones() {
    for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Probing] {
        let mut world = World::new(Sizes::ONE);
        let packets = numbered(NOBODY, 20);
        packets[..10].iter().for_each(|packet| world.inject_packet(0, EAST, packet));
        let left = world.expect(&[In(0, 10, 420), Count(Counter::Held, 10)]);
        assert_eq!(left, []);
        let wanted = ResolveRequest { port: WEST, address: NOBODY.into() };
        assert_eq!(world.resolver.next(), Some(wanted));

        publish(&mut world, NeighbourState::Incomplete);
        world.now_ns += 50_000_000;
        assert_eq!(world.expect(&[]), [], "it is only being asked for");

        // New ones come in the very poll that learns the address.
        packets[10..].iter().for_each(|packet| world.inject_packet(0, EAST, packet));
        publish(&mut world, state);
        let left = world.expect(&[In(0, 10, 420), Count(Counter::Held, -10), Out(1, 20, 840)]);
        let expected: Vec<_> = packets
            .iter()
            .map(|packet| (WEST, packet.routed().frame(host_mac(NOBODY), mac(WEST))))
            .collect();
        assert_eq!(left, expected, "{state:?}");
        world.shut_down();
    }
}

/// Weir's host unreachable quotes the packet as it would have been sent, like the kernel's
/// (`ipv4_link_failure`).
#[test]
fn when_nobody_answers_the_sender_is_told() {
    let mut world = World::new(Sizes::ONE);
    let packets = numbered(NOBODY, 3);
    packets.iter().for_each(|packet| world.inject_packet(0, EAST, packet));
    world.expect(&[In(0, 3, 126), Count(Counter::Held, 3)]);
    world.now_ns += ASK_AGAIN_NS;
    publish(&mut world, NeighbourState::Failed);
    let left = world.expect(&[
        Count(Counter::Held, -3),
        Drop(NeighbourUnresolved, 3),
        Count(Counter::Originated, 3),
        Out(0, 3, 3 * (14 + 56)),
    ]);
    for ((port, bytes), packet) in left.iter().zip(&packets) {
        assert_eq!((*port, &bytes[34..36]), (EAST, &[3, 1][..]), "host unreachable");
        assert_eq!(bytes[42..], packet.routed().bytes());
    }
    world.shut_down();
}

#[test]
fn an_old_failure_is_asked_anew() {
    let mut world = World::new(Sizes::ONE);
    publish(&mut world, NeighbourState::Failed);
    world.inject_packet(0, EAST, &numbered(NOBODY, 1)[0]);
    world.expect(&[In(0, 1, 42), Count(Counter::Held, 1)]);
    assert_eq!(world.resolver.next().map(|request| request.address), Some(NOBODY.into()));
    publish(&mut world, NeighbourState::Reachable);
    world.expect(&[Count(Counter::Held, -1), Out(1, 1, 42)]);
    world.shut_down();
}

#[test]
fn patience_ends_even_if_nothing_is_heard() {
    let mut world = World::new(Sizes::ONE);
    world.inject_packet(0, EAST, &numbered(NOBODY, 1)[0]);
    world.expect(&[In(0, 1, 42), Count(Counter::Held, 1)]);
    world.now_ns += HELD_NS_MAX;
    world.expect(&[]);
    world.now_ns += 100_000_000;
    world.expect(&[
        Count(Counter::Held, -1),
        Drop(NeighbourUnresolved, 1),
        Count(Counter::Originated, 1),
        Out(0, 1, 14 + 56),
    ]);
    world.shut_down();
}

#[test]
fn one_neighbour_has_a_bounded_share() {
    let mut world = World::new(Sizes::ONE);
    let packets = numbered(NOBODY, 100);
    packets.iter().for_each(|packet| world.inject_packet(0, EAST, packet));
    let share = i64::try_from(HELD_PER_NEIGHBOUR_MAX).expect("small");
    world.expect(&[In(0, 100, 4200), Count(Counter::Held, share), Drop(HoldFull, 36)]);
    // Others are not hindered.
    world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, b""));
    world.expect(&[In(0, 1, 42), Out(1, 1, 42)]);
    publish(&mut world, NeighbourState::Reachable);
    let left = world.expect(&[Count(Counter::Held, -share), Out(1, 64, 64 * 42)]);
    assert_eq!(identifications(&left), (0..64).collect::<Vec<_>>());
    world.shut_down();
}

#[test]
fn all_neighbours_together_have_a_bound() {
    let mut world = World::new(Sizes { chunks: 2048, ..Sizes::ONE });
    for host in 100..117 {
        let packets = numbered(Ipv4Addr::new(10, 0, 2, host), 64);
        packets.iter().for_each(|packet| world.inject_packet(0, EAST, packet));
    }
    let all = i64::try_from(HELD_MAX).expect("small");
    world.expect(&[In(0, 1088, 1088 * 42), Count(Counter::Held, all), Drop(HoldFull, 64)]);
    // A full hold whose packets all fail: 50 answers at once, not one a packet.
    world.now_ns += HELD_NS_MAX + 100_000_000;
    world.expect(&[
        Count(Counter::Held, -all),
        Drop(NeighbourUnresolved, 1024),
        Count(Counter::Originated, 50),
        Count(Counter::AnswersSuppressed, 1024 - 50),
        Out(0, 50, 50 * 70),
    ]);
    world.shut_down();
}

/// An answer to a sender that is not known itself waits as well, and is not answered in turn.
#[test]
fn weirs_own_packets_wait_and_are_never_answered() {
    let mut world = World::new(Sizes::ONE);
    let packet = Packet { ttl: 1, ..Packet::ping(NOBODY, ALICE, b"") };
    world.inject_packet(0, WEST, &packet);
    world.expect(&[
        In(1, 1, 42),
        Drop(TtlExceeded, 1),
        Count(Counter::Originated, 1),
        Count(Counter::Held, 1),
    ]);
    world.now_ns += ASK_AGAIN_NS;
    publish(&mut world, NeighbourState::Failed);
    world.expect(&[Count(Counter::Held, -1), Drop(NeighbourUnresolved, 1)]);
    world.shut_down();
}

/// Both ends unknown: the host unreachable about a held packet is itself held. It takes the place
/// that the packet gave up, so a full hold stays within its bounds.
#[test]
fn an_answer_about_a_held_packet_may_be_held() {
    let mut world = World::new(Sizes::ONE);
    let unknown = Ipv4Addr::new(10, 0, 1, 99);
    world.inject_packet(0, EAST, &Packet::ping(unknown, NOBODY, b""));
    world.expect(&[In(0, 1, 42), Count(Counter::Held, 1)]);
    world.now_ns += ASK_AGAIN_NS;
    publish(&mut world, NeighbourState::Failed);
    world.expect(&[Drop(NeighbourUnresolved, 1), Count(Counter::Originated, 1)]);
    assert!(world.engine(0).is_unfinished());
    world.now_ns += HELD_NS_MAX + 100_000_000;
    world.expect(&[Count(Counter::Held, -1), Drop(NeighbourUnresolved, 1)]);
    world.shut_down();
}

#[test]
fn fragments_of_a_packet_wait_together() {
    let mut world = World::new(Sizes::ONE);
    let unknown = Ipv4Addr::new(10, 0, 3, 99);
    world.inject_packet(0, EAST, &Packet::udp((ALICE, 1), (unknown, 2), &[0; 1400]));
    world.expect(&[
        In(0, 1, 1442),
        Count(Counter::Absorbed, 1),
        Count(Counter::Originated, 3),
        Count(Counter::Held, 3),
    ]);
    world.now_ns += HELD_NS_MAX + 100_000_000;
    // The first is answered, the others must not be.
    world.expect(&[
        Count(Counter::Held, -3),
        Drop(NeighbourUnresolved, 3),
        Count(Counter::Originated, 1),
        Count(Counter::AnswersSuppressed, 2),
        Out(0, 1, 14 + 576),
    ]);
    world.shut_down();
}

#[test]
fn a_port_that_closes_meanwhile_ends_them() {
    let mut world = World::new(Sizes::ONE);
    world.inject_packet(0, EAST, &numbered(NOBODY, 1)[0]);
    world.settle();
    world.engine(0).close(WEST);
    publish(&mut world, NeighbourState::Reachable);
    world.expect(&[Count(Counter::Held, -1), Drop(PortDown, 1)]);
    world.shut_down();
}

#[test]
fn shut_down_while_packets_are_held_gives_their_frames_back() {
    let mut world = World::new(Sizes::ONE);
    numbered(NOBODY, 64).iter().for_each(|packet| world.inject_packet(0, EAST, packet));
    world.settle();
    assert!(world.engine(0).is_unfinished());
    world.shut_down();
}

/// Whoever waits for a neighbour that stays silent holds up nobody else.
#[test]
fn those_for_another_neighbour_pass_those_that_wait_on() {
    let mut world = World::new(Sizes::ONE);
    let silent = Ipv4Addr::new(10, 0, 2, 98);
    for n in 0..5 {
        world.inject_packet(0, EAST, &numbered(silent, 5)[n]);
        world.inject_packet(0, EAST, &numbered(NOBODY, 5)[n]);
    }
    world.expect(&[In(0, 10, 420), Count(Counter::Held, 10)]);
    publish(&mut world, NeighbourState::Reachable);
    let left = world.expect(&[Count(Counter::Held, -5), Out(1, 5, 210)]);
    assert_eq!(identifications(&left), [0, 1, 2, 3, 4]);
    // And those that waited on have kept their order.
    let known = network().neighbour(WEST, silent, reachable(silent)).build();
    let _ = world.forwarding.publish(known);
    let left = world.expect(&[Count(Counter::Held, -5), Out(1, 5, 210)]);
    assert_eq!(identifications(&left), [0, 1, 2, 3, 4]);
    world.shut_down();
}
