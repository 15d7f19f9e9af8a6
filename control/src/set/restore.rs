//! Reads what `ipset save` prints: sets and their entries, as one transaction.
//!
//! ipset carries out line after line, and stops at the first that is wrong: what came before stays (or,
//! of lines that it sends to the kernel together, is undone in part). Here nothing changes unless all
//! lines can be carried out. `-exist` stands for all lines, or in those that have it.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{SetLineError, SetLineErrorKind};
use super::line::{ParsedSet, SET_VERSION_LINE, SetAction, SetContext, parse_set};
use super::{SetChange, SetCommand, SetError, SetForm, SetName, text};
use crate::rule::Names;

/// The longest line in bytes: with the longest names and comment a line has less.
pub const LINE_BYTES_MAX: usize = 1_024;

/// A saved file, read. Entries that follow each other in one set are one change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetPlan {
    /// What to do, in order.
    pub changes: Vec<SetChange>,
    /// The line of each change; of one with many entries, that of each entry.
    pub lines: Vec<Vec<usize>>,
}

impl SetPlan {
    /// The line of an entry of a change.
    pub fn line(&self, change: usize, entry: usize) -> usize {
        let lines = self.lines.get(change).or_else(|| self.lines.last());
        lines.and_then(|lines| lines.get(entry).or_else(|| lines.last())).copied().unwrap_or(0)
    }
}

/// A line that is wrong. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SetRestoreError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: SetLineError,
}

impl fmt::Display for SetRestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error in line {}: {}", self.line, self.error.detail())
    }
}

impl SetRestoreError {
    /// The whole message for a terminal.
    pub fn report(&self) -> String {
        format!("{SET_VERSION_LINE}: {self}\n  nothing was changed")
    }
}

/// Reads a saved file. `exist` is `-exist` for all lines, `form_of` knows the sets that there are before.
///
/// # Errors
/// The first line that is wrong.
pub fn read(
    text: &[u8],
    exist: bool,
    names: &Names,
    form_of: &dyn Fn(&SetName) -> Option<SetForm>,
) -> Result<SetPlan, SetRestoreError> {
    let mut reader = Reader { names, form_of, made: BTreeMap::new(), plan: SetPlan::default() };
    for (line, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        reader.line(bytes, line, exist).map_err(|error| SetRestoreError { line, error })?;
    }
    Ok(reader.plan)
}

struct Reader<'a> {
    names: &'a Names,
    form_of: &'a dyn Fn(&SetName) -> Option<SetForm>,
    /// What the lines so far have made of names: sets of a form, or nothing.
    made: BTreeMap<SetName, Option<SetForm>>,
    plan: SetPlan,
}

impl Reader<'_> {
    fn line(&mut self, bytes: &[u8], number: usize, exist: bool) -> Result<(), SetLineError> {
        let plain = |kind| SetLineError { kind, word: None };
        if bytes.len() > LINE_BYTES_MAX {
            return Err(plain(SetLineErrorKind::LineTooLong { bytes: bytes.len() }));
        }
        let line = std::str::from_utf8(bytes).map_err(|_| plain(SetLineErrorKind::NotText))?;
        if line.trim_start().starts_with('#') {
            return Ok(());
        }
        let words = text::words(line).map_err(plain)?;
        // `COMMIT` is of ipset 4 and means nothing since.
        if words.is_empty() || words == ["COMMIT"] {
            return Ok(());
        }
        let form_of = |name: &SetName| match self.made.get(name) {
            Some(made) => *made,
            None => (self.form_of)(name),
        };
        let context = SetContext { names: self.names, form_of: &form_of, restoring: true };
        let parsed = match parse_set(&words, context)? {
            ParsedSet::Line(line) => line,
            ParsedSet::Help => {
                return Err(plain(SetLineErrorKind::NotInRestore { command: "help" }));
            }
            ParsedSet::Version => {
                return Err(plain(SetLineErrorKind::NotInRestore { command: "version" }));
            }
        };
        let exist = exist || parsed.exist;
        let SetAction::Change(command) = parsed.action else {
            return Err(plain(SetLineErrorKind::NotInRestore { command: "list" }));
        };
        self.follow(&command);
        self.take(SetChange { command, exist }, number);
        Ok(())
    }

    /// Keeps what the commands so far make of names.
    fn follow(&mut self, command: &SetCommand) {
        let form = |made: &BTreeMap<SetName, Option<SetForm>>, name: &SetName| {
            made.get(name).copied().unwrap_or_else(|| (self.form_of)(name))
        };
        match command {
            SetCommand::Create { name, spec } => {
                self.made.insert(name.clone(), Some(spec.form()));
            }
            SetCommand::Destroy { name: Some(name) } => {
                self.made.insert(name.clone(), None);
            }
            SetCommand::Rename { name, to } => {
                let known = form(&self.made, name);
                self.made.insert(to.clone(), known);
                self.made.insert(name.clone(), None);
            }
            // Who is added to after all went does not exist; the daemon says so.
            _ => {}
        }
    }

    /// Adds a change, or its entry to the last one.
    fn take(&mut self, change: SetChange, line: usize) {
        let (changes, lines) = (&mut self.plan.changes, &mut self.plan.lines);
        if let (Some(last), Some(places)) = (changes.last_mut(), lines.last_mut())
            && last.exist == change.exist
        {
            match (&mut last.command, &change.command) {
                (
                    SetCommand::Add { name, entries },
                    SetCommand::Add { name: next, entries: more },
                )
                | (
                    SetCommand::Delete { name, entries },
                    SetCommand::Delete { name: next, entries: more },
                ) if name == next => {
                    entries.extend_from_slice(more);
                    places.extend(more.iter().map(|_| line));
                    return;
                }
                _ => {}
            }
        }
        changes.push(change);
        lines.push(vec![line]);
    }
}

/// The refusal of a change, as one of a line.
pub fn refused(plan: &SetPlan, change: usize, entry: usize, error: SetError) -> SetRestoreError {
    SetRestoreError { line: plan.line(change, entry), error: error.into() }
}
