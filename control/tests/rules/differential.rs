//! Command lines given both to Weir and to the real iptables of this machine, with everything
//! that can be seen compared: exit status, `-S`, `-L`.
//!
//! The seed is random and printed; `WEIR_SEED=N` repeats a run, `WEIR_CASES=N` makes it longer. The oracle is
//! iptables-legacy in a network namespace of its own.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use weir_control::command::{Command, ParseErrorKind, Parsed, parse};
use weir_control::list;
use weir_control::protocol::Listing;
use weir_control::rule::Names;
use weir_control::ruleset::{CounterTable, Counters, Ruleset};

use crate::{generate, oracle};

/// Words for wrong lines: what operators write, right and wrong.
pub(crate) const VOCABULARY: [&str; 66] = [
    "-A",
    "FORWARD",
    "-I",
    "-D",
    "-R",
    "-C",
    "-F",
    "-P",
    "-L",
    "-S",
    "-Z",
    "-s",
    "-d",
    "-i",
    "-o",
    "-p",
    "-j",
    "-m",
    "-n",
    "-v",
    "-x",
    "!",
    "--sport",
    "--dport",
    "--tcp-flags",
    "--syn",
    "tcp",
    "udp",
    "all",
    "ACCEPT",
    "DROP",
    "NOPE",
    "1",
    "2",
    "3",
    "9",
    "0",
    "80",
    "4:3",
    ":",
    "70000",
    "http",
    "10.0.0.0/8",
    "10.0.0.0/33",
    "1.2.3.4",
    "1.2.3.4,5.6.7.8",
    "eth0",
    "eth+",
    "SYN",
    "SYN,ACK",
    "ALL",
    "NONE",
    "icmp",
    "--line-numbers",
    "--nope",
    "-z",
    "extra",
    "--dest",
    "--s",
    "--in",
    "-t",
    "filter",
    "-w",
    "-4",
    "17",
    "",
];

/// Weir, without a daemon: what a command line does to a rule set.
struct Weir {
    ruleset: Ruleset,
    names: Names,
}

/// What became of a line: its exit status and output, or that it is refused on purpose.
enum Outcome {
    Status(u8, String),
    RefusedOnPurpose(String),
}

impl Weir {
    fn new() -> Self {
        Self { ruleset: Ruleset::new(), names: Names::system() }
    }

    fn run(&mut self, arguments: &[String], counters: &CounterTable) -> Outcome {
        let line = match parse(arguments, &self.names) {
            Ok(Parsed::Command(line)) => line,
            Ok(Parsed::Help | Parsed::Version) => return Outcome::Status(0, String::new()),
            Err(error) if is_on_purpose(&error.kind) => {
                return Outcome::RefusedOnPurpose(error.report());
            }
            Err(error) => return Outcome::Status(error.kind.exit_status().code(), error.report()),
        };
        if let Err(error) = self.ruleset.apply(&line.command) {
            return Outcome::Status(1, error.to_string());
        }
        let listing = || Listing { ruleset: self.ruleset.clone(), counters: counters.clone() };
        let text = match &line.command {
            Command::List { selection, format } => {
                list::list(&listing(), selection, *format, &self.names)
            }
            Command::ListRules { selection, counters } => {
                list::list_rules(&listing(), selection, *counters, &self.names)
            }
            _ => String::new(),
        };
        if let Some(Err(error)) = line.then.map(|then| self.ruleset.apply(&then)) {
            return Outcome::Status(1, error.to_string());
        }
        Outcome::Status(0, text)
    }
}

/// Where Weir refuses what iptables 1.8.9 takes.
fn is_on_purpose(kind: &ParseErrorKind) -> bool {
    matches!(
        kind,
        ParseErrorKind::NotEnforced { .. }
            | ParseErrorKind::HostChain { .. }
            // iptables ignores a match that stands with -L or -F.
            | ParseErrorKind::MatchWithoutRule { .. }
            // 1.8.9 lets the udp match wrap ports and turn ranges around; 1.8.11 does not.
            | ParseErrorKind::UdpPort { .. }
            | ParseErrorKind::PortRange(_)
            // iptables reads the digits at the beginning and ignores the rest.
            | ParseErrorKind::WaitSeconds
            // iptables would ask a name server.
            | ParseErrorKind::Address(_)
    )
}

fn runner() -> TestRunner {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let clock = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(1, |since| u64::from(since.subsec_nanos()) ^ since.as_secs())
    };
    let seed = given.unwrap_or_else(clock);
    eprintln!("WEIR_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("a value").current()
}

fn split(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

// long: one story against one oracle, told in order
#[test]
fn listings_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let names = Names::system();
    let strategy = (generate::rule(), proptest::num::u32::ANY, 0_u8..8, 0_u32..12);
    let count = proptest::num::u64::ANY;
    let (mut lines, mut weir, mut counters) = (Vec::new(), Weir::new(), CounterTable::default());
    let mut expected = Vec::new();
    let mut rules = 0;
    while rules < 400 {
        let (rule, style, kind, number) = draw(&mut runner, &strategy);
        if !generate::survives_old_iptables(&rule) {
            continue;
        }
        rules += 1;
        let words = generate::words(&rule, style, &names);
        let verb = match kind {
            0 => format!("-I FORWARD {}", number + 1),
            1 => format!("-R FORWARD {}", number + 1),
            2 => "-D FORWARD".to_owned(),
            3 => "-C FORWARD".to_owned(),
            _ => "-A FORWARD".to_owned(),
        };
        let mut line = split(&verb);
        line.extend(words);
        // What is deleted or looked for exists half of the time.
        if kind == 2 || kind == 3 {
            let entries = &weir.ruleset.chains()[0].rules;
            let index = usize::try_from(number).expect("small");
            if let Some(entry) = entries.get(index).filter(|_| style & 1 == 0) {
                line.truncate(2);
                line.extend(entry.rule.arguments(&names));
            }
        }
        expected.push(weir.run(&line, &counters));
        if kind >= 4 {
            // iptables can set counters with the rule; here they are kept beside it.
            let shift = draw(&mut runner, &(0_u32..64));
            let counts = [draw(&mut runner, &count) >> shift, draw(&mut runner, &count) >> shift];
            line.extend(["-c".to_owned(), counts[0].to_string(), counts[1].to_string()]);
            let id = weir.ruleset.chains()[0].rules.last().expect("appended").id;
            counters.rules.insert(id, Counters { packets: counts[0], bytes: counts[1] });
        }
        lines.push(line);
        if rules % 20 == 0 {
            for listing in [
                "-S FORWARD",
                "-S FORWARD -v",
                "-S FORWARD 3",
                "-L FORWARD -n",
                "-L FORWARD -n -v -x --line-numbers",
                "-L FORWARD -n -v",
                "-nvL FORWARD 2",
                "-L FORWARD -n --line-numbers -x",
                "--list FORWARD 5 --line-numbers -n",
                "-S FORWARD 9999",
                "-L FORWARD 9999",
            ] {
                let line = split(listing);
                expected.push(weir.run(&line, &counters));
                lines.push(line);
            }
        }
        if rules % 100 == 0 {
            for change in ["-P FORWARD DROP", "-D FORWARD 1", "-S FORWARD", "-F FORWARD"] {
                expected.push(weir.run(&split(change), &counters));
                lines.push(split(change));
            }
        }
    }
    let mut compared = 0;
    for ((line, ours), theirs) in lines.iter().zip(expected).zip(oracle::run(&lines)) {
        let line = line.join(" ");
        match ours {
            Outcome::Status(0, text) => {
                assert_eq!(theirs.status, 0, "iptables {line}: {}", theirs.stderr);
                assert_eq!(text, theirs.stdout, "iptables {line}");
                compared += 1;
            }
            Outcome::Status(status, report) => {
                assert_eq!(i32::from(status), theirs.status, "iptables {line}: {report}");
            }
            Outcome::RefusedOnPurpose(report) => panic!("iptables {line}: {report}"),
        }
    }
    assert!(compared > 400, "only {compared} lines were accepted");
}

/// Without `-n`, names of ports and flags; addresses are left out, since iptables would ask name
/// servers for them.
#[test]
fn listings_with_names_are_those_of_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let names = Names::system();
    let (mut lines, mut weir) = (Vec::new(), Weir::new());
    while lines.len() < 200 {
        let mut rule = draw(&mut runner, &generate::rule());
        if !generate::survives_old_iptables(&rule) {
            continue;
        }
        (rule.source, rule.destination) = (None, None);
        let mut line = split("-A FORWARD");
        line.extend(rule.arguments(&names));
        weir.run(&line, &CounterTable::default());
        lines.push(line);
    }
    let mut expected = Vec::new();
    for listing in ["-L FORWARD", "-L FORWARD -v", "-L FORWARD -v --line-numbers -x"] {
        lines.push(split(listing));
        expected.push(weir.run(&split(listing), &CounterTable::default()));
    }
    let answers = oracle::run(&lines);
    for (ours, theirs) in expected.into_iter().zip(&answers[200..]) {
        let Outcome::Status(0, text) = ours else { panic!("a listing failed") };
        assert_eq!(text, theirs.stdout);
    }
}

// long: one story against one oracle, told in order
#[test]
fn wrong_lines_fail_as_with_iptables() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let names = Names::system();
    let word = proptest::sample::select(VOCABULARY.to_vec());
    let setup = [
        "-P FORWARD ACCEPT",
        "-F FORWARD",
        "-A FORWARD -p tcp --dport 80 -j ACCEPT",
        "-A FORWARD -s 1.2.3.4",
    ];
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let cases = std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200_u32);
    for _ in 0..cases {
        let mut weir = Weir::new();
        for line in setup {
            lines.push(split(line));
            expected.push(weir.run(&split(line), &CounterTable::default()));
        }
        let (rule, style) = draw(&mut runner, &(generate::rule(), proptest::num::u32::ANY));
        let verb = draw(
            &mut runner,
            &proptest::sample::select(vec![
                "-A FORWARD",
                "-I FORWARD",
                "-R FORWARD 1",
                "-C FORWARD",
                "-D FORWARD",
                "-L FORWARD",
                "-D FORWARD 2",
                "-S",
                "-F",
                "-Z FORWARD",
                "-P FORWARD DROP",
            ]),
        );
        let mut line = split(verb);
        if line[0].len() == 2
            && "AIRCD".contains(&line[0][1..])
            && line.len() < 4
            && verb != "-D FORWARD 2"
        {
            line.extend(generate::words(&rule, style, &names));
        }
        for _ in 0..draw(&mut runner, &(1_u8..4)) {
            let at = draw(&mut runner, &(0..=line.len()));
            let extra = draw(&mut runner, &word).to_owned();
            match draw(&mut runner, &(0_u8..4)) {
                0 => line.insert(at, extra),
                1 if at < line.len() => line[at] = extra,
                2 if at < line.len() => {
                    line.remove(at);
                }
                _ if at < line.len() => line.push(line[at].clone()),
                _ => line.push(extra),
            }
        }
        for line in [line, split("-S FORWARD")] {
            expected.push(weir.run(&line, &CounterTable::default()));
            lines.push(line);
        }
    }
    let answers = oracle::run(&lines);
    let (mut failed, mut on_purpose, mut differences) = (0, 0, Vec::new());
    for (case, (ours, theirs)) in expected.chunks(6).zip(answers.chunks(6)).enumerate() {
        let line = lines[case * 6 + 4].join(" ");
        let Outcome::Status(status, report) = &ours[4] else {
            // Refused on purpose; then the rules may differ as well.
            on_purpose += 1;
            continue;
        };
        failed += u32::from(*status != 0);
        let (ours, theirs, after) = match &ours[5] {
            Outcome::Status(0, rules) => ((status, rules), &theirs[4], &theirs[5].stdout),
            _ => panic!("-S failed"),
        };
        if i32::from(*ours.0) != theirs.status || ours.1 != after {
            let error = &theirs.stderr;
            differences.push(format!("iptables {line}\nours: {report}\ntheirs: {error}"));
        }
    }
    eprintln!("{failed} of {cases} lines failed alike, {on_purpose} are refused on purpose");
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(failed > cases / 5, "only {failed} lines failed: the generator is too kind");
}
