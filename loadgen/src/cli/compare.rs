//! `weirgen compare`: what differs between runs, beyond noise.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::compare::{Comparison, Outcome, Side, compare, show};
use crate::error::Error;
use crate::report::file;
use crate::result::RunResult;

#[derive(Clone, Debug, Args)]
pub(crate) struct CompareOptions {
    /// Files of results, each with one run or several. The first is compared with each of the others; with --with,
    /// all of them together are one side.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The files of the other side.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    with: Vec<PathBuf>,
    /// Show the figures that do not differ, too.
    #[arg(long)]
    all: bool,
    /// Report in one line of JSON for each comparison.
    #[arg(long)]
    json: bool,
}

/// Compares, prints, and says what came of it.
pub(crate) fn run(options: &CompareOptions) -> Result<Outcome, Error> {
    let comparisons = comparisons(options)?;
    let mut text = String::new();
    for (index, comparison) in comparisons.iter().enumerate() {
        if options.json {
            text +=
                &serde_json::to_string(comparison).map_err(|error| Error::Output(error.into()))?;
        } else {
            text += if index > 0 { "\n" } else { "" };
            text += &show(comparison, options.all);
        }
        text.push('\n');
    }
    super::write_out(text.as_bytes())?;
    Ok(together(comparisons.iter().map(Comparison::outcome)))
}

fn comparisons(options: &CompareOptions) -> Result<Vec<Comparison>, Error> {
    if !options.with.is_empty() {
        let (before, after) = (read(&options.files)?, read(&options.with)?);
        return Ok(vec![of(&name(&options.files), &before, &name(&options.with), &after)?]);
    }
    let Some((first, others)) =
        options.files.split_first().filter(|(_, others)| !others.is_empty())
    else {
        let allowed = "two files at least, or --with and the files of the other side".to_owned();
        return Err(Error::Value { option: "FILE", value: name(&options.files), allowed });
    };
    let before = file::read(first)?;
    let others = others.iter().map(|path| {
        let after = file::read(path)?;
        of(&display(first), &before, &display(path), &after)
    });
    others.collect()
}

fn of(
    before: &str,
    old: &[RunResult],
    after: &str,
    new: &[RunResult],
) -> Result<Comparison, Error> {
    Ok(compare(Side { name: before, runs: old }, Side { name: after, runs: new })?)
}

fn read(paths: &[PathBuf]) -> Result<Vec<RunResult>, Error> {
    let mut results = Vec::new();
    for path in paths {
        results.extend(file::read(path)?);
    }
    Ok(results)
}

fn name(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| display(path)).collect::<Vec<_>>().join(" ")
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

/// What can be said of all: one difference is a difference.
fn together(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    outcomes.fold(Outcome::Same, |all, one| match (all, one) {
        (Outcome::Differs, _) | (_, Outcome::Differs) => Outcome::Differs,
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        (Outcome::Same, Outcome::Same) => Outcome::Same,
    })
}
