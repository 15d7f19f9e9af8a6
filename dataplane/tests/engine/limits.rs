//! Rules that limit: over virtual time, with several workers, beside other rules, and through changes of them. What
//! each says packet by packet is for the tests of `weir_dataplane::limit`.

use weir_dataplane::verdict::DropReason::{Rule, RulePolicy};

use crate::delta::Moved::{Drop, In};
use crate::packet::Packet;
use crate::world::*;

const MS: u64 = 1_000_000;

fn udp(port: u16) -> Packet {
    Packet::udp((ALICE, 1000), (BOB, port), b"12")
}

/// So many packets at once to a worker; how many leave, by whichever port.
fn burst(world: &mut World, worker: usize, packets: u32, port: u16) -> usize {
    for _ in 0..packets {
        world.inject_packet(worker, EAST, &udp(port));
    }
    world.settle();
    world.left().iter().filter(|sent| sent.port == WEST).count()
}

#[test]
fn a_limit_is_the_rules_and_not_the_workers() {
    let mut world = World::new(Sizes { workers: 3, ..Sizes::ONE });
    world.rules(&[
        "-P FORWARD DROP",
        "-A FORWARD -p udp --dport 53 -m limit --limit 10/s --limit-burst 5 -j ACCEPT",
        "-A FORWARD -p udp --dport 54 -j ACCEPT",
    ]);
    let passed: usize = (0..3).map(|worker| burst(&mut world, worker, 4, 53)).sum();
    assert_eq!(passed, 5, "of 12");
    // A tenth of a second makes up for one.
    for (wait_ms, expected) in [(96, 0), (4, 1), (100, 1), (300, 3), (90_000, 5)] {
        world.now_ns += wait_ms * MS;
        assert_eq!(burst(&mut world, 1, 9, 53), expected, "after {wait_ms} ms more");
    }
    assert_eq!(burst(&mut world, 0, 20, 54), 20);
    world.shut_down();
}

#[test]
fn a_limit_stands_through_changes_of_other_rules() {
    let mut world = World::new(Sizes::ONE);
    let limited = "-A FORWARD -m limit --limit 1/hour --limit-burst 6 -j ACCEPT";
    world.rules(&["-P FORWARD DROP", limited]);
    assert_eq!(burst(&mut world, 0, 4, 53), 4);
    world.rules(&["-I FORWARD -p udp --dport 54 -j DROP", "-A FORWARD -p tcp -j ACCEPT"]);
    assert_eq!(burst(&mut world, 0, 4, 53), 2, "what was left");
    world.rules(&["-D FORWARD 2", limited]);
    assert_eq!(burst(&mut world, 0, 9, 53), 6, "another rule");
    world.shut_down();
}

/// The seed's line, with a stream that is slow, a flood, a stream beside the limit, and slow again.
#[test]
fn the_rule_of_the_lab_throws_away_what_comes_too_fast() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&["-A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 -j REJECT"]);
    // Packets, the time between two, how long, and the share that passes, in thousandths.
    for (gap_ms, seconds, share) in
        [(20, 5, 1000..=1000), (1, 20, 5..=35), (2, 20, 500..=620), (20, 5, 975..=1000)]
    {
        let (packets, before) = (seconds * 1000 / gap_ms, world.count(1).0);
        let mut passed = 0;
        for _ in 0..packets {
            passed += burst(&mut world, 0, 1, 53) as u64;
            world.now_ns += gap_ms * MS;
        }
        assert_eq!(passed + world.count(1).0 - before, packets, "what matches does not pass");
        let of_thousand = passed * 1000 / packets;
        assert!(
            share.contains(&of_thousand),
            "{packets} packets, {gap_ms} ms apart: {of_thousand}"
        );
    }
    world.shut_down();
}

#[test]
fn only_packets_that_come_to_the_match_are_counted() {
    let mut world = World::new(Sizes::ONE);
    let before = "-A FORWARD -p udp --dport 53 -m fuzzy --lower-limit 3 --upper-limit 4 -j DROP";
    let behind =
        "-A FORWARD -m fuzzy --lower-limit 3 --upper-limit 4 -p udp -m udp --dport 53 -j DROP";
    for (rule, passes) in [(before, true), (behind, false)] {
        world.rules(&["-F", rule]);
        world.now_ns += 500 * MS;
        // A flood of others; then one that the rule is about.
        let others = (0..5).map(|_| {
            world.now_ns += 50 * MS;
            burst(&mut world, 0, 40, 54)
        });
        assert_eq!(others.sum::<usize>(), 200);
        world.now_ns += 10 * MS;
        let passed: usize = (0..40).map(|_| burst(&mut world, 0, 1, 53)).sum();
        assert_eq!(passed == 40, passes, "{rule}: {passed} of 40");
    }
    world.shut_down();
}

#[test]
fn what_a_limit_refuses_is_for_the_next_rule() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&[
        "-P FORWARD DROP",
        "-A FORWARD -m limit --limit 1/hour --limit-burst 2 -m limit --limit 1/hour --limit-burst 3",
        "-A FORWARD -m limit --limit 1/hour --limit-burst 4 -j DROP",
        "-A FORWARD -m limit --limit 1/hour --limit-burst 1 -j DROP",
    ]);
    for _ in 0..9 {
        world.inject_packet(0, EAST, &udp(53));
    }
    world.expect(&[In(0, 9, 9 * 44), Drop(Rule, 5), Drop(RulePolicy, 4)]);
    assert_eq!([1, 2, 3, 0].map(|rule| world.count(rule).0), [2, 4, 1, 4]);
    world.shut_down();
}
