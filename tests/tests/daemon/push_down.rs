//! Limits that are done in the XDP program: a flood from one source, or net, before a rule of `-m fuzzy`, with the
//! program and without, of either family. What passes, what is counted where, who is left alone, and what a change of
//! rules takes back.
//!
//! The flood is ten times the limit, paced in bursts of a hundredth of a second. On a machine that cannot send so fast
//! it is less, and all the same as long as it is twice the limit; below that the test waits in vain for it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::netns::Namespace;
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::link;
use crate::six::{ALICE6, BOB6, town6};
use crate::town::{ALICE, BOB, Town, assert_conserved, config, eventually, number};

const LIMIT: &str =
    "-p udp --dport 5000 -m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip -j DROP";

/// Packets of the flood in a hundredth of a second.
const BURST: u32 = 100;

/// Who floods whom, of which family.
#[derive(Clone, Copy)]
struct Street {
    iptables: &'static str,
    alice: &'static str,
    /// Alice's second address, from which the flood comes.
    mallory: &'static str,
    bob: &'static str,
    /// What is said to the limit beside the mode.
    mask: &'static str,
    /// What is pushed.
    source: &'static str,
}

const FOUR: Street = Street {
    iptables: "iptables",
    alice: ALICE,
    mallory: "10.0.0.66",
    bob: BOB,
    mask: "",
    source: "10.0.0.66/32",
};

const SIX: Street = Street {
    iptables: "ip6tables",
    alice: ALICE6,
    mallory: "2001:db8:1::f00:66",
    bob: BOB6,
    mask: "",
    source: "2001:db8:1::f00:66/128",
};

/// A net of sources that Alice is not in.
const SIX_NET: Street =
    Street { mask: "--fuzzy-srcmask 112 ", source: "2001:db8:1::f00:0/112", ..SIX };

impl Street {
    fn rule(&self, daemon: &Daemon, words: &str) {
        daemon.ctl(&format!("{} {words}", self.iptables)).expect("taken");
    }

    fn limit(&self) -> String {
        LIMIT.replace("-j", &format!("{}-j", self.mask))
    }

    fn socket(&self, at: &Namespace, address: &str, port: u16) -> UdpSocket {
        let address: IpAddr = address.parse().expect("an address");
        link::socket(at, &SocketAddr::from((address, port)).to_string())
    }
}

/// The counters of the rules of FORWARD, and of its policy behind them: packets.
fn counted(daemon: &Daemon, street: Street) -> Vec<u64> {
    let listed = daemon.ctl(&format!("{} -v -S FORWARD", street.iptables)).expect("a listing");
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
fn under_flood(
    town: &Town,
    street: Street,
    to: SocketAddr,
    during: impl FnOnce(&AtomicU64),
) -> u64 {
    let mallory = street.socket(&town.alice, street.mallory, 5000);
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
fn begin(street: Street, limiter: bool) -> (Town, Daemon, UdpSocket) {
    let town = town6();
    let words = match street.mallory.parse().expect("an address") {
        IpAddr::V4(address) => format!("address add {address}/24 dev eth0"),
        IpAddr::V6(address) => format!("address add {address}/64 dev eth0 nodad"),
    };
    town.alice.ip(&words).expect("an address");
    let rest = format!("[early_drop]\nlimiter = {limiter}\n");
    let daemon = town.start_with(&format!("ipv6 = \"forward\"\n{}", config("drop", &rest)));
    let bob = street.socket(&town.bob, street.bob, 5000);
    let path = street.socket(&town.alice, street.alice, 5000);
    assert_eq!(link::carry(&path, &bob, 0..1, 100), link::once_each(0..1));
    street.rule(&daemon, &format!("-A FORWARD {}", street.limit()));
    (town, daemon, bob)
}

/// What the counters of Weir, and those of the kernel before it, say to the flood: dropped by the rule, passed, lost.
fn balance(daemon: &Daemon, street: Street) -> u64 {
    let rules = counted(daemon, street);
    let stats = daemon.stats().expect("stats");
    let ports = stats["ports"].as_array().expect("ports");
    let lost = |port: &Value| -> u64 {
        let lost = ["rx_dropped", "rx_ring_full", "rx_fill_ring_empty_descs"];
        lost.iter().filter_map(|key| port["kernel"][key].as_u64()).sum()
    };
    rules.iter().sum::<u64>() + ports.iter().map(lost).sum::<u64>()
}

/// A flood, and a reader beside it: what passes of either, what is counted.
fn play(street: Street, limiter: bool) {
    let (town, mut daemon, bob) = begin(street, limiter);
    let to = bob.local_addr().expect("an address");
    let before = balance(&daemon, street);
    let reader = street.socket(&town.alice, street.alice, 6000);
    let sent = under_flood(&town, street, to, |sent| {
        eventually("the flood is held back", || {
            let held_back = counted(&daemon, street)[0] > 2 * u64::from(BURST);
            held_back && pushed(&daemon).is_empty() != limiter
        });
        // A second of it, as the counters see it.
        let (rules, sent_before) = (counted(&daemon, street), sent.load(Ordering::Relaxed));
        link::send(&reader, to, 1_000_000..1_000_040, 18, Duration::from_millis(25));
        let (rules_after, sent_after) = (counted(&daemon, street), sent.load(Ordering::Relaxed));
        let passed = rules_after[1] - rules[1] - 40;
        let all = sent_after - sent_before;
        // Ten a second, of a flood of twice the limit at least.
        assert!(passed <= all / 200 + 2, "{passed} of {all} pass");
        if limiter {
            let entries = pushed(&daemon);
            assert_eq!(entries.len(), 1, "it swings");
            assert_eq!(entries[0]["source"], street.source);
            assert!(number(&entries[0]["packets"]) > 0, "{entries:?}");
            assert_eq!(told(&daemon)["sources"], 1);
        } else {
            assert!(told(&daemon)["why_not"].to_string().contains("limiter = false"));
        }
    });
    let arrived = link::drain(&bob);
    let of_reader = (1_000_000..1_000_040).filter(|number| arrived.contains_key(number)).count();
    assert_eq!(of_reader, 40, "the reader is left alone");
    eventually("all are counted", || balance(&daemon, street) - before == sent + 40);
    let early = number(&daemon.stats().expect("stats")["early_drop"]["packets"]);
    assert_eq!(early > 0, limiter);
    assert!(counted(&daemon, street)[0] >= early, "the rule counts what the program drops for it");
    eventually("the source is taken back", || pushed(&daemon).is_empty());
    assert_conserved(&mut daemon);
}

#[test]
fn a_flood_is_dropped_by_the_program_as_the_rule_would_have() {
    skip_unless!(root, command "ip");
    play(FOUR, true);
}

#[test]
fn so_is_one_of_ipv6() {
    skip_unless!(root, command "ip");
    play(SIX, true);
}

#[test]
fn so_is_one_of_a_net_of_ipv6() {
    skip_unless!(root, command "ip");
    play(SIX_NET, true);
}

#[test]
fn without_the_program_the_rule_does_it_alone() {
    skip_unless!(root, command "ip");
    play(FOUR, false);
}

#[test]
fn rules_beyond_as_many_as_the_program_has_conditions_for_are_told_and_wait_for_one() {
    skip_unless!(root, command "ip");
    let (_town, mut daemon, _bob) = begin(FOUR, true);
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
fn a_change_of_rules_takes_back_what_was_pushed_before_it_is_in_force() {
    skip_unless!(root, command "ip");
    change(FOUR);
}

#[test]
fn so_it_does_of_ipv6() {
    skip_unless!(root, command "ip");
    change(SIX);
}

/// Changes of rules, and of the allowlist, under flood.
fn change(street: Street) {
    let (town, mut daemon, bob) = begin(street, true);
    let to = bob.local_addr().expect("an address");
    let probe = street.socket(&town.alice, street.mallory, 6000);
    under_flood(&town, street, to, |_| {
        let accept = format!("-I FORWARD -s {} -j ACCEPT", street.mallory);
        for change in [&accept, "-I FORWARD -m state --state NEW,ESTABLISHED"] {
            eventually(&format!("the source is pushed, before {change}"), || {
                !pushed(&daemon).is_empty()
            });
            street.rule(&daemon, change);
            assert_eq!(pushed(&daemon), Vec::<Value>::new(), "after {change}");
            if change.contains("ACCEPT") {
                // All of them pass from now on.
                let before = counted(&daemon, street)[1];
                link::send(&probe, to, 2_000_000..2_000_100, 18, Duration::from_millis(1));
                let after = counted(&daemon, street)[1];
                assert_eq!(after, before, "the limit sees nothing of him");
            } else {
                // The control thread finds out in its next turn.
                eventually("it is told why none is pushed", || {
                    told(&daemon)["why_not"].to_string().contains("rule 1 comes before it")
                });
            }
            street.rule(&daemon, "-D FORWARD 1");
        }
        eventually("the source is pushed again", || !pushed(&daemon).is_empty());
        // Whom the operator allows nobody drops.
        daemon.ctl(&format!("allowlist add {}", street.mallory)).expect("taken");
        assert_eq!(pushed(&daemon), Vec::<Value>::new());
        let early = || number(&daemon.stats().expect("stats")["early_drop"]["packets"]);
        let (early_before, thrown) = (early(), counted(&daemon, street)[0]);
        eventually("the rule goes on", || {
            counted(&daemon, street)[0] > thrown + 10 * u64::from(BURST)
        });
        assert_eq!((early(), pushed(&daemon)), (early_before, Vec::new()), "alone");
    });
    let probes = link::drain(&bob);
    let arrived = (2_000_000..2_000_100).filter(|number| probes.contains_key(number)).count();
    assert_eq!(arrived, 100, "and every one arrives");
    assert_conserved(&mut daemon);
}
