// long: half of it is a list of wrong lines.
//! What an operator reads when a line is refused.

use weir_control::command::{Context, ExitStatus, parse_in};
use weir_control::rule::{Family, Names};
use weir_control::ruleset::Ruleset;

use crate::oracle;

pub(crate) fn refused(arguments: &[String]) -> (u8, String) {
    refused_of(Family::V4, arguments)
}

pub(crate) fn refused_of(family: Family, arguments: &[String]) -> (u8, String) {
    match parse_in(arguments, Context::of(family, &Names::system())) {
        Err(error) => (error.kind.exit_status().code(), error.report()),
        Ok(parsed) => panic!("{arguments:?} is accepted: {parsed:?}"),
    }
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// The whole report, line by line.
#[track_caller]
pub(crate) fn assert_report(line: &str, status: ExitStatus, report: &[&str]) {
    let version = format!("iptables v1.8.11 (weir {})", env!("CARGO_PKG_VERSION"));
    let expected = report.join("\n").replace("VERSION", &version);
    assert_eq!(refused(&words(line)), (status.code(), expected));
}

/// The matches that messages list.
const ENFORCED: &str = "addrtype, comment, connbytes, connlimit, connmark, conntrack, dscp, ecn, fuzzy, hashlimit, icmp, \
    iprange, length, limit, mac, mark, multiport, pkttype, recent, set, state, statistic, string, tcp, tcpmss, time, \
    tos, ttl, u32, udp";

pub(crate) const TRY: &str = "Try `iptables -h' or 'iptables --help' for more information.";

#[test]
fn a_typing_error_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -p tcp --dprt 80 -j DROP",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: unknown option \"--dprt\"",
            "  iptables -A FORWARD -p tcp --dprt 80 -j DROP",
            "                             ^^^^^^ argument 5, column 28",
            TRY,
        ],
    );
}

#[test]
fn what_iptables_has_and_weir_has_not_is_told_apart_from_nonsense() {
    assert_report(
        "-A FORWARD -m quota --quota 3 -j ACCEPT",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: match `quota' is known to iptables, but not yet enforced by Weir",
            "  iptables -A FORWARD -m quota --quota 3 -j ACCEPT",
            "                         ^^^^^ argument 4, column 24",
            &format!(
                "  not supported by this version of Weir, so the command is refused instead of letting you believe it works; enforced are -m {ENFORCED} and -j ACCEPT, DROP, RETURN, REJECT, LOG, MARK, CONNMARK, CT, NOTRACK, SYNPROXY"
            ),
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -m stat",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: Couldn't load match `stat':No such file or directory",
            "  iptables -A FORWARD -m stat",
            "                         ^^^^ argument 4, column 24",
            &format!("  unknown to iptables and to Weir; a typing error? Weir has -m {ENFORCED}"),
            TRY,
        ],
    );
    let kind = |line: &str| refused(&words(line)).1.lines().next().unwrap_or_default().to_owned();
    let enforced = "is known to iptables, but not yet enforced by Weir";
    for (line, what) in [
        ("-A FORWARD -m quota --quota 3", "match `quota'"),
        ("-A FORWARD -p sctp --dport 80", "match `sctp'"),
        ("-A FORWARD -j NFLOG --nflog-prefix x", "target `NFLOG'"),
    ] {
        assert!(kind(line).ends_with(&format!("{what} {enforced}")), "{line}: {}", kind(line));
    }
}

#[test]
fn a_targets_options_are_refused_where_they_are() {
    assert_report(
        "-A FORWARD -p udp -j REJECT --reject-with tcp-reset",
        ExitStatus::OtherProblem,
        &[
            "iptables: Invalid argument: `--reject-with tcp-reset' answers TCP, so the rule needs `-p tcp' (without `!')",
            "  iptables -A FORWARD -p udp -j REJECT --reject-with tcp-reset",
            "                                ^^^^^^ argument 6, column 31",
        ],
    );
    assert_report(
        "-A FORWARD -j REJECT --reject-with shut",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: unknown reject type \"shut\"",
            "  iptables -A FORWARD -j REJECT --reject-with shut",
            "                                              ^^^^ argument 6, column 45",
            "  types are icmp-net-unreachable icmp-host-unreachable icmp-proto-unreachable icmp-port-unreachable icmp-net-prohibited icmp-host-prohibited icmp-admin-prohibited tcp-reset",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD --log-prefix x -j LOG",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: unknown option \"--log-prefix\"",
            "  iptables -A FORWARD --log-prefix x -j LOG",
            "                      ^^^^^^^^^^^^ argument 3, column 21",
            "  the option belongs to a target: write `-j LOG' before it",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -j LOG --log-level warn",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: log level \"warn\" unknown",
            "  iptables -A FORWARD -j LOG --log-level warn",
            "                                         ^^^^ argument 6, column 40",
            "  a level is 0 to 7, or emerg alert crit error warning notice info debug",
            TRY,
        ],
    );
    let newline = ["-A", "FORWARD", "-j", "LOG", "--log-prefix", "a\nb"].map(str::to_owned);
    let report = refused(&newline).1;
    assert!(report.contains("Newlines not allowed in --log-prefix"), "{report}");
}

#[test]
fn the_chains_of_the_machine_itself_are_refused_with_the_reason() {
    assert_report(
        "-A INPUT -p tcp --dport 22 -j ACCEPT",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: chain INPUT is not enforced by Weir with host = \"kernel\"",
            "  iptables -A INPUT -p tcp --dport 22 -j ACCEPT",
            "              ^^^^^ argument 2, column 13",
            "  packets from or to the firewall itself go through the kernel and never meet Weir, so a rule in INPUT would protect nothing; with host = \"firewalled\" in its configuration Weir enforces INPUT; or use the kernel's own iptables or nft for it, or FORWARD for traffic that passes through",
            TRY,
        ],
    );
    for line in ["-P OUTPUT DROP", "-L INPUT -n", "-F OUTPUT", "-Z INPUT", "-S OUTPUT"] {
        assert_eq!(refused(&words(line)).0, 2, "{line}");
    }
}

#[test]
fn the_caret_points_into_words_and_lists() {
    let place = |line: &str| {
        let report = refused(&words(line)).1;
        report.lines().nth(2).unwrap_or_default().to_owned()
    };
    assert_eq!(
        place("-A FORWARD -s 1.1.1.1,host,2.2.2.2"),
        "                                 ^^^^ argument 4, column 32"
    );
    assert_eq!(
        place("-A FORWARD -p tcp --dport=80:99999"),
        "                                        ^^^^^ argument 5, column 39"
    );
    assert_eq!(
        place("-A FORWARD -p tcp --tcp-flags SYN,FOO SYN"),
        "                                             ^^^ argument 6, column 44"
    );
    assert_eq!(place("-A FORWARD -sx"), "                        ^ argument 3, column 23");
    // Blanks and control characters are shown as typed, between quotes.
    let arguments = ["-A", "FORWARD", "-s", "a b\u{1b}[31m", "-j", "DROP"].map(str::to_owned);
    let report = refused(&arguments).1;
    let lines: Vec<&str> = report.lines().skip(1).take(2).collect();
    assert_eq!(
        lines,
        [
            r"  iptables -A FORWARD -s 'a b\u{1b}[31m' -j DROP",
            "                         ^^^^^^^^^^^^^^^ argument 4, column 24"
        ]
    );
}

/// What could not be saved and read again is refused, and so is what would spoil a list.
#[test]
fn control_characters_are_neither_taken_nor_printed() {
    let refused = |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        refused(&arguments)
    };
    for comment in ["two\nlines", "\u{1b}[2J"] {
        let (status, report) =
            refused(&["-A", "FORWARD", "-m", "comment", "--comment", comment, "-j", "DROP"]);
        let what = "comment: no control characters are allowed but tabs";
        assert_eq!((status, report.contains(what)), (2, true), "{report}");
    }
    for (interface, shown) in [("a\nb", r"`a\nb' has"), ("\u{1b}[2J", r"`\u{1b}[2J' has")] {
        let (status, report) = refused(&["-A", "FORWARD", "-i", interface]);
        assert_eq!((status, report.contains(shown)), (2, true), "{report}");
    }
    let (_, report) = refused(&["-A", "FORWARD", "--\u{1b}[2J", "-j", "\u{1b}c"]);
    assert!(!report.contains('\u{1b}'), "{report:?}");
}

#[test]
fn a_misplaced_negation_is_explained() {
    let report = refused(&words("-A FORWARD -s ! 1.2.3.4")).1;
    let expected = "  `!' stands before the option: `! -s ADDRESS', not `-s ! ADDRESS'";
    assert_eq!(report.lines().nth(3), Some(expected));
}

#[test]
fn a_very_long_line_is_not_repeated() {
    let list = vec!["10.0.0.1"; 60].join(",");
    let (status, report) = refused(&words(&format!("-A FORWARD -s {list} --nope")));
    assert_eq!(status, 2);
    assert_eq!(report.lines().nth(1), Some("  argument 5, column 564: --nope"));
}

#[test]
fn limits_are_named() {
    let list = vec!["10.0.0.1"; 33].join(",");
    let (status, report) = refused(&words(&format!("-A FORWARD -s {list} -d {list}")));
    assert_eq!(status, 4);
    assert!(report.contains("make 1089 rules; at most 1024 are allowed"), "{report}");
    let matches = " -m tcp".repeat(17);
    let (status, report) = refused(&words(&format!("-A FORWARD -p tcp{matches}")));
    assert_eq!(status, 2);
    assert!(report.contains("17 matches in one rule; at most 16"), "{report}");
}

/// Lines for which iptables has words: ours must be the same.
pub(crate) const WRONG: [&str; 192] = [
    "-j DROP",
    "-P FORWARD",
    "-P FORWARD REJECT",
    "-P FORWARD drop",
    "-P",
    "-A FORWARD --dport 80 -j DROP",
    "-A FORWARD -p tcp --dport 4:3 -j DROP",
    "-A FORWARD -p tcp --dport 70000",
    "-A FORWARD -p tcp --dport nope",
    "-A FORWARD -p tcp --dport 80:-1",
    "-A FORWARD -p tcp --dport ::",
    "-A FORWARD -s 10.0.0.0/33",
    "-A FORWARD -p udp --dport nope",
    "-A FORWARD -s 10.0.0.0/255.0.0",
    "-A FORWARD -s 10.0.0.0/",
    "-A FORWARD -s 1.2.3.4/24/24",
    "-A FORWARD -s 10.0.0.1 -s 10.0.0.2",
    "-A FORWARD -s",
    "-A",
    "-A FORWARD -j NOPE",
    "-A FORWARD -m nope",
    "-A FORWARD --nope",
    "-A FORWARD -p nope",
    "-A FORWARD -p 256",
    "-A FORWARD ! -p all",
    "-A FORWARD -i abcdefghijklmnopq",
    "-A FORWARD -s ! 1.2.3.4",
    "-A FORWARD ! ! -s 1.2.3.4",
    "-A FORWARD !",
    "-A FORWARD ! -j DROP",
    "-A FORWARD foo",
    "-A FORWARD -A FORWARD",
    "-A FORWARD -L",
    "-L -A FORWARD",
    "-L -S",
    "-F -Z",
    "-Z -Z",
    "-A FORWARD -n",
    "-L -p tcp",
    "-A FORWARD --line-numbers",
    "-A FORWARD -x",
    "-L --line-numbers -j DROP",
    "-I FORWARD 0",
    "-I FORWARD x",
    "-D FORWARD 0",
    "-D FORWARD x",
    "-D FORWARD 5000000000",
    "-D FORWARD 2147483648",
    "-L FORWARD 0xffffffff",
    "-R FORWARD",
    "-R FORWARD 0",
    "-L FORWARD 0",
    "-Z FORWARD 0",
    "-A FORWARD -p tcp --syn --tcp-flags ALL SYN",
    "-A FORWARD -p tcp --tcp-flags FOO SYN",
    "-A FORWARD -p tcp --tcp-flags SYN",
    "-A FORWARD -p tcp --tcp-flags SYN ! -s 1.1.1.1",
    "-A FORWARD -p tcp --dport 80 --dport 81",
    "-A FORWARD -p udp --sport 1 --sport 2",
    "-A FORWARD -p udp --sport 1:2:3",
    "-A FORWARD -p udp --sport ::",
    "-A FORWARD -p udp --syn",
    "-A FORWARD ! -s 1.2.3.4,1.2.3.5",
    "-R FORWARD 1 -s 1.2.3.4,1.2.3.5",
    "-t nope -L",
    "-w x -L",
    "-A FORWARD -w 1 -- -j DROP",
    "-A FORWARD -j abcdefghijklmnopqrstuvwxyzabcdefghijklmno",
    "! -A FORWARD",
    "-L -n -n",
    "-A FORWARDFORWARDFORWARDFORWARDFORWARD",
    "-D FORWARD 1 -j DROP",
    "-A FORWARD -z",
    "-N -x",
    "-N !x",
    "-N ACCEPT",
    "-N LOG",
    "-N FORWARDFORWARDFORWARDFORWARDFORWARD",
    "-N a -N b",
    "-N a b",
    "-E a",
    "-E a -x",
    "-X a b",
    "-N a -j DROP",
    "-X -n",
    "-A FORWARD -g nope",
    "-A FORWARD -g ACCEPT",
    "-A FORWARD -g abcdefghijklmnopqrstuvwxyzabcdefghijklmno",
    "-A FORWARD -j ACCEPT -g x",
    "-A FORWARD ! -g x",
    "-A FORWARD -c 5",
    "-A FORWARD -c 5 -j DROP",
    "-A FORWARD -c x 5",
    "-A FORWARD -c 5 x",
    "-A FORWARD -c ,5",
    "-A FORWARD -c 5 6 -c 7 8",
    "-A FORWARD ! -c 5 6",
    "-D FORWARD -c 5 6",
    "-L -c 5 6",
    "-A FORWARD -W 5",
    "-A FORWARD -j REJECT --reject-with nope",
    "-A FORWARD -j REJECT --reject-with icmp-port-unreachable-x",
    "-A FORWARD -j REJECT --reject-with",
    "-A FORWARD -j REJECT ! --reject-with tcp-reset",
    "-A FORWARD -j REJECT --reject-with host --reject-with net",
    "-A FORWARD --reject-with host -j REJECT",
    "-A FORWARD -j DROP --reject-with host",
    "-A FORWARD -j LOG --log-prefix ",
    "-A FORWARD -j LOG --log-level 8",
    "-A FORWARD -j LOG --log-level -1",
    "-A FORWARD -j LOG --log-level err",
    "-A FORWARD -j LOG --log-level ",
    "-A FORWARD -j LOG --log-level 3 --log-level 3",
    "-A FORWARD -j LOG --log-uid --log-uid",
    "-A FORWARD -j LOG ! --log-macdecode",
    "-A FORWARD -j LOG --log-tcp",
    "-A FORWARD -j LOG --log-uid=3",
    "-A FORWARD -j LOG -j REJECT",
    "-L FORWARD -j REJECT",
    "-D FORWARD 1 -j LOG",
    "-A FORWARD -f -f",
    "-L -f",
    "-A FORWARD -p icmp --icmp-type p",
    "-A FORWARD -p icmp --icmp-type=",
    "-A FORWARD -p icmp --icmp-type 8x",
    "-A FORWARD -p icmp --icmp-type 8/x",
    "-A FORWARD -p icmp --icmp-type 8/3x",
    "-A FORWARD -p icmp --icmp-type 8:9",
    "-A FORWARD -p icmp --icmp-type nope",
    "-A FORWARD -p icmp --icmp-type 256",
    "-A FORWARD -p icmp --nope",
    "-A FORWARD -p icmp -m icmp",
    "-A FORWARD -p icmp --icmp-type 8 --icmp-type 9",
    "-A FORWARD -p tcp --tcp-option 0",
    "-A FORWARD -p tcp --tcp-option 256",
    "-A FORWARD -p tcp --tcp-option 5 --tcp-option 6",
    "-A FORWARD -m multiport --dports 80",
    "-A FORWARD ! -p tcp -m multiport --dports 80",
    "-A FORWARD -p icmp -m multiport --dports 80",
    "-A FORWARD -p tcp -m multiport --dports 80 --sports 1",
    "-A FORWARD -p tcp -m multiport --ports 80 --sports 1",
    "-A FORWARD -p tcp -m multiport --dports 80 --dports 1",
    "-A FORWARD -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16",
    "-A FORWARD -p tcp -m multiport --dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15:16",
    "-A FORWARD -p tcp -m multiport --dports 5:5",
    "-A FORWARD -p tcp -m multiport --dports 5:",
    "-A FORWARD -p tcp -m multiport --dports ,",
    "-A FORWARD -p tcp -m multiport --dports 1,bootps,2",
    "-A FORWARD -p tcp -m tcpmss",
    "-A FORWARD -p tcp -m tcpmss --mss 5x",
    "-A FORWARD -p tcp -m tcpmss --mss 65536",
    "-A FORWARD -p tcp -m tcpmss --mss 1:2:3",
    "-A FORWARD -m ecn",
    "-A FORWARD -m ecn --ecn-ip-ect 4",
    "-A FORWARD -m ecn --ecn-tcp-cwr=1",
    "-A FORWARD -m ttl --ttl-lt 5 --ttl-gt 3",
    "-A FORWARD -m ttl --ttl 5 --ttl-gt 3",
    "-A FORWARD -m ttl --ttl 5 --ttl-eq 3",
    "-A FORWARD -m ttl ! --ttl-lt 5",
    "-A FORWARD -m ttl --ttl-gt 256",
    "-A FORWARD -m ttl",
    "-A FORWARD -m tos --tos 0x10/0x300",
    "-A FORWARD -m tos --tos 16/",
    "-A FORWARD -m tos --tos 16x",
    "-A FORWARD -m tos --tos 300",
    "-A FORWARD -m tos",
    "-A FORWARD -m dscp --dscp 64",
    "-A FORWARD -m dscp --dscp-class e",
    "-A FORWARD -m dscp --dscp-class ef --dscp 4",
    "-A FORWARD -m dscp",
    "-A FORWARD -m mac --mac-source 0:1:2:3:4",
    "-A FORWARD -m mac",
    "-A FORWARD -m comment",
    "-A FORWARD -m comment ! --comment x",
    "-A FORWARD -m comment --comment x --comment y",
    "-A FORWARD -m iprange --src-range x-1.2.3.4",
    "-A FORWARD -m iprange --dst-range 1.2.3.4-",
    "-A FORWARD -m iprange",
    "-A FORWARD -m length",
    "-A FORWARD -m length --length 70000",
    "-A FORWARD -m length --length 1x",
    "-A FORWARD -m pkttype",
    "-A FORWARD -m pkttype --pkt-type x",
    "-A FORWARD -m addrtype",
    "-A FORWARD -m addrtype --limit-iface-in",
    "-A FORWARD -m addrtype --src-type LOCAL --limit-iface-in --limit-iface-out",
    "-A FORWARD -m addrtype --src-type LOCAL ! --limit-iface-out",
    "-A FORWARD -m addrtype --src-type LOCAL --src-type LOCAL",
    "-A FORWARD -m addrtype --src-type LOCAL,",
    "-A FORWARD -m addrtype --src-type ,LOCAL",
    "-A FORWARD -m addrtype --dst-type NOPE,LOCAL",
    "-A FORWARD -m addrtype --dst-type LOCAL,NOPE",
];

#[test]
fn the_words_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

/// Where the kernel refuses, iptables knows no reason; we do. And what 1.8.11 refuses and 1.8.9 takes.
#[test]
fn what_the_kernel_would_refuse_is_explained() {
    let first = |line: &str| {
        let (status, report) = refused(&words(line));
        (status, report.lines().next().unwrap_or_default().to_owned())
    };
    let needs = |name: &str, protocol: &str| {
        (
            1,
            format!(
                "iptables: Invalid argument: match `{name}' reads {protocol} headers, so the rule needs `-p {protocol}' (without `!') before it"
            ),
        )
    };
    assert_eq!(first("-A FORWARD -m icmp --icmp-type 8"), needs("icmp", "icmp"));
    assert_eq!(first("-A FORWARD -p udp -m tcpmss --mss 5"), needs("tcpmss", "tcp"));
    assert_eq!(first("-A FORWARD ! -p tcp -m ecn --ecn-tcp-ece"), needs("ecn", "tcp"));
    let version = format!("iptables v1.8.11 (weir {})", env!("CARGO_PKG_VERSION"));
    for (line, message) in [
        (
            "-A FORWARD -m length --length 5:3",
            "length: bad value for option \"--length\" near \"3\", or out of range (5-65535).",
        ),
        (
            "-A FORWARD -p tcp -m tcpmss --mss 5:3",
            "tcpmss: bad value for option \"--mss\" near \"3\", or out of range (5-65535).",
        ),
        ("-A FORWARD -p tcp -m multiport", "no ports specified"),
    ] {
        assert_eq!(first(line), (2, format!("{version}: {message}")));
    }
}

#[test]
fn values_of_matches_are_shown_where_they_are() {
    assert_report(
        "-A FORWARD -p tcp -m multiport --dports 80,9:8 -j DROP",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: invalid portrange specified",
            "  iptables -A FORWARD -p tcp -m multiport --dports 80,9:8 -j DROP",
            "                                                      ^^^ argument 8, column 53",
            "  the first port of a range must be below the last",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -m iprange --src-range 10.0.0.1-nope",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: iprange: Bad value for \"--src-range\" option: \"nope\"",
            "  iptables -A FORWARD -m iprange --src-range 10.0.0.1-nope",
            "                                                      ^^^^ argument 6, column 53",
            "  write FIRST-LAST, IPv4 addresses in digits",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD --dports 80",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: unknown option \"--dports\"",
            "  iptables -A FORWARD --dports 80",
            "                      ^^^^^^^^ argument 3, column 21",
            "  lists of ports belong to a match: write `-m multiport' before it",
            TRY,
        ],
    );
}

/// Every line is refused with the status and the words of the oracle.
pub(crate) fn assert_words_of_iptables(wrong: &[&str]) {
    assert_words_of(Family::V4, wrong);
}

/// The same of either family.
pub(crate) fn assert_words_of(family: Family, wrong: &[&str]) {
    assert_words_after("", family, wrong);
}

/// The same where the oracle did something before.
pub(crate) fn assert_words_after(before: &str, family: Family, wrong: &[&str]) {
    let program = family.program();
    let lines: Vec<Vec<String>> = wrong.iter().map(|line| words(line)).collect();
    for (line, theirs) in lines.iter().zip(oracle::run_after(before, family, &lines)) {
        let (status, report) = refused_of(family, line);
        let line = line.join(" ");
        assert_eq!(i32::from(status), theirs.status, "{program} {line}\n{report}");
        // The first line after the program's name and version.
        let message = |text: &str| {
            let first = text
                .lines()
                .find(|line| !line.starts_with("Ignoring") && !line.is_empty())
                .unwrap_or_default();
            let version =
                first.split_once("): ").filter(|_| first.starts_with(&format!("{program} v")));
            version.map_or(first, |(_, message)| message).to_owned()
        };
        assert_eq!(message(&report), message(&theirs.stderr), "{program} {line}");
    }
}

/// Lines that only the rule set can refuse.
#[test]
fn failures_of_commands_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let lines = [
        "-D FORWARD 9",
        "-I FORWARD 5",
        "-R FORWARD 3 -j DROP",
        "-Z FORWARD 99",
        "-C FORWARD -p tcp -j DROP",
        "-D FORWARD -p tcp -j DROP",
        "-P NOPE ACCEPT",
        "-A NOPE -j DROP",
        "-L NOPE",
        "-S NOPE",
        "-F NOPE",
        "-Z NOPE",
        "-X NOPE",
        "-X FORWARD",
        "-E NOPE x",
        "-E FORWARD x",
        "-E NOPE FORWARD",
        "-N FORWARD",
        "-A FORWARD -j FORWARD",
    ]
    .map(words);
    for family in Family::ALL {
        let program = family.program();
        for (line, theirs) in lines.iter().zip(oracle::run_of(family, &lines)) {
            let command = crate::parsing::command(&line.join(" "));
            let error = Ruleset::of(family).apply(&command).expect_err("empty set");
            assert_eq!((1, format!("{program}: {error}\n")), (theirs.status, theirs.stderr));
        }
    }
}
