//! `weirgen rfc2544`: throughput, latency, loss curve and back-to-back frames, for each frame size.

use clap::{Args, ValueEnum};

use super::outputs::FoundOptions;
use super::search::profile;
use super::sides::SideOptions;
use super::{rate, seconds, share};
use crate::error::Error;
use crate::report::unit::Unit;
use crate::result::RunResult;
use crate::search::engine::EngineTrial;
use crate::search::rfc2544::{self, BackToBack, CurvePoint, LatencyFound, Settings, Throughput};
use crate::search::{Failure, Offer, Trial, show};
use crate::stop::Stop;

/// Section 9.1, for Ethernet.
const FRAME_BYTES: &str = "64,128,256,512,1024,1280,1518";

#[derive(Clone, Debug, Args)]
pub(crate) struct Rfc2544Options {
    /// What to send: the name of a profile (see `weirgen profiles`), or a file. Each of its streams is to pass.
    #[arg(value_name = "PROFILE")]
    profile: String,
    #[command(flatten)]
    sides: SideOptions,
    /// Lengths of frames in bytes, check sequence included.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_value = FRAME_BYTES)]
    frame_bytes: Vec<usize>,
    /// Tests to make.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "throughput,latency,loss,back-to-back"
    )]
    tests: Vec<Test>,
    /// Least rate, in packets a second.
    #[arg(long, value_name = "PPS", value_parser = rate, default_value = "1000")]
    min: f64,
    /// Greatest rate, in packets a second: what the link carries.
    #[arg(long, value_name = "PPS", value_parser = rate, default_value = "2000000")]
    max: f64,
    /// How near the throughput is found, in percent of the greatest rate.
    #[arg(long, value_name = "PERCENT", value_parser = share, default_value = "0.5")]
    resolution: f64,
    /// Seconds of a trial.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 5.0)]
    trial: f64,
    /// Seconds of the trial that confirms a throughput.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 60.0)]
    confirm: f64,
    /// Seconds of one measurement of the latency.
    #[arg(long, value_name = "S", value_parser = seconds, default_value_t = 120.0)]
    latency: f64,
    /// Measurements of the latency.
    #[arg(long, value_name = "N", default_value_t = 20)]
    latency_trials: u32,
    /// Measurements of the longest burst.
    #[arg(long, value_name = "N", default_value_t = 50)]
    burst_trials: u32,
    /// Longest burst, in frames.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    burst_max: u64,
    #[command(flatten)]
    found: FoundOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Test {
    /// Section 26.1.
    Throughput,
    /// Section 26.2, at the throughput.
    Latency,
    /// Section 26.3.
    Loss,
    /// Section 26.4 and RFC 9004.
    BackToBack,
}

/// What was found for one frame size.
#[derive(Debug, serde::Serialize)]
struct SizeResult {
    frame_bytes: usize,
    settings: Settings,
    throughput: Option<Throughput>,
    latency: Option<LatencyFound>,
    loss_curve: Option<Vec<CurvePoint>>,
    back_to_back: Option<BackToBack>,
    /// Why not all tests were made, if they were not.
    cut_short: Option<Failure>,
}

impl SizeResult {
    fn new(frame_bytes: usize, settings: Settings) -> Self {
        Self {
            frame_bytes,
            settings,
            throughput: None,
            latency: None,
            loss_curve: None,
            back_to_back: None,
            cut_short: None,
        }
    }
}

impl Rfc2544Options {
    fn settings(&self) -> Settings {
        Settings {
            rate_min: self.min,
            rate_max: self.max,
            resolution: self.resolution,
            trial_s: self.trial,
            final_s: self.confirm,
            latency_s: self.latency,
            latency_trials: self.latency_trials,
            burst_trials: self.burst_trials,
            burst_max: self.burst_max,
        }
    }

    fn has(&self, test: Test) -> bool {
        self.tests.contains(&test)
    }

    /// What is shorter than the document wants, in words: a result of less is not called a result of RFC 2544.
    fn departures(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut least = |test, value: f64, least: f64, what: &str| {
            if self.has(test) && value < least {
                found.push(format!("{what} {value}, RFC 2544 asks for {least}"));
            }
        };
        least(Test::Throughput, self.confirm, 60.0, "seconds of confirmation");
        least(Test::Latency, self.latency, 120.0, "seconds for a latency");
        least(Test::Latency, f64::from(self.latency_trials), 20.0, "measurements of the latency");
        least(Test::BackToBack, f64::from(self.burst_trials), 50.0, "measurements of the burst");
        found
    }
}

/// Makes the tests for every frame size, and prints what was found after each.
pub(crate) fn run(options: &Rfc2544Options, stop: &Stop) -> Result<(), Error> {
    let settings = options.settings();
    let profiles: Result<Vec<_>, Error> = options
        .frame_bytes
        .iter()
        .map(|bytes| Ok((*bytes, profile(&options.profile, Some(*bytes))?)))
        .collect();
    let profiles = profiles?;
    let Some((_, first)) = profiles.first() else { return Ok(()) };
    let mut ports = options.sides.open(first, stop)?;
    for departure in options.departures() {
        eprintln!("weirgen: shorter than the document: {departure}");
    }
    let mut runs: Vec<RunResult> = Vec::new();
    for (frame_bytes, profile) in profiles {
        options.sides.announce(&profile, &ports, false);
        let mut run = options.sides.run_options(&profile);
        run.label = format!("{} {frame_bytes} bytes", run.label);
        let mut nobody = |_: &crate::engine::Snapshot| {};
        let mut voided = |why: &str| eprintln!("weirgen: a trial says nothing: {why}");
        let mut trial =
            EngineTrial::new(profile, &mut ports, &run, stop, &mut nobody, &mut voided)?;
        let mut found = SizeResult::new(frame_bytes, settings.clone());
        found.cut_short = of_size(options, &mut found, &mut trial).err();
        runs.append(&mut trial.runs);
        options.found.write_runs(&runs)?;
        options.found.print(&found, || shown(&found))?;
        found.cut_short.map_or(Ok(()), Err)?;
    }
    Ok(())
}

fn of_size(
    options: &Rfc2544Options,
    found: &mut SizeResult,
    trial: &mut EngineTrial<'_>,
) -> Result<(), Failure> {
    let (settings, frame_bytes) = (&found.settings, found.frame_bytes);
    let say = |what: &str| eprintln!("weirgen: {frame_bytes} bytes: {what}");
    let needs_throughput = [Test::Throughput, Test::Latency, Test::BackToBack];
    if needs_throughput.into_iter().any(|test| options.has(test)) {
        say("throughput");
        found.throughput = Some(rfc2544::throughput(settings, trial)?);
    }
    let throughput = found.throughput.as_ref().map_or(settings.rate_max, |found| found.rate);
    if options.has(Test::Latency) {
        say("latency");
        found.latency = Some(rfc2544::latency(settings, throughput, trial)?);
    }
    if options.has(Test::Loss) {
        say("loss curve");
        found.loss_curve = Some(rfc2544::loss_curve(settings, trial)?);
    }
    if options.has(Test::BackToBack) {
        say("back-to-back frames");
        // The link of a virtual device has no rate of its own: the generator's is the line rate.
        let line_rate =
            trial.measure(Offer::Burst { frames: settings.burst_max })?.offered_per_second();
        found.back_to_back = Some(rfc2544::back_to_back(settings, throughput, line_rate, trial)?);
    }
    Ok(())
}

fn shown(found: &SizeResult) -> String {
    let partial = found.cut_short.as_ref().map_or_else(String::new, show::partial);
    let mut parts = vec![format!("{partial}{} bytes", found.frame_bytes)];
    parts.extend(found.throughput.as_ref().map(|throughput| {
        let bits = throughput.rate * crate::report::figures::count(found.frame_bytes as u64) * 8.0;
        format!("{} ({})", show::throughput(throughput), Unit::BitsPerSecond.show(bits))
    }));
    parts.extend(found.latency.as_ref().map(show::latency));
    parts.extend(found.back_to_back.as_ref().map(show::back_to_back));
    parts.extend(found.loss_curve.as_ref().map(|curve| show::loss_curve(curve)));
    parts.join("\n")
}
