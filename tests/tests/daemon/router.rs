//! What hosts see of a router. The judge is the kernel: each probe is sent through the same
//! topology twice, once with the kernel forwarding and once with Weir, and has to come out alike.

use serde_json::{Value, json};
use weir_tests::netns::Namespace;
use weir_tests::skip_unless;

use crate::probe::error_for;
use crate::town::{ALICE, BOB, LEFT, RIGHT, Town, assert_conserved};
use crate::{link, transfer};

/// Asks the kernel, then Weir.
fn both(town: &Town, ask: impl Fn() -> Vec<Value>) -> (Vec<Value>, Vec<Value>) {
    town.kernel_forwards(true);
    let kernel = ask();
    town.kernel_forwards(false);
    for host in [&town.alice, &town.bob] {
        host.ip("route flush cache").expect("path MTUs are forgotten");
    }
    town.firewall.ip("neighbour flush all").expect("flushed");
    let mut daemon = town.start("drop");
    let weir = ask();
    assert_conserved(&mut daemon);
    daemon.stop().expect("it stops");
    (kernel, weir)
}

fn error(from: &str, icmp_type: u8, code: u8, info: u32) -> Value {
    json!({ "from": from, "type": icmp_type, "code": code, "info": info })
}

#[test]
fn errors_are_those_of_the_kernel_s_forwarding() {
    skip_unless!(root, command "ip", command "/usr/bin/python3");
    let town = Town::new();
    town.firewall.ip("route add unreachable 10.1.0.0/24").expect("a route");
    town.firewall.ip("route add prohibit 10.2.0.0/24").expect("a route");
    town.firewall.ip("route add blackhole 10.3.0.0/24").expect("a route");
    // Each from another host and to another destination where it can be: the kernel limits the rate
    // of errors to one host.
    let probes: [(&str, &Namespace, &str, u8, Value); 8] = [
        ("TTL 1", &town.alice, BOB, 1, error(LEFT, 11, 0, 0)),
        ("TTL 1 from Bob", &town.bob, ALICE, 1, error(RIGHT, 11, 0, 0)),
        ("TTL 2 arrives: port closed", &town.alice, BOB, 2, error(BOB, 3, 3, 0)),
        ("no route", &town.alice, "203.0.113.5", 9, error(LEFT, 3, 0, 0)),
        ("a dead host", &town.alice, "192.168.0.77", 9, error(LEFT, 3, 1, 0)),
        ("unreachable", &town.bob, "10.1.0.5", 9, error(RIGHT, 3, 1, 0)),
        ("prohibit", &town.bob, "10.2.0.5", 9, error(RIGHT, 3, 13, 0)),
        ("blackhole", &town.bob, "10.3.0.5", 9, json!({})),
    ];
    let (kernel, weir) = both(&town, || {
        probes.iter().map(|(_, from, to, ttl, _)| error_for(from, to, *ttl, 40, false)).collect()
    });
    for (place, (what, _, _, _, expected)) in probes.iter().enumerate() {
        assert_eq!((&kernel[place], &weir[place]), (expected, expected), "{what}: kernel, Weir");
    }
}

#[test]
fn a_narrow_link_behind_the_firewall_is_told() {
    skip_unless!(root, command "ip", command "/usr/bin/python3");
    let town = Town::new();
    town.firewall.ip("link set right mtu 1300").expect("an MTU");
    town.bob.ip("link set eth0 mtu 1300").expect("an MTU");
    let (kernel, weir) = both(&town, || {
        vec![
            error_for(&town.alice, BOB, 9, 1400, true),
            // The largest that fits: it arrives, where nobody listens.
            error_for(&town.alice, BOB, 9, 1272, true),
            error_for(&town.alice, BOB, 9, 1273, true),
            // What may be fragmented arrives.
            error_for(&town.alice, BOB, 9, 1400, false),
        ]
    });
    let closed = error(BOB, 3, 3, 0);
    let narrow = error(LEFT, 3, 4, 1300);
    let expected = vec![narrow.clone(), closed.clone(), narrow, closed];
    assert_eq!((kernel, weir), (expected.clone(), expected), "kernel, Weir");
}

#[test]
fn tcp_and_udp_get_through_a_narrow_link() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    town.firewall.ip("link set right mtu 1300").expect("an MTU");
    town.bob.ip("link set eth0 mtu 1300").expect("an MTU");
    let mut daemon = town.start("drop");
    // The handshake tells Alice's side 1260 bytes as the segment size, which hides the narrow link;
    // a route with a larger one brings it out.
    town.bob.ip("route change default via 192.168.0.1 advmss 1460").expect("a route");
    transfer::both_ways(&town.alice, &town.bob, BOB, 2 << 20);
    transfer::both_ways(&town.bob, &town.alice, ALICE, 2 << 20);
    let cached = town.alice.ip(&format!("route get {BOB}")).expect("a route");
    assert!(cached.contains("mtu 1300"), "Alice has learnt the path's MTU: {cached}");

    // Sent with DF clear, as a socket does that wants no path MTU discovery.
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    town.alice.set("net/ipv4/ip_no_pmtu_disc", "1").expect("a setting");
    town.alice.ip("route flush cache").expect("flushed");
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    for (numbers, len) in [(0..50, 1400), (50..60, 8000)] {
        assert_eq!(link::carry(&alice, &bob, numbers.clone(), len), link::once_each(numbers));
    }
    assert_conserved(&mut daemon);
}

#[test]
fn an_mtu_that_changes_under_way_is_followed() {
    skip_unless!(root, command "ip", command "/usr/bin/python3");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let mtu = |mtu: u32| {
        town.firewall.ip(&format!("link set right mtu {mtu}")).expect("an MTU");
        town.alice.ip("route flush cache").expect("flushed");
        crate::town::eventually("the status tells the MTU", || {
            crate::town::port(&daemon, "right")["mtu"] == mtu
        });
    };
    let probe = || error_for(&town.alice, BOB, 9, 1400, true);
    assert_eq!(probe(), error(BOB, 3, 3, 0));
    mtu(1000);
    assert_eq!(probe(), error(LEFT, 3, 4, 1000));
    mtu(1500);
    assert_eq!(probe(), error(BOB, 3, 3, 0));
    assert_conserved(&mut daemon);
}
