//! Distributions of times, by the nines.

use super::axis;
use crate::report::figures::count;
use crate::report::html::Section;
use crate::report::html::table::Table;
use crate::report::plot::{Plot, Point, Scale, Series, Style};
use crate::report::study::{Group, Joined, Level, Served};
use crate::report::unit::Unit;
use crate::result::{Latency, RunResult};

/// The shares that tables of percentiles have.
const PERCENTILES: [(&str, f64); 7] = [
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
    ("max", 1.0),
];

/// Of one label every distribution; of several, what the served wait for under the strongest flood that all had.
pub(super) fn percentiles(groups: &[Group<'_>], served: Served) -> Section {
    let (named, explanation) = match groups {
        [group] => (distributions(group), String::new()),
        _ => {
            let words = strongest(groups).map_or_else(String::new, |level| {
                let pps = |rate| Unit::PacketsPerSecond.show(rate);
                let (flood, load) = (pps(level.flood_pps), pps(level.load_pps));
                format!("At the most that all had: a flood of {flood} and a load of {load}.")
            });
            (at_strongest(groups, |level| level.joined(|run| served.latency(run))), words)
        }
    };
    let mut table = Table { heads: vec!["Of~", "Measured"], rows: Vec::new() };
    table.heads.extend(PERCENTILES.map(|(name, _)| name));
    let mut series = Vec::new();
    for (name, joined) in named {
        let times =
            PERCENTILES.map(|(_, share)| Unit::Nanoseconds.show(count(joined.quantile_ns(share))));
        table.rows.push(
            [vec![name.clone(), Unit::Packets.show(count(joined.count))], times.to_vec()].concat(),
        );
        let points =
            joined.curve().into_iter().map(|(share, time)| Point::new(share, time)).collect();
        series.push(Series { name, style: Style::Line, points });
    }
    let what = if groups.len() == 1 { "from due to arrival" } else { served.waits_for() };
    Section {
        heading: "Percentiles of the waiting time".to_owned(),
        explanation: format!(
            "The share that waited no longer, {what}. Times count from the moment at which something was due, so \
             that a late generator hides nothing. {explanation}"
        ),
        plot: Plot {
            title: "Percentiles of the waiting time".to_owned(),
            x: axis("Share that waited no longer", Unit::Share, Scale::Nines),
            y: axis("Waiting time", Unit::Nanoseconds, Scale::Wide),
            series,
        },
        table,
    }
}

/// Every distribution of a label's runs at its strongest flood.
fn distributions(group: &Group<'_>) -> Vec<(String, Joined)> {
    let Some(level) = group.levels.last() else { return Vec::new() };
    let mut named = Vec::new();
    let streams = level.runs.first().map_or(0, |run| run.streams.len());
    for index in 0..streams {
        let of = |run: &RunResult| run.streams.get(index).map(|stream| stream.name.clone());
        let name = level.runs.first().and_then(|run| of(run)).unwrap_or_default();
        // A closure's return type cannot borrow from its argument without being told.
        fn stream(run: &RunResult, index: usize) -> Option<&Latency> {
            run.streams.get(index)?.latency.as_ref()
        }
        named.push((name, Joined::of(level.runs.iter().filter_map(|run| stream(run, index)))));
    }
    type Of = fn(&RunResult) -> Option<&Latency>;
    let users: [(&str, Of); 3] = [
        ("users: connect", |run| run.users.as_ref()?.connect.as_ref()),
        ("users: first byte", |run| run.users.as_ref()?.first_byte.as_ref()),
        ("users: last byte", |run| run.users.as_ref()?.last_byte.as_ref()),
    ];
    named.extend(users.map(|(name, of)| (name.to_owned(), level.joined(of))));
    named.into_iter().filter_map(|(name, joined)| Some((name, joined?))).collect()
}

/// The first group's last level that every group has.
fn strongest<'a, 'b>(groups: &'b [Group<'a>]) -> Option<&'b Level<'a>> {
    let (first, others) = groups.split_first()?;
    let common = |level: &&Level<'_>| {
        let has = |group: &Group<'_>| group.levels.iter().any(|other| level.is_like(other));
        others.iter().all(has)
    };
    first.levels.iter().rev().find(common)
}

/// Something of each group's last level that all groups have; of its last one, where there is none.
pub(super) fn at_strongest<T>(
    groups: &[Group<'_>],
    of: impl Fn(&Level<'_>) -> Option<T>,
) -> Vec<(String, T)> {
    let strongest = strongest(groups);
    let value = |group: &Group<'_>| -> Option<T> {
        let common = group
            .levels
            .iter()
            .find(|level| strongest.is_some_and(|strongest| strongest.is_like(level)));
        of(common.or(group.levels.last())?)
    };
    groups.iter().filter_map(|group| Some((group.label.to_owned(), value(group)?))).collect()
}
