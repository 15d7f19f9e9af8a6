//! `-m conntrack`, revision 3 (extensions/libxt_conntrack.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::{Value, Word};
use super::super::refusal::Refusal;
use super::guided::{Argument, UnknownItem, listed};
use super::{ExtensionKey, Given, Row};
use crate::rule::{
    ConntrackMatch, CtDirection, CtStates, CtStatuses, InvalidRule, Names, Negatable, Protocol,
    TupleTest, parse_number,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    State,
    Protocol,
    Address(CtDirection, End),
    Ports(CtDirection, End),
    Status,
    Expire,
    Direction,
}

/// An end of a tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum End {
    Source,
    Destination,
}

use CtDirection::{Original, Reply};
use End::{Destination, Source};

const fn row(name: &'static str, key: Key) -> Row {
    (name, Value::Required, ExtensionKey::Conntrack(key))
}

pub(super) const OPTIONS: [Row; 13] = [
    row("ctstate", Key::State),
    row("ctproto", Key::Protocol),
    row("ctorigsrc", Key::Address(Original, Source)),
    row("ctorigdst", Key::Address(Original, Destination)),
    row("ctreplsrc", Key::Address(Reply, Source)),
    row("ctrepldst", Key::Address(Reply, Destination)),
    row("ctorigsrcport", Key::Ports(Original, Source)),
    row("ctorigdstport", Key::Ports(Original, Destination)),
    row("ctreplsrcport", Key::Ports(Reply, Source)),
    row("ctrepldstport", Key::Ports(Reply, Destination)),
    row("ctstatus", Key::Status),
    row("ctexpire", Key::Expire),
    row("ctdir", Key::Direction),
];

pub(super) fn read<'a>(
    conntrack: &mut ConntrackMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let Given { value: word, negated, names, family, .. } = *given;
    let option = given.name;
    let argument = Argument { name: "conntrack", option, word };
    match key {
        Key::State => {
            let value = listed(word, CtStates::NAMES).map_err(unknown_name("ctstate"))?;
            conntrack.states = Some(Negatable { value, negated });
        }
        Key::Protocol => {
            conntrack.protocol =
                Some(Negatable { value: protocol(word, names, negated)?, negated });
        }
        Key::Address(way, end) => {
            let condition = Some(Negatable { value: argument.address(family)?, negated });
            match (tuple(conntrack, way), end) {
                (tuple, Source) => tuple.source = condition,
                (tuple, Destination) => tuple.destination = condition,
            }
        }
        Key::Ports(way, end) => {
            let condition = Some(Negatable { value: argument.ports(names)?, negated });
            match (tuple(conntrack, way), end) {
                (tuple, Source) => tuple.source_ports = condition,
                (tuple, Destination) => tuple.destination_ports = condition,
            }
        }
        Key::Status => {
            let known = std::iter::once(("NONE", CtStatuses::NONE)).chain(CtStatuses::NAMES);
            let value = listed(word, known).map_err(unknown_name("ctstatus"))?;
            conntrack.statuses = Some(Negatable { value, negated });
        }
        Key::Expire => {
            conntrack.expires = Some(Negatable { value: argument.numbers()?, negated });
        }
        Key::Direction if negated => {
            let kind = ParseErrorKind::OptionNotNegatable { name: "conntrack", option };
            return Err(Refusal::at(given.option, kind));
        }
        Key::Direction => conntrack.direction = Some(direction(word)?),
    }
    Ok(())
}

fn tuple(conntrack: &mut ConntrackMatch, way: CtDirection) -> &mut TupleTest {
    match way {
        Original => &mut conntrack.original,
        Reply => &mut conntrack.reply,
    }
}

fn unknown_name<'a>(option: &'static str) -> impl Fn(UnknownItem<'a>) -> Refusal<'a> {
    move |UnknownItem { word, list }| Refusal::at(word, ParseErrorKind::CtName { option, list })
}

/// Unlike `-p`, which also takes names in capitals.
fn protocol<'a>(word: Word<'a>, names: &Names, negated: bool) -> Result<Protocol, Refusal<'a>> {
    let number = parse_number(word.text, 255).and_then(|number| u8::try_from(number).ok());
    match number.map(Protocol).or_else(|| names.protocol(word.text)) {
        Some(Protocol::ALL) => {
            let never = InvalidRule::NeverMatchesConnection;
            let kind = if negated { InvalidRule::AlwaysMatchesConnection } else { never };
            Err(Refusal::at(word, ParseErrorKind::NeverMatches(kind)))
        }
        Some(protocol) => Ok(protocol),
        None => {
            let protocol = word.text.to_owned();
            Err(Refusal::at(word, ParseErrorKind::Protocol { protocol }))
        }
    }
}

fn direction(word: Word<'_>) -> Result<CtDirection, Refusal<'_>> {
    let named = |way: &CtDirection| way.name().eq_ignore_ascii_case(word.text);
    [Original, Reply].into_iter().find(named).ok_or_else(|| {
        let value = word.text.to_owned();
        Refusal::at(word, ParseErrorKind::CtDirection { value })
    })
}
