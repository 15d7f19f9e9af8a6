//! IPv6 between the hosts: forwarded, filtered by rules of its own, answered as the kernel does.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};

use weir_tests::netns::Namespace;
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::town::{
    self, BOB, SOON, Town, assert_conserved, config, dropped, eventually, number, pings, status,
};
use crate::transfer;

pub(crate) const ALICE6: &str = "2001:db8:1::2";
pub(crate) const BOB6: &str = "2001:db8:2::2";

/// The town with IPv6 addresses beside the others.
pub(crate) fn town6() -> Town {
    town6_with_queues(1)
}

/// The same with this many queues on each device.
pub(crate) fn town6_with_queues(queues: u32) -> Town {
    let town = Town::with_queues(queues);
    for (host, device, address) in [
        (&town.alice, "eth0", "2001:db8:1::2/64"),
        (&town.firewall, "left", "2001:db8:1::1/64"),
        (&town.firewall, "right", "2001:db8:2::1/64"),
        (&town.bob, "eth0", "2001:db8:2::2/64"),
    ] {
        host.ip(&format!("address add {address} dev {device} nodad")).expect("an address");
    }
    town.alice.ip("-6 route add default via 2001:db8:1::1").expect("a route");
    town.bob.ip("-6 route add default via 2001:db8:2::1").expect("a route");
    for host in [&town.alice, &town.firewall, &town.bob] {
        // Nobody is asked for his address from one that is not sure yet.
        eventually("addresses of the link are the hosts' own", || {
            host.ip("-6 address show tentative").expect("addresses").is_empty()
        });
    }
    town
}

fn forwarding(rest: &str) -> String {
    format!("ipv6 = \"forward\"\n{}", config("drop", rest))
}

/// What a ping says about what became of it, but for times.
pub(crate) fn told(from: &Namespace, arguments: &str) -> String {
    let text = match from.run(&format!("ping -n -c 1 -W 9 {arguments}")) {
        Ok(text) => text,
        Err(error) => error.to_string(),
    };
    let line = text.lines().find(|line| line.starts_with("From ") || line.contains("icmp_seq"));
    let line = line.unwrap_or("silence");
    // Of a ping that fails, lines are quoted.
    let line = line.trim_start_matches([' ', '|']);
    line.split(" time=").next().unwrap_or(line).to_owned()
}

fn rules(daemon: &Daemon, lines: &[&str]) {
    for line in lines {
        daemon.ctl(&format!("ip6tables {line}")).expect(line);
    }
}

#[test]
fn ipv6_gets_through_where_it_is_wanted_and_nowhere_else() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = town.start("drop");
    assert!(town.pings(BOB) && !town.pings(BOB6));
    assert_eq!(dropped(&daemon, "ether_type"), 1);
    let refused = daemon.ctl("ip6tables -A FORWARD -j DROP").expect_err("refused").to_string();
    assert!(refused.contains("ipv6 = \"forward\""), "{refused}");
    assert_eq!(daemon.ctl("ip6tables -S").expect("listed"), "-P FORWARD ACCEPT\n");
    assert_conserved(&mut daemon);
    daemon.stop().expect("it ends");

    let mut daemon = town.start_with(&forwarding(""));
    assert!(town.pings(BOB) && town.pings(BOB6) && pings(&town.bob, ALICE6));
    transfer::both_ways(&town.alice, &town.bob, BOB6, 2 << 20);
    transfer::both_ways(&town.bob, &town.alice, ALICE6, 2 << 20);
    assert!(town.pings("2001:db8:1::1"), "the firewall itself is its kernel's");
    let addresses = status(&daemon)["ports"][0]["addresses"].to_string();
    assert!(addresses.contains("\"2001:db8:1::1/64\""), "{addresses}");
    let warned = || status(&daemon)["warnings"].to_string().contains("for no router of IPv6");
    assert!(warned(), "its kernel must say that it is a router");
    town.firewall.set("net/ipv6/conf/all/forwarding", "1").expect("a setting");
    eventually("the warning goes", || !warned());
    assert_conserved(&mut daemon);
}

#[test]
fn rules_of_each_family_are_its_own() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = town.start_with(&forwarding("[conntrack]\n"));
    rules(
        &daemon,
        &[
            "-P FORWARD DROP",
            "-A FORWARD -m state --state INVALID -j DROP",
            "-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
            "-A FORWARD -s 2001:db8:1::/64 -p ipv6-icmp -m icmp6 --icmpv6-type echo-request -j ACCEPT",
            "-A FORWARD -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
            "-A FORWARD -p tcp --dport 82 -j REJECT --reject-with adm-prohibited",
        ],
    );
    assert!(town.pings(BOB6), "and the answer is ESTABLISHED");
    assert!(!pings(&town.bob, ALICE6), "who may call");
    assert!(town.pings(BOB) && pings(&town.bob, town::ALICE), "IPv4 has no rules");
    let connect = |port: u16| {
        let _inside = town.alice.enter().expect("inside");
        let to = SocketAddr::from((BOB6.parse::<Ipv6Addr>().expect("an address"), port));
        TcpStream::connect_timeout(&to, SOON).map(|_| ()).map_err(|error| error.kind())
    };
    assert_eq!(connect(81), Err(ErrorKind::ConnectionRefused), "a reset");
    assert_eq!(connect(82), Err(ErrorKind::PermissionDenied), "an ICMPv6 error");
    assert_eq!((dropped(&daemon, "reject"), dropped(&daemon, "policy")), (2, 1));
    daemon.iptables("-A FORWARD -p icmp -j DROP").expect("taken");
    assert!(!town.pings(BOB) && town.pings(BOB6));
    assert_eq!(number(&status(&daemon)["rules"]), 6, "of both families");

    let counted = daemon.ctl("ip6tables -L FORWARD 3 -v -x -n").expect("listed");
    assert!(counted.trim_start().starts_with("2      208 ACCEPT"), "{counted}");
    assert!(daemon.iptables("-L FORWARD 1 -v -x -n").expect("listed").contains("84 DROP"));
    rules(&daemon, &["-Z"]);
    let counted = daemon.ctl("ip6tables -L FORWARD 3 -v -x -n").expect("listed");
    assert!(counted.trim_start().starts_with("0        0 ACCEPT"), "{counted}");
    assert!(daemon.iptables("-L FORWARD 1 -v -x -n").expect("listed").contains("84 DROP"));
    assert_conserved(&mut daemon);
}

#[test]
fn rules_of_ipv6_are_saved_restored_and_undone() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = town.start_with(&forwarding(""));
    rules(&daemon, &["-A FORWARD -p ipv6-icmp -j DROP"]);
    assert!(!town.pings(BOB6));
    let saved = daemon.ctl("ip6tables-save").expect("saved");
    let file = town.folder.path().join("rules6");
    std::fs::write(&file, &saved).expect("written");
    rules(&daemon, &["-F"]);
    assert!(town.pings(BOB6));
    daemon.ctl(&format!("ip6tables-restore {}", file.display())).expect("restored");
    assert!(!town.pings(BOB6) && town.pings(BOB));
    // An IPv4 change in between waits, as any other.
    daemon.ctl("--confirm 1 ip6tables -P FORWARD DROP").expect("taken");
    let busy = daemon.iptables("-P FORWARD DROP").expect_err("one change waits").to_string();
    assert!(busy.contains("waits to be confirmed"), "{busy}");
    eventually("it is undone", || {
        daemon.ctl("ip6tables -S").expect("listed").starts_with("-P FORWARD ACCEPT\n")
    });
    daemon.ctl("--confirm 60 ip6tables -F").expect("taken");
    daemon.ctl("confirm").expect("kept");
    assert!(town.pings(BOB6));
    assert_conserved(&mut daemon);
}

#[test]
fn the_policy_of_the_configuration_is_for_both_families() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let text = format!("policy = \"drop\"\n{}", forwarding(""));
    let mut daemon = town.start_with(&text);
    assert!(!town.pings(BOB6) && !town.pings(BOB));
    assert_eq!(dropped(&daemon, "policy"), 2);
    rules(&daemon, &["-P FORWARD ACCEPT"]);
    assert!(town.pings(BOB6) && !town.pings(BOB));
    assert_conserved(&mut daemon);
}

#[test]
fn errors_of_ipv6_are_those_of_the_kernel_s_forwarding() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    town.firewall.ip("-6 route add unreachable 2001:db8:61::/64").expect("a route");
    town.firewall.ip("-6 route add prohibit 2001:db8:62::/64").expect("a route");
    town.firewall.ip("-6 route add blackhole 2001:db8:63::/64").expect("a route");
    let probes = [
        (&town.alice, format!("-t 1 {BOB6}"), "Time exceeded"),
        (&town.bob, "2001:db8:61::1".to_owned(), "No route"),
        (&town.alice, "2001:db8:62::1".to_owned(), "prohibited"),
        (&town.bob, "2001:db8:63::1".to_owned(), "silence"),
        (&town.alice, "2001:db8:99::1".to_owned(), "No route"),
        (&town.bob, "2001:db8:1::77".to_owned(), "Address unreachable"),
    ];
    let ask = || -> Vec<String> {
        // The kernel allows a host one error at a time, or so.
        town.firewall.set("net/ipv6/icmp/ratelimit", "0").expect("a setting");
        probes.iter().map(|(from, arguments, _)| told(from, arguments)).collect()
    };
    town.firewall.set("net/ipv6/conf/all/forwarding", "1").expect("a setting");
    let kernel = ask();
    town.firewall.set("net/ipv6/conf/all/forwarding", "0").expect("a setting");
    town.firewall.ip("neighbour flush all").expect("flushed");
    let mut daemon = town.start_with(&forwarding(""));
    let weir = ask();
    assert_eq!(weir, kernel, "Weir left, the kernel right");
    for ((_, arguments, said), line) in probes.iter().zip(&weir) {
        assert!(line.contains(said), "{arguments}: {line}");
    }
    assert_conserved(&mut daemon);
}

#[test]
fn a_narrow_link_is_told_and_neighbours_are_found_again() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    for (host, device) in [(&town.firewall, "right"), (&town.bob, "eth0")] {
        host.ip(&format!("link set {device} mtu 1300")).expect("an MTU");
    }
    // As large a segment as Alice likes, so that the link is found out about.
    town.bob.ip("-6 route change default via 2001:db8:2::1 advmss 1440").expect("a route");
    let mut daemon = town.start_with(&forwarding(""));
    transfer::both_ways(&town.alice, &town.bob, BOB6, 2 << 20);
    let cached = town.alice.ip(&format!("-6 route get {BOB6}")).expect("a route");
    assert!(cached.contains("mtu 1300"), "Alice has learnt the path's MTU: {cached}");
    assert!(dropped(&daemon, "mtu_exceeded") > 0);
    // In fragments there and back.
    assert!(town.alice.run(&format!("ping -n -c 1 -W 2 -s 4000 {BOB6}")).is_ok());
    rules(&daemon, &["-A FORWARD -m state --state INVALID -j DROP"]);
    assert!(town.alice.run(&format!("ping -n -c 1 -W 2 -s 4000 {BOB6}")).is_ok());
    town.firewall.ip("neighbour flush all").expect("flushed");
    assert!(town.pings(BOB6), "they are asked for");
    assert_conserved(&mut daemon);
}
