//! `dpdk-test-acl`, DPDK's own test of its classifier `rte_acl`, on the same rules and packets.
//!
//! It is in Debian's `dpdk-dev`. It needs no device, no huge pages and no rights. What it prints is packets a second of
//! classification alone, one core, AVX2 where there is any.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use weir_dataplane::policy::classify::RuleKey;

use super::file;
use super::trace::Packet;

/// The program.
pub const PROGRAM: &str = "dpdk-test-acl";

/// How often it goes through the trace.
const ITERATIONS: usize = 20;

/// Packets that it classifies in one call: what suits it best.
const STEP: usize = 256;

/// A rule set and a trace in files, ready to be run.
#[derive(Debug)]
pub struct Peer {
    folder: tempfile::TempDir,
    rules: usize,
    packets: usize,
}

impl Peer {
    /// Writes the files; `Err` says why it cannot be run here.
    ///
    /// # Errors
    /// When the program is not installed, or the files cannot be written.
    pub fn new(rules: &[RuleKey], packets: &[Packet]) -> Result<Self, String> {
        let present = Command::new(PROGRAM).stdout(Stdio::null()).stderr(Stdio::null()).status();
        present.map_err(|error| format!("{PROGRAM} (Debian: dpdk-dev): {error}"))?;
        let write = || -> io::Result<tempfile::TempDir> {
            let folder = tempfile::tempdir()?;
            lines(
                &folder.path().join("rules"),
                rules.iter().map(|rule| spaced(&file::line(rule))),
            )?;
            lines(&folder.path().join("trace"), packets.iter().map(Packet::line))?;
            Ok(folder)
        };
        let folder = write().map_err(|error| format!("a temporary folder: {error}"))?;
        Ok(Self { folder, rules: rules.len(), packets: packets.len() })
    }

    /// Runs it once; nanoseconds a packet.
    ///
    /// # Errors
    /// What it said when it did not do its work.
    pub fn run_ns(&self) -> Result<f64, String> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let output = Command::new(PROGRAM)
            .args(["--no-huge", "--no-pci", "--no-telemetry", "-m", "2048", "--log-level=1"])
            .args(["-l", "0", "--file-prefix", &format!("weir{}", std::process::id()), "--"])
            .arg(format!("--rulesf={}", path("rules")))
            .arg(format!("--tracef={}", path("trace")))
            .arg(format!("--rulenum={}", self.rules + 1))
            .arg(format!("--tracenum={}", self.packets))
            .arg(format!("--tracestep={STEP}"))
            .arg(format!("--iter={ITERATIONS}"))
            .args(["--runcat=1", "--bldcat=1", "--verbose=0"])
            .output()
            .map_err(|error| format!("{PROGRAM}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| {
            let (before, _) = line.split_once(" pkt/sec")?;
            before.rsplit(' ').next()?.parse::<f64>().ok()
        });
        rate.filter(|rate| *rate > 0.0).map(|rate| 1e9 / rate).ok_or_else(|| {
            format!("{PROGRAM}: {}", text.lines().last().unwrap_or("it said nothing"))
        })
    }
}

/// A rule as it reads them: one space between words, nothing after the protocol.
fn spaced(line: &str) -> String {
    line.split_whitespace().take(9).collect::<Vec<_>>().join(" ")
}

fn lines(path: &Path, lines: impl Iterator<Item = String>) -> io::Result<()> {
    let mut file = io::BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.flush()
}
