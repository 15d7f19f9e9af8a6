//! The kernel as judge of `-m connmark`, `-j CONNMARK` and `-m connbytes`: the same random rules and conversations
//! through iptables in a network namespace and through the engine. Way and fate of every packet, the counters of all
//! rules, and in the end the flows with their marks, packets and bytes must be the same.
//!
//! Packets that come in by one port one after the other go through the engine as one batch; the kernel sees each alone.
//! Every second set is judged by two workers.
//!
//! Environment: `WEIR_ORACLE_FLOWS` rule sets (default 300), `WEIR_ORACLE_SEED`. Needs are those of `oracle`, and
//! `conntrack`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use weir_dataplane::conntrack::FlowCount;
use weir_dataplane::port::PortIndex;

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, frame, number, unmet};
use crate::packet::{ACK, FIN, Packet, RST, SYN};
use crate::spec::MARKS;
use crate::world::*;

const PACKETS_PER_CASE: u16 = 80;

/// What two hosts may say to each other.
pub(crate) struct Talk {
    pub(crate) protocol: u8,
    /// Client and server.
    ends: [(Ipv4Addr, u16); 2],
    /// What each has sent, as sequence numbers.
    sent: [u32; 2],
    step: usize,
}

impl Talk {
    pub(crate) fn draw(chance: &mut Chance) -> Self {
        let hosts = chance.one_of(&[
            [ALICE, BOB],
            [BOB, ALICE],
            [ALICE, CAROL],
            [CAROL, BOB],
            [BOB, CAROL],
        ]);
        let ends = [(hosts[0], 40_000 + (chance.word() & 3)), (hosts[1], chance.one_of(&[53, 80]))];
        let sent = [word32(chance), word32(chance)];
        Self { protocol: chance.one_of(&[6, 6, 6, 17, 17, 1, 253]), ends, sent, step: 0 }
    }

    /// Most likely what comes next, else something that may or may not be part of it.
    pub(crate) fn packet(&mut self, chance: &mut Chance) -> Packet {
        let side = chance.below(2);
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        let data = [0; 40];
        let data = &data[..chance.below(40)];
        let mut packet = match self.protocol {
            6 => return self.segment(chance, side, data),
            17 => Packet::udp(from, to, data),
            1 => Packet::icmp(from.0, to.0, if side == 0 { 8 } else { 0 }, data),
            other => Packet { payload: data.to_vec(), ..Packet::new(from.0, to.0, other) },
        };
        // Not the error that says so, but an error about what was said.
        if self.protocol == 17 && chance.percent(15) {
            packet = Packet::icmp(to.0, from.0, 3, &packet.bytes()[..28]);
        }
        packet
    }

    fn segment(&mut self, chance: &mut Chance, side: usize, data: &[u8]) -> Packet {
        let (flags, side) = match self.step {
            0 => (SYN, 0),
            1 => (SYN | ACK, 1),
            2 => (ACK, 0),
            _ => (chance.one_of(&[ACK, ACK, ACK, ACK, FIN | ACK, RST | ACK]), side),
        };
        if chance.percent(20) {
            // Out of turn.
            let flags = chance.one_of(&[SYN, SYN | ACK, ACK, FIN | ACK, RST, RST | ACK, SYN | FIN]);
            let seq = self.sent[side].wrapping_add(chance.one_of(&[0, 1, 100, 1 << 30]));
            let ack = self.sent[1 - side];
            return Packet::segment(self.ends[side], self.ends[1 - side], flags, (seq, ack), data);
        }
        self.step = if flags & RST != 0 { 0 } else { self.step + 1 };
        let data = if flags & SYN != 0 { &[] } else { data };
        let ack = if flags & ACK != 0 { self.sent[1 - side] } else { 0 };
        let (from, to) = (self.ends[side], self.ends[1 - side]);
        let packet = Packet::segment(from, to, flags, (self.sent[side], ack), data);
        let len = data.len() + usize::from(flags & (SYN | FIN) != 0);
        self.sent[side] = self.sent[side].wrapping_add(u32::try_from(len).expect("small"));
        packet
    }
}

/// So many packets of conversations, as frames with numbers, and where each comes in.
pub(crate) fn frames(
    chance: &mut Chance,
    talks: &mut [Talk],
    packets: u16,
) -> Vec<(usize, Vec<u8>)> {
    let mut one = |identification| {
        let talk = chance.below(talks.len());
        let packet = talks[talk].packet(chance);
        let ingress = [ALICE, BOB, CAROL].iter().position(|host| *host == packet.source);
        frame(&(ingress.expect("a host"), Packet { identification, ..packet }))
    };
    (0..packets).map(&mut one).collect()
}

fn word32(chance: &mut Chance) -> u32 {
    u32::from(chance.word()) << 16 | u32::from(chance.word())
}

fn mark(chance: &mut Chance) -> u32 {
    if chance.percent(80) { chance.one_of(&MARKS) } else { word32(chance) }
}

/// A condition, and what it is called in the tally.
pub(crate) fn condition(chance: &mut Chance) -> (&'static str, String) {
    let not = if chance.percent(30) { " !" } else { "" };
    match chance.below(12) {
        10.. => ("connbytes", count(chance, not)),
        0 => ("-p", format!(" -p {}", chance.one_of(&["tcp", "udp", "icmp", "253"]))),
        1 => ("-s", format!("{not} -s {}", chance.one_of(&[ALICE, BOB, CAROL]))),
        2 => {
            let states = ["NEW", "ESTABLISHED", "RELATED", "INVALID", "NEW,RELATED"];
            ("state", format!(" -m state{not} --state {}", chance.one_of(&states)))
        }
        3 => {
            let way = chance.one_of(&["ORIGINAL", "REPLY"]);
            ("conntrack", format!(" -m conntrack --ctdir {way}"))
        }
        asked @ 4..=8 => {
            let name = if asked < 8 { "connmark" } else { "mark" };
            let mask = if chance.percent(50) { u32::MAX } else { mark(chance) };
            let value = if chance.percent(90) { mark(chance) & mask } else { mark(chance) };
            (name, format!(" -m {name}{not} --mark {value:#x}/{mask:#x}"))
        }
        _ => ("none", String::new()),
    }
}

/// `-m connbytes`, with bounds that are often met.
fn count(chance: &mut Chance, not: &str) -> String {
    let mode = chance.one_of(&["packets", "bytes", "avgpkt"]);
    let direction = chance.one_of(&["original", "reply", "both"]);
    let bound = |chance: &mut Chance| match mode {
        "packets" => chance.below(12),
        "bytes" => chance.below(900),
        _ => 20 + chance.below(70),
    };
    let (a, b) = (bound(chance), bound(chance));
    let range = match chance.below(5) {
        0 => format!("{a}"),
        1 => format!(":{}", a + 1),
        2 => format!("{a}:"),
        _ => format!("{}:{}", a.min(b), a.max(b) + 1),
    };
    format!(
        " -m connbytes{not} --connbytes {range} --connbytes-dir {direction} --connbytes-mode {mode}"
    )
}

pub(crate) fn target(chance: &mut Chance) -> (&'static str, String) {
    let shift = match chance.below(4) {
        0 => format!(" --left-shift-mark {}", chance.one_of(&[1, 4, 31])),
        1 => format!(" --right-shift-mark {}", chance.one_of(&[1, 4, 31])),
        _ => String::new(),
    };
    let shift = if chance.percent(60) { "" } else { &shift };
    let masks = match chance.below(4) {
        0 => format!(" --mask {}", mark(chance)),
        1 => format!(" --nfmask {} --ctmask {}", mark(chance), mark(chance)),
        _ => String::new(),
    };
    match chance.below(16) {
        0..5 => {
            let mask = if chance.percent(50) { u32::MAX } else { mark(chance) };
            ("set", format!(" -j CONNMARK --set-xmark {:#x}/{mask:#x}{shift}", mark(chance)))
        }
        5 => ("and", format!(" -j CONNMARK --and-mark {}{shift}", mark(chance))),
        6 => ("or", format!(" -j CONNMARK --or-mark {}{shift}", mark(chance))),
        7 => ("xor", format!(" -j CONNMARK --xor-mark {}{shift}", mark(chance))),
        8..10 => ("save", format!(" -j CONNMARK --save-mark{masks}{shift}")),
        10..12 => ("restore", format!(" -j CONNMARK --restore-mark{masks}{shift}")),
        12 => ("MARK", format!(" -j MARK --set-xmark {}/{}", mark(chance), mark(chance))),
        13 if chance.percent(60) => ("DROP", " -j DROP".to_owned()),
        14 if chance.percent(40) => ("ACCEPT", " -j ACCEPT".to_owned()),
        _ => ("counts", String::new()),
    }
}

/// A rule, with what is in it.
fn rule(chance: &mut Chance) -> (Vec<&'static str>, String) {
    let (mut names, mut words) = (Vec::new(), "-A FORWARD".to_owned());
    for _ in 0..1 + chance.below(2) {
        let (name, condition) = condition(chance);
        // Each of what is not a match may stand once.
        if !names.contains(&name) {
            words += &condition;
            names.push(name);
        }
    }
    let (name, target) = target(chance);
    names.push(name);
    (names, words + &target)
}

/// The flows of all workers as the driver writes them.
pub(crate) fn flows(world: &mut World, workers: usize) -> String {
    let mut found = Vec::new();
    for worker in 0..workers {
        world.engine(worker).conntrack().scan(0, u32::MAX, &mut |_, view| {
            let tuple = view.original;
            let second = match tuple.protocol {
                1 => tuple.destination_port >> 8,
                _ => tuple.destination_port,
            };
            let mut line = format!(
                "{}:{}:{}:{}:{second}:{}",
                tuple.protocol, tuple.source, tuple.destination, tuple.source_port, view.mark
            );
            for FlowCount { packets, bytes } in view.counts.expect("counted") {
                let _ = write!(line, ":{packets}:{bytes}");
            }
            found.push(line);
        });
    }
    found.sort_unstable();
    if found.is_empty() { "-".to_owned() } else { found.join(" ") }
}

pub(crate) fn forget(world: &mut World, workers: usize) {
    for worker in 0..workers {
        let conntrack = world.engine(worker).conntrack_mut();
        let mut ids = Vec::new();
        conntrack.scan(0, u32::MAX, &mut |id, _| ids.push(id));
        assert!(ids.into_iter().all(|id| conntrack.remove(id)));
    }
}

/// The port by which each frame left. What comes in by one port in a row comes at once.
pub(crate) fn forward(
    world: &mut World,
    worker: usize,
    frames: &[(usize, Vec<u8>)],
) -> Vec<Option<PortIndex>> {
    let mut ways = vec![None; frames.len()];
    for row in frames.chunk_by(|one, other| one.0 == other.0) {
        for (ingress, frame) in row {
            world.inject(worker, PORTS[*ingress], frame.clone());
        }
        world.settle();
        for sent in world.left() {
            let number = u16::from_be_bytes([sent.bytes[18], sent.bytes[19]]);
            ways[usize::from(number)] = Some(sent.port);
        }
    }
    ways
}

/// The same of frames that come one after the other.
pub(crate) fn forward_one_by_one(
    world: &mut World,
    worker: usize,
    frames: &[(usize, Vec<u8>)],
) -> Vec<Option<PortIndex>> {
    let one = |(ingress, frame): &(usize, Vec<u8>)| {
        world.inject(worker, PORTS[*ingress], frame.clone());
        world.settle();
        world.left().first().map(|sent| sent.port)
    };
    frames.iter().map(one).collect()
}

#[test]
fn marks_and_counts_of_flows_mean_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet().or_else(no_conntrack) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0xf10);
    let cases = number("WEIR_ORACLE_FLOWS", 300);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut worlds =
        [Sizes::ONE, Sizes::TWO].map(|sizes| World::new(Sizes { acct: true, ..sizes }));
    let (mut met, mut marked) = (BTreeMap::<&str, u64>::new(), 0);
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let mut rules = vec![(
            vec![],
            "-A FORWARD -m state --state NEW,ESTABLISHED,RELATED,INVALID".to_owned(),
        )];
        rules.extend((0..1 + chance.below(12)).map(|_| rule(&mut chance)));
        let mut talks: Vec<_> = (0..1 + chance.below(5)).map(|_| Talk::draw(&mut chance)).collect();
        let frames = frames(&mut chance, &mut talks, PACKETS_PER_CASE);
        let lines: Vec<&str> = rules.iter().map(|(_, line)| line.as_str()).collect();
        kernel.lines(&lines, true);
        assert_eq!(kernel.ask("forget"), "ok\n");
        let workers = 1 + usize::from(case % 2 == 1);
        let world = &mut worlds[workers - 1];
        world.rules(&[&["-F", "-Z"], lines.as_slice()].concat());
        forget(world, workers);
        let theirs = kernel.forward(&frames);
        let ours = forward(world, chance.below(workers), &frames);
        for (number, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            assert_eq!(*ours, theirs, "Weir, kernel; packet {number}; {lines:#?}");
        }
        let counts: Vec<_> = (0..=rules.len()).map(|n| world.count(n)).collect();
        assert_eq!(counts, kernel.counters(), "Weir, kernel; {lines:#?}");
        let ours = flows(world, workers);
        assert_eq!(ours, kernel.ask("entries").trim_end(), "Weir, kernel; {lines:#?}");
        marked +=
            ours.split(' ').filter(|flow| flow.split(':').nth(5).is_some_and(|m| m != "0")).count();
        for ((names, _), (packets, _)) in rules.iter().zip(&counts[1..]) {
            names.iter().for_each(|name| *met.entry(name).or_default() += packets);
        }
    }
    eprintln!("packets counted by rules with each: {met:?}; {marked} flows ended with a mark");
    if cases >= 300 {
        assert!(met.len() == 18 && met.values().all(|packets| *packets > 200), "{met:?}");
        assert!(marked > 200);
    }
    worlds.into_iter().for_each(World::shut_down);
}

pub(crate) fn no_conntrack() -> Option<String> {
    let works = std::process::Command::new("conntrack").arg("--version").output();
    (!works.is_ok_and(|output| output.status.success())).then(|| "needs conntrack".to_owned())
}
