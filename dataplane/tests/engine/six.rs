//! IPv6 through the engine: the bytes that leave, exactly, and the counters.

mod answers;
mod fragments;
mod host;
mod oracle;
mod packet;
mod refuse;
mod sets;
mod traffic;

use std::net::Ipv6Addr;

use weir_dataplane::port::PortIndex;
use weir_dataplane::route::{
    Forwarding, ForwardingBuilder, Neighbour, NeighbourState, ResolveRequest, Target, Unreachable,
};
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;

use crate::chance::Chance;
use crate::delta::Moved::{Count, Drop, In, Out};
use crate::packet::{ACK, SYN};
use crate::world::*;
pub(crate) use oracle::unmet6;
pub(crate) use packet::Packet6;

pub(crate) const ALICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
pub(crate) const BOB6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// Nobody has this address.
const NOBODY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x99);
/// A router beyond "wan0".
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);

/// Weir's address on a port.
fn address6(port: PortIndex) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, u16::from(port.0) + 1, 0, 0, 0, 0, 1)
}

pub(crate) fn ip6(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn mac6(address: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c] = address.octets();
    [6, 6, address.octets()[5], a, b, c]
}

fn reachable6(host: Ipv6Addr) -> Neighbour {
    Neighbour::new(mac6(host), NeighbourState::Reachable)
}

/// The network of all tests with 2001:db8:1::1/64, 2001:db8:2::1/64 and 2001:db8:3::1/64 on its ports, and routes of
/// every kind.
fn builder6() -> ForwardingBuilder {
    let via = |port, gateway, mtu| {
        let (gateway, source) = (Some(gateway), None);
        Target::Forward { port, gateway, mtu, source }
    };
    let net = |third| Ipv6Addr::new(0x2001, 0xdb8, third, 0, 0, 0, 0, 0);
    network()
        .address6(EAST, address6(EAST), 64)
        .address6(WEST, address6(WEST), 64)
        .address6(WAN, address6(WAN), 64)
        .neighbour(EAST, ALICE6, reachable6(ALICE6))
        .neighbour(EAST, ip6("fe80::2"), reachable6(ip6("fe80::2")))
        .neighbour(WEST, BOB6, reachable6(BOB6))
        .neighbour(WAN, GATEWAY6, reachable6(GATEWAY6))
        .route6(net(0x66), 48, Target::Unreachable(Unreachable::Unreachable))
        .route6(net(0x67), 48, Target::Unreachable(Unreachable::Prohibit))
        .route6(net(0x68), 48, Target::Unreachable(Unreachable::Blackhole))
        .route6(net(0x69), 48, Target::NotOurs { source: None })
        .route6(net(0x70), 48, via(WAN, GATEWAY6, None))
        .route6(net(0x71), 48, via(WEST, BOB6, Some(1300)))
        .route6(net(0x72), 48, Target::Anycast { port: None })
}

pub(crate) fn network6() -> Forwarding {
    builder6().build()
}

fn world6(sizes: Sizes) -> World {
    World::over(Sizes { flows6: 512, ..sizes }, network6())
}

/// The network with its IPv6 neighbours in one of these states each.
pub(crate) fn any_neighbours(chance: &mut Chance, states: &[NeighbourState]) -> ForwardingBuilder {
    let hosts = [(EAST, ALICE6), (WEST, BOB6), (WAN, GATEWAY6), (WEST, NOBODY6)];
    hosts.into_iter().fold(builder6(), |builder, (port, host)| {
        let state = chance.one_of(states);
        builder.neighbour(port, host, Neighbour::new(mac6(host), state))
    })
}

/// Commands that put random rules in place of all others.
pub(crate) fn any_rules(chance: &mut Chance) -> Vec<String> {
    let policy = chance.one_of(&["-P FORWARD ACCEPT", "-P FORWARD ACCEPT", "-P FORWARD DROP"]);
    let mut lines = vec!["-F".to_owned(), policy.to_owned()];
    lines.extend((0..chance.below(10)).map(|_| traffic::rule(chance)));
    let others = [
        "-A FORWARD -m state --state INVALID -j DROP",
        "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
        "-A FORWARD -s 2001:db8::/32 -j REJECT",
        "-I FORWARD 1 -j LOG --log-prefix chaos",
    ];
    lines.extend(others.into_iter().filter(|_| chance.percent(20)).map(str::to_owned));
    lines
}

/// A frame that may be anything of IPv6.
pub(crate) fn any_frame(chance: &mut Chance) -> (PortIndex, Vec<u8>) {
    let far = ["2001:db8:66::1", "2001:db8:67::1", "2001:db8:70::1", "2001:db8:71::1", "3000::1"];
    let hosts = [ALICE6, BOB6, NOBODY6, ip6(chance.one_of(&far)), address6(EAST), ip6("ff0e::1")];
    let sources = [ALICE6, BOB6, ALICE6, BOB6, ip6("fe80::2"), ip6("::1")];
    let (from, to) = (chance.one_of(&sources), chance.one_of(&hosts));
    let port = chance.one_of(&PORTS);
    let len = chance.below(1500);
    let data = chance.bytes(len);
    let ports = (chance.word() % 4, chance.word() % 4);
    let mut packet = match chance.below(4) {
        0 => Packet6::tcp((from, ports.0), (to, ports.1), chance.byte(), &data),
        1 => Packet6::udp((from, ports.0), (to, ports.1), &data),
        2 => Packet6::icmp6(from, to, chance.byte(), &data),
        _ => Packet6 { payload: data, ..Packet6::new(from, to, chance.byte()) },
    };
    packet.hop_limit = if chance.percent(10) { chance.byte() & 1 } else { 64 };
    if chance.percent(30) {
        let (len, id) = (packet.payload.len(), u32::from(chance.byte() & 3));
        let start = (8 * chance.below(4)).min(len & !7);
        let end = (start + 8 * (1 + chance.below(4))).min(len);
        packet = packet.piece(start..end, chance.percent(60), id);
    } else if chance.percent(30) {
        let options = chance.bytes(6);
        packet = packet.behind(&[(chance.one_of(&[0, 43, 51, 60]), &options)]);
    }
    (port, packet.frame(mac(port), mac6(from)))
}

/// A packet of Alice's as a frame to Weir.
fn from_alice(packet: &Packet6) -> Vec<u8> {
    packet.frame(mac(EAST), mac6(ALICE6))
}

/// A frame from Weir to a host.
fn from_weir(port: PortIndex, next_hop: Ipv6Addr, packet: &Packet6) -> Vec<u8> {
    packet.frame(mac6(next_hop), mac(port))
}

/// Puts a packet of Alice's in, and checks that it goes through to Bob, changed as a router changes it.
#[track_caller]
fn goes_through(world: &mut World, packet: &Packet6) {
    let frame = from_alice(packet);
    let bytes = frame.len();
    world.inject(0, EAST, frame);
    let left = world.expect(&[In(0, 1, bytes), Out(1, 1, bytes)]);
    assert_eq!(left, [(WEST, from_weir(WEST, BOB6, &packet.routed()))], "{packet:?}");
}

#[test]
fn packets_are_forwarded_untouched_but_for_macs_and_hop_limit() {
    let mut world = world6(Sizes::ONE);
    let odd = Packet6 { payload: vec![0xab; 33], ..Packet6::new(ALICE6, BOB6, 253) };
    let mut wrong =
        Packet6::tcp((ALICE6, 1), (BOB6, 2), ACK, b"a wrong checksum is the receiver's");
    wrong.payload[16] ^= 0x55;
    let ping = Packet6::ping(ALICE6, BOB6, b"");
    for packet in [
        Packet6::tcp((ALICE6, 40_000), (BOB6, 80), SYN, b""),
        Packet6::tcp((ALICE6, 40_000), (BOB6, 80), ACK, b"GET / HTTP/1.0\r\n\r\n"),
        Packet6::udp((ALICE6, 5353), (BOB6, 53), b"a question"),
        Packet6::ping(ALICE6, BOB6, &[7; 56]),
        Packet6 { class_flow: 0x0b8_12345, ..odd.clone() },
        odd,
        wrong,
        Packet6 { hop_limit: 2, ..ping.clone() },
        Packet6 { hop_limit: 255, ..ping.clone() },
        Packet6 { payload: Vec::new(), ..Packet6::new(ALICE6, BOB6, 6) },
        Packet6::new(ALICE6, BOB6, 59),
        // Hop-by-hop options with a router alert, destination options, a routing header that is used up.
        ping.clone().behind(&[
            (0, &[5, 2, 0, 0, 1, 0]),
            (60, &[1, 4, 0, 0, 0, 0]),
            (43, &[4, 0, 0, 0, 0, 0]),
        ]),
    ] {
        goes_through(&mut world, &packet);
    }
    let mut padded = from_alice(&ping);
    let bytes = padded.len();
    padded.resize(bytes + 9, 0xee);
    world.inject(0, EAST, padded);
    let left = world.expect(&[In(0, 1, bytes + 9), Out(1, 1, bytes)]);
    assert_eq!(left, [(WEST, from_weir(WEST, BOB6, &ping.routed()))]);
    world.shut_down();
}

#[test]
fn partial_checksums_are_completed() {
    let mut world = world6(Sizes::ONE);
    for whole in [
        Packet6::tcp((ALICE6, 40_000), (BOB6, 80), ACK, b"odd number of bytes"),
        Packet6::udp((ALICE6, 5353), (BOB6, 53), b"a question"),
    ] {
        let frame = from_alice(&whole.clone().with_partial_checksum());
        assert_ne!(frame, from_alice(&whole));
        let bytes = frame.len();
        world.inject(0, EAST, frame);
        let left = world.expect(&[In(0, 1, bytes), Out(1, 1, bytes)]);
        assert_eq!(left, [(WEST, from_weir(WEST, BOB6, &whole.routed()))]);
    }
    world.shut_down();
}

#[test]
fn without_ipv6_it_ends_in_silence_as_it_always_did() {
    let mut world = World::new(Sizes::ONE);
    let frame = from_alice(&Packet6::ping(ALICE6, BOB6, b""));
    let bytes = frame.len();
    world.inject(0, EAST, frame);
    assert_eq!(world.expect(&[In(0, 1, bytes), Drop(DropReason::EtherType, 1)]), []);
    world.shut_down();
}

#[test]
fn a_gateway_with_an_address_of_the_link_gets_what_is_beyond_it() {
    let mut world = world6(Sizes::ONE);
    let packet = Packet6::ping(ALICE6, ip6("2001:db8:70::1"), b"far");
    let frame = from_alice(&packet);
    let bytes = frame.len();
    world.inject(0, EAST, frame);
    let left = world.expect(&[In(0, 1, bytes), Out(2, 1, bytes)]);
    assert_eq!(left, [(WAN, from_weir(WAN, GATEWAY6, &packet.routed()))]);
    world.shut_down();
}

#[test]
fn rules_of_ipv4_neither_see_nor_stop_ipv6() {
    let mut world = world6(Sizes::ONE);
    world.rules(&[
        "-P FORWARD DROP",
        "-A FORWARD",
        "-A FORWARD ! -s 10.0.0.0/8 -j DROP",
        "-A FORWARD -p tcp --dport 80 -j REJECT",
        "-A FORWARD -m state --state INVALID -j DROP",
        "-A FORWARD -j DROP",
    ]);
    goes_through(&mut world, &Packet6::tcp((ALICE6, 1), (BOB6, 80), SYN, b""));
    goes_through(&mut world, &Packet6::ping(ALICE6, BOB6, b""));
    for number in 0..=5 {
        assert_eq!(world.count(number), (0, 0), "rule {number}");
    }
    world.shut_down();
}

#[test]
fn flows_are_tracked_and_live_on_one_worker() {
    let mut world = world6(Sizes { always_track: true, ..Sizes::TWO });
    for port in 1000..1032 {
        let there = Packet6::tcp((ALICE6, port), (BOB6, 80), SYN, b"");
        let back = Packet6::tcp((BOB6, 80), (ALICE6, port), SYN | ACK, b"");
        world.inject(0, EAST, from_alice(&there));
        world.settle();
        world.inject(1, WEST, back.frame(mac(WEST), mac6(BOB6)));
        world.settle();
    }
    assert_eq!(world.left_by_port().len(), 64);
    let each = [0, 1].map(|worker| world.engine(worker).conntrack().len());
    assert_eq!(each.iter().sum::<usize>(), 32, "one flow for both directions");
    assert!(each.iter().all(|flows| *flows > 0), "{each:?}");
    let stats = |world: &mut World| {
        [0, 1].map(|worker| *world.engine(worker).conntrack().stats()).map(|s| (s.invalid, s.error))
    };
    assert_eq!(stats(&mut world), [(0, 0); 2]);
    // An error about a packet of a flow is RELATED; about none, or garbage, it is not.
    let quoted = Packet6::tcp((ALICE6, 1000), (BOB6, 80), SYN, b"");
    let error =
        |quoted: &Packet6| Packet6::icmp6(ip6("2001:db8:70::1"), ALICE6, 1, &quoted.bytes());
    world.inject(0, WAN, error(&quoted).frame(mac(WAN), mac6(GATEWAY6)));
    world.settle();
    assert_eq!(stats(&mut world), [(0, 0); 2]);
    let unknown = Packet6::tcp((ALICE6, 999), (BOB6, 80), SYN, b"");
    world.inject(0, WAN, error(&unknown).frame(mac(WAN), mac6(GATEWAY6)));
    world.settle();
    assert_eq!(stats(&mut world).map(|(_, errors)| errors).iter().sum::<u64>(), 1);
    // Neighbour discovery between others is never tracked (and would not be sent through a router).
    let advertisement = Packet6::icmp6(ALICE6, BOB6, 136, &[0; 16]);
    world.inject(0, EAST, from_alice(&advertisement));
    world.settle();
    let each = [0, 1].map(|worker| world.engine(worker).conntrack().len());
    assert_eq!(each.iter().sum::<usize>(), 32);
    assert_eq!(world.left_by_port().len(), 3, "no rule asks");
    world.shut_down();
}

#[test]
fn packets_wait_for_the_neighbour_and_then_go_or_are_answered() {
    let mut world = world6(Sizes::ONE);
    let packet = Packet6::ping(ALICE6, NOBODY6, b"");
    let frame = from_alice(&packet);
    let bytes = frame.len();
    world.inject(0, EAST, frame.clone());
    assert_eq!(world.expect(&[In(0, 1, bytes), Count(Counter::Held, 1)]), []);
    let wanted = ResolveRequest { port: WEST, address: NOBODY6.into() };
    assert_eq!(world.resolver.next(), Some(wanted));
    world.forwarding.publish(builder6().neighbour(WEST, NOBODY6, reachable6(NOBODY6)).build());
    let left = world.expect(&[Count(Counter::Held, -1), Out(1, 1, bytes)]);
    assert_eq!(left, [(WEST, from_weir(WEST, NOBODY6, &packet.routed()))]);

    world.forwarding.publish(network6());
    world.inject(0, EAST, frame);
    world.expect(&[In(0, 1, bytes), Count(Counter::Held, 1)]);
    let failed = Neighbour::new([0; 6], NeighbourState::Failed);
    world.forwarding.publish(builder6().neighbour(WEST, NOBODY6, failed).build());
    world.now_ns += 1_000_000_000;
    // It is told about the packet as it would have left, as IPv4 is.
    let error = refuse::error([1, 3], 0, &packet.routed());
    let left = world.expect(&[
        Count(Counter::Held, -1),
        Drop(DropReason::NeighbourUnresolved, 1),
        Count(Counter::Originated, 1),
        Out(0, 1, error.len()),
    ]);
    assert_eq!(left, [(EAST, error)]);
    world.shut_down();
}
