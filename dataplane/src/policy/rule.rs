//! One compiled rule and its tests.
//!
//! The order of the tests is the kernel's (`ip_packet_match`, then the matches from left to right:
//! `net/ipv4/netfilter/ip_tables.c`, `net/netfilter/xt_tcpudp.c`). It shows where a test has an effect of
//! its own: a truncated transport header or a TCP fragment that would overlap the header is dropped on
//! the spot ("hotdrop") by a port test, but only if the tests before it held.

use std::sync::Arc;

use weir_control::rule::{Ipv4Net, Negatable, PortRange};

use super::Candidate;
use super::connection::ConnectionTest;
use super::counters::RuleCounters;
use crate::batch::{Headers, Piece};

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

    pub(super) fn new(net: Negatable<Ipv4Net>) -> Self {
        let (network, mask) = (net.value.address().into(), net.value.mask().into());
        Self { network, mask, negated: net.negated }
    }

    pub(super) fn holds(self, address: u32) -> bool {
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

/// A match of a rule.
#[derive(Debug)]
pub(super) enum MatchTest {
    /// `-m tcp`, `-m udp`.
    Transport(TransportTest),
    /// `-m state`, `-m conntrack`.
    Connection(Box<ConnectionTest>),
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
    /// `-m`, from left to right.
    pub(super) tests: Box<[MatchTest]>,
    /// `None`: the rule only counts.
    pub(super) action: Option<Action>,
    pub(super) counters: Arc<RuleCounters>,
}

impl CompiledRule {
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>) -> Evaluation {
        let Candidate { headers, ingress, egress, .. } = candidate;
        let holds = self.source.holds(headers.source.into())
            && self.destination.holds(headers.destination.into())
            && self.ingress_mask & ingress.bit() != 0
            && self.egress_mask & egress.bit() != 0
            && (self.protocol == 0 || (self.protocol == headers.protocol) != self.protocol_negated);
        if !holds {
            return Evaluation::Differs;
        }
        for test in &self.tests {
            let evaluation = match test {
                MatchTest::Transport(test) => test.evaluate(headers),
                MatchTest::Connection(test) if test.holds(&candidate.connection) => {
                    Evaluation::Matches
                }
                MatchTest::Connection(_) => Evaluation::Differs,
            };
            if evaluation != Evaluation::Matches {
                return evaluation;
            }
        }
        Evaluation::Matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortIndex;

    fn tcp() -> TransportTest {
        let flags = FlagsTest { mask: 0x17, set: 0x02, negated: false };
        TransportTest { source: Ports::ANY, destination: Ports::ANY, flags, tcp: true }
    }

    fn udp() -> TransportTest {
        TransportTest { flags: FlagsTest::ANY, tcp: false, ..tcp() }
    }

    fn rule(transports: &[TransportTest]) -> CompiledRule {
        CompiledRule {
            source: AddressTest::ANY,
            destination: AddressTest::ANY,
            ingress_mask: u32::MAX,
            egress_mask: u32::MAX,
            protocol: 0,
            protocol_negated: false,
            tests: transports.iter().copied().map(MatchTest::Transport).collect(),
            action: None,
            counters: RuleCounters::new(1),
        }
    }

    fn evaluate(rule: &CompiledRule, headers: &Headers) -> Evaluation {
        rule.evaluate(&Candidate {
            headers,
            ingress: PortIndex(0),
            egress: PortIndex(31),
            connection: crate::policy::Connection::UNTRACKED,
        })
    }

    #[test]
    fn a_rule_without_tests_matches_every_packet() {
        for piece in [Piece::Whole, Piece::First, Piece::Later(1)] {
            let headers = Headers { piece, ..Headers::default() };
            assert_eq!(evaluate(&rule(&[]), &headers), Evaluation::Matches);
        }
    }

    #[test]
    fn only_the_first_header_of_a_datagram_can_be_read() {
        let readable = Headers { transport: true, tcp_flags: 0x02, ..Headers::default() };
        for (piece, of_tcp, of_udp) in [
            (Piece::Whole, Evaluation::Matches, Evaluation::Matches),
            (Piece::First, Evaluation::Matches, Evaluation::Matches),
            (Piece::Later(1), Evaluation::Hotdrop, Evaluation::Differs),
            (Piece::Later(2), Evaluation::Differs, Evaluation::Differs),
        ] {
            let headers = Headers { piece, ..readable };
            assert_eq!(evaluate(&rule(&[tcp()]), &headers), of_tcp, "{piece:?}");
            assert_eq!(evaluate(&rule(&[udp()]), &headers), of_udp, "{piece:?}");
        }
        for test in [tcp(), udp()] {
            let cut = Headers { transport: false, ..readable };
            assert_eq!(evaluate(&rule(&[test]), &cut), Evaluation::Hotdrop);
        }
    }

    #[test]
    fn tests_go_from_left_to_right_and_stop_at_the_first_that_differs() {
        let cut = Headers { source: [10, 0, 0, 1].into(), ..Headers::default() };
        let other = AddressTest { network: 0, mask: u32::MAX, negated: false };
        let elsewhere = CompiledRule { source: other, ..rule(&[tcp()]) };
        assert_eq!(
            evaluate(&elsewhere, &cut),
            Evaluation::Differs,
            "the header is never asked for"
        );
        let no_port = CompiledRule { egress_mask: 0, ..rule(&[tcp()]) };
        assert_eq!(evaluate(&no_port, &cut), Evaluation::Differs);
        let headers = Headers { transport: true, tcp_flags: 0x10, ..cut };
        assert_eq!(evaluate(&rule(&[udp(), tcp()]), &headers), Evaluation::Differs);
        assert_eq!(evaluate(&rule(&[udp(), udp()]), &headers), Evaluation::Matches);
    }

    #[test]
    fn negation_turns_each_test_round() {
        let address = AddressTest { network: 0x0a00_0000, mask: 0xff00_0000, negated: true };
        assert!(!address.holds(0x0a01_0203) && address.holds(0x0b01_0203));
        assert!(!AddressTest { negated: true, ..AddressTest::ANY }.holds(0));
        let ports = Ports { first: 10, last: 20, negated: true };
        assert_eq!([9, 10, 20, 21].map(|port| ports.holds(port)), [true, false, false, true]);
        assert!(!FlagsTest { negated: true, ..FlagsTest::ANY }.holds(0x3f));
        assert!(FlagsTest { mask: 0x17, set: 0x02, negated: true }.holds(0x12));
    }
}
