//! `-m length` (extensions/libxt_length.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{LengthMatch, Negatable};

pub(super) const OPTIONS: [Row; 1] = [("length", Value::Required, ExtensionKey::Length)];

pub(super) fn read<'a>(length: &mut LengthMatch, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let argument = Argument { name: "length", option: "length", word: given.value };
    length.length = Negatable { value: argument.sizes()?, negated: given.negated };
    Ok(())
}
