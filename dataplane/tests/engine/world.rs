//! `World`: engines over ports in memory, watched.
//!
//! ```text
//!                    worker 0      worker 1   ...
//!   port 0 "east"    Wire          Wire           10.0.1.1/24, MTU 1500     Alice  10.0.1.2
//!   port 1 "west"    Wire          Wire           10.0.2.1/24, MTU 1500     Bob    10.0.2.2
//!   port 2 "wan0"    Wire          Wire           10.0.3.1/24, MTU  600     Carol  10.0.3.2
//! ```
//!
//! Each worker has one queue of each port. After every poll of any of them: all frames are
//! somewhere, each worker's published counters balance, and what the wires saw is what the counters
//! say.

use std::net::Ipv4Addr;
use std::sync::Arc;

use af_xdp::{Area, AreaConfig};
use weir_control::rule::{Family, Names, Table};
use weir_control::ruleset::Ruleset;
use weir_control::set::restore;
use weir_dataplane::conntrack::{Conntrack, Settings};
use weir_dataplane::engine::{Engine, EngineConfig};
use weir_dataplane::frame::{FramePool, Memory};
use weir_dataplane::handover::{FlowHash, Inboxes};
use weir_dataplane::limit::kept::{TableKey, Tables};
use weir_dataplane::limit::recent::{RECENT, RecentTable};
use weir_dataplane::policy::{FlowCache, Policies};
use weir_dataplane::port::{MemoryPort, Port, PortIndex, Wire};
use weir_dataplane::publish::Published;
use weir_dataplane::route::{
    Forwarding, ForwardingBuilder, InterfaceAddress, Neighbour, NeighbourState, PortLink, Resolver,
    Target, Unreachable,
};
use weir_dataplane::set::Sets;
use weir_dataplane::telemetry::{Counter, Counters, PublishedCounters};

use crate::delta::{self, Moved};
use crate::packet::Packet;
use crate::words;

use crate::side::Side;
pub(crate) use crate::sizes::Sizes;

pub(crate) const EAST: PortIndex = PortIndex(0);
pub(crate) const WEST: PortIndex = PortIndex(1);
pub(crate) const WAN: PortIndex = PortIndex(2);
pub(crate) const PORTS: [PortIndex; 3] = [EAST, WEST, WAN];
pub(crate) const NAMES: [&str; 3] = ["east", "west", "wan0"];

pub(crate) const ALICE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
pub(crate) const BOB: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
pub(crate) const CAROL: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 2);
/// Nobody has this address.
pub(crate) const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 99);
/// A router beyond "wan0".
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 3, 254);

/// Weir's MAC address on a port.
pub(crate) fn mac(port: PortIndex) -> [u8; 6] {
    [2, 0, 0, 0, 0, port.0]
}

/// Weir's address on a port.
pub(crate) fn address(port: PortIndex) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, port.0 + 1, 1)
}

/// The MAC address of a host.
pub(crate) fn host_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [6, 0, a, b, c, d]
}

pub(crate) fn link(port: PortIndex, mtu: u32) -> PortLink {
    PortLink {
        name: NAMES[port.as_usize()].into(),
        ifindex: Some(10 + u32::from(port.0)),
        mac: mac(port),
        mtu,
        up: true,
        addresses: vec![InterfaceAddress::new(address(port), 24)],
    }
}

pub(crate) fn reachable(host: Ipv4Addr) -> Neighbour {
    Neighbour::new(host_mac(host), NeighbourState::Reachable)
}

/// The network drawn above, with routes of every kind; `NOBODY` is unknown.
pub(crate) fn network() -> ForwardingBuilder {
    let via = |mtu| Target::Forward { port: WAN, gateway: Some(GATEWAY), mtu, source: None };
    let net = |second| Ipv4Addr::new(10, second, 0, 0);
    Forwarding::builder()
        .port(link(EAST, 1500))
        .port(link(WEST, 1500))
        .port(link(WAN, 600))
        .neighbour(EAST, ALICE, reachable(ALICE))
        .neighbour(WEST, BOB, reachable(BOB))
        .neighbour(WAN, CAROL, reachable(CAROL))
        .neighbour(WAN, GATEWAY, reachable(GATEWAY))
        .route(net(66), 16, Target::Unreachable(Unreachable::Unreachable))
        .route(net(67), 16, Target::Unreachable(Unreachable::Prohibit))
        .route(net(68), 16, Target::Unreachable(Unreachable::Blackhole))
        .route(net(69), 16, Target::NotOurs { source: None })
        .route(net(70), 16, via(None))
        .route(net(71), 16, via(Some(400)))
}

/// The port of the machine itself, in the place of "wan0".
pub(crate) const HOST: PortIndex = WAN;

/// The network drawn above, "wan0" apart: in its place is the port of the machine itself.
pub(crate) fn hosted_network() -> ForwardingBuilder {
    let mut host = PortLink { mac: [0; 6], addresses: Vec::new(), ..link(HOST, 1500) };
    host.name = "weir0".into();
    Forwarding::builder()
        .port(link(EAST, 1500))
        .port(link(WEST, 1500))
        .host_port(host)
        .neighbour(EAST, ALICE, reachable(ALICE))
        .neighbour(WEST, BOB, reachable(BOB))
        .route(Ipv4Addr::new(10, 67, 0, 0), 16, Target::Unreachable(Unreachable::Prohibit))
}

/// A packet that left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) worker: usize,
    pub(crate) port: PortIndex,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) sizes: Sizes,
    pub(crate) memory: Arc<Memory>,
    /// `None` after its shut-down.
    pub(crate) engines: Vec<Option<Engine>>,
    published: Vec<Arc<PublishedCounters>>,
    pub(crate) inboxes: Inboxes,
    pub(crate) flow_hash: FlowHash,
    pub(crate) forwarding: Arc<Published<Forwarding>>,
    policies: Arc<Published<Policies>>,
    /// Table filter of IPv4, of IPv6; then table raw, which is there from its first change on.
    sides: [Side; 4],
    pub(crate) resolver: Resolver,
    /// `wires[worker][port]`
    wires: Vec<Vec<Wire>>,
    host: Option<PortIndex>,
    pub(crate) now_ns: u64,
    pub(crate) wall_s: u64,
    put_on_wires: u64,
    taken_from_wires: u64,
    /// All that has left since the last [`World::left`].
    sent: Vec<Sent>,
}

impl World {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self::over(sizes, network().build())
    }

    pub(crate) fn over(sizes: Sizes, forwarding: Forwarding) -> Self {
        Self::with(sizes, forwarding, sizes.tables(Settings::default()))
    }

    /// With flows that are known already, in a table for each worker.
    pub(crate) fn with(sizes: Sizes, forwarding: Forwarding, tables: Vec<Conntrack>) -> Self {
        let area = AreaConfig { chunk_bytes: 2048, chunks: sizes.chunks, huge_pages: false };
        let (memory, frames) = Memory::new(Area::new(&area).expect("memory"));
        let inboxes = Inboxes::new(sizes.workers, sizes.inbox).expect("file descriptors");
        let host = forwarding.host();
        let forwarding = Arc::new(Published::new(forwarding));
        let policies = Arc::new(Published::new(Policies::accept_all(sizes.workers)));
        let resolver = Resolver::new().expect("a file descriptor");
        let flow_hash = sizes.flow_hash();
        let wires: Vec<Vec<Wire>> =
            (0..sizes.workers).map(|_| PORTS.map(|_| Wire::default()).into()).collect();
        let engines: Vec<_> = FramePool::split(frames, sizes.workers)
            .into_iter()
            .zip(tables)
            .enumerate()
            .map(|(worker, (pool, conntrack))| {
                Engine::new(EngineConfig {
                    worker,
                    flow_hash: flow_hash.clone(),
                    inboxes: inboxes.clone(),
                    forwarding: Arc::clone(&forwarding),
                    policies: Arc::clone(&policies),
                    flow_cache: FlowCache::new(sizes.flow_cache).with_ipv6(true).eagerly(),
                    conntrack,
                    always_track: sizes.always_track,
                    dice_seed: 1,
                    resolver: resolver.clone(),
                    pool,
                })
            })
            .collect();
        let mut world = Self {
            sizes,
            memory,
            published: engines.iter().map(Engine::published).collect(),
            engines: engines.into_iter().map(Some).collect(),
            inboxes,
            flow_hash,
            forwarding,
            policies,
            sides: Side::all(sizes, host),
            resolver,
            wires,
            host,
            now_ns: 1_000_000_000,
            wall_s: 1_000_000_000,
            put_on_wires: 0,
            taken_from_wires: 0,
            sent: Vec::new(),
        };
        for worker in 0..sizes.workers {
            for port in PORTS {
                world.open(worker, port);
            }
        }
        world.check();
        world
    }

    pub(crate) fn engine(&mut self, worker: usize) -> &mut Engine {
        self.engines[worker].as_mut().expect("not shut down")
    }

    /// Opens a worker's queue of a port.
    pub(crate) fn open(&mut self, worker: usize, port: PortIndex) {
        let wire = self.wire(worker, port);
        let Sizes { fill, tx, completion_lag, .. } = self.sizes;
        let queue = MemoryPort::new(port, wire, fill, tx).with_completion_lag(completion_lag);
        let queue = if self.host == Some(port) { queue.as_host() } else { queue };
        self.open_as(worker, Box::new(queue));
    }

    pub(crate) fn open_as(&mut self, worker: usize, queue: Box<dyn Port>) {
        self.engine(worker).open(queue);
    }

    /// The far end of a worker's queue.
    pub(crate) fn wire(&self, worker: usize, port: PortIndex) -> Wire {
        self.wires[worker][port.as_usize()].clone()
    }

    /// Changes the rules by command lines, as the daemon does, and publishes them. Returns their
    /// epoch.
    pub(crate) fn rules(&mut self, lines: &[&str]) -> u64 {
        self.change(Family::V4, Table::Filter, lines)
    }

    /// The same of table raw.
    pub(crate) fn raw(&mut self, lines: &[&str]) -> u64 {
        self.change(Family::V4, Table::Raw, lines)
    }

    /// The same of IPv6.
    pub(crate) fn rules6(&mut self, lines: &[&str]) -> u64 {
        self.change(Family::V6, Table::Filter, lines)
    }

    /// The same of table raw.
    pub(crate) fn raw6(&mut self, lines: &[&str]) -> u64 {
        self.change(Family::V6, Table::Raw, lines)
    }

    fn change(&mut self, family: Family, table: Table, lines: &[&str]) -> u64 {
        let side = &mut self.sides[2 * table as usize + family as usize];
        for line in lines {
            let command = words::command_of(family, table, line);
            let outcome = side.ruleset.apply(&command).expect(line);
            side.compiler.settle(&outcome);
        }
        side.policy =
            Arc::new(side.compiler.compile(&side.ruleset).expect("rules of this version"));
        let policies = Policies::clone(&self.policies.current());
        self.policies.publish(policies.with(family, table, Arc::clone(&side.policy))).0
    }

    /// What is said of rules of IPv4 that cannot be enforced; nothing changes.
    pub(crate) fn refused(&mut self, lines: &[&str]) -> String {
        let Side { ruleset, compiler, .. } = &self.sides[0];
        let mut ruleset = ruleset.clone();
        for line in lines {
            ruleset.apply(&words::command_of(Family::V4, Table::Filter, line)).expect(line);
        }
        compiler.check(&ruleset).expect_err("it cannot be enforced").to_string()
    }

    /// The rule set of IPv4.
    pub(crate) fn ruleset(&mut self) -> &mut Ruleset {
        &mut self.sides[0].ruleset
    }

    /// Puts sets, as `ipset save` writes them, in the place of all sets.
    pub(crate) fn sets(&mut self, text: &str) {
        let names = Names::builtin();
        let plan = restore::read(text.as_bytes(), false, &names, &|_| None).expect("sets");
        let sets = Sets::new(self.sizes.seed).after(&plan.changes, 0, &|_| 0).expect("sets");
        let sets = Arc::new(sets);
        for side in &mut self.sides {
            side.compiler.set_sets(Arc::clone(&sets));
        }
        let policies = Policies::clone(&self.policies.current());
        self.policies.publish(policies.with_sets(&sets));
    }

    /// The counters of rule `number` (from 1), and of the policy for 0.
    pub(crate) fn count(&self, number: usize) -> (u64, u64) {
        self.sides[0].count(number)
    }

    /// The same of IPv6.
    pub(crate) fn count6(&self, number: usize) -> (u64, u64) {
        self.sides[1].count(number)
    }

    /// The counters of all rules, chain after chain in the order of listings.
    pub(crate) fn counts(&self) -> Vec<(u64, u64)> {
        self.sides[0].counts()
    }

    /// The same of IPv6.
    pub(crate) fn counts6(&self) -> Vec<(u64, u64)> {
        self.sides[1].counts()
    }

    /// Of table raw, the counters of the policy of its first chain and of all rules, likewise.
    pub(crate) fn raw_counts(&self, family: Family) -> Vec<(u64, u64)> {
        let side = &self.sides[2 + family as usize];
        [vec![side.count(0)], side.counts()].concat()
    }

    /// The table of `-m recent` of that name, which rules of both families share.
    pub(crate) fn recent(&self, name: &str) -> Option<Arc<RecentTable>> {
        let key = TableKey { of: RECENT, family: None, name: name.to_owned() };
        self.tables().find(&key)
    }

    /// What rules share by name.
    pub(crate) fn tables(&self) -> &Tables {
        self.sides[0].compiler.kept().tables()
    }

    /// Puts a frame on a wire towards a worker.
    pub(crate) fn inject(&mut self, worker: usize, port: PortIndex, frame: impl Into<Vec<u8>>) {
        self.wires[worker][port.as_usize()].send(frame);
        self.put_on_wires += 1;
    }

    /// Puts a packet on the wire, from the MAC address of its source to Weir's.
    pub(crate) fn inject_packet(&mut self, worker: usize, port: PortIndex, packet: &Packet) {
        self.inject(worker, port, packet.frame(mac(port), host_mac(packet.source)));
    }

    /// One poll of one worker, and then all the checks.
    pub(crate) fn poll(&mut self, worker: usize) -> u64 {
        let now_ns = self.now_ns;
        let wall_s = self.wall_s;
        let work = self.engine(worker).poll(now_ns, wall_s);
        for port in PORTS {
            let sent = self.wires[worker][port.as_usize()].take_sent();
            self.taken_from_wires += sent.len() as u64;
            self.sent.extend(sent.into_iter().map(|bytes| Sent { worker, port, bytes }));
        }
        self.check();
        work.packets
    }

    /// Polls all workers in turn until nothing moves any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let workers = self.engines.len();
            let packets: u64 = (0..workers).map(|worker| self.poll(worker)).sum();
            if packets == 0 {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// What has left since the last call.
    pub(crate) fn left(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// What has left since the last call, without the workers.
    pub(crate) fn left_by_port(&mut self) -> Vec<(PortIndex, Vec<u8>)> {
        self.left().into_iter().map(|sent| (sent.port, sent.bytes)).collect()
    }

    /// The sum of all workers' published counters.
    pub(crate) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.published.iter().for_each(|published| sum.merge(&published.read()));
        sum
    }

    /// Runs until nothing moves, and checks that exactly these counters moved. Returns what left.
    #[track_caller]
    pub(crate) fn expect(&mut self, moved: &[Moved]) -> Vec<(PortIndex, Vec<u8>)> {
        let before = self.counters();
        self.settle();
        delta::check(&before, &self.counters(), moved);
        self.left_by_port()
    }

    /// Packets that no port has received yet.
    pub(crate) fn pending(&self) -> usize {
        self.wires.iter().flatten().map(Wire::pending).sum()
    }

    /// That every frame is somewhere, and every packet accounted for.
    #[track_caller]
    pub(crate) fn check(&self) {
        let waiting: usize = (0..self.sizes.workers).map(|w| self.inboxes.waiting(w)).sum();
        if self.engines.iter().all(Option::is_some) {
            let engines: usize = self.engines.iter().flatten().map(Engine::frames).sum();
            assert_eq!(engines + waiting, self.sizes.chunks as usize, "a frame is lost");
        }
        assert_eq!(self.memory.frames_alive(0), self.sizes.chunks as usize, "a frame is dropped");
        for (worker, published) in self.published.iter().enumerate() {
            assert_eq!(published.read().imbalance(), 0, "worker {worker} does not balance");
        }
        let counters = self.counters();
        let count = |counter| counters.get(counter);
        let pending = self.pending() as u64;
        assert_eq!(self.put_on_wires, count(Counter::Received) + pending, "received");
        let transmitted = count(Counter::Transmitted) + count(Counter::ToHost);
        assert_eq!(self.taken_from_wires, transmitted, "transmitted");
        let on_the_way = count(Counter::HandedOut) - count(Counter::HandedIn);
        assert_eq!(on_the_way, waiting as u64, "handed over");
    }

    /// Ends all engines; every frame must be back.
    pub(crate) fn shut_down(mut self) {
        let engines: Vec<Engine> = self.engines.iter_mut().filter_map(Option::take).collect();
        let mut pools: Vec<FramePool> =
            engines.into_iter().map(|engine| engine.shut_down().pool).collect();
        pools.iter_mut().for_each(FramePool::collect_returns);
        let free: usize = pools.iter().map(FramePool::available).sum();
        assert_eq!(free, self.sizes.chunks as usize, "frames after the end");
        for (worker, published) in self.published.iter().enumerate() {
            let counters = published.read();
            assert_eq!(counters.imbalance(), 0, "worker {worker} does not balance in the end");
            assert_eq!(counters.get(Counter::Held), 0);
        }
        assert_eq!(self.memory.frames_alive(0), self.sizes.chunks as usize);
        drop(pools);
        assert_eq!(self.memory.frames_alive(0), 0, "nothing else keeps a frame");
    }
}
