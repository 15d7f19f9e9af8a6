//! Reading results back.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::result::{FORMAT, RunResult};

/// Largest file that is read, in bytes. A run of an hour with a hundred streams stays below 10 MB.
const BYTES_MAX: u64 = 256 << 20;

/// Most results that one file may hold.
const RESULTS_MAX: usize = 10_000;

/// Why a file's results cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file itself.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a result, or a broken one.
    #[error("{} is no result of weirgen: {what}; `weirgen run ... --json` makes one", path.display())]
    NotAResult {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        what: String,
    },
    /// Made by another version.
    #[error(
        "{} has results of format {found}, and this program reads format {FORMAT}: read it with the weirgen that made it",
        path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u32,
    },
    /// More than is read.
    #[error("{} is too large: {what}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How much is read at most.
        what: String,
    },
}

/// What tells the version, whatever else has changed.
#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// The results of a file: one, or several one after another (as when the output of several runs is appended to it), at
/// most 10,000 in 256 MiB.
///
/// # Errors
/// [`FileError`]: the file cannot be read, is larger than that, holds something else, or holds results of another
/// format.
pub fn read(path: &Path) -> Result<Vec<RunResult>, FileError> {
    let unreadable = |source| FileError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > BYTES_MAX {
        let what = format!("at most {} MiB are read", BYTES_MAX >> 20);
        return Err(FileError::TooLarge { path: path.to_owned(), what });
    }
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<Vec<RunResult>, FileError> {
    let not = |what: String| FileError::NotAResult { path: path.to_owned(), what };
    let mut results = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>() {
        let value = value.map_err(|error| not(error.to_string()))?;
        // Asked first: another format may lack what this one has, and its version is the reason to give.
        let Versioned { format } =
            Versioned::deserialize(&value).map_err(|error| not(error.to_string()))?;
        if format != FORMAT {
            return Err(FileError::Format { path: path.to_owned(), found: format });
        }
        results.push(RunResult::deserialize(value).map_err(|error| not(error.to_string()))?);
        if results.len() > RESULTS_MAX {
            let what = format!("at most {RESULTS_MAX} results are read");
            return Err(FileError::TooLarge { path: path.to_owned(), what });
        }
    }
    if results.is_empty() { Err(not("it is empty".to_owned())) } else { Ok(results) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn parse_str(text: &str) -> Result<Vec<RunResult>, String> {
        parse(text, Path::new("a.json")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_written_is_read() {
        let runs = [sample::study("a", 0.0, 1), sample::study("b", 1e5, 2)];
        let texts = runs.each_ref().map(|run| serde_json::to_string(run).unwrap());
        assert_eq!(parse_str(&texts[0]).unwrap(), runs[..1]);
        assert_eq!(parse_str(&texts.join("\n")).unwrap(), runs);
        let pretty = serde_json::to_string_pretty(&runs[1]).unwrap();
        assert_eq!(parse_str(&pretty).unwrap(), runs[1..]);
    }

    #[test]
    fn what_is_no_result_is_refused_with_the_reason() {
        let whole = serde_json::to_string(&sample::study("a", 0.0, 1)).unwrap();
        let cases = [
            ("", "it is empty"),
            ("{", "EOF while parsing"),
            ("[]", "a.json is no result of weirgen"),
            ("{\"mode\":\"copy\"}", "missing field `format`"),
            ("{\"format\":1}", "missing field `command`"),
            ("{\"format\":2}", "has results of format 2, and this program reads format 1"),
            (&whole[..whole.len() - 1], "EOF while parsing"),
            (&whole.replace("\"seed\":1", "\"seed\":-1"), "invalid value: integer `-1`"),
        ];
        for (text, expected) in cases {
            let message = parse_str(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let message = read(Path::new("/no/such.json")).unwrap_err().to_string();
        assert!(message.contains("cannot read /no/such.json: No such file"), "{message}");
    }
}
