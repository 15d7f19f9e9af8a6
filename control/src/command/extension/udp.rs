//! `-m udp` (extensions/libxt_udp.c).

use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::guided::Argument;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Negatable, UdpMatch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    SourcePorts,
    DestinationPorts,
}

pub(super) const OPTIONS: [Row; 4] = [
    ("source-port", Value::Required, ExtensionKey::Udp(Key::SourcePorts)),
    ("sport", Value::Required, ExtensionKey::Udp(Key::SourcePorts)),
    ("destination-port", Value::Required, ExtensionKey::Udp(Key::DestinationPorts)),
    ("dport", Value::Required, ExtensionKey::Udp(Key::DestinationPorts)),
];

pub(super) fn read<'a>(
    udp: &mut UdpMatch,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    let (option, ports) = match key {
        Key::SourcePorts => ("source-port", &mut udp.source_ports),
        Key::DestinationPorts => ("destination-port", &mut udp.destination_ports),
    };
    let argument = Argument { name: "udp", option, word: given.value };
    *ports = Negatable { value: argument.ports(given.names)?, negated: given.negated };
    Ok(())
}
