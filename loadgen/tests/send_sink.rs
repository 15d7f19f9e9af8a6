//! `weirgen send` and `weirgen sink` across a veth pair, as a user runs them.

use std::process::Output;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use weir_tests::netns::{Namespace, Veth};
use weir_tests::process::{self, Process};
use weir_tests::skip_unless;

const WEIRGEN: &str = env!("CARGO_BIN_EXE_weirgen");
const MAC: &str = "02:00:00:00:00:02";
const PATIENCE: Duration = Duration::from_secs(60);

/// Two namespaces with a cable between `v0` and `v1`.
struct Cable {
    left: Namespace,
    right: Namespace,
}

impl Cable {
    fn new() -> Self {
        let left = Namespace::unique("genl").expect("a namespace");
        let right = Namespace::unique("genr").expect("a namespace");
        let veth = Veth::between(&left, "v0", &right, "v1").macs("02:00:00:00:00:01", MAC);
        veth.create().expect("a veth pair");
        Self { left, right }
    }

    /// Runs `weirgen send` on the left with these words more.
    fn send(&self, words: &str) -> Output {
        let mut command = self.left.command(WEIRGEN);
        command.args(["send", "--json", "--interface", "v0", "--destination-mac", MAC]);
        command.args(["--source", "198.18.0.0/24", "--destination", "198.19.0.2"]);
        command.args(words.split_whitespace());
        process::output(command, PATIENCE).expect("weirgen starts")
    }
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("a report in JSON")
}

#[test]
fn every_packet_sent_is_received_and_nothing_is_left_behind() {
    skip_unless!(root, command "ip");
    let cable = Cable::new();
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = cable.right.command(WEIRGEN);
    command.args(["sink", "--json", "--interface", "v1", "--duration", "60"]);
    let log = folder.path().join("sink.log");
    let mut sink = Process::spawn("sink", command, &log).expect("weirgen starts");
    sink.wait_for_line("Ctrl-C ends it", PATIENCE).expect("the sink is ready");
    let mut sent = 0;
    for words in [
        "--rate 2000 --count 1000 --source-port 1000-1009",
        "--rate 5000 --count 500 --protocol tcp-syn --mode copy",
        "--rate 1000 --count 100 --protocol tcp-synack --length 1514",
    ] {
        let report = json(&cable.send(words).stdout);
        assert_eq!(report["unconfirmed"], 0, "{words}: {report}");
        sent += report["packets"].as_u64().expect("a number");
    }
    assert_eq!(sent, 1600);
    thread::sleep(Duration::from_millis(200));
    sink.stop().expect("it ends");
    let text = std::fs::read_to_string(&log).expect("its log");
    let report = json(text.lines().last().unwrap_or_default().as_bytes());
    assert_eq!(report["received"]["packets"], sent, "{report}");
    assert_eq!(report["received"]["bytes"], 1500 * 60 + 100 * 1514, "{report}");
    assert_eq!((&report["lost_packets"], &report["interrupted"]), (&0.into(), &true.into()));
    let link = cable.right.ip("link show v1").expect("the link");
    assert!(!link.contains("xdp"), "a program is left behind: {link}");
}

#[test]
fn mistakes_are_named_and_nothing_is_sent() {
    skip_unless!(root, command "ip");
    let cable = Cable::new();
    let cases = [
        ("--flood --length 59", "--length = 59 is not possible: 60 to 1514 bytes on v0"),
        ("--flood --length 1515", "--length = 1515 is not possible"),
        ("--flood --queue 3", "queue 3"),
        ("--flood --mode zero-copy", "the driver refuses"),
        ("--rate 0", "1..=1000000000"),
    ];
    for (words, expected) in cases {
        let output = cable.send(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{words}: {said}");
        assert!(output.stdout.is_empty(), "{words}");
    }
    cable.left.ip("route add default dev v0").expect("a route");
    let said = cable.send("--flood").stderr;
    assert!(String::from_utf8_lossy(&said).contains("--allow-default-route"));
    let output = cable.send("--rate 100 --count 3 --allow-default-route");
    assert_eq!(json(&output.stdout)["packets"], 3);
    cable.left.ip("link set v0 down").expect("the link");
    let said = cable.send("--flood --allow-default-route").stderr;
    assert!(String::from_utf8_lossy(&said).contains("v0 is down"));
}

#[test]
fn a_run_that_cannot_keep_up_is_void() {
    skip_unless!(root, command "ip");
    let output = Cable::new().send("--rate 1000000000 --duration 0.2");
    let report = json(&output.stdout);
    assert_eq!((output.status.code(), &report["ended_by"]), (Some(3), &"duration".into()));
    let why = report["void"].as_str().expect("why it is void");
    assert!(why.starts_with("the generator could not keep up"), "{why}");
}

#[test]
fn completions_and_manual_are_printed() {
    for (words, expected) in [("completions bash", "_weirgen"), ("man", ".TH weirgen")] {
        let mut command = process::words(&format!("{WEIRGEN} {words}"));
        command.env_remove("PATH");
        let text = process::run(command, PATIENCE).expect("it prints");
        assert!(text.contains(expected), "{words}");
    }
}
