//! The control socket in the hands of strangers: every message that is not a request gets a reason
//! or a closed connection, nobody else waits for it, and the packets do not notice.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir_control::protocol::{PROTOCOL_VERSION, REQUEST_BYTES_MAX};
use weir_tests::weir::Daemon;
use weir_tests::{process, skip_unless};

use crate::town::{
    ALICE, BOB, SOON, Town, assert_conserved, binaries, config, errors, eventually, log,
    run_weirctl, status,
};

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.set_write_timeout(Some(SOON)).expect("a timeout");
    stream
}

/// A connection that has been answered, so that it counts as one of those allowed. The first tries
/// may be turned away, as long as the harness's own client is leaving.
fn admitted(daemon: &Daemon) -> UnixStream {
    let start = Instant::now();
    loop {
        let mut stream = connect(daemon);
        let sent = stream.write_all(&request(&json!("status")));
        let answer = sent.ok().and_then(|()| answer(&mut stream));
        if answer.is_some_and(|answer| answer["body"]["error"].is_null()) {
            return stream;
        }
        assert!(start.elapsed() < SOON, "there is no room for one more");
        thread::sleep(Duration::from_millis(20));
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("short").to_le_bytes();
    [&length[..], body].concat()
}

/// The next answer; `None` when the daemon has hung up.
fn answer(stream: &mut UnixStream) -> Option<Value> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut body).expect("a whole answer");
    Some(serde_json::from_slice(&body).expect("JSON"))
}

/// Sends these bytes on a connection of their own; the answer.
fn ask(daemon: &Daemon, bytes: &[u8]) -> Option<Value> {
    let mut stream = connect(daemon);
    // The daemon may hang up before it has read all.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    answer(&mut stream)
}

fn request(body: &Value) -> Vec<u8> {
    framed(json!({ "version": PROTOCOL_VERSION, "body": body }).to_string().as_bytes())
}

#[test]
fn what_is_no_request_is_answered_with_the_reason() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let reason = |bytes: &[u8]| {
        let answer = ask(&daemon, bytes).expect("an answer");
        assert_eq!(answer["version"], PROTOCOL_VERSION);
        answer["body"]["error"].to_string()
    };
    let too_long = u32::try_from(REQUEST_BYTES_MAX + 1).expect("short").to_le_bytes();
    for (bytes, words) in [
        (framed(b"hello"), "malformed"),
        (framed(b""), "malformed"),
        (framed(b"null"), "malformed"),
        (framed(&[0xff; 300]), "malformed"),
        (framed(format!("{{\"version\":{PROTOCOL_VERSION}}}").as_bytes()), "body"),
        (framed(b"{\"version\":1,\"body\":\"status\"}"), "version"),
        (framed(b"{\"version\":-1,\"body\":\"status\"}"), "u32"),
        (framed(b"{\"version\":77,\"body\":{\"dance\":1}}"), "77"),
        (request(&json!("dance")), "dance"),
        (request(&json!({ "iptables": { "command": "A" } })), "malformed"),
        (framed("[".repeat(200_000).as_bytes()), "malformed"),
        (too_long.to_vec(), "67108865"),
        (u32::MAX.to_le_bytes().to_vec(), "4294967295"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "limit"),
    ] {
        let said = reason(&bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(said.contains(words), "{shown:?}: {said}");
    }
    // Cut off at every place, and not a request at all: hung up on without a word.
    let whole = request(&json!("status"));
    for cut in 0..whole.len() {
        assert_eq!(ask(&daemon, &whole[..cut]), None, "cut off after {cut} bytes");
    }
    assert!(ask(&daemon, &whole).expect("an answer")["body"]["ok"]["status"].is_object());
    // Many on one connection, one of them wrong in its body only.
    let mut stream = connect(&daemon);
    for body in [json!("status"), json!("ports"), json!("dance"), json!("stats")] {
        stream.write_all(&request(&body)).expect("sent");
        let answer = answer(&mut stream).expect("an answer");
        assert_eq!(answer["body"]["error"].is_null(), body != "dance", "{answer}");
    }
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}

#[test]
fn slow_and_silent_clients_hold_up_nobody() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let rest = "[control]\nclients_max = 3\ntimeout_ms = 1000\n";
    let mut daemon = town.start_with(&config("drop", rest));
    // One says nothing more, one announces and does not send, one sends a byte now and then.
    let _silent = admitted(&daemon);
    let mut announcing = admitted(&daemon);
    announcing.write_all(&100_u32.to_le_bytes()).expect("sent");
    let slow = admitted(&daemon);
    let dripping = thread::spawn(move || {
        let start = Instant::now();
        let whole = request(&json!("status"));
        for byte in whole.iter().cycle() {
            let sent = (&slow).write_all(&[*byte]);
            if sent.is_err() || start.elapsed() > SOON {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        start.elapsed()
    });
    // A fourth is told so at once, by a reason and a status.
    let mut turned_away = false;
    for _ in 0..20 {
        let fourth = run_weirctl(daemon.socket(), &["status"]);
        if !fourth.status.success() {
            assert!(errors(&fourth).contains("3 clients are connected"), "{}", errors(&fourth));
            turned_away = true;
            break;
        }
    }
    assert!(turned_away, "there is a limit");
    eventually("their time is over", || run_weirctl(daemon.socket(), &["status"]).status.success());
    assert!(dripping.join().expect("it ended") < SOON, "a drip is no life line");
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}

#[test]
fn a_client_that_does_not_read_its_answers_is_dropped() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start_with(&config("drop", "[control]\ntimeout_ms = 500\n"));
    let mut stream = connect(&daemon);
    stream.set_write_timeout(Some(Duration::from_millis(2000))).expect("a timeout");
    let whole = request(&json!("stats"));
    let start = Instant::now();
    while stream.write_all(&whole).is_ok() {
        assert!(start.elapsed() < SOON, "it goes on for ever");
    }
    daemon.ctl("status").expect("others are served");
    assert_conserved(&mut daemon);
}

#[test]
fn strangers_are_refused_by_mode_and_by_credentials() {
    skip_unless!(root, command "ip", command "setpriv");
    let town = Town::new();
    let mut daemon = town.start("drop");
    let folder = town.folder.path();
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it exists").permissions().mode();
    assert_eq!(mode(daemon.socket()) & 0o777, 0o600);
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("open");
    let weirctl = folder.join("weirctl");
    fs::copy(&binaries().weirctl, &weirctl).expect("copied");
    let as_nobody = |words: &str| {
        let mut command = process::words("setpriv --reuid 65534 --regid 65534 --clear-groups");
        command.arg(&weirctl).arg("--socket").arg(daemon.socket()).args(words.split(' '));
        let ended = process::output(command, SOON).expect("it ends");
        assert!(!ended.status.success());
        errors(&ended)
    };
    let said = as_nobody("status");
    assert!(said.contains("permission denied") && said.contains("root"), "{said}");
    // Somebody has opened the file: the credentials still decide.
    fs::set_permissions(daemon.socket(), fs::Permissions::from_mode(0o666)).expect("open");
    for words in ["status", "iptables -P FORWARD DROP"] {
        let said = as_nobody(words);
        assert!(said.contains("user 65534 may not"), "{words}: {said}");
    }
    assert!(town.pings(BOB), "the policy is still ACCEPT");
    assert_conserved(&mut daemon);
}

#[test]
fn status_and_stats_are_json_and_words() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start("drop");
    assert!(town.pings(BOB));
    let told = status(&daemon);
    assert_eq!(told["pid"], daemon.pid());
    assert_eq!((&told["on_exit"], &told["mode"]), (&"drop".into(), &"route".into()));
    assert_eq!(told["ports"][0]["addresses"], json!(["10.0.0.1/24"]));
    assert_eq!(told["ports"][1]["rung"], "driver copy");
    let stats = daemon.stats().expect("JSON");
    assert_eq!(stats["ports"][0]["received_packets"], 1);
    assert_eq!(stats["ports"][0]["xdp"]["redirected"], 1);
    assert_eq!(stats["ports"][1]["transmitted_packets"], 1);
    for (words, expected) in [("status", "left"), ("stats", "received"), ("stats", "right")] {
        let printed = daemon.ctl(words).expect("words");
        assert!(printed.contains(expected), "{words}: {printed}");
    }
    let listing = daemon.ctl("--json iptables -L").expect("a listing");
    let _: Value = serde_json::from_str(&listing).expect("JSON");
    assert!(!log(&daemon).contains(ALICE), "packets are not logged");
    assert_conserved(&mut daemon);
}
