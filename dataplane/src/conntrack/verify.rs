//! The one moment of a connection at which its client shows that it is no forged source.
//!
//! See [`crate::limit::verified`] for what comes of it.

use super::Direction;
use super::flow::{Bits, Flow, SideFlags};
use super::tcp::TcpState;
use super::tracker::Conntrack;
use super::view;

/// Whether the last segment was the client's that ended the handshake, and acknowledged just what the server has sent.
/// One that acknowledges less ends it as well (see [`super::tcp`]), and can be guessed.
fn proves(flow: &Flow, before: Bits) -> bool {
    let client = Direction::Original;
    let [own, servers] = &flow.sides;
    before.state() == TcpState::SynRecv
        && flow.bits.state() == TcpState::Established
        && flow.bits.has(Bits::ASSURED)
        && !flow.bits.has(Bits::SIMULTANEOUS)
        && flow.bits.last_direction() == client
        && flow.bits.flags(client).has(SideFlags::MAXACK_SET)
        && own.max_ack == servers.end
}

impl Conntrack {
    /// Tells rules that ask for it if the flow's client has just completed its handshake.
    pub(super) fn verify(&self, family: usize, found: u32, before: Bits) {
        let Some(verified) = self.limited.verified(family) else { return };
        let table = &self.families[family].table;
        let flow = &table.flows[found as usize];
        if proves(flow, before) {
            let tuple = view::tuple(flow, table.addresses6.get(found as usize));
            verified.verify(tuple.source, self.now_ns);
        }
    }
}
