//! Files that results are written to.

use std::path::{Path, PathBuf};

use clap::Args;

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

fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if path == Path::new(STANDARD) {
        return super::write_out(bytes);
    }
    report::write_file(path, bytes)
}
