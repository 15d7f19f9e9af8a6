//! The stages in order.
//!
//! ```text
//! receive -> parse -> name -> hand_over -> reassemble   (raw comes before, where fragments are not tracked)
//!                              |
//!                              v                  .---- put off: one by one ----.
//!                        other worker's inbox     v                             |
//!                                        raw -> track -> route -> decide -> confirm
//!                                                                        close, proxy
//!                                                                               |
//!                 transmit <- emit <- answer <----------------------------------'
//!                 (or to the   |
//!                  machine)    |
//!                              +-> hold (next hop unknown)
//!                              '-> drop, counted by reason
//! ```
//!
//! The order is netfilter's: `raw` is asked before anything is tracked, `track` moves the state of a flow before the
//! rules see the packet, `confirm` puts a new flow into the table when they have accepted it. What a packet is may
//! depend on the fate of an earlier one of the same batch, which began its flow: such packets are put off, and then go
//! through these stages alone, in order. How far one may depend on another the rules say ([`Pace`]).

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::handover::{FlowHash, Inboxes};
use crate::packet_log::PacketLog;
use crate::policy::{Dice, FlowCache, Pace, Policies, Tracks};
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
    pub policies: &'a Policies,
    /// What is known of flows.
    pub cache: &'a mut FlowCache,
    /// This worker's flows.
    pub conntrack: &'a mut Conntrack,
    /// Which packets are tracked.
    pub tracks: Tracks,
    /// Random numbers for rules.
    pub dice: &'a Dice,
    /// Now, in nanoseconds of a clock that only goes forward.
    pub now_ns: u64,
    /// The time of day, UTC, in seconds since 1970.
    pub wall_s: u64,
    /// The right to send ICMP errors.
    pub answers: &'a mut Answers,
    /// Where rules have lines written.
    pub log: &'a mut PacketLog,
}

/// Takes a batch through all stages; it is empty afterwards.
pub fn run(
    batch: &mut Batch,
    origin: Origin,
    mut decisions: Decisions<'_>,
    emitter: &mut Emitter<'_>,
) {
    stage::parse(batch, emitter.forwarding);
    let hand_over = origin == Origin::Port && decisions.inboxes.workers() > 1;
    if hand_over || decisions.tracks.any() {
        stage::name(batch, decisions.flow_hash);
    }
    if hand_over {
        stage::hand_over(batch, decisions.flow_hash, decisions.worker);
    }
    let has_raw = decisions.policies.have_raw();
    if has_raw && !decisions.tracks.both() {
        raw(batch, stage::Phase::Fragments(decisions.tracks), &mut decisions, emitter);
    }
    let from = (decisions.flow_hash, decisions.worker);
    stage::reassemble(batch, from, decisions.tracks, emitter);
    let pace = decisions.policies.pace();
    if pace == Pace::OneByOne {
        batch.one_by_one();
    }
    loop {
        if has_raw {
            raw(batch, stage::Phase::Datagrams, &mut decisions, emitter);
        }
        if decisions.tracks.any() {
            let tracks = (decisions.tracks, pace);
            stage::track(batch, tracks, decisions.conntrack, emitter.reassembly);
        }
        stage::route(batch, emitter.forwarding);
        let Decisions { policies, worker, dice, now_ns, wall_s, .. } = decisions;
        let Decisions { cache, conntrack, log, .. } = &mut decisions;
        let rules = stage::Rules { policies, cache, worker, dice, now_ns, wall_s };
        let (forwarding, reassembly) = (emitter.forwarding, &mut *emitter.reassembly);
        stage::decide(batch, rules, forwarding, conntrack, reassembly, log);
        stage::confirm(batch, conntrack);
        if decisions.tracks.any() {
            let tracks = decisions.tracks;
            stage::close(batch, tracks, decisions.conntrack, emitter.reassembly);
        }
        stage::proxy(batch, decisions.conntrack, emitter);
        decisions.conntrack.end_batch();
        let goes_on = if pace == Pace::InRuns { batch.next_run() } else { batch.next_turn() };
        if !goes_on {
            break;
        }
    }
    decisions.log.settle(emitter.counters);
    stage::answer(batch, decisions.answers, emitter);
    stage::emit(batch, emitter, decisions.inboxes);
}

/// The rules of table raw.
fn raw(
    batch: &mut Batch,
    phase: stage::Phase,
    decisions: &mut Decisions<'_>,
    emitter: &mut Emitter<'_>,
) {
    let Decisions { policies, worker, dice, now_ns, wall_s, .. } = *decisions;
    let Decisions { cache, conntrack, log, .. } = decisions;
    let rules = stage::Rules { policies, cache, worker, dice, now_ns, wall_s };
    let (forwarding, reassembly) = (emitter.forwarding, &mut *emitter.reassembly);
    stage::raw(batch, phase, &rules, forwarding, conntrack, reassembly, log);
}
