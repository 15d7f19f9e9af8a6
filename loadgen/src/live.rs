//! What a run looks like while it goes on, on standard error.
//!
//! On a terminal: a bar for the time, and a line for each stream and for the users, redrawn in place; colours unless
//! `NO_COLOR` is set. Elsewhere plain lines: one a second for ten seconds, then one every ten. The figures are those of
//! the last second, from snapshots that the engine hands out ten times a second beside its threads.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::Snapshot;
use crate::profile::Profile;
use crate::report::figures::count;
use crate::report::unit::Unit;
use crate::result::Expect;

/// Rates are over so many snapshots: a second.
const WINDOW: usize = 10;

/// Plain lines come every second until here, in seconds, and every ten afterwards.
const DENSE_S: f64 = 10.0;

/// A run that is looked at.
pub(crate) struct Live {
    names: Vec<(String, Expect)>,
    seconds: f64,
    past: VecDeque<Snapshot>,
    screen: Screen,
}

enum Screen {
    /// The bar, and the lines below it.
    Terminal { all: MultiProgress, bar: ProgressBar, lines: Vec<ProgressBar> },
    /// When the next line is due, in seconds.
    Lines { next_s: f64 },
}

impl Live {
    pub(crate) fn new(profile: &Profile) -> Self {
        let names =
            profile.streams.iter().map(|stream| (stream.name.clone(), stream.expect)).collect();
        let seconds = Duration::from_nanos(profile.duration_ns).as_secs_f64();
        let screen = if std::io::stderr().is_terminal() {
            terminal(seconds)
        } else {
            Screen::Lines { next_s: 1.0 }
        };
        Self { names, seconds, past: VecDeque::new(), screen }
    }

    /// Of a search or a sweep: a bar for the seconds of all trials, and a line for the last one.
    pub(crate) fn of_trials(name: &str, seconds: f64) -> Self {
        let screen = if std::io::stderr().is_terminal() {
            terminal(seconds)
        } else {
            Screen::Lines { next_s: 0.0 }
        };
        Self {
            names: vec![(name.to_owned(), Expect::Pass)],
            seconds,
            past: VecDeque::new(),
            screen,
        }
    }

    /// A trial of a search is over.
    pub(crate) fn tried(&mut self, duration_s: f64, load: f64, loss_ratio: f64) {
        let (load, lost) = (Unit::PacketsPerSecond.show(load), Unit::Share.show(loss_ratio));
        self.ran(duration_s, &format!("{load}, {lost} lost"));
    }

    /// A trial is over.
    pub(crate) fn ran(&mut self, duration_s: f64, text: &str) {
        let name = self.names.first().map_or("", |(name, _)| name.as_str());
        match &mut self.screen {
            Screen::Terminal { all, bar, lines } => {
                bar.inc(tenths(duration_s));
                if lines.is_empty() {
                    lines.push(all.add(line()));
                }
                lines.iter().for_each(|line| line.set_message(format!("{name}: {text}")));
            }
            Screen::Lines { .. } => eprintln!("weirgen: {name}: {text}"),
        }
    }

    /// Shows where the run is.
    pub(crate) fn show(&mut self, now: &Snapshot) {
        let lines =
            self.past.front().map(|before| lines(&self.names, before, now)).unwrap_or_default();
        match &mut self.screen {
            Screen::Terminal { all, bar, lines: shown } => {
                bar.set_position(tenths(now.elapsed_s.min(self.seconds)));
                while shown.len() < lines.len() {
                    shown.push(all.add(line()));
                }
                for (line, text) in shown.iter().zip(lines) {
                    line.set_message(text);
                }
            }
            Screen::Lines { next_s } => {
                if now.elapsed_s >= *next_s && !lines.is_empty() {
                    eprintln!("weirgen: {:>4.0} s  {}", now.elapsed_s, lines.join("  |  "));
                    *next_s = following(now.elapsed_s);
                }
            }
        }
        self.past.push_back(now.clone());
        if self.past.len() > WINDOW {
            self.past.pop_front();
        }
    }

    /// Takes the lines away: the report follows.
    pub(crate) fn finish(self) {
        if let Screen::Terminal { all, bar, lines } = self.screen {
            bar.finish_and_clear();
            lines.iter().for_each(ProgressBar::finish_and_clear);
            // A terminal that has gone is no error of the run.
            let _ = all.clear();
        }
    }
}

/// A line below the bar.
fn line() -> ProgressBar {
    let style =
        ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new_spinner().with_style(style)
}

fn terminal(seconds: f64) -> Screen {
    let all = MultiProgress::new();
    let bar = all.add(ProgressBar::new(tenths(seconds)));
    let template = format!("{{bar:40.cyan/blue}} {{elapsed}} of {seconds:.0} s");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    Screen::Terminal { all, bar, lines: Vec::new() }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "up to a day")]
fn tenths(seconds: f64) -> u64 {
    (seconds.max(0.0) * 10.0).round() as u64
}

/// When the next plain line is due.
fn following(now_s: f64) -> f64 {
    let step = if now_s < DENSE_S - 0.5 { 1.0 } else { 10.0 };
    ((now_s + 0.05) / step).floor() * step + step
}

/// A line for each stream, and one for the users if there are any.
fn lines(names: &[(String, Expect)], before: &Snapshot, now: &Snapshot) -> Vec<String> {
    let span_s = now.elapsed_s - before.elapsed_s;
    if span_s <= 0.0 {
        return Vec::new();
    }
    let rate = |unit: Unit, before: u64, now: u64| {
        unit.show((count(now.saturating_sub(before)) / span_s).round())
    };
    let mut lines = Vec::new();
    for (index, (name, expect)) in names.iter().enumerate() {
        let (Some(now), Some(before)) = (now.streams.get(index), before.streams.get(index)) else {
            continue;
        };
        let sent = rate(Unit::PacketsPerSecond, before.0, now.0);
        let arrived = rate(Unit::PacketsPerSecond, before.1, now.1);
        let missing = Unit::Packets.show(count(now.0.saturating_sub(now.1)));
        let all = Unit::Packets.show(count(now.1));
        let fault = match expect {
            Expect::Pass => format!(", {missing} not arrived yet"),
            Expect::Drop => format!(", {all} leaked"),
            Expect::Either => String::new(),
        };
        lines.push(format!("{name}: {sent} sent, {arrived} arrive{fault}"));
    }
    if now.completed > 0 || now.failed > 0 {
        let completed = rate(Unit::ConnectionsPerSecond, before.completed, now.completed);
        let failed = Unit::Connections.show(count(now.failed));
        lines.push(format!("users: {completed} completed, {failed} failed"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(elapsed_s: f64, streams: &[(u64, u64)], completed: u64, failed: u64) -> Snapshot {
        Snapshot { elapsed_s, streams: streams.to_vec(), completed, failed }
    }

    #[test]
    fn lines_tell_rates_and_faults() {
        let names = [("flood", Expect::Drop), ("probe", Expect::Pass), ("limited", Expect::Either)];
        let names = names.map(|(name, expect)| (name.to_owned(), expect));
        let before = snapshot(1.0, &[(1_000, 0), (100, 100), (0, 0)], 10, 0);
        let now = snapshot(2.0, &[(101_000, 2), (1_100, 1_090), (500, 50)], 1_000, 3);
        let expected = [
            "flood: 100 kpps sent, 2 pps arrive, 2 leaked",
            "probe: 1 kpps sent, 990 pps arrive, 10 not arrived yet",
            "limited: 500 pps sent, 50 pps arrive",
            "users: 990 cps completed, 3 failed",
        ];
        assert_eq!(lines(&names, &before, &now), expected);
        assert!(lines(&names, &now, &now).is_empty());
        let none = snapshot(3.0, &[], 0, 0);
        assert!(lines(&names, &before, &none).is_empty());
    }

    #[test]
    fn plain_lines_become_rarer() {
        let mut now = 0.0;
        let mut due = Vec::new();
        while now < 45.0 {
            now = following(now);
            due.push(now);
        }
        assert_eq!(
            due,
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 20.0, 30.0, 40.0, 50.0]
        );
        // A snapshot is a little late, or a little early.
        assert_eq!([following(1.02), following(0.97), following(10.1)], [2.0, 2.0, 20.0]);
    }
}
