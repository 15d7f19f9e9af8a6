//! Packets that lint names, read back.

use std::net::{IpAddr, SocketAddr};

use weir_control::rule::CtStates;

use super::model::{Header, Packet};

/// `tcp 10.0.0.0:0 -> 0.0.0.0:80, flags SYN, in by eth0, out by any other eth+, state NEW`: a packet that begins in
/// this base chain. What is not said, it has in some way; its
/// interfaces are some of the known ones.
pub(super) fn read(text: &str, base: &'static str, ports: Option<&[String]>) -> Packet {
    let mut parts = text.split(", ");
    let words: Vec<&str> = parts.next().expect("a packet").split(' ').collect();
    let (protocol, ends) = match words[..] {
        ["tcp", source, "->", destination] => (6, [source, destination]),
        ["udp", source, "->", destination] => (17, [source, destination]),
        ["protocol", number, source, "->", destination] => {
            (number.parse().expect("a number"), [source, destination])
        }
        _ => panic!("{text}"),
    };
    let end = |text: &str| match text.parse::<SocketAddr>() {
        Ok(end) => (end.ip(), end.port()),
        Err(_) => (text.parse::<IpAddr>().expect("an address"), 0),
    };
    let [(source, source_port), (destination, destination_port)] = ends.map(end);
    let some = || ports.map_or("x", |ports| &ports[1]).to_owned();
    let mut packet = Packet {
        base,
        ingress: if base == "OUTPUT" { String::new() } else { some() },
        egress: if base == "INPUT" { String::new() } else { some() },
        source,
        destination,
        protocol,
        header: Header::Whole,
        source_port,
        destination_port,
        flags: 0,
        option: 0,
        mss: 0,
        icmp: (0, 0),
        state: CtStates::NEW,
        reply: false,
        ttl: 64,
        length: 40,
        luck: 0,
    };
    for part in parts {
        let name = |name: &str| match name.strip_prefix("any other") {
            Some("") => "x".to_owned(),
            Some(begin) => format!("{}-x", begin.trim_start().trim_end_matches('+')),
            None => name.to_owned(),
        };
        match part.split_once(' ').expect("two words") {
            ("flags", flags) => packet.flags = bits(flags),
            ("in", by) => packet.ingress = name(by.trim_start_matches("by ")),
            ("out", by) => packet.egress = name(by.trim_start_matches("by ")),
            ("state", state) => {
                let mut names = CtStates::NAMES.iter().filter(|(name, _)| *name == state);
                packet.state = names.next().expect("a state").1;
            }
            _ => panic!("{text}"),
        }
    }
    packet
}

fn bits(flags: &str) -> u8 {
    let named =
        |flag| ["FIN", "SYN", "RST", "PSH", "ACK", "URG"].iter().position(|name| *name == flag);
    flags.split(',').filter_map(named).fold(0, |bits, place| bits | 1 << place)
}
