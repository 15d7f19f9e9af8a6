//! The kernel as judge of `respond`: three namespaces, the middle one routing with the kernel's own
//! forwarding. What the kernel sends about a packet (or does not), Weir must send byte by byte.
//!
//! ```text
//!   alice 10.77.0.2 ── 10.77.0.1 router 10.78.0.1 ── MTU 1000 ── 10.78.0.2 bob
//! ```
//!
//! Only the identification is the kernel's own choice; it is read from its answer and given to ours.
//! The ICMP errors of the router are unlimited here; rates are tested in `respond::rate`.
//!
//! Needs root, `ip` and `python3`; else prints SKIPPED.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use weir_dataplane::respond::icmp_error::{self, IcmpError, NotSent, Reply, Unreachable};
use weir_dataplane::respond::{fragments, write_fragment};
use weir_dataplane::wire::{
    EtherType, EthernetHeader, IpProtocol, Ipv4, Ipv4Header, MacAddr, NoRoom,
};

const ALICE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const BOB: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const ALICE_MAC: MacAddr = MacAddr([2, 0x77, 0, 0, 0, 2]);
const ROUTER_MAC: MacAddr = MacAddr([2, 0x77, 0, 0, 0, 1]);
const BOB_MTU: u16 = 1000;

/// Three namespaces of this test's own, deleted when dropped.
struct Topology {
    names: [String; 3],
}

impl Topology {
    /// The namespaces and everything in them.
    fn new() -> Result<Self, String> {
        let names = ["a", "r", "b"].map(|n| format!("weir-wire-{}-{n}", std::process::id()));
        let topology = Self { names };
        let [a, r, b] = &topology.names;
        let mut script = String::new();
        for name in &topology.names {
            writeln!(script, "netns add {name}").map_err(|e| e.to_string())?;
        }
        // IPv6 is off, so that nothing but the test's packets is on the links.
        let lines = format!(
            "link add a0 netns {a} address {ALICE_MAC} type veth peer name r0 netns {r} address {ROUTER_MAC}
             link add r1 netns {r} type veth peer name b0 netns {b}
             -n {a} addr add {ALICE}/24 dev a0
             -n {r} addr add {ROUTER}/24 dev r0
             -n {r} addr add 10.78.0.1/24 dev r1
             -n {b} addr add {BOB}/24 dev b0
             -n {a} link set a0 up
             -n {r} link set r0 up
             -n {r} link set r1 up mtu {BOB_MTU}
             -n {b} link set b0 up
             -n {r} route add prohibit 10.80.0.0/24
             -n {r} route add unreachable 10.81.0.0/24"
        );
        for line in script.lines().chain(lines.lines()) {
            run("ip", line)?;
        }
        for setting in [
            "net/ipv4/ip_forward=1",
            // No type is limited. (A rate of 0 would not do: it empties the bucket that the kernel's
            // unreachable routes take from, which allows five errors at once and one a second.)
            "net/ipv4/icmp_ratemask=0",
            "net/ipv4/neigh/r1/retrans_time_ms=50",
        ] {
            topology.set(r, setting)?;
        }
        // The neighbours that answers need, so that none waits for ARP.
        let bob_mac = run("ip", &format!("-n {b} -br link show b0"))?;
        let bob_mac = bob_mac.split_whitespace().nth(2).ok_or("no MAC of b0")?.to_owned();
        run(
            "ip",
            &format!("-n {r} neigh replace {ALICE} lladdr {ALICE_MAC} nud permanent dev r0"),
        )?;
        run("ip", &format!("-n {r} neigh replace {BOB} lladdr {bob_mac} nud permanent dev r1"))?;
        Ok(topology)
    }

    fn set(&self, namespace: &str, setting: &str) -> Result<(), String> {
        let (path, value) = setting.split_once('=').ok_or("a setting is path=value")?;
        let write = format!("echo {value} > /proc/sys/{path}");
        let done =
            Command::new("ip").args(["netns", "exec", namespace, "sh", "-c", &write]).output();
        match done {
            Ok(output) if output.status.success() => Ok(()),
            other => Err(format!("{setting}: {other:?}")),
        }
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = run("ip", &format!("netns delete {name}"));
        }
    }
}

fn run(program: &str, arguments: &str) -> Result<String, String> {
    let output = Command::new(program).args(arguments.split_whitespace()).output();
    let output = output.map_err(|error| format!("{program} {arguments}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{program} {}: {error}", arguments.trim()))
    }
}

/// The program that sends and listens.
struct Driver {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Driver {
    fn new(topology: &Topology) -> Result<Self, String> {
        let [a, _, b] = &topology.names;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/icmp_oracle/driver.py");
        let mut fence = packet(IpProtocol::UDP, 1, &[0; 8]);
        fence[4..6].copy_from_slice(&[0xfe, 0xed]);
        seal(&mut fence);
        let mut child = Command::new("python3")
            .args([script, &format!("{a}:a0"), &format!("{b}:b0"), &hex(&frame(&fence))])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3: {error}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, stdin, stdout })
    }

    /// Sends a frame from Alice and returns what came of it at either end.
    fn ask(&mut self, prefix: &str, frame: &[u8]) -> Vec<Vec<u8>> {
        let stdin = self.stdin.as_mut().expect("open until dropped");
        writeln!(stdin, "{prefix}{}", hex(frame)).expect("the driver runs");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the driver answers");
        assert!(line.ends_with('\n'), "the driver ended; see its message above");
        line.split_whitespace().map(unhex).collect()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.stdin = None; // it ends at the end of its input
        let _ = self.child.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn hexes(packets: &[Vec<u8>]) -> Vec<String> {
    packets.iter().map(|packet| hex(packet)).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digits).collect()
}

/// A packet from Alice to Bob.
fn packet(protocol: IpProtocol, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        ttl,
        identification: 0x1111,
        dont_fragment: false,
        ..Ipv4Header::new(ALICE, BOB, protocol)
    };
    let mut bytes = vec![0; 20 + payload.len()];
    assert_eq!(header.emit(payload.len(), &mut bytes), Ok::<_, NoRoom>(20));
    bytes[20..].copy_from_slice(payload);
    bytes
}

/// Puts options into a packet that has none.
fn with_options(mut packet: Vec<u8>, options: &[u8]) -> Vec<u8> {
    packet.splice(20..20, options.iter().copied());
    packet[0] += u8::try_from(options.len() / 4).expect("few");
    let total = u16::try_from(packet.len()).expect("small");
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    seal(&mut packet);
    packet
}

/// Makes the header checksum right after a change.
fn seal(packet: &mut [u8]) {
    Ipv4::new_checked(packet).expect("a packet").fill_checksum();
}

fn frame(packet: &[u8]) -> Vec<u8> {
    let header =
        EthernetHeader { destination: ROUTER_MAC, source: ALICE_MAC, ether_type: EtherType::IPV4 };
    let mut bytes = vec![0; 14];
    header.emit(&mut bytes).expect("room");
    bytes.extend(packet);
    bytes
}

/// What Weir would send about `original`, given the kernel's choice of identification.
fn ours(original: &[u8], error: IcmpError, to_group: bool, kernel: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let identification = kernel.first().map_or(0, |packet| {
        Ipv4::new_checked(packet).expect("the kernel sends packets").identification()
    });
    let reply = Reply { error, source: ROUTER, identification, mtu: 1500, to_group };
    let mut out = [0; 576];
    match icmp_error::build(original, &reply, &mut out) {
        Ok(len) => vec![out[..len].to_vec()],
        Err(NotSent::Malformed(_) | NotSent::NoRoom(_) | NotSent::LinkMtu { .. }) => {
            panic!("the test's own packet is bad")
        }
        Err(_) => Vec::new(),
    }
}

/// One question to both.
struct Case {
    name: String,
    packet: Vec<u8>,
    error: IcmpError,
    to_group: bool,
}

fn case(name: impl Into<String>, error: IcmpError, packet: Vec<u8>) -> Case {
    Case { name: name.into(), packet, error, to_group: false }
}

/// Packets whose TTL runs out, of every kind there is a rule for.
fn expired() -> Vec<Case> {
    let error = IcmpError::TimeExceeded;
    let mut cases = Vec::new();
    for len in [0, 1, 8, 100, 527, 528, 529, 530, 1400] {
        let packet = packet(IpProtocol::UDP, 1, &vec![7; len]);
        cases.push(case(format!("TTL 1, {len} bytes"), error, packet));
    }
    for tos in [0x01, 0x02, 0x03, 0x10, 0x1e, 0xb8, 0xff] {
        let mut packet = packet(IpProtocol::TCP, 1, &[7; 40]);
        packet[1] = tos;
        seal(&mut packet);
        cases.push(case(format!("TOS {tos:#x}"), error, packet));
    }
    for kind in 0..=255 {
        let packet = packet(IpProtocol::ICMP, 1, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        cases.push(case(format!("ICMP type {kind}"), error, packet));
    }
    for (offset, more) in [(0, true), (8, true), (8, false), (65_000, false)] {
        let mut packet = packet(IpProtocol::UDP, 1, &[7; 64]);
        Ipv4::new_checked(&mut packet[..]).expect("a packet").set_fragment(offset, more);
        seal(&mut packet);
        cases.push(case(format!("fragment at {offset}, more {more}"), error, packet));
    }
    let options = with_options(packet(IpProtocol::UDP, 1, &[7; 700]), &[1, 1, 148, 4, 0, 0, 1, 0]);
    cases.push(case("options", error, options));
    let mut padded = packet(IpProtocol::UDP, 1, &[7; 4]);
    padded.resize(46, 0xee);
    cases.push(case("Ethernet padding", error, padded));
    let mut dont_fragment = packet(IpProtocol::UDP, 1, &[7; 1200]);
    dont_fragment[6] = 0x40;
    seal(&mut dont_fragment);
    cases.push(case("TTL before MTU", error, dont_fragment));
    for source in ["0.0.0.0", "0.0.0.9", "127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        let mut packet = packet(IpProtocol::UDP, 1, &[7; 8]);
        let source: Ipv4Addr = source.parse().expect("an address");
        Ipv4::new_checked(&mut packet[..]).expect("a packet").set_source(source);
        seal(&mut packet);
        cases.push(case(format!("source {source}"), error, packet));
    }
    cases
}

/// Packets that live but cannot go on.
fn undeliverable() -> Vec<Case> {
    let to = |destination: [u8; 4], len: usize, tos: u8, dont_fragment: bool| {
        let mut bytes = packet(IpProtocol::UDP, 9, &vec![7; len]);
        bytes[1] = tos;
        bytes[6] = if dont_fragment { 0x40 } else { 0 };
        Ipv4::new_checked(&mut bytes[..]).expect("a packet").set_destination(destination.into());
        seal(&mut bytes);
        bytes
    };
    let dest = IcmpError::DestinationUnreachable;
    let too_large = IcmpError::FragmentationNeeded { mtu: BOB_MTU };
    let icmp_error = packet(IpProtocol::ICMP, 9, &[&[3, 1, 0, 0][..], &[0; 1100]].concat());
    let icmp_error = {
        let mut bytes = icmp_error;
        bytes[6] = 0x40;
        seal(&mut bytes);
        bytes
    };
    vec![
        case("no route", dest(Unreachable::Net), to([10, 79, 0, 1], 100, 0x28, false)),
        case("prohibit", dest(Unreachable::AdminProhibited), to([10, 80, 0, 1], 100, 0x08, true)),
        case("unreachable", dest(Unreachable::Host), to([10, 81, 0, 1], 1400, 0, false)),
        case("one byte too large", too_large, to(BOB.octets(), 981, 0, true)),
        case("1,400 bytes too large", too_large, to(BOB.octets(), 1400, 0xff, true)),
        case("a large ICMP error", too_large, icmp_error),
    ]
}

/// Sends every case; returns how many the kernel answered.
fn compare(driver: &mut Driver, cases: Vec<Case>) -> usize {
    let mut answered = 0;
    for Case { name, packet, error, to_group } in cases {
        let mut bytes = frame(&packet);
        if to_group {
            bytes[..6].copy_from_slice(&MacAddr::BROADCAST.0);
        }
        let kernel = driver.ask("", &bytes);
        let expected = ours(&packet, error, to_group, &kernel);
        assert_eq!(hexes(&expected), hexes(&kernel), "ours left, the kernel's right: {name}");
        answered += kernel.len();
    }
    answered
}

/// Root and the programs, or the reason to skip.
fn set_up() -> Option<(Topology, Driver)> {
    let is_root = run("id", "-u").is_ok_and(|id| id.trim() == "0");
    if !is_root {
        eprintln!("SKIPPED: namespaces need root");
        return None;
    }
    if let Some(missing) = ["ip -V", "python3 -V"].into_iter().find(|probe| {
        let (program, argument) = probe.split_once(' ').expect("two words");
        run(program, argument).is_err()
    }) {
        eprintln!("SKIPPED: `{missing}` does not run");
        return None;
    }
    let topology = match Topology::new() {
        Ok(topology) => topology,
        Err(why) => {
            eprintln!("SKIPPED: no router of namespaces here: {why}");
            return None;
        }
    };
    let driver = Driver::new(&topology).expect("python3 runs");
    Some((topology, driver))
}

#[test]
fn respond_sends_what_the_kernel_sends() {
    let Some((_topology, mut driver)) = set_up() else { return };

    // 9 lengths, 7 TOS, 8 ICMP types, 1 first fragment, options, padding, TTL before MTU.
    assert_eq!(compare(&mut driver, expired()), 9 + 7 + 8 + 1 + 3);
    assert_eq!(compare(&mut driver, undeliverable()), 5);
    let mut to_all =
        case("a frame to all", IcmpError::TimeExceeded, packet(IpProtocol::UDP, 1, &[7; 8]));
    to_all.to_group = true;
    assert_eq!(compare(&mut driver, vec![to_all]), 0);

    // A neighbour that does not answer ARP: the kernel has already taken a hop off by then.
    let mut silent = packet(IpProtocol::UDP, 9, &[7; 100]);
    let mut ip = Ipv4::new_checked(&mut silent[..]).expect("a packet");
    ip.set_destination(Ipv4Addr::new(10, 78, 0, 99));
    ip.fill_checksum();
    let kernel = driver.ask("wait:", &frame(&silent));
    Ipv4::new_checked(&mut silent[..]).expect("a packet").decrement_ttl();
    let error = IcmpError::DestinationUnreachable(Unreachable::Host);
    assert_eq!(ours(&silent, error, false, &kernel), kernel);

    forwarded_and_fragmented(&mut driver);
}

/// What arrives at Bob: the TTL's checksum, and the fragments of what his link cannot take.
fn forwarded_and_fragmented(driver: &mut Driver) {
    // Unknown to the kernel, so that it leaves them alone: 30 goes into the first fragment only, 158
    // into all.
    let options = [30, 3, 7, 158, 4, 1, 2, 1, 30, 2, 0, 0];
    let mut cases = Vec::new();
    for len in [8, 980, 981, 1400, 1480] {
        cases.push(packet(IpProtocol::UDP, 9, &vec![7; len]));
    }
    cases.push(with_options(packet(IpProtocol::UDP, 9, &[7; 1400]), &options));
    for (offset, more) in [(1200, true), (1200, false)] {
        let mut fragment = with_options(packet(IpProtocol::UDP, 9, &[7; 1400]), &options);
        Ipv4::new_checked(&mut fragment[..]).expect("a packet").set_fragment(offset, more);
        seal(&mut fragment);
        cases.push(fragment);
    }
    for mut packet in cases {
        let kernel = driver.ask("", &frame(&packet));
        Ipv4::new_checked(&mut packet[..]).expect("a packet").decrement_ttl();
        let ours: Vec<Vec<u8>> = match fragments(&packet, BOB_MTU) {
            Ok(plan) => plan
                .map(|fragment| {
                    let mut out = vec![0; usize::from(BOB_MTU)];
                    let len = write_fragment(&packet, &fragment, &mut out).expect("planned");
                    out.truncate(len);
                    out
                })
                .collect(),
            Err(_) => vec![packet.clone()],
        };
        assert_eq!(hexes(&ours), hexes(&kernel), "ours left, the kernel's right");
    }
}
