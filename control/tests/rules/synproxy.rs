//! `-j SYNPROXY` beside the real iptables.

use weir_control::command::{Context, Parsed, parse_in};
use weir_control::rule::{Family, Names};
use weir_control::ruleset::{RuleError, Ruleset};

use crate::chains::{Weir, words};
use crate::oracle;

/// Lines that iptables and Weir take or refuse alike, with the same listing afterwards.
const LINES: &[&str] = &[
    "-A FORWARD -p tcp -j SYNPROXY",
    "-A FORWARD -j SYNPROXY",
    "-A FORWARD ! -p tcp -j SYNPROXY",
    "-A FORWARD -p udp -j SYNPROXY",
    "-A FORWARD -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --ecn --mss 1460 --wscale 7 --timestamp --sack-perm",
    "-A FORWARD -p tcp -j SYNPROXY --wscale 0 --mss 0",
    "-A FORWARD -p tcp -j SYNPROXY --wscale 14",
    "-A FORWARD -p tcp -j SYNPROXY --mss 65535",
    "-A FORWARD -p tcp -j SYNPROXY --mss",
    "-A FORWARD -p tcp -j SYNPROXY --mss x",
    "-A FORWARD -p tcp -j SYNPROXY --ecn --ecn",
    "-A FORWARD -p tcp -j SYNPROXY ! --ecn",
    "-A OUTPUT -p tcp -j SYNPROXY",
    "-A INPUT -p tcp -j SYNPROXY --mss 1460",
    "-I INPUT -j ACCEPT",
    "-C FORWARD -p tcp -j SYNPROXY --mss 65535",
    "-C FORWARD -p tcp -j SYNPROXY --mss 65534",
    "-D FORWARD -p tcp -j SYNPROXY --wscale 14",
    "-N SYNPROXY",
];

#[test]
fn rules_are_taken_and_listed_as_by_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let lines: Vec<_> = LINES.iter().flat_map(|line| [line, "-S", "-L -n -v"]).map(words).collect();
    let mut weir = Weir::with(Ruleset::with_host_chains());
    for (line, theirs) in lines.iter().zip(oracle::run(&lines)) {
        let (status, text) = weir.run(line).expect("nothing is refused on purpose");
        assert_eq!((status, text), (theirs.status, theirs.stdout), "{line:?}: {}", theirs.stderr);
    }
}

#[test]
fn what_weir_does_not_take_over_is_refused_by_name() {
    let names = Names::builtin();
    let context = |family| Context { is_chain: &|_, _| true, ..Context::of(family, &names) };
    let refused = |family, line: &str| match parse_in(&words(line), context(family)) {
        Err(error) => error.report(),
        Ok(Parsed::Command(line)) => {
            match Ruleset::with_host_chains().apply(&line.command).expect_err("refused") {
                RuleError::InvalidRule { reason } => reason,
                other => other.to_string(),
            }
        }
        Ok(_) => panic!("{line} is taken"),
    };
    for (family, line, words) in [
        (Family::V4, "-A OUTPUT -p tcp -j SYNPROXY", "that the machine itself begins"),
        (Family::V6, "-A FORWARD -p udp -j SYNPROXY", "needs `-p tcp'"),
        (Family::V4, "-A FORWARD -p tcp -j SYNPROXY --wscale 15", "out of range (0-14)"),
        (Family::V4, "-A FORWARD -p tcp -j SYNPROXY --mss 65536", "out of range (0-65535)"),
        (Family::V4, "-t raw -A PREROUTING -p tcp -j SYNPROXY", "for table filter alone"),
    ] {
        let text = refused(family, line);
        assert!(text.contains(words), "{line}: {text}");
    }
}
