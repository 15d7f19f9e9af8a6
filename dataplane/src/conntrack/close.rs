//! Connections that are closed from outside: by a reset that a rule sends.

use super::flow::Bits;
use super::settings::Timeouts;
use super::tcp::TcpState;
use super::tracker::Conntrack;
use super::tuple::Tuple;
use super::wanted::Wanted;
use super::wheel::AROUND;
use super::{FlowRef, Kind, Tracked};

impl Tracked {
    /// Whether the packet belongs to a flow that is in the table.
    #[must_use]
    #[inline]
    pub fn is_of_known_flow(&self) -> bool {
        matches!(self.flow, FlowRef::Known(_))
    }
}

impl Conntrack {
    /// Puts the TCP connection that this tuple is part of into the state CLOSE, with that state's timeout unless it
    /// was there already (`nf_conntrack_tcp_set_closing`, net/netfilter/nf_conntrack_proto_tcp.c). Without such a
    /// connection nothing happens.
    pub fn close(&mut self, tuple: &Tuple) {
        let Some(wanted) = Wanted::of(tuple, false, &self.hash) else { return };
        let Some((found, _)) = self.find_wanted(&wanted, || Some(*tuple)) else { return };
        let family = wanted.family();
        let Timeouts { tcp, .. } = &self.timeouts;
        let life = tcp[TcpState::Close as usize];
        let flow = &mut self.families[family].table.flows[found as usize];
        let before: Bits = flow.bits;
        let living = !before.deadline().is_over(self.now);
        if before.kind() != Kind::Tcp || !living || before.state() == TcpState::Close {
            return;
        }
        flow.bits.set_state(TcpState::Close);
        flow.bits.set_deadline(self.now.after(life));
        if flow.bits.has_changed_standing(before) {
            self.restand(family, wanted.hash, found, before);
        }
        if life < AROUND {
            self.move_nearer(family, found, before.deadline(), life);
        }
    }
}
