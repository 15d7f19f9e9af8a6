//! What an operator reads when a line of ip6tables is refused.

use weir_control::command::ExitStatus;
use weir_control::rule::Family;

use crate::messages::{WRONG, assert_words_of, refused_of, words};
use crate::oracle;

/// The whole report, line by line.
#[track_caller]
fn assert_report(line: &str, status: ExitStatus, report: &[&str]) {
    let version = format!("ip6tables v1.8.11 (weir {})", env!("CARGO_PKG_VERSION"));
    let expected = report.join("\n").replace("VERSION", &version);
    assert_eq!(refused_of(Family::V6, &words(line)), (status.code(), expected));
}

const TRY: &str = "Try `ip6tables -h' or 'ip6tables --help' for more information.";

#[test]
fn addresses_and_masks_of_the_other_family_are_explained() {
    assert_report(
        "-A FORWARD -s fe80::/10,10.0.0.1 -j DROP",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: host/network `10.0.0.1' not found",
            "  ip6tables -A FORWARD -s fe80::/10,10.0.0.1 -j DROP",
            "                                    ^^^^^^^^ argument 4, column 35",
            "  an IPv6 address in digits is needed: Weir asks no name server, since a rule must not depend on its answer",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -d fe80::1/255.0.0.0",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: invalid mask `255.0.0.0' specified",
            "  ip6tables -A FORWARD -d fe80::1/255.0.0.0",
            "                          ^^^^^^^^^^^^^^^^^ argument 4, column 25",
            "  a mask is 0 to 128, or whole like ffff:ffff::",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -m conntrack --ctorigsrc fe80::/129",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: conntrack: bad value for option \"--ctorigsrc\", neither a valid network mask nor valid CIDR (0-128).",
            "  ip6tables -A FORWARD -m conntrack --ctorigsrc fe80::/129",
            "                                                       ^^^ argument 6, column 54",
            "  a mask is 0 to 128, or whole like ffff:ffff::",
            TRY,
        ],
    );
}

#[test]
fn what_only_the_other_program_has_is_told_apart() {
    assert_report(
        "-A FORWARD -m ttl --ttl-eq 3",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: Couldn't load match `ttl':No such file or directory",
            "  ip6tables -A FORWARD -m ttl --ttl-eq 3",
            "                          ^^^ argument 4, column 25",
            "  iptables has it, for IPv4 alone",
            TRY,
        ],
    );
    let (status, report) = refused_of(Family::V4, &words("-A FORWARD -m hl --hl-eq 3"));
    assert_eq!(status, 2);
    assert_eq!(report.lines().nth(3), Some("  ip6tables has it, for IPv6 alone"));
    assert_report(
        "-A FORWARD -4 -j DROP",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: -4 asks for rules of IPv4",
            "  ip6tables -A FORWARD -4 -j DROP",
            "                       ^^ argument 3, column 22",
            "  the command for these is iptables",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -f",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: `-f' is not supported in IPv6, use -m frag instead",
            "  ip6tables -A FORWARD -f",
            "                       ^^ argument 3, column 22",
            "  where connections are tracked, rules see whole packets, and none is a fragment",
            TRY,
        ],
    );
    let enforced = "is known to iptables, but not yet enforced by Weir";
    for (line, what) in [
        ("-A FORWARD -m frag --fragid 1", "match `frag'"),
        ("-A FORWARD -m ah --ahspi 1", "match `ah'"),
        ("-A FORWARD -m dst --dst-len 1", "match `dst'"),
        ("-A FORWARD -m eui64", "match `eui64'"),
        ("-A FORWARD -m hbh --hbh-len 1", "match `hbh'"),
        ("-A FORWARD -m ipv6header --header frag", "match `ipv6header'"),
        ("-A FORWARD -p mh --mh-type 1", "match `mh'"),
        ("-A FORWARD -m rt --rt-0-res", "option `--rt-0-res'"),
        ("-A FORWARD -m srh", "match `srh'"),
        ("-A FORWARD -j HL --hl-set 3", "target `HL'"),
        ("-A FORWARD -j DNPT", "target `DNPT'"),
    ] {
        let (status, report) = refused_of(Family::V6, &words(line));
        let first = report.lines().next().unwrap_or_default();
        assert_eq!(status, 2, "{line}");
        assert!(first.ends_with(&format!("{what} {enforced}")), "{line}: {first}");
    }
}

#[test]
fn what_the_kernel_would_refuse_is_explained() {
    assert_report(
        "-A FORWARD -m addrtype --dst-type LOCAL,BROADCAST",
        ExitStatus::OtherProblem,
        &[
            "ip6tables: Invalid argument: addrtype: no IPv6 address is of the types BROADCAST, BLACKHOLE, PROHIBIT, THROW, NAT, XRESOLVE, and the kernel refuses to look for them",
            "  ip6tables -A FORWARD -m addrtype --dst-type LOCAL,BROADCAST",
            "                          ^^^^^^^^ argument 4, column 25",
        ],
    );
    assert_report(
        "-A FORWARD -m icmpv6 --icmpv6-type 1",
        ExitStatus::OtherProblem,
        &[
            "ip6tables: Invalid argument: match `icmp6' reads ipv6-icmp headers, so the rule needs `-p ipv6-icmp' (without `!') before it",
            "  ip6tables -A FORWARD -m icmpv6 --icmpv6-type 1",
            "                          ^^^^^^ argument 4, column 25",
        ],
    );
    assert_report(
        "-A FORWARD -j REJECT --reject-with icmp-net-unreachable",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: unknown reject type \"icmp-net-unreachable\"",
            "  ip6tables -A FORWARD -j REJECT --reject-with icmp-net-unreachable",
            "                                               ^^^^^^^^^^^^^^^^^^^^ argument 6, column 46",
            "  types are icmp6-no-route icmp6-adm-prohibited icmp6-addr-unreachable icmp6-port-unreachable icmp6-policy-fail icmp6-reject-route tcp-reset",
            TRY,
        ],
    );
}

/// Lines for which ip6tables has words of its own: ours must be the same.
const WRONG_OF_IPV6: [&str; 40] = [
    "-A FORWARD -s ::1/129",
    "-A FORWARD -s ::1/ffff::1::2",
    "-A FORWARD -s ::1/24/24",
    "-A FORWARD -s 1::2::3",
    "-A FORWARD ! -s ::1,::2",
    "-R FORWARD 1 -s ::1,::2",
    "-A FORWARD -d ::1 -d ::2",
    "-A FORWARD -f",
    "-A FORWARD ! -f",
    "-A FORWARD --fragments",
    "-A FORWARD -m icmp --icmp-type 8",
    "-A FORWARD -m ttl --ttl-eq 3",
    "-A FORWARD -m realm --realm 3",
    "-A FORWARD -p icmpv6 --icmpv6-type n",
    "-A FORWARD -p icmpv6 --icmpv6-type nope",
    "-A FORWARD -p icmpv6 --icmpv6-type 1:2",
    "-A FORWARD -p icmpv6 --icmpv6-type 256",
    "-A FORWARD -p icmpv6 --icmpv6-type 1/x",
    "-A FORWARD -p icmpv6 --icmpv6-type 1/2x",
    "-A FORWARD -p icmpv6 --icmp-type 8",
    "-A FORWARD -p icmpv6 -m icmp6",
    "-A FORWARD -p icmpv6 -m ipv6-icmp --icmpv6-type 1 --icmpv6-type 2",
    "-A FORWARD -m hl",
    "-A FORWARD -m hl --hl-lt 3 --hl-gt 4",
    "-A FORWARD -m hl --hl 3 --hl-eq 4",
    "-A FORWARD -m hl ! --hl-gt 3",
    "-A FORWARD -m hl --hl-eq 256",
    "-A FORWARD -m rt --rt-type 4294967296",
    "-A FORWARD -m rt --rt-type x",
    "-A FORWARD -m rt --rt-type",
    "-A FORWARD -m rt --rt-len -1",
    "-A FORWARD -m rt --rt-type 0 --rt-type 1",
    "-A FORWARD -m rt --rt-segsleft 1:2:3",
    "-A FORWARD -m rt --rt-segsleft a:3",
    "-A FORWARD -m rt --rt-seg 1 --rt-segsleft 2",
    "-A FORWARD -m iprange --src-range ::1-",
    "-A FORWARD -m iprange --src-range 1.2.3.4-::1",
    "-A FORWARD -m conntrack --ctorigsrc 1.2.3.4",
    "-A FORWARD -m conntrack --ctorigsrc ::1/129",
    "-A FORWARD -j REJECT --reject-with icmp-net-unreachable",
];

#[test]
fn the_words_are_those_of_ip6tables() {
    if let Some(reason) = oracle::missing_of(Family::V6) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of(Family::V6, &WRONG_OF_IPV6);
    // What both programs say alike, but for `-f`.
    let others = WRONG.into_iter().filter(|line| !line.contains(" -f"));
    assert_words_of(Family::V6, &others.collect::<Vec<_>>());
}
