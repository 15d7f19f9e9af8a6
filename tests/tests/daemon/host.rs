//! `host = "firewalled"`: what the machine itself sends and gets passes through Weir, and INPUT and OUTPUT
//! mean what they mean to the kernel.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use weir_tests::netns::Namespace;
use weir_tests::process::Process;
use weir_tests::skip_unless;
use weir_tests::sniff::PYTHON;
use weir_tests::weir::Daemon;

use crate::six::told;
use crate::town::{
    ALICE, BOB, LEFT, RIGHT, SOON, Town, assert_conserved, config, dropped, errors, eventually,
    log, number, pings, pings_with, run_weir, status,
};
use crate::{link, transfer};

/// The routing table of the machine's own traffic.
const TABLE: &str = "2003134834";

pub(crate) fn firewalled(on_exit: &str, rest: &str) -> String {
    format!("host = \"firewalled\"\n{}", config(on_exit, rest))
}

pub(crate) fn start(town: &Town) -> Daemon {
    town.start_with(&firewalled("drop", ""))
}

pub(crate) fn give(daemon: &Daemon, lines: &[&str]) {
    for line in lines {
        daemon.iptables(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

/// A web server on the firewall, on all of its addresses.
fn web_server(town: &Town) -> Process {
    web_server_at(town, "0.0.0.0")
}

/// A web server on the firewall, at this address; at `::` on all of both families.
pub(crate) fn web_server_at(town: &Town, address: &str) -> Process {
    let folder = town.folder.path().join("www");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("index.html"), "the page").expect("a page");
    let mut command = town.firewall.command(PYTHON);
    command.args(["-u", "-m", "http.server", "80", "--bind", address, "--directory"]).arg(folder);
    let log = town.folder.path().join("www.log");
    let mut server = Process::spawn("web server", command, &log).expect("it starts");
    server.wait_for_line("Serving HTTP", SOON).expect("it serves");
    server
}

/// Whether the page is to be had.
pub(crate) fn reads_page(from: &Namespace, address: &str) -> bool {
    let _inside = from.enter().expect("inside");
    let address = SocketAddr::new(address.parse().expect("an address"), 80);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) else {
        return false;
    };
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.ends_with("the page")
}

#[test]
fn rules_protect_a_web_server_on_the_firewall() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    let _server = web_server(&town);
    let everywhere =
        || [(&town.alice, LEFT), (&town.alice, RIGHT), (&town.bob, LEFT), (&town.bob, RIGHT)];
    assert!(everywhere().iter().all(|(from, at)| reads_page(from, at)));
    // In force when the command returns, and only for whom it is about.
    give(&daemon, &["-A INPUT -s 10.0.0.2 -p tcp --dport 80 -j DROP"]);
    assert!(!reads_page(&town.alice, LEFT) && !reads_page(&town.alice, RIGHT));
    assert!(reads_page(&town.bob, LEFT) && town.pings(LEFT));
    give(&daemon, &["-R INPUT 1 -i right -p tcp --syn -j DROP"]);
    assert!(reads_page(&town.alice, LEFT) && !reads_page(&town.bob, RIGHT));
    // Closed but for the page.
    give(
        &daemon,
        &[
            "-F INPUT",
            "-P INPUT DROP",
            "-A INPUT -m state --state ESTABLISHED -j ACCEPT",
            "-A INPUT -p tcp --dport 80 -m state --state NEW -j ACCEPT",
        ],
    );
    assert!(everywhere().iter().all(|(from, at)| reads_page(from, at)));
    assert!(!town.pings(LEFT), "nobody asked for pings");
    assert!(pings(&town.firewall, ALICE), "answers to the firewall are established");
    assert!(town.pings(BOB), "what passes through is FORWARD's");
    give(&daemon, &["-A FORWARD -p icmp -j DROP"]);
    assert!(!town.pings(BOB) && reads_page(&town.alice, LEFT));
    assert!(dropped(&daemon, "policy") >= 1 && dropped(&daemon, "rule") >= 1);
    assert_conserved(&mut daemon);
}

#[test]
fn output_is_what_the_machine_sends() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    let _server = web_server(&town);
    give(&daemon, &["-A OUTPUT -o right -p icmp -j DROP"]);
    assert!(!pings(&town.firewall, BOB) && pings(&town.firewall, ALICE));
    assert!(!pings(&town.bob, RIGHT), "nor does it answer Bob");
    assert!(town.pings(BOB), "what passes through is not the machine's");
    // Nor by a socket that wants no gateway, or is bound to the interface. (A bound one hears no answer.)
    give(&daemon, &["-A OUTPUT -p icmp -o left", "-Z"]);
    let ping = |options: &str, to: &str| pings_with(&town.firewall, options, to);
    assert!(!ping("-r", BOB) && ping("-r", ALICE));
    assert!(!ping("-I right", BOB) && !ping("-I left", ALICE));
    let saved = daemon.ctl("iptables-save -c").expect("saved");
    for rule in ["-A OUTPUT -o right -p icmp -j DROP", "-A OUTPUT -o left -p icmp"] {
        assert!(saved.contains(&format!("[2:168] {rule}\n")), "{saved}");
    }
    // It may answer, and begin nothing.
    give(
        &daemon,
        &["-F", "-P OUTPUT DROP", "-A OUTPUT -m state --state ESTABLISHED,RELATED -j ACCEPT"],
    );
    assert!(reads_page(&town.alice, LEFT) && town.pings(RIGHT));
    assert!(!pings(&town.firewall, ALICE) && !pings(&town.firewall, BOB));
    assert!(pings(&town.firewall, "127.0.0.1"), "what it sends to itself never meets Weir");
    assert_conserved(&mut daemon);
}

#[test]
fn packets_keep_their_addresses_their_size_and_their_ttl() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    for (to, source) in [(ALICE, LEFT), (BOB, RIGHT)] {
        let printed = town.firewall.run(&format!("ip route get {to}")).expect("a route");
        assert!(printed.contains(&format!("dev weir0 table {TABLE} src {source}")), "{printed}");
        // A TTL of 1 reaches the neighbour, and nobody counts the way through Weir.
        let printed = town.firewall.run(&format!("ping -n -c 1 -W 2 -t 1 {to}")).expect("a ping");
        assert!(printed.contains("ttl=64"), "{printed}");
    }
    assert!(town.alice.run(&format!("ping -n -c 1 -W 2 -t 1 {LEFT}")).is_ok());
    // The kernel knows how large a packet the way takes.
    let firewall = link::socket(&town.firewall, "0.0.0.0:5000");
    for (namespace, address) in [(&town.alice, ALICE), (&town.bob, BOB)] {
        let host = link::socket(namespace, &format!("{address}:5000"));
        for (round, len) in (0..).zip([4, 1472, 1473, 20_000]) {
            let numbers = round * 20..(round + 1) * 20;
            let arrived = link::carry(&firewall, &host, numbers.clone(), len);
            assert_eq!(arrived, link::once_each(numbers.clone()), "{len} bytes to {address}");
        }
    }
    let inside = link::socket(&town.firewall, &format!("{LEFT}:5001"));
    let alice = link::socket(&town.alice, &format!("{ALICE}:5001"));
    for tracking in ["", "-A INPUT -m state --state INVALID -j DROP"] {
        if !tracking.is_empty() {
            give(&daemon, &[tracking]);
        }
        for (round, len) in (0..).zip([4, 1473, 20_000]) {
            let numbers = round * 20..(round + 1) * 20;
            let arrived = link::carry(&alice, &inside, numbers.clone(), len);
            assert_eq!(arrived, link::once_each(numbers), "{len} bytes to the firewall");
        }
    }
    // Nobody has the address: whoever asked is told, as ever.
    let said = told(&town.firewall, "10.0.0.77");
    assert_eq!(said, "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable");
    assert_conserved(&mut daemon);
}

#[test]
fn two_workers_carry_it_both_ways_beside_what_passes_through() {
    skip_unless!(root, command "ip", command "ping");
    carried_both_ways("iptables", &Town::with_queues(2), &firewalled, [LEFT, BOB], 8);
}

/// Connections from, to and past the firewall at once, on two workers: each is on one of them in both directions, and
/// both work. `program` has the rules of the family of the two addresses, the firewall's and Bob's.
pub(crate) fn carried_both_ways(
    program: &str,
    town: &Town,
    config: &dyn Fn(&str, &str) -> String,
    [own, bob]: [&str; 2],
    times: u32,
) {
    let mut daemon = town.start_with(&config("drop", "[workers]\ncount = 2\n"));
    for line in [
        "-P INPUT DROP",
        "-P OUTPUT DROP",
        "-A INPUT -m state --state NEW,ESTABLISHED -j ACCEPT",
        "-A OUTPUT -m state --state NEW,ESTABLISHED -j ACCEPT",
        "-A INPUT -m state --state INVALID",
        "-A OUTPUT -m state --state INVALID",
    ] {
        daemon.ctl(&format!("{program} {line}")).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| transfer::both_ways(&town.alice, &town.bob, bob, 1 << 20));
        scope.spawn(|| {
            for _ in 0..times {
                transfer::both_ways(&town.alice, &town.firewall, own, 1 << 18);
            }
        });
        scope.spawn(|| {
            for _ in 0..times {
                transfer::both_ways(&town.firewall, &town.bob, bob, 1 << 18);
            }
        });
    });
    let listed = daemon.ctl(&format!("{program} -L -v -n -x")).expect("a listing");
    for line in listed.lines().filter(|line| line.contains("state INVALID")) {
        assert!(line.trim_start().starts_with("0 "), "both directions on one worker: {listed}");
    }
    let stats = daemon.stats().expect("stats");
    for worker in stats["workers"].as_array().expect("workers") {
        assert!(number(&worker["totals"]["to_host"]) > 0, "{stats:#}");
    }
    assert_conserved(&mut daemon);
}

#[test]
fn what_is_rejected_hears_of_it_on_both_sides() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    give(
        &daemon,
        &[
            "-A INPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
            "-A INPUT -p icmp -j REJECT --reject-with icmp-admin-prohibited",
            "-A OUTPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
            "-A OUTPUT -p icmp -o right -j REJECT --reject-with icmp-host-prohibited",
        ],
    );
    for (from, to) in [(&town.alice, RIGHT), (&town.firewall, BOB)] {
        let _inside = from.enter().expect("inside");
        let to = format!("{to}:81").parse().expect("an address");
        let refused = TcpStream::connect_timeout(&to, SOON).expect_err("rejected");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
    }
    // Whoever was asked answers; the machine hears from itself.
    let said = told(&town.alice, RIGHT);
    assert_eq!(said, "From 192.168.0.1 icmp_seq=1 Packet filtered");
    let said = told(&town.firewall, BOB);
    assert_eq!(said, "From 192.168.0.1 icmp_seq=1 Destination Host Prohibited");
    for (line, word) in [
        ("-A OUTPUT -m mac --mac-source 02:00:00:00:00:01 -j DROP", "-m mac"),
        ("-A INPUT -m addrtype --src-type UNICAST --limit-iface-out -j DROP", "--limit-iface-out"),
    ] {
        let error = daemon.iptables(line).expect_err(line).to_string();
        assert!(error.contains(word) && error.contains("Invalid argument"), "{line}: {error}");
    }
    give(&daemon, &["-N common", "-A common -m mac --mac-source 02:00:00:00:00:01 -j DROP"]);
    give(&daemon, &["-A INPUT -j common"]);
    let error = daemon.iptables("-A OUTPUT -g common").expect_err("by a way round").to_string();
    assert!(error.contains("-m mac stands where chain OUTPUT leads to"), "{error}");
    assert_conserved(&mut daemon);
}

/// The rules and routes that lead the machine's own traffic to Weir, as `ip` prints them.
fn diversion(town: &Town) -> (String, String) {
    let rules = town.firewall.ip("rule").expect("rules");
    let rules = rules.lines().filter(|line| line.contains(TABLE)).collect::<Vec<_>>().join("\n");
    (rules, town.firewall.ip("route show table all").expect("routes"))
}

/// The machine is reached, and reaches others, by its kernel alone.
fn kernel_serves(town: &Town) {
    for address in [LEFT, RIGHT] {
        assert!(town.pings(address) && pings(&town.bob, address), "{address}");
    }
    assert!(pings(&town.firewall, ALICE) && pings(&town.firewall, BOB));
    assert!(reads_page(&town.alice, LEFT) && reads_page(&town.bob, LEFT));
    assert!(town.firewall.ip("link show weir0").is_err(), "the device is gone");
}

fn serves_after(
    on_exit: &str,
    end: impl Fn(Daemon) -> weir_tests::Result<ExitStatus>,
) -> (Town, String, String) {
    let town = Town::new();
    let _server = web_server(&town);
    let daemon = town.start_with(&firewalled(on_exit, ""));
    give(&daemon, &["-P INPUT DROP"]);
    assert!(!town.pings(LEFT));
    assert!(diversion(&town).0.contains("100:\tfrom all iif lo lookup"));
    end(daemon).expect("a status");
    kernel_serves(&town);
    let (rules, routes) = diversion(&town);
    // And again, over what the first has left.
    let mut daemon = town.start_with(&firewalled(on_exit, ""));
    assert_eq!(diversion(&town).0.lines().count(), 1, "one rule");
    give(&daemon, &["-A INPUT -p icmp -j DROP"]);
    assert!(!town.pings(LEFT) && reads_page(&town.alice, LEFT));
    assert_conserved(&mut daemon);
    (town, rules, routes)
}

#[test]
fn an_orderly_end_undoes_everything() {
    skip_unless!(root, command "ip", command "ping");
    for on_exit in ["drop", "pass"] {
        let (_, rules, routes) = serves_after(on_exit, Daemon::stop);
        assert_eq!(rules, "");
        assert!(!routes.contains(TABLE), "{routes}");
    }
}

#[test]
fn sigkill_leaves_the_machine_reachable() {
    skip_unless!(root, command "ip", command "ping");
    for on_exit in ["drop", "pass"] {
        let (_, rules, routes) = serves_after(on_exit, Daemon::kill);
        // The kernel removes what leads to the device; what is left leads nowhere.
        assert!(rules.contains("iif lo"), "{rules}");
        for line in routes.lines().filter(|line| line.contains(TABLE)) {
            assert!(line.starts_with("throw "), "{line}");
        }
    }
}

#[test]
fn another_start_without_it_is_as_ever() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    start(&town).kill().expect("a status");
    let mut daemon = town.start("drop");
    let refused = daemon.iptables("-A INPUT -j DROP").expect_err("host = \"kernel\"").to_string();
    for word in ["chain INPUT is not enforced", "host = \"kernel\"", "host = \"firewalled\""] {
        assert!(refused.contains(word), "{refused}");
    }
    assert!(town.pings(LEFT) && pings(&town.firewall, BOB));
    assert_conserved(&mut daemon);
}

#[test]
fn routes_are_followed() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    let table = || town.firewall.ip(&format!("route show table {TABLE}")).expect("routes");
    let line = |start: &str| {
        let table = table();
        table.lines().find(|line| line.starts_with(start)).map(str::trim).map(str::to_owned)
    };
    let is = |start: &str, expected: &str| {
        let since = Instant::now();
        while line(start).as_deref() != Some(expected) {
            assert!(since.elapsed() < SOON, "never {expected}:\n{}{}", table(), log(&daemon));
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    is("10.0.0.0/24", "10.0.0.0/24 dev weir0 proto static src 10.0.0.1 mtu 1500");
    is("throw 224", "throw 224.0.0.0/4 proto static");
    // A gateway, a route's own MTU and source, and one that leaves by no port.
    town.firewall.ip("address add 10.9.9.9/32 dev lo").expect("an address");
    town.firewall
        .ip("route add 10.99.0.0/16 via 192.168.0.2 mtu 1400 src 10.9.9.9")
        .expect("a route");
    town.bob.ip("address add 10.99.0.1/32 dev lo").expect("an address");
    town.bob.ip("route add 10.9.9.9/32 via 192.168.0.1").expect("a route");
    is("10.99.0.0/16", "10.99.0.0/16 dev weir0 proto static src 10.9.9.9 mtu 1400");
    eventually("the answer comes back", || pings(&town.firewall, "10.99.0.1"));
    town.firewall.ip("link add aside type veth peer name beside").expect("a device");
    town.firewall.ip("address add 10.7.0.1/24 dev aside").expect("an address");
    town.firewall.ip("link set beside up").expect("up");
    town.firewall.ip("link set aside up").expect("up");
    is("throw 10.7.0.0/24", "throw 10.7.0.0/24 proto static");
    let printed = town.firewall.ip("route get 10.7.0.9").expect("a route");
    assert!(printed.contains("dev aside src 10.7.0.1"), "{printed}");
    let main = town.firewall.ip("route show table main").expect("routes");
    assert!(
        main.contains("10.99.0.0/16 via 192.168.0.2 dev right"),
        "the gateway is where it was: {main}"
    );
    // A smaller MTU; no address, no route; and back.
    town.firewall.ip("link set left mtu 1300").expect("an MTU");
    is("10.0.0.0/24", "10.0.0.0/24 dev weir0 proto static src 10.0.0.1 mtu 1300");
    town.firewall.ip("address flush dev left").expect("no address");
    eventually("gone", || line("10.0.0.0/24").is_none());
    town.firewall.add_address("left", "10.0.0.1/24").expect("an address");
    is("10.0.0.0/24", "10.0.0.0/24 dev weir0 proto static src 10.0.0.1 mtu 1300");
    town.firewall.ip("route delete 10.99.0.0/16").expect("gone");
    eventually("gone", || line("10.99.0.0/16").is_none());
    eventually("reached", || pings(&town.firewall, ALICE) && town.pings(LEFT));
    assert_conserved(&mut daemon);
}

#[test]
fn a_device_that_is_switched_off_or_deleted_comes_back() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    give(&daemon, &["-A INPUT -p icmp -s 192.168.0.2 -j DROP"]);
    town.firewall.ip("link set weir0 down").expect("down");
    let warned = |word: &str| {
        let status = status(&daemon);
        let warnings = status["warnings"].as_array().expect("warnings");
        warnings.iter().any(|warning| warning.as_str().expect("text").contains(word))
    };
    eventually("told", || warned("weir0 is switched off"));
    assert!(!town.pings(LEFT), "nothing slips past INPUT meanwhile");
    town.firewall.ip("link set weir0 up").expect("up");
    let led = || diversion(&town).1.contains("10.0.0.0/24 dev weir0");
    eventually("led to it again", || led() && town.pings(LEFT) && !warned("weir0"));
    town.firewall.ip("link delete weir0").expect("deleted");
    eventually("made again", || led() && town.pings(LEFT));
    assert!(!pings(&town.bob, RIGHT), "the rules are the same");
    assert_eq!(diversion(&town).0.lines().count(), 1, "one rule");
    assert!(log(&daemon).contains("weir0 is gone: it is made again"), "{}", log(&daemon));
    assert_conserved(&mut daemon);
}

#[test]
fn what_somebody_takes_away_is_put_back() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = start(&town);
    give(&daemon, &["-A OUTPUT -p icmp -j DROP"]);
    let ours = || {
        let (rules, routes) = diversion(&town);
        let routes = routes.lines().filter(|route| route.contains(TABLE));
        (rules, routes.map(str::to_owned).collect::<Vec<_>>())
    };
    let before = ours();
    assert!(!pings(&town.firewall, ALICE));
    for (words, told) in [
        ("rule del pref 100", "the routing rule was removed"),
        (&format!("route flush table {TABLE}"), "routes were removed"),
        ("link set weir0 mtu 1300", "MTU was changed"),
    ] {
        town.firewall.ip(words).expect(words);
        eventually(words, || log(&daemon).contains(told));
        eventually("as before", || ours() == before);
        assert!(!pings(&town.firewall, ALICE), "{words}");
    }
    assert_eq!(log(&daemon).matches("put back").count(), 3, "{}", log(&daemon));
    assert!(town.firewall.ip("link show weir0").expect("a device").contains("mtu 1500"));
    assert_conserved(&mut daemon);
}

#[test]
fn what_would_cut_the_machine_off_is_refused_at_the_start() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let file = town.folder.path().join("weir.toml");
    let socket = town.folder.path().join("weir.sock");
    let rest = format!("[control]\nsocket = {:?}\n", socket.display().to_string());
    std::fs::write(&file, firewalled("drop", &rest)).expect("written");
    let file = file.display().to_string();
    let refused = |word: &str| {
        for command in ["check", "run"] {
            let done = run_weir(&town, &[command, "--config", &file]);
            let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), errors(&done));
            assert!(!done.status.success() && said.contains(word), "{command}: {said}");
        }
        assert_eq!(diversion(&town).0, "", "nothing is left behind");
        assert_eq!(town.program_on("left"), "");
    };
    town.firewall.set("net/ipv4/conf/right/rp_filter", "1").expect("a setting");
    refused("echo 2 > /proc/sys/net/ipv4/conf/right/rp_filter");
    town.firewall.set("net/ipv4/conf/right/rp_filter", "0").expect("a setting");
    town.firewall.ip("tuntap add weir0 mode tun").expect("a device");
    refused("there is a device weir0 already");
    town.firewall.ip("link delete weir0").expect("deleted");
    // Strict everywhere, but for the ports: the device's own setting is made to fit.
    for (interface, value) in [("all", "1"), ("left", "2"), ("right", "2")] {
        let key = format!("net/ipv4/conf/{interface}/rp_filter");
        town.firewall.set(&key, value).expect("a setting");
    }
    let mut daemon = start(&town);
    assert_eq!(status(&daemon)["host"], "firewalled");
    assert_eq!(status(&daemon)["host_device"], "weir0");
    assert!(town.pings(LEFT) && pings(&town.firewall, BOB) && town.pings(BOB));
    assert_conserved(&mut daemon);
}
