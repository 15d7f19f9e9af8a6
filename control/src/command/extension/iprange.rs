//! `-m iprange` (extensions/libxt_iprange.c).

use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{AddressRange, IprangeMatch, Negatable, parse_address};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Source,
    Destination,
}

pub(super) const OPTIONS: [Row; 2] = [
    ("src-range", Value::Required, ExtensionKey::Iprange(Key::Source)),
    ("dst-range", Value::Required, ExtensionKey::Iprange(Key::Destination)),
];

pub(super) fn read<'a>(
    iprange: &mut IprangeMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let (option, condition) = match key {
        Key::Source => ("src-range", &mut iprange.source),
        Key::Destination => ("dst-range", &mut iprange.destination),
    };
    let value = range(option, given)?;
    *condition = Some(Negatable { value, negated: given.negated });
    Ok(())
}

/// `ADDRESS` or `FIRST-LAST`.
fn range<'a>(option: &'static str, given: &Given<'a, '_>) -> Result<AddressRange, Refusal<'a>> {
    let Given { value: word, family, .. } = *given;
    let address = |text: &'a str, offset: usize| {
        parse_address(text, family).ok_or_else(|| {
            let part = Word { text, offset: word.offset + offset, ..word };
            // Where the part is empty there is nothing to point at but the whole.
            let place = if text.is_empty() { word } else { part };
            Refusal::at(place, ValueError::IprangeAddress { option, text: text.to_owned() })
        })
    };
    match word.text.split_once('-') {
        None => address(word.text, 0).map(|only| AddressRange { first: only, last: only }),
        Some((first, last)) => {
            let offset = first.len() + 1;
            Ok(AddressRange { first: address(first, 0)?, last: address(last, offset)? })
        }
    }
}

/// What iptables prints about ranges in which no address is.
pub(super) fn warnings(iprange: &IprangeMatch) -> impl Iterator<Item = String> {
    iprange
        .reversed()
        .map(|range| format!("xt_iprange: range {range} is reversed and will never match"))
}
