//! `-m tcp` and `-m udp` (`net/netfilter/xt_tcpudp.c`).

use std::num::NonZeroU8;

use weir_control::rule::{Negatable, PortRange, TcpMatch, UdpMatch};

use super::tcp_options::{Broken, TcpOptions};
use crate::batch::Piece;
use crate::policy::Candidate;
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
    /// `--tcp-option`.
    pub option: Option<Negatable<NonZeroU8>>,
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
    pub(super) fn evaluate(self, candidate: &Candidate<'_>) -> Evaluation {
        let headers = candidate.headers;
        // xt_tcpudp.c tcp_mt/udp_mt: later fragments have no ports; offset 1 of TCP would overwrite the flags. (Of IPv6
        // the kernel counts offsets in bytes here, and 1 never is one.)
        if let Piece::Later(offset) = headers.piece {
            let overwrites = self.tcp && offset == 1 && headers.v4().is_some();
            return if overwrites { Evaluation::Hotdrop } else { Evaluation::Differs };
        }
        if !headers.transport {
            return Evaluation::Hotdrop;
        }
        let holds = self.source.holds(headers.source_port)
            && self.destination.holds(headers.destination_port)
            && self.flags.holds(headers.tcp_flags);
        match self.option {
            Some(option) if holds => has_option(option, candidate),
            _ => holds.into(),
        }
    }
}

impl TransportTest {
    /// See [`super::MatchTest::settled`].
    pub(super) fn settled(self, candidate: &Candidate<'_>) -> Option<bool> {
        let headers = candidate.headers;
        let ports = self.source.holds(headers.source_port)
            && self.destination.holds(headers.destination_port);
        let rest = self.flags == FlagsTest::ANY && self.option.is_none();
        if ports && !rest { None } else { Some(ports) }
    }
}

/// Only when all else holds the options are looked at, so only then their absence is felt.
fn has_option(option: Negatable<NonZeroU8>, candidate: &Candidate<'_>) -> Evaluation {
    match TcpOptions::new(candidate.transport_header()) {
        Ok(mut options) => {
            (options.any(|(kind, _)| kind == option.value.get()) != option.negated).into()
        }
        Err(Broken) => Evaluation::Hotdrop,
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
            option: asked.option,
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
            option: None,
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
