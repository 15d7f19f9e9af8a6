//! Chains INPUT and OUTPUT of IPv6: what `host` tells of IPv4, and what is otherwise.

use weir_control::rule::Family;

use super::*;
use crate::delta::Moved::ToHost;

const NOBODY_MAC: [u8; 6] = [0; 6];

fn builder() -> ForwardingBuilder {
    let prohibit = Target::Unreachable(Unreachable::Prohibit);
    hosted_network()
        .address6(EAST, address6(EAST), 64)
        .address6(WEST, address6(WEST), 64)
        .neighbour(EAST, ALICE6, reachable6(ALICE6))
        .neighbour(EAST, ip6("fe80::2"), reachable6(ip6("fe80::2")))
        .neighbour(WEST, BOB6, reachable6(BOB6))
        .route6(ip6("2001:db8:67::"), 48, prohibit)
        .route6(ip6("2001:db8:71::"), 48, narrow())
        .route6(ip6("2001:db8:1::"), 128, Target::Anycast { port: Some(EAST) })
        .route6(ip6("2001:db8:9::"), 64, Target::Local { source: None, port: None })
}

/// By Bob, who takes 1,300 bytes.
fn narrow() -> Target<Ipv6Addr> {
    Target::Forward { port: WEST, gateway: Some(BOB6), mtu: Some(1300), source: None }
}

fn world(sizes: Sizes) -> World {
    World::over(Sizes { flows6: 512, ..sizes }, builder().build())
}

/// Puts a packet of the machine's own on the way.
fn from_host(world: &mut World, worker: usize, packet: &Packet6) {
    world.inject(worker, HOST, packet.frame(NOBODY_MAC, NOBODY_MAC));
}

/// Puts one on the wire of a port.
fn from_wire(world: &mut World, worker: usize, port: PortIndex, packet: &Packet6) {
    world.inject(worker, port, packet.frame(mac(port), mac6(packet.source)));
}

fn size(packet: &Packet6) -> usize {
    14 + packet.bytes().len()
}

fn ours() -> Ipv6Addr {
    address6(EAST)
}

#[test]
fn packets_to_the_machine_arrive_as_they_came() {
    let mut world = world(Sizes::ONE);
    let tcp = Packet6::tcp((ALICE6, 40_000), (ours(), 80), SYN, b"");
    let behind = Packet6::ping(ALICE6, ours(), b"").behind(&[(60, &[1, 4, 0, 0, 0, 0])]);
    for (sent, got, port) in [
        (Packet6 { hop_limit: 1, ..tcp.clone() }, Packet6 { hop_limit: 1, ..tcp.clone() }, EAST),
        // What the sender left to hardware is made good: the stack would refuse it.
        (tcp.clone().with_partial_checksum(), tcp, EAST),
        (behind.clone(), behind, EAST),
        (Packet6::ping(BOB6, ours(), b"west"), Packet6::ping(BOB6, ours(), b"west"), WEST),
    ] {
        from_wire(&mut world, 0, port, &sent);
        let left = world.expect(&[In(port.0, 1, size(&sent)), ToHost(HOST.0, 1, size(&sent))]);
        assert_eq!(left, [(HOST, got.frame(mac(port), mac6(sent.source)))]);
    }
    // Anycast addresses and whole prefixes are the machine's, too, and who has an address of the link may ask.
    for (from, to) in
        [(ALICE6, ip6("2001:db8:1::")), (ALICE6, ip6("2001:db8:9::77")), (ip6("fe80::2"), ours())]
    {
        let sent = Packet6::udp((from, 1), (to, 2), b"");
        from_wire(&mut world, 0, EAST, &sent);
        world.expect(&[In(EAST.0, 1, size(&sent)), ToHost(HOST.0, 1, size(&sent))]);
    }
    // Those of the link are the kernel's, as are groups; nothing of them comes here.
    for to in ["fe80::1", "ff02::1"].map(ip6) {
        let sent = Packet6::udp((ALICE6, 1), (to, 2), b"");
        from_wire(&mut world, 0, EAST, &sent);
        world.expect(&[In(EAST.0, 1, size(&sent)), Drop(DropReason::LocalAddress, 1)]);
    }
    world.shut_down();
}

#[test]
fn packets_from_the_machine_leave_by_its_routes_and_it_is_no_hop() {
    let mut world = world(Sizes::ONE);
    for (to, port) in [(ALICE6, EAST), (BOB6, WEST)] {
        let packet = Packet6 { hop_limit: 1, ..Packet6::ping(ours(), to, b"") };
        from_host(&mut world, 0, &packet);
        let left = world.expect(&[In(HOST.0, 1, size(&packet)), Out(port.0, 1, size(&packet))]);
        assert_eq!(left, [(port, packet.frame(mac6(to), mac(port)))]);
    }
    // From a wire, in the machine's own name: no. Nor does the device lead back to the machine.
    let forged = Packet6::ping(ours(), BOB6, b"");
    world.inject(0, EAST, forged.frame(mac(EAST), mac6(ALICE6)));
    world.expect(&[In(EAST.0, 1, size(&forged)), Drop(DropReason::Martian, 1)]);
    for to in [address6(WEST), ip6("2001:db8:1::")] {
        from_host(&mut world, 0, &Packet6::ping(ours(), to, b""));
        world.expect(&[In(HOST.0, 1, size(&forged)), Drop(DropReason::LocalAddress, 1)]);
    }
    world.shut_down();
}

#[test]
fn each_direction_has_its_chain_and_each_family_its_own() {
    let mut world = world(Sizes::ONE);
    world.rules(&["-P INPUT DROP", "-P FORWARD DROP", "-P OUTPUT DROP"]);
    world.rules6(&[
        "-A INPUT -i east -p udp -j DROP",
        "-A OUTPUT -o west -p udp -j DROP",
        "-A FORWARD -p tcp -j DROP",
        "-P OUTPUT DROP",
        "-A OUTPUT -p tcp -j ACCEPT",
    ]);
    let udp = |from, to| Packet6::udp((from, 1), (to, 2), b"");
    let bytes = size(&udp(ALICE6, BOB6));
    let dropped = |reason| Drop(reason, 1);
    for (port, packet, moved) in [
        (EAST, udp(ALICE6, ours()), dropped(DropReason::Rule)),
        (WEST, udp(BOB6, ours()), ToHost(HOST.0, 1, bytes)),
        (EAST, udp(ALICE6, BOB6), Out(WEST.0, 1, bytes)),
    ] {
        from_wire(&mut world, 0, port, &packet);
        world.expect(&[In(port.0, 1, bytes), moved]);
    }
    from_host(&mut world, 0, &udp(ours(), BOB6));
    world.expect(&[In(HOST.0, 1, bytes), dropped(DropReason::Rule)]);
    from_host(&mut world, 0, &udp(ours(), ALICE6));
    world.expect(&[In(HOST.0, 1, bytes), dropped(DropReason::RulePolicy)]);
    let tcp = Packet6::tcp((ours(), 1), (BOB6, 2), SYN, b"");
    from_host(&mut world, 0, &tcp);
    world.expect(&[In(HOST.0, 1, size(&tcp)), Out(WEST.0, 1, size(&tcp))]);
    // INPUT, FORWARD, OUTPUT.
    assert_eq!(world.counts6(), [(1, 48), (0, 0), (1, 48), (1, 60)]);
    world.shut_down();
}

#[test]
fn table_raw_sees_both_directions() {
    let mut world = world(Sizes::ONE);
    world.raw6(&["-A PREROUTING -p udp -j DROP", "-A OUTPUT -p tcp -j NOTRACK"]);
    world.rules6(&["-A OUTPUT -m state --state UNTRACKED", "-A INPUT -m state --state NEW"]);
    let udp = Packet6::udp((ALICE6, 1), (ours(), 2), b"");
    from_wire(&mut world, 0, EAST, &udp);
    world.expect(&[In(EAST.0, 1, size(&udp)), Drop(DropReason::Raw, 1)]);
    let tcp = Packet6::tcp((ours(), 1), (BOB6, 2), SYN, b"");
    from_host(&mut world, 0, &tcp);
    world.expect(&[In(HOST.0, 1, size(&tcp)), Out(WEST.0, 1, size(&tcp))]);
    let ping = Packet6::ping(ALICE6, ours(), b"");
    from_wire(&mut world, 0, EAST, &ping);
    world.expect(&[In(EAST.0, 1, size(&ping)), ToHost(HOST.0, 1, size(&ping))]);
    assert_eq!(world.raw_counts(Family::V6), [(1, 48), (1, 48), (1, 60)]);
    assert_eq!(world.counts6(), [(1, 48), (1, 60)]);
    world.shut_down();
}

#[test]
fn both_directions_of_a_flow_meet_on_one_worker() {
    for flow in 0..16_u16 {
        let mut world = world(Sizes::TWO);
        world.rules6(&[
            "-P INPUT DROP",
            "-A INPUT -m state --state ESTABLISHED -j ACCEPT",
            "-A OUTPUT -m state --state NEW,ESTABLISHED -j ACCEPT",
            "-P OUTPUT DROP",
        ]);
        let (here, there) = ((ours(), 40_000 + flow), (BOB6, 80));
        // Each packet comes by another worker's queue than the one before.
        from_host(&mut world, 0, &Packet6::tcp(here, there, SYN, b""));
        world.settle();
        from_wire(&mut world, 1, WEST, &Packet6::tcp(there, here, SYN | ACK, b""));
        world.settle();
        from_host(&mut world, 0, &Packet6::tcp(here, there, ACK, b""));
        world.settle();
        let left: Vec<PortIndex> = world.left_by_port().into_iter().map(|(port, _)| port).collect();
        assert_eq!(left, [WEST, HOST, WEST], "flow {flow}");
        // What nobody has asked for is not let in.
        from_wire(&mut world, 1, WEST, &Packet6::tcp(there, (ours(), 22), SYN, b""));
        world.settle();
        assert_eq!(world.counters().dropped(DropReason::RulePolicy), 1);
        world.shut_down();
    }
}

/// Other than of IPv4, the kernel asks INPUT about each fragment unless it tracks connections; OUTPUT it asks before it
/// cuts a datagram.
#[test]
fn fragments_are_judged_as_the_kernel_does() {
    let rules = ["-A INPUT -p udp --dport 53", "-A OUTPUT -p udp --dport 53"];
    let track = "-A INPUT -m state --state NEW";
    for (tracks, input) in [(false, (1, 72)), (true, (1, 88))] {
        let mut world = world(Sizes::ONE);
        world.rules6(&rules);
        if tracks {
            world.rules6(&[track]);
        }
        let bytes = 14 + 40 + 8 + 24;
        for (from, to, port, out) in [
            (ALICE6, ours(), EAST, ToHost(HOST.0, 2, 2 * bytes)),
            (ours(), BOB6, HOST, Out(WEST.0, 2, 2 * bytes)),
        ] {
            let whole = Packet6::udp((from, 1000), (to, 53), &[9; 40]);
            for range in [0..24, 24..48] {
                let piece = whole.piece(range.clone(), range.start == 0, 7);
                match port {
                    HOST => from_host(&mut world, 0, &piece),
                    port => from_wire(&mut world, 0, port, &piece),
                }
            }
            let left = world.expect(&[In(port.0, 2, 2 * bytes), out]);
            assert_eq!(left.len(), 2, "they leave as they came");
        }
        let counts = world.counts6();
        assert_eq!((counts[0], *counts.last().expect("rules")), (input, (1, 88)), "{tracks}");
        world.shut_down();
    }
}

#[test]
fn the_machine_hears_what_becomes_of_its_packets() {
    let mut world = world(Sizes::ONE);
    world.rules6(&["-A OUTPUT -p tcp -j REJECT --reject-with tcp-reset"]);
    let udp = |to, len: usize| Packet6::udp((ours(), 1), (to, 2), &vec![7; len]);
    let tcp = Packet6::tcp((ours(), 1), (BOB6, 2), SYN, b"");
    for (packet, reason, said) in [
        (udp(ip6("2001:db8:67::1"), 9), DropReason::RouteUnreachable, [1, 1]),
        (udp(ip6("2001:db8:99::1"), 9), DropReason::NoRoute, [1, 0]),
        (udp(ip6("2001:db8:71::1"), 1300), DropReason::MtuExceeded, [2, 0]),
    ] {
        from_host(&mut world, 0, &packet);
        let error = 14 + (40 + 8 + packet.bytes().len()).min(1280);
        let left = world.expect(&[
            In(HOST.0, 1, size(&packet)),
            Drop(reason, 1),
            Count(Counter::Originated, 1),
            ToHost(HOST.0, 1, error),
        ]);
        let [(HOST, bytes)] = left.as_slice() else { panic!("{left:?}") };
        // From the machine to itself, about its packet.
        assert_eq!(bytes[14 + 8..][..32], [ours().octets(), ours().octets()].concat());
        let quoted = &bytes[14 + 40 + 8..];
        assert_eq!((&bytes[14 + 40..][..2], quoted), (&said[..], &packet.bytes()[..quoted.len()]));
    }
    from_host(&mut world, 0, &tcp);
    let left = world.expect(&[
        In(HOST.0, 1, size(&tcp)),
        Drop(DropReason::RuleReject, 1),
        Count(Counter::Originated, 1),
        ToHost(HOST.0, 1, 14 + 40 + 20),
    ]);
    let [(HOST, bytes)] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!(bytes[14 + 8..][..32], [BOB6.octets(), ours().octets()].concat());
    world.shut_down();
}

#[test]
fn who_is_rejected_hears_it_from_the_address_he_asked() {
    let mut world = world(Sizes::ONE);
    world.rules6(&["-A INPUT -p udp -j REJECT --reject-with icmp6-adm-prohibited"]);
    for (asked, hop_limit) in [(address6(WEST), 9), (ip6("2001:db8:1::"), 1)] {
        let packet = Packet6 { hop_limit, ..Packet6::udp((ALICE6, 1), (asked, 2), b"") };
        from_wire(&mut world, 0, EAST, &packet);
        // As it came: the machine is no hop.
        let about = Packet6::icmp6(asked, ALICE6, 1, &packet.bytes());
        let mut error = Packet6 { hop_limit: 64, ..about };
        error.payload[1] = 1;
        let error = from_weir(EAST, ALICE6, &error.resummed(2));
        let left = world.expect(&[
            In(EAST.0, 1, size(&packet)),
            Drop(DropReason::RuleReject, 1),
            Count(Counter::Originated, 1),
            Out(EAST.0, 1, error.len()),
        ]);
        assert_eq!(left, [(EAST, error)]);
    }
    world.shut_down();
}

#[test]
fn what_finds_no_neighbour_is_told_to_the_machine() {
    let mut world = world(Sizes::ONE);
    let packet = Packet6::ping(address6(WEST), NOBODY6, b"");
    from_host(&mut world, 0, &packet);
    world.expect(&[In(HOST.0, 1, size(&packet)), Count(Counter::Held, 1)]);
    let failed = Neighbour::new([0; 6], NeighbourState::Failed);
    world.forwarding.publish(builder().neighbour(WEST, NOBODY6, failed).build());
    world.now_ns += 1_000_000_000;
    let error = 14 + 40 + 8 + packet.bytes().len();
    let left = world.expect(&[
        Count(Counter::Held, -1),
        Drop(DropReason::NeighbourUnresolved, 1),
        Count(Counter::Originated, 1),
        ToHost(HOST.0, 1, error),
    ]);
    let [(HOST, bytes)] = left.as_slice() else { panic!("{left:?}") };
    assert_eq!((&bytes[54..56], &bytes[62..]), (&[1, 3][..], &*packet.bytes()));
    world.shut_down();
}
