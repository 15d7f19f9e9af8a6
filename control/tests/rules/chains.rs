//! User-defined chains and saved rule sets, by Weir and by the real iptables: exit status and everything
//! that can be seen, after every step.

use std::cell::RefCell;
use std::fmt::Write as _;

use proptest::strategy::Strategy;
use proptest::test_runner::TestRunner;
use weir_control::command::{
    ChainName, Command, Context, ExitStatus, ParseErrorKind, Parsed, parse_in,
};
use weir_control::list::{self, SaveFormat};
use weir_control::protocol::Listing;
use weir_control::restore::{Options, RestoreErrorKind, read};
use weir_control::rule::{Family, Names, Rule};
use weir_control::ruleset::{CounterTable, Counters, Outcome, RuleError, Ruleset};

use crate::differential::{draw, runner};
use crate::texts::{HOST_TEXTS, TEXTS, TEXTS_OF_IPV6};
use crate::{generate, oracle};

/// Weir, without a daemon, with the counters that nobody but commands moves.
pub(crate) struct Weir {
    ruleset: Ruleset,
    counters: CounterTable,
    names: Names,
}

/// Exit status and standard output; `None` for what Weir refuses on purpose.
pub(crate) type Seen = Option<(i32, String)>;

impl Weir {
    fn new() -> Self {
        Self::with(Ruleset::new())
    }

    pub(crate) fn with(ruleset: Ruleset) -> Self {
        Self { ruleset, counters: CounterTable::default(), names: Names::system() }
    }

    fn count(&mut self, outcome: &Outcome) {
        let CounterTable { rules, policies } = &mut self.counters;
        outcome.removed.iter().chain(&outcome.zeroed_rules).for_each(|id| {
            rules.remove(id);
        });
        outcome.zeroed_policies.iter().for_each(|chain| {
            policies.remove(chain);
        });
        rules.extend(outcome.counted_rules.iter().copied());
        policies.extend(outcome.counted_policies.iter().cloned());
    }

    fn listing(&self) -> Listing {
        Listing { ruleset: self.ruleset.clone(), counters: self.counters.clone() }
    }

    pub(crate) fn run(&mut self, arguments: &[String]) -> Seen {
        let is_chain =
            |_, name: &str| self.ruleset.chains().iter().any(|c| c.name.as_str() == name);
        let (family, table) = (self.ruleset.family(), self.ruleset.table());
        let context = Context { table, is_chain: &is_chain, ..Context::of(family, &self.names) };
        let line = match parse_in(arguments, context) {
            Ok(Parsed::Command(line)) => line,
            Ok(_) => return Some((0, String::new())),
            Err(error) => {
                let on_purpose = matches!(
                    error.kind,
                    ParseErrorKind::NotEnforced { .. }
                        | ParseErrorKind::HostChain { .. }
                        | ParseErrorKind::MatchWithoutRule { .. }
                );
                let status = error.kind.exit_status().code().into();
                return Some((status, String::new())).filter(|_| !on_purpose);
            }
        };
        match self.ruleset.apply(&line.command) {
            Ok(outcome) => self.count(&outcome),
            Err(_) => return Some((ExitStatus::OtherProblem.code().into(), String::new())),
        }
        let text = match &line.command {
            Command::List { selection, format } => {
                list::list(&self.listing(), selection, *format, &self.names)
            }
            Command::ListRules { selection, counters } => {
                list::list_rules(&self.listing(), selection, *counters, &self.names)
            }
            _ => String::new(),
        };
        Some((0, text))
    }

    fn restore(&mut self, text: &str, options: &Options) -> Seen {
        let chains = |_| self.ruleset.chains().iter().map(|chain| chain.name.clone()).collect();
        let plan = match read(text.as_bytes(), options, &self.names, chains) {
            Ok(plan) => plan,
            Err(error) => {
                let on_purpose = match &error.kind {
                    RestoreErrorKind::Command(error) => matches!(
                        error.kind,
                        ParseErrorKind::HostChain { .. } | ParseErrorKind::NotEnforced { .. }
                    ),
                    RestoreErrorKind::HostPolicy { .. }
                    | RestoreErrorKind::Listing
                    | RestoreErrorKind::ChainName { .. } => true,
                    _ => false,
                };
                let status = error.kind.exit_status().code().into();
                return Some((status, String::new())).filter(|_| !on_purpose);
            }
        };
        for table in &plan.tables {
            match self.ruleset.apply_all(&table.transaction) {
                Ok(outcome) => self.count(&outcome),
                Err(_) => return Some((1, String::new())),
            }
        }
        Some((0, String::new()))
    }

    fn save(&self) -> String {
        let format = SaveFormat { counters: true, date: String::new() };
        list::save(&self.listing(), &format, &self.names)
    }
}

/// Without comments. Also without the counters of policies: libiptc sets them to zero with every change
/// of the table, whatever the change, and Weir keeps them.
pub(crate) fn comparable(text: &str) -> String {
    let other = |line: &&str| !line.starts_with('#');
    text.lines().filter(other).fold(String::new(), |mut text, line| {
        let counted = line.starts_with(':').then(|| line.find(" [")).flatten();
        let _ = writeln!(text, "{}", &line[..counted.unwrap_or(line.len())]);
        text
    })
}

/// The same without what is about the machine itself.
fn forward_only(text: &str) -> String {
    let other = |line: &&str| !(line.starts_with(":INPUT ") || line.starts_with(":OUTPUT "));
    comparable(text).lines().filter(other).map(|line| format!("{line}\n")).collect()
}

/// Listings of all chains, without INPUT and OUTPUT.
fn listed_forward_only(text: &str) -> String {
    let blocks = text.split("\n\n").filter(|block| {
        !(block.starts_with("Chain INPUT (") || block.starts_with("Chain OUTPUT ("))
    });
    let text = blocks.collect::<Vec<_>>().join("\n\n");
    let policy = |line: &&str| !(line.starts_with("-P INPUT ") || line.starts_with("-P OUTPUT "));
    text.trim_end().lines().filter(policy).collect::<Vec<_>>().join("\n")
}

/// Chains with few names, so that they meet.
const CHAINS: &[&str] = &["FORWARD", "a", "b", "c", "Zed", "nope", "web-in"];

/// The same with those of the machine itself.
const HOST_CHAINS: &[&str] = &["INPUT", "FORWARD", "OUTPUT", "a", "b", "Zed", "nope", "web-in"];

/// A command about these chains.
fn line(family: Family, chains: &'static [&'static str]) -> impl Strategy<Value = String> {
    use proptest::prelude::*;
    let chain = move || prop::sample::select(chains);
    let target = move || {
        prop_oneof![
            4 => chain().prop_map(|chain| format!("-j {chain}")),
            2 => chain().prop_map(|chain| format!("-g {chain}")),
            1 => prop::sample::select(vec!["-j ACCEPT", "-j DROP", "-j RETURN", "", "-g ACCEPT"])
                .prop_map(str::to_owned),
        ]
    };
    let condition = move || {
        let conditions = [
            "",
            "-p tcp --dport 80",
            if family == Family::V4 { "-s 1.2.3.4" } else { "-s fe80::1" },
            "-c 3 4",
            "-c 5,6",
            "-i eth0",
            "! -o eth+",
        ];
        prop::sample::select(conditions.to_vec())
    };
    let number = || prop::sample::select(vec!["", "1", "2", "3"]);
    prop_oneof![
        4 => chain().prop_map(|chain| format!("-N {chain}")),
        6 => (chain(), condition(), target()).prop_map(|(c, s, t)| format!("-A {c} {s} {t}")),
        3 => (chain(), number(), target()).prop_map(|(c, n, t)| format!("-I {c} {n} {t}")),
        2 => (chain(), number(), target()).prop_map(|(c, n, t)| format!("-R {c} {n} {t}")),
        2 => (chain(), target()).prop_map(|(c, t)| format!("-D {c} {t}")),
        2 => (chain(), number()).prop_map(|(c, n)| format!("-D {c} {n}")),
        2 => (chain(), target()).prop_map(|(c, t)| format!("-C {c} {t}")),
        2 => chain().prop_map(|chain| format!("-X {chain}")),
        1 => Just("-X".to_owned()),
        2 => (chain(), chain()).prop_map(|(from, to)| format!("-E {from} {to}")),
        1 => chain().prop_map(|chain| format!("-F {chain}")),
        1 => (chain(), number()).prop_map(|(c, n)| format!("-Z {c} {n}")),
        1 => chain().prop_map(|chain| format!("-P {chain} DROP")),
        1 => chain().prop_map(|chain| format!("-S {chain} -v")),
    ]
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn chains_are_those_of_iptables() {
    compare_lines(Ruleset::new(), CHAINS, listed_forward_only);
}

#[test]
fn chains_are_those_of_ip6tables() {
    compare_lines(Ruleset::of(Family::V6), CHAINS, listed_forward_only);
}

#[test]
fn chains_of_the_machine_itself_are_those_of_iptables() {
    let whole = |text: &str| text.trim_end().to_owned();
    compare_lines(Ruleset::with_host_chains(), HOST_CHAINS, whole);
    compare_lines(Ruleset::with_host_chains_of(Family::V6), HOST_CHAINS, whole);
}

pub(crate) fn compare_lines(
    ruleset: Ruleset,
    chains: &'static [&'static str],
    part: impl Fn(&str) -> String,
) {
    let (family, table) = (ruleset.family(), ruleset.table());
    let words = |line: &str| words(&format!("-t {table} {line}"));
    if let Some(reason) = oracle::missing_of(family) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let cases = std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(250_u32);
    let (mut weir, mut lines, mut expected) = (Weir::with(ruleset), Vec::new(), Vec::new());
    for case in 0..cases {
        let text = draw(&mut runner, &line(family, chains));
        for arguments in [words(&text), words(if case % 2 == 0 { "-S -v" } else { "-L -n" })] {
            expected.push(weir.run(&arguments));
            lines.push(arguments);
        }
        if case % 60 == 59 {
            let policies = weir.ruleset.chains().iter().filter(|chain| chain.policy.is_some());
            let policies = policies.map(|chain| format!("-P {} ACCEPT", chain.name));
            let texts: Vec<_> =
                ["-F", "-X"].map(str::to_owned).into_iter().chain(policies).collect();
            for text in &texts {
                expected.push(weir.run(&words(text)));
                lines.push(words(text));
            }
        }
    }
    let mut failed = 0;
    for ((line, ours), theirs) in lines.iter().zip(&expected).zip(oracle::run_of(family, &lines)) {
        let (status, text) = ours.as_ref().expect("nothing is refused on purpose");
        failed += u32::from(*status != 0);
        assert_eq!(*status, theirs.status, "{line:?}: {}", theirs.stderr);
        let (ours, theirs) = (part(text), part(&theirs.stdout));
        assert_eq!(ours, theirs, "{line:?}");
    }
    assert!((cases / 10..cases).contains(&failed), "{failed} of {cases} lines failed alike");
}

#[test]
fn saved_rule_sets_are_read_as_by_iptables() {
    compare_texts(Ruleset::new(), TEXTS, forward_only);
    compare_texts(Ruleset::with_host_chains(), HOST_TEXTS, comparable);
}

#[test]
fn saved_rule_sets_are_read_as_by_ip6tables() {
    compare_texts(Ruleset::of(Family::V6), TEXTS, forward_only);
    compare_texts(Ruleset::of(Family::V6), TEXTS_OF_IPV6, forward_only);
    compare_texts(Ruleset::with_host_chains_of(Family::V6), HOST_TEXTS, comparable);
}

pub(crate) fn compare_texts(ruleset: Ruleset, texts: &[(&str, &str)], part: fn(&str) -> String) {
    let (family, table) = (ruleset.family(), ruleset.table());
    if let Some(reason) = oracle::missing_of(family) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let weir = RefCell::new(Weir::with(ruleset));
    let texts: Vec<(Vec<String>, String)> =
        texts.iter().map(|(options, text)| (words(options), (*text).to_owned())).collect();
    let ours: Vec<_> = texts
        .iter()
        .map(|(options, text)| {
            let options = Options {
                family,
                counters: options.iter().any(|option| option == "-c"),
                noflush: options.iter().any(|option| option == "-n"),
                table: options.iter().any(|option| option == "-T").then(|| table.to_string()),
                ..Options::default()
            };
            let seen = weir.borrow_mut().restore(text, &options);
            (seen.expect("nothing is refused on purpose").0, weir.borrow().save())
        })
        .collect();
    let theirs = oracle::restore(family, &texts);
    for ((ours, theirs), (options, text)) in ours.iter().zip(&theirs).zip(&texts) {
        let expected = (theirs.status, part(&theirs.stdout));
        assert_eq!((ours.0, part(&ours.1)), expected, "{options:?} {text}{}", theirs.stderr);
    }
}

#[test]
fn policies_have_the_counters_of_the_text_on_demand() {
    let mut weir = Weir::new();
    let text = "*filter\n:FORWARD DROP [7:8]\n:foo - [1:2]\nCOMMIT\n";
    for (counters, saved) in [(false, "[0:0]"), (true, "[7:8]"), (false, "[0:0]")] {
        weir.restore(text, &Options { counters, ..Options::default() }).expect("right");
        assert!(weir.save().contains(&format!("\n:FORWARD DROP {saved}\n:foo - [0:0]\n")));
    }
}

#[test]
fn what_is_saved_is_restored_to_the_letter() {
    let mut runner = runner();
    for family in Family::ALL {
        restore_what_is_saved(family, &mut runner);
    }
}

fn restore_what_is_saved(family: Family, runner: &mut TestRunner) {
    let mut weir = Weir::with(Ruleset::with_host_chains_of(family));
    for _ in 0..400 {
        let arguments = words(&draw(runner, &line(family, HOST_CHAINS)));
        weir.run(&arguments);
        let saved = weir.save();
        let mut other = Weir::with(Ruleset::with_host_chains_of(family));
        let options = Options { family, counters: true, ..Options::default() };
        assert_eq!(other.restore(&saved, &options), Some((0, String::new())), "{saved}");
        assert_eq!(other.save(), saved);
    }
}

#[test]
fn a_bad_line_changes_nothing_and_is_named() {
    let names = Names::builtin();
    let refuse = |text: &str| {
        read(text.as_bytes(), &Options::default(), &names, |_| Vec::new()).expect_err(text).report()
    };
    let report =
        refuse("*filter\n:FORWARD DROP [0:0]\n-A FORWARD -p tcp --dprt 80 -j DROP\nCOMMIT\n");
    assert_eq!(
        report,
        format!(
            "iptables-restore v1.8.11 (weir {}): unknown option \"--dprt\"\n  \
             iptables -A FORWARD -p tcp --dprt 80 -j DROP\n                             \
             ^^^^^^ argument 5, column 28\n\
             Error occurred at line: 3; nothing was changed\n\
             Try `iptables-restore -h' or 'iptables-restore --help' for more information.",
            env!("CARGO_PKG_VERSION")
        )
    );
    for (text, part) in [
        ("*nat\nCOMMIT\n", "--filter-only loads table filter"),
        ("*filter\n:INPUT DROP [0:0]\nCOMMIT\n", "--forward-only loads the rest"),
        ("*filter\n-A INPUT -j DROP\nCOMMIT\n", "--forward-only loads the rest"),
        ("*filter\n-A FORWARD -j log\nCOMMIT\n", "Couldn't load target `log'"),
        ("*filter\r\nCOMMIT\r\n", "(tr -d '\\r')"),
        ("*filter\n-A FORWARD -j DROP\r\nCOMMIT\n", "(tr -d '\\r')"),
        ("*filter\n-A FORWARD -i a\0b\nCOMMIT\n", "a byte of zeros"),
    ] {
        let report = refuse(text);
        assert!(report.contains(part), "{report}");
        assert!(!report.contains('\r'), "{report:?}");
    }
    let host = Ruleset::with_host_chains();
    let chains = |_| host.chains().iter().map(|chain| chain.name.clone()).collect();
    let text = "*filter\n-A INPUT -o eth0 -j DROP\nCOMMIT\n";
    let report =
        read(text.as_bytes(), &Options::default(), &names, chains).expect_err(text).report();
    assert!(report.contains("Can't use -o with INPUT\n"), "{report}");
    let long = format!("*filter\n-A FORWARD -i {}\nCOMMIT\n", "x".repeat(10_240));
    assert!(refuse(&long).contains("at most 10239 are read"));
    let chain: ChainName = "b".parse().expect("a name");
    let mut set = Ruleset::new();
    let text = "*filter\n:a -\n-A FORWARD -j a\n-A a -j b\nCOMMIT\n";
    let options = Options { noflush: true, ..Options::default() };
    let plan = read(text.as_bytes(), &options, &names, |_| vec![chain.clone()]).expect("fine");
    // The chain was there when the text was read, and is gone.
    let error = RuleError::NoSuchTarget { chain };
    assert_eq!(set.apply_all(&plan.tables[0].transaction), Err((2, error)));
    assert_eq!((plan.tables[0].lines[2], set), (4, Ruleset::new()));
}

#[test]
fn what_is_left_out_is_listed() {
    let text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j DNAT\n-A PREROUTING\nCOMMIT\n\
                *filter\n:INPUT DROP [0:0]\n:FORWARD ACCEPT [0:0]\n-A INPUT -j ACCEPT\n-A FORWARD -j DROP\nCOMMIT\n";
    let options = Options { filter_only: true, forward_only: true, ..Options::default() };
    let host = Ruleset::with_host_chains();
    let chains = |_| host.chains().iter().map(|chain| chain.name.clone()).collect();
    let plan = read(text.as_bytes(), &options, &Names::builtin(), chains).expect("readable");
    let remarks: Vec<_> = plan.remarks.iter().map(|r| (r.line, r.text.as_str())).collect();
    assert_eq!(
        remarks,
        [
            (1, "table nat is left out, with 2 rules"),
            (7, "policy DROP of chain INPUT is left out"),
            (9, "left out: -A INPUT -j ACCEPT"),
        ]
    );
    assert_eq!(plan.tables[0].transaction.commands.len(), 2);
    assert_eq!(plan.tables[0].lines, [8, 10, 11]);
}

/// Rules of every kind, saved by Weir, restored and saved again by Weir and by the real iptables.
#[test]
fn saved_rules_mean_the_same_to_iptables_and_ip6tables() {
    for family in Family::ALL {
        if let Some(reason) = oracle::missing_of(family) {
            eprintln!("SKIPPED: {reason}");
            continue;
        }
        let mut runner = runner();
        let mut weir = Weir::with(Ruleset::of(family));
        // iptables-restore reads no word of more than 1,023 bytes, not even one of its own.
        let short =
            |rule: &Rule| rule.arguments(&Names::builtin()).iter().all(|word| word.len() < 1_000);
        let same = generate::rule(family).prop_filter("printed alike and read", |rule| {
            generate::survives_old_iptables(rule) && short(rule)
        });
        let rules = (0..300).map(|_| draw(&mut runner, &same));
        let chain = ChainName::forward();
        let counters = Some(Counters { packets: 3, bytes: 180 });
        let command = Command::Append { chain, rules: rules.collect(), counters };
        let outcome = weir.ruleset.apply(&command).expect("they are right");
        weir.count(&outcome);
        let saved = weir.save();
        let options = Options { family, counters: true, ..Options::default() };
        let mut other = Weir::with(Ruleset::of(family));
        assert_eq!(other.restore(&saved, &options), Some((0, String::new())), "{saved}");
        assert_eq!(other.save(), saved);
        let theirs = &oracle::restore(family, &[(words("-c"), saved.clone())])[0];
        assert_eq!(theirs.status, 0, "{}", theirs.stderr);
        assert_eq!(forward_only(&saved), forward_only(&theirs.stdout));
    }
}
