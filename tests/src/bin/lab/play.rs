//! Plays an exercise: does each step for real, and holds what it saw against what it should see.

mod calls;
mod flood;
mod page;
mod trojan;

use std::process::Output;
use std::time::Duration;

use serde::Serialize;
use weir_tests::console::{Console, Tone};
use weir_tests::{Error, Result, interrupt, process};

use crate::exercise::{Counter, Exercise, Host, Step};
use crate::play::page::Download;
use crate::setup::Lab;

/// How long a line at the firewall may take.
const RULE_MAX: Duration = Duration::from_secs(20);

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

/// Plays one exercise after another in a lab.
pub(crate) struct Player<'a> {
    lab: &'a mut Lab,
    console: &'a Console,
    /// Where the trojan's latest packet went.
    target: Option<String>,
    /// Packets that left and did not arrive since the exercise began.
    lost: u64,
    /// A download that goes on beside the steps.
    download: Option<Download>,
}

impl<'a> Player<'a> {
    /// A player in this lab.
    pub(crate) fn new(lab: &'a mut Lab, console: &'a Console) -> Self {
        Self { lab, console, target: None, lost: 0, download: None }
    }

    /// Plays an exercise, from no rules to no rules.
    ///
    /// # Errors
    ///
    /// When the lab itself breaks: Ctrl-C, a sniffer that is gone. A check that fails is no error.
    pub(crate) fn play(&mut self, exercise: &Exercise) -> Result<Played> {
        self.lab.guard_firewall(false)?;
        self.clear()?;
        (self.target, self.lost) = (None, 0);
        let mut checks = Vec::new();
        for step in exercise.steps {
            interrupt::check()?;
            for check in self.step(*step)? {
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
    fn step(&mut self, step: Step) -> Result<Vec<Check>> {
        let check = match step {
            Step::Type(line) => return Ok(self.type_line(line)?.into_iter().collect()),
            Step::TypeDuringDownload(line) => {
                return Ok(self.type_during_download(line)?.into_iter().collect());
            }
            Step::GuardFirewall => return self.lab.guard_firewall(true).map(|()| Vec::new()),
            Step::TrojanAmongPages { version } => return self.trojan_among_pages(version),
            Step::DownloadEnds => self.download_ends(),
            Step::Ping { from, to, answered } => self.ping(from, to, answered),
            Step::Calls { from, to, tried, answered } => self.calls((from, to), tried, answered),
            Step::Page { of, loads } => self.page(of, loads),
            Step::Trojan { version, leaks } => self.trojan(version, leaks),
            Step::TrojanElsewhere { version } => self.trojan_elsewhere(version),
            Step::Flood { packets, rate, arrive: (least, most) } => {
                self.flood((packets, rate), least..=most)
            }
            Step::Counter(of) => self.counter(of),
        };
        check.map(|check| vec![check])
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

    fn counter(&self, of: Counter) -> Result<Check> {
        let did = "iptables -L FORWARD -n -v -x".to_owned();
        self.say("firewall#", &did);
        let listing = process::run(self.lab.at_firewall(&did), RULE_MAX)?;
        let lost = self.lost;
        let name = match of {
            Counter::Rule(number) => format!("rule {number} counts"),
            Counter::Policy => "the policy counts".to_owned(),
        };
        // A rule that was refused counts nothing.
        let packets = packets_of(&listing, of);
        Ok(Check {
            did,
            expected: format!("{name} what was lost: {}", in_packets(lost)),
            saw: packets.map_or("no such rule".to_owned(), in_packets),
            expected_brief: format!("{lost} dropped"),
            saw_brief: packets.map_or("no rule".to_owned(), |packets| format!("{packets} dropped")),
            ok: packets == Some(lost),
        })
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
