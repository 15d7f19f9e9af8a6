//! Which plots a page has: those that its results have something for.

mod flood;
mod load;
mod over_time;
mod waiting;

use super::{Options, Section};
use crate::report::figures::count;
use crate::report::plot::{Axis, Point, Scale, Series, Style};
use crate::report::study::{Group, Level, Served, groups};
use crate::report::unit::Unit;
use crate::result::{RunResult, StreamResult};
use crate::statistics::Summary;

/// Every section that has something to show.
pub(super) fn all(results: &[RunResult], options: &Options) -> Vec<Section> {
    let groups = groups(results);
    let served = Served::of(results);
    let mut sections = Vec::new();
    if groups.iter().flat_map(|group| &group.levels).any(|level| level.flood_pps > 0.0) {
        sections.extend([
            flood::goodput(&groups, served),
            flood::waiting(&groups, served),
            flood::processor(&groups),
        ]);
    }
    sections.push(flood::acceptance(&groups, options.fuzzy));
    if varied(&groups) {
        sections.extend([load::loss(&groups), load::waiting(&groups)]);
    }
    sections.push(waiting::percentiles(&groups, served));
    sections.extend(over_time::seconds(&groups));
    let drawn =
        |section: &Section| section.plot.series.iter().any(|series| series.style != Style::Ideal);
    sections.retain(drawn);
    sections
}

/// Whether the load was varied where there was no flood: a probe beside a rising flood has a loss, but no curve.
fn varied(groups: &[Group<'_>]) -> bool {
    groups.iter().any(|group| {
        let mut loads =
            group.levels.iter().filter(|level| level.flood_pps == 0.0).map(|level| level.load_pps);
        let first = loads.next();
        loads.any(|load| Some(load) != first)
    })
}

/// One series for each group, a point for each level; groups without any point are left out.
fn series_of<'a>(
    groups: &[Group<'a>],
    point: impl Fn(&Level<'a>) -> Option<(f64, Summary)>,
) -> Vec<Series> {
    let series = groups.iter().map(|group| Series {
        name: group.label.to_owned(),
        style: Style::Marks,
        points: group
            .levels
            .iter()
            .filter_map(&point)
            .map(|(x, summary)| to_point(x, &summary))
            .collect(),
    });
    series.filter(|series| !series.points.is_empty()).collect()
}

/// The median with its interval; one value has none.
fn to_point(x: f64, summary: &Summary) -> Point {
    let interval = (summary.values > 1).then_some((summary.low, summary.high));
    Point { x, y: summary.median, interval }
}

fn axis(name: &str, unit: Unit, scale: Scale) -> Axis {
    Axis { name: name.to_owned(), unit, scale }
}

/// The first cells of a level's row: label, flood, runs.
fn row_of(group: &Group<'_>, level: &Level<'_>) -> Vec<String> {
    let flood = Unit::PacketsPerSecond.show(level.flood_pps);
    let flood = if level.unlimited { format!("{flood} (no limit)") } else { flood };
    vec![group.label.to_owned(), flood, level.runs.len().to_string()]
}

/// Rows of [`row_of`] with more cells.
fn rows(groups: &[Group<'_>], cells: impl Fn(&Level<'_>) -> Vec<String>) -> Vec<Vec<String>> {
    let levels =
        groups.iter().flat_map(|group| group.levels.iter().map(move |level| (group, level)));
    levels.map(|(group, level)| [row_of(group, level), cells(level)].concat()).collect()
}

/// Sent and received of the streams that the predicate takes; `None` if nothing was sent.
fn passed(run: &RunResult, takes: impl Fn(&StreamResult) -> bool) -> Option<(f64, f64)> {
    let streams = run.streams.iter().filter(|stream| takes(stream));
    let (sent, received) = streams
        .fold((0, 0), |(sent, received), stream| (sent + stream.sent, received + stream.received));
    (sent > 0).then(|| (count(sent), count(received)))
}

/// What the whiskers are.
fn interval_words(groups: &[Group<'_>]) -> String {
    let runs = groups.iter().flat_map(|group| &group.levels).map(|level| level.runs.len());
    match (runs.clone().min(), runs.max()) {
        (Some(1), Some(1)) | (None, _) => {
            "One run each: nothing is known about the noise.".to_owned()
        }
        (_, Some(most)) => {
            let summary = Summary::of(&vec![0.0; most]);
            let coverage = summary.map_or(0.0, |summary| summary.coverage);
            format!(
                "Medians of up to {most} runs; the whiskers enclose the true median with {} confidence.",
                Unit::Share.show(coverage)
            )
        }
        _ => String::new(),
    }
}

/// Whether points were moved, and where no flood stands.
fn axis_words(series: &[Series]) -> String {
    let beside = if series.len() > 1 { "Points of one rate are drawn side by side. " } else { "" };
    let has_zero = series.iter().flat_map(|series| &series.points).any(|point| point.x == 0.0);
    let zero = if has_zero { "No flood stands at the left, off the scale." } else { "" };
    format!("{beside}{zero}")
}
