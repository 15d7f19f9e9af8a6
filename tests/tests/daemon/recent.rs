//! Tables of `-m recent`: asked for and changed by hand while packets flow, kept through changes of rules.

use serde_json::Value;
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::town::{BOB, Town, assert_conserved, config, errors, run_weirctl};

/// What a table knows: address, time to live and number of packets of each entry.
#[track_caller]
fn known(daemon: &Daemon, name: &str) -> Vec<(String, u64, usize)> {
    let text = daemon.ctl(&format!("--json recent list {name}")).expect("a list");
    let tables: Value = serde_json::from_str(&text).expect("JSON");
    let entries = tables[0]["entries"].as_array().expect("entries").iter().map(|entry| {
        let ages = entry["ages_ms"].as_array().expect("ages");
        let address = entry["address"].as_str().expect("an address").to_owned();
        (address, entry["ttl"].as_u64().expect("a number"), ages.len())
    });
    entries.collect()
}

#[test]
fn what_is_noted_is_listed_and_changed_by_hand() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    assert_eq!(daemon.ctl("recent").expect("asked"), "no rule has `-m recent'\n");
    daemon.iptables("-A FORWARD -p icmp --icmp-type 8 -m recent --set --name ping").expect("taken");
    daemon.iptables("-A FORWARD -m recent --rcheck --name bad -j DROP").expect("taken");
    assert!(town.pings(BOB));
    let entry = ("10.0.0.2".to_owned(), 64, 1);
    assert_eq!(known(&daemon, "ping"), [entry]);
    // Each command, and whether a ping is answered then.
    for (command, answered) in [
        ("add bad 10.0.0.2", false),
        ("delete bad 10.0.0.2", true),
        ("add bad 10.0.0.3", true),
        ("add bad 192.168.0.2", false),
        ("flush bad", true),
    ] {
        daemon.ctl(&format!("recent {command}")).expect(command);
        assert_eq!(town.pings(BOB), answered, "after {command}");
    }
    daemon.ctl("recent add ping 10.0.0.2").expect("noted");
    daemon.ctl("recent add bad 2001:db8::1").expect("noted");
    assert_eq!(known(&daemon, "ping"), [("10.0.0.2".to_owned(), 64, 7)]);
    assert_eq!(known(&daemon, "bad"), [("2001:db8::1".to_owned(), 0, 1)]);
    let text = daemon.ctl("recent").expect("a list");
    for part in [
        "table bad: 1 of 100 addresses, the last 32 packets of each; masks 255.255.255.255, ffff:ffff",
        "table ping: 1 of 100 addresses",
        " 10.0.0.2   64        7   ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    for (command, words) in [
        ("delete bad 10.0.0.2", "weirctl: 10.0.0.2 is not in table bad\n"),
        ("flush nobody", "weirctl: no rule has `-m recent --name nobody'"),
        ("list nobody", "weirctl: no rule has `-m recent --name nobody'\n"),
    ] {
        let words_of: Vec<&str> = ["recent"].into_iter().chain(command.split(' ')).collect();
        let output = run_weirctl(daemon.socket(), &words_of);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(errors(&output).starts_with(words), "{command}: {}", errors(&output));
    }
    assert_conserved(&mut daemon);
}

#[test]
fn a_table_lives_as_long_as_a_rule_names_it() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let text = config("drop", "[recent]\naddresses_max = 3\n");
    let mut daemon = town.start_with(&text);
    let set = "-A FORWARD -s 10.0.0.0/8 -m recent --set --name seen --mask 255.255.255.0";
    daemon.iptables(set).expect("taken");
    assert!(town.pings(BOB));
    let entry = ("10.0.0.0".to_owned(), 64, 1);
    assert_eq!(known(&daemon, "seen"), std::slice::from_ref(&entry));
    // Rules come and go, also the one that made it, and one that wants to know more.
    daemon
        .iptables("-I FORWARD -m recent --rcheck --hitcount 50 --name seen -j DROP")
        .expect("taken");
    let deleted = set.replacen("-A", "-D", 1);
    daemon.iptables(&deleted).expect("deleted");
    assert_eq!(known(&daemon, "seen"), std::slice::from_ref(&entry));
    let saved = daemon.ctl("iptables-save").expect("saved");
    let file = town.folder.path().join("rules");
    std::fs::write(&file, &saved).expect("written");
    daemon.ctl(&format!("iptables-restore {}", file.display())).expect("restored");
    let rules = |saved: &str| -> Vec<String> {
        saved.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect()
    };
    assert_eq!(rules(&daemon.ctl("iptables-save").expect("saved")), rules(&saved));
    assert_eq!(known(&daemon, "seen"), std::slice::from_ref(&entry));
    // A change that fails, one that is only tried, and one that is undone.
    std::fs::write(&file, "*filter\n-A FORWARD -m recent --set --name other\nCOMMIT\n")
        .expect("written");
    daemon.ctl(&format!("iptables-restore --test {}", file.display())).expect("tried");
    assert_eq!(known(&daemon, "seen"), [entry]);
    let tables = daemon.ctl("recent").expect("a list");
    assert!(
        tables.contains("table seen: 1 of 3 addresses, the last 64 packets of each"),
        "{tables}"
    );
    assert!(!tables.contains("table other"), "{tables}");
    // The one that was noted longest ago gives way.
    for address in ["10.0.0.9", "10.0.0.8", "10.0.0.7"] {
        daemon.ctl(&format!("recent add seen {address}")).expect("noted");
    }
    let mut addresses: Vec<_> = known(&daemon, "seen").into_iter().map(|entry| entry.0).collect();
    addresses.sort();
    assert_eq!(addresses, ["10.0.0.7", "10.0.0.8", "10.0.0.9"]);
    daemon.iptables("-F FORWARD").expect("flushed");
    assert_eq!(daemon.ctl("recent").expect("asked"), "no rule has `-m recent'\n");
    daemon.iptables(set).expect("taken");
    assert_eq!(known(&daemon, "seen"), []);
    assert_conserved(&mut daemon);
}
