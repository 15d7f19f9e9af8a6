//! What a result was obtained on.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use weir_tests::{process, repository};

/// The machine, the kernel, the code, the command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Environment {
    processor: String,
    cores: usize,
    kernel: String,
    /// One, five and fifteen minutes before the start: other work is noise.
    load_average: String,
    commit: String,
    iptables: String,
    command_line: Vec<String>,
    started_unix_s: u64,
    driver: &'static str,
}

impl Environment {
    /// Reads it; what cannot be read is "unknown".
    pub(crate) fn read() -> Self {
        let unknown = || "unknown".to_owned();
        let file = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
        let processor = file("/proc/cpuinfo").and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?.to_owned();
            Some(line.split_once(':')?.1.trim().to_owned())
        });
        let mut git = Command::new("git");
        git.args(["describe", "--always", "--dirty"]).current_dir(repository());
        let said = |command: Command| {
            let text = process::run(command, Duration::from_secs(10)).ok()?;
            Some(text.trim().to_owned())
        };
        Self {
            processor: processor.unwrap_or_else(unknown),
            cores: core_affinity::get_core_ids().map_or(0, |cores| cores.len()),
            kernel: file("/proc/sys/kernel/osrelease").unwrap_or_else(unknown),
            load_average: file("/proc/loadavg").unwrap_or_else(unknown),
            commit: said(git).unwrap_or_else(unknown),
            iptables: said(process::words("iptables --version")).unwrap_or_else(unknown),
            command_line: std::env::args().collect(),
            started_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            driver: "veth",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} cores), Linux {}, {}, commit {}, load {}",
            self.processor, self.cores, self.kernel, self.iptables, self.commit, self.load_average
        )
    }
}
