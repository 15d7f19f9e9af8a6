//! The compiled rules: what workers evaluate.
//!
//! The control thread compiles a rule set into a [`Policy`] and publishes it; workers adopt it between
//! batches. A policy never changes. Rules mean what they mean to iptables (`net/ipv4/netfilter/ip_tables.c`):
//! the first rule whose tests all hold and that has a verdict decides; every rule whose tests all held on
//! the way has counted the packet; else the chain's policy decides and counts. Each family has a policy of its own
//! ([`Policies`]); rules of IPv6 mean what they mean to ip6tables (`net/ipv6/netfilter/ip6_tables.c`).

mod address;
mod candidate;
pub mod classify;
mod compile;
mod counters;
mod dice;
mod flow_cache;
mod matches;
mod near;
mod policies;
mod residual;
mod room;
mod rule;
mod span;
mod target;
mod unenforced;
mod walk;

pub use candidate::{Candidate, cache_key};
pub use compile::{Compiler, Zeros};
pub use counters::{Count, RuleCounters};
pub use dice::Dice;
pub use flow_cache::{CacheKey, FlowCache};
pub use matches::{Connection, FlagsTest, Ports, TransportTest};
pub(crate) use matches::{FUZZY, HASHLIMIT};
pub use policies::{Pace, Policies, Tracks};
pub use room::LimitSettings;
pub use rule::{Action, Evaluation};
pub use unenforced::{CompileError, Unenforced};

use std::sync::Arc;

use address::{Ends, Ends4, Ends6};
use flow_cache::Known;
use rule::CompiledRule;
use span::{Classified, Span};
use walk::{Walk, Ways};
use weir_control::command::ChainName;
use weir_control::rule::{ConnmarkTarget, SynproxyTarget};

use classify::PacketKey;

use crate::batch::Addresses;
use crate::limit::connections::Connections;
use crate::limit::verified::Verified;
use crate::packet_log::{LogSpec, PacketLog};
use crate::respond::Reject;
use crate::set::Sets;
use crate::verdict::DropReason;

/// All chains of a table, of one family, ready to run.
#[derive(Debug)]
pub struct Policy {
    /// The rules of all chains, one chain after the other.
    rules: Arc<[CompiledRule]>,
    /// Where each chain's rules are.
    chains: Arc<[Span]>,
    /// The chain that each hook begins with, by [`Hook`].
    bases: [Base; Hook::ALL.len()],
    /// Whether a chain has a classifier.
    classifies: bool,
    /// What rules with `-j LOG` write.
    logs: Arc<[LogSpec]>,
    /// What rules with `-j CONNMARK` do.
    connmarks: Arc<[ConnmarkTarget]>,
    /// What rules with `-m set` look into.
    sets: Arc<Sets>,
    /// What rules with `-m connlimit` count, and such as may come back.
    connections: Arc<[Arc<Connections>]>,
    /// What keyed limits keep, to be brought near.
    keyed: Arc<[near::Keyed]>,
    /// Sources that have completed a handshake, if a rule asks for them.
    verified: Option<Arc<Verified>>,
    tracks: bool,
    inspects_flows: bool,
    counts_connections: bool,
    remembers: bool,
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
    /// It has come by a port, is not tracked yet and has no way: chain PREROUTING of table raw. It has no outgoing
    /// interface.
    Prerouting,
}

impl Hook {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Input, Self::Forward, Self::Output, Self::Prerouting];

    /// The chain of that name.
    #[must_use]
    pub fn chain(self) -> ChainName {
        match self {
            Self::Input => ChainName::input(),
            Self::Forward => ChainName::forward(),
            Self::Output => ChainName::output(),
            Self::Prerouting => ChainName::prerouting(),
        }
    }
}

/// The chain that a hook begins with.
#[derive(Debug, Clone)]
struct Base {
    /// Its place among the chains.
    chain: usize,
    /// What becomes of packets that no rule decided about.
    default: Decision,
    default_counters: Arc<RuleCounters>,
}

impl Base {
    /// For a hook without a chain, with an empty one in its place.
    fn accept_all(chain: usize, workers: usize) -> Self {
        let default_counters = RuleCounters::new(workers);
        Self { chain, default: Decision::Accept, default_counters }
    }
}

/// How a packet ends at the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may go on.
    Accept,
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped and answered.
    Reject(Reject),
    /// It is a client's, and taken over.
    Proxy(SynproxyTarget),
}

/// What rules did to a packet besides deciding about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    /// Its mark; that which it had before if no rule has changed it.
    pub mark: u32,
    /// Whether it is not to be tracked.
    pub untracked: bool,
}

impl Policy {
    /// No rules; everything is accepted. Where a kernel starts, too.
    #[must_use]
    pub fn accept_all(workers: usize) -> Self {
        Self {
            rules: Arc::default(),
            chains: [Span::EMPTY].into(),
            bases: Hook::ALL.map(|_| Base::accept_all(0, workers)),
            classifies: false,
            logs: Arc::default(),
            connmarks: Arc::default(),
            sets: Arc::new(Sets::new(0)),
            connections: Arc::default(),
            keyed: Arc::default(),
            verified: None,
            tracks: false,
            inspects_flows: false,
            counts_connections: false,
            remembers: false,
        }
    }

    /// The same rules with other sets, in which every set that they name has the number that it had.
    #[must_use]
    pub fn with_sets(&self, sets: Arc<Sets>) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
            chains: Arc::clone(&self.chains),
            bases: self.bases.clone(),
            logs: Arc::clone(&self.logs),
            connmarks: Arc::clone(&self.connmarks),
            sets,
            connections: Arc::clone(&self.connections),
            keyed: Arc::clone(&self.keyed),
            verified: self.verified.clone(),
            ..*self
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

    /// Whether some rule asks for what it, or another one, has kept of earlier packets.
    #[must_use]
    pub fn remembers(&self) -> bool {
        self.remembers
    }

    /// Whether some rule asks for connection tracking.
    #[must_use]
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// Whether some rule asks for more of a flow than the state of the packet, which may change with the next
    /// packet of the flow, or changes its mark: then packets have to be decided about one after the other.
    #[must_use]
    pub fn inspects_flows(&self) -> bool {
        self.inspects_flows
    }

    /// Whether some rule asks how many connections there are.
    #[must_use]
    pub fn counts_connections(&self) -> bool {
        self.counts_connections
    }

    /// Decides about one packet, and counts it in every rule that it matches on worker `worker`. What rules say
    /// about it goes into `log`. A mark that a rule gives it is seen by the rules after that one, in whatever chain,
    /// and in their lines of `log`, and forgotten with the decision.
    pub fn decide(
        &self,
        worker: usize,
        candidate: &Candidate<'_>,
        log: &mut PacketLog,
    ) -> Decision {
        self.decide_with_effects(worker, candidate, log).0
    }

    /// The same, and what the rules did to the packet for those of later tables.
    pub fn decide_with_effects(
        &self,
        worker: usize,
        candidate: &Candidate<'_>,
        log: &mut PacketLog,
    ) -> (Decision, Effects) {
        let mut effects = Effects { mark: candidate.mark, untracked: false };
        let decision = match candidate.headers.addresses {
            Addresses::V4 { source, destination } => {
                let ends = Ends4::new(source, destination);
                self.begin((worker, candidate), ends, log, &mut effects)
            }
            Addresses::V6 { source, destination } => {
                let ends = Ends6::new(source, destination);
                self.begin((worker, candidate), ends, log, &mut effects)
            }
        };
        (decision, effects)
    }

    /// Whether there is nothing to decide: no rules, and all is accepted.
    #[must_use]
    pub fn merely_counts(&self) -> bool {
        let accepts = |base: &Base| base.default == Decision::Accept;
        self.rules.is_empty() && self.bases.iter().all(accepts)
    }

    /// Counts packets that a hook's chain, which has no rules, accepts.
    pub fn count(&self, worker: usize, hook: Hook, packets: u64, bytes: u64) {
        self.bases[hook as usize].default_counters.add_some(worker, packets, bytes);
    }

    /// The same, with what `cache` knows by `key` of the packet's flow.
    pub fn decide_cached(
        &self,
        worker: usize,
        candidate: &Candidate<'_>,
        log: &mut PacketLog,
        cached: (&mut FlowCache, &CacheKey),
    ) -> Decision {
        match candidate.headers.addresses {
            Addresses::V4 { source, destination } => {
                self.go_on(worker, candidate, Ends4::new(source, destination), log, cached)
            }
            Addresses::V6 { source, destination } => {
                self.go_on(worker, candidate, Ends6::new(source, destination), log, cached)
            }
        }
    }

    /// Decides about a packet of which nothing is known.
    #[inline]
    fn begin<E: Ends>(
        &self,
        (worker, candidate): (usize, &Candidate<'_>),
        ends: E,
        log: &mut PacketLog,
        effects: &mut Effects,
    ) -> Decision {
        let mut start = self.start(candidate.hook);
        let key =
            if self.classifies { candidate.key(self.chains[start.chain].windows()) } else { None };
        self.walk((worker, candidate), ends, log, (&mut start, key), effects)
    }

    /// Decides about a packet of whose flow something may be known.
    #[inline]
    fn go_on<E: Ends>(
        &self,
        worker: usize,
        candidate: &Candidate<'_>,
        ends: E,
        log: &mut PacketLog,
        (cache, key): (&mut FlowCache, &CacheKey),
    ) -> Decision {
        let residual = match cache.look_up(key, ends.key(key.packet)) {
            Known::New => {
                let start = &mut self.start(candidate.hook);
                let key = self.chains[start.chain].key::<E>(candidate, key.packet);
                let (packet, effects) = ((worker, candidate), &mut Effects::default());
                return self.walk(packet, ends, log, (start, Some(key)), effects);
            }
            Known::Residual(residual) => residual,
            Known::Again(unknown) => unknown.keep(self.residual(candidate, ends, &key.packet)),
        };
        self.decide_rest(worker, candidate, ends, log, (residual, &key.packet))
    }

    /// Whether to ask a cache about packets of IPv6 or of IPv4: a handful of rules is sooner walked through.
    #[must_use]
    pub fn asks(&self, cache: &FlowCache, six: bool) -> bool {
        (self.classifies || cache.is_eager()) && cache.keeps(six)
    }

    /// Where a hook's packets begin.
    fn start(&self, hook: Hook) -> Walk {
        let chain = self.bases[hook as usize].chain;
        Walk { at: self.chains[chain].first, chain, ways: Ways::default() }
    }

    /// What becomes of a packet that no rule has decided about.
    fn default(&self, worker: usize, candidate: &Candidate<'_>) -> Decision {
        let base = &self.bases[candidate.hook as usize];
        base.default_counters.add(worker, candidate.headers.total_len.into());
        base.default
    }

    /// Walks through the rules from anywhere.
    fn walk<E: Ends>(
        &self,
        (worker, candidate): (usize, &Candidate<'_>),
        ends: E,
        log: &mut PacketLog,
        (Walk { at, chain, ways }, mut key): (&mut Walk, Option<PacketKey>),
        effects: &mut Effects,
    ) -> Decision {
        let bytes = u64::from(candidate.headers.total_len);
        let (mut at, mut chain) = (*at, &self.chains[*chain]);
        // Of IPv4 it is the same for all chains.
        let keyed = E::WINDOWED && key.is_some();
        // The packet as rules have changed it, from the first of these on.
        let mut changed;
        let mut candidate = candidate;
        loop {
            at = chain.next(at, key.as_ref());
            if at == chain.end {
                let Some(back) = ways.back() else { break };
                at = back + 1;
                chain = &self.chains[self.rules[back].chain as usize];
                if keyed {
                    key = candidate.key(chain.windows());
                }
                continue;
            }
            let rule = &self.rules[at];
            match rule.evaluate(candidate, ends, &self.sets) {
                Evaluation::Differs => {
                    at += 1;
                    continue;
                }
                Evaluation::Hotdrop => return Decision::Drop(DropReason::RuleHotdrop),
                Evaluation::Matches => rule.counters.add(worker, bytes),
            }
            match rule.action {
                Action::Continue => at += 1,
                Action::Log(_) | Action::Mark { .. } | Action::Connmark(_) | Action::Notrack => {
                    if let Some(after) = self.act(rule.action, candidate, log, effects) {
                        changed = after;
                        candidate = &changed;
                    }
                    at += 1;
                }
                Action::End(decision) => return decision,
                Action::Synproxy(target) => match target::synproxy(target, candidate) {
                    Some(decision) => return decision,
                    None => at += 1,
                },
                Action::Return => at = chain.end,
                Action::Jump(place) | Action::Goto(place) => {
                    if matches!(rule.action, Action::Jump(_)) {
                        ways.leave(at);
                    }
                    chain = &self.chains[place as usize];
                    at = chain.first;
                    if keyed {
                        key = candidate.key(chain.windows());
                    }
                }
            }
        }
        self.default(worker, candidate)
    }

    /// The mark of the packet afterwards.
    fn mark_flow(&self, place: u32, candidate: &Candidate<'_>) -> u32 {
        let target = self.connmarks.get(place as usize);
        target.map_or(candidate.mark, |target| target::mark_flow(target, candidate))
    }

    /// Does what an action does besides deciding and leading on; returns the packet as it is then, if it changes it.
    #[inline]
    fn act<'a>(
        &self,
        action: Action,
        candidate: &Candidate<'a>,
        log: &mut PacketLog,
        effects: &mut Effects,
    ) -> Option<Candidate<'a>> {
        let mark = match action {
            Action::Log(place) => {
                self.log(place, candidate, log);
                return None;
            }
            Action::Mark { and, xor } => candidate.mark & and ^ xor,
            Action::Connmark(place) => self.mark_flow(place, candidate),
            Action::Notrack => {
                effects.untracked = true;
                return Some(Candidate { connection: Connection::UNTRACKED, ..*candidate });
            }
            Action::Continue
            | Action::End(_)
            | Action::Synproxy(_)
            | Action::Return
            | Action::Jump(_)
            | Action::Goto(_) => return None,
        };
        effects.mark = mark;
        Some(Candidate { mark, ..*candidate })
    }

    #[cold]
    fn log(&self, place: u32, candidate: &Candidate<'_>, log: &mut PacketLog) {
        if let Some(spec) = self.logs.get(place as usize) {
            log.note(spec, candidate);
        }
    }
}
