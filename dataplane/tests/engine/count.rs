//! What the packets of flows come to, directed.

use weir_control::ruleset::Ruleset;
use weir_dataplane::conntrack::FlowCount;
use weir_dataplane::policy::{Compiler, Unenforced};

use crate::packet::Packet;
use crate::words;
use crate::world::*;

const COUNTING: Sizes = Sizes { acct: true, ..Sizes::ONE };

fn there(data: &[u8]) -> Packet {
    Packet::udp((ALICE, 1), (BOB, 53), data)
}

fn back(data: &[u8]) -> Packet {
    Packet::udp((BOB, 53), (ALICE, 1), data)
}

/// Packets and bytes of the only flow.
fn counts(world: &mut World) -> Vec<[(u64, u64); 2]> {
    let mut counts = Vec::new();
    world.engine(0).conntrack().scan(0, u32::MAX, &mut |_, view| {
        let pair = |FlowCount { packets, bytes }| (packets, bytes);
        counts.push(view.counts.expect("counted").map(pair));
    });
    counts
}

#[test]
fn a_packet_is_counted_before_the_rules_see_it_in_the_order_of_arrival() {
    let mut world = World::new(COUNTING);
    world.rules(&[
        "-A FORWARD -m connbytes --connbytes 3: --connbytes-dir original --connbytes-mode packets -j DROP",
        "-A FORWARD -m connbytes --connbytes 29:29 --connbytes-dir both --connbytes-mode avgpkt",
        "-A FORWARD -m connbytes ! --connbytes 0:58 --connbytes-dir original --connbytes-mode bytes",
    ]);
    // The first begins the flow; in one batch.
    for data in [b"?", b"?", b"?", b"?"] {
        world.inject_packet(0, EAST, &there(data));
    }
    world.settle();
    assert_eq!([1, 2, 3].map(|rule| world.count(rule).0), [2, 2, 0]);
    // What is dropped was counted.
    assert_eq!(counts(&mut world), [[(4, 4 * 29), (0, 0)]]);
    world.inject_packet(0, WEST, &back(b"!!!"));
    world.settle();
    assert_eq!(counts(&mut world), [[(4, 4 * 29), (1, 31)]]);
    world.shut_down();
}

#[test]
fn a_datagram_in_pieces_counts_once_with_all_of_its_bytes() {
    let mut world = World::new(COUNTING);
    world.rules(&["-A FORWARD -m state --state NEW"]);
    let whole = there(&[7; 40]);
    for (offset, more) in [(0, true), (3, false)] {
        let from = usize::from(offset) * 8;
        let to = if more { from + 24 } else { whole.payload.len() };
        let payload = whole.payload[from..to].to_vec();
        let piece = Packet { offset, more_fragments: more, payload, ..whole.clone() };
        world.inject_packet(0, EAST, &piece);
    }
    world.settle();
    assert_eq!(counts(&mut world), [[(1, whole.len()), (0, 0)]]);
    // Its header's options count.
    world.inject_packet(0, EAST, &Packet { options: vec![1; 8], ..there(b"") });
    world.settle();
    assert_eq!(counts(&mut world), [[(2, whole.len() + 36), (0, 0)]]);
    world.shut_down();
}

#[test]
fn an_error_about_a_flow_is_no_packet_of_it_but_may_ask_for_its_counts() {
    let mut world = World::new(COUNTING);
    world.rules(&[
        "-A FORWARD -p icmp -m connbytes --connbytes 1:1 --connbytes-dir both --connbytes-mode packets",
        "-A FORWARD -p icmp -m connbytes ! --connbytes 1:2 --connbytes-dir both --connbytes-mode packets",
    ]);
    world.inject_packet(0, EAST, &there(b"?"));
    world.settle();
    world.inject_packet(0, WEST, &Packet::icmp(BOB, ALICE, 3, &there(b"?").bytes()[..28]));
    // And what has no flow may not.
    world.inject_packet(0, WEST, &Packet::icmp(BOB, ALICE, 0, b""));
    world.settle();
    assert_eq!([1, 2].map(|rule| world.count(rule).0), [1, 0]);
    assert_eq!(counts(&mut world), [[(1, 29), (0, 0)]]);
    world.shut_down();
}

#[test]
fn rules_that_ask_for_what_is_not_counted_are_refused() {
    let mut ruleset = Ruleset::new();
    let line =
        "-A FORWARD -m connbytes --connbytes 1 --connbytes-dir both --connbytes-mode packets";
    ruleset.apply(&words::command(line)).expect("a right rule");
    let error = Compiler::new(1, Vec::new()).compile(&ruleset).expect_err("nothing is counted");
    assert_eq!((error.number, &error.why), (1, &Unenforced::NotCounted));
    assert!(error.to_string().contains("set acct = true in [conntrack]"), "{error}");
    let mut counting = Compiler::new(1, Vec::new()).counting_flows(true);
    let policy = counting.compile(&ruleset).expect("it is counted");
    assert!(policy.tracks() && policy.inspects_flows());
}
