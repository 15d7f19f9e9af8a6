//! What others may see of a flow.

use super::count::FlowCount;
use super::flow::{Bits, Flow};
use super::tcp::TcpState;
use super::tuple::Tuple;
use super::{Kind, clock::Time};

/// Names a flow of one worker for as long as it lives, and nothing afterwards: the place is used again with another
/// generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowId {
    /// Its place: IPv4 flows come first, IPv6 flows after all places of IPv4.
    pub place: u32,
    /// How many flows have been in that place before.
    pub generation: u32,
}

/// A flow at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowView {
    /// The tuple of its first packet.
    pub original: Tuple,
    /// The tuple of the answers.
    pub reply: Tuple,
    /// The state of a TCP connection.
    pub tcp_state: Option<TcpState>,
    /// Whether an answer was seen.
    pub seen_reply: bool,
    /// Whether it is kept when the table is full.
    pub assured: bool,
    /// Whether it is in the table.
    pub confirmed: bool,
    /// Its mark, which rules give it.
    pub mark: u32,
    /// What the packets of each direction have come to, the original one first; `None` if nothing is counted.
    pub counts: Option<[FlowCount; 2]>,
    /// Time left to live, in milliseconds; 0 for a flow that is not confirmed.
    pub expires_ms: u64,
}

impl FlowView {
    pub(super) fn new(
        flow: &Flow,
        addresses6: Option<&[u128; 2]>,
        (mark, counts): (u32, Option<[FlowCount; 2]>),
        confirmed: bool,
        now: Time,
    ) -> Self {
        let original = tuple(flow, addresses6);
        let expires_ms = if confirmed { flow.bits.deadline().left(now).as_ms() } else { 0 };
        Self {
            original,
            // A flow is only begun by a tuple that can be turned round.
            reply: original.inverted().unwrap_or(original),
            tcp_state: (flow.bits.kind() == Kind::Tcp).then(|| flow.bits.state()),
            seen_reply: flow.bits.has(Bits::SEEN_REPLY),
            assured: flow.bits.has(Bits::ASSURED),
            confirmed,
            mark,
            counts,
            expires_ms,
        }
    }
}

/// The original tuple of a flow.
pub(super) fn tuple(flow: &Flow, addresses6: Option<&[u128; 2]>) -> Tuple {
    #[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
    let (low, high) = (flow.addresses as u32, (flow.addresses >> 32) as u32);
    let (source, destination) = match addresses6 {
        None => (high.to_be_bytes().into(), low.to_be_bytes().into()),
        Some([source, destination]) => {
            (source.to_be_bytes().into(), destination.to_be_bytes().into())
        }
    };
    let [a, b, c, d] = flow.ports.to_be_bytes();
    Tuple {
        source,
        destination,
        source_port: u16::from_be_bytes([a, b]),
        destination_port: u16::from_be_bytes([c, d]),
        protocol: flow.protocol(),
    }
}
