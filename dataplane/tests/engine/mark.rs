//! Marks of flows, directed: what the kernel cannot be asked, and what each is about.

use weir_dataplane::conntrack::{EventKind, EventQueue};
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{Drop, In, Out};
use crate::packet::Packet;
use crate::world::*;

/// The marks of the worker's flows, by the source port of each.
fn marks(world: &mut World) -> Vec<(u16, u32)> {
    let mut marks = Vec::new();
    world.engine(0).conntrack().scan(0, u32::MAX, &mut |_, view| {
        marks.push((view.original.source_port, view.mark));
    });
    marks.sort_unstable();
    marks
}

fn datagram(port: u16) -> Packet {
    Packet::udp((ALICE, port), (BOB, 53), b"?")
}

#[test]
fn a_mark_is_seen_by_the_later_packets_of_its_batch_in_the_order_of_their_arrival() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&[
        "-A FORWARD -m connmark --mark 3 -j DROP",
        "-A FORWARD -m connmark --mark 2 -j CONNMARK --set-mark 3",
        "-A FORWARD -m connmark --mark 1 -j CONNMARK --set-mark 2",
        "-A FORWARD -m connmark --mark 0 -j CONNMARK --set-mark 1",
    ]);
    // Two flows in turn. Of each the first three packets pass; the first begins it.
    for _ in 0..5 {
        world.inject_packet(0, EAST, &datagram(1));
        world.inject_packet(0, EAST, &datagram(2));
    }
    world.expect(&[In(0, 10, 430), Drop(DropReason::Rule, 4), Out(1, 6, 258)]);
    assert_eq!(marks(&mut world), [(1, 3), (2, 3)]);
    world.shut_down();
}

#[test]
fn a_mark_that_a_dropped_packet_leaves_stays_with_a_flow_that_is_there() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&["-A FORWARD -j CONNMARK --set-mark 7", "-A FORWARD -j DROP"]);
    world.inject_packet(0, EAST, &datagram(1));
    world.expect(&[In(0, 1, 43), Drop(DropReason::Rule, 1)]);
    assert_eq!(marks(&mut world), [], "it was never begun");
    world.rules(&["-D FORWARD 2", "-R FORWARD 1 -j CONNMARK --or-mark 1"]);
    world.inject_packet(0, EAST, &datagram(1));
    world.settle();
    world.rules(&["-A FORWARD -j CONNMARK --or-mark 2", "-A FORWARD -j DROP"]);
    world.inject_packet(0, EAST, &datagram(1));
    world.settle();
    assert_eq!(marks(&mut world), [(1, 3)]);
    world.shut_down();
}

#[test]
fn a_flow_in_the_place_of_another_begins_without_its_mark() {
    let mut world = World::new(Sizes { flows: 1, half_open: 1, ..Sizes::ONE });
    world.rules(&["-A FORWARD -p udp --sport 1 -j CONNMARK --set-mark 7"]);
    for (port, mark) in [(1, 7), (2, 0), (1, 7)] {
        world.inject_packet(0, EAST, &datagram(port));
        world.settle();
        assert_eq!(marks(&mut world), [(port, mark)]);
    }
    world.shut_down();
}

#[test]
fn what_has_no_flow_has_no_mark_to_ask_for_or_to_change() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&[
        "-A FORWARD -m connmark --mark 0",
        "-A FORWARD -m connmark ! --mark 0",
        "-A FORWARD -j MARK --set-mark 5",
        "-A FORWARD -j CONNMARK --set-mark 5",
        "-A FORWARD -j CONNMARK --restore-mark",
        "-A FORWARD -m mark --mark 5",
    ]);
    // An answer to nothing.
    world.inject_packet(0, EAST, &Packet::icmp(ALICE, BOB, 0, b""));
    world.settle();
    assert_eq!([1, 2, 6].map(|rule| world.count(rule).0), [0, 0, 1]);
    assert_eq!(marks(&mut world), []);
    world.shut_down();
}

#[test]
fn whoever_listens_hears_of_each_change() {
    let mut world = World::new(Sizes::ONE);
    let events = std::sync::Arc::new(EventQueue::new(64));
    world.engine(0).conntrack_mut().set_events(Some(events.clone()));
    events.listen(true);
    world.rules(&[
        "-A FORWARD -p udp -j CONNMARK --set-mark 1",
        "-A FORWARD -p udp -j CONNMARK --set-mark 2",
    ]);
    for _ in 0..2 {
        world.inject_packet(0, EAST, &datagram(1));
        world.settle();
    }
    world.rules(&["-D FORWARD 1"]);
    world.inject_packet(0, EAST, &datagram(1));
    world.settle();
    let told: Vec<_> =
        std::iter::from_fn(|| events.take()).map(|event| (event.kind, event.flow.mark)).collect();
    let (new, update) = (EventKind::New, EventKind::Update);
    // A flow's first packet tells of it when it is there, with the last mark; then each change is told.
    assert_eq!(told, [(new, 2), (update, 1), (update, 2)]);
    world.shut_down();
}
