//! The kernel as judge of `-m connlimit`: the same random rules and conversations through iptables in a network
//! namespace and through the engine, with one worker and with two. Way and fate of every packet, and the counters of
//! all rules must be the same. What comes in by one port in a row goes through one worker as one batch.
//!
//! The kernel looks no more than once a tick for connections that have ended, so it gets its packets one by one with
//! more than a tick between them. Where it counts what is no more, or drops what does not count, Weir is no kernel on
//! purpose (`limit/connections.rs`), and that is left out: rules are asked about packets that begin connections, of all
//! protocols, or about all packets, of protocols that know no end and where no rule drops any.
//!
//! Environment: `WEIR_ORACLE_CONNECTIONS` rule sets (default 64), `WEIR_ORACLE_SEED`. Needs are those of `oracle`, and
//! `conntrack`.

use std::collections::BTreeMap;

use weir_dataplane::conntrack::Settings;
use weir_dataplane::port::PortIndex;

use crate::chance::{Chance, Seed};
use crate::flow_oracle::{self, Talk, forget, no_conntrack};
use crate::oracle::{Kernel, hex, number, unmet};
use crate::world::*;

/// Longer than a tick.
const PACE_MS: u64 = 6;

const PACKETS_PER_CASE: u16 = 60;

/// A rule, with whether it counts by the source.
fn rule(chance: &mut Chance, begins: bool) -> (&'static str, String) {
    let mut line = "-A FORWARD".to_owned();
    let protocols: &[&str] = match begins {
        true => &["", "", " -p tcp", " -p tcp --syn", " -p udp", " -i east"],
        false => &["", "", "", " -p udp", " ! -p icmp", " -i east"],
    };
    line += chance.one_of(protocols);
    let limit = chance.one_of(&[
        "--connlimit-above",
        "--connlimit-above",
        "! --connlimit-above",
        "--connlimit-upto",
    ]);
    let side = chance.one_of(&["saddr", "saddr", "daddr"]);
    let (most, mask) = (chance.below(5), chance.one_of(&[32, 32, 32, 24, 31, 15, 0]));
    line += &format!(" -m connlimit {limit} {most} --connlimit-mask {mask} --connlimit-{side}");
    // So that a rule has seen all connections from their first packets on, or what it has seen lives.
    let target = if begins { " -j DROP" } else { " -j ACCEPT" };
    line += chance.one_of(&["", "", target]);
    (side, line)
}

/// The way of each packet. Several workers get them one by one: which of them is the first to look is chance.
fn ours(
    world: &mut World,
    (worker, workers): (usize, usize),
    frames: &[(usize, Vec<u8>)],
) -> Vec<Option<PortIndex>> {
    match workers {
        1 => flow_oracle::forward(world, worker, frames),
        _ => flow_oracle::forward_one_by_one(world, worker, frames),
    }
}

fn theirs(kernel: &mut Kernel, frames: &[(usize, Vec<u8>)]) -> Vec<Option<PortIndex>> {
    let words = frames.iter().map(|(ingress, frame)| format!(" {ingress}:{}", hex(frame)));
    let answer = kernel.ask(&format!("paced {PACE_MS}{}", words.collect::<String>()));
    answer.split_whitespace().map(|word| word.parse().ok().map(PortIndex)).collect()
}

/// What rules that count by each side have counted.
fn play(kernel: &mut Kernel, worlds: &mut [World; 2], case: u64) -> BTreeMap<&'static str, u64> {
    let _seed = Seed(case);
    let mut chance = Chance::new(case);
    let begins = case % 4 < 2;
    let passes = "-A FORWARD -m state --state INVALID,RELATED -j ACCEPT";
    let mut rules = vec![("state", passes.to_owned())];
    if begins {
        let passes = "-A FORWARD -m conntrack --ctstatus CONFIRMED -j ACCEPT";
        rules.push(("state", passes.to_owned()));
        // The kernel would take one that a server begins for one of a client that was dropped.
        rules.extend(
            ["tcp", "udp"].map(|protocol| {
                ("state", format!("-A FORWARD -p {protocol} --sport 1:1023 -j DROP"))
            }),
        );
    }
    rules.extend((0..1 + chance.below(6)).map(|_| rule(&mut chance, begins)));
    if begins && chance.percent(50) {
        rules.push(("end", "-A FORWARD -p udp --dport 53 -j DROP".to_owned()));
    }
    let mut talks: Vec<_> = (0..4 + chance.below(8)).map(|_| Talk::draw(&mut chance)).collect();
    // Of one a kernel cannot tell who began it, the other ends.
    let other = if begins { 253 } else { 6 };
    talks.iter_mut().filter(|talk| talk.protocol == other).for_each(|talk| talk.protocol = 17);
    let frames = flow_oracle::frames(&mut chance, &mut talks, PACKETS_PER_CASE);
    let lines: Vec<&str> = rules.iter().map(|(_, line)| line.as_str()).collect();
    kernel.lines(&lines, true);
    assert_eq!(kernel.ask("forget"), "ok\n");
    let workers = 1 + usize::from(case % 2 == 1);
    let world = &mut worlds[workers - 1];
    forget(world, workers);
    world.rules(&["-F", "-Z"]);
    world.rules(&lines);
    let theirs = theirs(kernel, &frames);
    let ours = ours(world, (chance.below(workers), workers), &frames);
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(*ours, theirs, "Weir, kernel; packet {number}; {lines:#?}");
    }
    let counts: Vec<_> = (0..=rules.len()).map(|number| world.count(number)).collect();
    assert_eq!(counts, kernel.counters(), "Weir, kernel; {lines:#?}");
    let mut met = BTreeMap::new();
    for ((side, _), (packets, _)) in rules.iter().zip(&counts[1..]) {
        *met.entry(*side).or_default() += packets;
    }
    met
}

#[test]
fn limits_of_connections_are_those_of_the_kernel() {
    if let Some(reason) = unmet().or_else(no_conntrack) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0xc0);
    let cases = number("WEIR_ORACLE_CONNECTIONS", 64);
    // They spend their time in pauses, so several go on at once.
    let (threads, share) = (8, cases.div_ceil(8));
    let play = |thread| {
        let mut kernel = Kernel::new("tap").expect("unshare runs");
        // Nothing is taken up in its middle, where rules may not have seen it begin.
        assert_eq!(kernel.ask("set netfilter/nf_conntrack_tcp_loose 0"), "ok\n");
        let settings = Settings { tcp_loose: false, ..Settings::default() };
        let world = |sizes: Sizes| World::with(sizes, network().build(), sizes.tables(settings));
        let mut worlds = [Sizes::ONE, Sizes::TWO].map(world);
        let cases = seed + thread * share..seed + (thread + 1) * share;
        let met: Vec<_> = cases.map(|case| play(&mut kernel, &mut worlds, case)).collect();
        worlds.into_iter().for_each(World::shut_down);
        met
    };
    let met: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|n| scope.spawn(move || play(n))).collect();
        spawned.into_iter().flat_map(|thread| thread.join().expect("it plays")).collect()
    });
    let mut sum = BTreeMap::<&str, u64>::new();
    met.into_iter().flatten().for_each(|(side, n)| *sum.entry(side).or_default() += n);
    eprintln!("packets counted by rules of each: {sum:?}");
    if cases >= 64 {
        assert!(sum["saddr"] > 500 && sum["daddr"] > 200, "{sum:?}");
    }
}
