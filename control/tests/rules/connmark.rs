//! `-m connmark` and `-j CONNMARK`: random ones, and what is wrong with such.

use proptest::prelude::*;
use weir_control::command::ExitStatus;
use weir_control::rule::{
    ConnmarkMatch, ConnmarkMode, ConnmarkTarget, Mark, MarkShift, Match, Negatable, Target,
};

use crate::differential::Session;
use crate::mark::number;
use crate::messages::{TRY, assert_report, assert_words_of_iptables, refused, words};
use crate::oracle;

pub(crate) fn asked() -> BoxedStrategy<Match> {
    (number(), number(), any::<bool>())
        .prop_map(|(value, mask, negated)| {
            let mark = Negatable { value: Mark { value, mask }, negated };
            Match::Connmark(ConnmarkMatch { mark })
        })
        .boxed()
}

pub(crate) fn target() -> BoxedStrategy<Target> {
    let mode = prop_oneof![
        3 => number().prop_map(|value| ConnmarkMode::Set { value }),
        2 => Just(ConnmarkMode::Save),
        2 => Just(ConnmarkMode::Restore),
    ];
    let shift = prop_oneof![
        2 => Just(MarkShift::Left(0)),
        1 => (1..=MarkShift::BITS_MAX).prop_map(MarkShift::Left),
        1 => (1..=MarkShift::BITS_MAX).prop_map(MarkShift::Right),
    ];
    (mode, number(), number(), any::<bool>(), shift)
        .prop_map(|(mode, flow_mask, packet_mask, same, shift)| {
            // What nothing looks at is not printed.
            let packet_mask = match mode {
                ConnmarkMode::Set { .. } => u32::MAX,
                _ if same => flow_mask,
                _ => packet_mask,
            };
            Target::Connmark(ConnmarkTarget { mode, flow_mask, packet_mask, shift })
        })
        .boxed()
}

/// Writes one mask in place of two equal ones, and leaves out those of all bits.
pub(crate) fn shorten(words: &mut Vec<String>, target: Option<&Target>) {
    let Some(Target::Connmark(target)) = target else { return };
    let Some(at) = words.iter().position(|word| word == "--nfmask") else { return };
    if target.flow_mask == target.packet_mask {
        let one = (target.flow_mask != u32::MAX)
            .then(|| ["--mask".to_owned(), target.flow_mask.to_string()]);
        words.splice(at..at + 4, one.into_iter().flatten());
    } else if target.packet_mask == u32::MAX {
        words.drain(at..at + 2);
    } else if target.flow_mask == u32::MAX {
        words.drain(at + 2..at + 4);
    } else {
        words[at] = "--nf".to_owned();
    }
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 44] = [
    "-A FORWARD -m connmark",
    "-A FORWARD -m connmark --mark",
    "-A FORWARD -m connmark --mark x",
    "-A FORWARD -m connmark --mark 1/",
    "-A FORWARD -m connmark --mark 1/2/3",
    "-A FORWARD -m connmark --mark 1x",
    "-A FORWARD -m connmark --mark 4294967296",
    "-A FORWARD -m connmark --mark 1 --mark 2",
    "-A FORWARD -j CONNMARK --mark 1",
    "-A FORWARD -j CONNMARK",
    "-A FORWARD -j CONNMARK --mask 3",
    "-A FORWARD -j CONNMARK --nfmask 1 --ctmask 2 --mask 3",
    "-A FORWARD -j CONNMARK --left-shift-mark 3",
    "-A FORWARD -j CONNMARK --set-mark",
    "-A FORWARD -j CONNMARK --set-mark x",
    "-A FORWARD -j CONNMARK --set-mark 1x",
    "-A FORWARD -j CONNMARK --set-xmark 1/x",
    "-A FORWARD -j CONNMARK --and-mark 1/2",
    "-A FORWARD -j CONNMARK --or-mark x",
    "-A FORWARD -j CONNMARK --xor-mark 4294967296",
    "-A FORWARD -j CONNMARK --save-mark 1",
    "-A FORWARD -j CONNMARK --save-mark --mask x",
    "-A FORWARD -j CONNMARK --save-mark --nfmask 1/2",
    "-A FORWARD -j CONNMARK --save-mark --ctmask 4294967296",
    "-A FORWARD -j CONNMARK --save-mark --left-shift-mark 33",
    "-A FORWARD -j CONNMARK --save-mark --right-shift-mark -1",
    "-A FORWARD -j CONNMARK ! --save-mark",
    "-A FORWARD -j CONNMARK ! --restore-mark",
    "-A FORWARD -j CONNMARK --save-mark ! --mask 1",
    "-A FORWARD -j CONNMARK ! --set-mark 1",
    "-A FORWARD -j CONNMARK --save-mark --save-mark",
    "-A FORWARD -j CONNMARK --save-mark --left-shift-mark 1 --left-shift-mark 2",
    "-A FORWARD -j CONNMARK --save-mark --restore-mark",
    "-A FORWARD -j CONNMARK --save-mark --set-mark 1",
    "-A FORWARD -j CONNMARK --restore-mark --save-mark --or-mark 1",
    "-A FORWARD -j CONNMARK --or-mark 1 --save-mark --and-mark 2",
    "-A FORWARD -j CONNMARK --xor-mark 1 --or-mark 2 --set-xmark 3",
    "-A FORWARD -j CONNMARK --set-mark 1 --set-xmark 2",
    "-A FORWARD -j CONNMARK --save-mark --mask 3 --nfmask 1",
    "-A FORWARD -j CONNMARK --save-mark --ctmask 1 --nfmask 2 --mask 3",
    "-A FORWARD -j CONNMARK --save-mark --set-mark 1 --mask 3 --ctmask 1",
    "-A FORWARD -j MARK --save-mark",
    "-A FORWARD --save-mark -j CONNMARK",
    "-N CONNMARK",
];

#[test]
fn the_words_about_marks_of_flows_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_of_iptables(&WRONG);
}

/// Every way to say what to do, saved and listed.
#[test]
fn marks_of_flows_are_printed_as_iptables_prints_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    let mut give = |line: String| session.give(words(&line));
    let shifts =
        ["", " --left-shift-mark 5", " --right-shift-mark 31", " --left 3 --right-shift 1"];
    for number in ["0", "1", "010", "0x1f", "4294967295", "0/0", "3/1", "1/3", "7/4294967295"] {
        for option in ["--set-mark", "--set-xmark", "--and-mark", "--or-mark", "--xor-mark"] {
            if number.contains('/') && !option.starts_with("--set") {
                continue;
            }
            for shift in shifts {
                give(format!("-A FORWARD -j CONNMARK {option} {number}{shift}"));
            }
        }
        give(format!("-A FORWARD -m connmark --mark {number} -j DROP"));
        give(format!("-A FORWARD -m connmark ! --mark {number} -m connmark --mark 5"));
    }
    let masks = [
        "",
        " --mask 3",
        " --mask 0xffffffff",
        " --nfmask 3",
        " --ctmask 3",
        " --nfmask 3 --ctmask 5",
        " --ctmask 3 --nfmask 3",
        " --nfmask 0",
    ];
    for operation in ["--save-mark", "--restore-mark"] {
        for (mask, shift) in masks.iter().flat_map(|mask| shifts.map(|shift| (mask, shift))) {
            give(format!("-A FORWARD -j CONNMARK {operation}{mask}{shift}"));
            give(format!("-A FORWARD -j CONNMARK{shift}{mask} {operation}"));
        }
    }
    // What comes later holds.
    give("-A FORWARD -j CONNMARK --mask 3 --set-mark 1".to_owned());
    give("-A FORWARD -j CONNMARK --set-mark 1 --mask 3".to_owned());
    give("-A FORWARD -j CONNMARK --set-xmark 1 --nfmask 3 --ctmask 8".to_owned());
    give("-D FORWARD -j CONNMARK --set-xmark 1 --nfmask 3 --ctmask 8".to_owned());
    session.give_listings();
    session.assert_all_taken();
}

#[test]
fn what_is_wrong_with_a_mark_of_a_flow_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -j CONNMARK --save-mark --mask 1 --nfmask 2",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: CONNMARK: option \"--nfmask\" cannot be used together with \"--mask\".",
            "  iptables -A FORWARD -j CONNMARK --save-mark --mask 1 --nfmask 2",
            "                         ^^^^^^^^ argument 4, column 24",
            TRY,
        ],
    );
    assert_report(
        "-A FORWARD -j CONNMARK --save-mark --left-shift-mark 32",
        ExitStatus::OtherProblem,
        &[
            "iptables: Invalid argument: CONNMARK: a shift by 32; a mark has 32 bits, so 31 is the most",
            "  iptables -A FORWARD -j CONNMARK --save-mark --left-shift-mark 32",
            "                         ^^^^^^^^ argument 4, column 24",
        ],
    );
    for line in ["-A FORWARD --save-mark", "-A FORWARD --restore-mark"] {
        let hint = "  the option belongs to a target: write `-j CONNMARK' before it";
        assert_eq!(refused(&words(line)).1.lines().nth(3), Some(hint), "{line}");
    }
}
