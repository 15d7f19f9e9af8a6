//! `-m rt` (extensions/libip6t_rt.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, RtMatch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Type,
    SegmentsLeft,
    Length,
    /// About routing headers of type 0, which are dead since RFC 5095; this is the option.
    TypeZero(&'static str),
}

pub(super) const OPTIONS: [Row; 6] = [
    ("rt-type", Value::Required, ExtensionKey::Rt(Key::Type)),
    ("rt-segsleft", Value::Required, ExtensionKey::Rt(Key::SegmentsLeft)),
    ("rt-len", Value::Required, ExtensionKey::Rt(Key::Length)),
    ("rt-0-res", Value::None, ExtensionKey::Rt(Key::TypeZero("--rt-0-res"))),
    ("rt-0-addrs", Value::Required, ExtensionKey::Rt(Key::TypeZero("--rt-0-addrs"))),
    ("rt-0-not-strict", Value::None, ExtensionKey::Rt(Key::TypeZero("--rt-0-not-strict"))),
];

pub(super) fn read<'a>(
    rt: &mut RtMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let Given { value: word, negated, .. } = *given;
    let argument = |option| Argument { name: "rt", option, word };
    let number = |option| {
        let value = argument(option).in_range(0, u32::MAX)?;
        Ok(Some(Negatable { value, negated }))
    };
    match key {
        Key::Type => rt.kind = number("rt-type")?,
        Key::SegmentsLeft => {
            let range = Negatable { value: argument("rt-segsleft").numbers()?, negated };
            rt.segments_left = Some(range).filter(|range| negated || !range.value.is_all());
        }
        Key::Length => rt.length = number("rt-len")?,
        Key::TypeZero(name) => {
            let kind = ParseErrorKind::NotEnforced { what: "option", name: name.to_owned() };
            return Err(Refusal::at(given.option, kind));
        }
    }
    Ok(())
}
