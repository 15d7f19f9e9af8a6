//! The kernel as judge of `-j REJECT`: the same rules and packets through iptables in a network namespace and
//! through the engine. What leaves by which device must be the same, byte for byte, but for the identification
//! of ICMP errors, which is the kernel's own choice; and so must the counters and what becomes of connections.
//!
//! The kernel's errors are unlimited here, and the engine's clock runs fast enough for them. Not compared: partial
//! checksums (a TUN device without its offload header takes them for wrong ones), and options that the kernel fills in.
//!
//! Environment and needs are those of `oracle`, and `conntrack` for one test.

use weir_dataplane::conntrack::TcpState;
use weir_dataplane::route::Target;

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, hex, number, unmet};
use crate::packet::{ACK, FIN, PSH, Packet, RST, SYN, URG};
use crate::world::*;

const TYPES: [&str; 8] = [
    "tcp-reset",
    "icmp-net-unreachable",
    "icmp-host-unreachable",
    "icmp-proto-unreachable",
    "icmp-port-unreachable",
    "icmp-net-prohibited",
    "icmp-host-prohibited",
    "icmp-admin-prohibited",
];

/// What left: devices and packets, ICMP errors without their identification.
type Left = Vec<(u8, String)>;

fn comparable(port: u8, mut packet: Vec<u8>) -> (u8, String) {
    if packet[9] == 1 && packet[1] & 0xc0 == 0xc0 {
        packet[4..6].fill(0);
        packet[10..12].fill(0);
    }
    (port, hex(&packet))
}

fn theirs(kernel: &mut Kernel, packets: &[(usize, Packet)]) -> Vec<Left> {
    let bytes: Vec<_> = packets.iter().map(|(port, packet)| (*port, packet.bytes())).collect();
    let left = kernel.answers(&bytes).into_iter();
    left.map(|left| left.into_iter().map(|(port, packet)| comparable(port, packet)).collect())
        .collect()
}

fn ours(world: &mut World, ingress: usize, packet: &Packet) -> Left {
    world.now_ns += 2_000_000;
    world.inject_packet(0, PORTS[ingress], packet);
    world.settle();
    world
        .left()
        .into_iter()
        .map(|sent| comparable(sent.port.0, sent.bytes[14..].to_vec()))
        .collect()
}

/// The network, with the sources that the kernel would take.
fn world(sizes: Sizes) -> World {
    let via = Target::Forward {
        port: WAN,
        gateway: Some(GATEWAY),
        mtu: None,
        source: Some(address(WAN)),
    };
    World::over(sizes, network().route(std::net::Ipv4Addr::new(10, 70, 0, 0), 17, via).build())
}

/// Loads the rules and has both judge the packets; how many were answered.
#[track_caller]
fn compare(
    kernel: &mut Kernel,
    world: &mut World,
    lines: &[&str],
    packets: &[(usize, Packet)],
) -> usize {
    kernel.lines(lines, true);
    world.rules(&[&["-F", "-Z"], lines].concat());
    let theirs = theirs(kernel, packets);
    let mut answered = 0;
    for ((ingress, packet), theirs) in packets.iter().zip(theirs) {
        let ours = ours(world, *ingress, packet);
        assert_eq!(ours, theirs, "Weir left, the kernel right; {lines:?}\n{packet:?}");
        answered += ours.len();
    }
    let counts: Vec<_> = (0..=lines.len()).map(|n| world.count(n)).collect();
    assert_eq!(counts, kernel.counters(), "Weir left, the kernel right; {lines:?}");
    answered
}

/// Bytes behind the transport header, for a whole with a sum that is right.
fn checksummed(mut payload: Vec<u8>) -> Vec<u8> {
    if payload.len() >= 4 {
        payload[2..4].fill(0);
        let sum = !crate::packet::fold(crate::packet::sum(&payload));
        payload[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    payload
}

/// A TCP segment with options, or a data offset that is wrong, and a right checksum.
fn segment(
    chance: &mut Chance,
    from: (std::net::Ipv4Addr, u16),
    to: (std::net::Ipv4Addr, u16),
) -> Packet {
    let len = chance.below(60);
    let data = chance.bytes(len);
    let number = |chance: &mut Chance| u32::try_from(chance.draw() >> 32).expect("32 bits");
    let numbers = (number(chance), number(chance));
    let mut packet = Packet::segment(from, to, chance.byte(), numbers, &data);
    if chance.percent(40) {
        packet.payload[12] = chance.byte();
        packet = packet.with_right_checksum();
    }
    packet
}

/// A packet that the router takes to its rules: whole, cut, broken, in pieces, of every protocol.
pub(crate) fn packet(chance: &mut Chance) -> (usize, Packet) {
    loop {
        let (ingress, packet) = any_packet(chance);
        if !packet.looks_partial() {
            return (ingress, packet);
        }
    }
}

fn any_packet(chance: &mut Chance) -> (usize, Packet) {
    let net = std::net::Ipv4Addr::new(10, 70, chance.byte() & 0x7f, 9);
    let (ingress, source) = chance.one_of(&[
        (0, ALICE),
        (0, ALICE),
        (1, BOB),
        (2, net),
        (0, std::net::Ipv4Addr::new(192, 0, 2, 7)),
    ]);
    let destination = chance.one_of(&[ALICE, BOB, CAROL, std::net::Ipv4Addr::new(10, 70, 3, 4)]);
    let (from, to) = ((source, chance.word()), (destination, chance.word()));
    let len = if destination == BOB { chance.below(1400) } else { chance.below(400) };
    let data = chance.bytes(len);
    let mut packet = match chance.below(20) {
        0..8 => segment(chance, from, to),
        8..11 => Packet::udp(from, to, &data),
        11..15 => Packet::icmp(
            source,
            destination,
            chance.one_of(&[0, 3, 4, 5, 8, 8, 11, 12, 13, 17, 18, 19, 42]),
            &data,
        ),
        15..17 => {
            let protocol = chance.one_of(&[2, 4, 33, 41, 47, 50, 51, 89, 103, 132, 136, 253]);
            Packet { payload: checksummed(data), ..Packet::new(source, destination, protocol) }
        }
        _ => Packet { payload: data, ..Packet::new(source, destination, chance.byte()) },
    };
    packet.identification = chance.word();
    packet.tos = chance.byte();
    packet.ttl = 2 + (chance.byte() & 0x7f);
    packet.dont_fragment = chance.percent(50);
    if chance.percent(10) {
        packet.options = vec![1; 4 * (1 + chance.below(10))];
    }
    match chance.below(100) {
        0..8 => packet.payload.truncate(chance.below(24)),
        8..16 => {
            let at = chance.below(packet.payload.len().max(1));
            if let Some(byte) = packet.payload.get_mut(at) {
                *byte ^= 1 << chance.below(8);
            }
        }
        // No checksum, for UDP.
        16..20 if packet.protocol == 17 => packet.payload[6..8].fill(0),
        20..24 => packet.more_fragments = true,
        24..28 => packet.offset = chance.one_of(&[1, 2, 3, 100]),
        _ => {}
    }
    if packet.more_fragments {
        packet.payload.truncate(packet.payload.len() & !7);
        if packet.payload.is_empty() {
            packet.payload = vec![0; 8];
        }
    }
    (ingress, packet)
}

#[test]
fn every_rejected_packet_is_answered_as_the_kernel_does() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60);
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let mut answered = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let with = chance.one_of(&TYPES[1..]);
        let rest = format!("-A FORWARD -j REJECT --reject-with {with}");
        let reset = "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset";
        let lines = if chance.percent(60) { vec![reset, &rest] } else { vec![&rest[..]] };
        let packets: Vec<_> = (0..100).map(|_| packet(&mut chance)).collect();
        answered += compare(&mut kernel, &mut world, &lines, &packets);
    }
    eprintln!("{answered} of {} packets were answered", cases * 100);
    assert!(answered as u64 > cases * 20, "only {answered} answers");
    world.shut_down();
}

#[test]
fn resets_follow_the_flags_and_lengths() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let (from, to) = ((ALICE, 40_000), (BOB, 80));
    let mut packets = Vec::new();
    for flags in 0..=255 {
        for data in [&b""[..], b"1", b"four"] {
            packets.push((0, Packet::segment(from, to, flags, (0xffff_fffe, 0x8000_0001), data)));
        }
    }
    let answered = compare(
        &mut kernel,
        &mut world,
        &["-A FORWARD -p tcp -j REJECT --reject-with tcp-reset"],
        &packets,
    );
    assert_eq!(answered, 3 * 128, "all but those with RST");
    world.shut_down();
}

/// A packet that is whole, and of a protocol that Weir tracks as the kernel does: DCCP, SCTP and UDP-Lite it does not.
fn uncut(chance: &mut Chance) -> (usize, Packet) {
    loop {
        let (ingress, whole) = packet(chance);
        let uncut = whole.offset == 0 && !whole.more_fragments;
        if uncut && ![33, 132, 136].contains(&whole.protocol) {
            return (ingress, whole);
        }
    }
}

#[test]
fn tracking_changes_no_answer() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60) / 3;
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let mut world = world(Sizes { always_track: true, flows: 8192, ..Sizes::ONE });
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let lines = [
            "-A FORWARD -m state --state INVALID",
            "-A FORWARD -m state --state NEW",
            "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
            "-A FORWARD -j REJECT",
        ];
        let packets: Vec<_> = (0..100).map(|_| uncut(&mut chance)).collect();
        compare(&mut kernel, &mut world, &lines, &packets);
    }
    world.shut_down();
}

/// A datagram in two pieces, perhaps out of order.
fn pieces(chance: &mut Chance) -> Vec<(usize, Packet)> {
    let (ingress, mut whole) = loop {
        let (ingress, whole) = uncut(chance);
        if whole.payload.len() >= 24 {
            break (ingress, whole);
        }
    };
    // Of pieces that must not be cut the largest speaks for all.
    whole.dont_fragment = false;
    // The kernel adds up what routers said about congestion; Weir leaves each piece as it is.
    whole.tos &= 0xfc;
    let eighths = whole.payload.len().div_ceil(8);
    let first = 1 + chance.below(eighths - 1);
    let cuts = [0, first, eighths];
    let mut pieces: Vec<_> = cuts
        .windows(2)
        .map(|cut| {
            let payload = whole.payload[cut[0] * 8..(cut[1] * 8).min(whole.payload.len())].to_vec();
            let offset = u16::try_from(cut[0]).expect("small");
            let dont_fragment = chance.percent(30);
            (
                ingress,
                Packet {
                    payload,
                    offset,
                    more_fragments: cut[1] < eighths,
                    dont_fragment,
                    ..whole.clone()
                },
            )
        })
        .collect();
    if chance.percent(50) {
        pieces.reverse();
    }
    pieces
}

#[test]
fn a_datagram_in_pieces_is_answered_as_the_whole() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60) / 3;
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let mut world = world(Sizes { always_track: true, flows: 8192, ..Sizes::ONE });
    let mut answered = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let rest = format!("-A FORWARD -j REJECT --reject-with {}", chance.one_of(&TYPES[1..]));
        let lines = [
            "-A FORWARD -m state --state INVALID",
            "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
            &rest,
        ];
        let packets: Vec<_> = (0..30).flat_map(|_| pieces(&mut chance)).collect();
        answered += compare(&mut kernel, &mut world, &lines, &packets);
    }
    eprintln!("{answered} of {} datagrams were answered", cases * 30);
    assert!(answered as u64 > cases * 5, "only {answered} answers");
    world.shut_down();
}

/// A tracked connection: its client's port, its state, the seconds that it has left.
type Connection = (u16, String, u64);

fn our_flows(world: &mut World) -> Vec<Connection> {
    assert!(world.now_ns < 2_000_000_000, "the engine's clock has hardly moved");
    let mut flows = Vec::new();
    world.engine(0).conntrack().scan(0, u32::MAX, &mut |_, flow| {
        let state = flow.tcp_state.unwrap_or(TcpState::None).name();
        let seconds = flow.expires_ms.div_ceil(1000);
        flows.push((flow.original.source_port, state.to_owned(), seconds));
    });
    flows.sort();
    flows
}

fn their_flows(kernel: &mut Kernel) -> Vec<Connection> {
    let connection = |word: &str| {
        let [port, state, timeout] = word.split(':').collect::<Vec<_>>()[..] else {
            panic!("{word}")
        };
        (port.parse().expect("a port"), state.to_owned(), timeout.parse().expect("seconds"))
    };
    let mut flows: Vec<_> = kernel.ask("flows").split_whitespace().map(connection).collect();
    flows.sort();
    flows
}

/// That both know the same connections.
#[track_caller]
pub(crate) fn compare_flows(kernel: &mut Kernel, world: &mut World) {
    let (ours, theirs) = (our_flows(world), their_flows(kernel));
    assert_eq!(theirs.len(), ours.len(), "{ours:?}\n{theirs:?}");
    for (ours, theirs) in ours.iter().zip(&theirs) {
        // The kernel's clock runs.
        assert!(
            ours.0 == theirs.0 && ours.1 == theirs.1 && ours.2.abs_diff(theirs.2) < 5,
            "{ours:?} {theirs:?}"
        );
    }
}

/// Why the kernel's connections cannot be listed, if they cannot.
pub(crate) fn conntrack_unmet() -> Option<String> {
    let conntrack = std::process::Command::new("conntrack").arg("--version").output();
    conntrack.err().map(|error| format!("conntrack: {error}"))
}

/// Rules that reject by a reset what has PSH, and by an ICMP error what has URG.
pub(crate) const RESETS: [&str; 3] = [
    "-A FORWARD -m state --state INVALID",
    "-A FORWARD -p tcp --tcp-flags PSH PSH -j REJECT --reject-with tcp-reset",
    "-A FORWARD -p tcp --tcp-flags URG URG -j REJECT",
];

#[test]
fn a_reset_closes_the_connection() {
    if let Some(reason) = unmet().or_else(conntrack_unmet) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let (client, server) = (|port| (ALICE, port), (BOB, 80));
    let open = |port| {
        vec![
            (0, Packet::segment(client(port), server, SYN, (100, 0), b"")),
            (1, Packet::segment(server, client(port), SYN | ACK, (500, 101), b"")),
            (0, Packet::segment(client(port), server, ACK, (101, 501), b"")),
        ]
    };
    let mut packets = Vec::new();
    for (port, last) in [
        // Rejected by a reset, in either direction; half-open; closed already; out of the window, so INVALID.
        (1001, (0, Packet::segment(client(1001), server, ACK | PSH, (101, 501), b"x"))),
        (1002, (1, Packet::segment(server, client(1002), ACK | PSH, (501, 101), b"x"))),
        (1003, (0, Packet::segment(client(1003), server, FIN | ACK | PSH, (101, 501), b""))),
        (1004, (0, Packet::segment(client(1004), server, ACK | PSH, (9_000_101, 501), b"x"))),
        // By an ICMP error, which changes nothing; not answered, for it is a reset itself.
        (1005, (0, Packet::segment(client(1005), server, ACK | URG, (101, 501), b""))),
        (1006, (0, Packet::segment(client(1006), server, RST | ACK | PSH, (101, 501), b""))),
    ] {
        packets.extend(open(port));
        packets.push(last);
    }
    // A SYN that is rejected begins nothing; of a half-open connection the answer is.
    packets.push((0, Packet::segment(client(1007), server, SYN | PSH, (100, 0), b"")));
    packets.push((0, Packet::segment(client(1008), server, SYN, (100, 0), b"")));
    packets.push((1, Packet::segment(server, client(1008), SYN | ACK | PSH, (500, 101), b"")));
    compare(&mut kernel, &mut world, &RESETS, &packets);
    compare_flows(&mut kernel, &mut world);
    world.shut_down();
}
