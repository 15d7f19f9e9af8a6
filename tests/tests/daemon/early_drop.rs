//! The blocklist and the allowlist, by command and by file: in force on every port when the command returns, whatever
//! becomes of ports and of the daemon; and what nobody is to cut himself off by.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use weir_tests::netns::Namespace;
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::link;
use crate::town::{
    ALICE, BOB, LEFT, Town, assert_conserved, config, errors, eventually, number, pings, port,
    run_weir, run_weirctl, status,
};

/// Alice's second address.
const MALLORY: &str = "10.0.0.66";

/// The town, with Mallory at Alice's.
fn town() -> Town {
    let town = Town::new();
    town.alice.add_address("eth0", "10.0.0.66/24").expect("an address");
    town
}

/// Whether one ping from one of a host's addresses is answered.
fn pings_from(host: &Namespace, from: &str, to: &str) -> bool {
    host.run(&format!("ping -n -c 1 -W 1 -I {from} {to}")).is_ok()
}

fn done(daemon: &Daemon, words: &str) {
    daemon.ctl(words).unwrap_or_else(|error| panic!("{words}: {error}"));
}

/// What a command that fails says.
fn refused(daemon: &Daemon, words: &str) -> String {
    let words: Vec<&str> = words.split(' ').collect();
    let output = run_weirctl(daemon.socket(), &words);
    assert_eq!(output.status.code(), Some(1), "{words:?}: {}", errors(&output));
    errors(&output)
}

/// The entry of the blocklist for a source.
fn entry(daemon: &Daemon, source: &str) -> Option<Value> {
    let listed: Value =
        serde_json::from_str(&daemon.ctl("--json blocklist list").expect("listed")).expect("JSON");
    listed.as_array().expect("a list").iter().find(|entry| entry["source"] == source).cloned()
}

/// Packets that were dropped early: of all entries ever, and by the programs of the ports that are open.
fn early(daemon: &Daemon) -> (u64, u64) {
    let stats = daemon.stats().expect("stats");
    let ports = stats["ports"].as_array().expect("ports");
    let by_port = ports.iter().filter(|port| !port["xdp"].is_null());
    let by_port = by_port.map(|port| number(&port["xdp"]["early_dropped"])).sum();
    (number(&stats["early_drop"]["packets"]), by_port)
}

#[test]
fn a_flood_of_a_blocked_source_is_dropped_and_counted_and_others_pass() {
    skip_unless!(root, command "ip", command "ping");
    let town = town();
    let mut daemon = town.start("drop");
    assert!(pings_from(&town.alice, MALLORY, BOB) && pings_from(&town.alice, ALICE, BOB));
    done(&daemon, "blocklist add 10.0.0.66 --timeout 3600 --comment flood");
    let mallory = link::socket(&town.alice, &format!("{MALLORY}:5000"));
    let bob: SocketAddr = format!("{BOB}:5000").parse().expect("an address");
    let received = number(&daemon.stats().expect("stats")["totals"]["received"]);
    link::send(&mallory, bob, 0..5_000, 18, Duration::ZERO);
    eventually("all are counted", || {
        entry(&daemon, "10.0.0.66/32").is_some_and(|entry| entry["packets"] == 5_000)
    });
    let counted = entry(&daemon, "10.0.0.66/32").expect("it is listed");
    assert_eq!(
        (&counted["bytes"], &counted["comment"]),
        (&Value::from(300_000), &Value::from("flood"))
    );
    assert_eq!(early(&daemon), (5_000, 5_000));
    let after = number(&daemon.stats().expect("stats")["totals"]["received"]);
    assert!(after < received + 500, "they never were received: {received} before, {after} after");
    assert!(pings_from(&town.alice, ALICE, BOB), "others pass");
    assert!(!pings_from(&town.alice, MALLORY, BOB) && !pings_from(&town.alice, MALLORY, LEFT));

    // What is allowed passes, also inside a prefix; and the other direction was never blocked.
    done(&daemon, "blocklist del 10.0.0.66");
    done(&daemon, "allowlist add 10.0.0.0/29");
    done(&daemon, "blocklist add 10.0.0.0/24");
    assert!(pings_from(&town.alice, ALICE, BOB) && !pings_from(&town.alice, MALLORY, BOB));
    done(&daemon, "allowlist add 10.0.0.66");
    assert!(pings_from(&town.alice, MALLORY, BOB));
    done(&daemon, "allowlist del 10.0.0.66");
    assert!(!pings_from(&town.alice, MALLORY, BOB));
    done(&daemon, "blocklist flush");
    assert!(pings_from(&town.alice, MALLORY, BOB));
    let (all, by_port) = early(&daemon);
    assert_eq!(all, by_port);
    assert_conserved(&mut daemon);
}

#[test]
fn entries_end_after_their_time() {
    skip_unless!(root, command "ip", command "ping");
    let town = town();
    let mut daemon = town.start("drop");
    done(&daemon, "blocklist add 10.0.0.66 --timeout 1");
    done(&daemon, "blocklist add 10.0.0.64/26 --timeout 3600");
    assert!(!pings_from(&town.alice, MALLORY, BOB));
    eventually("the first is taken out", || entry(&daemon, "10.0.0.66/32").is_none());
    assert!(!pings_from(&town.alice, MALLORY, BOB), "the prefix stays");
    done(&daemon, "blocklist add 10.0.0.64/26 --timeout 1");
    eventually("he passes again", || pings_from(&town.alice, MALLORY, BOB));
    eventually("the list is empty", || {
        daemon.ctl("blocklist list").expect("listed") == "the blocklist is empty\n"
    });
    assert_conserved(&mut daemon);
}

#[test]
fn nobody_cuts_himself_off_without_saying_so() {
    skip_unless!(root, command "ip", command "ping");
    let town = town();
    town.firewall.ip("route add 172.16.0.0/16 via 192.168.0.99").expect("a route");
    let mut daemon = town.start("drop");
    for (words, saying) in [
        (
            "blocklist add 10.0.0.1",
            "10.0.0.1/32 would be blocked, and 10.0.0.1 is an address of this machine",
        ),
        ("blocklist add 10.0.0.0/8", "first `weirctl allowlist add 10.0.0.1', or say --force"),
        ("blocklist add 192.168.0.99", "192.168.0.99 is a router that it sends by"),
        ("blocklist add ::/0", "is an address of this machine"),
        (
            "blocklist del 10.0.0.66",
            "10.0.0.66/32 is not in the blocklist: `weirctl blocklist list'",
        ),
        ("blocklist add 10.0.0.300", "`10.0.0.300': not an IP address"),
        ("blocklist add 10.0.0.0/33", "the prefix length is not a number from 0 to 32"),
    ] {
        let said = refused(&daemon, words);
        assert!(said.contains(saying), "{words}: {said}");
    }
    let comment = format!("blocklist add 10.0.0.66 --comment {}", "x".repeat(256));
    assert!(refused(&daemon, &comment).contains("at most 255 bytes"));
    assert!(pings_from(&town.alice, MALLORY, BOB), "nothing has changed");

    // The own addresses allowed, the network around them may be blocked; and then they stay allowed.
    done(&daemon, "allowlist add 10.0.0.1");
    done(&daemon, "blocklist add 10.0.0.0/24");
    assert!(!town.pings(BOB));
    for words in
        ["allowlist del 10.0.0.1", "allowlist flush", "allowlist add 10.0.0.1 --timeout 60"]
    {
        let said = refused(&daemon, words);
        assert!(
            said.contains("first take out of the blocklist what blocks it, or say --force"),
            "{words}: {said}"
        );
    }
    done(&daemon, "allowlist del 10.0.0.1 --force");
    let warned = |daemon: &Daemon| status(daemon)["warnings"].to_string();
    eventually("the operator is warned", || {
        warned(&daemon).contains("10.0.0.1 is blocked, and is an address of this machine")
    });
    done(&daemon, "blocklist flush");
    eventually("the warning is taken back", || !warned(&daemon).contains("is blocked"));
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}

/// A configuration with lists in files, and small ones.
fn with_lists(town: &Town, blocklist: &str, allowlist: &str) -> String {
    let file = |name: &str, text: &str| -> PathBuf {
        let path = town.folder.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    let (blocklist, allowlist) = (file("blocked", blocklist), file("allowed", allowlist));
    let rest = format!(
        "[early_drop]\nsources_max = 3\nprefixes_max = 2\nblocklist = {blocklist:?}\nallowlist = {allowlist:?}\n"
    );
    config("drop", &rest)
}

#[test]
fn files_are_loaded_at_the_start_or_nothing_begins() {
    skip_unless!(root, command "ip", command "ping");
    let town = town();
    let text =
        "# a flood\n\n10.0.0.0/24 --comment \"all of them\" # but\n203.0.113.9 --timeout 3600\n";
    let mut daemon = town.start_with(&with_lists(&town, text, "10.0.0.1\n10.0.0.2\n"));
    assert!(town.pings(BOB) && !pings_from(&town.alice, MALLORY, BOB));
    // What is saved can be loaded; time has passed.
    let saved = daemon.ctl("blocklist list --save").expect("saved");
    let lines: Vec<&str> = saved.lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "10.0.0.0/24 --comment \"all of them\""));
    assert!(lines[1].starts_with("203.0.113.9 --timeout 3"), "{saved}");
    for last in 1..=2 {
        done(&daemon, &format!("blocklist add 198.51.100.{last}"));
    }
    let said = refused(&daemon, "blocklist add 198.51.100.3");
    let full = "the blocklist is full: it has 3 addresses of IPv4; take some out, or raise sources_max in [early_drop]";
    assert!(said.contains(full), "{said}");
    assert_conserved(&mut daemon);
    assert!(daemon.stop().expect("it stops").success());

    for (blocked, saying) in [
        ("10.0.0.66\n10.0.0.x\n", "line 2: `10.0.0.x': not an IP address"),
        ("10.0.0.66 for ever\n", "line 1: `for': an entry is"),
        ("10.0.0.66 --timeout x\n", "line 1: timeout `x'"),
        ("10.0.0.66\n10.0.0.66/32\n", "line 2: `10.0.0.66/32' stands there already"),
        (
            "10.0.0.3\n10.0.0.4\n10.0.0.5\n10.0.0.6\n",
            "line 4: the blocklist is full: it has 3 addresses of IPv4",
        ),
    ] {
        let file = town.folder.path().join("wrong.toml");
        fs::write(&file, with_lists(&town, blocked, "10.0.0.1\n")).expect("written");
        for command in ["check", "run"] {
            let output = run_weir(&town, &[command, "--config", &file.display().to_string()]);
            let said = errors(&output) + &String::from_utf8_lossy(&output.stdout);
            assert!(!output.status.success(), "{command}: {said}");
            assert!(said.contains(saying) && said.contains("blocked: line"), "{command}: {said}");
        }
    }
    let file = town.folder.path().join("wrong.toml");
    fs::write(&file, with_lists(&town, "198.51.100.1\n10.0.0.0/24\n", "10.0.0.2\n"))
        .expect("written");
    let output = run_weir(&town, &["run", "--config", &file.display().to_string()]);
    let said = errors(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("line 2: 10.0.0.0/24 would be blocked, and 10.0.0.1"), "{said}");
    assert!(said.contains("put it into the allowlist"), "{said}");
}

#[test]
fn after_a_crash_entries_die_by_themselves_and_the_next_start_has_none() {
    skip_unless!(root, command "ip", command "ping");
    for on_exit in ["drop", "pass"] {
        let town = town();
        let daemon = town.start(on_exit);
        done(&daemon, "blocklist add 10.0.0.66 --timeout 10");
        done(&daemon, "blocklist add 10.0.0.2");
        assert!(!pings_from(&town.alice, MALLORY, LEFT) && !pings_from(&town.alice, ALICE, LEFT));
        daemon.kill().expect("a status");
        if on_exit == "drop" {
            assert!(
                !pings_from(&town.alice, ALICE, LEFT),
                "the program goes on dropping what is blocked"
            );
            eventually("his time is over", || pings_from(&town.alice, MALLORY, LEFT));
            assert!(!pings_from(&town.alice, ALICE, LEFT), "the other entry has no end");
        } else {
            assert_eq!(town.program_on("left"), "");
            assert!(pings_from(&town.alice, MALLORY, LEFT) && pings_from(&town.alice, ALICE, LEFT));
        }
        let mut daemon = town.start(on_exit);
        assert_eq!(daemon.ctl("blocklist list").expect("listed"), "the blocklist is empty\n");
        assert!(town.pings(BOB) && pings_from(&town.alice, MALLORY, LEFT));
        assert_eq!(early(&daemon), (0, 0));
        assert_conserved(&mut daemon);
    }
}

#[test]
fn a_port_that_comes_back_drops_what_the_others_drop() {
    skip_unless!(root, command "ip", command "ping");
    let town = town();
    let mut daemon = town.start("drop");
    done(&daemon, "blocklist add 10.0.0.66");
    assert!(!pings_from(&town.alice, MALLORY, BOB));
    let (before, _) = early(&daemon);
    assert!(before > 0);
    town.firewall.ip("link delete left").expect("deleted");
    eventually("the port is closed", || port(&daemon, "left")["state"] == "closed");
    assert_eq!(early(&daemon), (before, 0), "what the closed port has dropped is not forgotten");
    town.connect_left();
    town.alice.add_address("eth0", "10.0.0.66/24").expect("an address");
    eventually("the port is up", || port(&daemon, "left")["state"] == "up");
    eventually("Alice passes", || town.pings(BOB));
    assert!(!pings_from(&town.alice, MALLORY, BOB) && !pings_from(&town.alice, MALLORY, LEFT));
    assert!(pings(&town.bob, ALICE));
    // By the other port, too.
    done(&daemon, "blocklist add 192.168.0.2");
    assert!(!pings(&town.bob, ALICE) && !town.pings(BOB));
    assert_conserved(&mut daemon);
}
