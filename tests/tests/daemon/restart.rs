//! A restart under connections that are under way.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::{fs, thread};

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::town::{BOB, SOON, Town, assert_conserved, config, eventually, log, number, status};

/// Only what belongs to a connection that was seen from its beginning passes.
const RULES: [&str; 3] = [
    "-A FORWARD -m state --state NEW -p tcp ! --syn -j DROP",
    "-A FORWARD -m state --state INVALID -j DROP",
    "-A FORWARD -p tcp -j ACCEPT",
];

fn start(town: &Town, on_exit: &str, snapshot: Option<&Path>, workers: u32) -> Daemon {
    let snapshot = snapshot.map(|path| format!("snapshot = {path:?}\n")).unwrap_or_default();
    let rest = format!("[conntrack]\ntcp_loose = false\n{snapshot}[workers]\ncount = {workers}\n");
    let daemon = town.start_with(&config(on_exit, &rest));
    for rule in RULES {
        daemon.iptables(rule).expect("a rule");
    }
    daemon
}

/// A connection from Alice to Bob.
fn connection(town: &Town) -> (TcpStream, TcpStream) {
    let listener = {
        let _inside = town.bob.enter().expect("inside");
        TcpListener::bind((BOB, 0)).expect("a listener")
    };
    let address = listener.local_addr().expect("an address");
    let client = {
        let _inside = town.alice.enter().expect("inside");
        TcpStream::connect_timeout(&address, SOON).expect("a connection")
    };
    let server = listener.accept().expect("a client").0;
    for end in [&client, &server] {
        end.set_read_timeout(Some(SOON)).expect("a timeout");
        end.set_write_timeout(Some(SOON)).expect("a timeout");
    }
    (client, server)
}

fn warnings(daemon: &Daemon) -> String {
    status(daemon)["warnings"].to_string()
}

/// A transfer under way, a restart with another number of workers, and whether all arrives.
fn survives(on_exit: &str) {
    let town = Town::with_queues(2);
    let snapshot = town.folder.path().join("flows");
    let daemon = start(&town, on_exit, Some(&snapshot), 1);
    let (mut client, mut server) = connection(&town);
    let (mut idle, mut silent) = connection(&town);
    // The rest is more than all buffers hold.
    const BEFORE: usize = 1 << 20;
    const AFTER: usize = 48 << 20;
    let sender = thread::spawn(move || {
        let sent = client.write_all(&vec![7; BEFORE + AFTER]);
        (client, sent)
    });
    server.read_exact(&mut vec![0; BEFORE]).expect("it flows");
    let ended = daemon.stop().expect("it stops");
    assert!(ended.success() && !sender.is_finished());
    assert_eq!(fs::metadata(&snapshot).expect("written").permissions().mode() & 0o7777, 0o600);
    let mut rest = vec![0; AFTER];
    let mut meanwhile = 0;
    if on_exit == "pass" {
        // Without the firewall, and past everything that it knows of the windows.
        meanwhile = AFTER / 2;
        town.kernel_forwards(true);
        server.read_exact(&mut rest[..meanwhile]).expect("the kernel forwards");
    }
    let mut daemon = start(&town, on_exit, Some(&snapshot), 2);
    town.kernel_forwards(false);
    assert!(!snapshot.exists(), "it is used once");
    server.read_exact(&mut rest[meanwhile..]).expect("it flows on");
    assert!(rest.iter().all(|byte| *byte == 7));
    let (mut client, sent) = sender.join().expect("no panic");
    sent.expect("all is sent");
    // And back, and one that was silent meanwhile.
    for (from, to) in [(&mut server, &mut client), (&mut silent, &mut idle)] {
        from.write_all(b"thanks").expect("sent");
        let mut answer = [0; 6];
        to.read_exact(&mut answer).expect("it arrives");
        assert_eq!(&answer, b"thanks");
    }
    assert!(log(&daemon).contains("2 flows taken over"), "{}", log(&daemon));
    assert_eq!(warnings(&daemon), "[]");
    assert_conserved(&mut daemon);
}

#[test]
fn a_transfer_survives_a_restart_with_another_number_of_workers() {
    skip_unless!(root, command "ip");
    survives("drop");
}

#[test]
fn a_transfer_survives_that_went_on_without_the_firewall() {
    skip_unless!(root, command "ip");
    survives("pass");
}

#[test]
fn without_a_snapshot_or_with_a_bad_one_connections_begin_anew() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let snapshot = town.folder.path().join("flows");
    for damage in [false, true] {
        let daemon = start(&town, "drop", damage.then_some(&*snapshot), 1);
        let (mut client, mut server) = connection(&town);
        client.write_all(b"one").expect("sent");
        server.read_exact(&mut [0; 3]).expect("it flows");
        assert!(daemon.stop().expect("it stops").success());
        if damage {
            let mut bytes = fs::read(&snapshot).expect("written");
            bytes[60] ^= 1;
            fs::write(&snapshot, bytes).expect("damaged");
        }
        let daemon = start(&town, "drop", damage.then_some(&*snapshot), 1);
        client.write_all(b"two").expect("it is on its way");
        eventually("it is dropped as INVALID", || {
            daemon.stats().is_ok_and(|stats| {
                let drops = stats["drops"].as_array().expect("drops").clone();
                drops.iter().any(|drop| drop["reason"] == "rule" && number(&drop["packets"]) > 0)
            })
        });
        let warned = warnings(&daemon);
        assert_eq!(warned.contains("checksum is wrong"), damage, "{warned}");
        assert_eq!(town.folder.path().join("flows.refused").exists(), damage);
        let (mut client, mut server) = connection(&town);
        client.write_all(b"anew").expect("sent");
        server.read_exact(&mut [0; 4]).expect("connections begin");
        assert!(daemon.stop().expect("it stops").success());
    }
}
