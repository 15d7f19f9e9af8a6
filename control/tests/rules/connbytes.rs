//! `-m connbytes`: random ones, and what is wrong with such.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{
    ConnbytesDirection, ConnbytesMatch, ConnbytesMode, CountRange, Match, Negatable,
};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 7] = [
    "connbytes",
    "--connbytes",
    "--connbytes-dir",
    "--connbytes-mode",
    "avgpkt",
    "reply",
    "5:18446744073709551615",
];

pub(crate) fn asked() -> BoxedStrategy<Match> {
    let bound = || prop_oneof![Just(0), 1_u64..3000, any::<u64>(), Just(u64::MAX)];
    let direction = prop::sample::select(ConnbytesDirection::ALL.to_vec());
    let mode = prop::sample::select(ConnbytesMode::ALL.to_vec());
    (bound(), bound(), any::<bool>(), direction, mode)
        .prop_map(|(a, b, negated, direction, mode)| {
            let value = CountRange::new(a.min(b), a.max(b)).expect("ordered");
            let count = Some(Negatable { value, negated: negated && a != b });
            Match::Connbytes(ConnbytesMatch { count, direction: Some(direction), mode: Some(mode) })
        })
        .boxed()
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 22] = [
    "-A FORWARD -m connbytes",
    "-A FORWARD -m connbytes --connbytes 1:2",
    "-A FORWARD -m connbytes --connbytes 1:2 --connbytes-dir reply",
    "-A FORWARD -m connbytes --connbytes 1:2 --connbytes-mode bytes",
    "-A FORWARD -m connbytes --connbytes-mode bytes",
    "-A FORWARD -m connbytes --connbytes-dir reply --connbytes-mode bytes",
    "-A FORWARD -m connbytes --connbytes",
    "-A FORWARD -m connbytes --connbytes x",
    "-A FORWARD -m connbytes --connbytes 0:x",
    "-A FORWARD -m connbytes --connbytes 1x",
    "-A FORWARD -m connbytes --connbytes -1",
    "-A FORWARD -m connbytes --connbytes 1:2:3",
    "-A FORWARD -m connbytes --connbytes 18446744073709551616",
    "-A FORWARD -m connbytes --connbytes 0:99999999999999999999",
    "-A FORWARD -m connbytes --connbytes 1 --connbytes 2",
    "-A FORWARD -m connbytes --connbytes-dir rep",
    "-A FORWARD -m connbytes --connbytes-dir Original",
    "-A FORWARD -m connbytes --connbytes-dir",
    "-A FORWARD -m connbytes --connbytes-mode avg",
    "-A FORWARD -m connbytes ! --connbytes-dir reply",
    "-A FORWARD -m connbytes --connbytes 1 --connbytes-dir both ! --connbytes-mode bytes",
    "-A FORWARD --connbytes 1",
];

#[test]
fn the_words_about_counts_of_flows_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

#[test]
fn counts_of_flows_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    let ranges = [
        "0",
        "1",
        "1:2",
        "7:7",
        "1:",
        ":1",
        ":",
        "0:",
        "0x10:020",
        "+3:4",
        "1:18446744073709551615",
        "! 1:2",
        "! 1:",
        "! :5",
        "! 3",
    ];
    for range in ranges {
        let (not, range) = range.strip_prefix("! ").map_or(("", range), |range| ("! ", range));
        for direction in ConnbytesDirection::ALL {
            for mode in ConnbytesMode::ALL {
                let (direction, mode) = (direction.name(), mode.name());
                session.give(words(&format!(
                    "-A FORWARD -m connbytes {not}--connbytes {range} --connbytes-dir {direction} \
                     --connbytes-mode {mode}"
                )));
            }
        }
    }
    session.give_listings();
    session.assert_all_taken();
}

#[test]
fn what_is_wrong_with_a_count_of_a_flow_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -m connbytes ! --connbytes 5:5 --connbytes-dir both --connbytes-mode bytes",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: connbytes: `! --connbytes 5:5' asks for the opposite of what it says, as iptables and the kernel forget the `!' before one number",
            "  iptables -A FORWARD -m connbytes ! --connbytes 5:5 --connbytes-dir both --connbytes-mode bytes",
            "                         ^^^^^^^^^ argument 4, column 24",
            "  write two rules, one for less and one for more: `--connbytes 0:4', `--connbytes 6:'",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -m connbytes --connbytes 5:1 --connbytes-dir both --connbytes-mode bytes",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: connbytes: bad value for option \"--connbytes\" near \"1\", or out of range (5-18446744073709551615).",
            "  iptables -A FORWARD -m connbytes --connbytes 5:1 --connbytes-dir both --connbytes-mode bytes",
            "                                                 ^ argument 6, column 48",
            TRY,
        ],
    );
    for (line, hint) in [
        (
            "-A FORWARD --connbytes 1",
            "counts of connections belong to a match: write `-m connbytes' before it",
        ),
        ("-A FORWARD -m connbytes --connbytes-dir a", "directions are original, reply and both"),
        ("-A FORWARD -m connbytes --connbytes-mode a", "modes are packets, bytes and avgpkt"),
        (
            "-A FORWARD -m connbytes --connbytes 1",
            "say all three: `-m connbytes --connbytes 1000: --connbytes-dir both --connbytes-mode bytes'",
        ),
    ] {
        assert_eq!(refused(&words(line)).1.lines().nth(3), Some(&*format!("  {hint}")), "{line}");
    }
}
