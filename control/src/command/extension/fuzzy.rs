//! `-m fuzzy` (extensions/libxt_fuzzy.c of xtables-addons). The options that begin with `--fuzzy` are Weir's own, and
//! read as those of `hashlimit` are.

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{FuzzyKeys, FuzzyMatch, KeyParts, parse_number};

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
}

const fn row(name: &'static str, key: Key) -> Row {
    (name, Value::Required, ExtensionKey::Fuzzy(key))
}

pub(super) const OPTIONS: [Row; 8] = [
    row("lower-limit", Key::Lower),
    row("upper-limit", Key::Upper),
    row("fuzzy-mode", Key::Mode),
    row("fuzzy-srcmask", Key::SourceMask),
    row("fuzzy-dstmask", Key::DestinationMask),
    row("fuzzy-name", Key::Name),
    row("fuzzy-htable-max", Key::Max),
    row("fuzzy-htable-expire", Key::Expire),
];

pub(super) fn read<'a>(
    fuzzy: &mut FuzzyMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let row = OPTIONS.iter().find(|(_, _, known)| *known == ExtensionKey::Fuzzy(key));
    let option = row.map_or("", |(name, _, _)| name);
    let Given { value: word, negated, family, .. } = *given;
    if negated {
        return Err(Refusal::at(given.option, ValueError::FuzzyNegated { option }));
    }
    let argument = Argument { name: "fuzzy", option, word };
    let rate = || {
        let rate = parse_number(word.text, FuzzyMatch::RATE_MAX).filter(|rate| *rate != 0);
        rate.ok_or_else(|| Refusal::at(word, ValueError::FuzzyRate { option }))
    };
    let keys = &mut fuzzy.keys;
    match key {
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
