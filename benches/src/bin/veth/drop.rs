//! `veth drop`: a flood that ends in user space, of SYN segments from random sources, as many as the kernel hands over.
//!
//! The bar is `drop-loop`: the same sockets, frames back to the fill ring, and nothing else; it does not even look at
//! the packets. The flood comes by live frames (`weirgen run`), which bring more to a socket than another socket can
//! send. Generator, driver and XDP program run on the first core, what drops on the last. Packets that find the
//! receive ring full are lost to both alike, so what is compared is what was taken out of it and dropped.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::Signal;
use weir_tests::netns::Veth;
use weir_tests::process::{self, Process};
use weir_tests::weir::Daemon;
use weir_tests::{Error, Result, interrupt};

use crate::Bench;
use crate::contender::{Contender, Running};
use crate::forward::{count, pause, seconds};
use crate::rounds::{self, Metrics, Report, Scene};
use crate::topology::{GENERATOR_CORE, MAC_F0, Topology};
use crate::usage::processor_time;

/// Before the measured time: rings full, tables in their steady state.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long the flood may take to begin, a contender to tell its count, and the generator to end after its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a count.
const POLL: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What drops; the first is compared with each of the others.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "drop-loop,weir-drop,weir-drop-hashlimit,weir-drop-fuzzy,weir-drop-unverified",
        num_args = 1..
    )]
    contenders: Vec<Contender>,
    /// Rounds: each contender runs once in each.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Packets a second offered; without it, as many as the generator can send.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
}

impl Options {
    /// Weir with a rule that drops, beside the bare loop.
    pub(crate) fn of(pairs: usize) -> Self {
        let contenders = vec![Contender::WeirDrop, Contender::DropLoop];
        Self { contenders, pairs, seconds: 2.0, rate: None }
    }
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<Report> {
    if let Some(other) = options.contenders.iter().find(|contender| !contender.drops()) {
        return Err(Error::Unmet(format!("{other} forwards: name what drops (see --help)")));
    }
    let topology = Topology::build()?;
    // weirgen wants two sides; nothing comes by the second.
    Veth::between(&topology.generator, "g1", &topology.sink, "s1").create()?;
    let offered = options.rate.map_or("flood".to_owned(), |rate| format!("{rate} pps offered"));
    let name = format!("drop: SYN segments from random sources, {offered}");
    rounds::play(bench, &topology, &name, &options.contenders, options.pairs, |scene| {
        measure(scene, options)
    })
}

/// One reading.
struct Reading {
    at: Instant,
    dropped: u64,
    dropper: Duration,
}

fn measure(scene: &Scene<'_>, options: &Options) -> Result<(Metrics, Option<String>)> {
    let dropper = Dropper::of(scene)?;
    let measured = Duration::from_secs_f64(options.seconds);
    let before = dropper.dropped()?;
    let mut flood = flood(scene, options.rate, WARM_UP + measured + PATIENCE)?;
    let start = Instant::now();
    while dropper.dropped()? < before + 1_000 {
        if start.elapsed() > PATIENCE {
            let what = format!("packets that {} drops", scene.contender);
            return Err(Error::Timeout { what, after: PATIENCE, output: flood.text()? });
        }
        interrupt::check()?;
        thread::sleep(POLL);
    }
    pause(WARM_UP)?;
    let first = dropper.read()?;
    pause(measured)?;
    let second = dropper.read()?;
    let gone = flood.status()?.is_some();
    flood.stop()?;
    let elapsed = second.at.duration_since(first.at).as_secs_f64();
    let dropped_pps = count(second.dropped - first.dropped) / elapsed;
    let dropper_cores = second.dropper.saturating_sub(first.dropper).as_secs_f64() / elapsed;
    let metrics = Metrics::from([("dropped_pps", dropped_pps), ("dropper_cores", dropper_cores)]);
    Ok((metrics, gone.then(|| "the flood ended before its time".to_owned())))
}

/// Starts the flood.
fn flood(scene: &Scene<'_>, rate: Option<u32>, duration: Duration) -> Result<Process> {
    let rate = rate.map_or("\"flood\"".to_owned(), |rate| rate.to_string());
    let profile = format!(
        "[[stream]]\nname = \"flood\"\nkind = \"tcp-syn\"\nexpect = \"either\"\nrate = {rate}\nsource = \"anywhere\"\n\
         source_port = {{ in = \"1024-65535\", order = \"random\" }}\ndestination = \"198.19.0.2\"\n\
         destination_port = 80\n"
    );
    let file = scene.folder.path().join("flood.toml");
    std::fs::write(&file, profile).map_err(Error::io("write the flood's profile"))?;
    let Scene { bench, topology, .. } = scene;
    let mut command = topology.generator.command("taskset");
    command.args(["-c", &GENERATOR_CORE.to_string()]).arg(&bench.programs.weirgen);
    command.arg("run").arg(&file).args(["--left", "g0", "--right", "g1", "--left-mac", MAC_F0]);
    command.args(["--engine", "live-frames", "--count", "1000000000000"]);
    command.args(["--duration", &duration.as_secs_f64().to_string()]);
    Process::spawn("weirgen", command, &scene.folder.path().join("weirgen.log"))
}

/// What drops, and how to ask it.
enum Dropper<'a> {
    Weir(&'a Daemon),
    Loop(&'a Process),
}

impl<'a> Dropper<'a> {
    fn of(scene: &Scene<'a>) -> Result<Self> {
        match scene.running {
            Running::Weir(daemon) => Ok(Self::Weir(daemon)),
            Running::L2fwd(process) => Ok(Self::Loop(process)),
            Running::Kernel { .. } => {
                Err(Error::Unmet("the kernel drops nothing in user space".to_owned()))
            }
        }
    }

    fn read(&self) -> Result<Reading> {
        let pid = match self {
            Self::Weir(daemon) => daemon.pid(),
            Self::Loop(process) => process.pid(),
        };
        let dropped = self.dropped()?;
        Ok(Reading { at: Instant::now(), dropped, dropper: processor_time(pid)? })
    }

    /// Packets dropped so far.
    fn dropped(&self) -> Result<u64> {
        match self {
            Self::Weir(daemon) => {
                let stats = daemon.stats()?;
                let dropped = stats["totals"]["dropped"].as_u64();
                dropped.ok_or_else(|| Error::Unreadable {
                    what: "what weir has dropped".to_owned(),
                    text: stats.to_string(),
                })
            }
            Self::Loop(process) => told(process),
        }
    }
}

/// What the bare loop says when it is asked.
fn told(process: &Process) -> Result<u64> {
    let lines = |text: &str| -> Vec<u64> {
        let count = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            value["packets"].as_u64()
        };
        text.lines().filter_map(count).collect()
    };
    let before = lines(&process.text()?).len();
    process::signal(process.pid(), Signal::USR1);
    let start = Instant::now();
    loop {
        let text = process.text()?;
        if let Some(count) = lines(&text).get(before) {
            return Ok(*count);
        }
        if start.elapsed() > PATIENCE {
            let what = "the count of the bare loop".to_owned();
            return Err(Error::Timeout { what, after: PATIENCE, output: text });
        }
        interrupt::check()?;
        thread::sleep(Duration::from_micros(100));
    }
}
