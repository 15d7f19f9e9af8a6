//! Frames that no host sends: each is dropped for a reason or forwarded, none is lost track of.

use weir_tests::skip_unless;

use crate::probe::script;
use crate::town::{BOB, Town, assert_conserved, config, eventually, number, pings, port};
use crate::transfer;

const FRAMES: &str = "20000";

fn send_garbage(town: &Town, seed: u32, mac: &str) -> u64 {
    let seed = seed.to_string();
    let sent = script(&town.alice, "garbage.py", &["eth0", mac, &seed, FRAMES]);
    number(&sent["sent"])
}

#[test]
fn random_and_truncated_frames_are_accounted_for() {
    skip_unless!(root, command "ip", command "ping", command "/usr/bin/python3");
    let queues_and_workers = [(1, ""), (2, "[workers]\ncount = 2\n")];
    for (seed, (queues, workers)) in (1..).zip(queues_and_workers) {
        let town = Town::with_queues(queues);
        let mut daemon = town.start_with(&config("drop", workers));
        daemon.iptables("-A FORWARD -p tcp --syn -s 10.0.0.2 -j DROP").expect("taken");
        daemon.iptables("-A FORWARD -p udp --dport 1:30000").expect("taken");
        let mac = port(&daemon, "left")["mac"].as_str().expect("a MAC").to_owned();
        let before = daemon.stats().expect("stats");
        let sent = send_garbage(&town, seed, &mac);
        assert!(sent > 15_000, "{sent}");
        let count = |key: &str| {
            let stats = daemon.stats().expect("stats");
            number(&stats["ports"][0]["xdp"][key]) - number(&before["ports"][0]["xdp"][key])
        };
        // Every frame went up or to a worker; those that went to a worker were received, or the
        // kernel says why not.
        eventually("every frame is seen by the program", || {
            count("redirected") + count("passed") + count("dropped") >= sent
        });
        let stats = daemon.stats().expect("stats");
        let kernel = &stats["ports"][0]["kernel"];
        let lost = number(&kernel["rx_ring_full"])
            + number(&kernel["rx_dropped"])
            + number(&kernel["rx_fill_ring_empty_descs"]);
        assert_eq!(lost, 0, "{kernel}");
        eventually("every redirected frame is received", || {
            let stats = daemon.stats().expect("stats");
            stats["ports"][0]["received_packets"] == stats["ports"][0]["xdp"]["redirected"]
        });
        assert_conserved(&mut daemon);
        for reason in ["other_host", "ether_type", "ip_header", "ip_checksum", "martian"] {
            assert!(crate::town::dropped(&daemon, reason) > 0, "{reason} occurs");
        }
        assert!(town.pings(BOB) && pings(&town.bob, "10.0.0.2"));
        daemon.iptables("-F").expect("taken");
        transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 20);
        assert_conserved(&mut daemon);
    }
}
