//! One compiled rule and its tests.
//!
//! The order of the tests is the kernel's (`ip_packet_match`, then the matches from left to right:
//! `net/ipv4/netfilter/ip_tables.c`, `net/netfilter/xt_tcpudp.c`). It shows where a test has an effect of
//! its own: a truncated transport header or a TCP fragment that would overlap the header is dropped on
//! the spot ("hotdrop") by a port test, but only if the tests before it held.

use std::sync::Arc;

use super::counters::RuleCounters;
use crate::batch::{Headers, Piece};
use crate::port::PortIndex;

/// What a rule or a policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The packet may go on.
    Accept,
    /// The packet ends here.
    Drop,
}

/// The outcome of a rule's tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evaluation {
    /// All tests hold.
    Matches,
    /// Some test does not.
    Differs,
    /// The packet cannot be tested and must not pass.
    Hotdrop,
}

/// An address test: `(address & mask == network) != negated`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressTest {
    pub(super) network: u32,
    pub(super) mask: u32,
    pub(super) negated: bool,
}

impl AddressTest {
    /// Holds for every address.
    pub(super) const ANY: Self = Self { network: 0, mask: 0, negated: false };

    fn holds(self, address: u32) -> bool {
        (address & self.mask == self.network) != self.negated
    }
}

/// A range of ports, inclusive, perhaps negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
    /// Whether the range is the one that must not match.
    pub negated: bool,
}

impl Ports {
    /// Holds for every port.
    pub const ANY: Self = Self { first: 0, last: u16::MAX, negated: false };

    fn holds(self, port: u16) -> bool {
        (self.first <= port && port <= self.last) != self.negated
    }
}

/// `-m tcp` or `-m udp`, with what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportTest {
    /// `--sport`.
    pub source: Ports,
    /// `--dport`.
    pub destination: Ports,
    /// `--tcp-flags MASK SET`, negated or not. Mask 0 holds for every packet.
    pub flags: FlagsTest,
    /// Whether it is `-m tcp`: overlapping fragments are dropped.
    pub tcp: bool,
}

/// `(flags & mask == set) != negated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagsTest {
    /// Flags that are looked at.
    pub mask: u8,
    /// Flags among them that must be set, the others clear.
    pub set: u8,
    /// Whether the outcome is inverted.
    pub negated: bool,
}

impl FlagsTest {
    /// Holds for every packet.
    pub const ANY: Self = Self { mask: 0, set: 0, negated: false };

    fn holds(self, flags: u8) -> bool {
        (flags & self.mask == self.set) != self.negated
    }
}

impl TransportTest {
    fn evaluate(self, headers: &Headers) -> Evaluation {
        // xt_tcpudp.c tcp_mt/udp_mt: later fragments have no ports; offset 1 of TCP would overwrite the flags.
        if let Piece::Later(offset) = headers.piece {
            return if self.tcp && offset == 1 { Evaluation::Hotdrop } else { Evaluation::Differs };
        }
        if !headers.transport {
            return Evaluation::Hotdrop;
        }
        let holds = self.source.holds(headers.source_port)
            && self.destination.holds(headers.destination_port)
            && self.flags.holds(headers.tcp_flags);
        if holds { Evaluation::Matches } else { Evaluation::Differs }
    }
}

/// A rule as workers evaluate it.
#[derive(Debug)]
pub(super) struct CompiledRule {
    pub(super) source: AddressTest,
    pub(super) destination: AddressTest,
    /// Ports (bits) by which the packet may come in; negation is compiled in.
    pub(super) ingress_mask: u32,
    /// Ports (bits) by which it may leave.
    pub(super) egress_mask: u32,
    /// Protocol number; 0 holds for every protocol.
    pub(super) protocol: u8,
    pub(super) protocol_negated: bool,
    pub(super) transports: Box<[TransportTest]>,
    /// `None`: the rule only counts.
    pub(super) action: Option<Action>,
    pub(super) counters: Arc<RuleCounters>,
}

impl CompiledRule {
    pub(super) fn evaluate(
        &self,
        headers: &Headers,
        ingress: PortIndex,
        egress: PortIndex,
    ) -> Evaluation {
        let holds = self.source.holds(headers.source.into())
            && self.destination.holds(headers.destination.into())
            && self.ingress_mask & ingress.bit() != 0
            && self.egress_mask & egress.bit() != 0
            && (self.protocol == 0 || (self.protocol == headers.protocol) != self.protocol_negated);
        if !holds {
            return Evaluation::Differs;
        }
        for transport in &self.transports {
            match transport.evaluate(headers) {
                Evaluation::Matches => {}
                other => return other,
            }
        }
        Evaluation::Matches
    }
}
