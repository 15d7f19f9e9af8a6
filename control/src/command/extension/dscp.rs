//! `-m dscp` (extensions/libxt_dscp.c).

use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Dscp, DscpMatch, Negatable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Codepoint,
    Class,
}

pub(super) const OPTIONS: [Row; 2] = [
    ("dscp", Value::Required, ExtensionKey::Dscp(Key::Codepoint)),
    ("dscp-class", Value::Required, ExtensionKey::Dscp(Key::Class)),
];

pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 1] =
    [(ExtensionKey::Dscp(Key::Codepoint), ExtensionKey::Dscp(Key::Class))];

/// What iptables says where no option is given.
pub(super) const MISSING: &str = "DSCP match: Parameter --dscp is required";

pub(super) fn read<'a>(
    dscp: &mut DscpMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let Given { value: word, negated, .. } = *given;
    let value = match key {
        Key::Codepoint => {
            let argument = Argument { name: "dscp", option: "dscp", word };
            // Not above the largest, so that this cannot fail.
            Dscp::new(argument.number(Dscp::MAX)?).unwrap_or_default()
        }
        Key::Class => class(word)?,
    };
    dscp.dscp = Negatable { value, negated };
    Ok(())
}

/// A class, in capitals or not; whatever follows its name is ignored.
fn class(word: Word<'_>) -> Result<Dscp, Refusal<'_>> {
    let begins = |class: &str| {
        let beginning = word.text.get(..class.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(class))
    };
    let known = Dscp::CLASSES.iter().find(|(class, _)| begins(class));
    known.map(|(_, dscp)| *dscp).ok_or_else(|| {
        let text = word.text.to_owned();
        Refusal::at(word, ValueError::DscpClass { text })
    })
}
