//! `-m hashlimit`: random ones, and what is wrong with such.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{Family, HashlimitMatch, HashlimitRate, KeyMasks, KeyParts, Match};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 16] = [
    "hashlimit",
    "--hashlimit",
    "--hashlimit-upto",
    "--hashlimit-above",
    "--hashlimit-burst",
    "--hashlimit-mode",
    "--hashlimit-name",
    "--hashlimit-srcmask",
    "--hashlimit-dstmask",
    "--hashlimit-htable-size",
    "--hashlimit-htable-max",
    "--hashlimit-htable-expire",
    "srcip,dstport",
    "512kb/s",
    "1mb",
    "table",
];

fn rate() -> impl Strategy<Value = HashlimitRate> {
    let units = [1_u64, 60, 3600, 86_400].to_vec();
    let packets =
        (prop::sample::select(units), prop_oneof![1_u64..70, 1_u64..1_000_000], 1_u64..200);
    let packets = packets.prop_map(|(unit, packets, burst)| {
        let period_us = (HashlimitMatch::SCALE * unit / packets).max(1);
        // What comes again in 37 hours and more is refused.
        HashlimitRate::Packets { period_us, burst: burst.min(130_000_000_000 / period_us) }
    });
    // As they are read of a number of bytes, and of a burst of so many seconds of it.
    let bytes = (16_u32..40_000_000, 0_u32..9).prop_map(|(bytes, refills)| {
        let cost = u32::MAX / ((bytes >> 4) + 1);
        let refills = if bytes < 1024 { refills } else { 0 };
        HashlimitRate::Bytes { cost, refills }
    });
    prop_oneof![3 => packets, 1 => bytes]
}

pub(crate) fn asked(family: Family) -> BoxedStrategy<Match> {
    let all = family.address_bits();
    let mask = move || prop::option::of(0..all);
    let number = || prop_oneof![2 => Just(0), 1 => 1_u32..1_048_576];
    let ms = |unless: u32| prop_oneof![2 => Just(unless), 1 => 1_u32..];
    (
        (rate(), any::<bool>(), "[a-z][a-z0-9._-]{0,20}"),
        prop::option::weighted(0.3, prop_oneof![1_u32..4, 1..=HashlimitMatch::WINDOW_S_MAX]),
        any::<[bool; 4]>(),
        (mask(), mask()),
        (number(), number(), ms(1000), ms(60_000)),
    )
        .prop_map(
            |((rate, above, name), window_s, [a, b, c, d], (source, destination), numbers)| {
                let (size, max, gc_interval_ms, expire_ms) = numbers;
                let rate = match (rate, window_s) {
                    // Of a window, whatever its length, a rate is read as that of a second.
                    (HashlimitRate::Packets { period_us, burst }, Some(_)) => {
                        let packets = period_us % 5000 + 1;
                        HashlimitRate::Packets { period_us: HashlimitMatch::SCALE / packets, burst }
                    }
                    _ => rate,
                };
                Match::Hashlimit(Box::new(HashlimitMatch {
                    rate: Some(rate),
                    above,
                    window_s,
                    parts: KeyParts {
                        source: a,
                        source_port: b,
                        destination: c,
                        destination_port: d,
                    },
                    masks: KeyMasks { source, destination },
                    name,
                    size,
                    max,
                    gc_interval_ms,
                    expire_ms,
                }))
            },
        )
        .boxed()
}

/// What stands before the name.
const WRONG: [&str; 28] = [
    "--hashlimit-burst 3",
    "--hashlimit-upto 0",
    "--hashlimit-upto x",
    "--hashlimit-upto 3/x",
    "--hashlimit-upto 3/",
    "--hashlimit-above 3/seconds",
    "--hashlimit-upto b/s",
    "--hashlimit-upto 0b/s",
    "--hashlimit-upto 1000001/s",
    "--hashlimit-above -5/s",
    "--hashlimit-upto 3 --hashlimit-above 4",
    "--hashlimit-upto 3 --hashlimit-upto 4",
    "--hashlimit-upto 3 ! --hashlimit-burst 4",
    "--hashlimit-upto 3 --hashlimit-burst 0",
    "--hashlimit-upto 3 --hashlimit-burst 1000001",
    "--hashlimit-upto 3 --hashlimit-burst 2000kb",
    "--hashlimit-upto 3 --hashlimit-burst x",
    "--hashlimit-upto 3kb/s --hashlimit-burst 10",
    "--hashlimit-upto 1mb/s --hashlimit-burst 1000kb",
    "--hashlimit-upto 3 --hashlimit-mode foo",
    "--hashlimit-upto 3 --hashlimit-mode src",
    "--hashlimit-upto 3 --hashlimit-srcmask x",
    "--hashlimit-upto 3 --hashlimit-htable-max x",
    "--hashlimit-rate-match --hashlimit-rate-interval 5",
    "--hashlimit-upto 3 --hashlimit-rate-match --hashlimit-rate-interval x",
    "--hashlimit-upto 3 --hashlimit-rate-match --hashlimit-rate-interval 0",
    "--hashlimit-upto 3 --hashlimit-rate-match --hashlimit-rate-interval -1",
    "--hashlimit-upto 3 ! --hashlimit-rate-match",
];

#[test]
fn the_words_about_hashlimits_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut wrong: Vec<String> = WRONG
        .iter()
        .map(|options| format!("-A FORWARD -m hashlimit {options} --hashlimit-name x"))
        .collect();
    wrong.extend(
        [
            "-A FORWARD -m hashlimit",
            "-A FORWARD -m hashlimit --hashlimit-name x",
            "-A FORWARD -m hashlimit --hashlimit-upto 3/s",
            "-A FORWARD -m hashlimit --hashlimit-upto 3/s --hashlimit-name ",
            "-A FORWARD -m hashlimit --hashlimit-upto 3/s --hashlimit-name x --hashlimit-name y",
            "-A FORWARD --hashlimit-upto 3/s",
        ]
        .map(str::to_owned),
    );
    assert_words_of_iptables(&wrong.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn hashlimits_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    let options = [
        "--hashlimit-upto 3/s",
        "--hashlimit 3/s",
        "! --hashlimit 3/s",
        "--hashlimit-above 3",
        "! --hashlimit-above 3/s",
        "--hashlimit-above 3/s --hashlimit-mode srcip,dstport",
        "--hashlimit-above 3/s --hashlimit-mode dstport|srcip,srcport,",
        "--hashlimit-above 7/m --hashlimit-mode srcip,dstport,srcport,dstip --hashlimit-burst 9",
        "--hashlimit-burst 9 --hashlimit-above 7/m --hashlimit-srcmask 24 --hashlimit-dstmask 0",
        "--hashlimit-upto 3/s --hashlimit-srcmask 255.255.0.0 --hashlimit-dstmask 255.255.255.255",
        "--hashlimit-above 100/hour --hashlimit-htable-size 9 --hashlimit-htable-max 10",
        "--hashlimit-above 100/hour --hashlimit-htable-expire 3600000 --hashlimit-htable-gcinterval 2000",
        "--hashlimit-above 100/hour --hashlimit-htable-expire 1000 --hashlimit-htable-gcinterval 1000",
        "--hashlimit-htable-expire 1000 --hashlimit-above 1/s",
        "--hashlimit-above 1/day --hashlimit-burst 1",
        "--hashlimit-upto 60/m",
        "--hashlimit-upto 3600/hour --hashlimit-htable-expire 1000",
        "--hashlimit-upto 3kb/s",
        "--hashlimit-upto 16b/s",
        "--hashlimit-upto 5000b/s",
        "--hashlimit-upto 5kb/second",
        "--hashlimit-upto 512kb/s --hashlimit-burst 1mb",
        "--hashlimit-burst 1mb --hashlimit-upto 512kb/s",
        "--hashlimit-upto 512kb/s --hashlimit-burst 1mb --hashlimit-htable-expire 60000",
        "--hashlimit-upto 512kb/s --hashlimit-burst 1000kb --hashlimit-htable-expire 15000",
        "--hashlimit-upto 10mb/s --hashlimit-burst 25mb",
        "--hashlimit-upto 1000mb/s --hashlimit-burst 2500mb",
        "--hashlimit-upto 5000mb/s",
        "--hashlimit-upto 1000000/s",
        "--hashlimit-upto 333333/s",
        "--hashlimit-upto 666667/s",
        "--hashlimit-upto 3/s --hashlimit-burst 10kb",
        "--hashlimit-upto 3/s --hashlimit-burst 10x",
        "--hashlimit-upto 3/s --hashlimit-htable-size 1048576",
        "--hashlimit-upto 3/s --hashlimit-rate-match",
        "--hashlimit-rate-match --hashlimit-above 40/m --hashlimit-mode srcip",
        "--hashlimit-above 40/m --hashlimit-rate-match --hashlimit-htable-expire 1000",
        "--hashlimit-above 7/hour --hashlimit-burst 20 --hashlimit-rate-match --hashlimit-srcmask 24",
        "--hashlimit-above 1/day --hashlimit-rate-match",
        "--hashlimit-above 40/s --hashlimit-rate-match --hashlimit-rate-interval 10",
        "--hashlimit-rate-interval 7x --hashlimit-above 40/m --hashlimit-rate-match",
        "--hashlimit-above 40/m --hashlimit-rate-match --hashlimit-rate-interval 1",
        "--hashlimit-upto 40mb/s --hashlimit-rate-match",
        "--hashlimit-upto 512kb/s --hashlimit-burst 1mb --hashlimit-rate-match --hashlimit-rate-interval 10",
    ];
    for (number, options) in options.iter().enumerate() {
        let name = ["t", "t.1", "t_2-x"][number % 3];
        session.give(words(&format!(
            "-A FORWARD -m hashlimit {options} --hashlimit-name {name}{number}"
        )));
    }
    session.give_listings();
    session.assert_all_taken();
}

#[test]
fn what_is_wrong_with_a_hashlimit_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -m hashlimit --hashlimit-upto 5kb/m --hashlimit-name x",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: hashlimit: Bad value for \"--hashlimit-upto\" option: \"5kb/m\"",
            "  iptables -A FORWARD -m hashlimit --hashlimit-upto 5kb/m --hashlimit-name x",
            "                                                    ^^^^^ argument 6, column 51",
            "  write NUMBER/second, /minute, /hour or /day, or bytes as 512kb/s",
            TRY,
        ],
    );
    let line = |options: &str| format!("-A FORWARD -m hashlimit {options} --hashlimit-name x");
    // What the kernel refuses, takes for something else, or cuts.
    for (options, said) in [
        ("--hashlimit-upto 3b/s", "bytes are counted in pieces of 16, so a rate is at least 16b/s"),
        (
            "--hashlimit-upto 1/day",
            "a rate of 1/day, and 5 at once, is more than the kernel can count",
        ),
        ("--hashlimit-upto 99999999mb/s", "is more than the kernel can count"),
        ("--hashlimit-upto 3/s --hashlimit-htable-size 2000000", "a table of 2000000 entries"),
        ("--hashlimit-upto 3/s --hashlimit-htable-expire 0", "are at least 1 ms"),
        ("--hashlimit-upto 3/s --hashlimit-htable-gcinterval 0", "are at least 1 ms"),
        (
            "--hashlimit-upto 2000000/m --hashlimit-rate-match",
            "--hashlimit-rate-match counts at most 1000000 packets",
        ),
        (
            "--hashlimit-upto 3/s --hashlimit-rate-match --hashlimit-rate-interval 2000000000",
            "a window of 2000000000 seconds; at most 17179869 are counted",
        ),
        ("--hashlimit-upto 3/s --hashlimit-srcmask 33", "the first bits of an address, 0 to 32"),
        ("--hashlimit-upto 3/s --hashlimit-srcmask 255.0.255.0", "0 to 32 of them"),
    ] {
        let (status, report) = refused(&words(&line(options)));
        let first = report.lines().next().unwrap_or_default();
        assert!(
            status == 1
                && first.starts_with("iptables: Invalid argument: hashlimit: ")
                && first.contains(said),
            "{options}\n{report}"
        );
    }
    let (status, report) =
        refused(&words("-A FORWARD -m hashlimit --hashlimit-upto 3 --hashlimit-name a/b"));
    assert!(status == 1 && report.contains("`a/b' is no name for a table"), "{report}");
    // iptables takes it, and it means nothing.
    let (status, report) =
        refused(&words(&line("--hashlimit-upto 3/s --hashlimit-rate-interval 5")));
    assert!(
        status == 2
            && report
                .contains("--hashlimit-rate-interval says nothing without --hashlimit-rate-match")
            && report.contains("write that, too, or leave it out"),
        "{report}"
    );
    let (_, report) = refused(&words("-A FORWARD --hashlimit-upto 3/s"));
    assert!(
        report.contains("rates of keys belong to a match: write `-m hashlimit' before it"),
        "{report}"
    );
}
