//! Many runs put in order: by what protects the server, by how hard it is flooded, and by the load beside the flood.
//!
//! Runs of one label, one flood rate and one load are repeats of each other. Of their figures the median stands with
//! its interval ([`crate::statistics`]); their histograms are joined, for the percentiles of several runs are not the
//! mean of each one's percentiles. Runs that are void take no part.

use std::collections::BTreeMap;

use crate::report::figures::{self, Figure, count};
use crate::report::unit::Unit;
use crate::result::{Expect, Latency, RunResult};
use crate::statistics::Summary;

/// All runs of one label: one protection of a study.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// The label.
    pub label: &'a str,
    /// Its runs by their flood and load, the weakest first.
    pub levels: Vec<Level<'a>>,
}

/// Repeats: the runs of one label at one flood and one load.
#[derive(Clone, Debug)]
pub struct Level<'a> {
    key: Key,
    /// The flood that was asked for, in packets a second; where it was as fast as it went, the median of what was
    /// sent.
    pub flood_pps: f64,
    /// Whether the flood had no rate but went as fast as it could.
    pub unlimited: bool,
    /// The rate that was asked for of streams that are to pass, in packets a second; 0 where it was as fast as it went.
    pub load_pps: f64,
    /// The runs; one at least.
    pub runs: Vec<&'a RunResult>,
}

/// Puts the runs that are not void in order; the labels as they first come.
#[must_use]
pub fn groups(results: &[RunResult]) -> Vec<Group<'_>> {
    let mut groups: Vec<(&str, BTreeMap<Key, Vec<&RunResult>>)> = Vec::new();
    for result in results.iter().filter(|result| result.void.is_none()) {
        let known = groups.iter().position(|(label, _)| *label == result.label);
        let index = known.unwrap_or_else(|| {
            groups.push((&result.label, BTreeMap::new()));
            groups.len() - 1
        });
        groups[index].1.entry(Key::of(result)).or_default().push(result);
    }
    let ordered = groups.into_iter().map(|(label, levels)| Group {
        label,
        levels: levels.into_iter().map(|(key, runs)| Level::of(key, runs)).collect(),
    });
    ordered.collect()
}

/// What was asked for: flood, load, and users' connections, each as the bits of the rounded rate; positive numbers are
/// ordered as their bits are. No rate comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    flood: u64,
    load: u64,
    users: u64,
}

impl Key {
    fn of(result: &RunResult) -> Self {
        let ordered = |rate: Option<f64>| rate.map_or(u64::MAX, |rate| rounded(rate).to_bits());
        Self {
            flood: ordered(figures::flood_requested_pps(result)),
            load: ordered(load_requested_pps(result)),
            users: ordered(result.users.as_ref().map(|users| users.requested_cps)),
        }
    }
}

/// A rate to five digits: the mean of a schedule over a run depends a little on the moment at which the run ended.
#[must_use]
pub fn rounded(rate: f64) -> f64 {
    if rate.is_nan() || rate <= 0.0 {
        return 0.0;
    }
    let digits = 10_f64.powf(4.0 - rate.log10().floor());
    (rate * digits).round() / digits
}

/// The rate that was asked for of streams that are to pass; `None` if any of it goes as fast as it can.
fn load_requested_pps(result: &RunResult) -> Option<f64> {
    passing(result).try_fold(0.0, |sum, stream| Some(sum + stream.requested_pps?))
}

impl<'a> Level<'a> {
    fn of(key: Key, runs: Vec<&'a RunResult>) -> Self {
        let unlimited = key.flood == u64::MAX;
        let of_runs: Vec<f64> = runs
            .iter()
            .map(|run| {
                figures::flood_requested_pps(run).map_or_else(|| figures::flood_pps(run), rounded)
            })
            .collect();
        let flood_pps = Summary::of(&of_runs).map_or(0.0, |summary| summary.median);
        let load_pps = runs.first().and_then(|run| load_requested_pps(run)).map_or(0.0, rounded);
        Self { key, flood_pps, unlimited, load_pps, runs }
    }

    /// Whether the same was asked for, and it was a rate.
    #[must_use]
    pub fn is_like(&self, other: &Level<'_>) -> bool {
        self.key == other.key && !self.unlimited
    }

    /// The median of a figure of these runs; `None` if none has it.
    #[must_use]
    pub fn summary(&self, figure: impl Fn(&RunResult) -> Option<f64>) -> Option<Summary> {
        let values: Vec<f64> = self.runs.iter().filter_map(|run| figure(run)).collect();
        Summary::of(&values)
    }

    /// The distribution of all runs together; `None` if none has it.
    #[must_use]
    pub fn joined(&self, latency: impl Fn(&RunResult) -> Option<&Latency>) -> Option<Joined> {
        Joined::of(self.runs.iter().filter_map(|run| latency(run)))
    }
}

/// What those get who are to be served: the users, or where a profile has none, the streams that are to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Users' connections.
    Users,
    /// Streams.
    Streams,
}

impl Served {
    /// Users if any run has some.
    #[must_use]
    pub fn of(results: &[RunResult]) -> Self {
        if results.iter().any(|result| result.users.is_some()) {
            Self::Users
        } else {
            Self::Streams
        }
    }

    /// What they get in a second.
    #[must_use]
    pub fn goodput(self, result: &RunResult) -> Option<f64> {
        match self {
            Self::Users => value(result, "users", "completed"),
            Self::Streams => {
                let mut passing = passing(result).peekable();
                passing.peek()?;
                let received: f64 = passing.map(|stream| count(stream.received)).sum();
                (result.elapsed_s > 0.0).then(|| received / result.elapsed_s)
            }
        }
    }

    /// The unit of [`goodput`](Self::goodput).
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Users => Unit::ConnectionsPerSecond,
            Self::Streams => Unit::PacketsPerSecond,
        }
    }

    /// The part of what was asked for that they get, 0 to 1.
    #[must_use]
    pub fn share(self, result: &RunResult) -> Option<f64> {
        match self {
            Self::Users => value(result, "users", "completed share"),
            Self::Streams => {
                let (received, sent) = passing(result).fold((0, 0), |(received, sent), stream| {
                    (received + stream.received, sent + stream.sent)
                });
                (sent > 0).then(|| count(received) / count(sent))
            }
        }
    }

    /// How long they wait: for the last byte of an answer, or for a packet of the first stream that is to pass.
    #[must_use]
    pub fn latency(self, result: &RunResult) -> Option<&Latency> {
        match self {
            Self::Users => result.users.as_ref()?.last_byte.as_ref(),
            Self::Streams => passing(result).find_map(|stream| stream.latency.as_ref()),
        }
    }

    /// What [`latency`](Self::latency) is, in words.
    #[must_use]
    pub fn waits_for(self) -> &'static str {
        match self {
            Self::Users => "from a connection's due time to the last byte of its answer",
            Self::Streams => "from a packet's due time to its arrival",
        }
    }
}

fn passing(result: &RunResult) -> impl Iterator<Item = &crate::result::StreamResult> {
    result.streams.iter().filter(|stream| stream.expect == Expect::Pass)
}

/// A figure's value.
#[must_use]
pub fn value(result: &RunResult, subject: &str, name: &str) -> Option<f64> {
    let figures: Vec<Figure> = figures::of(result);
    figures::find(&figures, subject, name).map(|figure| figure.value)
}

/// A distribution of several runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// How many times were measured.
    pub count: u64,
    min_ns: u64,
    mean_ns: f64,
    max_ns: u64,
    /// As in [`Latency`].
    buckets: Vec<(u64, u64)>,
    /// Upper bounds in nanoseconds, rising, with how many times are no longer.
    cumulative: Vec<(u64, u64)>,
}

impl Joined {
    /// Of all these; `None` if nothing was measured.
    #[must_use]
    pub fn of<'a>(latencies: impl Iterator<Item = &'a Latency>) -> Option<Self> {
        let mut buckets: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut min_ns, mut max_ns, mut sum_ns, mut weight) = (u64::MAX, 0, 0.0, 0.0);
        for latency in latencies {
            (min_ns, max_ns) = (latency.min_ns.min(min_ns), latency.max_ns.max(max_ns));
            sum_ns += latency.mean_ns * count(latency.count);
            weight += count(latency.count);
            for (bound, count) in &latency.buckets {
                let sum = buckets.entry(*bound).or_default();
                *sum = sum.saturating_add(*count);
            }
        }
        let mut below = 0_u64;
        let sums = buckets.iter().map(|(bound, count)| {
            below = below.saturating_add(*count);
            (*bound, below)
        });
        let cumulative: Vec<(u64, u64)> = sums.collect();
        let buckets = buckets.into_iter().collect();
        let mean_ns = sum_ns / weight;
        (below > 0).then_some(Self { count: below, min_ns, mean_ns, max_ns, buckets, cumulative })
    }

    /// The time that a share of all is not longer than, to the width of a bucket.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to count")]
        let rank = ((share.clamp(0.0, 1.0) * count(self.count)).ceil() as u64).max(1);
        let index = self.cumulative.partition_point(|(_, below)| *below < rank);
        self.cumulative.get(index).or(self.cumulative.last()).map_or(0, |(bound, _)| *bound)
    }

    /// All in the form of a single run's.
    #[must_use]
    pub fn latency(&self) -> Latency {
        let at = |share| self.quantile_ns(share);
        Latency {
            count: self.count,
            min_ns: self.min_ns,
            mean_ns: self.mean_ns,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            p9999_ns: at(0.9999),
            max_ns: self.max_ns,
            buckets: self.buckets.clone(),
        }
    }

    /// The curve to draw: the share that is no longer, and the time, for every bucket.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let points = self.cumulative.iter().map(|(bound, below)| {
            let beyond = self.count - below;
            // The longest stands as if half a time were beyond it, and not at infinitely many nines.
            let share = 1.0 - count(beyond).max(0.5) / count(self.count);
            (share, count(*bound))
        });
        points.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn runs_are_put_in_order() {
        let mut runs = Vec::new();
        for (label, flood) in
            [("none", 1e6), ("weir", 1e6), ("weir", 0.0), ("none", 0.0), ("weir", 1e6)]
        {
            runs.push(sample::study(label, flood, 1));
        }
        let mut void = sample::study("void", 0.0, 1);
        void.void = Some("too slow".to_owned());
        let mut unlimited = sample::study("weir", 1e7, 1);
        unlimited.streams[0].requested_pps = None;
        runs.extend([void, unlimited]);
        let groups = groups(&runs);
        let shape: Vec<_> = groups
            .iter()
            .map(|group| {
                let levels = group.levels.iter();
                (
                    group.label,
                    levels
                        .map(|level| (level.flood_pps, level.runs.len(), level.unlimited))
                        .collect(),
                )
            })
            .collect();
        let expected = vec![
            ("none", vec![(0.0, 1, false), (1e6, 1, false)]),
            ("weir", vec![(0.0, 1, false), (1e6, 2, false), (9_990_000.0, 1, true)]),
        ];
        assert_eq!(shape, expected);
    }

    #[test]
    fn rates_are_rounded_to_five_digits() {
        for (rate, expected) in [
            (99_999.999_7, 1e5),
            (100_000.4, 1e5),
            (123_456.0, 123_460.0),
            (0.0, 0.0),
            (-1.0, 0.0),
            (0.000_123_456, 0.000_123_46),
        ] {
            assert!(
                (rounded(rate) - expected).abs() <= expected * 1e-12,
                "{rate} {}",
                rounded(rate)
            );
        }
    }

    #[test]
    fn histograms_are_joined_not_averaged() {
        let one = Latency { buckets: vec![(10, 99), (20, 1)], ..sample::latency(10) };
        let other = Latency { buckets: vec![(20, 50), (1_000, 50)], ..sample::latency(10) };
        let joined = Joined::of([&one, &other].into_iter()).unwrap();
        assert_eq!(joined.count, 200);
        let at = [0.0, 0.495, 0.5, 0.75, 0.76, 1.0].map(|share| joined.quantile_ns(share));
        assert_eq!(at, [10, 10, 20, 20, 1_000, 1_000]);
        let expected =
            [(1.0 - 101.0 / 200.0, 10.0), (1.0 - 50.0 / 200.0, 20.0), (1.0 - 0.5 / 200.0, 1_000.0)];
        assert_eq!(joined.curve(), expected);
        assert_eq!(Joined::of(std::iter::empty()), None);
    }

    #[test]
    fn who_is_served_without_users() {
        let mut run = sample::study("weir", 1e6, 1);
        assert_eq!(Served::of(std::slice::from_ref(&run)), Served::Users);
        assert_eq!(Served::Users.share(&run), Some(0.99));
        run.users = None;
        assert_eq!(Served::of(std::slice::from_ref(&run)), Served::Streams);
        assert_eq!(
            (Served::Streams.goodput(&run), Served::Streams.share(&run)),
            (Some(999.0), Some(0.999))
        );
        assert_eq!(Served::Streams.latency(&run).unwrap().p50_ns, 20_100);
        run.streams.truncate(1);
        assert_eq!((Served::Streams.goodput(&run), Served::Streams.share(&run)), (None, None));
    }
}
