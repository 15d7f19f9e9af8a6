//! The engine over ports in memory, in time that is not real.

use af_xdp::{Area, AreaConfig};
use weir_dataplane::frame::{FramePool, Memory};
use weir_dataplane::port::{MemoryPort, Port, PortIndex, Wire};

use super::*;
use crate::engine::ports::Nothing;
use crate::result::{End, Expect};

mod faults;
mod live;
mod neighbours;
mod trojan;

const STEP_NS: u64 = 1_000;

/// Ports over memory: by thread and side the wire that they send to and receive from.
pub(super) struct Cables {
    pub(super) ports: Ports,
    pub(super) wires: Vec<[Wire; 2]>,
    /// How long a turn takes.
    pub(super) step_ns: u64,
}

impl Cables {
    pub(super) fn new(threads: usize) -> Self {
        Self::with(threads, |port, _| Box::new(port))
    }

    /// `wrap` may put something around each port; its side is the second argument.
    pub(super) fn with(threads: usize, wrap: impl Fn(MemoryPort, Side) -> Box<dyn Port>) -> Self {
        let chunks = 2048 * u32::try_from(threads).unwrap();
        let config = AreaConfig { chunk_bytes: 2048, chunks, huge_pages: false };
        let (_, frames) = Memory::new(Area::new(&config).expect("memory"));
        let pools = FramePool::split(frames, threads);
        let (mut equipment, mut wires) = (Vec::new(), Vec::new());
        for pool in pools {
            let own = [Wire::default(), Wire::default()];
            let ports = Side::BOTH.map(|side| {
                let index = PortIndex(u8::try_from(side.index()).unwrap());
                let port = MemoryPort::new(index, own[side.index()].clone(), 512, 256);
                vec![wrap(port.with_completion_lag(3), side)]
            });
            equipment.push(Equipment::new(ports, pool, chunks));
            wires.push(own);
        }
        let macs = [[MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])]; 2];
        Self { ports: Ports::new(equipment, macs, Box::new(Nothing)), wires, step_ns: STEP_NS }
    }

    /// Runs a profile; `route` says what a frame that is sent becomes, and by which thread's queue it arrives.
    pub(super) fn run(
        &mut self,
        text: &str,
        mut route: impl FnMut(Vec<u8>, &mut dyn FnMut(usize, Vec<u8>)),
    ) -> RunResult {
        let profile = profile(text);
        let wires = self.wires.clone();
        let carry = &mut |_| {
            for from in &wires {
                for side in Side::BOTH {
                    for frame in from[side.index()].take_sent() {
                        let out = &mut |thread: usize, frame: Vec<u8>| {
                            wires[thread][side.other().index()].send(frame);
                        };
                        route(frame, out);
                    }
                }
            }
        };
        let result = simulate(&profile, &mut self.ports, &options(), self.step_ns, carry);
        self.conserved();
        result.expect("it runs")
    }

    /// Every frame is in a pool, or lent to a port.
    fn conserved(&self) {
        let equipment = &self.ports.equipment;
        let pools = equipment.iter().map(|each| each.pool.available() + each.pool.returning());
        let ports = equipment.iter().flat_map(|each| each.ports.iter().flatten());
        let all = pools.sum::<usize>() + ports.map(|port| port.lent()).sum::<usize>();
        assert_eq!(all, equipment[0].chunks as usize, "frames are lost or doubled");
    }
}

pub(super) fn profile(text: &str) -> Profile {
    let folder = std::path::Path::new(".");
    Profile::parse("test", "test.toml", text, folder).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn options() -> Options {
    Options {
        seed: SEED,
        label: "test".to_owned(),
        command: Vec::new(),
        environment: crate::environment::read(Vec::new()),
        cores: Vec::new(),
        idle: Idle::Spin,
        engine: Choice::Auto,
    }
}

const STREAMS: &str = r#"
duration_s = 0.1
settle_s = 0.01

[[stream]]
name = "udp"
kind = "udp"
rate = 100_000
source = "198.18.0.0/24"
destination = "198.19.0.2"

[[stream]]
name = "syn"
kind = "tcp-syn"
rate = 50_000
source = "198.18.1.0/24"
destination = "198.19.0.2"

[[stream]]
name = "back"
from = "right"
kind = "icmp-echo"
rate = { pps = 10_000, gaps = "poisson" }
source = "198.19.0.2"
destination = "198.18.0.1"
frame_bytes = "imix"
"#;

#[test]
fn what_is_sent_arrives_on_the_other_side_and_is_told_apart() {
    let result = Cables::new(1).run(STREAMS, |frame, out| out(0, frame));
    assert_eq!((result.void, result.ended_by), (None, End::Duration));
    assert_eq!((result.foreign_frames, result.overrun_frames), (0, 0));
    assert!((0.1..0.12).contains(&result.elapsed_s), "{}", result.elapsed_s);
    let sent: Vec<u64> = result.streams.iter().map(|stream| stream.sent).collect();
    assert_eq!(sent[..2], [10_000, 5_000]);
    assert!((900..1100).contains(&sent[2]), "{sent:?}");
    for stream in &result.streams {
        assert_eq!((stream.received, stream.missing), (stream.sent, 0), "{}", stream.name);
        assert_eq!((stream.duplicated, stream.reordered, stream.damaged), (0, 0, 0));
        assert_eq!(stream.received_bytes, stream.sent_bytes);
        let latency = stream.latency.as_ref().expect("stamps");
        assert_eq!(latency.count, stream.received);
        assert!(latency.max_ns <= 100 * STEP_NS, "{} {}", stream.name, latency.max_ns);
    }
    assert_eq!(result.seconds.len(), 1);
    assert_eq!(result.seconds[0].sent, sent);
    assert_eq!(result.seconds[0].received, sent);
}

#[test]
fn the_same_seed_sends_the_same_packets() {
    let sent = |seed: u64| {
        let mut cables = Cables::new(1);
        let mut frames = Vec::new();
        let wires = cables.wires.clone();
        let options = Options { seed, ..options() };
        let text = STREAMS.replace("50_000", "{ pps = 50_000, gaps = \"poisson\" }");
        let carry = &mut |_| frames.extend(wires[0][0].take_sent());
        simulate(&profile(&text), &mut cables.ports, &options, STEP_NS, carry).expect("it runs");
        frames
    };
    assert_eq!(sent(1), sent(1));
    assert_ne!(sent(1), sent(2));
}

#[test]
fn threads_send_one_profile_together_wherever_it_arrives() {
    let mut cables = Cables::new(3);
    let mut turn = 0;
    let result = cables.run(STREAMS, |frame, out| {
        turn += 1;
        out(turn % 3, frame);
    });
    assert_eq!((result.void, result.foreign_frames), (None, 0));
    let sent: Vec<u64> = result.streams.iter().map(|stream| stream.sent).collect();
    assert_eq!(sent[..2], [10_000, 5_000]);
    for stream in &result.streams {
        assert_eq!((stream.received, stream.duplicated), (stream.sent, 0), "{}", stream.name);
        assert_eq!(stream.damaged, 0);
    }
    // And the ports serve for another run.
    assert_eq!(cables.run(STREAMS, |frame, out| out(2, frame)).streams[0].received, 10_000);
}

#[test]
fn what_is_to_pass_is_lost_and_what_is_to_be_dropped_is_leaked() {
    let text = STREAMS.replacen("rate", "expect = \"drop\"\nrate", 1);
    let mut count = 0;
    let result = Cables::new(1).run(&text, |frame, out| {
        count += 1;
        if count % 2 == 0 {
            out(0, frame);
        }
    });
    let [udp, syn, _] = &result.streams[..] else { panic!() };
    assert_eq!((udp.expect, udp.lost()), (Expect::Drop, 0));
    assert_eq!((udp.leaked(), udp.leaked() + udp.missing), (udp.received, 10_000));
    assert_eq!((syn.lost(), syn.leaked()), (syn.missing, 0));
    assert!((2_000..3_000).contains(&syn.missing), "{}", syn.missing);
}

#[test]
fn silence_is_void_and_says_so() {
    let result = Cables::new(1).run(STREAMS, |_, _| {});
    let why = result.void.expect("nothing arrived");
    assert!(why.starts_with("nothing arrived on the other side"), "{why}");
    let late = STREAMS.replace("100_000", "100_000_000").replace("s = 0.1", "s = 0.002");
    let why = Cables::new(1).run(&late, |frame, out| out(0, frame)).void.expect("it is too much");
    assert!(why.starts_with("the generator could not keep up") && why.contains("\"udp\""), "{why}");
}

#[test]
fn a_run_ends_with_its_count() {
    let text = format!("packets_max = 1000\n{STREAMS}");
    let result = Cables::new(1).run(&text, |frame, out| out(0, frame));
    assert_eq!((result.ended_by, result.void), (End::Count, None));
    assert_eq!(result.streams.iter().map(|stream| stream.sent).sum::<u64>(), 1000);
    let text = STREAMS.replace("100_000", "\"flood\"").replace("s = 0.1", "s = 0.01");
    let result = Cables::new(1).run(&text, |frame, out| out(0, frame));
    let [flood, syn, _] = &result.streams[..] else { panic!() };
    assert_eq!((flood.requested_pps, syn.sent), (None, 500), "a flood leaves room for others");
    assert!(flood.sent > 100_000 && flood.received == flood.sent, "{}", flood.sent);
}

#[test]
fn strangers_are_counted_and_harm_nothing() {
    let mut rng = fastrand::Rng::with_seed(9);
    let result = Cables::new(1).run(STREAMS, |frame, out| {
        let rubbish: Vec<u8> = (0..rng.usize(..200)).map(|_| rng.u8(..)).collect();
        out(0, rubbish);
        out(0, frame);
    });
    let sent: u64 = result.streams.iter().map(|stream| stream.sent).sum();
    assert_eq!((result.void, result.foreign_frames), (None, sent));
}

#[test]
fn users_get_what_they_ask_for_beside_a_flood_that_hits_their_server() {
    let text = "duration_s = 0.5\nsettle_s = 1\n[users]\nrate = 400\nclients = \"198.18.128.0/24\"\n\
                servers = \"198.19.0.2\"\n[[stream]]\nname = \"flood\"\nkind = \"tcp-syn\"\n\
                rate = 20_000\nexpect = \"either\"\nsource = \"198.18.0.0/20\"\n\
                destination = \"198.19.0.2\"\ndestination_port = 80";
    for threads in [1, 2] {
        let mut cables = Cables::new(threads);
        cables.step_ns = 50_000;
        let mut turn = 0;
        let result = cables.run(text, |frame, out| {
            turn += 1;
            out(turn % threads, frame);
        });
        let users = result.users.expect("users");
        assert!(users.attempted > 150, "{users:?}");
        assert_eq!((users.completed, users.unfinished), (users.attempted, 0), "{threads} threads");
        assert_eq!(users.goodput_bytes, users.completed * 4_000);
        let completed: u64 = result.seconds.iter().map(|second| second.completed).sum();
        assert!(completed <= users.completed);
        // The flood is counted as a stream, and fills the server's queue all the same; nobody takes its answers.
        let flood = &result.streams[0];
        assert_eq!((flood.sent, flood.received), (10_000, 10_000));
        assert_eq!(users.server.syns, 10_000 + users.attempted);
        // 4,094 addresses, each with one port.
        assert!(users.server.half_open_max >= 4_094, "{users:?}");
        assert_eq!(result.void, None);
        assert!(result.foreign_frames >= 10_000, "{}", result.foreign_frames);
    }
}
