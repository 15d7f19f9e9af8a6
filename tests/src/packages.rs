//! Debian packages: which of them are missing, and installed where they are.
//!
//! The two commands of the repository start on a machine with Rust and Debian's base. What else
//! they need is listed here, and installed by `apt-get` after saying so. On another system the
//! lists tell what to install by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::console::{Console, Tone};
use crate::{Error, Result, process};

/// What building Weir takes: clang and the headers for the XDP program, a C compiler for libbpf.
pub const BUILD: &[&str] = &[
    "clang",
    "libelf-dev",
    "zlib1g-dev",
    "pkg-config",
    "make",
    "gcc",
    "libc6-dev",
    "linux-libc-dev",
];

/// What the lab takes: namespaces, ping, a browser's stand-in, Bob's server and the trojan.
/// `python3-scapy` belongs to Debian's `python3`, which is therefore used by its full path.
pub const LAB: &[&str] = &["iproute2", "iputils-ping", "curl", "python3", "python3-scapy"];

/// What comparing with the kernel takes.
pub const KERNEL: &[&str] = &["iptables", "conntrack", "ipset"];

/// What the tests measure with.
pub const TESTS: &[&str] = &["iperf3", "ethtool"];

/// How long `apt-get` may take, for each of its calls.
const APT_MAX: Duration = Duration::from_secs(600);

/// The packages of `wanted` that are not installed, in order.
///
/// # Errors
///
/// [`Error::Unmet`] where there is no `dpkg-query`: not a Debian.
pub fn missing<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let wanted: Vec<&str> = wanted.into_iter().collect();
    if process::find_program("dpkg-query").is_none() {
        return Err(Error::Unmet(format!(
            "this is no Debian (no dpkg-query): install the counterparts of {} by hand",
            wanted.join(" ")
        )));
    }
    let mut command = Command::new("dpkg-query");
    command.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(&wanted);
    // Its status is 1 when it does not know one of them; what it knows it prints all the same.
    let output = process::output(command, Duration::from_secs(30))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(not_installed(&wanted, &text))
}

/// The packages that the lines of `dpkg-query` do not call installed.
fn not_installed<'a>(wanted: &[&'a str], lines: &str) -> Vec<&'a str> {
    let installed = |name: &str| lines.lines().any(|line| line == format!("{name} installed"));
    wanted.iter().copied().filter(|name| !installed(name)).collect()
}

/// Installs what is missing of `wanted`, saying so first. Prints nothing when nothing is.
///
/// # Errors
///
/// [`Error::Unmet`] when something is missing and cannot be installed here, with what to do.
pub fn install<'a>(console: &Console, wanted: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    if process::find_program("apt-get").is_none() || !crate::skip::is_root() {
        return Err(Error::Unmet(format!("packages are missing; as root: {install}")));
    }
    console.line(&format!("Installing what is missing: {}", missing.join(" ")));
    if !has_lists() {
        apt(console, "apt-get update")?;
    }
    if let Err(error) = apt(console, &install) {
        // Old lists name packages that the mirror no longer has.
        if matches!(error, Error::Interrupted) {
            return Err(error);
        }
        console.line(&console.paint(Tone::Note, "That failed; once more with fresh lists."));
        apt(console, "apt-get update")?;
        apt(console, &install)?;
    }
    Ok(())
}

/// Runs a line of `apt-get`, its output shown only when it fails.
fn apt(console: &Console, line: &str) -> Result<()> {
    console.line(&format!("   # {}", console.paint(Tone::Command, line)));
    let mut command = process::words(line);
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    console.working(line, || process::run(command, APT_MAX)).map(drop)
}

/// Whether `apt-get update` has ever run here.
fn has_lists() -> bool {
    let lists = Path::new("/var/lib/apt/lists").read_dir();
    lists.is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_installed_counts() {
        let lines = "make installed\ngcc config-files\nlibelf-dev not-installed\n";
        assert_eq!(
            not_installed(&["make", "gcc", "libelf-dev", "clang"], lines),
            ["gcc", "libelf-dev", "clang"]
        );
    }
}
