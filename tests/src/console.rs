//! What the two binaries print: headings, colours, and a spinner while something takes long.
//!
//! Colours only on a terminal, and never where `NO_COLOR` is set (<https://no-color.org>). The
//! spinner lives on standard error and is gone when the work is done; `indicatif` hides it where
//! standard error is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};

/// How wide a ruled-off heading is, in columns.
const WIDTH: usize = 92;

/// What a piece of text is, and so how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Heading,
    /// A command, as one would type it.
    Command,
    /// Something that went well.
    Good,
    /// Something that went wrong.
    Bad,
    /// Something worth a look that is neither.
    Note,
    /// Less important than the rest.
    Dim,
}

impl Tone {
    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Tone::Heading => colour(AnsiColor::Cyan).bold(),
            Tone::Command => Style::new().bold(),
            Tone::Good => colour(AnsiColor::Green),
            Tone::Bad => colour(AnsiColor::Red).bold(),
            Tone::Note => colour(AnsiColor::Yellow),
            Tone::Dim => Style::new().dimmed(),
        }
    }
}

/// The stream people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error: where standard output is for machines.
    Error,
}

/// Where the binaries print to.
#[derive(Debug)]
pub struct Console {
    stream: Stream,
    coloured: bool,
    spinner: ProgressBar,
}

impl Console {
    /// A console on this stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        let terminal = match stream {
            Stream::Output => io::stdout().is_terminal(),
            Stream::Error => io::stderr().is_terminal(),
        };
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let plain = set("NO_COLOR").is_some() || set("TERM").is_some_and(|term| term == "dumb");
        let spinner = ProgressBar::new_spinner();
        // A template without a colour: `console`, below indicatif, has its own idea of NO_COLOR.
        if let Ok(style) = ProgressStyle::with_template("   {spinner} {msg} ({elapsed})") {
            spinner.set_style(style);
        }
        Self { stream, coloured: terminal && !plain, spinner }
    }

    /// The text as this tone looks here.
    #[must_use]
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        if !self.coloured {
            return text.to_owned();
        }
        let style = tone.style();
        format!("{}{text}{}", style.render(), style.render_reset())
    }

    /// Prints a line.
    pub fn line(&self, text: &str) {
        self.spinner.suspend(|| {
            // Whoever closed the stream wants no more of it; the exit status still tells.
            let _ = match self.stream {
                Stream::Output => writeln!(io::stdout(), "{text}"),
                Stream::Error => writeln!(io::stderr(), "{text}"),
            };
        });
    }

    /// Prints an empty line and a ruled-off heading.
    pub fn heading(&self, text: &str) {
        let used = text.chars().count() + 4;
        let rule = "─".repeat(WIDTH.saturating_sub(used));
        self.line("");
        self.line(&self.paint(Tone::Heading, &format!("── {text} {rule}")));
    }

    /// Prints text broken into lines at blanks, each indented.
    pub fn paragraph(&self, indent: &str, text: &str) {
        for line in wrap(text, WIDTH - indent.len()) {
            self.line(&format!("{indent}{line}"));
        }
    }

    /// Does something that takes long, with a spinner and this message beside it.
    pub fn working<T>(&self, message: &str, work: impl FnOnce() -> T) -> T {
        self.spinner.reset();
        self.spinner.set_message(message.to_owned());
        self.spinner.enable_steady_tick(Duration::from_millis(100));
        let result = work();
        self.spinner.disable_steady_tick();
        self.spinner.finish_and_clear();
        result
    }
}

/// Breaks text into lines of at most `width` characters, at blanks.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_blanks() {
        assert_eq!(wrap("a bb  ccc\ndddd", 4), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("a-word-too-long b", 4), ["a-word-too-long", "b"]);
        assert!(wrap(" ", 4).is_empty());
    }
}
