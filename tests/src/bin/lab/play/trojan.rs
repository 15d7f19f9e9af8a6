//! The trojan: run on Bob, watched where it leaves and where it may arrive.

use std::thread;
use std::time::{Duration, Instant};

use weir_tests::process::Process;
use weir_tests::sniff::{Leak, PYTHON};
use weir_tests::{Error, Result, interrupt, lab_files};

use super::page::Visits;
use super::{Check, Player, prompt};
use crate::exercise::Host;

/// How long a run of the trojan may take: Python and scapy to start, and one second to wait.
const TROJAN_MAX: Duration = Duration::from_secs(60);

/// How often the trojan is run until it has sent at all (its own clock may end it before, on a
/// machine under load), and until it has chosen another address (1 in 252 it does not).
const RUNS_MAX: u32 = 5;

/// How long nothing is done while the trojan runs, before looking again.
const PAUSE: Duration = Duration::from_millis(50);

/// What a trojan's run came to.
struct Run {
    sent: Vec<Leak>,
    leaked: Vec<Leak>,
}

impl Player<'_> {
    pub(super) fn trojan(&mut self, version: u8, leaks: bool) -> Result<Check> {
        let run = self.run_trojan(version, None)?;
        Ok(leaks_or_not(version, leaks, &run))
    }

    /// Stopped by a firewall that stops nothing else: Alice's page loads all the while.
    pub(super) fn trojan_among_pages(&mut self, version: u8) -> Result<Vec<Check>> {
        let mut visits = Visits::default();
        let run = self.run_trojan(version, Some(&mut visits))?;
        Ok(vec![leaks_or_not(version, false, &run), visits.check()])
    }

    pub(super) fn trojan_elsewhere(&mut self, version: u8) -> Result<Check> {
        let blocked = self.target.clone().unwrap_or_default();
        for _ in 0..RUNS_MAX {
            let run = self.run_trojan(version, None)?;
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
    /// With `visits`, Alice fetches the page meanwhile.
    fn run_trojan(&mut self, version: u8, mut visits: Option<&mut Visits>) -> Result<Run> {
        for _ in 0..RUNS_MAX {
            // What is left from before is not this run's.
            self.sniffed(Host::Bob)?;
            self.sniffed(Host::Alice)?;
            self.say(prompt(Host::Bob), &format!("python3 mal{version}.py"));
            if visits.is_some() {
                self.say(
                    prompt(Host::Alice),
                    "while sleep 0.05; do curl http://192.168.0.2/; done",
                );
            }
            self.console
                .working("the trojan runs", || self.run_script(version, visits.as_deref_mut()))?;
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

    /// Runs the script to its end, and fetches pages meanwhile.
    fn run_script(&self, version: u8, mut visits: Option<&mut Visits>) -> Result<()> {
        let name = format!("python3 mal{version}.py");
        let mut command = self.lab.bob.command(PYTHON);
        command.arg(lab_files().join(format!("mal{version}.py")));
        let mut trojan = Process::spawn(&name, command, &self.lab.folder.path("trojan.log"))?;
        let start = Instant::now();
        loop {
            let ended = trojan.status()?;
            if ended.is_some_and(|status| !status.success()) {
                let (status, output) = (ended.unwrap_or_default(), trojan.text()?);
                return Err(Error::Command { command: name, status, output });
            }
            if ended.is_some() && visits.as_ref().is_none_or(|visits| visits.are_several()) {
                return Ok(());
            }
            if start.elapsed() > TROJAN_MAX {
                let what = format!("the end of {name}");
                return Err(Error::Timeout { what, after: TROJAN_MAX, output: trojan.text()? });
            }
            interrupt::check()?;
            if let Some(visits) = &mut visits {
                visits.add(self.fetch(Host::Bob)?);
            }
            thread::sleep(PAUSE);
        }
    }

    /// The trojan's packets that a host's sniffer saw since the last call.
    fn sniffed(&mut self, host: Host) -> Result<Vec<Leak>> {
        let (sniffer, namespace) = self.lab.sniffer(host);
        sniffer.packets(namespace)
    }
}

/// A run that should leak all it sent, or nothing.
fn leaks_or_not(version: u8, leaks: bool, run: &Run) -> Check {
    let expected = if leaks { "it leaks" } else { "it leaves Bob, and does not arrive" };
    let ok = !run.sent.is_empty() && run.leaked == if leaks { &run.sent[..] } else { &[] };
    leak_check(version, expected, leaks, run, ok)
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
