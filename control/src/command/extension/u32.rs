//! `-m u32` (extensions/libxt_u32.c).

use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, U32Match, U32Tests};

pub(super) const OPTIONS: [Row; 1] = [("u32", Value::Required, ExtensionKey::U32)];

pub(super) fn read<'a>(u32: &mut U32Match, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    let word = given.value;
    let value = U32Tests::from_text(word.text).map_err(|error| {
        // The place is shown too, where there is something.
        let at = error.at().filter(|at| *at < word.text.len() && word.text.is_char_boundary(*at));
        let place =
            at.map_or(word, |at| Word { text: &word.text[at..], offset: word.offset + at, ..word });
        Refusal::at(place, error)
    })?;
    u32.tests = Some(Negatable { value, negated: given.negated });
    Ok(())
}
