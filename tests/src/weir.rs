//! Weir itself: its binaries built, its daemon started in a namespace, rules given, counters read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::netns::Namespace;
use crate::process::{self, Process};
use crate::{Error, Result, repository};

/// How long the daemon may take until it forwards. Loading the XDP program takes most of it.
const READY_MAX: Duration = Duration::from_secs(30);

/// How long one command of `weirctl` may take.
const COMMAND_MAX: Duration = Duration::from_secs(15);

/// How long a build may take, from nothing, on two cores.
const BUILD_MAX: Duration = Duration::from_secs(1500);

/// Which of Cargo's profiles to build with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build: for tests.
    Debug,
    /// Quick to run: for the lab and for measurements.
    Release,
}

/// Where the built programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The daemon.
    pub weir: PathBuf,
    /// The command line that talks to it.
    pub weirctl: PathBuf,
}

impl Binaries {
    /// Builds both programs, Cargo's progress on standard error, and says where they are.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when the build fails, [`Error::Interrupted`] on Ctrl-C,
    /// [`Error::Unreadable`] when Cargo names no program.
    pub fn build(profile: Profile) -> Result<Self> {
        let messages = build(profile, &["weir-dataplane", "weir-control"])?;
        Ok(Self { weir: find(&messages, "weir")?, weirctl: find(&messages, "weirctl")? })
    }

    /// Asks `weir check` about a configuration file, and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with its message when the file is wrong.
    pub fn check(&self, config: &Path) -> Result<String> {
        let mut command = Command::new(&self.weir);
        command.arg("check").arg("--config").arg(config);
        process::run(command, COMMAND_MAX)
    }
}

/// Builds another program of the workspace, and says where it is.
///
/// # Errors
///
/// As [`Binaries::build`].
pub fn build_program(profile: Profile, package: &str, name: &str) -> Result<PathBuf> {
    find(&build(profile, &[package])?, name)
}

/// Builds the programs of these packages, Cargo's progress on standard error; its messages.
fn build(profile: Profile, packages: &[&str]) -> Result<String> {
    let mut command = cargo();
    command.args(["build", "--message-format", "json-render-diagnostics", "--bins"]);
    for package in packages {
        command.args(["-p", package]);
    }
    if profile == Profile::Release {
        command.arg("--release");
    }
    process::run_showing_errors(command, BUILD_MAX)
}

/// The program of this name in Cargo's messages, or what is wrong with them.
fn find(messages: &str, name: &str) -> Result<PathBuf> {
    executable(messages, name).ok_or_else(|| Error::Unreadable {
        what: format!("where Cargo put the program `{name}`"),
        text: messages.lines().last().unwrap_or_default().to_owned(),
    })
}

/// Cargo: the one that runs us, or the one in `PATH`. It starts at the root of the repository.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository()).stdin(Stdio::null());
    command
}

/// The program of this name in Cargo's messages: JSON, one a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// A daemon in a namespace, ended when dropped.
#[derive(Debug)]
pub struct Daemon {
    process: Process,
    binaries: Binaries,
    socket: PathBuf,
}

impl Daemon {
    /// Starts `weir run` in the namespace with this configuration, its control socket, its
    /// configuration and its log in `folder`; waits until it forwards and answers.
    ///
    /// The configuration's `socket` is replaced, so that any number of daemons live side by side.
    ///
    /// # Errors
    ///
    /// [`Error::Died`] with the end of its log when it does not start, [`Error::Timeout`] when it
    /// is not ready in time, [`Error::Command`] when it does not answer.
    pub fn start(
        binaries: &Binaries,
        namespace: &Namespace,
        config: &str,
        folder: &Path,
    ) -> Result<Self> {
        let socket = folder.join("weir.sock");
        let file = folder.join("weir.toml");
        let text = with_socket(config, &socket);
        fs::write(&file, text).map_err(Error::io(format!("write {}", file.display())))?;

        let mut command = namespace.command(&binaries.weir.to_string_lossy());
        command.arg("run").arg("--config").arg(&file);
        let mut process = Process::spawn("weir", command, &folder.join("weir.log"))?;
        process.wait_for_line("ready", READY_MAX)?;
        let daemon = Self { process, binaries: binaries.clone(), socket };
        daemon.ctl("status")?;
        Ok(daemon)
    }

    /// Its control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything it has logged.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.text()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot tell.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.process.status()
    }

    /// Runs `weirctl --socket <its socket>` with these words, and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with its message when it refuses.
    pub fn ctl(&self, words: &str) -> Result<String> {
        let mut command = Command::new(&self.binaries.weirctl);
        command.arg("--socket").arg(&self.socket).args(words.split_whitespace());
        process::run(command, COMMAND_MAX)
    }

    /// Gives a line of iptables, as in `-A FORWARD -j DROP`, and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with its message when the line is refused.
    pub fn iptables(&self, line: &str) -> Result<String> {
        self.ctl(&format!("iptables {line}"))
    }

    /// What `weirctl --json stats` says.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when it refuses, [`Error::Unreadable`] when that is no JSON.
    pub fn stats(&self) -> Result<Value> {
        let text = self.ctl("--json stats")?;
        let what = "the answer of `weirctl --json stats`".to_owned();
        serde_json::from_str(&text).map_err(|_| Error::Unreadable { what, text })
    }

    /// Ends the daemon by SIGTERM, and returns how it ended.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot tell.
    pub fn stop(self) -> Result<ExitStatus> {
        self.process.stop()
    }

    /// Ends the daemon by SIGKILL, as a crash would.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the system cannot tell.
    pub fn kill(self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Lets the daemon run on after us.
    pub fn keep(&mut self) {
        self.process.keep();
    }
}

/// The configuration with another control socket: `socket` of the table `[control]`.
fn with_socket(config: &str, socket: &Path) -> String {
    // TOML's basic strings and JSON's share their escapes.
    let setting = format!("socket = {}\n", Value::from(socket.to_string_lossy()));
    let mut text = String::with_capacity(config.len() + setting.len());
    let mut table = "";
    let mut is_set = false;
    for line in config.lines() {
        if line.trim_start().starts_with('[') {
            table = line.split('#').next().unwrap_or_default().trim();
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        if table != "[control]" || key != "socket" {
            text.push_str(line);
            text.push('\n');
        }
        if line.trim_start().starts_with("[control]") {
            text.push_str(&setting);
            is_set = true;
        }
    }
    if !is_set {
        text.push_str("\n[control]\n");
        text.push_str(&setting);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_socket_is_replaced() {
        let socket = Path::new("/tmp/a \"b\"");
        let setting = "socket = \"/tmp/a \\\"b\\\"\"\n";
        let config = "# socket = 1\n[x]\nsocket = 2\n[control]\nsocket = \"/run/w\" # y\nz = 3\n";
        let expected = format!("# socket = 1\n[x]\nsocket = 2\n[control]\n{setting}z = 3\n");
        assert_eq!(with_socket(config, socket), expected);
        let expected = format!("[control]\n{setting}z = 3\n");
        assert_eq!(with_socket("[control]\nz = 3\n", socket), expected);
        let expected = format!("mode = \"route\"\n\n[control]\n{setting}");
        assert_eq!(with_socket("mode = \"route\"", socket), expected);
    }

    #[test]
    fn programs_are_found_in_the_messages_of_cargo() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"weir"},"executable":null}"#,
            "\nnot json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"weir"},"executable":"/t/weir"}"#,
        );
        assert_eq!(executable(messages, "weir"), Some(PathBuf::from("/t/weir")));
        assert_eq!(executable(messages, "weirctl"), None);
    }
}
