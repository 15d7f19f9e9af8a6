//! `-m connbytes` (extensions/libxt_connbytes.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{ConnbytesDirection, ConnbytesMatch, ConnbytesMode, Negatable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Count,
    Direction,
    Mode,
}

pub(super) const OPTIONS: [Row; 3] = [
    ("connbytes", Value::Required, ExtensionKey::Connbytes(Key::Count)),
    ("connbytes-dir", Value::Required, ExtensionKey::Connbytes(Key::Direction)),
    ("connbytes-mode", Value::Required, ExtensionKey::Connbytes(Key::Mode)),
];

pub(super) fn read<'a>(
    connbytes: &mut ConnbytesMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let Given { value: word, negated, .. } = *given;
    if negated && key != Key::Count {
        let kind = ParseErrorKind::OptionNotNegatable { name: "connbytes", option };
        return Err(Refusal::at(given.option, kind));
    }
    match key {
        Key::Count => {
            let value = Argument { name: "connbytes", option, word }.counts()?;
            connbytes.count = Some(Negatable { value, negated });
        }
        Key::Direction => connbytes.direction = Some(direction(word)?),
        Key::Mode => connbytes.mode = Some(mode(word)?),
    }
    Ok(())
}

fn direction(word: Word<'_>) -> Result<ConnbytesDirection, Refusal<'_>> {
    let named = ConnbytesDirection::ALL.into_iter().find(|known| known.name() == word.text);
    let unknown = || ValueError::ConnbytesDirection { text: word.text.to_owned() };
    named.ok_or_else(|| Refusal::at(word, unknown()))
}

fn mode(word: Word<'_>) -> Result<ConnbytesMode, Refusal<'_>> {
    let named = ConnbytesMode::ALL.into_iter().find(|known| known.name() == word.text);
    named.ok_or_else(|| Refusal::at(word, ValueError::ConnbytesMode { text: word.text.to_owned() }))
}
