//! Nothing passes Weir by unseen: programs that are taken off, queues that appear, starts that fail.

use weir_tests::skip_unless;

use crate::town::{BOB, Town, assert_conserved, errors, eventually, log, port, run_weir, status};

#[test]
fn a_program_taken_off_by_hand_is_put_back() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    town.firewall.ip("link set left xdp off").expect("the kernel lets root do it");
    assert_eq!(town.program_on("left"), "");
    eventually("the program is back", || town.program_on("left").contains("prog/xdp"));
    eventually("packets flow", || town.pings(BOB));
    assert!(log(&daemon).contains("somebody has removed"), "{}", log(&daemon));
    assert_eq!(port(&daemon, "left")["state"], "up");
    assert_conserved(&mut daemon);
}

#[test]
fn a_queue_that_appears_gets_a_socket() {
    skip_unless!(root, command "ip", command "ping", command "ethtool");
    let town = Town::with_queues(2);
    town.firewall.run("ethtool -L left rx 1 tx 1").expect("one queue");
    let mut daemon = town.start("pass");
    assert_eq!(port(&daemon, "left")["queues"], 1);
    town.firewall.run("ethtool -L left rx 2 tx 2").expect("two queues");
    eventually("both queues are served", || port(&daemon, "left")["queues"] == 2);
    eventually("packets flow", || town.pings(BOB));
    assert_conserved(&mut daemon);
}

/// An earlier Weir has left both ports closed; a start that fails on the second must not open the first.
#[test]
fn a_start_that_fails_does_not_open_what_was_closed() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    town.kernel_forwards(true);
    town.start("drop").kill().expect("killed");
    assert!(town.program_on("left").contains("prog/xdp"), "it stays, and drops");
    town.firewall.ip("link del right").expect("gone");
    let path = town.folder.path().join("again.toml");
    std::fs::write(&path, crate::town::config("drop", "")).expect("a configuration");
    let output = run_weir(&town, &["run", "--config", &path.to_string_lossy()]);
    assert!(!output.status.success());
    assert!(errors(&output).contains("right"), "{}", errors(&output));
    assert!(town.program_on("left").contains("prog/xdp"), "still closed");
}

#[test]
fn the_policy_of_the_configuration_holds_from_the_first_packet() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon =
        town.start_with(&format!("policy = \"drop\"\n{}", crate::town::config("pass", "")));
    assert!(!town.pings(BOB));
    assert_eq!(status(&daemon)["rules"], 0);
    daemon.iptables("-P FORWARD ACCEPT").expect("opened");
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}
