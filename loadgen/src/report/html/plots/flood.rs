//! Plots over the flood's rate: a study of what protects whom.

use super::{axis, axis_words, interval_words, passed, rows, series_of};
use crate::report::figures::count;
use crate::report::html::table::{Table, summary};
use crate::report::html::{Fuzzy, Section};
use crate::report::plot::{Axis, Plot, Point, Scale, Series, Style};
use crate::report::study::{Group, Served, value};
use crate::report::unit::Unit;
use crate::result::{Expect, Latency, RunResult, StreamResult};

/// Points of the ideal line between the limits.
const IDEAL_STEPS: u32 = 64;

fn flood_axis() -> Axis {
    axis("Flood", Unit::PacketsPerSecond, Scale::Wide)
}

pub(super) fn goodput(groups: &[Group<'_>], served: Served) -> Section {
    let unit = served.unit();
    let what = match served {
        Served::Users => "Connections completed",
        Served::Streams => "Packets arrived",
    };
    let series = series_of(groups, |level| {
        Some((level.flood_pps, level.summary(|run| served.goodput(run))?))
    });
    let mut table =
        Table::new(&["Protection~", "Flood", "Runs", "Goodput", "Interval", "Of what was asked"]);
    table.rows = rows(groups, |level| {
        let share = level.summary(|run| served.share(run));
        let goodput = level.summary(|run| served.goodput(run));
        let [share, _] = summary(Unit::Share, share.as_ref());
        [summary(unit, goodput.as_ref()).to_vec(), vec![share]].concat()
    });
    Section {
        heading: "Goodput against flood rate".to_owned(),
        explanation: format!(
            "{what}, of those that are to be served, while the flood rises. {} {}",
            interval_words(groups),
            axis_words(&series)
        ),
        plot: Plot {
            title: "Goodput against flood rate".to_owned(),
            x: flood_axis(),
            y: axis(what, unit, Scale::Linear),
            series,
        },
        table,
    }
}

pub(super) fn waiting(groups: &[Group<'_>], served: Served) -> Section {
    let p99 = |run: &RunResult| served.latency(run).map(|latency| count(latency.p99_ns));
    let series = series_of(groups, |level| Some((level.flood_pps, level.summary(p99)?)));
    let mut table =
        Table::new(&["Protection~", "Flood", "Runs", "p99", "Interval", "p50", "p99.9"]);
    table.rows = rows(groups, |level| {
        let at = |time: fn(&Latency) -> u64| {
            let median =
                level.summary(|run| served.latency(run).map(|latency| count(time(latency))));
            let [median, _] = summary(Unit::Nanoseconds, median.as_ref());
            median
        };
        let worst = summary(Unit::Nanoseconds, level.summary(p99).as_ref());
        [worst.to_vec(), vec![at(|latency| latency.p50_ns), at(|latency| latency.p999_ns)]].concat()
    });
    Section {
        heading: "Waiting time against flood rate".to_owned(),
        explanation: format!(
            "What 99 of 100 do not wait longer than, {}. Only what was served has a time: read it with the goodput \
             above. {} {}",
            served.waits_for(),
            interval_words(groups),
            axis_words(&series)
        ),
        plot: Plot {
            title: "99th percentile of the waiting time against flood rate".to_owned(),
            x: flood_axis(),
            y: axis("p99 of the waiting time", Unit::Nanoseconds, Scale::Wide),
            series,
        },
        table,
    }
}

pub(super) fn processor(groups: &[Group<'_>]) -> Section {
    let machine = |run: &RunResult| value(run, "machine", "processor time");
    let series = series_of(groups, |level| Some((level.flood_pps, level.summary(machine)?)));
    let mut table =
        Table::new(&["Protection~", "Flood", "Runs", "Machine", "Interval", "Of it the generator"]);
    table.rows = rows(groups, |level| {
        let own = level.summary(|run| value(run, "machine", "generator's processor time"));
        let [own, _] = summary(Unit::Share, own.as_ref());
        [summary(Unit::Share, level.summary(machine).as_ref()).to_vec(), vec![own]].concat()
    });
    Section {
        heading: "Processor time against flood rate".to_owned(),
        explanation: "Of all cores together, the generator's own time included: on one machine both share them."
            .to_owned(),
        plot: Plot {
            title: "Processor time against flood rate".to_owned(),
            x: flood_axis(),
            y: axis("Processor time", Unit::Share, Scale::Whole),
            series,
        },
        table,
    }
}

fn thinned(stream: &StreamResult) -> bool {
    stream.expect == Expect::Either
}

pub(super) fn acceptance(groups: &[Group<'_>], fuzzy: Option<Fuzzy>) -> Section {
    let offered = |run: &RunResult| {
        let streams = run.streams.iter().filter(|stream| thinned(stream));
        Some(streams.map(|stream| stream.achieved_pps).sum::<f64>()).filter(|pps| *pps > 0.0)
    };
    let accepted = |run: &RunResult| passed(run, thinned).map(|(sent, received)| received / sent);
    let mut series =
        series_of(groups, |level| Some((level.summary(offered)?.median, level.summary(accepted)?)));
    let mut table =
        Table::new(&["Limiter~", "Flood", "Runs", "Offered", "Accepted", "Interval", "Ideal"]);
    table.rows = rows(groups, |level| {
        let offered = level.summary(offered);
        let ideal = offered.as_ref().zip(fuzzy).map(|(offered, fuzzy)| fuzzy.ideal(offered.median));
        let [offered, _] = summary(Unit::PacketsPerSecond, offered.as_ref());
        let accepted = summary(Unit::Share, level.summary(accepted).as_ref());
        let ideal = ideal.map_or("-".to_owned(), |share| Unit::Share.show(share));
        [vec![offered], accepted.to_vec(), vec![ideal]].concat()
    });
    if let Some(fuzzy) = fuzzy
        && !series.is_empty()
    {
        series.push(ideal_line(fuzzy, &series));
    }
    let ideal = fuzzy.map_or_else(String::new, |fuzzy| {
        let pps = |rate| Unit::PacketsPerSecond.show(rate);
        let (lower, upper) = (pps(fuzzy.lower_pps), pps(fuzzy.upper_pps));
        format!("Ideal: all up to {lower}, falling evenly to 1 % at {upper}.")
    });
    Section {
        heading: "Acceptance against offered rate".to_owned(),
        explanation: format!(
            "The share of a limited stream that arrived. {ideal} {}",
            interval_words(groups)
        ),
        plot: Plot {
            title: "Acceptance against offered rate".to_owned(),
            x: axis("Offered", Unit::PacketsPerSecond, Scale::Wide),
            y: axis("Accepted", Unit::Share, Scale::Whole),
            series,
        },
        table,
    }
}

/// Over the whole width of what was measured. Between the limits it is straight only where rates stand evenly.
fn ideal_line(fuzzy: Fuzzy, measured: &[Series]) -> Series {
    let Fuzzy { lower_pps, upper_pps } = fuzzy;
    let xs = || measured.iter().flat_map(|series| &series.points).map(|point| point.x);
    let first = xs().fold(if lower_pps > 0.0 { lower_pps } else { upper_pps }, f64::min);
    let last = xs().fold(upper_pps, f64::max);
    let steps = (0..=IDEAL_STEPS)
        .map(|step| lower_pps + (upper_pps - lower_pps) * f64::from(step) / f64::from(IDEAL_STEPS));
    let between = steps.filter(|x| *x >= first);
    let points = std::iter::once(first).chain(between).chain([last]);
    Series {
        name: "ideal".to_owned(),
        style: Style::Ideal,
        points: points.map(|x| Point::new(x, fuzzy.ideal(x))).collect(),
    }
}
