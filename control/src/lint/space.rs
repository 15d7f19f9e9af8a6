//! The packets that a rule is about, as a set: so that sets can be taken from each other.
//!
//! A packet is a point: its addresses, ports, protocol, TCP flags, interfaces, state, and whether its
//! transport header can be read. A rule is a box in that space, cut by what cannot be expressed so
//! ([`Space::opaque`]), which only makes it smaller. So a rule without such parts hides what lies in its
//! box, and one with them hides only what is cut alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::intervals::Intervals;
use crate::rule::{
    CtStates, Family, InterfacePattern, IpNet, Match, Negatable, PortRange, Protocol, Rule,
};

/// How far an IPv4 address stands from the right among the bits of a number in a set.
const ADDRESS_SHIFT: u32 = u128::BITS - u32::BITS;

/// States that a packet can be in: Weir translates no addresses.
const STATES: u16 = CtStates::INVALID.bits()
    | CtStates::NEW.bits()
    | CtStates::RELATED.bits()
    | CtStates::ESTABLISHED.bits()
    | CtStates::UNTRACKED.bits();

/// Names that interfaces can have, as far as rules tell them apart: of each name that is mentioned
/// there is one, of each beginning that is mentioned one more, and one that is none of these.
#[derive(Debug, Clone)]
pub(super) struct Interfaces(Vec<String>);

/// More names than this are not told apart.
const NAMES_MAX: usize = 128;

impl Interfaces {
    /// Those of a daemon whose ports are known.
    pub(super) fn known(ports: &[String]) -> Self {
        Self(ports.iter().take(NAMES_MAX).cloned().collect())
    }

    /// Those that rules can tell apart.
    pub(super) fn mentioned<'a>(rules: impl Iterator<Item = &'a Rule>) -> Self {
        // No interface is called so: names have no blanks.
        let mut names = vec![" other".to_owned()];
        for pattern in rules.flat_map(|rule| [&rule.in_interface, &rule.out_interface]).flatten() {
            let name = match pattern.value.prefix() {
                Some(prefix) => format!("{prefix} other"),
                None => pattern.value.as_str().to_owned(),
            };
            if !names.contains(&name) && names.len() < NAMES_MAX {
                names.push(name);
            }
        }
        Self(names)
    }

    fn all(&self) -> u128 {
        u128::MAX >> (NAMES_MAX - self.0.len().clamp(1, NAMES_MAX))
    }

    fn set(&self, pattern: Option<&Negatable<InterfacePattern>>) -> u128 {
        let Some(Negatable { value, negated }) = pattern else { return self.all() };
        let names = self.0.iter().enumerate();
        names.fold(0, |set, (bit, name)| set | u128::from(value.matches(name) != *negated) << bit)
    }

    fn example(&self, set: u128) -> Option<&str> {
        let name = self.0.get(usize::try_from(set.trailing_zeros()).ok()?)?;
        Some(if name == " other" { "any other" } else { name })
    }
}

/// A set of protocol numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Protocols([u64; 4]);

impl Protocols {
    const ALL: Self = Self([u64::MAX; 4]);

    fn of(condition: Option<Negatable<Protocol>>) -> Self {
        let Some(Negatable { value: Protocol(number), negated }) = condition else {
            return Self::ALL;
        };
        let mut one = [0; 4];
        one[usize::from(number >> 6)] = 1 << (number & 63);
        Self(if negated { one.map(|word| !word) } else { one })
    }

    fn first(self) -> Option<u8> {
        (0..=u8::MAX).find(|number| self.0[usize::from(number >> 6)] >> (number & 63) & 1 == 1)
    }
}

/// What sets can do.
trait Set: Clone {
    /// Whether something is in both. Asked far more often than what.
    fn meets(&self, other: &Self) -> bool;
    fn and(&self, other: &Self) -> Self;
    fn without(&self, other: &Self) -> Self;
    fn is_empty(&self) -> bool;
}

impl Set for Intervals {
    fn meets(&self, other: &Self) -> bool {
        self.meets(other)
    }
    fn and(&self, other: &Self) -> Self {
        self.and(other)
    }
    fn without(&self, other: &Self) -> Self {
        self.without(other)
    }
    fn is_empty(&self) -> bool {
        self.is_empty()
    }
}

impl Set for Protocols {
    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(ours, theirs)| ours & theirs != 0)
    }
    fn and(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }
    fn without(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }
    fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }
}

macro_rules! bit_sets {
    ($($type:ty),*) => { $(
        impl Set for $type {
            fn meets(&self, other: &Self) -> bool {
                self & other != 0
            }
            fn and(&self, other: &Self) -> Self {
                self & other
            }
            fn without(&self, other: &Self) -> Self {
                self & !other
            }
            fn is_empty(&self) -> bool {
                *self == 0
            }
        }
    )* };
}

bit_sets!(u8, u16, u64, u128);

/// A box: packets that are in every one of these sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    source: Intervals,
    destination: Intervals,
    source_ports: Intervals,
    destination_ports: Intervals,
    protocols: Protocols,
    ingress: u128,
    egress: u128,
    /// Combinations of the six TCP flags, a bit each.
    flags: u64,
    states: u16,
    /// Bit 0: packets whose transport header can be read. Bit 1: others.
    headers: u8,
}

/// Does the same for every dimension.
macro_rules! each_dimension {
    ($do:ident) => {
        $do!(source);
        $do!(destination);
        $do!(source_ports);
        $do!(destination_ports);
        $do!(protocols);
        $do!(ingress);
        $do!(egress);
        $do!(flags);
        $do!(states);
        $do!(headers);
    };
}

impl Region {
    /// All packets.
    pub(super) fn all(interfaces: &Interfaces) -> Self {
        Self {
            source: Intervals::range(0, u128::MAX),
            destination: Intervals::range(0, u128::MAX),
            source_ports: Intervals::range(0, u16::MAX.into()),
            destination_ports: Intervals::range(0, u16::MAX.into()),
            protocols: Protocols::ALL,
            ingress: interfaces.all(),
            egress: interfaces.all(),
            flags: u64::MAX,
            states: STATES,
            headers: 0b11,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.empty_dimension().is_some()
    }

    /// What no packet can have, if there is such a thing.
    pub(super) fn empty_dimension(&self) -> Option<&'static str> {
        macro_rules! look {
            ($field:ident) => {
                if self.$field.is_empty() {
                    return Some(stringify!($field));
                }
            };
        }
        each_dimension!(look);
        None
    }

    /// Between which addresses and ports it lies; of IPv6 addresses, the first two groups.
    pub(super) fn bounds(&self) -> [(u32, u32); 4] {
        let high = |bits: u128| u32::try_from(bits >> ADDRESS_SHIFT).unwrap_or(u32::MAX);
        let low = |bits: u128| u32::try_from(bits).unwrap_or(u32::MAX);
        let addresses = |set: &Intervals| {
            let (first, last) = set.bounds();
            (high(first), high(last))
        };
        let ports = |set: &Intervals| {
            let (first, last) = set.bounds();
            (low(first), low(last))
        };
        [
            addresses(&self.source),
            addresses(&self.destination),
            ports(&self.source_ports),
            ports(&self.destination_ports),
        ]
    }

    /// Whether a packet is in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        macro_rules! look {
            ($field:ident) => {
                if !Set::meets(&self.$field, &other.$field) {
                    return false;
                }
            };
        }
        each_dimension!(look);
        true
    }

    /// What is in this and not in the other, in pieces that do not overlap.
    pub(super) fn without(&self, other: &Self) -> Vec<Self> {
        if !self.meets(other) {
            return vec![self.clone()];
        }
        let (mut pieces, mut rest) = (Vec::new(), self.clone());
        macro_rules! cut {
            ($field:ident) => {
                let outside = Set::without(&rest.$field, &other.$field);
                if !Set::is_empty(&outside) {
                    pieces.push(Self { $field: outside, ..rest.clone() });
                }
                rest.$field = Set::and(&rest.$field, &other.$field);
            };
        }
        each_dimension!(cut);
        pieces
    }

    /// A packet of it, in words.
    pub(super) fn example(&self, interfaces: &Interfaces, family: Family) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let address = |set: &Intervals| {
            let bits = set.first()?;
            Some(match family {
                Family::V4 => {
                    IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits >> ADDRESS_SHIFT).ok()?))
                }
                Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
            })
        };
        let at = |address: IpAddr, port: u128| match address {
            IpAddr::V4(address) => format!("{address}:{port}"),
            IpAddr::V6(address) => format!("[{address}]:{port}"),
        };
        let (source, destination) = (address(&self.source)?, address(&self.destination)?);
        let protocol = self.protocols.first()?;
        let mut text = match protocol {
            6 | 17 => {
                let name = if protocol == 6 { "tcp" } else { "udp" };
                let ports = (self.source_ports.first()?, self.destination_ports.first()?);
                format!("{name} {} -> {}", at(source, ports.0), at(destination, ports.1))
            }
            other => format!("protocol {other} {source} -> {destination}"),
        };
        let (all, some) = (interfaces.all(), |set| interfaces.example(set));
        if self.ingress != all {
            text.push_str(&format!(", in by {}", some(self.ingress)?));
        }
        if self.egress != all {
            text.push_str(&format!(", out by {}", some(self.egress)?));
        }
        if self.states != STATES {
            let state = CtStates::from_bits(1 << self.states.trailing_zeros()).ok()?;
            text.push_str(&format!(", state {state}"));
        }
        Some(text)
    }
}

/// The packets of a rule: those of a box for which also the opaque parts hold.
#[derive(Debug, Clone)]
pub(super) struct Space<'a> {
    pub(super) region: Region,
    pub(super) opaque: Vec<Opaque<'a>>,
}

/// A condition that is no box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opaque<'a> {
    Match(&'a Match),
    /// Addresses under a mask with gaps.
    Source(Negatable<IpNet>),
    Destination(Negatable<IpNet>),
    /// `-f`
    Fragment(bool),
}

impl<'a> Space<'a> {
    pub(super) fn of(rule: &'a Rule, interfaces: &Interfaces) -> Self {
        let mut region = Region::all(interfaces);
        let mut opaque = Vec::new();
        if let Some(net) = rule.source {
            match addresses(net) {
                Some(set) => region.source = set,
                None => opaque.push(Opaque::Source(net)),
            }
        }
        if let Some(net) = rule.destination {
            match addresses(net) {
                Some(set) => region.destination = set,
                None => opaque.push(Opaque::Destination(net)),
            }
        }
        opaque.extend(rule.fragment.map(Opaque::Fragment));
        region.protocols = Protocols::of(rule.protocol);
        region.ingress = interfaces.set(rule.in_interface.as_ref());
        region.egress = interfaces.set(rule.out_interface.as_ref());
        for extension in &rule.matches {
            narrow(&mut region, extension);
            if !is_box(extension) {
                opaque.push(Opaque::Match(extension));
            }
        }
        Self { region, opaque }
    }

    /// Whether this rule's opaque parts hold whenever the other's do, for the same packet.
    pub(super) fn is_cut_no_more_than(&self, other: &Self) -> bool {
        self.opaque.iter().all(|part| part.is_steady() && other.opaque.contains(part))
    }
}

impl Opaque<'_> {
    /// Whether it says the same of a packet wherever it stands. (What draws lots, counts or
    /// looks at a mark does not.)
    fn is_steady(&self) -> bool {
        !matches!(self, Self::Match(extension) if UNSTEADY.contains(&extension.name()))
    }
}

/// Matches that remember, draw lots, or ask for what a rule between may have changed.
const UNSTEADY: [&str; 9] = [
    "statistic",
    "mark",
    "connmark",
    "limit",
    "hashlimit",
    "recent",
    "connlimit",
    "fuzzy",
    "connbytes",
];

/// The set of a net. A number of 128 bits stands for an IPv6 address, and for all that begin with an IPv4 address.
fn addresses(net: Negatable<IpNet>) -> Option<Intervals> {
    let length = net.value.prefix_len()?;
    let first = match net.value {
        IpNet::V4(net) => u128::from(net.address().to_bits()) << ADDRESS_SHIFT,
        IpNet::V6(net) => net.address().to_bits(),
    };
    let set = Intervals::range(first, first | u128::MAX.checked_shr(length).unwrap_or(0));
    Some(if net.negated { Intervals::range(0, u128::MAX).without(&set) } else { set })
}

fn ports(range: Negatable<PortRange>) -> Intervals {
    let set = Intervals::range(range.value.first().into(), range.value.last().into());
    if range.negated { Intervals::range(0, u16::MAX.into()).without(&set) } else { set }
}

/// Whether [`narrow`] says all that the match says.
fn is_box(extension: &Match) -> bool {
    match extension {
        Match::Tcp(tcp) => tcp.option.is_none(),
        Match::Udp(_) | Match::State(_) | Match::Comment(_) => true,
        Match::Conntrack(asked) => {
            let states = asked.states;
            **asked == crate::rule::ConntrackMatch { states, ..Default::default() }
        }
        _ => false,
    }
}

/// Takes from a box what a match does not let through.
fn narrow(region: &mut Region, extension: &Match) {
    let transport = |region: &mut Region, source, destination| {
        region.headers &= 0b01;
        region.source_ports = region.source_ports.and(&ports(source));
        region.destination_ports = region.destination_ports.and(&ports(destination));
    };
    match extension {
        Match::Tcp(tcp) => {
            transport(region, tcp.source_ports, tcp.destination_ports);
            let wanted = |flags: &u8| tcp.flags.value.matches(*flags) != tcp.flags.negated;
            region.flags &= (0..64).filter(wanted).fold(0, |set, flags| set | 1 << flags);
        }
        Match::Udp(udp) => transport(region, udp.source_ports, udp.destination_ports),
        Match::State(asked) => region.states &= states(asked.states),
        Match::Conntrack(asked) => {
            region.states &= asked.states.map_or(STATES, states);
        }
        _ => {}
    }
}

fn states(asked: Negatable<CtStates>) -> u16 {
    let set = asked.value.bits();
    STATES & if asked.negated { !set } else { set }
}
