//! Random matches of what a packet carries, of chance and of the clock; and what is wrong with such.

use proptest::prelude::*;
use weir_control::command::{ChainName, Command, Selection};
use weir_control::list;
use weir_control::protocol::Listing;
use weir_control::rule::{
    Match, Names, Negatable, PROBABILITY_ONE, Pattern, StatisticMatch, StatisticMode,
    StringAlgorithm, StringMatch, TimeMatch, U32Match, U32Operator, U32Tests,
};
use weir_control::ruleset::{CounterTable, Ruleset};

use crate::messages::assert_words_of_iptables;
use crate::oracle;

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 40] = [
    "string",
    "--string",
    "--hex-string",
    "--algo",
    "bm",
    "kmp",
    "--from",
    "--to",
    "--icase",
    "secret",
    "|41 42|",
    "|4",
    "statistic",
    "--mode",
    "random",
    "nth",
    "--probability",
    "0.25",
    "--every",
    "--packet",
    "u32",
    "--u32",
    "6&0xFF=1",
    "0=1,2&&4=5:6",
    "0>>32=1",
    "0>>22&0x3C@",
    "time",
    "--datestart",
    "--datestop",
    "--timestart",
    "--timestop",
    "--monthdays",
    "--weekdays",
    "--contiguous",
    "--utc",
    "--kerneltz",
    "8:00",
    "Mon,3",
    "2025-02-29T3",
    "1,31",
];

pub(crate) fn string() -> BoxedStrategy<Match> {
    let bytes = prop_oneof![
        3 => prop::collection::vec(b' '..=b'~', 1..20),
        1 => prop::collection::vec(prop::sample::select(&br#"\"|a'"#[..]), 1..6),
        1 => prop::collection::vec(any::<u8>(), 1..20),
        1 => prop::collection::vec(b'a'..=b'z', 128),
    ];
    let pattern = bytes.prop_map(|bytes| Pattern::new(bytes).expect("short"));
    let offset = || prop_oneof![2 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let algorithm = prop::sample::select(StringAlgorithm::ALL.to_vec());
    (pattern, any::<bool>(), algorithm, offset(), offset(), any::<bool>())
        .prop_map(|(value, negated, algorithm, a, b, ignore_case)| {
            let (from, to) = (a.unwrap_or(0), b.unwrap_or(u16::MAX));
            Match::String(StringMatch {
                pattern: Some(Negatable { value, negated }),
                algorithm: Some(algorithm),
                from: from.min(to),
                to: from.max(to),
                ignore_case,
            })
        })
        .boxed()
}

#[test]
fn the_lab_looks_for_a_secret() {
    for algorithm in ["bm", "kmp"] {
        let line = format!("-A FORWARD -m string --string secret --algo {algorithm} -j DROP");
        let Command::Append { rules, .. } = crate::parsing::command(&line) else {
            panic!("{line}")
        };
        let mut ruleset = Ruleset::new();
        ruleset.apply(&crate::parsing::command(&line)).expect("the chain exists");
        let listing = Listing { ruleset, counters: CounterTable::default() };
        let selection = Selection { chain: None, number: Some(1) };
        let saved = list::list_rules(&listing, &selection, false, &Names::builtin());
        let quoted = line.replace("secret", "\"secret\"");
        assert_eq!(saved, format!("{quoted}\n"));
        assert_eq!(rules[0].arguments(&Names::builtin()).join(" "), line["-A FORWARD ".len()..]);
    }
}

pub(crate) fn statistic() -> BoxedStrategy<Match> {
    let random =
        prop_oneof![Just(0), Just(PROBABILITY_ONE), 0..=PROBABILITY_ONE].prop_map(|value| {
            let mode = Some(StatisticMode::Random);
            StatisticMatch { mode, probability: Some(value), ..StatisticMatch::default() }
        });
    let every = prop_oneof![1_u32..9, 1_u32.., Just(u32::MAX)];
    let nth = (every, prop_oneof![Just(0), any::<u32>()]).prop_map(|(every, packet)| {
        let (mode, packet) = (Some(StatisticMode::Nth), Some(packet % every));
        StatisticMatch { mode, every: Some(every), packet, ..StatisticMatch::default() }
    });
    (prop_oneof![random, nth], any::<bool>())
        .prop_map(|(statistic, negated)| Match::Statistic(StatisticMatch { negated, ..statistic }))
        .boxed()
}

pub(crate) fn u32() -> BoxedStrategy<Match> {
    let number = || prop_oneof![0_u32..70, any::<u32>()];
    let operation = (prop::sample::select(U32Operator::ALL.to_vec()), number());
    let operation = operation.prop_map(|(operator, number)| match operator {
        U32Operator::ShiftLeft | U32Operator::ShiftRight => (operator, number % 32),
        _ => (operator, number),
    });
    let value = prop_oneof![number().prop_map(|one| (one, one)), (number(), number())];
    let operations = prop::collection::vec(operation, 0..10);
    let test = (number(), operations, prop::collection::vec(value, 1..11));
    let text = test.prop_map(|(place, operations, values)| {
        let operations: String =
            operations.iter().map(|(operator, by)| format!("{} {by}", operator.sign())).collect();
        let values = values.iter().map(|(first, last)| format!("{first}: 0{last:o} "));
        format!("{place:#x}{operations}={}", values.collect::<Vec<_>>().join(", "))
    });
    (prop::collection::vec(text, 1..11), any::<bool>())
        .prop_map(|(tests, negated)| {
            let value = U32Tests::from_text(&tests.join("&& ")).expect("well formed");
            Match::U32(U32Match { tests: Some(Negatable { value, negated }) })
        })
        .boxed()
}

pub(crate) fn time() -> BoxedStrategy<Match> {
    // To the end of 2038, the last year that can be written.
    let date = || prop_oneof![Just(0), Just(i32::MAX as u32), 0_u32..2_177_452_800];
    let daytime = || prop_oneof![Just(0), Just(86_399), 0_u32..86_400];
    let all = TimeMatch::ALL_MONTHDAYS;
    let monthdays = prop_oneof![Just(all), (1_u32..1 << 31).prop_map(|days| days << 1)];
    let weekdays =
        prop_oneof![Just(TimeMatch::ALL_WEEKDAYS), (1_u8..128).prop_map(|days| days << 1)];
    (date(), date(), daytime(), daytime(), monthdays, weekdays, any::<bool>())
        .prop_map(
            |(date_start, date_stop, daytime_start, daytime_stop, monthdays, weekdays, night)| {
                Match::Time(TimeMatch {
                    date_start,
                    date_stop,
                    daytime_start,
                    daytime_stop,
                    monthdays,
                    weekdays,
                    contiguous: night && daytime_start >= daytime_stop,
                })
            },
        )
        .boxed()
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 63] = [
    "-A FORWARD -m string",
    "-A FORWARD -m string --string x",
    "-A FORWARD -m string --algo bm",
    "-A FORWARD -m string --algo bm --from 3",
    "-A FORWARD -m string --hex-string x",
    "-A FORWARD -m string --string x --hex-string y",
    "-A FORWARD -m string --string x --hex-string y --algo bm",
    "-A FORWARD -m string --hex-string y --string x --algo bm",
    "-A FORWARD -m string --string x --string y",
    "-A FORWARD -m string --algo bm --algo bm",
    "-A FORWARD -m string --icase --icase",
    "-A FORWARD -m string --string x --algo foo",
    "-A FORWARD -m string --string x --algo BM",
    "-A FORWARD -m string --string x --algo abcdefghijklmnopqrstuvwxyz",
    "-A FORWARD -m string --string x ! --algo bm",
    "-A FORWARD -m string --string x --algo bm ! --icase",
    "-A FORWARD -m string --string x --algo bm ! --from 1",
    "-A FORWARD -m string --string x --algo bm ! --to 1",
    "-A FORWARD -m string --string x --algo bm --from 65536",
    "-A FORWARD -m string --string x --algo bm --to -1",
    "-A FORWARD -m string --string x --algo bm --to x",
    "-A FORWARD -m string --string x --algo bm --to 5x",
    "-A FORWARD -m string --string x --algo bm --icase=5",
    "-A FORWARD -m string --string",
    "-A FORWARD -m string --algo bm --hex-string |4|",
    "-A FORWARD -m string --algo bm --hex-string |41",
    "-A FORWARD -m string --algo bm --hex-string ||",
    "-A FORWARD -m string --algo bm --hex-string |4x|",
    r"-A FORWARD -m string --algo bm --hex-string |\x|",
    r"-A FORWARD -m string --algo bm --hex-string a\",
    "-A FORWARD --string x",
    "-A FORWARD -m string --strin x --algo bm --nope",
    "-A FORWARD -p tcp --string x",
    "-A FORWARD -m time ! --contiguous",
    "-A FORWARD -m time --weekdays 1 --weekdays 2",
    "-A FORWARD -m u32",
    "-A FORWARD -m u32 --u32 6=1 --u32 6=2",
    "-A FORWARD -m statistic",
    "-A FORWARD -m statistic --mode random",
    "-A FORWARD -m statistic --mode random --probability 0.5x",
    "-A FORWARD -m statistic --mode random --probability x",
    "-A FORWARD -m statistic --mode random --probability 1.5",
    "-A FORWARD -m statistic --mode random --probability -0.1",
    "-A FORWARD -m statistic --mode random --probability inf",
    "-A FORWARD -m statistic --mode random --every 3",
    "-A FORWARD -m statistic --mode random --probability 0.5 --every 3",
    "-A FORWARD -m statistic --mode random --probability 0.5 --packet 3",
    "-A FORWARD -m statistic --mode nth",
    "-A FORWARD -m statistic --mode nth --every 3",
    "-A FORWARD -m statistic --mode nth --every 3 --packet 3",
    "-A FORWARD -m statistic --mode nth --every 0 --packet 0",
    "-A FORWARD -m statistic --mode nth --every 4294967296 --packet 0",
    "-A FORWARD -m statistic --mode nth --every x --packet 0",
    "-A FORWARD -m statistic --mode nth --packet 0",
    "-A FORWARD -m statistic --mode nth --packet 1",
    "-A FORWARD -m statistic --mode nth --every 3 --packet x",
    "-A FORWARD -m statistic --mode nth --probability 0.5 --every 3 --packet 0",
    "-A FORWARD -m statistic --probability 0.5",
    "-A FORWARD -m statistic --mode foo",
    "-A FORWARD -m statistic --mode random --mode nth",
    "-A FORWARD -m statistic --every 3 --packet 1",
    "-A FORWARD -m statistic ! --mode random --probability 0.25",
    "-A FORWARD -m statistic --mode nth --every 3 ! --packet 1",
];

/// Tests of `-m u32`, without blanks.
const WRONG_U32: [&str; 38] = [
    "6",
    "6=",
    "=1",
    "6&=",
    "6&",
    "6&0xFF=1:",
    "6=:3",
    "6=1&2",
    "6=1&&",
    "6=1,",
    "6=,1",
    "6=&&",
    "6=&",
    "6<3=1",
    "6>3=1",
    "6?3=1",
    "6&&3=1",
    "x=1",
    "6=x",
    "6=4294967296",
    "6=18446744073709551616",
    "6=-1",
    "6=+-1",
    "0x=1",
    "08=1",
    "6=1:2:3",
    "6=1,,2",
    "6&-1=1",
    "6<<-1=1",
    "6=1@",
    "6=1=2",
    "1&2&3&4&5&6&7&8&9&10&11=1",
    "1&2&3&4&5&6&7&8&9&10&11&12=1",
    "1=1,2,3,4,5,6,7,8,9,10,11",
    "1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1",
    "1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1",
    "1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&1=1&&x",
    "",
];

/// Options of `-m time`, right and wrong ones.
const TIMES: [(bool, &str); 66] = [
    (true, "--timestart 8:00 --timestop 17:30"),
    (true, "--timestart 08:00:05"),
    (true, "--timestop 7:1"),
    (true, "--timestart 8:00:"),
    (true, "--timestart :00"),
    (true, "--timestart 22:00 --timestop 6:00 --contiguous"),
    (true, "--timestart 6:00 --timestop 6:00 --contiguous"),
    (true, "--timestart 00:00 --timestop 23:59:59"),
    (true, "--datestart 2025"),
    (true, "--datestart 2025-03"),
    (true, "--datestart 2025-03-04"),
    (true, "--datestart 2025-03-04T05"),
    (true, "--datestart 2025-03-04T05:06"),
    (true, "--datestart 2025-03-04T05:06:07"),
    (true, "--datestart 2025-1-1T1:2:3"),
    (true, "--datestart 2025-02-01T"),
    (true, "--datestart 2025-"),
    (true, "--datestart 2025-00"),
    (true, "--datestart 2025-02-31"),
    (true, "--datestart 2024-02-30"),
    (true, "--datestart 2025-02-00"),
    (true, "--datestart 1970-01-01"),
    (true, "--datestop 2038-01-19T03:14:08"),
    (true, "--datestart 2038-12-31T23:59:59"),
    (true, "--datestart 2026-01-01 --datestop 2025-01-01"),
    (true, "--monthdays 1,2,31"),
    (true, "--monthdays 1,2,"),
    (true, "--monthdays 111"),
    (true, "! --monthdays 1,2,22,23,13,12,11"),
    (true, "--weekdays Mon,Tue"),
    (true, "--weekdays Mo,Su"),
    (true, "--weekdays Sunday,Fri"),
    (true, "--weekdays 7,1,Wed"),
    (true, "--weekdays Mon,"),
    (true, "! --weekdays Mon,Tue"),
    (true, "--weekdays Mon,Tue,Wed,Thu,Fri,Sat,Sun"),
    (true, "--utc"),
    (false, "--timestart 24:00"),
    (false, "--timestart 8"),
    (false, "--timestart 8:60"),
    (false, "--timestart 8:00:60"),
    (false, "--timestart -1:00"),
    (false, "--timestart 8:00:00:00"),
    (false, "--timestart 8x"),
    (false, "--timestart 8:0x"),
    (false, "--timestart 6:00 --timestop 22:00 --contiguous"),
    (false, "--contiguous"),
    (false, "--datestart 1969"),
    (false, "--datestart 2039"),
    (false, "--datestart 2025-13"),
    (false, "--datestart 2025-02-32"),
    (false, "--datestart 2025-02-01T24"),
    (false, "--datestart 2025-02-01T23:60"),
    (false, "--datestart 2025-02-01T23:59:60"),
    (false, "--datestart 2025-02-01T23:59:59:"),
    (false, "--datestart 2025-02-01x"),
    (false, "--datestart 2025T01"),
    (false, "--datestart x"),
    (false, "--monthdays 32"),
    (false, "--monthdays x"),
    (false, "--monthdays 0x1"),
    (false, "--monthdays 09"),
    (false, "--weekdays mon"),
    (false, "--weekdays 0"),
    (false, "--weekdays M"),
    (false, "--weekdays ,Mon"),
];

#[test]
fn times_are_read_as_by_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let line = |options: &str| format!("-A FORWARD -m time {options}");
    let (right, wrong): (Vec<_>, Vec<_>) = TIMES.iter().partition(|(right, _)| *right);
    let wrong: Vec<String> = wrong.iter().map(|(_, options)| line(options)).collect();
    assert_words_of_iptables(&wrong.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut lines, mut ruleset) = (Vec::new(), Ruleset::new());
    for (_, options) in right {
        ruleset.apply(&crate::parsing::command(&line(options))).expect("the chain exists");
        lines.push(crate::messages::words(&line(options)));
    }
    lines.push(crate::messages::words("-S FORWARD"));
    let listing = Listing { ruleset, counters: CounterTable::default() };
    let selection = Selection { chain: Some(ChainName::forward()), number: None };
    let ours = list::list_rules(&listing, &selection, false, &Names::builtin());
    let theirs = oracle::run(&lines).pop().expect("an answer");
    assert_eq!(ours, theirs.stdout);
}

/// What iptables accepts although the rule would never match, or prints in a way that it cannot
/// read; and what programs cannot know.
#[test]
fn times_that_mean_nothing_are_refused() {
    for (options, message) in [
        ("--datestart 1970-00", "mktime returned an error"),
        ("--weekdays 8", "8 is not a valid day specifier"),
        ("! --weekdays 1,2,3,4,5,6,7", "time: no day is left, so that the rule would never match"),
        ("--monthdays 0", "time: no day is left, so that the rule would never match"),
        ("--kerneltz", "option `--kerneltz' is known to iptables, but not yet enforced by Weir"),
        ("--localtz", "option `--localtz' is known to iptables, but not yet enforced by Weir"),
    ] {
        let line = format!("-A FORWARD -m time {options}");
        let (status, report) = crate::messages::refused(&crate::messages::words(&line));
        assert_eq!(status, if options == "--datestart 1970-00" { 1 } else { 2 });
        let first = report.lines().next().unwrap_or_default();
        assert!(first.ends_with(message), "{report}");
    }
}

#[test]
fn the_words_about_contents_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let long = "x".repeat(129);
    let mut wrong = WRONG.map(str::to_owned).to_vec();
    for option in ["string", "hex-string"] {
        wrong.push(format!("-A FORWARD -m string --algo bm --{option} {long}"));
    }
    wrong.extend(WRONG_U32.iter().map(|tests| format!("-A FORWARD -m u32 --u32 {tests}")));
    wrong.push("-A FORWARD -m string --algo bm --hex-string ".to_owned());
    assert_words_of_iptables(&wrong.iter().map(String::as_str).collect::<Vec<_>>());
}
