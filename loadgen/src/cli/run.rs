//! `weirgen run`: one run of a profile.

use clap::Args;

use super::outputs::OutputOptions;
use super::seconds;
use super::sides::SideOptions;
use crate::engine;
use crate::error::Error;
use crate::live::Live;
use crate::profile::Profile;
use crate::result::RunResult;
use crate::stop::Stop;

/// What a user may say of a run beyond its profile.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    /// What to send: the name of a profile (see `weirgen profiles`), or a file.
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: String,
    #[command(flatten)]
    pub(crate) sides: SideOptions,
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
    #[command(flatten)]
    pub(crate) outputs: OutputOptions,
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
    let mut profile = super::search::profile(&options.profile, options.frame_bytes)?;
    for Rate { stream, pps } in &options.rate {
        let changed = match stream {
            Some(stream) => profile.with_stream_at(stream, *pps),
            None => profile.at_rate(*pps),
        };
        profile = changed.map_err(|allowed| value("--rate", pps, allowed))?;
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

/// Runs it, shows how it goes, and writes what came of it.
pub(crate) fn run(options: &RunOptions, stop: &Stop) -> Result<RunResult, Error> {
    let profile = profile(options)?;
    let mut ports = options.sides.open(&profile, stop)?;
    let run = options.sides.run_options(&profile);
    options.sides.announce(&profile, &ports, true);
    let seconds = std::time::Duration::from_nanos(profile.duration_ns).as_secs_f64();
    eprintln!(
        "weirgen: at most {} packets and {seconds} s, seed {}; Ctrl-C ends it",
        profile.packets_max, options.sides.seed
    );
    let mut live = Live::new(&profile);
    let result = engine::run(&profile, &mut ports, &run, stop, &mut |now| live.show(now))?;
    live.finish();
    options.sides.explain(&ports);
    options.outputs.write(std::slice::from_ref(&result))?;
    Ok(result)
}
