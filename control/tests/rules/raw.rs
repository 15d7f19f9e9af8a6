//! Table raw beside the real iptables: its chains, its targets, what it refuses, and what is saved of it.

use weir_control::command::{ChainName, Context, Parsed, parse_in};
use weir_control::list::{SaveFormat, save};
use weir_control::protocol::Listing;
use weir_control::restore::{Options, read};
use weir_control::rule::{Family, Names, Table};
use weir_control::ruleset::{CounterTable, RuleError, Ruleset};

use crate::chains::{Weir, comparable, compare_lines, compare_texts, words};
use crate::oracle;

/// Chains with few names, so that they meet. FORWARD is none of this table's own.
const CHAINS: &[&str] = &["PREROUTING", "OUTPUT", "FORWARD", "a", "b", "Zed"];

#[test]
fn chains_are_those_of_iptables() {
    let whole = |text: &str| text.trim_end().to_owned();
    for family in Family::ALL {
        compare_lines(Ruleset::raw_with_host_chains(family), CHAINS, whole);
    }
}

/// Lines that iptables and Weir take or refuse alike, with the same listing afterwards.
const LINES: &[&str] = &[
    "-A PREROUTING -p tcp --syn -j CT --notrack",
    "-A PREROUTING -j NOTRACK",
    "-A PREROUTING -j CT --notrack --notrack",
    "-A PREROUTING -j CT ! --notrack",
    "-A PREROUTING -j NOTRACK --notrack",
    "-C PREROUTING -j CT --notrack",
    "-C PREROUTING -j NOTRACK",
    "-C PREROUTING -p tcp --syn -j CT --notrack",
    "-A PREROUTING -o eth0 -j DROP",
    "-A OUTPUT -i eth0 -j DROP",
    "-A OUTPUT -o eth0 -j DROP",
    "-A FORWARD -j DROP",
    "-A INPUT -j DROP",
    "-P INPUT DROP",
    "-P PREROUTING DROP",
    "-N PREROUTING",
    "-N OUTPUT",
    "-N FORWARD",
    "-N INPUT",
    "-N NOTRACK",
    "-N CT",
    "-A FORWARD -o eth0 -j ACCEPT",
    "-A PREROUTING -g FORWARD",
    "-A PREROUTING -j REJECT",
    "-A PREROUTING -p tcp -j REJECT --reject-with tcp-reset",
    "-A PREROUTING -m mac --mac-source 00:11:22:33:44:55 -j MARK --set-mark 3",
    "-A OUTPUT -m mac --mac-source 00:11:22:33:44:55",
    "-A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-out",
    "-A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-in",
    "-A OUTPUT -m addrtype --dst-type LOCAL --limit-iface-in",
    "-A PREROUTING -j CONNMARK --set-mark 1",
    "-A PREROUTING -j LOG --log-prefix raw",
    "-A PREROUTING -m state --state UNTRACKED -j RETURN",
    "-I PREROUTING 2 -p udp -m multiport --dports 53,123 -j CT --notrack",
    "-R PREROUTING 1 -p tcp --syn -j NOTRACK",
    "-D PREROUTING -j NOTRACK",
    "-E FORWARD PREROUTING",
    "-E FORWARD far",
    "-X far",
    "-Z PREROUTING 1",
    "-F OUTPUT",
];

#[test]
fn rules_are_taken_and_listed_as_by_iptables() {
    for family in Family::ALL {
        if let Some(reason) = oracle::missing_of(family) {
            eprintln!("SKIPPED: {reason}");
            return;
        }
        let mut lines = Vec::new();
        // Of a target's data, `ip6tables -C` looks at nothing (1.8.9); its `-D` does, and so does Weir.
        let lacking = |line: &&&str| family == Family::V6 && line.starts_with("-C PREROUTING -j");
        for line in LINES.iter().filter(|line| !lacking(line)) {
            for line in [line, "-S", "-L -n -v --line-numbers", "-L"] {
                lines.push(words(&format!("-t raw {line}")));
            }
        }
        let mut weir = Weir::with(Ruleset::raw_with_host_chains(family));
        for (line, theirs) in lines.iter().zip(oracle::run_of(family, &lines)) {
            let (status, text) = weir.run(line).expect("nothing is refused on purpose");
            assert_eq!(
                (status, text),
                (theirs.status, theirs.stdout),
                "{line:?}: {}",
                theirs.stderr
            );
        }
    }
}

const TEXTS: &[(&str, &str)] = &[
    (
        "",
        "*raw\n:PREROUTING DROP [3:4]\n:OUTPUT ACCEPT [0:0]\n:a - [0:0]\n[1:2] -A PREROUTING -j a\n-A a -j NOTRACK\nCOMMIT\n",
    ),
    (
        "-c",
        "*raw\n:PREROUTING ACCEPT [3:4]\n:FORWARD - [0:0]\n[5:6] -A FORWARD -o eth+ -j CT --notrack\nCOMMIT\n",
    ),
    ("-n", "*raw\n-A FORWARD -i eth1 -j DROP\nCOMMIT\n"),
    ("", "*raw\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"),
    ("", "*raw\n-A FORWARD -j DROP\nCOMMIT\n"),
    ("", "*raw\n-A PREROUTING -o eth0 -j DROP\nCOMMIT\n"),
    ("", "*raw\n:INPUT - [0:0]\n-A INPUT -p udp -j NOTRACK\n-A PREROUTING -j INPUT\nCOMMIT\n"),
    ("-n", "*raw\n-F\n-X\nCOMMIT\n"),
];

#[test]
fn saved_rule_sets_are_read_as_by_iptables() {
    for family in Family::ALL {
        compare_texts(Ruleset::raw_with_host_chains(family), TEXTS, comparable);
    }
}

/// Both tables in one text.
const BOTH: &str = "*raw
:PREROUTING DROP [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j web
-A web -j CT --notrack
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:PREROUTING - [0:0]
-A FORWARD -m state --state UNTRACKED -j PREROUTING
COMMIT
";

fn restored(text: &str, options: &Options) -> (Vec<Ruleset>, Vec<String>) {
    let mut tables = vec![Ruleset::raw_with_host_chains(Family::V4), Ruleset::with_host_chains()];
    let chains =
        |table: Table| table.built_in().iter().map(|n| n.parse().expect("a name")).collect();
    let plan = read(text.as_bytes(), options, &Names::builtin(), chains).expect("readable");
    for planned in &plan.tables {
        let its = |ruleset: &&mut Ruleset| ruleset.table() == planned.transaction.table;
        let ruleset = tables.iter_mut().find(its).expect("a table");
        ruleset.apply_all(&planned.transaction).expect("fine");
    }
    (tables, plan.remarks.into_iter().map(|remark| remark.text).collect())
}

fn saved(tables: &[Ruleset]) -> String {
    let save = |ruleset: &Ruleset| {
        let (ruleset, counters) = (ruleset.clone(), CounterTable::default());
        let format = SaveFormat { counters: false, date: String::new() };
        save(&Listing { ruleset, counters }, &format, &Names::builtin())
    };
    let text: String = tables.iter().map(save).collect();
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_is_saved_of_both_tables_is_read_again() {
    let (tables, remarks) = restored(BOTH, &Options::default());
    assert_eq!((saved(&tables).as_str(), remarks), (BOTH, vec![]));
    let (again, _) = restored(&saved(&tables), &Options::default());
    assert_eq!(saved(&again), BOTH);
}

#[test]
fn one_table_of_a_text_can_be_asked_for() {
    let untouched = |ruleset: &Ruleset| ruleset.is_untouched();
    let (tables, remarks) = restored(BOTH, &Options { filter_only: true, ..Options::default() });
    assert_eq!(tables.iter().map(untouched).collect::<Vec<_>>(), [true, false]);
    assert_eq!(remarks, ["table raw is left out, with 2 rules"]);
    let raw = Options { table: Some("raw".to_owned()), ..Options::default() };
    let (tables, remarks) = restored(BOTH, &raw);
    assert_eq!(tables.iter().map(untouched).collect::<Vec<_>>(), [false, true]);
    assert_eq!(remarks, [""; 0]);
    let nat = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n";
    let names = Names::builtin();
    let error = read(nat.as_bytes(), &Options::default(), &names, |_| vec![]).expect_err("nat");
    assert!(error.report().contains("the tables filter and raw only"), "{}", error.report());
    let known = Options { known_only: true, ..Options::default() };
    let (tables, remarks) = restored(&format!("{nat}{BOTH}"), &known);
    assert_eq!(saved(&tables), BOTH);
    assert_eq!(remarks, ["table nat is left out, with 0 rules"]);
}

#[test]
fn without_the_machine_itself_there_is_no_chain_for_it() {
    let names = Names::builtin();
    let refused = |line: &str| match parse_in(&words(line), Context::new(&names)) {
        Err(error) => error.report(),
        Ok(Parsed::Command(line)) => {
            let error = Ruleset::raw(Family::V4).apply(&line.command).expect_err("refused");
            assert_eq!(error, RuleError::NoSuchChain { chain: "INPUT".to_owned() });
            error.to_string()
        }
        Ok(_) => panic!("{line} is taken"),
    };
    assert!(refused("-t raw -A OUTPUT -j NOTRACK").contains("host = \"firewalled\""));
    refused("-t raw -A INPUT -j NOTRACK");
    let chains: Vec<ChainName> =
        Ruleset::raw(Family::V6).chains().iter().map(|chain| chain.name.clone()).collect();
    assert_eq!(chains, [ChainName::prerouting()]);
}

#[test]
fn what_is_not_enforced_is_refused_by_name() {
    let names = Names::builtin();
    let refused = |line: &str| match parse_in(&words(line), Context::new(&names)) {
        Err(error) => (error.kind.exit_status().code(), error.kind.to_string()),
        Ok(_) => panic!("{line} is taken"),
    };
    for (line, status, words) in [
        ("-t raw -A PREROUTING -j CT --zone 3", 2, "option `--zone' is known to iptables"),
        ("-t raw -A PREROUTING -j CT --notrack --helper ftp", 2, "option `--helper' is known"),
        ("-t raw -A PREROUTING -j CT", 2, "CT: `--notrack' must be given"),
        ("-A FORWARD -j CT --notrack", 1, "target CT is for table raw alone"),
        ("-A FORWARD -j NOTRACK", 1, "target NOTRACK is for table raw alone"),
        ("-t raw -A PREROUTING -j REJECT", 1, "target REJECT is for table filter alone"),
        ("-t nat -S", 3, "Table does not exist"),
        ("-t mangle -S", 3, "Table does not exist"),
    ] {
        let (code, text) = refused(line);
        assert_eq!(code, status, "{line}: {text}");
        assert!(text.contains(words), "{line}: {text}");
    }
}
