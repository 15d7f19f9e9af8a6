//! The programs under test and around it: built, or taken from a folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_tests::console::Console;
use weir_tests::weir::{Binaries, cargo};
use weir_tests::{Error, Result, process};

/// How long a release build may take, from nothing, on two busy cores.
const BUILD_MAX: Duration = Duration::from_secs(3600);

/// Where they are.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) binaries: Binaries,
    pub(crate) weirgen: PathBuf,
    pub(crate) l2fwd: PathBuf,
}

const NAMES: [&str; 4] = ["weir", "weirctl", "weirgen", "l2fwd"];

impl Programs {
    /// Takes them from a folder such as `target/release`.
    pub(crate) fn in_folder(folder: &Path) -> Result<Self> {
        Self::find(|name| Some(folder.join(name)).filter(|file| file.is_file()))
    }

    /// Builds them for release; Cargo's own progress is on standard error.
    pub(crate) fn build(console: &Console) -> Result<Self> {
        console.line("Building weir, weirctl, weirgen and l2fwd for release");
        let mut command = cargo();
        command.args(["build", "--release", "--message-format", "json-render-diagnostics"]);
        command.args(["-p", "weir-dataplane", "-p", "weir-control", "-p", "weir-loadgen"]);
        command.args(["-p", "weir-benches"]);
        NAMES.iter().for_each(|name| {
            command.args(["--bin", name]);
        });
        let messages = process::run_showing_errors(command, BUILD_MAX)?;
        Self::find(|name| executable(&messages, name))
    }

    fn find(place: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        let find = |name: &str| {
            let what = || format!("the program `{name}` is not there: build it for release first");
            place(name)
                .and_then(|file| file.canonicalize().ok())
                .ok_or_else(|| Error::Unmet(what()))
        };
        let binaries = Binaries { weir: find(NAMES[0])?, weirctl: find(NAMES[1])? };
        Ok(Self { binaries, weirgen: find(NAMES[2])?, l2fwd: find(NAMES[3])? })
    }
}

/// The program of this name in Cargo's messages: JSON, one a line.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let error = Programs::in_folder(Path::new("/nowhere")).unwrap_err().to_string();
        assert_eq!(error, "the program `weir` is not there: build it for release first");
    }
}
