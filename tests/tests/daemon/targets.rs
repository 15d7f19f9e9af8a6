//! What rules do beyond letting pass and dropping: rejected packets are answered, and lines are written.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};

use weir_tests::skip_unless;

use crate::link;
use crate::town::{
    ALICE, BOB, SOON, Town, assert_conserved, config, dropped, errors, event, eventually, log,
    run_weir,
};

#[test]
fn who_is_rejected_hears_of_it_at_once() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    for rule in [
        "-A FORWARD -m state --state INVALID -j DROP",
        "-A FORWARD -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
        "-A FORWARD -p udp --dport 9 -j REJECT",
        "-A FORWARD -p icmp -j REJECT --reject-with icmp-admin-prohibited",
    ] {
        daemon.iptables(rule).expect("taken");
    }
    let connect = |port: u16| {
        let _inside = town.alice.enter().expect("inside");
        let to: SocketAddr = format!("{BOB}:{port}").parse().expect("an address");
        TcpStream::connect_timeout(&to, SOON).map(|_| ()).map_err(|error| error.kind())
    };
    assert_eq!(connect(81), Err(ErrorKind::ConnectionRefused), "a reset");
    let udp = link::socket(&town.alice, &format!("{ALICE}:5000"));
    udp.connect(format!("{BOB}:9")).expect("a peer");
    udp.send(b"anybody?").expect("sent");
    let refused = || udp.recv(&mut [0; 9]).map_err(|error| error.kind());
    eventually("port unreachable", || refused() == Err(ErrorKind::ConnectionRefused));
    let ping = town.alice.run(&format!("ping -n -c 1 -W 2 {BOB}")).expect_err("rejected");
    assert!(ping.to_string().contains("Packet filtered"), "{ping}");
    assert_eq!(dropped(&daemon, "reject"), 3);
    assert_conserved(&mut daemon);
}

#[test]
fn lines_are_written_to_the_file_or_among_the_messages() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let file = town.folder.path().join("packets.log");
    let rule = "-A FORWARD -s 10.0.0.2 -p icmp -j LOG --log-level debug --log-prefix ping:";
    let said = "ping:IN=left OUT=right MAC=";
    let mut daemon = town.start_with(&config("drop", &format!("[log]\nfile = {file:?}\n")));
    daemon.iptables(rule).expect("taken");
    assert!(town.pings(BOB), "it goes on to the next rule");
    let written = || fs::read_to_string(&file).expect("the file");
    eventually("a line", || written().contains('\n'));
    let line = written();
    assert!(line.contains(&format!("Z debug {said}")), "{line}");
    assert!(line.contains(" SRC=10.0.0.2 DST=192.168.0.2 LEN=84 "), "{line}");
    assert_eq!((event(&daemon, "logged"), event(&daemon, "log_unwritten")), (1, 0));
    fs::rename(&file, town.folder.path().join("old.log")).expect("turned over");
    assert!(town.pings(BOB));
    eventually("a new file", || file.exists() && written().contains(said));
    assert!(!log(&daemon).contains(said), "once is enough");
    assert_conserved(&mut daemon);
    daemon.stop().expect("it ends");

    let daemon = town.start("drop");
    daemon.iptables(rule).expect("taken");
    assert!(town.pings(BOB));
    eventually("a message", || log(&daemon).contains(said));
    daemon.stop().expect("it ends");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_touched() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let toml = town.folder.path().join("weir.toml");
    let folder = town.folder.path().display().to_string();
    fs::write(&toml, config("drop", &format!("[log]\nfile = \"{folder}\"\n"))).expect("a file");
    for command in ["check", "run"] {
        let ended = run_weir(&town, &[command, "--config", &toml.to_string_lossy()]);
        let said = errors(&ended) + &String::from_utf8_lossy(&ended.stdout);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains("log.file") && said.contains(&folder), "{said}");
    }
    assert_eq!(town.program_on("left"), "");
}
