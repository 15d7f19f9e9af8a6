//! The kernel as judge of `-m recent`: the same random rules and packets through iptables in a network namespace and
//! through the engine. Way and fate of every packet, the counters of all rules, and what the tables know in the end
//! must be the same.
//!
//! The engine is given the kernel's time: packets go through both in bursts, and pauses between them are such that the
//! age of none is near a second, which is where rules tell packets apart. A case in which a burst took long tells
//! nothing, and is left out.
//!
//! Environment: `WEIR_ORACLE_CASES` rule sets without pauses (default 120, and a third of it with), `WEIR_ORACLE_SEED`.
//! Needs are those of `oracle`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, forward, frame, number, unmet};
use crate::packet::Packet;
use crate::world::*;

/// Longer bursts tell nothing.
pub(crate) const BURST_NS_MAX: u64 = 40_000_000;

/// Any sum of three is 100 ms away from any second.
pub(crate) const PAUSES_MS: [u64; 2] = [400, 700];

const TABLES: [&str; 3] = ["DEFAULT", "few", "many"];

/// How a case is drawn.
#[derive(Clone, Copy)]
struct Manner {
    /// Bursts; between any two is a pause.
    bursts: usize,
    packets: u16,
    /// Sources at most.
    sources: usize,
}

/// A rule, with its action.
fn rule(chance: &mut Chance, timed: bool) -> (&'static str, String) {
    let mut line = "-A FORWARD".to_owned();
    if chance.percent(25) {
        line +=
            chance.one_of(&[" -p udp", " -i wan0", " ! -s 10.70.0.0/28", " -m ttl --ttl-gt 62"]);
    }
    let action =
        chance.one_of(&["set", "set", "rcheck", "rcheck", "update", "update", "update", "remove"]);
    let not = if chance.percent(20) { "! " } else { "" };
    write!(line, " -m recent {not}--{action}").expect("writing to a string");
    if matches!(action, "rcheck" | "update") {
        let seconds = if timed { chance.one_of(&[1, 1, 2, 2, 1000]) } else { 1000 };
        if chance.percent(60) {
            write!(line, " --seconds {seconds}").expect("writing to a string");
            // With the opposite of an update the kernel may write into what it has freed.
            if chance.percent(30) && !(action == "update" && not == "! ") {
                line += " --reap";
            }
        }
        if chance.percent(60) {
            write!(line, " --hitcount {}", chance.one_of(&[1, 2, 3, 5, 8, 20])).expect("writing");
        }
        if chance.percent(20) {
            line += " --rttl";
        }
    }
    write!(line, " --name {}", chance.one_of(&TABLES)).expect("writing to a string");
    line += chance.one_of(&["", "", "", "", " --rdest", " --rsource"]);
    line += chance.one_of(&["", "", "", "", " --mask 255.255.255.0", " --mask 255.0.255.254"]);
    if chance.percent(15) {
        line += " -m ttl --ttl-lt 100";
    }
    line += chance.one_of(&["", "", "", " -j ACCEPT", " -j DROP", " -j DROP"]);
    (action, line)
}

fn packet(chance: &mut Chance, sources: usize) -> Packet {
    let source = u8::try_from(chance.below(sources)).expect("few");
    let far = Ipv4Addr::new(10, 70, source & 3, source);
    let to = chance.one_of(&[BOB, BOB, BOB, ALICE]);
    let packet = Packet::udp((far, 1000), (to, 53), b"12345678");
    Packet { ttl: chance.one_of(&[64, 64, 64, 63, 255]), ..packet }
}

fn known(world: &World, name: &str) -> String {
    let Some(table) = world.recent(name) else { return "-".to_owned() };
    let mut known: Vec<_> =
        table.list().iter().map(|entry| format!("{}={}", entry.address, entry.ttl)).collect();
    known.sort();
    if known.is_empty() { "-".to_owned() } else { known.join(" ") }
}

/// The same of the kernel, whose rings may be shorter: without the number of packets.
fn known_to_kernel(kernel: &mut Kernel, name: &str) -> String {
    let answer = kernel.ask(&format!("recent {name}"));
    let entries = answer.split_whitespace().map(|entry| entry.rsplit_once('='));
    let entries: Vec<_> = entries.map(|entry| entry.map_or("-", |(entry, _)| entry)).collect();
    entries.join(" ")
}

pub(crate) fn clock(kernel: &mut Kernel) -> u64 {
    kernel.ask("clock").trim_end().parse().expect("a number")
}

/// Has both decide about a burst at Weir's time, and compares what becomes of each packet; `None`, and nothing is said,
/// if the kernel took longer for it than may be.
pub(crate) fn decide_alike(
    kernel: &mut Kernel,
    world: &mut World,
    (burst, frames): (usize, &[(usize, Vec<u8>)]),
    within_ns: u64,
    lines: &[&str],
) -> Option<()> {
    let theirs = kernel.forward(frames);
    if clock(kernel) - world.now_ns > within_ns {
        return None;
    }
    let ours = forward(world, frames, false);
    for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(*ours, theirs, "Weir, kernel; packet {number} of burst {burst}; {lines:#?}");
    }
    Some(())
}

/// What the chain's policy and its rules have counted, which both say alike.
pub(crate) fn count_alike(
    kernel: &mut Kernel,
    world: &World,
    rules: usize,
    lines: &[&str],
) -> Vec<(u64, u64)> {
    let counts: Vec<_> = (0..=rules).map(|number| world.count(number)).collect();
    assert_eq!(counts, kernel.counters(), "Weir, kernel; {lines:#?}");
    counts
}

/// What rules of each action have counted; `None` if the case tells nothing.
fn play(
    kernel: &mut Kernel,
    world: &mut World,
    case: u64,
    manner: Manner,
) -> Option<BTreeMap<&'static str, u64>> {
    let _seed = Seed(case);
    let mut chance = Chance::new(case);
    let rules: Vec<_> =
        (0..2 + chance.below(11)).map(|_| rule(&mut chance, manner.bursts > 1)).collect();
    let lines: Vec<&str> = rules.iter().map(|(_, line)| line.as_str()).collect();
    // Tables of the last case go before those of this one come.
    kernel.lines(&[], true);
    kernel.lines(&lines, true);
    world.rules(&["-F", "-Z"]);
    world.rules(&lines);
    for burst in 0..manner.bursts {
        if burst > 0 {
            let pause = chance.one_of(&PAUSES_MS);
            assert_eq!(kernel.ask(&format!("pause {pause}")), "ok\n");
        }
        let frames: Vec<_> = (0..manner.packets)
            .map(|identification| {
                let packet = packet(&mut chance, manner.sources);
                frame(&(WAN.as_usize(), Packet { identification, ..packet }))
            })
            .collect();
        world.now_ns = clock(kernel);
        let within_ns = if manner.bursts > 1 { BURST_NS_MAX } else { u64::MAX };
        decide_alike(kernel, world, (burst, &frames), within_ns, &lines)?;
    }
    let counts = count_alike(kernel, world, rules.len(), &lines);
    for name in TABLES {
        let (ours, theirs) = (known(world, name), known_to_kernel(kernel, name));
        assert_eq!(ours, theirs, "Weir, kernel; table {name}; {lines:#?}");
    }
    let mut met = BTreeMap::new();
    for ((action, _), (packets, _)) in rules.iter().zip(&counts[1..]) {
        *met.entry(*action).or_default() += packets;
    }
    Some(met)
}

/// Plays cases; what rules of each action have counted, and how many cases told something.
fn play_all(cases: std::ops::Range<u64>, manner: Manner) -> (BTreeMap<&'static str, u64>, u64) {
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let (mut met, mut told) = (BTreeMap::new(), 0);
    for case in cases {
        if let Some(counted) = play(&mut kernel, &mut world, case, manner) {
            told += 1;
            counted.into_iter().for_each(|(action, n)| *met.entry(action).or_default() += n);
        }
    }
    world.shut_down();
    (met, told)
}

#[test]
fn addresses_seen_lately_are_those_of_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let (seed, cases) = (number("WEIR_ORACLE_SEED", 0x5eed), number("WEIR_ORACLE_CASES", 120));
    // Few sources that come often, and more than a table has room for.
    for (sources, packets) in [(5, 80), (240, 400)] {
        let manner = Manner { bursts: 1, packets, sources };
        let (met, told) = play_all(seed..seed + cases / 2, manner);
        eprintln!("{told} cases of {sources} sources; packets counted by rules of each: {met:?}");
        if cases >= 120 {
            assert!(told > 40 && met.len() == 4 && met.values().all(|n| *n > 500), "{met:?}");
        }
    }
}

#[test]
fn what_is_lately_is_what_it_is_to_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let (seed, cases) = (number("WEIR_ORACLE_SEED", 0x5eed), number("WEIR_ORACLE_CASES", 120));
    // They spend their time in pauses, so several go on at once.
    let (threads, share) = (8, cases.div_ceil(24));
    let manner = Manner { bursts: 4, packets: 30, sources: 6 };
    let play = |thread| play_all(seed + thread * share..seed + (thread + 1) * share, manner);
    let played: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|n| scope.spawn(move || play(n))).collect();
        spawned.into_iter().map(|thread| thread.join().expect("it plays")).collect()
    });
    let told: u64 = played.iter().map(|(_, told)| told).sum();
    eprintln!("{told} of {} cases told something: {played:?}", threads * share);
    assert!(told > threads * share / 4, "this machine is too busy");
}
