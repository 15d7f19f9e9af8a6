//! `-m hashlimit` (extensions/libxt_hashlimit.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::limit::leading_number;
use super::{ExtensionKey, Given, Row};
use crate::rule::{
    HashlimitMatch, HashlimitRate, InvalidRule, KeyMasks, KeyParts, number_prefix64,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Upto,
    Above,
    Burst,
    Size,
    Max,
    GcInterval,
    Expire,
    Mode,
    SourceMask,
    DestinationMask,
    Name,
    RateMatch,
    RateInterval,
}

const fn row(name: &'static str, key: Key) -> Row {
    (name, Value::Required, ExtensionKey::Hashlimit(key))
}

pub(super) const OPTIONS: [Row; 14] = [
    row("hashlimit-upto", Key::Upto),
    row("hashlimit-above", Key::Above),
    // The old name.
    row("hashlimit", Key::Upto),
    row("hashlimit-srcmask", Key::SourceMask),
    row("hashlimit-dstmask", Key::DestinationMask),
    row("hashlimit-burst", Key::Burst),
    row("hashlimit-htable-size", Key::Size),
    row("hashlimit-htable-max", Key::Max),
    row("hashlimit-htable-gcinterval", Key::GcInterval),
    row("hashlimit-htable-expire", Key::Expire),
    row("hashlimit-mode", Key::Mode),
    row("hashlimit-name", Key::Name),
    ("hashlimit-rate-match", Value::None, ExtensionKey::Hashlimit(Key::RateMatch)),
    row("hashlimit-rate-interval", Key::RateInterval),
];

pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 1] =
    [(ExtensionKey::Hashlimit(Key::Upto), ExtensionKey::Hashlimit(Key::Above))];

/// What was said of rate, burst and windows, in whatever order: only together they mean something.
#[derive(Debug, Default)]
pub(super) struct Said {
    rate: Option<Rate>,
    burst: Option<u64>,
    expire: bool,
    by_windows: bool,
    interval_s: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
enum Rate {
    /// The time of a packet, and the unit that was said.
    Packets { period_us: u64, unit_s: u32 },
    /// What a piece costs.
    Bytes { cost: u32 },
}

impl Said {
    /// Puts into the match what it comes to.
    fn settle(&self, hashlimit: &mut HashlimitMatch) {
        let Some(said) = self.rate else { return };
        let unit_s = if let Rate::Packets { unit_s, .. } = said { unit_s } else { 1 };
        hashlimit.window_s = self.by_windows.then_some(self.interval_s.unwrap_or(unit_s));
        let rate = match said {
            Rate::Packets { period_us, .. } => {
                let burst = self.burst.unwrap_or(HashlimitMatch::BURST);
                // Then the number is that of packets in a window, whatever the time that was said with it.
                let shares = if self.by_windows { u64::from(unit_s) } else { 1 };
                HashlimitRate::Packets { period_us: period_us / shares, burst }
            }
            Rate::Bytes { cost } => {
                let second = HashlimitMatch::bytes_of_cost(cost).max(1);
                let refills = self.burst.map_or(0, |burst| burst.div_ceil(second));
                HashlimitRate::Bytes { cost, refills: u32::try_from(refills).unwrap_or(u32::MAX) }
            }
        };
        hashlimit.rate = Some(rate);
        if !self.expire {
            hashlimit.expire_ms = HashlimitMatch::default_expire_ms(rate, unit_s);
        }
    }

    /// What iptables says of a burst that does not go with the rate; and it takes an interval of no windows, which
    /// means nothing.
    pub(super) fn check(&self) -> Result<(), ParseErrorKind> {
        if self.interval_s.is_some() && !self.by_windows {
            return Err(ValueError::HashlimitInterval.into());
        }
        match (self.rate, self.burst) {
            (Some(Rate::Bytes { cost }), Some(burst)) => {
                let least = HashlimitMatch::bytes_of_cost(cost);
                if burst < least {
                    return Err(ValueError::HashlimitBurstSmall { least }.into());
                }
            }
            (Some(Rate::Packets { .. }), Some(burst)) if burst > HashlimitMatch::BURST_MAX => {
                return Err(ValueError::HashlimitBurst.into());
            }
            _ => {}
        }
        Ok(())
    }
}

pub(super) fn read<'a>(
    hashlimit: &mut HashlimitMatch,
    said: &mut Said,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let Given { value: word, negated, family, .. } = *given;
    if negated && !matches!(key, Key::Upto | Key::Above) {
        let kind = ParseErrorKind::OptionNotNegatable { name: "hashlimit", option };
        return Err(Refusal::at(given.option, kind));
    }
    let argument = Argument { name: "hashlimit", option, word };
    let bad = || ValueError::HashlimitValue { option, text: word.text.to_owned() };
    match key {
        Key::Upto | Key::Above => {
            said.rate = Some(rate(word, option)?);
            hashlimit.above = (key == Key::Above) != negated;
        }
        Key::Burst => said.burst = Some(burst(word)?),
        Key::Size => hashlimit.size = argument.in_range(0, u32::MAX)?,
        Key::Max => hashlimit.max = argument.in_range(0, u32::MAX)?,
        Key::GcInterval => hashlimit.gc_interval_ms = argument.in_range(0, u32::MAX)?,
        Key::Expire => {
            (hashlimit.expire_ms, said.expire) = (argument.in_range(0, u32::MAX)?, true);
        }
        Key::Mode => {
            let parts = KeyParts::from_text(word.text);
            hashlimit.parts = parts.ok_or_else(|| Refusal::at(word, bad()))?;
        }
        Key::SourceMask | Key::DestinationMask => {
            let bits =
                Some(argument.mask_bits(family)?).filter(|bits| *bits != family.address_bits());
            let KeyMasks { source, destination } = &mut hashlimit.masks;
            *(if key == Key::SourceMask { source } else { destination }) = bits;
        }
        Key::Name if word.text.is_empty() => {
            return Err(Refusal::at(word, ParseErrorKind::LogPrefixEmpty));
        }
        Key::Name => hashlimit.name = word.text.to_owned(),
        Key::RateMatch => said.by_windows = true,
        Key::RateInterval => {
            let seconds = leading_number(word.text).and_then(|seconds| i32::try_from(seconds).ok());
            let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
            let seconds = seconds.filter(|seconds| *seconds != 0);
            said.interval_s = Some(seconds.ok_or_else(|| Refusal::at(word, bad()))?);
        }
    }
    said.settle(hashlimit);
    Ok(())
}

/// `NUMBER[/TIME]`, in seconds unless a time is said, or `NUMBER[k|m]b/s`.
fn rate<'a>(word: Word<'a>, option: &'static str) -> Result<Rate, Refusal<'a>> {
    let text = || word.text.to_owned();
    let bad = || Refusal::at(word, ValueError::HashlimitValue { option, text: text() });
    if let Some((number, _)) = word.text.split_once("b/s").filter(|(number, _)| !number.is_empty())
    {
        let bytes = leading_number(number).filter(|bytes| *bytes != 0).ok_or_else(bad)?;
        let bytes = bytes.saturating_mul(factor(number.as_bytes().last()));
        return Ok(Rate::Bytes { cost: HashlimitMatch::cost_of_bytes(bytes) });
    }
    let (number, unit_s) = super::limit::rate(word.text).ok_or_else(bad)?;
    // iptables takes `5kb/m' for five packets a minute.
    if number.ends_with('b') {
        return Err(bad());
    }
    let packets = leading_number(number).filter(|packets| *packets != 0).ok_or_else(bad)?;
    match HashlimitMatch::SCALE * u64::from(unit_s) / packets {
        0 => Err(Refusal::at(word, ValueError::LimitTooFast { text: text() })),
        period_us => Ok(Rate::Packets { period_us, unit_s }),
    }
}

/// `NUMBER[k|m]`, with or without a `b` behind.
fn burst(word: Word<'_>) -> Result<u64, Refusal<'_>> {
    let bad = || Refusal::at(word, ValueError::HashlimitBurst);
    let (number, rest) = number_prefix64(word.text).ok_or_else(bad)?;
    let number = number.filter(|number| *number != 0).ok_or_else(bad)?;
    if rest.is_empty() && number > HashlimitMatch::BURST_MAX {
        return Err(bad());
    }
    number.checked_mul(factor(rest.as_bytes().first())).ok_or_else(bad)
}

fn factor(unit: Option<&u8>) -> u64 {
    match unit {
        Some(b'k') => 1 << 10,
        Some(b'm') => 1 << 20,
        _ => 1,
    }
}

/// What is missing, and what does not go together, in the order in which iptables looks.
pub(super) fn incomplete(hashlimit: &HashlimitMatch, said: &Said) -> Result<(), ParseErrorKind> {
    if hashlimit.rate.is_none() {
        return Err(ParseErrorKind::Incomplete(InvalidRule::HashlimitMissing));
    }
    said.check()
}
