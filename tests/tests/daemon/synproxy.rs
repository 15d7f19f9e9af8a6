//! SYNPROXY on the running daemon, with the stacks of real hosts on both sides: the kernel's recipe, word for word.

use std::io::Write;
use std::net::TcpListener;

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::host6::{LEFT6, firewalled6};
use crate::probe::script;
use crate::six::{BOB6, town6};
use crate::town::{BOB, LEFT, RIGHT, Town, assert_conserved, config, dropped, event};
use crate::transfer;

fn flows(daemon: &Daemon) -> String {
    daemon.ctl("conntrack count").expect("counted").trim().to_owned()
}

/// The rules of iptables-extensions(8), SYNPROXY.
fn begin(town: &Town, workers: &str) -> Daemon {
    let rest = format!("{workers}[conntrack]\ntcp_loose = false\nsynproxy = true\n");
    let daemon = town.start_with(&config("drop", &rest));
    for line in [
        "-t raw -A PREROUTING -i left -p tcp --syn -j CT --notrack",
        "-A FORWARD -i left -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460",
        "-A FORWARD -m state --state INVALID -j DROP",
    ] {
        daemon.iptables(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    daemon
}

#[test]
fn hosts_talk_through_it_and_a_flood_of_syns_leaves_nothing() {
    skip_unless!(root, command "ip", command "python3");
    let town = Town::new();
    let mut daemon = begin(&town, "");
    for bytes in [1, 3_000_000] {
        transfer::both_ways(&town.alice, &town.bob, BOB, bytes);
    }
    assert_eq!(event(&daemon, "synproxy_connections"), 2);
    assert!(event(&daemon, "synproxy_syns") >= 2);
    assert_eq!(flows(&daemon), "2");
    // From an address that nobody has: nothing is kept, and Bob hears nothing.
    let sent = script(&town.alice, "syns.py", &[BOB, "500"]);
    assert_eq!(sent["sent"], 500);
    crate::town::eventually("all are answered", || event(&daemon, "synproxy_syns") >= 502);
    assert_eq!((flows(&daemon).as_str(), event(&daemon, "synproxy_cookies_valid")), ("2", 2));
    transfer::both_ways(&town.alice, &town.bob, BOB, 100_000);
    // What Bob begins is none of its business.
    transfer::both_ways(&town.bob, &town.alice, "10.0.0.2", 100_000);
    assert_eq!(event(&daemon, "synproxy_connections"), 3);
    assert_eq!(dropped(&daemon, "synproxy"), 0);
    assert_conserved(&mut daemon);
}

/// The firewall itself is the server, and its own stack the other end of the handshake.
#[test]
fn hosts_talk_to_the_firewall_itself() {
    skip_unless!(root, command "ip", command "python3");
    let town = Town::new();
    let rest = "[conntrack]\ntcp_loose = false\nsynproxy = true\n";
    let mut daemon = town.start_with(&crate::host::firewalled("drop", rest));
    for line in [
        "-t raw -A PREROUTING -p tcp --syn -j CT --notrack",
        "-A INPUT -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460",
        "-A INPUT -m state --state INVALID -j DROP",
    ] {
        daemon.iptables(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for bytes in [1, 1_000_000] {
        transfer::both_ways(&town.alice, &town.firewall, LEFT, bytes);
        transfer::both_ways(&town.bob, &town.firewall, RIGHT, bytes);
    }
    assert_eq!(event(&daemon, "synproxy_connections"), 4);
    // What the firewall begins is none of its business.
    transfer::both_ways(&town.firewall, &town.bob, BOB, 100_000);
    assert_eq!(event(&daemon, "synproxy_connections"), 4);
    let sent = script(&town.alice, "syns.py", &[LEFT, "500"]);
    assert_eq!(sent["sent"], 500);
    crate::town::eventually("all are answered", || event(&daemon, "synproxy_syns") >= 504);
    assert_eq!((flows(&daemon).as_str(), dropped(&daemon, "synproxy")), ("5", 0));
    assert_conserved(&mut daemon);
}

#[test]
fn hosts_talk_to_it_and_through_it_by_ipv6() {
    skip_unless!(root, command "ip", command "python3");
    let town = town6();
    town.firewall.set("net/ipv6/conf/all/forwarding", "1").expect("a setting");
    let rest = "[conntrack]\ntcp_loose = false\nsynproxy = true\n";
    let mut daemon = town.start_with(&firewalled6("drop", rest));
    let target = "-j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1440";
    let mut lines = vec!["-t raw -A PREROUTING -p tcp --syn -j CT --notrack".to_owned()];
    for chain in ["INPUT", "FORWARD"] {
        lines.push(format!("-A {chain} -p tcp -m state --state INVALID,UNTRACKED {target}"));
        lines.push(format!("-A {chain} -m state --state INVALID -j DROP"));
    }
    for line in lines {
        daemon.ctl(&format!("ip6tables {line}")).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for bytes in [1, 1_000_000] {
        transfer::both_ways(&town.alice, &town.firewall, LEFT6, bytes);
        transfer::both_ways(&town.alice, &town.bob, BOB6, bytes);
    }
    assert_eq!(event(&daemon, "synproxy_connections"), 4);
    assert_eq!((flows(&daemon).as_str(), dropped(&daemon, "synproxy")), ("4", 0));
    assert_conserved(&mut daemon);
}

/// The server, which closes first, is in TIME-WAIT each time, and takes a smaller number for an old segment.
#[test]
fn a_client_may_take_a_port_again_at_once() {
    skip_unless!(root, command "ip", command "python3");
    let town = Town::new();
    town.alice.set("net/ipv4/tcp_timestamps", "0").expect("a setting");
    let mut daemon = begin(&town, "");
    let listener = {
        let _inside = town.bob.enter().expect("inside");
        TcpListener::bind((BOB, 80)).expect("a listener")
    };
    let server = std::thread::spawn(move || {
        for number in 0..20 {
            let (mut client, _) = listener.accept().expect("a client");
            write!(client, "page {number}").expect("it is sent");
        }
    });
    let told = script(&town.alice, "again.py", &[BOB, "5555", "20"]);
    let pages: Vec<String> = (0..20).map(|number| format!("page {number}")).collect();
    assert_eq!(told["heard"], serde_json::json!(pages));
    server.join().expect("the server's side is right");
    assert_eq!(event(&daemon, "synproxy_connections"), 20);
    assert_conserved(&mut daemon);
}

#[test]
fn without_room_for_it_the_rule_is_refused() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let error = daemon.iptables("-A FORWARD -p tcp -j SYNPROXY").expect_err("refused").to_string();
    assert!(error.contains("synproxy = true"), "{error}");
    assert_eq!(daemon.iptables("-S").expect("listed"), "-P FORWARD ACCEPT\n");
    assert_conserved(&mut daemon);
}
