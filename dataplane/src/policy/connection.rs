//! `-m state` and `-m conntrack`: what a rule may ask of the flow that a packet belongs to
//! (`net/netfilter/xt_conntrack.c`, `xt_state.c`).

use std::net::{IpAddr, Ipv4Addr};

use super::rule::{AddressTest, Ports};
use crate::conntrack::{Conntrack, CtState, Direction, FlowView, Tracked, Tuple};

/// A packet's flow, as far as rules may ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    /// What connection tracking found out about the packet.
    pub tracked: Tracked,
    /// Who knows more; `None` where nothing is tracked.
    pub conntrack: Option<&'a Conntrack>,
}

impl Connection<'_> {
    /// Of a packet that is not tracked.
    pub const UNTRACKED: Self = Self { tracked: Tracked::UNTRACKED, conntrack: None };

    fn view(&self) -> Option<FlowView> {
        self.conntrack?.view(&self.tracked)
    }
}

/// The bit of a state in a rule's set of states.
#[must_use]
pub fn state_bit(state: CtState) -> u8 {
    match state {
        CtState::Invalid => 1,
        CtState::New => 1 << 1,
        CtState::Established => 1 << 2,
        CtState::Related => 1 << 3,
        CtState::Untracked => 1 << 4,
    }
}

/// A test that may be inverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test<T> {
    /// What is wanted.
    pub value: T,
    /// Whether it is what is not wanted.
    pub negated: bool,
}

impl<T: Copy> Test<T> {
    fn holds(test: Option<Self>, is: impl FnOnce(T) -> bool) -> bool {
        test.is_none_or(|test| is(test.value) != test.negated)
    }
}

/// Everything that one `-m state` or `-m conntrack` asks for; all that is asked for must hold.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ConnectionTest {
    /// A set of [`state_bit`]s.
    pub(super) states: Option<Test<u8>>,
    /// All but the states; `None` if nothing else is asked for.
    pub(super) flow: Option<FlowTest>,
}

/// What is asked of the flow itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FlowTest {
    pub(super) direction: Option<Test<Direction>>,
    /// Source and destination of the original tuple, then of the reply.
    pub(super) addresses: [Option<AddressTest>; 4],
    pub(super) protocol: Option<Test<u8>>,
    /// Ports likewise.
    pub(super) ports: [Option<Ports>; 4],
    pub(super) status: Option<Test<StatusSet>>,
    /// Seconds left to live.
    pub(super) expires_s: Option<Test<(u32, u32)>>,
}

/// Which marks of a flow are asked for; any of them will do. The mark of an expected flow is not among them: Weir
/// expects none, so a rule that asks for it alone holds for no flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StatusSet {
    pub(super) seen_reply: bool,
    pub(super) assured: bool,
    pub(super) confirmed: bool,
}

impl ConnectionTest {
    /// Whether the test holds. A packet without a flow is known by its state alone: where the state is asked for and
    /// fits, the rest is not looked at; where only something else is asked for, the test does not hold.
    pub(super) fn holds(&self, connection: &Connection<'_>) -> bool {
        let state = connection.tracked.state;
        if !Test::holds(self.states, |states| states & state_bit(state) != 0) {
            return false;
        }
        let Some(flow) = &self.flow else { return true };
        match connection.view() {
            None => self.states.is_some(),
            Some(view) => flow.holds(&view, connection.tracked.direction),
        }
    }
}

impl FlowTest {
    fn holds(&self, view: &FlowView, direction: Direction) -> bool {
        let Tuple { source, destination, source_port, destination_port, protocol } = view.original;
        let reply = &view.reply;
        let addresses = [source, destination, reply.source, reply.destination].map(ipv4);
        let ports = [source_port, destination_port, reply.source_port, reply.destination_port];
        Test::holds(self.direction, |wanted| wanted == direction)
            && self
                .addresses
                .iter()
                .zip(addresses)
                .all(|(test, address)| test.is_none_or(|test| test.holds(address.to_bits())))
            && Test::holds(self.protocol, |wanted| wanted == protocol)
            && self
                .ports
                .iter()
                .zip(ports)
                .all(|(test, port)| test.is_none_or(|test| test.holds(port)))
            && Test::holds(self.status, |wanted| {
                wanted.seen_reply && view.seen_reply
                    || wanted.assured && view.assured
                    || wanted.confirmed && view.confirmed
            })
            && Test::holds(self.expires_s, |(min, max)| {
                let left_s = view.expires_ms / 1000;
                (u64::from(min)..=u64::from(max)).contains(&left_s)
            })
    }
}

/// Rules are about IPv4.
fn ipv4(address: IpAddr) -> Ipv4Addr {
    match address {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}
