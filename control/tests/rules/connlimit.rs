//! `-m connlimit`: random ones, and what is wrong with such. What they mean to packets is for
//! `dataplane/tests/engine/connlimit_oracle.rs`.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{ConnlimitMatch, ConnlimitSide, Family, Match, Negatable};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 6] = [
    "connlimit",
    "--connlimit-above",
    "--connlimit-upto",
    "--connlimit-mask",
    "--connlimit-saddr",
    "--connlimit-daddr",
];

pub(crate) fn asked(family: Family) -> BoxedStrategy<Match> {
    let number = prop_oneof![0_u32..9, any::<u32>(), Just(u32::MAX)];
    let side = prop::sample::select(vec![ConnlimitSide::Source, ConnlimitSide::Destination]);
    (number, any::<bool>(), 0..=family.address_bits(), side)
        .prop_map(|(value, negated, prefix_len, side)| {
            let above = Some(Negatable { value, negated });
            Match::Connlimit(ConnlimitMatch { above, prefix_len, side })
        })
        .boxed()
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 18] = [
    "-A FORWARD -m connlimit",
    "-A FORWARD -m connlimit -j DROP",
    "-A FORWARD -m connlimit --connlimit-mask 24",
    "-A FORWARD -m connlimit --connlimit-saddr --connlimit-daddr",
    "-A FORWARD -m connlimit --connlimit-above",
    "-A FORWARD -m connlimit --connlimit-above x",
    "-A FORWARD -m connlimit --connlimit-above -1",
    "-A FORWARD -m connlimit --connlimit-upto 4294967296",
    "-A FORWARD -m connlimit --connlimit-upto 3 --connlimit-above 3",
    "-A FORWARD -m connlimit ! --connlimit-above 3 --connlimit-upto 3",
    "-A FORWARD -m connlimit --connlimit-above 3 ! --connlimit-above 3",
    "-A FORWARD -m connlimit --connlimit-above 3 --connlimit-daddr --connlimit-saddr",
    "-A FORWARD -m connlimit --connlimit-above 3 ! --connlimit-saddr",
    "-A FORWARD -m connlimit --connlimit-above 3 ! --connlimit-mask 24",
    "-A FORWARD -m connlimit --connlimit-above 3 --connlimit-mask",
    "-A FORWARD -m connlimit --connlimit-above 3 --connlimit-mask x",
    "-A FORWARD -m connlimit --connlimit-above 3 --connlimit-mask 24/8",
    "-A FORWARD --connlimit-above 3",
];

#[test]
fn the_words_about_limits_of_connections_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

#[test]
fn limits_of_connections_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    for limit in ["--connlimit-above", "! --connlimit-above", "--connlimit-upto", "! --connlimit-u"]
    {
        for rest in [
            "0",
            "4294967295 --connlimit-mask 0",
            "0x10 --connlimit-mask 24 --connlimit-daddr",
            "010 --connlimit-saddr --connlimit-mask 255.255.0.0",
            "3 --connlimit-m 010",
        ] {
            session.give(words(&format!("-A FORWARD -m connlimit {limit} {rest}")));
        }
    }
    session.give_listings();
    session.assert_all_taken();
}

#[test]
fn a_mask_that_would_be_printed_as_another_is_refused() {
    // iptables takes it for what it is, and prints /8 (`count_bits4`, extensions/libxt_connlimit.c).
    assert_report(
        "-A FORWARD -m connlimit --connlimit-above 3 --connlimit-mask 255.0.255.0",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: connlimit: bad value for option \"--connlimit-mask\", neither a valid network mask nor valid CIDR (0-32).",
            "  iptables -A FORWARD -m connlimit --connlimit-above 3 --connlimit-mask 255.0.255.0",
            "                                                                        ^^^^^^^^^^^ argument 8, column 71",
            "  a mask is 0 to 32, or dotted like 255.255.255.0",
            TRY,
        ],
    );
    for (line, expected) in [
        (
            "-A FORWARD --connlimit-upto 1",
            "limits of connections belong to a match: write `-m connlimit' before it",
        ),
        (
            "-A FORWARD -m connlimit",
            "say how many: `-p tcp --syn -m connlimit --connlimit-above 20 -j REJECT'",
        ),
    ] {
        let report = refused(&words(line)).1;
        assert_eq!(report.lines().nth(3), Some(&*format!("  {expected}")), "{line}");
    }
}
