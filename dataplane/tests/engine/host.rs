//! What is for the machine itself, and what it sends: chains INPUT and OUTPUT in the pipeline.

use std::net::Ipv4Addr;

use weir_dataplane::port::PortIndex;
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{Count, Drop, In, Out, ToHost};
use crate::packet::{ACK, Packet, SYN};
use crate::world::*;

const NOBODY_MAC: [u8; 6] = [0; 6];

fn world(sizes: Sizes) -> World {
    World::over(sizes, hosted_network().build())
}

/// Puts a packet of the machine's own on the way.
fn from_host(world: &mut World, worker: usize, packet: &Packet) {
    world.inject(worker, HOST, packet.frame(NOBODY_MAC, NOBODY_MAC));
}

fn size(packet: &Packet) -> usize {
    14 + usize::try_from(packet.len()).expect("small")
}

fn ours() -> Ipv4Addr {
    address(EAST)
}

#[test]
fn packets_to_the_machine_arrive_as_they_came() {
    let mut world = world(Sizes::ONE);
    let tcp = Packet::tcp((ALICE, 40_000), (ours(), 80), SYN, b"");
    for (sent, got) in [
        (Packet { ttl: 1, ..tcp.clone() }, Packet { ttl: 1, ..tcp.clone() }),
        // What the sender left to hardware is made good: the stack would refuse it.
        (tcp.clone().with_partial_checksum(), tcp),
        (
            Packet::ping(BOB, ours(), b"by the other port"),
            Packet::ping(BOB, ours(), b"by the other port"),
        ),
    ] {
        let port = if sent.source == ALICE { EAST } else { WEST };
        world.inject_packet(0, port, &sent);
        let left = world.expect(&[In(port.0, 1, size(&sent)), ToHost(HOST.0, 1, size(&sent))]);
        assert_eq!(left, [(HOST, got.frame(mac(port), host_mac(sent.source)))]);
    }
    world.shut_down();
}

#[test]
fn packets_from_the_machine_leave_by_its_routes_and_it_is_no_hop() {
    let mut world = world(Sizes::ONE);
    for (to, port) in [(ALICE, EAST), (BOB, WEST)] {
        let packet = Packet { ttl: 1, ..Packet::ping(ours(), to, b"") };
        from_host(&mut world, 0, &packet);
        let left = world.expect(&[In(HOST.0, 1, size(&packet)), Out(port.0, 1, size(&packet))]);
        assert_eq!(left, [(port, packet.frame(host_mac(to), mac(port)))]);
    }
    // From a wire, in the machine's own name: no. Nor does the device lead back to the machine.
    let forged = Packet::ping(ours(), BOB, b"");
    world.inject(0, EAST, forged.frame(mac(EAST), host_mac(ALICE)));
    world.expect(&[In(EAST.0, 1, size(&forged)), Drop(DropReason::Martian, 1)]);
    from_host(&mut world, 0, &Packet::ping(ours(), address(WEST), b""));
    world.expect(&[In(HOST.0, 1, size(&forged)), Drop(DropReason::LocalAddress, 1)]);
    world.shut_down();
}

#[test]
fn each_direction_has_its_chain() {
    let mut world = world(Sizes::ONE);
    world.rules(&[
        "-A INPUT -i east -p udp -j DROP",
        "-A OUTPUT -o west -p udp -j DROP",
        "-A FORWARD -p tcp -j DROP",
        "-P OUTPUT DROP",
        "-A OUTPUT -p tcp -j ACCEPT",
    ]);
    let udp = |from, to| Packet::udp((from, 1), (to, 2), b"");
    let bytes = size(&udp(ALICE, BOB));
    let dropped = |reason| Drop(reason, 1);
    let to_host = ToHost(HOST.0, 1, bytes);
    for (port, packet, moved) in [
        (EAST, udp(ALICE, ours()), dropped(DropReason::Rule)),
        (WEST, udp(BOB, ours()), to_host),
        (EAST, udp(ALICE, BOB), Out(WEST.0, 1, bytes)),
    ] {
        world.inject_packet(0, port, &packet);
        world.expect(&[In(port.0, 1, bytes), moved]);
    }
    from_host(&mut world, 0, &udp(ours(), BOB));
    world.expect(&[In(HOST.0, 1, bytes), dropped(DropReason::Rule)]);
    from_host(&mut world, 0, &udp(ours(), ALICE));
    world.expect(&[In(HOST.0, 1, bytes), dropped(DropReason::RulePolicy)]);
    let tcp = Packet::tcp((ours(), 1), (BOB, 2), SYN, b"");
    from_host(&mut world, 0, &tcp);
    world.expect(&[In(HOST.0, 1, size(&tcp)), Out(WEST.0, 1, size(&tcp))]);
    // INPUT, FORWARD, OUTPUT.
    assert_eq!(world.counts(), [(1, 28), (0, 0), (1, 28), (1, 40)]);
    world.shut_down();
}

#[test]
fn both_directions_of_a_flow_meet_on_one_worker() {
    for flow in 0..16_u16 {
        let mut world = world(Sizes::TWO);
        world.rules(&[
            "-P INPUT DROP",
            "-A INPUT -m state --state ESTABLISHED -j ACCEPT",
            "-A OUTPUT -m state --state NEW,ESTABLISHED -j ACCEPT",
            "-P OUTPUT DROP",
        ]);
        let (here, there) = ((ours(), 40_000 + flow), (BOB, 80));
        // Each packet comes by another worker's queue than the one before.
        from_host(&mut world, 0, &Packet::segment(here, there, SYN, (1, 0), b""));
        world.settle();
        world.inject_packet(1, WEST, &Packet::segment(there, here, SYN | ACK, (9, 2), b""));
        world.settle();
        from_host(&mut world, 0, &Packet::segment(here, there, ACK, (2, 10), b""));
        world.settle();
        let left: Vec<PortIndex> = world.left_by_port().into_iter().map(|(port, _)| port).collect();
        assert_eq!(left, [WEST, HOST, WEST], "flow {flow}");
        // What nobody has asked for is not let in.
        world.inject_packet(1, WEST, &Packet::tcp(there, (ours(), 22), SYN, b""));
        world.settle();
        assert_eq!(world.counters().dropped(DropReason::RulePolicy), 1);
        world.shut_down();
    }
}

#[test]
fn the_machine_s_own_fragments_are_judged_whole_though_nothing_is_tracked() {
    let mut world = world(Sizes::ONE);
    world.rules(&[
        "-A INPUT -p udp --dport 53",
        "-A FORWARD -p udp --dport 53",
        "-A OUTPUT -p udp --dport 53",
    ]);
    let bytes = 14 + 20 + 24;
    for (from, to, port, out) in [
        (ALICE, ours(), EAST, ToHost(HOST.0, 2, 2 * bytes)),
        (ALICE, BOB, EAST, Out(WEST.0, 2, 2 * bytes)),
        (ours(), BOB, HOST, Out(WEST.0, 2, 2 * bytes)),
    ] {
        let whole = Packet::udp((from, 1000), (to, 53), &[9; 40]);
        let pieces = [(0, true, 0..24), (3, false, 24..48)].map(|(offset, more, range)| Packet {
            offset,
            more_fragments: more,
            payload: whole.payload[range].to_vec(),
            ..whole.clone()
        });
        for piece in &pieces {
            match port {
                HOST => from_host(&mut world, 0, piece),
                port => world.inject_packet(0, port, piece),
            }
        }
        let left = world.expect(&[In(port.0, 2, 2 * bytes), out]);
        assert_eq!(left.len(), 2, "they leave as they came");
    }
    // One datagram of 68 bytes; but of what passes through only the first fragment has ports.
    assert_eq!(world.counts(), [(1, 68), (1, 44), (1, 68)]);
    world.shut_down();
}

#[test]
fn the_machine_hears_what_becomes_of_its_packets() {
    let mut world = world(Sizes::ONE);
    let packet = Packet::udp((ours(), 1), (Ipv4Addr::new(10, 67, 0, 1), 2), b"");
    from_host(&mut world, 0, &packet);
    let error = 14 + 20 + 8 + usize::try_from(packet.len()).expect("small");
    let left = world.expect(&[
        In(HOST.0, 1, size(&packet)),
        Drop(DropReason::RouteUnreachable, 1),
        Count(Counter::Originated, 1),
        ToHost(HOST.0, 1, error),
    ]);
    let [(HOST, bytes)] = left.as_slice() else { panic!("{left:?}") };
    // Administratively prohibited, from the machine to itself, about its packet.
    assert_eq!(bytes[14 + 12..][..8], [ours().octets(), ours().octets()].concat());
    assert_eq!((&bytes[14 + 20..][..2], &bytes[14 + 28..]), ([3, 13].as_slice(), &*packet.bytes()));
    world.shut_down();
}
