//! Table raw on the running daemon: what it drops, what it leaves untracked, and both tables in one change.

use std::process::Output;

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::town::{
    BOB, Town, assert_conserved, dropped, errors, eventually, number, run_weirctl, status,
};

/// What is saved of both tables, without the comments around it.
fn saved(daemon: &Daemon) -> String {
    let text = daemon.ctl("iptables-save").expect("saved");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    // Without what the policies have counted.
    lines.map(|line| format!("{}\n", line.split(" [").next().unwrap_or_default())).collect()
}

fn restore(daemon: &Daemon, town: &Town, options: &[&str], text: &str) -> Output {
    let file = town.folder.path().join("rules");
    std::fs::write(&file, text).expect("written");
    let file = file.display().to_string();
    run_weirctl(daemon.socket(), &[&["iptables-restore"], options, &[file.as_str()]].concat())
}

const BOTH: &str = "*raw
:PREROUTING ACCEPT
:pings -
-A PREROUTING -p icmp -j pings
-A pings -d 10.0.1.2/32 -j CT --notrack
COMMIT
*filter
:FORWARD DROP
-A FORWARD -m state --state UNTRACKED -j ACCEPT
-A FORWARD -m state --state ESTABLISHED -j ACCEPT
COMMIT
";

#[test]
fn both_tables_are_one_change_that_is_undone_as_one() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    assert!(town.pings(BOB));
    let fresh = "*filter\n:FORWARD ACCEPT\nCOMMIT\n";
    assert_eq!(saved(&daemon), fresh, "as in the kernel, there is no table raw before it is used");
    let epoch = number(&status(&daemon)["policy_epoch"]);
    for bad in [
        BOTH.replace("-A FORWARD -m state --state EST", "-D FORWARD -m state --state EST"),
        BOTH.replace("UNTRACKED -j ACCEPT", "UNTRACKED -j NOTRACK"),
        BOTH.replace("-j CT --notrack", "-j CT --zone 1"),
        BOTH.replace("-A PREROUTING -p icmp", "-A PREROUTING -o right -p icmp"),
    ] {
        let done = restore(&daemon, &town, &[], &bad);
        assert!(!done.status.success(), "{bad}");
        assert_eq!(saved(&daemon), fresh, "{bad}");
    }
    assert!(restore(&daemon, &town, &["--test"], BOTH).status.success());
    assert_eq!((saved(&daemon).as_str(), number(&status(&daemon)["policy_epoch"])), (fresh, epoch));
    // Not confirmed.
    let done = restore(&daemon, &town, &["--confirm", "1"], BOTH);
    assert!(done.status.success(), "{}", errors(&done));
    assert_eq!(
        (saved(&daemon).as_str(), number(&status(&daemon)["policy_epoch"])),
        (BOTH, epoch + 1)
    );
    let busy = daemon.iptables("-t raw -F").expect_err("busy").to_string();
    assert!(busy.contains("waits to be confirmed"), "{busy}");
    eventually("it is undone", || !saved(&daemon).contains("pings"));
    assert!(saved(&daemon).ends_with(fresh), "{}", saved(&daemon));
    // Confirmed.
    assert!(restore(&daemon, &town, &["--confirm", "3600"], BOTH).status.success());
    assert!(run_weirctl(daemon.socket(), &["confirm"]).status.success());
    assert_eq!(saved(&daemon), BOTH);
    let again = saved(&daemon);
    assert!(restore(&daemon, &town, &[], &again).status.success());
    assert_eq!(saved(&daemon), BOTH);
    assert_eq!(
        daemon.iptables("-t raw -S pings").expect("listed"),
        "-N pings\n-A pings -d 10.0.1.2/32 -j CT --notrack\n"
    );
    // One table alone leaves the other as it is.
    let raw = "*raw\n:PREROUTING DROP\nCOMMIT\n";
    assert!(restore(&daemon, &town, &[], raw).status.success());
    let filter = BOTH.split_once("COMMIT\n").expect("two tables").1;
    assert_eq!(saved(&daemon), format!("{raw}{filter}"));
    assert_conserved(&mut daemon);
}

#[test]
fn what_is_not_tracked_has_no_flow_and_what_is_dropped_no_way() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let count = |daemon: &Daemon| daemon.ctl("conntrack count").expect("counted").trim().to_owned();
    daemon.iptables("-A FORWARD -m state --state INVALID -j DROP").expect("taken");
    assert!(town.pings(BOB));
    assert_eq!(count(&daemon), "1");
    daemon.ctl("conntrack flush").expect("flushed");
    daemon.iptables("-t raw -A PREROUTING -p icmp -j NOTRACK").expect("taken");
    assert!(town.pings(BOB), "not INVALID, but UNTRACKED");
    assert_eq!(count(&daemon), "0");
    let listed = daemon.iptables("-t raw -L PREROUTING -n -v -x").expect("listed");
    assert!(listed.contains("       2      168 CT  "), "{listed}");
    daemon.iptables("-t raw -R PREROUTING 1 -p icmp -j DROP").expect("taken");
    assert!(!town.pings(BOB));
    assert!(dropped(&daemon, "raw") >= 1);
    let error = daemon.iptables("-t raw -A OUTPUT -j NOTRACK").expect_err("refused").to_string();
    assert!(error.contains("host = \"firewalled\""), "{error}");
    daemon.iptables("-t raw -F").expect("taken");
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}
