//! Instructions a packet, stage by stage, counted by callgrind.
//!
//! ```text
//!   cargo run --release -p weir-benches --bin pipeline_instructions [-- --rules 100 --bytes 60 --json]
//! ```
//!
//! The program runs itself under `valgrind --tool=callgrind` twice for each scenario, over `n` and over `2 n` polls,
//! and takes the difference: start-up, allocation and everything else that happens once cancels out exactly. What
//! remains repeats to the last digit on every machine with the same binary, however busy it is. It is no time:
//! a cache miss costs one instruction here. Stages are told apart by difference too: `parse` is what
//! (port + parse) takes more than (port).

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use clap::Parser;
use serde::Serialize;
use weir_benches::LoopPort;
use weir_benches::traffic::udp_flows;
use weir_benches::world::{EGRESS, INGRESS, engine_of, forwarding, frames, policies, raw_policy};
use weir_control::rule::{Family, Table};
use weir_dataplane::batch::{BATCH_MAX, Batch};
use weir_dataplane::conntrack::{Conntrack, ConntrackConfig};
use weir_dataplane::frame::FramePool;
use weir_dataplane::handover::FlowHash;
use weir_dataplane::packet_log::PacketLog;
use weir_dataplane::policy::{Dice, FlowCache, Pace, Tracks};
use weir_dataplane::port::Port;
use weir_dataplane::reassembly::Reassembly;
use weir_dataplane::stage::{self, Rules};
use weir_tests::process::find_program;

/// Polls of the shorter run: some thousand packets, every flow seen.
const POLLS: u64 = 100;

/// Flows in the traffic.
const FLOWS: u16 = 1000;

/// Counts instructions a packet with callgrind.
#[derive(Debug, Parser)]
struct Options {
    /// Rules that every packet passes by.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    rules: u32,
    /// Length of a frame in bytes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(60..=1514))]
    bytes: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Run one scenario without counting: what is started under valgrind.
    #[arg(long, hide = true, value_enum, requires = "polls")]
    scenario: Option<Scenario>,
    /// Polls of that scenario.
    #[arg(long, hide = true)]
    polls: Option<u64>,
}

/// How much of the way the packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scenario {
    /// Received and given back.
    Port,
    /// And parsed.
    Parse,
    /// And hashed to a worker of four (which a single worker does not do).
    HandOver,
    /// Parsed and tracked, flows confirmed.
    Track,
    /// Parsed and routed.
    Route,
    /// And put before the rules.
    Decide,
    /// The whole engine: also answered, rewritten, transmitted, counted.
    Engine,
    /// The engine with a table raw without rules.
    RawEmpty,
    /// The engine with the same rules in table raw, too.
    Raw,
}

const SCENARIOS: [Scenario; 9] = [
    Scenario::Port,
    Scenario::Parse,
    Scenario::HandOver,
    Scenario::Track,
    Scenario::Route,
    Scenario::Decide,
    Scenario::Engine,
    Scenario::RawEmpty,
    Scenario::Raw,
];

/// The result: instructions a packet.
#[derive(Clone, Debug, Serialize)]
struct Report {
    rules: u32,
    bytes: u32,
    polls: u64,
    batch: usize,
    /// Of each scenario, everything up to there.
    cumulative: Vec<(Scenario, f64)>,
    /// The memory port by itself: not Weir's.
    port: f64,
    parse: f64,
    hand_over: f64,
    track: f64,
    route: f64,
    decide: f64,
    /// What the engine adds to the deciding stages: answers, rewriting, transmission, recycling, counters.
    emit_and_engine: f64,
    /// The engine without the memory port's reception.
    weir: f64,
    /// What a table raw without rules adds.
    raw_empty: f64,
    /// What a table raw with the same rules adds.
    raw: f64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if let (Some(scenario), Some(polls)) = (options.scenario, options.polls) {
        play(scenario, polls, &options);
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(report) => {
            print(&report, options.json);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("pipeline_instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one scenario.
fn play(scenario: Scenario, polls: u64, options: &Options) {
    let traffic = udp_flows(FLOWS, options.bytes as usize);
    if matches!(scenario, Scenario::Engine | Scenario::RawEmpty | Scenario::Raw) {
        let policies = policies(options.rules);
        let with_raw =
            |rules| policies.clone().with(Family::V4, Table::Raw, Arc::new(raw_policy(rules)));
        let policies = match scenario {
            Scenario::RawEmpty => with_raw(0),
            Scenario::Raw => with_raw(options.rules),
            _ => policies,
        };
        let mut engine = engine_of(traffic, policies, false);
        for now_ns in 0..polls {
            let work = engine.poll(now_ns, 0);
            assert_eq!(work.transmitted, BATCH_MAX as u64, "packets are lost: {work:?}");
        }
        return;
    }
    let (_memory, frames) = frames();
    let mut pool = FramePool::split(frames, 1).pop().expect("one pool");
    let (forwarding, policies) = (forwarding(), policies(options.rules));
    let mut cache = FlowCache::new(1 << 16);
    let hash = FlowHash::new([1, 2, 3, 4], 4);
    let dice = Dice::new(0);
    let mut conntrack = Conntrack::new(&ConntrackConfig::default());
    let mut log = PacketLog::silent();
    let mut reassembly = Reassembly::new();
    let mut port = LoopPort::new(INGRESS, traffic);
    let mut batch = Box::new(Batch::new());
    for _ in 0..polls {
        port.recycle(&mut pool);
        let received = port.receive(&mut batch);
        assert_eq!(received, BATCH_MAX, "the port ran dry");
        if scenario != Scenario::Port {
            stage::parse(&mut batch, &forwarding);
        }
        if scenario == Scenario::HandOver {
            stage::name(&mut batch, &hash);
            stage::hand_over(&mut batch, &hash, 0);
        }
        if scenario == Scenario::Track {
            stage::name(&mut batch, &hash);
            stage::track(
                &mut batch,
                (Tracks::all(true), Pace::Together),
                &mut conntrack,
                &mut reassembly,
            );
            for tracked in &batch.tracked {
                assert!(conntrack.confirm(tracked).is_ok(), "the table is full");
            }
            conntrack.end_batch();
        }
        if matches!(scenario, Scenario::Route | Scenario::Decide) {
            stage::route(&mut batch, &forwarding);
        }
        if scenario == Scenario::Decide {
            let (policies, cache) = (&policies, &mut cache);
            let rules = Rules { policies, cache, worker: 0, dice: &dice, now_ns: 0, wall_s: 0 };
            stage::decide(&mut batch, rules, &forwarding, &conntrack, &mut reassembly, &mut log);
            let forwarded = weir_dataplane::verdict::Verdict::Forward(EGRESS);
            assert_eq!(batch.verdict[BATCH_MAX - 1], forwarded, "packets are lost");
        }
        for frame in batch.drain() {
            pool.put(frame);
        }
    }
}

fn measure(options: &Options) -> Result<Report, String> {
    if find_program("valgrind").is_none() {
        return Err("valgrind is missing: apt-get install valgrind".to_owned());
    }
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a folder: {error}"))?;
    let mut cumulative = Vec::new();
    for scenario in SCENARIOS {
        let short = count(scenario, POLLS, options, folder.path())?;
        let long = count(scenario, 2 * POLLS, options, folder.path())?;
        let packets = POLLS * BATCH_MAX as u64;
        #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
        let each = long.saturating_sub(short) as f64 / packets as f64;
        cumulative.push((scenario, each));
    }
    let at = |wanted| {
        cumulative.iter().find(|(scenario, _)| *scenario == wanted).map_or(0.0, |(_, each)| *each)
    };
    Ok(Report {
        rules: options.rules,
        bytes: options.bytes,
        polls: POLLS,
        batch: BATCH_MAX,
        port: at(Scenario::Port),
        parse: at(Scenario::Parse) - at(Scenario::Port),
        hand_over: at(Scenario::HandOver) - at(Scenario::Parse),
        track: at(Scenario::Track) - at(Scenario::Parse),
        route: at(Scenario::Route) - at(Scenario::Parse),
        decide: at(Scenario::Decide) - at(Scenario::Route),
        emit_and_engine: at(Scenario::Engine) - at(Scenario::Decide),
        weir: at(Scenario::Engine) - at(Scenario::Port),
        raw_empty: at(Scenario::RawEmpty) - at(Scenario::Engine),
        raw: at(Scenario::Raw) - at(Scenario::Engine),
        cumulative,
    })
}

/// Instructions of one whole run.
fn count(scenario: Scenario, polls: u64, options: &Options, folder: &Path) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let file = folder.join("callgrind.out");
    let scenario = clap::ValueEnum::to_possible_value(&scenario).ok_or("a hidden scenario")?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(own)
        .args(["--scenario", scenario.get_name(), "--polls", &polls.to_string()])
        .args(["--rules", &options.rules.to_string(), "--bytes", &options.bytes.to_string()])
        .stdout(Stdio::null());
    let output = command.output().map_err(|error| format!("cannot start valgrind: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("valgrind failed ({}):\n{said}", output.status));
    }
    let text = fs::read_to_string(&file).map_err(|error| format!("callgrind's file: {error}"))?;
    total(&text).ok_or_else(|| "callgrind's file has no line `summary:`".to_owned())
}

/// The number after `summary:` or `totals:` in callgrind's output.
fn total(text: &str) -> Option<u64> {
    let number =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    number("summary:").or_else(|| number("totals:"))
}

fn print(report: &Report, json: bool) {
    if json {
        // A report is numbers and names: it can always be written.
        println!("{}", serde_json::to_string(report).unwrap_or_default());
        return;
    }
    println!(
        "instructions a packet: {} bytes, {} rules, batches of {}",
        report.bytes, report.rules, report.batch
    );
    let lines = [
        ("parse", report.parse),
        ("route", report.route),
        ("decide", report.decide),
        ("answer, emit, transmit, recycle, count", report.emit_and_engine),
        ("= Weir, one worker", report.weir),
        ("track (when a rule asks for it)", report.track),
        ("hand over (with several workers)", report.hand_over),
        ("table raw without rules", report.raw_empty),
        ("table raw with as many rules", report.raw),
        ("memory port, not in the sum", report.port),
    ];
    for (name, instructions) in lines {
        println!("  {name:<40} {instructions:>8.1}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read() {
        assert_eq!(total("version: 1\nsummary: 123\n"), Some(123));
        assert_eq!(total("events: Ir\n\ntotals: 77\n"), Some(77));
        assert_eq!(total("events: Ir\n"), None);
    }
}
