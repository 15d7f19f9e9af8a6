//! `-m connlimit`, revision 1 (extensions/libxt_connlimit.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{ConnlimitMatch, ConnlimitSide, Negatable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Upto,
    Above,
    Mask,
    Source,
    Destination,
}

pub(super) const OPTIONS: [Row; 5] = [
    ("connlimit-upto", Value::Required, ExtensionKey::Connlimit(Key::Upto)),
    ("connlimit-above", Value::Required, ExtensionKey::Connlimit(Key::Above)),
    ("connlimit-mask", Value::Required, ExtensionKey::Connlimit(Key::Mask)),
    ("connlimit-saddr", Value::None, ExtensionKey::Connlimit(Key::Source)),
    ("connlimit-daddr", Value::None, ExtensionKey::Connlimit(Key::Destination)),
];

/// In the order in which iptables finds them.
pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 2] = [
    (ExtensionKey::Connlimit(Key::Upto), ExtensionKey::Connlimit(Key::Above)),
    (ExtensionKey::Connlimit(Key::Source), ExtensionKey::Connlimit(Key::Destination)),
];

pub(super) fn read<'a>(
    connlimit: &mut ConnlimitMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let argument = Argument { name: "connlimit", option, word: given.value };
    if given.negated && !matches!(key, Key::Upto | Key::Above) {
        let kind = ParseErrorKind::OptionNotNegatable { name: "connlimit", option };
        return Err(Refusal::at(given.option, kind));
    }
    match key {
        Key::Upto | Key::Above => {
            let value = argument.in_range(0, u32::MAX)?;
            let negated = given.negated != (key == Key::Upto);
            connlimit.above = Some(Negatable { value, negated });
        }
        Key::Mask => connlimit.prefix_len = argument.prefix_len(given.family)?,
        Key::Source => connlimit.side = ConnlimitSide::Source,
        Key::Destination => connlimit.side = ConnlimitSide::Destination,
    }
    Ok(())
}
