//! `-m hl` (extensions/libip6t_hl.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::ttl::{Key, condition};
use super::{ExtensionKey, Given, Row};
use crate::rule::HlMatch;

const fn row(name: &'static str, key: Key) -> Row {
    (name, Value::Required, ExtensionKey::Hl(key))
}

pub(super) const OPTIONS: [Row; 4] = [
    row("hl-lt", Key::Less),
    row("hl-gt", Key::Greater),
    row("hl-eq", Key::Equal),
    row("hl", Key::Equal),
];

const fn pair(one: Key, other: Key) -> (ExtensionKey, ExtensionKey) {
    (ExtensionKey::Hl(one), ExtensionKey::Hl(other))
}

/// In the order in which iptables finds them.
pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 3] =
    [pair(Key::Less, Key::Equal), pair(Key::Less, Key::Greater), pair(Key::Greater, Key::Equal)];

/// What iptables says where no option is given.
pub(super) const MISSING: &str =
    "HL match: You must specify one of `--hl-eq', `--hl-lt', `--hl-gt'";

pub(super) fn read<'a>(
    hl: &mut HlMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = match key {
        Key::Less => "hl-lt",
        Key::Greater => "hl-gt",
        Key::Equal => "hl-eq",
    };
    hl.0 = condition("hl", option, key, given)?;
    Ok(())
}
