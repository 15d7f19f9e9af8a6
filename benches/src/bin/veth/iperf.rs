//! `veth iperf`: throughput of one TCP connection with the offloads that veth has by default.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use weir_tests::process::{self, Process};
use weir_tests::{Error, Result};

use crate::Bench;
use crate::contender::Contender;
use crate::forward::seconds;
use crate::rounds::{self, Metrics, Report, Scene};
use crate::topology::{SINK, Topology};
use crate::usage::processor_time;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What forwards; the first is compared with each of the others.
    #[arg(long, value_enum, value_delimiter = ',', num_args = 1..)]
    #[arg(default_value = "weir,l2fwd-checksums,kernel")]
    contenders: Vec<Contender>,
    /// Rounds: each contender runs once in each.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Seconds of each run.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
}

impl Options {
    /// The defaults, with so many rounds.
    pub(crate) fn of(pairs: usize) -> Self {
        let contenders = vec![Contender::Weir, Contender::L2fwdChecksums, Contender::Kernel];
        Self { contenders, pairs, seconds: 3.0 }
    }
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let topology = Topology::build()?;
    let name = "iperf: one TCP connection, MTU 1500, default offloads";
    rounds::play(bench, &topology, name, &options.contenders, options.pairs, |scene| {
        measure(scene, options)
    })
}

fn measure(scene: &Scene<'_>, options: &Options) -> Result<(Metrics, Option<String>)> {
    let mut server = scene.topology.sink.command("iperf3");
    server.args(["--server", "--one-off", "--forceflush"]);
    let mut server = Process::spawn("iperf3", server, &scene.folder.path().join("iperf3.log"))?;
    server.wait_for_line("listening", Duration::from_secs(10))?;
    let mut client = scene.topology.generator.command("iperf3");
    client.args(["--client", SINK, "--json", "--connect-timeout", "3000"]);
    client.args(["--time", &options.seconds.ceil().to_string()]);
    let before = scene.running.pid().map(processor_time).transpose()?;
    let start = std::time::Instant::now();
    let limit = Duration::from_secs_f64(options.seconds) + Duration::from_secs(30);
    let text = process::run(client, limit)?;
    let elapsed = start.elapsed().as_secs_f64();
    let after = scene.running.pid().map(processor_time).transpose()?;
    let used = after.unwrap_or_default().saturating_sub(before.unwrap_or_default());
    let (received, retransmits) = read(&text)?;
    let metrics = Metrics::from([
        ("received_mbit_s", received / 1e6),
        ("retransmits", retransmits),
        ("forwarder_cores", used.as_secs_f64() / elapsed),
    ]);
    Ok((metrics, None))
}

/// Bits a second at the receiver, and segments sent again.
fn read(text: &str) -> Result<(f64, f64)> {
    let report: Option<Value> = serde_json::from_str(text).ok();
    let parts = report.as_ref().and_then(|report| {
        let end = &report["end"];
        let received = end["sum_received"]["bits_per_second"].as_f64()?;
        Some((received, end["sum_sent"]["retransmits"].as_f64()?))
    });
    parts.ok_or_else(|| Error::Unreadable {
        what: "the report of iperf3".to_owned(),
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_read() {
        let text =
            r#"{"end":{"sum_sent":{"retransmits":3},"sum_received":{"bits_per_second":1.5e9}}}"#;
        assert_eq!(read(text).unwrap(), (1.5e9, 3.0));
        assert!(read(r#"{"error":"unable to connect"}"#).is_err());
    }
}
