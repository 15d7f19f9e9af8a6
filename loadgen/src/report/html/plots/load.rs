//! Plots over the load, without a flood: what a box carries.

use super::{axis, interval_words, passed, series_of};
use crate::report::figures::count;
use crate::report::html::Section;
use crate::report::html::table::{Table, summary};
use crate::report::plot::{Axis, Plot, Scale};
use crate::report::study::{Group, Level, Served};
use crate::report::unit::Unit;
use crate::result::{Expect, RunResult, StreamResult};

fn passes(stream: &StreamResult) -> bool {
    stream.expect == Expect::Pass
}

fn load_axis() -> Axis {
    axis("Load", Unit::PacketsPerSecond, Scale::Linear)
}

/// The levels without a flood.
fn quiet<'a>(groups: &[Group<'a>]) -> Vec<Group<'a>> {
    let quiet = groups.iter().map(|group| Group {
        label: group.label,
        levels: group.levels.iter().filter(|level| level.flood_pps == 0.0).cloned().collect(),
    });
    quiet.filter(|group| !group.levels.is_empty()).collect()
}

/// Rows of label, load, runs, and more.
fn load_rows(groups: &[Group<'_>], cells: impl Fn(&Level<'_>) -> Vec<String>) -> Vec<Vec<String>> {
    let levels =
        groups.iter().flat_map(|group| group.levels.iter().map(move |level| (group.label, level)));
    let row = |(label, level): (&str, &Level<'_>)| {
        let load = Unit::PacketsPerSecond.show(level.load_pps);
        [vec![label.to_owned(), load, level.runs.len().to_string()], cells(level)].concat()
    };
    levels.map(row).collect()
}

pub(super) fn loss(groups: &[Group<'_>]) -> Section {
    let groups = quiet(groups);
    let lost = |run: &RunResult| passed(run, passes).map(|(sent, received)| 1.0 - received / sent);
    let mut table = Table::new(&["Label~", "Load", "Runs", "Lost", "Interval"]);
    table.rows =
        load_rows(&groups, |level| summary(Unit::Share, level.summary(lost).as_ref()).to_vec());
    Section {
        heading: "Loss against load".to_owned(),
        explanation: format!(
            "The share of what should pass that did not arrive (RFC 2544 section 26.3). {}",
            interval_words(&groups)
        ),
        plot: Plot {
            title: "Loss against load".to_owned(),
            x: load_axis(),
            y: axis("Lost", Unit::Share, Scale::Linear),
            series: series_of(&groups, |level| Some((level.load_pps, level.summary(lost)?))),
        },
        table,
    }
}

pub(super) fn waiting(groups: &[Group<'_>]) -> Section {
    let groups = quiet(groups);
    let served = Served::Streams;
    let p99 = |run: &RunResult| served.latency(run).map(|latency| count(latency.p99_ns));
    let mut table = Table::new(&["Label~", "Load", "Runs", "p99", "Interval"]);
    table.rows = load_rows(&groups, |level| {
        summary(Unit::Nanoseconds, level.summary(p99).as_ref()).to_vec()
    });
    Section {
        heading: "Waiting time against load".to_owned(),
        explanation: format!(
            "What 99 of 100 packets do not wait longer than, {}. {}",
            served.waits_for(),
            interval_words(&groups)
        ),
        plot: Plot {
            title: "99th percentile of the waiting time against load".to_owned(),
            x: load_axis(),
            y: axis("p99 of the waiting time", Unit::Nanoseconds, Scale::Wide),
            series: series_of(&groups, |level| Some((level.load_pps, level.summary(p99)?))),
        },
        table,
    }
}
