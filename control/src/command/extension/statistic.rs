//! `-m statistic` (extensions/libxt_statistic.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{PROBABILITY_ONE, StatisticMatch, StatisticMode};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Mode,
    Probability,
    Every,
    Packet,
}

pub(super) const OPTIONS: [Row; 4] = [
    ("mode", Value::Required, ExtensionKey::Statistic(Key::Mode)),
    ("probability", Value::Required, ExtensionKey::Statistic(Key::Probability)),
    ("every", Value::Required, ExtensionKey::Statistic(Key::Every)),
    ("packet", Value::Required, ExtensionKey::Statistic(Key::Packet)),
];

pub(super) fn read<'a>(
    statistic: &mut StatisticMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let argument = Argument { name: "statistic", option, word: given.value };
    if given.negated && matches!(key, Key::Mode | Key::Packet) {
        let kind = ParseErrorKind::OptionNotNegatable { name: "statistic", option };
        return Err(Refusal::at(given.option, kind));
    }
    statistic.negated |= given.negated;
    match key {
        Key::Mode => statistic.mode = Some(mode(given.value)?),
        Key::Probability => statistic.probability = Some(probability(argument)?),
        Key::Every => statistic.every = Some(argument.in_range(1, u32::MAX)?),
        Key::Packet => statistic.packet = Some(argument.in_range(0, u32::MAX)?),
    }
    Ok(())
}

fn mode(word: Word<'_>) -> Result<StatisticMode, Refusal<'_>> {
    match word.text {
        "random" => Ok(StatisticMode::Random),
        "nth" => Ok(StatisticMode::Nth),
        other => {
            let mode = other.to_owned();
            Err(Refusal::at(word, ParseErrorKind::StatisticMode { mode }))
        }
    }
}

/// A decimal number from 0 to 1, rounded to 31 bits. (iptables reads hexadecimal fractions too, and
/// takes `nan` for 0; nobody means that.)
fn probability(argument: Argument<'_>) -> Result<u32, Refusal<'_>> {
    let read = argument.word.text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    match read.parse::<f64>() {
        Ok(probability) if (0.0..=1.0).contains(&probability) => {
            let scaled = (probability * f64::from(PROBABILITY_ONE)).round();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "0 to 2^31"
            )]
            Ok(scaled as u32)
        }
        _ => Err(argument.out_of_range(0, 1)),
    }
}
