//! Rules given by hand while packets flow: in force when the command returns, counted exactly,
//! never half there.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use weir_tests::weir::Daemon;
use weir_tests::{process, skip_unless};

use crate::link;
use crate::town::{
    ALICE, BOB, SOON, Town, assert_conserved, binaries, dropped, errors, number, run_weirctl,
};

/// The counters of the rules of FORWARD, in order: (packets, bytes).
fn counters(daemon: &Daemon) -> Vec<(u64, u64)> {
    let listed = daemon.iptables("-v -S FORWARD").expect("a listing");
    let rules = listed.lines().filter(|line| line.starts_with("-A"));
    rules
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let at = words.iter().position(|word| *word == "-c").expect("counters");
            (words[at + 1].parse().expect("packets"), words[at + 2].parse().expect("bytes"))
        })
        .collect()
}

/// The rules of FORWARD as `-S` lists them, policy first.
fn listed(daemon: &Daemon) -> Vec<String> {
    let text = daemon.iptables("-S FORWARD").expect("a listing");
    text.lines().map(str::to_owned).collect()
}

/// Two sockets with a path that has been used, so that nothing has to be resolved any more.
fn path(town: &Town) -> (UdpSocket, UdpSocket) {
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    assert_eq!(link::carry(&alice, &bob, 0..1, 100), link::once_each(0..1));
    (alice, bob)
}

/// Sends one datagram; whether it arrives. It has been judged when a second one, from a port that
/// every rule of these tests lets through, has arrived after it.
fn arrives(alice: &UdpSocket, fence: &UdpSocket, bob: &UdpSocket, number: u32) -> bool {
    let to = bob.local_addr().expect("an address");
    link::send(alice, to, number..number + 1, 100, Duration::ZERO);
    link::send(fence, to, number + 1_000_000..number + 1_000_001, 100, Duration::ZERO);
    let mut seen = BTreeMap::new();
    while !seen.contains_key(&(number + 1_000_000)) {
        let more = link::receive(bob, 1);
        assert!(!more.is_empty(), "the fence is lost");
        seen.extend(more);
    }
    seen.contains_key(&number)
}

#[test]
fn every_command_is_in_force_when_it_returns() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let (alice, bob) = path(&town);
    let fence = link::socket(&town.alice, &format!("{ALICE}:6000"));
    let through = "-A FORWARD -p udp -m udp --sport 6000 -j ACCEPT";
    daemon.iptables(through).expect("taken");

    // Each command, and whether the next packet of port 5000 passes.
    let steps = [
        ("-A FORWARD -p udp --dport 5000 -j DROP", false),
        ("-D FORWARD -p udp --dport 5000 -j DROP", true),
        ("-A FORWARD -p udp --sport 5000 -j DROP", false),
        ("-I FORWARD -s 10.0.0.0/24 -d 192.168.0.2 -i left -o right -j ACCEPT", true),
        ("-R FORWARD 1 -i right -j DROP", false),
        ("-D FORWARD 1", false),
        ("-D FORWARD 2", true),
        ("-P FORWARD DROP", false),
        ("-I FORWARD 2 ! -p tcp ! -s 10.0.0.3 -j ACCEPT", true),
        ("-R FORWARD 2 -p udp ! --sport 4000:4999 -j ACCEPT", true),
        ("-R FORWARD 2 -p udp ! --sport 5000 -j ACCEPT", false),
        ("-F FORWARD", false),
        (through, false),
        ("-P FORWARD ACCEPT", true),
        ("-A FORWARD -p tcp --syn -j DROP", true),
        ("-A FORWARD -p tcp --tcp-flags SYN,ACK SYN -j DROP", true),
        ("-I FORWARD 2 -i lef+ -j DROP", false),
        ("-C FORWARD -i lef+ -j DROP", false),
        ("-Z FORWARD", false),
        ("-F", true),
    ];
    for (number, (line, passes)) in (1..).zip(steps) {
        daemon.iptables(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let flushed_dropping = line == "-F FORWARD";
        if flushed_dropping {
            // No rule is left that lets the fence through.
            continue;
        }
        assert_eq!(arrives(&alice, &fence, &bob, number), passes, "after {line}");
    }
    assert_eq!(listed(&daemon), ["-P FORWARD ACCEPT"]);
    for refused in ["-C FORWARD -i lef+ -j DROP", "-D FORWARD 1", "-A FORWARD -m quota --quota 3"] {
        daemon.iptables(refused).expect_err(refused);
    }
    assert_conserved(&mut daemon);
}

#[test]
fn counters_are_exact() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let (alice, bob) = path(&town);
    for line in [
        "-A FORWARD -p tcp",
        "-A FORWARD -s 10.0.0.2",
        "-A FORWARD -p udp --dport 5000 -i left",
        "-A FORWARD -p udp --dport 5001 -j DROP",
        "-A FORWARD ! -p udp",
        "-A FORWARD -o right -j ACCEPT",
        "-A FORWARD -o right",
    ] {
        daemon.iptables(line).expect("taken");
    }
    let _ = link::carry(&alice, &bob, 0..70, 100);
    let other = link::socket(&town.bob, &format!("{BOB}:5001"));
    let to_other = other.local_addr().expect("an address");
    link::send(&alice, to_other, 0..30, 500, Duration::from_millis(1));
    // What follows the thirty has been counted after them.
    assert_eq!(link::carry(&alice, &bob, 70..75, 100).len(), 5);
    let (small, large) = (100 + 28, 500 + 28);
    let to_5000 = (75, 75 * small);
    let all = (105, 75 * small + 30 * large);
    let expected = [(0, 0), all, to_5000, (30, 30 * large), (0, 0), to_5000, (0, 0)];
    assert_eq!(counters(&daemon), expected);
    assert_eq!(dropped(&daemon, "rule"), 30);

    // A change beside them leaves them alone; -Z sets back one, then all.
    daemon.iptables("-I FORWARD 1 -p icmp -j DROP").expect("taken");
    assert_eq!(counters(&daemon)[1..], expected);
    daemon.iptables("-Z FORWARD 3").expect("taken");
    let mut rest = expected;
    rest[1] = (0, 0);
    assert_eq!(counters(&daemon)[1..], rest);
    daemon.iptables("-Z").expect("taken");
    assert_eq!(counters(&daemon), [(0, 0); 8]);
    daemon.iptables("-P FORWARD DROP").expect("taken");
    daemon.iptables("-F").expect("taken");
    link::send(&alice, bob.local_addr().expect("an address"), 0..7, 100, Duration::ZERO);
    crate::town::eventually("the policy counts", || dropped(&daemon, "policy") == 7);
    let policy = daemon.iptables("-L FORWARD -v -n -x").expect("a listing");
    assert!(policy.starts_with("Chain FORWARD (policy DROP 7 packets, 896 bytes)"), "{policy}");
    assert_conserved(&mut daemon);
}

#[test]
fn a_link_named_iptables_is_iptables() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let name = town.folder.path().join("iptables");
    symlink(&binaries().weirctl, &name).expect("a link");
    let iptables = |line: &str| {
        let mut command = Command::new(&name);
        command.env("WEIR_SOCKET", daemon.socket()).args(line.split(' '));
        process::output(command, SOON).expect("it runs")
    };
    let done = iptables("-A FORWARD -s 10.0.0.2 -j DROP");
    assert!(done.status.success(), "{}", errors(&done));
    assert_eq!(listed(&daemon), ["-P FORWARD ACCEPT", "-A FORWARD -s 10.0.0.2/32 -j DROP"]);
    assert!(!town.pings(BOB), "it is in force");
    for (line, status, word) in [
        ("-A INPUT -j DROP", 2, "INPUT"),
        ("-A FORWARD -j QUEUE", 2, "QUEUE"),
        ("-t nat -A FORWARD -j DROP", 3, "nat"),
        ("-A FORWARD -p tcp --dport 99999 -j DROP", 2, "99999"),
        ("-D FORWARD 7", 1, "Index"),
    ] {
        let refused = iptables(line);
        let said = errors(&refused);
        assert_eq!(refused.status.code(), Some(status), "{line}: {said}");
        assert!(said.contains(word), "{line}: {said}");
    }
    assert!(iptables("-F").status.success());
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}

/// Two sets that both let 5000 through and stop 5001, by different rules and policies; between any
/// two neighbouring commands that holds too.
const TURN: [&str; 10] = [
    "-I FORWARD 1 -p udp --dport 5000 -j ACCEPT",
    "-P FORWARD DROP",
    "-D FORWARD -p udp --dport 5001 -j DROP",
    "-A FORWARD -s 10.0.0.0/24 ! -p icmp ! -d 192.168.0.0/16 -j ACCEPT",
    "-R FORWARD 1 -s 10.0.0.2 -p udp --dport 5000:5000 -i left -j ACCEPT",
    "-I FORWARD 1 -p udp --dport 5001 -j DROP",
    "-P FORWARD ACCEPT",
    "-D FORWARD 3",
    "-D FORWARD 2",
    "-C FORWARD -p udp --dport 5001 -j DROP",
];

#[test]
fn a_thousand_changes_lose_nothing_and_leak_nothing() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let (alice, bob) = path(&town);
    let closed = link::socket(&town.bob, &format!("{BOB}:5001"));
    daemon.iptables("-A FORWARD -p udp --dport 5001 -j DROP").expect("taken");
    let stop = AtomicBool::new(false);
    let (sent, arrived) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut number = 1;
            while !stop.load(Ordering::Relaxed) {
                for to in [&bob, &closed] {
                    let to = to.local_addr().expect("an address");
                    link::send(&alice, to, number..number + 1, 100, Duration::from_micros(300));
                }
                number += 1;
            }
            number
        });
        let receiver = scope.spawn(|| link::drain_until(&bob, &stop));
        for _ in 0..100 {
            for line in TURN {
                daemon.iptables(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("the sender is done");
        let mut arrived = receiver.join().expect("the receiver is done");
        arrived.extend(link::drain(&bob));
        (sent, arrived)
    });
    assert!(sent > 1000, "there was traffic: {sent}");
    let missing: Vec<u32> = (1..sent).filter(|number| !arrived.contains_key(number)).collect();
    assert_eq!(missing, [] as [u32; 0], "lost, of {sent}");
    assert_eq!(link::drain(&closed), BTreeMap::new(), "leaked");
    assert_eq!(dropped(&daemon, "rule") + dropped(&daemon, "policy"), u64::from(sent - 1));
    assert_conserved(&mut daemon);
}

#[test]
fn clients_at_the_same_time_do_not_disturb_each_other() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let epoch = |daemon: &Daemon| number(&crate::town::status(daemon)["policy_epoch"]);
    let before = epoch(&daemon);
    thread::scope(|scope| {
        for client in 0..6 {
            let socket = daemon.socket();
            scope.spawn(move || {
                for rule in 0..20 {
                    let port = (1000 + client * 100 + rule).to_string();
                    let line = ["-A", "FORWARD", "-p", "udp", "--dport", &port, "-j", "DROP"];
                    let words = [&["iptables"], &line[..]].concat();
                    let done = run_weirctl(socket, &words);
                    assert!(done.status.success(), "{port}: {}", errors(&done));
                }
            });
        }
    });
    let mut rules = listed(&daemon);
    assert_eq!(rules.remove(0), "-P FORWARD ACCEPT");
    rules.sort();
    let expected = (0..6).flat_map(|client| (0..20).map(move |rule| 1000 + client * 100 + rule));
    let expected: Vec<String> =
        expected.map(|port| format!("-A FORWARD -p udp -m udp --dport {port} -j DROP")).collect();
    assert_eq!(rules, expected);
    assert_eq!(epoch(&daemon), before + 120, "each change is a policy of its own");
    assert_conserved(&mut daemon);
}
