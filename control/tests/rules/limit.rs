//! `-m limit`: random ones, and what is wrong with such.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{LimitMatch, Match};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 8] =
    ["limit", "--limit", "--limit-burst", "3/minute", "10000/s", "10001/s", "7/hou", "5/days"];

/// Of rates that can be written.
pub(crate) fn asked() -> BoxedStrategy<Match> {
    let unit = prop::sample::select(vec![1_u32, 60, 3600, 86_400]);
    (unit, prop_oneof![1_u32..70, 1_u32..=LimitMatch::SCALE], 1_u32..120)
        .prop_map(|(unit, packets, burst)| {
            let period_100us = (LimitMatch::SCALE * unit / packets).max(1);
            // What fills in 37 hours and more is refused.
            let most = 1_300_000_000 / period_100us;
            Match::Limit(LimitMatch { period_100us, burst: burst.min(most) })
        })
        .boxed()
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 20] = [
    "-A FORWARD -m limit --limit 0",
    "-A FORWARD -m limit --limit x",
    "-A FORWARD -m limit --limit ",
    "-A FORWARD -m limit --limit /s",
    "-A FORWARD -m limit --limit 3/",
    "-A FORWARD -m limit --limit 3/x",
    "-A FORWARD -m limit --limit 3/seconds",
    "-A FORWARD -m limit --limit 3/s/s",
    "-A FORWARD -m limit --limit 0x10/s",
    "-A FORWARD -m limit --limit 10001/s",
    "-A FORWARD -m limit --limit 600001/min",
    "-A FORWARD -m limit --limit -5/s",
    "-A FORWARD -m limit --limit 3/s --limit 4/s",
    "-A FORWARD -m limit ! --limit 3/s",
    "-A FORWARD -m limit ! --limit-burst 3",
    "-A FORWARD -m limit --limit-burst 10001",
    "-A FORWARD -m limit --limit-burst -1",
    "-A FORWARD -m limit --limit-burst x",
    "-A FORWARD -m limit --limit-burst",
    "-A FORWARD --limit 3/s",
];

#[test]
fn the_words_about_limits_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

#[test]
fn limits_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    let mut lines = vec!["-A FORWARD -m limit".to_owned()];
    let rates = [
        "3",
        "3/s",
        "3/SEC",
        "1/d",
        "7/m",
        "7/minute",
        "100/hour",
        "5x/s",
        "+7/s",
        "10000",
        "10000/second",
        "3333/s",
        "6666/s",
        "777/min",
        "99/d",
        "61/m",
        "59/min",
        "60/min",
        "3600/hour",
        "86400/day",
        "7/sECond",
        "600000/m",
        "864000000/day",
        "07/s",
        "1.5/s",
    ];
    for rate in rates {
        lines.push(format!("-A FORWARD -m limit --limit {rate} --limit-burst 1"));
    }
    for burst in ["1", "4", "5", "6", "111", "0x10"] {
        lines.push(format!("-A FORWARD -m limit --limit-burst {burst}"));
        lines.push(format!("-A FORWARD -m limit --limit 9/s --limit-burst {burst} -j ACCEPT"));
    }
    lines.iter().for_each(|line| session.give(words(line)));
    session.give_listings();
    session.assert_all_taken();
}

#[test]
fn what_is_wrong_with_a_limit_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -m limit --limit 3/x",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: bad rate \"3/x\"'",
            "  iptables -A FORWARD -m limit --limit 3/x",
            "                                       ^^^ argument 6, column 38",
            "  write NUMBER/second, /minute, /hour or /day",
            TRY,
        ],
    );
    // The kernel refuses these with a number that overflowed, or takes another burst for it than was said.
    for (line, said) in [
        ("-A FORWARD -m limit --limit-burst 0", "a burst of 0 at a rate of 3/hour"),
        ("-A FORWARD -m limit --limit-burst 112", "a burst of 112 at a rate of 3/hour"),
        ("-A FORWARD -m limit --limit-burst 150", "a burst of 150 at a rate of 3/hour"),
        ("-A FORWARD -m limit --limit 1/d", "a burst of 5 at a rate of 1/day"),
        ("-A FORWARD -m limit --limit 1/d --limit-burst 14", "a burst of 14 at a rate of 1/day"),
    ] {
        let (status, report) = refused(&words(line));
        let first = report.lines().next().unwrap_or_default();
        assert_eq!(
            (status, first),
            (
                1,
                &*format!(
                    "iptables: Invalid argument: limit: {said} is more than the kernel can count, or none at all: the burst is at least 1, and takes 37 hours at the most to fill again"
                )
            )
        );
    }
    for (line, hint) in [
        ("-A FORWARD --limit 3/s", "rates belong to a match: write `-m limit' before it"),
        ("-A FORWARD -m limit --limit 10001/s", "10000/second is the most"),
    ] {
        let (_, report) = refused(&words(line));
        assert!(report.contains(hint), "{line}\n{report}");
    }
}
