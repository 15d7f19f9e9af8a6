//! Boxes of packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::interfaces::Interfaces;
use super::intervals::Intervals;
use super::sets::{Headers, Protocols, Set};
use crate::rule::{CtStates, Family, Table, TcpFlags};

/// How far an IPv4 address stands from the right among the bits of a number in a set.
pub(super) const ADDRESS_SHIFT: u32 = u128::BITS - u32::BITS;

/// States that a packet can be in: Weir translates no addresses.
pub(super) const STATES: u16 = CtStates::INVALID.bits()
    | CtStates::NEW.bits()
    | CtStates::RELATED.bits()
    | CtStates::ESTABLISHED.bits()
    | CtStates::UNTRACKED.bits();

/// Packets that there can be.
#[derive(Debug)]
pub(super) struct Packets {
    /// The table whose rules they meet.
    pub(super) table: Table,
    pub(super) family: Family,
    pub(super) interfaces: Interfaces,
}

/// A box: packets that are in every one of these sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) source: Intervals,
    pub(super) destination: Intervals,
    pub(super) source_ports: Intervals,
    pub(super) destination_ports: Intervals,
    pub(super) protocols: Protocols,
    pub(super) ingress: u128,
    pub(super) egress: u128,
    /// Combinations of the six TCP flags, a bit each.
    pub(super) flags: u64,
    pub(super) states: u16,
    pub(super) headers: Headers,
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
    pub(super) fn all(packets: &Packets) -> Self {
        Self {
            source: Intervals::range(0, u128::MAX),
            destination: Intervals::range(0, u128::MAX),
            source_ports: Intervals::range(0, u16::MAX.into()),
            destination_ports: Intervals::range(0, u16::MAX.into()),
            protocols: Protocols::ALL,
            ingress: packets.interfaces.all(),
            egress: packets.interfaces.all(),
            flags: u64::MAX,
            states: STATES,
            headers: match packets.family {
                Family::V4 => Headers::WHOLE.or(Headers::BROKEN),
                Family::V6 => Headers::ALL,
            },
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

    /// Its packets that come in by one of these interfaces and leave by one of those.
    pub(super) fn by(&self, (ingress, egress): (u128, u128)) -> Self {
        Self { ingress: self.ingress & ingress, egress: self.egress & egress, ..self.clone() }
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

    /// Whether a packet is in both as far as every rule looks first, before its matches: addresses, interfaces
    /// and protocol.
    pub(super) fn meets_at_first(&self, other: &Self) -> bool {
        self.source.meets(&other.source)
            && self.destination.meets(&other.destination)
            && self.ingress.meets(&other.ingress)
            && self.egress.meets(&other.egress)
            && self.protocols.meets(&other.protocols)
    }

    /// Whether all of it is in the other.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.without(other).is_empty()
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

    /// A packet of it, in words: what is not told may be anything.
    pub(super) fn example(&self, Packets { family, interfaces, .. }: &Packets) -> Option<String> {
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
        if self.flags != u64::MAX {
            let flags = u8::try_from(self.flags.trailing_zeros()).ok()?;
            text.push_str(&format!(", flags {}", TcpFlags::names(flags)));
        }
        for (way, set) in [("in", self.ingress), ("out", self.egress)] {
            let name = interfaces.example(set).filter(|_| set != interfaces.ports());
            text.extend(name.map(|name| format!(", {way} by {name}")));
        }
        if self.states != STATES {
            let state = CtStates::from_bits(1 << self.states.trailing_zeros()).ok()?;
            text.push_str(&format!(", state {state}"));
        }
        Some(text)
    }
}
