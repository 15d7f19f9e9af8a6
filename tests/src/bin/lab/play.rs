//! Plays an exercise: does each step for real, and holds what it saw against what it should see.

use std::fs;
use std::process::Output;
use std::time::Duration;

use serde::Serialize;
use weir_tests::console::{Console, Tone};
use weir_tests::sniff::{Leak, PYTHON};
use weir_tests::{Error, Result, interrupt, lab_files, process};

use crate::exercise::{Counter, Exercise, Expected, Host, Step};
use crate::setup::Lab;

/// How long a line at the firewall may take.
const RULE_MAX: Duration = Duration::from_secs(20);

/// How long a run of the trojan may take: Python and scapy to start, and one second to wait.
const TROJAN_MAX: Duration = Duration::from_secs(60);

/// How long the browser waits for a page, in seconds.
const PAGE_S: &str = "3";

/// The exit status of curl when nothing came in time.
const CURL_TIMED_OUT: i32 = 28;

/// How often the trojan is run until it has sent at all (its own clock may end it before, on a
/// machine under load), and until it has chosen another address (1 in 252 it does not).
const RUNS_MAX: u32 = 5;

/// One thing tried, with what should and what did happen.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// What was done, as one would type it.
    pub(crate) did: String,
    /// What should be seen.
    pub(crate) expected: String,
    /// What was seen.
    pub(crate) saw: String,
    /// What should be seen, in a word or two.
    pub(crate) expected_brief: String,
    /// What was seen, in a word or two.
    pub(crate) saw_brief: String,
    /// Whether these agree.
    pub(crate) ok: bool,
}

/// A played exercise.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Played {
    /// Its name on the command line.
    pub(crate) name: String,
    /// Its name in the table.
    pub(crate) title: String,
    /// Whether every check agreed.
    pub(crate) ok: bool,
    /// What was tried.
    pub(crate) checks: Vec<Check>,
}

impl Played {
    /// An exercise with these checks.
    pub(crate) fn new(name: &str, title: &str, checks: Vec<Check>) -> Self {
        let ok = checks.iter().all(|check| check.ok);
        Self { name: name.to_owned(), title: title.to_owned(), ok, checks }
    }
}

/// What a trojan's run came to.
struct Run {
    sent: Vec<Leak>,
    leaked: Vec<Leak>,
}

/// Plays one exercise after another in a lab.
pub(crate) struct Player<'a> {
    lab: &'a mut Lab,
    console: &'a Console,
    /// Where the trojan's latest packet went.
    target: Option<String>,
    /// Packets that left and did not arrive since the exercise began.
    lost: u64,
}

impl<'a> Player<'a> {
    /// A player in this lab.
    pub(crate) fn new(lab: &'a mut Lab, console: &'a Console) -> Self {
        Self { lab, console, target: None, lost: 0 }
    }

    /// Plays an exercise, from no rules to no rules.
    ///
    /// # Errors
    ///
    /// When the lab itself breaks: Ctrl-C, a sniffer that is gone. A check that fails is no error.
    pub(crate) fn play(&mut self, exercise: &Exercise) -> Result<Played> {
        self.clear()?;
        (self.target, self.lost) = (None, 0);
        let mut checks = Vec::new();
        for step in exercise.steps {
            interrupt::check()?;
            if let Some(check) = self.step(*step)? {
                self.show(&check);
                checks.push(check);
            }
        }
        self.clear()?;
        Ok(Played::new(exercise.name, exercise.title, checks))
    }

    /// Back to no rules and policy ACCEPT.
    fn clear(&self) -> Result<()> {
        for line in ["iptables -F", "iptables -P FORWARD ACCEPT"] {
            process::run(self.lab.at_firewall(line), RULE_MAX)?;
        }
        Ok(())
    }

    /// Does one step. A line that was typed and taken is not a check of its own.
    fn step(&mut self, step: Step) -> Result<Option<Check>> {
        match step {
            Step::Type(line) => self.type_line(line),
            Step::Ping { from, to, answered } => self.ping(from, to, answered).map(Some),
            Step::Page { loads } => self.page(loads).map(Some),
            Step::Trojan { version, leaks } => self.trojan(version, leaks).map(Some),
            Step::TrojanElsewhere { version } => self.trojan_elsewhere(version).map(Some),
            Step::Counter { of, expected } => self.counter(of, expected).map(Some),
        }
    }

    fn type_line(&self, line: &str) -> Result<Option<Check>> {
        let line = self.with_target(line);
        self.say("firewall#", &line);
        let output = process::output(self.lab.at_firewall(&line), RULE_MAX)?;
        if output.status.success() {
            return Ok(None);
        }
        Ok(Some(Check {
            did: line,
            expected: "the line is taken".to_owned(),
            saw: format!("{}: {}", output.status, errors_of(&output)),
            expected_brief: "rule".to_owned(),
            saw_brief: "refused".to_owned(),
            ok: false,
        }))
    }

    fn ping(&mut self, from: Host, to: &str, answered: bool) -> Result<Check> {
        let to = self.with_target(to);
        // One packet where it should be lost: it is counted.
        let did = if answered {
            format!("ping -n -c 3 -i 0.2 -w 5 {to}")
        } else {
            format!("ping -n -c 1 -W 1 {to}")
        };
        self.say(prompt(from), &did);
        let output = self.on_host(from, &did)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (sent, received) = ping_summary(&text).ok_or_else(|| unreadable("ping", &text))?;
        self.lost += sent - received;
        let round_trip = text.lines().find_map(|line| line.split(" = ").nth(1));
        let saw = match round_trip.and_then(|times| times.split('/').nth(1)) {
            Some(mean) => format!("{received} of {sent} answered, {mean} ms on average"),
            None => format!("{received} of {sent} answered"),
        };
        let all = |yes| if yes { "ping" } else { "no ping" }.to_owned();
        Ok(Check {
            did,
            expected: if answered { "every ping answered" } else { "no answer" }.to_owned(),
            saw,
            expected_brief: all(answered),
            saw_brief: all(received > 0),
            ok: received == if answered { sent } else { 0 },
        })
    }

    fn page(&self, loads: bool) -> Result<Check> {
        let did = "curl http://192.168.0.2/".to_owned();
        self.say(prompt(Host::Alice), &did);
        let mut command = self.lab.alice.command("curl");
        command.args(["--silent", "--show-error", "--max-time", PAGE_S, "http://192.168.0.2/"]);
        let output =
            self.console.working("waiting for the page", || process::output(command, RULE_MAX))?;
        let file = lab_files().join("www/index.html");
        let page = fs::read(&file).map_err(Error::io(format!("read {}", file.display())))?;
        let loaded = output.status.success() && output.stdout == page;
        let saw = if loaded {
            format!("the page of his cat, {} bytes", page.len())
        } else if output.status.success() {
            format!("another page, {} bytes", output.stdout.len())
        } else {
            errors_of(&output)
        };
        let brief = |yes| if yes { "page" } else { "no page" }.to_owned();
        Ok(Check {
            did,
            expected: if loads { "the page loads" } else { "the page does not load" }.to_owned(),
            saw,
            expected_brief: brief(loads),
            saw_brief: brief(loaded),
            // A page that arrives damaged is neither; nor is an answer that says no: what is
            // dropped is dropped in silence.
            ok: if loads { loaded } else { output.status.code() == Some(CURL_TIMED_OUT) },
        })
    }

    fn trojan(&mut self, version: u8, leaks: bool) -> Result<Check> {
        let run = self.run_trojan(version)?;
        let expected = if leaks { "it leaks" } else { "it leaves Bob, and does not arrive" };
        let ok = !run.sent.is_empty() && run.leaked == if leaks { &run.sent[..] } else { &[] };
        Ok(leak_check(version, expected, leaks, &run, ok))
    }

    fn trojan_elsewhere(&mut self, version: u8) -> Result<Check> {
        let blocked = self.target.clone().unwrap_or_default();
        for _ in 0..RUNS_MAX {
            let run = self.run_trojan(version)?;
            let same = run.sent.iter().any(|packet| packet.destination == blocked);
            if same && run.leaked.is_empty() {
                self.note(&format!("It chose {blocked} again, and was stopped. Once more."));
                continue;
            }
            let expected = format!("it leaks to another address than {blocked}");
            let ok = !run.sent.is_empty() && !same && run.leaked == run.sent;
            return Ok(leak_check(version, &expected, true, &run, ok));
        }
        Err(Error::Unmet(format!("the trojan chose {blocked} {RUNS_MAX} times in a row")))
    }

    /// Runs the trojan on Bob until it has sent something; what it sent, and what of it leaked.
    fn run_trojan(&mut self, version: u8) -> Result<Run> {
        for _ in 0..RUNS_MAX {
            // What is left from before is not this run's.
            self.sniffed(Host::Bob)?;
            self.sniffed(Host::Alice)?;
            self.say(prompt(Host::Bob), &format!("python3 mal{version}.py"));
            let mut command = self.lab.bob.command(PYTHON);
            command.arg(lab_files().join(format!("mal{version}.py")));
            let output =
                self.console.working("the trojan runs", || process::output(command, TROJAN_MAX))?;
            if !output.status.success() {
                return Err(Error::Command {
                    command: format!("python3 mal{version}.py"),
                    status: output.status,
                    output: errors_of(&output),
                });
            }
            let run = Run { sent: self.sniffed(Host::Bob)?, leaked: self.sniffed(Host::Alice)? };
            if let Some(packet) = run.sent.first() {
                self.target = Some(packet.destination.clone());
                self.lost += (run.sent.len() as u64).saturating_sub(run.leaked.len() as u64);
                return Ok(run);
            }
            self.note("It gave up before it had sent anything. Once more.");
        }
        Err(Error::Unmet(format!("mal{version}.py sent nothing in {RUNS_MAX} runs")))
    }

    fn counter(&self, of: Counter, expected: Expected) -> Result<Check> {
        let did = "iptables -L FORWARD -n -v -x".to_owned();
        self.say("firewall#", &did);
        let listing = process::run(self.lab.at_firewall(&did), RULE_MAX)?;
        let packets = packets_of(&listing, of).ok_or_else(|| unreadable(&did, &listing))?;
        let lost = self.lost;
        let name = match of {
            Counter::Rule(number) => format!("rule {number} counts"),
            Counter::Policy => "the policy counts".to_owned(),
        };
        let (ok, more) = match expected {
            Expected::Lost => (packets == lost, ""),
            Expected::LostOrMore => (lost > 0 && packets >= lost, " or more"),
        };
        Ok(Check {
            did,
            expected: format!("{name} what was lost: {}{more}", in_packets(lost)),
            saw: in_packets(packets),
            expected_brief: format!("{lost}{} dropped", if more.is_empty() { "" } else { "+" }),
            saw_brief: format!("{packets} dropped"),
            ok,
        })
    }

    /// The trojan's packets that a host's sniffer saw since the last call.
    fn sniffed(&mut self, host: Host) -> Result<Vec<Leak>> {
        let (sniffer, namespace) = self.lab.sniffer(host);
        sniffer.packets(namespace)
    }

    /// Runs a line of words on a host.
    fn on_host(&self, host: Host, line: &str) -> Result<Output> {
        let mut words = line.split_whitespace();
        let mut command = self.lab.host(host).command(words.next().unwrap_or_default());
        command.args(words);
        self.console.working(line, || process::output(command, RULE_MAX))
    }

    /// A line with the trojan's target in the place of `{x}`.
    fn with_target(&self, line: &str) -> String {
        line.replace("{x}", self.target.as_deref().unwrap_or("{x}"))
    }

    fn say(&self, prompt: &str, line: &str) {
        let line = self.console.paint(Tone::Command, line);
        self.console.line(&format!("   {prompt:<9} {line}"));
    }

    fn note(&self, text: &str) {
        self.console.line(&format!("             {}", self.console.paint(Tone::Note, text)));
    }

    fn show(&self, check: &Check) {
        let dim = |text| self.console.paint(Tone::Dim, text);
        let mark = if check.ok {
            self.console.paint(Tone::Good, "✓")
        } else {
            self.console.paint(Tone::Bad, "✗ NOT AS EXPECTED")
        };
        self.console.line(&format!("             {} {}", dim("expected"), check.expected));
        self.console.line(&format!("             {} {} {mark}", dim("saw     "), check.saw));
    }
}

/// The prompt of a host.
fn prompt(host: Host) -> &'static str {
    match host {
        Host::Alice => "alice$",
        Host::Bob => "bob#",
    }
}

/// What a run of the trojan came to, as a check.
fn leak_check(version: u8, expected: &str, leaks: bool, run: &Run, ok: bool) -> Check {
    let describe = |packet: &Leak| {
        let Leak { destination, source_port, destination_port, flags, .. } = packet;
        format!("{destination}, port {source_port} to {destination_port}, [{flags}]")
    };
    let saw = match (run.leaked.first(), run.sent.first()) {
        (Some(packet), _) => format!("leaked to {}", describe(packet)),
        (None, Some(packet)) => format!("sent to {}, did not arrive", describe(packet)),
        (None, None) => "nothing sent".to_owned(),
    };
    let brief = |yes| if yes { "leak" } else { "no leak" }.to_owned();
    Check {
        did: format!("python3 mal{version}.py"),
        expected: expected.to_owned(),
        saw,
        expected_brief: brief(leaks),
        saw_brief: brief(!run.leaked.is_empty()),
        ok,
    }
}

/// A count of packets, in words.
fn in_packets(count: u64) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}

/// What a program said that failed, on one line.
fn errors_of(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

fn unreadable(what: &str, text: &str) -> Error {
    Error::Unreadable { what: format!("the output of {what}"), text: text.to_owned() }
}

/// How many pings were sent, and how many answered.
fn ping_summary(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut numbers = line.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// A packet counter in the output of `iptables -L FORWARD -n -v -x`: a line for the chain, one of
/// headings, then one a rule.
fn packets_of(listing: &str, of: Counter) -> Option<u64> {
    match of {
        Counter::Rule(number) => {
            listing.lines().nth(1 + number)?.split_whitespace().next()?.parse().ok()
        }
        Counter::Policy => {
            // Chain FORWARD (policy DROP 3 packets, 180 bytes)
            let policy = listing.lines().next()?.split("(policy ").nth(1)?;
            policy.split_whitespace().nth(1)?.parse().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read() {
        let listing = "Chain FORWARD (policy DROP 3 packets, 180 bytes)\n    pkts      bytes \
                       target\n       7      812 DROP  0  --  *  *  0.0.0.0/0  10.0.0.0/24\n";
        assert_eq!(packets_of(listing, Counter::Policy), Some(3));
        assert_eq!(packets_of(listing, Counter::Rule(1)), Some(7));
        assert_eq!(packets_of(listing, Counter::Rule(2)), None);
    }

    #[test]
    fn pings_are_counted() {
        let text = "--- 10.0.0.2 ping statistics ---\n\
                    3 packets transmitted, 2 received, +1 errors, 33% packet loss, time 403ms\n";
        assert_eq!(ping_summary(text), Some((3, 2)));
        assert_eq!(ping_summary("ping: unknown host"), None);
    }
}
