//! Random rules and packets, and a naive evaluator.
//!
//! The evaluator reads the packet's bytes anew for every rule and knows nothing of compiled masks
//! or parsed headers. It follows `ip_packet_match` (`net/ipv4/netfilter/ip_tables.c`) and `tcp_mt`,
//! `udp_mt` (`net/netfilter/xt_tcpudp.c`); the other matches are in [`asked`](crate::asked).

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use crate::asked::{Asked, MSS, find, options};
use crate::chance::Chance;
use crate::content::{self, Content};
use crate::packet::Packet;
use crate::world::{ALICE, BOB, CAROL, NAMES};

/// A rule as one would say it. The flag beside each value is `!`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spec {
    source: Option<(bool, Ipv4Addr, u32)>,
    destination: Option<(bool, Ipv4Addr, u32)>,
    ingress: Option<(bool, &'static str)>,
    egress: Option<(bool, &'static str)>,
    protocol: Option<(bool, u8)>,
    source_ports: Option<(bool, u16, u16)>,
    destination_ports: Option<(bool, u16, u16)>,
    option: Option<(bool, u8)>,
    flags: Option<(bool, u8, u8)>,
    /// Whether only later fragments will do, or all others.
    fragment: Option<bool>,
    /// `-m`, behind what belongs to the protocol.
    pub(crate) asked: Vec<Asked>,
    /// `-m`, behind those.
    contents: Vec<Content>,
    /// `ACCEPT`, `DROP`, or none.
    pub(crate) target: Option<bool>,
    /// `MARK`: bits that are flipped, and bits that are cleared before. Then there is no other.
    pub(crate) marks: Option<(u32, u32)>,
}

/// What becomes of a packet at a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Matches,
    Differs,
    Hotdrop,
}

/// Few and of few bits, so that marks that are set are often those that are asked for.
pub(crate) const MARKS: [u32; 8] = [0, 0, 1, 2, 3, 0x8000_0001, 0xffff_fffe, u32::MAX];

pub(crate) const PORTS: [u16; 9] = [0, 1, 22, 53, 80, 81, 1023, 1024, 65_535];
const FLAG_NAMES: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
const PROTOCOLS: [u8; 10] = [6, 6, 6, 17, 17, 1, 1, 132, 136, 253];
const OPTIONS: [u8; 8] = [1, 2, 3, 4, 5, 8, 9, 255];

impl Spec {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let mut spec = Self::default();
        // Nothing else is asked, so that all packets meet the match; and many meet the next rule.
        if chance.percent(25) {
            spec.contents.push(Content::draw(chance));
            spec.set_target(chance, 25);
            return spec;
        }
        if chance.percent(25) {
            spec.source = Some(net(chance));
        }
        if chance.percent(25) {
            spec.destination = Some(net(chance));
        }
        let names = ["east", "west", "wan0", "e+", "w+", "+", "wan+", "eth9"];
        if chance.percent(15) {
            spec.ingress = Some((chance.percent(30), chance.one_of(&names)));
        }
        if chance.percent(15) {
            spec.egress = Some((chance.percent(30), chance.one_of(&names)));
        }
        if chance.percent(75) {
            spec.protocol = Some((chance.percent(15), chance.one_of(&PROTOCOLS)));
        }
        if let Some((false, protocol @ (6 | 17))) = spec.protocol {
            if chance.percent(35) {
                spec.source_ports = Some(range(chance));
            }
            if chance.percent(35) {
                spec.destination_ports = Some(range(chance));
            }
            if protocol == 6 && chance.percent(35) {
                let bits = |chance: &mut Chance| chance.byte() & 0x3f;
                spec.flags = Some(if chance.percent(40) {
                    (chance.percent(30), 0x17, 0x02)
                } else {
                    (chance.percent(30), bits(chance), bits(chance) & bits(chance))
                });
            }
            if protocol == 6 && chance.percent(25) {
                spec.option = Some((chance.percent(30), chance.one_of(&OPTIONS)));
            }
        }
        if chance.percent(8) {
            spec.fragment = Some(chance.percent(50));
        }
        let protocol = match spec.protocol {
            Some((false, protocol)) => protocol,
            _ => 0,
        };
        // Few in most rules, or hardly any packet fits.
        let count = chance.one_of(&[0, 0, 1, 1, 1, 2, 3]);
        spec.asked = (0..count).map(|_| Asked::draw(chance, protocol)).collect();
        while chance.percent(20) && spec.contents.len() < 3 {
            spec.contents.push(Content::draw(chance));
        }
        spec.set_target(chance, 40);
        spec
    }

    /// Draws a target, in so many percent of cases one that decides.
    fn set_target(&mut self, chance: &mut Chance, percent: usize) {
        self.target = chance.percent(percent).then(|| chance.percent(50));
        if self.target.is_none() && chance.percent(40) {
            let (value, mask) = (chance.one_of(&MARKS), chance.one_of(&MARKS));
            self.marks = Some((value, if chance.percent(40) { u32::MAX } else { mask }));
        }
    }

    /// Whether a match counts the packets that it is asked of.
    pub(crate) fn counts(&self) -> bool {
        self.contents.iter().any(Content::counts)
    }

    /// As words for iptables.
    pub(crate) fn words(&self) -> String {
        let mut words = "-A FORWARD".to_owned();
        let mut word = |negated: bool, text: String| {
            let _ = write!(words, "{} {text}", if negated { " !" } else { "" });
        };
        for (option, net) in [("-s", self.source), ("-d", self.destination)] {
            if let Some((negated, address, len)) = net {
                word(negated, format!("{option} {address}/{len}"));
            }
        }
        for (option, name) in [("-i", self.ingress), ("-o", self.egress)] {
            if let Some((negated, name)) = name {
                word(negated, format!("{option} {name}"));
            }
        }
        if let Some((negated, protocol)) = self.protocol {
            word(negated, format!("-p {protocol}"));
        }
        if let Some(later) = self.fragment {
            word(!later, "-f".to_owned());
        }
        for (option, ports) in [("--sport", self.source_ports), ("--dport", self.destination_ports)]
        {
            if let Some((negated, first, last)) = ports {
                word(negated, format!("{option} {first}:{last}"));
            }
        }
        if let Some((negated, option)) = self.option {
            word(negated, format!("--tcp-option {option}"));
        }
        if let Some((negated, mask, set)) = self.flags {
            word(negated, format!("--tcp-flags {} {}", flag_names(mask), flag_names(set)));
        }
        self.asked.iter().for_each(|asked| words += &asked.words());
        self.contents.iter().for_each(|content| {
            let _ = write!(words, " {}", content.words());
        });
        if let Some(accept) = self.target {
            words += if accept { " -j ACCEPT" } else { " -j DROP" };
        }
        if let Some((value, mask)) = self.marks {
            let _ = write!(words, " -j MARK --set-xmark {value}/{mask}");
        }
        words
    }

    /// What the rule says about an IPv4 packet with this mark between two interfaces, in a frame from `mac`.
    pub(crate) fn evaluate(
        &self,
        ip: &[u8],
        mac: [u8; 6],
        [ingress, egress]: [&str; 2],
        mark: u32,
    ) -> Outcome {
        let address = |at: usize| u32::from_be_bytes(ip[at..at + 4].try_into().expect("four"));
        let in_net = |net: Option<(bool, Ipv4Addr, u32)>, at: usize| {
            net.is_none_or(|(negated, network, len)| {
                let differing = (u32::from(network) ^ address(at)).leading_zeros();
                (differing >= len) != negated
            })
        };
        let named = |pattern: Option<(bool, &str)>, name: &str| {
            pattern.is_none_or(|(negated, pattern)| {
                let same = match pattern.strip_suffix('+') {
                    Some(prefix) => name.starts_with(prefix),
                    None => name == pattern,
                };
                same != negated
            })
        };
        let protocol = self.protocol.is_none_or(|(negated, p)| (p == ip[9]) != negated);
        let general = in_net(self.source, 12)
            && in_net(self.destination, 16)
            && named(self.ingress, ingress)
            && named(self.egress, egress)
            && protocol
            && self
                .fragment
                .is_none_or(|later| (u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff != 0) == later);
        if !general {
            return Outcome::Differs;
        }
        let ports = self.source_ports.is_some() || self.destination_ports.is_some();
        let mut outcome = Outcome::Matches;
        if ports || self.flags.is_some() || self.option.is_some() {
            outcome = self.transport(ip);
        }
        for asked in &self.asked {
            if outcome == Outcome::Matches {
                outcome = asked.evaluate(ip, mac, [ingress, egress], mark);
            }
        }
        if outcome == Outcome::Matches && !self.contents.iter().all(|content| content.holds(ip)) {
            outcome = Outcome::Differs;
        }
        outcome
    }

    fn transport(&self, ip: &[u8]) -> Outcome {
        let tcp = ip[9] == 6;
        let offset = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff;
        match offset {
            0 => {}
            1 if tcp => return Outcome::Hotdrop,
            _ => return Outcome::Differs,
        }
        let header = &ip[usize::from(ip[0] & 15) * 4..];
        if header.len() < if tcp { 20 } else { 8 } {
            return Outcome::Hotdrop;
        }
        let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let in_range = |range: Option<(bool, u16, u16)>, port: u16| {
            range.is_none_or(|(negated, first, last)| (first..=last).contains(&port) != negated)
        };
        let flags =
            || self.flags.is_none_or(|(negated, mask, set)| (header[13] & mask == set) != negated);
        let holds = in_range(self.source_ports, port(0))
            && in_range(self.destination_ports, port(2))
            && (!tcp || flags());
        if let Some((negated, option)) = self.option.filter(|_| holds) {
            let Some(options) = options(header) else { return Outcome::Hotdrop };
            let found = find(options, |rest| rest[0] == option).is_some();
            return if found != negated { Outcome::Matches } else { Outcome::Differs };
        }
        if holds { Outcome::Matches } else { Outcome::Differs }
    }
}

fn net(chance: &mut Chance) -> (bool, Ipv4Addr, u32) {
    let address = chance.one_of(&[
        ALICE,
        BOB,
        CAROL,
        Ipv4Addr::new(10, 70, 3, 4),
        Ipv4Addr::new(192, 0, 2, 77),
    ]);
    (chance.percent(25), address, chance.one_of(&[0, 1, 8, 15, 16, 23, 24, 31, 32]))
}

fn range(chance: &mut Chance) -> (bool, u16, u16) {
    let (a, b) = (chance.one_of(&PORTS), chance.one_of(&PORTS));
    let last = if chance.percent(40) { a } else { a.max(b) };
    (chance.percent(25), a.min(last), last)
}

fn flag_names(bits: u8) -> String {
    let set = |bit: &usize| bits >> bit & 1 == 1;
    let names: Vec<_> = (0..6).filter(set).map(|bit| FLAG_NAMES[bit]).collect();
    if names.is_empty() { "NONE".to_owned() } else { names.join(",") }
}

/// Puts options into a TCP segment: good ones, strange ones, or only a header length that is wrong.
pub(crate) fn tcp_options(chance: &mut Chance, segment: &mut Vec<u8>) {
    if chance.percent(10) {
        segment[12] = chance.byte();
        return;
    }
    let mut options = Vec::new();
    for _ in 0..chance.below(5) {
        let mss = chance.one_of(&MSS).to_be_bytes();
        match chance.below(10) {
            0..4 => options.extend([2, 4, mss[0], mss[1]]),
            4 => options.extend([3, 3, 7]),
            5 => options.extend([4, 2]),
            6 => options.extend([8, 10, 0, 0, 2, 4, 0, 0, 5, 0]),
            7 => options.extend([chance.one_of(&OPTIONS), chance.one_of(&[0, 0, 1, 2, 3, 5])]),
            8 => options.push(0),
            _ => options.push(1),
        }
    }
    options.truncate(40);
    options.resize(options.len().next_multiple_of(4), 1);
    segment[12] = u8::try_from(5 + options.len() / 4).expect("at most 15 words") << 4;
    segment.splice(20..20, options);
}

/// A packet that the router forwards, and the number of the port by which it comes in. Whole and
/// cut, in fragments, with options, of all protocols of the rules.
pub(crate) fn traffic(chance: &mut Chance) -> (usize, Packet) {
    let ingress = chance.below(NAMES.len());
    let host = chance.byte() | 2;
    let source = match chance.below(5) {
        // Nobody's address, which a router sends on all the same.
        4 => Ipv4Addr::new(10, 0, 1 + (host & 1) + (host >> 7), 255),
        0 => ALICE,
        1 => BOB,
        2 => Ipv4Addr::new(192, 0, 2, host),
        _ => Ipv4Addr::new(10, 70, host, host),
    };
    let destination = chance.one_of(&[ALICE, BOB, CAROL, Ipv4Addr::new(10, 70, 3, 4)]);
    let (from, to) = ((source, chance.one_of(&PORTS)), (destination, chance.one_of(&PORTS)));
    let data = content::data(chance);
    let mut packet = match chance.one_of(&PROTOCOLS) {
        6 => {
            let flags = if chance.percent(40) { 0x02 } else { chance.byte() };
            let mut packet = Packet::tcp(from, to, flags, &data);
            if chance.percent(70) {
                tcp_options(chance, &mut packet.payload);
            }
            packet
        }
        17 => Packet::udp(from, to, &data),
        1 => {
            let kind = chance.one_of(&[0, 3, 3, 5, 8, 8, 8, 11, 13, 254, 255]);
            let mut packet = Packet::icmp(source, destination, kind, &data);
            packet.payload[1] = chance.one_of(&[0, 0, 1, 2, 3, 4, 5, 255]);
            packet
        }
        other @ (132 | 136) => {
            let ports = [from.1, to.1].map(u16::to_be_bytes).concat();
            Packet { payload: [ports, data].concat(), ..Packet::new(source, destination, other) }
        }
        other => Packet { payload: data, ..Packet::new(source, destination, other) },
    };
    packet.identification = chance.word();
    packet.tos = chance.byte() & 0xbf;
    packet.ttl = match chance.below(4) {
        0 => chance.one_of(&[2, 3, 31, 64, 65, 66, 128, 129, 130, 255]),
        _ => 2 + (chance.byte() & 0x7f),
    };
    if chance.percent(15) {
        packet.options = vec![1; 4 * (1 + chance.below(10))];
    }
    match chance.below(100) {
        // Cut inside the transport header.
        0..15 => packet.payload.truncate(chance.below(22)),
        15..25 => packet.more_fragments = true,
        25..40 => {
            packet.offset = chance.one_of(&[1, 1, 2, 3, 185]);
            packet.more_fragments = chance.percent(50);
        }
        40..60 => packet.dont_fragment = true,
        _ => {}
    }
    // A piece with more to come is a multiple of eight bytes long.
    if packet.more_fragments {
        packet.payload.truncate(packet.payload.len() & !7);
        if packet.payload.is_empty() {
            packet.payload = vec![0; 8];
        }
    }
    (ingress, packet)
}
