//! `-m limit` (extensions/libxt_limit.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{LimitMatch, TIMES};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Limit,
    Burst,
}

pub(super) const OPTIONS: [Row; 2] = [
    ("limit", Value::Required, ExtensionKey::Limit(Key::Limit)),
    ("limit-burst", Value::Required, ExtensionKey::Limit(Key::Burst)),
];

pub(super) fn read<'a>(
    limit: &mut LimitMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let Given { value: word, negated, .. } = *given;
    if negated {
        let kind = ParseErrorKind::OptionNotNegatable { name: "limit", option };
        return Err(Refusal::at(given.option, kind));
    }
    let argument = Argument { name: "limit", option, word };
    match key {
        Key::Limit => limit.period_100us = period(word)?,
        Key::Burst => limit.burst = argument.in_range(0, LimitMatch::BURST_MAX)?,
    }
    Ok(())
}

/// `NUMBER[/TIME]`. As in iptables, what follows the digits of the number is not looked at.
fn period(word: Word<'_>) -> Result<u32, Refusal<'_>> {
    let text = || word.text.to_owned();
    let bad = || Refusal::at(word, ValueError::LimitRate { text: text() });
    let (number, seconds) = rate(word.text).ok_or_else(bad)?;
    let packets = leading_number(number).filter(|packets| *packets != 0).ok_or_else(bad)?;
    let unit = LimitMatch::SCALE * seconds;
    let period = u32::try_from(packets).map_or(0, |packets| unit / packets);
    if period == 0 {
        return Err(Refusal::at(word, ValueError::LimitTooFast { text: text() }));
    }
    Ok(period)
}

/// The two parts of `NUMBER[/TIME]`: the number as it stands, and the seconds of the time, one unless one is said;
/// `None` if there is no such time.
pub(super) fn rate(text: &str) -> Option<(&str, u32)> {
    let Some((number, time)) = text.split_once('/') else { return Some((text, 1)) };
    let begins = |(name, ..): &&(&str, &str, u32)| {
        let beginning = name.get(..time.len());
        !time.is_empty() && beginning.is_some_and(|name| name.eq_ignore_ascii_case(time))
    };
    TIMES.iter().find(begins).map(|(.., seconds)| (number, *seconds))
}

/// The number that a text begins with, as `atoi` reads it, but that none is too large.
pub(super) fn leading_number(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    // A negative number is a very large one to iptables.
    let (text, negative) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text.strip_prefix('+').unwrap_or(text), false),
    };
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..digits).filter(|digits| !digits.is_empty())?;
    let number = number.parse().unwrap_or(u64::MAX);
    Some(if negative && number != 0 { u64::MAX } else { number })
}
