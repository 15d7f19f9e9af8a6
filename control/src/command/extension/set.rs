//! `-m set` (extensions/libxt_set.c), without what asks for counters of entries, which Weir's sets have
//! not.

use super::super::error::ParseErrorKind;
use super::super::getopt::{Getopt, Value};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, SetMatch};
use crate::set::SetNameError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    MatchSet,
    ReturnNomatch,
    /// One that Weir does not enforce.
    Counter(&'static str),
}

const fn counter(name: &'static str) -> Row {
    (name, Value::Required, ExtensionKey::Set(Key::Counter(name)))
}

pub(super) const OPTIONS: [Row; 10] = [
    ("match-set", Value::Required, ExtensionKey::Set(Key::MatchSet)),
    ("return-nomatch", Value::None, ExtensionKey::Set(Key::ReturnNomatch)),
    ("update-counters", Value::None, ExtensionKey::Set(Key::Counter("update-counters"))),
    ("update-subcounters", Value::None, ExtensionKey::Set(Key::Counter("update-subcounters"))),
    counter("packets-eq"),
    counter("packets-lt"),
    counter("packets-gt"),
    counter("bytes-eq"),
    counter("bytes-lt"),
    counter("bytes-gt"),
];

pub(super) fn read<'a>(
    set: &mut SetMatch,
    key: Key,
    given: &Given<'a, '_>,
    getopt: &mut Getopt<'a>,
) -> Result<(), Refusal<'a>> {
    let Given { option, value, negated, .. } = *given;
    match key {
        Key::Counter(name) => {
            let kind = ParseErrorKind::NotEnforced { what: "option", name: format!("--{name}") };
            Err(Refusal::at(option, kind))
        }
        Key::ReturnNomatch if negated => Err(Refusal::at(option, ValueError::SetFlagNegated)),
        Key::ReturnNomatch => {
            set.return_nomatch = true;
            Ok(())
        }
        Key::MatchSet => {
            if set.set.is_some() {
                return Err(Refusal::at(option, ValueError::SetTwice));
            }
            let directions = getopt.take_plain();
            let directions =
                directions.ok_or_else(|| Refusal::at(option, ValueError::SetArguments))?;
            let name = value.text.parse().map_err(|error| {
                let name = value.text.to_owned();
                let error = match error {
                    SetNameError::TooLong(_) => ValueError::SetNameTooLong { name },
                    // No set has such a name.
                    SetNameError::Odd(_) => ValueError::NoSuchSet { name },
                };
                Refusal::at(value, error)
            })?;
            set.set = Some(Negatable { value: name, negated });
            set.directions = directions
                .text
                .parse()
                .map_err(|error| Refusal::at(directions, ValueError::SetDirections(error)))?;
            Ok(())
        }
    }
}
