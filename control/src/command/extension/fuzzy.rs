//! `-m fuzzy` (extensions/libxt_fuzzy.c of xtables-addons).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{FuzzyMatch, parse_number};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Lower,
    Upper,
}

pub(super) const OPTIONS: [Row; 2] = [
    ("lower-limit", Value::Required, ExtensionKey::Fuzzy(Key::Lower)),
    ("upper-limit", Value::Required, ExtensionKey::Fuzzy(Key::Upper)),
];

pub(super) fn read<'a>(
    fuzzy: &mut FuzzyMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let row = OPTIONS.iter().find(|(_, _, known)| *known == ExtensionKey::Fuzzy(key));
    let option = row.map_or("", |(name, _, _)| name);
    let Given { value: word, negated, .. } = *given;
    if negated {
        return Err(Refusal::at(given.option, ValueError::FuzzyNegated { option }));
    }
    let rate = parse_number(word.text, FuzzyMatch::RATE_MAX).filter(|rate| *rate != 0);
    let rate = rate.ok_or_else(|| Refusal::at(word, ValueError::FuzzyRate { option }))?;
    match key {
        Key::Lower => fuzzy.lower_pps = rate,
        Key::Upper => fuzzy.upper_pps = rate,
    }
    Ok(())
}
