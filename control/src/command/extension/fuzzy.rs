//! `-m fuzzy` (extensions/libxt_fuzzy.c of xtables-addons). The options that begin with `--fuzzy` are Weir's own, and
//! read as those of `hashlimit` are.

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{FuzzyKeys, FuzzyMatch, FuzzyRates, KeyParts, parse_number};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Lower,
    Upper,
    Mode,
    SourceMask,
    DestinationMask,
    Name,
    Max,
    Expire,
    Unverified,
    Net,
    WideNet,
    Destination,
}

const fn row(name: &'static str, key: Key) -> Row {
    (name, Value::Required, ExtensionKey::Fuzzy(key))
}

pub(super) const OPTIONS: [Row; 12] = [
    row("lower-limit", Key::Lower),
    row("upper-limit", Key::Upper),
    row("fuzzy-mode", Key::Mode),
    row("fuzzy-srcmask", Key::SourceMask),
    row("fuzzy-dstmask", Key::DestinationMask),
    row("fuzzy-name", Key::Name),
    row("fuzzy-htable-max", Key::Max),
    row("fuzzy-htable-expire", Key::Expire),
    ("fuzzy-unverified", Value::None, ExtensionKey::Fuzzy(Key::Unverified)),
    row("fuzzy-net", Key::Net),
    row("fuzzy-wide-net", Key::WideNet),
    row("fuzzy-dst", Key::Destination),
];

pub(super) fn read<'a>(
    fuzzy: &mut FuzzyMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let Given { value: word, negated, family, .. } = *given;
    if negated {
        return Err(Refusal::at(given.option, ValueError::FuzzyNegated { option }));
    }
    let argument = Argument { name: "fuzzy", option, word };
    let rate = || {
        let rate = parse_number(word.text, FuzzyMatch::RATE_MAX).filter(|rate| *rate != 0);
        rate.ok_or_else(|| Refusal::at(word, ValueError::FuzzyRate { option }))
    };
    let rates = || {
        let rate = |text| parse_number(text, FuzzyMatch::RATE_MAX).filter(|rate| *rate != 0);
        let read = word.text.split_once(':');
        let read = read.and_then(|(lower, upper)| Some((rate(lower)?, rate(upper)?)));
        let (lower_pps, upper_pps) = read.ok_or_else(|| {
            Refusal::at(word, ValueError::FuzzyRates { option, text: word.text.to_owned() })
        })?;
        Ok(Some(FuzzyRates { lower_pps, upper_pps }))
    };
    let (keys, unverified) = (&mut fuzzy.keys, &mut fuzzy.unverified);
    match key {
        Key::Unverified => _ = unverified.get_or_insert_default(),
        Key::Net => unverified.get_or_insert_default().net = rates()?,
        Key::WideNet => unverified.get_or_insert_default().wide_net = rates()?,
        Key::Destination => unverified.get_or_insert_default().destination = rates()?,
        Key::Lower => fuzzy.lower_pps = rate()?,
        Key::Upper => fuzzy.upper_pps = rate()?,
        Key::Mode => {
            let parts = KeyParts::from_text(word.text).filter(|parts| !parts.is_empty());
            let text = word.text.to_owned();
            let bad = || Refusal::at(word, ValueError::FuzzyMode { text });
            keys.get_or_insert_default().parts = parts.ok_or_else(bad)?;
        }
        Key::SourceMask | Key::DestinationMask => {
            let all = family.address_bits();
            let bits = Some(argument.mask_bits(family)?).filter(|bits| *bits != all);
            let masks = &mut keys.get_or_insert_default().masks;
            *(if key == Key::SourceMask { &mut masks.source } else { &mut masks.destination }) =
                bits;
        }
        Key::Name => keys.get_or_insert_default().name = Some(word.text.to_owned()),
        Key::Max => {
            keys.get_or_insert_default().keys_max = argument.in_range(1, FuzzyKeys::KEYS_MAX)?;
        }
        Key::Expire => {
            let expire_ms = argument.in_range(FuzzyKeys::EXPIRE_MIN_MS, u32::MAX)?;
            keys.get_or_insert_default().expire_ms = expire_ms;
        }
    }
    Ok(())
}
