//! Sequences spoilt: numbers at the edges of windows, flags, options, checksums, headers; packets that rules drop,
//! ICMP errors in between.

use crate::chance::Chance;
use crate::datagram::error_about;
use crate::session::segments;
use crate::shot::{ACK, Body, Event, FIN, Header, RST, SYN, Sequence, Side, Tcp, URG};

/// Numbers that mean something to one side of this conversation: where its segments begin and end, what the other
/// has acknowledged, and allowed.
fn edges(events: &[Event], of: Side) -> Vec<u32> {
    let mut found = vec![0, 1, u32::MAX];
    for (side, tcp) in segments(events) {
        if side == of {
            found.extend([tcp.seq, tcp.end()]);
            continue;
        }
        let scales = [0, 1, 2, 7, 14].map(|scale| u32::from(tcp.window) << scale);
        found.push(tcp.ack);
        found.extend(scales.map(|window| tcp.ack.wrapping_add(window)));
        found.extend(scales.map(|window| tcp.ack.wrapping_sub(window)));
        found.extend([66_000, 66_001, 66_002].map(|far| tcp.ack.wrapping_sub(far)));
    }
    found
}

fn near(chance: &mut Chance, edges: &[u32]) -> u32 {
    let steps = [0, 0, 0, 1, 1, 2, u32::MAX, u32::MAX, u32::MAX - 1, 100, 0x8000_0000];
    chance.one_of(edges).wrapping_add(chance.one_of(&steps))
}

const VALID: [u8; 9] =
    [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];

fn spoil(tcp: &mut Tcp, chance: &mut Chance, own: &[u32], others: &[u32]) {
    match chance.below(24) {
        0..7 => tcp.seq = near(chance, own),
        7..12 => tcp.ack = near(chance, others),
        12..16 => tcp.flags = chance.one_of(&VALID),
        16 => tcp.flags = chance.byte(),
        17 => tcp.window = chance.one_of(&[0, 0, 1, 100, 65_535]),
        18..20 => {
            tcp.options = match chance.below(3) {
                0 => {
                    let len = chance.below(41);
                    chance.bytes(len)
                }
                1 => chance.one_of(&MALFORMED).to_vec(),
                _ => {
                    let mut options = vec![5, 10];
                    options.extend(near(chance, others).to_be_bytes());
                    options.extend(near(chance, others).to_be_bytes());
                    options
                }
            };
        }
        20 => tcp.bad_checksum = true,
        21 => tcp.doff = Some(chance.byte() % 16),
        22 => tcp.cut = Some(chance.below(24)),
        _ => tcp.len = chance.one_of(&[0, 1, 2, 1000]),
    }
}

const MALFORMED: [&[u8]; 12] = [
    &[3],
    &[3, 0, 0, 0],
    &[3, 1, 7, 0],
    &[3, 3, 255, 4, 2, 0],
    &[3, 3, 7, 3, 3, 2, 4, 2],
    &[3, 4, 7, 7],
    &[4, 3, 0, 3, 3, 5],
    &[0, 3, 3, 7],
    &[2, 40, 1, 1],
    &[5, 9, 0, 0, 0, 0, 0, 0, 0],
    &[8, 10, 0, 0],
    &[1, 1, 1, 1, 4, 2, 3, 3],
];

/// Spoils some of the packets of a conversation.
pub(crate) fn spoilt(mut sequence: Sequence, chance: &mut Chance) -> Sequence {
    let percent = chance.one_of(&[5, 15, 40]);
    let edges = Side::BOTH.map(|side| edges(&sequence.events, side));
    for at in 0..sequence.events.len() {
        if !chance.percent(percent) {
            continue;
        }
        if chance.percent(10) && at > 0 {
            sequence.events.swap(at - 1, at);
            continue;
        }
        if let Event::Shot(shot) = &mut sequence.events[at]
            && let Body::Tcp(tcp) = &mut shot.body
        {
            let [own, others] = [shot.from, shot.from.other()].map(|side| &edges[side as usize]);
            spoil(tcp, chance, own, others);
        }
    }
    sequence
}

/// Gives some of the packets IPv4 options.
pub(crate) fn with_options(mut sequence: Sequence, chance: &mut Chance) -> Sequence {
    for event in &mut sequence.events {
        if let Event::Shot(shot) = event
            && chance.percent(30)
        {
            shot.header = Header::Options(1 + chance.byte() % 10);
        }
    }
    sequence
}

/// Has rules drop some of the packets.
pub(crate) fn some_dropped(mut sequence: Sequence, chance: &mut Chance) -> Sequence {
    let percent = chance.one_of(&[5, 20, 50]);
    for event in &mut sequence.events {
        if let Event::Shot(shot) = event {
            shot.dropped = chance.percent(percent);
        }
    }
    sequence
}

/// Puts ICMP errors about its packets in between.
pub(crate) fn with_errors(mut sequence: Sequence, chance: &mut Chance) -> Sequence {
    for _ in 0..1 + chance.below(3) {
        let at = chance.below(sequence.events.len() + 1);
        let about = chance.below(sequence.events.len());
        if let Event::Shot(shot) = sequence.events[about].clone() {
            sequence.events.insert(at, Event::Shot(error_about(&shot, chance)));
        }
    }
    sequence
}

/// Waits once, somewhere.
pub(crate) fn with_pause(mut sequence: Sequence, chance: &mut Chance) -> Sequence {
    let at = chance.below(sequence.events.len() + 1);
    sequence.events.insert(at, Event::Pause);
    sequence
}
