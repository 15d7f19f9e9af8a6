//! `veth rules`: rule changes under paced traffic. Not one packet may be lost, and a change must
//! be quick.
//!
//! Changes are made as an operator makes them: a `weirctl` process each, timed from its start to
//! its end. What it costs to start such a process at all is measured too and stated beside.

use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use weir_benches::statistics::quantile;
use weir_tests::console::Tone;
use weir_tests::{Error, Result, interrupt};

use crate::Bench;
use crate::contender;
use crate::forward::pause;
use crate::generator::{self, Load};
use crate::sink::DropCounter;
use crate::topology::Topology;

/// Starts of `weirctl` that do nothing, for comparison.
const STARTS: usize = 50;

/// How long the generator runs at most.
const DURATION_MAX: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Changes: a rule inserted, a rule deleted, in turn.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    changes: u32,
    /// Packets a second meanwhile: well below what can be forwarded.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Rules in the set beforehand, none of which matches.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    rules: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { changes: 1000, rate: 50_000, rules: 100 }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    measurement: &'static str,
    changes: u32,
    rules: u32,
    rate_pps: u64,
    sent: u64,
    delivered: u64,
    lost: u64,
    change_ms_p50: f64,
    change_ms_p99: f64,
    change_ms_max: f64,
    start_of_weirctl_ms_p50: f64,
    void: Option<String>,
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<Report> {
    bench.console.heading("rules: changes under traffic");
    let topology = Topology::build()?;
    let sink = DropCounter::attach(&topology)?;
    let folder = tempfile::tempdir().map_err(Error::io("make a folder for logs"))?;
    let daemon = contender::weir(bench, &topology, folder.path(), &[])?;
    let weirctl = |words: &str| {
        let mut command = Command::new(&bench.programs.binaries.weirctl);
        command.arg("--socket").arg(daemon.socket()).args(words.split_whitespace());
        command
    };
    for number in 0..options.rules {
        let (high, low) = (number >> 8 & 0xff, number & 0xff);
        timed(weirctl(&format!("iptables -A FORWARD -s 10.0.{high}.{low} -j DROP")))?;
    }
    let load = Load { rate: Some(options.rate), length: 60, flows: 100, duration: DURATION_MAX };
    let before = sink.packets()?;
    let generator = generator::start(bench, &topology, &load, folder.path())?;
    pause(Duration::from_millis(500))?;
    let mut changes = Vec::new();
    bench.console.working("changing rules", || {
        for number in 0..options.changes {
            interrupt::check()?;
            let words = if number % 2 == 0 {
                format!("iptables -I FORWARD 1 -s 203.0.113.{} -j DROP", number / 2 % 256)
            } else {
                "iptables -D FORWARD 1".to_owned()
            };
            changes.push(timed(weirctl(&words))?);
        }
        Ok(())
    })?;
    pause(Duration::from_millis(500))?;
    let sent = generator::stop(generator, folder.path())?;
    pause(Duration::from_millis(200))?;
    let delivered = sink.packets()? - before;
    let starts = (0..STARTS).map(|_| timed(weirctl("--version"))).collect::<Result<Vec<f64>>>()?;
    drop(daemon);
    sink.detach(&topology)?;

    let sorted = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times
    };
    let (changes, starts) = (sorted(changes), sorted(starts));
    let report = Report {
        measurement: "rules",
        changes: options.changes,
        rules: options.rules,
        rate_pps: options.rate,
        sent: sent.packets,
        delivered,
        lost: sent.packets.saturating_sub(delivered),
        change_ms_p50: quantile(&changes, 0.5),
        change_ms_p99: quantile(&changes, 0.99),
        change_ms_max: quantile(&changes, 1.0),
        start_of_weirctl_ms_p50: quantile(&starts, 0.5),
        void: sent.void,
    };
    print(bench, &report);
    Ok(report)
}

/// Runs a command that has to succeed; how long it took, in milliseconds.
fn timed(mut command: Command) -> Result<f64> {
    let line = weir_tests::process::display(&command);
    let start = Instant::now();
    let output = command.output().map_err(Error::io(format!("start `{line}`")))?;
    let elapsed_ms = start.elapsed().as_secs_f64() * 1000.0;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::Command { command: line, status: output.status, output: said });
    }
    Ok(elapsed_ms)
}

fn print(bench: &Bench, report: &Report) {
    let tone = if report.lost == 0 { Tone::Good } else { Tone::Bad };
    let lost = format!("{} of {} packets lost", report.lost, report.sent);
    bench.console.line(&format!(
        "{} changes among {} rules at {} pps: {}",
        report.changes,
        report.rules,
        report.rate_pps,
        bench.console.paint(tone, &lost)
    ));
    bench.console.line(&format!(
        "a change takes {:.2} ms (median), {:.2} ms (99 %), {:.2} ms (longest), of \
         which starting weirctl {:.2} ms",
        report.change_ms_p50,
        report.change_ms_p99,
        report.change_ms_max,
        report.start_of_weirctl_ms_p50
    ));
    if let Some(why) = &report.void {
        bench.console.line(&bench.console.paint(Tone::Bad, &format!("VOID: {why}")));
    }
}
