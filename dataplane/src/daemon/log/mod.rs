//! The log thread: records of packets become lines ([`crate::packet_log`]), in a file or among the daemon's own
//! messages (target `weir::log`).
//!
//! It looks at the workers' queues every [`PAUSE`], so a line is that late at most, and its time is that of the
//! writing. What cannot be written (a full disk) is lost and counted; the daemon goes on.

mod file;
mod timestamp;

pub use file::LogFileError;

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use file::LogFile;
use weir_control::rule::LogLevel;

use super::DaemonError;
use crate::packet_log::{PacketLog, Record, Records, line};

/// Between two looks at the queues: a worker may note 500 packets at once, and its queue has room for twice that.
const PAUSE: Duration = Duration::from_millis(50);

/// Lines written at a time, at most.
const LINES_MAX: usize = 256;

/// Where lines go.
enum Sink {
    Messages,
    File(LogFile),
}

/// The log thread. It ends when this is dropped, with all written that was asked for.
#[derive(Debug)]
pub(super) struct Log {
    stop: Arc<AtomicBool>,
    unwritten: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Opens the file, if one is given, and starts the thread. Returns the ends for so many workers.
    pub(super) fn start(
        file: Option<&Path>,
        port_names: Vec<String>,
        workers: usize,
    ) -> Result<(Self, Vec<PacketLog>), DaemonError> {
        let sink = file.map_or(Ok(Sink::Messages), |path| LogFile::open(path).map(Sink::File))?;
        let (logs, records): (Vec<_>, Vec<_>) = (0..workers).map(|_| PacketLog::new()).unzip();
        let stop = Arc::new(AtomicBool::new(false));
        let unwritten = Arc::new(AtomicU64::new(0));
        let (stopped, lost) = (Arc::clone(&stop), Arc::clone(&unwritten));
        let mut writer = Writer { records, port_names, sink, lost, failing: false };
        let thread = std::thread::Builder::new()
            .name("weir-log".to_owned())
            .spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    std::thread::park_timeout(PAUSE);
                    writer.write_all();
                }
                writer.write_all();
            })
            .map_err(|source: io::Error| DaemonError::System { what: "thread", source })?;
        Ok((Self { stop, unwritten, thread: Some(thread) }, logs))
    }

    /// Counts the lines that could not be written.
    pub(super) fn unwritten(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.unwritten)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Writer {
    records: Vec<Records>,
    port_names: Vec<String>,
    sink: Sink,
    lost: Arc<AtomicU64>,
    /// Whether the last write failed; told once.
    failing: bool,
}

impl Writer {
    /// Writes what waits now, in turns of a bounded number of lines, so that no worker's share starves another's.
    fn write_all(&mut self) {
        loop {
            let share = LINES_MAX.div_ceil(self.records.len().max(1));
            let mut waiting = Vec::new();
            for queue in &self.records {
                waiting.extend(std::iter::from_fn(|| queue.pop()).take(share));
            }
            if waiting.is_empty() {
                return;
            }
            self.write(&waiting);
        }
    }

    fn write(&mut self, records: &[Record]) {
        let Self { port_names, sink, lost, failing, .. } = self;
        let lines = records.iter().map(|record| (record.spec.level, line(record, port_names)));
        let file = match sink {
            Sink::Messages => {
                lines.for_each(|(level, line)| tell(level, &line));
                return;
            }
            Sink::File(file) => file,
        };
        let mut text = String::new();
        let now = timestamp::utc(SystemTime::now());
        for (level, line) in lines {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{now} {} {line}", level.listed_name());
        }
        match file.append(text.as_bytes()) {
            Ok(()) => *failing = false,
            Err(error) => {
                lost.fetch_add(records.len() as u64, Ordering::Relaxed);
                if !std::mem::replace(failing, true) {
                    tracing::error!("lines about packets are lost: {error}");
                }
            }
        }
    }
}

/// A line among the daemon's own messages.
fn tell(level: LogLevel, line: &str) {
    match level.number() {
        0..=3 => tracing::error!(target: "weir::log", "{line}"),
        4 => tracing::warn!(target: "weir::log", "{line}"),
        5 | 6 => tracing::info!(target: "weir::log", "{line}"),
        _ => tracing::debug!(target: "weir::log", "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use weir_control::rule::LogTarget;

    use super::*;
    use crate::batch::Headers;
    use crate::packet_log::LogSpec;
    use crate::policy::{Candidate, Connection};
    use crate::port::PortIndex;

    fn note(log: &mut PacketLog, prefix: &str) {
        let target = LogTarget {
            prefix: prefix.to_owned().try_into().expect("short"),
            ..LogTarget::default()
        };
        let headers = Headers::default();
        log.note(
            &LogSpec::new(&target),
            &Candidate {
                hook: crate::policy::Hook::Forward,
                headers: &headers,
                ingress: PortIndex(0),
                egress: PortIndex(1),
                packet: &[0x45; 20],
                link: &[2; 14],
                forwarding: &crate::route::Forwarding::builder().build(),
                connection: Connection::UNTRACKED,
                dice: &crate::policy::Dice::new(0),
                now_ns: 0,
                wall_s: 0,
                mark: 0,
            },
        );
    }

    #[test]
    fn what_is_noted_is_in_the_file_at_the_end_and_the_file_may_be_moved() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("packets.log");
        std::fs::write(&path, "before\n").expect("a file");
        let names = ["left", "right"].map(str::to_owned).to_vec();
        let (log, mut ends) = Log::start(Some(&path), names.clone(), 2).expect("a thread");
        note(&mut ends[0], "one ");
        note(&mut ends[1], "two ");
        drop(log);
        let text = std::fs::read_to_string(&path).expect("a file");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], "before");
        let (time, line) = lines[1].split_at(27);
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
        assert!(line.starts_with(" warn one IN=left OUT=right MAC=02:02:"), "{line}");
        assert!(lines[2].contains(" warn two IN="), "{text}");

        let mut file = LogFile::open(&path).expect("it is there");
        std::fs::rename(&path, folder.path().join("old.log")).expect("moved");
        file.append(b"after\n").expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("made anew"), "after\n");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let error =
            Log::start(Some(folder.path()), Vec::new(), 1).map(|_| ()).expect_err("a folder");
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
        let nowhere = folder.path().join("missing/packets.log");
        let error = Log::start(Some(&nowhere), Vec::new(), 1).map(|_| ()).expect_err("no folder");
        assert!(error.to_string().contains("log.file"), "{error}");
    }
}
