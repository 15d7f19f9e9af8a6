//! Snapshots filled by hand, and what they answer.

use super::*;
use crate::route::link::InterfaceAddress;
use crate::route::neighbour::NeighbourState;

const EAST: PortIndex = PortIndex(0);
const WEST: PortIndex = PortIndex(1);

fn ip(octets: [u8; 4]) -> Ipv4Addr {
    octets.into()
}

/// A port with one address.
fn link(name: &str, address: [u8; 4], prefix_len: u8) -> PortLink {
    PortLink {
        name: name.into(),
        ifindex: Some(2),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        up: true,
        addresses: vec![InterfaceAddress::new(ip(address), prefix_len)],
    }
}

fn lab() -> ForwardingBuilder {
    Forwarding::builder().port(link("east", [10, 0, 0, 1], 24)).port(link(
        "west",
        [192, 168, 0, 1],
        24,
    ))
}

#[test]
fn each_kind_of_destination_is_told_apart() {
    let gateway = ip([192, 168, 0, 254]);
    let default =
        Target::Forward { port: WEST, gateway: Some(gateway), mtu: Some(1400), source: None };
    let forwarding = lab()
        .route(ip([0, 0, 0, 0]), 0, default)
        .route(ip([10, 9, 0, 0]), 16, Target::Unreachable(Unreachable::Prohibit))
        .route(ip([10, 8, 0, 0]), 16, Target::NotOurs { source: None })
        .route(ip([127, 0, 0, 0]), 8, Target::Local { source: None, port: None })
        .build();
    let on_link = |port, next_hop, source: [u8; 4]| Route::Forward {
        port,
        next_hop: ip(next_hop),
        mtu: None,
        source: Some(ip(source)),
    };
    let expected = [
        ([10, 0, 0, 2], on_link(EAST, [10, 0, 0, 2], [10, 0, 0, 1])),
        ([192, 168, 0, 2], on_link(WEST, [192, 168, 0, 2], [192, 168, 0, 1])),
        (
            [8, 8, 8, 8],
            Route::Forward { port: WEST, next_hop: gateway, mtu: Some(1400), source: None },
        ),
        ([10, 0, 0, 1], Route::Local),
        ([127, 0, 0, 5], Route::Local),
        ([10, 0, 0, 255], Route::Broadcast),
        ([255, 255, 255, 255], Route::Broadcast),
        ([224, 0, 0, 1], Route::Multicast),
        ([239, 255, 255, 255], Route::Multicast),
        ([10, 9, 1, 1], Route::Unreachable(Unreachable::Prohibit)),
        ([0, 0, 0, 1], Route::Unreachable(Unreachable::Blackhole)),
        ([10, 8, 1, 1], Route::NotOurs),
    ];
    for (destination, route) in expected {
        assert_eq!(forwarding.route(ip(destination)), route, "{destination:?}");
    }
    assert_eq!(forwarding.local_addresses(), [ip([10, 0, 0, 1]), ip([192, 168, 0, 1])]);
    assert_eq!(forwarding.local_prefixes(), [(ip([127, 0, 0, 0]), 8)]);
    assert_eq!(forwarding.broadcast_addresses(), [ip([10, 0, 0, 255]), ip([192, 168, 0, 255])]);
}

#[test]
fn without_a_route_there_is_none() {
    let forwarding = lab().build();
    assert_eq!(forwarding.route(ip([8, 8, 8, 8])), Route::None);
    assert_eq!(forwarding.source_for(ip([8, 8, 8, 8])), None);
    assert_eq!(forwarding.source_for(ip([10, 0, 0, 7])), Some(ip([10, 0, 0, 1])));
    assert_eq!(forwarding.source_for(ip([192, 168, 0, 1])), Some(ip([192, 168, 0, 1])));
    assert_eq!(forwarding.source_for(ip([10, 0, 0, 255])), None);
}

#[test]
fn subnets_of_31_and_32_bits_have_no_broadcast_address() {
    let forwarding = Forwarding::builder()
        .port(link("east", [10, 0, 0, 0], 31))
        .port(link("west", [10, 0, 0, 9], 32))
        .build();
    let port_of = |address| match forwarding.route(ip(address)) {
        Route::Forward { port, .. } => Some(port),
        _ => None,
    };
    assert_eq!(port_of([10, 0, 0, 1]), Some(EAST));
    assert_eq!(forwarding.route(ip([10, 0, 0, 0])), Route::Local);
    assert_eq!(forwarding.route(ip([10, 0, 0, 2])), Route::None);
    assert_eq!(forwarding.route(ip([10, 0, 0, 9])), Route::Local);
    assert!(forwarding.broadcast_addresses().is_empty());
}

#[test]
fn an_earlier_list_answers_before_a_longer_prefix_of_a_later_one() {
    let spec =
        |network: [u8; 4], len, value| Prefix { network: u32::from_be_bytes(network), len, value };
    let broadcast = Target::Broadcast { port: None };
    let multicast = Target::Multicast { port: None };
    let routes = RouteTable::new(&[
        vec![spec([10, 0, 0, 0], 8, Some(broadcast)), spec([10, 5, 0, 0], 16, None)],
        vec![spec([10, 0, 0, 0], 8, Some(multicast))],
    ]);
    assert_eq!(routes.lookup_with_list(ip([10, 1, 1, 1])), Some((broadcast, true)));
    assert_eq!(routes.lookup_with_list(ip([10, 5, 1, 1])), Some((multicast, false)));
}

#[test]
fn neighbours_share_their_note_of_use_between_snapshots() {
    let address = ip([10, 0, 0, 2]);
    let neighbour = Neighbour::new([2, 0, 0, 0, 0, 2], NeighbourState::Stale);
    let first = lab().neighbour(EAST, address, neighbour.clone()).build();
    let second = lab().neighbour(EAST, address, neighbour).build();
    assert!(first.neighbour(WEST, address).is_none());
    let found = first.neighbour(EAST, address).unwrap();
    assert!(found.is_usable() && !found.is_used());
    found.mark_used();
    let found = second.neighbour(EAST, address).unwrap();
    assert!(found.is_used());
    assert!(found.take_used() && !found.take_used());
}
