//! A comparison for people.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::comparable::Circumstance;
use super::{Comparison, LEVEL, Line, Outcome, Part, Verdict};
use crate::report::figures::count;
use crate::report::unit::Unit;
use crate::statistics::Summary;

/// The whole comparison, without a newline at the end; without `all`, only the lines that differ or cannot be judged.
#[must_use]
pub fn show(comparison: &Comparison, all: bool) -> String {
    let mut text = format!("{} against {}\n", comparison.before, comparison.after);
    if comparison.void > 0 {
        let _ = writeln!(text, "left out: {} void run(s)", comparison.void);
    }
    if !comparison.circumstances.is_empty() {
        text += "\nNOT ALIKE: what differs in the figures may come of this, and not of what was compared:\n";
        for Circumstance { aspect, before, after } in &comparison.circumstances {
            let _ = writeln!(text, "  {aspect}: {before} / {after}");
        }
    }
    for part in &comparison.parts {
        text += &of_part(part, all);
    }
    let unlike =
        if comparison.circumstances.is_empty() { "" } else { "; and the runs are NOT ALIKE" };
    text + "\n" + conclusion(comparison.outcome()) + unlike
}

fn conclusion(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Same => "nothing differs beyond noise",
        Outcome::Differs => "something differs beyond noise",
        Outcome::Unknown => {
            "whether anything differs beyond noise cannot be said: measure 5 runs or more on each side"
        }
    }
}

fn of_part(part: &Part, all: bool) -> String {
    let label = part.label.as_ref().map_or_else(String::new, |label| format!("{label}: "));
    let mut text =
        format!("\n{label}{}\n{} and {} run(s)\n", part.demand, part.runs.0, part.runs.1);
    let shown: Vec<&Line> =
        part.lines.iter().filter(|line| all || line.verdict != Verdict::Same).collect();
    if !shown.is_empty() {
        let _ = writeln!(text, "\n{}", table(&shown).trim_fmt());
    }
    let judged = part.lines.iter().filter(|line| line.verdict != Verdict::Unknown).count();
    let same = part.lines.iter().filter(|line| line.verdict == Verdict::Same).count();
    if judged > 0 {
        let chance = count(judged as u64) * LEVEL;
        let _ = writeln!(
            text,
            "\n{same} of {judged} figures do not differ beyond noise; by chance alone {chance:.1} would seem to"
        );
    }
    if judged < part.lines.len() {
        let _ = writeln!(
            text,
            "\n{} figures cannot be judged: so few runs say nothing about their noise",
            part.lines.len() - judged
        );
    }
    text
}

fn table(lines: &[&Line]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["of", "figure", "before", "after", "change", "99 % interval", "verdict"]);
    for column in table.column_iter_mut().skip(2).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for line in lines {
        let (change, interval) = changed(line);
        table.add_row([
            line.subject.clone(),
            line.name.to_owned(),
            side(line.unit, line.before.as_ref()),
            side(line.unit, line.after.as_ref()),
            change,
            interval,
            verdict(line.verdict).to_owned(),
        ]);
    }
    table
}

fn side(unit: Unit, summary: Option<&Summary>) -> String {
    summary.map_or_else(|| "not measured".to_owned(), |summary| unit.show(summary.median))
}

/// The change in percent and its interval, or the plain quotient of medians where there is no interval.
fn changed(line: &Line) -> (String, String) {
    let percent = |ratio: f64| format!("{:+.1} %", (ratio - 1.0) * 100.0);
    if let Some(change) = line.change {
        let interval = format!("{} to {}", percent(change.low), percent(change.high));
        return (percent(change.ratio), interval);
    }
    let ratio = match (&line.before, &line.after) {
        (Some(before), Some(after)) if before.median > 0.0 => percent(after.median / before.median),
        _ => "-".to_owned(),
    };
    (ratio, "-".to_owned())
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Same => "same",
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::Differs => "differs",
        Verdict::Unknown => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Side, compare};
    use super::*;
    use crate::report::sample;
    use crate::result::RunResult;

    fn words(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    fn shown(old: &[RunResult], new: &[RunResult], all: bool) -> Vec<String> {
        let side = |name, runs| Side { name, runs };
        words(&show(&compare(side("a.json", old), side("b.json", new)).unwrap(), all))
    }

    #[test]
    fn single_runs_say_what_cannot_be_said() {
        let (old, mut new) = (sample::study("a", 1e5, 1), sample::study("a", 1e5, 1));
        new.streams[0].received = 5;
        new.environment.kernel = "7.0".to_owned();
        let lines = shown(&[old], &[new], false);
        for expected in [
            "a.json against b.json",
            "1 and 1 run(s)",
            "stream flood leaked 0 5 - - ?",
            "users completed 990 cps 990 cps +0.0 % - ?",
            "kernel: 6.18.0 / 7.0",
            "whether anything differs beyond noise cannot be said: measure 5 runs or more on each side",
        ] {
            let found = lines.iter().any(|line| line.starts_with(expected));
            assert!(found, "{expected}\n{}", lines.join("\n"));
        }
        // Before any number.
        let place = |words: &str| lines.iter().position(|line| line.starts_with(words)).unwrap();
        assert!(place("NOT ALIKE") < place("kernel") && place("kernel") < place("of figure"));
        assert!(lines.last().unwrap().ends_with("; and the runs are NOT ALIKE"));
    }

    #[test]
    fn several_runs_show_what_differs() {
        let runs = |flaw: u64| -> Vec<RunResult> {
            let run = |seed| {
                let mut run = sample::study("a", 1e5, seed);
                run.streams[0].received = flaw * seed;
                run
            };
            (1..=6).map(run).collect()
        };
        let lines = shown(&runs(0), &runs(1), false);
        let count = crate::report::figures::of(&runs(0)[0]).len();
        for expected in [
            "stream flood leaked 0 4 - - WORSE".to_owned(),
            format!(
                "{} of {count} figures do not differ beyond noise; by chance alone 0.4 would seem to",
                count - 1
            ),
            "something differs beyond noise".to_owned(),
        ] {
            assert!(lines.contains(&expected), "{expected}\n{}", lines.join("\n"));
        }
        assert!(shown(&runs(0), &runs(1), true).len() > lines.len() + 20);
    }
}
