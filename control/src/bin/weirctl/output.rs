//! Printing: text or JSON, colours only where they are welcome, and no panic when the reader of a
//! pipe goes away.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Bold, for headings.
pub(crate) const HEADING: Style = Style::new().bold();
/// For what is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// For what is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Why nothing more can be done.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nobody reads any more; not worth a word.
    PipeClosed,
    /// For the operator.
    Because(String),
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Because(error.to_string())
    }
}

/// Where results go.
pub(crate) struct Output {
    pub(crate) json: bool,
    colours: bool,
    sink: Box<dyn Write>,
}

impl Output {
    pub(crate) fn stdout(json: bool) -> Self {
        // https://no-color.org: set and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let stdout = io::stdout();
        let colours = !refused && stdout.is_terminal();
        Self { json, colours, sink: Box::new(stdout) }
    }

    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failed> {
        let written = self.sink.write_all(text.as_bytes()).and_then(|()| self.sink.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failed::PipeClosed,
            _ => Failed::Because(format!("cannot write the output: {error}")),
        })
    }

    /// Whether a reader is left, for those who have nothing to print for long.
    pub(crate) fn check_reader(&self) -> Result<(), Failed> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdout = io::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        // If that cannot be said, the next output will tell.
        let asked = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        let closed = asked.is_ok() && fds[0].revents().contains(PollFlags::ERR);
        if closed { Err(Failed::PipeClosed) } else { Ok(()) }
    }

    /// One JSON document on one line if there may be many of them, else indented.
    pub(crate) fn json(&mut self, value: &impl Serialize, one_line: bool) -> Result<(), Failed> {
        let text = match one_line {
            true => serde_json::to_string(value)?,
            false => serde_json::to_string_pretty(value)?,
        };
        self.text(&(text + "\n"))
    }

    /// `text` in `style`, if colours are welcome.
    pub(crate) fn paint(&self, style: Style, text: impl fmt::Display) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

/// A borderless table: headings, then rows. Columns named in `right` are numbers.
pub(crate) fn table(headings: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    lines.concat()
}

/// `1234567` as `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds in the unit in which they have at most three digits before the point.
pub(crate) fn duration(ns: u64) -> String {
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let fits = units.iter().rev().find(|(_, size)| ns >= *size);
    let (unit, size) = fits.copied().unwrap_or(("ns", 1));
    if size == 1 {
        return format!("{ns} {unit}");
    }
    let tenths = ns / (size / 10);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Seconds in words.
pub(crate) fn uptime(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {seconds} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(duration(999), "999 ns");
        assert_eq!(duration(1_250), "1.2 us");
        assert_eq!(duration(2_000_000_000), "2.0 s");
        assert_eq!(uptime(59), "59 s");
        assert_eq!(uptime(61), "1 min 1 s");
        assert_eq!(uptime(7_260), "2 h 1 min");
        assert_eq!(uptime(90_000), "1 d 1 h");
    }
}
