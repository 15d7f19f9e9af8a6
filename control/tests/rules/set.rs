//! `-m set`: how such rules are printed, and what is wrong with some. What is in sets is for
//! `dataplane/tests/sets`, what they mean to packets for `dataplane/tests/engine/set_oracle.rs`.

use std::process::Command;

use weir_control::command::ExitStatus;
use weir_control::rule::Family;

use crate::differential::Session;
use crate::messages::{TRY, assert_report, assert_words_after, refused, words};
use crate::oracle;

/// The sets that rules are about, made where the oracle has its rules.
const SETS: &str = "ipset create a hash:ip\nipset create n hash:net\nipset create p hash:ip,port\n\
                    ipset create l list:set";

/// The same for rules of IPv6.
const SETS6: &str = "ipset create a hash:ip -6\nipset create n hash:net -6\n\
                     ipset create p hash:ip,port -6\nipset create l list:set";

fn missing() -> Option<String> {
    let ipset = Command::new("unshare").args(["-n", "ipset", "create", "x", "hash:ip"]).output();
    let works = ipset.is_ok_and(|output| output.status.success());
    oracle::missing().or_else(|| (!works).then(|| "`unshare -n ipset create` fails".to_owned()))
}

/// Lines for which iptables has words: ours must be the same.
const WRONG: [&str; 24] = [
    "-A FORWARD -m set",
    "-A FORWARD -m set -j DROP",
    "-A FORWARD -m set --match-set",
    "-A FORWARD -m set --match-set a",
    "-A FORWARD -m set --match-set a -j",
    "-A FORWARD -m set --match-set a foo",
    "-A FORWARD -m set --match-set a source",
    "-A FORWARD -m set --match-set a SRC",
    "-A FORWARD -m set --match-set a ,src",
    "-A FORWARD -m set --match-set a src,",
    "-A FORWARD -m set --match-set a src,dst,",
    "-A FORWARD -m set --match-set a src,dst,src,dst,src,dst,src",
    "-A FORWARD -m set ! --match-set a ! src",
    "-A FORWARD -m set --match-set a src --match-set n dst",
    "-A FORWARD -m set --match-set a src ! --match-set a src",
    "-A FORWARD -m set --return-nomatch",
    "-A FORWARD -m set --match-set n src ! --return-nomatch",
    "-A FORWARD -m set --match-set aaaaaaaaaabbbbbbbbbbccccccccccdd src",
    "-A FORWARD -m set --match-set , src",
    "-A FORWARD -m set --match-set  src",
    "-A FORWARD -m set --match-set a src dst",
    "-A FORWARD --match-set a src",
    "-A FORWARD -m set --match-set a src -m set",
    "-A FORWARD -m set --match-set a src --match-se a src",
];

#[test]
fn the_words_about_sets_are_those_of_iptables() {
    if let Some(reason) = missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    assert_words_after(SETS, Family::V4, &WRONG);
    assert_words_after(SETS6, Family::V6, &WRONG);
}

#[test]
fn rules_about_sets_are_printed_as_iptables_prints_them() {
    if let Some(reason) = missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut session = Session::new();
    let mut given = 0;
    for set in ["a", "n", "p", "l"] {
        for ends in ["src", "dst", "src,dst", "dst,dst", "src,dst,src,dst,src,dst", "srcfoo,dst4"] {
            for form in [
                "-m set --match-set SET ENDS -j DROP",
                "-p tcp --dport 80 -m set ! --match-set SET ENDS",
                "-m set --match-set SET ENDS --return-nomatch -j ACCEPT",
                "-m set --return-nomatch ! --match-set SET ENDS --return-nomatch -m set --match-set l dst",
            ] {
                let line = format!("-A FORWARD {form}").replace("SET", set).replace("ENDS", ends);
                session.give(words(&line));
                given += 1;
            }
        }
    }
    for line in [
        "-C FORWARD -m set --match-set a src -j DROP",
        "-D FORWARD -m set --match-set p src,dst --return-nomatch -j ACCEPT",
        "-I FORWARD 2 -v -m set --match-set l dst",
        "-S FORWARD",
        "-L FORWARD -n",
        "-L FORWARD -nvx --line-numbers",
    ] {
        session.give(words(line));
        given += 1;
    }
    assert_eq!(session.compare_after(SETS), given, "all are taken");
}

#[test]
fn what_is_wrong_with_a_rule_about_a_set_is_shown_where_it_is() {
    assert_report(
        "-A FORWARD -m set --match-set a source -j DROP",
        ExitStatus::ParameterProblem,
        &[
            "VERSION: You must spefify (the comma separated list of) 'src' or 'dst'.",
            "  iptables -A FORWARD -m set --match-set a source -j DROP",
            "                                           ^^^^^^ argument 7, column 42",
            "  write `--match-set NAME src', or `--match-set NAME src,dst' for addresses and ports",
            TRY,
        ],
    );
}

#[test]
fn what_asks_for_counters_of_entries_is_refused_by_name() {
    for option in [
        "--packets-gt 3",
        "! --packets-eq 3",
        "--packets-lt 3",
        "--bytes-gt 3",
        "--bytes-lt 3",
        "! --bytes-eq 3",
        "! --update-counters",
        "--update-subcounters",
    ] {
        let line = format!("-A FORWARD -m set --match-set a src {option} -j DROP");
        let name = option.split(' ').find(|word| word.starts_with("--")).expect("an option");
        let (status, report) = refused(&words(&line));
        let expected =
            format!("option `{name}' is known to iptables, but not yet enforced by Weir");
        assert_eq!((status, report.contains(&expected)), (2, true), "{line}: {report}");
        assert!(report.contains("the entries of a set keep no count"), "{line}: {report}");
    }
}
