//! Random matches of what a packet carries, of chance and of the clock; and what is wrong with such.

use proptest::prelude::*;
use weir_control::command::{Command, Selection};
use weir_control::list;
use weir_control::protocol::Listing;
use weir_control::rule::{
    Match, Names, Negatable, PROBABILITY_ONE, Pattern, StatisticMatch, StatisticMode,
    StringAlgorithm, StringMatch, U32Match, U32Operator, U32Tests,
};
use weir_control::ruleset::{CounterTable, Ruleset};

use crate::messages::assert_words_of_iptables;
use crate::oracle;

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

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 61] = [
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
