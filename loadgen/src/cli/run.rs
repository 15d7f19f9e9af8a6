//! `weirgen run`: one run of a profile.

use std::path::{Path, PathBuf};

use af_xdp::ModeChoice;
use clap::Args;
use weir_dataplane::wire::MacAddr;

use super::report::{Format, make, write_file};
use super::seconds;
use crate::engine::{self, Idle, Options, Ports, SEED, Sides};
use crate::environment;
use crate::error::Error;
use crate::profile::{Profile, Side};
use crate::report::html;
use crate::result::RunResult;
use crate::stop::Stop;

/// What a user may say of a run beyond its profile.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// What to send: the name of a profile (see `weirgen profiles`), or a file.
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: String,
    /// Interface of attackers and users.
    #[arg(long, value_name = "IF")]
    pub(crate) left: String,
    /// Interface of the server.
    #[arg(long, value_name = "IF")]
    pub(crate) right: String,
    /// MAC address of the next hop on the left [default: that of the interface on the right].
    #[arg(long, value_name = "MAC")]
    pub(crate) left_mac: Option<MacAddr>,
    /// MAC address of the next hop on the right [default: that of the interface on the left].
    #[arg(long, value_name = "MAC")]
    pub(crate) right_mac: Option<MacAddr>,
    /// Packets a second of all streams together, or of one: STREAM=PPS. May be repeated.
    #[arg(long, value_name = "PPS")]
    pub(crate) rate: Vec<Rate>,
    /// Seconds to send for, instead of the profile's.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) duration: Option<f64>,
    /// Packets to send at most, instead of the profile's.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000_000))]
    pub(crate) count: Option<u64>,
    /// Length of frames in bytes, check sequence included, instead of the profile's.
    #[arg(long, value_name = "BYTES")]
    pub(crate) frame_bytes: Option<usize>,
    /// Seed of everything that is drawn at random.
    #[arg(long, value_name = "N", default_value_t = SEED)]
    pub(crate) seed: u64,
    /// Threads; each needs a queue of either interface.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) threads: u16,
    /// Cores for the threads, as in 0,2.
    #[arg(long, value_name = "CORES", value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
    /// Sleep when nothing is due, instead of keeping a core busy. Wake-ups show in latencies.
    #[arg(long)]
    pub(crate) sleep: bool,
    /// How packets reach the devices: auto, zero-copy, copy or skb.
    #[arg(long, default_value_t = ModeChoice::Auto)]
    pub(crate) mode: ModeChoice,
    /// Use this interface even if it holds the default route: its name, once more.
    #[arg(long, value_name = "IF")]
    pub(crate) allow_default_route: Vec<String>,
    /// What results call the run [default: the profile's name].
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Write the result as JSON to a file; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the figures as CSV to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write a page with plots to a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// A rate for all streams or for one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate {
    stream: Option<String>,
    pps: f64,
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (stream, number) = match text.rsplit_once('=') {
            Some((stream, number)) => (Some(stream.to_owned()), number),
            None => (None, text),
        };
        match number.parse::<f64>() {
            Ok(pps) if (0.001..=1e9).contains(&pps) => Ok(Self { stream, pps }),
            _ => Err("must be 0.001 to 1000000000 packets a second, or STREAM= and such a number"
                .to_owned()),
        }
    }
}

/// Reads the profile and changes it as the options say.
pub(crate) fn profile(options: &RunOptions) -> Result<Profile, Error> {
    let mut profile = Profile::find(&options.profile)?;
    for Rate { stream, pps } in &options.rate {
        let changed = match stream {
            Some(stream) => profile.with_stream_at(stream, *pps),
            None => profile.at_rate(*pps),
        };
        profile = changed.map_err(|allowed| value("--rate", pps, allowed))?;
    }
    if let Some(bytes) = options.frame_bytes {
        let changed = profile.with_frame_bytes(bytes);
        profile = changed.map_err(|allowed| value("--frame-bytes", bytes, allowed))?;
    }
    if let Some(duration) = options.duration {
        profile.duration_ns =
            u64::try_from(std::time::Duration::from_secs_f64(duration).as_nanos())
                .unwrap_or(u64::MAX);
    }
    profile.packets_max = options.count.unwrap_or(profile.packets_max);
    Ok(profile)
}

fn value(option: &'static str, value: impl ToString, allowed: String) -> Error {
    Error::Value { option, value: value.to_string(), allowed }
}

/// Runs it, and prints and writes what came of it.
pub(crate) fn run(options: &RunOptions, stop: &Stop) -> Result<RunResult, Error> {
    let profile = profile(options)?;
    let mut ports = Ports::open(&Sides {
        interfaces: [options.left.clone(), options.right.clone()],
        next_hops: [options.left_mac, options.right_mac],
        mode: options.mode,
        threads: usize::from(options.threads),
        allow_default_route: options.allow_default_route.clone(),
    })?;
    let run = Options {
        seed: options.seed,
        label: options.label.clone().unwrap_or_else(|| profile.name.clone()),
        command: std::env::args().collect(),
        environment: environment::read(Vec::new()),
        cores: options.cores.clone(),
        idle: if options.sleep { Idle::Sleep } else { Idle::Spin },
    };
    announce(&profile, &ports, options);
    let result = engine::run(&profile, &mut ports, &run, stop, &mut |_| {})?;
    write(options, &result)?;
    Ok(result)
}

/// Writes the result to the files that are asked for.
fn write(options: &RunOptions, result: &RunResult) -> Result<(), Error> {
    if let Some(path) = &options.json {
        let mut text =
            serde_json::to_string(result).map_err(|error| Error::Output(error.into()))?;
        text.push('\n');
        if path == Path::new("-") {
            crate::write_out(text.as_bytes())?;
        } else {
            write_file(path, text.as_bytes())?;
        }
    }
    let results = std::slice::from_ref(result);
    for (path, format) in [(&options.csv, Format::Csv), (&options.html, Format::Html)] {
        if let Some(path) = path {
            write_file(path, &make(results, format, &html::Options::default())?)?;
        }
    }
    Ok(())
}

/// Says what will be sent, and where, on standard error.
fn announce(profile: &Profile, ports: &Ports, options: &RunOptions) {
    for side in Side::BOTH {
        let [own, next_hop] = ports.macs[side.index()];
        let name = [&options.left, &options.right][side.index()];
        for stream in profile.streams.iter().filter(|stream| stream.from == side) {
            let rate = stream.schedule.mean_pps(profile.duration_ns);
            let rate =
                rate.map_or("as fast as they go".to_owned(), |pps| format!("{pps:.0} a second"));
            eprintln!("weirgen: {name} {own} -> {next_hop}: {}: {stream}, {rate}", stream.name);
        }
    }
    if let Some(users) = &profile.users {
        let (left, right) = (&options.left, &options.right);
        eprintln!("weirgen: {left} <-> {right}: users: {} connections a second", users.rate);
    }
    let seconds = std::time::Duration::from_nanos(profile.duration_ns).as_secs_f64();
    eprintln!(
        "weirgen: at most {} packets and {seconds} s, seed {}; Ctrl-C ends it",
        profile.packets_max, options.seed
    );
}
