//! `weirgen run` over a veth pair, as a user runs it: both ends of the cable are the generator's.

use std::process::Output;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use weir_tests::netns::Namespace;
use weir_tests::process::{self, Process};
use weir_tests::{repository, skip_unless};

const WEIRGEN: &str = env!("CARGO_BIN_EXE_weirgen");
const PATIENCE: Duration = Duration::from_secs(120);

/// A namespace with both ends of a cable, `v0` and `v1`.
fn loopback() -> Namespace {
    let namespace = Namespace::unique("genrun").expect("a namespace");
    namespace.ip("link add v0 type veth peer name v1").expect("a veth pair");
    for name in ["v0", "v1"] {
        namespace.set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").expect("no IPv6");
        namespace.ip(&format!("link set {name} up")).expect("the link");
    }
    namespace
}

/// Runs `weirgen run --left v0 --right v1` with these words more.
fn run(namespace: &Namespace, words: &str) -> Output {
    let mut command = namespace.command(WEIRGEN);
    command.current_dir(repository()).args(["run", "--left", "v0", "--right", "v1"]);
    command.args(words.split_whitespace());
    process::output(command, PATIENCE).expect("weirgen starts")
}

/// The result that was printed as JSON, before the text.
fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| {
        panic!("{error}: {text}\n{}", String::from_utf8_lossy(&output.stderr))
    })
}

#[test]
fn every_packet_is_accounted_for_and_nothing_is_left_behind() {
    skip_unless!(root, command "ip");
    let namespace = loopback();
    let words = "configs/loadgen/syn-flood.toml --rate flood=5000 --duration 1 --sleep --json -";
    let output = run(&namespace, words);
    let result = json(&output);
    for (at, sent) in [5_000, 1_000].into_iter().enumerate() {
        let stream = &result["streams"][at];
        assert_eq!(
            (&stream["sent"], &stream["received"]),
            (&sent.into(), &sent.into()),
            "{stream}"
        );
        for fault in ["missing", "duplicated", "reordered", "damaged"] {
            assert_eq!(stream[fault], 0, "{fault}: {stream}");
        }
        assert_eq!(stream["latency"]["count"], sent);
    }
    assert_eq!(result["foreign_frames"], 0, "{result}");
    // On a machine that is busy with others the generator may not keep up, and must say so.
    let status = if result["void"].is_null() { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(status), "{result}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("tcp-syn 198.18.0.0-198.18.255.255 -> 198.19.0.2 port 80"), "{said}");
    for name in ["v0", "v1"] {
        let link = namespace.ip(&format!("link show {name}")).expect("the link");
        assert!(!link.contains("xdp"), "a program is left behind: {link}");
    }
}

/// The receiver reads the stamps of live frames as it does those of a socket's, and nothing is lost on a cable.
#[test]
fn live_frames_are_accounted_for_as_others_are() {
    skip_unless!(root, command "ip");
    let namespace = loopback();
    let words = "configs/loadgen/syn-flood.toml --rate flood=60000 --duration 1 --json -";
    for (engine, flood, probe) in [
        ("live-frames", "live-frames", "live-frames"),
        ("auto", "live-frames", "af-xdp"),
        ("af-xdp", "af-xdp", "af-xdp"),
    ] {
        let result = json(&run(&namespace, &format!("{words} --engine {engine}")));
        for (at, (way, due)) in [(flood, 60_000), (probe, 1_000)].into_iter().enumerate() {
            let stream = &result["streams"][at];
            assert_eq!(stream["engine"], way, "{engine}: {stream}");
            let count = |name: &str| stream[name].as_u64().expect("a number");
            let (sent, received) = (count("sent"), count("received"));
            // A busy machine may send less in the time, and may drop in the rings; it says so.
            assert!(sent + count("refused") <= due, "{engine}: {stream}");
            if result["void"].is_null() {
                assert_eq!((sent, received), (due, due), "{engine}: {stream}");
            }
            for fault in ["duplicated", "reordered", "damaged"] {
                assert_eq!(stream[fault], 0, "{engine}, {fault}: {stream}");
            }
            assert_eq!(stream["latency"].is_null(), way == "live-frames", "{engine}: {stream}");
        }
        // One frame finds out whether the device takes live ones.
        let probes = u64::from(engine != "af-xdp");
        assert!(result["foreign_frames"].as_u64().expect("a number") <= probes, "{result}");
        let links = namespace.ip("link show").expect("the links");
        assert!(!links.contains("xdp") && !links.contains("wg"), "left behind: {links}");
    }
}

#[test]
fn mistakes_are_named_and_nothing_is_sent() {
    skip_unless!(root, command "ip");
    let namespace = loopback();
    let profile = "syn-flood";
    let cases = [
        ("no-such-profile", "no-such-profile"),
        (&format!("{profile} --rate 0"), "0.001 to 1000000000"),
        (&format!("{profile} --rate flod=5"), "there are flood, probe"),
        (&format!("{profile} --frame-bytes 63"), "frames have 64 to 1518"),
        (&format!("{profile} --threads 3"), "3"),
        (&format!("{profile} --right v0"), "--right"),
    ];
    for (words, expected) in cases {
        let output = run(&namespace, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{words}: {said}");
        assert!(output.stdout.is_empty(), "{words}");
    }
    namespace.ip("route add default dev v0").expect("a route");
    let said = run(&namespace, profile).stderr;
    assert!(String::from_utf8_lossy(&said).contains("--allow-default-route"));
    let words = format!("{profile} --allow-default-route v0 --count 10 --json -");
    assert_eq!(json(&run(&namespace, &words))["ended_by"], "count");
}

#[test]
fn an_interrupted_run_and_a_lost_interface_give_a_partial_report() {
    skip_unless!(root, command "ip");
    let folder = tempfile::tempdir().expect("a folder");
    for (label, end) in
        [("interrupt", "interrupt"), ("down", "device-lost"), ("gone", "device-lost")]
    {
        let namespace = loopback();
        let file = folder.path().join(label);
        let mut command = namespace.command(WEIRGEN);
        command.current_dir(repository()).args(["run", "configs/loadgen/syn-flood.toml"]);
        command.args(["--left", "v0", "--right", "v1", "--rate", "flood=1000", "--sleep"]);
        command.args(["--duration", "60", "--json"]).arg(&file);
        let log = folder.path().join(format!("{label}.log"));
        let mut weirgen = Process::spawn("weirgen", command, &log).expect("it starts");
        weirgen.wait_for_line("Ctrl-C ends it", PATIENCE).expect("it sends");
        match label {
            "interrupt" => process::signal(weirgen.pid(), Signal::INT),
            "down" => drop(namespace.ip("link set v1 down").expect("the link")),
            _ => drop(namespace.ip("link del v1").expect("the link")),
        }
        let status = weirgen.wait(PATIENCE).expect("it ends by itself");
        let text = std::fs::read_to_string(&file).expect("a report");
        let result: Value = serde_json::from_str(&text).expect("in JSON");
        assert_eq!(result["ended_by"], end, "{label}: {result}");
        assert!(result["void"].is_string() || label == "interrupt", "{label}: {result}");
        assert_eq!(status.code(), Some(if result["void"].is_null() { 0 } else { 3 }), "{label}");
        assert!(result["elapsed_s"].as_f64().expect("a number") < 30.0);
    }
}
