//! `-m icmp` (extensions/libipt_icmp.c, libxt_icmp.h).

use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Family, IcmpMatch, IcmpType, Negatable, number_prefix};

pub(super) const OPTIONS: [Row; 1] = [("icmp-type", Value::Required, ExtensionKey::Icmp)];

pub(super) fn read<'a>(icmp: &mut IcmpMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let value = match named(Family::V4, &IcmpType::NAMES, given.value)? {
        Some(named) => named,
        None => {
            let (number, first_code, last_code) = numbered(Family::V4, given.value)?;
            IcmpType { number, first_code, last_code }
        }
    };
    icmp.icmp_type = Negatable { value, negated: given.negated };
    Ok(())
}

/// The type whose name begins with this word, in capitals or not.
pub(super) fn named<'a, T: Copy>(
    family: Family,
    names: &[(&'static str, T)],
    word: Word<'a>,
) -> Result<Option<T>, Refusal<'a>> {
    let begins = |name: &str| {
        let beginning = name.get(..word.text.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(word.text))
    };
    let mut fitting = names.iter().filter(|(name, _)| begins(name));
    match (fitting.next(), fitting.next()) {
        (Some((first, _)), Some((second, _))) => {
            let text = word.text.to_owned();
            Err(Refusal::at(word, ValueError::IcmpAmbiguous { family, text, first, second }))
        }
        (first, _) => Ok(first.map(|(_, known)| *known)),
    }
}

/// `TYPE`, `TYPE/CODE`, `TYPE/FIRST:LAST`: the type, and its first and last code.
pub(super) fn numbered<'a>(family: Family, word: Word<'a>) -> Result<(u8, u8, u8), Refusal<'a>> {
    let refused = |error: ValueError| Refusal::at(word, error);
    let unexpected = |rest: &str| {
        rest.chars().next().map(|character| refused(ValueError::IcmpCharacter { character }))
    };
    let text = || word.text.to_owned();
    let Some((first, last, rest)) = range(word.text) else {
        return Err(refused(ValueError::IcmpType { family, text: text() }));
    };
    let (first_code, last_code) = match rest.strip_prefix('/') {
        None => match unexpected(rest) {
            None => (0, u8::MAX),
            Some(refusal) => return Err(refusal),
        },
        Some(codes) => {
            let Some((first, last, rest)) = range(codes) else {
                return Err(refused(ValueError::IcmpCode { family, text: text() }));
            };
            match unexpected(rest) {
                None => (first, last),
                Some(refusal) => return Err(refusal),
            }
        }
    };
    if first != last {
        return Err(refused(ValueError::IcmpTypeRange { family }));
    }
    Ok((first, first_code, last_code))
}

/// `N` or `FIRST:LAST` at the beginning of a text, and what follows.
fn range(text: &str) -> Option<(u8, u8, &str)> {
    let number = |text| {
        let (number, rest) = number_prefix(text)?;
        Some((u8::try_from(number?).ok()?, rest))
    };
    let (first, rest) = number(text)?;
    match rest.strip_prefix(':') {
        None => Some((first, first, rest)),
        Some(rest) => number(rest).map(|(last, rest)| (first, last, rest)),
    }
}
