//! INPUT, FORWARD and OUTPUT beside the kernel's own: the same rules, the same packets, the same counters.

use std::net::TcpStream;

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::host6::{LEFT6, firewalled6};
use crate::link;
use crate::six::{ALICE6, BOB6, town6};
use crate::town::{ALICE, BOB, LEFT, SOON, Town, assert_conserved, pings};

/// A family: its commands, who plays, and the headers of its packets.
struct Side {
    command: &'static str,
    icmp: &'static str,
    alice: &'static str,
    left: &'static str,
    bob: &'static str,
}

const FOUR: Side = Side { command: "iptables", icmp: "icmp", alice: ALICE, left: LEFT, bob: BOB };
const SIX: Side =
    Side { command: "ip6tables", icmp: "ipv6-icmp", alice: ALICE6, left: LEFT6, bob: BOB6 };

impl Side {
    fn is_six(&self) -> bool {
        self.command == "ip6tables"
    }
}

/// What a firewall does and counts: by iptables in its kernel, or by Weir.
enum Judge<'a> {
    Kernel(&'a Town),
    Weir(&'a Daemon),
}

impl Judge<'_> {
    fn give(&self, side: &Side, line: &str) {
        let command = side.command;
        let done = match self {
            Self::Kernel(town) => town.firewall.run(&format!("{command}-legacy {line}")),
            Self::Weir(daemon) => daemon.ctl(&format!("{command} {line}")),
        };
        done.unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// All chains with their counters.
    fn saved(&self, side: &Side) -> String {
        let command = side.command;
        let text = match self {
            Self::Kernel(town) => town.firewall.run(&format!("{command}-legacy-save -c -t filter")),
            Self::Weir(daemon) => daemon.ctl(&format!("{command}-save -c")),
        };
        let text = text.expect("saved");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        // In the kernel these see neighbour discovery and who listens to groups, in Weir nobody does.
        let counters = |line: &str| match line.split_once("] ") {
            Some((_, rule)) if rule.ends_with("-j ACCEPT") && rule.contains("--icmpv6-type") => {
                format!("{rule}\n")
            }
            _ => format!("{line}\n"),
        };
        lines.map(counters).collect()
    }
}

/// One packet or datagram each, in every direction: known, unknown, refused, in fragments.
fn play(town: &Town, judge: &Judge<'_>, side: &Side, rules: &[String]) -> String {
    let Side { alice, left, bob, .. } = *side;
    // Everybody knows everybody's hardware address: no packet waits, none is lost.
    for (from, to) in [(&town.alice, left), (&town.firewall, bob), (&town.alice, bob)] {
        assert!(pings(from, to), "{to}");
    }
    rules.iter().for_each(|line| judge.give(side, line));
    if side.is_six() {
        for (kind, chain) in [133, 134, 135, 136, 143]
            .into_iter()
            .flat_map(|kind| [(kind, "INPUT"), (kind, "OUTPUT")])
        {
            judge.give(side, &format!("-I {chain} -p icmpv6 --icmpv6-type {kind} -j ACCEPT"));
        }
    }
    judge.give(side, "-Z");
    for (from, to, size) in [
        (&town.alice, left, 56),
        (&town.alice, left, 3000),
        (&town.bob, left, 56),
        (&town.firewall, alice, 56),
        (&town.firewall, bob, 3000),
        (&town.alice, bob, 56),
    ] {
        let line = format!("ping -n -c 1 -W 2 -s {size} {to}");
        from.run(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    let at = |address: &str, port: u16| {
        std::net::SocketAddr::new(address.parse().expect("an address"), port)
    };
    for (from, own, to) in [(&town.alice, alice, left), (&town.firewall, left, alice)] {
        let socket = link::socket(from, &at(own, 4000).to_string());
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        socket.connect(at(to, 9)).expect("connected");
        socket.send(b"anybody?").expect("sent");
        let told = socket.recv(&mut [0; 9]).expect_err("nobody listens");
        assert_eq!(told.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    for (from, to) in [(&town.alice, left), (&town.firewall, bob)] {
        let _inside = from.enter().expect("inside");
        let refused = TcpStream::connect_timeout(&at(to, 81), SOON);
        assert_eq!(refused.expect_err("nobody").kind(), std::io::ErrorKind::ConnectionRefused);
    }
    judge.saved(side)
}

/// Rules that ask for everything which differs by chain.
fn stateless(side: &Side) -> Vec<String> {
    let Side { icmp, left, .. } = *side;
    let (ttl, bytes, hop_limit) = match side.is_six() {
        true => ("hl --hl-eq", 3048, "4&0xff=64"),
        false => ("ttl --ttl-eq", 3028, "8>>24=64"),
    };
    vec![
        "-N common".to_owned(),
        "-A common -i left -j RETURN".to_owned(),
        "-A common ! -i left".to_owned(),
        "-A common -o left -j RETURN".to_owned(),
        "-A common ! -o left".to_owned(),
        "-A common -i right -o +".to_owned(),
        format!("-A INPUT -p {icmp} -j common"),
        "-A INPUT -p udp --dport 9".to_owned(),
        format!("-A INPUT -m {ttl} 64"),
        "-A INPUT -m mac ! --mac-source 00:00:00:00:00:00".to_owned(),
        "-A INPUT -m addrtype --dst-type LOCAL --src-type UNICAST".to_owned(),
        format!("-A INPUT -m u32 --u32 {hop_limit}"),
        format!("-A INPUT -m length --length {bytes}"),
        format!("-A FORWARD -m {ttl} 63"),
        format!("-A OUTPUT -m {ttl} 64"),
        "-A OUTPUT -m addrtype --src-type LOCAL --limit-iface-out".to_owned(),
        format!("-A OUTPUT -m u32 --u32 {hop_limit}"),
        format!("-A OUTPUT -m length --length {bytes}"),
        format!("-A INPUT -d {left} -p tcp --syn"),
        "-A INPUT ! -i right -j ACCEPT".to_owned(),
        "-A FORWARD -j common".to_owned(),
        format!("-A OUTPUT -p {icmp} -j common"),
        format!("-A OUTPUT -s {left} -p tcp --tcp-flags ALL RST,ACK"),
        "-A OUTPUT -o right -j ACCEPT".to_owned(),
        "-A OUTPUT -p udp --sport 4000 --dport 9 -j ACCEPT".to_owned(),
    ]
}

/// Rules about connections in front of them.
const STATEFUL: [&str; 9] = [
    "-I INPUT -m state --state NEW",
    "-I INPUT -m state --state ESTABLISHED",
    "-I INPUT -m state --state RELATED",
    "-I INPUT -m state --state INVALID",
    "-I FORWARD -m state --state NEW",
    "-I OUTPUT -m state --state NEW",
    "-I OUTPUT -m state --state ESTABLISHED",
    "-I OUTPUT -m state --state RELATED",
    "-I OUTPUT -m state --state INVALID",
];

fn compare(side: &Side) {
    let stateful = || STATEFUL.map(str::to_owned).to_vec();
    for rules in [stateless(side), [stateless(side), stateful()].concat()] {
        let kernel = town6();
        kernel.kernel_forwards(true);
        kernel.firewall.set("net/ipv6/conf/all/forwarding", "1").expect("a setting");
        let expected = play(&kernel, &Judge::Kernel(&kernel), side, &rules);
        let town = town6();
        let mut daemon = town.start_with(&firewalled6("drop", ""));
        assert_eq!(play(&town, &Judge::Weir(&daemon), side, &rules), expected);
        assert_conserved(&mut daemon);
    }
}

#[test]
fn every_chain_counts_what_the_kernel_counts() {
    skip_unless!(root, command "ip", command "ping", command "iptables-legacy");
    compare(&FOUR);
}

#[test]
fn every_chain_of_ipv6_counts_what_the_kernel_counts() {
    skip_unless!(root, command "ip", command "ping", command "ip6tables-legacy");
    compare(&SIX);
}
