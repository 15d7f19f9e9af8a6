//! Children that are always ended.
//!
//! A [`Process`] writes its output to a file, not to a pipe. So nobody has to drain it, its end can
//! be shown when something fails, lines can be awaited by reading it, and the process survives us
//! when the lab is told to stand (a pipe would break). Each child leads a process group of its own:
//! a Ctrl-C at the terminal reaches only us, and we end the children in the right order.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::{Error, Result, interrupt};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(10);

/// How long a process may take to follow SIGTERM before SIGKILL.
const TERMINATE_MAX: Duration = Duration::from_secs(5);

/// How long lines are still awaited from a command that has ended.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// A running child, ended when dropped with its own children: SIGTERM, then SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    kept: bool,
}

impl Process {
    /// Starts `command` with both outputs in the file `log`, and nothing on its input.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file or the process cannot be made.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let describe = || format!("write the log {}", log.display());
        let output = File::create(log).map_err(Error::io(describe()))?;
        let errors = output.try_clone().map_err(Error::io(describe()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("start `{}`", display(&command))))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_path_buf(), kept: false })
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far, on both outputs.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read.
    pub fn text(&self) -> Result<String> {
        let bytes = std::fs::read(&self.log)
            .map_err(Error::io(format!("read the log {}", self.log.display())))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Waits for a whole line that contains `text`, and returns the first such line.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] after `within`, [`Error::Died`] when the process ends without the line,
    /// [`Error::Interrupted`] on Ctrl-C.
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            // Ask first, then read: a process that prints the line and ends has printed it.
            let ended = self.status()?;
            let log = self.text()?;
            let mut whole_lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            if let Some(line) = whole_lines.find(|line| line.contains(text)) {
                return Ok(line.trim_end().to_owned());
            }
            if let Some(status) = ended {
                return Err(Error::Died { name: self.name.clone(), status, output: log });
            }
            if start.elapsed() > within {
                let what = format!("the line {text:?} of {}", self.name);
                return Err(Error::Timeout { what, after: within, output: log });
            }
            interrupt::check()?;
            thread::sleep(POLL);
        }
    }

    /// How the process ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot tell.
    pub fn status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(Error::io(format!("ask after {}", self.name)))
    }

    /// Waits for the process to end by itself, and returns how it did.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when it takes longer than `within` (it is ended then),
    /// [`Error::Interrupted`] on Ctrl-C, [`Error::Io`] when the system cannot tell.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        wait_unless(&mut self.child, &self.name, within, interrupt::requested)
    }

    /// Ends the process: SIGTERM, and SIGKILL where that is not followed within five seconds, and to its children.
    /// Returns how it ended.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot tell how it ended.
    pub fn stop(mut self) -> Result<ExitStatus> {
        end(&mut self.child).map_err(Error::io(format!("end {}", self.name)))
    }

    /// Ends the process at once with SIGKILL, as a crash would.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot tell how it ended.
    pub fn kill(mut self) -> Result<ExitStatus> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map_err(Error::io(format!("kill {}", self.name)))
    }

    /// Lets the process run on after this value, and after us.
    pub fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody can act on a failure here; the namespace ends what is left.
            let _ = end(&mut self.child);
        }
    }
}

/// SIGTERM, a while to follow it, SIGKILL; and SIGKILL to what the process has left of its group, for some leave
/// their helpers behind.
fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    signal(child.id(), Signal::TERM);
    let start = Instant::now();
    while start.elapsed() < TERMINATE_MAX && !has_ended(child) {
        thread::sleep(POLL);
    }
    // Before it is waited for: its number, and the group's with it, is its own until then.
    signal_group(child.id(), Signal::KILL);
    child.wait()
}

/// Whether a child has ended, without taking its status.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| !matches!(waitid(WaitId::Pid(pid), options), Ok(None)))
}

/// Sends a signal to one process. That it is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Sends a signal to the process group a child leads. That it is gone already is no error.
fn signal_group(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// Runs a command to its end and returns what it printed, whatever its status.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be started, [`Error::Timeout`] when it takes longer than `within`
/// (its process group is ended then), [`Error::Interrupted`] on Ctrl-C.
pub fn output(mut command: Command, within: Duration) -> Result<Output> {
    command.stderr(Stdio::piped());
    output_unless(command, within, interrupt::requested)
}

/// Runs a command to its end, or until it is late or `stop` says so. Where its standard error goes
/// is the caller's.
fn output_unless(mut command: Command, within: Duration, stop: fn() -> bool) -> Result<Output> {
    let line = display(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Error::io(format!("start `{line}`")))?;
    let stdout = child.stdout.take().map(drain);
    let stderr = child.stderr.take().map(drain);
    let waited = wait_unless(&mut child, &line, within, stop);
    let stdout = stdout.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let stderr = stderr.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Ok(Output { status: waited?, stdout, stderr })
}

/// Waits for a child; ends its group when it is late or `stop` says so.
fn wait_unless(
    child: &mut Child,
    line: &str,
    within: Duration,
    stop: fn() -> bool,
) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(Error::io(format!("ask after `{line}`")))? {
            return Ok(status);
        }
        let stopped = stop();
        if stopped || start.elapsed() > within {
            signal_group(child.id(), Signal::TERM);
            let _ = end(child);
            if stopped {
                return Err(Error::Interrupted);
            }
            let what = format!("the end of `{line}`");
            return Err(Error::Timeout { what, after: within, output: String::new() });
        }
        thread::sleep(POLL);
    }
}

/// Reads a pipe to its end beside us, so that the child never waits for a reader.
fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Runs a command that has to succeed, and returns its standard output as text.
///
/// # Errors
///
/// As [`output`], and [`Error::Command`] when the status is not 0.
pub fn run(command: Command, within: Duration) -> Result<String> {
    let line = display(&command);
    succeeded(&line, output(command, within)?)
}

/// Runs a command to its end and gives each line of its standard output to `on_line` as it comes.
/// Its standard error is ours.
///
/// # Errors
///
/// As [`output`].
pub fn stream(
    mut command: Command,
    within: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let name = display(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(Error::io(format!("start `{name}`")))?;
    let (sender, lines) = mpsc::channel();
    if let Some(pipe) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(io::Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
    }
    let start = Instant::now();
    while !interrupt::requested() && start.elapsed() <= within {
        match lines.recv_timeout(POLL) {
            Ok(line) => on_line(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            // Something it left behind may hold the pipe open for ever.
            Err(RecvTimeoutError::Timeout) if matches!(child.try_wait(), Ok(Some(_))) => {
                while let Ok(line) = lines.recv_timeout(AFTERWARDS) {
                    on_line(&line);
                }
                break;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    wait_unless(&mut child, &name, within.saturating_sub(start.elapsed()), interrupt::requested)
}

/// As [`run`], but Ctrl-C does not end it: for cleaning up, which has to happen all the same.
///
/// # Errors
///
/// As [`run`], but never [`Error::Interrupted`].
pub fn run_to_end(mut command: Command, within: Duration) -> Result<String> {
    let line = display(&command);
    command.stderr(Stdio::piped());
    succeeded(&line, output_unless(command, within, || false)?)
}

/// As [`run`], but the command's standard error is ours: for what shows its own progress.
///
/// # Errors
///
/// As [`run`].
pub fn run_showing_errors(mut command: Command, within: Duration) -> Result<String> {
    let line = display(&command);
    command.stderr(Stdio::inherit());
    succeeded(&line, output_unless(command, within, interrupt::requested)?)
}

/// The standard output of a command, when it succeeded.
fn succeeded(line: &str, output: Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let output_text = if stderr.trim().is_empty() { stdout } else { stderr };
    let command = line.to_owned();
    Err(Error::Command { command, status: output.status, output: output_text })
}

/// A command made of a line of words divided by blanks. There is no quoting; a line that needs it
/// goes through `sh -c`.
#[must_use]
pub fn words(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// The command as one would type it.
#[must_use]
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Where a program is found: in `PATH`, then where Debian keeps the administrator's programs.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| is_executable(file))
}

/// Whether the file exists and may be run.
fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_failure_carries_what_was_printed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let error = run(command, SOON).expect_err("status 3").to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("| err"), "{error}");
    }

    #[test]
    fn a_late_command_is_ended() {
        let start = Instant::now();
        let error = run(words("sleep 60"), Duration::from_millis(50)).expect_err("too late");
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(start.elapsed() < SOON);
    }

    #[test]
    fn the_children_of_a_process_end_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo child $!; wait"]);
        let mut process =
            Process::spawn("a parent", command, &folder.path().join("log")).expect("it starts");
        let line = process.wait_for_line("child ", SOON).expect("the line");
        process.stop().expect("it ends");
        let stat = format!("/proc/{}/stat", line.trim_start_matches("child "));
        let start = Instant::now();
        // Gone, or ended and not yet waited for by whoever has taken it over.
        while std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z ")) {
            assert!(start.elapsed() < SOON, "{stat} is still there");
            thread::sleep(POLL);
        }
    }

    #[test]
    fn every_line_is_given_even_without_an_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'one\\ntwo\\n\\nfour'; exit 7"]);
        let mut lines = Vec::new();
        let status = stream(command, SOON, |line| lines.push(line.to_owned())).expect("it runs");
        assert_eq!(
            (status.code(), lines),
            (Some(7), vec!["one", "two", "", "four"].into_iter().map(str::to_owned).collect())
        );
    }

    #[test]
    fn what_holds_the_pipe_open_does_not_hold_us() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 20 & echo $!"]);
        let mut pid = 0;
        stream(command, SOON, |line| pid = line.parse().expect("a process id")).expect("it runs");
        assert!(start.elapsed() < SOON);
        signal(pid, Signal::KILL);
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some_and(|path| path.is_absolute()));
        assert_eq!(find_program("no-such-program"), None);
    }
}
