//! What lint finds is so: golden examples here, random rule sets in `lint/sound.rs`.

mod draw;
mod model;
mod sound;
mod witness;

use weir_control::lint::{Kind, lint};
use weir_control::restore::{Options, read};
use weir_control::rule::{Family, Names};
use weir_control::ruleset::Ruleset;

/// A rule set with these lines.
fn filled(mut set: Ruleset, lines: &str) -> Ruleset {
    let text = format!("*{}\n{lines}\nCOMMIT\n", set.table());
    let options = Options { family: set.family(), ..Options::default() };
    let chains = |_| set.chains().iter().map(|chain| chain.name.clone()).collect();
    let plan = read(text.as_bytes(), &options, &Names::builtin(), chains);
    let plan = plan.unwrap_or_else(|error| panic!("{}", error.report()));
    set.apply_all(&plan.tables[0].transaction).expect("right");
    set
}

fn ruleset(lines: &str) -> Ruleset {
    filled(Ruleset::new(), lines)
}

fn host_ruleset(family: Family, lines: &str) -> Ruleset {
    filled(Ruleset::with_host_chains_of(family), lines)
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
fn rules_about_sets_are_hidden_by_such_that_ask_no_more() {
    assert_finds(
        "-A FORWARD -m set --match-set a src -j DROP\n\
         -A FORWARD -p tcp -m set --match-set a src -m set --match-set b src,dst -j ACCEPT",
        &[(Kind::Shadowed, Some(2), &[1], "rule 1 before it decides")],
    );
    assert_finds(
        "-A FORWARD -p udp -j DROP\n-A FORWARD -p udp -m set --match-set b src,dst -j ACCEPT",
        &[(Kind::Shadowed, Some(2), &[1], "rule 1 before it decides")],
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
        // What begins connections is not let through, or may be answered.
        ":FORWARD DROP\n:new -\n-A FORWARD -m state --state NEW -j new\n-A new -j LOG\n-A new -p tcp -j REJECT",
        ":FORWARD DROP\n-A FORWARD -m state --state NEW -j ACCEPT\n-A FORWARD -s 10.0.0.1 -j ACCEPT",
        // Which packets the rule between decides about depends on those that it is asked about: also where it
        // turns out later that their port is another.
        "-A FORWARD -s 10.0.0.1 -j DROP\n-A FORWARD -m statistic --mode nth --every 2 --packet 0 -j DROP\n\
         -A FORWARD -s 10.0.0.0/8 -j DROP",
        "-A FORWARD -p tcp --dport 90 -j DROP\n\
         -A FORWARD -p tcp -m statistic --mode nth --every 2 --packet 0 -m tcp --dport 80 -j DROP\n\
         -A FORWARD -p tcp --dport 85:95 -j DROP",
        // A rule between that looks for ports drops what has none, though its port be one that there is not.
        "-A FORWARD -s 10.0.0.1 -j ACCEPT\n-A FORWARD -p tcp --dport 80",
        "-A FORWARD -s 10.0.0.1 -j ACCEPT\n-A FORWARD -p tcp -m multiport --ports 80",
        // And one that looks for options, what has a port.
        "-A FORWARD -p tcp --dport 80 -j ACCEPT\n-A FORWARD -p tcp --tcp-option 8",
        "-A FORWARD -p tcp --dport 80 -j ACCEPT\n-A FORWARD -p tcp -m tcpmss --mss 1 -m tcp --dport 90",
        // Something is written, or remembered for later rules.
        "-A FORWARD -s 10.0.0.1 -j ACCEPT\n-A FORWARD -j LOG",
        "-A FORWARD -s 10.0.0.1 -j ACCEPT\n-A FORWARD -j MARK --set-mark 1",
        // What is in a set may change: it hides nothing but rules about the same, and contradicts nothing.
        "-A FORWARD -m set --match-set a src -j DROP\n-A FORWARD -s 10.0.0.1 -p tcp -j LOG\n\
         -A FORWARD -m set --match-set a dst -j DROP\n-A FORWARD -m set --match-set b src -j DROP\n\
         -A FORWARD -m set --match-set b dst -m set ! --match-set b dst -j DROP",
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
        &[(Kind::OneWay, None, &[1], "rule 1 is for what begins connections")],
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

/// As [`found`], of a rule set with INPUT and OUTPUT, and of a daemon with these ports.
fn found_of_host(lines: &str, ports: Option<&[&str]>) -> Vec<(Kind, String, Option<usize>)> {
    let ports: Option<Vec<String>> =
        ports.map(|ports| ports.iter().map(|&port| port.to_owned()).collect());
    let findings = lint(&host_ruleset(Family::V4, lines), ports.as_deref());
    findings.into_iter().map(|f| (f.kind, f.chain.to_string(), f.rule)).collect()
}

#[test]
fn what_is_for_the_machine_leaves_by_no_interface() {
    let ports = Some(&["eth0", "eth1"][..]);
    let told = |kind, rule| (kind, "a".to_owned(), Some(rule));
    let all = ":a -\n-A a -o eth0 -j DROP\n-A a -o eth1 -j DROP\n-A a -p tcp -j ACCEPT";
    for (from, expected) in [
        ("-A FORWARD -j a", vec![told(Kind::Shadowed, 3)]),
        ("-A OUTPUT -j a", vec![told(Kind::Shadowed, 3)]),
        ("-A INPUT -j a", vec![told(Kind::Contradiction, 1), told(Kind::Contradiction, 2)]),
        ("-A INPUT -j a\n-A FORWARD -j a", vec![]),
        ("-A INPUT -j a\n-A OUTPUT -j a", vec![]),
        ("-A INPUT -j a\n-A OUTPUT -j a\n-A FORWARD -j a", vec![]),
    ] {
        let (chain, rules) = all.split_once('\n').expect("lines");
        let lines = format!("{chain}\n{from}\n{rules}");
        assert_eq!(found_of_host(&lines, ports), expected, "{from}");
    }
    // `! -o eth0' holds where there is none, `! -o +' does not.
    let lines =
        ":a -\n-A INPUT -j a\n-A a ! -o eth0 -j DROP\n-A a -p tcp -j ACCEPT\n-A a ! -o + -j DROP";
    let expected = [told(Kind::Shadowed, 2), told(Kind::Contradiction, 3)];
    assert_eq!(found_of_host(lines, None), expected);
    assert_eq!(found_of_host(lines, ports), expected);
    // No packet of INPUT has the one, none of OUTPUT the other.
    let lines = ":a -\n-A INPUT -j a\n-A OUTPUT -j a\n-A a -i eth0 -o eth1 -j DROP";
    assert_eq!(found_of_host(lines, None), [told(Kind::Contradiction, 1)]);
    let lines = ":a -\n-A INPUT -j a\n-A FORWARD -j a\n-A a -i eth0 -o eth1 -j DROP";
    assert_eq!(found_of_host(lines, None), []);
}

#[test]
fn chains_that_no_packet_comes_to_are_told() {
    let told = |chain: &str| (Kind::Unreachable, chain.to_owned(), None);
    let lines = ":a -\n:b -\n:c -\n-A INPUT -j c\n-A a -j b\n-A b -j LOG\n-A c -j LOG";
    assert_eq!(found_of_host(lines, None), [told("a"), told("b")]);
}

#[test]
fn interfaces_beyond_count_are_not_told_apart() {
    let many: String = (0..130).map(|name| format!("-A FORWARD -i n{name}\n")).collect();
    let rules = "-A FORWARD ! -i n129 -j DROP\n-A FORWARD -p tcp -j ACCEPT\n\
        -A FORWARD -i n129 -s 10.0.0.0/8 -j DROP\n-A FORWARD -i n129 -s 10.0.0.1 -p udp -j LOG\n\
        -A FORWARD -i n5 -s 10.0.0.2 -p udp -j LOG";
    assert_finds(
        &format!("{many}{rules}"),
        &[(Kind::Shadowed, Some(134), &[133], "rule 133 before")],
    );
    let ports: Vec<String> = (0..130).map(|port| format!("n{port}")).collect();
    let set = ruleset("-A FORWARD ! -i n129 -j DROP\n-A FORWARD -p tcp -j LOG");
    assert_eq!(lint(&set, Some(&ports)), []);
}

#[test]
fn packets_of_ipv6_whose_protocol_nobody_knows_are_none_of_another_protocol() {
    let told = |family, lines| {
        let findings = lint(&host_ruleset(family, lines), None);
        findings.into_iter().map(|f| (f.kind, f.rule)).collect::<Vec<_>>()
    };
    let all = "-A FORWARD -p tcp -j DROP\n-A FORWARD ! -p tcp -j DROP\n-A FORWARD -j LOG";
    assert_eq!(told(Family::V4, all), [(Kind::Shadowed, Some(3))]);
    assert_eq!(told(Family::V6, all), []);
    let between = "-A FORWARD -i eth0 -j ACCEPT\n-A FORWARD -p tcp";
    assert_eq!(told(Family::V4, between), [(Kind::Redundant, Some(1))]);
    assert_eq!(told(Family::V6, between), []);
}

#[test]
fn table_raw_is_looked_at_and_states_are_not_believed_to_last_there() {
    let found = |lines: &str| {
        let set = filled(Ruleset::raw_with_host_chains(Family::V4), lines);
        let findings = lint(&set, None).into_iter();
        findings.map(|f| (f.kind, f.rule, f.because_of)).collect::<Vec<_>>()
    };
    for lines in [
        "-A PREROUTING -m state --state UNTRACKED -j ACCEPT\n-A PREROUTING -p udp -j NOTRACK\n\
         -A PREROUTING -m state --state UNTRACKED -j DROP",
        "-A PREROUTING -s 10.0.0.1 -j ACCEPT\n-A PREROUTING -p tcp -j CT --notrack",
        ":PREROUTING DROP\n-A PREROUTING -m state --state INVALID -p tcp -j ACCEPT",
    ] {
        assert_eq!(found(lines), [], "{lines}");
    }
    assert_eq!(
        found("-A PREROUTING -s 10.0.0.0/8 -j DROP\n-A PREROUTING -s 10.1.0.0/16 -j NOTRACK"),
        [(Kind::Shadowed, Some(2), vec![1])]
    );
    assert_eq!(
        found(":u -\n-A PREROUTING -p udp -j u\n-A u -o eth0 -j DROP"),
        [(Kind::Contradiction, Some(1), vec![])]
    );
    assert_eq!(found(":u -\n-A OUTPUT -p udp -j u\n-A u -o eth0 -j DROP"), []);
}
