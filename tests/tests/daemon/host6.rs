//! The machine's own IPv6 with `host = "firewalled"` and `ipv6 = "forward"`: chains INPUT and OUTPUT of ip6tables.

use std::net::TcpStream;
use std::process::ExitStatus;

use weir_tests::netns::{Namespace, Veth};
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::host::{carried_both_ways, firewalled, give, reads_page, web_server_at};
use crate::six::{ALICE6, BOB6, told, town6, town6_with_queues};
use crate::town::{
    ALICE, LEFT, RIGHT, SOON, Town, assert_conserved, dropped, eventually, log, pings, pings_with,
    status,
};
use crate::{link, transfer};

/// The firewall's addresses.
pub(crate) const LEFT6: &str = "2001:db8:1::1";
pub(crate) const RIGHT6: &str = "2001:db8:2::1";

/// The routing table of the machine's own traffic.
const TABLE: &str = "2003134834";

/// A configuration by which the machine's own traffic of both families passes through Weir.
pub(crate) fn firewalled6(on_exit: &str, rest: &str) -> String {
    format!("ipv6 = \"forward\"\n{}", firewalled(on_exit, rest))
}

fn start(town: &Town) -> Daemon {
    town.start_with(&firewalled6("drop", ""))
}

fn give6(daemon: &Daemon, lines: &[&str]) {
    for line in lines {
        daemon.ctl(&format!("ip6tables {line}")).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// The rules and routes that lead the machine's own IPv6 to Weir, as `ip` prints them.
fn diversion(town: &Town) -> (String, String) {
    let rules = town.firewall.ip("-6 rule").expect("rules");
    (rules, town.firewall.ip("-6 route show table all").expect("routes"))
}

/// Routes of the kernel's own making, without how long they stay.
fn settled_routes(town: &Town) -> Vec<String> {
    let routes = town.firewall.ip("-6 route show table all").expect("routes");
    routes.lines().filter(|line| !line.contains("weir0")).map(str::to_owned).collect()
}

#[test]
fn rules_protect_a_web_server_on_the_firewall() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    town.firewall.set("net/ipv6/conf/all/forwarding", "1").expect("a setting");
    let mut daemon = start(&town);
    let _server = web_server_at(&town, "::");
    let everywhere =
        || [(&town.alice, LEFT6), (&town.alice, RIGHT6), (&town.bob, LEFT6), (&town.bob, RIGHT6)];
    assert!(everywhere().iter().all(|(from, at)| reads_page(from, at)));
    // In force when the command returns, only for whom it is about, and of one family alone.
    give6(&daemon, &["-A INPUT -s 2001:db8:1::2 -p tcp --dport 80 -j DROP"]);
    assert!(!reads_page(&town.alice, LEFT6) && !reads_page(&town.alice, RIGHT6));
    assert!(reads_page(&town.bob, LEFT6) && town.pings(LEFT6) && reads_page(&town.alice, LEFT));
    give6(&daemon, &["-R INPUT 1 -i right -p tcp --syn -j DROP"]);
    assert!(reads_page(&town.alice, LEFT6) && !reads_page(&town.bob, RIGHT6));
    // The seed's: so many calls a minute.
    give6(
        &daemon,
        &[
            "-F INPUT",
            "-A INPUT -p tcp -m state --state NEW -m recent --update --seconds 60 --hitcount 3 -j DROP",
            "-A INPUT -p tcp -m state --state NEW -m recent --set -j ACCEPT",
        ],
    );
    let read = (0..5).map(|_| reads_page(&town.alice, LEFT6)).collect::<Vec<_>>();
    assert_eq!(read, [true, true, true, false, false]);
    assert!(reads_page(&town.bob, RIGHT6));
    // Closed but for the page, once neighbours have to be found anew: discovery is not asked about.
    give6(
        &daemon,
        &[
            "-F INPUT",
            "-P INPUT DROP",
            "-A INPUT -m state --state ESTABLISHED -j ACCEPT",
            "-A INPUT -p tcp --dport 80 -m state --state NEW -j ACCEPT",
        ],
    );
    for host in [&town.alice, &town.firewall, &town.bob] {
        host.ip("-6 neighbour flush all").expect("flushed");
    }
    assert!(everywhere().iter().all(|(from, at)| reads_page(from, at)));
    assert!(!town.pings(LEFT6), "nobody asked for pings");
    assert!(pings(&town.firewall, ALICE6), "answers to the firewall are established");
    assert!(town.pings(BOB6), "what passes through is FORWARD's");
    assert!(town.pings(LEFT), "IPv4 has rules of its own");
    give6(&daemon, &["-A FORWARD -p icmpv6 -j DROP"]);
    assert!(!town.pings(BOB6) && reads_page(&town.alice, LEFT6));
    assert!(dropped(&daemon, "policy") >= 1 && dropped(&daemon, "rule") >= 1);
    assert_eq!(dropped(&daemon, "martian"), 0, "the kernel says nothing of its own by the device");
    assert_eq!(status(&daemon)["warnings"].as_array().map(Vec::len), Some(0));
    let known = town.firewall.ip("-6 neighbour show dev weir0 nud all").expect("neighbours");
    assert_eq!(known, "fe80::1 lladdr 08 NOARP \n", "one for all destinations");
    assert_conserved(&mut daemon);
}

/// The address of the link on a device.
fn of_link(namespace: &Namespace, device: &str) -> String {
    let listed = namespace.ip(&format!("-6 -o address show dev {device} scope link"));
    let listed = listed.expect("addresses");
    let words = listed.split_whitespace().skip_while(|word| *word != "inet6");
    words.skip(1).take(1).collect::<String>().split('/').next().expect("an address").to_owned()
}

#[test]
fn what_is_of_the_link_stays_the_kernel_s() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let (firewall, alice) = (of_link(&town.firewall, "left"), of_link(&town.alice, "eth0"));
    let mut daemon = start(&town);
    give(&daemon, &["-P INPUT DROP"]);
    give6(&daemon, &["-P INPUT DROP", "-P OUTPUT DROP", "-P FORWARD DROP"]);
    assert!(pings(&town.alice, &format!("{firewall}%eth0")));
    assert!(pings(&town.firewall, &format!("{alice}%left")));
    assert!(pings(&town.firewall, "ff02::1%left") && pings(&town.firewall, "::1"));
    // From such an address to another one of the machine: INPUT is asked.
    let ping = |options: &str, to: &str| pings_with(&town.alice, options, to);
    assert!(!ping(&format!("-I {alice}%eth0"), LEFT6) && !ping("", LEFT6));
    assert_eq!(dropped(&daemon, "policy"), 2);
    assert_conserved(&mut daemon);
}

#[test]
fn output_is_what_the_machine_sends() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = start(&town);
    let _server = web_server_at(&town, "::");
    give6(&daemon, &["-A OUTPUT -o right -p icmpv6 -j DROP"]);
    assert!(!pings(&town.firewall, BOB6) && pings(&town.firewall, ALICE6));
    assert!(!pings(&town.bob, RIGHT6), "nor does it answer Bob");
    assert!(town.pings(BOB6), "what passes through is not the machine's");
    // Nor by a socket that wants no gateway, or is bound to the interface. (A bound one hears no answer.)
    give6(&daemon, &["-A OUTPUT -p icmpv6 -o left", "-Z"]);
    let ping = |options: &str, to: &str| pings_with(&town.firewall, options, to);
    assert!(!ping("-I right", BOB6) && !ping("-I left", ALICE6));
    let saved = daemon.ctl("ip6tables-save -c").expect("saved");
    for rule in ["-A OUTPUT -o right -p ipv6-icmp -j DROP", "-A OUTPUT -o left -p ipv6-icmp"] {
        assert!(saved.contains(&format!("[1:104] {rule}\n")), "{saved}");
    }
    // It may answer, and begin nothing.
    give6(
        &daemon,
        &["-F", "-P OUTPUT DROP", "-A OUTPUT -m state --state ESTABLISHED,RELATED -j ACCEPT"],
    );
    assert!(reads_page(&town.alice, LEFT6) && town.pings(RIGHT6));
    assert!(!pings(&town.firewall, ALICE6) && !pings(&town.firewall, BOB6));
    assert!(pings(&town.firewall, "::1"), "what it sends to itself never meets Weir");
    assert!(pings(&town.firewall, ALICE), "IPv4 has rules of its own");
    assert_conserved(&mut daemon);
}

#[test]
fn packets_keep_their_addresses_their_size_and_their_hop_limit() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = start(&town);
    for (to, source) in [(ALICE6, LEFT6), (BOB6, RIGHT6)] {
        let printed = town.firewall.ip(&format!("-6 route get {to}")).expect("a route");
        let led = format!("via fe80::1 dev weir0 table {TABLE} proto static src {source}");
        assert!(printed.contains(&led), "{printed}");
        // A hop limit of 1 reaches the neighbour, and nobody counts the way through Weir.
        let printed = town.firewall.run(&format!("ping -n -c 1 -W 2 -t 1 {to}")).expect("a ping");
        assert!(printed.contains("ttl=64"), "{printed}");
    }
    assert!(town.alice.run(&format!("ping -n -c 1 -W 2 -t 1 {LEFT6}")).is_ok());
    let firewall = link::socket(&town.firewall, "[::]:5000");
    let inside = link::socket(&town.firewall, &format!("[{LEFT6}]:5001"));
    for tracking in ["", "-A INPUT -m state --state INVALID -j DROP"] {
        if !tracking.is_empty() {
            give6(&daemon, &[tracking]);
        }
        for (namespace, address) in [(&town.alice, ALICE6), (&town.bob, BOB6)] {
            let host = link::socket(namespace, &format!("[{address}]:0"));
            for (round, len) in (0..).zip([4, 1452, 1453, 20_000]) {
                let numbers = round * 20..(round + 1) * 20;
                let arrived = link::carry(&firewall, &host, numbers.clone(), len);
                assert_eq!(arrived, link::once_each(numbers.clone()), "{len} bytes to {address}");
                let arrived = link::carry(&host, &inside, numbers.clone(), len);
                assert_eq!(arrived, link::once_each(numbers), "{len} bytes to the firewall");
            }
        }
    }
    // Nobody has the address: whoever asked is told, as ever.
    let said = told(&town.firewall, "2001:db8:1::77");
    assert_eq!(said, "From 2001:db8:1::1 icmp_seq=1 Destination unreachable: Address unreachable");
    assert_conserved(&mut daemon);
}

#[test]
fn the_kernel_learns_how_narrow_a_path_is() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    // Carol is beyond Bob, by a link of 1,300 bytes.
    let carol = Namespace::unique("carol").expect("a namespace");
    Veth::between(&town.bob, "east", &carol, "eth0").create().expect("a cable");
    for (host, device, address) in
        [(&town.bob, "east", "2001:db8:3::1/64"), (&carol, "eth0", "2001:db8:3::2/64")]
    {
        host.ip(&format!("link set {device} mtu 1300")).expect("an MTU");
        host.ip(&format!("address add {address} dev {device} nodad")).expect("an address");
    }
    town.bob.set("net/ipv6/conf/all/forwarding", "1").expect("a setting");
    // As large a segment as the firewall likes, so that the link is found out about.
    carol.ip("-6 route add default via 2001:db8:3::1 advmss 1440").expect("a route");
    town.firewall.ip(&format!("-6 route add 2001:db8:3::/64 via {BOB6}")).expect("a route");
    let mut daemon = start(&town);
    give6(
        &daemon,
        &[
            "-P INPUT DROP",
            "-A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT",
            "-P OUTPUT DROP",
            "-A OUTPUT -m state --state NEW,ESTABLISHED -j ACCEPT",
        ],
    );
    eventually("Bob routes again", || pings(&town.firewall, "2001:db8:3::2"));
    transfer::both_ways(&town.firewall, &carol, "2001:db8:3::2", 1 << 20);
    let cached = town.firewall.ip("-6 route get 2001:db8:3::2").expect("a route");
    assert!(cached.contains("dev weir0") && cached.contains("mtu 1300"), "{cached}");
    assert_conserved(&mut daemon);
}

#[test]
fn what_is_rejected_hears_of_it_on_both_sides() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = start(&town);
    give6(
        &daemon,
        &[
            "-A INPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
            "-A INPUT -p icmpv6 -j REJECT --reject-with icmp6-adm-prohibited",
            "-A OUTPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
            "-A OUTPUT -p icmpv6 -o right -j REJECT --reject-with icmp6-addr-unreachable",
        ],
    );
    for (from, to) in [(&town.alice, RIGHT6), (&town.firewall, BOB6)] {
        let _inside = from.enter().expect("inside");
        let to = format!("[{to}]:81").parse().expect("an address");
        let refused = TcpStream::connect_timeout(&to, SOON).expect_err("rejected");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
    }
    // Whoever was asked answers; the machine hears from itself.
    let unreachable = "icmp_seq=1 Destination unreachable";
    assert_eq!(
        told(&town.alice, RIGHT6),
        format!("From {RIGHT6} {unreachable}: Administratively prohibited")
    );
    assert_eq!(
        told(&town.firewall, BOB6),
        format!("From {RIGHT6} {unreachable}: Address unreachable")
    );
    assert_conserved(&mut daemon);
}

#[test]
fn two_workers_carry_it_both_ways_beside_what_passes_through() {
    skip_unless!(root, command "ip", command "ping");
    carried_both_ways("ip6tables", &town6_with_queues(2), &firewalled6, [LEFT6, BOB6], 4);
}

fn serves_after(on_exit: &str, end: impl Fn(Daemon) -> weir_tests::Result<ExitStatus>, left: bool) {
    let town = town6();
    let _server = web_server_at(&town, "::");
    let before = (diversion(&town).0, settled_routes(&town));
    let daemon = town.start_with(&firewalled6(on_exit, ""));
    give6(&daemon, &["-P INPUT DROP"]);
    assert!(!town.pings(LEFT6) && town.pings(LEFT));
    let (rules, routes) = diversion(&town);
    assert!(rules.contains("100:\tfrom all iif lo lookup"), "{rules}");
    assert!(routes.contains(&format!("throw fe80::/10 dev lo table {TABLE}")), "{routes}");
    assert!(!routes.contains("multicast ff00::/8 dev weir0"), "{routes}");
    end(daemon).expect("a status");
    for address in [LEFT6, RIGHT6] {
        assert!(town.pings(address) && pings(&town.bob, address), "{address}");
    }
    assert!(pings(&town.firewall, ALICE6) && pings(&town.firewall, BOB6));
    assert!(reads_page(&town.alice, LEFT6) && reads_page(&town.bob, LEFT6));
    if left {
        // The kernel removes what leads to the device; what is left leads nowhere.
        let (rules, routes) = diversion(&town);
        assert!(rules.contains("iif lo"), "{rules}");
        for line in routes.lines().filter(|line| line.contains(TABLE)) {
            assert!(line.starts_with("throw "), "{line}");
        }
    } else {
        assert_eq!((diversion(&town).0, settled_routes(&town)), before);
    }
    // And again, over what the first has left; then without IPv6, and all of it is undone.
    let mut daemon = town.start_with(&firewalled6(on_exit, ""));
    assert_eq!(diversion(&town).0.matches("iif lo").count(), 1, "one rule");
    give6(&daemon, &["-A INPUT -p icmpv6 -j DROP"]);
    assert!(!town.pings(LEFT6) && reads_page(&town.alice, LEFT6));
    assert_conserved(&mut daemon);
    daemon.kill().expect("a status");
    let mut daemon = town.start_with(&firewalled(on_exit, ""));
    assert_eq!((diversion(&town).0, settled_routes(&town)), before);
    assert!(town.pings(LEFT6) && pings(&town.firewall, BOB6), "it passes Weir by");
    let refused = daemon.ctl("ip6tables -A INPUT -j DROP").expect_err("refused").to_string();
    assert!(refused.contains("ipv6 = \"forward\""), "{refused}");
    assert_conserved(&mut daemon);
}

#[test]
fn an_orderly_end_undoes_everything() {
    skip_unless!(root, command "ip", command "ping");
    serves_after("drop", Daemon::stop, false);
}

#[test]
fn sigkill_leaves_the_machine_reachable() {
    skip_unless!(root, command "ip", command "ping");
    serves_after("pass", Daemon::kill, true);
}

#[test]
fn routes_and_addresses_are_followed() {
    skip_unless!(root, command "ip", command "ping");
    let town = town6();
    let mut daemon = start(&town);
    let table = || town.firewall.ip(&format!("-6 route show table {TABLE}")).expect("routes");
    let line = |start: &str| {
        let table = table();
        table.lines().find(|line| line.starts_with(start)).map(str::trim).map(str::to_owned)
    };
    let is = |start: &str, expected: &str| {
        let rest = "metric 1024";
        let whole = format!("{start} via fe80::1 dev weir0 proto static src {expected}");
        eventually(&format!("{whole}:\n{}{}", table(), log(&daemon)), || {
            line(start)
                .is_some_and(|line| line.replace(&format!("{rest} "), "").starts_with(&whole))
        });
    };
    is("2001:db8:1::/64", "2001:db8:1::1 mtu 1500");
    // A gateway, a route's own MTU and source.
    town.firewall.ip("address add 2001:db8:9::9/128 dev lo").expect("an address");
    town.firewall
        .ip("-6 route add 2001:db8:99::/48 via 2001:db8:2::2 mtu 1400 src 2001:db8:9::9")
        .expect("a route");
    town.bob.ip("address add 2001:db8:99::1/128 dev lo").expect("an address");
    town.bob.ip("-6 route add 2001:db8:9::9/128 via 2001:db8:2::1").expect("a route");
    is("2001:db8:99::/48", "2001:db8:9::9 mtu 1400");
    eventually("the answer comes back", || pings(&town.firewall, "2001:db8:99::1"));
    // A second address, of another kind: the kernel would choose by the destination.
    town.firewall.ip("address add fd00:2::1/64 dev right nodad").expect("an address");
    town.firewall.ip("-6 route add default via 2001:db8:2::2").expect("a route");
    is("default", "2001:db8:2::1 mtu 1500");
    is("fc00::/7", "fd00:2::1 mtu 1500");
    is("fd00:2::/64", "fd00:2::1 mtu 1500");
    town.firewall.ip("-6 route delete default").expect("gone");
    eventually("gone", || line("fc00::/7").is_none());
    // No longer for new conversations.
    town.firewall
        .ip("address change 2001:db8:2::1/64 dev right preferred_lft 0")
        .expect("deprecated");
    town.firewall.ip("address add 2001:db8:2::7/64 dev right nodad").expect("an address");
    is("2001:db8:2::/64", "2001:db8:2::7 mtu 1500");
    assert!(pings(&town.firewall, BOB6) && pings(&town.bob, "2001:db8:2::7"));
    assert!(pings(&town.bob, RIGHT6), "it still answers there");
    // One that leaves by no port.
    town.firewall.ip("link add aside type veth peer name beside").expect("a device");
    town.firewall.ip("address add 2001:db8:7::1/64 dev aside nodad").expect("an address");
    town.firewall.ip("link set beside up").expect("up");
    town.firewall.ip("link set aside up").expect("up");
    eventually("past", || line("throw 2001:db8:7::/64").is_some());
    let printed = town.firewall.ip("-6 route get 2001:db8:7::9").expect("a route");
    assert!(printed.contains("dev aside"), "{printed}");
    // Taken away by somebody.
    let before = diversion(&town).0;
    town.firewall.ip("-6 rule del pref 100").expect("gone");
    eventually("the rule is put back", || diversion(&town).0 == before);
    town.firewall.ip(&format!("-6 route flush table {TABLE}")).expect("gone");
    is("2001:db8:1::/64", "2001:db8:1::1 mtu 1500");
    town.firewall.ip("link set weir0 down").expect("down");
    town.firewall.ip("link set weir0 up").expect("up");
    is("2001:db8:1::/64", "2001:db8:1::1 mtu 1500");
    eventually("reached", || pings(&town.firewall, ALICE6) && town.pings(LEFT6));
    assert!(town.pings(RIGHT) && !diversion(&town).1.contains("multicast ff00::/8 dev weir0"));
    assert_conserved(&mut daemon);
}
