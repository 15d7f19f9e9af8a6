//! That a worker allocates nothing once it runs: neither for packets that pass, nor for those that
//! end, are answered, held, cut, handed over or written about.
//!
//! A target of its own, because the allocator that counts is the whole program's. It counts by
//! thread, so the test harness may do as it likes. The ports are written for this test: those of
//! [`weir_dataplane::port::MemoryPort`] copy what they send into new vectors.

mod six;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;

use af_xdp::{Area, AreaConfig};
use weir_control::command::{Context, Parsed, parse_in};
use weir_control::protocol::FlowFilter;
use weir_control::rule::{Family, Names};
use weir_control::ruleset::Ruleset;
use weir_control::set::restore;
use weir_dataplane::batch::Batch;
use weir_dataplane::conntrack::{Conntrack, ConntrackConfig, EventQueue};
use weir_dataplane::engine::{Engine, EngineConfig};
use weir_dataplane::errand::{Errand, Task};
use weir_dataplane::frame::{Frame, FramePool, Memory};
use weir_dataplane::handover::{FlowHash, Inboxes};
use weir_dataplane::packet_log::PacketLog;
use weir_dataplane::policy::{Compiler, Decision, FlowCache, Policies};
use weir_dataplane::port::{Port, PortIndex};
use weir_dataplane::publish::Published;
use weir_dataplane::route::{
    Forwarding, InterfaceAddress, Neighbour, NeighbourState, PortLink, Resolver,
};
use weir_dataplane::set::Sets;
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;
use weir_dataplane::wire::{
    EtherType, EthernetHeader, IpProtocol, Ipv4, Ipv4Header, MacAddr, Tcp, TcpFlags, TcpHeader,
    UdpHeader, ipv4, udp,
};

const EAST: PortIndex = PortIndex(0);
const WEST: PortIndex = PortIndex(1);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const ALICE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const BOB: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Not known by its hardware address.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 99);

/// Receives the same few packets again and again, and sends into nothing. Allocates at the start
/// only.
struct Mill {
    index: PortIndex,
    packets: Vec<Vec<u8>>,
    next: usize,
    fill: Vec<Frame>,
    in_flight: VecDeque<Frame>,
}

const RING: usize = 256;

impl Mill {
    fn new(index: PortIndex, packets: Vec<Vec<u8>>) -> Self {
        let (fill, in_flight) = (Vec::with_capacity(RING), VecDeque::with_capacity(RING));
        Self { index, packets, next: 0, fill, in_flight }
    }
}

impl Port for Mill {
    fn index(&self) -> PortIndex {
        self.index
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        let mut received = 0;
        while batch.room() > 0 && !self.packets.is_empty() {
            let Some(mut frame) = self.fill.pop() else { break };
            let packet = &self.packets[self.next % self.packets.len()];
            assert!(frame.fill(packet), "short enough");
            self.next += 1;
            batch.push(frame, self.index);
            received += 1;
        }
        received
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        let taken = (RING - self.in_flight.len()).min(outbox.len());
        self.in_flight.extend(outbox.drain(..taken));
        taken
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        self.in_flight.drain(..).for_each(|frame| pool.put(frame));
        while self.fill.len() < RING / 2 {
            let Some(frame) = pool.take() else { break };
            self.fill.push(frame);
        }
    }

    fn lent(&self) -> usize {
        self.fill.len() + self.in_flight.len()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        self.fill.into_iter().chain(self.in_flight).for_each(give_back);
    }
}

/// A UDP datagram from Alice in an Ethernet frame for Weir.
fn packet(to: Ipv4Addr, source_port: u16, ttl: u8, data: usize) -> Vec<u8> {
    let mut bytes = vec![0; 14 + 20 + 8 + data];
    let ethernet = EthernetHeader {
        destination: MacAddr(MAC),
        source: MacAddr([2; 6]),
        ether_type: EtherType::IPV4,
    };
    ethernet.emit(&mut bytes).expect("room");
    let header =
        Ipv4Header { ttl, dont_fragment: false, ..Ipv4Header::new(ALICE, to, IpProtocol::UDP) };
    header.emit(udp::HEADER_BYTES + data, &mut bytes[14..]).expect("room");
    let udp = UdpHeader { source_port, destination_port: 53 };
    udp.emit(data, &mut bytes[14 + ipv4::HEADER_BYTES_MIN..]).expect("room");
    bytes
}

fn network() -> Forwarding {
    let link = |name: &str, number, mtu| PortLink {
        name: name.into(),
        ifindex: Some(u32::from(number)),
        mac: MAC,
        mtu,
        up: true,
        addresses: vec![InterfaceAddress::new(Ipv4Addr::new(10, 0, number, 1), 24)],
    };
    let reachable = Neighbour::new([6; 6], NeighbourState::Reachable);
    Forwarding::builder()
        .port(link("east", 1, 1500))
        .port(link("west", 2, 600))
        .neighbour(EAST, ALICE, reachable.clone())
        .neighbour(WEST, BOB, reachable.clone())
        .address6(EAST, six::address(1, 1), 64)
        .address6(WEST, six::address(2, 1), 64)
        .neighbour(EAST, six::ALICE, reachable.clone())
        .neighbour(WEST, six::BOB, reachable)
        .build()
}

/// A flow table whose events somebody wants and nobody takes.
fn conntrack() -> Conntrack {
    let events = Arc::new(EventQueue::new(64));
    events.listen(true);
    let config = ConntrackConfig { flows6_max: 1024, ..ConntrackConfig::default() };
    Conntrack::new(&ConntrackConfig { events: Some(events), ..config })
}

/// Sets that rules look into.
const SETS: &str = "create a hash:ip\nadd a 10.9.0.0/18\ncreate n hash:net timeout 9\nadd n 10.0.0.0/8\n\
    add n 10.0.1.0/24 nomatch\ncreate p hash:ip,port comment\nadd p 10.0.1.2,udp:2-900 comment x\n\
    create all list:set\nadd all a\nadd all n\nadd all p";

/// Rules, compiled: behind `-6` of ip6tables, the others of iptables.
fn policies(workers: usize, rules: &[&str]) -> Policies {
    let compiled = |family| {
        let own = |rule: &&&str| rule.starts_with("-6 ") == (family == Family::V6);
        let own = rules.iter().filter(own).map(|rule| rule.trim_start_matches("-6 "));
        let mut ruleset = Ruleset::of(family);
        add(&mut ruleset, family, own);
        let names = ["east", "west"].map(str::to_owned).to_vec();
        let mut compiler = Compiler::new(workers, names);
        let sets = restore::read(SETS.as_bytes(), false, &Names::builtin(), &|_| None);
        let sets = Sets::new(1).after(&sets.expect("sets").changes, 0, &|_| 0).expect("sets");
        compiler.set_sets(Arc::new(sets));
        compiler.compile(&ruleset).expect("known words")
    };
    Policies::new(compiled(Family::V4), compiled(Family::V6))
}

fn add<'a>(ruleset: &mut Ruleset, family: Family, rules: impl Iterator<Item = &'a str>) {
    for rule in rules {
        let words: Vec<String> = rule.split(' ').map(str::to_owned).collect();
        match parse_in(&words, Context::of(family, &Names::builtin())) {
            Ok(Parsed::Command(line)) => ruleset.apply(&line.command).expect("a rule"),
            other => panic!("{rule}: {other:?}"),
        };
    }
}

/// Engines of `workers` workers under these rules; the first receives these packets.
fn engines(workers: usize, rules: &[&str], packets: Vec<Vec<u8>>) -> Vec<Engine> {
    let area = AreaConfig { chunk_bytes: 2048, chunks: 8192, huge_pages: false };
    let (_memory, frames) = Memory::new(Area::new(&area).expect("memory"));
    let inboxes = Inboxes::new(workers, 256).expect("file descriptors");
    let forwarding = Arc::new(Published::new(network()));
    let policies = Arc::new(Published::new(policies(workers, rules)));
    let resolver = Resolver::new().expect("a file descriptor");
    let pools = FramePool::split(frames, workers).into_iter().enumerate();
    let mut engines: Vec<Engine> = pools
        .map(|(worker, pool)| {
            Engine::new(EngineConfig {
                worker,
                flow_hash: FlowHash::new([1, 2, 3, 4], workers),
                inboxes: inboxes.clone(),
                forwarding: Arc::clone(&forwarding),
                policies: Arc::clone(&policies),
                flow_cache: FlowCache::new(1 << 10),
                conntrack: conntrack(),
                always_track: true,
                dice_seed: 1,
                resolver: resolver.clone(),
                pool,
            })
        })
        .collect();
    for (worker, engine) in engines.iter_mut().enumerate() {
        let packets = if worker == 0 { packets.clone() } else { Vec::new() };
        engine.open(Box::new(Mill::new(EAST, packets)));
        engine.open(Box::new(Mill::new(WEST, Vec::new())));
    }
    engines
}

/// Runs the engines over these packets and returns how many allocations 2,000 polls made, after a
/// few to warm up; `reached` must have been counted meanwhile.
fn allocations(workers: usize, packets: Vec<Vec<u8>>, reached: fn(&Engine) -> u64) -> u64 {
    allocations_under(&[], workers, packets, reached)
}

/// The same under rules.
fn allocations_under(
    rules: &[&str],
    workers: usize,
    packets: Vec<Vec<u8>>,
    reached: fn(&Engine) -> u64,
) -> u64 {
    let mut engines = engines(workers, rules, packets);
    let mut now_ns = 0;
    let mut polls = |engines: &mut [Engine], count: usize| {
        for _ in 0..count {
            // A second now and then: held packets time out, the budget for answers is refilled.
            now_ns += 10_000_000;
            for engine in engines.iter_mut() {
                engine.poll(now_ns, 0);
            }
        }
    };
    polls(&mut engines, 10);
    let count = |engines: &[Engine]| engines.iter().map(reached).sum::<u64>();
    let before = count(&engines);
    let measured = allocation_counter::measure(|| polls(&mut engines, 2000));
    assert!(count(&engines) > before, "it never came to that");
    measured.count_total
}

fn counted(counter: Counter) -> impl Fn(&Engine) -> u64 {
    move |engine| engine.published().read().get(counter)
}

fn dropped(engine: &Engine, reason: DropReason) -> u64 {
    engine.published().read().dropped(reason)
}

#[test]
fn packets_that_pass() {
    let packets = vec![packet(BOB, 1, 64, 100); 3];
    assert_eq!(allocations(1, packets, |engine| counted(Counter::Transmitted)(engine)), 0);
}

#[test]
fn packets_that_are_dropped() {
    let mut broken = packet(BOB, 1, 64, 100);
    broken[24] ^= 1;
    let packets = vec![broken, vec![0; 13]];
    assert_eq!(allocations(1, packets, |engine| dropped(engine, DropReason::IpChecksum)), 0);
}

#[test]
fn packets_that_are_answered() {
    let packets = vec![packet(BOB, 1, 1, 100), packet(Ipv4Addr::new(192, 0, 2, 1), 1, 64, 600)];
    assert_eq!(allocations(1, packets, |engine| counted(Counter::Originated)(engine)), 0);
}

/// A TCP segment without a flag, with a right checksum.
fn segment(source_port: u16) -> Vec<u8> {
    let mut bytes = packet(BOB, source_port, 64, 12);
    Ipv4Header::new(ALICE, BOB, IpProtocol::TCP).emit(20, &mut bytes[14..]).expect("room");
    let header = TcpHeader {
        source_port,
        destination_port: 80,
        sequence: 1,
        acknowledgment: 0,
        flags: TcpFlags::NONE,
        window: 1,
    };
    header.emit(&[], &mut bytes[34..]).expect("room");
    Tcp::new_checked(&mut bytes[34..]).expect("a segment").fill_checksum(ALICE, BOB);
    bytes
}

/// A datagram in two pieces.
fn pieces(identification: u16) -> [Vec<u8>; 2] {
    [(0, true), (304, false)].map(|(offset, more)| {
        let mut bytes = packet(BOB, 1, 64, 296);
        let mut ip = Ipv4::new_checked(&mut bytes[14..]).expect("a packet");
        ip.set_fragment(offset, more);
        ip.fill_checksum();
        bytes[18..20].copy_from_slice(&identification.to_be_bytes());
        Ipv4::new_checked(&mut bytes[14..]).expect("a packet").fill_checksum();
        bytes
    })
}

#[test]
fn packets_that_are_rejected() {
    let rules = ["-A FORWARD -p tcp -j REJECT --reject-with tcp-reset", "-A FORWARD -j REJECT"];
    let mut packets = vec![packet(BOB, 1, 64, 100), segment(1)];
    packets.extend(pieces(7));
    let reached = |engine: &Engine| dropped(engine, DropReason::RuleReject);
    assert_eq!(allocations_under(&rules, 1, packets, reached), 0);
}

#[test]
fn packets_that_are_looked_for_in_sets() {
    let rules = [
        "-A FORWARD -m set --match-set a src -j ACCEPT",
        "-A FORWARD -m set --match-set n src -j ACCEPT",
        "-A FORWARD -m set --match-set p src,src -j ACCEPT",
        "-A FORWARD -m set --match-set all src,dst -j ACCEPT",
        "-A FORWARD -m set --match-set all src,src -j ACCEPT",
        "-A FORWARD -m set ! --match-set p src,src -j DROP",
    ];
    let mut packets = vec![packet(BOB, 1, 64, 100), segment(1)];
    packets.extend(pieces(7));
    let reached = |engine: &Engine| dropped(engine, DropReason::Rule);
    assert_eq!(allocations_under(&rules, 1, packets, reached), 0);
}

#[test]
fn packets_that_are_written_about() {
    let mut packets = vec![packet(BOB, 1, 64, 100), segment(1)];
    packets.extend(pieces(7));
    let mut engines = engines(1, &["-A FORWARD -j LOG --log-prefix x"], packets);
    let (log, records) = PacketLog::new();
    engines[0].set_log(log);
    let mut taken = 0;
    let measured = allocation_counter::measure(|| {
        for now_ns in (1..1000).map(|round| round * 1_000_000) {
            engines[0].poll(now_ns, 0);
            while records.pop().is_some() {
                taken += 1;
            }
        }
    });
    assert!(taken > 1_000, "only {taken} lines");
    assert_eq!(measured.count_total, 0);
}

#[test]
fn packets_that_are_cut() {
    let packets = vec![packet(BOB, 1, 64, 1400)];
    assert_eq!(allocations(1, packets, |engine| counted(Counter::Absorbed)(engine)), 0);
}

#[test]
fn packets_that_are_held_and_time_out() {
    let packets = (0..100)
        .map(|n| {
            packet(if n % 2 == 0 { NOBODY } else { Ipv4Addr::new(10, 0, 2, 100 + n) }, 1, 64, 9)
        })
        .collect();
    let unresolved = |engine: &Engine| dropped(engine, DropReason::NeighbourUnresolved);
    assert_eq!(allocations(1, packets, unresolved), 0);
}

#[test]
fn packets_that_are_handed_over() {
    let packets = (0..100).map(|port| packet(BOB, port, 64, 9)).collect();
    assert_eq!(allocations(2, packets, |engine| counted(Counter::HandedIn)(engine)), 0);
}

#[test]
fn packets_whose_contents_are_searched() {
    use weir_control::command::{Parsed, parse};
    use weir_dataplane::batch::Headers;
    use weir_dataplane::policy::{Candidate, Compiler, Connection, Dice};

    let mut ruleset = weir_control::ruleset::Ruleset::new();
    for rule in [
        "-m string --string secret --algo bm",
        "-m string --string secret --algo kmp --icase",
        "-m u32 --u32 0>>22&0x3C@8=0x73656372",
        "-m statistic --mode random --probability 0.5",
        "-m statistic --mode nth --every 3 --packet 1",
        "-m time --timestart 8:00 --weekdays Mon --monthdays 3",
        "-m limit --limit 9/s",
        "-m hashlimit --hashlimit-upto 9kb/s --hashlimit-mode srcip,dstport --hashlimit-name t",
        "-m fuzzy",
        "-m fuzzy --fuzzy-mode srcip,dstip --fuzzy-srcmask 24",
        "-m fuzzy --fuzzy-unverified",
    ] {
        let words = ["-A", "FORWARD"].into_iter().chain(rule.split(' ')).map(str::to_owned);
        match parse(&words.collect::<Vec<_>>(), &weir_control::rule::Names::builtin()) {
            Ok(Parsed::Command(line)) => ruleset.apply(&line.command).expect("a rule"),
            other => panic!("{rule}: {other:?}"),
        };
    }
    let names = ["east", "west"].map(str::to_owned).into();
    let policy = Compiler::new(1, names).compile(&ruleset).expect("known words");
    let (packet, dice) = (packet(BOB, 1, 64, 1400), Dice::new(1));
    let (forwarding, mut log) = (Forwarding::builder().build(), PacketLog::silent());
    let headers = Headers { l3: 14, l4: 34, total_len: 1400, protocol: 17, ..Headers::default() };
    let candidate = Candidate {
        hook: weir_dataplane::policy::Hook::Forward,
        headers: &headers,
        ingress: EAST,
        egress: WEST,
        packet: &packet[14..],
        link: &packet[..14],
        forwarding: &forwarding,
        connection: Connection::UNTRACKED,
        dice: &dice,
        now_ns: 0,
        wall_s: 1_000_000_000,
        mark: 0,
    };
    let measured = allocation_counter::measure(|| {
        assert!((0..2000).all(|_| policy.decide(0, &candidate, &mut log) == Decision::Accept));
    });
    assert_eq!(measured.count_total, 0);
}

#[test]
fn flows_that_are_listed_and_deleted() {
    let packets = (0..100).map(|port| packet(BOB, port, 64, 9)).collect();
    let mut engines = engines(1, &[], packets);
    let engine = &mut engines[0];
    let mut errand = Errand::default();
    let filter = FlowFilter::default();
    let (mut listed, mut deleted) = (0, 0);
    let measured = allocation_counter::measure(|| {
        for now_ns in (1..100).map(|round| round * 1_000_000) {
            engine.poll(now_ns, 0);
            for (task, sum) in [
                (Task::List { filter, from: 0 }, &mut listed),
                (Task::Delete { filter, from: 0 }, &mut deleted),
            ] {
                errand.set(task);
                errand.carry_out(0, engine.conntrack_mut());
                *sum += errand.flows().len();
            }
            errand.set(Task::Report);
            errand.carry_out(0, engine.conntrack_mut());
        }
    });
    assert!(listed > 1_000 && deleted > 1_000, "{listed} listed, {deleted} deleted");
    assert_eq!(measured.count_total, 0);
}

#[test]
fn canary_an_allocation_is_seen() {
    let measured = allocation_counter::measure(|| drop(std::hint::black_box(vec![0_u8; 9])));
    assert_eq!(measured.count_total, 1);
}
