//! How fast weirgen sends by either engine, beside a bare AF_XDP loop, trafgen and hping3, over a veth pair in
//! namespaces of its own.
//!
//! ```text
//!   cargo run --release -p weir-benches --bin transmit -- compare
//!   ... -- compare --contenders weirgen,bare --rounds 20 --seconds 1 --urgent
//!   ... -- paced --rates 1000,10000,100000          does it keep the rate that is asked for?
//! ```
//!
//! All send to the same sink: Weir's XDP program without sockets, which drops and counts in the driver. What is
//! compared is what arrives there, and not what a sender says of itself. A round runs each of them once, every
//! second round backwards; a result is the median over rounds of the ratio within a round, with a 95 % interval
//! from order statistics.

mod bare;
mod contender;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use weir_dataplane::program::{
    AttachMode, Attachment, OnExit, Program, ProgramConfig, ProgramError,
};
use weir_loadgen::statistics::Summary;
use weir_tests::netns::{Namespace, Veth};
use weir_tests::process::{self, Process};
use weir_tests::{Error, Result, interrupt, skip};

use contender::{Contender, MACS};

/// Before the measured time: rings full, caches warm.
const WARM_UP: Duration = Duration::from_millis(400);

/// How long a sender may take to start, and to end after its time.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Parser)]
#[command(name = "transmit")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Packets a second of each contender.
    Compare(Compare),
    /// Rates asked for and achieved, over 10 s each.
    Paced(Paced),
    /// The bare loop alone.
    Bare(bare::Options),
}

#[derive(Clone, Debug, Args)]
struct Compare {
    /// What sends; weirgen is compared with each that is named after it.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "weirgen,weirgen-live,bare,trafgen,hping3"
    )]
    contenders: Vec<Contender>,
    /// Rounds: each contender runs once in each.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// The program `weirgen` [default: the one beside this program].
    #[arg(long)]
    weirgen: Option<PathBuf>,
    /// Go before what other sessions of this machine do (autogroup nice -20): for a shared machine.
    #[arg(long)]
    urgent: bool,
}

#[derive(Clone, Debug, Args)]
struct Paced {
    /// Packets a second.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,200000")]
    rates: Vec<u64>,
    /// Seconds of each run.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// The program `weirgen` [default: the one beside this program].
    #[arg(long)]
    weirgen: Option<PathBuf>,
    /// As for `compare`.
    #[arg(long)]
    urgent: bool,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bare(options) => match bare::run(&options) {
            Ok(()) => Ok(()),
            Err(error) => Err(Error::Unmet(error.to_string())),
        },
        Command::Compare(options) => compare(&options),
        Command::Paced(options) => paced(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("transmit: {error}");
            ExitCode::from(2)
        }
    }
}

/// A sender's namespace with `g0` and `g1`, a sink's with `s0` and `s1`.
struct Topology {
    sender: Namespace,
    sink: Namespace,
}

impl Topology {
    fn build() -> Result<Self> {
        if !skip::is_root() {
            return Err(Error::Unmet(
                "network namespaces and XDP take root: run it as root".to_owned(),
            ));
        }
        interrupt::install()?;
        let (sender, sink) = (Namespace::unique("txgen")?, Namespace::unique("txsink")?);
        Veth::between(&sender, "g0", &sink, "s0").macs(MACS[0], MACS[1]).create()?;
        // weirgen wants two sides; nothing comes by the second.
        Veth::between(&sender, "g1", &sink, "s1").create()?;
        sender.add_address("g0", "198.18.0.2/24")?;
        sender.ip("route add 198.19.0.0/24 via 198.18.0.1")?;
        sender.ip(&format!("neighbour add 198.18.0.1 lladdr {} dev g0", MACS[1]))?;
        Ok(Self { sender, sink })
    }
}

/// The program on the sink's device, which drops and counts.
struct Sink {
    program: Program,
    _attachment: Attachment,
}

impl Sink {
    fn attach(topology: &Topology) -> Result<Self> {
        let _inside = topology.sink.enter()?;
        let ifindex =
            af_xdp::nic::ifindex("s0").map_err(|error| Error::Unmet(error.to_string()))?;
        let config = ProgramConfig::forwarding(OnExit::Drop);
        let mut program = Program::load(config).map_err(unmet)?;
        let attachment = program.attach("s0", ifindex, AttachMode::Driver).map_err(unmet)?;
        Ok(Self { program, _attachment: attachment })
    }

    fn packets(&self) -> Result<u64> {
        Ok(self.program.counters().map_err(unmet)?.no_socket_dropped.packets)
    }
}

fn unmet(error: ProgramError) -> Error {
    Error::Unmet(error.to_string())
}

/// The program `weirgen`: the one that was named, or the one beside this one.
fn weirgen(named: Option<&Path>) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(Error::io("find this program"))?;
    let path = named.map_or_else(|| own.with_file_name("weirgen"), Path::to_owned);
    let build = "build it first: cargo build --release -p weir-loadgen";
    path.canonicalize()
        .map_err(|_| Error::Unmet(format!("{} is not there: {build}", path.display())))
}

fn compare(options: &Compare) -> Result<()> {
    let weirgen = weirgen(options.weirgen.as_deref())?;
    let topology = Topology::build()?;
    let sink = Sink::attach(&topology)?;
    let _urgency = options.urgent.then(weir_benches::Urgency::take).transpose()?;
    let mut contenders = options.contenders.clone();
    contenders.retain(|contender| match contender::unmet(*contender) {
        Some(why) => {
            println!("SKIPPED: {contender}: {why}");
            false
        }
        None => true,
    });
    let mut rates: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for round in 0..options.rounds {
        let mut order = contenders.clone();
        if round % 2 == 1 {
            order.reverse();
        }
        for contender in order {
            let pps = measure(contender, &topology, &sink, &weirgen, options.seconds)?;
            println!("{:>3} {contender:<12} {pps:>10.0} pps", round + 1);
            rates.entry(contender.to_string()).or_default().push(pps);
        }
    }
    report(&contenders, &rates);
    Ok(())
}

/// Packets a second that arrive from one contender.
fn measure(
    contender: Contender,
    topology: &Topology,
    sink: &Sink,
    weirgen: &Path,
    seconds: f64,
) -> Result<f64> {
    interrupt::check()?;
    let folder = tempfile::tempdir().map_err(Error::io("make a folder for logs"))?;
    let whole = seconds + PATIENCE.as_secs_f64();
    let command = contender.command(&topology.sender, weirgen, folder.path(), whole)?;
    let before = sink.packets()?;
    let process = Process::spawn("sender", command, &folder.path().join("sender.log"))?;
    let start = Instant::now();
    while sink.packets()? < before + 1000 {
        if start.elapsed() > PATIENCE {
            let output = process.text()?;
            return Err(Error::Timeout {
                what: format!("packets of {contender}"),
                after: PATIENCE,
                output,
            });
        }
        thread::sleep(Duration::from_millis(5));
    }
    thread::sleep(WARM_UP);
    let (first, begin) = (sink.packets()?, Instant::now());
    thread::sleep(Duration::from_secs_f64(seconds));
    let (last, elapsed) = (sink.packets()?, begin.elapsed().as_secs_f64());
    process.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    let pps = (last - first) as f64 / elapsed;
    Ok(pps)
}

/// Prints the medians, and the first beside each of the others.
fn report(contenders: &[Contender], rates: &BTreeMap<String, Vec<f64>>) {
    let of = |contender: &Contender| rates.get(&contender.to_string()).cloned().unwrap_or_default();
    for contender in contenders {
        if let Some(summary) = Summary::of(&of(contender)) {
            println!(
                "{contender:<12} {:>10.0} pps  ({:.0} to {:.0})",
                summary.median, summary.min, summary.max
            );
        }
    }
    // Each of ours beside all that are named after it.
    let is_ours =
        |contender: &Contender| matches!(contender, Contender::Weirgen | Contender::WeirgenLive);
    let ours = contenders.iter().enumerate().filter(|(_, contender)| is_ours(contender));
    for (first, other) in
        ours.flat_map(|(at, first)| contenders[at + 1..].iter().map(move |other| (first, other)))
    {
        let pairs = of(first).into_iter().zip(of(other));
        let ratios: Vec<f64> = pairs.map(|(a, b)| a / b).collect();
        if let Some(Summary { median, low, high, coverage, .. }) = Summary::of(&ratios) {
            let covered = 100.0 * coverage;
            println!("{first} / {other}: {median:.3}  ({low:.3} to {high:.3}, {covered:.0} %)");
        }
    }
}

/// Asks for rates, and prints what was achieved.
fn paced(options: &Paced) -> Result<()> {
    let weirgen = weirgen(options.weirgen.as_deref())?;
    let topology = Topology::build()?;
    let sink = Sink::attach(&topology)?;
    let _urgency = options.urgent.then(weir_benches::Urgency::take).transpose()?;
    for rate in &options.rates {
        interrupt::check()?;
        let before = sink.packets()?;
        let mut command = topology.sender.command("taskset");
        command.args(["-c", "0"]).arg(&weirgen).args(["run", "flows-1k", "--json", "-"]);
        command.args(["--left", "g0", "--right", "g1", "--left-mac", MACS[1]]);
        command.args(["--rate", &rate.to_string(), "--count", "1000000000"]);
        command.args(["--duration", &options.seconds.to_string()]);
        let output = process::output(command, Duration::from_secs_f64(options.seconds) + PATIENCE)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().next().unwrap_or_default();
        let result: Value = serde_json::from_str(line).map_err(|_| Error::Unreadable {
            what: "the result of weirgen".to_owned(),
            text: text.clone(),
        })?;
        let stream = &result["streams"][0];
        let (sent, arrived) = (&stream["sent"], sink.packets()? - before);
        let achieved = stream["achieved_pps"].as_f64().unwrap_or(0.0);
        #[expect(clippy::cast_precision_loss, reason = "rates are below 2^53")]
        let share = 100.0 * achieved / *rate as f64;
        println!(
            "asked {rate:>8} pps, achieved {achieved:>10.1} ({share:.2} %), sent {sent}, arrived {arrived}"
        );
    }
    Ok(())
}
