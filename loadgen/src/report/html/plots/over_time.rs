//! Plots over the seconds of a run.

use super::axis;
use super::waiting::at_strongest;
use crate::report::figures::count;
use crate::report::html::Section;
use crate::report::html::table::Table;
use crate::report::plot::{Plot, Point, Scale, Series, Style};
use crate::report::study::Group;
use crate::report::unit::Unit;
use crate::result::{RunResult, Second};
use crate::statistics::Summary;

/// The rates of each second: of one run its streams and users; of several labels the connections completed.
pub(super) fn seconds(groups: &[Group<'_>]) -> Vec<Section> {
    match groups {
        [group] => {
            let Some(run) = group.levels.last().and_then(|level| level.runs.first()) else {
                return Vec::new();
            };
            let mut streams = Vec::new();
            for (index, stream) in run.streams.iter().enumerate() {
                let of = |what: &str, get: fn(&Second) -> &Vec<u64>| {
                    let value = |second: &Second| get(second).get(index).copied();
                    (format!("{} {what}", stream.name), each_second(run, value))
                };
                streams.push(of("sent", |second| &second.sent));
                streams.push(of("received", |second| &second.received));
            }
            let users = run.users.as_ref().map(|_| {
                vec![
                    ("completed".to_owned(), each_second(run, |second| Some(second.completed))),
                    ("failed".to_owned(), each_second(run, |second| Some(second.failed))),
                ]
            });
            vec![
                over_time("Packets over the run", "Packets", Unit::PacketsPerSecond, streams),
                over_time(
                    "Connections over the run",
                    "Connections",
                    Unit::ConnectionsPerSecond,
                    users.unwrap_or_default(),
                ),
            ]
        }
        _ => {
            let named = at_strongest(groups, |level| {
                let run = level.runs.first()?;
                run.users.as_ref()?;
                Some(each_second(run, |second| Some(second.completed)))
            });
            let heading = "Connections completed over the run";
            vec![over_time(heading, "Completed", Unit::ConnectionsPerSecond, named)]
        }
    }
}

/// A number of each second that was whole.
fn each_second(run: &RunResult, of: impl Fn(&Second) -> Option<u64>) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a run's seconds")]
    let whole = (run.elapsed_s + 0.001).max(0.0) as usize;
    run.seconds.iter().take(whole).filter_map(of).map(count).collect()
}

/// Streams of different rates are all to be seen: the scale is logarithmic where they differ much.
fn over_time(heading: &str, name: &str, unit: Unit, named: Vec<(String, Vec<f64>)>) -> Section {
    let mut table =
        Table { heads: vec!["Of~", "Seconds", "Median", "Least", "Most"], rows: Vec::new() };
    let mut series = Vec::new();
    for (name, values) in named {
        let Some(summary) = Summary::of(&values) else { continue };
        let [median, least, most] =
            [summary.median, summary.min, summary.max].map(|value| unit.show(value));
        table.rows.push(vec![name.clone(), values.len().to_string(), median, least, most]);
        let points =
            values.into_iter().zip(1_u32..).map(|(value, end)| Point::new(f64::from(end), value));
        series.push(Series { name, style: Style::Line, points: points.collect() });
    }
    Section {
        heading: heading.to_owned(),
        explanation: "In each whole second of the run (of the first run, where there are several)."
            .to_owned(),
        plot: Plot {
            title: heading.to_owned(),
            x: axis("Second of the run", Unit::Seconds, Scale::Linear),
            y: axis(name, unit, Scale::Wide),
            series,
        },
        table,
    }
}
