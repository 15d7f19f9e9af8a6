//! `weirgen connections`, where the answer is known: the kernel forwards, and holds as many connections as it is told.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use weir_tests::netns::{Namespace, Veth};
use weir_tests::process::{self, Process};
use weir_tests::skip_unless;

const WEIRGEN: &str = env!("CARGO_BIN_EXE_weirgen");
const PATIENCE: Duration = Duration::from_secs(240);

/// MAC addresses: the generator's left and right, the router's left and right.
const MACS: [&str; 4] =
    ["02:00:00:00:0a:01", "02:00:00:00:0a:02", "02:00:00:00:0b:01", "02:00:00:00:0b:02"];

const PROFILE: &str = "about = \"a few users\"\n[users]\nrate = 100\nclients = \"198.18.1.0/28\"\n\
                       servers = \"198.19.1.2\"\nrequest_bytes = 50\nresponse_bytes = 100\n\
                       connections_max = 4096\npatience_s = 2\ntcp.time_wait_s = 1\ntcp.syn_retries = 0\n";

/// The generator's namespace with `v0` and `v1`, and a router between them.
fn street() -> (Namespace, Namespace) {
    let generator = Namespace::unique("genconn").expect("a namespace");
    let router = Namespace::unique("genrouter").expect("a namespace");
    for (at, (own, other)) in [("v0", "r0"), ("v1", "r1")].into_iter().enumerate() {
        Veth::between(&generator, own, &router, other)
            .macs(MACS[at], MACS[at + 2])
            .create()
            .expect("a veth pair");
        let net = 18 + at;
        router.add_address(other, &format!("198.{net}.0.1/24")).expect("an address");
        router
            .ip(&format!("neighbour add 198.{net}.0.2 lladdr {} dev {other}", MACS[at]))
            .expect("a neighbour");
        router.ip(&format!("route add 198.{net}.1.0/24 via 198.{net}.0.2")).expect("a route");
    }
    router.set("net/ipv4/ip_forward", "1").expect("forwarding");
    (generator, router)
}

fn connections(generator: &Namespace, words: &str) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("users.toml"), PROFILE).expect("a profile");
    let mut program = generator.command(WEIRGEN);
    program.current_dir(folder.path()).args(["connections", "users.toml", "--sleep", "--json"]);
    program.args(["--left", "v0", "--right", "v1", "--left-mac", MACS[2], "--right-mac", MACS[3]]);
    program.args(words.split_whitespace()).args(["--runs", "runs.json"]);
    let output = process::output(program, PATIENCE).expect("weirgen starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let runs = std::fs::read_to_string(folder.path().join("runs.json")).expect("the runs");
    for run in runs.lines() {
        let run: Value = serde_json::from_str(run).expect("a result");
        assert!(run["users"]["memory_bytes"].as_u64().expect("a number") > 0, "{run}");
    }
    let mut result: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    result["said"] = said.into();
    result
}

#[test]
fn the_connections_that_the_kernel_is_told_to_hold_are_found() {
    skip_unless!(root, command "ip", command "iptables-legacy");
    let (generator, router) = street();
    router
        .run(
            "iptables-legacy -A FORWARD -p tcp --syn -m connlimit --connlimit-above 37 --connlimit-mask 0 -j DROP",
        )
        .expect("a rule");
    let result = connections(&generator, "--tests concurrent --most 1000 --ramp 200 --hold 0.3");
    let found = &result["concurrent"];
    assert_eq!((&found["held"], &found["failed_at"]), (&37.into(), &38.into()), "{result}");
}

#[test]
fn a_rate_that_all_reach_is_the_greatest_and_a_box_that_lets_nobody_through_is_told() {
    skip_unless!(root, command "ip", command "iptables-legacy");
    let (generator, router) = street();
    let words = "--tests rate --min 10 --max 50 --trial 0.5 --duration-sum 1 --time-max 30";
    let result = connections(&generator, words);
    let answer = &result["rate"]["answers"][0];
    assert!(answer["upper"].is_null() && answer["lower"]["load"].as_f64() > Some(9.9), "{result}");
    router.run("iptables-legacy -A FORWARD -p tcp --syn -j DROP").expect("a rule");
    let result = connections(&generator, words);
    let answer = &result["rate"]["answers"][0];
    assert!(answer["lower"].is_null() && !answer["caveat"].is_null(), "{result}");
}

#[test]
fn who_ends_a_search_gets_the_bounds_that_there_were() {
    skip_unless!(root, command "ip", command "iptables-legacy");
    let (generator, _router) = street();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("users.toml"), PROFILE).expect("a profile");
    let log = folder.path().join("log");
    let mut command = generator.command(WEIRGEN);
    command.current_dir(folder.path()).args(["connections", "users.toml", "--sleep"]);
    command.args(["--left", "v0", "--right", "v1", "--left-mac", MACS[2], "--right-mac", MACS[3]]);
    command.args(["--min", "10", "--max", "20", "--trial", "0.2", "--duration-sum", "3600"]);
    let mut weirgen = Process::spawn("weirgen", command, &log).expect("it starts");
    // A trial at the greatest rate: good, so it is a lower bound of a stage.
    weirgen.wait_for_line("connections: 20 cps", PATIENCE).expect("a trial");
    process::signal(weirgen.pid(), Signal::INT);
    let status = weirgen.wait(PATIENCE).expect("it ends by itself");
    let said = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(status.code(), Some(1), "{said}");
    for expected in [
        "PARTIAL RESULT: interrupted; this is what was known until then",
        "NOT REACHED: the search was cut short",
        "of trials where 3600 s are wanted",
        "concurrent    not found",
        "weirgen: interrupted",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
