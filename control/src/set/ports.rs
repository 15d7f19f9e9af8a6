//! The second part of an entry of `hash:ip,port`: `[PROTOCOL:]PORT[-PORT]`, `icmp:TYPE/CODE`,
//! `PROTOCOL:0` (`ipset_parse_proto_port`, lib/parse.c).

use super::error::SetLineErrorKind;
use super::icmp;
use super::number::number;
use crate::rule::{Family, Names, Protocol};

/// A protocol and its ports, from the first to the last, which may be the lower of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ports {
    pub(super) protocol: u8,
    pub(super) first: u16,
    pub(super) last: u16,
}

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Whether the protocol has ports where TCP has them (`ip_set_proto_with_ports`).
pub(super) fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 132 | 136)
}

pub(super) fn parse(text: &str, family: Family, names: &Names) -> Result<Ports, SetLineErrorKind> {
    let Some((protocol, ports)) = outside_brackets(text, ':') else {
        return range(text, 6, "tcp", names);
    };
    // `tcp:` and `:80` are ports of TCP to ipset, with strange names.
    if protocol.is_empty() || ports.is_empty() {
        return Err(SetLineErrorKind::Port { text: text.to_owned(), protocol: "tcp".to_owned() });
    }
    let unknown = || SetLineErrorKind::Protocol { text: protocol.to_owned() };
    let value = match number(protocol, 0, u8::MAX.into()) {
        Ok(number) => u8::try_from(number).map_err(|_| unknown())?,
        Err(_) => names.protocol(&protocol.to_ascii_lowercase()).ok_or_else(unknown)?.0,
    };
    let single = |port| Ports { protocol: value, first: port, last: port };
    match value {
        0 => Err(SetLineErrorKind::NoProtocol),
        ICMP if family == Family::V6 => Err(SetLineErrorKind::Icmp),
        ICMPV6 if family == Family::V4 => Err(SetLineErrorKind::Icmpv6),
        ICMP | ICMPV6 => icmp::parse(ports, family).map(single),
        _ if has_ports(value) => {
            let name = Names::builtin_protocol_name(Protocol(value)).unwrap_or("tcp");
            range(ports, value, name, names)
        }
        _ if ports == "0" => Ok(single(0)),
        _ => Err(SetLineErrorKind::PseudoPort { protocol: protocol.to_owned() }),
    }
}

fn range(text: &str, protocol: u8, name: &str, names: &Names) -> Result<Ports, SetLineErrorKind> {
    let port = |text: &str| {
        let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let inside = inside.unwrap_or(text);
        let by_number = number(inside, 0, u16::MAX.into()).ok();
        by_number
            .and_then(|number| u16::try_from(number).ok())
            .or_else(|| names.port(inside, Some(name)))
            .ok_or_else(|| SetLineErrorKind::Port {
                text: text.to_owned(),
                protocol: name.to_owned(),
            })
    };
    let (first, last) = match outside_brackets(text, '-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    Ok(Ports { protocol, first, last })
}

/// Cuts at the first `mark` that does not stand between brackets.
fn outside_brackets(text: &str, mark: char) -> Option<(&str, &str)> {
    let mut inside = false;
    let place = text.char_indices().find(|(_, c)| {
        inside = match c {
            '[' => true,
            ']' => false,
            _ => inside,
        };
        !inside && *c == mark
    });
    place.map(|(place, _)| (&text[..place], &text[place + 1..]))
}

/// `tcp:80`, `tcp:80-90`, `icmp:echo-request`, `gre:0`.
pub(super) fn print(ports: Ports, names: &Names) -> String {
    let Ports { protocol, first, last } = ports;
    let name = names.protocol_name(Protocol(protocol));
    let name = name.map_or_else(|| protocol.to_string(), str::to_owned);
    match protocol {
        ICMP => format!("{name}:{}", icmp::print(first, Family::V4)),
        ICMPV6 => format!("{name}:{}", icmp::print(first, Family::V6)),
        _ if first == last => format!("{name}:{first}"),
        _ => format!("{name}:{first}-{last}"),
    }
}
