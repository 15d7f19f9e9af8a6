//! `-m multiport`, revision 1 (extensions/libxt_multiport.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{
    MultiportEnd, MultiportMatch, Names, Negatable, PortRange, Protocol, parse_number,
};

use MultiportEnd::{Destination, Either, Source};

const fn row(name: &'static str, end: MultiportEnd) -> Row {
    (name, Value::Required, ExtensionKey::Multiport(end))
}

pub(super) const OPTIONS: [Row; 5] = [
    row("source-ports", Source),
    row("sports", Source),
    row("destination-ports", Destination),
    row("dports", Destination),
    row("ports", Either),
];

const fn pair(one: MultiportEnd, other: MultiportEnd) -> (ExtensionKey, ExtensionKey) {
    (ExtensionKey::Multiport(one), ExtensionKey::Multiport(other))
}

pub(super) const EXCLUSIVE: [(ExtensionKey, ExtensionKey); 3] =
    [pair(Source, Destination), pair(Source, Either), pair(Destination, Either)];

/// `protocol` is what `-p` has said so far.
pub(super) fn read<'a>(
    multiport: &mut MultiportMatch,
    end: MultiportEnd,
    given: &Given<'a, '_>,
    protocol: Option<Negatable<Protocol>>,
) -> Result<(), Refusal<'a>> {
    let transport = transport(protocol).map_err(|error| Refusal::at(given.option, error))?;
    let value = ports(given.value, transport, given.names)?;
    *multiport = MultiportMatch { end, ports: Negatable { value, negated: given.negated } };
    Ok(())
}

/// The name of the protocol that the ports belong to.
fn transport(protocol: Option<Negatable<Protocol>>) -> Result<&'static str, ValueError> {
    let Some(Negatable { value, negated }) = protocol else {
        return Err(ValueError::MultiportProtocolMissing);
    };
    let mut known = MultiportMatch::PROTOCOLS.iter().filter(|_| !negated);
    let found = known.find(|(known, _)| *known == value);
    found.map(|(_, name)| *name).ok_or(ValueError::MultiportProtocol)
}

/// `PORT` and `FIRST:LAST`, joined by commas.
fn ports<'a>(
    list: Word<'a>,
    transport: &'static str,
    names: &Names,
) -> Result<Vec<PortRange>, Refusal<'a>> {
    let (mut ports, mut offset) = (Vec::new(), list.offset);
    for text in list.text.split(',') {
        let item = Word { text, offset, ..list };
        offset += text.len() + 1;
        let slots = MultiportMatch::slots(&ports) + if text.contains(':') { 2 } else { 1 };
        if slots > MultiportMatch::SLOTS_MAX {
            return Err(Refusal::at(item, ValueError::MultiportTooMany));
        }
        let port = |text: &'a str, offset: usize| {
            let place = Word { text, offset: item.offset + offset, ..item };
            parse_port(place, if text.is_empty() { list } else { place }, transport, names)
        };
        let range = match text.split_once(':') {
            None => PortRange::one(port(text, 0)?),
            Some((first, last)) => {
                let (first, last) = (port(first, 0)?, port(last, first.len() + 1)?);
                let range = PortRange::new(first, last).ok().filter(|_| first < last);
                range.ok_or_else(|| Refusal::at(item, ValueError::MultiportRange))?
            }
        };
        ports.push(range);
    }
    Ok(ports)
}

/// A number as C reads it, or a service of the protocol. A wrong one is shown at `place`.
fn parse_port<'a>(
    word: Word<'a>,
    place: Word<'a>,
    transport: &'static str,
    names: &Names,
) -> Result<u16, Refusal<'a>> {
    let number = parse_number(word.text, u16::MAX.into());
    let port = number.and_then(|number| u16::try_from(number).ok());
    port.or_else(|| names.port(word.text, Some(transport))).ok_or_else(|| {
        let port = word.text.to_owned();
        Refusal::at(place, ParseErrorKind::TcpPort { port })
    })
}
