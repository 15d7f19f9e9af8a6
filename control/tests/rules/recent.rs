//! `-m recent`: random ones, and what is wrong with such. What they mean to packets is for
//! `dataplane/tests/engine/recent_oracle.rs`.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{
    Family, HITCOUNT_MAX, Match, Negatable, RecentAction, RecentMatch, RecentName, RecentSide,
};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::{generate, oracle};

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 15] = [
    "recent",
    "--set",
    "--rcheck",
    "--update",
    "--remove",
    "--seconds",
    "60",
    "--hitcount",
    "--rttl",
    "--reap",
    "--name",
    "SSH",
    "--rsource",
    "--rdest",
    "--mask",
];

pub(crate) fn asked(family: Family) -> BoxedStrategy<Match> {
    let action = (prop::sample::select(RecentAction::ALL.to_vec()), any::<bool>());
    // iptables prints more as a negative number.
    let seconds = prop::option::of(prop_oneof![1_u32..100, 1..=i32::MAX as u32]);
    let hitcount = prop_oneof![Just(0), 1_u32..100, 1..=HITCOUNT_MAX];
    let name = prop_oneof![1 => Just(RecentName::default()), 2 => "[a-zA-Z0-9!'\\\\:;.-]{1,30}"
        .prop_filter("that of a file", |name| name != "." && name != "..")
        .prop_map(|name| RecentName::try_from(name).expect("short"))];
    let side = prop::sample::select(vec![RecentSide::Source, RecentSide::Dest]);
    let mask = prop_oneof![Just(family.host_mask()), generate::host(family)];
    (action, (seconds, hitcount), any::<(bool, bool)>(), name, side, mask)
        .prop_map(move |((value, negated), (seconds, hitcount), (reap, rttl), name, side, mask)| {
            let plain = RecentMatch {
                name,
                action: Some(Negatable { value, negated }),
                side,
                mask,
                ..RecentMatch::of(family)
            };
            Match::Recent(Box::new(match value.checks() {
                false => plain,
                true => {
                    let reap = reap && seconds.is_some();
                    RecentMatch { seconds, hitcount, reap, rttl, ..plain }
                }
            }))
        })
        .boxed()
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 36] = [
    "-A FORWARD -m recent",
    "-A FORWARD -m recent -j DROP",
    "-A FORWARD -m recent --name a",
    "-A FORWARD -m recent --rsource",
    "-A FORWARD -m recent --reap",
    "-A FORWARD -m recent --seconds 5 --hitcount 3",
    "-A FORWARD -m recent --set --rcheck",
    "-A FORWARD -m recent --update --rcheck",
    "-A FORWARD -m recent --remove --set",
    "-A FORWARD -m recent --remove --update ! --set",
    "-A FORWARD -m recent --set --rcheck --reap",
    "-A FORWARD -m recent --set --reap --rttl --rcheck",
    "-A FORWARD -m recent --set ! --set",
    "-A FORWARD -m recent --rcheck --reap",
    "-A FORWARD -m recent --set --reap --rttl",
    "-A FORWARD -m recent --reap --rttl --remove",
    "-A FORWARD -m recent --set --rttl",
    "-A FORWARD -m recent --rttl ! --remove",
    "-A FORWARD -m recent --rcheck --seconds",
    "-A FORWARD -m recent --rcheck --seconds 0",
    "-A FORWARD -m recent --rcheck --seconds -1",
    "-A FORWARD -m recent --rcheck --seconds 5s",
    "-A FORWARD -m recent --rcheck --seconds 4294967296",
    "-A FORWARD -m recent --rcheck --hitcount 4294967296",
    "-A FORWARD -m recent --rcheck --hitcount x",
    "-A FORWARD -m recent --rcheck ! --seconds 5",
    "-A FORWARD -m recent --rcheck ! --hitcount 5",
    "-A FORWARD -m recent --rcheck ! --rttl",
    "-A FORWARD -m recent --rcheck ! --reap --seconds 5",
    "-A FORWARD -m recent --rcheck ! --name a",
    "-A FORWARD -m recent --rcheck ! --rsource",
    "-A FORWARD -m recent --rcheck ! --mask 255.0.0.0",
    "-A FORWARD -m recent --rcheck --name a --name b",
    "-A FORWARD -m recent --rcheck --rdest --rdest",
    "-A FORWARD -m recent --rcheck --mask ffff::",
    "-A FORWARD --rcheck",
];

#[test]
fn the_words_about_tables_of_addresses_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

#[test]
fn tables_of_addresses_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    let options = [
        "--set",
        "! --set --name a --rdest",
        "--name a --rsource --set",
        "--remove --mask 255.255.0.0",
        "--rcheck --hitcount 0",
        "--rcheck --hitcount 1",
        "--rch --sec 0x10 --hit 020",
        "--update --seconds 60 --hitcount 20 --name SSH",
        "! --update --rttl --reap --seconds 2147483647 --hitcount 65535 --name a!b'c\\d --rdest",
        "--rsource --rdest --update --mask 1.2.3",
        "--rdest --update --rsource --mask 0",
        "--set -m recent --rcheck --name b",
    ];
    for options in options {
        session.give(words(&format!("-A FORWARD -m recent {options}")));
    }
    session.give_listings();
    assert_eq!(session.compare(), 15, "all are taken");
}

#[test]
fn what_the_kernel_would_refuse_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -m recent --set --hitcount 5",
        ExitStatus::OtherProblem,
        &[
            "iptables: Invalid argument: recent: `--set' looks at nothing, so `--hitcount' has no meaning with it",
            "  iptables -A FORWARD -m recent --set --hitcount 5",
            "                         ^^^^^^ argument 4, column 24",
        ],
    );
    for (options, why) in [
        (
            "--remove --seconds 5",
            "`--remove' looks at nothing, so `--seconds' has no meaning with it",
        ),
        (
            "--set --reap --seconds 5",
            "`--set' looks at nothing, so `--seconds' has no meaning with it",
        ),
        (
            "--rcheck --hitcount 65536",
            "`--hitcount 65536' is more than the 65535 packets that are noted",
        ),
        ("--set --name a/b", "a table's name is not empty, `.' or `..', and has no `/' in it"),
        ("--set --name ..", "a table's name is not empty, `.' or `..', and has no `/' in it"),
        ("--set --name ", "a table's name is not empty, `.' or `..', and has no `/' in it"),
    ] {
        let (status, report) = refused(&words(&format!("-A FORWARD -m recent {options}")));
        let first = format!("iptables: Invalid argument: recent: {why}");
        assert_eq!((status, report.lines().next()), (1, Some(&*first)), "{options}");
    }
}

#[test]
fn a_name_that_could_not_be_read_again_is_refused() {
    let line = |name: &str| {
        let words = ["-A", "FORWARD", "-m", "recent", "--set", "--name", name];
        words.map(str::to_owned)
    };
    let (status, report) = refused(&line("a b"));
    let expected = [
        &*format!(
            "iptables v1.8.11 (weir {}): recent: a name has no blanks, control characters and double quotes",
            env!("CARGO_PKG_VERSION")
        ),
        "  iptables -A FORWARD -m recent --set --name 'a b'",
        "                                             ^^^^^ argument 7, column 44",
        "  iptables would take it, and could not read it again: choose another",
        TRY,
    ];
    assert_eq!((status, report), (2, expected.join("\n")));
    for name in ["a\"b", "a\tb", &"a".repeat(200)] {
        assert_eq!(refused(&line(name)).0, 2, "{name}");
    }
    let hint = |line: &str| refused(&words(line)).1.lines().nth(3).map(str::to_owned);
    for (line, expected) in [
        (
            "-A FORWARD --rcheck",
            "tables of addresses belong to a match: write `-m recent' before it",
        ),
        (
            "-A FORWARD -m recent",
            "say what to do: `-m recent --set', `-m recent --update --seconds 60 --hitcount 20'",
        ),
    ] {
        assert_eq!(hint(line), Some(format!("  {expected}")), "{line}");
    }
}
