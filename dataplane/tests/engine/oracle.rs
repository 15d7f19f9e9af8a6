//! The kernel as judge of chain FORWARD: the same random rules and packets through iptables in a
//! network namespace and through the engine. Way and fate of every packet, packets and bytes of
//! every rule and of the policy must be the same.
//!
//! ```text
//!   spec -> words --> iptables-legacy-restore --> three TUN devices --> out of which?  counters?
//!              '----> weir_control -> Compiler -> three memory ports -> out of which?  counters?
//! ```
//!
//! The legacy tables, for they run `xt_tcpudp` itself; iptables-nft replaces it by nft expressions,
//! which have no "hotdrop". No rule asks for connection tracking, so the kernel reassembles
//! nothing.
//!
//! Environment: `WEIR_ORACLE_CASES` rule sets (default 120), `WEIR_ORACLE_SEED`. Needs root, unshare, ip, python3,
//! iptables-legacy, /dev/net/tun; else prints SKIPPED.
//!
//! Rules are asked about Ethernet frames (TAP devices), for some look at those; whether a packet is
//! forwarded at all, about IPv4 packets (TUN), for there are no neighbours to be found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use weir_dataplane::port::PortIndex;
use weir_dataplane::route::Target;
use weir_dataplane::verdict::DropReason;

use crate::chance::{Chance, Seed};
use crate::packet::Packet;
use crate::spec::{Spec, traffic};
use crate::twin::commands;
use crate::world::*;

const PACKETS_PER_CASE: u16 = 100;

/// The kernel's end.
pub(crate) struct Kernel {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Kernel {
    /// With devices of this kind: `tun`, `tap`, or `tun 6` for IPv6.
    pub(crate) fn new(devices: &str) -> std::io::Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/oracle_driver.py");
        let mut child = Command::new("unshare")
            .args(["-n", "python3", script])
            .args(devices.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stdout = BufReader::new(stdout.ok_or(std::io::ErrorKind::BrokenPipe)?);
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{line}").expect("the driver runs");
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).expect("the driver answers");
        assert!(answer.ends_with('\n'), "the driver ended; see its message above");
        answer
    }

    /// Puts rules in place of all others, counters at zero.
    fn rules(&mut self, specs: &[Spec], accept: bool) {
        let lines: Vec<_> = specs.iter().map(Spec::words).collect();
        self.lines(&lines.iter().map(String::as_str).collect::<Vec<_>>(), accept);
    }

    /// The same of lines that begin with `-A FORWARD`.
    pub(crate) fn lines(&mut self, lines: &[&str], accept: bool) {
        let policy = if accept { "ACCEPT" } else { "DROP" };
        let text = format!("*filter\n:FORWARD {policy} [0:0]\n{}\nCOMMIT\n", lines.join("\n"));
        self.restore(&text);
    }

    /// Restores a table.
    pub(crate) fn restore(&mut self, text: &str) {
        assert_eq!(self.ask(&format!("rules {}", hex(text.as_bytes()))), "ok\n");
    }

    /// The port by which each packet or frame left, if it did.
    pub(crate) fn forward(&mut self, packets: &[(usize, Vec<u8>)]) -> Vec<Option<PortIndex>> {
        let line = format!("packets{}", words(packets));
        let way = |word: &str| word.parse().ok().map(PortIndex);
        self.ask(&line).split_whitespace().map(way).collect()
    }

    /// What left when it saw each packet: devices and packets.
    pub(crate) fn answers(&mut self, packets: &[(usize, Vec<u8>)]) -> Vec<Vec<(u8, Vec<u8>)>> {
        let one = |word: &str| {
            let (port, digits) = word.split_once(':').expect("device:packet");
            (port.parse().expect("a number"), unhex(digits))
        };
        let answer = self.ask(&format!("answers{}", words(packets)));
        let words = answer.split_whitespace();
        words.map(|word| word.split(',').filter(|one| *one != "-").map(one).collect()).collect()
    }

    /// The lines with `word` in them that the packets made in its log.
    pub(crate) fn logged(&mut self, word: &str, packets: &[(usize, Vec<u8>)]) -> Vec<String> {
        let answer = self.ask(&format!("log {word}{}", words(packets)));
        let text = |digits: &str| String::from_utf8(unhex(digits)).expect("text");
        let digits = answer.split_whitespace().filter(|word| *word != "-");
        let lines: Vec<String> = digits.map(text).collect();
        assert_eq!(lines.len(), packets.len(), "a line a packet; {lines:?}");
        lines
    }

    /// Puts frames before the rules, wherever they go then.
    pub(crate) fn judge(&mut self, frames: &[(usize, Vec<u8>)]) {
        assert_eq!(self.ask(&format!("judged{}", words(frames))), "ok\n");
    }

    /// Packets and bytes: of the policy, then of each rule.
    pub(crate) fn counters(&mut self) -> Vec<(u64, u64)> {
        self.counted("counters")
    }

    /// The same, or by `raw` that of table raw and chain PREROUTING.
    pub(crate) fn counted(&mut self, table: &str) -> Vec<(u64, u64)> {
        let pair = |word: &str| {
            let (packets, bytes) = word.split_once(':').expect("packets:bytes");
            (packets.parse().expect("a number"), bytes.parse().expect("a number"))
        };
        self.ask(table).split_whitespace().map(pair).collect()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.stdin = None; // it ends at the end of its input
        let _ = self.child.wait();
    }
}

/// Packets or frames and where they come in, each with a blank before it.
fn words(packets: &[(usize, Vec<u8>)]) -> String {
    packets.iter().fold(String::new(), |mut words, (ingress, packet)| {
        let _ = write!(words, " {ingress}:{}", hex(packet));
        words
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// The frame of a packet as its host would send it.
pub(crate) fn frame((ingress, packet): &(usize, Packet)) -> (usize, Vec<u8>) {
    (*ingress, packet.frame(mac(PORTS[*ingress]), host_mac(packet.source)))
}

/// The same, or one to somebody else, or from somebody else.
fn some_frame(chance: &mut Chance, packet: &(usize, Packet)) -> (usize, Vec<u8>) {
    let (ingress, mut frame) = frame(packet);
    match chance.below(100) {
        0 => frame[..6].fill(0xff),
        1 => frame[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 1]),
        2 => frame[..6].copy_from_slice(&host_mac(CAROL)),
        3..20 => frame[6..12].copy_from_slice(&host_mac(chance.one_of(&[ALICE, BOB, CAROL]))),
        _ => {}
    }
    (ingress, frame)
}

/// The port by which each frame left the engine; packets are told apart by their identifications. They wait for each
/// other `in_turn` where rules count: ports are polled one after the other.
pub(crate) fn forward(
    world: &mut World,
    frames: &[(usize, Vec<u8>)],
    in_turn: bool,
) -> Vec<Option<PortIndex>> {
    for (ingress, frame) in frames {
        world.inject(0, PORTS[*ingress], frame.clone());
        if in_turn {
            world.settle();
        }
    }
    world.settle();
    let mut ways = vec![None; frames.len()];
    for sent in world.left() {
        // Weir's own errors, known by their precedence.
        if sent.bytes[15] & 0xc0 == 0xc0 {
            continue;
        }
        let number = u16::from_be_bytes([sent.bytes[18], sent.bytes[19]]);
        let way = &mut ways[usize::from(number)];
        assert_eq!(way.replace(sent.port), None, "packet {number} left twice");
    }
    ways
}

pub(crate) fn unmet() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("needs /dev/net/tun".into());
    }
    let works = |words: &[&str]| {
        let done = Command::new(words[0]).args(&words[1..]).output();
        done.is_ok_and(|output| output.status.success())
    };
    let needs: [&[&str]; 4] = [
        &["unshare", "-n", "true"],
        &["ip", "-V"],
        &["python3", "--version"],
        &["unshare", "-n", "iptables-legacy-save", "-t", "filter"],
    ];
    let missing = needs.iter().find(|words| !works(words))?;
    Some(format!("`{}` does not work here", missing.join(" ")))
}

/// Packets that a router may or may not forward. (Not of other versions: a TUN device takes that for the protocol.)
fn doubtful() -> Vec<(usize, Packet)> {
    let ip = |text: &str| text.parse().expect("an address");
    let good = Packet::udp((ALICE, 1), (BOB, 2), b"12345678");
    let addresses = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.9.9.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "10.0.1.1",
        "10.0.2.1",
        "10.0.3.1",
        "10.0.1.255",
        "10.0.2.255",
        "10.0.1.2",
        "10.70.3.4",
        "192.0.2.1",
        "1.0.0.1",
        "223.255.255.255",
    ];
    let mut packets = vec![good.clone()];
    for address in addresses.map(ip) {
        packets.push(Packet { source: address, ..good.clone() });
        packets.push(Packet { destination: address, ..good.clone() });
    }
    packets.extend([0, 1, 2, 255].map(|ttl| Packet { ttl, ..good.clone() }));
    packets.extend([0x44, 0x40, 0x4f].map(|v| Packet { version_ihl: Some(v), ..good.clone() }));
    packets.extend(
        [0, 19, 20, 35, 37, 0xffff].map(|len| Packet { total_len: Some(len), ..good.clone() }),
    );
    packets.extend([0, 1, 0xffff].map(|sum| Packet { checksum: Some(sum), ..good.clone() }));
    for options in [
        vec![1, 1, 1, 0],
        vec![0, 131, 3, 4],
        vec![131, 3, 4, 0],
        vec![137, 7, 4, 10, 0, 0, 9, 0],
        vec![1, 131, 7, 4, 10, 0, 0, 9],
        vec![148, 4, 0, 0],
        vec![130, 4, 0, 0],
    ] {
        packets.push(Packet { options, ..good.clone() });
    }
    packets.into_iter().map(|packet| (0, packet)).collect()
}

#[test]
fn what_the_kernel_does_not_forward_weir_does_not() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut packets = doubtful();
    for (identification, (_, packet)) in (0..).zip(&mut packets) {
        packet.identification = identification;
    }
    let mut world = World::over(
        Sizes::ONE,
        network().neighbour(EAST, std::net::Ipv4Addr::new(10, 0, 1, 0), reachable(ALICE)).build(),
    );
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    kernel.rules(&[], true);
    let bare: Vec<_> = packets.iter().map(|(ingress, packet)| (*ingress, packet.bytes())).collect();
    let theirs = kernel.forward(&bare);
    let frames: Vec<_> = packets.iter().map(frame).collect();
    let ours = forward(&mut world, &frames, false);
    let differing: Vec<_> = (packets.iter().zip(ours).zip(theirs))
        .filter(|((_, ours), theirs)| ours != theirs)
        // RFC 1812 5.3.7: network 0 is no source. Of it the kernel refuses 0.0.0.0 only.
        .filter(|(((_, packet), _), _)| packet.source.octets() != [0, 1, 2, 3])
        .map(|(((_, packet), ours), theirs)| {
            format!("Weir {ours:?}, kernel {theirs:?}: {packet:?}")
        })
        .collect();
    assert_eq!(differing, [""; 0]);
    world.shut_down();
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

#[test]
fn rules_mean_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 120);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    // Packets that met rules with each match, at least.
    let mut met = BTreeMap::<String, u64>::new();
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let (rules, accept) = (chance.below(20), chance.percent(50));
        let specs: Vec<Spec> = (0..rules).map(|_| Spec::draw(&mut chance)).collect();
        let packets: Vec<(usize, Packet)> = (0..PACKETS_PER_CASE)
            .map(|identification| {
                let (ingress, packet) = traffic(&mut chance);
                (ingress, Packet { identification, ..packet })
            })
            .collect();
        let lines = commands(&specs, accept);
        world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        kernel.rules(&specs, accept);
        let frames: Vec<_> = packets.iter().map(|packet| some_frame(&mut chance, packet)).collect();
        let theirs = kernel.forward(&frames);
        let in_turn = specs.iter().any(Spec::counts);
        let ways = forward(&mut world, &frames, in_turn).into_iter().zip(theirs);
        for (((ours, theirs), packet), frame) in ways.zip(packets).zip(frames) {
            assert_eq!(ours, theirs, "Weir, kernel; {packet:?}\n{frame:02x?}\n{lines:#?}");
        }
        let ours: Vec<_> = (0..=specs.len()).map(|n| world.count(n)).collect();
        assert_eq!(ours, kernel.counters(), "Weir, kernel; {lines:#?}");
        for (spec, (packets, _)) in specs.iter().zip(&ours[1..]) {
            for asked in &spec.asked {
                *met.entry(asked.name()).or_default() += packets;
            }
            if spec.marks.is_some() {
                *met.entry("MARK".to_owned()).or_default() += packets;
            }
        }
    }
    eprintln!("packets counted by rules with each match: {met:?}");
    if cases >= 120 {
        assert!(met.len() == 15 && met.values().all(|packets| *packets > 20), "{met:?}");
        assert!(world.counters().dropped(DropReason::RuleHotdrop) > 20);
    }
    world.shut_down();
}

/// A packet of no more than one fragment, cut up; marks of congestion and times to live may differ.
pub(crate) fn pieces(chance: &mut Chance, whole: &Packet) -> Vec<Packet> {
    let mut pieces = Vec::new();
    let mut from = 0;
    let marks = chance.one_of(&[&[0][..], &[0, 1, 2, 3], &[1, 2, 3], &[2], &[1, 2], &[0, 2]]);
    while from < whole.payload.len() {
        let to = (from + 8 * (1 + chance.below(3))).min(whole.payload.len());
        pieces.push(Packet {
            offset: u16::try_from(from / 8).expect("small"),
            more_fragments: to < whole.payload.len(),
            payload: whole.payload[from..to].to_vec(),
            tos: whole.tos & 0xfc | chance.one_of(marks),
            ttl: if chance.percent(30) { 2 + (chance.byte() & 3) } else { whole.ttl },
            ..whole.clone()
        });
        from = to;
    }
    for place in 1..pieces.len() {
        let other = chance.below(place + 1);
        pieces.swap(place, other);
    }
    pieces
}

/// Where connections are tracked, the rules see whole datagrams. The kernel's `bm` misses patterns
/// across the borders of fragments (`lib/ts_bm.c`), so `kmp` judges in its place.
#[test]
fn rules_about_datagrams_in_fragments_mean_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let tracking = "-A FORWARD -m conntrack --ctstate INVALID,NEW,ESTABLISHED,RELATED";
    for case in seed..seed + number("WEIR_ORACLE_CASES", 120) / 2 {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let specs: Vec<Spec> = (0..12).map(|_| Spec::draw(&mut chance)).collect();
        let mut frames = Vec::new();
        for identification in 0..40 {
            let (ingress, packet) = traffic(&mut chance);
            let whole = Packet { identification, offset: 0, more_fragments: false, ..packet };
            for piece in pieces(&mut chance, &whole) {
                frames.push(frame(&(ingress, Packet { dont_fragment: false, ..piece })));
            }
        }
        let mut lines = commands(&specs, true);
        lines.iter_mut().for_each(|line| *line = line.replace("--algo bm", "--algo kmp"));
        lines.insert(3, tracking.to_owned());
        world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{}\nCOMMIT\n", lines[3..].join("\n"));
        assert_eq!(kernel.ask(&format!("rules {}", hex(text.as_bytes()))), "ok\n");
        kernel.judge(&frames);
        for (ingress, frame) in &frames {
            world.inject(0, PORTS[*ingress], frame.clone());
            // Some rules count: the order is that of arrival.
            world.settle();
        }
        world.left();
        let ours: Vec<_> = (0..=specs.len() + 1).map(|n| world.count(n)).collect();
        assert_eq!(ours, kernel.counters(), "Weir, kernel; {lines:#?}");
    }
    world.shut_down();
}

/// Every kind of source against every type, anywhere and at an interface.
#[test]
fn addresses_are_of_the_types_that_the_kernel_finds() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let ip = |text: &str| text.parse().expect("an address");
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    for route in [
        "unreachable 10.66.0.0/16",
        "prohibit 10.67.0.0/16",
        "blackhole 10.68.0.0/16",
        "throw 10.65.0.0/16",
        "anycast 10.9.0.1 dev east table local",
        "broadcast 10.9.0.2 dev wan0 table local",
    ] {
        assert_eq!(kernel.ask(&format!("ip route add {route}")), "ok\n");
    }
    let forwarding = network()
        .route(ip("10.9.0.1"), 32, Target::Anycast { port: Some(EAST) })
        .route(ip("10.9.0.2"), 32, Target::Broadcast { port: Some(WAN) });
    let mut world = World::over(Sizes::ONE, forwarding.build());
    let types = "UNSPEC UNICAST LOCAL BROADCAST ANYCAST MULTICAST BLACKHOLE UNREACHABLE PROHIBIT \
                 THROW NAT XRESOLVE";
    let mut lines = commands(&[], true);
    for limit in ["", " --limit-iface-in", " --limit-iface-out"] {
        for end in ["src", "dst"] {
            lines.extend(
                types
                    .split_whitespace()
                    .map(|kind| format!("-A FORWARD -m addrtype --{end}-type {kind}{limit}")),
            );
        }
    }
    let text = format!("*filter\n:FORWARD ACCEPT [0:0]\n{}\nCOMMIT\n", lines[3..].join("\n"));
    let good = Packet { identification: 0, ..Packet::udp((ALICE, 1), (BOB, 2), b"12345678") };
    let sources = [
        "10.0.1.2",
        "10.0.1.255",
        "10.0.2.255",
        "10.0.3.255",
        "10.70.255.255",
        "10.9.0.1",
        "10.9.0.2",
        "10.66.0.1",
        "10.67.0.1",
        "10.68.0.1",
        "10.65.0.1",
        "192.0.2.1",
        "8.8.8.8",
    ];
    for source in sources.map(ip) {
        for ingress in 0..3 {
            for destination in [BOB, CAROL] {
                let packet = Packet { source, destination, ..good.clone() };
                let frames = [frame(&(ingress, packet))];
                world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
                assert_eq!(kernel.ask(&format!("rules {}", hex(text.as_bytes()))), "ok\n");
                let ways = (forward(&mut world, &frames, false), kernel.forward(&frames));
                assert_eq!(ways.0, ways.1, "{source} by {ingress} to {destination}");
                let ours: Vec<_> = (0..=lines.len() - 3).map(|n| world.count(n)).collect();
                assert_eq!(ours, kernel.counters(), "{source} by {ingress} to {destination}");
            }
        }
    }
    world.shut_down();
}
