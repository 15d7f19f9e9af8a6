//! The matches `state` and `conntrack`: what is read, printed and refused.

use weir_control::command::{Command, ExitStatus};
use weir_control::rule::{
    ConntrackMatch, CtAddress, CtDirection, CtStates, CtStatuses, Match, Negatable, NumberRange,
    PortRange, Protocol, Rule, StateMatch, TupleTest,
};
use weir_control::ruleset::{RuleError, Ruleset};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;
use crate::parsing::command;

fn matches(text: &str) -> Vec<Match> {
    match command(&format!("-A FORWARD {text}")) {
        Command::Append { mut rules, .. } => rules.pop().expect("one rule").matches,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_option_is_read() {
    let ports = |first, last| Some(Negatable::is(PortRange::new(first, last).expect("ordered")));
    let address = |text: &str| CtAddress::try_from(text.to_owned()).expect("an address");
    let expected = ConntrackMatch {
        states: Some(Negatable::not(CtStates::INVALID | CtStates::UNTRACKED | CtStates::SNAT)),
        protocol: Some(Negatable::not(Protocol::UDP)),
        original: TupleTest {
            source: Some(Negatable::is(address("10.0.0.7/24"))),
            destination: Some(Negatable::not(address("192.168.0.2"))),
            source_ports: ports(1024, 65535),
            destination_ports: ports(80, 80),
        },
        reply: TupleTest {
            source: Some(Negatable::is(address("192.168.0.2/255.0.255.0"))),
            destination: Some(Negatable::is(address("0.0.0.0/0"))),
            source_ports: Some(Negatable::not(PortRange::ALL)),
            destination_ports: ports(0, 9),
        },
        statuses: Some(Negatable::is(CtStatuses::SEEN_REPLY | CtStatuses::ASSURED)),
        expires: Some(Negatable::not(NumberRange::new(10, u32::MAX).expect("ordered"))),
        direction: Some(CtDirection::Reply),
    };
    for text in [
        "! --ctstate INVALID,UNTRACKED,SNAT ! --ctproto udp --ctorigsrc 10.0.0.7/24 ! --ctorigdst 192.168.0.2 --ctreplsrc 192.168.0.2/255.0.255.0 --ctrepldst 0/0 --ctorigsrcport 1024: --ctorigdstport http ! --ctreplsrcport : --ctrepldstport :9 --ctstatus SEEN_REPLY,ASSURED ! --ctexpire 10: --ctdir REPLY",
        "--ctdir reply ! --ctexp 0xA:4294967295 --ctstatus assured,NONE,s --ctrepldstp 0:9 ! --ctreplsrcport 0:65535 --ctorigdstport=80:80 --ctorigsrcport +1024:65535 --ctrepldst 0.0.0.0/0.0.0.0 --ctreplsrc 192.168.2/255.0.255.0 ! --ctorigdst 0xc0.0250.0.2/32 --ctorigsrc 10.7/255.255.255.0 ! --ctproto 0x11 ! --ctstate s,U,inv,INV",
    ] {
        let read = matches(&format!("-m conntrack {text}"));
        assert_eq!(read, [Match::Conntrack(Box::new(expected))], "{text}");
    }
    let states = CtStates::NEW | CtStates::ESTABLISHED | CtStates::RELATED;
    let expected = [
        Match::State(StateMatch { states: Negatable::is(states) }),
        Match::State(StateMatch { states: Negatable::not(CtStates::INVALID) }),
    ];
    assert_eq!(matches("-m state --state n,E,relate -m state ! --state INVALID"), expected);
}

/// Rules that say the same by the same match are equal, but not if they differ in bits that do not
/// count.
#[test]
fn equal_is_what_iptables_calls_equal() {
    let added = [
        "-A FORWARD -m state --state NEW,INVALID",
        "-A FORWARD -m conntrack --ctorigsrc 10.0.0.7/24",
        "-A FORWARD -m conntrack --ctorigsrcport :",
    ];
    let checked = [
        ("-C FORWARD -m state --state INVALID,NEW", true),
        ("-C FORWARD -m conntrack --ctstate INVALID,NEW", false),
        ("-C FORWARD -m state ! --state INVALID,NEW", false),
        ("-C FORWARD -m conntrack --ctorigsrc 10.0.0.7/255.255.255.0", true),
        ("-C FORWARD -m conntrack --ctorigsrc 10.0.0.0/24", false),
        ("-C FORWARD -m conntrack --ctorigsrcport 0:65535", true),
        ("-C FORWARD -m conntrack --ctorigdstport 0:65535", false),
    ];
    let (mut set, mut session) = (Ruleset::new(), Session::new());
    for line in added {
        set.apply(&command(line)).expect(line);
        session.give(words(line));
    }
    for (line, equal) in checked {
        let found = set.apply(&command(line));
        assert!(matches!(&found, Ok(_) | Err(RuleError::NoSuchRule)), "{found:?}");
        assert_eq!(found.is_ok(), equal, "{line}");
        session.give(words(line));
    }
    match oracle::missing() {
        Some(reason) => eprintln!("SKIPPED: {reason}"),
        None => assert_eq!(session.compare(), 6),
    }
}

#[test]
fn the_protocol_keeps_every_condition_and_refuses_nonsense() {
    let line = "-m conntrack ! --ctstate NEW --ctorigsrc 1.2.3.4/24 ! --ctrepldstport 1:2 --ctexpire 3 --ctdir REPLY";
    let rule = Rule { matches: matches(line), ..Rule::default() };
    let json = serde_json::to_string(&rule).expect("serialises");
    let expected = r#"{"matches":[{"conntrack":{"states":{"value":8,"negated":true},"original":{"source":{"value":"1.2.3.4/24"}},"reply":{"destination_ports":{"value":[1,2],"negated":true}},"expires":{"value":[3,3]},"direction":"REPLY"}}]}"#;
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Rule>(&json).expect("the same"), rule);
    for wrong in [
        r#"{"state":{"states":{"value":16}}}"#,
        r#"{"state":{"state":{"value":1}}}"#,
        r#"{"conntrack":{"original":{"sport":{"value":[1,2]}}}}"#,
        r#"{"conntrack":{"statuses":{"value":16}}}"#,
        r#"{"conntrack":{"expires":{"value":[2,1]}}}"#,
        r#"{"conntrack":{"original":{"source":{"value":"1.2.3.4/33"}}}}"#,
    ] {
        assert!(serde_json::from_str::<Match>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn refusals_show_the_place_and_the_remedy() {
    assert_report(
        "-A FORWARD -m conntrack --ctstate NEW,RELATES,INVALID -j ACCEPT",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: Bad ctstate \"RELATES,INVALID\"",
            "  iptables -A FORWARD -m conntrack --ctstate NEW,RELATES,INVALID -j ACCEPT",
            "                                                 ^^^^^^^ argument 6, column 48",
            "  states are INVALID NEW ESTABLISHED RELATED UNTRACKED SNAT DNAT, joined by commas",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -p tcp -m state -j ACCEPT",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: state: option \"--state\" must be specified",
            "  iptables -A FORWARD -p tcp -m state -j ACCEPT",
            "                                ^^^^^ argument 6, column 31",
            "  say which: `-m state --state NEW,ESTABLISHED'",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -m conntrack --ctexpire 10:5",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: conntrack: bad value for option \"--ctexpire\" near \"5\", or out of range (10-4294967295).",
            "  iptables -A FORWARD -m conntrack --ctexpire 10:5",
            "                                                 ^ argument 6, column 48",
            TRY,
        ],
    );
}

#[test]
fn what_is_left_out_or_misplaced_is_explained() {
    for (line, hint) in [
        ("-A FORWARD --state NEW", "states belong to a match: write `-m state' before it"),
        (
            "-A FORWARD -m state --state ! NEW",
            "`!' stands before the option: `! --state NEW', not `--state ! NEW'",
        ),
        (
            "-A FORWARD -m conntrack ! --ctdir REPLY",
            "the opposite of ORIGINAL is REPLY, without `!'",
        ),
    ] {
        let report = refused(&words(line)).1;
        assert_eq!(report.lines().nth(3).map(str::trim_start), Some(hint), "{line}");
    }
}

/// What 1.8.11 refuses and the oracle, 1.8.9, does not; and what both take by accident or from a name
/// server.
#[test]
fn refusals_of_the_newer_iptables() {
    for (line, message) in [
        ("--ctproto 0", "conntrack: rule would never match protocol"),
        ("! --ctproto all", "conntrack: condition would always match protocol"),
        ("--ctorigsrcport 90:80", "Port range 90-80 is negative."),
        ("--ctrepldstport 65536", "Port \"65536\" does not resolve to anything."),
        (
            "--ctexpire 1:0",
            "conntrack: bad value for option \"--ctexpire\" near \"0\", or out of range (1-4294967295).",
        ),
        (
            "--ctorigsrc 1.2.3.4/33",
            "conntrack: bad value for option \"--ctorigsrc\", neither a valid network mask nor valid CIDR (0-32).",
        ),
        ("--ctorigdst www.example.net", "getaddrinfo: Name or service not known"),
    ] {
        let (status, report) = refused(&words(&format!("-A FORWARD -m conntrack {line}")));
        assert_eq!(status, 2, "{line}");
        let first = report.lines().next().and_then(|first| first.split_once("): "));
        assert_eq!(first.map(|(_, message)| message), Some(message), "{line}");
    }
    let (_, report) = refused(&words("-A FORWARD -p udp --dport 4:3"));
    assert!(report.contains("): Port range 4-3 is negative.\n"), "{report}");
}

/// Lines of `-m state` and `-m conntrack` for which iptables has words: ours must be the same.
const WRONG: [&str; 59] = [
    "-m state",
    "-m state -- x",
    "-m state !",
    "-m state -s 1.2.3.4/33",
    "-m state -W 5",
    "-m state -m state --state NEW",
    "-m state --state NEW -m conntrack",
    "-m conntrack -m state",
    "-m state --state",
    "-m state --state ",
    "-m state --state ,",
    "-m state --state NEW,",
    "-m state --state ,NEW",
    "-m state --state NEW,,INVALID",
    "-m state --state NOPE",
    "-m state --state NEWX",
    "-m state --state RELATED,NOPE,NEW",
    "-m state --state SNAT",
    "-m state --state ! NEW",
    "-m state --state NEW INVALID",
    "-m state --state NEW --state INVALID",
    "-m state --ctstate NEW",
    "-m state --s NEW",
    "-m conntrack",
    "-m conntrack --state NEW",
    "-m conntrack --ct NEW",
    "-m conntrack --ctstat NEW",
    "-m conntrack --ctstate ",
    "-m conntrack --ctstate NEW,",
    "-m conntrack --ctstate NOPE,NEW",
    "-m conntrack --ctstate NEW --ctstate NEW",
    "-m conntrack --ctproto nope",
    "-m conntrack --ctproto Tcp",
    "-m conntrack --ctproto 256",
    "-m conntrack --ctproto ",
    "-m conntrack --ctorigsrc 1.2.3.4/",
    "-m conntrack --ctorigdst 1.2.3.4/24/24",
    "-m conntrack --ctreplsrc 1.2.3.4/-1",
    "-m conntrack --ctrepldst 1.2.3.4/08",
    "-m conntrack --ctorigsrc ::1",
    "-m conntrack --ctorigsrc ",
    "-m conntrack --ctorigsrc /24",
    "-m conntrack ! --ctorigsrc 1.1.1.1 --ctorigsrc 1.1.1.1",
    "-m conntrack --ctorigsrcport 1:2:3",
    "-m conntrack --ctorigdstport x:2:3",
    "-m conntrack --ctreplsrcport ::",
    "-m conntrack --ctrepldstport 0x50",
    "-m conntrack --ctorigsrcport 5:-1",
    "-m conntrack --ctorigsrcport 1 --ctorigsrcport 1",
    "-m conntrack --ctstatus nope",
    "-m conntrack --ctstatus NONE,",
    "-m conntrack --ctexpire 4294967296",
    "-m conntrack --ctexpire -1",
    "-m conntrack --ctexpire 5x:3",
    "-m conntrack --ctexpire 08",
    "-m conntrack --ctexpire 5:6:7",
    "-m conntrack --ctdir ORIG",
    "-m conntrack ! --ctdir REPLY",
    "-m conntrack --ctdir ORIGINAL ! --ctdir REPLY",
];

#[test]
fn the_words_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let lines = WRONG.map(|line| format!("-A FORWARD {line}"));
    assert_words_of_iptables(&lines.each_ref().map(String::as_str));
}

/// Ways to write what iptables takes.
const RIGHT: [&str; 35] = [
    "-m state --state NEW",
    "-m state --state new,INV",
    "-m state ! --stat UNTRACKED,r,E",
    "-m state --state NEW -m state --state INVALID -m conntrack --ctstate NEW",
    "-p tcp -m state --state NEW --dport 80 -m conntrack ! --ctstate=DNAT,SNAT --syn",
    "-m conntrack --ctstate NEW,UNTRACKED,ESTABLISHED,DNAT,RELATED,SNAT,INVALID",
    "-m conntrack --ctproto tcp",
    "-m conntrack ! --ctproto TCP",
    "-m conntrack --ctproto 0x11",
    "-m conntrack --ctproto icmpv6",
    "-m conntrack --ctorigsrc 1.2",
    "-m conntrack --ctorigsrc 10",
    "-m conntrack --ctorigsrc 0x0a.010.256/+5",
    "-m conntrack --ctorigsrc 1.2.3.4/0",
    "-m conntrack ! --ctorigsrc 0.0.0.0/0 --ctrepldst 0.0.0.0/8",
    "-m conntrack --ctreplsrc 1.2.3.4/255.255.0.0 ! --ctorigdst 1.2.3.4/0x10",
    "-m conntrack --ctorigsrcport :90 --ctorigdstport 80:",
    "-m conntrack ! --ctreplsrcport : --ctrepldstport 0",
    "-m conntrack --ctorigsrcport http:https ! --ctorigdstport domain",
    "-m conntrack --ctreplsrcport 010:+12 --ctrepldstport 7:7",
    "-m conntrack --ctorigsrcport ",
    "-m conntrack --ctstatus NONE",
    "-m conntrack ! --ctstatus none",
    "-m conntrack --ctstatus CONFIRMED,NONE,assu",
    "-m conntrack --ctstatus c,a,s,e",
    "-m conntrack --ctexpire 0",
    "-m conntrack --ctexpire ",
    "-m conntrack ! --ctexpire :10",
    "-m conntrack --ctexpire 10:",
    "-m conntrack --ctexpire 0x10:020",
    "-m conntrack --ctexpire :",
    "-m conntrack --ctexpire 4294967295",
    "-m conntrack --ctdir original",
    "-m conntrack --ctd REPLY -m conntrack --ctdir ORIGINAL",
    "-m conntrack --ctdir REPLY --ctexpire 5:9 ! --ctrepldst 1.1.1.1 --ctstate NEW -j DROP",
];

#[test]
fn what_is_read_is_printed_as_by_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    for line in RIGHT {
        session.give(words(&format!("-A FORWARD -v {line}")));
        session.give(words(&format!("-C FORWARD {line}")));
    }
    for line in ["-S FORWARD", "-S FORWARD -v", "-L FORWARD -n", "-L FORWARD -n -v -x"] {
        session.give(words(line));
    }
    let lines = RIGHT.len() * 2 + 4;
    assert_eq!(session.compare(), u32::try_from(lines).expect("few lines"));
}
