//! The stages in order.
//!
//! ```text
//! receive -> parse -> name -> hand_over -> reassemble
//!                              |
//!                              v                  .---- put off: one by one ----.
//!                        other worker's inbox     v                             |
//!                                               track -> route -> decide -> confirm
//!                                                                               |
//!                 transmit <- emit <- answer <----------------------------------'
//!                 (or to the   |
//!                  machine)    |
//!                              +-> hold (next hop unknown)
//!                              '-> drop, counted by reason
//! ```
//!
//! The order is netfilter's: `track` moves the state of a flow before the rules see the packet, `confirm` puts a new
//! flow into the table when they have accepted it. What a packet is may depend on the fate of an earlier one of the
//! same batch, which began its flow: such packets are put off, and then go through these stages alone, in order.

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::handover::{FlowHash, Inboxes};
use crate::policy::Policy;
use crate::stage::{self, Answers, Emitter};

/// Where the packets of a batch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a port: they may belong to another worker.
    Port,
    /// From another worker, which knows that they belong here.
    Worker,
}

/// What the deciding stages need.
#[derive(Debug)]
pub struct Decisions<'a> {
    /// This worker's number.
    pub worker: usize,
    /// Names the worker of each flow.
    pub flow_hash: &'a FlowHash,
    /// All workers' inboxes.
    pub inboxes: &'a Inboxes,
    /// The rules.
    pub policy: &'a Policy,
    /// This worker's flows.
    pub conntrack: &'a mut Conntrack,
    /// Whether packets are tracked.
    pub tracks: bool,
    /// The right to send ICMP errors.
    pub answers: &'a mut Answers,
}

/// Takes a batch through all stages; it is empty afterwards.
pub fn run(batch: &mut Batch, origin: Origin, decisions: Decisions<'_>, emitter: &mut Emitter<'_>) {
    stage::parse(batch, emitter.forwarding);
    let hand_over = origin == Origin::Port && decisions.inboxes.workers() > 1;
    if hand_over || decisions.tracks {
        stage::name(batch, decisions.flow_hash);
    }
    if hand_over {
        stage::hand_over(batch, decisions.flow_hash, decisions.worker);
    }
    let from = (decisions.flow_hash, decisions.worker);
    stage::reassemble(batch, from, decisions.tracks, emitter);
    if decisions.policy.inspects_flows() {
        batch.one_by_one();
    }
    loop {
        if decisions.tracks {
            stage::track(batch, decisions.conntrack, emitter.reassembly);
        }
        stage::route(batch, emitter.forwarding);
        let Decisions { policy, worker, .. } = decisions;
        let host = emitter.forwarding.host();
        stage::decide(batch, policy, (worker, host), decisions.conntrack, emitter.reassembly);
        stage::confirm(batch, decisions.conntrack);
        decisions.conntrack.end_batch();
        if !batch.next_turn() {
            break;
        }
    }
    stage::answer(batch, decisions.answers, emitter);
    stage::emit(batch, emitter, decisions.inboxes);
}
