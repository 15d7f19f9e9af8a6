//! The state machine, fed with netlink messages as the kernel sends them.

use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState as Nud,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::super::forwarding::{Route, Unreachable};
use super::*;

const EAST: PortIndex = PortIndex(0);
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const HOST4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const HOST: IpAddr = IpAddr::V4(HOST4);
const MAIN: u8 = 254;
const LOCAL: u8 = 255;

fn link(ifindex: u32, name: &str, up: bool, mtu: u32) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    if up {
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
    }
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(MAC.to_vec()),
    ];
    RouteNetlinkMessage::NewLink(message)
}

fn link_gone(ifindex: u32, family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.header.interface_family = family;
    RouteNetlinkMessage::DelLink(message)
}

fn address(ifindex: u32, address: [u8; 4], len: u8) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.index = ifindex;
    message.header.prefix_len = len;
    message.attributes.push(AddressAttribute::Local(Ipv4Addr::from(address).into()));
    RouteNetlinkMessage::NewAddress(message)
}

fn route(table: u8, network: [u8; 4], len: u8, metric: u32, kind: RouteType) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = table;
    message.header.destination_prefix_length = len;
    message.header.kind = kind;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet(network.into())),
        RouteAttribute::Priority(metric),
    ];
    message
}

fn via(mut message: RouteMessage, ifindex: u32, gateway: [u8; 4]) -> RouteMessage {
    message.attributes.push(RouteAttribute::Oif(ifindex));
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway.into())));
    message
}

fn neighbour(ifindex: u32, state: Nud, mac: Option<[u8; 6]>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = ifindex;
    message.header.state = state;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(HOST4)));
    if let Some(mac) = mac {
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    }
    message
}

impl MirrorState {
    /// Takes in a message with these header flags; one that concerns nothing changes nothing.
    fn hear(&mut self, message: RouteNetlinkMessage, flags: u16) -> Stale {
        Change::parse(message, flags).map_or(Stale::NONE, |change| self.apply(change))
    }

    fn hear_route(&mut self, message: RouteMessage, flags: u16) {
        assert_eq!(self.hear(RouteNetlinkMessage::NewRoute(message), flags), Stale::NONE);
    }

    /// Which gateway leads to a destination.
    fn gateway(&mut self, destination: [u8; 4]) -> Option<[u8; 4]> {
        match self.snapshot().route(destination.into()) {
            Route::Forward { next_hop, .. } => Some(next_hop.octets()),
            _ => None,
        }
    }
}

/// `east` is interface 2 and up; nothing else is known.
fn with_east() -> MirrorState {
    let mut state = MirrorState::new(&["east".into(), "west".into()], None, false, 1);
    state.hear(link(2, "east", true, 1500), 0);
    state.take_events();
    state
}

fn stale(parts: &[Part]) -> Stale {
    let mut stale = Stale::NONE;
    for &part in parts {
        stale |= part.into();
    }
    stale
}

#[test]
fn a_port_appears_changes_and_vanishes() {
    let mut state = MirrorState::new(&["east".into()], None, false, 1);
    let asked = state.hear(link(2, "east", false, 1500), 0);
    assert_eq!(asked, stale(&[Part::Routes, Part::Neighbours, Part::Addresses]));
    assert_eq!(state.take_events(), [MirrorEvent::PortAppeared { port: EAST, ifindex: 2 }]);
    assert_eq!(state.hear(link(2, "east", false, 1500), 0), Stale::NONE);
    assert_eq!(state.hear(link(2, "east", false, 9000), 0), Stale::NONE);
    assert_eq!(state.take_events(), [MirrorEvent::MtuChanged { port: EAST, mtu: 9000 }]);
    assert_eq!(state.hear(link(2, "east", true, 9000), 0), stale(&[Part::Routes]));
    assert_eq!(state.take_events(), [MirrorEvent::PortUp { port: EAST }]);
    // A bridge port's notice looks like a deleted link.
    assert_eq!(state.hear(link_gone(2, AddressFamily::Bridge), 0), Stale::NONE);
    assert_eq!(state.take_events(), []);
    assert_eq!(state.hear(link_gone(2, AddressFamily::Unspec), 0), stale(&[Part::Routes]));
    assert_eq!(state.take_events(), [MirrorEvent::PortVanished { port: EAST, ifindex: 2 }]);
    assert_eq!(state.hear(link_gone(2, AddressFamily::Unspec), 0), Stale::NONE);
    let snapshot = state.snapshot();
    assert_eq!(snapshot.ports(), [PortLink { name: "east".into(), ..PortLink::default() }]);
}

#[test]
fn a_renamed_interface_is_another_port() {
    let mut state = with_east();
    state.hear(link(2, "west", true, 1500), 0);
    let west = PortIndex(1);
    assert_eq!(
        state.take_events(),
        [
            MirrorEvent::PortVanished { port: EAST, ifindex: 2 },
            MirrorEvent::PortAppeared { port: west, ifindex: 2 },
            MirrorEvent::PortUp { port: west },
        ]
    );
    // Recreated under the same name, with the notice of the old one's end still to come.
    state.hear(link(3, "west", true, 1500), 0);
    assert_eq!(
        state.take_events(),
        [
            MirrorEvent::PortVanished { port: west, ifindex: 2 },
            MirrorEvent::PortAppeared { port: west, ifindex: 3 },
            MirrorEvent::PortUp { port: west },
        ]
    );
    state.hear(link_gone(2, AddressFamily::Unspec), 0);
    assert_eq!(state.take_events(), []);
    assert_eq!(state.snapshot().port(west).unwrap().ifindex, Some(3));
}

#[test]
fn interfaces_missing_in_a_dump_are_gone() {
    let mut state = with_east();
    state.hear(link(3, "west", true, 1500), 0);
    state.take_events();
    state.begin(Part::Links);
    state.hear(link(3, "west", true, 1500), 0);
    assert_eq!(state.finish(Part::Links), stale(&[Part::Routes]));
    assert_eq!(state.take_events(), [MirrorEvent::PortVanished { port: EAST, ifindex: 2 }]);
}

#[test]
fn addresses_are_taken_from_dumps_only() {
    let mut state = with_east();
    assert_eq!(state.hear(address(2, [10, 0, 0, 1], 24), 0), stale(&[Part::Addresses]));
    state.begin(Part::Addresses);
    state.hear(address(2, [10, 0, 0, 9], 24), 0);
    state.hear(address(2, [10, 0, 0, 1], 24), 0);
    state.finish(Part::Addresses);
    // The notice, late.
    assert_eq!(state.hear(address(2, [10, 0, 0, 1], 24), 0), Stale::NONE);
    let snapshot = state.snapshot();
    let held: Vec<_> = snapshot.ports()[0].addresses.iter().map(|a| a.address.octets()).collect();
    assert_eq!(held, [[10, 0, 0, 9], [10, 0, 0, 1]]);
}

#[test]
fn the_lowest_metric_then_the_place_decides() {
    let mut state = with_east();
    let to = |gateway: u8, metric| {
        via(route(MAIN, [20, 0, 0, 0], 8, metric, RouteType::Unicast), 2, [10, 0, 0, gateway])
    };
    let mut after = |message, flags| {
        state.hear_route(message, flags);
        state.gateway([20, 0, 0, 1]).unwrap()[3]
    };
    assert_eq!(after(to(1, 5), 0), 1);
    assert_eq!(after(to(2, 5), NLM_F_APPEND), 1);
    assert_eq!(after(to(3, 9), 0), 1);
    assert_eq!(after(to(4, 5), 0), 4, "put before the others");
    assert_eq!(after(to(1, 5), NLM_F_APPEND), 4, "known already");
    assert_eq!(after(to(5, 5), NLM_F_REPLACE), 5, "in the place of 4");
    // Now 5, 1, 2 with metric 5, and 3 with metric 9.
    for (gone, next) in [(5, 1), (1, 2)] {
        state.hear(RouteNetlinkMessage::DelRoute(to(gone, 5)), 0);
        assert_eq!(state.gateway([20, 0, 0, 1]).unwrap()[3], next);
    }
    state.hear(RouteNetlinkMessage::DelRoute(to(2, 5)), 0);
    state.hear(RouteNetlinkMessage::DelRoute(to(2, 5)), 0);
    assert_eq!(state.gateway([20, 0, 0, 1]), Some([10, 0, 0, 3]));
}

#[test]
fn dead_hops_do_not_count_and_cached_routes_are_ignored() {
    let mut state = with_east();
    let wide = via(route(MAIN, [20, 0, 0, 0], 8, 0, RouteType::Unicast), 2, [10, 0, 0, 1]);
    let mut dead = via(route(MAIN, [20, 1, 0, 0], 16, 0, RouteType::Unicast), 2, [10, 0, 0, 2]);
    dead.header.flags = RouteFlags::Dead;
    let mut cached = via(route(MAIN, [20, 2, 0, 0], 16, 0, RouteType::Unicast), 2, [10, 0, 0, 3]);
    cached.header.flags = RouteFlags::Cloned;
    state.hear_route(wide, 0);
    state.hear_route(dead.clone(), 0);
    state.hear_route(cached, 0);
    assert_eq!(state.gateway([20, 1, 0, 1]), Some([10, 0, 0, 1]));
    assert_eq!(state.gateway([20, 2, 0, 1]), Some([10, 0, 0, 1]));
    // Alive again: the same route, not a second one.
    dead.header.flags = RouteFlags::default();
    state.hear_route(dead, 0);
    assert_eq!(state.gateway([20, 1, 0, 1]), Some([10, 0, 0, 2]));
    assert_eq!(state.four.fib.len(), 2);
}

#[test]
fn throw_leaves_the_table_and_split_tables_are_asked_one_by_one() {
    let mut state = with_east();
    state.hear_route(route(LOCAL, [20, 0, 0, 0], 8, 0, RouteType::Local), 0);
    state.hear_route(route(MAIN, [20, 1, 0, 0], 16, 0, RouteType::Prohibit), 0);
    state.hear_route(route(MAIN, [30, 0, 0, 0], 8, 0, RouteType::BlackHole), 0);
    state.hear_route(route(MAIN, [30, 1, 0, 0], 16, 0, RouteType::Throw), 0);
    let default = via(route(253, [0, 0, 0, 0], 0, 0, RouteType::Unicast), 2, [10, 0, 0, 1]);
    state.hear_route(default, 0);
    let prohibited = Route::Unreachable(Unreachable::Prohibit);
    let blackhole = Route::Unreachable(Unreachable::Blackhole);
    let at = |state: &mut MirrorState, to: [u8; 4]| state.snapshot().route(to.into());
    assert_eq!(at(&mut state, [20, 0, 0, 1]), Route::Local);
    assert_eq!(at(&mut state, [20, 1, 0, 1]), prohibited, "one trie: the longest prefix");
    assert_eq!(at(&mut state, [30, 0, 0, 1]), blackhole);
    assert_eq!(state.gateway([30, 1, 0, 1]), Some([10, 0, 0, 1]));
    assert_eq!(state.split_probe(), None, "a prefix is no address to ask for");
    state.hear_route(route(LOCAL, [20, 0, 0, 7], 32, 0, RouteType::Local), 0);
    assert_eq!(state.split_probe(), Some(Ipv4Addr::new(20, 0, 0, 7)));
    state.probed(255);
    assert_eq!(state.split_probe(), None);
    assert_eq!(at(&mut state, [20, 1, 0, 1]), Route::Local, "local goes first");
}

#[test]
fn neighbours_keep_their_note_of_use() {
    let mut state = with_east();
    let new = |state, mac| RouteNetlinkMessage::NewNeighbour(neighbour(2, state, mac));
    let request = (EAST, HOST);
    assert_eq!(state.wants(request.0, request.1), Some(2));
    state.hear(new(Nud::Reachable, Some(MAC)), 0);
    assert_eq!(state.wants(request.0, request.1), None);
    let first = state.snapshot();
    first.neighbour(EAST, HOST).unwrap().mark_used();
    assert_eq!(state.keep_alive(10), [], "reachable: nothing to do yet");
    state.hear(new(Nud::Stale, None), 0);
    let held = state.snapshot();
    let held = held.neighbour(EAST, HOST).unwrap();
    assert_eq!((held.mac, held.state, held.is_used()), (MAC, NeighbourState::Stale, true));
    assert_eq!(state.keep_alive(10), [(2, HOST)]);
    assert_eq!(state.keep_alive(10), [], "used once, asked once");

    // A dump keeps the note too, and an interrupted one does not lose it.
    first.neighbour(EAST, HOST).unwrap().mark_used();
    state.begin(Part::Neighbours);
    state.begin(Part::Neighbours);
    state.hear(new(Nud::Stale, Some(MAC)), 0);
    state.finish(Part::Neighbours);
    let gone = || RouteNetlinkMessage::DelNeighbour(neighbour(2, Nud::Failed, None));
    state.hear(gone(), 0);
    assert_eq!(state.take_lost(), [(EAST, HOST)], "forgotten while in use");
    assert!(state.snapshot().neighbour(EAST, HOST).is_none());
    state.hear(gone(), 0);
    assert_eq!(state.take_lost(), []);
}

#[test]
fn a_failed_neighbour_is_open_again_when_asked_for() {
    let mut state = with_east();
    let failed = neighbour(2, Nud::Failed, None);
    state.hear(RouteNetlinkMessage::NewNeighbour(failed), 0);
    let of = |state: &mut MirrorState| state.snapshot().neighbour(EAST, HOST).map(|n| n.state);
    assert_eq!(of(&mut state), Some(NeighbourState::Failed));
    assert!(!state.is_dirty());
    state.asked(EAST, HOST);
    assert!(state.is_dirty());
    assert_eq!(of(&mut state), Some(NeighbourState::Incomplete));
    // On an interface that is no port: ignored. With the port all its neighbours go.
    state.hear(RouteNetlinkMessage::NewNeighbour(neighbour(9, Nud::Stale, Some(MAC))), 0);
    assert_eq!(state.snapshot().neighbours_len(), 1);
    state.hear(link_gone(2, AddressFamily::Unspec), 0);
    assert_eq!(state.snapshot().neighbours_len(), 0);
}

#[test]
fn full_tables_refuse_once_aloud_and_keep_what_they_have() {
    let mut state = with_east();
    (state.neighbours_max, state.routes_max) = (3, 3);
    for number in 0..=3 {
        let address = Ipv4Addr::new(10, 0, 0, number).into();
        let change =
            Change::Neighbour { ifindex: 2, address, mac: None, state: NeighbourState::Stale };
        state.apply(change.clone());
        state.apply(change);
    }
    state.apply(Change::Neighbour {
        ifindex: 2,
        address: Ipv4Addr::new(10, 0, 0, 9).into(),
        mac: None,
        state: NeighbourState::Stale,
    });
    assert_eq!(state.take_events(), [MirrorEvent::NeighboursFull { neighbours_max: 3 }]);
    let snapshot = state.snapshot();
    assert_eq!(snapshot.neighbours_len(), 3);
    assert!(snapshot.neighbour(EAST, Ipv4Addr::new(10, 0, 0, 0)).is_some());
    assert!(snapshot.neighbour(EAST, Ipv4Addr::new(10, 0, 0, 3)).is_none());

    let of = |number: u8| route(MAIN, [50, number, 0, 0], 16, 0, RouteType::Prohibit);
    for number in 0..5 {
        state.hear_route(of(number), 0);
    }
    assert_eq!(state.take_events(), [MirrorEvent::RoutesFull { routes_max: 3 }]);
    assert_eq!(state.four.fib.len(), 3);
    let prohibited = Route::Unreachable(Unreachable::Prohibit);
    let snapshot = state.snapshot();
    assert_eq!(snapshot.route(Ipv4Addr::new(50, 2, 0, 1)), prohibited);
    assert_eq!(snapshot.route(Ipv4Addr::new(50, 3, 0, 1)), Route::None);
    // One that is known may change its way still.
    state.hear_route(route(MAIN, [50, 2, 0, 0], 16, 0, RouteType::BlackHole), NLM_F_REPLACE);
    let blackhole = Route::Unreachable(Unreachable::Blackhole);
    assert_eq!(state.snapshot().route(Ipv4Addr::new(50, 2, 0, 1)), blackhole);
    // Room again: what was refused has to be read.
    assert_eq!(state.refused_may_fit(), Stale::NONE);
    state.hear(RouteNetlinkMessage::DelRoute(of(1)), 0);
    assert_eq!(state.refused_may_fit(), stale(&[Part::Routes]));
    state.apply(Change::NeighbourGone { ifindex: 2, address: Ipv4Addr::new(10, 0, 0, 1).into() });
    assert_eq!(state.refused_may_fit(), stale(&[Part::Routes, Part::Neighbours]));
    for part in [Part::Routes, Part::Neighbours] {
        state.begin(part);
        state.finish(part);
    }
    assert_eq!(state.refused_may_fit(), Stale::NONE);
}

#[test]
fn a_neighbour_that_becomes_usable_has_answered_once() {
    let mut state = with_east();
    let mut hear = |nud, mac| {
        state.hear(RouteNetlinkMessage::NewNeighbour(neighbour(2, nud, mac)), 0);
        state.take_answered()
    };
    assert_eq!(hear(Nud::Incomplete, None), []);
    assert_eq!(hear(Nud::Reachable, Some(MAC)), [(EAST, HOST)]);
    assert_eq!(hear(Nud::Stale, Some(MAC)), []);
    assert_eq!(hear(Nud::Failed, None), []);
    assert_eq!(hear(Nud::Reachable, Some(MAC)), [(EAST, HOST)]);
}
