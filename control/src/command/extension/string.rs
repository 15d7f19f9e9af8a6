//! `-m string`, revision 1 (extensions/libxt_string.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, Pattern, PatternError, StringAlgorithm, StringMatch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    From,
    To,
    Algorithm,
    Text,
    HexText,
    IgnoreCase,
}

pub(super) const OPTIONS: [Row; 6] = [
    ("from", Value::Required, ExtensionKey::String(Key::From)),
    ("to", Value::Required, ExtensionKey::String(Key::To)),
    ("algo", Value::Required, ExtensionKey::String(Key::Algorithm)),
    ("string", Value::Required, ExtensionKey::String(Key::Text)),
    ("hex-string", Value::Required, ExtensionKey::String(Key::HexText)),
    ("icase", Value::None, ExtensionKey::String(Key::IgnoreCase)),
];

pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 1] =
    [(ExtensionKey::String(Key::Text), ExtensionKey::String(Key::HexText))];

pub(super) fn read<'a>(
    string: &mut StringMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let argument = Argument { name: "string", option, word: given.value };
    if given.negated && !matches!(key, Key::Text | Key::HexText) {
        let kind = ParseErrorKind::OptionNotNegatable { name: "string", option };
        return Err(Refusal::at(given.option, kind));
    }
    let mut pattern = |read: fn(&str) -> Result<Pattern, PatternError>| {
        let value = bytes(given.value, read)?;
        string.pattern = Some(Negatable { value, negated: given.negated });
        Ok(())
    };
    match key {
        Key::Text => return pattern(|text| Pattern::new(text.as_bytes().to_vec())),
        Key::HexText => return pattern(Pattern::from_hex_text),
        Key::From => string.from = argument.offset()?,
        Key::To => string.to = argument.offset()?,
        Key::Algorithm => string.algorithm = Some(algorithm(given.value)?),
        Key::IgnoreCase => string.ignore_case = true,
    }
    Ok(())
}

/// What the kernel refuses is refused here: it has no other algorithms for this match.
fn algorithm(word: Word<'_>) -> Result<StringAlgorithm, Refusal<'_>> {
    let named = |algorithm: &StringAlgorithm| algorithm.name() == word.text;
    StringAlgorithm::ALL.into_iter().find(named).ok_or_else(|| {
        let algorithm = word.text.to_owned();
        Refusal::at(word, ParseErrorKind::StringAlgorithm { algorithm })
    })
}

/// A pattern. Words reach the parser as UTF-8, in which bytes that were none are replaced: such a
/// pattern would be another than the one that was meant.
fn bytes<'a>(
    word: Word<'a>,
    read: fn(&str) -> Result<Pattern, PatternError>,
) -> Result<Pattern, Refusal<'a>> {
    if word.text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Refusal::at(word, ParseErrorKind::StringNotText));
    }
    read(word.text).map_err(|error| Refusal::at(word, error))
}
