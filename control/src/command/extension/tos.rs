//! `-m tos`, revision 1 (extensions/libxt_tos.c, `xtopt_parse_tosmask` of libxtables/xtoptions.c).

use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, Tos, TosMatch, number_prefix};

pub(super) const OPTIONS: [Row; 1] = [("tos", Value::Required, ExtensionKey::Tos)];

pub(super) fn read<'a>(tos: &mut TosMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    tos.tos = Negatable { value: value(given.value)?, negated: given.negated };
    Ok(())
}

/// `VALUE`, `VALUE/MASK`, or a name.
fn value(word: Word<'_>) -> Result<Tos, Refusal<'_>> {
    let Some((value, rest)) = number(word.text) else {
        let named = Tos::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word.text));
        let text = || word.text.to_owned();
        return named
            .map(|(_, value)| Tos { value: *value, mask: Tos::NAME_MASK })
            .ok_or_else(|| Refusal::at(word, ValueError::TosName { text: text() }));
    };
    let mask = match rest.strip_prefix('/') {
        None => Some((u8::MAX, rest)),
        Some(mask) => number(mask),
    };
    match mask {
        Some((mask, "")) => Ok(Tos { value, mask }),
        _ => Err(Refusal::at(word, ValueError::TosNumber { text: word.text.to_owned() })),
    }
}

/// The number at the beginning of a text, if it fits, and what follows.
fn number(text: &str) -> Option<(u8, &str)> {
    let (number, rest) = number_prefix(text)?;
    Some((u8::try_from(number?).ok()?, rest))
}
