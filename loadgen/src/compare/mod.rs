//! What differs between two sets of runs beyond noise.
//!
//! Of several runs on each side, a figure differs when the ranks of its values do ([`ranks`]), at a confidence of 99 %:
//! so five runs a side are the least that can show anything, and the report says how many figures would seem to differ
//! by chance. Of fewer runs the numbers stand side by side, and it is said that nothing is known about the noise;
//! calling a difference of two single runs a difference would be a guess.
//!
//! Runs are compared when they asked for the same ([`comparable`]): else there is no comparison but a reason.

pub mod comparable;
pub mod ranks;
mod show;

use serde::Serialize;

use crate::report::figures::{self, Better, Figure};
use crate::report::unit::Unit;
use crate::result::RunResult;
use crate::statistics::Summary;
use comparable::{Circumstance, Incomparable};
use ranks::Change;

pub use show::show;

/// A figure differs when chance explains it in fewer than one of a hundred cases.
pub const LEVEL: f64 = 0.01;

/// A set of runs with a name.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What to call it.
    pub name: &'a str,
    /// Its runs; void ones are left out.
    pub runs: &'a [RunResult],
}

/// Two sets, compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The first set.
    pub before: String,
    /// The second set.
    pub after: String,
    /// One part for each demand (and label, where a set has several) of which both sets have runs.
    pub parts: Vec<Part>,
    /// Runs that are void and were left out.
    pub void: usize,
    /// What else differs: engines, threads, queues, machines.
    pub circumstances: Vec<Circumstance>,
}

/// The runs that asked for the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// The label, where there are several.
    pub label: Option<String>,
    /// What they asked for.
    pub demand: String,
    /// How many runs there are on each side.
    pub runs: (usize, usize),
    /// Every figure that one side has at least.
    pub lines: Vec<Line>,
}

/// One figure on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What it is about.
    pub subject: String,
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Before; `None` if no run measured it.
    pub before: Option<Summary>,
    /// After; `None` if no run measured it.
    pub after: Option<Summary>,
    /// By how much it changed, if it is above 0 in all runs and there are runs enough.
    pub change: Option<Change>,
    /// How likely such a difference is by chance.
    pub p: Option<f64>,
    /// What can be said.
    pub verdict: Verdict,
}

/// What can be said about a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No difference beyond noise.
    Same,
    /// It improved beyond noise.
    Better,
    /// It became worse beyond noise.
    Worse,
    /// It differs beyond noise, and is neither good nor bad.
    Differs,
    /// There are too few runs to tell.
    Unknown,
}

/// What can be said of everything: the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing differs beyond noise.
    Same,
    /// Something differs beyond noise.
    Differs,
    /// There are too few runs to tell, and nothing that can be told differs.
    Unknown,
}

impl Comparison {
    /// What can be said of everything.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let verdicts = || self.parts.iter().flat_map(|part| &part.lines).map(|line| line.verdict);
        let differs =
            |verdict| matches!(verdict, Verdict::Better | Verdict::Worse | Verdict::Differs);
        if verdicts().any(differs) {
            Outcome::Differs
        } else if verdicts().any(|verdict| verdict == Verdict::Unknown) {
            Outcome::Unknown
        } else {
            Outcome::Same
        }
    }
}

/// Compares two sets.
///
/// # Errors
/// [`Incomparable`]: one set has no usable run, they asked for different things, or they took different times.
pub fn compare(before: Side<'_>, after: Side<'_>) -> Result<Comparison, Incomparable> {
    let refuse = |why: String| Incomparable {
        before: before.name.to_owned(),
        after: after.name.to_owned(),
        why,
    };
    let (old, new) = (usable(before), usable(after));
    for (side, runs) in [(before, &old), (after, &new)] {
        if runs.is_empty() {
            let why = side.runs.iter().find_map(|run| run.void.clone()).unwrap_or_default();
            return Err(refuse(format!("{} has no run that may be used ({why})", side.name)));
        }
    }
    let by_label = labels(&old).len() > 1 || labels(&new).len() > 1;
    let (old_parts, new_parts) = (parts(&old, by_label), parts(&new, by_label));
    for (here, there, name) in
        [(&old_parts, &new_parts, after.name), (&new_parts, &old_parts, before.name)]
    {
        for (key, _) in here {
            if !there.iter().any(|(other, _)| other == key) {
                let (label, demand) = key;
                let label = label.map_or_else(String::new, |label| format!("label {label}: "));
                return Err(refuse(format!("{name} has no run of {label}{demand}")));
            }
        }
    }
    let mut compared = Vec::new();
    for (key, old) in &old_parts {
        let Some((_, new)) = new_parts.iter().find(|(other, _)| other == key) else { continue };
        if let Some(why) = comparable::length(old, new) {
            return Err(refuse(why));
        }
        compared.push(Part {
            label: key.0.map(str::to_owned),
            demand: key.1.clone(),
            runs: (old.len(), new.len()),
            lines: lines(old, new),
        });
    }
    Ok(Comparison {
        before: before.name.to_owned(),
        after: after.name.to_owned(),
        parts: compared,
        void: before.runs.len() - old.len() + after.runs.len() - new.len(),
        circumstances: comparable::circumstances(&old, &new),
    })
}

fn usable(side: Side<'_>) -> Vec<&RunResult> {
    side.runs.iter().filter(|run| run.void.is_none()).collect()
}

fn labels<'a>(runs: &[&'a RunResult]) -> std::collections::BTreeSet<&'a str> {
    runs.iter().map(|run| run.label.as_str()).collect()
}

type Key<'a> = (Option<&'a str>, String);

/// The runs by what they asked for, and by label if there are several; in the order in which they come.
fn parts<'a>(runs: &[&'a RunResult], by_label: bool) -> Vec<(Key<'a>, Vec<&'a RunResult>)> {
    let mut parts: Vec<(Key<'_>, Vec<&RunResult>)> = Vec::new();
    for run in runs {
        let key = (by_label.then_some(run.label.as_str()), comparable::demand(run));
        match parts.iter_mut().find(|(other, _)| *other == key) {
            Some((_, members)) => members.push(run),
            None => parts.push((key, vec![run])),
        }
    }
    parts
}

fn lines(old: &[&RunResult], new: &[&RunResult]) -> Vec<Line> {
    let figures = |runs: &[&RunResult]| -> Vec<Vec<Figure>> {
        runs.iter().map(|run| figures::of(run)).collect()
    };
    let (old, new) = (figures(old), figures(new));
    let mut names: Vec<&Figure> = Vec::new();
    for figure in old.iter().chain(&new).flatten() {
        if !names.iter().any(|known| known.subject == figure.subject && known.name == figure.name) {
            names.push(figure);
        }
    }
    let values = |runs: &[Vec<Figure>], of: &Figure| -> Vec<f64> {
        let found = runs.iter().filter_map(|figures| figures::find(figures, &of.subject, of.name));
        found.map(|figure| figure.value).collect()
    };
    names
        .into_iter()
        .map(|figure| line(figure, &values(&old, figure), &values(&new, figure)))
        .collect()
}

fn line(figure: &Figure, before: &[f64], after: &[f64]) -> Line {
    let p = ranks::p_value(before, after);
    let enough = ranks::p_least(before.len(), after.len()) <= LEVEL;
    let (old, new) = (Summary::of(before), Summary::of(after));
    let risen = match (&old, &new) {
        (Some(old), Some(new)) => new.median > old.median,
        _ => false,
    };
    let verdict = match p {
        Some(p) if enough && p <= LEVEL => match (figure.better, risen) {
            (Better::Higher, true) | (Better::Lower, false) => Verdict::Better,
            (Better::Higher, false) | (Better::Lower, true) => Verdict::Worse,
            (Better::Neither, _) => Verdict::Differs,
        },
        Some(_) if enough => Verdict::Same,
        _ => Verdict::Unknown,
    };
    Line {
        subject: figure.subject.clone(),
        name: figure.name,
        unit: figure.unit,
        before: old,
        after: new,
        change: enough.then(|| ranks::change(before, after, 1.0 - LEVEL)).flatten(),
        p,
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Runs whose waiting times are so many percent of the usual, with a noise of a few.
    fn runs(label: &str, percent: u64, count: u64) -> Vec<RunResult> {
        let run = |seed| {
            let mut run = sample::study(label, 1e5, seed);
            let latency = sample::latency((300_000 + seed * 1_000) * percent / 100);
            run.users.as_mut().unwrap().last_byte = Some(latency);
            run
        };
        (1..=count).map(run).collect()
    }

    fn side<'a>(name: &'a str, runs: &'a [RunResult]) -> Side<'a> {
        Side { name, runs }
    }

    fn verdict(comparison: &Comparison, name: &str) -> Verdict {
        comparison.parts[0].lines.iter().find(|line| line.name == name).unwrap().verdict
    }

    #[test]
    fn several_runs_tell() {
        let (old, new) = (runs("a", 100, 6), runs("b", 110, 6));
        let found = compare(side("old", &old), side("new", &new)).unwrap();
        assert_eq!(found.outcome(), Outcome::Differs);
        assert_eq!(verdict(&found, "p99 last byte"), Verdict::Worse);
        assert_eq!(verdict(&found, "p99 first byte"), Verdict::Same);
        let line = found.parts[0].lines.iter().find(|line| line.name == "p99 last byte").unwrap();
        let change = line.change.unwrap();
        assert!(
            change.low > 1.05 && change.low < 1.1 && change.high > 1.1 && change.high < 1.15,
            "{change:?}"
        );
        let back = compare(side("new", &new), side("old", &old)).unwrap();
        assert_eq!(verdict(&back, "p99 last byte"), Verdict::Better);
        let same = compare(side("old", &old), side("old again", &old)).unwrap();
        assert_eq!(same.outcome(), Outcome::Same);
    }

    #[test]
    fn few_runs_do_not() {
        for count in [1, 3, 4] {
            let (old, new) = (runs("a", 100, count), runs("b", 300, count));
            let found = compare(side("old", &old), side("new", &new)).unwrap();
            assert_eq!(found.outcome(), Outcome::Unknown, "{count}");
            assert!(found.parts[0].lines.iter().all(|line| line.change.is_none()));
        }
    }

    #[test]
    fn what_is_not_comparable_is_refused_with_the_reason() {
        let old = runs("a", 100, 2);
        let refused = |change: fn(&mut RunResult)| {
            let mut new = old.clone();
            new.iter_mut().for_each(change);
            compare(side("old", &old), side("new", &new)).unwrap_err().to_string()
        };
        type Case = (fn(&mut RunResult), &'static str);
        let cases: [Case; 4] = [
            (
                |run| run.streams[0].requested_pps = Some(2e5),
                "new has no run of stream flood (syn, Drop, 100000 pps)",
            ),
            (|run| run.users = None, "new has no run of stream flood"),
            (|run| run.elapsed_s = 60.0, "the runs took 10.0 s and 60.0 s"),
            (
                |run| run.void = Some("too slow".to_owned()),
                "new has no run that may be used (too slow)",
            ),
        ];
        for (change, expected) in cases {
            let message = refused(change);
            assert!(
                message.contains(expected) && message.starts_with("old and new cannot"),
                "{message}"
            );
        }
    }

    #[test]
    fn studies_are_compared_part_by_part() {
        let study = |percent| [runs("weir", percent, 5), runs("kernel", 100, 5)].concat();
        let (old, mut new) = (study(100), study(150));
        let mut void = new[0].clone();
        void.void = Some("too slow".to_owned());
        new.push(void);
        let found = compare(side("old", &old), side("new", &new)).unwrap();
        let labels: Vec<_> =
            found.parts.iter().map(|part| (part.label.as_deref(), part.runs)).collect();
        assert_eq!(labels, [(Some("weir"), (5, 5)), (Some("kernel"), (5, 5))]);
        assert_eq!((found.void, found.outcome()), (1, Outcome::Differs));
        new.retain(|run| run.label == "weir");
        let message = compare(side("old", &old), side("new", &new)).unwrap_err().to_string();
        assert!(message.contains("new has no run of label kernel"), "{message}");
    }

    #[test]
    fn what_only_one_side_measured_is_unknown() {
        let (old, mut new) = (runs("a", 100, 6), runs("a", 100, 6));
        new.iter_mut().for_each(|run| run.users.as_mut().unwrap().last_byte = None);
        let found = compare(side("old", &old), side("new", &new)).unwrap();
        let line = found.parts[0].lines.iter().find(|line| line.name == "p99 last byte").unwrap();
        assert_eq!(
            (line.verdict, line.after.is_none(), found.outcome()),
            (Verdict::Unknown, true, Outcome::Unknown)
        );
    }
}
