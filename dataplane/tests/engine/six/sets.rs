//! The kernel as judge of `-m set` with sets of IPv6, and of both families in one list: as `set_oracle`, with the
//! packets of `oracle`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::oracle::{compare_counters, labelled, load, ours, theirs, unmet6, world};
use super::*;
use crate::chance::Seed;
use crate::oracle::{Kernel, hex, number};
use crate::set_oracle::no_sets;
use crate::spec::PORTS as NUMBERS;

/// Sets, and what they are made as. Lists come last: what is in them must be there before.
const SETS: [(&str, &str); 10] = [
    ("ip", "hash:ip family inet6"),
    ("masked", "hash:ip family inet6 netmask 48"),
    ("net", "hash:net family inet6"),
    ("wide", "hash:net family inet6"),
    ("port", "hash:ip,port family inet6"),
    ("ports", "hash:ip,port family inet6"),
    ("empty", "hash:net family inet6"),
    ("four", "hash:net"),
    ("list", "list:set"),
    ("lists", "list:set"),
];

const OWN_AND_LISTS: [&str; 9] =
    ["ip", "masked", "net", "wide", "port", "ports", "empty", "list", "lists"];

fn entry(chance: &mut Chance, made_as: &str) -> String {
    let near = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, chance.word());
    let address = chance.one_of(&[ALICE6, BOB6, traffic::CAROL6, traffic::FAR6, near]);
    let ports = |chance: &mut Chance| match chance.below(9) {
        0 | 1 => format!("tcp:{}", chance.one_of(&NUMBERS)),
        2 => format!("tcp:{}-{}", chance.below(3), 20 + chance.below(40)),
        3 => format!("udp:{}", chance.one_of(&NUMBERS)),
        4 => format!("{}:{}", chance.one_of(&["sctp", "udplite"]), chance.one_of(&NUMBERS)),
        5 => format!("icmpv6:{}/{}", chance.one_of(&[1, 3, 128, 129]), chance.below(4)),
        6 => "icmpv6:echo-request".to_owned(),
        7 => format!("{}:0", chance.one_of(&[253, 59, 50])),
        _ => "udp:50-85".to_owned(),
    };
    match made_as.split(' ').next() {
        Some("hash:net") if made_as == "hash:net" => format!("10.0.0.{}", chance.byte()),
        Some("hash:net") => {
            let length = chance.one_of(&[1, 2, 16, 31, 32, 33, 47, 48, 64, 65, 127, 128]);
            format!("{address}/{length}{}", if chance.percent(35) { " nomatch" } else { "" })
        }
        Some("hash:ip,port") => format!("{address},{}", ports(chance)),
        Some("list:set") => SETS[chance.below(8)].0.to_owned(),
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
            let entry = entry(chance, made_as);
            writeln!(text, "add {name} {entry} -exist").expect("writing to a string");
        }
    }
    text
}

fn rule(chance: &mut Chance) -> String {
    let mut line = "-A FORWARD".to_owned();
    if chance.percent(20) {
        let more = [" -p tcp", " -p udp", " ! -p icmpv6", " -i east", " -s 2001:db8::/32"];
        line += chance.one_of(&more);
    }
    for _ in 0..chance.one_of(&[1, 1, 1, 2]) {
        let not = if chance.percent(25) { "! " } else { "" };
        // A rule asks for sets of its own family, or for a list.
        let name = chance.one_of(&OWN_AND_LISTS);
        let ends = ["src", "dst", "src,src", "src,dst", "dst,dst", "dst,src", "dst,dst,src"];
        let ends = chance.one_of(&ends);
        write!(line, " -m set {not}--match-set {name} {ends}").expect("writing to a string");
        if chance.percent(20) {
            line += " --return-nomatch";
        }
    }
    line + chance.one_of(&["", "", "", " -j ACCEPT", " -j DROP"])
}

#[test]
fn sets_mean_to_packets_of_ipv6_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet6().or_else(no_sets) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let (seed, cases) = (number("WEIR_ORACLE_SEED", 0x5eed), number("WEIR_ORACLE_CASES", 120));
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    // Packets that rules counted which ask for each set.
    let mut met = BTreeMap::<&str, u64>::new();
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let sets = sets(&mut chance);
        let lines: Vec<String> = (0..12).map(|_| rule(&mut chance)).collect();
        let mut packets: Vec<_> = (0..100).map(|_| traffic::packet(&mut chance)).collect();
        labelled(&mut packets);
        world.rules6(&["-F"]);
        world.sets(&sets);
        assert_eq!(kernel.ask(&format!("sets {}", hex(sets.as_bytes()))), "ok\n");
        load(&mut kernel, &mut world, &lines, true);
        let ways = ours(&mut world, &packets).into_iter().zip(theirs(&mut kernel, &packets));
        for ((ours, theirs), packet) in ways.zip(&packets) {
            assert_eq!(ours, theirs, "Weir, kernel; {packet:?}\n{lines:#?}\n{sets}");
        }
        compare_counters(&mut kernel, &world, &lines);
        for (number, rule) in (1..).zip(&lines) {
            for (name, _) in SETS {
                if rule.contains(&format!(" --match-set {name} ")) && !rule.contains('!') {
                    *met.entry(name).or_default() += world.count6(number).0;
                }
            }
        }
    }
    eprintln!("packets counted by rules with each set: {met:?}");
    if cases >= 120 {
        let least = |name: &str| if name == "empty" { 0 } else { 20 };
        assert!(OWN_AND_LISTS.iter().all(|name| met[name] >= least(name)), "{met:?}");
    }
    world.shut_down();
}
