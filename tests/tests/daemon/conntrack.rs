//! `weirctl conntrack` in the hands of many, of the impatient, and with a full table.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_control::client::{Client, ClientError};
use weir_control::protocol::{
    ConntrackCursor, ConntrackEvents, ConntrackPage, ConntrackStats, Failure, FlowEventKind,
    FlowFilter, Reply, RequestBody,
};
use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::link;
use crate::town::{
    ALICE, BOB, Town, assert_conserved, binaries, config, errors, eventually, number, run_weirctl,
};

/// Every packet is tracked although no rule asks for it.
const TRACKING: &str = "[conntrack]\ntrack = \"always\"\n";

fn client(daemon: &Daemon) -> Client {
    Client::connect(Some(daemon.socket())).expect("a connection")
}

fn stats(daemon: &Daemon) -> ConntrackStats {
    let reply = client(daemon).request(RequestBody::ConntrackStats).expect("an answer");
    let Reply::ConntrackStats(stats) = reply else { panic!("{reply:?}") };
    stats
}

fn events(client: &mut Client, wait_ms: u32) -> Result<ConntrackEvents, ClientError> {
    match client.request(RequestBody::ConntrackEvents { wait_ms })? {
        Reply::ConntrackEvents(events) => Ok(events),
        other => panic!("{other:?}"),
    }
}

/// Asks until there are events, or some were lost.
fn news(client: &mut Client) -> ConntrackEvents {
    let mut news = ConntrackEvents { events: Vec::new(), lost: 0 };
    eventually("something happens", || {
        news = events(client, 100).expect("an answer");
        !news.events.is_empty() || news.lost > 0
    });
    news
}

/// As many flows as there are ports here, from one socket to a net where nobody answers.
fn flows(alice: &UdpSocket, ports: std::ops::RangeInclusive<u16>) {
    for port in ports {
        alice.send_to(b"x", ("10.99.0.1", port)).expect("sent");
        if port % 64 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Everything to 10.99.0.0/16 goes to Bob, who throws it away without a word.
fn pit(town: &Town) {
    town.firewall.ip("route add 10.99.0.0/16 via 192.168.0.2").expect("a route");
    town.bob.ip("route add blackhole 10.99.0.0/16").expect("a route");
    eventually("the neighbour is known", || town.pings(BOB));
}

#[test]
fn one_listens_to_events_at_a_time_and_leaves_nothing_behind() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::with_queues(2);
    let rest = format!("{TRACKING}[workers]\ncount = 2\n");
    let mut daemon = town.start_with(&config("drop", &rest));
    pit(&town);
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    for round in 0..3 {
        // The place of the one before is free as soon as its end is noticed.
        let mut first = client(&daemon);
        eventually("it is the only one", || events(&mut first, 0).is_ok());
        let mut second = client(&daemon);
        let refused = events(&mut second, 0).expect_err("there is one already");
        let ClientError::Refused(Failure::Busy { reason }) = &refused else { panic!("{refused}") };
        assert!(reason.contains("another client is listening"), "{reason}");
        let told = run_weirctl(daemon.socket(), &["conntrack", "events"]);
        assert_eq!(told.status.code(), Some(1));
        assert!(errors(&told).contains("another client is listening"), "{}", errors(&told));
        // Both workers' events come.
        let ports = 1000 * (round + 1)..=1000 * (round + 1) + 49;
        flows(&alice, ports.clone());
        let mut seen = Vec::new();
        while seen.len() < 50 {
            let ConntrackEvents { events, lost } = news(&mut first);
            assert_eq!(lost, 0);
            seen.extend(events);
        }
        let of_worker = |id| seen.iter().filter(|event| event.flow.worker == id).count();
        assert!(of_worker(0) > 5 && of_worker(1) > 5, "{} and {}", of_worker(0), of_worker(1));
        for event in &seen {
            assert_eq!(event.event, FlowEventKind::New);
            assert_eq!(event.flow.protocol, 17);
        }
        // Flows are known by the same names in a listing.
        let page = list(&mut second, FlowFilter::default());
        let known = |id: (u32, u32, u32)| {
            page.iter().any(|flow| (flow.worker, flow.slot, flow.generation) == id)
        };
        let id = |event: &weir_control::protocol::FlowEvent| {
            (event.flow.worker, event.flow.slot, event.flow.generation)
        };
        assert!(seen.iter().map(id).all(known));
    }
    // What happens while nobody listens is nobody's, and is not lost either.
    flows(&alice, 30_000..=50_000);
    let received = || number(&daemon.stats().expect("stats")["totals"]["received"]);
    let mut before = 0;
    eventually("all are through", || {
        thread::sleep(Duration::from_millis(100));
        std::mem::replace(&mut before, received()) == before
    });
    let mut last = client(&daemon);
    eventually("it is the only one", || events(&mut last, 0).is_ok());
    let nothing = events(&mut last, 0).expect("an answer");
    assert_eq!((nothing.events.len(), nothing.lost), (0, 0));
    assert_conserved(&mut daemon);
}

#[test]
fn a_listener_that_does_not_read_loses_events_and_is_told() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let mut daemon = town.start_with(&config("drop", TRACKING));
    pit(&town);
    let mut listener = client(&daemon);
    events(&mut listener, 0).expect("it listens");
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let before: u64 = stats(&daemon).workers.iter().map(|worker| worker.insert).sum();
    let begun = || stats(&daemon).workers.iter().map(|worker| worker.insert).sum::<u64>() - before;
    flows(&alice, 10_000..=30_000);
    eventually("more flows than events are kept", || {
        flows(&alice, 10_000..=30_000);
        begun() > 12_000
    });
    let (mut seen, mut lost) = (0, 0);
    while seen + lost < begun() {
        let news = news(&mut listener);
        seen += news.events.len() as u64;
        lost += news.lost;
    }
    assert_eq!(seen + lost, begun(), "each event is told or counted as lost");
    assert!(seen >= 8_192 && lost > 0, "{seen} seen, {lost} lost");
    assert_conserved(&mut daemon);
}

/// All pages.
fn list(client: &mut Client, filter: FlowFilter) -> Vec<weir_control::protocol::FlowEntry> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let reply = client.request(RequestBody::ConntrackList { filter, cursor });
        let Ok(Reply::ConntrackPage(ConntrackPage { flows, next })) = reply else {
            panic!("{reply:?}")
        };
        all.extend(flows);
        cursor = next;
        if cursor.is_none() {
            return all;
        }
    }
}

#[test]
fn requests_that_cannot_be_meant_are_refused_with_the_reason() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let mut daemon = town.start_with(&config("drop", TRACKING));
    for arguments in [["list", "-s", "fd00::1"], ["delete", "-q", "fd00::/8"]] {
        let told = run_weirctl(daemon.socket(), &[&["conntrack"], &arguments[..]].concat());
        assert_eq!(told.status.code(), Some(1));
        assert!(errors(&told).contains("no IPv6 flow is tracked"), "{}", errors(&told));
    }
    let mut client = client(&daemon);
    let filter = FlowFilter::default();
    let cursor = Some(ConntrackCursor { worker: 1, slot: 0 });
    let refused = client.request(RequestBody::ConntrackList { filter, cursor });
    assert!(
        refused.as_ref().is_err_and(|error| error.to_string().contains("there is no worker 1")),
        "{refused:?}"
    );
    // Beyond the end of the table there is nothing.
    let cursor = Some(ConntrackCursor { worker: 0, slot: u32::MAX });
    let page = client.request(RequestBody::ConntrackList { filter, cursor });
    let empty = ConntrackPage { flows: Vec::new(), next: None };
    assert_eq!(page.expect("an answer"), Reply::ConntrackPage(empty));
    let filter = FlowFilter { protocol: Some(17), tcp_state: FILTERED, ..filter };
    let refused =
        client.request(RequestBody::ConntrackDelete { filter, cursor: None, show: false });
    assert!(refused.is_err_and(|error| error.to_string().contains("only TCP flows have one")));
    assert_conserved(&mut daemon);
}

const FILTERED: Option<weir_control::protocol::TcpState> =
    Some(weir_control::protocol::TcpState::Established);

#[test]
fn statistics_count_what_happens() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let sizes = "flows_max = 1024\nhalf_open_max = 100\n";
    let mut daemon = town.start_with(&config("drop", &format!("{TRACKING}{sizes}")));
    pit(&town);
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    eventually("the table is full and flows give way", || {
        flows(&alice, 10_000..=12_000);
        stats(&daemon).workers[0].early_drop > 100
    });
    let ConntrackStats { workers } = stats(&daemon);
    let worker = &workers[0];
    assert_eq!((worker.flows, worker.flows_max, worker.half_open_max), (1_024, 1_024, 100));
    assert_eq!(worker.insert, worker.flows + worker.early_drop + worker.expired + worker.deleted);
    let evicted = |kind| worker.evicted.iter().find(|e| e.kind == kind).expect("a kind").flows;
    assert_eq!(evicted("unassured"), worker.early_drop);
    assert!((80..=128).contains(&worker.bytes_per_flow), "{worker:?}");
    assert!(worker.memory_bytes >= 1_024 * 80, "{worker:?}");
    let text = daemon.ctl("conntrack stats").expect("statistics");
    let begin = "cpu=0   \tfound=0 invalid=0 insert=";
    assert!(text.starts_with(begin) && text.contains(" evicted_half_open=0 "), "{text}");
    let json: Value = serde_json::from_str(&daemon.ctl("--json conntrack count").expect("a count"))
        .expect("JSON");
    assert_eq!((number(&json["flows"]), number(&json["flows_max"])), (1_024, 1_024));
    let emptied = daemon.ctl("--json conntrack flush").expect("flushed");
    assert_eq!(emptied, "{\"deleted\":1024}\n");
    assert_eq!(stats(&daemon).workers[0].deleted, 1_024);
    assert_conserved(&mut daemon);
}

#[test]
fn a_reader_who_pauses_longer_than_the_daemon_waits_gets_all() {
    use std::io::Read;
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let rest = format!("{TRACKING}udp_timeout_s = 3600\n[control]\ntimeout_ms = 500\n");
    let mut daemon = town.start_with(&config("drop", &rest));
    pit(&town);
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let count = || -> usize {
        daemon.ctl("conntrack count").expect("a count").trim().parse().expect("a number")
    };
    eventually("there are several pages", || {
        flows(&alice, 10_001..=22_000);
        count() >= 12_000
    });
    let mut weirctl = std::process::Command::new(&binaries().weirctl)
        .arg("--socket")
        .arg(daemon.socket())
        .args(["conntrack", "list"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("weirctl runs");
    let mut stdout = weirctl.stdout.take().expect("piped");
    let mut text = vec![0; 1];
    stdout.read_exact(&mut text).expect("it begins");
    // A page is more than a pipe holds: weirctl waits for us, and the daemon does not wait for it.
    thread::sleep(Duration::from_millis(1_500));
    stdout.read_to_end(&mut text).expect("all of it");
    assert!(weirctl.wait().expect("it ends").success());
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), count());
    assert_conserved(&mut daemon);
}

/// 200,000 flows from 50 sockets to 4,000 ports each; those that were lost on the way are sent again.
fn fill(town: &Town, daemon: &Daemon) {
    pit(town);
    let sockets: Vec<UdpSocket> =
        (0..50).map(|n| link::socket(&town.alice, &format!("{ALICE}:{}", 20_000 + n))).collect();
    eventually("200,000 flows are tracked", || {
        for socket in &sockets {
            flows(socket, 1..=4_000);
        }
        daemon.ctl("conntrack count").expect("a count").trim().parse::<u32>().expect("a number")
            >= 200_000
    });
}

#[test]
fn many_flows_are_listed_and_flushed_and_no_packet_is_lost() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let rest = format!("{TRACKING}udp_timeout_s = 3600\n");
    let mut daemon = town.start_with(&config("drop", &rest));
    fill(&town, &daemon);
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    let done = AtomicBool::new(false);
    let (arrived, sent) = thread::scope(|scope| {
        let receiving = scope.spawn(|| link::drain_until(&bob, &done));
        let sending = scope.spawn(|| {
            let to = bob.local_addr().expect("an address");
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                link::send(&alice, to, number..number + 1, 100, Duration::from_micros(500));
                number += 1;
            }
            number
        });
        // A client that leaves in the middle of a page, again and again.
        for _ in 0..8 {
            use std::io::Write;
            let mut stream =
                std::os::unix::net::UnixStream::connect(daemon.socket()).expect("a connection");
            let body = serde_json::json!({
                "version": weir_control::protocol::PROTOCOL_VERSION,
                "body": { "conntrack_list": { "filter": {}, "cursor": null } },
            });
            let body = body.to_string();
            let len = u32::try_from(body.len()).expect("short").to_le_bytes();
            stream.write_all(&len).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
        }
        let listed = run_weirctl(daemon.socket(), &["conntrack", "list"]);
        let lines = listed.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert!(listed.status.success() && lines >= 200_000, "{lines}: {}", errors(&listed));
        let one = run_weirctl(
            daemon.socket(),
            &["conntrack", "list", "--sport", "20049", "--dport", "7"],
        );
        assert_eq!(one.stdout.iter().filter(|byte| **byte == b'\n').count(), 1);
        daemon.ctl("conntrack flush").expect("flushed");
        done.store(true, Ordering::Relaxed);
        (receiving.join().expect("received"), sending.join().expect("sent"))
    });
    let mut arrived = arrived;
    arrived.extend(link::drain(&bob));
    let lost: Vec<u32> = (0..sent).filter(|number| arrived.get(number) != Some(&1)).collect();
    assert!(lost.is_empty(), "of {sent} were lost or doubled: {lost:?}");
    let left: u64 =
        daemon.ctl("conntrack count").expect("a count").trim().parse().expect("a number");
    assert!(left < 10, "{left} flows are left");
    println!("{sent} packets meanwhile; {}", daemon.stats().expect("stats")["latency"]["poll_ns"]);
    assert_conserved(&mut daemon);
}
