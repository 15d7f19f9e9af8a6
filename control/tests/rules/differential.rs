//! Command lines given both to Weir and to the real iptables of this machine, with everything
//! that can be seen compared: exit status, `-S`, `-L`.
//!
//! The seed is the same every time, and printed; `WEIR_SEED=N` draws other lines, `WEIR_CASES=N` more. The oracle is
//! iptables-legacy in a network namespace of its own.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use weir_control::command::{Command, Context, ParseErrorKind, Parsed, ValueError, parse_in};
use weir_control::list;
use weir_control::protocol::Listing;
use weir_control::rule::{CtAddress, Family, InvalidRule, Match, Names, Rule, TimeError};
use weir_control::ruleset::{CounterTable, Counters, Ruleset};

use crate::{
    connbytes, connlimit, content, generate, hashlimit, limit, mark, oracle, recent, vocabulary,
};

/// Words for wrong lines.
pub(crate) fn vocabulary() -> Vec<&'static str> {
    [
        &vocabulary::COMMON[..],
        &vocabulary::PACKET,
        &content::WORDS,
        &mark::WORDS,
        &connbytes::WORDS,
        &connlimit::WORDS,
        &limit::WORDS,
        &hashlimit::WORDS,
        &recent::WORDS,
    ]
    .concat()
}

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
    fn of(family: Family) -> Self {
        Self { ruleset: Ruleset::of(family), names: Names::system() }
    }

    fn run(&mut self, arguments: &[String], counters: &CounterTable) -> Outcome {
        let family = self.ruleset.family();
        let line = match parse_in(arguments, Context::of(family, &self.names)) {
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
            Command::Append { rules, .. }
            | Command::Insert { rules, .. }
            | Command::Delete { rules, .. }
            | Command::Check { rules, .. }
                if line.verbose =>
            {
                rules.iter().map(|rule| list::echo(family, rule)).collect()
            }
            Command::Replace { rule, .. } if line.verbose => list::echo(family, rule),
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
    // A range that is turned round: see below.
    let turned = matches!(kind, ParseErrorKind::OptionNumber { range, .. } if range.0 > 0);
    turned
        || matches!(
            kind,
            ParseErrorKind::NotEnforced { .. }
            | ParseErrorKind::HostChain { .. }
            // iptables ignores a match that stands with -L or -F.
            | ParseErrorKind::MatchWithoutRule { .. }
            // 1.8.9 lets the udp match wrap ports and turn ranges around; 1.8.11 does not.
            | ParseErrorKind::UdpPort { .. }
            | ParseErrorKind::PortRange(_)
            | ParseErrorKind::PortRangeNegative { .. }
            // The same with seconds, sizes and counts, and with a protocol that no connection has.
            | ParseErrorKind::NeverMatches(
                InvalidRule::NeverMatchesConnection | InvalidRule::AlwaysMatchesConnection
            )
            // iptables forgets the `!` of one number.
            | ParseErrorKind::Incomplete(InvalidRule::ConnbytesNegatedOne { .. })
            // A rule that never matches, which iptables cannot print; and days above 7, of which it makes such.
            | ParseErrorKind::Time(TimeError::NoDay | TimeError::Weekday(_))
            // The kernel refuses it, after all that iptables may refuse.
            | ParseErrorKind::StringAlgorithm { .. }
            // iptables makes something of every number.
            | ParseErrorKind::OptionMask { .. }
            // iptables forgets the `!`.
            | ParseErrorKind::NegatedOption { option: 'w' | 'W' | '4' | '6' }
            // iptables reads the digits at the beginning and ignores the rest.
            | ParseErrorKind::WaitSeconds
            // iptables takes a name that it cannot read again, or cuts it off.
            | ParseErrorKind::Value(ValueError::RecentName(_))
            // iptables would ask a name server.
            | ParseErrorKind::Address(_)
            | ParseErrorKind::HostName { .. }
        )
}

pub(crate) fn runner() -> TestRunner {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let seed = given.unwrap_or(0x5eed);
    eprintln!("WEIR_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

pub(crate) fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("a value").current()
}

fn split(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Lines given to Weir, for the oracle to repeat.
pub(crate) struct Session {
    weir: Weir,
    counters: CounterTable,
    lines: Vec<Vec<String>>,
    expected: Vec<Outcome>,
}

impl Session {
    pub(crate) fn new() -> Self {
        Self::of(Family::V4)
    }

    fn of(family: Family) -> Self {
        Self {
            weir: Weir::of(family),
            counters: CounterTable::default(),
            lines: Vec::new(),
            expected: Vec::new(),
        }
    }

    pub(crate) fn give(&mut self, line: Vec<String>) {
        self.expected.push(self.weir.run(&line, &self.counters));
        self.lines.push(line);
    }

    /// One command with `rule`, of the kind that `style` and `number` choose.
    fn give_rule(&mut self, runner: &mut TestRunner, rule: &Rule, style: u32, number: u32) {
        let kind = style >> 24 & 7;
        let verb = match kind {
            0 => format!("-I FORWARD {}", number + 1),
            1 => format!("-R FORWARD {}", number + 1),
            2 => "-D FORWARD".to_owned(),
            3 => "-C FORWARD".to_owned(),
            _ => "-A FORWARD".to_owned(),
        };
        let mut line = split(&verb);
        let entries = &self.weir.ruleset.chains()[0].rules;
        let existing = entries.get(usize::try_from(number).expect("small"));
        match existing.filter(|_| style >> 27 & 1 == 1) {
            // What is deleted or looked for exists half of the time.
            Some(entry) if kind == 2 || kind == 3 => {
                line.extend(entry.rule.arguments(&self.weir.names));
            }
            _ => line.extend(generate::words(rule, style, &self.weir.names)),
        }
        if style >> 28 & 1 == 1 {
            line.push("-v".to_owned());
        }
        self.give(line);
        if kind >= 4 {
            // iptables can set counters with the rule; here they are kept beside it.
            let shift = draw(runner, &(0_u32..64));
            let [packets, bytes] = draw(runner, &proptest::array::uniform2(0..=u64::MAX));
            let (packets, bytes) = (packets >> shift, bytes >> shift);
            let line = self.lines.last_mut().expect("just given");
            line.extend(["-c".to_owned(), packets.to_string(), bytes.to_string()]);
            let id = self.weir.ruleset.chains()[0].rules.last().expect("appended").id;
            self.counters.rules.insert(id, Counters { packets, bytes });
        }
    }

    /// Lists chain FORWARD in three ways.
    pub(crate) fn give_listings(&mut self) {
        for listing in ["-S FORWARD", "-L FORWARD -n", "-L FORWARD -nvx"] {
            self.give(split(listing));
        }
    }

    /// Repeats everything with the oracle; every line must have been accepted.
    pub(crate) fn assert_all_taken(self) {
        let given = self.lines.len();
        assert_eq!(self.compare() as usize, given, "all are taken");
    }

    /// Repeats everything with the oracle; returns how many lines were accepted.
    pub(crate) fn compare(self) -> u32 {
        self.compare_after("")
    }

    /// The same where the oracle did something before.
    pub(crate) fn compare_after(self, before: &str) -> u32 {
        let family = self.weir.ruleset.family();
        let program = family.program();
        let answers = oracle::run_after(before, family, &self.lines);
        let mut accepted = 0;
        for ((line, ours), theirs) in self.lines.iter().zip(self.expected).zip(answers) {
            let line = line.join(" ");
            match ours {
                Outcome::Status(0, text) => {
                    assert_eq!(theirs.status, 0, "{program} {line}: {}", theirs.stderr);
                    assert_eq!(text, theirs.stdout, "{program} {line}");
                    accepted += 1;
                }
                Outcome::Status(status, report) => {
                    assert_eq!(i32::from(status), theirs.status, "{program} {line}: {report}");
                }
                Outcome::RefusedOnPurpose(report) => panic!("{program} {line}: {report}"),
            }
        }
        accepted
    }
}

/// Every way to list, numerically.
const LISTINGS: [&str; 11] = [
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
];

#[test]
fn listings_are_those_of_iptables() {
    compare_listings(Family::V4);
}

#[test]
fn listings_are_those_of_ip6tables() {
    compare_listings(Family::V6);
}

fn compare_listings(family: Family) {
    if let Some(reason) = oracle::missing_of(family) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let strategy = (generate::rule(family), proptest::num::u32::ANY, 0_u32..12);
    let mut session = Session::of(family);
    let mut rules = 0;
    while rules < 400 {
        let (rule, style, number) = draw(&mut runner, &strategy);
        if !generate::survives_old_iptables(&rule) {
            continue;
        }
        rules += 1;
        session.give_rule(&mut runner, &rule, style, number);
        if rules % 20 == 0 {
            LISTINGS.iter().for_each(|line| session.give(split(line)));
        }
        if rules % 100 == 0 {
            let changes = ["-P FORWARD DROP", "-D FORWARD 1", "-S FORWARD", "-F FORWARD"];
            changes.iter().for_each(|line| session.give(split(line)));
        }
    }
    let accepted = session.compare();
    assert!(accepted > 400, "only {accepted} lines were accepted");
}

/// Without `-n`, names of ports and flags; addresses are left out, since iptables would ask name
/// servers for them.
#[test]
fn listings_with_names_are_those_of_iptables() {
    compare_listings_with_names(Family::V4);
}

#[test]
fn listings_with_names_are_those_of_ip6tables() {
    compare_listings_with_names(Family::V6);
}

fn compare_listings_with_names(family: Family) {
    if let Some(reason) = oracle::missing_of(family) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let names = Names::system();
    let (mut lines, mut weir) = (Vec::new(), Weir::of(family));
    while lines.len() < 200 {
        let mut rule = draw(&mut runner, &generate::rule(family));
        if !generate::survives_old_iptables(&rule) {
            continue;
        }
        (rule.source, rule.destination) = (None, None);
        for extension in &mut rule.matches {
            let Match::Conntrack(conntrack) = extension else { continue };
            for address in generate::connection_addresses(conntrack) {
                let mask = address.net().mask();
                *address = CtAddress::new(generate::unspecified(family), mask).expect("both");
            }
        }
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
    let answers = oracle::run_of(family, &lines);
    for (ours, theirs) in expected.into_iter().zip(&answers[200..]) {
        let Outcome::Status(0, text) = ours else { panic!("a listing failed") };
        assert_eq!(text, theirs.stdout);
    }
}

/// A good line with one to three words inserted, replaced, removed or repeated.
fn wrong_line(runner: &mut TestRunner, family: Family, names: &Names) -> Vec<String> {
    let with_rule = ["-A FORWARD", "-I FORWARD", "-R FORWARD 1", "-C FORWARD", "-D FORWARD"];
    let without = ["-L FORWARD", "-D FORWARD 2", "-S", "-F", "-Z FORWARD", "-P FORWARD DROP"];
    let mut line = if draw(runner, &proptest::bool::weighted(0.6)) {
        let same =
            generate::rule(family).prop_filter("printed alike", generate::survives_old_iptables);
        let (rule, style) = draw(runner, &(same, proptest::num::u32::ANY));
        let mut line = split(draw(runner, &proptest::sample::select(with_rule.to_vec())));
        line.extend(generate::words(&rule, style, names));
        line
    } else {
        split(draw(runner, &proptest::sample::select(without.to_vec())))
    };
    for _ in 0..draw(runner, &(1_u8..4)) {
        let at = draw(runner, &(0..=line.len()));
        let extra = draw(runner, &proptest::sample::select(vocabulary())).to_owned();
        match draw(runner, &(0_u8..4)) {
            0 => line.insert(at, extra),
            1 if at < line.len() => line[at] = extra,
            2 if at < line.len() => {
                line.remove(at);
            }
            _ if at < line.len() => line.push(line[at].clone()),
            _ => line.push(extra),
        }
    }
    line
}

#[test]
fn wrong_lines_fail_as_with_iptables() {
    compare_wrong_lines(Family::V4);
}

#[test]
fn wrong_lines_fail_as_with_ip6tables() {
    compare_wrong_lines(Family::V6);
}

fn compare_wrong_lines(family: Family) {
    if let Some(reason) = oracle::missing_of(family) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut runner = runner();
    let names = Names::system();
    let setup = [
        "-P FORWARD ACCEPT",
        "-F FORWARD",
        "-A FORWARD -p tcp --dport 80 -j ACCEPT",
        "-A FORWARD -s ADDRESS",
    ]
    .map(|line| line.replace("ADDRESS", if family == Family::V4 { "1.2.3.4" } else { "fe80::1" }));
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let cases = std::env::var("WEIR_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(200_u32);
    for _ in 0..cases {
        let mut weir = Weir::of(family);
        for line in &setup {
            lines.push(split(line));
            expected.push(weir.run(&split(line), &CounterTable::default()));
        }
        let line = wrong_line(&mut runner, family, &names);
        for line in [line, split("-S FORWARD")] {
            expected.push(weir.run(&line, &CounterTable::default()));
            lines.push(line);
        }
    }
    let answers = oracle::run_of(family, &lines);
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
            differences
                .push(format!("{} {line}\nours: {report}\ntheirs: {error}", family.program()));
        }
    }
    eprintln!("{failed} of {cases} lines failed alike, {on_purpose} are refused on purpose");
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    assert!(failed > cases / 5, "only {failed} lines failed: the generator is too kind");
}
