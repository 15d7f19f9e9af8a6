//! The binary from outside, with a daemon that has no packets.

mod baseline;
mod conntrack;
mod daemon;
mod ip6tables;
mod lint;
mod set;

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use daemon::Daemon;
use weir_control::client::{Client, ClientError};
use weir_control::protocol::{
    Failure, PROTOCOL_VERSION, REQUEST_BYTES_MAX, RequestBody, Stats, Status, read_frame,
    write_message,
};

const WEIRCTL: &str = env!("CARGO_BIN_EXE_weirctl");

/// Runs `weirctl LINE` and gives status, standard output and standard error.
fn weirctl(socket: &Path, line: &str) -> (i32, String, String) {
    let mut command = Command::new(WEIRCTL);
    command.env("WEIR_SOCKET", socket).args(line.split_ascii_whitespace());
    outcome(command.output().expect("weirctl runs"))
}

fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}

fn done(text: &str) -> (i32, String, String) {
    (0, text.to_owned(), String::new())
}

#[test]
fn rules_are_changed_and_listed() {
    let daemon = Daemon::start();
    let run = |line: &str| weirctl(&daemon.socket(), line);
    assert_eq!(run("iptables -P FORWARD DROP"), done(""));
    assert_eq!(
        run("iptables -A FORWARD -p tcp --dport 80 -s 10.0.0.2,10.0.0.3 -j ACCEPT"),
        done("")
    );
    assert_eq!(
        run("iptables -v -I FORWARD 2 ! -i enp0s8 -p tcp --syn -j DROP"),
        done("DROP  tcp opt -- in !enp0s8 out *  0.0.0.0/0  -> 0.0.0.0/0   tcp flags:0x17/0x02\n")
    );
    assert_eq!(run("iptables -C FORWARD -p tcp --dport 80 -s 10.0.0.3 -j ACCEPT"), done(""));
    assert_eq!(
        run("iptables -S"),
        done(
            "-P FORWARD DROP\n\
             -A FORWARD -s 10.0.0.2/32 -p tcp -m tcp --dport 80 -j ACCEPT\n\
             -A FORWARD ! -i enp0s8 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP\n\
             -A FORWARD -s 10.0.0.3/32 -p tcp -m tcp --dport 80 -j ACCEPT\n"
        )
    );
    assert_eq!(
        run("iptables -nvL FORWARD"),
        done(
            "Chain FORWARD (policy DROP 0 packets, 0 bytes)\n \
             pkts bytes target     prot opt in     out     source               destination         \n    \
             7   700 ACCEPT     6    --  *      *       10.0.0.2             0.0.0.0/0            tcp dpt:80\n    \
             7   700 DROP       6    --  !enp0s8 *       0.0.0.0/0            0.0.0.0/0            tcp flags:0x17/0x02\n    \
             7   700 ACCEPT     6    --  *      *       10.0.0.3             0.0.0.0/0            tcp dpt:80\n"
        )
    );
    assert_eq!(run("iptables -S FORWARD 2 -v -Z").1.matches("-c 7 700").count(), 1);
    assert_eq!(run("iptables -S FORWARD -v").1.matches("-c 0 0").count(), 4);
    assert_eq!(run("iptables -F -v"), done("Flushing chain `FORWARD'\n"));
    assert_eq!(run("iptables -S"), done("-P FORWARD DROP\n"));
}

#[test]
fn failures_have_the_status_of_iptables() {
    let daemon = Daemon::start();
    let run = |line: &str| weirctl(&daemon.socket(), line);
    let failed = |status, text: &str| (status, String::new(), format!("{text}\n"));
    assert_eq!(run("iptables -D FORWARD 9"), failed(1, "iptables: Index of deletion too big."));
    let (status, stdout, stderr) = run("iptables -A FORWARD -m quota --quota 3");
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(stderr.contains("match `quota' is known to iptables"), "{stderr}");
    assert_eq!(run("iptables -t nope -L").0, 3);
    // No daemon is needed to be told of a mistake.
    let nowhere = daemon.directory.path().join("nowhere");
    assert_eq!(weirctl(&nowhere, "iptables -A FORWARD --nope").0, 2);
    let (status, stdout, stderr) = weirctl(&nowhere, "iptables -L");
    assert_eq!((status, stdout.as_str()), (4, ""));
    let expected = format!(
        "iptables: no weir daemon is running: there is no socket {}. Start it with `weir run --config FILE`; if it listens elsewhere, set WEIR_SOCKET or use `weirctl --socket PATH`\n",
        nowhere.display()
    );
    assert_eq!(stderr, expected);
    assert_eq!(weirctl(&nowhere, "status").0, 1);
    assert_eq!(weirctl(&nowhere, "nonsense").0, 2);
}

#[test]
fn a_link_named_iptables_is_iptables() {
    let daemon = Daemon::start();
    let link = daemon.directory.path().join("iptables");
    std::os::unix::fs::symlink(WEIRCTL, &link).expect("link");
    let run = |line: &str| {
        let mut command = Command::new(&link);
        command.env("WEIR_SOCKET", daemon.socket()).args(line.split_ascii_whitespace());
        outcome(command.output().expect("the link runs"))
    };
    assert_eq!(run("-A FORWARD -j DROP"), done(""));
    assert_eq!(run("-S FORWARD 1"), done("-A FORWARD -j DROP\n"));
    assert_eq!(
        run("--version"),
        done(&format!("iptables v1.8.11 (weir {})\n", env!("CARGO_PKG_VERSION")))
    );
    assert!(run("-h").1.contains("Usage: iptables -[ACD] CHAIN"));
    // These are weirctl's, not iptables'.
    assert_eq!(run("--json -S").0, 2);
    assert_eq!(run("status").0, 2);
}

#[test]
fn options_of_weirctl_end_at_the_word_iptables() {
    let daemon = Daemon::start();
    let nowhere = Path::new("/nonexistent/socket");
    let socket = daemon.socket().display().to_string();
    for form in [format!("--socket {socket} iptables -S"), format!("--socket={socket} iptables -S")]
    {
        assert_eq!(weirctl(nowhere, &form), done("-P FORWARD ACCEPT\n"));
    }
    assert!(weirctl(nowhere, "iptables --help").1.starts_with("iptables v1.8.11"));
    assert!(weirctl(nowhere, "iptables --json -S").2.contains("unknown option \"--json\""));
    assert!(weirctl(nowhere, "iptables").2.contains("no command specified"));
}

#[test]
fn listings_are_json_on_demand() {
    let daemon = Daemon::start();
    let run = |line: &str| weirctl(&daemon.socket(), line);
    assert_eq!(
        run("--json iptables -A FORWARD -p udp --dport 53 -j DROP"),
        done("{\n  \"policy_epoch\": 1\n}\n")
    );
    let (status, stdout, stderr) = run("--json iptables -L");
    assert_eq!((status, stderr.as_str()), (0, ""));
    let listed: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    let expected = serde_json::json!({ "table": "filter", "chains": [{
        "name": "FORWARD", "policy": "ACCEPT", "references": 0, "packets": 0, "bytes": 0,
        "rules": [{
            "number": 1, "id": 1, "packets": 7, "bytes": 700,
            "line": "-A FORWARD -p udp -m udp --dport 53 -j DROP",
            "protocol": { "value": 17 },
            "matches": [{ "udp": { "destination_ports": { "value": [53, 53] } } }],
            "target": "DROP",
        }],
    }] });
    assert_eq!(listed, expected);
}

#[test]
fn status_is_for_people_and_for_programs() {
    let daemon = Daemon::start();
    let (status, json, _) = weirctl(&daemon.socket(), "status --json");
    let parsed: Status = serde_json::from_str(&json).expect("a status");
    assert_eq!((status, parsed), (0, daemon::status()));
    let (status, text, stderr) = weirctl(&daemon.socket(), "status");
    assert_eq!((status, stderr.as_str()), (0, ""));
    let expected = "\
weir 0.1.0, process 4711, up 1 h 1 min
mode route, host firewalled by weir0, on exit pass, from /etc/weir/weir.toml
12 rules, policy epoch 3, worker 1 still enforces 2
connection tracking off, until a rule asks for it
8 192 frames: 4 000 free, 4 180 lent to the kernel, 2 held, 10 in flight
port enp0s3 is closed: the interface is gone
one core is shared

Ports
 name    state   by           queues   mtu  mac                addresses    ifindex
 enp0s8  up      driver copy       2  1500  02:00:00:00:00:01  10.0.0.1/24        4
 enp0s3  closed  driver copy       2  1500  02:00:00:00:00:01  10.0.0.1/24        4

Workers
 id        core  state      polls  epoch
  0           1  busy   1 234 567      3
  1  not pinned  idle           9      2
";
    assert_eq!(text, expected);
    let (status, text, _) = weirctl(&daemon.socket(), "ports");
    let ports = expected.split("Ports\n").nth(1).and_then(|rest| rest.split("\nWorkers").next());
    let expected =
        format!("port enp0s3 is closed: the interface is gone\n{}", ports.unwrap_or_default());
    assert_eq!((status, text), (0, expected));
    let (_, json, _) = weirctl(&daemon.socket(), "ports --json");
    let parsed: Vec<weir_control::protocol::PortStatus> =
        serde_json::from_str(&json).expect("JSON");
    assert_eq!(parsed, daemon::status().ports);
}

#[test]
fn limits_are_for_people_and_for_programs() {
    let daemon = Daemon::start();
    let (status, json, _) = weirctl(&daemon.socket(), "limits --json");
    let parsed: Vec<weir_control::protocol::LimitReport> =
        serde_json::from_str(&json).expect("JSON");
    assert_eq!((status, parsed), (0, daemon::limits(10)));
    let (status, text, stderr) = weirctl(&daemon.socket(), "limits --top 1");
    assert_eq!((status, stderr.as_str()), (0, ""));
    let expected = "\
fuzzy of a rule, IPv4
-A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 -j REJECT
 key     pps  accepted
 all  20 000       1 %

hashlimit web, IPv6
-m hashlimit --hashlimit-upto 10/sec --hashlimit-name web
1 234 keys, room for 65 536
 key        pps  credit
 10.0.0.66          0 %

fuzzy of a rule, IPv4
-A FORWARD -m fuzzy --fuzzy-mode srcip -j DROP
2 keys, room for 65 536
1 dropped early, by the XDP program
 key           pps  accepted
 10.0.0.66  90 000     < 1 %
";
    assert_eq!(text, expected);
    let (status, _, stderr) = weirctl(&daemon.socket(), "limits --top 1001");
    assert!(status == 2 && stderr.contains("1001 is not in 0..=1000"), "{stderr}");
}

#[test]
fn stats_are_for_people_and_for_programs() {
    let daemon = Daemon::start();
    let (status, json, _) = weirctl(&daemon.socket(), "--json stats");
    let parsed: Stats = serde_json::from_str(&json).expect("statistics");
    assert_eq!((status, parsed), (0, daemon::stats()));
    let (status, text, stderr) = weirctl(&daemon.socket(), "stats");
    assert_eq!((status, stderr.as_str()), (0, ""));
    let expected = "\
Packets
              count
 received     1 000
 originated       0
 handed in        0
 transmitted    900
 to host          0
 handed out       0
 dropped         98
 absorbed         0
 held now         2

Early drop
 5 000 packets of blocked sources, 300 000 bytes: dropped before they were received
 2 entries in the blocklist, 0 of them by the limiter; 1 in the allowlist

Drops
 reason  packets
 policy       98
";
    assert!(text.starts_with(expected), "{text}");
    for line in [
        " poll to poll     10  900 ns  1.5 us  20.0 us  3.0 ms  4.0 ms\n",
        " forwarding        0       -       -        -       -       -\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn watching_ends_quietly_when_the_reader_leaves() {
    let daemon = Daemon::start();
    let mut child = Command::new(WEIRCTL)
        .args(["--json", "stats", "--watch", "1"])
        .env("WEIR_SOCKET", daemon.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weirctl runs");
    let mut stdout = child.stdout.take().expect("piped");
    let mut first = [0; 1];
    stdout.read_exact(&mut first).expect("something is printed");
    drop(stdout);
    let ended = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(ended, done(""));
}

#[test]
fn pages_are_made() {
    let nowhere = Path::new("/nonexistent/socket");
    for shell in ["bash", "zsh", "fish"] {
        let (status, script, _) = weirctl(nowhere, &format!("completions {shell}"));
        assert_eq!((status, script.contains("weirctl")), (0, true));
    }
    assert!(weirctl(nowhere, "man").1.contains(".TH weirctl 1"));
    let directory = tempfile::tempdir().expect("temporary directory");
    let (status, _, stderr) = weirctl(nowhere, &format!("man {}", directory.path().display()));
    assert_eq!((status, stderr.as_str()), (0, ""));
    for page in ["weirctl.1", "weirctl-conntrack-list.1", "weirctl-iptables.1", "weirctl-status.1"]
    {
        assert!(directory.path().join(page).exists(), "{page}");
    }
    let (status, _, stderr) = weirctl(nowhere, "man /nonexistent");
    assert_eq!(status, 1);
    assert!(stderr.contains("cannot write the manual pages to /nonexistent"), "{stderr}");
}

#[test]
fn a_daemon_of_another_release_is_named() {
    let daemon = Daemon::with(|stream| {
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
        let answer = serde_json::json!({ "version": 99, "body": { "news": [] } });
        write_message(stream, &answer, 1_000).expect("the client reads");
    });
    let (status, _, stderr) = weirctl(&daemon.socket(), "iptables -S");
    assert_eq!(status, 3);
    let expected = format!(
        "iptables: this weirctl speaks control protocol version {PROTOCOL_VERSION}, the running weir speaks version 99: run the weirctl of the same release as the daemon, or restart the daemon after an upgrade\n"
    );
    assert_eq!(stderr, expected);
}

#[test]
fn a_daemon_that_refuses_breaks_off_or_hangs_is_explained() {
    let refusing = Daemon::with(|stream| {
        let busy =
            Failure::Busy { reason: "16 clients are connected, the most allowed".to_owned() };
        let response = weir_control::protocol::Response::new(Err(busy));
        // Without reading the request: the client may find the connection reset.
        let _ = write_message(stream, &response, 1_000);
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
    });
    let (status, _, stderr) = weirctl(&refusing.socket(), "iptables -S");
    assert_eq!(status, 4);
    assert_eq!(
        stderr,
        "iptables: the daemon is not taking requests: 16 clients are connected, the most allowed\n"
    );
    let closing = Daemon::with(|stream| {
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
    });
    let (status, _, stderr) = weirctl(&closing.socket(), "iptables -F");
    assert_eq!(status, 4);
    assert!(stderr.contains("whether the command is in force is unknown"), "{stderr}");
    let hanging = Daemon::with(|stream| {
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
        // Until the client gives up and closes.
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
    });
    let (status, _, stderr) = weirctl(&hanging.socket(), "iptables -F -w 1");
    assert_eq!(status, 4);
    assert!(stderr.starts_with("iptables: the daemon did not answer within 1 s"), "{stderr}");
}

#[test]
fn sockets_that_lead_nowhere_are_told_apart() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let stale = directory.path().join("stale");
    drop(UnixListener::bind(&stale).expect("socket"));
    let error = |path: &Path| match Client::connect(Some(path)) {
        Ok(_) => panic!("connected to {}", path.display()),
        Err(error) => error,
    };
    assert!(matches!(error(&stale), ClientError::Stale { .. }));
    assert!(matches!(error(&directory.path().join("no")), ClientError::NotRunning { .. }));
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("file");
    assert!(matches!(error(&file), ClientError::Stale { .. }));
    let long = directory.path().join("x".repeat(200));
    assert!(matches!(error(&long), ClientError::Connect { .. }));
}

#[test]
fn a_daemon_that_accepts_nobody_is_not_waited_for_for_ever() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).expect("socket");
    rustix::net::listen(&listener, 0).expect("a queue of one");
    let waiting = Client::connect(Some(&socket)).expect("the queue has room");
    let error = Client::connect(Some(&socket)).expect_err("the queue is full");
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    drop(waiting);
}

#[test]
fn a_request_above_the_limit_is_not_sent() {
    let daemon = Daemon::start();
    let mut client = Client::connect(Some(&daemon.socket())).expect("connected");
    client.set_timeout(Some(Duration::from_secs(60))).expect("a time limit");
    let flush = weir_control::command::Command::Flush { chain: None };
    let transaction = weir_control::command::Transaction {
        table: weir_control::rule::Table::Filter,
        flush: true,
        commands: vec![flush; REQUEST_BYTES_MAX / 20],
    };
    let body = RequestBody::Restore {
        family: weir_control::rule::Family::V4,
        transactions: vec![transaction],
        dry_run: true,
        confirm_s: None,
    };
    let error = client.request(body).expect_err("too large");
    assert!(matches!(error, ClientError::Message(_)), "{error}");
    // The connection is still good.
    assert!(client.request(RequestBody::Status).is_ok());
}

/// What is not a change of rules would not be undone, so it is not done either.
#[test]
fn confirmation_is_for_rules_alone() {
    let nothing = "this command changes nothing";
    for (line, reason) in [
        ("set flush", "`set swap' undoes a swap"),
        ("blocklist add 192.0.2.1", "`--timeout' ends an entry by itself"),
        ("allowlist flush", "`--timeout' ends an entry by itself"),
        ("recent add web 192.0.2.1", "what was noted of addresses is not brought back"),
        ("recent flush web", "what was noted of addresses is not brought back"),
        ("conntrack delete -p tcp", "a flow that was deleted is not brought back"),
        ("conntrack flush", "a flow that was deleted is not brought back"),
        ("confirm", "`weirctl confirm' is what it waits for"),
        ("recent", nothing),
        ("conntrack list", nothing),
        ("iptables-save", nothing),
        ("status", nothing),
        ("stats", nothing),
    ] {
        let line = format!("--confirm 9 {line}");
        let (status, printed, said) = weirctl(Path::new("/nonexistent/socket"), &line);
        assert_eq!((status, &*printed), (2, ""), "{line}");
        assert_eq!(
            said,
            format!("weirctl: --confirm is for changes of rules; {reason}\n"),
            "{line}"
        );
    }
}
