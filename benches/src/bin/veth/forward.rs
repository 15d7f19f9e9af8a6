//! `veth forward`: packets delivered a second, flooded or at a paced rate.
//!
//! `other_cores` is what the machine did besides: where it is not near 0 (beyond what the kernel
//! forwards on nobody's account), absolute numbers mean little and intervals are wide.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use weir_tests::{Result, interrupt};

use crate::Bench;
use crate::contender::Contender;
use crate::generator::{self, Load};
use crate::rounds::{self, Metrics, Report, Scene};
use crate::sink::DropCounter;
use crate::topology::Topology;
use crate::usage::{machine_time, processor_time};

/// Before the measured time: caches warm, rings in their steady state.
const WARM_UP: Duration = Duration::from_millis(500);

/// After it, so that the generator outlives the second reading.
const MARGIN: Duration = Duration::from_millis(500);

/// How long the last packets may be on their way.
const SETTLE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What forwards; the first is compared with each of the others.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "weir,l2fwd", num_args = 1..)]
    contenders: Vec<Contender>,
    /// Rounds: each contender runs once in each.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Seconds measured in each run.
    #[arg(long, default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Packets a second offered; without it, as many as the generator can send.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Bytes a frame.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(60..=1514))]
    length: u32,
    /// Flows: source ports.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    flows: u16,
}

impl Options {
    /// The defaults, with these contenders.
    pub(crate) fn of(contenders: &str, pairs: usize, rate: Option<u64>) -> Self {
        let named = contenders.split(',');
        let contenders =
            named.filter_map(|name| clap::ValueEnum::from_str(name, false).ok()).collect();
        Self { contenders, pairs, seconds: 3.0, rate, length: 60, flows: 1 }
    }
}

/// Seconds of a run.
pub(crate) fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be 0.1 to 600 seconds".to_owned()),
    }
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let topology = Topology::build()?;
    let sink = DropCounter::attach(&topology)?;
    let offered = options.rate.map_or("flood".to_owned(), |rate| format!("{rate} pps offered"));
    let name =
        format!("forward: UDP, {} bytes, {} flow(s), {offered}", options.length, options.flows);
    let contenders = &options.contenders;
    let report = rounds::play(bench, &topology, &name, contenders, options.pairs, |scene| {
        measure(scene, &sink, options)
    })?;
    sink.detach(&topology)?;
    Ok(report)
}

/// One reading of everything.
struct Reading {
    at: Instant,
    delivered: u64,
    forwarder: Duration,
    generator: Duration,
    machine: Duration,
}

fn read(scene: &Scene<'_>, sink: &DropCounter, generator: u32) -> Result<Reading> {
    Ok(Reading {
        at: Instant::now(),
        delivered: sink.packets()?,
        forwarder: scene.running.pid().map_or(Ok(Duration::ZERO), processor_time)?,
        generator: processor_time(generator)?,
        machine: machine_time()?,
    })
}

fn measure(
    scene: &Scene<'_>,
    sink: &DropCounter,
    options: &Options,
) -> Result<(Metrics, Option<String>)> {
    let measured = Duration::from_secs_f64(options.seconds);
    let duration = WARM_UP + measured + MARGIN;
    let load = Load { rate: options.rate, length: options.length, flows: options.flows, duration };
    let before = sink.packets()?;
    let mut generator = generator::start(scene.bench, scene.topology, &load, scene.folder.path())?;
    thread::sleep(WARM_UP);
    let first = read(scene, sink, generator.pid())?;
    pause(measured)?;
    let second = read(scene, sink, generator.pid())?;
    let sent = generator::wait(&mut generator, &load)?;
    thread::sleep(SETTLE);
    let delivered_all = sink.packets()? - before;

    let elapsed = second.at.duration_since(first.at).as_secs_f64();
    let cores =
        |earlier: Duration, later: Duration| later.saturating_sub(earlier).as_secs_f64() / elapsed;
    let forwarder_cores = cores(first.forwarder, second.forwarder);
    let generator_cores = cores(first.generator, second.generator);
    let machine_cores = cores(first.machine, second.machine);
    let other_cores = (machine_cores - forwarder_cores - generator_cores).max(0.0);
    let delivered_pps = count(second.delivered - first.delivered) / elapsed;
    let metrics = Metrics::from([
        ("delivered_pps", delivered_pps),
        ("offered_pps", sent.achieved_pps),
        ("lost_packets", count(sent.packets.saturating_sub(delivered_all))),
        ("forwarder_cores", forwarder_cores),
        ("generator_cores", generator_cores),
        ("other_cores", other_cores),
        ("delivered_pps_per_core", delivered_pps / (forwarder_cores + generator_cores)),
    ]);
    let void = sent.void.or_else(|| {
        (delivered_all == 0)
            .then(|| "nothing was delivered: the contender does not forward".to_owned())
    });
    Ok((metrics, void))
}

/// Sleeps in pieces, so that Ctrl-C is heeded.
pub(crate) fn pause(time: Duration) -> Result<()> {
    let start = Instant::now();
    while let Some(left) = time.checked_sub(start.elapsed()) {
        interrupt::check()?;
        thread::sleep(left.min(Duration::from_millis(100)));
    }
    Ok(())
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
pub(crate) fn count(packets: u64) -> f64 {
    packets as f64
}
