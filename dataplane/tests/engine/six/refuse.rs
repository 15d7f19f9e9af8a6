//! IPv6 packets that end here: why, and what their sender hears about it.

use weir_dataplane::verdict::DropReason::{self, *};

use super::*;

const NO_ROUTE: [u8; 2] = [1, 0];
const PROHIBITED: [u8; 2] = [1, 1];
const BEYOND_SCOPE: [u8; 2] = [1, 2];
const ADDRESS_UNREACHABLE: [u8; 2] = [1, 3];
const TOO_BIG: [u8; 2] = [2, 0];
const TIME_EXCEEDED: [u8; 2] = [3, 0];
const UNKNOWN_OPTION: [u8; 2] = [4, 2];

/// The ICMPv6 error that Weir owes the sender of `packet` on "east", as a frame.
pub(super) fn error([kind, code]: [u8; 2], rest: u32, packet: &Packet6) -> Vec<u8> {
    error_from(address6(EAST), [kind, code], rest, packet)
}

fn error_from(from: Ipv6Addr, [kind, code]: [u8; 2], rest: u32, packet: &Packet6) -> Vec<u8> {
    let mut quote = packet.bytes();
    quote.truncate(1280 - 48);
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest.to_be_bytes());
    message.extend(quote);
    let answer = Packet6 { payload: message, ..Packet6::new(from, packet.source, 58) };
    answer.summed(2).frame(mac6(packet.source), mac(EAST))
}

#[track_caller]
fn silent(world: &mut World, frame: Vec<u8>, reason: DropReason) {
    let bytes = frame.len();
    world.inject(0, EAST, frame);
    assert_eq!(world.expect(&[In(0, 1, bytes), Drop(reason, 1)]), [], "{reason:?}");
}

#[track_caller]
fn suppressed(world: &mut World, packet: &Packet6, reason: DropReason) {
    let frame = from_alice(packet);
    let bytes = frame.len();
    world.inject(0, EAST, frame);
    let moved = [In(0, 1, bytes), Drop(reason, 1), Count(Counter::AnswersSuppressed, 1)];
    assert_eq!(world.expect(&moved), [], "{packet:?}");
}

#[track_caller]
fn answered(world: &mut World, packet: &Packet6, reason: DropReason, error: Vec<u8>) {
    let frame = packet.frame(mac(EAST), mac6(packet.source));
    let moved = [
        In(0, 1, frame.len()),
        Drop(reason, 1),
        Count(Counter::Originated, 1),
        Out(0, 1, error.len()),
    ];
    world.inject(0, EAST, frame);
    assert_eq!(world.expect(&moved), [(EAST, error)], "{packet:?}");
}

fn to(destination: &str) -> Packet6 {
    Packet6::udp((ALICE6, 1), (ip6(destination), 2), b"a datagram")
}

#[test]
fn malformed_packets_and_strange_addresses_end_in_silence() {
    let mut world = world6(Sizes::ONE);
    let good = to("2001:db8:2::2");
    let frame = from_alice(&good);
    let cut = |len: usize| frame[..14 + len].to_vec();
    let from = |source| Packet6 { source: ip6(source), ..good.clone() };
    let mut version = frame.clone();
    version[14] = 0x45;
    let long = |len| from_alice(&Packet6 { len: Some(len), ..good.clone() });
    let options = |bytes: &[u8]| from_alice(&good.clone().behind(&[(0, bytes)]));
    for (frame, reason) in [
        (cut(0), Truncated),
        (cut(39), Truncated),
        (cut(57), Truncated),
        (version, IpHeader),
        (long(19), Truncated),
        (long(0xffff), Truncated),
        (from_alice(&from("::")), Martian),
        (from_alice(&from("::1")), Martian),
        (from_alice(&from("ff02::1")), Martian),
        (from_alice(&from("::ffff:10.0.0.1")), Martian),
        (from_alice(&to("::1")), Martian),
        (from_alice(&to("::")), Martian),
        // A jumbogram; an option to be dropped for; padding that is none.
        (options(&[0xc2, 4, 0, 1, 0, 0]), IpHeader),
        (options(&[0x5e, 4, 0, 0, 0, 0]), IpHeader),
        (options(&[1, 4, 0, 0, 0, 1]), IpHeader),
        // More than eight extension headers.
        (from_alice(&good.clone().behind(&[(60, &[1, 4, 0, 0, 0, 0][..]); 9])), IpHeader),
        // What is the kernel's, past the XDP program.
        (from_alice(&to("2001:db8:1::1")), LocalAddress),
        (from_alice(&to("2001:db8:72::")), LocalAddress),
        (from_alice(&to("fe80::1")), LocalAddress),
        (from_alice(&to("ff0e::1")), LocalAddress),
        (from_alice(&to("2001:db8:68::1")), RouteUnreachable),
        (from_alice(&to("2001:db8:69::1")), NotAPort),
        (good.frame([0x33, 0x33, 0, 0, 0, 1], mac6(ALICE6)), L2Group),
        (good.frame(mac(WEST), mac6(ALICE6)), OtherHost),
    ] {
        silent(&mut world, frame, reason);
    }
    world.shut_down();
}

#[test]
fn every_trouble_is_told_to_the_sender() {
    let mut world = world6(Sizes::ONE);
    let hops = |packet: Packet6, hop_limit| Packet6 { hop_limit, ..packet };
    let large = Packet6::udp((ALICE6, 1), (ip6("2001:db8:71::1"), 2), &[7; 1253]);
    let wan = Packet6::udp((ALICE6, 1), (ip6("2001:db8:70::1"), 2), &[7; 1233]);
    let unknown = to("2001:db8:2::2").behind(&[(0, &[0xde, 4, 0, 0, 0, 0])]);
    for (packet, reason, head, rest) in [
        (to("3000::1"), NoRoute, NO_ROUTE, 0),
        (to("2001:db8:66::1"), RouteUnreachable, NO_ROUTE, 0),
        (to("2001:db8:67::1"), RouteUnreachable, PROHIBITED, 0),
        (hops(to("2001:db8:2::2"), 1), TtlExceeded, TIME_EXCEEDED, 0),
        (hops(to("2001:db8:2::2"), 0), TtlExceeded, TIME_EXCEEDED, 0),
        // The route comes before the hop limit, the hop limit before the scope and the size.
        (hops(to("3000::1"), 1), NoRoute, NO_ROUTE, 0),
        (hops(large.clone(), 1), TtlExceeded, TIME_EXCEEDED, 0),
        (large.clone(), MtuExceeded, TOO_BIG, 1300),
        // A link of 600 bytes: IPv6 knows none below 1,280.
        (wan, MtuExceeded, TOO_BIG, 1280),
        (unknown, IpHeader, UNKNOWN_OPTION, 42),
        // A first fragment, and a later one, which says nothing of ICMP.
        (hops(to("2001:db8:2::2").piece(0..16, true, 1), 1), TtlExceeded, TIME_EXCEEDED, 0),
        (hops(to("2001:db8:2::2").piece(16..18, false, 1), 1), TtlExceeded, TIME_EXCEEDED, 0),
    ] {
        let error = error(head, rest, &packet);
        answered(&mut world, &packet, reason, error);
    }
    let fits = Packet6::udp((ALICE6, 1), (ip6("2001:db8:71::1"), 2), &[7; 1252]);
    world.inject(0, EAST, from_alice(&fits));
    let left = world.expect(&[In(0, 1, 1314), Out(1, 1, 1314)]);
    assert_eq!(left, [(WEST, from_weir(WEST, BOB6, &fits.routed()))]);
    // From an address of the link: answered by the port it came by, though it has no other address of that scope.
    let source = ip6("fe80::2");
    let packet = Packet6::udp((source, 1), (BOB6, 2), b"");
    let expected = error(BEYOND_SCOPE, 0, &packet);
    answered(&mut world, &packet, BeyondScope, expected);
    world.shut_down();
}

#[test]
fn a_link_that_is_down_is_no_way() {
    let on_link = Target::Forward { port: WEST, gateway: None, mtu: None, source: None };
    let forwarding = Forwarding::builder()
        .port(link(EAST, 1500))
        .port(weir_dataplane::route::PortLink { up: false, ..link(WEST, 1500) })
        .port(link(WAN, 1500))
        .address6(EAST, address6(EAST), 64)
        .neighbour(EAST, ALICE6, reachable6(ALICE6))
        .route6(ip6("2001:db8:2::"), 64, on_link)
        .build();
    let mut world = World::over(Sizes::ONE, forwarding);
    let packet = to("2001:db8:2::2");
    let expected = error(ADDRESS_UNREACHABLE, 0, &packet);
    answered(&mut world, &packet, PortDown, expected);
    world.shut_down();
}

#[test]
fn nobody_is_told_about_errors_and_not_more_than_the_rate() {
    let mut world = world6(Sizes::ONE);
    let far = ip6("3000::1");
    suppressed(&mut world, &Packet6::icmp6(ALICE6, far, 1, &[0; 48]), NoRoute);
    suppressed(&mut world, &Packet6::icmp6(ALICE6, far, 127, &[0; 48]), NoRoute);
    suppressed(&mut world, &Packet6 { payload: vec![], ..Packet6::new(ALICE6, far, 58) }, NoRoute);
    let behind = Packet6::icmp6(ALICE6, far, 1, &[0; 48]).behind(&[(60, &[1, 4, 0, 0, 0, 0])]);
    suppressed(&mut world, &behind, NoRoute);
    // No way back.
    let stranger = Packet6 { source: ip6("3000::2"), ..to("3000::1") };
    suppressed(&mut world, &stranger, NoRoute);
    let ping = Packet6::ping(ALICE6, far, b"");
    let expected = error(NO_ROUTE, 0, &ping);
    for _ in 0..50 {
        answered(&mut world, &ping, NoRoute, expected.clone());
    }
    suppressed(&mut world, &ping, NoRoute);
    let large = Packet6::udp((ALICE6, 1), (ip6("2001:db8:71::1"), 2), &[7; 1300]);
    let expected = error(TOO_BIG, 1300, &large);
    answered(&mut world, &large, MtuExceeded, expected);
    world.shut_down();
}

#[test]
fn without_an_address_of_its_own_weir_is_silent() {
    let route = |network, port| {
        let target = Target::Forward { port, gateway: None, mtu: None, source: None };
        (ip6(network), 64, target)
    };
    let (to_alice, to_bob) = (route("2001:db8:1::", EAST), route("2001:db8:2::", WEST));
    let forwarding = network()
        .neighbour(EAST, ALICE6, reachable6(ALICE6))
        .neighbour(WEST, BOB6, reachable6(BOB6))
        .route6(to_alice.0, to_alice.1, to_alice.2)
        .route6(to_bob.0, to_bob.1, to_bob.2);
    let mut world = World::over(Sizes::ONE, forwarding.build());
    goes_through(&mut world, &to("2001:db8:2::2"));
    suppressed(&mut world, &Packet6 { hop_limit: 1, ..to("2001:db8:2::2") }, TtlExceeded);
    world.shut_down();
}
