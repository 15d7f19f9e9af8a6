//! Rules that limit: over virtual time, with several workers, beside other rules, and through changes of them. What
//! each says packet by packet is for the tests of `weir_dataplane::limit`.

use std::net::Ipv4Addr;

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

/// Packets of these sources, so many of each at once; how many of each leave.
fn bursts(world: &mut World, packets: u32, sources: &[Ipv4Addr]) -> Vec<usize> {
    sources
        .iter()
        .map(|source| {
            for _ in 0..packets {
                world.inject_packet(0, EAST, &Packet::udp((*source, 1000), (BOB, 53), b"12"));
            }
            world.settle();
            world.left().iter().filter(|sent| sent.port == WEST).count()
        })
        .collect()
}

fn source(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 1, last)
}

#[test]
fn each_source_has_its_own_account_and_rules_of_a_name_share_them() {
    let mut world = World::new(Sizes::ONE);
    let rule = |net: &str, more: &str| {
        format!(
            "-A FORWARD -s {net} -m hashlimit --hashlimit-upto 10/s --hashlimit-burst 4 --hashlimit-mode srcip \
             --hashlimit-name web --hashlimit-htable-max 1000{more} -j ACCEPT"
        )
    };
    let (low, all) = (rule("10.0.1.0/25", ""), rule("10.0.1.0/24", ""));
    world.rules(&["-P FORWARD DROP", &low, &all]);
    // What the first rule refuses the second asks the same account for, and finds nothing left.
    assert_eq!(bursts(&mut world, 6, &[source(3), source(4), source(200)]), [4, 4, 4]);
    world.now_ns += 200 * MS;
    assert_eq!(bursts(&mut world, 6, &[source(3), source(200), source(5)]), [2, 2, 4]);
    // Accounts stand as long as a rule of the name does.
    world.rules(&["-D FORWARD 1", "-I FORWARD -p tcp"]);
    assert_eq!(bursts(&mut world, 6, &[source(3), source(6)]), [0, 4]);
    // After a second without a packet an account is forgotten; it would be full again anyway.
    world.now_ns += 1000 * MS;
    assert_eq!(bursts(&mut world, 6, &[source(3)]), [4]);
    let other = rule("10.0.1.0/24", " --hashlimit-srcmask 24");
    let error = world.refused(&["-A FORWARD", &other]);
    assert!(
        error.contains("`-m hashlimit --hashlimit-name web' has another rate, mode or table"),
        "{error}"
    );
    let huge = other.replace("web", "huge").replace("1000 ", "1048576 ");
    let error =
        world.refused(&[&huge, &huge.replace("huge", "more"), &huge.replace("huge", "most")]);
    assert!(error.contains("more than 2097152 keys"), "{error}");
    assert_eq!(bursts(&mut world, 6, &[source(7)]), [4], "as before");
    world.shut_down();
}

#[test]
fn a_flood_of_sources_shuts_nobody_out() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&[
        "-A FORWARD -m hashlimit --hashlimit-above 1/hour --hashlimit-burst 3 --hashlimit-mode srcip \
         --hashlimit-name t --hashlimit-htable-max 200 -j DROP",
    ]);
    assert_eq!(bursts(&mut world, 9, &[source(9)]), [3], "who is held back");
    let flood: Vec<Ipv4Addr> =
        (0..2000_u32).map(|n| Ipv4Addr::from_bits(0x0b00_0000 + n * 7)).collect();
    assert_eq!(bursts(&mut world, 1, &flood), vec![1; 2000]);
    assert_eq!(
        bursts(&mut world, 9, &[source(9), source(10)]),
        [0, 3],
        "stays so; who is new is served"
    );
    world.shut_down();
}

/// What the lab's rule cannot do: to hold back who floods, and nobody else.
#[test]
fn a_controller_for_each_source_holds_back_the_flood_alone() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&[
        "-A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip --fuzzy-htable-max 100 -j DROP",
    ]);
    let (mut flood, mut reader) = (0, 0);
    for ms in 0..10_000_u32 {
        flood += bursts(&mut world, 2, &[source(66)])[0];
        if ms % 20 == 0 {
            reader += bursts(&mut world, 1, &[source(7)])[0];
        }
        world.now_ns += MS;
    }
    assert_eq!(reader, 500, "fifty a second, all served");
    // What a window at the limit holds, then 10 a second.
    assert!((203..=205).contains(&flood), "{flood} of 20000");
    world.shut_down();
}
