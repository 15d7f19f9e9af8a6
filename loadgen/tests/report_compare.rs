//! `weirgen report` and `weirgen compare` as programs: files in, files and exit statuses out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A run of a probe of 1,000 packets a second, of which so many do not arrive.
fn run(lost: u64) -> Value {
    json!({
        "format": 1,
        "command": ["weirgen", "run", "probe"],
        "label": "probe",
        "environment": {
            "cpu": "a processor", "cores": 2, "kernel": "6.18.0", "hz": null, "mitigations": [], "governor": null,
            "memory_bytes": 1024, "version": "weirgen", "interfaces": [],
        },
        "begun_unix_s": 1_790_000_000,
        "seed": 24301,
        "elapsed_s": 10.0,
        "ended_by": "duration",
        "void": null,
        "streams": [{
            "name": "probe", "kind": "udp", "expect": "pass", "requested_pps": 1000.0, "achieved_pps": 1000.0,
            "sent": 10_000, "sent_bytes": 600_000, "received": 10_000 - lost, "received_bytes": 600_000 - 60 * lost,
            "missing": lost, "duplicated": 0, "reordered": 0, "damaged": 0, "latency": null,
        }],
        "users": null,
        "seconds": [],
        "cpu": null,
        "foreign_frames": 0,
        "overrun_frames": 0,
    })
}

/// Files in a folder that goes away, and the program in it.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of runs that lose so many packets each.
    fn file(&self, name: &str, lost: impl IntoIterator<Item = u64>) {
        let lines: Vec<String> = lost.into_iter().map(|lost| run(lost).to_string()).collect();
        fs::write(self.path(name), lines.join("\n")).unwrap();
    }

    fn weirgen(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirgen"));
        command.current_dir(self.0.path()).args(line.split_whitespace()).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn reports_are_made_in_every_form() {
    let desk = Desk::new();
    desk.file("a.json", [0, 10]);
    let shown = desk.weirgen("report a.json");
    assert!(shown.status.success());
    assert_eq!(text(&shown.stdout).matches("probe: 10.000 s, seed 0x5eed").count(), 2);
    for (name, begins) in
        [("a.html", "<!DOCTYPE html>"), ("a.csv", "label,run,"), ("a.txt", "probe: 10.000 s")]
    {
        let made = desk.weirgen(&format!("report a.json -o {name}"));
        assert!(made.status.success() && made.stdout.is_empty(), "{made:?}");
        assert!(fs::read_to_string(desk.path(name)).unwrap().starts_with(begins), "{name}");
    }
    let csv = desk.weirgen("report a.json --format csv");
    assert_eq!(csv.stdout, fs::read(desk.path("a.csv")).unwrap());
}

#[test]
fn a_file_that_is_no_result_is_refused_and_nothing_is_written() {
    let desk = Desk::new();
    fs::write(desk.path("other.json"), "{\"format\": 7}").unwrap();
    let cases = [
        (
            "report other.json -o a.html",
            "other.json has results of format 7, and this program reads format 1",
        ),
        ("report missing.json -o a.html", "cannot read missing.json"),
    ];
    for (line, expected) in cases {
        let refused = desk.weirgen(line);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(expected), "{}", text(&refused.stderr));
        assert!(!Path::new(&desk.path("a.html")).exists());
    }
}

#[test]
fn the_exit_status_of_a_comparison_tells() {
    let desk = Desk::new();
    desk.file("good.json", [10, 11, 12, 13, 14, 15]);
    desk.file("same.json", [11, 10, 13, 12, 15, 14]);
    desk.file("bad.json", [20, 21, 22, 23, 24, 25]);
    desk.file("one.json", [99]);
    for half in ["x", "y"] {
        desk.file(&format!("bad-{half}.json"), [20, 21, 22]);
    }
    let cases = [
        ("compare good.json same.json", 0, "nothing differs beyond noise"),
        ("compare good.json bad.json", 4, "something differs beyond noise"),
        ("compare good.json same.json bad.json", 4, "something differs beyond noise"),
        (
            "compare good.json --with bad-x.json bad-y.json",
            4,
            "good.json against bad-x.json bad-y.json",
        ),
        ("compare one.json one.json", 5, "cannot be said: measure 5 runs or more"),
        ("compare good.json one.json", 5, "cannot be said: measure 5 runs or more"),
    ];
    for (line, status, expected) in cases {
        let compared = desk.weirgen(line);
        assert_eq!(compared.status.code(), Some(status), "{line}: {}", text(&compared.stdout));
        assert!(text(&compared.stdout).contains(expected), "{line}: {}", text(&compared.stdout));
    }
    let json = desk.weirgen("compare good.json bad.json --json");
    let comparison: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(comparison["parts"][0]["lines"][1]["verdict"], "worse");
    assert_eq!(comparison["circumstances"], json!([]));
}

#[test]
fn runs_of_different_engines_threads_and_machines_are_said_to_be() {
    let desk = Desk::new();
    desk.file("a.json", [0]);
    let mut other = run(0);
    other["threads"] = json!(2);
    other["streams"][0]["engine"] = json!("live-frames");
    other["environment"]["host"] = json!("elsewhere");
    fs::write(desk.path("b.json"), other.to_string()).unwrap();
    let compared = text(&desk.weirgen("compare a.json b.json").stdout);
    let expected = "a.json against b.json\n\nNOT ALIKE: what differs in the figures may come of this, and not of what \
                    was compared:\n  engine: af-xdp of probe / live-frames of probe\n  threads: not told / 2\n  \
                    machine: not told / elsewhere\n\nstream probe";
    assert!(compared.starts_with(expected), "{compared}");
    let json = desk.weirgen("compare a.json b.json --json");
    let comparison: Value = serde_json::from_slice(&json.stdout).unwrap();
    let threads = json!({"aspect": "threads", "before": "not told", "after": "2"});
    assert_eq!(comparison["circumstances"][1], threads, "{comparison}");
}

#[test]
fn runs_of_different_demands_are_refused() {
    let desk = Desk::new();
    desk.file("a.json", [0]);
    let mut other = run(0);
    other["streams"][0]["requested_pps"] = json!(2000.0);
    fs::write(desk.path("b.json"), other.to_string()).unwrap();
    let refused = desk.weirgen("compare a.json b.json");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let expected = "b.json has no run of stream probe (udp, Pass, 1000 pps)";
    assert!(text(&refused.stderr).contains(expected), "{}", text(&refused.stderr));
}
