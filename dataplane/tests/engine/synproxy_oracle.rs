//! The kernel as judge of SYNPROXY: the same clients and servers, with the same rules, on both sides of it. Everything
//! that comes out must be the same, but for what each side may choose: cookies and clocks.
//!
//! ```text
//!   client (Alice) ── east │ raw: --syn -j CT --notrack; SYNPROXY; INVALID -j DROP │ west ── server (Bob)
//! ```
//!
//! Environment: `WEIR_ORACLE_FLOWS` connections (default 300), `WEIR_ORACLE_SEED`. Needs are those of `oracle`.

mod out;
mod under_flood;

use std::fmt::Write as _;

use weir_control::rule::{Family, Table};
use weir_dataplane::conntrack::{self, Settings};
use weir_dataplane::telemetry::Counter;

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, number, unmet};
use crate::packet::{ACK, FIN, PSH, Packet, RST, SYN, ethernet};
use crate::six::{ALICE6, BOB6, Packet6, network6, unmet6};
use crate::world::*;
use out::{Chosen, Out};

const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// Which side of the firewall packets come in by, or go out.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// One firewall and what it has chosen.
trait Firewall {
    fn pass(&mut self, port: usize, packet: &[u8]) -> Vec<Out>;
}

impl Firewall for Kernel {
    fn pass(&mut self, port: usize, packet: &[u8]) -> Vec<Out> {
        let answers = self.answers(&[(port, packet.to_vec())]).remove(0);
        answers.into_iter().map(|(port, bytes)| Out::new(port.into(), &bytes)).collect()
    }
}

impl Firewall for World {
    fn pass(&mut self, port: usize, packet: &[u8]) -> Vec<Out> {
        let kind = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        let frame = ethernet(mac(PORTS[port]), [6; 6], kind, packet);
        self.inject(0, PORTS[port], frame);
        self.settle();
        let left = self.left_by_port().into_iter();
        left.map(|(port, frame)| Out::new(port.as_usize(), &frame[14..])).collect()
    }
}

/// A segment with options and a window.
#[derive(Debug, Clone, Default)]
struct Segment {
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: Vec<u8>,
    data: Vec<u8>,
}

impl Segment {
    /// Its bytes from the IP header on.
    fn packet(&self, family: Family, from_client: bool, port: u16) -> Vec<u8> {
        let (client, server) = ((ALICE, port), (BOB, 80));
        let (from, to) = if from_client { (client, server) } else { (server, client) };
        let mut packet = Packet::segment(from, to, self.flags, (self.seq, self.ack), &self.data);
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 1);
        packet.payload[12] = u8::try_from(5 + options.len() / 4).expect("at most 15 words") << 4;
        packet.payload[14..16].copy_from_slice(&self.window.to_be_bytes());
        packet.payload.splice(20..20, options);
        packet.dont_fragment = true;
        if family == Family::V4 {
            return packet.with_right_checksum().bytes();
        }
        let (from, to) = if from_client { (ALICE6, BOB6) } else { (BOB6, ALICE6) };
        // A flow label, by which it is known from what a firewall makes.
        let six = Packet6 { payload: packet.payload, class_flow: 7, ..Packet6::new(from, to, 6) };
        six.resummed(16).bytes()
    }
}

/// Both firewalls, and a connection through them.
struct Talk<'a> {
    kernel: &'a mut Kernel,
    world: &'a mut World,
    family: Family,
    /// Of the kernel, of Weir.
    chosen: [Chosen; 2],
    port: u16,
    story: String,
}

impl Talk<'_> {
    /// Sends a segment into both: `make` is told what each has chosen. What comes out must be the same.
    fn send(&mut self, from_client: bool, make: impl Fn(Chosen) -> Segment) -> [Vec<Out>; 2] {
        let side = if from_client { CLIENT } else { SERVER };
        let packets =
            self.chosen.map(|chosen| make(chosen).packet(self.family, from_client, self.port));
        let outs = [self.kernel.pass(side, &packets[0]), self.world.pass(side, &packets[1])];
        if let [[one], [other]] = outs.each_ref().map(Vec::as_slice)
            && one.flags() & (SYN | ACK) == SYN | ACK
            && one.port == CLIENT
        {
            self.chosen = [one, other].map(|answer| Chosen {
                cookie: answer.word(4),
                clock: answer.timestamps().map_or(0, |at| answer.word(at)),
            });
        }
        let told = |of: usize| -> Vec<String> {
            outs[of].iter().map(|out| out.told(self.chosen[of])).collect()
        };
        let (theirs, ours) = (told(0), told(1));
        let _ = writeln!(self.story, "{:?}\n    -> {ours:#?}", make(self.chosen[1]));
        assert_eq!(ours, theirs, "Weir, kernel; after\n{}", self.story);
        for out in &outs[1] {
            let [source, destination] = out.addresses();
            let packet = conntrack::Packet::new(source, destination, 6, &out.tcp);
            assert!(packet.checksum_ok(), "a wrong checksum: {out:02x?}");
        }
        outs
    }
}

fn stamps(value: u32, echo: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
}

/// What a client or a server offers.
fn offers(chance: &mut Chance, scale: u8, stamped: Option<(u32, u32)>) -> Vec<u8> {
    let mut options = Vec::new();
    if chance.percent(85) {
        let mss = chance.one_of(&[300_u16, 536, 1299, 1300, 1440, 1460, 9000]).to_be_bytes();
        options.extend([2, 4, mss[0], mss[1]]);
    }
    if chance.percent(60) {
        options.extend([4, 2]);
    }
    if let Some((value, echo)) = stamped {
        options.extend(stamps(value, echo));
    }
    if chance.percent(70) {
        options.extend([3, 3, scale]);
    }
    options
}

/// A rule's options.
fn target(chance: &mut Chance) -> String {
    let mut words = "-j SYNPROXY".to_owned();
    for option in ["--sack-perm", "--timestamp", "--timestamp", "--wscale 7", "--mss 1460", "--ecn"]
    {
        if chance.percent(70) && !words.contains(option) {
            let _ = write!(words, " {option}");
        }
    }
    words
}

// long: a connection from its first segment to its last
fn converse(talk: &mut Talk<'_>, chance: &mut Chance) {
    let word = |chance: &mut Chance| u32::from(chance.word()) << 16 | u32::from(chance.word());
    let (client, server, stamp) = (word(chance), word(chance), word(chance));
    let stamped = chance.percent(70);
    let scale = chance.one_of(&[0, 3, 7, 14]);
    let options = offers(chance, scale, stamped.then_some((stamp, 0)));
    let flags = SYN | if chance.percent(30) { ECE | CWR } else { 0 };
    let window = chance.one_of(&[1000, 29_200, 65_535]);
    let syn = Segment { flags, seq: client, window, options, ..Segment::default() };
    let answered = talk.send(true, |_| syn.clone());
    assert_eq!(answered[1].len(), 1, "a SYN is answered");
    let stamped = answered[1][0].timestamps().is_some();
    let mine =
        |value: u32, chosen: Chosen| if stamped { stamps(value, chosen.clock) } else { vec![] };
    let ack = |off: u32, chosen: Chosen| Segment {
        flags: ACK,
        seq: client.wrapping_add(1),
        ack: chosen.cookie.wrapping_add(off),
        window: 500,
        options: mine(stamp.wrapping_add(5), chosen),
        ..Segment::default()
    };
    if chance.percent(25) {
        let silent = talk.send(true, |chosen| ack(1 << 13, chosen));
        assert!(silent[1].is_empty());
    }
    let begun = talk.send(true, |chosen| ack(1, chosen));
    assert_eq!(begun[1].len(), 1, "the server is asked");
    if chance.percent(25) {
        // It has not answered yet.
        talk.send(true, |chosen| ack(1, chosen));
    }
    if chance.percent(15) {
        let refusal =
            Segment { flags: RST | ACK, ack: client.wrapping_add(1), ..Segment::default() };
        let refused = talk.send(false, |_| refusal.clone());
        assert_eq!(refused[1].len(), 1);
        return;
    }
    let clock = word(chance);
    let asked = &begun[1][0];
    let stamped_there = asked.timestamps().is_some() && chance.percent(90);
    // What the server got as the client's own value it echoes.
    let echo = asked.timestamps().map_or(0, |at| asked.word(at));
    let scale = chance.one_of(&[0, 2, 7]);
    let options = offers(chance, scale, stamped_there.then_some((clock, echo)));
    let accepted = Segment {
        flags: SYN | ACK | if chance.percent(20) { ECE } else { 0 },
        seq: server,
        ack: client.wrapping_add(1),
        window: 28_960,
        options,
        ..Segment::default()
    };
    let connected = talk.send(false, |_| accepted.clone());
    assert_eq!(connected[1].len(), 2, "both hear of it");
    let of_server = connected[1].iter().find(|out| out.port == SERVER).expect("its acknowledgment");
    let echoed = of_server.timestamps().map(|at| of_server.word(at + 4));
    assert_eq!(echoed, stamped_there.then_some(clock));
    let (mut from_client, mut from_server) = (1_u32, 1_u32);
    let mut closing = [false; 2];
    for step in 0..4 + chance.below(10) {
        let now = u32::try_from(step).expect("small");
        let data = vec![u8::try_from(step).expect("small"); chance.one_of(&[0, 0, 1, 100, 700])];
        let len = u32::try_from(data.len()).expect("small");
        let from = chance.below(2);
        let fin = chance.percent(8) && !closing[from];
        let push = if data.is_empty() { 0 } else { PSH };
        let flags = ACK | push | if fin { FIN } else { 0 };
        let again = chance.percent(10);
        if closing[from] && (len > 0 || fin) {
            continue;
        }
        let (sent, other) = if from == CLIENT {
            (&mut from_client, from_server)
        } else {
            (&mut from_server, from_client)
        };
        let at = *sent;
        if !again {
            *sent += len + u32::from(fin);
            closing[from] |= fin;
        }
        let sack = chance.percent(20);
        let odd = chance.percent(20);
        talk.send(from == CLIENT, |chosen| {
            let (base, peer) = match from {
                CLIENT => (client, chosen.cookie),
                _ => (server, client),
            };
            let mut options = Vec::new();
            if stamped && stamped_there {
                // Of the server's clock the client has heard less than there is; each echoes the other's last.
                let heard = chosen.clock.wrapping_add(now);
                options = match from {
                    CLIENT => stamps(stamp.wrapping_add(10 + now), heard),
                    _ => stamps(clock.wrapping_add(now), stamp.wrapping_add(10 + now)),
                };
                if odd {
                    options.rotate_left(1);
                    // One blank in front: the numbers stand at odd places.
                    options = [&[1, 8, 10][..], &options[3..11], &[1]].concat();
                }
            }
            if sack {
                let edge = |add: u32| peer.wrapping_add(other).wrapping_add(add).to_be_bytes();
                options.extend([&[1, 1, 5, 10][..], &edge(0), &edge(0)].concat());
            }
            Segment {
                flags,
                seq: base.wrapping_add(at),
                ack: peer.wrapping_add(other),
                window: 400,
                options,
                data: data.clone(),
            }
        });
    }
    if chance.percent(20) {
        talk.send(true, |chosen| Segment {
            flags: RST | ACK,
            seq: client.wrapping_add(from_client),
            ack: chosen.cookie.wrapping_add(from_server),
            ..Segment::default()
        });
    }
}

/// Commands to either table of the firewall under test.
fn change(world: &mut World, family: Family, table: Table, lines: &[&str]) {
    match (family, table) {
        (Family::V4, Table::Filter) => world.rules(lines),
        (Family::V4, Table::Raw) => world.raw(lines),
        (Family::V6, Table::Filter) => world.rules6(lines),
        (Family::V6, Table::Raw) => world.raw6(lines),
    };
}

/// Random connections under random rules, through both.
fn connections_of(family: Family) {
    let seed = number("WEIR_ORACLE_SEED", 0x5e9);
    let cases = number("WEIR_ORACLE_FLOWS", 300);
    let four = family == Family::V4;
    let mut kernel = Kernel::new(if four { "tun" } else { "tun 6" }).expect("unshare runs");
    let sizes = Sizes { synproxy: true, flows6: if four { 0 } else { 512 }, ..Sizes::ONE };
    let settings = Settings { tcp_loose: false, ..Settings::default() };
    let forwarding = if four { network().build() } else { network6() };
    let mut world = World::with(sizes, forwarding, sizes.tables(settings));
    assert_eq!(kernel.ask("set netfilter/nf_conntrack_tcp_loose 0"), "ok\n");
    let raw = "-A PREROUTING -p tcp --syn -j CT --notrack";
    change(&mut world, family, Table::Raw, &[raw]);
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let rule =
            format!("-A FORWARD -p tcp -m state --state INVALID,UNTRACKED {}", target(&mut chance));
        let lines = [rule.as_str(), "-A FORWARD -m state --state INVALID -j DROP"];
        let filter = lines.join("\n");
        kernel.restore(&format!("*raw\n{raw}\nCOMMIT\n*filter\n{filter}\nCOMMIT\n"));
        change(&mut world, family, Table::Filter, &[&["-F", "-Z"], &lines[..]].concat());
        // A fresh one each time, so that no connection is met by one before it.
        let port = 10_000 + u16::try_from(case % 50_000).expect("small");
        let (chosen, story) = ([Chosen::default(); 2], format!("{rule}\n"));
        let mut talk = Talk { kernel: &mut kernel, world: &mut world, family, chosen, port, story };
        converse(&mut talk, &mut chance);
        let count = |n| if four { world.count(n) } else { world.count6(n) };
        let counts: Vec<_> = (0..=lines.len()).map(count).collect();
        assert_eq!(counts, kernel.counters(), "Weir, kernel");
    }
    let counters = world.counters();
    assert!(counters.get(Counter::SynproxyConnections) > cases / 2);
    assert!(counters.get(Counter::SynproxyCookiesInvalid) > cases / 10);
    world.shut_down();
}

#[test]
fn connections_come_about_and_go_on_as_through_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    connections_of(Family::V4);
}

#[test]
fn connections_of_ipv6_come_about_and_go_on_as_through_the_kernel() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    connections_of(Family::V6);
}
