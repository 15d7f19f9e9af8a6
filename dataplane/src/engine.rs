//! `Engine`: one worker's share of the firewall, without its thread, its clock and its devices.
//!
//! Everything that decides about packets is in here, and nothing in here reads a clock, draws a random
//! number or knows what kind of port it serves. Given the same packets at the same times it does the
//! same, over AF_XDP as over vectors and capture files.

use std::sync::Arc;

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::frame::FramePool;
use crate::handover::{FlowHash, Inboxes};
use crate::hold::{ASK_AGAIN_NS, Hold, Outlook};
use crate::packet_log::PacketLog;
use crate::pipeline;
use crate::policy::{Dice, FlowCache, Policies, Tracks};
use crate::port::{Port, PortIndex, PortSet};
use crate::publish::{Published, Reader};
use crate::reassembly::Reassembly;
use crate::respond::{IcmpError, Icmpv6Error, Unreachable, Unreachable6};
use crate::route::{Forwarding, Resolver};
use crate::stage::{Answers, Emitter, Way};
use crate::telemetry::{Counter, Counters, PublishedCounters};
use crate::verdict::DropReason;
use crate::wire::ethernet::HEADER_BYTES;

/// How long between two looks at held packets when nothing is heard of their next hops.
const REVIEW_NS: u64 = 10_000_000;

/// Flows that a poll looks at, at most, because their time may have come: some 10 us.
const EXPIRE_MAX: u32 = 64;

/// What an engine is built from.
#[derive(Debug)]
pub struct EngineConfig {
    /// This worker's number.
    pub worker: usize,
    /// Names the worker of each flow; the same for all workers.
    pub flow_hash: FlowHash,
    /// All workers' inboxes.
    pub inboxes: Inboxes,
    /// Where packets go.
    pub forwarding: Arc<Published<Forwarding>>,
    /// The rules.
    pub policies: Arc<Published<Policies>>,
    /// Where what is left of the rules for a flow is kept.
    pub flow_cache: FlowCache,
    /// This worker's flows. Where there are some already, packets are tracked from the first on.
    pub conntrack: Conntrack,
    /// Whether packets are tracked although no rule asks for it.
    pub always_track: bool,
    /// What the random numbers of rules begin with; the same for all workers.
    pub dice_seed: u64,
    /// Who resolves next hops.
    pub resolver: Resolver,
    /// This worker's frames.
    pub pool: FramePool,
}

/// One worker's share of the firewall.
#[derive(Debug)]
pub struct Engine {
    pub(crate) worker: usize,
    pub(crate) flow_hash: FlowHash,
    pub(crate) inboxes: Inboxes,
    pub(crate) forwarding: Reader<Forwarding>,
    pub(crate) policies: Reader<Policies>,
    flow_cache: FlowCache,
    conntrack: Conntrack,
    /// Set by the first policy that asks for it, and then for good: a flow that was not watched for a while would be
    /// taken for out of its window. Set from the start where there are flows from the start, for the same reason.
    tracks: Tracks,
    /// The policies whose counted connections `conntrack` knows.
    limited_epoch: u64,
    /// Whether flows wait to be removed whose time has come.
    overdue: bool,
    dice: Dice,
    resolver: Resolver,
    pool: FramePool,
    ports: PortSet,
    hold: Hold,
    reassembly: Reassembly,
    reviewed_ns: u64,
    reviewed_epoch: u64,
    answers: Answers,
    log: PacketLog,
    /// Time of the last poll.
    now_ns: u64,
    /// The time of day at the last poll.
    wall_s: u64,
    counters: Counters,
    /// Frames in the pool and lent, as published last.
    levels: (usize, usize),
    published: Arc<PublishedCounters>,
    batch: Box<Batch>,
}

/// What is left of an engine that has ended.
#[derive(Debug)]
pub struct Remains {
    /// All of its frames.
    pub pool: FramePool,
    /// Its flows, as of its last poll.
    pub conntrack: Conntrack,
}

/// What a poll did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Packets taken in, from ports, from other workers and from the hold.
    pub packets: u64,
    /// Packets given to transmit rings.
    pub transmitted: u64,
}

impl Engine {
    /// An engine without ports. All of its memory is allocated here.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let waker = config.inboxes.waker(config.worker);
        config.forwarding.wake_on_publish(Arc::clone(waker));
        config.policies.wake_on_publish(Arc::clone(waker));
        Self {
            worker: config.worker,
            flow_hash: config.flow_hash,
            answers: Answers::new(config.inboxes.workers()),
            log: PacketLog::silent(),
            inboxes: config.inboxes,
            forwarding: config.forwarding.reader(),
            policies: config.policies.reader(),
            flow_cache: config.flow_cache,
            tracks: Tracks::all(config.always_track || !config.conntrack.is_empty()),
            conntrack: config.conntrack,
            limited_epoch: u64::MAX,
            overdue: false,
            dice: Dice::new(config.dice_seed ^ (config.worker as u64) << 48),
            resolver: config.resolver,
            pool: config.pool,
            ports: PortSet::new(),
            hold: Hold::new(),
            reassembly: Reassembly::new(),
            reviewed_ns: 0,
            reviewed_epoch: 0,
            now_ns: 0,
            wall_s: 0,
            counters: Counters::default(),
            levels: (0, 0),
            published: PublishedCounters::new(),
            batch: Box::new(Batch::new()),
        }
    }

    /// The counters as others may read them, up to date at the end of every poll.
    #[must_use]
    pub fn published(&self) -> Arc<PublishedCounters> {
        Arc::clone(&self.published)
    }

    /// The worker's ports.
    #[must_use]
    pub fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// The worker's flows.
    #[must_use]
    pub fn conntrack(&self) -> &Conntrack {
        &self.conntrack
    }

    /// Sets where rules have lines about packets written; until then nobody listens.
    pub fn set_log(&mut self, log: PacketLog) {
        self.log = log;
    }

    /// The worker's flows, to be changed between two polls.
    pub fn conntrack_mut(&mut self) -> &mut Conntrack {
        &mut self.conntrack
    }

    /// The counters, for the worker itself.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// Whether something was published, or handed over, that the last poll did not see.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.policies.is_stale()
            || self.forwarding.is_stale()
            || self.inboxes.waiting(self.worker) > 0
            || self.pool.returning() > 0
            || self.overdue
    }

    /// Whether it has to look again soon although nothing may arrive: packets are held for their next
    /// hops, or a device has not taken all that it was given.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        !self.hold.is_empty() || self.ports.is_unfinished()
    }

    /// Opens a queue; it is lent frames at once.
    pub fn open(&mut self, queue: Box<dyn Port>) {
        self.ports.open(queue);
        self.ports.recycle(&mut self.pool);
    }

    /// Closes all queues of a port. Its frames are back in the pool.
    pub fn close(&mut self, port: PortIndex) {
        self.ports.close(port, &mut self.pool, &mut self.counters, self.now_ns);
        self.publish();
    }

    /// Frames that this engine can account for: in the pool, on their way home, lent, held.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.pool.available() + self.pool.returning() + self.ports.lent() + self.held()
    }

    /// One turn of the loop: adopt, receive, decide, transmit, recycle. `now_ns` is time that only goes forward;
    /// `wall_s` is the time of day, UTC, in seconds since 1970, for rules.
    pub fn poll(&mut self, now_ns: u64, wall_s: u64) -> Work {
        self.forwarding.refresh();
        self.policies.refresh();
        self.flow_cache.adopt(self.policies.epoch());
        self.tracks |= self.policies.get().tracks();
        if self.limited_epoch != self.policies.epoch() {
            self.limited_epoch = self.policies.epoch();
            let counting = Arc::clone(self.policies.shared());
            self.conntrack.set_limited(self.worker, counting);
        }
        self.conntrack.set_time(now_ns);
        self.log.set_time(now_ns);
        let mut work = Work::default();
        (self.now_ns, self.wall_s) = (now_ns, wall_s);
        self.ports.release(&mut self.pool, now_ns);
        self.pool.collect_returns();
        self.ports.recycle(&mut self.pool);
        if !self.hold.is_empty() {
            work.packets += self.review_hold(now_ns);
        }
        while let Some(datagram) = self.reassembly.expired(now_ns) {
            while let Some((frame, ..)) = self.reassembly.take(datagram) {
                if let Some(frame) = frame {
                    self.counters.drop_one(DropReason::Reassembly);
                    self.pool.put(frame);
                    work.packets += 1;
                }
            }
        }
        for place in 0..self.ports.len() {
            let received = self.receive(place);
            if received > 0 {
                work.packets += received;
                self.run(now_ns, pipeline::Origin::Port);
                work.transmitted += self.ports.flush(&mut self.pool, &mut self.counters);
            }
        }
        // As many turns as there are queues: packets from other workers get a fair share of this one.
        for _ in 0..self.ports.len().max(1) {
            let handed_in = self.take_handed_over();
            if handed_in == 0 {
                break;
            }
            work.packets += handed_in;
            self.run(now_ns, pipeline::Origin::Worker);
        }
        work.transmitted += self.ports.flush(&mut self.pool, &mut self.counters);
        self.ports.kick();
        if self.inboxes.workers() > 1 && work.packets > 0 {
            self.inboxes.wake_receivers();
        }
        self.overdue = self.conntrack.expire(EXPIRE_MAX) == EXPIRE_MAX;
        self.counters.add(Counter::Polls, 1);
        if work == Work::default() {
            self.counters.add(Counter::PollsIdle, 1);
        }
        // An idle poll may have taken back what was in flight, or what another worker has sent home.
        if work != Work::default() || self.levels() != self.levels {
            self.publish();
        }
        work
    }

    fn held(&self) -> usize {
        self.hold.len() + self.reassembly.frames()
    }

    fn levels(&self) -> (usize, usize) {
        (self.pool.available(), self.ports.lent())
    }

    /// Publishes the counters with their levels.
    pub fn publish(&mut self) {
        self.ports.gauge(&mut self.counters);
        self.counters.set(Counter::Held, self.held() as u64);
        self.counters.set(Counter::FramesPool, self.pool.available() as u64);
        self.published.publish(&self.counters);
        self.levels = self.levels();
    }

    /// Ends the engine: ports are closed, held packets dropped; the pool with all of its frames is given
    /// back, and the flows.
    #[must_use]
    pub fn shut_down(mut self) -> Remains {
        for index in (0..crate::port::PORTS_MAX).filter_map(PortIndex::new) {
            self.ports.close(index, &mut self.pool, &mut self.counters, self.now_ns);
        }
        // The engine ends here, and the memory with the last frame.
        self.ports.release(&mut self.pool, u64::MAX);
        while let Some(held) = self.hold.pop() {
            self.counters.drop_one(DropReason::NeighbourUnresolved);
            self.pool.put(held.frame);
        }
        while let Some(frame) = self.reassembly.pop() {
            self.counters.drop_one(DropReason::Reassembly);
            self.pool.put(frame);
        }
        while let Some(packet) = self.inboxes.take(self.worker) {
            self.counters.add(Counter::HandedIn, 1);
            self.counters.drop_one(DropReason::PortDown);
            self.pool.put(packet.frame);
        }
        self.pool.collect_returns();
        self.publish();
        Remains { pool: self.pool, conntrack: self.conntrack }
    }

    fn receive(&mut self, place: usize) -> u64 {
        let Some(queue) = self.ports.queue_mut(place) else { return 0 };
        let port = queue.index();
        let received = queue.receive(&mut self.batch) as u64;
        if received > 0 {
            let bytes: usize = (0..self.batch.len()).map(|i| self.batch.bytes(i).len()).sum();
            self.counters.received(port, received, bytes as u64);
        }
        received
    }

    fn take_handed_over(&mut self) -> u64 {
        let mut taken = 0;
        while self.batch.room() > 0 {
            let Some(packet) = self.inboxes.take(self.worker) else { break };
            self.batch.push(packet.frame, packet.ingress);
            taken += 1;
        }
        self.counters.add(Counter::HandedIn, taken);
        taken
    }

    fn run(&mut self, now_ns: u64, origin: pipeline::Origin) {
        let mut emitter = Emitter {
            forwarding: self.forwarding.get(),
            forwarding_epoch: self.forwarding.epoch(),
            resolver: &self.resolver,
            ports: &mut self.ports,
            hold: &mut self.hold,
            reassembly: &mut self.reassembly,
            pool: &mut self.pool,
            counters: &mut self.counters,
            now_ns,
            asked: false,
        };
        let decisions = pipeline::Decisions {
            worker: self.worker,
            flow_hash: &self.flow_hash,
            inboxes: &self.inboxes,
            policies: self.policies.get(),
            cache: &mut self.flow_cache,
            conntrack: &mut self.conntrack,
            tracks: self.tracks,
            dice: &self.dice,
            now_ns,
            wall_s: self.wall_s,
            answers: &mut self.answers,
            log: &mut self.log,
        };
        pipeline::run(&mut self.batch, origin, decisions, &mut emitter);
        if emitter.asked {
            self.resolver.wake();
        }
    }

    /// Lets go of held packets whose next hops are known now, or known not to answer. Returns how many.
    fn review_hold(&mut self, now_ns: u64) -> u64 {
        let epoch = self.forwarding.epoch();
        if epoch == self.reviewed_epoch && now_ns.saturating_sub(self.reviewed_ns) < REVIEW_NS {
            return 0;
        }
        (self.reviewed_epoch, self.reviewed_ns) = (epoch, now_ns);
        let forwarding = self.forwarding.get();
        let mut emitter = Emitter {
            forwarding,
            forwarding_epoch: epoch,
            resolver: &self.resolver,
            ports: &mut self.ports,
            hold: &mut self.hold,
            reassembly: &mut self.reassembly,
            pool: &mut self.pool,
            counters: &mut self.counters,
            now_ns,
            asked: false,
        };
        let mut left = 0;
        for _ in 0..emitter.hold.len() {
            let Some(mut held) = emitter.hold.pop() else { break };
            match held.outlook(forwarding, epoch, now_ns) {
                Outlook::Waiting => {
                    if now_ns.saturating_sub(held.asked_ns) >= ASK_AGAIN_NS {
                        held.asked_ns = now_ns;
                        emitter.asked |= emitter.resolver.request(held.port, held.next_hop);
                    }
                    emitter.hold.keep(held);
                    continue;
                }
                Outlook::Resolved => {
                    let way =
                        Way { port: held.port, next_hop: held.next_hop, ingress: held.ingress };
                    emitter.send(held.frame, way);
                }
                Outlook::Failed => {
                    if let Some(ingress) = held.ingress {
                        let original = &held.frame.bytes()[HEADER_BYTES..];
                        if held.next_hop.is_ipv4() {
                            let kind = IcmpError::DestinationUnreachable(Unreachable::Host);
                            self.answers.send(original, kind, &mut emitter);
                        } else {
                            let kind = Icmpv6Error::DestinationUnreachable(Unreachable6::Address);
                            self.answers.send6(original, kind, ingress, &mut emitter);
                        }
                    }
                    emitter.drop_frame(held.frame, DropReason::NeighbourUnresolved);
                }
            }
            left += 1;
        }
        if emitter.asked {
            self.resolver.wake();
        }
        left
    }
}
