//! The harness itself: namespaces appear and vanish, children end, a panic cleans up too.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use weir_tests::netns::{self, Namespace, Veth};
use weir_tests::process::{self, Process};
use weir_tests::sniff::{Direction, PYTHON, Sniffer};
use weir_tests::weir::{Binaries, Daemon};
use weir_tests::{Error, skip_unless};

const SOON: Duration = Duration::from_secs(20);

/// Whether a process with this id runs; one that is dead and not yet waited for does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')))
}

/// Whether a namespace of this name exists.
fn exists(name: &str) -> bool {
    netns::list().expect("ip netns list").iter().any(|listed| listed == name)
}

/// The command with these arguments.
fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}

/// A folder for logs that is removed at the end.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Two namespaces with a cable between them.
fn pair() -> (Namespace, Namespace) {
    let left = Namespace::unique("left").expect("a namespace");
    let right = Namespace::unique("right").expect("a namespace");
    Veth::between(&left, "eth0", &right, "eth0")
        .macs("02:00:00:00:00:01", "02:00:00:00:00:02")
        .queues(2)
        .create()
        .expect("a veth pair");
    left.add_address("eth0", "10.9.0.1/24").expect("an address");
    right.add_address("eth0", "10.9.0.2/24").expect("an address");
    (left, right)
}

#[test]
fn a_namespace_appears_and_vanishes() {
    skip_unless!(root, command "ip");
    let namespace = Namespace::unique("appears").expect("a namespace");
    let name = namespace.name().to_owned();
    assert!(exists(&name));
    assert!(namespace.ip("-o link show lo").expect("lo").contains("LOOPBACK,UP"));
    drop(namespace);
    assert!(!exists(&name));
}

#[test]
fn a_panic_cleans_up() {
    skip_unless!(root, command "ip", command "sleep");
    let folder = folder();
    let mut seen = (String::new(), 0);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let namespace = Namespace::unique("panic").expect("a namespace");
        let child = with(namespace.command("sleep"), &["600"]);
        let child = Process::spawn("sleep", child, &folder.path().join("log")).expect("a child");
        seen = (namespace.name().to_owned(), child.pid());
        assert!(exists(&seen.0) && runs(seen.1));
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert!(!exists(&seen.0), "the namespace stays");
    assert!(!runs(seen.1), "the child stays");
}

#[test]
fn a_namespace_takes_its_processes_with_it() {
    skip_unless!(root, command "ip", command "sleep");
    let folder = folder();
    let namespace = Namespace::unique("takes").expect("a namespace");
    // It does not follow SIGTERM, and its owner lets go of it.
    let mut command = namespace.command("sh");
    command.args(["-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]);
    let mut child = Process::spawn("deaf", command, &folder.path().join("log")).expect("a child");
    child.wait_for_line("deaf", SOON).expect("it starts");
    let pid = child.pid();
    child.keep();
    drop(namespace);
    let status = child.status().expect("a status").map(|status| status.to_string());
    assert!(status.is_none_or(|status| status.contains("signal: 9")), "process {pid} stays");
}

#[test]
fn a_cable_carries_packets_with_the_given_devices() {
    skip_unless!(root, command "ip", command "ping");
    let (left, right) = pair();
    left.run("ping -n -c 1 -W 5 10.9.0.2").expect("an answer");
    let device = right.ip("-d link show eth0").expect("the device");
    assert!(device.contains("02:00:00:00:00:02"), "{device}");
    assert!(device.contains("numtxqueues 2") && device.contains("numrxqueues 2"), "{device}");
}

#[test]
fn a_thread_enters_and_leaves() {
    skip_unless!(root, command "ip");
    let own = || fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
    let home: PathBuf = own();
    let (left, right) = pair();
    let receiver = {
        let _inside = right.enter().expect("inside");
        assert_ne!(own(), home);
        UdpSocket::bind("10.9.0.2:0").expect("a socket in there")
    };
    assert_eq!(own(), home);
    receiver.set_read_timeout(Some(SOON)).expect("a timeout");
    {
        let _inside = left.enter().expect("inside");
        let sender = UdpSocket::bind("10.9.0.1:0").expect("a socket in there");
        sender.send_to(b"hello", receiver.local_addr().expect("an address")).expect("sent");
    }
    let mut buffer = [0; 16];
    let (len, from) = receiver.recv_from(&mut buffer).expect("a packet");
    assert_eq!((&buffer[..len], from.ip().to_string().as_str()), (&b"hello"[..], "10.9.0.1"));
}

#[test]
fn settings_are_the_namespace_s_own() {
    skip_unless!(root, command "ip");
    let namespace = Namespace::unique("settings").expect("a namespace");
    let read = || fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("a setting");
    let before = read();
    for value in ["1", "0"] {
        namespace.set("net/ipv4/ip_forward", value).expect("set");
        let _inside = namespace.enter().expect("inside");
        assert_eq!(read().trim(), value);
    }
    assert_eq!(read(), before);
    let error = namespace.set("net/ipv4/no_such_setting", "1").expect_err("no such setting");
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn a_line_is_awaited_and_an_early_end_is_told() {
    skip_unless!(command "sh");
    let folder = folder();
    let sh = |script: &str, log: &str| {
        let command = with(Command::new("sh"), &["-c", script]);
        Process::spawn("script", command, &folder.path().join(log)).expect("a child")
    };
    let mut talks = sh("echo first >&2; echo second; exec sleep 600", "talks");
    assert_eq!(talks.wait_for_line("sec", SOON).expect("the line"), "second");
    let pid = talks.pid();
    let status = talks.stop().expect("a status");
    assert!(status.to_string().contains("SIGTERM") && !runs(pid), "{status}");

    let error = sh("echo the reason >&2; exit 4", "dies").wait_for_line("ready", SOON);
    let error = error.expect_err("it died").to_string();
    assert!(error.contains("exit status: 4") && error.contains("| the reason"), "{error}");

    let short = Duration::from_millis(30);
    let error = sh("exec sleep 600", "silent").wait_for_line("ready", short).expect_err("late");
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[test]
fn a_daemon_is_started_asked_and_stopped() {
    skip_unless!(root, command "ip");
    let folder = folder();
    // Two scripts stand for Weir: what is tested is how the harness treats them.
    let script = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).expect("executable");
        file
    };
    let binaries = Binaries {
        weir: script("weir", "cat $3; echo weir is ready >&2; exec sleep 600"),
        weirctl: script("weirctl", "shift 2; [ \"$*\" = 'iptables -Q' ] && exit 2; echo \"$*\""),
    };
    let namespace = Namespace::unique("daemon").expect("a namespace");
    let config = "socket = \"/elsewhere\"\n";
    let daemon = Daemon::start(&binaries, &namespace, config, folder.path()).expect("a daemon");
    let pid = daemon.pid();
    let own_socket = format!("socket = \"{}\"", daemon.socket().display());
    assert!(daemon.log().expect("a log").contains(&own_socket));
    let printed = daemon.iptables("-A FORWARD -j DROP").expect("taken");
    assert_eq!(printed.trim(), "iptables -A FORWARD -j DROP");
    let error = daemon.iptables("-Q").expect_err("refused");
    assert!(error.to_string().contains("exit status: 2"), "{error}");
    daemon.stats().expect_err("no JSON");
    daemon.stop().expect("a status");
    assert!(!runs(pid));

    let binaries = Binaries { weir: script("weir", "echo no such device >&2; exit 1"), ..binaries };
    let error = Daemon::start(&binaries, &namespace, config, folder.path()).expect_err("died");
    assert!(error.to_string().contains("| no such device"), "{error}");
}

#[test]
fn the_sniffer_sees_the_trojan_s_packets_and_no_others() {
    skip_unless!(root, command "ip", command "/usr/bin/python3");
    let (left, right) = pair();
    let folder = folder();
    let log = |name: &str| -> PathBuf { Path::join(folder.path(), name) };
    let mut out = Sniffer::start(&left, "eth0", Direction::Outgoing, [10, 9, 0, 2], &log("out"))
        .expect("a sniffer");
    let mut arrives =
        Sniffer::start(&right, "eth0", Direction::Incoming, [10, 9, 0, 1], &log("in"))
            .expect("a sniffer");

    // Plain sockets stand for the trojan: the text makes the packet.
    let script = "import socket
for text in (b'innocent', b'The $ecret system time of Bob\\'s particle accelerator is: now'):
    with socket.create_connection(('10.9.0.2', 7331), timeout=10) as peer:
        peer.sendall(text)
";
    let listener = {
        let _inside = right.enter().expect("inside");
        std::net::TcpListener::bind("10.9.0.2:7331").expect("a listener")
    };
    let command = with(left.command(PYTHON), &["-c", script]);
    process::run(command, SOON).expect("it sends");
    drop(listener);

    let sent = out.packets(&left).expect("what left");
    let arrived = arrives.packets(&right).expect("what arrived");
    assert_eq!(sent, arrived);
    let [leak] = &sent[..] else { panic!("one packet, not {sent:?}") };
    assert_eq!((leak.destination.as_str(), leak.destination_port), ("10.9.0.2", 7331));
    assert_eq!(leak.flags, "PSH, ACK");
    assert!(leak.payload.starts_with("The $ecret system time"), "{}", leak.payload);
    assert_eq!(out.packets(&left).expect("nothing more"), []);
}
