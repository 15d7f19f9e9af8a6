//! The mirror against the kernel: in network namespaces made for the purpose, with `ip` changing the tables. Needs
//! root; prints SKIPPED without.

mod namespace;
mod neighbours;
mod oracle;
mod oracle6;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use weir_dataplane::route::{Forwarding, MirrorEvent, Route, Unreachable};

use namespace::{EAST, Namespace, WEST, events, events_up_to, eventually, ip, settled};

#[test]
fn lost_notices_lead_to_a_new_reading() {
    let Some(namespace) = Namespace::with_three_links("lost notices") else { return };
    let mut commands = String::new();
    for number in 0..1000_u32 {
        let address = Ipv4Addr::from(u32::from(ip("10.1.0.0")) + number);
        writeln!(commands, "neigh add {address} lladdr 02:00:00:00:00:09 dev east nud permanent")
            .unwrap();
    }
    assert!(namespace.batch(&commands).status.success());
    let mirror = namespace.mirror_with(|config| config.notices_bytes = 2048);
    assert_eq!(mirror.forwarding().current().neighbours_len(), 1000);
    // One notice for each neighbour, in one go: far more than the socket can hold.
    namespace.ip("link set east down");
    events_up_to(&mirror, &MirrorEvent::Resynchronised);
    eventually(&mirror, "no neighbours", |now| now.neighbours_len() == 0);
    assert!(mirror.stats().resynchronisations.load(Ordering::Relaxed) > 0);
}

#[test]
fn interfaces_come_and_go() {
    let Some(namespace) = Namespace::with_three_links("interfaces") else { return };
    namespace.ip("route add 10.9.0.0/16 via 192.168.0.2");
    let mirror = namespace.mirror();
    let forwarding = mirror.forwarding().current();
    let west = forwarding.port(WEST).unwrap().clone();
    let ifindex = west.ifindex.unwrap();
    assert!(west.up && west.mtu == 1500 && west.mac != [0; 6]);
    assert_eq!(west.addresses.iter().map(|a| a.address).collect::<Vec<_>>(), [ip("192.168.0.1")]);
    assert!(matches!(forwarding.route(ip("10.9.1.1")), Route::Forward { port: WEST, .. }));
    let locals = ["10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.0.1"].map(ip);
    assert_eq!(forwarding.local_addresses(), locals);
    assert_eq!(forwarding.local_prefixes(), [(ip("127.0.0.0"), 8)]);
    events(&mirror);

    namespace.ip("link set west mtu 1280");
    let mtu = MirrorEvent::MtuChanged { port: WEST, mtu: 1280 };
    assert_eq!(events_up_to(&mirror, &mtu), [mtu]);
    namespace.ip("link set west address 02:00:00:00:00:77");
    let mac = MirrorEvent::MacChanged { port: WEST, mac: [2, 0, 0, 0, 0, 0x77] };
    assert_eq!(events_up_to(&mirror, &mac), [mac]);

    // The kernel drops the routes without a notice.
    namespace.ip("link set west down");
    assert_eq!(
        events_up_to(&mirror, &MirrorEvent::PortDown { port: WEST }),
        [MirrorEvent::PortDown { port: WEST }]
    );
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.9.1.1")), Route::None);
    assert_eq!(forwarding.route(ip("192.168.0.2")), Route::None);
    assert!(!forwarding.port(WEST).unwrap().up);
    namespace.ip("link set west up");
    eventually(&mirror, "up again", |now| now.port(WEST).unwrap().up);
    namespace.ip("route add 10.9.0.0/16 via 192.168.0.2");
    let forwarding = settled(&namespace, &mirror);
    assert!(matches!(forwarding.route(ip("10.9.1.1")), Route::Forward { port: WEST, .. }));
    events(&mirror);

    namespace.ip("link del west");
    let vanished = MirrorEvent::PortVanished { port: WEST, ifindex };
    let told = events_up_to(&mirror, &vanished);
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.port(WEST).unwrap().ifindex, None);
    assert_eq!(forwarding.port(WEST).unwrap().name, "west");
    assert_eq!(forwarding.route(ip("10.9.1.1")), Route::None);
    assert_eq!(forwarding.route(ip("192.168.0.1")), Route::None);
    // Its address may have gone before it.
    if !told.contains(&MirrorEvent::LocalAddressesChanged) {
        events_up_to(&mirror, &MirrorEvent::LocalAddressesChanged);
    }

    namespace.ip("link add west type veth peer name west-peer");
    namespace.ip("address add 192.168.0.1/24 dev west");
    namespace.ip("link set west up");
    namespace.ip("link set west-peer up");
    let up = MirrorEvent::PortUp { port: WEST };
    let returned = events_up_to(&mirror, &up);
    let again = settled(&namespace, &mirror).port(WEST).unwrap().ifindex.unwrap();
    assert_ne!(again, ifindex);
    let appeared = MirrorEvent::PortAppeared { port: WEST, ifindex: again };
    assert!(returned.contains(&appeared), "{returned:?}");
    let forwarding = settled(&namespace, &mirror);
    assert!(matches!(forwarding.route(ip("192.168.0.2")), Route::Forward { port: WEST, .. }));
    assert_eq!(forwarding.route(ip("192.168.0.1")), Route::Local);
}

#[test]
fn addresses_and_hops_follow() {
    let Some(namespace) = Namespace::with_three_links("addresses") else { return };
    let mirror = namespace.mirror();
    events(&mirror);
    namespace.ip("address add 10.5.0.1/24 dev east");
    namespace.ip("route add 10.6.0.0/16 via 10.0.0.2 src 10.5.0.1");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.5.0.1")), Route::Local);
    assert_eq!(forwarding.source_for(ip("10.6.0.1")), Some(ip("10.5.0.1")));
    let changed = MirrorEvent::LocalAddressesChanged;
    assert_eq!(events_up_to(&mirror, &changed), [changed]);
    // With the address goes the route that prefers it, again without a notice.
    namespace.ip("address del 10.5.0.1/24 dev east");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.6.0.1")), Route::None);
    assert_eq!(forwarding.route(ip("10.5.0.1")), Route::None);
    // An address on an interface that is no port is the machine's as well.
    namespace.ip("address add 10.7.0.1/24 dev other");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.7.0.1")), Route::Local);
    assert_eq!(forwarding.route(ip("10.7.0.2")), Route::NotOurs);

    // Of several next hops the first living one that is a port.
    namespace.ip(
        "route add 10.8.0.0/16 nexthop via 172.16.0.2 nexthop via 192.168.0.2 nexthop via 10.0.0.2",
    );
    let port_of = |forwarding: &Forwarding| match forwarding.route(ip("10.8.0.1")) {
        Route::Forward { port, next_hop, .. } => Some((port, next_hop)),
        _ => None,
    };
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(port_of(&forwarding), Some((WEST, ip("192.168.0.2"))));
    namespace.ip("link set west down");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(port_of(&forwarding), Some((EAST, ip("10.0.0.2"))));

    // A nexthop object changes under the routes that name it.
    namespace.ip("nexthop add id 1 via 10.0.0.3 dev east");
    namespace.ip("route replace 10.8.0.0/16 nhid 1");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(port_of(&forwarding), Some((EAST, ip("10.0.0.3"))));
    namespace.ip("nexthop replace id 1 via 10.0.0.4 dev east");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(port_of(&forwarding), Some((EAST, ip("10.0.0.4"))));
    namespace.ip("nexthop replace id 1 blackhole");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.8.0.1")), Route::Unreachable(Unreachable::Blackhole));
    // The kernel drops the routes of a deleted one, again without a notice about them.
    namespace.ip("nexthop del id 1");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.8.0.1")), Route::None);
}

#[test]
fn strange_rules_and_routes_are_reported() {
    let Some(namespace) = Namespace::with_three_links("rules") else { return };
    let mirror = namespace.mirror();
    events(&mirror);
    namespace.ip("rule add from 10.0.0.0/24 table 100 priority 500");
    let what = "rule 500 is not one of the defaults".to_owned();
    let unsupported = MirrorEvent::RulesUnsupported { what };
    assert_eq!(events_up_to(&mirror, &unsupported), [unsupported]);
    namespace.ip("rule del priority 500");
    let supported = MirrorEvent::RulesSupported;
    assert_eq!(events_up_to(&mirror, &supported), [supported]);
    // What only the machine's own traffic follows is none of Weir's business.
    namespace.ip("rule add iif lo table 100 priority 500");
    namespace.ip("route add 10.9.0.0/16 via 192.168.0.2 tos 0x10");
    let what = "route 10.9.0.0/16 is for one type of service only".to_owned();
    let unsupported = MirrorEvent::RouteUnsupported { what };
    assert_eq!(events_up_to(&mirror, &unsupported), [unsupported]);
    assert_eq!(settled(&namespace, &mirror).route(ip("10.9.0.1")), Route::None);
}

#[test]
fn routes_dropped_without_a_notice_are_missed() {
    let Some(namespace) = Namespace::with_three_links("silent drops") else { return };
    let mirror = namespace.mirror();
    // Many routes take the kernel some time to drop, and it says that the interface is down before it begins.
    let mut routes = String::new();
    for number in 0..2000_u32 {
        let network = Ipv4Addr::from(u32::from(ip("11.0.0.0")) + number * 256);
        writeln!(routes, "route add {network}/24 via 192.168.0.2").unwrap();
        let network = Ipv4Addr::from(u32::from(ip("12.0.0.0")) + number * 256);
        writeln!(routes, "route add {network}/24 via 10.0.0.2 src 10.5.0.1").unwrap();
    }
    for round in 0..8 {
        namespace.ip("address add 10.5.0.1/24 dev east");
        assert!(namespace.batch(&routes).status.success());
        let forwarding = settled(&namespace, &mirror);
        for probe in ["11.0.0.1", "11.7.207.1", "12.0.0.1", "12.7.207.1"] {
            assert!(
                matches!(forwarding.route(ip(probe)), Route::Forward { .. }),
                "{round} {probe}"
            );
        }
        namespace.ip("link set west down");
        let forwarding = settled(&namespace, &mirror);
        for probe in ["11.0.0.1", "11.7.207.1"] {
            assert_eq!(forwarding.route(ip(probe)), Route::None, "round {round}: {probe}");
        }
        namespace.ip("address del 10.5.0.1/24 dev east");
        let forwarding = settled(&namespace, &mirror);
        for probe in ["12.0.0.1", "12.7.207.1"] {
            assert_eq!(forwarding.route(ip(probe)), Route::None, "round {round}: {probe}");
        }
        namespace.ip("link set west up");
    }
}
