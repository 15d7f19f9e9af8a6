//! The packets that a rule is about, as a set: so that sets can be taken from each other.
//!
//! A packet is a point: its addresses, ports, protocol, TCP flags, interfaces, state, and whether its
//! transport header can be read. A rule is a box in that space, cut by what cannot be expressed so
//! ([`Space::opaque`]), which only makes it smaller. So a rule without such parts hides what lies in its
//! box, and one with them hides only what is cut alike.

use super::intervals::Intervals;
use super::manner::Manner;
use super::region::{ADDRESS_SHIFT, Packets, Region, STATES};
use super::sets::{Headers, Protocols, Set as _};
use crate::rule::{
    ConntrackMatch, CtStates, Family, InterfacePattern, IpNet, Match, Negatable, PortRange, Rule,
    Table,
};

/// The packets of a rule: those of a box for which also the opaque parts hold.
#[derive(Debug, Clone)]
pub(super) struct Space<'a> {
    pub(super) region: Region,
    pub(super) opaque: Vec<Opaque<'a>>,
    /// What asking the rule does besides.
    pub(super) manner: Manner,
}

/// A condition that is no box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opaque<'a> {
    Match(&'a Match),
    /// The state, where rules may change it.
    State(&'a Match),
    /// Addresses under a mask with gaps.
    Source(Negatable<IpNet>),
    Destination(Negatable<IpNet>),
    /// Interfaces, where there are too many names to tell them apart.
    Ingress(&'a Negatable<InterfacePattern>),
    Egress(&'a Negatable<InterfacePattern>),
    /// `-f`
    Fragment(bool),
}

impl<'a> Space<'a> {
    pub(super) fn of(rule: &'a Rule, packets: &Packets) -> Self {
        let interfaces = &packets.interfaces;
        let mut region = Region::all(packets);
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
        region.ingress = interfaces.set(rule.in_interface.as_ref());
        region.egress = interfaces.set(rule.out_interface.as_ref());
        if !interfaces.told_apart() {
            opaque.extend(rule.in_interface.as_ref().map(Opaque::Ingress));
            opaque.extend(rule.out_interface.as_ref().map(Opaque::Egress));
        }
        opaque.extend(rule.fragment.map(Opaque::Fragment));
        let mut manner = Manner::QUIET;
        region.protocols = Protocols::of(rule.protocol);
        if rule.protocol.is_some() && packets.family == Family::V6 {
            region.headers = region.headers.without(&Headers::LOST);
            manner.drops = Headers::LOST;
        }
        for extension in &rule.matches {
            if packets.table == Table::Raw && asks_for_state(extension) {
                opaque.push(Opaque::State(extension));
                continue;
            }
            narrow(&mut region, extension);
            manner = manner.and(Manner::of(extension));
            if !is_box(extension) {
                opaque.push(Opaque::Match(extension));
            }
        }
        Self { region, opaque, manner }
    }

    /// Whether this rule's opaque parts hold whenever the other's do, for the same packet.
    pub(super) fn is_cut_no_more_than(&self, other: &Self) -> bool {
        self.opaque.iter().all(|part| part.is_steady() && other.opaque.contains(part))
    }

    /// Whether it makes a difference to some packet of a box, or to those after it, that the rule is asked
    /// about it, whatever the answer: the rule may drop it on the spot, or remember it.
    ///
    /// Matches are asked from left to right, so that one may be asked although a later one would not hold: only what
    /// is looked at before all matches keeps a packet from them.
    pub(super) fn disturbs(&self, region: &Region, dropping_does: bool) -> bool {
        let drops = dropping_does && self.manner.drops.meets(&region.headers);
        (drops || self.manner.remembers) && self.region.meets_at_first(region)
    }

    /// Between which addresses and ports the packets lie that it is about or that it may disturb; of IPv6 addresses,
    /// the first two groups.
    ///
    /// That a rule which wants to read a header drops what has none whole needs no wider bounds: rules with
    /// such packets ask for no port.
    pub(super) fn bounds(&self) -> [(u32, u32); 4] {
        let [source, destination, from, to] = self.region.bounds();
        let wide = self.manner.remembers || self.manner.drops.meets(&Headers::WHOLE);
        let none = [&self.region.source_ports, &self.region.destination_ports];
        if wide || none.into_iter().any(Intervals::is_empty) {
            return [source, destination, (0, u16::MAX.into()), (0, u16::MAX.into())];
        }
        [source, destination, from, to]
    }
}

impl Opaque<'_> {
    /// Whether it says the same of a packet wherever it stands.
    fn is_steady(&self) -> bool {
        match self {
            Self::Match(extension) => Manner::of(extension).steady,
            Self::State(_) => false,
            _ => true,
        }
    }
}

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

fn asks_for_state(extension: &Match) -> bool {
    matches!(extension, Match::State(_) | Match::Conntrack(_))
}

/// Whether [`narrow`] says all that the match says.
fn is_box(extension: &Match) -> bool {
    match extension {
        Match::Tcp(tcp) => tcp.option.is_none(),
        Match::Udp(_) | Match::State(_) | Match::Comment(_) => true,
        Match::Conntrack(asked) => {
            let states = asked.states;
            **asked == ConntrackMatch { states, ..Default::default() }
        }
        _ => false,
    }
}

/// Takes from a box what a match does not let through.
fn narrow(region: &mut Region, extension: &Match) {
    let transport = |region: &mut Region, source, destination| {
        region.headers = region.headers.and(&Headers::WHOLE);
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
        Match::Icmp(_) | Match::Icmp6(_) => region.headers = region.headers.and(&Headers::WHOLE),
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
