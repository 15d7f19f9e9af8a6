//! What forwards: Weir, the bare loop, the kernel.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use weir_tests::process::Process;
use weir_tests::weir::Daemon;
use weir_tests::{Error, Result};

use crate::Bench;
use crate::topology::{MAC_G0, MAC_S0, Topology, forwarder_core};

/// How long l2fwd may take to be ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// Three stateless rules that the traffic has to be compared with; none of them stops it.
const RULES: [&str; 3] = [
    "-A FORWARD -p tcp --dport 22 -j DROP",
    "-A FORWARD -s 203.0.113.0/24 -j DROP",
    "-A FORWARD -p udp --dport 9 -j ACCEPT",
];

/// Three rules that ask for connection tracking; the last one accepts the traffic, which nobody answers.
const STATE_RULES: [&str; 3] = [
    "-A FORWARD -m state --state INVALID -j DROP",
    "-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -m state --state NEW -j ACCEPT",
];

/// Something that forwards from f0 to f1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// `weir run` without rules.
    Weir,
    /// `weir run` with three stateless rules.
    WeirRules,
    /// `weir run` with three rules that ask for connection tracking.
    WeirState,
    /// The bare AF_XDP loop.
    L2fwd,
    /// The bare loop, completing checksums (in user space).
    L2fwdChecksums,
    /// The kernel, no netfilter rules.
    Kernel,
    /// The kernel with the same three rules in iptables.
    KernelRules,
    /// The kernel with the same rules that ask for connection tracking.
    KernelState,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weir => "weir",
            Self::WeirRules => "weir-rules",
            Self::WeirState => "weir-state",
            Self::L2fwd => "l2fwd",
            Self::L2fwdChecksums => "l2fwd-checksums",
            Self::Kernel => "kernel",
            Self::KernelRules => "kernel-rules",
            Self::KernelState => "kernel-state",
        })
    }
}

/// A contender at work; it stops when dropped.
#[derive(Debug)]
pub(crate) enum Running<'a> {
    Weir(Daemon),
    L2fwd(Process),
    Kernel { _until_dropped: KernelForwarding<'a> },
}

/// The kernel forwards as long as this lives.
#[derive(Debug)]
pub(crate) struct KernelForwarding<'a> {
    topology: &'a Topology,
    has_rules: bool,
}

impl Contender {
    /// Sets it to work; its logs go to `folder`.
    pub(crate) fn start<'a>(
        self,
        bench: &Bench,
        topology: &'a Topology,
        folder: &Path,
    ) -> Result<Running<'a>> {
        match self {
            Self::Weir => weir(bench, topology, folder, &[]).map(Running::Weir),
            Self::WeirRules => weir(bench, topology, folder, &RULES).map(Running::Weir),
            Self::WeirState => weir(bench, topology, folder, &STATE_RULES).map(Running::Weir),
            Self::L2fwd => l2fwd(bench, topology, folder, false).map(Running::L2fwd),
            Self::L2fwdChecksums => l2fwd(bench, topology, folder, true).map(Running::L2fwd),
            Self::Kernel => kernel(topology, &[]),
            Self::KernelRules => kernel(topology, &RULES),
            Self::KernelState => kernel(topology, &STATE_RULES),
        }
    }
}

impl Running<'_> {
    /// The process that forwards; the kernel has none.
    pub(crate) fn pid(&self) -> Option<u32> {
        match self {
            Self::Weir(daemon) => Some(daemon.pid()),
            Self::L2fwd(process) => Some(process.pid()),
            Self::Kernel { .. } => None,
        }
    }
}

/// Starts the daemon and gives it rules.
pub(crate) fn weir(
    bench: &Bench,
    topology: &Topology,
    folder: &Path,
    rules: &[&str],
) -> Result<Daemon> {
    let (core, always_spin) = (forwarder_core(), bench.always_spin);
    let config = format!(
        r#"mode = "route"
host = "kernel"
on_exit = "pass"

[[ports]]
interface = "f0"

[[ports]]
interface = "f1"

[workers]
count = 1
cores = [{core}]
always_spin = {always_spin}

[control]
socket = "/run/weir.sock"
"#
    );
    let daemon = Daemon::start(&bench.programs.binaries, &topology.forwarder, &config, folder)?;
    rules.iter().try_for_each(|rule| daemon.iptables(rule).map(drop))?;
    Ok(daemon)
}

fn l2fwd(bench: &Bench, topology: &Topology, folder: &Path, complete: bool) -> Result<Process> {
    let mut command = topology.forwarder.command(&bench.programs.l2fwd.to_string_lossy());
    command.args(["--interfaces", "f0", "f1", "--destination-macs", MAC_G0, MAC_S0]);
    command.args(["--core", &forwarder_core().to_string()]);
    if complete {
        command.arg("--complete-checksums");
    }
    let mut process = Process::spawn("l2fwd", command, &folder.join("l2fwd.log"))?;
    process.wait_for_line("ready", READY_MAX)?;
    Ok(process)
}

fn kernel<'a>(topology: &'a Topology, rules: &[&str]) -> Result<Running<'a>> {
    topology.forwarder.set("net/ipv4/ip_forward", "1")?;
    let forwarding = KernelForwarding { topology, has_rules: !rules.is_empty() };
    for rule in rules {
        topology.forwarder.run(&format!("iptables {rule}"))?;
    }
    Ok(Running::Kernel { _until_dropped: forwarding })
}

impl KernelForwarding<'_> {
    fn end(&self) -> Result<()> {
        if self.has_rules {
            // A Ctrl-C must not keep the next contender from a clean start, nor this from its end.
            match self.topology.forwarder.run("iptables -F FORWARD") {
                Ok(_) | Err(Error::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        self.topology.forwarder.set("net/ipv4/ip_forward", "0")
    }
}

impl Drop for KernelForwarding<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("veth: the kernel goes on forwarding in its namespace: {error}");
        }
    }
}
