//! `-m addrtype`, revision 1 (extensions/libxt_addrtype.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::guided::{UnknownItem, listed};
use super::{ExtensionKey, Given, Row};
use crate::rule::{AddressTypes, AddrtypeMatch, IfaceLimit, Negatable};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Source,
    Destination,
    Limit(IfaceLimit),
}

pub(super) const OPTIONS: [Row; 4] = [
    ("src-type", Value::Required, ExtensionKey::Addrtype(Key::Source)),
    ("dst-type", Value::Required, ExtensionKey::Addrtype(Key::Destination)),
    ("limit-iface-in", Value::None, ExtensionKey::Addrtype(Key::Limit(IfaceLimit::In))),
    ("limit-iface-out", Value::None, ExtensionKey::Addrtype(Key::Limit(IfaceLimit::Out))),
];

pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 1] = [(
    ExtensionKey::Addrtype(Key::Limit(IfaceLimit::In)),
    ExtensionKey::Addrtype(Key::Limit(IfaceLimit::Out)),
)];

pub(super) fn read<'a>(
    addrtype: &mut AddrtypeMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let Given { option, value: word, negated, .. } = *given;
    match key {
        Key::Limit(limit) if negated => {
            let option_name = match limit {
                IfaceLimit::In => "limit-iface-in",
                IfaceLimit::Out => "limit-iface-out",
            };
            let kind = ParseErrorKind::OptionNotNegatable { name: "addrtype", option: option_name };
            return Err(Refusal::at(option, kind));
        }
        Key::Limit(limit) => addrtype.limit = Some(limit),
        Key::Source | Key::Destination => {
            let value = listed(word, AddressTypes::NAMES).map_err(unknown)?;
            let condition = Some(Negatable { value, negated });
            match key {
                Key::Source => addrtype.source = condition,
                _ => addrtype.destination = condition,
            }
        }
    }
    Ok(())
}

/// iptables quotes the last of a list in another way.
fn unknown(UnknownItem { word, list }: UnknownItem<'_>) -> Refusal<'_> {
    let error = match list.contains(',') {
        true => ValueError::AddressTypes { list },
        false => ValueError::AddressType { text: list },
    };
    Refusal::at(word, error)
}
