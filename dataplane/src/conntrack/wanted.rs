//! `Wanted`: what a packet says of the flow it is about, ready to be compared with flows.

use std::net::IpAddr;

use super::flow::Flow;
use super::packet::{Packet, Subject, Untrackable};
use super::tuple::{Key, Tuple, bits6};
use super::wheel::NIL;
use super::{Direction, Kind};
use crate::handover::FlowHash;

/// The flow that a packet is about. It is worked out once; the stages pass it on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub(super) hash: u64,
    pub(super) there: Key,
    back: Key,
    pub(super) kind: Kind,
    protocol: u8,
    pub(super) ipv6: bool,
    /// Whether the packet only quotes one of the flow.
    pub(super) quoted: bool,
    /// Where it most likely is; [`NIL`] if nobody has looked. Only a hint.
    pub(super) hint: u32,
}

impl Wanted {
    /// Names the flow of a packet.
    ///
    /// # Errors
    /// [`Untrackable`]: it can be part of none.
    #[inline]
    pub fn new(packet: &Packet<'_>, hash: &FlowHash) -> Result<Self, Untrackable> {
        if let Some(wanted) = Self::of_ports(packet, hash) {
            return Ok(wanted);
        }
        match packet.subject()? {
            Subject::Own(tuple) => Self::of(&tuple, false, hash).ok_or(Untrackable::Malformed),
            Subject::Quoted(tuple) => Self::of(&tuple, true, hash).ok_or(Untrackable::Icmp),
        }
    }

    /// The short way for nearly all packets: TCP and UDP over IPv4.
    #[inline]
    fn of_ports(packet: &Packet<'_>, hash: &FlowHash) -> Option<Self> {
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (packet.source, packet.destination)
        else {
            return None;
        };
        if !matches!(packet.kind, Kind::Tcp | Kind::Udp) {
            return None;
        }
        let ports = u32::from_be_bytes(*packet.l4.first_chunk()?);
        let addresses = u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits());
        let there = Key { addresses, ports };
        Some(Self {
            hash: hash.ports4(addresses, ports, packet.protocol),
            there,
            back: Key { addresses: addresses.rotate_left(32), ports: ports.rotate_left(16) },
            kind: packet.kind,
            protocol: packet.protocol,
            ipv6: false,
            quoted: false,
            hint: NIL,
        })
    }

    /// Names the flow of a tuple; `None` if that cannot be one's.
    #[inline]
    pub(super) fn of(tuple: &Tuple, quoted: bool, hash: &FlowHash) -> Option<Self> {
        let back = tuple.inverted()?;
        let ipv6 = tuple.source.is_ipv6();
        Some(Self {
            hash: hash.flow(tuple),
            there: Key::new(tuple),
            back: Key::new(&back),
            kind: Kind::of(tuple.protocol, !ipv6),
            protocol: tuple.protocol,
            ipv6,
            quoted,
            hint: NIL,
        })
    }

    /// The hash of the flow, the same for both directions.
    #[must_use]
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    pub(super) fn family(&self) -> usize {
        usize::from(self.ipv6)
    }

    /// A flow of which this is the original tuple.
    pub(super) fn begin(&self) -> Flow {
        Flow::new(self.there, self.kind, self.protocol)
    }

    /// The direction that this has in a flow, if it is part of it. Where both would do (who speaks to itself), the
    /// kernel finds the reply. Of IPv6 the addresses are compared, too; `tuple` tells them.
    #[inline]
    pub(super) fn direction(
        &self,
        flow: &Flow,
        addresses6: Option<&[u128; 2]>,
        tuple: impl Fn() -> Option<Tuple>,
    ) -> Option<Direction> {
        let key = flow.key();
        let direction = if key == self.back {
            Direction::Reply
        } else if key == self.there {
            Direction::Original
        } else {
            return None;
        };
        if !flow.is_of(self.kind, self.protocol) {
            return None;
        }
        let Some(addresses6) = addresses6 else { return Some(direction) };
        let tuple = tuple()?;
        let mut own = [bits6(tuple.source), bits6(tuple.destination)];
        if direction == Direction::Reply {
            own.reverse();
        }
        (own == *addresses6).then_some(direction)
    }
}
