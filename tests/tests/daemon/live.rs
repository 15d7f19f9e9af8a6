//! Changes to the kernel's tables while the daemon runs: addresses, routes, neighbours.

use weir_tests::skip_unless;

use crate::town::{
    ALICE, BOB, LEFT, Town, assert_conserved, dropped, eventually, pings, port, status,
};
use crate::{link, transfer};

#[test]
fn an_address_added_is_answered_and_one_removed_is_not() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    assert!(!town.pings("10.0.0.9"));
    town.firewall.add_address("left", "10.0.0.9/24").expect("an address");
    eventually("the kernel answers for it", || town.pings("10.0.0.9"));
    let addresses = |name| port(&daemon, name)["addresses"].to_string();
    assert!(addresses("left").contains("10.0.0.9/24"), "{}", addresses("left"));
    // One on the loopback device, as routers have it.
    town.firewall.add_address("lo", "172.16.0.1/32").expect("an address");
    eventually("the kernel answers for it", || town.pings("172.16.0.1"));
    // The other family's is found too, if not by a notice.
    town.firewall.ip("address add fd00::1/64 dev left nodad").expect("an address");
    town.alice.ip("address add fd00::2/64 dev eth0 nodad").expect("an address");
    eventually("the kernel answers for it", || town.pings("fd00::1"));

    town.firewall.ip("address delete 10.0.0.9/24 dev left").expect("removed");
    town.firewall.ip("address delete 172.16.0.1/32 dev lo").expect("removed");
    eventually("the status follows", || !addresses("left").contains("10.0.0.9"));
    assert!(!town.pings("172.16.0.1"));
    assert!(town.pings(LEFT) && town.pings(BOB), "the rest is as before");
    assert_conserved(&mut daemon);
}

#[test]
fn routes_are_followed() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    town.bob.add_address("lo", "172.20.0.1/32").expect("an address");
    assert!(!town.pings("172.20.0.1"), "no route yet");
    town.firewall.ip("route add 172.20.0.0/16 via 192.168.0.2").expect("a route");
    eventually("the route is used", || town.pings("172.20.0.1"));
    town.firewall.ip("route add blackhole 172.20.0.0/24").expect("a route");
    eventually("the longer prefix wins", || !town.pings("172.20.0.1"));
    town.firewall.ip("route delete blackhole 172.20.0.0/24").expect("removed");
    eventually("the route is used again", || town.pings("172.20.0.1"));
    town.firewall.ip("route delete 172.20.0.0/16").expect("removed");
    eventually("the route is gone", || !town.pings("172.20.0.1"));
    let before = dropped(&daemon, "no_route");
    assert!(!town.pings("172.20.0.1"));
    assert_eq!(dropped(&daemon, "no_route"), before + 1);

    // Through an interface that is not a port: told, not forwarded past the firewall.
    town.firewall.ip("link add aside type veth peer name away").expect("a cable");
    town.firewall.add_address("aside", "172.30.0.1/24").expect("an address");
    town.firewall.ip("link set aside up").expect("up");
    town.firewall.ip("link set away up").expect("up");
    eventually("it is counted", || {
        let _ = town.pings("172.30.0.2");
        dropped(&daemon, "not_a_port") > 0
    });
    assert_conserved(&mut daemon);
}

#[test]
fn what_weir_does_not_follow_is_a_warning() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let warnings = || status(&daemon)["warnings"].to_string();
    assert_eq!(warnings(), "[]");
    town.firewall.ip("rule add from 10.0.0.0/24 lookup 100").expect("a rule");
    eventually("the rule is told", || warnings().contains("rule"));
    town.firewall.ip("rule delete from 10.0.0.0/24 lookup 100").expect("removed");
    eventually("the warning goes with it", || warnings() == "[]");
    assert_conserved(&mut daemon);
}

#[test]
fn a_neighbour_with_a_new_mac_is_followed() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for mac in ["02:00:00:00:00:77", "02:00:00:00:00:78"] {
        transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 18);
        // As when a machine is replaced: its first packets tell the neighbours.
        town.bob.ip("link set eth0 down").expect("down");
        town.bob.ip(&format!("link set eth0 address {mac}")).expect("a new MAC");
        town.bob.ip("link set eth0 up").expect("up");
        town.bob.add_default_route("192.168.0.1").expect("a route");
        assert!(pings(&town.bob, "192.168.0.1"));
        eventually("Bob is reached at his new MAC", || town.pings(BOB));
    }
    // The firewall's own MAC too.
    town.firewall.ip("link set left down").expect("down");
    town.firewall.ip("link set left address 02:00:00:00:00:99").expect("a new MAC");
    town.firewall.ip("link set left up").expect("up");
    eventually("the status follows", || port(&daemon, "left")["mac"] == "02:00:00:00:00:99");
    town.alice.ip("neighbour flush all").expect("flushed");
    eventually("Weir takes what comes for its new MAC", || town.pings(BOB));
    assert_conserved(&mut daemon);
}

#[test]
fn a_scan_of_empty_addresses_does_not_starve_others() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    town.firewall.ip("address add 172.16.0.1/16 dev right").expect("an address");
    assert!(town.pings(BOB));
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    for host in 2..6000_u32 {
        let [_, _, high, low] = host.to_be_bytes();
        let _ = alice.send_to(&[0; 100], format!("172.16.{high}.{low}:9"));
    }
    assert!(dropped(&daemon, "hold_full") > 0, "the hold has its limit");
    assert!(town.pings(BOB), "who is known is reached");
    eventually("a new neighbour is reached once the scan is over", || {
        town.firewall.ip("neighbour flush dev right").expect("flushed");
        town.pings(BOB)
    });
    assert_conserved(&mut daemon);
}
