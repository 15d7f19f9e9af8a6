//! Ordinary traffic through the daemon: nothing lost, nothing altered, nobody touched `ethtool`.

use std::net::SocketAddr;
use std::time::Duration;

use weir_tests::skip_unless;

use crate::town::{ALICE, BOB, LEFT, RIGHT, Town, assert_conserved, dropped, pings};
use crate::{link, transfer};

#[test]
fn tcp_carries_megabytes_both_ways() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("pass");
    transfer::both_ways(&town.alice, &town.bob, BOB, 8 << 20);
    transfer::both_ways(&town.bob, &town.alice, ALICE, 8 << 20);
    assert_conserved(&mut daemon);
}

#[test]
fn udp_arrives_whole_both_ways() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("pass");
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    // 0 and 1: checksums over odd lengths; 1472 fills the MTU; the last two leave in fragments.
    for (round, len) in (0..).zip([4, 5, 1471, 1472, 1473, 20_000]) {
        for (from, to) in [(&alice, &bob), (&bob, &alice)] {
            let numbers = round * 50..(round + 1) * 50;
            let arrived = link::carry(from, to, numbers.clone(), len);
            assert_eq!(arrived, link::once_each(numbers), "{len} bytes to {to:?}");
        }
    }
    assert_conserved(&mut daemon);
}

#[test]
fn the_first_packets_to_a_new_neighbour_are_held_not_lost() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("pass");
    let forget = || {
        town.firewall.ip("neighbour flush all").expect("flushed");
        town.alice.ip("neighbour flush all").expect("flushed");
        town.bob.ip("neighbour flush all").expect("flushed");
    };
    forget();
    assert!(town.pings(BOB), "the first ping is answered");
    forget();
    assert!(pings(&town.bob, ALICE), "the first ping back is answered");

    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    let to_bob: SocketAddr = format!("{BOB}:5000").parse().expect("an address");
    for round in 0..10 {
        town.firewall.ip("neighbour flush all").expect("flushed");
        let numbers = round * 20..(round + 1) * 20;
        link::send(&alice, to_bob, numbers.clone(), 100, Duration::ZERO);
        assert_eq!(link::receive(&bob, 20), link::once_each(numbers), "round {round}");
    }
    assert_eq!(dropped(&daemon, "hold_full"), 0);
    assert_conserved(&mut daemon);
}

#[test]
fn the_firewall_itself_answers_on_both_sides() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for address in [LEFT, RIGHT] {
        assert!(town.pings(address), "Alice pings {address}");
        assert!(pings(&town.bob, address), "Bob pings {address}");
    }
    assert_conserved(&mut daemon);
}
