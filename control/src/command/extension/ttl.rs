//! `-m ttl` (extensions/libipt_ttl.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::TtlMatch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Less,
    Greater,
    Equal,
}

const fn row(name: &'static str, key: Key) -> Row {
    (name, Value::Required, ExtensionKey::Ttl(key))
}

pub(super) const OPTIONS: [Row; 4] = [
    row("ttl-lt", Key::Less),
    row("ttl-gt", Key::Greater),
    row("ttl-eq", Key::Equal),
    row("ttl", Key::Equal),
];

const fn pair(one: Key, other: Key) -> (ExtensionKey, ExtensionKey) {
    (ExtensionKey::Ttl(one), ExtensionKey::Ttl(other))
}

/// In the order in which iptables finds them.
pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 3] =
    [pair(Key::Less, Key::Equal), pair(Key::Less, Key::Greater), pair(Key::Greater, Key::Equal)];

/// What iptables says where no option is given.
pub(super) const MISSING: &str =
    "TTL match: You must specify one of `--ttl-eq', `--ttl-lt', `--ttl-gt";

pub(super) fn read<'a>(
    ttl: &mut TtlMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = match key {
        Key::Less => "ttl-lt",
        Key::Greater => "ttl-gt",
        Key::Equal => "ttl-eq",
    };
    *ttl = condition("ttl", option, key, given)?;
    Ok(())
}

/// What an option of the match asks of the hops that are left.
pub(super) fn condition<'a>(
    name: &'static str,
    option: &'static str,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<TtlMatch, Refusal<'a>> {
    if given.negated && key != Key::Equal {
        let kind = ParseErrorKind::OptionNotNegatable { name, option };
        return Err(Refusal::at(given.option, kind));
    }
    let value = Argument { name, option, word: given.value }.number(u8::MAX)?;
    Ok(match key {
        Key::Less => TtlMatch::Less(value),
        Key::Greater => TtlMatch::Greater(value),
        Key::Equal if given.negated => TtlMatch::NotEqual(value),
        Key::Equal => TtlMatch::Equal(value),
    })
}
