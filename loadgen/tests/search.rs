//! `weirgen search`, `rfc2544` and `sweep` over a veth pair, as a user runs them. How fast the machine is does not
//! matter here: what is asked is whether the answers hang together.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use weir_tests::netns::Namespace;
use weir_tests::process;
use weir_tests::{repository, skip_unless};

const WEIRGEN: &str = env!("CARGO_BIN_EXE_weirgen");
const PATIENCE: Duration = Duration::from_secs(180);

const PROBE: &str = "about = \"a probe\"\nsettle_s = 0.1\n[[stream]]\nname = \"probe\"\nkind = \"udp\"\nrate = 1000\n\
                     source = \"198.18.0.1\"\ndestination = \"198.19.0.2\"\n";

/// A namespace with both ends of a cable, and a folder with a profile that is all to pass.
struct Bench {
    namespace: Namespace,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let namespace = Namespace::unique("gensearch").expect("a namespace");
        namespace.ip("link add v0 type veth peer name v1").expect("a veth pair");
        for name in ["v0", "v1"] {
            namespace.set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").expect("no IPv6");
            namespace.ip(&format!("link set {name} up")).expect("the link");
        }
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("probe.toml"), PROBE).expect("a profile");
        Self { namespace, folder }
    }

    fn weirgen(&self, command: &str, words: &str) -> Output {
        let mut program = self.namespace.command(WEIRGEN);
        program.current_dir(self.folder.path()).args(command.split_whitespace());
        program.args(["--left", "v0", "--right", "v1", "--sleep"]).args(words.split_whitespace());
        process::output(program, PATIENCE).expect("weirgen starts")
    }

    /// The results in a file.
    fn runs(&self, name: &str) -> Vec<Value> {
        let text =
            std::fs::read_to_string(self.folder.path().join(name)).expect("the file of runs");
        text.lines().map(|line| serde_json::from_str(line).expect("a result")).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_search_states_bounds_and_keeps_its_trials() {
    skip_unless!(root, command "ip");
    let bench = Bench::new();
    let words = "--min 50 --max 400 --trial 0.1 --duration-sum 0.5 --width 20 --time-max 20 --runs runs.json --json";
    let output = bench.weirgen("search probe.toml", words);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    let answers = result["found"]["answers"].as_array().expect("answers");
    let names: Vec<&Value> = answers.iter().map(|answer| &answer["goal"]["name"]).collect();
    assert_eq!(names, ["NDR", "PDR 0.5 %"]);
    // Nothing is lost on a cable: a bound above is none, whatever the machine does meanwhile.
    for answer in answers {
        assert!(answer["upper"].is_null(), "{answer}");
        assert!(!answer["caveat"].is_null(), "{answer}");
    }
    let trials = result["found"]["trials"].as_array().expect("trials").len();
    let runs = bench.runs("runs.json");
    let usable = runs.iter().filter(|run| run["void"].is_null()).count();
    assert!(trials > 0 && usable == trials, "{usable} {trials}");
    let page = bench
        .namespace
        .command(WEIRGEN)
        .current_dir(bench.folder.path())
        .args(["report", "runs.json"])
        .output();
    assert!(page.expect("weirgen starts").status.success());
}

#[test]
fn a_sweep_has_every_rate_in_every_round() {
    skip_unless!(root, command "ip");
    let bench = Bench::new();
    let profile = repository().join("configs/loadgen/syn-flood.toml");
    let command = format!("sweep {}", profile.display());
    let output = bench.weirgen(
        &command,
        "--rates 0,200,400 --rounds 2 --duration 0.2 --json runs.json --html page.html",
    );
    assert!(matches!(output.status.code(), Some(0 | 3)), "{}", text(&output.stderr));
    let runs = bench.runs("runs.json");
    assert_eq!(runs.len(), 6);
    let floods = |run: &Value| run["streams"].as_array().expect("streams").len() - 1;
    assert_eq!(runs.iter().map(floods).sum::<usize>(), 4, "a rate of 0 leaves the stream out");
    let page = std::fs::read_to_string(bench.folder.path().join("page.html")).expect("the page");
    assert!(page.contains("<h2>Runs</h2>"));
}

#[test]
fn the_plain_set_is_measured_for_every_size() {
    skip_unless!(root, command "ip");
    let bench = Bench::new();
    let words = "--min 50 --max 200 --frame-bytes 64,1518 --tests loss,back-to-back --trial 0.1 --confirm 0.1 \
                 --burst-trials 2 --burst-max 50 --resolution 50 --json";
    let output = bench.weirgen("rfc2544 probe.toml", words);
    let said = text(&output.stderr);
    // A machine that is busy with others may not even send 50 packets a second in time.
    if !output.status.success() {
        assert!(said.contains("at the least load, 50"), "{said}");
        return;
    }
    let lines: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a result"))
        .collect();
    let sizes: Vec<&Value> = lines.iter().map(|line| &line["frame_bytes"]).collect();
    assert_eq!(sizes, [64, 1518]);
    for line in &lines {
        assert!(line["latency"].is_null() && line["loss_curve"].is_array(), "{line}");
        assert_eq!(line["back_to_back"]["frames"]["values"], 2, "{line}");
    }
    assert!(said.contains("measurements of the burst 2, RFC 2544 asks for 50"), "{said}");
}

#[test]
fn mistakes_are_named_and_nothing_is_sent() {
    skip_unless!(root, command "ip");
    let bench = Bench::new();
    let flood = format!("search {}", repository().join("configs/loadgen/syn-flood.toml").display());
    let cases = [
        (flood.as_str(), "", "every stream is to pass"),
        ("search probe.toml", "--min 100 --max 50", "greatest load = 50"),
        ("search users", "", "its [users] would run along uncounted"),
        ("connections probe.toml", "", "it needs a table [users]"),
        ("search probe.toml", "--loss 100", "must be 0 to 99.9 percent"),
        (
            "sweep probe.toml",
            "--rates 1,2",
            "--stream = (none) is not possible: one of the profile's: probe",
        ),
        ("sweep probe.toml", "--stream probe --rates 0", "the profile has no other stream"),
        ("sweep probe.toml", "--stream other --rates 1", "one of the profile's: probe"),
        ("rfc2544 probe.toml", "--frame-bytes 63", "frames have 64 to 1518"),
    ];
    for (command, words, expected) in cases {
        let output = bench.weirgen(command, words);
        assert!(!output.status.success() && output.stdout.is_empty(), "{command} {words}");
        let said = text(&output.stderr);
        assert!(said.contains(expected), "{command} {words}: {said}");
    }
}
