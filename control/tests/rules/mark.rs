//! `-m mark` and `-j MARK`: random ones, and what is wrong with such. And words about the marks of flows.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{Mark, MarkMatch, MarkTarget, Match, Negatable, Target};

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;

/// Words for wrong lines, beside those of `differential`.
pub(crate) const WORDS: [&str; 22] = [
    "mark",
    "MARK",
    "MARK",
    "--mark",
    "--set-mark",
    "--set-xmark",
    "--and-mark",
    "--or-mark",
    "--xor-mark",
    "--set-x",
    "--or",
    "0x1/0xff",
    "010/",
    "0xffffffff",
    "connmark",
    "CONNMARK",
    "CONNMARK",
    "--save-mark",
    "--restore-mark",
    "--nfmask",
    "--mask",
    "--left-shift-mark",
];

pub(crate) fn number() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 2 => Just(u32::MAX), 3 => 1_u32..300, 2 => any::<u32>()]
}

pub(crate) fn asked() -> BoxedStrategy<Match> {
    (number(), number(), any::<bool>())
        .prop_map(|(value, mask, negated)| {
            let mark = Negatable { value: Mark { value, mask }, negated };
            Match::Mark(MarkMatch { mark })
        })
        .boxed()
}

pub(crate) fn target() -> BoxedStrategy<Target> {
    (number(), number(), any::<bool>())
        .prop_map(|(value, mask, same)| MarkTarget { value, mask: if same { value } else { mask } })
        .prop_map(Target::Mark)
        .boxed()
}

/// Writes the target at the end of a rule's words in its shorter form.
pub(crate) fn shorten(words: &mut Vec<String>, target: Option<&Target>) {
    if let Some(Target::Mark(target)) = target {
        words.splice(words.len() - 2.., shortened(*target));
    }
}

/// The shorter option for what `--set-xmark VALUE/MASK` does, if there is one, and its value.
fn shortened(MarkTarget { value, mask }: MarkTarget) -> [String; 2] {
    let (option, text) = match (value, mask) {
        (value, 0) => ("--xor-mark", format!("{value}")),
        (0, mask) => ("--and-mark", format!("{:#X}", !mask).replacen('X', "x", 1)),
        (value, mask) if value == mask => ("--or", format!("{value:#o}").replacen('o', "", 1)),
        (value, u32::MAX) => ("--set-mark", format!("+{value}")),
        // What is set lies within the mask: it makes no difference how.
        (value, mask) if value & !mask == 0 => ("--set-mark", format!("{value}/{mask}")),
        (value, mask) => ("--set-x", format!("{value:#x}/{mask}")),
    };
    [option.to_owned(), text]
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 44] = [
    "-A FORWARD -m mark",
    "-A FORWARD -m mark --mark",
    "-A FORWARD -m mark --mark ",
    "-A FORWARD -m mark --mark x",
    "-A FORWARD -m mark --mark -1",
    "-A FORWARD -m mark --mark 1/",
    "-A FORWARD -m mark --mark /1",
    "-A FORWARD -m mark --mark 1/x",
    "-A FORWARD -m mark --mark 1/-1",
    "-A FORWARD -m mark --mark 1//2",
    "-A FORWARD -m mark --mark 1/2/3",
    "-A FORWARD -m mark --mark 0x",
    "-A FORWARD -m mark --mark 08",
    "-A FORWARD -m mark --mark 1x",
    "-A FORWARD -m mark --mark 1x/2",
    "-A FORWARD -m mark --mark 4294967296",
    "-A FORWARD -m mark --mark 1/0x100000000",
    "-A FORWARD -m mark --mark 1 --mark 2",
    "-A FORWARD --mark 1",
    "-A FORWARD -j MARK --mark 1",
    "-A FORWARD -j MARK",
    "-A FORWARD -j MARK -m mark",
    "-A FORWARD -j MARK --set-mark",
    "-A FORWARD -j MARK --set-mark x",
    "-A FORWARD -j MARK --set-mark 1x",
    "-A FORWARD -j MARK --set-xmark 1/x",
    "-A FORWARD -j MARK --set-xmark 1/2x",
    "-A FORWARD -j MARK --and-mark 1/2",
    "-A FORWARD -j MARK --or-mark x",
    "-A FORWARD -j MARK --xor-mark 4294967296",
    "-A FORWARD -j MARK --set 1",
    "-A FORWARD -j MARK ! --set-mark 1",
    "-A FORWARD -j MARK ! --xor-mark 1",
    "-A FORWARD -j MARK --set-mark 1 --set-mark 2",
    "-A FORWARD -j MARK --set-mark 1 --set-xmark 2",
    "-A FORWARD -j MARK --xor-mark 1 --set-xmark 2",
    "-A FORWARD -j MARK --or-mark 1 --and-mark 2",
    "-A FORWARD -j MARK --xor-mark 1 --or-mark 2 --set-mark 3",
    "-A FORWARD -j MARK --set-mark 1 foo",
    "-A FORWARD -j MARK foo",
    "-A FORWARD -j LOG --set-mark 1",
    "-A FORWARD --set-mark 1 -j MARK",
    "-N MARK",
    "-L FORWARD -j MARK",
];

#[test]
fn the_words_about_marks_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

/// Every way to write a mark, saved and listed.
#[test]
fn marks_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let numbers =
        ["0", "1", "010", "0x1f", "+7", "4294967295", "0/0", "3/1", "1/3", "7/4294967295"];
    let mut session = Session::new();
    for number in numbers {
        for option in ["--set-mark", "--set-xmark", "--and-mark", "--or-mark", "--xor-mark"] {
            if number.contains('/') && !option.starts_with("--set") {
                continue;
            }
            session.give(words(&format!("-A FORWARD -j MARK {option} {number}")));
        }
        session.give(words(&format!("-A FORWARD -m mark --mark {number} -j DROP")));
        session.give(words(&format!("-A FORWARD -m mark ! --mark {number} -m mark --mark 5")));
    }
    session.give_listings();
    session.assert_all_taken();
}

#[test]
fn what_is_wrong_with_a_mark_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -j MARK --set-mark 1/x",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: MARK: bad integer value for option \"--set-mark\", or out of range.",
            "  iptables -A FORWARD -j MARK --set-mark 1/x",
            "                                         ^^^ argument 6, column 40",
            "  write VALUE or VALUE/MASK, from 0 to 0xffffffff",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -j MARK --or-mark 1 --set-mark 2",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: MARK: option \"--set-mark\" cannot be used together with \"--or-mark\".",
            "  iptables -A FORWARD -j MARK --or-mark 1 --set-mark 2",
            "                         ^^^^ argument 4, column 24",
            TRY,
        ],
    );
    for (line, hint) in [
        (
            "-A FORWARD --mark 1",
            "marks belong to a match: write `-m mark' or `-m connmark' before it",
        ),
        (
            "-A FORWARD --set-mark 1",
            "the option belongs to a target: write `-j MARK' or `-j CONNMARK' before it",
        ),
    ] {
        assert_eq!(refused(&words(line)).1.lines().nth(3), Some(&*format!("  {hint}")), "{line}");
    }
}
