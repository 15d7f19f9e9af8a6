//! `weirgen connections`: connections a second, and connections at once.

use clap::{Args, ValueEnum};

use super::outputs::FoundOptions;
use super::sides::SideOptions;
use super::{connection_rate, seconds, share};
use crate::error::Error;
use crate::live::Live;
use crate::profile::Profile;
use crate::report::figures::count;
use crate::report::unit::Unit;
use crate::result::{Environment, FORMAT, RunResult};
use crate::search::connections::{Concurrent, FAILURES_MAX, concurrent, rate_goal};
use crate::search::mlr::{self, Found, Settings};
use crate::search::transactions::{CONNECTIONS_MAX, Holding, UsersTrial};
use crate::search::{Failure, Offer, show};
use crate::stop::Stop;

#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectionsOptions {
    /// Whose connections: the name of a profile with users (see `weirgen profiles`), or a file.
    #[arg(value_name = "PROFILE", default_value = "connection-rate")]
    profile: String,
    #[command(flatten)]
    sides: SideOptions,
    /// Tests to make.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "rate,concurrent")]
    tests: Vec<Test>,
    /// Least rate, in connections a second.
    #[arg(long, value_name = "CPS", value_parser = connection_rate, default_value = "100")]
    min: f64,
    /// Greatest rate, in connections a second; a generator that does not reach it lowers it by itself.
    #[arg(long, value_name = "CPS", value_parser = connection_rate, default_value = "100000")]
    max: f64,
    /// Seconds of one trial at a rate.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 2.0)]
    trial: f64,
    /// Seconds of all trials at one rate.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 20.0)]
    duration_sum: f64,
    /// How far apart the bounds of the rate may be at the end, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = share, default_value = "2")]
    width: f64,
    /// Seconds of all trials at rates after which that search ends with what it has.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 600.0)]
    time_max: f64,
    /// Most connections at once that are tried.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    most: u64,
    /// Connections begun a second until all are there.
    #[arg(long, value_name = "CPS", value_parser = connection_rate, default_value = "10000")]
    ramp: f64,
    /// Seconds for which all are open.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 2.0)]
    hold: f64,
    #[command(flatten)]
    found: FoundOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// Connections a second (RFC 9411 section 7.2, RFC 3511 section 5.3).
    Rate,
    /// Connections at once (RFC 9411 section 7.5, RFC 3511 section 5.2).
    Concurrent,
}

/// What is printed as JSON.
#[derive(Default, serde::Serialize)]
struct ConnectionsResult {
    format: u32,
    command: Vec<String>,
    label: String,
    environment: Option<Environment>,
    seed: u64,
    /// The share of connections of a trial that may fail.
    failures_max: f64,
    /// Why not all that was asked for was found, if it was not.
    cut_short: Option<Failure>,
    rate: Option<Found>,
    concurrent: Option<Concurrent>,
}

/// Searches, and prints what was found.
pub(crate) fn run(options: &ConnectionsOptions, stop: &Stop) -> Result<(), Error> {
    let profile = Profile::find(&options.profile)?;
    let mut ports = options.sides.open(&profile, stop)?;
    let run = options.sides.run_options(&profile);
    options.sides.announce(&profile, &ports, false);
    eprintln!(
        "weirgen: at most {} connections a second and {} at once; Ctrl-C ends it",
        options.max, options.most
    );
    let mut live = Live::of_trials("connections", options.time_max);
    let mut observer =
        |offer: &Offer, result: &RunResult| live.ran(result.elapsed_s, &line(offer, result));
    let holding = Holding { ramp_per_second: options.ramp, hold_s: options.hold };
    let mut trial = UsersTrial::new(profile, holding, &mut ports, &run, stop, &mut observer)?;
    let mut result = ConnectionsResult {
        format: FORMAT,
        command: run.command.clone(),
        label: run.label.clone(),
        seed: run.seed,
        failures_max: FAILURES_MAX,
        ..ConnectionsResult::default()
    };
    let outcome = search(options, &mut trial, &mut result);
    let runs = std::mem::take(&mut trial.runs);
    live.finish();
    // Trials that were made are written, and what was found is printed, whatever ended the search.
    options.found.write_runs(&runs)?;
    result.environment = runs.first().map(|run| run.environment.clone());
    result.cut_short = outcome.err();
    options.found.print(&result, || shown(&result, &options.tests))?;
    result.cut_short.map_or(Ok(()), |failure| Err(failure.into()))
}

fn search(
    options: &ConnectionsOptions,
    trial: &mut UsersTrial<'_>,
    result: &mut ConnectionsResult,
) -> Result<(), Failure> {
    if options.tests.contains(&Test::Rate) {
        let goal = mlr::Goal {
            trial_s: options.trial,
            duration_sum_s: options.duration_sum.max(options.trial),
            width: options.width,
            ..rate_goal()
        };
        let settings = Settings {
            goals: vec![goal],
            load_min: options.min,
            load_max: options.max,
            search_max_s: options.time_max,
        };
        let found = mlr::search(&settings, trial, &mut |_| ())?;
        let cut_short = found.cut_short.clone();
        result.rate = Some(found);
        cut_short.map_or(Ok(()), Err)?;
    }
    if options.tests.contains(&Test::Concurrent) {
        let found = concurrent(options.most, trial)?;
        let cut_short = found.cut_short.clone();
        result.concurrent = Some(found);
        cut_short.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// One trial in a line.
fn line(offer: &Offer, result: &RunResult) -> String {
    let offered = match offer {
        Offer::Hold { connections } => {
            format!("{} at once", Unit::Connections.show(count(*connections)))
        }
        Offer::Rate { per_second, .. } => Unit::ConnectionsPerSecond.show(*per_second),
        Offer::Burst { frames } => format!("{frames} frames"),
    };
    let users = result.users.as_ref();
    let (attempted, completed) = users.map_or((0, 0), |users| (users.attempted, users.completed));
    let void = result.void.as_ref().map_or_else(String::new, |why| format!("; VOID: {why}"));
    format!("{offered}: {completed} of {attempted} completed{void}")
}

fn shown(result: &ConnectionsResult, tests: &[Test]) -> String {
    let part = |test: &Test| match test {
        Test::Rate => match &result.rate {
            Some(found) => show::found(found, Unit::ConnectionsPerSecond),
            None => "connection rate: not found".to_owned(),
        },
        Test::Concurrent => match &result.concurrent {
            Some(found) => show::concurrent(found),
            None => "concurrent    not found".to_owned(),
        },
    };
    let parts: Vec<String> = tests.iter().map(part).collect();
    let partial = result.cut_short.as_ref().map_or_else(String::new, show::partial);
    partial + &parts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::mlr::{Goal, search};
    use crate::search::simulated::Device;

    #[test]
    fn what_was_known_before_the_end_is_said() {
        let settings =
            Settings { goals: vec![rate_goal()], load_min: 1.0, load_max: 1e5, search_max_s: 1e4 };
        let cut = |trials| {
            let mut device = Device { trials_max: trials, ..Device::exact(4e4) };
            let mut result = ConnectionsResult::default();
            let found = search(&settings, &mut device, &mut |_| ()).unwrap();
            result.cut_short.clone_from(&found.cut_short);
            result.rate = Some(found);
            result
        };
        let shown = shown(&cut(12), &[Test::Rate, Test::Concurrent]);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines[0], "PARTIAL RESULT: interrupted; this is what was known until then",
            "{shown}"
        );
        let Goal { name, .. } = rate_goal();
        assert!(lines[2].trim_start().starts_with(&name) && lines[2].contains(" kcps"), "{shown}");
        assert!(lines[3].contains("NOT REACHED: the search was cut short"), "{shown}");
        assert_eq!(lines.last(), Some(&"concurrent    not found"));
        // Nothing was tried: even so it says what is missing.
        let shown = super::shown(&cut(0), &[Test::Rate]);
        assert!(shown.contains("\n0 trials, 0 s of offering") && shown.starts_with("PARTIAL"));
    }
}
