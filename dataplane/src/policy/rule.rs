//! One compiled rule and its tests.
//!
//! The order of the tests is the kernel's (`ip_packet_match`, then the matches from left to right:
//! `net/ipv4/netfilter/ip_tables.c`, `net/netfilter/xt_tcpudp.c`). It shows where a test has an effect of
//! its own: a truncated transport header or a TCP fragment that would overlap the header is dropped on
//! the spot ("hotdrop") by a port test, but only if the tests before it held.

use std::ops::{BitOr, RangeInclusive};
use std::sync::Arc;

use weir_control::rule::SynproxyTarget;

use super::address::{AddressTests, Ends, Windows};
use super::classify::RuleKey;
use super::counters::RuleCounters;
use super::matches::{MatchTest, Ports};
use super::{Candidate, Decision};
use crate::batch::Piece;
use crate::respond::Reject;
use crate::set::Sets;

/// What a rule does with a packet for which its tests hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// On with the next rule.
    Continue,
    /// It decides.
    End(Decision),
    /// A line is written about the packet, as this entry of the policy's list says; on with the next rule.
    Log(u32),
    /// The packet's mark becomes `mark & and ^ xor`; on with the next rule.
    Mark {
        /// Bits that stay.
        and: u32,
        /// Bits that are flipped then.
        xor: u32,
    },
    /// The mark of the packet's flow changes, or the packet's by that, as this entry of the policy's list says; on with
    /// the next rule.
    Connmark(u32),
    /// The packet is not tracked; on with the next rule.
    Notrack,
    /// A client's SYN or acknowledgment is taken over; on with the next rule for other segments.
    Synproxy(SynproxyTarget),
    /// On with that chain, and back to the next rule.
    Jump(u32),
    /// On with that chain, and back to where this rule's own chain would lead back to.
    Goto(u32),
    /// Back to where this chain was led to from.
    Return,
}

impl Action {
    /// Whether it may close a connection.
    pub(super) fn closes(self) -> bool {
        self == Self::End(Decision::Reject(Reject::Reset))
    }

    /// Whether it says all by itself, and means the same in whatever policy it stands.
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Continue
            | Self::End(_)
            | Self::Mark { .. }
            | Self::Notrack
            | Self::Synproxy(_)
            | Self::Return => true,
            Self::Log(_) | Self::Connmark(_) | Self::Jump(_) | Self::Goto(_) => false,
        }
    }
}

/// What rules ask for besides the packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asks {
    /// Connection tracking.
    pub(super) tracking: bool,
    /// More of the packet's flow than its state, or they change it.
    pub(super) flow: bool,
    /// How many connections there are.
    pub(super) connections: bool,
    /// What they kept of earlier packets: what becomes of that at a change of the rules is not for who takes over
    /// rules as they are.
    pub(super) past: bool,
}

impl Asks {
    /// What matches ask for.
    pub(super) fn of(tests: &[MatchTest]) -> Self {
        Self {
            tracking: tests.iter().any(MatchTest::tracks),
            flow: tests.iter().any(MatchTest::inspects_flows),
            connections: tests.iter().any(|test| matches!(test, MatchTest::Connlimit(_))),
            past: tests.iter().any(MatchTest::begins_anew),
        }
    }

    /// All of a flow, or nothing.
    pub(super) fn of_flows(asks: bool) -> Self {
        Self { tracking: asks, flow: asks, connections: false, past: false }
    }
}

impl BitOr for Asks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            tracking: self.tracking | other.tracking,
            flow: self.flow | other.flow,
            connections: self.connections | other.connections,
            past: self.past | other.past,
        }
    }
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

impl From<bool> for Evaluation {
    /// Of a test that can be asked of every packet.
    fn from(holds: bool) -> Self {
        if holds { Self::Matches } else { Self::Differs }
    }
}

/// A rule as workers evaluate it.
#[derive(Debug, Clone)]
pub(super) struct CompiledRule {
    /// Which chain it stands in.
    pub(super) chain: u32,
    pub(super) addresses: AddressTests,
    /// Ports (bits) by which the packet may come in; negation is compiled in.
    pub(super) ingress_mask: u32,
    /// Ports (bits) by which it may leave.
    pub(super) egress_mask: u32,
    /// Protocol number; 0 holds for every protocol.
    pub(super) protocol: u8,
    pub(super) protocol_negated: bool,
    /// Whether only later fragments will do, or all but them.
    pub(super) fragment: Option<bool>,
    pub(super) asks: Asks,
    /// `-m`, from left to right. Shared by all policies that have the rule, as its counters are.
    pub(super) tests: Arc<[MatchTest]>,
    pub(super) action: Action,
    pub(super) counters: Arc<RuleCounters>,
}

impl CompiledRule {
    /// Asks it of a packet from and to `ends`.
    #[inline]
    pub(super) fn evaluate<E: Ends>(
        &self,
        candidate: &Candidate<'_>,
        ends: E,
        sets: &Sets,
    ) -> Evaluation {
        let fields = self.fields(candidate, ends);
        if fields != Evaluation::Matches {
            return fields;
        }
        for test in &*self.tests {
            let evaluation = test.evaluate(candidate, sets);
            if evaluation != Evaluation::Matches {
                return evaluation;
            }
        }
        Evaluation::Matches
    }

    /// The tests that need no `-m`.
    #[inline(always)]
    fn fields<E: Ends>(&self, candidate: &Candidate<'_>, ends: E) -> Evaluation {
        let Candidate { headers, ingress, egress, .. } = candidate;
        let holds = ends.meet(&self.addresses)
            && self.ingress_mask & ingress.bit() != 0
            && self.egress_mask & egress.bit() != 0;
        if !holds {
            return Evaluation::Differs;
        }
        if self.protocol != 0 {
            if headers.hides_protocol() {
                return Evaluation::Hotdrop;
            }
            if (self.protocol == headers.protocol) == self.protocol_negated {
                return Evaluation::Differs;
            }
        }
        let later = || matches!(headers.piece, Piece::Later(_));
        if self.fragment.is_some_and(|wanted| wanted != later()) {
            return Evaluation::Differs;
        }
        Evaluation::Matches
    }
}

/// What a rule says of all packets of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// All tests hold for each.
    Holds,
    /// A test holds for none, and it does not matter whether those before it are asked.
    Differs,
    /// That is for each packet to say.
    Open,
}

impl CompiledRule {
    /// What the rule says of all packets of a flow, which is that of `candidate`, a packet that has a
    /// [key](super::cache_key). See [`MatchTest::settled`].
    pub(super) fn settled<E: Ends>(&self, candidate: &Candidate<'_>, ends: E) -> Settled {
        match self.fields(candidate, ends) {
            Evaluation::Matches => {}
            Evaluation::Differs => return Settled::Differs,
            Evaluation::Hotdrop => return Settled::Open,
        }
        let (mut open, mut loud) = (false, false);
        for test in &*self.tests {
            match test.settled(candidate) {
                Some(true) => {}
                Some(false) if loud => return Settled::Open,
                Some(false) => return Settled::Differs,
                None => (open, loud) = (true, loud || !test.is_quiet()),
            }
        }
        if open { Settled::Open } else { Settled::Holds }
    }

    /// The part of the rule that is the same for all packets of a flow, as far as the classifier can tell: whatever is
    /// negated stays open, and so are ports that are asked for behind a test that is not quiet.
    pub(super) fn key(&self, windows: Windows) -> RuleKey {
        let open = RuleKey::ANY;
        let [source, destination] = self.addresses.keys(windows);
        let mut key = RuleKey {
            source,
            destination,
            ingress: self.ingress_mask,
            egress: self.egress_mask,
            protocol: Some(self.protocol).filter(|number| *number != 0 && !self.protocol_negated),
            ..open
        };
        for test in &*self.tests {
            if let MatchTest::Transport(test) = test {
                narrow(&mut key.source_ports, test.source);
                narrow(&mut key.destination_ports, test.destination);
            }
            if !test.is_quiet() {
                break;
            }
        }
        key
    }
}

fn narrow(range: &mut RangeInclusive<u16>, ports: Ports) {
    if !ports.negated {
        *range = ports.first.max(*range.start())..=ports.last.min(*range.end());
    }
}

#[cfg(test)]
mod tests {
    use weir_control::rule::{Family, IpNet, Negatable};

    use super::*;
    use crate::batch::{Addresses, Headers};
    use crate::policy::address::{Ends4, Ends6};
    use crate::policy::matches::{FlagsTest, Ports, TransportTest};
    use crate::port::PortIndex;

    fn tcp() -> TransportTest {
        let flags = FlagsTest { mask: 0x17, set: 0x02, negated: false };
        TransportTest {
            source: Ports::ANY,
            destination: Ports::ANY,
            flags,
            option: None,
            tcp: true,
        }
    }

    fn udp() -> TransportTest {
        TransportTest { flags: FlagsTest::ANY, tcp: false, ..tcp() }
    }

    fn any(family: Family) -> AddressTests {
        AddressTests::new(family, None, None).expect("no address")
    }

    fn rule(transports: &[TransportTest]) -> CompiledRule {
        CompiledRule {
            chain: 0,
            addresses: any(Family::V4),
            ingress_mask: u32::MAX,
            egress_mask: u32::MAX,
            protocol: 0,
            protocol_negated: false,
            fragment: None,
            asks: Asks::default(),
            tests: transports.iter().copied().map(MatchTest::Transport).collect(),
            action: Action::Continue,
            counters: RuleCounters::new(1),
        }
    }

    fn evaluate(rule: &CompiledRule, headers: &Headers) -> Evaluation {
        let candidate = Candidate {
            hook: crate::policy::Hook::Forward,
            headers,
            ingress: PortIndex(0),
            egress: PortIndex(31),
            packet: &[],
            link: &[],
            forwarding: &crate::route::Forwarding::builder().build(),
            connection: crate::policy::Connection::UNTRACKED,
            dice: &crate::policy::Dice::new(0),
            now_ns: 0,
            wall_s: 0,
            mark: 0,
        };
        let sets = Sets::new(0);
        match headers.addresses {
            Addresses::V4 { source, destination } => {
                rule.evaluate(&candidate, Ends4::new(source, destination), &sets)
            }
            Addresses::V6 { source, destination } => {
                rule.evaluate(&candidate, Ends6::new(source, destination), &sets)
            }
        }
    }

    #[test]
    fn a_rule_without_tests_matches_every_packet() {
        for piece in [Piece::Whole, Piece::First, Piece::Later(1)] {
            let headers = Headers { piece, ..Headers::default() };
            assert_eq!(evaluate(&rule(&[]), &headers), Evaluation::Matches);
        }
    }

    #[test]
    fn a_rule_about_fragments_is_about_the_later_ones() {
        for (piece, later) in
            [(Piece::Whole, false), (Piece::First, false), (Piece::Later(1), true)]
        {
            let headers = Headers { piece, ..Headers::default() };
            for wanted in [false, true] {
                let rule = CompiledRule { fragment: Some(wanted), ..rule(&[]) };
                assert_eq!(evaluate(&rule, &headers), (later == wanted).into());
            }
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
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let addresses = Addresses::V4 { source, destination };
        let cut = Headers { addresses, ..Headers::default() };
        let other = Negatable::is("192.0.2.1".parse().map(IpNet::V4).expect("a net"));
        let addresses = AddressTests::new(Family::V4, Some(other), None).expect("of the family");
        let elsewhere = CompiledRule { addresses, ..rule(&[tcp()]) };
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
    fn a_fragment_that_hides_its_protocol_is_dropped_by_who_asks_for_it() {
        let addresses = Addresses::V6 { source: 1.into(), destination: 2.into() };
        let piece = Piece::Later(7);
        let hidden = Headers { addresses, piece, protocol: 60, ..Headers::default() };
        let six = |protocol, protocol_negated| {
            let addresses = any(Family::V6);
            CompiledRule { addresses, protocol, protocol_negated, ..rule(&[]) }
        };
        assert_eq!(evaluate(&six(0, false), &hidden), Evaluation::Matches);
        for (protocol, negated) in [(6, false), (6, true), (60, false), (60, true)] {
            assert_eq!(evaluate(&six(protocol, negated), &hidden), Evaluation::Hotdrop);
            let elsewhere = CompiledRule { egress_mask: 0, ..six(protocol, negated) };
            assert_eq!(evaluate(&elsewhere, &hidden), Evaluation::Differs);
        }
        let told = Headers { protocol: 6, ..hidden };
        assert_eq!(evaluate(&six(6, false), &told), Evaluation::Matches);
        assert_eq!(evaluate(&rule(&[]), &hidden), Evaluation::Differs, "of the other family");
    }
}
