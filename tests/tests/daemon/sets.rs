//! Sets that rules look into: changed by hand while packets flow, swapped, and after a restart.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_tests::weir::Daemon;
use weir_tests::{process, skip_unless};

use crate::link;
use crate::town::{
    ALICE, BOB, SOON, Town, assert_conserved, binaries, config, dropped, errors, eventually,
    run_weir, run_weirctl,
};

/// A link named `ipset` to the command.
fn ipset(town: &Town) -> PathBuf {
    let name = town.folder.path().join("ipset");
    if !name.exists() {
        symlink(&binaries().weirctl, &name).expect("a link");
    }
    name
}

/// Runs a line of ipset.
fn run(town: &Town, daemon: &Daemon, line: &str) -> Output {
    let mut command = Command::new(ipset(town));
    command.env("WEIR_SOCKET", daemon.socket()).args(line.split(' '));
    process::output(command, SOON).expect("it runs")
}

/// Runs one that must do what it says; what it printed.
#[track_caller]
fn done(town: &Town, daemon: &Daemon, line: &str) -> String {
    let output = run(town, daemon, line);
    assert!(output.status.success(), "{line}: {}", errors(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// Runs one that must fail with this status and these words.
#[track_caller]
fn refused(town: &Town, daemon: &Daemon, line: &str, status: i32, words: &str) {
    let output = run(town, daemon, line);
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(status), "{line}: {said}");
    assert!(said.contains(words), "{line}: {said}");
}

/// Carries out a text as one change.
fn restore(town: &Town, daemon: &Daemon, text: &str) -> Output {
    let file = town.folder.path().join("text");
    fs::write(&file, text).expect("written");
    run(town, daemon, &format!("restore -file {}", file.display()))
}

#[test]
fn every_command_is_in_force_when_it_returns() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for line in
        ["create a hash:ip", "create n hash:net", "create p hash:ip,port", "create l list:set"]
    {
        done(&town, &daemon, line);
    }
    daemon.iptables("-A FORWARD -m set --match-set a src -j DROP").expect("taken");
    daemon.iptables("-A FORWARD -m set --match-set n dst -j DROP").expect("taken");
    daemon.iptables("-A FORWARD -m set --match-set p src,dst -j DROP").expect("taken");
    daemon.iptables("-A FORWARD -m set --match-set l dst -j DROP").expect("taken");
    // Each command, and whether a ping is answered then.
    for (line, answered) in [
        ("create b hash:ip", true),
        ("add a 10.0.0.1-10.0.0.3", false),
        ("del a 10.0.0.2", true),
        ("add b 10.0.0.2", true),
        ("swap a b", false),
        ("flush a", true),
        ("add n 192.168.0.0/16", false),
        ("add n 192.168.0.0/30 nomatch", true),
        ("del n 192.168.0.0/30", false),
        ("flush", true),
        ("add p 10.0.0.2,icmp:echo-request", false),
        ("del p 10.0.0.2,icmp:8/0", true),
        ("add p 10.0.0.2,icmp:echo-reply", true),
        ("add n 10.0.0.0/8", false),
        ("flush n", true),
        ("add l b", true),
        ("add b 192.168.0.2", false),
        ("del l b", true),
        ("destroy b", true),
    ] {
        done(&town, &daemon, line);
        assert_eq!(town.pings(BOB), answered, "after {line}");
    }
    assert_conserved(&mut daemon);
}

#[test]
fn rules_ask_for_sets_of_their_own_family_and_for_lists_of_both() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let daemon = town.start("drop");
    for line in ["create six hash:ip family inet6", "create l list:set", "add l six"] {
        done(&town, &daemon, line);
    }
    done(&town, &daemon, "add six 2001:db8::1");
    daemon.iptables("-A FORWARD -m set --match-set l src").expect("taken");
    let words = ["iptables", "-A", "FORWARD", "-m", "set", "--match-set", "six", "src"];
    let refused = run_weirctl(daemon.socket(), &words);
    let said = errors(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let family = "The protocol family of set six is IPv6, which is not applicable.";
    assert!(said.contains(family), "{said}");
    let saved = done(&town, &daemon, "save");
    assert!(saved.contains("create six hash:ip family inet6 hashsize 1024"), "{saved}");
    assert!(saved.contains("\nadd six 2001:db8::1\n"), "{saved}");
}

#[test]
fn what_rules_look_into_stays_and_is_listed_as_ipset_lists_it() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    done(&town, &daemon, "create a hash:ip comment");
    done(&town, &daemon, "create b hash:net timeout 1000");
    done(&town, &daemon, "add a 10.0.0.9 comment nine");
    let rule = "-A FORWARD -p tcp -m set ! --match-set a src,dst --return-nomatch -j DROP";
    daemon.iptables(rule).expect("taken");
    let saved = daemon.ctl("iptables-save").expect("saved");
    assert!(saved.contains(&format!("\n{rule}\n")), "{saved}");
    let listed = done(&town, &daemon, "list a");
    let head = "Name: a\nType: hash:ip\nRevision: 6\nHeader: family inet hashsize 1024 maxelem 65536 comment\n";
    let tail = "\nReferences: 1\nNumber of entries: 1\nMembers:\n10.0.0.9 comment \"nine\"\n";
    assert!(listed.starts_with(head) && listed.ends_with(tail), "{listed}");
    assert_eq!(done(&town, &daemon, "list -n"), "a\nb\n");
    let in_use = "Set cannot be destroyed: it is in use by a kernel component\n  1 rules and 0 lists refer to a";
    refused(&town, &daemon, "destroy a", 1, in_use);
    refused(&town, &daemon, "destroy", 1, "it is in use by a kernel component");
    refused(
        &town,
        &daemon,
        "rename a c",
        1,
        "Set cannot be renamed: it is in use by another system",
    );
    refused(&town, &daemon, "swap a b", 1, "The sets cannot be swapped: their type does not match");
    refused(
        &town,
        &daemon,
        "add a 10.0.0.9",
        1,
        "Element cannot be added to the set: it's already added",
    );
    refused(&town, &daemon, "create v bitmap:port range 0-9", 1, "bitmap:port is not enforced");
    refused(&town, &daemon, "create v hash:ip counters", 2, "`counters' is not enforced");
    refused(&town, &daemon, "test a 10.0.0.8", 1, "10.0.0.8 is NOT in set a.");
    refused(&town, &daemon, "list c", 1, "The set with the given name does not exist");
    let unknown = run_weirctl(
        daemon.socket(),
        &["iptables", "-A", "FORWARD", "-m", "set", "--match-set", "nope", "src"],
    );
    assert_eq!(unknown.status.code(), Some(2));
    assert!(errors(&unknown).contains("Set nope doesn't exist."), "{}", errors(&unknown));

    // As JSON, a line for each set and each entry.
    let json = daemon.ctl("--json set list a").expect("a listing");
    let lines: Vec<Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((&lines[0]["name"], &lines[0]["spec"]["type"]), (&"a".into(), &"hash:ip".into()));
    assert_eq!((&lines[0]["references"], &lines[0]["entries"]), (&1.into(), &1.into()));
    let entry = serde_json::json!({ "set": "a", "entry": "10.0.0.9 comment \"nine\"" });
    assert_eq!(lines[1..], [entry]);

    // Rules that may come back keep their sets.
    let confirm = run_weirctl(daemon.socket(), &["--confirm", "60", "set", "flush"]);
    assert_eq!(confirm.status.code(), Some(2), "{}", errors(&confirm));
    daemon.ctl("--confirm 60 iptables -F").expect("taken");
    refused(&town, &daemon, "destroy a", 1, "it is in use");
    done(&town, &daemon, "add a 10.0.0.10");
    daemon.ctl("confirm").expect("confirmed");
    done(&town, &daemon, "destroy a");
    assert_eq!(
        done(&town, &daemon, "save"),
        "create b hash:net family inet hashsize 1024 maxelem 65536 timeout 1000\n"
    );
    assert_conserved(&mut daemon);
}

/// A set that has Bob's closed port, among `others` addresses of nobody.
fn closed(name: &str, others: u32) -> String {
    let mut text =
        format!("create {name} hash:ip,port -exist\nflush {name}\nadd {name} {BOB},udp:5001\n");
    for other in 0..others {
        let [_, high, middle, low] = other.to_be_bytes();
        let _ = writeln!(text, "add {name} 172.{high}.{middle}.{low},udp:5001");
    }
    text
}

#[test]
fn swaps_and_refills_under_traffic_lose_nothing_and_leak_nothing() {
    skip_unless!(root, command "ip");
    let town = Town::with_queues(2);
    let mut daemon = town.start_with(&config("drop", "[workers]\ncount = 2\n"));
    let (small, large) = (closed("block", 3), closed("other", 20_000));
    for text in [&small, &large] {
        let output = restore(&town, &daemon, text);
        assert!(output.status.success(), "{}", errors(&output));
    }
    daemon.iptables("-A FORWARD -m set --match-set block dst,dst -j DROP").expect("taken");
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let [open, shut] =
        ["5000", "5001"].map(|port| link::socket(&town.bob, &format!("{BOB}:{port}")));
    assert_eq!(link::carry(&alice, &open, 0..1, 100), link::once_each(0..1));
    let stop = AtomicBool::new(false);
    let (sent, arrived) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut number = 1;
            while !stop.load(Ordering::Relaxed) {
                for to in [&open, &shut] {
                    let to = to.local_addr().expect("an address");
                    link::send(&alice, to, number..number + 1, 100, Duration::from_micros(300));
                }
                number += 1;
            }
            number
        });
        let receiver = scope.spawn(|| link::drain_until(&open, &stop));
        for _ in 0..150 {
            done(&town, &daemon, "swap block other");
            // Emptied and filled again in one change.
            assert!(restore(&town, &daemon, &small).status.success());
        }
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("the sender is done");
        let mut arrived = receiver.join().expect("the receiver is done");
        arrived.extend(link::drain(&open));
        (sent, arrived)
    });
    assert!(sent > 300, "there was traffic: {sent}");
    let missing: Vec<u32> = (1..sent).filter(|number| !arrived.contains_key(number)).collect();
    assert_eq!(missing, [] as [u32; 0], "lost, of {sent}");
    assert_eq!(link::drain(&shut), BTreeMap::new(), "leaked");
    assert_eq!(dropped(&daemon, "rule"), u64::from(sent - 1));
    assert_conserved(&mut daemon);
}

#[test]
fn an_entry_is_gone_when_its_time_is_over() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    done(&town, &daemon, "create a hash:ip timeout 600");
    daemon.iptables("-A FORWARD -m set --match-set a src -j DROP").expect("taken");
    done(&town, &daemon, "add a 10.0.0.2");
    assert!(!town.pings(BOB));
    done(&town, &daemon, "-exist add a 10.0.0.2 timeout 1");
    eventually("it is gone", || town.pings(BOB));
    assert_eq!(done(&town, &daemon, "list a").lines().last(), Some("Members:"));
    assert_conserved(&mut daemon);
}

/// A configuration with a file of sets.
fn with_sets(path: &Path) -> String {
    format!("sets = {path:?}\n{}", config("drop", ""))
}

#[test]
fn after_a_start_there_are_the_sets_of_the_file_and_no_others() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let file = town.folder.path().join("sets.saved");
    let daemon = town.start("drop");
    done(&town, &daemon, "create a hash:ip timeout 900");
    done(&town, &daemon, "add a 10.0.0.2 timeout 800");
    done(&town, &daemon, "create l list:set");
    done(&town, &daemon, "add l a");
    done(&town, &daemon, &format!("save -file {}", file.display()));
    assert!(daemon.stop().expect("it stops").success());

    // Nothing is kept that nobody has saved.
    let daemon = town.start("drop");
    assert_eq!(done(&town, &daemon, "list"), "");
    assert!(daemon.stop().expect("it stops").success());

    let mut daemon = town.start_with(&with_sets(&file));
    daemon.iptables("-A FORWARD -m set --match-set l src -j DROP").expect("the set is there");
    assert!(!town.pings(BOB));
    let saved = done(&town, &daemon, "save a");
    assert!(saved.contains("\nadd a 10.0.0.2 timeout 7"), "{saved}");
    assert_conserved(&mut daemon);
    assert!(daemon.stop().expect("it stops").success());

    // A line that is wrong is told, and nothing begins without the sets that the rules need.
    fs::write(&file, "create a hash:ip\nadd a 10.0.0.2\nadd a 10.0.0.2\n").expect("written");
    let wrong = town.folder.path().join("wrong.toml");
    fs::write(&wrong, with_sets(&file)).expect("written");
    for command in ["check", "run"] {
        let output = run_weir(&town, &[command, "--config", &wrong.display().to_string()]);
        let said = errors(&output) + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "{command}: {said}");
        assert!(
            said.contains("Error in line 3") && said.contains("already added"),
            "{command}: {said}"
        );
    }
}
