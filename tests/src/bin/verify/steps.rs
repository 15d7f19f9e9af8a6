//! The steps of `cargo verify`, in order: each a command and what its output means.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use weir_tests::console::{Console, Tone};
use weir_tests::weir::cargo;
use weir_tests::{Error, Result, process};

use crate::count::{Tally, TestOutput};

/// One step.
pub(crate) struct Step {
    /// Its heading.
    pub(crate) title: &'static str,
    /// Whether it works for root only.
    pub(crate) needs_root: bool,
    /// What it runs.
    command: fn() -> Result<Planned>,
    /// How its standard output is read.
    reading: Reading,
}

/// What a step found it can run here.
enum Planned {
    /// This.
    Run(Command),
    /// Nothing, for this reason.
    Skip(String),
}

/// How a step's standard output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// It only fails or not.
    Status,
    /// It is the output of Rust's tests.
    Tests,
    /// It is the lab's report in JSON.
    Lab,
}

/// All steps, cheap ones first.
pub(crate) const STEPS: &[Step] = &[
    Step { title: "Format", needs_root: false, command: format, reading: Reading::Status },
    Step { title: "Lints", needs_root: false, command: lints, reading: Reading::Status },
    Step { title: "Documentation", needs_root: false, command: doc, reading: Reading::Status },
    Step { title: "Rings under loom", needs_root: false, command: loom, reading: Reading::Tests },
    Step { title: "Rings under Miri", needs_root: false, command: miri, reading: Reading::Tests },
    Step { title: "Tests", needs_root: false, command: tests, reading: Reading::Tests },
    Step { title: "The lab", needs_root: true, command: lab, reading: Reading::Lab },
    Step { title: "The curve of fuzzy", needs_root: true, command: fuzzy, reading: Reading::Lab },
];

impl Step {
    /// Runs the step within the time that is left, and says what it came to.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] on Ctrl-C, [`Error::Timeout`] when the time is over, [`Error::Io`]
    /// when the command cannot be started.
    pub(crate) fn run(&self, console: &Console, within: Duration) -> Result<Tally> {
        let command = match (self.command)()? {
            Planned::Run(command) => command,
            Planned::Skip(reason) => return Ok(self.skip(console, &reason)),
        };
        let line = as_typed(&command);
        console.line(&format!("   $ {}", console.paint(Tone::Command, &line)));
        let mut tests = TestOutput::new();
        let mut report = String::new();
        let status = process::stream(command, within, |line| match self.reading {
            Reading::Status => console.line(line),
            Reading::Tests if tests.read(line) => console.line(line),
            Reading::Tests => {}
            Reading::Lab => report.push_str(line),
        })?;
        let mut tally = match self.reading {
            Reading::Status => Tally::default(),
            Reading::Tests => ran_something(console, tests.finish()),
            Reading::Lab => lab_tally(&report),
        };
        if !status.success() && tally.failed == 0 {
            // It failed before it could say of what: it did not build, it crashed.
            tally.failed = 1;
        }
        Ok(tally)
    }

    /// The tally of a step that does not run.
    pub(crate) fn skip(&self, console: &Console, reason: &str) -> Tally {
        console.line(&console.paint(Tone::Note, &format!("SKIPPED: {reason}")));
        let skipped = vec![format!("{}: {reason}", self.title)];
        Tally { skipped, ..Tally::default() }
    }
}

/// A step that is there to run tests and runs none has failed.
fn ran_something(console: &Console, mut tally: Tally) -> Tally {
    if tally == Tally::default() {
        console.line(&console.paint(Tone::Bad, "no test ran"));
        tally.failed = 1;
    }
    tally
}

/// The command as one would type it: variables first, Cargo by its name.
fn as_typed(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(key, value)| {
        Some(format!("{}=\"{}\" ", key.to_string_lossy(), value?.to_string_lossy()))
    });
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = command.get_args().map(|word| format!(" {}", word.to_string_lossy()));
    let variables: String = variables.collect();
    format!("{variables}{}{}", program.to_string_lossy(), words.collect::<String>())
}

fn cargo_with(args: &[&str]) -> Command {
    let mut command = cargo();
    command.args(args);
    command
}

fn format() -> Result<Planned> {
    Ok(Planned::Run(cargo_with(&["fmt", "--all", "--check"])))
}

fn lints() -> Result<Planned> {
    let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    Ok(Planned::Run(cargo_with(&args)))
}

fn doc() -> Result<Planned> {
    let mut command = cargo_with(&["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Ok(Planned::Run(command))
}

fn tests() -> Result<Planned> {
    let args = ["test", "--workspace", "--no-fail-fast", "--", "--show-output"];
    Ok(Planned::Run(cargo_with(&args)))
}

/// Every interleaving of the two sides of a ring. With `--cfg loom` the crate uses loom's atomics,
/// and so must not share a target folder with the real one.
fn loom() -> Result<Planned> {
    let args = ["test", "-p", "af-xdp", "--lib", "--release", "--target-dir", "target/loom"];
    let mut command = cargo_with(&args);
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg loom").trim_start());
    Ok(Planned::Run(command))
}

/// Miri exists in nightly toolchains only.
fn miri() -> Result<Planned> {
    let miri = ["run", "nightly", "cargo", "miri"];
    let mut probe = Command::new("rustup");
    probe.args(miri).arg("--version");
    let found = process::find_program("rustup").is_some()
        && process::output(probe, Duration::from_secs(60))?.status.success();
    if !found {
        return Ok(Planned::Skip(
            "no Miri here (rustup toolchain install nightly --component miri)".to_owned(),
        ));
    }
    let mut command = Command::new("rustup");
    command.args(miri).args(["test", "-p", "af-xdp", "--lib", "--target-dir", "target/miri"]);
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").current_dir(weir_tests::repository());
    Ok(Planned::Run(command))
}

/// What `cargo lab` runs.
fn lab_with(args: &[&str]) -> Planned {
    let mut command =
        cargo_with(&["run", "--quiet", "--release", "-p", "weir-tests", "--bin", "lab", "--"]);
    command.args(args);
    Planned::Run(command)
}

/// The exercises, their report for us.
fn lab() -> Result<Planned> {
    Ok(lab_with(&["--json"]))
}

/// Three rates of the curve, in seconds: below the limits, between them and above.
fn fuzzy() -> Result<Planned> {
    let rates = ["--limits", "1000:10000", "--rates", "500,5500,30000"];
    let length = ["--seconds", "4", "--rounds", "1", "--output", "target/fuzzy-short"];
    Ok(lab_with(&[&["fuzzy", "--json"][..], &rates, &length].concat()))
}

/// The checks in the lab's report. Without a report the status tells.
fn lab_tally(report: &str) -> Tally {
    let report: Value = serde_json::from_str(report).unwrap_or_default();
    let number = |key: &str| {
        report[key].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    };
    let skipped = report["skipped"].as_array().into_iter().flatten();
    let skipped = skipped.filter_map(|why| why.as_str().map(str::to_owned)).collect();
    Tally { passed: number("passed"), failed: number("failed"), skipped }
}

/// Whether an error of a step ends the run: the others count as a failure of that step.
pub(crate) fn ends_the_run(error: &Error) -> bool {
    matches!(error, Error::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("/opt/rust/bin/cargo");
        command.args(["test", "--lib"]).env("RUSTFLAGS", "--cfg loom").env_remove("HOME");
        assert_eq!(as_typed(&command), "RUSTFLAGS=\"--cfg loom\" cargo test --lib");
    }

    #[test]
    fn the_report_of_the_lab_is_counted() {
        let report = r#"{"engine": "weir", "passed": 28, "failed": 2, "exercises": []}"#;
        assert_eq!(lab_tally(report), Tally { passed: 28, failed: 2, skipped: Vec::new() });
        assert_eq!(lab_tally("it broke"), Tally::default());
        let report = r#"{"passed": 1, "failed": 0, "skipped": ["500 a second: late"]}"#;
        let skipped = vec!["500 a second: late".to_owned()];
        assert_eq!(lab_tally(report), Tally { passed: 1, failed: 0, skipped });
    }
}
