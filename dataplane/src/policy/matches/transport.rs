//! `-m tcp` and `-m udp` (`net/netfilter/xt_tcpudp.c`).

use weir_control::rule::{Negatable, PortRange, TcpMatch, UdpMatch};

use crate::batch::{Headers, Piece};
use crate::policy::rule::Evaluation;

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

    pub(super) fn new(range: Negatable<PortRange>) -> Self {
        Self { first: range.value.first(), last: range.value.last(), negated: range.negated }
    }

    pub(super) fn holds(self, port: u16) -> bool {
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
    pub(super) fn evaluate(self, headers: &Headers) -> Evaluation {
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

impl From<TcpMatch> for TransportTest {
    fn from(asked: TcpMatch) -> Self {
        Self {
            source: Ports::new(asked.source_ports),
            destination: Ports::new(asked.destination_ports),
            flags: FlagsTest {
                mask: asked.flags.value.mask(),
                set: asked.flags.value.set(),
                negated: asked.flags.negated,
            },
            tcp: true,
        }
    }
}

impl From<UdpMatch> for TransportTest {
    fn from(asked: UdpMatch) -> Self {
        Self {
            source: Ports::new(asked.source_ports),
            destination: Ports::new(asked.destination_ports),
            flags: FlagsTest::ANY,
            tcp: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negation_turns_each_test_round() {
        let ports = Ports { first: 10, last: 20, negated: true };
        assert_eq!([9, 10, 20, 21].map(|port| ports.holds(port)), [true, false, false, true]);
        assert!(!FlagsTest { negated: true, ..FlagsTest::ANY }.holds(0x3f));
        assert!(FlagsTest { mask: 0x17, set: 0x02, negated: true }.holds(0x12));
    }
}
