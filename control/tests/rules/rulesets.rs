//! How commands change a rule set.

use weir_control::command::{ChainName, Command};
use weir_control::protocol::{Listing, REPLY_BYTES_MAX, Reply, Response, write_message};
use weir_control::rule::{
    ConntrackMatch, CtStates, LogFlags, LogLevel, LogPrefix, LogTarget, MATCHES_MAX, Match, Names,
    Negatable, PortRange, Protocol, Rule, StateMatch, Target, TcpFlags, TcpMatch,
};
use weir_control::ruleset::{
    CounterTable, Counters, Outcome, Policy, RULES_MAX, RuleError, RuleId, Ruleset,
};

use crate::parsing::command;

fn ids(numbers: &[u64]) -> Vec<RuleId> {
    numbers.iter().copied().map(RuleId).collect()
}

/// Ids and sources in order.
fn content(ruleset: &Ruleset) -> Vec<String> {
    let names = Names::builtin();
    let rules = &ruleset.chains()[0].rules;
    let text = |rule: &Rule| rule.arguments(&names).join(" ");
    rules.iter().map(|entry| format!("{} {}", entry.id.0, text(&entry.rule))).collect()
}

fn apply(ruleset: &mut Ruleset, line: &str) -> Result<Outcome, RuleError> {
    ruleset.apply(&command(line))
}

#[test]
fn ids_stay_with_rules_and_are_never_reused() {
    let mut set = Ruleset::new();
    let mut done = |line: &str| apply(&mut set, line).expect(line);
    let added = |numbers| Outcome { added: ids(numbers), changed: true, ..Outcome::default() };
    assert_eq!(done("-A FORWARD -s 1.1.1.1,2.2.2.2"), added(&[1, 2]));
    assert_eq!(done("-I FORWARD 2 -s 3.3.3.3,4.4.4.4"), added(&[3, 4]));
    let removed = Outcome { removed: ids(&[1]), changed: true, ..Outcome::default() };
    assert_eq!(done("-D FORWARD 1"), removed);
    let replaced =
        Outcome { added: ids(&[5]), removed: ids(&[4]), changed: true, ..Outcome::default() };
    assert_eq!(done("-R FORWARD 1 -s 5.5.5.5"), replaced);
    assert_eq!(done("-A FORWARD -s 1.1.1.1"), added(&[6]));
    assert_eq!(
        content(&set),
        ["5 -s 5.5.5.5/32", "3 -s 3.3.3.3/32", "2 -s 2.2.2.2/32", "6 -s 1.1.1.1/32"]
    );
    let flushed = apply(&mut set, "-F").expect("flush");
    assert_eq!(flushed.removed, ids(&[5, 3, 2, 6]));
    assert_eq!(apply(&mut set, "-A FORWARD").expect("append").added, ids(&[7]));
}

#[test]
fn a_command_is_done_wholly_or_not_at_all() {
    let mut set = Ruleset::new();
    apply(&mut set, "-A FORWARD -s 1.1.1.1").expect("append");
    let before = set.clone();
    for (line, error) in [
        ("-D FORWARD -s 1.1.1.1,2.2.2.2", RuleError::NoSuchRule),
        ("-D FORWARD -s 1.1.1.1,1.1.1.1", RuleError::NoSuchRule),
        ("-C FORWARD -s 1.1.1.1,2.2.2.2", RuleError::NoSuchRule),
        ("-D FORWARD 2", RuleError::DeleteIndex),
        ("-I FORWARD 3", RuleError::InsertIndex),
        ("-R FORWARD 2 -j DROP", RuleError::ReplaceIndex),
        ("-Z FORWARD 2", RuleError::ZeroIndex),
    ] {
        assert_eq!(apply(&mut set, line), Err(error), "{line}");
        assert_eq!(set, before, "{line}");
    }
    assert_eq!(apply(&mut set, "-C FORWARD -s 1.1.1.1"), Ok(Outcome::default()));
    assert_eq!(apply(&mut set, "-L"), Ok(Outcome::default()));
    assert_eq!(set, before);
}

#[test]
fn equal_rules_are_told_apart_by_their_place() {
    let mut set = Ruleset::new();
    for _ in 0..3 {
        apply(&mut set, "-A FORWARD -p tcp --syn -j DROP").expect("append");
    }
    let deleted = apply(&mut set, "-D FORWARD -p 6 -m tcp --tcp-flags SYN,RST,ACK,FIN SYN -j DROP");
    assert_eq!(deleted.expect("delete").removed, ids(&[1]));
    let both = apply(&mut set, "-A FORWARD -s 9.9.9.9,9.9.9.9").expect("append");
    assert_eq!(both.added, ids(&[4, 5]));
    let deleted = apply(&mut set, "-D FORWARD -s 9.9.9.9,9.9.9.9").expect("delete");
    assert_eq!(deleted.removed, ids(&[4, 5]));
    // A match without options is more than none, as `iptables -C` sees it.
    apply(&mut set, "-F").expect("flush");
    apply(&mut set, "-A FORWARD -p tcp -m tcp").expect("append");
    assert_eq!(apply(&mut set, "-C FORWARD -p tcp"), Err(RuleError::NoSuchRule));
}

#[test]
fn policies_and_counters() {
    let mut set = Ruleset::new();
    apply(&mut set, "-A FORWARD -s 1.1.1.1,2.2.2.2").expect("append");
    let outcome = apply(&mut set, "-P FORWARD DROP").expect("policy");
    let zeroed_policies = vec![ChainName::forward()];
    let expected =
        Outcome { zeroed_policies: zeroed_policies.clone(), changed: true, ..Outcome::default() };
    assert_eq!((outcome, set.chains()[0].policy), (expected, Some(Policy::Drop)));
    let expected = Outcome { zeroed_rules: ids(&[1, 2]), zeroed_policies, ..Outcome::default() };
    assert_eq!(apply(&mut set, "-Z"), Ok(expected));
    let expected = Outcome { zeroed_rules: ids(&[2]), ..Outcome::default() };
    assert_eq!(apply(&mut set, "-Z FORWARD 2"), Ok(expected));
}

#[test]
fn what_no_weirctl_sends_is_refused() {
    let mut set = Ruleset::new();
    let tcp = Match::Tcp(TcpMatch::default());
    let bare = Rule { matches: vec![tcp.clone()], ..Rule::default() };
    let many = Rule { matches: vec![tcp; MATCHES_MAX + 1], ..Rule::default() };
    let with = |extension| Rule { matches: vec![extension], ..Rule::default() };
    let state = |states| with(Match::State(StateMatch { states: Negatable::is(states) }));
    let conntrack = |conntrack| with(Match::Conntrack(Box::new(conntrack)));
    let (states, protocol) = (Some(Negatable::default()), Some(Negatable::not(Protocol::ALL)));
    let wrong = [
        bare,
        many,
        state(CtStates::default()),
        state(CtStates::NEW | CtStates::DNAT),
        conntrack(ConntrackMatch::default()),
        conntrack(ConntrackMatch { states, ..ConntrackMatch::default() }),
        conntrack(ConntrackMatch { protocol, ..ConntrackMatch::default() }),
    ];
    for rule in wrong {
        let command = Command::Append {
            chain: ChainName::forward(),
            rules: vec![Rule::default(), rule],
            counters: None,
        };
        assert!(matches!(set.apply(&command), Err(RuleError::InvalidRule { .. })));
    }
    let chain: ChainName = "INPUT".parse().expect("a name");
    for command in [
        Command::Append { chain: chain.clone(), rules: Vec::new(), counters: None },
        Command::Flush { chain: Some(chain.clone()) },
        Command::DeleteNumber { chain: chain.clone(), number: 1 },
        Command::Zero { chain: Some(chain.clone()), number: None },
    ] {
        let expected = Err(RuleError::NoSuchChain { chain: "INPUT".to_owned() });
        assert_eq!(set.apply(&command), expected);
    }
    let zero = Command::DeleteNumber { chain: ChainName::forward(), number: 0 };
    assert_eq!(set.apply(&zero), Err(RuleError::DeleteIndex));
    assert_eq!(set, Ruleset::new());
}

#[test]
fn a_full_rule_set_refuses_one_more_and_fits_in_a_reply() {
    let ports = Negatable::not(PortRange::new(65_534, 65_535).expect("ordered"));
    let flags = Negatable::not(TcpFlags::new(0x3f, 0x3f).expect("six flags"));
    let rule = Rule {
        matches: vec![Match::Tcp(TcpMatch {
            source_ports: ports,
            destination_ports: ports,
            flags,
            ..TcpMatch::default()
        })],
        target: Some(Target::Log(LogTarget {
            level: LogLevel::default(),
            // Each is six characters of JSON.
            prefix: LogPrefix::try_from("\u{1}".repeat(29)).expect("as long as allowed"),
            flags: LogFlags::MACDECODE,
        })),
        ..match command(
            "-A FORWARD -p tcp ! -s 255.255.255.255 ! -d 255.255.255.255 ! -i abcdefghijklmn+ ! -o abcdefghijklmn+ -j ACCEPT",
        ) {
            Command::Append { mut rules, .. } => rules.pop().expect("one rule"),
            other => panic!("{other:?}"),
        }
    };
    let mut set = Ruleset::new();
    let append = |count| Command::Append {
        chain: ChainName::forward(),
        rules: vec![rule.clone(); count],
        counters: None,
    };
    set.apply(&append(RULES_MAX)).expect("as many as allowed");
    let error = RuleError::TooManyRules { wanted: RULES_MAX + 1 };
    assert_eq!(set.apply(&append(1)), Err(error));
    assert_eq!(set.rule_count(), RULES_MAX);
    let most = Counters { packets: u64::MAX, bytes: u64::MAX };
    let rules = set.chains()[0].rules.iter().map(|entry| (entry.id, most)).collect();
    let counters = CounterTable { rules, ..CounterTable::default() };
    let reply = Response::new(Ok(Reply::Listing(Listing { ruleset: set, counters })));
    let mut bytes = Vec::new();
    write_message(&mut bytes, &reply, REPLY_BYTES_MAX).expect("fits");
    eprintln!("a full listing has {} MiB", bytes.len() >> 20);
    assert_eq!(Response::from_json(&bytes[4..]), Ok(reply));
}
