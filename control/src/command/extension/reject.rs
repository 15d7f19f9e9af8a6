//! `-j REJECT` (extensions/libipt_REJECT.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::Given;
use super::target::{TargetKey, TargetRow};
use crate::rule::RejectWith;

pub(super) const OPTIONS: [TargetRow; 1] =
    [("reject-with", Value::Required, TargetKey::RejectWith)];

pub(super) fn read<'a>(with: &mut RejectWith, given: &Given<'a, '_>) -> Result<(), Refusal<'a>> {
    *with = first_named(&RejectWith::NAMES, given)?;
    Ok(())
}

/// The first type whose name, or short name, begins with the word; capitals do not count. (So the
/// empty word is the first of all.)
pub(super) fn first_named<'a, T: Copy>(
    names: &[(T, &str, &str)],
    given: &Given<'a, '_>,
) -> Result<T, Refusal<'a>> {
    let text = given.value.text;
    let begins = |name: &str| {
        name.get(..text.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(text))
    };
    let named = names.iter().find(|(_, name, alias)| begins(name) || begins(alias));
    named.map(|(named, ..)| *named).ok_or_else(|| {
        let kind = ParseErrorKind::RejectType { name: text.to_owned() };
        Refusal::at(given.value, kind)
    })
}
