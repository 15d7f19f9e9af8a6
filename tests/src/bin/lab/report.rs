//! The end of a run: a table for people, JSON for programs.

use serde::Serialize;
use weir_tests::console::{Console, Tone};

use crate::play::{Check, Played};

/// Everything a run came to.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What forwarded the packets: "weir" or "kernel".
    pub(crate) engine: &'static str,
    /// The checks that agreed.
    pub(crate) passed: usize,
    /// The checks that did not.
    pub(crate) failed: usize,
    /// What was played, in order.
    pub(crate) exercises: Vec<Played>,
}

impl Report {
    /// The report of these exercises.
    pub(crate) fn new(engine: &'static str, exercises: Vec<Played>) -> Self {
        let checks = || exercises.iter().flat_map(|exercise| &exercise.checks);
        let passed = checks().filter(|check| check.ok).count();
        let failed = checks().count() - passed;
        Self { engine, passed, failed, exercises }
    }

    /// Whether every check agreed, and there was one.
    pub(crate) fn ok(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// Prints the table, and a closing line.
    pub(crate) fn print(&self, console: &Console) {
        console.heading("What it came to");
        let joined = |checks: &[Check], brief: fn(&Check) -> &str| {
            checks.iter().map(brief).collect::<Vec<_>>().join(", ")
        };
        let rows: Vec<[String; 3]> = self
            .exercises
            .iter()
            .map(|exercise| {
                let expected = joined(&exercise.checks, |check| &check.expected_brief);
                let saw = joined(&exercise.checks, |check| &check.saw_brief);
                [exercise.title.clone(), expected, saw]
            })
            .collect();
        let titles = ["Exercise", "Expected", "Saw"].map(str::to_owned);
        let widths = [0, 1, 2].map(|column| {
            let cells = rows.iter().chain([&titles]).map(|row| row[column].chars().count());
            cells.max().unwrap_or_default()
        });
        let rule = widths.map(|width| "─".repeat(width));
        for row in [&titles, &rule] {
            let text = cells(row, widths);
            console.line(&console.paint(Tone::Dim, &format!("   {}", text.trim_end())));
        }
        for (row, exercise) in rows.iter().zip(&self.exercises) {
            let mark = if exercise.ok {
                console.paint(Tone::Good, "ok")
            } else {
                console.paint(Tone::Bad, "FAILED")
            };
            console.line(&format!("   {}  {mark}", cells(row, widths)));
        }
        let tone = if self.ok() { Tone::Good } else { Tone::Bad };
        let line = format!(
            "{} of {} checks as expected, on the engine {}",
            self.passed,
            self.passed + self.failed,
            self.engine
        );
        console.line("");
        console.line(&format!("   {}", console.paint(tone, &line)));
    }
}

/// The cells of a row, padded.
fn cells(row: &[String; 3], widths: [usize; 3]) -> String {
    let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
    padded.collect::<Vec<_>>().join("  ")
}
