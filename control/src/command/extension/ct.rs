//! `-j CT` and `-j NOTRACK`, revision 2 (extensions/libxt_CT.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::Given;
use super::target::{TargetKey, TargetRow};
use crate::rule::CtTarget;

/// An option of CT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Notrack,
    /// One that Weir does not enforce.
    Other(&'static str),
}

const fn other(name: &'static str, option: &'static str) -> TargetRow {
    (name, Value::Required, TargetKey::Ct(Key::Other(option)))
}

pub(super) const OPTIONS: [TargetRow; 8] = [
    ("notrack", Value::None, TargetKey::Ct(Key::Notrack)),
    other("helper", "--helper"),
    other("timeout", "--timeout"),
    other("ctevents", "--ctevents"),
    other("expevents", "--expevents"),
    other("zone", "--zone"),
    other("zone-orig", "--zone-orig"),
    other("zone-reply", "--zone-reply"),
];

pub(super) fn read<'a>(
    ct: &mut CtTarget,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    match key {
        Key::Notrack => ct.notrack = true,
        Key::Other(name) => {
            let kind = ParseErrorKind::NotEnforced { what: "option", name: name.to_owned() };
            return Err(Refusal::at(given.option, kind));
        }
    }
    Ok(())
}
