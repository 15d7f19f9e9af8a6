//! Random everything: frames valid and broken, ports that come and go, rules and routes that
//! change, rings and pools too small, workers polled in any order. After each poll the world is
//! checked; in the end all of it drains.

use std::collections::HashMap;

use weir_dataplane::batch::Batch;
use weir_dataplane::frame::{Frame, FramePool};
use weir_dataplane::port::{MemoryPort, Port, PortIndex};
use weir_dataplane::route::{Forwarding, Neighbour, NeighbourState};
use weir_dataplane::telemetry::Counters;
use weir_dataplane::verdict::DropReason;

use crate::chance::{Chance, Seed};
use crate::packet::Packet;
use crate::six;
use crate::spec::{Spec, traffic};
use crate::twin::commands;
use crate::world::*;

/// Worlds from which nothing is spared; `WEIR_CHAOS_SEEDS` asks for more.
const SEEDS: u64 = 150;
const STEPS: usize = 150;

fn sizes(chance: &mut Chance) -> Sizes {
    let workers = 1 + chance.below(3);
    let tx = 1 + chance.below(40);
    Sizes {
        workers,
        chunks: u32::try_from(8 + chance.below(300)).expect("few"),
        fill: 1 + chance.below(40),
        tx,
        completion_lag: if chance.percent(50) { 0 } else { chance.below(tx + 1) },
        inbox: 1 + chance.below(12),
        flows: u32::try_from(chance.below(40)).expect("few"),
        flows6: u32::try_from(chance.below(40)).expect("few"),
        half_open: u32::try_from(chance.below(20)).expect("few"),
        always_track: chance.percent(80),
        flow_cache: 64,
        acct: chance.percent(50),
        synproxy: chance.percent(50),
        seed: chance.below(4) as u64,
    }
}

/// A frame that may be anything.
fn frame(chance: &mut Chance) -> (PortIndex, Vec<u8>) {
    if chance.percent(25) {
        let (port, bytes) = six::any_frame(chance);
        return (port, broken(bytes, port, chance));
    }
    let (ingress, mut packet) = traffic(chance);
    let port = PORTS[ingress];
    match chance.below(20) {
        0 => packet.ttl = chance.byte() & 1,
        1 => packet.destination = u32::try_from(chance.draw() >> 32).expect("32 bits").into(),
        2 => packet.source = u32::try_from(chance.draw() >> 32).expect("32 bits").into(),
        3 => packet.destination = std::net::Ipv4Addr::new(10, 0, 2, 90 + (chance.byte() & 15)),
        4 => packet.destination = std::net::Ipv4Addr::new(10, 66 + (chance.byte() & 7), 1, 1),
        5..8 => {
            let len = 8 * chance.below(180);
            packet.payload = chance.bytes(len);
        }
        8 => {
            let source_route = vec![131, 3, 4, 0];
            let any = chance.bytes(4);
            packet.options = if chance.percent(30) { source_route } else { any };
        }
        _ => {}
    }
    let bytes = packet.frame(mac(port), host_mac(packet.source));
    (port, broken(bytes, port, chance))
}

/// The same frame, or another.
fn broken(mut bytes: Vec<u8>, port: PortIndex, chance: &mut Chance) -> Vec<u8> {
    match chance.below(20) {
        0 => {
            let at = chance.below(bytes.len());
            bytes[at] ^= 1 << chance.below(8);
        }
        1 => bytes.truncate(chance.below(bytes.len() + 1)),
        2 => bytes.resize(bytes.len().max(60), chance.byte()),
        3 => {
            let len = chance.below(3000);
            bytes = chance.bytes(len);
        }
        4 => bytes = [&mac(port)[..], &chance.bytes(60)[..]].concat(),
        _ => {}
    }
    bytes
}

/// The network with some of its neighbours in some state, and perhaps a port down or narrow.
fn forwarding(chance: &mut Chance) -> Forwarding {
    let states = [
        NeighbourState::Incomplete,
        NeighbourState::Reachable,
        NeighbourState::Stale,
        NeighbourState::Probing,
        NeighbourState::Failed,
    ];
    if chance.percent(10) {
        // No port, no route, nobody.
        return Forwarding::builder().build();
    }
    let mut builder = if chance.percent(20) {
        let mut west = link(WEST, chance.one_of(&[0, 67, 68, 100, 576, 70_000]));
        west.up = chance.percent(50);
        Forwarding::builder().port(link(EAST, 1500)).port(west).port(link(WAN, 200))
    } else if chance.percent(50) {
        six::any_neighbours(chance, &states)
    } else {
        network()
    };
    for (port, host) in [(EAST, ALICE), (WEST, BOB), (WAN, CAROL), (WAN, GATEWAY), (WEST, NOBODY)] {
        if chance.percent(60) {
            let neighbour = Neighbour::new(host_mac(host), chance.one_of(&states));
            builder = builder.neighbour(port, host, neighbour);
        }
    }
    builder.build()
}

fn step(world: &mut World, chance: &mut Chance) {
    let worker = chance.below(world.sizes.workers);
    match chance.below(100) {
        0..40 => {
            for _ in 0..chance.below(40) {
                let (port, bytes) = frame(chance);
                world.inject(worker, port, bytes);
            }
        }
        40..85 => {
            world.poll(worker);
        }
        85..90 => world.now_ns += chance.draw() % 2_000_000_000,
        90..94 => {
            let _ = world.forwarding.publish(forwarding(chance));
        }
        94..96 => {
            let specs: Vec<Spec> = (0..chance.below(6)).map(|_| Spec::draw(chance)).collect();
            let mut lines = commands(&specs, chance.percent(70));
            let others = [
                "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
                "-A FORWARD -s 10.0.0.0/8 -j REJECT",
                "-I FORWARD 1 -j LOG --log-prefix chaos",
            ];
            lines.extend(others.into_iter().filter(|_| chance.percent(20)).map(str::to_owned));
            if world.sizes.synproxy && chance.percent(40) {
                lines.push("-I FORWARD 1 -p tcp -j SYNPROXY --mss 1460 --timestamp".to_owned());
            }
            world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let raw = [
                "-A PREROUTING -p tcp --syn -j CT --notrack",
                "-A PREROUTING -s 10.0.0.0/9 -p udp -j DROP",
                "-A PREROUTING -m statistic --mode random --probability 0.5 -j NOTRACK",
            ];
            let raw = raw.into_iter().filter(|_| chance.percent(30));
            world.raw(&std::iter::once("-F").chain(raw).collect::<Vec<_>>());
            let lines = six::any_rules(chance);
            world.rules6(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
        96..98 => {
            let port = chance.one_of(&PORTS);
            world.engine(worker).close(port);
            world.check();
        }
        _ => {
            // Perhaps a second queue of the same port.
            world.open(worker, chance.one_of(&PORTS));
            world.check();
        }
    }
    while world.resolver.next().is_some() {}
}

#[test]
fn nothing_is_lost_whatever_happens() {
    let mut all = Counters::default();
    let more = std::env::var("WEIR_CHAOS_SEEDS").map(|text| text.parse().expect("a number"));
    for seed in 0..more.unwrap_or(SEEDS) {
        let _seed = Seed(seed);
        let mut chance = Chance::new(seed);
        let sizes = sizes(&mut chance);
        let mut world = World::new(sizes);
        for _ in 0..STEPS {
            step(&mut world, &mut chance);
        }
        if chance.percent(50) {
            // All is well again: it drains.
            for worker in 0..sizes.workers {
                PORTS.into_iter().for_each(|port| world.open(worker, port));
            }
            let _ = world.forwarding.publish(network().build());
            // Those that are held for nobody time out; that frees frames for those still outside,
            // which may be held in turn; and the answers to them too. Fragments of IPv6 keep theirs for a minute.
            for _ in 0..300 {
                world.settle();
                world.now_ns += 4_000_000_000;
            }
            assert!((0..sizes.workers).all(|worker| !world.engine(worker).is_unfinished()));
            // Queues that together want more frames than there are may starve each other for good. And what
            // one worker transmits of another's frames stays in its queues as long as completions lag.
            let share = (sizes.chunks as usize / sizes.workers).saturating_sub(sizes.workers);
            let queues: Vec<_> =
                (0..sizes.workers).map(|worker| world.engine(worker).ports().len()).collect();
            let astray = queues.iter().sum::<usize>() * sizes.completion_lag;
            if queues.iter().all(|queues| queues * sizes.fill + astray < share) {
                assert_eq!(world.pending(), 0, "{sizes:?}");
            }
        }
        all.merge(&world.counters());
        world.shut_down();
    }
    let reached = |reason: &&DropReason| all.dropped(**reason) > 0;
    let missed: Vec<_> = DropReason::ALL.iter().filter(|reason| !reached(reason)).collect();
    assert_eq!(missed, [&DropReason::Unclassified, &DropReason::MultiBuffer], "too tame");
}

/// What of a flow is not dropped leaves in the order in which it came, by one worker; and what goes
/// the other way by the same.
#[test]
fn flows_keep_their_order_and_their_worker() {
    for seed in 0..60 {
        let _seed = Seed(seed);
        let mut chance = Chance::new(seed);
        // The first half has room for all.
        let sizes = if seed < 30 {
            Sizes { workers: 1 + chance.below(3), chunks: 2400, ..Sizes::ONE }
        } else {
            Sizes { fill: 30, chunks: 300, ..sizes(&mut chance) }
        };
        let sizes = Sizes { inbox: if seed < 30 { 2000 } else { sizes.inbox }, ..sizes };
        let mut world = World::over(sizes, network().neighbour(WEST, BOB, unknown()).build());
        let mut number: HashMap<(bool, u16), u16> = HashMap::new();
        let mut home: HashMap<u16, usize> = HashMap::new();
        let mut last: HashMap<(bool, u16), u16> = HashMap::new();
        let mut left = 0;
        for step in 0..400 {
            if step == 60 {
                // So the first packets to Bob were held.
                let _ = world.forwarding.publish(network().build());
            }
            let flow = 1000 + chance.word() % 12;
            let back = chance.percent(50);
            let next = number.entry((back, flow)).or_default();
            *next += 1;
            let (from, to, port) = if back {
                ((BOB, 53), (ALICE, flow), WEST)
            } else {
                ((ALICE, flow), (BOB, 53), EAST)
            };
            let packet = Packet { identification: *next, ..Packet::udp(from, to, b"") };
            // A NIC puts a flow on one queue, not always its home.
            world.inject_packet(usize::from(flow) % sizes.workers, port, &packet);
            if chance.percent(30) {
                world.poll(chance.below(sizes.workers));
            }
            if step == 399 {
                world.settle();
            }
            for sent in world.left() {
                let word = |at: usize| u16::from_be_bytes([sent.bytes[at], sent.bytes[at + 1]]);
                let back = sent.port == EAST;
                let flow = if back { word(36) } else { word(34) };
                let before = last.insert((back, flow), word(18));
                assert!(before < Some(word(18)), "flow {flow}: {} after {before:?}", word(18));
                assert_eq!(*home.entry(flow).or_insert(sent.worker), sent.worker, "flow {flow}");
                left += 1;
            }
        }
        assert!(seed >= 30 || left == 400, "{left} of 400 left a world with room for all");
        world.shut_down();
    }
}

fn unknown() -> Neighbour {
    Neighbour::new([0; 6], NeighbourState::Incomplete)
}

/// A port that goes wrong, to show that the world would see it.
struct Rogue {
    port: MemoryPort,
    wrong: fn(&mut MemoryPort, &mut Vec<Frame>) -> usize,
}

impl Port for Rogue {
    fn index(&self) -> PortIndex {
        self.port.index()
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        self.port.receive(batch)
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        (self.wrong)(&mut self.port, outbox)
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        self.port.recycle(pool);
    }

    fn lent(&self) -> usize {
        self.port.lent()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        Box::new(self.port).close(give_back);
    }
}

fn through_a_rogue(wrong: fn(&mut MemoryPort, &mut Vec<Frame>) -> usize) {
    let mut world = World::new(Sizes::ONE);
    world.engine(0).close(WEST);
    let port = MemoryPort::new(WEST, world.wire(0, WEST), 32, 32);
    world.open_as(0, Box::new(Rogue { port, wrong }));
    world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, b""));
    world.settle();
}

#[test]
#[should_panic(expected = "a frame is lost")]
fn canary_a_frame_that_is_forgotten_is_seen() {
    through_a_rogue(|_, outbox| {
        let sent = outbox.len();
        outbox.drain(..).for_each(std::mem::forget);
        sent
    });
}

#[test]
#[should_panic(expected = "does not balance")]
fn canary_a_packet_that_is_counted_twice_is_seen() {
    through_a_rogue(|port, outbox| {
        port.transmit(&mut Vec::new());
        // Says that it sent one more than it did.
        port.transmit(outbox) + 1
    });
}
