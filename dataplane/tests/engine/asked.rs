//! Random matches that look at one packet alone, and a naive evaluator for them that reads the
//! packet's bytes anew (`net/netfilter/xt_*.c`).

use std::net::Ipv4Addr;

use crate::chance::Chance;
use crate::spec::{MARKS, Outcome, PORTS};
use crate::world::{ALICE, BOB, CAROL, NAMES, host_mac};

/// A match as one would say it. A flag is `!`.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// Types of the source, of the destination; `-in` or `-out` of `--limit-iface`.
    Addrtype(Option<(bool, &'static str)>, Option<(bool, &'static str)>, Option<&'static str>),
    Comment,
    Dscp(bool, u8),
    /// ECE and CWR set or clear, the codepoint.
    Ecn(Option<bool>, Option<bool>, Option<(bool, u8)>),
    /// Type (255 is any), first and last code.
    Icmp(bool, u8, u8, u8),
    Iprange(Option<(bool, Ipv4Addr, Ipv4Addr)>, Option<(bool, Ipv4Addr, Ipv4Addr)>),
    Length(bool, u16, u16),
    Mac(bool, [u8; 6]),
    Mark(bool, u32, u32),
    /// Whether the source, the destination.
    Multiport(bool, bool, bool, Vec<(u16, u16)>),
    Pkttype(bool, &'static str),
    TcpMss(bool, u16, u16),
    Tos(bool, u8, u8),
    /// `-eq`, `-lt` or `-gt`.
    Ttl(bool, &'static str, u8),
}

const ADDRESSES: [Ipv4Addr; 6] = [
    ALICE,
    BOB,
    CAROL,
    Ipv4Addr::new(10, 70, 3, 4),
    Ipv4Addr::new(10, 0, 2, 1),
    Ipv4Addr::new(192, 0, 2, 77),
];

const TYPES: [&str; 7] = [
    "UNICAST",
    "BROADCAST",
    "BROADCAST",
    "LOCAL,BROADCAST",
    "UNSPEC,LOCAL,ANYCAST,MULTICAST",
    "UNICAST,BLACKHOLE",
    "BLACKHOLE,UNREACHABLE,PROHIBIT,THROW,NAT,XRESOLVE",
];

/// Of the addresses of [`traffic`](crate::spec::traffic) only these are not unicast.
fn address_type(address: Ipv4Addr, there: Option<&str>) -> &'static str {
    let subnet = match address.octets() {
        [10, 0, subnet @ 1..=3, 255] => usize::from(subnet) - 1,
        _ => return "UNICAST",
    };
    match there {
        Some(name) if name != NAMES[subnet] => "UNICAST",
        _ => "BROADCAST",
    }
}

/// Sizes around those that [`tcp_options`](crate::spec::tcp_options) announces.
pub(crate) const MSS: [u16; 6] = [0, 536, 1459, 1460, 1461, 65_535];

fn range<T: Copy + Ord>(chance: &mut Chance, choices: &[T]) -> (bool, T, T) {
    let (a, b) = (chance.one_of(choices), chance.one_of(choices));
    let last = if chance.percent(40) { a } else { a.max(b) };
    (chance.percent(30), a.min(last), last)
}

impl Asked {
    /// One that may stand in a rule about `protocol` (0: about all).
    pub(crate) fn draw(chance: &mut Chance, protocol: u8) -> Self {
        let not = chance.percent(30);
        let of_protocol = chance.percent(60);
        match protocol {
            1 if of_protocol => {
                let icmp_type = chance.one_of(&[0, 3, 3, 5, 8, 8, 11, 13, 254, 255]);
                let (code, other) = (chance.byte() % 6, chance.byte() % 6);
                return match chance.below(4) {
                    0 => Self::Icmp(not, icmp_type, code, code),
                    1 => Self::Icmp(not, icmp_type, code, other),
                    _ => Self::Icmp(not, icmp_type, 0, 255),
                };
            }
            6 | 17 | 33 | 132 | 136 if of_protocol && (protocol != 6 || chance.percent(35)) => {
                let end = chance.below(3);
                let ports = (0..=chance.below(6)).map(|_| range(chance, &PORTS));
                let ports = ports.map(|(_, first, last)| (first, last)).collect();
                return Self::Multiport(not, end != 1, end != 0, ports);
            }
            6 if of_protocol && chance.percent(20) => {
                let mut flag = || chance.percent(60).then(|| chance.percent(50));
                let (ece, cwr) = (flag(), flag());
                return Self::Ecn(ece, cwr.or(ece.is_none().then_some(not)), None);
            }
            6 if of_protocol => {
                let (not, first, last) = range(chance, &MSS);
                return Self::TcpMss(not, first, last);
            }
            _ => {}
        }
        Self::of_any_protocol(chance, not, protocol == 6)
    }

    fn of_any_protocol(chance: &mut Chance, not: bool, tcp: bool) -> Self {
        match chance.below(12) {
            10.. => {
                let mask = if chance.percent(50) { u32::MAX } else { chance.one_of(&MARKS) };
                Self::Mark(not, chance.one_of(&MARKS) & mask, mask)
            }
            9 => {
                let mut types = |percent| {
                    let types = (chance.percent(30), chance.one_of(&TYPES));
                    chance.percent(percent).then_some(types)
                };
                let source = types(80);
                let destination = types(if source.is_none() { 100 } else { 20 });
                let limit = chance.one_of(&[None, None, Some("-in"), Some("-out")]);
                Self::Addrtype(source, destination, limit)
            }
            0 => Self::Comment,
            1 => Self::Dscp(not, (chance.byte() & 0x2f) >> chance.below(3)),
            2 => {
                let mut flag = || (tcp && chance.percent(40)).then(|| chance.percent(50));
                let (ece, cwr) = (flag(), flag());
                let ect = (chance.percent(40) || (ece, cwr) == (None, None))
                    .then(|| (chance.percent(30), chance.byte() & 3));
                Self::Ecn(ece, cwr, ect)
            }
            3 => {
                let source = chance.percent(60).then(|| range(chance, &ADDRESSES));
                let destination =
                    (source.is_none() || chance.percent(30)).then(|| range(chance, &ADDRESSES));
                Self::Iprange(source, destination)
            }
            4 => {
                let lengths = [0, 20, 24, 27, 28, 29, 36, 40, 44, 60, 64, 80, 100, 65_535];
                let (not, first, last) = range(chance, &lengths);
                Self::Length(not, first, last)
            }
            5 => Self::Mac(not, host_mac(chance.one_of(&ADDRESSES))),
            6 => {
                let kinds = ["unicast", "unicast", "broadcast", "multicast", "otherhost"];
                Self::Pkttype(not, chance.one_of(&kinds))
            }
            7 => {
                let mask = if chance.percent(50) { 0xff } else { chance.byte() };
                let value = chance.byte() & 0x3f;
                Self::Tos(not, if chance.percent(80) { value & mask } else { value }, mask)
            }
            _ => {
                let how = chance.one_of(&["-eq", "-lt", "-gt"]);
                let ttl = chance.one_of(&[0, 1, 2, 3, 30, 63, 64, 65, 127, 128, 129, 255]);
                Self::Ttl(not && how == "-eq", how, ttl)
            }
        }
    }

    /// The word after `-m`.
    pub(crate) fn name(&self) -> String {
        self.words().split_whitespace().nth(1).expect("-m NAME").to_owned()
    }

    /// As words for iptables, the first a blank.
    pub(crate) fn words(&self) -> String {
        let mark = |not: bool| if not { " !" } else { "" };
        match self {
            Self::Addrtype(..) | Self::Ecn(..) | Self::Iprange(..) => self.words_of_several(),
            Self::Comment => " -m comment --comment note".to_owned(),
            Self::Dscp(not, dscp) => format!(" -m dscp{} --dscp {dscp}", mark(*not)),
            Self::Icmp(not, icmp_type, first, last) => {
                let codes = if (*first, *last) == (0, 255) {
                    String::new()
                } else {
                    format!("/{first}:{last}")
                };
                format!(" -m icmp{} --icmp-type {icmp_type}{codes}", mark(*not))
            }
            Self::Length(not, first, last) => {
                format!(" -m length{} --length {first}:{last}", mark(*not))
            }
            Self::Mac(not, mac) => {
                let mac = mac.map(|byte| format!("{byte:x}")).join(":");
                format!(" -m mac{} --mac-source {mac}", mark(*not))
            }
            Self::Mark(not, value, mask) => {
                format!(" -m mark{} --mark {value}/{mask}", mark(*not))
            }
            Self::Multiport(not, source, destination, ports) => {
                let option = match (source, destination) {
                    (true, true) => "--ports",
                    (true, false) => "--sports",
                    _ => "--dports",
                };
                let one = |(first, last): &(u16, u16)| match first == last {
                    true => first.to_string(),
                    false => format!("{first}:{last}"),
                };
                let ports: Vec<_> = ports.iter().map(one).collect();
                format!(" -m multiport{} {option} {}", mark(*not), ports.join(","))
            }
            Self::Pkttype(not, kind) => format!(" -m pkttype{} --pkt-type {kind}", mark(*not)),
            Self::TcpMss(not, first, last) => {
                format!(" -m tcpmss{} --mss {first}:{last}", mark(*not))
            }
            Self::Tos(not, value, mask) => format!(" -m tos{} --tos {value}/{mask}", mark(*not)),
            Self::Ttl(not, how, ttl) => format!(" -m ttl{} --ttl{how} {ttl}", mark(*not)),
        }
    }

    /// Of those that have several options.
    fn words_of_several(&self) -> String {
        let (name, options): (_, Vec<(bool, String)>) = match self {
            Self::Addrtype(source, destination, limit) => {
                let types = [("--src-type", source), ("--dst-type", destination)];
                let types = types.into_iter().filter_map(|(option, types)| {
                    types.map(|(not, types)| (not, format!("{option} {types}")))
                });
                let limit = limit.map(|limit| (false, format!("--limit-iface{limit}")));
                ("addrtype", types.chain(limit).collect())
            }
            Self::Ecn(ece, cwr, ect) => {
                let flags = [("--ecn-tcp-ece", ece), ("--ecn-tcp-cwr", cwr)];
                let flags = flags
                    .into_iter()
                    .filter_map(|(option, set)| set.map(|set| (!set, option.to_owned())));
                let ect = ect.map(|(not, ect)| (not, format!("--ecn-ip-ect {ect}")));
                ("ecn", flags.chain(ect).collect())
            }
            Self::Iprange(source, destination) => {
                let ranges = [("--src-range", source), ("--dst-range", destination)];
                let ranges = ranges.into_iter().filter_map(|(option, range)| {
                    range.map(|(not, first, last)| (not, format!("{option} {first}-{last}")))
                });
                ("iprange", ranges.collect())
            }
            _ => return String::new(),
        };
        options.into_iter().fold(format!(" -m {name}"), |words, (not, option)| {
            format!("{words}{} {option}", if not { " !" } else { "" })
        })
    }

    /// What it says about an IPv4 packet with this mark in a frame from `mac` that goes from one interface to another.
    pub(crate) fn evaluate(&self, ip: &[u8], mac: [u8; 6], ways: [&str; 2], mark: u32) -> Outcome {
        let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
        let header = ip.get(usize::from(ip[0] & 15) * 4..).unwrap_or_default();
        let later = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff != 0;
        let holds = match self {
            Self::Addrtype(source, destination, limit) => {
                let there = match limit {
                    None => None,
                    Some("-in") => Some(ways[0]),
                    Some(_) => Some(ways[1]),
                };
                [(source, 12), (destination, 16)].into_iter().all(|(types, at)| {
                    let kind = address_type(address(at), there);
                    types.is_none_or(|(not, types)| types.split(',').any(|one| one == kind) != not)
                })
            }
            Self::Comment => true,
            Self::Dscp(not, dscp) => (ip[1] / 4 == *dscp) != *not,
            Self::Ecn(ece, cwr, ect) => {
                let flag = |bit: u32, wanted: &Option<bool>| {
                    wanted.is_none_or(|wanted| (header[13] >> bit & 1 == 1) == wanted)
                };
                let of_ip = ect.is_none_or(|(not, ect)| (ip[1] % 4 == ect) != not);
                let of_tcp = (ece, cwr) == (&None, &None)
                    || header.len() >= 20 && flag(6, ece) && flag(7, cwr);
                of_ip && of_tcp
            }
            Self::Icmp(..) | Self::Multiport(..) | Self::TcpMss(..) => {
                return self.of_transport(header, later);
            }
            Self::Iprange(source, destination) => {
                [(source, 12), (destination, 16)].into_iter().all(|(range, at)| {
                    range.is_none_or(|(not, first, last)| {
                        (first..=last).contains(&address(at)) != not
                    })
                })
            }
            Self::Length(not, first, last) => {
                (usize::from(*first)..=usize::from(*last)).contains(&ip.len()) != *not
            }
            Self::Mac(not, wanted) => (mac == *wanted) != *not,
            Self::Mark(not, value, mask) => (mark & mask == *value) != *not,
            Self::Pkttype(not, kind) => (*kind == "unicast") != *not,
            Self::Tos(not, value, mask) => (ip[1] & mask == *value) != *not,
            Self::Ttl(not, how, ttl) => {
                let left = ip[8];
                let is = match *how {
                    "-eq" => left == *ttl,
                    "-lt" => left < *ttl,
                    _ => left > *ttl,
                };
                is != *not
            }
        };
        if holds { Outcome::Matches } else { Outcome::Differs }
    }
}

impl Asked {
    /// Of those that read a transport header and drop what they cannot read.
    fn of_transport(&self, header: &[u8], later: bool) -> Outcome {
        let holds = match self {
            Self::Icmp(..) | Self::Multiport(..) if later => return Outcome::Differs,
            Self::Icmp(..) if header.len() < 8 => return Outcome::Hotdrop,
            Self::Icmp(not, icmp_type, first, last) => {
                let meant = *icmp_type == 255
                    || *icmp_type == header[0] && *first <= header[1] && header[1] <= *last;
                meant != *not
            }
            Self::Multiport(..) if header.len() < 4 => return Outcome::Hotdrop,
            Self::Multiport(not, source, destination, ports) => {
                let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
                let meets = |(first, last): &(u16, u16)| {
                    let within = |port: u16| *first <= port && port <= *last;
                    *source && within(port(0)) || *destination && within(port(2))
                };
                ports.iter().any(meets) != *not
            }
            Self::TcpMss(not, first, last) => {
                let Some(options) = options(header) else { return Outcome::Hotdrop };
                let mss = find(options, |option| option.len() >= 4 && option[..2] == [2, 4]);
                let mss = mss.map(|option| u16::from_be_bytes([option[2], option[3]]));
                mss.is_some_and(|mss| *first <= mss && mss <= *last) != *not
            }
            _ => return Outcome::Differs,
        };
        if holds { Outcome::Matches } else { Outcome::Differs }
    }
}

/// The options of a TCP header, if they can be read.
pub(crate) fn options(header: &[u8]) -> Option<&[u8]> {
    let words = usize::from(header.get(..20)?[12] >> 4);
    header.get(20..words * 4)
}

/// The first option that is wanted, with all that follows.
pub(crate) fn find(options: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let mut at = 0;
    while at < options.len() {
        let option = &options[at..];
        if wanted(option) {
            return Some(option);
        }
        at += match option {
            [0 | 1, ..] | [_] | [_, 0, ..] => 1,
            [_, len, ..] => usize::from(*len),
            [] => 1,
        };
    }
    None
}
