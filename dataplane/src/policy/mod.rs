//! The compiled rules: what workers evaluate.
//!
//! The control thread compiles a rule set into a [`Policy`] and publishes it; workers adopt it between
//! batches. A policy never changes. Rules mean what they mean to iptables (`net/ipv4/netfilter/ip_tables.c`):
//! the first rule whose tests all hold and that has a verdict decides; every rule whose tests all held on
//! the way has counted the packet; else the chain's policy decides and counts.

pub mod classify;
mod compile;
mod connection;
mod counters;
mod rule;

pub use compile::{CompileError, Compiler};
pub use connection::Connection;
pub use counters::{Count, RuleCounters};
pub use rule::{Action, Evaluation, Ports, TransportTest};

use std::sync::Arc;

use rule::CompiledRule;

use crate::batch::Headers;
use crate::port::PortIndex;
use crate::verdict::DropReason;

/// A chain FORWARD, ready to run.
#[derive(Debug)]
pub struct Policy {
    rules: Box<[CompiledRule]>,
    default: Action,
    default_counters: Arc<RuleCounters>,
    tracks: bool,
    inspects_flows: bool,
}

/// A packet before the rules.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What was read from it.
    pub headers: &'a Headers,
    /// Where it came in.
    pub ingress: PortIndex,
    /// Where it would leave.
    pub egress: PortIndex,
    /// The flow it belongs to.
    pub connection: Connection<'a>,
}

impl Policy {
    /// No rules; everything is accepted. Where a kernel starts, too.
    #[must_use]
    pub fn accept_all(workers: usize) -> Self {
        Self {
            rules: Box::default(),
            default: Action::Accept,
            default_counters: RuleCounters::new(workers),
            tracks: false,
            inspects_flows: false,
        }
    }

    /// Rules in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether it has no rules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether some rule asks for connection tracking.
    #[must_use]
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// Whether some rule asks for more of a flow than the state of the packet, which may change with the next
    /// packet of the flow: then packets have to be decided about one after the other.
    #[must_use]
    pub fn inspects_flows(&self) -> bool {
        self.inspects_flows
    }

    /// Decides about one packet, and counts it in every rule that it matches on worker `worker`.
    ///
    /// # Errors
    /// The reason for which the packet is dropped.
    pub fn decide(&self, worker: usize, candidate: &Candidate<'_>) -> Result<(), DropReason> {
        let bytes = u64::from(candidate.headers.total_len);
        for rule in &self.rules {
            match rule.evaluate(candidate) {
                Evaluation::Differs => {}
                Evaluation::Hotdrop => return Err(DropReason::RuleHotdrop),
                Evaluation::Matches => {
                    rule.counters.add(worker, bytes);
                    match rule.action {
                        None => {}
                        Some(Action::Accept) => return Ok(()),
                        Some(Action::Drop) => return Err(DropReason::Rule),
                    }
                }
            }
        }
        self.default_counters.add(worker, bytes);
        match self.default {
            Action::Accept => Ok(()),
            Action::Drop => Err(DropReason::RulePolicy),
        }
    }
}
