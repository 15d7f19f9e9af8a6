//! `weirctl conntrack`, with a daemon whose flows are made up.

use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};

use weir_control::protocol::{
    ConntrackCount, ConntrackCounters, ConntrackCursor, ConntrackDeleted, ConntrackEvents,
    ConntrackPage, ConntrackStats, Failure, FlowEntry, FlowEvent, FlowEventKind, FlowFilter,
    FlowPart, FlowTuple, PROTOCOL_VERSION, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request,
    RequestBody, Response, TcpState, WorkerFlows, read_frame, write_message,
};

use super::daemon::Daemon;
use super::{WEIRCTL, done, outcome, weirctl};

/// Flows of a page of [`table_daemon`].
const PAGE: u32 = 2;

/// The flow at a place: every third is TCP, UDP, ICMP.
pub(crate) fn flow(slot: u32) -> FlowEntry {
    let (client, server) = ([10, 0, 0, 2], [192, 168, 0, 2]);
    let port = u16::try_from(40_000 + slot % 10_000).expect("a port");
    let icmp = |kind| FlowPart::Icmp { kind, code: 0, id: port };
    let ports = |source, destination| FlowPart::Ports { source, destination };
    let (protocol, there, back) = match slot % 3 {
        0 => (6, ports(port, 80), ports(80, port)),
        1 => (17, ports(port, 53), ports(53, port)),
        _ => (1, icmp(8), icmp(0)),
    };
    let tuple = |source: [u8; 4], destination: [u8; 4], part| FlowTuple {
        source: source.into(),
        destination: destination.into(),
        part,
    };
    FlowEntry {
        worker: 0,
        slot,
        generation: 1,
        protocol,
        tcp_state: (protocol == 6).then_some(TcpState::Established),
        timeout_s: 29,
        original: tuple(client, server, there),
        reply: tuple(server, client, back),
        seen_reply: protocol != 17,
        assured: protocol == 6,
        mark: if slot == 1 { 0x12 } else { 0 },
        counts: None,
    }
}

/// The lines of the first three flows.
const LINES: [&str; 3] = [
    "tcp      6 29 ESTABLISHED src=10.0.0.2 dst=192.168.0.2 sport=40000 dport=80 src=192.168.0.2 dst=10.0.0.2 sport=80 dport=40000 [ASSURED] mark=0 use=1\n",
    "udp      17 29 src=10.0.0.2 dst=192.168.0.2 sport=40001 dport=53 [UNREPLIED] src=192.168.0.2 dst=10.0.0.2 sport=53 dport=40001 mark=18 use=1\n",
    "icmp     1 29 src=10.0.0.2 dst=192.168.0.2 type=8 code=0 id=40002 src=192.168.0.2 dst=10.0.0.2 type=0 code=0 id=40002 mark=0 use=1\n",
];

/// Answers every request of every connection by `answer`.
pub(crate) fn daemon(
    mut answer: impl FnMut(RequestBody) -> Result<Reply, Failure> + Send + 'static,
) -> Daemon {
    Daemon::with(move |stream| {
        while let Ok(json) = read_frame(stream, REQUEST_BYTES_MAX) {
            let result = Request::from_json(&json).and_then(|request| answer(request.body));
            if write_message(stream, &Response::new(result), REPLY_BYTES_MAX).is_err() {
                return;
            }
        }
    })
}

/// A table of so many flows, paged.
fn table_daemon(flows: u32) -> Daemon {
    let mut table: Vec<FlowEntry> = (0..flows).map(flow).collect();
    let range = move |cursor: Option<ConntrackCursor>| {
        let from = cursor.map_or(0, |cursor| cursor.slot);
        let next = from + PAGE;
        (from..next, (next < flows).then_some(ConntrackCursor { worker: 0, slot: next }))
    };
    daemon(move |body| {
        Ok(match body {
            RequestBody::ConntrackList { filter, cursor } => {
                let (slots, next) = range(cursor);
                let meant = |flow: &&FlowEntry| slots.contains(&flow.slot) && filter.matches(flow);
                let flows = table.iter().filter(meant).copied().collect();
                Reply::ConntrackPage(ConntrackPage { flows, next })
            }
            RequestBody::ConntrackDelete { filter, cursor, show } => {
                let (slots, next) = range(cursor);
                let meant = |flow: &FlowEntry| slots.contains(&flow.slot) && filter.matches(flow);
                let (gone, kept) = table.drain(..).partition::<Vec<_>, _>(meant);
                table = kept;
                let deleted = gone.len() as u64;
                let flows = if show { gone } else { Vec::new() };
                Reply::ConntrackDeleted(ConntrackDeleted { deleted, flows, next })
            }
            RequestBody::ConntrackCount => {
                let (flows, flows_max) = (table.len() as u64, 1_000);
                let workers = vec![WorkerFlows { worker: 0, flows, flows_max }];
                Reply::ConntrackCount(ConntrackCount { flows, flows_max, workers })
            }
            RequestBody::ConntrackStats => {
                let worker = |worker| ConntrackCounters { worker, ..ConntrackCounters::default() };
                Reply::ConntrackStats(ConntrackStats { workers: vec![worker(0), worker(1)] })
            }
            other => return Err(Failure::Other { reason: format!("{other:?} is not known") }),
        })
    })
}

fn shown(status: i32, lines: &[&str], told: &str) -> (i32, String, String) {
    (status, lines.concat(), format!("weirctl: {told}\n"))
}

#[test]
fn flows_are_listed_page_by_page() {
    let daemon = table_daemon(3);
    let run = |line: &str| weirctl(&daemon.socket(), line);
    assert_eq!(run("conntrack list"), shown(0, &LINES, "3 flow entries have been shown."));
    let (status, json, stderr) = run("conntrack list --json");
    assert_eq!((status, stderr.as_str()), (0, ""));
    let parsed: Vec<FlowEntry> =
        json.lines().map(|line| serde_json::from_str(line).expect("one flow a line")).collect();
    assert_eq!(parsed, [flow(0), flow(1), flow(2)]);
    let nothing = table_daemon(0);
    let expected = shown(0, &[], "0 flow entries have been shown.");
    assert_eq!(weirctl(&nothing.socket(), "conntrack list"), expected);
}

#[test]
fn filters_are_those_of_conntrack() {
    let daemon = table_daemon(9);
    let count = |filter: &str| {
        let (status, stdout, stderr) =
            weirctl(&daemon.socket(), &format!("conntrack list {filter}"));
        assert_eq!(status, 0, "{filter}: {stderr}");
        stdout.lines().count()
    };
    for (filter, flows) in [
        ("-p tcp", 3),
        ("--proto UDP", 3),
        ("--protocol 1", 3),
        ("-p ospf", 0),
        ("-s 10.0.0.2", 9),
        ("--src 10.0.0.0/8 --orig-dst 192.168.0.0/16", 9),
        ("-d 10.0.0.2", 0),
        ("-r 192.168.0.2 -q 10.0.0.2", 9),
        ("-q 192.168.0.2", 0),
        ("--dport 80", 3),
        ("--sport 40001 --orig-port-dst 53", 1),
        ("-p tcp --reply-port-src 80 --reply-port-dst 40006", 1),
        ("--state ESTABLISHED", 3),
        ("--state LISTEN", 0),
        ("--assured", 3),
        ("--unreplied", 3),
        ("-p icmp --assured", 0),
        ("-m 2/0xf", 1),
        ("--mark 0", 8),
    ] {
        assert_eq!(count(filter), flows, "{filter}");
    }
}

#[test]
fn filters_that_cannot_be_meant_are_refused_without_a_daemon() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let nowhere = directory.path().join("nowhere");
    for (line, reason) in [
        ("list -p icmp --dport 80", "protocol 1 has no ports"),
        ("list -p udp --state ESTABLISHED", "only TCP flows have one"),
        ("list -s 10.0.0.1 -d fd00::1", "a flow is of one family"),
        ("list --assured --unreplied", "no flow is assured and unreplied"),
        ("list --mark 3/1", "no flow has mark 0x3/0x1"),
        ("list --mark 1/x", "write VALUE or VALUE/MASK, from 0 to 0xffffffff"),
        ("list -s 10.0.0.0/33", "the prefix length is not a number from 0 to 32"),
        ("list -s bob", "not an IP address"),
        ("list -p bogus", "neither a number from 0 to 255 nor a protocol's name"),
        ("list -p all", "leave the option out"),
        ("list --state established", "the states are NONE, SYN_SENT, SYN_RECV, ESTABLISHED"),
        ("list --sport 65536", "65536 is not in 0..=65535"),
        ("list -f ipv6", "unexpected argument"),
        ("delete", "to delete all, say `weirctl conntrack flush`"),
        ("flush -p tcp", "unexpected argument"),
        ("events -e SOME", "invalid value 'SOME'"),
    ] {
        let (status, stdout, stderr) = weirctl(&nowhere, &format!("conntrack {line}"));
        assert_eq!((status, stdout.as_str()), (2, ""), "{line}: {stderr}");
        assert!(stderr.contains(reason), "{line}: {stderr}");
    }
}

#[test]
fn flows_are_deleted_and_counted() {
    let daemon = table_daemon(5);
    let run = |line: &str| weirctl(&daemon.socket(), line);
    assert_eq!(run("conntrack count"), done("5\n"));
    let (_, json, _) = run("conntrack count --json");
    let count: ConntrackCount = serde_json::from_str(&json).expect("JSON");
    assert_eq!((count.flows, count.flows_max, count.workers.len()), (5, 1_000, 1));
    assert_eq!(
        run("conntrack delete -p icmp"),
        shown(0, &LINES[2..], "1 flow entries have been deleted.")
    );
    // As conntrack -D: nothing to delete is a failure.
    let none = shown(1, &[], "0 flow entries have been deleted.");
    assert_eq!(run("conntrack delete -p icmp"), none);
    assert_eq!(run("conntrack count"), done("4\n"));
    let emptied = "connection tracking table has been emptied, 4 flow entries have been deleted.";
    assert_eq!(run("conntrack flush"), shown(0, &[], emptied));
    assert_eq!(run("conntrack flush --json"), done("{\"deleted\":0}\n"));
    assert_eq!(run("conntrack count"), done("0\n"));
}

#[test]
fn statistics_are_a_line_a_worker() {
    let daemon = table_daemon(0);
    let (status, text, stderr) = weirctl(&daemon.socket(), "conntrack stats");
    assert_eq!((status, stderr.as_str()), (0, ""));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("cpu=0   \tfound=0 invalid=0 insert=0 "), "{text}");
    assert!(lines[1].starts_with("cpu=1   \tfound=0 "), "{text}");
    let (_, json, _) = weirctl(&daemon.socket(), "--json conntrack stats");
    let stats: ConntrackStats = serde_json::from_str(&json).expect("JSON");
    assert_eq!(stats.workers.len(), 2);
}

#[test]
fn broken_pages_end_the_listing() {
    let page = |next| Ok(Reply::ConntrackPage(ConntrackPage { flows: vec![flow(0)], next }));
    // Always the same page: it would go on for ever.
    let circle = daemon(move |_| page(Some(ConntrackCursor { worker: 0, slot: 1 })));
    let (status, stdout, stderr) = weirctl(&circle.socket(), "conntrack list");
    assert_eq!((status, stdout), (1, LINES[0].repeat(2)));
    assert_eq!(stderr, "weirctl: the daemon's pages do not lead on (a bug in weir)\n");
    // The second page is an answer to something else.
    let mut first = true;
    let other = daemon(move |_| {
        let begun = std::mem::take(&mut first);
        if begun {
            page(Some(ConntrackCursor { worker: 0, slot: 1 }))
        } else {
            Ok(Reply::Done { policy_epoch: 1 })
        }
    });
    let (status, stdout, stderr) = weirctl(&other.socket(), "conntrack list");
    assert_eq!((status, stdout.as_str()), (1, LINES[0]));
    assert!(stderr.contains("something else than was asked"), "{stderr}");
    // A flow that is none.
    let nonsense = Daemon::with(|stream| {
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
        let page = serde_json::json!({ "flows": [{ "protocol": 6 }], "next": null });
        let answer = serde_json::json!({ "version": PROTOCOL_VERSION, "body": { "ok": { "conntrack_page": page } } });
        write_message(stream, &answer, 1_000).expect("the client reads");
    });
    let (status, _, stderr) = weirctl(&nonsense.socket(), "conntrack list");
    assert_eq!(status, 1);
    assert!(stderr.contains("the daemon's answer cannot be read"), "{stderr}");
}

/// What a reader who pauses finds: the daemon has hung up on the silent client meanwhile.
#[test]
fn a_daemon_that_hangs_up_between_two_pages_is_asked_on() {
    let one_a_connection = |answer: fn(u32) -> Reply, connections_max: u32| {
        let mut connection = 0;
        Daemon::with(move |stream| {
            connection += 1;
            let _ = read_frame(stream, REQUEST_BYTES_MAX);
            if connection <= connections_max {
                let response = Response::new(Ok(answer(connection)));
                let _ = write_message(stream, &response, REPLY_BYTES_MAX);
            }
        })
    };
    let page = |connection: u32| {
        let next = ConntrackCursor { worker: 0, slot: connection };
        let (flows, next) = (vec![flow(connection - 1)], (connection < 3).then_some(next));
        Reply::ConntrackPage(ConntrackPage { flows, next })
    };
    let daemon = one_a_connection(page, 3);
    let listed = weirctl(&daemon.socket(), "conntrack list");
    assert_eq!(listed, shown(0, &LINES, "3 flow entries have been shown."));
    // One that has gone for good is not asked for ever.
    let daemon = one_a_connection(page, 2);
    let (status, stdout, stderr) = weirctl(&daemon.socket(), "conntrack list");
    assert_eq!((status, stdout), (1, LINES[..2].concat()));
    assert!(stderr.contains("the daemon closed the connection"), "{stderr}");
    // Events of the time in between are nobody's; that is told.
    let event = |connection: u32| {
        let event = FlowEvent { event: FlowEventKind::New, flow: flow(connection - 1) };
        Reply::ConntrackEvents(ConntrackEvents { events: vec![event], lost: 0 })
    };
    let daemon = one_a_connection(event, 2);
    let (status, stdout, stderr) = weirctl(&daemon.socket(), "conntrack events");
    assert_eq!((status, stdout.lines().count()), (1, 2));
    let told = "weirctl: events were lost: they were not read until the daemon hung up\n";
    assert!(stderr.starts_with(told), "{stderr}");
    let daemon = one_a_connection(event, 2);
    let (_, json, _) = weirctl(&daemon.socket(), "--json conntrack events");
    assert_eq!(json.lines().nth(1), Some("{\"lost\":null}"));
}

#[test]
fn a_daemon_of_version_1_is_named() {
    let old = Daemon::with(|stream| {
        let _ = read_frame(stream, REQUEST_BYTES_MAX);
        // What the release before this one answers.
        let version = serde_json::json!({ "version": { "client": 4, "daemon": 1 } });
        let answer = serde_json::json!({ "version": 1, "body": { "error": version } });
        write_message(stream, &answer, 1_000).expect("the client reads");
    });
    let (status, stdout, stderr) = weirctl(&old.socket(), "conntrack list");
    assert_eq!((status, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains("speaks control protocol version 6, the running weir speaks version 1"),
        "{stderr}"
    );
}

fn spawn(daemon: &Daemon, line: &str) -> Child {
    Command::new(WEIRCTL)
        .args(line.split_ascii_whitespace())
        .env("WEIR_SOCKET", daemon.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("weirctl runs")
}

/// The most memory that a process has used so far, in KiB.
fn memory_kib(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a high-water mark");
    line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
}

#[test]
fn a_huge_listing_does_not_grow_memory() {
    const PAGES: u32 = 150;
    const PAGE: u32 = 1_000;
    let (go, gate): (Sender<()>, Receiver<()>) = channel();
    let flows: Vec<FlowEntry> = (0..PAGE).map(flow).collect();
    let huge = daemon(move |body| {
        let RequestBody::ConntrackList { filter, cursor } = body else { panic!("{body:?}") };
        assert!(filter.is_empty());
        let worker = cursor.map_or(0, |cursor| cursor.worker);
        // Its memory is looked at when it has read few pages, and when it has read nearly all.
        if worker == 5 || worker == PAGES - 1 {
            gate.recv().expect("the test goes on");
        }
        let next = (worker + 1 < PAGES).then_some(ConntrackCursor { worker: worker + 1, slot: 0 });
        Ok(Reply::ConntrackPage(ConntrackPage { flows: flows.clone(), next }))
    });
    let mut child = spawn(&huge, "conntrack list");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut memory = Vec::new();
    let mut lines = 0;
    for line in stdout.lines() {
        assert!(line.expect("text").ends_with(" use=1"));
        lines += 1;
        if lines == 5 * PAGE || lines == (PAGES - 1) * PAGE {
            memory.push(memory_kib(&child));
            go.send(()).expect("the daemon waits");
        }
    }
    let ended = outcome(child.wait_with_output().expect("it ends"));
    assert_eq!(ended, shown(0, &[], &format!("{} flow entries have been shown.", PAGES * PAGE)));
    println!("memory: {memory:?} KiB");
    assert!(memory[1] < memory[0] + 4_096, "KiB: {memory:?}");
}

/// A daemon that reports one event of each kind and that it lost two, then nothing.
fn eventful() -> Daemon {
    let mut events: Vec<FlowEvent> =
        [FlowEventKind::Destroy, FlowEventKind::Update, FlowEventKind::New]
            .into_iter()
            .map(|event| FlowEvent { event, flow: flow(0) })
            .collect();
    let mut lost = 2;
    daemon(move |body| match body {
        RequestBody::ConntrackEvents { .. } if events.is_empty() && lost == 0 => {
            Err(Failure::Busy { reason: "the daemon is stopping".to_owned() })
        }
        RequestBody::ConntrackEvents { .. } => {
            let lost = if events.is_empty() { std::mem::take(&mut lost) } else { 0 };
            Ok(Reply::ConntrackEvents(ConntrackEvents {
                events: events.pop().into_iter().collect(),
                lost,
            }))
        }
        other => panic!("{other:?}"),
    })
}

#[test]
fn events_are_told_as_they_come() {
    let stopping = "weirctl: the daemon is not taking requests: the daemon is stopping\n";
    let lost = "weirctl: 2 events were lost: they came faster than they were read\n";
    let flow = LINES[0].trim_end_matches(" mark=0 use=1\n");
    let (new, update, destroy) = ("    [NEW] ", " [UPDATE] ", "[DESTROY] ");
    for (line, kinds) in [
        ("conntrack events", vec![new, update, destroy]),
        ("conntrack events -e new,DESTROY", vec![new, destroy]),
        ("conntrack events -e ALL -p tcp", vec![new, update, destroy]),
        ("conntrack events -p udp", vec![]),
    ] {
        let expected: String = kinds.iter().map(|kind| format!("{kind}{flow}\n")).collect();
        let ended = weirctl(&eventful().socket(), line);
        assert_eq!(ended, (1, expected, format!("{lost}{stopping}")), "{line}");
    }
    let (status, json, stderr) = weirctl(&eventful().socket(), "--json conntrack events");
    assert_eq!((status, stderr.as_str()), (1, stopping));
    let lines: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["event"], "new");
    assert_eq!(lines[0]["flow"]["original"]["source_port"], 40_000);
    assert_eq!(lines[3], serde_json::json!({ "lost": 2 }));
}

#[test]
fn a_second_listener_is_told_why_not() {
    let reason = "another client is listening to events already";
    let busy = daemon(move |_| Err(Failure::Busy { reason: reason.to_owned() }));
    let expected = format!("weirctl: the daemon is not taking requests: {reason}\n");
    assert_eq!(weirctl(&busy.socket(), "conntrack events"), (1, String::new(), expected));
}

#[test]
fn a_reader_who_leaves_ends_it_quietly() {
    // A listing without end.
    let mut worker = 0;
    let endless = daemon(move |_| {
        worker += 1;
        let next = Some(ConntrackCursor { worker, slot: 0 });
        Ok(Reply::ConntrackPage(ConntrackPage { flows: vec![flow(0); 100], next }))
    });
    // Nothing happens.
    let quiet = daemon(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        Ok(Reply::ConntrackEvents(ConntrackEvents { events: Vec::new(), lost: 0 }))
    });
    let mut child = spawn(&endless, "conntrack list");
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut first).expect("something is printed");
    drop(stdout);
    assert_eq!(outcome(child.wait_with_output().expect("it ends")), done(""));
    let mut child = spawn(&quiet, "conntrack events");
    drop(child.stdout.take());
    assert_eq!(outcome(child.wait_with_output().expect("it ends")), done(""));
}

#[test]
fn an_interrupt_ends_it_quietly() {
    use std::os::unix::process::ExitStatusExt;
    let mut first = true;
    let eventful = daemon(move |_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        let event = FlowEvent { event: FlowEventKind::New, flow: flow(0) };
        let events = std::mem::take(&mut first).then_some(event).into_iter().collect();
        Ok(Reply::ConntrackEvents(ConntrackEvents { events, lost: 0 }))
    });
    let mut child = spawn(&eventful, "conntrack events");
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("an event");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a living child");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.signal(), ended.stderr.as_slice()), (Some(2), &b""[..]));
}

#[test]
fn the_filter_of_a_request_is_what_was_said() {
    let (tell, told) = channel();
    let listening = daemon(move |body| {
        tell.send(body).expect("the test listens");
        Ok(Reply::ConntrackPage(ConntrackPage { flows: Vec::new(), next: None }))
    });
    let line = "conntrack list -p 6 -s 10.1.2.3/8 --dport 80 --state SYN_SENT2 --unreplied";
    assert_eq!(weirctl(&listening.socket(), line).0, 0);
    let RequestBody::ConntrackList { filter, cursor } = told.recv().expect("a request") else {
        panic!("another request");
    };
    assert_eq!(cursor, None);
    let json = serde_json::json!({
        "protocol": 6,
        "original": { "source": "10.0.0.0/8", "destination_port": 80 },
        "tcp_state": "SYN_SENT2",
        "seen_reply": false,
    });
    assert_eq!(serde_json::to_value(filter).expect("JSON"), json);
    assert_ne!(filter, FlowFilter::default());
    let outside: IpAddr = [11, 0, 0, 1].into();
    assert!(!filter.original.source.expect("a net").contains(outside));
}
