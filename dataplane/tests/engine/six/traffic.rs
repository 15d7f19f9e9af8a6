//! Random rules and packets of IPv6 for the kernel to judge.

use std::fmt::Write as _;

use super::*;
use crate::content::{self, Content};
use crate::packet::{FIN, RST};
use crate::spec::{MARKS, PORTS as NUMBERS, tcp_options};

/// A host beside "wan0".
pub(super) const CAROL6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 2);
/// A host beyond it.
pub(super) const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x70, 3, 0, 0, 0, 4);
/// To nobody is there a route.
pub(super) const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x99, 0, 0, 0, 0, 0x77);

const PROTOCOLS: [u8; 12] = [6, 6, 6, 17, 17, 58, 58, 132, 136, 253, 59, 1];
const PSH: u8 = 8;

fn not(chance: &mut Chance, percent: usize) -> &'static str {
    if chance.percent(percent) { " !" } else { "" }
}

fn net(chance: &mut Chance) -> String {
    let address = chance.one_of(&[ALICE6, BOB6, CAROL6, FAR6, OTHER6]);
    if chance.percent(15) {
        let mask = chance.one_of(&["ffff:ffff:0:ffff::", "::ffff", "ffff::ffff:0:0", "::ff"]);
        return format!("{address}/{mask}");
    }
    let len = chance.one_of(&[0, 1, 16, 31, 32, 33, 43, 48, 63, 64, 65, 96, 127, 128]);
    format!("{address}/{len}")
}

fn range(chance: &mut Chance) -> String {
    let (a, b) = (chance.one_of(&NUMBERS), chance.one_of(&NUMBERS));
    let one = a == b || chance.percent(40);
    if one { a.to_string() } else { format!("{}:{}", a.min(b), a.max(b)) }
}

/// A rule, with a target or without one.
pub(super) fn rule(chance: &mut Chance) -> String {
    let mut words = "-A FORWARD".to_owned();
    if chance.percent(20) {
        let _ = write!(words, " {}", Content::draw(chance).words());
        return words + target(chance, 25).as_str();
    }
    for option in ["-s", "-d"] {
        if chance.percent(25) {
            let _ = write!(words, "{} {option} {}", not(chance, 25), net(chance));
        }
    }
    let names = ["east", "west", "wan0", "e+", "w+", "+", "wan+", "eth9"];
    for option in ["-i", "-o"] {
        if chance.percent(15) {
            let _ = write!(words, "{} {option} {}", not(chance, 30), chance.one_of(&names));
        }
    }
    let mut protocol = 0;
    if chance.percent(75) {
        protocol = chance.one_of(&PROTOCOLS);
        let not = not(chance, 15);
        let _ = write!(words, "{not} -p {protocol}");
        if !not.is_empty() {
            protocol = 0;
        }
    }
    words += &of_protocol(chance, protocol);
    for _ in 0..chance.one_of(&[0, 0, 1, 1, 2]) {
        words += &of_any(chance);
    }
    if chance.percent(20) {
        let _ = write!(words, " {}", Content::draw(chance).words());
    }
    words + target(chance, 40).as_str()
}

fn target(chance: &mut Chance, percent: usize) -> String {
    if chance.percent(percent) {
        return chance.one_of(&[" -j ACCEPT", " -j DROP"]).to_owned();
    }
    if chance.percent(30) {
        let (value, mask) = (chance.one_of(&MARKS), chance.one_of(&MARKS));
        return format!(" -j MARK --set-xmark {value}/{mask}");
    }
    String::new()
}

fn of_protocol(chance: &mut Chance, protocol: u8) -> String {
    let mut words = String::new();
    if matches!(protocol, 6 | 17) {
        for option in ["--sport", "--dport"] {
            if chance.percent(35) {
                let _ = write!(words, "{} {option} {}", not(chance, 25), range(chance));
            }
        }
    }
    if protocol == 6 {
        if chance.percent(30) {
            let flags = ["SYN,RST,ACK,FIN SYN", "ALL NONE", "ACK ACK", "SYN,FIN SYN,FIN"];
            let _ = write!(words, "{} --tcp-flags {}", not(chance, 30), chance.one_of(&flags));
        }
        if chance.percent(20) {
            let _ = write!(words, "{} --tcp-option {}", not(chance, 30), 1 + chance.below(8));
        }
        match chance.below(8) {
            0 => {
                let _ = write!(words, " -m tcpmss{} --mss 536:1460", not(chance, 30));
            }
            1 => {
                let flag = chance.one_of(&["--ecn-tcp-cwr", "--ecn-tcp-ece"]);
                let _ = write!(words, " -m ecn{} {flag}", not(chance, 40));
            }
            _ => {}
        }
    }
    if matches!(protocol, 6 | 17 | 132 | 136) && chance.percent(25) {
        let end = chance.one_of(&["--sports", "--dports", "--ports"]);
        let ports: Vec<_> = (0..=chance.below(5)).map(|_| range(chance)).collect();
        let _ = write!(words, " -m multiport{} {end} {}", not(chance, 30), ports.join(","));
    }
    if protocol == 58 && chance.percent(60) {
        let kind = chance.one_of(&[0, 1, 1, 2, 3, 4, 128, 128, 129, 133, 135, 136, 143, 255]);
        let code = match chance.below(3) {
            0 => format!("/{}", chance.below(5)),
            1 => format!("/{}:{}", chance.below(3), chance.below(6)),
            _ => String::new(),
        };
        let _ = write!(words, " -m icmp6{} --icmpv6-type {kind}{code}", not(chance, 30));
    }
    words
}

fn of_any(chance: &mut Chance) -> String {
    let not = not(chance, 30);
    match chance.below(12) {
        0 => " -m comment --comment note".to_owned(),
        1 => format!(" -m dscp{not} --dscp {}", chance.byte() & 0x3f),
        2 => format!(" -m ecn{not} --ecn-ip-ect {}", chance.byte() & 3),
        3 => {
            let mut ends = [ALICE6, BOB6, CAROL6, FAR6, OTHER6, ip6("2001:db8:2::1")];
            let (a, b) = (chance.one_of(&ends), chance.one_of(&ends));
            ends[..2].copy_from_slice(&[a.min(b), a.max(b)]);
            let end = chance.one_of(&["--src-range", "--dst-range"]);
            format!(" -m iprange{not} {end} {}-{}", ends[0], ends[1])
        }
        4 => {
            let lengths = [0, 40, 44, 47, 48, 56, 60, 64, 80, 100, 65_535];
            let (a, b) = (chance.one_of(&lengths), chance.one_of(&lengths));
            format!(" -m length{not} --length {}:{}", a.min(b), a.max(b))
        }
        5 | 6 => {
            let hops = chance.one_of(&[0, 1, 2, 3, 30, 63, 64, 65, 127, 128, 129, 255]);
            match chance.below(3) {
                0 => format!(" -m hl{not} --hl-eq {hops}"),
                1 => format!(" -m hl --hl-lt {hops}"),
                _ => format!(" -m hl --hl-gt {hops}"),
            }
        }
        7 => format!(" -m tos{not} --tos {}/{}", chance.byte() & 0x3c, chance.one_of(&[255, 0x3c])),
        8 => {
            let mask = chance.one_of(&[u32::MAX, u32::MAX, 1, 3]);
            format!(" -m mark{not} --mark {}/{mask}", chance.one_of(&MARKS) & mask)
        }
        9 => {
            let kinds = [
                "UNICAST",
                "LOCAL",
                "ANYCAST",
                "UNREACHABLE",
                "MULTICAST",
                "UNSPEC",
                "LOCAL,UNICAST",
                "UNICAST,UNREACHABLE",
                "LOCAL,ANYCAST",
            ];
            let end = chance.one_of(&["src", "src", "dst"]);
            let limit = chance.one_of(&["", "", " --limit-iface-in", " --limit-iface-out"]);
            format!(" -m addrtype{not} --{end}-type {}{limit}", chance.one_of(&kinds))
        }
        10 => routing(chance),
        _ => format!(" -m pkttype{not} --pkt-type {}", chance.one_of(&["unicast", "multicast"])),
    }
}

/// `-m rt`, with conditions that the headers of [`extended`] meet now and then.
fn routing(chance: &mut Chance) -> String {
    let mut words = " -m rt".to_owned();
    if chance.percent(60) {
        let kind = chance.one_of(&[0, 4, 4, 256]);
        let _ = write!(words, "{} --rt-type {kind}", not(chance, 30));
    }
    if chance.percent(40) {
        let left = chance.one_of(&["0", "1", "1:255", ":1", "0:4294967294"]);
        let _ = write!(words, "{} --rt-segsleft {left}", not(chance, 30));
    }
    if chance.percent(40) {
        let _ = write!(words, "{} --rt-len {}", not(chance, 30), chance.one_of(&[0, 8, 8, 24]));
    }
    words
}

fn ends(chance: &mut Chance) -> (usize, Ipv6Addr, Ipv6Addr) {
    let (ingress, source) = chance.one_of(&[
        (0, ALICE6),
        (0, ALICE6),
        (1, BOB6),
        (2, FAR6),
        (2, CAROL6),
        (0, OTHER6),
        (1, ip6("2001:db8:1::")),
        (2, ip6("2001:db8:2::1")),
        (0, ip6("fd12::1")),
    ]);
    (ingress, source, chance.one_of(&[ALICE6, BOB6, BOB6, CAROL6, FAR6]))
}

fn of_a_protocol(chance: &mut Chance, source: Ipv6Addr, destination: Ipv6Addr) -> Packet6 {
    let (from, to) = ((source, chance.one_of(&NUMBERS)), (destination, chance.one_of(&NUMBERS)));
    let data = content::data(chance);
    match chance.one_of(&PROTOCOLS) {
        6 => {
            let flags = if chance.percent(40) { SYN } else { chance.byte() };
            let mut packet = Packet6::tcp(from, to, flags, &data);
            if chance.percent(60) {
                tcp_options(chance, &mut packet.payload);
                packet = packet.resummed(16);
            }
            packet
        }
        17 => Packet6::udp(from, to, &data),
        58 => {
            let kinds = [1, 1, 2, 3, 4, 128, 128, 128, 129, 133, 135, 143, 200, 255];
            let mut packet = Packet6::icmp6(source, destination, chance.one_of(&kinds), &data);
            packet.payload[1] = chance.one_of(&[0, 0, 0, 1, 2, 3, 4, 255]);
            packet.resummed(2)
        }
        other @ (132 | 136) => {
            let ports = [from.1, to.1].map(u16::to_be_bytes).concat();
            Packet6 { payload: [ports, data].concat(), ..Packet6::new(source, destination, other) }
        }
        other => Packet6 { payload: data, ..Packet6::new(source, destination, other) },
    }
}

/// Extension headers before what it carries.
fn extended(chance: &mut Chance, packet: Packet6) -> Packet6 {
    let mut headers: Vec<(u8, &[u8])> = Vec::new();
    if chance.percent(30) {
        headers.push((0, &[1, 4, 0, 0, 0, 0]));
    }
    for _ in 0..chance.below(3) {
        headers.push(chance.one_of(&[
            (60, &[1, 4, 0, 0, 0, 0][..]),
            (60, &[1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            (43, &[4, 0, 0, 0, 0, 0]),
            (43, &[0, 1, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            (51, &[0, 0, 1, 2, 3, 4]),
        ]));
    }
    packet.behind(&headers)
}

/// A packet that the router takes to its rules: whole, cut, in pieces, behind extension headers, of all protocols.
pub(super) fn packet(chance: &mut Chance) -> (usize, Packet6) {
    let (ingress, source, destination) = ends(chance);
    let mut packet = of_a_protocol(chance, source, destination);
    packet.class_flow = u32::from(chance.byte()) << 20;
    packet.hop_limit = match chance.below(4) {
        0 => chance.one_of(&[2, 3, 31, 64, 65, 66, 128, 129, 130, 255]),
        _ => 2 + (chance.byte() & 0x7f),
    };
    if chance.percent(12) {
        packet.payload.truncate(chance.below(22));
    }
    match chance.below(100) {
        0..30 => packet = extended(chance, packet),
        30..50 => {
            if chance.percent(25) {
                packet.next = chance.one_of(&[60, 43, 0, 44, 51, 59]);
            }
            packet.payload.resize(packet.payload.len().max(16), 1);
            let whole = packet.payload.len();
            // One that is alone: an atomic fragment, a first one, a later one.
            let (from, to, more) = match chance.below(4) {
                0 if packet.next != 44 && packet.next != 0 => (0, whole, false),
                0..2 => (0, whole & !7, true),
                _ => (8, whole, chance.percent(30)),
            };
            let to = if more { to & !7 } else { to };
            let more = more && to > from;
            let known = !matches!(packet.next, 0 | 43 | 44 | 51 | 60);
            if from > 0 || known {
                packet = packet.piece(from..to.max(from), more, u32::from(chance.word()));
            }
        }
        _ => {}
    }
    if matches!(packet.next, 0 | 43 | 44 | 51 | 60) && packet.extensions.is_empty() {
        packet.next = 253;
    }
    (ingress, packet)
}

/// One that a rule rejects: also with a checksum that is wrong, and larger than an answer may be.
pub(super) fn rejected(chance: &mut Chance) -> (usize, Packet6) {
    loop {
        let (ingress, mut packet) = packet(chance);
        if packet.next != 44 && packet.extensions.is_empty() && chance.percent(20) {
            let (from, to) = ((packet.source, 9), (packet.destination, 10));
            let len = 1100 + chance.below(300);
            packet = Packet6::udp(from, to, &vec![7; len]);
        }
        if chance.percent(10) {
            let at = chance.below(packet.payload.len().max(1));
            if let Some(byte) = packet.payload.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        if !packet.looks_partial() {
            return (ingress, packet);
        }
    }
}

const FLAGS: [u8; 11] =
    [SYN, SYN, SYN | ACK, SYN | ACK, ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, 0];

/// A packet from a client to Bob, or back.
fn between(chance: &mut Chance, client: Ipv6Addr, back: bool) -> Packet6 {
    let (near, far) = ((client, 1000 + u16::from(chance.byte() & 1)), (BOB6, 80));
    let (from, to) = if back { (far, near) } else { (near, far) };
    let data = content::data(chance);
    match chance.below(12) {
        0..5 => Packet6::tcp(from, to, chance.one_of(&FLAGS), &data),
        5..7 => Packet6::udp(from, (to.0, to.1 + 1), &data),
        7..10 => {
            let kind = if back { 129 } else { 128 };
            let kinds = [kind, kind, kind, 128, 129, 139, 140, 160];
            Packet6::icmp6(from.0, to.0, chance.one_of(&kinds), &data)
        }
        10 => {
            let kinds = [130, 131, 132, 133, 134, 135, 136, 137, 143, 138, 144];
            Packet6::icmp6(from.0, to.0, chance.one_of(&kinds), &data)
        }
        _ => {
            let protocol = chance.one_of(&[253, 59, 47, 1]);
            Packet6 { payload: data, ..Packet6::new(from.0, to.0, protocol) }
        }
    }
}

/// A packet of one of a few flows of this case, or about one.
pub(super) fn of_flow(chance: &mut Chance, case: u64) -> (usize, Packet6) {
    let group = u16::try_from(case & 0xffff).expect("masked");
    let host = u16::from(chance.byte() & 1);
    let client = Ipv6Addr::new(0x2001, 0xdb8, 0x70, group, 0, 0, 0, host);
    let back = chance.percent(45);
    let mut packet = between(chance, client, back);
    if chance.percent(15) {
        // An error that quotes a packet of the other direction, mostly to its sender.
        let quoted = between(chance, client, !back);
        let quoted = if chance.percent(25) { extended(chance, quoted) } else { quoted };
        let mut quote = quoted.bytes();
        if chance.percent(20) {
            quote.truncate(36 + chance.below(20));
        }
        let to = if chance.percent(10) { packet.destination } else { quoted.source };
        let source = if chance.percent(50) { packet.source } else { OTHER6 };
        packet = Packet6::icmp6(source, to, chance.one_of(&[1, 2, 3, 4, 100]), &quote);
    } else if chance.percent(15) {
        packet = extended(chance, packet);
    }
    if chance.percent(4) {
        let at = chance.below(packet.payload.len().max(1));
        if let Some(byte) = packet.payload.get_mut(at) {
            *byte ^= 0x10;
        }
    }
    if chance.percent(4) {
        packet.payload.truncate(chance.below(20));
    }
    let ingress = if packet.source == BOB6 { 1 } else { 2 };
    (ingress, packet)
}

/// A datagram in pieces, in any order; or one that is whole and says that it is a piece (RFC 6946).
/// `tracked` for protocols that Weir tracks as the kernel does: SCTP and UDP-Lite it does not.
pub(super) fn pieces(chance: &mut Chance, tracked: bool) -> Vec<(usize, Packet6)> {
    let (ingress, source, destination) = ends(chance);
    let mut whole = loop {
        let whole = of_a_protocol(chance, source, destination);
        if !tracked || !matches!(whole.next, 132 | 136) {
            break whole;
        }
    };
    whole.class_flow = u32::from(chance.byte()) << 20;
    whole.hop_limit = 2 + (chance.byte() & 0x7f);
    if chance.percent(10) {
        whole.payload.truncate(chance.below(22));
    }
    // Weir wants all headers in the first piece (RFC 7112).
    let mut headers = 0;
    if chance.percent(25) {
        // What stands behind the fragment header is cut, too.
        let Packet6 { next, extensions, payload, .. } = extended(chance, whole.clone());
        if next != 0 {
            headers = extensions.len();
            whole = Packet6 { next, payload: [extensions, payload].concat(), ..whole };
        }
    }
    let id = u32::from(chance.word());
    let mut pieces = Vec::new();
    let mut from = 0;
    let marks = chance.one_of(&[&[0][..], &[0, 1, 2, 3], &[1, 2, 3], &[2], &[1, 2], &[0, 2]]);
    while from < whole.payload.len() {
        let to = (from + 8 * (1 + chance.below(4))).max(headers);
        let to = if chance.percent(10) { whole.payload.len() } else { to.min(whole.payload.len()) };
        let more = to < whole.payload.len();
        let mut piece = whole.piece(from..to, more, id);
        piece.class_flow = whole.class_flow & 0x0fcf_ffff | chance.one_of(marks) << 20;
        if chance.percent(20) {
            piece.extensions = [&[44, 0, 1, 4, 0, 0, 0, 0], &piece.extensions[..]].concat();
            piece.next = 0;
        }
        pieces.push((ingress, piece));
        from = to;
    }
    for place in 1..pieces.len() {
        let other = chance.below(place + 1);
        pieces.swap(place, other);
    }
    pieces
}

/// A segment with these numbers of its first byte and of the next that it expects.
pub(super) fn segment(
    from: (Ipv6Addr, u16),
    to: (Ipv6Addr, u16),
    flags: u8,
    (sequence, acknowledgment): (u32, u32),
) -> Packet6 {
    let mut packet = Packet6::tcp(from, to, flags, b"");
    let numbers = [sequence, acknowledgment].map(u32::to_be_bytes).concat();
    packet.payload[4..12].copy_from_slice(&numbers);
    packet.resummed(16)
}

/// A packet with more to tell: an error that quotes another.
pub(super) fn telling(chance: &mut Chance) -> (usize, Packet6) {
    let (ingress, outer) = packet(chance);
    if outer.next != 58 || chance.percent(40) {
        return (ingress, outer);
    }
    let (_, quoted) = packet(chance);
    let mut quote = quoted.bytes();
    let len = chance.one_of(&[quote.len(), quote.len(), 48, 40, 39, 50, 65]);
    quote.truncate(len);
    let kind = chance.one_of(&[1, 2, 3, 4, 4]);
    let mut told = Packet6::icmp6(outer.source, outer.destination, kind, &quote);
    told.payload[4..8].copy_from_slice(&chance.bytes(4));
    (ingress, Packet6 { hop_limit: outer.hop_limit, class_flow: outer.class_flow, ..told })
}
