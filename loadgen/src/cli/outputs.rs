//! Where results go: files, and what a search prints.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::report::{self, Format};
use crate::error::Error;
use crate::report::html;
use crate::result::RunResult;

/// Standard output, as a file's name.
const STANDARD: &str = "-";

#[derive(Clone, Debug, Args)]
pub(crate) struct OutputOptions {
    /// Write the result as JSON to a file; - is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures as CSV to a file; - is standard output.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page with plots to a file; - is standard output.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

impl OutputOptions {
    /// Whether standard output is one of the files: then nothing else may stand there.
    pub(crate) fn has_standard_output(&self) -> bool {
        let files = [&self.json, &self.csv, &self.html];
        files.into_iter().flatten().any(|path| path == Path::new(STANDARD))
    }

    /// Prints a text for people: on standard output, unless a file is written there.
    pub(crate) fn print(&self, text: &str) -> Result<(), Error> {
        if self.has_standard_output() {
            eprintln!("{text}");
            return Ok(());
        }
        super::write_out(format!("{text}\n").as_bytes())
    }

    /// Writes every file that was asked for. Results follow each other in JSON, one a line.
    pub(crate) fn write(&self, results: &[RunResult]) -> Result<(), Error> {
        if let Some(path) = &self.json {
            put(path, &report::json_lines(results)?)?;
        }
        let page = html::Options::default();
        for (path, format) in [(&self.csv, Format::Csv), (&self.html, Format::Html)] {
            if let Some(path) = path {
                put(path, &report::make(results, format, &page)?)?;
            }
        }
        Ok(())
    }
}

/// What a search has found, and the trials that it has made.
#[derive(Clone, Debug, Args)]
pub(crate) struct FoundOptions {
    /// Report in JSON, one line for each result.
    #[arg(long)]
    json: bool,
    /// Write the result of every trial to a file, for `weirgen report`.
    #[arg(long, value_name = "FILE")]
    runs: Option<PathBuf>,
}

impl FoundOptions {
    /// Writes the results of trials to the file that was asked for, one a line.
    pub(crate) fn write_runs(&self, runs: &[RunResult]) -> Result<(), Error> {
        let Some(path) = &self.runs else { return Ok(()) };
        report::write_file(path, &report::json_lines(runs)?)
    }

    /// Prints a result, or its text for people.
    pub(crate) fn print(
        &self,
        found: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let text = if self.json {
            serde_json::to_string(found).map_err(|error| Error::Output(error.into()))?
        } else {
            text()
        };
        super::write_out(format!("{text}\n").as_bytes())
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path == Path::new(STANDARD) {
        return super::write_out(bytes);
    }
    report::write_file(path, bytes)
}
