//! The target of a command line: `-j NAME` brings the target's options as `-m NAME` brings a match's.
//!
//! A new target with options is a file beside this one with the table of its options and a function
//! that reads one of them, a variant of [`TargetKey`], and a line in each function of this file.

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::{Given, connmark, ct, log, mark, reject, reject6, synproxy};
use crate::rule::{
    ConnmarkTarget, CtTarget, Family, LogTarget, MarkTarget, Reject6With, RejectWith,
    SynproxyTarget, Target,
};

/// An option of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum TargetKey {
    RejectWith,
    Log(log::Key),
    Mark(mark::Key),
    Connmark(connmark::Key),
    Ct(ct::Key),
    Synproxy(synproxy::Key),
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
            "CONNMARK" => Target::Connmark(ConnmarkTarget::default()),
            "CT" => Target::Ct(CtTarget::default()),
            "NOTRACK" => Target::Ct(CtTarget::ALIAS),
            "SYNPROXY" => Target::Synproxy(SynproxyTarget::default()),
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
            Target::Connmark(_) => &connmark::TARGET_OPTIONS,
            Target::Ct(CtTarget { alias: false, .. }) => &ct::OPTIONS,
            Target::Synproxy(_) => &synproxy::OPTIONS,
            _ => &[],
        }
    }

    /// Reads one of its options.
    pub(in crate::command) fn read(
        &mut self,
        key: TargetKey,
        given: &Given<'a, '_>,
    ) -> Result<(), Refusal<'a>> {
        // Targets without options have no key.
        let name = match self.value {
            Target::Log(_) => "LOG",
            Target::Mark(_) => "MARK",
            Target::Connmark(_) => "CONNMARK",
            Target::Ct(_) => "CT",
            Target::Synproxy(_) => "SYNPROXY",
            _ => "REJECT",
        };
        let option = self.option_name(key);
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
        let given = &Given { name: option, ..*given };
        match (&mut self.value, key) {
            (Target::Reject(with), TargetKey::RejectWith) => reject::read(with, given),
            (Target::Reject6(with), TargetKey::RejectWith) => reject6::read(with, given),
            (Target::Log(log), TargetKey::Log(key)) => log::read(log, key, given),
            (Target::Mark(mark), TargetKey::Mark(key)) => mark::read_target(mark, key, given),
            (Target::Connmark(connmark), TargetKey::Connmark(key)) => {
                connmark::read_target(connmark, key, given)
            }
            (Target::Ct(ct), TargetKey::Ct(key)) => ct::read(ct, key, given),
            (Target::Synproxy(synproxy), TargetKey::Synproxy(key)) => {
                synproxy::read(synproxy, key, given)
            }
            // The key comes from the target's own table.
            _ => Ok(()),
        }
    }

    /// What iptables checks of the target when all words are read: MARK and CONNMARK need one option
    /// that says what to do, and take no more than one.
    pub(in crate::command) fn finish(&self) -> Result<(), Refusal<'a>> {
        let seen = |key: &TargetKey| self.seen.contains(key);
        let (name, missing, conflict) = match self.value {
            Target::Mark(_) => {
                let mut given = mark::TARGET_OPTIONS.map(|(.., key)| key).into_iter().filter(seen);
                ("MARK", mark::MISSING, (given.next(), given.next()))
            }
            Target::Connmark(_) => ("CONNMARK", connmark::MISSING, connmark::conflict(seen)),
            _ => return Ok(()),
        };
        let kind = match conflict {
            (Some(_), None) => return Ok(()),
            (None, _) => ParseErrorKind::OptionsMissing(missing),
            (Some(one), Some(other)) => {
                let (option, other) = (self.option_name(one), self.option_name(other));
                ParseErrorKind::OptionConflict { name, option, other }
            }
        };
        Err(Refusal::at(self.word, kind))
    }

    fn option_name(&self, key: TargetKey) -> &'static str {
        let row = self.options().iter().find(|(_, _, known)| *known == key);
        row.map_or("", |(option, ..)| option)
    }
}
