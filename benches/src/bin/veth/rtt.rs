//! `veth rtt`: the round-trip time of ping, across.

use std::time::Duration;

use clap::Args;
use weir_benches::statistics::quantile;
use weir_tests::{Error, Result, process};

use crate::Bench;
use crate::contender::Contender;
use crate::forward::count;
use crate::rounds::{self, Metrics, Report, Scene};
use crate::topology::{SINK, Topology};

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// What forwards; the first is compared with each of the others.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "weir,kernel", num_args = 1..)]
    contenders: Vec<Contender>,
    /// Rounds: each contender runs once in each.
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    /// Echo requests in each run.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    count: u32,
    /// Seconds between them.
    #[arg(long, default_value = "0.01")]
    interval: String,
}

impl Options {
    /// The defaults, with so many rounds.
    pub(crate) fn of(pairs: usize) -> Self {
        let contenders = vec![Contender::Weir, Contender::Kernel];
        Self { contenders, pairs, count: 200, interval: "0.01".to_owned() }
    }
}

pub(crate) fn run(bench: &Bench, options: &Options) -> Result<Report> {
    let topology = Topology::build()?;
    let name = format!("rtt: {} pings, {} s apart", options.count, options.interval);
    rounds::play(bench, &topology, &name, &options.contenders, options.pairs, |scene| {
        measure(scene, options)
    })
}

fn measure(scene: &Scene<'_>, options: &Options) -> Result<(Metrics, Option<String>)> {
    let ping = |count: u32| {
        let mut command = scene.topology.generator.command("ping");
        command.args(["-n", "-c", &count.to_string(), "-i", &options.interval, "-W", "1", SINK]);
        command
    };
    // The first packets of a fresh start are not what is asked about.
    process::output(ping(5), Duration::from_secs(30))?;
    let output = process::output(ping(options.count), Duration::from_secs(600))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut times_us = times_us(&text);
    times_us.sort_by(f64::total_cmp);
    if times_us.is_empty() {
        return Err(Error::Unreadable { what: "the answers that ping got".to_owned(), text });
    }
    let received = u32::try_from(times_us.len()).unwrap_or(u32::MAX);
    let sum: f64 = times_us.iter().sum();
    let metrics = Metrics::from([
        ("average_us", sum / f64::from(received)),
        ("median_us", quantile(&times_us, 0.5)),
        ("p99_us", quantile(&times_us, 0.99)),
        ("lost_packets", count(u64::from(options.count.saturating_sub(received)))),
    ]);
    Ok((metrics, None))
}

/// The round-trip times in ping's lines, in microseconds.
fn times_us(text: &str) -> Vec<f64> {
    let time = |line: &str| {
        let (_, rest) = line.split_once("time=")?;
        rest.split_whitespace().next()?.parse::<f64>().ok().map(|ms| ms * 1000.0)
    };
    text.lines().filter_map(time).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let text = "PING 198.19.0.2 (198.19.0.2) 56(84) bytes of data.\n\
                    64 bytes from 198.19.0.2: icmp_seq=1 ttl=63 time=0.125 ms\n\
                    64 bytes from 198.19.0.2: icmp_seq=2 ttl=63 time=2 ms\n\n--- statistics ---\n";
        assert_eq!(times_us(text), [125.0, 2000.0]);
    }
}
