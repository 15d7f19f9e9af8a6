//! Two workers over two queues: flows that arrive at one and live on the other.

use serde_json::Value;
use weir_tests::skip_unless;

use crate::town::{
    ALICE, BOB, Town, assert_conserved, config, dropped, errors, eventually, number, pings, port,
    run_weir,
};
use crate::{link, transfer};

const TWO: &str = "[workers]\ncount = 2\n";

fn by_worker(stats: &Value, key: &str) -> Vec<u64> {
    let workers = stats["workers"].as_array().expect("workers");
    workers.iter().map(|worker| number(&worker["totals"][key])).collect()
}

#[test]
fn many_flows_arrive_whole_and_both_workers_work() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::with_queues(2);
    let mut daemon = town.start_with(&config("drop", TWO));
    assert!(town.pings(BOB) && pings(&town.bob, ALICE));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    for flow in 0..60 {
        let alice = link::socket(&town.alice, &format!("{ALICE}:0"));
        let numbers = flow * 20..(flow + 1) * 20;
        let arrived = link::carry(&alice, &bob, numbers.clone(), 100);
        assert_eq!(arrived, link::once_each(numbers), "flow {flow}");
        // A socket in order is a flow in order: nothing overtakes.
        assert_eq!(link::carry(&bob, &alice, 0..5, 50), link::once_each(0..5), "back {flow}");
    }
    for _ in 0..4 {
        transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 20);
    }
    assert_conserved(&mut daemon);
    let stats = daemon.stats().expect("stats");
    for key in ["transmitted", "handed_in", "handed_out"] {
        let each = by_worker(&stats, key);
        assert!(each.len() == 2 && each.iter().all(|&packets| packets > 50), "{key}: {each:?}");
    }
    let queues = port(&daemon, "left")["queues"].clone();
    assert_eq!(queues, 2);
}

#[test]
fn a_port_that_vanishes_from_two_workers_comes_back_to_both() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::with_queues(2);
    let mut daemon = town.start_with(&config("drop", TWO));
    for _ in 0..2 {
        transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 19);
        town.firewall.ip("link delete left").expect("deleted");
        eventually("closed", || port(&daemon, "left")["state"] == "closed");
        assert_conserved(&mut daemon);
        town.connect_left();
        eventually("forwarding again", || town.pings(BOB));
    }
    transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 19);
    assert_conserved(&mut daemon);
}

#[test]
fn rules_are_in_force_on_both_workers() {
    skip_unless!(root, command "ip");
    let town = Town::with_queues(2);
    let mut daemon = town.start_with(&config("drop", TWO));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    let to_bob = bob.local_addr().expect("an address");
    let flows: Vec<_> = (0..20).map(|_| link::socket(&town.alice, &format!("{ALICE}:0"))).collect();
    assert_eq!(link::carry(&flows[0], &bob, 0..1, 100).len(), 1);
    for round in 0..20 {
        daemon.iptables("-A FORWARD -p udp --dport 5000 -j DROP").expect("taken");
        for flow in &flows {
            link::send(flow, to_bob, 7..8, 100, std::time::Duration::ZERO);
        }
        // All are judged before the rule goes; one that leaks would never be counted.
        eventually("all are dropped", || dropped(&daemon, "rule") == 20 * (round + 1));
        assert!(link::drain(&bob).is_empty(), "round {round}");
        daemon.iptables("-F").expect("taken");
        for flow in &flows {
            assert_eq!(link::carry(flow, &bob, 9..10, 100), link::once_each(9..10));
        }
    }
    assert_conserved(&mut daemon);
}

/// With more queues than workers, a worker has several; all of them have to be served.
#[test]
fn one_worker_serves_many_queues() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::with_queues(8);
    let mut daemon = town.start("drop");
    assert_eq!(port(&daemon, "left")["queues"], 8);
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    for flow in 0..60 {
        let alice = link::socket(&town.alice, &format!("{ALICE}:0"));
        let arrived = link::carry(&alice, &bob, 0..5, 100);
        assert_eq!(arrived, link::once_each(0..5), "flow {flow}");
    }
    transfer::both_ways(&town.alice, &town.bob, BOB, 1 << 20);
    assert_conserved(&mut daemon);
}

#[test]
fn more_workers_than_queues_are_refused_with_the_remedy() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let file = town.folder.path().join("two.toml");
    let socket = town.folder.path().join("s");
    let control = format!("[control]\nsocket = \"{}\"\n", socket.display());
    std::fs::write(&file, config("drop", &format!("{TWO}{control}"))).expect("a file");
    for command in ["run", "check"] {
        let ended = run_weir(&town, &[command, "--config", &file.to_string_lossy()]);
        let said = errors(&ended) + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        for words in ["left has 1 queue(s)", "2 workers", "workers.count = 1", "ethtool -L left"] {
            assert!(said.contains(words), "{command}: {words}: {said}");
        }
    }
    assert_eq!(town.program_on("left"), "");
}
