//! Limits that are done in the XDP program: a flood from one source before a rule of `-m fuzzy`, with the program and
//! without. What passes, what is counted where, who is left alone, and what a change of rules takes back.
//!
//! The flood is ten times the limit, paced in bursts of a hundredth of a second. On a machine that cannot send so fast
//! it is less, and all the same as long as it is twice the limit; below that the test waits in vain for it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::link;
use crate::town::{ALICE, BOB, Town, assert_conserved, config, eventually, number};

/// Alice's second address, from which the flood comes.
const MALLORY: &str = "10.0.0.66";

const LIMIT: &str =
    "-p udp --dport 5000 -m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip -j DROP";

/// Packets of the flood in a hundredth of a second.
const BURST: u32 = 100;

/// The counters of the rules of FORWARD, and of its policy behind them: packets.
fn counted(daemon: &Daemon) -> Vec<u64> {
    let listed = daemon.iptables("-v -S FORWARD").expect("a listing");
    let (policy, rules): (Vec<&str>, Vec<&str>) =
        listed.lines().partition(|line| line.starts_with("-P"));
    let packets = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let at = words.iter().position(|word| *word == "-c").expect("counters");
        words[at + 1].parse().expect("packets")
    };
    rules.into_iter().chain(policy).map(packets).collect()
}

/// The sources that the limiter has pushed into the blocklist.
fn pushed(daemon: &Daemon) -> Vec<Value> {
    let text = daemon.ctl("--json blocklist list").expect("listed");
    let listed: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    listed.into_iter().filter(|entry| entry["by"].to_string().contains("limiter")).collect()
}

/// What `weirctl limits` says about what is dropped early.
fn told(daemon: &Daemon) -> Value {
    let text = daemon.ctl("--json limits").expect("limits");
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    listed[0]["pushed"].clone()
}

/// Sends until it is stopped; how many so far.
fn flood(from: &UdpSocket, to: SocketAddr, sent: &AtomicU64, stop: &AtomicBool) {
    let start = Instant::now();
    let mut bursts = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        link::send(from, to, 0..BURST, 18, Duration::ZERO);
        sent.fetch_add(BURST.into(), Ordering::Relaxed);
        bursts += 1;
        let due = Duration::from_millis(10) * bursts;
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

/// What is done while the flood goes on.
fn under_flood(town: &Town, to: SocketAddr, during: impl FnOnce(&AtomicU64)) -> u64 {
    let mallory = link::socket(&town.alice, &format!("{MALLORY}:5000"));
    let (sent, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        // Also if `during` panics.
        let stop = StopAtEnd(&stop);
        scope.spawn(|| flood(&mallory, to, &sent, stop.0));
        during(&sent);
    });
    sent.into_inner()
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The town with Mallory in it, a daemon with or without the program's help, and the limit.
fn begin(limiter: bool) -> (Town, Daemon, UdpSocket) {
    let town = Town::new();
    town.alice.add_address("eth0", "10.0.0.66/24").expect("an address");
    let rest = format!("[early_drop]\nlimiter = {limiter}\n");
    let daemon = town.start_with(&config("drop", &rest));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    let path = link::socket(&town.alice, &format!("{ALICE}:5000"));
    assert_eq!(link::carry(&path, &bob, 0..1, 100), link::once_each(0..1));
    daemon.iptables(&format!("-A FORWARD {LIMIT}")).expect("taken");
    (town, daemon, bob)
}

/// What the counters of Weir, and those of the kernel before it, say to the flood: dropped by the rule, passed, lost.
fn balance(daemon: &Daemon) -> u64 {
    let rules = counted(daemon);
    let stats = daemon.stats().expect("stats");
    let ports = stats["ports"].as_array().expect("ports");
    let lost = |port: &Value| -> u64 {
        let lost = ["rx_dropped", "rx_ring_full", "rx_fill_ring_empty_descs"];
        lost.iter().filter_map(|key| port["kernel"][key].as_u64()).sum()
    };
    rules.iter().sum::<u64>() + ports.iter().map(lost).sum::<u64>()
}

/// A flood, and a reader beside it: what passes of either, what is counted.
fn play(limiter: bool) {
    let (town, mut daemon, bob) = begin(limiter);
    let to = bob.local_addr().expect("an address");
    let before = balance(&daemon);
    let reader = link::socket(&town.alice, &format!("{ALICE}:6000"));
    let sent = under_flood(&town, to, |sent| {
        eventually("the flood is held back", || {
            let held_back = counted(&daemon)[0] > 2 * u64::from(BURST);
            held_back && pushed(&daemon).is_empty() != limiter
        });
        // A second of it, as the counters see it.
        let (rules, sent_before) = (counted(&daemon), sent.load(Ordering::Relaxed));
        link::send(&reader, to, 1_000_000..1_000_040, 18, Duration::from_millis(25));
        let (rules_after, sent_after) = (counted(&daemon), sent.load(Ordering::Relaxed));
        let passed = rules_after[1] - rules[1] - 40;
        let all = sent_after - sent_before;
        // Ten a second, of a flood of twice the limit at least.
        assert!(passed <= all / 200 + 2, "{passed} of {all} pass");
        if limiter {
            let entries = pushed(&daemon);
            assert_eq!(entries.len(), 1, "it swings");
            assert_eq!(entries[0]["source"], "10.0.0.66/32");
            assert!(number(&entries[0]["packets"]) > 0, "{entries:?}");
            assert_eq!(told(&daemon)["sources"], 1);
        } else {
            assert!(told(&daemon)["why_not"].to_string().contains("limiter = false"));
        }
    });
    let arrived = link::drain(&bob);
    let of_reader = (1_000_000..1_000_040).filter(|number| arrived.contains_key(number)).count();
    assert_eq!(of_reader, 40, "the reader is left alone");
    eventually("all are counted", || balance(&daemon) - before == sent + 40);
    let early = number(&daemon.stats().expect("stats")["early_drop"]["packets"]);
    assert_eq!(early > 0, limiter);
    assert!(counted(&daemon)[0] >= early, "the rule counts what the program drops for it");
    eventually("the source is taken back", || pushed(&daemon).is_empty());
    assert_conserved(&mut daemon);
}

#[test]
fn a_flood_is_dropped_by_the_program_as_the_rule_would_have() {
    skip_unless!(root, command "ip");
    play(true);
}

#[test]
fn rules_beyond_as_many_as_the_program_has_conditions_for_are_told_and_wait_for_one() {
    skip_unless!(root, command "ip");
    let (_town, mut daemon, _bob) = begin(true);
    for port in 1..=16 {
        let rule = LIMIT.replace("5000", &port.to_string());
        daemon.iptables(&format!("-A FORWARD {rule}")).expect("taken");
    }
    let waiting = || {
        let text = daemon.ctl("--json limits").expect("limits");
        let listed: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        let why_not = listed.iter().map(|limit| limit["pushed"]["why_not"].clone());
        why_not.filter(|why_not| !why_not.is_null()).collect::<Vec<_>>()
    };
    let said = "16 rules have their sources dropped early, and that is the most";
    eventually("the last one waits", || waiting() == [Value::from(said)]);
    daemon.iptables("-D FORWARD 3").expect("taken");
    eventually("it has got one", || waiting().is_empty());
    assert_conserved(&mut daemon);
}

#[test]
fn without_the_program_the_rule_does_it_alone() {
    skip_unless!(root, command "ip");
    play(false);
}

#[test]
fn a_change_of_rules_takes_back_what_was_pushed_before_it_is_in_force() {
    skip_unless!(root, command "ip");
    let (town, mut daemon, bob) = begin(true);
    let to = bob.local_addr().expect("an address");
    let probe = link::socket(&town.alice, &format!("{MALLORY}:6000"));
    under_flood(&town, to, |_| {
        for change in
            ["-I FORWARD -s 10.0.0.66 -j ACCEPT", "-I FORWARD -m state --state NEW,ESTABLISHED"]
        {
            eventually(&format!("the source is pushed, before {change}"), || {
                !pushed(&daemon).is_empty()
            });
            daemon.iptables(change).expect("taken");
            assert_eq!(pushed(&daemon), Vec::<Value>::new(), "after {change}");
            if change.contains("ACCEPT") {
                // All of them pass from now on.
                let before = counted(&daemon)[1];
                link::send(&probe, to, 2_000_000..2_000_100, 18, Duration::from_millis(1));
                assert_eq!(counted(&daemon)[1], before, "the limit sees nothing of him");
            } else {
                // The control thread finds out in its next turn.
                eventually("it is told why none is pushed", || {
                    told(&daemon)["why_not"].to_string().contains("rule 1 comes before it")
                });
            }
            daemon.iptables("-D FORWARD 1").expect("taken");
        }
        eventually("the source is pushed again", || !pushed(&daemon).is_empty());
        // Whom the operator allows nobody drops.
        daemon.ctl("allowlist add 10.0.0.66").expect("taken");
        assert_eq!(pushed(&daemon), Vec::<Value>::new());
    });
    let probes = link::drain(&bob);
    let arrived = (2_000_000..2_000_100).filter(|number| probes.contains_key(number)).count();
    assert_eq!(arrived, 100, "and every one arrives");
    assert_conserved(&mut daemon);
}
