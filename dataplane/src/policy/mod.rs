//! The compiled rules: what workers evaluate.
//!
//! The control thread compiles a rule set into a [`Policy`] and publishes it; workers adopt it between
//! batches. A policy never changes. Rules mean what they mean to iptables (`net/ipv4/netfilter/ip_tables.c`):
//! the first rule whose tests all hold and that has a verdict decides; every rule whose tests all held on
//! the way has counted the packet; else the chain's policy decides and counts.

mod compile;
mod counters;
mod matches;
mod rule;

pub use compile::{CompileError, Compiler};
pub use counters::{Count, RuleCounters};
pub use matches::{Connection, FlagsTest, Ports, TransportTest};
pub use rule::{Action, Ending, Evaluation};

use std::sync::Arc;

use rule::CompiledRule;
use weir_control::command::ChainName;
use weir_control::ruleset::CHAIN_DEPTH_MAX;

use crate::batch::Headers;
use crate::port::PortIndex;
use crate::verdict::DropReason;

/// All chains, ready to run.
#[derive(Debug)]
pub struct Policy {
    /// The rules of all chains, one chain after the other.
    rules: Box<[CompiledRule]>,
    /// Where each chain's rules are.
    chains: Box<[Span]>,
    /// The chain that each hook begins with, by [`Hook`].
    bases: [Base; Hook::ALL.len()],
    tracks: bool,
    inspects_flows: bool,
}

/// Where a packet meets the rules (`enum nf_inet_hooks`, `linux/netfilter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// It is for the machine itself: chain INPUT. It has no outgoing interface.
    Input,
    /// It passes through: chain FORWARD.
    Forward,
    /// The machine itself sends it: chain OUTPUT. It has no incoming interface.
    Output,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Input, Self::Forward, Self::Output];

    /// The chain of that name.
    #[must_use]
    pub fn chain(self) -> ChainName {
        match self {
            Self::Input => ChainName::input(),
            Self::Forward => ChainName::forward(),
            Self::Output => ChainName::output(),
        }
    }
}

/// The chain that a hook begins with.
#[derive(Debug)]
struct Base {
    rules: Span,
    /// What becomes of packets that no rule decided about.
    default: Ending,
    default_counters: Arc<RuleCounters>,
}

impl Base {
    /// No rules, for a hook without a chain.
    fn accept_all(workers: usize) -> Self {
        let rules = Span { first: 0, end: 0 };
        Self { rules, default: Ending::Accept, default_counters: RuleCounters::new(workers) }
    }
}

/// The rules of a chain.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: usize,
    end: usize,
}

/// A packet before the rules.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What was read from it.
    pub headers: &'a Headers,
    /// Where it came in; in OUTPUT the port of the machine itself, which has no name.
    pub ingress: PortIndex,
    /// Where it would leave; in INPUT the port of the machine itself.
    pub egress: PortIndex,
    /// Its bytes from the IPv4 header to the end of the datagram, also of one that came in fragments.
    pub packet: &'a [u8],
    /// Its Ethernet header.
    pub link: &'a [u8],
    /// The flow it belongs to.
    pub connection: Connection<'a>,
}

impl Policy {
    /// No rules; everything is accepted. Where a kernel starts, too.
    #[must_use]
    pub fn accept_all(workers: usize) -> Self {
        Self {
            rules: Box::default(),
            chains: Box::default(),
            bases: Hook::ALL.map(|_| Base::accept_all(workers)),
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

    /// Decides about one packet at a hook, and counts it in every rule that it matches on worker `worker`.
    ///
    /// # Errors
    /// The reason for which the packet is dropped.
    pub fn decide(
        &self,
        hook: Hook,
        worker: usize,
        candidate: &Candidate<'_>,
    ) -> Result<(), DropReason> {
        let bytes = u64::from(candidate.headers.total_len);
        let mut ways = Ways::default();
        let base = &self.bases[hook as usize];
        let Span { first: mut at, mut end } = base.rules;
        loop {
            if at == end {
                let Some(back) = ways.back() else { break };
                at = back + 1;
                end = self.chains[self.rules[back].chain as usize].end;
                continue;
            }
            let rule = &self.rules[at];
            match rule.evaluate(candidate) {
                Evaluation::Differs => {
                    at += 1;
                    continue;
                }
                Evaluation::Hotdrop => return Err(DropReason::RuleHotdrop),
                Evaluation::Matches => rule.counters.add(worker, bytes),
            }
            match rule.action {
                Action::Continue => at += 1,
                Action::End(Ending::Accept) => return Ok(()),
                Action::End(Ending::Drop) => return Err(DropReason::Rule),
                Action::Return => at = end,
                Action::Jump(chain) => {
                    ways.leave(at);
                    Span { first: at, end } = self.chains[chain as usize];
                }
                Action::Goto(chain) => Span { first: at, end } = self.chains[chain as usize],
            }
        }
        base.default_counters.add(worker, bytes);
        match base.default {
            Ending::Accept => Ok(()),
            Ending::Drop => Err(DropReason::RulePolicy),
        }
    }
}

/// The rules by which a packet left chains for others, to come back after them. A rule set that leads deeper
/// than [`CHAIN_DEPTH_MAX`] chains is refused when it is made.
struct Ways {
    rules: [u32; CHAIN_DEPTH_MAX],
    depth: usize,
}

impl Default for Ways {
    fn default() -> Self {
        Self { rules: [0; CHAIN_DEPTH_MAX], depth: 0 }
    }
}

impl Ways {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most RULES_MAX rules")]
    fn leave(&mut self, rule: usize) {
        self.rules[self.depth] = rule as u32;
        self.depth += 1;
    }

    fn back(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        Some(self.rules[self.depth] as usize)
    }
}
