//! UDP, ICMP and the protocols that are tracked by addresses only.

use crate::chance::Chance;
use crate::shot::{Body, Checksum, Ends, Event, Header, Sequence, Shot, Side};

fn udp(ports: [u16; 2], chance: &mut Chance) -> Body {
    let len = chance.one_of(&[0, 1, 2, 100, 999]);
    let claimed =
        chance.percent(10).then(|| chance.one_of(&[0, 7, 8, 8 + len / 2, 9 + len, 65_535]));
    let checksum = match chance.below(10) {
        0 => Checksum::Bad,
        1 => Checksum::Absent,
        2 | 3 => Checksum::OfAll,
        _ => Checksum::Good,
    };
    Body::Udp { ports, len, claimed, checksum }
}

/// Datagrams back and forth.
pub(crate) fn datagrams(name: String, chance: &mut Chance) -> Sequence {
    let port = |chance: &mut Chance| if chance.percent(5) { 0 } else { chance.word() };
    let ports = [port(chance), port(chance)];
    let mut events = Vec::new();
    let pause = chance.percent(50).then(|| chance.below(5));
    let one_sided = chance.percent(20);
    for number in 0..2 + chance.below(7) {
        if pause == Some(number) {
            events.push(Event::Pause);
        }
        let from = if one_sided { Side::East } else { chance.one_of(&Side::BOTH) };
        let mut shot = Shot::new(from, udp(ports, chance));
        if ports[0] == ports[1] && chance.percent(50) {
            shot.ends = Ends::Land;
        }
        events.push(Event::Shot(shot));
    }
    Sequence { name, events }
}

/// ICMP queries, answers and nonsense.
pub(crate) fn queries(name: String, chance: &mut Chance) -> Sequence {
    let ids = [chance.word(), chance.word()];
    let kinds: [u8; 2] = chance.one_of(&[[8, 0], [13, 14], [15, 16], [17, 18]]);
    let mut events = Vec::new();
    for _ in 0..2 + chance.below(6) {
        let (from, usual) = if chance.percent(60) {
            (Side::East, kinds[0])
        } else {
            (chance.one_of(&Side::BOTH), kinds[1])
        };
        let kind = if chance.percent(85) { usual } else { chance.byte() % 50 };
        let body = Body::Icmp {
            kind,
            code: if chance.percent(90) { 0 } else { chance.byte() },
            id: if chance.percent(85) { ids[0] } else { ids[1] },
            // The longest stands for half a header.
            len: chance.one_of(&[0, 1, 56, 56, 56, u16::MAX]),
            bad_checksum: chance.percent(5),
        };
        events.push(Event::Shot(Shot::new(from, body)));
    }
    Sequence { name, events }
}

/// Protocols without ports. Not of SCTP, DCCP and UDP-Lite: see the module `conntrack` for what differs.
pub(crate) fn others(name: String, chance: &mut Chance) -> Sequence {
    let protocol =
        chance.one_of(&[0, 2, 4, 41, 47, 47, 47, 47, 50, 51, 58, 89, 103, 112, 115, 253, 255]);
    let mut events = Vec::new();
    for _ in 0..2 + chance.below(5) {
        let len = chance.one_of(&[0, 1, 4, 7, 8, 30]);
        let mut bytes = chance.bytes(len);
        if let [first, second, protocol @ ..] = &mut bytes[..]
            && chance.percent(60)
        {
            (*first, *second) = (0x30, chance.one_of(&[0, 1, 1]));
            for (byte, value) in protocol.iter_mut().zip([0x88, 0x0b, 0, 8, 0, 7]) {
                *byte = value;
            }
        }
        let shot = Shot::new(chance.one_of(&Side::BOTH), Body::Other { protocol, bytes });
        events.push(Event::Shot(shot));
    }
    Sequence { name, events }
}

/// An ICMP error about a packet, to whom it came from, or wrong in some way.
pub(crate) fn error_about(about: &Shot, chance: &mut Chance) -> Shot {
    let mut quoted = about.clone();
    if let Body::Error { quoted: inner, .. } = &about.body
        && chance.percent(50)
    {
        quoted = Shot::clone(inner);
    }
    if chance.percent(15) {
        // One that the other side would have sent.
        quoted.from = quoted.from.other();
    }
    let from = if chance.percent(90) { quoted.from.other() } else { quoted.from };
    let body = Body::Error {
        kind: chance.one_of(&[3, 3, 3, 4, 5, 11, 12]),
        code: chance.byte() % 16,
        quoted: Box::new(quoted),
        bytes: chance.one_of(&[0, 4, 7, 8, 8, 8, 8, 28, 100]),
        header: match chance.below(20) {
            0 => Header::Fragment,
            1 => Header::First,
            2 => Header::Options(chance.byte() % 11),
            3 => Header::VersionLength(chance.byte()),
            4 => Header::VersionLength(0x40 | (chance.byte() & 15)),
            _ => Header::Plain,
        },
        bad_checksum: chance.percent(5),
    };
    let ends = match chance.below(20) {
        0..8 => Ends::Hosts,
        8..17 => Ends::Stranger,
        17..19 => Ends::ToStranger,
        _ => Ends::Land,
    };
    Shot { from, ends, header: Header::Plain, body, dropped: false }
}
