//! The compiled rules: what workers evaluate.
//!
//! The control thread compiles a rule set into a [`Policy`] and publishes it; workers adopt it between
//! batches. A policy never changes. Rules mean what they mean to iptables (`net/ipv4/netfilter/ip_tables.c`):
//! the first rule whose tests all hold and that has a verdict decides; every rule whose tests all held on
//! the way has counted the packet; else the chain's policy decides and counts.

mod compile;
mod counters;
mod rule;

pub use compile::{CompileError, Compiler};
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
}

impl Policy {
    /// No rules; everything is accepted. Where a kernel starts, too.
    #[must_use]
    pub fn accept_all(workers: usize) -> Self {
        Self {
            rules: Box::default(),
            default: Action::Accept,
            default_counters: RuleCounters::new(workers),
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

    /// Decides about one packet, and counts it in every rule that it matches on worker `worker`.
    ///
    /// # Errors
    /// The reason for which the packet is dropped.
    pub fn decide(
        &self,
        worker: usize,
        headers: &Headers,
        ingress: PortIndex,
        egress: PortIndex,
    ) -> Result<(), DropReason> {
        let bytes = u64::from(headers.total_len);
        for rule in &self.rules {
            match rule.evaluate(headers, ingress, egress) {
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
