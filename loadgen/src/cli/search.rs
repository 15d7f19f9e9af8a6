//! `weirgen search`: NDR, PDR and the like.

use clap::Args;

use super::outputs::FoundOptions;
use super::sides::SideOptions;
use super::{rate, seconds, share};
use crate::error::Error;
use crate::live::Live;
use crate::profile::Profile;
use crate::report::unit::Unit;
use crate::result::{Environment, FORMAT};
use crate::search::engine::EngineTrial;
use crate::search::mlr::{self, Found, Goal, Settings};
use crate::search::show;
use crate::stop::Stop;

#[derive(Clone, Debug, Args)]
pub(crate) struct SearchOptions {
    /// What to send: the name of a profile (see `weirgen profiles`), or a file. Each of its streams is to pass.
    #[arg(value_name = "PROFILE")]
    profile: String,
    #[command(flatten)]
    sides: SideOptions,
    /// Loss in percent that a trial may have; 0 is the NDR. May be repeated [default: 0 and 0.5].
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    loss: Vec<f64>,
    /// Share of the trials in percent that may lose more.
    #[arg(long, value_name = "PERCENT", value_parser = share, default_value = "50")]
    exceed: f64,
    /// Seconds of one trial.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 1.0)]
    trial: f64,
    /// Seconds of all trials at one load.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 21.0)]
    duration_sum: f64,
    /// How far apart the bounds may be at the end, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = share, default_value = "0.5")]
    width: f64,
    /// Least load, in packets a second.
    #[arg(long, value_name = "PPS", value_parser = rate, default_value = "1000")]
    min: f64,
    /// Greatest load, in packets a second; a generator that does not reach it lowers it by itself.
    #[arg(long, value_name = "PPS", value_parser = rate, default_value = "2000000")]
    max: f64,
    /// Seconds of all trials after which the search ends with what it has.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 900.0)]
    time_max: f64,
    /// Length of frames in bytes, check sequence included, instead of the profile's.
    #[arg(long, value_name = "BYTES")]
    frame_bytes: Option<usize>,
    #[command(flatten)]
    found: FoundOptions,
}

/// What is printed as JSON.
#[derive(serde::Serialize)]
struct SearchResult<'a> {
    format: u32,
    command: Vec<String>,
    label: &'a str,
    environment: Option<&'a Environment>,
    seed: u64,
    found: &'a Found,
}

impl SearchOptions {
    fn settings(&self) -> Settings {
        let losses = if self.loss.is_empty() { vec![0.0, 0.005] } else { self.loss.clone() };
        let goals = losses.into_iter().map(|loss_ratio| Goal {
            name: name(loss_ratio),
            loss_ratio,
            exceed_ratio: self.exceed,
            trial_s: self.trial,
            duration_sum_s: self.duration_sum.max(self.trial),
            width: self.width,
        });
        Settings {
            goals: goals.collect(),
            load_min: self.min,
            load_max: self.max,
            search_max_s: self.time_max,
        }
    }
}

/// What the field calls a goal.
fn name(loss_ratio: f64) -> String {
    if loss_ratio == 0.0 {
        "NDR".to_owned()
    } else {
        format!("PDR {}", Unit::Share.show(loss_ratio))
    }
}

/// Reads a profile, with frames of another length if one is given.
pub(super) fn profile(name: &str, frame_bytes: Option<usize>) -> Result<Profile, Error> {
    let profile = Profile::find(name)?;
    let Some(bytes) = frame_bytes else { return Ok(profile) };
    let option = "--frame-bytes";
    profile.with_frame_bytes(bytes).map_err(|allowed| Error::Value {
        option,
        value: bytes.to_string(),
        allowed,
    })
}

/// Searches, and prints what was found.
pub(crate) fn run(options: &SearchOptions, stop: &Stop) -> Result<(), Error> {
    let settings = options.settings();
    let profile = profile(&options.profile, options.frame_bytes)?;
    let mut ports = options.sides.open(&profile, stop)?;
    let run = options.sides.run_options(&profile);
    options.sides.announce(&profile, &ports, false);
    eprintln!(
        "weirgen: trials of {} s between {} and {}, for at most {} s; Ctrl-C ends it",
        options.trial,
        Unit::PacketsPerSecond.show(options.min),
        Unit::PacketsPerSecond.show(options.max),
        options.time_max,
    );
    let mut live = Live::of_trials("searching", settings.search_max_s);
    let mut nobody = |_: &crate::engine::Snapshot| {};
    let mut voided = |why: &str| eprintln!("weirgen: a trial says nothing: {why}");
    let mut trial = EngineTrial::new(profile, &mut ports, &run, stop, &mut nobody, &mut voided)?;
    let found = mlr::search(&settings, &mut trial, &mut |tried| {
        live.tried(tried.duration_s, tried.load, tried.loss_ratio);
    });
    live.finish();
    // Trials that were made are written whatever ended the search.
    options.found.write_runs(&trial.runs)?;
    let found = found?;
    let cut_short = found.cut_short.clone();
    let result = SearchResult {
        format: FORMAT,
        command: run.command.clone(),
        label: &run.label,
        environment: trial.runs.first().map(|run| &run.environment),
        seed: run.seed,
        found: &found,
    };
    options.found.print(&result, || {
        let partial = cut_short.as_ref().map_or_else(String::new, show::partial);
        partial + &show::found(&found, Unit::PacketsPerSecond)
    })?;
    cut_short.map_or(Ok(()), |failure| Err(failure.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_have_the_names_of_the_field() {
        assert_eq!([0.0, 0.005, 0.000_01].map(name), ["NDR", "PDR 0.5 %", "PDR 0.001 %"]);
    }
}
