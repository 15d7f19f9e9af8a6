//! `-m recent`, revision 1 (extensions/libxt_recent.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, RecentAction, RecentMatch, RecentSide};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Action(RecentAction),
    Seconds,
    Reap,
    Hitcount,
    Rttl,
    Name,
    Side(RecentSide),
    Mask,
}

const SET: Key = Key::Action(RecentAction::Set);
const RCHECK: Key = Key::Action(RecentAction::Rcheck);
const UPDATE: Key = Key::Action(RecentAction::Update);
const REMOVE: Key = Key::Action(RecentAction::Remove);

const fn row(name: &'static str, value: Value, key: Key) -> Row {
    (name, value, ExtensionKey::Recent(key))
}

pub(super) const OPTIONS: [Row; 12] = [
    row("set", Value::None, SET),
    row("rcheck", Value::None, RCHECK),
    row("update", Value::None, UPDATE),
    row("remove", Value::None, REMOVE),
    row("seconds", Value::Required, Key::Seconds),
    row("reap", Value::None, Key::Reap),
    row("hitcount", Value::Required, Key::Hitcount),
    row("rttl", Value::None, Key::Rttl),
    row("name", Value::Required, Key::Name),
    row("rsource", Value::None, Key::Side(RecentSide::Source)),
    row("rdest", Value::None, Key::Side(RecentSide::Dest)),
    row("mask", Value::Required, Key::Mask),
];

const fn pair(one: Key, other: Key) -> (ExtensionKey, ExtensionKey) {
    (ExtensionKey::Recent(one), ExtensionKey::Recent(other))
}

/// In the order in which iptables finds them.
pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 6] = [
    pair(SET, RCHECK),
    pair(SET, UPDATE),
    pair(SET, REMOVE),
    pair(RCHECK, UPDATE),
    pair(RCHECK, REMOVE),
    pair(UPDATE, REMOVE),
];

pub(super) fn read<'a>(
    recent: &mut RecentMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let option = given.name;
    let argument = Argument { name: "recent", option, word: given.value };
    if given.negated && !matches!(key, Key::Action(_)) {
        let kind = ParseErrorKind::OptionNotNegatable { name: "recent", option };
        return Err(Refusal::at(given.option, kind));
    }
    match key {
        Key::Action(value) => {
            recent.action = Some(Negatable { value, negated: given.negated });
        }
        Key::Seconds => recent.seconds = Some(argument.in_range(1, u32::MAX)?),
        Key::Reap => recent.reap = true,
        Key::Hitcount => recent.hitcount = argument.in_range(0, u32::MAX)?,
        Key::Rttl => recent.rttl = true,
        Key::Name => {
            let name = given.value.text.parse();
            recent.name =
                name.map_err(|error| Refusal::at(given.value, ValueError::RecentName(error)))?;
        }
        Key::Side(side) => recent.side = side,
        Key::Mask => recent.mask = argument.host(given.family)?,
    }
    Ok(())
}
