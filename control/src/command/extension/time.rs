//! `-m time` (extensions/libxt_time.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::{ExtensionKey, Given, Row};
use crate::rule::{TimeError, TimeMatch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    DateStart,
    DateStop,
    TimeStart,
    TimeStop,
    Weekdays,
    Monthdays,
    Utc,
    Contiguous,
    /// `--kerneltz`, `--localtz`, not enforced.
    Zone(&'static str),
}

pub(super) const OPTIONS: [Row; 10] = [
    ("datestart", Value::Required, ExtensionKey::Time(Key::DateStart)),
    ("datestop", Value::Required, ExtensionKey::Time(Key::DateStop)),
    ("timestart", Value::Required, ExtensionKey::Time(Key::TimeStart)),
    ("timestop", Value::Required, ExtensionKey::Time(Key::TimeStop)),
    ("weekdays", Value::Required, ExtensionKey::Time(Key::Weekdays)),
    ("monthdays", Value::Required, ExtensionKey::Time(Key::Monthdays)),
    ("localtz", Value::None, ExtensionKey::Time(Key::Zone("--localtz"))),
    ("utc", Value::None, ExtensionKey::Time(Key::Utc)),
    ("kerneltz", Value::None, ExtensionKey::Time(Key::Zone("--kerneltz"))),
    ("contiguous", Value::None, ExtensionKey::Time(Key::Contiguous)),
];

pub(super) fn read<'a>(
    time: &mut TimeMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    if given.negated && !matches!(key, Key::Weekdays | Key::Monthdays) {
        let option = given.name;
        let kind = ParseErrorKind::OptionNotNegatable { name: "time", option };
        return Err(Refusal::at(given.option, kind));
    }
    if let Key::Zone(name) = key {
        let kind = ParseErrorKind::NotEnforced { what: "option", name: name.to_owned() };
        return Err(Refusal::at(given.option, kind));
    }
    set(time, key, given.value.text, given.negated).map_err(|error| Refusal::at(given.value, error))
}

fn set(time: &mut TimeMatch, key: Key, text: &str, negated: bool) -> Result<(), TimeError> {
    match key {
        Key::DateStart => time.date_start = TimeMatch::date(text)?,
        Key::DateStop => time.date_stop = TimeMatch::date(text)?,
        Key::TimeStart => time.daytime_start = TimeMatch::daytime(text)?,
        Key::TimeStop => time.daytime_stop = TimeMatch::daytime(text)?,
        Key::Weekdays => {
            let all = if negated { TimeMatch::ALL_WEEKDAYS } else { 0 };
            time.weekdays = TimeMatch::weekdays_of(text)? ^ all;
        }
        Key::Monthdays => {
            let all = if negated { TimeMatch::ALL_MONTHDAYS } else { 0 };
            time.monthdays = TimeMatch::monthdays_of(text)? ^ all;
        }
        Key::Contiguous => time.contiguous = true,
        // What is meant anyway, and what has been refused.
        Key::Utc | Key::Zone(_) => {}
    }
    if time.weekdays == 0 || time.monthdays == 0 { Err(TimeError::NoDay) } else { Ok(()) }
}
