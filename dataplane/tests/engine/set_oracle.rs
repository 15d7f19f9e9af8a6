//! The kernel as judge of `-m set`: the same random sets, rules and packets through ipset and iptables
//! in a network namespace and through the engine, as in `oracle`.
//!
//! Environment: `WEIR_ORACLE_CASES` rule sets (default 120), `WEIR_ORACLE_SEED`. Needs what `oracle`
//! needs, and ipset; else prints SKIPPED.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::chance::{Chance, Seed};
use crate::oracle::{self, Kernel, forward, frame, hex, number};
use crate::packet::Packet;
use crate::spec::{PORTS, traffic};
use crate::world::{ALICE, BOB, CAROL, Sizes, World};

const PACKETS_PER_CASE: u16 = 100;

/// Sets, and what they are made as. Lists come last: what is in them must be there before.
const SETS: [(&str, &str); 9] = [
    ("ip", "hash:ip"),
    ("masked", "hash:ip netmask 20"),
    ("net", "hash:net"),
    ("wide", "hash:net"),
    ("port", "hash:ip,port"),
    ("ports", "hash:ip,port"),
    ("empty", "hash:net"),
    ("list", "list:set"),
    ("lists", "list:set"),
];

/// Why there is no ipset here; `None` if there is one.
pub(crate) fn no_sets() -> Option<String> {
    let works = Command::new("unshare").args(["-n", "ipset", "create", "x", "hash:ip"]).output();
    let works = works.is_ok_and(|output| output.status.success());
    (!works).then(|| "`unshare -n ipset create` does not work".into())
}

fn address(chance: &mut Chance) -> Ipv4Addr {
    let host = chance.byte() | 2;
    let far = Ipv4Addr::new(10, 70, host, host);
    let near = Ipv4Addr::new(192, 0, 2, host);
    chance.one_of(&[ALICE, BOB, CAROL, Ipv4Addr::new(10, 70, 3, 4), far, near])
}

fn entry(chance: &mut Chance, made_as: &str) -> String {
    let address = address(chance);
    let mut ports = || -> String {
        let port = |chance: &mut Chance| chance.one_of(&PORTS);
        match chance.below(8) {
            0 | 1 => format!("tcp:{}", port(chance)),
            2 => format!("tcp:{}-{}", chance.below(3), 20 + chance.below(40)),
            3 => format!("udp:{}", port(chance)),
            4 => format!("{}:{}", chance.one_of(&["sctp", "udplite"]), port(chance)),
            5 => format!("icmp:{}/{}", chance.one_of(&[0, 3, 8, 254]), chance.below(4)),
            6 => "253:0".to_owned(),
            _ => "udp:50-85".to_owned(),
        }
    };
    match made_as {
        "hash:net" => {
            let length = chance.one_of(&[1, 7, 8, 14, 16, 20, 24, 28, 31, 32]);
            format!("{address}/{length}{}", if chance.percent(35) { " nomatch" } else { "" })
        }
        "hash:ip,port" => format!("{address},{}", ports()),
        "list:set" => SETS[chance.below(7)].0.to_owned(),
        _ => address.to_string(),
    }
}

/// A text for `ipset restore`.
fn sets(chance: &mut Chance) -> String {
    let mut text = String::new();
    for (name, made_as) in SETS {
        writeln!(text, "create {name} {made_as}").expect("writing to a string");
    }
    for (name, made_as) in SETS.iter().filter(|(name, _)| *name != "empty") {
        let most = if made_as.starts_with("list") { 4 } else { 12 };
        for _ in 0..chance.below(most) {
            let entry = entry(chance, made_as.split(' ').next().unwrap_or(made_as));
            writeln!(text, "add {name} {entry} -exist").expect("writing to a string");
        }
    }
    text
}

fn rule(chance: &mut Chance) -> String {
    let mut line = "-A FORWARD".to_owned();
    if chance.percent(20) {
        line += chance.one_of(&[" -p tcp", " -p udp", " ! -p icmp", " -i east", " -s 10.0.0.0/8"]);
    }
    for _ in 0..chance.one_of(&[1, 1, 1, 2]) {
        let not = if chance.percent(25) { "! " } else { "" };
        let name = chance.one_of(&SETS).0;
        let ends = chance.one_of(&[
            "src",
            "dst",
            "src,src",
            "src,dst",
            "dst,dst",
            "dst,src",
            "dst,dst,src",
        ]);
        write!(line, " -m set {not}--match-set {name} {ends}").expect("writing to a string");
        if chance.percent(20) {
            line += " --return-nomatch";
        }
    }
    line + chance.one_of(&["", "", "", " -j ACCEPT", " -j DROP"])
}

#[test]
fn sets_mean_to_packets_what_they_mean_to_the_kernel() {
    if let Some(reason) = oracle::unmet().or_else(no_sets) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let (seed, cases) = (number("WEIR_ORACLE_SEED", 0x5eed), number("WEIR_ORACLE_CASES", 120));
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    // Packets that rules counted which ask for each set.
    let mut met = BTreeMap::<&str, u64>::new();
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let sets = sets(&mut chance);
        let rules: Vec<String> = (0..12).map(|_| rule(&mut chance)).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        world.rules(&["-F FORWARD"]);
        world.sets(&sets);
        world.rules(&[&["-P FORWARD ACCEPT"][..], &rules].concat());
        assert_eq!(kernel.ask(&format!("sets {}", hex(sets.as_bytes()))), "ok\n");
        kernel.lines(&rules, true);
        let packets = (0..PACKETS_PER_CASE).map(|identification| {
            let (ingress, packet) = traffic(&mut chance);
            (ingress, Packet { identification, ..packet })
        });
        let packets: Vec<(usize, Packet)> = packets.collect();
        let frames: Vec<_> = packets.iter().map(frame).collect();
        let theirs = kernel.forward(&frames);
        let ways = forward(&mut world, &frames, false).into_iter().zip(theirs);
        for ((ours, theirs), packet) in ways.zip(packets) {
            assert_eq!(ours, theirs, "Weir, kernel; {packet:?}\n{rules:#?}\n{sets}");
        }
        let counts = world.counts();
        let theirs = kernel.counters();
        for ((rule, ours), theirs) in rules.iter().zip(&counts).zip(&theirs[1..]) {
            assert_eq!(ours, theirs, "Weir, kernel; {rule}\n{rules:#?}\n{sets}");
            for (name, _) in SETS {
                if rule.contains(&format!(" --match-set {name} ")) && !rule.contains('!') {
                    *met.entry(name).or_default() += ours.0;
                }
            }
        }
    }
    eprintln!("packets counted by rules with each set: {met:?}");
    if cases >= 120 {
        let least = |name: &str| if name == "empty" { 0 } else { 20 };
        assert!(SETS.iter().all(|(name, _)| met[name] >= least(name)), "{met:?}");
    }
    world.shut_down();
}
