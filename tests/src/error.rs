//! The one error of the harness. Each says what was being done, and where there is one, the remedy.

use std::process::ExitStatus;
use std::time::Duration;

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a step of the harness failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done, as in "read /proc/net/dev".
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command ended with a status other than 0.
    #[error("`{command}` failed ({status}){}", tail(output))]
    Command {
        /// The command as one would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it printed on standard error, or else on standard output.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s{}", after.as_secs_f32(), tail(output))]
    Timeout {
        /// What was awaited.
        what: String,
        /// How long.
        after: Duration,
        /// The end of the log of the process that was awaited.
        output: String,
    },
    /// A process that should still run has ended.
    #[error("{name} ended by itself ({status}){}", tail(output))]
    Died {
        /// The name of the process.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        output: String,
    },
    /// The user asked to stop (Ctrl-C, SIGTERM or SIGHUP).
    #[error("interrupted")]
    Interrupted,
    /// Something printed is not what its reader understands.
    #[error("cannot understand {what}: {text:?}")]
    Unreadable {
        /// What should have been read.
        what: String,
        /// The text found instead.
        text: String,
    },
    /// The machine lacks something; the text names it and the remedy.
    #[error("{0}")]
    Unmet(String),
}

impl Error {
    /// Makes [`Error::Io`] of a system error: `map_err(Error::io("read the page"))`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}

/// The last lines of a program's output, indented under the message.
fn tail(output: &str) -> String {
    const LINES_MAX: usize = 12;
    let lines: Vec<&str> = output.trim_end().lines().collect();
    let from = lines.len().saturating_sub(LINES_MAX);
    lines[from..].iter().map(|line| format!("\n    | {line}")).collect()
}
