//! INPUT, FORWARD and OUTPUT beside the kernel's own: the same rules, the same packets, the same counters.

use std::net::TcpStream;

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::host::start;
use crate::link;
use crate::town::{ALICE, BOB, LEFT, RIGHT, SOON, Town, assert_conserved, pings};

/// What a firewall does and counts: by iptables in its kernel, or by Weir.
enum Judge<'a> {
    Kernel(&'a Town),
    Weir(&'a Daemon),
}

impl Judge<'_> {
    fn give(&self, line: &str) {
        let done = match self {
            Self::Kernel(town) => town.firewall.run(&format!("iptables-legacy {line}")),
            Self::Weir(daemon) => daemon.iptables(line),
        };
        done.unwrap_or_else(|error| panic!("{line}: {error}"));
    }

    /// All chains with their counters.
    fn saved(&self) -> String {
        let text = match self {
            Self::Kernel(town) => town.firewall.run("iptables-legacy-save -c -t filter"),
            Self::Weir(daemon) => daemon.ctl("iptables-save -c"),
        };
        let text = text.expect("saved");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

/// One packet or datagram each, in every direction: known, unknown, refused, in fragments.
fn play(town: &Town, judge: &Judge<'_>, rules: &[&str]) -> String {
    // Everybody knows everybody's hardware address: no packet waits, none is lost.
    for (from, to) in [(&town.alice, LEFT), (&town.bob, RIGHT), (&town.alice, BOB)] {
        assert!(pings(from, to), "{to}");
    }
    rules.iter().for_each(|line| judge.give(line));
    judge.give("-Z");
    for (from, to, size) in [
        (&town.alice, LEFT, 56),
        (&town.alice, LEFT, 3000),
        (&town.bob, LEFT, 56),
        (&town.firewall, ALICE, 56),
        (&town.firewall, BOB, 3000),
        (&town.alice, BOB, 56),
    ] {
        let line = format!("ping -n -c 1 -W 2 -s {size} {to}");
        from.run(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for (from, at, to) in [
        (&town.alice, format!("{ALICE}:4000"), format!("{LEFT}:9")),
        (&town.firewall, format!("{LEFT}:4000"), format!("{ALICE}:9")),
    ] {
        let socket = link::socket(from, &at);
        socket.set_read_timeout(Some(SOON)).expect("a timeout");
        socket.connect(to).expect("connected");
        socket.send(b"anybody?").expect("sent");
        let told = socket.recv(&mut [0; 9]).expect_err("nobody listens");
        assert_eq!(told.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    for (from, to) in [(&town.alice, format!("{LEFT}:81")), (&town.firewall, format!("{BOB}:81"))] {
        let _inside = from.enter().expect("inside");
        let refused = TcpStream::connect_timeout(&to.parse().expect("an address"), SOON);
        assert_eq!(refused.expect_err("nobody").kind(), std::io::ErrorKind::ConnectionRefused);
    }
    judge.saved()
}

#[test]
fn every_chain_counts_what_the_kernel_counts() {
    skip_unless!(root, command "ip", command "ping", command "iptables-legacy");
    let stateless: &[&str] = &[
        "-N common",
        "-A common -i left -j RETURN",
        "-A common ! -i left",
        "-A common -o left -j RETURN",
        "-A common ! -o left",
        "-A common -i right -o +",
        "-A INPUT -p icmp -j common",
        "-A INPUT -p udp --dport 9",
        "-A INPUT -m ttl --ttl-eq 64",
        "-A INPUT -m mac ! --mac-source 00:00:00:00:00:00",
        "-A INPUT -m addrtype --dst-type LOCAL --src-type UNICAST",
        "-A INPUT -m u32 --u32 8>>24=64",
        "-A INPUT -m length --length 3028",
        "-A FORWARD -m ttl --ttl-eq 63",
        "-A OUTPUT -m ttl --ttl-eq 64",
        "-A OUTPUT -m addrtype --src-type LOCAL --limit-iface-out",
        "-A OUTPUT -m u32 --u32 8>>24=64",
        "-A OUTPUT -m length --length 3028",
        "-A INPUT -d 10.0.0.1 -p tcp --syn",
        "-A INPUT ! -i right -j ACCEPT",
        "-A FORWARD -j common",
        "-A OUTPUT -p icmp -j common",
        "-A OUTPUT -s 10.0.0.1 -p tcp --tcp-flags ALL RST,ACK",
        "-A OUTPUT -o right -j ACCEPT",
        "-A OUTPUT -p udp --sport 4000 --dport 9 -j ACCEPT",
    ];
    let stateful: Vec<&str> = stateless
        .iter()
        .copied()
        .chain([
            "-I INPUT -m state --state NEW",
            "-I INPUT -m state --state ESTABLISHED",
            "-I INPUT -m state --state RELATED",
            "-I INPUT -m state --state INVALID",
            "-I FORWARD -m state --state NEW",
            "-I OUTPUT -m state --state NEW",
            "-I OUTPUT -m state --state ESTABLISHED",
            "-I OUTPUT -m state --state RELATED",
            "-I OUTPUT -m state --state INVALID",
        ])
        .collect();
    for rules in [stateless, &stateful] {
        let kernel = Town::new();
        kernel.kernel_forwards(true);
        let expected = play(&kernel, &Judge::Kernel(&kernel), rules);
        let town = Town::new();
        let mut daemon = start(&town);
        assert_eq!(play(&town, &Judge::Weir(&daemon), rules), expected);
        assert_conserved(&mut daemon);
    }
}
