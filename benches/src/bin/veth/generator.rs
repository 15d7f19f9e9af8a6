//! The generator: `weirgen send` as a process of its own.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::process::Process;
use weir_tests::{Error, Result, interrupt};

use crate::Bench;
use crate::topology::{GENERATOR, GENERATOR_CORE, MAC_F0, SINK, Topology};

/// How long it may take to start, and to end after its time.
const PATIENCE: Duration = Duration::from_secs(10);

/// The file of its output, in the folder of a run.
const LOG: &str = "weirgen.log";

/// What to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Packets a second; `None` for a flood.
    pub(crate) rate: Option<u64>,
    /// Bytes a frame.
    pub(crate) length: u32,
    /// Flows: source ports.
    pub(crate) flows: u16,
    /// For how long.
    pub(crate) duration: Duration,
}

/// What it has sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) achieved_pps: f64,
    pub(crate) void: Option<String>,
}

/// Starts it; it is sending when this returns.
pub(crate) fn start(
    bench: &Bench,
    topology: &Topology,
    load: &Load,
    folder: &Path,
) -> Result<Process> {
    let mut command = topology.generator.command("taskset");
    command.args(["-c", &GENERATOR_CORE.to_string()]).arg(&bench.programs.weirgen);
    command.args(["send", "--json", "--interface", "g0", "--destination-mac", MAC_F0]);
    command.args(["--source", GENERATOR, "--destination", SINK, "--destination-port", "9"]);
    command.args(["--source-port", &format!("1024-{}", 1023 + load.flows.max(1))]);
    command.args(["--length", &load.length.to_string(), "--count", "1000000000000"]);
    command.args(["--duration", &load.duration.as_secs_f64().to_string()]);
    match load.rate {
        Some(rate) => command.args(["--rate", &rate.to_string()]),
        None => command.arg("--flood"),
    };
    let mut process = Process::spawn("weirgen", command, &folder.join(LOG))?;
    // The last line before the first packet.
    process.wait_for_line("Ctrl-C ends it", PATIENCE)?;
    Ok(process)
}

/// Waits for its end.
pub(crate) fn wait(process: &mut Process, load: &Load) -> Result<Sent> {
    let start = Instant::now();
    while process.status()?.is_none() {
        if start.elapsed() > load.duration + PATIENCE {
            let output = process.text()?;
            let what = "the end of weirgen".to_owned();
            return Err(Error::Timeout { what, after: start.elapsed(), output });
        }
        interrupt::check()?;
        thread::sleep(Duration::from_millis(5));
    }
    read(&process.text()?)
}

/// Ends it before its time.
pub(crate) fn stop(process: Process, folder: &Path) -> Result<Sent> {
    process.stop()?;
    let file = folder.join(LOG);
    let text =
        std::fs::read_to_string(&file).map_err(Error::io(format!("read {}", file.display())))?;
    read(&text)
}

/// Reads its report, the one line of JSON.
fn read(text: &str) -> Result<Sent> {
    let report = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let parts = report.as_ref().and_then(|report| {
        Some((report["packets"].as_u64()?, report["achieved_pps"].as_f64()?, &report["void"]))
    });
    let Some((packets, achieved_pps, void)) = parts else {
        let what = "the report of weirgen".to_owned();
        return Err(Error::Unreadable { what, text: text.to_owned() });
    };
    Ok(Sent { packets, achieved_pps, void: void.as_str().map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_found_among_messages() {
        let text = "weirgen: sending\n{\"packets\":5,\"achieved_pps\":2.5,\"void\":null}\n";
        let sent = read(text).unwrap();
        assert_eq!((sent.packets, sent.achieved_pps, sent.void), (5, 2.5, None));
        assert!(read("weirgen: no such device\n").is_err());
    }
}
