//! Sequences as text, to be read and to be written by hand.
//!
//! ```text
//!   > S 0       scale=7  = NEW                SYN_SENT 120
//!   < SA 0 1    scale=7  = ESTABLISHED:reply  SYN_RECV 60 seen
//! ```
//!
//! A line is a packet: from where, what, and behind "=" what it is to the rules and what entries there are after
//! it. Of TCP: flags, sequence number (`+` payload), acknowledgment, both relative to 1,000,000 of the side that
//! began and 2,000,000 of the other.

use std::fmt::Write as _;

use crate::play::Course;
use crate::seen::{Entry, Seen};
use crate::shot::{Body, Checksum, Ends, Event, Header, Sequence, Shot, Side, Tcp};

const FLAGS: [(u8, char); 8] = [
    (0x02, 'S'),
    (0x01, 'F'),
    (0x04, 'R'),
    (0x08, 'P'),
    (0x10, 'A'),
    (0x20, 'U'),
    (0x40, 'E'),
    (0x80, 'C'),
];

/// Sequence numbers of both sides that are called 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bases(pub(crate) [u32; 2]);

impl Bases {
    /// The first sequence numbers seen from both sides, or what the other side acknowledged.
    fn of(sequence: &Sequence) -> Self {
        let mut bases = [None; 2];
        for shot in sequence.shots() {
            if let Body::Tcp(tcp) = &shot.body {
                bases[shot.from as usize].get_or_insert(tcp.seq);
            }
        }
        Self(bases.map(|base| base.unwrap_or(0)))
    }
}

fn relative(number: u32, base: u32) -> String {
    let far = number.wrapping_sub(base).cast_signed();
    if far.unsigned_abs() < 1 << 24 { far.to_string() } else { format!("{number:#x}") }
}

fn flags(flags: u8) -> String {
    let named = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    let text: String = named.collect();
    if text.is_empty() { "none".to_owned() } else { text }
}

fn tcp(tcp: &Tcp, from: Side, bases: Bases) -> String {
    let [own, other] = [from, from.other()].map(|side| bases.0[side as usize]);
    let mut text = format!("{} {}", flags(tcp.flags), relative(tcp.seq, own));
    if tcp.len > 0 {
        let _ = write!(text, "+{}", tcp.len);
    }
    if tcp.flags & 0x10 != 0 || tcp.ack != 0 {
        let ack = if tcp.ack == 0 { "zero".to_owned() } else { relative(tcp.ack, other) };
        let _ = write!(text, " {ack}");
    }
    let _ = write!(text, " win={}", tcp.window);
    if !tcp.options.is_empty() {
        let _ = write!(text, " opt={}", options(&tcp.options, other));
    }
    for (set, word) in [
        (tcp.bad_checksum, " badsum".to_owned()),
        (tcp.doff.is_some(), format!(" doff={}", tcp.doff.unwrap_or(0))),
        (tcp.cut.is_some(), format!(" cut={}", tcp.cut.unwrap_or(0))),
    ] {
        text += if set { &word } else { "" };
    }
    text
}

/// What is well formed by name, the rest as bytes.
fn options(mut bytes: &[u8], other: u32) -> String {
    let mut words = Vec::new();
    while let [kind, rest @ ..] = bytes {
        if *kind < 2 {
            words.push(["end", "nop"][usize::from(*kind)].to_owned());
            bytes = rest;
            continue;
        }
        let value = rest.first().and_then(|len| bytes.get(2..usize::from(*len)));
        let Some(value) = value else {
            words.push(format!("{bytes:?}"));
            break;
        };
        words.push(match (kind, value) {
            (3, [scale]) => format!("scale:{scale}"),
            (4, []) => "sackok".to_owned(),
            (5, blocks) if blocks.len().is_multiple_of(8) => {
                let edge = |edge: &[u8; 4]| relative(u32::from_be_bytes(*edge), other);
                let edges: Vec<_> = blocks.as_chunks::<4>().0.iter().map(edge).collect();
                format!("sack:{}", edges.join("-"))
            }
            (8, [_, _, _, _, _, _, _, _]) => "ts".to_owned(),
            _ => format!("{kind}:{value:?}"),
        });
        bytes = &bytes[2 + value.len()..];
    }
    words.join(",")
}

pub(crate) fn shot(shot: &Shot, bases: Bases) -> String {
    let mut text = match &shot.body {
        Body::Tcp(segment) => tcp(segment, shot.from, bases),
        Body::Udp { ports: _, len, claimed, checksum } => {
            let claimed = claimed.map_or(String::new(), |len| format!(" claims {len}"));
            let sum = match checksum {
                Checksum::Good => "",
                Checksum::OfAll => " sum of all",
                Checksum::Bad => " badsum",
                Checksum::Absent => " nosum",
            };
            format!("udp {len}{claimed}{sum}")
        }
        Body::Icmp { kind, code, id, len, bad_checksum } => {
            let sum = if *bad_checksum { " badsum" } else { "" };
            format!("icmp {kind}/{code} id={id:#x} len={len}{sum}")
        }
        Body::Error { kind, code, quoted, bytes, header, bad_checksum } => {
            let sum = if *bad_checksum { " badsum" } else { "" };
            let quoted = self::shot(quoted, bases);
            format!(
                "error {kind}/{code}{sum} quotes {bytes} bytes of{} [{quoted}]",
                unusual(*header)
            )
        }
        Body::Other { protocol, bytes } => format!("protocol {protocol} {bytes:02x?}"),
    };
    let ends = match shot.ends {
        Ends::Hosts => "",
        Ends::Stranger => " from a stranger",
        Ends::ToStranger => " to a stranger",
        Ends::Land => " from its destination",
    };
    text += &unusual(shot.header);
    let dropped = if shot.dropped { " DROPPED" } else { "" };
    let _ = write!(text, "{ends}{dropped}");
    format!("{} {text}", ['>', '<'][shot.from as usize])
}

fn unusual(header: Header) -> String {
    match header {
        Header::Plain => String::new(),
        other => format!(" {other:?}"),
    }
}

/// A sequence, and what both said to it.
pub(crate) fn report(sequence: &Sequence, course: &Course) -> String {
    let bases = Bases::of(sequence);
    let mut text = format!("{}\n", sequence.name);
    let mut seen = course.seen.iter();
    for event in &sequence.events {
        let Event::Shot(packet) = event else {
            text += "  pause\n";
            continue;
        };
        let Some((kernel, weir)) = seen.next() else { break };
        let line = shot(packet, bases);
        let _ = writeln!(text, "  {line:<44} = {kernel}");
        if !kernel.agrees(weir) {
            let _ = writeln!(text, "  {:>44}   {weir}", "but Weir:");
            break;
        }
    }
    text
}

/// What kind of difference it is.
pub(crate) fn kind(shot: &Shot, kernel: &Seen, weir: &Seen) -> String {
    let what = match &shot.body {
        Body::Tcp(tcp) => flags(tcp.flags),
        Body::Udp { .. } => "udp".to_owned(),
        Body::Icmp { kind, .. } => format!("icmp {kind}"),
        Body::Error { .. } => "icmp error".to_owned(),
        Body::Other { protocol, .. } => format!("protocol {protocol}"),
    };
    let short = |seen: &Seen| {
        let plain = |entry: &Entry| Entry { internals: String::new(), ..entry.clone() };
        let entries = seen.entries.iter().map(plain).collect();
        Seen { verdict: seen.verdict, entries }.to_string()
    };
    format!("{what}: kernel {}, Weir {}", short(kernel), short(weir))
}

/// Flags by their letters.
pub(crate) fn flags_of(text: &str) -> Option<u8> {
    if text == "none" {
        return Some(0);
    }
    text.chars().try_fold(0, |flags, letter| {
        FLAGS.iter().find(|(_, name)| *name == letter).map(|(bit, _)| flags | bit)
    })
}
