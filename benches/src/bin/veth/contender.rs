//! What forwards, or drops: Weir, the bare loop, the kernel.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};
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

/// What drops a flood of SYN segments from random sources: a plain rule, and rules that limit. Of the kinds of `fuzzy`
/// one packet in a hundred passes, as it must.
const DROP: &str = "-A FORWARD -d 198.19.0.2 -j DROP";
const DROP_HASHLIMIT: &str = "-A FORWARD -p tcp --syn -m hashlimit --hashlimit-above 100/s --hashlimit-mode dstip \
     --hashlimit-name flood -j DROP";
const DROP_FUZZY: &str =
    "-A FORWARD -p tcp --syn -m fuzzy --lower-limit 100 --upper-limit 1000 -j DROP";
const DROP_UNVERIFIED: &str = "-A FORWARD -p tcp --syn -m fuzzy --lower-limit 20 --upper-limit 100 --fuzzy-unverified \
     --fuzzy-dst 1000:4000 -j DROP";

/// Many rules that the traffic has to be compared with; none of them stops it. As a saved rule set.
fn many_rules(count: u32) -> String {
    let mut text = String::from("*filter\n:FORWARD ACCEPT [0:0]\n");
    for rule in 0..count {
        let [_, high, middle, low] = rule.to_be_bytes();
        let port = 1024 + rule % 30_000;
        let _ = writeln!(
            text,
            "-A FORWARD -s 172.{}.{middle}.{low}/32 -p udp -m udp --dport {port} -j DROP",
            16 + high
        );
    }
    text + "COMMIT\n"
}

/// Something that forwards from f0 to f1, or drops what comes by f0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// `weir run` without rules.
    Weir,
    /// `weir run` with three stateless rules.
    WeirRules,
    /// `weir run` with three rules that ask for connection tracking.
    WeirState,
    /// `weir run` with a thousand rules.
    Weir1k,
    /// `weir run` with ten thousand rules.
    Weir10k,
    /// `weir run` with a rule that drops all.
    WeirDrop,
    /// `weir run` with a limit by destination, of hashlimit.
    WeirDropHashlimit,
    /// `weir run` with the plain fuzzy rule.
    WeirDropFuzzy,
    /// `weir run` with limits for all sources that nobody knows.
    WeirDropUnverified,
    /// The bare AF_XDP loop, dropping all.
    DropLoop,
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
    /// The kernel with the same thousand rules (iptables-legacy: nft takes longer for each).
    Kernel1k,
    /// The kernel with the same ten thousand.
    Kernel10k,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weir => "weir",
            Self::WeirRules => "weir-rules",
            Self::WeirState => "weir-state",
            Self::Weir1k => "weir1k",
            Self::Weir10k => "weir10k",
            Self::WeirDrop => "weir-drop",
            Self::WeirDropHashlimit => "weir-drop-hashlimit",
            Self::WeirDropFuzzy => "weir-drop-fuzzy",
            Self::WeirDropUnverified => "weir-drop-unverified",
            Self::DropLoop => "drop-loop",
            Self::L2fwd => "l2fwd",
            Self::L2fwdChecksums => "l2fwd-checksums",
            Self::Kernel => "kernel",
            Self::KernelRules => "kernel-rules",
            Self::KernelState => "kernel-state",
            Self::Kernel1k => "kernel1k",
            Self::Kernel10k => "kernel10k",
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
    /// Takes its rules out.
    flush: Option<&'static str>,
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
            Self::WeirDrop => weir(bench, topology, folder, &[DROP]).map(Running::Weir),
            Self::WeirDropHashlimit => {
                weir(bench, topology, folder, &[DROP_HASHLIMIT]).map(Running::Weir)
            }
            Self::WeirDropFuzzy => weir(bench, topology, folder, &[DROP_FUZZY]).map(Running::Weir),
            Self::WeirDropUnverified => {
                weir(bench, topology, folder, &[DROP_UNVERIFIED]).map(Running::Weir)
            }
            Self::Weir1k | Self::Weir10k => {
                let daemon = weir(bench, topology, folder, &[])?;
                let file = self.rules_file(folder)?;
                daemon.ctl(&format!("iptables-restore {}", file.display()))?;
                Ok(Running::Weir(daemon))
            }
            Self::Kernel1k | Self::Kernel10k => {
                let file = self.rules_file(folder)?;
                topology.forwarder.run(&format!("iptables-legacy-restore {}", file.display()))?;
                topology.forwarder.set("net/ipv4/ip_forward", "1")?;
                let flush = Some("iptables-legacy -F FORWARD");
                Ok(Running::Kernel { _until_dropped: KernelForwarding { topology, flush } })
            }
            Self::DropLoop => l2fwd(bench, topology, folder, &["--drop"]).map(Running::L2fwd),
            Self::L2fwd => l2fwd(bench, topology, folder, &[]).map(Running::L2fwd),
            Self::L2fwdChecksums => {
                l2fwd(bench, topology, folder, &["--complete-checksums"]).map(Running::L2fwd)
            }
            Self::Kernel => kernel(topology, &[]),
            Self::KernelRules => kernel(topology, &RULES),
            Self::KernelState => kernel(topology, &STATE_RULES),
        }
    }
}

impl Contender {
    /// Whether it drops all, or nearly.
    pub(crate) fn drops(self) -> bool {
        matches!(
            self,
            Self::WeirDrop
                | Self::WeirDropHashlimit
                | Self::WeirDropFuzzy
                | Self::WeirDropUnverified
                | Self::DropLoop
        )
    }

    /// A file with its many rules.
    fn rules_file(self, folder: &Path) -> Result<PathBuf> {
        let count = if matches!(self, Self::Weir1k | Self::Kernel1k) { 1_000 } else { 10_000 };
        let file = folder.join("many.rules");
        fs::write(&file, many_rules(count)).map_err(Error::io("write the rules"))?;
        Ok(file)
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

fn l2fwd(bench: &Bench, topology: &Topology, folder: &Path, options: &[&str]) -> Result<Process> {
    let mut command = topology.forwarder.command(&bench.programs.l2fwd.to_string_lossy());
    command.args(["--interfaces", "f0", "f1", "--destination-macs", MAC_G0, MAC_S0]);
    command.args(["--core", &forwarder_core().to_string()]).args(options);
    let mut process = Process::spawn("l2fwd", command, &folder.join("l2fwd.log"))?;
    process.wait_for_line("ready", READY_MAX)?;
    Ok(process)
}

fn kernel<'a>(topology: &'a Topology, rules: &[&str]) -> Result<Running<'a>> {
    topology.forwarder.set("net/ipv4/ip_forward", "1")?;
    let flush = (!rules.is_empty()).then_some("iptables -F FORWARD");
    let forwarding = KernelForwarding { topology, flush };
    for rule in rules {
        topology.forwarder.run(&format!("iptables {rule}"))?;
    }
    Ok(Running::Kernel { _until_dropped: forwarding })
}

impl KernelForwarding<'_> {
    fn end(&self) -> Result<()> {
        if let Some(flush) = self.flush {
            // A Ctrl-C must not keep the next contender from a clean start, nor this from its end.
            match self.topology.forwarder.run(flush) {
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
