//! Interfaces that vanish, return, go down and come up, while the daemon runs.

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::town::{
    ALICE, BOB, Town, assert_conserved, dropped, eventually, log, number, pings, port, status,
};
use crate::{link, transfer};

/// Both ports are up and forward, in both directions, a lot at once too.
fn assert_forwards(town: &Town, daemon: &mut Daemon) {
    eventually("Alice reaches Bob", || town.pings(BOB));
    assert!(pings(&town.bob, ALICE), "Bob reaches Alice");
    transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 20);
    assert_conserved(daemon);
}

fn is_closed(daemon: &Daemon, name: &str) -> bool {
    port(daemon, name)["state"] == "closed"
}

fn is_up(daemon: &Daemon, name: &str) -> bool {
    port(daemon, name)["state"] == "up"
}

#[test]
fn an_interface_deleted_under_load_and_made_again_is_served_again() {
    skip_unless!(root, command "ip", command "ping");
    for on_exit in ["pass", "drop"] {
        let town = Town::new();
        let mut daemon = town.start(on_exit);
        let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
        let bob: std::net::SocketAddr = format!("{BOB}:5000").parse().expect("an address");
        for round in 0..3 {
            assert_forwards(&town, &mut daemon);
            for _ in 0..200 {
                let _ = alice.send_to(&[0; 300], bob);
            }
            // Either side in turn: the first port opened has registered the memory.
            let (name, other) = if round % 2 == 0 { ("left", "right") } else { ("right", "left") };
            town.firewall.ip(&format!("link delete {name}")).expect("deleted");
            eventually("the port is closed", || is_closed(&daemon, name));
            let closed = port(&daemon, name);
            let reason = closed["reason"].as_str().expect("a reason");
            assert!(reason.contains("gone"), "{reason}");
            assert_eq!(closed["ifindex"], 0);
            assert!(is_up(&daemon, other), "the other one stays");
            assert_conserved(&mut daemon);
            if name == "left" {
                town.connect_left()
            } else {
                town.connect_right()
            }
            eventually("the port is up", || is_up(&daemon, name));
            assert!(town.program_on(name).contains("weir_xdp"));
        }
        assert_forwards(&town, &mut daemon);
        assert!(!log(&daemon).contains("ERROR"), "{}", log(&daemon));
    }
}

#[test]
fn both_ports_may_be_gone_at_once() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for first in ["left", "right"] {
        assert_forwards(&town, &mut daemon);
        town.firewall.ip("link delete left").expect("deleted");
        town.firewall.ip("link delete right").expect("deleted");
        eventually("both are closed", || is_closed(&daemon, "left") && is_closed(&daemon, "right"));
        assert_conserved(&mut daemon);
        eventually("all frames are home", || {
            let frames = &status(&daemon)["frames"];
            frames["pool"] == frames["capacity"]
        });
        if first == "left" {
            town.connect_left();
            eventually("left is up", || is_up(&daemon, "left"));
            town.connect_right();
        } else {
            town.connect_right();
            eventually("right is up", || is_up(&daemon, "right"));
            town.connect_left();
        }
        eventually("both are up", || is_up(&daemon, "left") && is_up(&daemon, "right"));
    }
    assert_forwards(&town, &mut daemon);
}

#[test]
fn an_interface_replaced_in_one_breath_is_served_again() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for _ in 0..5 {
        let before = number(&port(&daemon, "right")["ifindex"]);
        town.firewall.ip("link delete right").expect("deleted");
        town.connect_right();
        eventually("the new one is served", || {
            let port = port(&daemon, "right");
            port["state"] == "up" && number(&port["ifindex"]) != before
        });
    }
    assert_forwards(&town, &mut daemon);
}

#[test]
fn an_interface_renamed_away_and_back() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    assert_forwards(&town, &mut daemon);
    town.firewall.ip("link set right down").expect("down");
    town.firewall.ip("link set right name other").expect("renamed");
    town.firewall.ip("link set other up").expect("up");
    eventually("the port is closed", || is_closed(&daemon, "right"));
    assert_conserved(&mut daemon);
    town.firewall.ip("link set other down").expect("down");
    town.firewall.ip("link set other name right").expect("renamed");
    town.firewall.ip("link set right up").expect("up");
    eventually("the port is up", || is_up(&daemon, "right"));
    assert_forwards(&town, &mut daemon);
}

#[test]
fn a_link_that_goes_down_and_comes_up() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("pass");
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let bob: std::net::SocketAddr = format!("{BOB}:5000").parse().expect("an address");
    for (namespace, device) in [(&town.firewall, "right"), (&town.bob, "eth0")] {
        assert_forwards(&town, &mut daemon);
        namespace.ip(&format!("link set {device} down")).expect("down");
        eventually("the status says so", || {
            port(&daemon, "right")["reason"].as_str().is_some_and(|reason| reason.contains("down"))
        });
        // More than every ring holds: none of it may be kept for ever.
        for _ in 0..5000 {
            let _ = alice.send_to(&[0; 64], bob);
        }
        assert!(is_up(&daemon, "left"));
        assert_conserved(&mut daemon);
        namespace.ip(&format!("link set {device} up")).expect("up");
        if device == "eth0" {
            town.bob.add_default_route("192.168.0.1").expect("a route");
        }
        eventually("the port is up", || is_up(&daemon, "right"));
    }
    assert_forwards(&town, &mut daemon);
    assert_eq!(dropped(&daemon, "no_frame"), 0, "frames are never short");
}

#[test]
fn a_port_moved_to_another_namespace_and_back() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    assert_forwards(&town, &mut daemon);
    let bob = town.bob.name();
    town.firewall.ip(&format!("link set right netns {bob}")).expect("moved");
    eventually("the port is closed", || is_closed(&daemon, "right"));
    assert_conserved(&mut daemon);
    town.bob.ip(&format!("link set right netns {}", town.firewall.name())).expect("moved back");
    town.firewall.ip("link set right up").expect("up");
    town.firewall.add_address("right", "192.168.0.1/24").expect("an address");
    eventually("the port is up", || is_up(&daemon, "right"));
    assert_forwards(&town, &mut daemon);
}
