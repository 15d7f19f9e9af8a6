//! Policies of rule sets, and what stays over a change.

use proptest::prelude::*;
use weir_control::command::Command;
use weir_control::rule::{Family, FuzzyMatch, Match, Protocol};

use super::*;
use crate::batch::{Addresses, Headers};
use crate::packet_log::PacketLog;
use crate::policy::{Candidate, Connection, Decision, Dice};
use crate::port::PortIndex;
use crate::verdict::DropReason;

const UDP: Headers = Headers { protocol: 17, total_len: 100, ..EMPTY };
const EMPTY: Headers = Headers {
    l3: 14,
    l4: 34,
    total_len: 20,
    addresses: Addresses::V4 {
        source: std::net::Ipv4Addr::LOCALHOST,
        destination: std::net::Ipv4Addr::LOCALHOST,
    },
    protocol: 0,
    ttl: 64,
    source_port: 0,
    destination_port: 0,
    tcp_flags: 0,
    transport: false,
    piece: crate::batch::Piece::Whole,
    dont_fragment: false,
    largest_fragment: 0,
};

fn drop_udp() -> Rule {
    let protocol = Some(Negatable::is(Protocol::UDP));
    Rule { protocol, target: Some(Target::Drop), ..Rule::default() }
}

fn append(rule: Rule) -> Command {
    Command::Append { chain: ChainName::forward(), rules: vec![rule], counters: None }
}

const DROPPED: Decision = Decision::Drop(DropReason::Rule);

fn decide(policy: &Policy, ingress: u8) -> Decision {
    decide_about(policy, &UDP, ingress)
}

fn decide_about(policy: &Policy, headers: &Headers, ingress: u8) -> Decision {
    policy.decide(
        0,
        &Candidate {
            hook: Hook::Forward,
            headers,
            ingress: PortIndex(ingress),
            egress: PortIndex(0),
            packet: &[],
            link: &[],
            forwarding: &crate::route::Forwarding::builder().build(),
            connection: Connection::UNTRACKED,
            dice: &Dice::new(0),
            now_ns: 0,
            wall_s: 0,
            mark: 0,
        },
        &mut PacketLog::silent(),
    )
}

#[test]
fn interface_names_become_the_ports_they_cover() {
    let names = ["eth0", "eth1", "wan"].map(str::to_owned).into();
    let compiler = Compiler::new(1, names);
    for (pattern, negated, mask) in [
        ("eth0", false, 0b001),
        ("eth+", false, 0b011),
        ("eth+", true, 0b100),
        ("+", false, 0b111),
        ("+", true, 0),
        ("eth", false, 0),
        ("elsewhere", true, 0b111),
    ] {
        let value = pattern.parse().expect("a name");
        let mask_of = compiler.port_mask(Some(&Negatable { value, negated }));
        assert_eq!(mask_of, mask, "{pattern} {negated}");
    }
    assert_eq!(compiler.port_mask(None), u32::MAX, "ports that come later too");
}

#[test]
fn each_hook_has_its_chain_its_policy_and_its_counters() {
    let mut compiler = Compiler::new(1, vec!["eth0".to_owned(), String::new()]);
    let mut ruleset = Ruleset::with_host_chains();
    let chain: ChainName = "common".parse().expect("a name");
    let rule = |out: &str, target| {
        let value = out.parse().expect("a name");
        let out_interface = Some(Negatable { value, negated: true });
        Rule { out_interface, target: Some(target), ..Rule::default() }
    };
    let append = |chain: &ChainName, rule| Command::Append {
        chain: chain.clone(),
        rules: vec![rule],
        counters: None,
    };
    let jump = Rule { target: Some(Target::Jump(chain.clone())), ..Rule::default() };
    let policy = ruleset::Policy::Drop;
    for command in [
        Command::NewChain { chain: chain.clone() },
        // What has no outgoing interface does not leave by eth0.
        append(&chain, rule("eth0", Target::Drop)),
        append(&ChainName::input(), jump.clone()),
        append(&ChainName::output(), jump),
        Command::Policy { chain: ChainName::output(), policy, counters: None },
    ] {
        ruleset.apply(&command).expect("taken");
    }
    let policy = compiler.compile(&ruleset).expect("known words");
    let decide = |hook, ingress, egress| {
        let (ingress, egress) = (PortIndex(ingress), PortIndex(egress));
        let (packet, link): (&[u8], &[u8]) = (&[], &[]);
        let (headers, connection) = (&UDP, Connection::UNTRACKED);
        let forwarding = &crate::route::Forwarding::builder().build();
        let (dice, wall_s) = (&Dice::new(0), 0);
        let candidate = Candidate {
            hook,
            headers,
            ingress,
            egress,
            packet,
            link,
            forwarding,
            connection,
            dice,
            now_ns: 0,
            wall_s,
            mark: 0,
        };
        policy.decide(0, &candidate, &mut PacketLog::silent())
    };
    assert_eq!(decide(Hook::Input, 0, 1), DROPPED);
    assert_eq!(decide(Hook::Forward, 0, 0), Decision::Accept);
    assert_eq!(decide(Hook::Output, 1, 0), Decision::Drop(DropReason::RulePolicy));
    let counters = compiler.counters();
    let packets = |name: ChainName| counters.policy(&name).packets;
    assert_eq!(
        [ChainName::input(), ChainName::forward(), ChainName::output()].map(packets),
        [0, 1, 1]
    );
}

#[test]
fn counters_stay_with_their_rule_until_it_goes() {
    let mut compiler = Compiler::new(1, vec!["eth0".to_owned()]);
    let mut ruleset = Ruleset::new();
    let id = ruleset.apply(&append(drop_udp())).expect("a rule").added[0];
    let first = compiler.compile(&ruleset).expect("known words");
    assert_eq!(decide(&first, 0), DROPPED);
    let second = compiler.compile(&ruleset).expect("known words");
    // A worker may run the old policy a little longer than another the new one.
    assert_eq!((decide(&second, 0), decide(&first, 0)), (DROPPED, DROPPED));
    let counted = ruleset::Counters { packets: 3, bytes: 300 };
    assert_eq!(compiler.counters().rule(id), counted);

    let zero = Command::Zero { chain: None, number: None };
    compiler.settle(&ruleset.apply(&zero).expect("zeroed"));
    assert_eq!(compiler.counters().rule(id), ruleset::Counters::default());
    assert_eq!(decide(&second, 0), DROPPED);
    assert_eq!(compiler.counters().rule(id).packets, 1, "what came since");

    let flush = Command::Flush { chain: None };
    compiler.settle(&ruleset.apply(&flush).expect("flushed"));
    assert!(compiler.counters().rules.is_empty());
    let empty = compiler.compile(&ruleset).expect("nothing");
    assert_eq!((empty.len(), decide(&empty, 0)), (0, Decision::Accept));
    let policy = compiler.counters().policy(&ChainName::forward());
    assert_eq!(policy, ruleset::Counters { packets: 1, bytes: 100 });
}

/// A rule about one port, or about a few of them.
fn port_rule() -> impl Strategy<Value = Rule> {
    use weir_control::rule::{Match, PortRange, UdpMatch};
    let target = prop_oneof![Just(None), Just(Some(Target::Accept)), Just(Some(Target::Drop))];
    (0_u16..40, 0_u16..3, target).prop_map(|(first, more, target)| {
        let destination_ports =
            Negatable::is(PortRange::new(first, first + more).expect("a range"));
        let udp = Match::Udp(UdpMatch { destination_ports, ..UdpMatch::default() });
        Rule { matches: vec![udp], target, ..drop_udp() }
    })
}

/// A change of chain FORWARD, with a place from 0 to 1 where it has one.
fn change() -> impl Strategy<Value = (u8, f64, Rule)> {
    (0_u8..10, 0.0..1.0, port_rule())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// A compiler that has seen every change decides and counts as one that sees only what came of them.
    #[test]
    fn a_classifier_that_stays_finds_what_a_new_one_finds(
        rules in prop::collection::vec(port_rule(), 10..60),
        changes in prop::collection::vec(change(), 1..60),
    ) {
        let mut compiler = Compiler::new(1, vec!["eth0".to_owned()]);
        let mut ruleset = Ruleset::new();
        let chain = ChainName::forward();
        ruleset.apply(&Command::Append { chain: chain.clone(), rules, counters: None }).expect("rules");
        for (kind, place, rule) in changes {
            let count = ruleset.rule_count();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let number = 1 + (place * count as f64) as u32;
            let chain = chain.clone();
            let command = match kind {
                0..5 => Command::Append { chain, rules: vec![rule], counters: None },
                5..7 => Command::Insert { chain, number: 1, rules: vec![rule], counters: None },
                7 => Command::Insert { chain, number, rules: vec![rule], counters: None },
                8 => Command::Replace { chain, number, rule, counters: None },
                _ => Command::DeleteNumber { chain, number },
            };
            // A number beyond the last rule changes nothing.
            let Ok(outcome) = ruleset.apply(&command) else { continue };
            let ours = compiler.compile(&ruleset).expect("known words");
            compiler.settle(&outcome);
            let zero = Command::Zero { chain: None, number: None };
            compiler.settle(&ruleset.apply(&zero).expect("zeroed"));
            let mut fresh = Compiler::new(1, vec!["eth0".to_owned()]);
            let theirs = fresh.compile(&ruleset).expect("known words");
            for destination_port in 0..45 {
                let headers = Headers { destination_port, transport: true, ..UDP };
                let decisions = [&ours, &theirs].map(|policy| decide_about(policy, &headers, 0));
                prop_assert_eq!(decisions[0], decisions[1], "port {}", destination_port);
            }
            prop_assert_eq!(compiler.counters(), fresh.counters());
        }
    }
}

fn command(line: &str) -> Command {
    use weir_control::command::{Context, Parsed, parse_in};
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let names = weir_control::rule::Names::builtin();
    let context = Context { is_chain: &|_, _| true, ..Context::new(&names) };
    match parse_in(&words, context) {
        Ok(Parsed::Command(line)) => line.command,
        other => panic!("{line}: {other:?}"),
    }
}

/// A change that takes rules out, moves or adds some; not every one can be carried out.
fn line() -> impl Strategy<Value = String> {
    let chain = || prop::sample::select(vec!["FORWARD", "a", "b", "c"]);
    let rule = prop_oneof![
        (1_u16..9).prop_map(|port| format!("-p udp --dport {port} -j DROP")),
        (1_u16..9).prop_map(|number| format!("-j LOG --log-prefix {number}")),
        (1_u16..9).prop_map(|mark| format!("-j CONNMARK --set-mark {mark}")),
        chain().prop_map(|chain| format!("-g {chain}")),
        chain().prop_map(|chain| format!("-j {chain}")),
        Just("-m statistic --mode nth --every 3 --packet 0".to_owned()),
        Just("-m limit --limit 3/s".to_owned()),
        Just("-m state --state NEW -j RETURN".to_owned()),
    ];
    prop_oneof![
        6 => (chain(), rule.clone()).prop_map(|(chain, rule)| format!("-A {chain} {rule}")),
        2 => (chain(), 1_u8..9, rule).prop_map(|(chain, at, rule)| format!("-I {chain} {at} {rule}")),
        2 => (chain(), 1_u8..9).prop_map(|(chain, at)| format!("-D {chain} {at}")),
        1 => (chain(), chain()).prop_map(|(from, to)| format!("-E {from} {to}")),
        1 => chain().prop_map(|chain| format!("-F {chain}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A compiler that has seen every change makes the rules that one makes which sees only what came of them. Some
    /// were only looked at, and their ids are given again.
    #[test]
    fn rules_that_are_taken_over_are_those_that_would_be_made(
        changes in prop::collection::vec((line(), prop::bool::weighted(0.8)), 1..80),
    ) {
        let mut ruleset = Ruleset::new();
        for chain in ["a", "b"] {
            ruleset.apply(&command(&format!("-N {chain}"))).expect("new");
        }
        let compiler = || Compiler::new(2, vec!["eth0".to_owned()]);
        let mut ours = compiler();
        for (line, in_force) in changes {
            let Ok((changed, outcome)) = ruleset.after(&command(&line)) else { continue };
            if !in_force {
                prop_assert!(ours.check(&changed).is_ok(), "{}", line);
                continue;
            }
            let policies = [&mut ours, &mut compiler()].map(|c| c.compile(&changed).expect("known"));
            let [taken, made] = policies.map(|Policy { rules, logs, connmarks, tracks, inspects_flows, .. }| {
                format!("{rules:#?} {logs:?} {connmarks:?} {tracks} {inspects_flows}")
            });
            prop_assert_eq!(taken, made, "{}", line);
            ours.settle(&outcome);
            ruleset = changed;
        }
    }
}

/// The counter of `nth` begins anew, as in the kernel; the rule goes on counting.
#[test]
fn what_begins_anew_is_not_taken_over() {
    let mut ruleset = Ruleset::new();
    let mut compiler = Compiler::new(1, vec!["eth0".to_owned()]);
    let every = "-A FORWARD -m statistic --mode nth --every 2 --packet 1 -j DROP";
    ruleset.apply(&command(every)).expect("a rule");
    for _ in 0..3 {
        let policy = compiler.compile(&ruleset).expect("known words");
        assert_eq!(
            [(); 3].map(|()| decide(&policy, 0)),
            [Decision::Accept, DROPPED, Decision::Accept]
        );
    }
    let id = ruleset.chains()[0].rules[0].id;
    assert_eq!(compiler.counters().rule(id), ruleset::Counters { packets: 3, bytes: 300 });
}

#[test]
fn in_table_raw_nobody_has_completed_a_handshake() {
    let unverified = FuzzyMatch { unverified: Some(Box::default()), ..FuzzyMatch::default() };
    let rule = Rule {
        matches: vec![Match::Fuzzy(unverified)],
        target: Some(Target::Drop),
        ..Rule::default()
    };
    for (mut ruleset, chain, tracks) in [
        (Ruleset::new(), ChainName::forward(), Some(true)),
        (Ruleset::raw(Family::V4), ChainName::prerouting(), None),
    ] {
        let rules = vec![rule.clone()];
        ruleset.apply(&Command::Append { chain, rules, counters: None }).expect("a chain");
        let compiled = Compiler::new(1, Vec::new()).compile(&ruleset);
        match tracks {
            Some(tracks) => assert_eq!(compiled.expect("a rule").tracks(), tracks),
            None => assert_eq!(compiled.expect_err("refused").why, Unenforced::UnverifiedRaw),
        }
    }
}
