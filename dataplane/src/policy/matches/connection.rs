//! `-m state`, `-m conntrack` and `-m connmark`: what a rule may ask of the flow that a packet belongs to
//! (`net/netfilter/xt_conntrack.c`, `xt_state.c`, `xt_connmark.c`).

use weir_control::rule::{
    ConnmarkMatch, ConntrackMatch, CtAddress, CtDirection, CtStates, CtStatuses, Negatable,
    StateMatch,
};

use super::transport::Ports;
use crate::conntrack::{
    Conntrack, CtState, Direction, FlowCount, FlowView, Packet, Tracked, Tuple,
};
use crate::limit::connections::Connections;
use crate::policy::address::IpTest;

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

    /// The mark of its flow; `None` if it has none.
    pub(in crate::policy) fn mark(&self) -> Option<u32> {
        self.conntrack?.mark(&self.tracked)
    }

    /// What the packets of its flow have come to; `None` if it has none, or if that is not counted.
    pub(in crate::policy) fn counts(&self) -> Option<[FlowCount; 2]> {
        self.conntrack?.counts(&self.tracked)
    }

    /// How many connections there are of an address by which a rule counts its packet. `None` if it is part of no flow,
    /// and could not be.
    pub(in crate::policy) fn connections(
        &self,
        counted: &Connections,
        address: u128,
        packet: &Packet<'_>,
    ) -> Option<u32> {
        self.conntrack?.connections(counted, address, &self.tracked, packet)
    }

    /// Gives its flow a mark, if it has one.
    pub(in crate::policy) fn set_mark(&self, mark: u32) {
        if let Some(conntrack) = self.conntrack {
            conntrack.set_mark(&self.tracked, mark);
        }
    }

    fn view(&self) -> Option<FlowView> {
        self.conntrack?.view(&self.tracked)
    }
}

/// A packet's state as rules name it. Those of address translation are never among them: Weir does none.
fn named(state: CtState) -> CtStates {
    match state {
        CtState::Invalid => CtStates::INVALID,
        CtState::New => CtStates::NEW,
        CtState::Established => CtStates::ESTABLISHED,
        CtState::Related => CtStates::RELATED,
        CtState::Untracked => CtStates::UNTRACKED,
    }
}

/// Whether a test holds, if there is one.
fn holds<T: Copy>(test: Option<Negatable<T>>, is: impl FnOnce(T) -> bool) -> bool {
    test.is_none_or(|test| is(test.value) != test.negated)
}

/// Everything that one `-m state` or `-m conntrack` asks for; all that is asked for must hold.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::policy) struct ConnectionTest {
    /// Which states will do.
    pub(super) states: Option<Negatable<CtStates>>,
    /// All but the states; `None` if nothing else is asked for.
    pub(super) flow: Option<FlowTest>,
}

/// What is asked of the flow itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FlowTest {
    pub(super) direction: Option<Direction>,
    /// Source and destination of the original tuple, then of the reply.
    pub(super) addresses: [Option<IpTest>; 4],
    pub(super) protocol: Option<Negatable<u8>>,
    /// Ports likewise.
    pub(super) ports: [Option<Ports>; 4],
    /// Marks of which any will do.
    pub(super) statuses: Option<Negatable<CtStatuses>>,
    /// Seconds left to live.
    pub(super) expires_s: Option<Negatable<(u32, u32)>>,
}

/// The marks of a flow. That of an expected one is never among them: Weir expects none.
fn statuses(view: &FlowView) -> CtStatuses {
    let marks = [
        (view.seen_reply, CtStatuses::SEEN_REPLY),
        (view.assured, CtStatuses::ASSURED),
        (view.confirmed, CtStatuses::CONFIRMED),
    ];
    let set = marks.into_iter().filter(|(set, _)| *set);
    set.fold(CtStatuses::NONE, |all, (_, mark)| all | mark)
}

impl From<StateMatch> for ConnectionTest {
    fn from(asked: StateMatch) -> Self {
        Self { states: Some(asked.states), flow: None }
    }
}

impl From<ConntrackMatch> for ConnectionTest {
    fn from(asked: ConntrackMatch) -> Self {
        let ConntrackMatch { original, reply, .. } = asked;
        let address = |test: Option<Negatable<CtAddress>>| {
            test.map(|Negatable { value, negated }| {
                IpTest::new(Negatable { value: value.net(), negated })
            })
        };
        let flow = FlowTest {
            direction: asked.direction.map(|direction| match direction {
                CtDirection::Original => Direction::Original,
                CtDirection::Reply => Direction::Reply,
            }),
            addresses: [
                address(original.source),
                address(original.destination),
                address(reply.source),
                address(reply.destination),
            ],
            protocol: asked
                .protocol
                .map(|Negatable { value, negated }| Negatable { value: value.0, negated }),
            ports: [
                original.source_ports,
                original.destination_ports,
                reply.source_ports,
                reply.destination_ports,
            ]
            .map(|test| test.map(Ports::new)),
            statuses: asked.statuses,
            expires_s: asked.expires.map(|Negatable { value, negated }| {
                let (first, last) = value.range().into_inner();
                Negatable { value: (first, last), negated }
            }),
        };
        let states_alone = ConntrackMatch { states: asked.states, ..ConntrackMatch::default() };
        Self { states: asked.states, flow: (asked != states_alone).then_some(flow) }
    }
}

impl ConnectionTest {
    /// Whether the test holds. A packet without a flow is known by its state alone: where the state is asked for and
    /// fits, the rest is not looked at; where only something else is asked for, the test does not hold.
    pub(super) fn holds(&self, connection: &Connection<'_>) -> bool {
        let state = connection.tracked.state;
        if !holds(self.states, |states| states.intersects(named(state))) {
            return false;
        }
        let Some(flow) = &self.flow else { return true };
        match connection.view() {
            None => self.states.is_some(),
            Some(view) => flow.holds(&view, connection.tracked.direction),
        }
    }
}

/// `-m connmark`. Of a packet without a flow it does not hold, negated or not.
pub(super) fn connmark(test: &ConnmarkMatch, connection: &Connection<'_>) -> bool {
    let Negatable { value, negated } = test.mark;
    connection.mark().is_some_and(|mark| value.matches(mark) != negated)
}

impl FlowTest {
    fn holds(&self, view: &FlowView, direction: Direction) -> bool {
        let Tuple { source, destination, source_port, destination_port, protocol } = view.original;
        let reply = &view.reply;
        let addresses = [source, destination, reply.source, reply.destination];
        let ports = [source_port, destination_port, reply.source_port, reply.destination_port];
        self.direction.is_none_or(|wanted| wanted == direction)
            && self
                .addresses
                .iter()
                .zip(addresses)
                .all(|(test, address)| test.is_none_or(|test| test.holds(address)))
            && holds(self.protocol, |wanted| wanted == protocol)
            && self
                .ports
                .iter()
                .zip(ports)
                .all(|(test, port)| test.is_none_or(|test| test.holds(port)))
            && holds(self.statuses, |wanted| wanted.intersects(statuses(view)))
            && holds(self.expires_s, |(min, max)| {
                let left_s = view.expires_ms / 1000;
                (u64::from(min)..=u64::from(max)).contains(&left_s)
            })
    }
}
