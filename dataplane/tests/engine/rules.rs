//! Chain FORWARD, directed: which rule decides, and what each one counts.

use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason::{Rule, RuleHotdrop, RulePolicy};

use crate::delta::Moved::{self, Count, Drop, In, Out};
use crate::packet::{ACK, FIN, Packet, RST, SYN};
use crate::world::*;

/// What the rules say about a packet from east to west.
#[track_caller]
fn decides(world: &mut World, packet: &Packet, moved: Moved) {
    world.inject_packet(0, EAST, packet);
    let bytes = 14 + usize::try_from(packet.len()).expect("small");
    world.expect(&[In(0, 1, bytes), moved]);
}

/// What passes moves.
fn passes(packet: &Packet) -> Moved {
    Out(1, 1, 14 + usize::try_from(packet.len()).expect("small"))
}

fn world(rules: &[&str]) -> World {
    let mut world = World::new(Sizes::ONE);
    world.rules(rules);
    world
}

fn udp(port: u16) -> Packet {
    Packet::udp((ALICE, 1000), (BOB, port), b"12")
}

fn tcp(flags: u8) -> Packet {
    Packet::tcp((ALICE, 1000), (BOB, 80), flags, b"")
}

#[test]
fn the_first_rule_with_a_target_decides_and_all_that_matched_before_count() {
    let mut world = world(&[
        "-P FORWARD DROP",
        "-A FORWARD -p udp",
        "-A FORWARD -p udp --dport 53 -j ACCEPT",
        "-A FORWARD -p udp --dport 53 -j DROP",
        "-A FORWARD -p udp --dport 54 -j DROP",
    ]);
    decides(&mut world, &udp(53), passes(&udp(53)));
    decides(&mut world, &udp(54), Drop(Rule, 1));
    decides(&mut world, &udp(55), Drop(RulePolicy, 1));
    decides(&mut world, &Packet::ping(ALICE, BOB, b""), Drop(RulePolicy, 1));
    assert_eq!(
        [0, 1, 2, 3, 4].map(|n| world.count(n)),
        [(2, 58), (3, 90), (1, 30), (0, 0), (1, 30)]
    );
    world.shut_down();
}

#[test]
fn bytes_are_ip_total_lengths_without_padding() {
    let mut world = world(&["-A FORWARD -j ACCEPT"]);
    let packet = Packet::ping(ALICE, BOB, b"");
    let mut frame = packet.frame(mac(EAST), host_mac(ALICE));
    frame.resize(60, 0);
    world.inject(0, EAST, frame);
    world.settle();
    assert_eq!((world.count(1), world.count(0)), ((1, 28), (0, 0)));
    world.shut_down();
}

#[test]
fn interfaces_addresses_and_their_negations() {
    let packet = udp(53);
    for (rule, matches) in [
        ("-i east", true),
        ("-i west", false),
        ("! -i west", true),
        ("-i e+", true),
        ("-i ea", false),
        ("-i +", true),
        ("! -i +", false),
        ("-o west", true),
        ("! -o west", false),
        ("-o w+", true),
        ("-o wan+", false),
        ("-i west -o east", false),
        ("-s 10.0.1.2", true),
        ("! -s 10.0.1.2", false),
        ("-s 10.0.0.0/16", true),
        ("-s 10.0.1.0/31", false),
        ("! -s 10.0.1.0/31", true),
        ("-d 10.0.2.2/32", true),
        ("-d 10.0.1.2", false),
        ("-s 0.0.0.0/0", true),
        ("! -s 0.0.0.0/0", false),
        ("-p udp", true),
        ("! -p udp", false),
        ("! -p tcp", true),
        ("-p 253", false),
    ] {
        let mut world = world(&["-P FORWARD ACCEPT", &format!("-A FORWARD {rule} -j DROP")]);
        decides(&mut world, &packet, if matches { Drop(Rule, 1) } else { passes(&packet) });
        let counted = if matches { [(0, 0), (1, 30)] } else { [(1, 30), (0, 0)] };
        assert_eq!([0, 1].map(|n| world.count(n)), counted, "{rule}");
        world.shut_down();
    }
}

#[test]
fn ports_and_flags() {
    let cases: &[(&str, Packet, bool)] = &[
        ("-p udp --dport 53", udp(53), true),
        ("-p udp --dport 53", udp(54), false),
        ("-p udp ! --dport 53", udp(54), true),
        ("-p udp --dport 50:53", udp(53), true),
        ("-p udp --dport 50:52", udp(53), false),
        ("-p udp --sport 1000 --dport 53", udp(53), true),
        ("-p udp ! --sport 1000 --dport 53", udp(53), false),
        ("-p tcp --dport 53", udp(53), false),
        ("-p tcp --syn", tcp(SYN), true),
        ("-p tcp --syn", tcp(SYN | ACK), false),
        ("-p tcp ! --syn", tcp(SYN | ACK), true),
        ("-p tcp ! --syn", tcp(SYN), false),
        ("-p tcp --syn", tcp(SYN | 0xc0), true),
        ("-p tcp --tcp-flags ALL NONE", tcp(0), true),
        ("-p tcp --tcp-flags ALL NONE", tcp(0xc0), true),
        ("-p tcp --tcp-flags ALL NONE", tcp(FIN), false),
        ("-p tcp --tcp-flags SYN,RST SYN,RST", tcp(SYN | RST | ACK), true),
        ("-p tcp --tcp-flags SYN FIN", tcp(FIN), false),
    ];
    for (rule, packet, matches) in cases {
        let mut world = world(&[&format!("-A FORWARD {rule} -j DROP")]);
        let moved = if *matches { Drop(Rule, 1) } else { passes(packet) };
        decides(&mut world, packet, moved);
        assert_eq!(world.count(1).0, u64::from(*matches), "{rule}");
        world.shut_down();
    }
}

#[test]
fn headers_that_cannot_be_read_are_dropped_on_the_spot_and_counted_by_no_rule() {
    let rules = ["-A FORWARD -p tcp --dport 80 -j ACCEPT", "-A FORWARD -p udp --sport 1 -j ACCEPT"];
    let piece = |packet: Packet, offset| Packet { offset, payload: vec![0; 16], ..packet };
    let cut = |packet: Packet, len| Packet { payload: packet.payload[..len].to_vec(), ..packet };
    for packet in [cut(tcp(ACK), 19), cut(tcp(ACK), 0), cut(udp(1), 7), piece(tcp(ACK), 1)] {
        let mut world = world(&rules);
        decides(&mut world, &packet, Drop(RuleHotdrop, 1));
        assert_eq!([0, 1, 2].map(|n| world.count(n)), [(0, 0); 3]);
        world.shut_down();
    }
    // Offset 1 of UDP overwrites nothing that a rule reads; later pieces of TCP neither.
    for packet in [piece(udp(1), 1), piece(tcp(ACK), 2), cut(udp(1), 8)] {
        let mut world = world(&rules);
        decides(&mut world, &packet, passes(&packet));
        assert_eq!(world.count(0), (1, packet.len()));
        world.shut_down();
    }
    // A test before it that fails saves the packet; so does a rule that asks for no header.
    for rule in ["-A FORWARD -s 10.9.9.9 -p tcp --dport 80 -j DROP", "-A FORWARD -p tcp -j ACCEPT"]
    {
        let mut world = world(&[rule]);
        let packet = cut(tcp(ACK), 4);
        decides(&mut world, &packet, passes(&packet));
        world.shut_down();
    }
}

#[test]
fn a_change_leaves_the_counters_of_other_rules() {
    let mut world = world(&["-A FORWARD -p udp", "-A FORWARD -p icmp"]);
    decides(&mut world, &udp(53), passes(&udp(53)));
    world.rules(&["-I FORWARD 1 -p tcp -j DROP"]);
    decides(&mut world, &udp(53), passes(&udp(53)));
    assert_eq!([0, 1, 2, 3].map(|n| world.count(n)), [(2, 60), (0, 0), (2, 60), (0, 0)]);
    world.rules(&["-R FORWARD 2 -p udp -j ACCEPT"]);
    decides(&mut world, &udp(53), passes(&udp(53)));
    assert_eq!([0, 1, 2, 3].map(|n| world.count(n)), [(2, 60), (0, 0), (1, 30), (0, 0)]);
    world.rules(&["-D FORWARD 1", "-P FORWARD DROP"]);
    decides(&mut world, &tcp(SYN), Drop(RulePolicy, 1));
    // As in the kernel, `-P` sets the policy's own counters back to zero.
    assert_eq!([0, 1, 2].map(|n| world.count(n)), [(1, 40), (1, 30), (0, 0)]);
    world.rules(&["-Z"]);
    decides(&mut world, &udp(53), passes(&udp(53)));
    assert_eq!([0, 1, 2].map(|n| world.count(n)), [(0, 0), (1, 30), (0, 0)]);
    world.rules(&["-F"]);
    decides(&mut world, &udp(53), Drop(RulePolicy, 1));
    assert_eq!(world.count(0), (1, 30));
    world.shut_down();
}

/// The order of `ip_forward`: lifetime and size come before the rules; Weir's own packets pass
/// none.
#[test]
fn what_ends_before_the_rules_is_counted_by_none_and_answers_pass_none() {
    let mut world = world(&["-P FORWARD DROP", "-A FORWARD -p icmp -j DROP"]);
    world.inject_packet(0, EAST, &Packet { ttl: 1, ..udp(53) });
    world.expect(&[
        In(0, 1, 44),
        Drop(weir_dataplane::verdict::DropReason::TtlExceeded, 1),
        Count(Counter::Originated, 1),
        Out(0, 1, 14 + 20 + 8 + 30),
    ]);
    assert_eq!([0, 1].map(|n| world.count(n)), [(0, 0), (0, 0)]);
    world.shut_down();
}

/// A packet that is too long is one packet to the rules, whatever is sent then.
#[test]
fn rules_see_the_packet_before_it_is_cut() {
    let mut world = world(&["-A FORWARD -p udp --dport 9 -j ACCEPT", "-P FORWARD DROP"]);
    world.inject_packet(0, EAST, &Packet::udp((ALICE, 1), (CAROL, 9), &[0; 1000]));
    world.settle();
    assert_eq!(world.left().len(), 2);
    assert_eq!((world.count(0), world.count(1)), ((0, 0), (1, 1028)));
    world.shut_down();
}

#[test]
fn workers_count_together() {
    let mut world = World::new(Sizes::TWO);
    world.rules(&["-A FORWARD -p udp -j ACCEPT"]);
    for port in 0..100 {
        world.inject_packet(usize::from(port % 2), EAST, &udp(port));
    }
    world.settle();
    assert_eq!((world.left().len(), world.count(1)), (100, (100, 3000)));
    world.shut_down();
}
