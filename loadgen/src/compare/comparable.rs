//! What may be compared: runs that asked for the same.

use std::collections::BTreeSet;

use crate::report::study::rounded;
use crate::result::{Environment, RunResult};
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

/// What else differs between the machines, for the reader to judge: figures are still those of the runs.
#[must_use]
pub fn circumstances(before: &[&RunResult], after: &[&RunResult]) -> Vec<String> {
    type Aspect = (&'static str, fn(&Environment) -> String);
    let aspects: [Aspect; 8] = [
        ("processor", |machine| format!("{}, {} core(s)", machine.cpu, machine.cores)),
        ("memory", |machine| format!("{} MiB", machine.memory_bytes >> 20)),
        ("kernel", |machine| machine.kernel.clone()),
        ("timer", |machine| machine.hz.map_or("not told".to_owned(), |hz| format!("{hz} Hz"))),
        ("mitigations", |machine| machine.mitigations.join("; ")),
        ("governor", |machine| machine.governor.clone().unwrap_or("not told".to_owned())),
        ("program", |machine| machine.version.clone()),
        ("interfaces", |machine| {
            let interfaces = machine.interfaces.iter();
            let words = interfaces.map(|port| {
                format!("{} {} {} queue(s) MTU {}", port.driver, port.mode, port.queues, port.mtu)
            });
            words.collect::<Vec<_>>().join(", ")
        }),
    ];
    let differing = aspects.iter().filter_map(|(name, aspect)| {
        let of = |runs: &[&RunResult]| -> BTreeSet<String> {
            runs.iter().map(|run| aspect(&run.environment)).collect()
        };
        let (before, after) = (of(before), of(after));
        let words = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join(" and ");
        (before != after).then(|| format!("{name}: {} / {}", words(before), words(after)))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::result::Expect;

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
        assert_eq!(circumstances(&[&run], &[&other]), ["kernel: 6.18.0 / 7.0"]);
        other.elapsed_s = 60.0;
        assert_eq!(length(&[&run], &[&other]).unwrap(), "the runs took 10.0 s and 60.0 s");
        assert!(circumstances(&[&run], &[&run]).is_empty());
    }
}
