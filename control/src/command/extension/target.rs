//! The target of a command line: `-j NAME` brings the target's options as `-m NAME` brings a match's.
//!
//! A new target with options is a file beside this one with the table of its options and a function
//! that reads one of them, a variant of [`TargetKey`], and a line in each function of this file.

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::{Given, log, mark, reject, reject6};
use crate::rule::{Family, LogTarget, MarkTarget, Reject6With, RejectWith, Target};

/// An option of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum TargetKey {
    RejectWith,
    Log(log::Key),
    Mark(mark::Key),
}

/// An option's long name, whether it takes a value, and what it means.
pub(in crate::command) type TargetRow = (&'static str, Value, TargetKey);

/// A target on the command line.
#[derive(Debug)]
pub(in crate::command) struct TargetExtension<'a> {
    /// What named it: the word after `-j`.
    pub(in crate::command) word: Word<'a>,
    pub(in crate::command) value: Target,
    seen: Vec<TargetKey>,
}

impl<'a> TargetExtension<'a> {
    /// The target of this name, with what it does unless its options say otherwise; if Weir has it.
    pub(in crate::command) fn new(word: Word<'a>, family: Family) -> Option<Self> {
        let value = match word.text {
            "ACCEPT" => Target::Accept,
            "DROP" => Target::Drop,
            "RETURN" => Target::Return,
            "REJECT" if family == Family::V6 => Target::Reject6(Reject6With::default()),
            "REJECT" => Target::Reject(RejectWith::default()),
            "LOG" => Target::Log(LogTarget::default()),
            "MARK" => Target::Mark(MarkTarget::default()),
            _ => return None,
        };
        Some(Self { word, value, seen: Vec::new() })
    }

    /// The options it adds.
    pub(in crate::command) fn options(&self) -> &'static [TargetRow] {
        match self.value {
            Target::Reject(_) | Target::Reject6(_) => &reject::OPTIONS,
            Target::Log(_) => &log::OPTIONS,
            Target::Mark(_) => &mark::TARGET_OPTIONS,
            _ => &[],
        }
    }

    /// Reads one of its options.
    pub(in crate::command) fn read(
        &mut self,
        key: TargetKey,
        given: &Given<'a, '_>,
    ) -> Result<(), Refusal<'a>> {
        let row = self.options().iter().find(|(_, _, known)| *known == key);
        // Targets without options have no key.
        let name = match self.value {
            Target::Log(_) => "LOG",
            Target::Mark(_) => "MARK",
            _ => "REJECT",
        };
        let option = row.map_or("", |(option, ..)| option);
        if self.seen.contains(&key) {
            let kind = ParseErrorKind::OptionRepeated { name, option };
            return Err(Refusal::at(given.option, kind));
        }
        self.seen.push(key);
        // No option of these targets can be inverted.
        if given.negated {
            let kind = ParseErrorKind::OptionNotNegatable { name, option };
            return Err(Refusal::at(given.option, kind));
        }
        match (&mut self.value, key) {
            (Target::Reject(with), TargetKey::RejectWith) => reject::read(with, given),
            (Target::Reject6(with), TargetKey::RejectWith) => reject6::read(with, given),
            (Target::Log(log), TargetKey::Log(key)) => log::read(log, key, given),
            (Target::Mark(mark), TargetKey::Mark(key)) => {
                mark::read_target(mark, key, option, given)
            }
            // The key comes from the target's own table.
            _ => Ok(()),
        }
    }

    /// What iptables checks of the target when all words are read. Only MARK needs an option, and
    /// takes no more than one.
    pub(in crate::command) fn finish(&self) -> Result<(), Refusal<'a>> {
        let Target::Mark(_) = self.value else { return Ok(()) };
        let given = self.options().iter().filter(|(_, _, key)| self.seen.contains(key));
        let mut given = given.map(|(option, ..)| *option);
        let kind = match (given.next(), given.next()) {
            (Some(_), None) => return Ok(()),
            (None, _) => ParseErrorKind::OptionsMissing(mark::MISSING),
            (Some(option), Some(other)) => {
                ParseErrorKind::OptionConflict { name: "MARK", option, other }
            }
        };
        Err(Refusal::at(self.word, kind))
    }
}
