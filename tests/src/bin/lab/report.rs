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
        self.print_table(console);
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

    /// A row an exercise; what does not fit into a line goes on in the next.
    fn print_table(&self, console: &Console) {
        let folded = |checks: &[Check], brief: fn(&Check) -> &str| {
            fold(&checks.iter().map(brief).collect::<Vec<_>>(), CELL_CHARS)
        };
        let rows: Vec<Row> = self
            .exercises
            .iter()
            .map(|exercise| {
                let expected = folded(&exercise.checks, |check| &check.expected_brief);
                let saw = folded(&exercise.checks, |check| &check.saw_brief);
                [vec![exercise.title.clone()], expected, saw]
            })
            .collect();
        let titles = ["Exercise", "Expected", "Saw"].map(|title| vec![title.to_owned()]);
        let widths = [0, 1, 2].map(|column| {
            let cells = rows.iter().chain([&titles]).flat_map(|row| &row[column]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        });
        let rule = widths.map(|width| vec!["─".repeat(width)]);
        for line in lines(&titles, widths).iter().chain(&lines(&rule, widths)) {
            console.line(&console.paint(Tone::Dim, &format!("   {}", line.trim_end())));
        }
        for (row, exercise) in rows.iter().zip(&self.exercises) {
            let mark = if exercise.ok {
                console.paint(Tone::Good, "ok")
            } else {
                console.paint(Tone::Bad, "FAILED")
            };
            for (index, line) in lines(row, widths).iter().enumerate() {
                let text = if index == 0 { format!("{line}  {mark}") } else { line.clone() };
                console.line(&format!("   {}", text.trim_end()));
            }
        }
    }
}

/// How wide a cell may be, in characters: two of them and the longest title fit into a heading.
const CELL_CHARS: usize = 31;

/// The lines of the three cells of a row.
type Row = [Vec<String>; 3];

/// Items divided by commas, in lines of at most `width` characters where the items allow it.
fn fold(items: &[&str], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let comma = if index + 1 < items.len() { "," } else { "" };
        match lines.last_mut() {
            Some(line)
                if line.chars().count() + 1 + item.chars().count() + comma.len() <= width =>
            {
                line.push_str(&format!(" {item}{comma}"));
            }
            _ => lines.push(format!("{item}{comma}")),
        }
    }
    lines
}

/// The lines of a row, its cells padded.
fn lines(row: &Row, widths: [usize; 3]) -> Vec<String> {
    let height = row.iter().map(Vec::len).max().unwrap_or_default();
    let line = |index: usize| {
        let padded = row.iter().zip(widths).map(|(cell, width)| {
            let text = cell.get(index).map_or("", String::as_str);
            format!("{text:<width$}")
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_folded_between_checks() {
        assert_eq!(fold(&["no leak", "page", "2 dropped"], 14), ["no leak, page,", "2 dropped"]);
        assert_eq!(fold(&["no leak", "page"], 13), ["no leak, page"]);
        assert_eq!(fold(&["no leak", "page"], 3), ["no leak,", "page"]);
        assert!(fold(&[], 10).is_empty());
    }

    #[test]
    fn a_row_is_as_high_as_its_highest_cell() {
        let row = ["a", "b c", "d"].map(|cell| cell.split(' ').map(str::to_owned).collect());
        assert_eq!(lines(&row, [2, 1, 1]), ["a   b  d", "    c   "]);
    }
}
