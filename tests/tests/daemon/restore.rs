//! Saved rule sets and user-defined chains on the running daemon: whole or not at all, and undone
//! unless somebody confirms.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use weir_tests::weir::Daemon;
use weir_tests::{process, skip_unless};

use crate::town::{
    BOB, SOON, Town, assert_conserved, binaries, errors, eventually, number, run_weirctl, status,
};

/// What is saved, without the comments around it.
fn saved(daemon: &Daemon) -> String {
    let text = daemon.ctl("iptables-save -c").expect("saved");
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

/// Restores a text from a file of the town's.
fn restore(daemon: &Daemon, town: &Town, options: &[&str], text: &str) -> Output {
    let file = town.folder.path().join("rules");
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    run_weirctl(daemon.socket(), &[&["iptables-restore"], options, &[file.as_str()]].concat())
}

#[test]
fn chains_lead_packets_and_count_them() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for line in [
        "-N ping",
        "-N other",
        "-A FORWARD -p icmp -g ping",
        "-A FORWARD -j DROP",
        "-A ping -j other",
        "-A ping -s 10.0.0.2 -j RETURN",
        "-A ping -j DROP",
        "-A other -p tcp -j DROP",
    ] {
        daemon.iptables(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    // Away by -g, so that RETURN leads to the policy and not to the DROP after it; but Bob's answer
    // ends in the chain.
    daemon.iptables("-Z").expect("taken");
    assert!(!town.pings(BOB));
    let listed = saved(&daemon);
    for (rule, packets) in [
        ("-A FORWARD -p icmp -g ping", 2),
        ("-A FORWARD -j DROP", 0),
        ("-A ping -j other", 2),
        ("-A ping -s 10.0.0.2/32 -j RETURN", 1),
        ("-A ping -j DROP", 1),
        ("-A other -p tcp -j DROP", 0),
    ] {
        let line = format!("[{packets}:{}] {rule}\n", packets * 84);
        assert!(listed.contains(&line), "{line}{listed}");
    }
    daemon.iptables("-R ping 3 -j ACCEPT").expect("taken");
    assert!(town.pings(BOB));
    for (line, word) in [
        ("-X ping", "Too many links."),
        ("-A other -j ping", "Too many levels of symbolic links."),
        ("-A FORWARD -j nowhere", "Couldn't load target `nowhere'"),
        ("-A nowhere -j DROP", "No chain/target/match by that name."),
        ("-N ping", "Chain already exists."),
    ] {
        let error = daemon.iptables(line).expect_err(line).to_string();
        assert!(error.contains(word), "{line}: {error}");
    }
    assert_conserved(&mut daemon);
}

#[test]
fn a_saved_rule_set_comes_back_to_the_letter() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let text = "*filter\n:FORWARD DROP [3:180]\n:pings - [0:0]\n[1:84] -A FORWARD -p icmp -j pings\n\
                [0:0] -A FORWARD -p tcp -m tcp --dport 80 -j ACCEPT\n[2:168] -A pings -j ACCEPT\nCOMMIT\n";
    let done = restore(&daemon, &town, &["--counters"], text);
    assert!(done.status.success(), "{}", errors(&done));
    assert_eq!(saved(&daemon), text);
    assert!(town.pings(BOB));
    let before = saved(&daemon);
    for (bad, said) in [
        ("*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD --nope\nCOMMIT\n", "line: 3"),
        ("*filter\n:FORWARD ACCEPT [0:0]\n-D FORWARD 3\nCOMMIT\n", "line 3 failed"),
        ("*filter\n:FORWARD ACCEPT [0:0]\n", "COMMIT expected"),
        ("*nat\nCOMMIT\n", "--filter-only"),
        ("*filter\n:INPUT DROP [0:0]\nCOMMIT\n", "--forward-only"),
    ] {
        let refused = restore(&daemon, &town, &[], bad);
        assert!(!refused.status.success(), "{bad}");
        assert!(errors(&refused).contains(said), "{bad}{}", errors(&refused));
        assert_eq!(saved(&daemon), before, "{bad}");
    }
    let done = restore(&daemon, &town, &["--test"], "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n");
    assert!(done.status.success(), "{}", errors(&done));
    assert_eq!(saved(&daemon), before);
    assert_conserved(&mut daemon);
}

#[test]
fn ten_thousand_rules_are_restored_at_once() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let mut text = String::from("*filter\n:FORWARD ACCEPT [0:0]\n");
    for rule in 0..10_000_u32 {
        let (high, low) = (rule / 250, rule % 250);
        let _ = writeln!(
            text,
            "-A FORWARD -s 172.16.{high}.{low}/32 -p tcp -m tcp --dport {rule} -j DROP"
        );
    }
    text.push_str("COMMIT\n");
    let before = number(&status(&daemon)["policy_epoch"]);
    let done = restore(&daemon, &town, &[], &text);
    assert!(done.status.success(), "{}", errors(&done));
    let now = status(&daemon);
    assert_eq!(number(&now["rules"]), 10_000);
    assert_eq!(number(&now["policy_epoch"]), before + 1, "all of them in one change");
    assert!(town.pings(BOB));
    daemon.iptables("-A FORWARD -p icmp -j DROP").expect("one more");
    assert!(!town.pings(BOB));
    assert_conserved(&mut daemon);
}

#[test]
fn a_change_that_nobody_confirms_is_undone() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    daemon.iptables("-A FORWARD -p icmp -c 7 588 -j ACCEPT").expect("taken");
    let before = saved(&daemon);
    let change = |words: &[&str]| {
        let done = run_weirctl(daemon.socket(), words);
        assert!(done.status.success(), "{words:?}: {}", errors(&done));
    };
    let refused = |words: &[&str], what: &str| {
        let done = run_weirctl(daemon.socket(), words);
        assert!(
            !done.status.success() && errors(&done).contains(what),
            "{words:?}: {}",
            errors(&done)
        );
    };
    refused(&["confirm"], "no change waits");
    refused(&["--confirm", "0", "iptables", "-F"], "0 is not in 1..=3600");

    // Confirmed: it stays, and the next change is a change like any other.
    change(&["--confirm", "3600", "iptables", "-I", "FORWARD", "-p", "tcp", "-j", "DROP"]);
    let warnings = status(&daemon)["warnings"].to_string();
    assert!(warnings.contains("weirctl confirm"), "{warnings}");
    refused(&["iptables", "-F"], "waits to be confirmed");
    change(&["iptables", "-L"]);
    change(&["iptables", "-C", "FORWARD", "-p", "tcp", "-j", "DROP"]);
    refused(&["iptables", "-C", "FORWARD", "-p", "udp", "-j", "DROP"], "Bad rule");
    change(&["confirm"]);
    change(&["iptables", "-D", "FORWARD", "1"]);
    // To look is no change.
    change(&["--confirm", "3600", "iptables", "-C", "FORWARD", "-p", "icmp", "-j", "ACCEPT"]);
    refused(&["confirm"], "no change waits");
    assert_eq!(saved(&daemon), before);

    // Not confirmed: it is undone, and the rule counts on from where it was.
    let file = town.folder.path().join("closed");
    std::fs::write(&file, "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n").expect("written");
    let file = file.display().to_string();
    change(&["iptables-restore", "--confirm", "1", &file]);
    assert_ne!(saved(&daemon), before);
    eventually("it is undone", || saved(&daemon) == before);
    change(&["--confirm", "1", "iptables", "-Z"]);
    assert!(saved(&daemon).contains("[0:0] -A FORWARD -p icmp -j ACCEPT\n"));
    eventually("counters, too", || saved(&daemon) == before);
    assert!(town.pings(BOB));
    assert!(
        saved(&daemon).contains("[9:756] -A FORWARD -p icmp -j ACCEPT\n"),
        "{}",
        saved(&daemon)
    );
    change(&["iptables", "-F"]);
    assert_conserved(&mut daemon);
}

#[test]
fn links_of_the_usual_names_save_and_restore() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let run = |name: &str, arguments: &[&str]| {
        let link = town.folder.path().join(name);
        if !Path::new(&link).exists() {
            symlink(&binaries().weirctl, &link).expect("a link");
        }
        let mut command = Command::new(&link);
        command.env("WEIR_SOCKET", daemon.socket()).args(arguments);
        process::output(command, SOON).expect("it ends")
    };
    assert!(run("iptables", &["-A", "FORWARD", "-p", "icmp", "-j", "DROP"]).status.success());
    let text = run("iptables-save", &[]);
    assert!(text.status.success(), "{}", errors(&text));
    let file = town.folder.path().join("rules");
    std::fs::write(&file, &text.stdout).expect("written");
    assert!(run("iptables", &["-F"]).status.success());
    assert!(town.pings(BOB));
    let restored = run("iptables-restore", &[&file.display().to_string()]);
    assert!(restored.status.success(), "{}", errors(&restored));
    assert!(!town.pings(BOB));
    // Where IPv6 is not forwarded its rules can be looked at, and not be changed.
    let listed = run("ip6tables", &["-S"]);
    assert_eq!(
        String::from_utf8_lossy(&listed.stdout),
        "-P FORWARD ACCEPT\n",
        "{}",
        errors(&listed)
    );
    let text = run("ip6tables-save", &[]);
    assert!(text.status.success(), "{}", errors(&text));
    std::fs::write(&file, &text.stdout).expect("written");
    let restore: &[&str] = &[&file.display().to_string()];
    for (name, arguments) in [("ip6tables", &["-F"][..]), ("ip6tables-restore", restore)] {
        let refused = run(name, arguments);
        assert_eq!(refused.status.code(), Some(2), "{}", errors(&refused));
        let reason = "IPv6 is not forwarded here";
        assert!(errors(&refused).contains(reason), "{}", errors(&refused));
    }
    assert_conserved(&mut daemon);
}
