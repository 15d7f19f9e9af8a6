//! User-defined chains: jumps, gotos, returns and the counters of every rule passed, as in the kernel.

use std::fmt::Write as _;

use weir_control::ruleset::{CHAIN_DEPTH_MAX, RuleError};
use weir_dataplane::verdict::DropReason;

use crate::chance::{Chance, Seed};
use crate::delta::Moved;
use crate::oracle::{Kernel, forward, frame, number, unmet};
use crate::packet::Packet;
use crate::spec::{MARKS, Spec, traffic};
use crate::words;
use crate::world::*;

const PACKETS_PER_CASE: u16 = 100;

/// User-defined chains, from which rules lead to later ones only: so there are no loops.
const CHAINS: [&str; 5] = ["FORWARD", "a", "b", "c", "d"];

/// A rule of chain number `chain`, with a target of its own.
fn rule(chance: &mut Chance, chain: usize) -> String {
    let words = Spec::draw(chance).words();
    let conditions = words.split(" -j ").next().unwrap_or_default();
    let conditions = conditions.strip_prefix("-A FORWARD").unwrap_or_default();
    let later = CHAINS.len() - 1 - chain;
    let target = match chance.below(11) {
        0..4 if later > 0 => format!(" -j {}", CHAINS[chain + 1 + chance.below(later)]),
        4..6 if later > 0 => format!(" -g {}", CHAINS[chain + 1 + chance.below(later)]),
        6 => " -j RETURN".to_owned(),
        7 => " -j ACCEPT".to_owned(),
        8 => " -j DROP".to_owned(),
        _ if chance.percent(70) => {
            format!(" -j MARK --set-xmark {}/{}", chance.one_of(&MARKS), chance.one_of(&MARKS))
        }
        _ => String::new(),
    };
    // Half of the rules lead every packet on, so that packets get deep.
    let conditions = if chance.percent(50) { "" } else { conditions };
    format!("-A {}{conditions}{target}", CHAINS[chain])
}

#[test]
fn chains_mean_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0xc4a1);
    let cases = number("WEIR_ORACLE_CASES", 60);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let mut deep = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let accept = if chance.percent(50) { "ACCEPT" } else { "DROP" };
        let mut rules = Vec::new();
        for chain in 0..CHAINS.len() {
            for _ in 0..1 + chance.below(16) {
                rules.push(rule(&mut chance, chain));
            }
        }
        let packets: Vec<(usize, Packet)> = (0..PACKETS_PER_CASE)
            .map(|identification| {
                let (ingress, packet) = traffic(&mut chance);
                (ingress, Packet { identification, ..packet })
            })
            .collect();
        let mut text = format!("*filter\n:FORWARD {accept} [0:0]\n");
        let mut lines = ["-F", "-X", "-Z"].map(str::to_owned).to_vec();
        lines.push(format!("-P FORWARD {accept}"));
        for chain in &CHAINS[1..] {
            let _ = writeln!(text, ":{chain} - [0:0]");
            lines.push(format!("-N {chain}"));
        }
        for rule in &rules {
            let _ = writeln!(text, "{rule}");
            lines.push(rule.clone());
        }
        kernel.restore(&format!("{text}COMMIT\n"));
        world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let frames: Vec<_> = packets.iter().map(frame).collect();
        let ways = kernel.forward(&frames);
        for ((ours, theirs), packet) in
            forward(&mut world, &frames, true).iter().zip(ways).zip(packets)
        {
            assert_eq!(*ours, theirs, "Weir, kernel; {packet:?}\n{text}");
        }
        let ours: Vec<_> = std::iter::once(world.count(0)).chain(world.counts()).collect();
        assert_eq!(ours, kernel.counters(), "Weir, kernel; {text}");
        deep += ours.last().map_or(0, |count| count.0);
    }
    assert!(deep > cases, "packets came to the last chain: {deep}");
    world.shut_down();
}

#[test]
fn a_packet_comes_as_deep_as_chains_may_lead() {
    let mut world = World::new(Sizes::ONE);
    let mut lines: Vec<String> = (1..CHAIN_DEPTH_MAX).map(|n| format!("-N {}", chain(n))).collect();
    lines.extend((0..CHAIN_DEPTH_MAX - 1).flat_map(|n| {
        // Each chain also counts what comes back.
        [format!("-A {} -j {}", chain(n), chain(n + 1)), format!("-A {}", chain(n))]
    }));
    lines.push(format!("-A {} -p udp -j DROP", chain(CHAIN_DEPTH_MAX - 1)));
    world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let udp = Packet::udp((ALICE, 1), (BOB, 53), b"");
    world.inject_packet(0, EAST, &udp);
    let bytes = udp.bytes().len() + 14;
    world.expect(&[Moved::In(0, 1, bytes), Moved::Drop(DropReason::Rule, 1)]);
    let ping = Packet::ping(ALICE, BOB, b"");
    world.inject_packet(0, EAST, &ping);
    let bytes = ping.bytes().len() + 14;
    let left = world.expect(&[Moved::In(0, 1, bytes), Moved::Out(1, 1, bytes)]);
    assert_eq!(left.len(), 1);
    let counts = world.counts();
    assert_eq!(counts.iter().filter(|count| count.0 == 2).count(), CHAIN_DEPTH_MAX - 1, "led on");
    assert_eq!(counts.iter().filter(|count| count.0 == 1).count(), CHAIN_DEPTH_MAX, "and back");

    let one_more = chain(CHAIN_DEPTH_MAX);
    world.rules(&[&format!("-N {one_more}")]);
    let deeper = format!("-A {} -j {one_more}", chain(CHAIN_DEPTH_MAX - 1));
    let error = RuleError::TooDeep {
        chain: "FORWARD".parse().expect("a name"),
        depth: CHAIN_DEPTH_MAX + 1,
    };
    assert_eq!(world.ruleset().apply(&words::command(&deeper)), Err(error));
    world.shut_down();
}

/// Twenty rules of each chain lead to the next.
#[test]
fn a_packet_may_take_a_million_jumps_and_no_more() {
    let mut world = World::new(Sizes::ONE);
    let mut lines: Vec<String> = (1..6).map(|n| format!("-N {}", chain(n))).collect();
    let jumps = |n: usize, times: usize| (0..times).map(move |_| (n, n + 1));
    let ways = jumps(0, 6).chain((1..5).flat_map(|n| jumps(n, 20)));
    lines.extend(ways.map(|(from, to)| format!("-A {} -j {}", chain(from), chain(to))));
    world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let udp = Packet::udp((ALICE, 1), (BOB, 53), b"");
    world.inject_packet(0, EAST, &udp);
    let bytes = udp.bytes().len() + 14;
    let left = world.expect(&[Moved::In(0, 1, bytes), Moved::Out(1, 1, bytes)]);
    assert_eq!(left.len(), 1);
    let taken: u64 = world.counts().iter().map(|count| count.0).sum();
    assert_eq!(taken, 6 * (1 + 20 + 20 * 20 + 20 * 20 * 20 + 20 * 20 * 20 * 20));

    let one_more = format!("-A FORWARD -j {}", chain(1));
    let error =
        RuleError::TooManyJumps { chain: "FORWARD".parse().expect("a name"), jumps: taken / 6 * 7 };
    assert_eq!(world.ruleset().apply(&words::command(&one_more)), Err(error));
    world.shut_down();
}

/// The name of the chain that is `n` deep.
fn chain(n: usize) -> String {
    if n == 0 { "FORWARD".to_owned() } else { format!("c{n:03}") }
}
