//! `weirgen report`: results from files, shown again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::error::Error;
use crate::report::html::{self, Fuzzy};
use crate::report::{csv, file, text};
use crate::result::RunResult;

#[derive(Clone, Debug, Args)]
pub(crate) struct ReportOptions {
    /// Files of results, as `weirgen run --json` writes them; each may hold several.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to [default: standard output].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// As what [default: what the output's name ends with; text without one].
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// Title of the page.
    #[arg(long)]
    title: Option<String>,
    /// Bounds of the fuzzy limiter in packets a second, to draw its ideal line over what it accepted.
    #[arg(long, value_name = "LOWER:UPPER", value_parser = fuzzy)]
    fuzzy: Option<Fuzzy>,
}

/// What a report is made as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, on a terminal.
    Text,
    /// One figure a line.
    Csv,
    /// One page with plots.
    Html,
}

impl Format {
    /// What a file's name says that it holds.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Self::Html),
            "csv" => Some(Self::Csv),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }
}

/// Two rates, the lower one first.
fn fuzzy(text: &str) -> Result<Fuzzy, String> {
    let wanted = "must be two rates in packets a second, the lower first: 1000:5000";
    let (lower, upper) = text.split_once(':').ok_or(wanted)?;
    match (lower.parse::<f64>(), upper.parse::<f64>()) {
        (Ok(lower_pps), Ok(upper_pps))
            if 0.0 <= lower_pps && lower_pps < upper_pps && upper_pps <= 1e12 =>
        {
            Ok(Fuzzy { lower_pps, upper_pps })
        }
        _ => Err(wanted.to_owned()),
    }
}

pub(crate) fn run(options: &ReportOptions) -> Result<(), Error> {
    let mut results = Vec::new();
    for path in &options.files {
        results.extend(file::read(path)?);
    }
    let named = options.output.as_deref().and_then(Format::of);
    let format = options.format.or(named).unwrap_or(Format::Text);
    let page = html::Options { title: options.title.clone(), fuzzy: options.fuzzy };
    let made = make(&results, format, &page)?;
    match &options.output {
        None => super::write_out(&made),
        Some(path) => write_file(path, &made),
    }
}

/// The report, with a newline at its end.
pub(crate) fn make(
    results: &[RunResult],
    format: Format,
    page: &html::Options,
) -> Result<Vec<u8>, Error> {
    match format {
        Format::Text => {
            let texts: Vec<String> =
                results.iter().map(|result| text::show(result) + "\n").collect();
            Ok(texts.join("\n").into_bytes())
        }
        Format::Csv => {
            let mut made = Vec::new();
            csv::write(results, &mut made)?;
            Ok(made)
        }
        Format::Html => Ok(html::page(results, page)?.into_bytes()),
    }
}

/// Results in JSON, one a line.
pub(super) fn json_lines(results: &[RunResult]) -> Result<Vec<u8>, Error> {
    let mut text = Vec::new();
    for result in results {
        serde_json::to_writer(&mut text, result).map_err(|error| Error::Output(error.into()))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Writes a file whole or not at all: a reader never sees half a report. A link is followed. What is there and is no
/// file (a device, a pipe) is written to as it stands: to put a file in its place would take `/dev/null` away from the
/// whole machine.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Write { path: path.to_owned(), source };
    if fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        let opened = fs::OpenOptions::new().write(true).open(path);
        return opened.and_then(|mut there| there.write_all(bytes)).map_err(failed);
    }
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // What is left of it is of no use; that it cannot be removed is told by the error above.
        let _ = fs::remove_file(&part);
    }
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_name_says_the_format() {
        for (name, format) in [
            ("a.html", Some(Format::Html)),
            ("a.HTM", Some(Format::Html)),
            ("a.b.csv", Some(Format::Csv)),
            ("a.txt", Some(Format::Text)),
            ("html", None),
            ("a.pdf", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn bounds_are_two_rates_in_order() {
        assert_eq!(fuzzy("1000:5e3"), Ok(Fuzzy { lower_pps: 1_000.0, upper_pps: 5_000.0 }));
        for text in ["", "5", "5:", ":5", "5:5", "6:5", "-1:5", "0:inf", "NaN:5", "1:2:3"] {
            assert!(fuzzy(text).is_err_and(|message| message.contains("1000:5000")), "{text}");
        }
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let made =
            make(&[sample::study("a", 0.0, 1)], Format::Text, &html::Options::default()).unwrap();
        write_file(&path, &made).unwrap();
        assert_eq!(fs::read(&path).unwrap(), made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let error = write_file(&folder.path().join("no/a.txt"), b"x").unwrap_err().to_string();
        assert!(error.contains("no/a.txt: No such file"), "{error}");
        // A folder in the way: the part is taken away again.
        fs::create_dir(folder.path().join("b.txt")).unwrap();
        write_file(&folder.path().join("b.txt"), b"x").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
    #[test]
    fn a_link_is_followed_and_a_pipe_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.txt"), folder.path().join("link"));
        fs::write(&path, "before").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_file(&link, b"after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let pipe = folder.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, 0o600.into(), 0).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        write_file(&pipe, b"through it").unwrap();
        assert_eq!(reader.join().unwrap(), b"through it");
        assert!(!fs::metadata(&pipe).unwrap().is_file());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
