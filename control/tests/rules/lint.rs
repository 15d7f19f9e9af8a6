//! What lint finds is so: golden examples, and random rule sets beside an evaluation packet by packet.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use weir_control::lint::{Finding, Kind, lint};
use weir_control::restore::{Options, read};
use weir_control::rule::{Match, Names, Rule, Target};
use weir_control::ruleset::{Policy, Ruleset};

fn ruleset(lines: &str) -> Ruleset {
    let text = format!("*filter\n{lines}\nCOMMIT\n");
    let plan = read(text.as_bytes(), &Options::default(), &Names::builtin(), Vec::new);
    let plan = plan.unwrap_or_else(|error| panic!("{}", error.report()));
    let mut set = Ruleset::new();
    set.apply_all(&plan.tables[0].transaction).expect("right");
    set
}

/// Kind, rule, and what is to blame or a packet.
fn found(lines: &str) -> Vec<(Kind, Option<usize>, Vec<usize>, String)> {
    let findings = lint(&ruleset(lines), None);
    findings.into_iter().map(|f| (f.kind, f.rule, f.because_of, f.what)).collect()
}

#[track_caller]
fn assert_finds(lines: &str, expected: &[(Kind, Option<usize>, &[usize], &str)]) {
    let found = found(lines);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, (kind, rule, because_of, what)) in found.iter().zip(expected) {
        assert_eq!((found.0, found.1, &found.2[..]), (*kind, *rule, *because_of), "{}", found.3);
        assert!(found.3.contains(what), "{}", found.3);
    }
}

#[test]
fn rules_that_others_hide_are_found() {
    assert_finds(
        "-A FORWARD -s 10.0.0.0/8 -j DROP\n-A FORWARD -s 10.1.2.3 -p tcp --dport 80 -j ACCEPT",
        &[(Kind::Shadowed, Some(2), &[1], "rule 1 before it decides")],
    );
    // Two halves together.
    assert_finds(
        "-A FORWARD -s 10.0.0.0/9 -j DROP\n-A FORWARD -s 10.128.0.0/9 -j DROP\n\
         -A FORWARD -s 10.0.0.0/8 -p udp -j ACCEPT\n-A FORWARD -s 10.0.0.0/7 -p udp -j DROP",
        &[(Kind::Shadowed, Some(3), &[1, 2], "rules 1 and 2 before it decide about")],
    );
}

#[test]
fn what_is_right_is_left_alone() {
    for lines in [
        "",
        ":FORWARD DROP\n-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT\n\
         -A FORWARD -p tcp --dport 80 -m state --state NEW -j ACCEPT",
        "-A FORWARD -p tcp --syn -j DROP\n-A FORWARD -p tcp --dport 80 -j DROP",
        "-A FORWARD -s 10.0.0.0/8 -j ACCEPT\n-A FORWARD -j DROP",
        ":web -\n-A FORWARD -p tcp -j web\n-A web -p tcp --dport 80 -j ACCEPT\n-A web -j DROP",
        // The same condition is not the same where a rule between sets the mark, and setting it
        // decides nothing and lets nothing pass.
        "-A FORWARD -m mark --mark 1 -j DROP\n-A FORWARD -p udp -j MARK --set-mark 1\n\
         -A FORWARD -m mark --mark 1 -j DROP",
        "-A FORWARD -j MARK --set-mark 1\n-A FORWARD -p tcp -j DROP",
        ":FORWARD DROP\n-A FORWARD -m state --state NEW -j MARK --set-mark 1\n\
         -A FORWARD -m state --state NEW -j LOG",
        // A rule that only counts decides nothing.
        "-A FORWARD\n-A FORWARD -p tcp -j DROP",
    ] {
        assert_eq!(found(lines), [], "{lines}");
    }
}

#[test]
fn each_kind_is_told() {
    assert_finds(
        "-A FORWARD -p tcp ! --dport 0:65535 -j DROP\n-A FORWARD -p tcp --tcp-flags SYN ACK -j DROP\n\
         -A FORWARD -m state --state NEW -m conntrack --ctstate ESTABLISHED -j DROP",
        &[
            (Kind::Contradiction, Some(1), &[], "destination ports"),
            (Kind::Contradiction, Some(2), &[], "flags"),
            (Kind::Contradiction, Some(3), &[], "states"),
        ],
    );
    assert_finds(
        "-A FORWARD -s 10.1.0.0/16 -j DROP\n-A FORWARD -p tcp\n-A FORWARD -s 10.0.0.0/8 -j DROP",
        &[(Kind::Redundant, Some(1), &[3], "rule 3 would do the same")],
    );
    assert_finds(
        "-A FORWARD -s 10.1.0.0/16 -j ACCEPT",
        &[(Kind::Redundant, Some(1), &[], "policy of chain FORWARD")],
    );
    assert_finds(
        "-A FORWARD -s 10.0.0.0/8 -j DROP\n-A FORWARD -s 10.1.0.0/16 -j DROP",
        &[(Kind::Redundant, Some(2), &[1], "and as it would")],
    );
    assert_finds(
        ":web -\n:empty -\n:nobody -\n-A FORWARD -p tcp -j web\n-A FORWARD -j empty\n\
         -A web -p udp -j DROP\n-A web -j DROP\n-A nobody -p udp -j DROP",
        &[
            (Kind::NoEffect, Some(2), &[], "chain empty has no rules"),
            (Kind::Unreachable, None, &[], "no rule leads to chain nobody"),
            (Kind::Unreachable, Some(1), &[], "lead other packets there"),
        ],
    );
    assert_finds(
        ":FORWARD DROP\n-A FORWARD -p tcp --dport 80 -m state --state NEW -j ACCEPT",
        &[(Kind::OneWay, None, &[1], "rule 1 lets connections begin")],
    );
}

#[test]
fn interfaces_that_are_not_there_are_told_if_ports_are_known() {
    let set = ruleset(
        "-A FORWARD -i eth9 -j DROP\n-A FORWARD ! -o wan -j DROP\n-A FORWARD -i eth+ -p tcp -j DROP",
    );
    let ports = ["eth0", "eth1"].map(str::to_owned);
    let findings = lint(&set, Some(&ports));
    let told: Vec<_> = findings.iter().map(|f| (f.kind, f.rule)).collect();
    assert_eq!(
        told,
        [
            (Kind::Redundant, Some(3)),
            (Kind::UnknownInterface, Some(1)),
            (Kind::UnknownInterface, Some(2)),
        ]
    );
    assert!(findings[1].what.contains("never matches"), "{}", findings[1].what);
    assert!(findings[2].what.contains("always holds"), "{}", findings[2].what);
}

/// A packet as far as the random rules can tell.
#[derive(Debug, Clone, Copy)]
struct Packet {
    source: Ipv4Addr,
    protocol: u8,
    port: u16,
    flags: u8,
}

fn holds(rule: &Rule, packet: &Packet) -> bool {
    let source =
        rule.source.is_none_or(|net| net.value.contains(packet.source.into()) != net.negated);
    let protocol = rule.protocol.is_none_or(|p| (p.value.0 == packet.protocol) != p.negated);
    source
        && protocol
        && rule.matches.iter().all(|extension| match extension {
            Match::Tcp(tcp) => {
                let ports = tcp.destination_ports;
                let range = ports.value.first()..=ports.value.last();
                range.contains(&packet.port) != ports.negated
                    && tcp.flags.value.matches(packet.flags) != tcp.flags.negated
            }
            other => panic!("{other:?} is not drawn"),
        })
}

/// Which rule decides, and how.
fn decide(rules: &[&Rule], packet: &Packet, policy: Policy) -> (Option<usize>, bool) {
    for (place, rule) in rules.iter().enumerate() {
        match rule.target.as_ref().filter(|_| holds(rule, packet)) {
            Some(Target::Accept) => return (Some(place), true),
            Some(Target::Drop) => return (Some(place), false),
            _ => {}
        }
    }
    (None, policy == Policy::Accept)
}

fn line() -> impl Strategy<Value = String> {
    let source = prop::sample::select(vec![
        "",
        "-s 10.0.0.0/8",
        "-s 10.0.0.0/9",
        "-s 10.128.0.0/9",
        "! -s 10.0.0.0/8",
        "-s 10.0.0.1",
        "-s 0.0.0.1/0.0.0.1",
    ]);
    let transport = prop::sample::select(vec![
        "",
        "-p tcp",
        "! -p tcp",
        "-p udp",
        "-p tcp --dport 80",
        "-p tcp ! --dport 80",
        "-p tcp --dport 0:80",
        "-p tcp --dport 81:",
        "-p tcp --syn",
        "-p tcp ! --syn",
        "-p tcp --dport 80 --syn",
    ]);
    let target = prop::sample::select(vec!["-j ACCEPT", "-j DROP", "-j DROP", ""]);
    (source, transport, target).prop_map(|(s, t, j)| format!("-A FORWARD {s} {t} {j}"))
}

fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for source in [
        [10, 0, 0, 1],
        [10, 0, 0, 2],
        [10, 200, 0, 1],
        [10, 200, 0, 2],
        [11, 0, 0, 1],
        [11, 0, 0, 2],
    ] {
        for protocol in [6, 17, 1] {
            for port in [0, 80, 81, 9000] {
                for flags in [0x02, 0x10] {
                    packets.push(Packet { source: source.into(), protocol, port, flags });
                }
            }
        }
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn findings_are_true(lines in prop::collection::vec(line(), 1..8), drop: bool) {
        let policy = if drop { "DROP" } else { "ACCEPT" };
        let set = ruleset(&format!(":FORWARD {policy}\n{}", lines.join("\n")));
        let policy = set.chains()[0].policy.expect("built in");
        let rules: Vec<&Rule> = set.chains()[0].rules.iter().map(|entry| &*entry.rule).collect();
        for Finding { kind, rule, what, .. } in lint(&set, None) {
            let place = rule.expect("about a rule") - 1;
            let mut without = rules.clone();
            without.remove(place);
            for packet in packets() {
                let (by, verdict) = decide(&rules, &packet, policy);
                match kind {
                    Kind::Shadowed => prop_assert_ne!(by, Some(place), "{}: {:?}", what, packet),
                    Kind::Redundant => {
                        let (_, other) = decide(&without, &packet, policy);
                        prop_assert_eq!(verdict, other, "{}: {:?}", what, packet);
                    }
                    Kind::Contradiction => prop_assert!(!holds(rules[place], &packet)),
                    other => prop_assert!(false, "{:?} is not expected: {}", other, what),
                }
            }
        }
    }
}
