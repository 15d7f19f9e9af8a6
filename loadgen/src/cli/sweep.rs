//! `weirgen sweep`: one stream of a profile at rising rates, again and again.

use clap::Args;

use super::outputs::OutputOptions;
use super::sides::SideOptions;
use super::{rate_or_none, seconds};
use crate::engine;
use crate::error::Error;
use crate::live::Live;
use crate::profile::Profile;
use crate::report::unit::Unit;
use crate::result::{End, Expect, RunResult};
use crate::search::{Failure, sweep};
use crate::stop::Stop;

#[derive(Clone, Debug, Args)]
pub(crate) struct SweepOptions {
    /// What to send: the name of a profile (see `weirgen profiles`), or a file.
    #[arg(value_name = "PROFILE")]
    profile: String,
    #[command(flatten)]
    sides: SideOptions,
    /// The stream whose rate changes [default: the only one that need not pass].
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Its rates in packets a second; 0 leaves it out.
    #[arg(long, value_name = "PPS", value_delimiter = ',', required = true, value_parser = rate_or_none)]
    rates: Vec<f64>,
    /// Runs at each rate; five are the least for which `weirgen compare` can tell anything.
    #[arg(long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Seconds of one run, instead of the profile's.
    #[arg(long, value_name = "S", value_parser = seconds)]
    duration: Option<f64>,
    #[command(flatten)]
    pub(crate) outputs: OutputOptions,
}

/// The name of the stream that is swept.
fn swept(options: &SweepOptions, profile: &Profile) -> Result<String, Error> {
    let names =
        || profile.streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>().join(", ");
    let refuse = |value: &str| Error::Value {
        option: "--stream",
        value: value.to_owned(),
        allowed: format!("one of the profile's: {}", names()),
    };
    if let Some(name) = &options.stream {
        let known = profile.streams.iter().any(|stream| stream.name == *name);
        return if known { Ok(name.clone()) } else { Err(refuse(name)) };
    }
    let mut floods = profile.streams.iter().filter(|stream| stream.expect != Expect::Pass);
    match (floods.next(), floods.next()) {
        (Some(flood), None) => Ok(flood.name.clone()),
        _ => Err(refuse("(none)")),
    }
}

/// The profile with the stream at a rate, or without it.
fn at(profile: &Profile, stream: &str, rate: f64) -> Result<Profile, Failure> {
    if rate > 0.0 {
        return profile.with_stream_at(stream, rate).map_err(Failure::Lost);
    }
    let mut changed = profile.clone();
    changed.streams.retain(|other| other.name != stream);
    if changed.streams.is_empty() && changed.users.is_none() {
        let allowed = "more than 0, for the profile has no other stream and no users";
        return Err(Failure::Setting { what: "rate", value: "0".to_owned(), allowed });
    }
    Ok(changed)
}

/// Makes the runs, and writes and prints them. Whether any may not be used is told by the status.
pub(crate) fn run(options: &SweepOptions, stop: &Stop) -> Result<Vec<RunResult>, Error> {
    let mut profile = Profile::find(&options.profile)?;
    if let Some(duration) = options.duration {
        let duration = std::time::Duration::from_secs_f64(duration);
        profile.duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    }
    let stream = swept(options, &profile)?;
    // Every rate is tried on paper before the first packet.
    for rate in &options.rates {
        at(&profile, &stream, *rate)?;
    }
    let rounds = usize::from(options.rounds);
    sweep::order(&options.rates, rounds, options.sides.seed)?;
    let mut ports = options.sides.open(&profile, stop)?;
    let mut how = options.sides.run_options(&profile);
    options.sides.announce(&profile, &ports, false);
    let seconds = std::time::Duration::from_nanos(profile.duration_ns).as_secs_f64();
    let count = crate::report::figures::count((options.rates.len() * rounds) as u64);
    eprintln!("weirgen: {count} runs of {seconds} s, seed {}; Ctrl-C ends it", options.sides.seed);
    let mut live = Live::of_trials("sweeping", seconds * count);
    let mut results: Vec<RunResult> = Vec::new();
    let mut number = 0;
    let mut once = |rate: f64| -> Result<RunResult, Failure> {
        let changed = at(&profile, &stream, rate)?;
        // Each run draws anew, and the same sweep draws the same.
        how.seed = options.sides.seed.wrapping_add(number);
        number += 1;
        let result = engine::run(&changed, &mut ports, &how, stop, &mut |_| {});
        let result = result.map_err(|error| Failure::Lost(error.to_string()))?;
        results.push(result.clone());
        match result.ended_by {
            End::Interrupt => Err(Failure::Interrupted),
            End::DeviceLost => Err(Failure::Lost(result.void.unwrap_or_default())),
            End::Duration | End::Count => Ok(result),
        }
    };
    let swept = sweep::sweep(
        &options.rates,
        rounds,
        options.sides.seed,
        &mut once,
        &mut |done, of, result| {
            live.ran(seconds, &summary(done, of, result));
        },
    );
    live.finish();
    options.sides.explain(&ports);
    // A sweep that ended early is written as far as it came; its last run says why.
    options.outputs.write(swept.as_ref().unwrap_or(&results))?;
    Ok(swept?)
}

/// One run in a line.
fn summary(done: usize, of: usize, result: &RunResult) -> String {
    let flood = Unit::PacketsPerSecond.show(crate::report::figures::flood_pps(result));
    let served = crate::report::study::Served::of(std::slice::from_ref(result));
    let share = served.share(result).map_or("nothing".to_owned(), |share| Unit::Share.show(share));
    let void = result.void.as_ref().map_or_else(String::new, |why| format!("; VOID: {why}"));
    format!("{done} of {of}: flood {flood}, {share} served{void}")
}
