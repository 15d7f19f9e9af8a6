//! What may be compared: runs that asked for the same.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::report::study::rounded;
use crate::result::RunResult;
use crate::statistics::Summary;

/// Runs that differ in length by more than this share are not compared: what a cache or a table does in 10 s says
/// little about 60.
const LENGTH_APART: f64 = 0.05;

/// Why two sets of runs cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{before} and {after} cannot be compared: {why}")]
pub struct Incomparable {
    /// The first set.
    pub before: String,
    /// The second set.
    pub after: String,
    /// The reason.
    pub why: String,
}

/// What a run asked for, in words: two runs with the same words may be compared.
#[must_use]
pub fn demand(run: &RunResult) -> String {
    let streams = run.streams.iter().map(|stream| {
        let rate = stream
            .requested_pps
            .map_or("flood".to_owned(), |rate| format!("{} pps", rounded(rate)));
        format!("stream {} ({}, {:?}, {rate})", stream.name, stream.kind, stream.expect)
    });
    let users = run.users.as_ref().map(|users| format!("users ({} cps)", users.requested_cps));
    streams.chain(users).collect::<Vec<_>>().join(", ")
}

/// Why these runs cannot be compared, though they asked for the same; `None` if they can.
pub(super) fn length(before: &[&RunResult], after: &[&RunResult]) -> Option<String> {
    let median = |runs: &[&RunResult]| {
        let lengths: Vec<f64> = runs.iter().map(|run| run.elapsed_s).collect();
        Summary::of(&lengths).map_or(0.0, |summary| summary.median)
    };
    let (before, after) = (median(before), median(after));
    let apart = (before - after).abs() > before.max(after) * LENGTH_APART;
    apart.then(|| format!("the runs took {before:.1} s and {after:.1} s"))
}

/// Something that differs between two sets of runs beside what was compared, and so may be the cause of what differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Circumstance {
    /// What it is: `engine`, `threads`, `kernel`.
    pub aspect: &'static str,
    /// Before; of runs that differ among themselves all of it.
    pub before: String,
    /// After.
    pub after: String,
}

type Aspect = (&'static str, fn(&RunResult) -> String);

/// What is looked at: how the generator worked first, then the machine.
const ASPECTS: [Aspect; 12] = [
    ("engine", |run| each(&run.streams, |stream| format!("{} of {}", stream.engine, stream.name))),
    ("threads", |run| told(run.threads)),
    ("queues", |run| {
        each(&run.environment.interfaces, |port| format!("{} {}", port.side, port.queues))
    }),
    ("interfaces", |run| {
        each(&run.environment.interfaces, |port| {
            format!("{} {} {} MTU {}", port.side, port.driver, port.mode, port.mtu)
        })
    }),
    ("machine", |run| told(run.environment.host.as_ref())),
    ("processor", |run| format!("{}, {} core(s)", run.environment.cpu, run.environment.cores)),
    ("memory", |run| format!("{} MiB", run.environment.memory_bytes >> 20)),
    ("kernel", |run| run.environment.kernel.clone()),
    ("timer", |run| told(run.environment.hz.map(|hz| format!("{hz} Hz")))),
    ("mitigations", |run| run.environment.mitigations.join("; ")),
    ("governor", |run| told(run.environment.governor.as_ref())),
    ("program", |run| run.environment.version.clone()),
];

fn told(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "not told".to_owned(), |value| value.to_string())
}

fn each<T>(all: &[T], words: impl Fn(&T) -> String) -> String {
    all.iter().map(words).collect::<Vec<_>>().join(", ")
}

/// What else differs, for the reader to judge: figures are still those of the runs.
#[must_use]
pub fn circumstances(before: &[&RunResult], after: &[&RunResult]) -> Vec<Circumstance> {
    let differing = ASPECTS.iter().filter_map(|(aspect, words)| {
        let of = |runs: &[&RunResult]| -> BTreeSet<String> {
            runs.iter().map(|run| words(run)).collect()
        };
        let (before, after) = (of(before), of(after));
        let words = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" and ");
        (before != after).then(|| Circumstance {
            aspect,
            before: words(before),
            after: words(after),
        })
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::{Expect, Way};

    #[test]
    fn a_demand_is_what_was_asked_for_and_not_what_came_of_it() {
        let run = sample::study("a", 1e5, 1);
        let mut other = sample::study("b", 1e5, 2);
        other.streams[0].received = 7;
        assert_eq!(demand(&run), demand(&other));
        let expected = "stream flood (syn, Drop, 100000 pps), stream probe (udp, Pass, 1000 pps), users (1000 cps)";
        assert_eq!(demand(&run), expected);
        let changes: [fn(&mut RunResult); 5] = [
            |run| run.streams[0].requested_pps = None,
            |run| run.streams[0].expect = Expect::Either,
            |run| run.streams[1].kind = "tcp".to_owned(),
            |run| run.users = None,
            |run| drop(run.streams.pop()),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut other = run.clone();
            change(&mut other);
            assert_ne!(demand(&run), demand(&other), "{index}");
        }
    }

    #[test]
    fn lengths_and_machines_are_looked_at() {
        let run = sample::study("a", 1e5, 1);
        let mut other = run.clone();
        (other.elapsed_s, other.environment.kernel) = (10.4, "7.0".to_owned());
        assert_eq!(length(&[&run], &[&other]), None);
        let differs = |aspect, before: &str, after: &str| Circumstance {
            aspect,
            before: before.to_owned(),
            after: after.to_owned(),
        };
        let kernel = differs("kernel", "6.18.0", "7.0");
        assert_eq!(circumstances(&[&run], &[&other]), std::slice::from_ref(&kernel));
        // The generator comes first: its engine, threads and queues; then the machine.
        other.streams[0].engine = Way::Live;
        other.threads = Some(2);
        other.environment.interfaces[1].queues = 2;
        other.environment.host = None;
        let expected = [
            differs(
                "engine",
                "af-xdp of flood, af-xdp of probe",
                "live-frames of flood, af-xdp of probe",
            ),
            differs("threads", "1", "2"),
            differs("queues", "left 1, right 1", "left 1, right 2"),
            differs("machine", "abacus", "not told"),
            kernel,
        ];
        assert_eq!(circumstances(&[&run], &[&other]), expected);
        // A set that is not one itself differs from each of its parts.
        let mixed = circumstances(&[&run, &other], &[&run]);
        assert_eq!(mixed[1], differs("threads", "1 and 2", "1"));
        other.elapsed_s = 60.0;
        assert_eq!(length(&[&run], &[&other]).unwrap(), "the runs took 10.0 s and 60.0 s");
        assert!(circumstances(&[&run], &[&run]).is_empty());
    }
}
