//! Rounds of runs, and what they say: each contender's median, and the ratio of the first to each
//! other one.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use serde::Serialize;
use tempfile::TempDir;
use weir_benches::statistics::Summary;
use weir_tests::console::Tone;
use weir_tests::{Error, Result, interrupt};

use crate::Bench;
use crate::contender::{Contender, Running};
use crate::topology::Topology;

/// The metrics that comparisons are printed for.
const LEADING: [&str; 7] = [
    "dropped_pps",
    "delivered_pps",
    "delivered_pps_per_core",
    "average_us",
    "median_us",
    "p99_us",
    "received_mbit_s",
];

/// What one run measured, by name; names end in their unit.
pub(crate) type Metrics = BTreeMap<&'static str, f64>;

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    /// The contender's place in the list: the same one may be there twice.
    pub(crate) place: usize,
    pub(crate) contender: Contender,
    pub(crate) metrics: Metrics,
    /// Why it does not count, if so.
    pub(crate) void: Option<String>,
}

/// A contender over all rounds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) contender: String,
    pub(crate) metrics: BTreeMap<&'static str, Summary>,
}

/// The first contender against another, over the rounds in which both count.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) of: String,
    pub(crate) to: String,
    pub(crate) ratio: BTreeMap<&'static str, Summary>,
    pub(crate) difference: BTreeMap<&'static str, Summary>,
}

/// All of a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) measurement: String,
    pub(crate) standings: Vec<Standing>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) void_runs: usize,
    pub(crate) runs: Vec<Run>,
}

/// What a measurement is given for one run.
pub(crate) struct Scene<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) topology: &'a Topology,
    pub(crate) contender: Contender,
    pub(crate) running: &'a Running<'a>,
    pub(crate) folder: &'a TempDir,
}

/// Runs all contenders `rounds` times and prints what came out. `measure` does one run and says
/// why it is void, if so.
pub(crate) fn play(
    bench: &Bench,
    topology: &Topology,
    measurement: &str,
    contenders: &[Contender],
    rounds: usize,
    mut measure: impl FnMut(&Scene<'_>) -> Result<(Metrics, Option<String>)>,
) -> Result<Report> {
    bench.console.heading(measurement);
    let mut runs = Vec::new();
    for round in 0..rounds {
        for place in order(contenders.len(), round) {
            interrupt::check()?;
            let contender = contenders[place];
            let folder = tempfile::tempdir().map_err(Error::io("make a folder for logs"))?;
            let message = format!("round {} of {rounds}: {contender}", round + 1);
            let (metrics, void) = bench.console.working(&message, || {
                let running = contender.start(bench, topology, folder.path())?;
                measure(&Scene { bench, topology, contender, running: &running, folder: &folder })
            })?;
            let run = Run { round, place, contender, metrics, void };
            bench.console.line(&bench.console.paint(Tone::Dim, &line(&run)));
            runs.push(run);
        }
    }
    let report = Report::of(measurement, contenders, runs);
    report.print(bench);
    Ok(report)
}

/// The order of a round: forwards, then backwards.
fn order(contenders: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..contenders).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

fn line(run: &Run) -> String {
    let metrics: Vec<String> =
        run.metrics.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
    let void = run.void.as_ref().map(|why| format!("  VOID: {why}")).unwrap_or_default();
    format!("  {:>3} {:<16} {}{void}", run.round + 1, run.contender.to_string(), metrics.join("  "))
}

/// A number with about four digits.
fn short(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 1000.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

impl Report {
    fn of(measurement: &str, contenders: &[Contender], runs: Vec<Run>) -> Self {
        let names = names(contenders);
        let counted =
            |place| runs.iter().filter(move |run: &&Run| run.place == place && run.void.is_none());
        let standings = names.iter().enumerate().map(|(place, name)| Standing {
            contender: name.clone(),
            metrics: summaries(counted(place).map(|run| run.metrics.clone())),
        });
        let comparisons = names.iter().enumerate().skip(1).map(|(place, name)| {
            let pairs: Vec<(&Metrics, &Metrics)> = counted(0)
                .filter_map(|first| {
                    let other = counted(place).find(|run| run.round == first.round)?;
                    Some((&first.metrics, &other.metrics))
                })
                .collect();
            let each = |combine: fn(f64, f64) -> f64| {
                summaries(pairs.iter().map(|(first, other)| {
                    let both = first.iter().filter_map(|(name, a)| {
                        let combined = combine(*a, *other.get(name)?);
                        combined.is_finite().then_some((*name, combined))
                    });
                    both.collect()
                }))
            };
            Comparison {
                of: names[0].clone(),
                to: name.clone(),
                ratio: each(|a, b| a / b),
                difference: each(|a, b| a - b),
            }
        });
        let void_runs = runs.iter().filter(|run| run.void.is_some()).count();
        Self {
            measurement: measurement.to_owned(),
            standings: standings.collect(),
            comparisons: comparisons.collect(),
            void_runs,
            runs,
        }
    }

    /// Prints every metric of every contender, and comparisons by those that a reader looks for; the
    /// others are in the JSON.
    fn print(&self, bench: &Bench) {
        let mut table = empty_table("contender");
        for standing in &self.standings {
            for (name, summary) in &standing.metrics {
                table.add_row(row(&standing.contender, name, summary));
            }
        }
        bench.console.line(&table.to_string());
        let mut table = empty_table("comparison");
        for comparison in &self.comparisons {
            let leading = |name: &str| LEADING.contains(&name);
            let ratio = format!("{} / {}", comparison.of, comparison.to);
            for (name, summary) in comparison.ratio.iter().filter(|(name, _)| leading(name)) {
                table.add_row(row(&ratio, name, summary));
            }
            let difference = format!("{} - {}", comparison.of, comparison.to);
            for (name, summary) in comparison.difference.iter().filter(|(name, _)| leading(name)) {
                table.add_row(row(&difference, name, summary));
            }
        }
        if !self.comparisons.is_empty() {
            bench.console.line("");
            bench.console.line(&table.to_string());
        }
        if self.void_runs > 0 {
            let runs = self.runs.len();
            let text = format!("{} of {runs} runs are void and not counted", self.void_runs);
            bench.console.line(&bench.console.paint(Tone::Bad, &text));
        }
    }
}

/// A table of summaries.
fn empty_table(first: &str) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([first, "metric", "median", "95 % interval", "min to max", "runs"]);
    table
}

/// The contenders' names, a number behind the second of the same name.
fn names(contenders: &[Contender]) -> Vec<String> {
    let name = |(place, contender): (usize, &Contender)| {
        let earlier = contenders[..place].iter().filter(|other| *other == contender).count();
        if earlier == 0 { contender.to_string() } else { format!("{contender} ({})", earlier + 1) }
    };
    contenders.iter().enumerate().map(name).collect()
}

/// A summary for each metric.
fn summaries(runs: impl Iterator<Item = Metrics>) -> BTreeMap<&'static str, Summary> {
    let mut values: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for metrics in runs {
        for (name, value) in metrics {
            values.entry(name).or_default().push(value);
        }
    }
    let summary = |(name, values): (&'static str, Vec<f64>)| Some((name, Summary::of(&values)?));
    values.into_iter().filter_map(summary).collect()
}

fn row(first: &str, name: &str, summary: &Summary) -> [String; 6] {
    let covered = 100.0 * summary.coverage;
    let interval = format!("{} to {} ({covered:.0} %)", short(summary.low), short(summary.high));
    let range = format!("{} to {}", short(summary.min), short(summary.max));
    let (median, values) = (short(summary.median), summary.values.to_string());
    [first.to_owned(), name.to_owned(), median, interval, range, values]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(round: usize, place: usize, value: f64, void: bool) -> Run {
        let void = void.then(|| "late".to_owned());
        let metrics = Metrics::from([("pps", value)]);
        Run { round, place, contender: Contender::L2fwd, metrics, void }
    }

    #[test]
    fn every_second_round_runs_backwards() {
        assert_eq!([order(3, 0), order(3, 1), order(3, 2)], [[0, 1, 2], [2, 1, 0], [0, 1, 2]]);
    }

    #[test]
    fn ratios_are_taken_within_rounds_and_void_runs_left_out() {
        let runs = vec![
            run(0, 0, 10.0, false),
            run(0, 1, 20.0, false),
            run(1, 1, 10.0, false),
            run(1, 0, 9.0, false),
            run(2, 0, 1.0, false),
            run(2, 1, 100.0, true),
            run(3, 1, 10.0, false),
            run(3, 0, 7.0, false),
        ];
        let report = Report::of("test", &[Contender::L2fwd, Contender::L2fwd], runs);
        assert_eq!(report.standings[1].contender, "l2fwd (2)");
        let ratio = &report.comparisons[0].ratio["pps"];
        assert_eq!((ratio.values, ratio.median, ratio.min, ratio.max), (3, 0.7, 0.5, 0.9));
        let difference = &report.comparisons[0].difference["pps"];
        assert_eq!((difference.min, difference.max), (-10.0, -1.0));
        assert_eq!(report.void_runs, 1);
    }

    #[test]
    fn a_ratio_to_nothing_is_left_out() {
        let runs = vec![run(0, 0, 0.0, false), run(0, 1, 0.0, false)];
        let report = Report::of("test", &[Contender::L2fwd, Contender::Kernel], runs);
        assert!(report.comparisons[0].ratio.is_empty());
        assert_eq!(report.comparisons[0].difference["pps"].median, 0.0);
    }
}
