//! The lab's three hosts, built and removed.
//!
//! ```text
//!        Alice                       firewall                        Bob
//!   ┌─────────────┐       ┌───────────────────────────┐       ┌─────────────┐
//!   │ 10.0.0.2/24 │ eth0  │ enp0s8             enp0s3 │  eth0 │ 192.168.0.2 │
//!   │ answers for ├───────┤ 10.0.0.1      192.168.0.1 ├───────┤ web server, │
//!   │ .3 to .254  │       │      weir or the kernel   │       │ the trojan  │
//!   └─────────────┘       └───────────────────────────┘       └─────────────┘
//! ```
//!
//! Alice's subnet stands for the whole world: her machine answers for every address of it but the
//! firewall's own, by local routes. So what the trojan sends anywhere arrives where the sniffer is.
//! A copy of Bob's page is at Alice's, port 8000, for Bob to try. With engine `weir` the kernel's own
//! forwarding is off in the firewall: only Weir forwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use weir_tests::netns::{self, Namespace, Veth};
use weir_tests::process::{self, Process};
use weir_tests::sniff::{Direction, PYTHON, Sniffer};
use weir_tests::weir::{Binaries, Daemon};
use weir_tests::{Error, Result, lab_files, repository};

use crate::exercise::Host;

/// What every name of the lab begins with: namespaces, and the folder in `/run`.
const PREFIX: &str = "weirlab";

/// The rest of Alice's subnet, .3 to .255, as prefixes.
const WORLD: [&str; 7] = [
    "10.0.0.3/32",
    "10.0.0.4/30",
    "10.0.0.8/29",
    "10.0.0.16/28",
    "10.0.0.32/27",
    "10.0.0.64/26",
    "10.0.0.128/25",
];

/// A long file on Bob's server, beside the page.
pub(crate) const DIARY: &str = "diary.txt";

/// How long it is, at least, in bytes.
const DIARY_LEN: usize = 4 << 20;

/// What Alice's kernel keeps for a reader who is slow, in bytes: at least, at first, at most. It is
/// much less than the diary: while she has only its beginning, its end has not passed the firewall.
const ALICES_BUFFERS: &str = "4096 131072 1048576";

/// What forwards the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Weir.
    Weir,
    /// The kernel's own forwarding and netfilter, to compare.
    Kernel,
}

/// A standing lab. Dropping it removes everything, in the order of the fields.
pub(crate) struct Lab {
    engine: Option<Daemon>,
    /// What `engine` is started from.
    binaries: Option<Binaries>,
    /// Whether the firewall's own packets are filtered.
    guarded: bool,
    webs: [Process; 3],
    alice_sniffer: Sniffer,
    bob_sniffer: Sniffer,
    pub(crate) alice: Namespace,
    pub(crate) firewall: Namespace,
    pub(crate) bob: Namespace,
    pub(crate) folder: Folder,
}

impl Lab {
    /// Builds the hosts and starts what runs on them. `kept` gives them the names that outlive us.
    pub(crate) fn build(binaries: Option<&Binaries>, kept: bool) -> Result<Self> {
        let owner =
            if kept { PREFIX.to_owned() } else { format!("{PREFIX}-{}", std::process::id()) };
        let folder = Folder::create(&Path::new("/run").join(&owner))?;
        let host = |name: &str| Namespace::named(&format!("{owner}-{name}"));
        let (alice, firewall, bob) = (host("alice")?, host("firewall")?, host("bob")?);
        Veth::between(&alice, "eth0", &firewall, "enp0s8").create()?;
        Veth::between(&bob, "eth0", &firewall, "enp0s3").create()?;
        alice.add_address("eth0", "10.0.0.2/24")?;
        firewall.add_address("enp0s8", "10.0.0.1/24")?;
        firewall.add_address("enp0s3", "192.168.0.1/24")?;
        bob.add_address("eth0", "192.168.0.2/24")?;
        for prefix in WORLD {
            alice.ip(&format!("route add local {prefix} dev eth0"))?;
        }
        firewall.set("net/ipv4/ip_forward", if binaries.is_some() { "0" } else { "1" })?;

        let engine = match binaries {
            Some(binaries) => {
                link_weir(binaries, &folder)?;
                Some(start_weir(binaries, &firewall, &folder, false)?)
            }
            None => link_iptables(&process::find_program("iptables"), &folder).map(|()| None)?,
        };
        alice.set("net/ipv4/tcp_rmem", ALICES_BUFFERS)?;
        // A page that a rule swallows fails for good. Otherwise Bob's SYN-ACKs would be repeated for
        // half a minute, and fall into later exercises, where rules count them.
        bob.set("net/ipv4/tcp_synack_retries", "0")?;
        // A server asks the resolver for its own name. While its host has no route to any resolver
        // that fails at once; later it would time out.
        let www = write_pages(&folder)?;
        let webs = [
            start_web(&bob, "80", &www, &folder.path("bob.web"))?,
            start_web(&alice, "8000", &www, &folder.path("alice.web"))?,
            start_web(&firewall, "80", &www, &folder.path("firewall.web"))?,
        ];
        alice.add_default_route("10.0.0.1")?;
        bob.add_default_route("192.168.0.1")?;

        let sniffer = |namespace, direction, neighbour, log| {
            Sniffer::start(namespace, "eth0", direction, neighbour, &folder.path(log))
        };
        let alice_sniffer = sniffer(&alice, Direction::Incoming, [10, 0, 0, 1], "alice.sniff")?;
        let bob_sniffer = sniffer(&bob, Direction::Outgoing, [192, 168, 0, 1], "bob.sniff")?;
        let (binaries, guarded) = (binaries.cloned(), false);
        Ok(Self {
            engine,
            binaries,
            guarded,
            webs,
            alice_sniffer,
            bob_sniffer,
            alice,
            firewall,
            bob,
            folder,
        })
    }

    /// The namespace of a host.
    pub(crate) fn host(&self, host: Host) -> &Namespace {
        match host {
            Host::Alice => &self.alice,
            Host::Bob => &self.bob,
        }
    }

    /// The sniffer of a host, and the namespace it is in.
    pub(crate) fn sniffer(&mut self, host: Host) -> (&mut Sniffer, &Namespace) {
        match host {
            Host::Alice => (&mut self.alice_sniffer, &self.alice),
            Host::Bob => (&mut self.bob_sniffer, &self.bob),
        }
    }

    /// A command that runs a line of shell at the firewall, where `iptables` is the engine's.
    pub(crate) fn at_firewall(&self, line: &str) -> Command {
        let mut command = self.firewall.command("env");
        command.arg(format!("PATH={}", self.path())).args(["sh", "-c", line]);
        if let Some(weir) = &self.engine {
            command.env("WEIR_SOCKET", weir.socket());
        }
        command
    }

    /// `PATH` at the firewall.
    fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}:{path}", self.folder.path("bin").display())
    }

    /// Has the firewall's own packets filtered, or not: Weir is started anew for that. The kernel always filters them.
    pub(crate) fn guard_firewall(&mut self, guarded: bool) -> Result<()> {
        if let Some(binaries) = self.binaries.as_ref().filter(|_| guarded != self.guarded) {
            if let Some(weir) = self.engine.take() {
                weir.stop()?;
            }
            let weir = start_weir(binaries, &self.firewall, &self.folder, guarded)?;
            self.engine = Some(weir);
        }
        self.guarded = guarded;
        Ok(())
    }

    /// Ends Weir as an operator would, by SIGTERM, and says how it ended. `None` for the kernel.
    pub(crate) fn stop_engine(&mut self) -> Result<Option<std::process::ExitStatus>> {
        self.engine.take().map(Daemon::stop).transpose()
    }

    /// Lets everything stand after us. The sniffers go: they would write for ever.
    pub(crate) fn keep(mut self) {
        if let Some(weir) = &mut self.engine {
            weir.keep();
        }
        self.webs.iter_mut().for_each(Process::keep);
        self.alice.keep();
        self.firewall.keep();
        self.bob.keep();
        self.folder.kept = true;
    }

    /// How to walk around in a kept lab, a line each.
    pub(crate) fn instructions(&self) -> Vec<String> {
        let shell = |host: &Namespace| format!("  ip netns exec {} bash", host.name());
        let socket = self.engine.as_ref().map(|weir| weir.socket().display().to_string());
        let socket = socket.map(|path| format!("WEIR_SOCKET={path} ")).unwrap_or_default();
        let bin = self.folder.path("bin");
        let files = lab_files();
        let (files, firewall) = (files.display(), self.firewall.name());
        vec![
            "A shell on each host:".to_owned(),
            shell(&self.alice),
            shell(&self.bob),
            format!("  ip netns exec {firewall} env {socket}PATH={}:$PATH bash", bin.display()),
            "On the firewall, rules as in the exercises:".to_owned(),
            "  iptables -A FORWARD -p tcp -s 192.168.0.2 --tcp-flags ALL SYN -j DROP".to_owned(),
            "  iptables -A FORWARD -m state --state INVALID -j DROP".to_owned(),
            "  iptables -L FORWARD -n -v     iptables -F     iptables -P FORWARD ACCEPT".to_owned(),
            "On Bob, the trojan (mal1.py to mal4.py), and a call to Alice:".to_owned(),
            format!("  {PYTHON} {files}/mal1.py"),
            "  curl http://10.0.0.2:8000/".to_owned(),
            "On Alice, what leaks (end it with Ctrl-C), and the page:".to_owned(),
            format!("  {PYTHON} {files}/sniff.py eth0 incoming"),
            "  curl http://192.168.0.2/".to_owned(),
            format!("Logs and configuration: {}", self.folder.path.display()),
            "To tear it down:".to_owned(),
            "  cargo lab --down".to_owned(),
        ]
    }
}

/// Starts Weir with the shipped configuration; with `guarded`, the firewall's own packets pass through it as well.
fn start_weir(
    binaries: &Binaries,
    firewall: &Namespace,
    folder: &Folder,
    guarded: bool,
) -> Result<Daemon> {
    let file = repository().join("configs/lab.toml");
    let mut config =
        fs::read_to_string(&file).map_err(Error::io(format!("read {}", file.display())))?;
    if guarded {
        config = config.replace("host = \"kernel\"", "host = \"firewalled\"");
        for device in ["all", "enp0s8", "enp0s3"] {
            firewall.set(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
        }
    }
    Daemon::start(binaries, firewall, &config, &folder.path)
}

/// Gives the firewall its `iptables`.
fn link_weir(binaries: &Binaries, folder: &Folder) -> Result<()> {
    link_iptables(&Some(binaries.weirctl.clone()), folder)?;
    let weirctl = folder.path("bin").join("weirctl");
    symlink(&binaries.weirctl, weirctl).map_err(Error::io("link weirctl"))
}

/// Makes a link named `iptables` to what stands for it.
fn link_iptables(target: &Option<PathBuf>, folder: &Folder) -> Result<()> {
    let target = target.as_ref().ok_or_else(|| Error::Unmet("no iptables here".to_owned()))?;
    let bin = folder.path("bin");
    fs::create_dir(&bin)
        .and_then(|()| symlink(target, bin.join("iptables")))
        .map_err(Error::io("link iptables"))
}

/// Puts what is on the web into a folder: Bob's page, and a diary long enough to be still on its way
/// when a rule is typed.
fn write_pages(folder: &Folder) -> Result<PathBuf> {
    let www = folder.path("www");
    let day = |day| format!("Day {day:>7}: tuna, sleep, the red dot, sleep.\n");
    let days = DIARY_LEN.div_ceil(day(1).len());
    let diary: String = (1..=days).map(day).collect();
    fs::create_dir(&www)
        .and_then(|()| fs::copy(lab_files().join("www/index.html"), www.join("index.html")))
        .and_then(|_| fs::write(www.join(DIARY), diary))
        .map_err(Error::io("put Bob's pages in place"))?;
    Ok(www)
}

/// Starts a web server, and waits until it listens.
fn start_web(host: &Namespace, port: &str, www: &Path, log: &Path) -> Result<Process> {
    let mut command = host.command(PYTHON);
    command.args(["-u", "-m", "http.server", port, "--directory"]).arg(www);
    let mut web = Process::spawn(&format!("the web server in {}", host.name()), command, log)?;
    web.wait_for_line("Serving HTTP", Duration::from_secs(30))?;
    Ok(web)
}

/// The lab's folder in `/run`: logs, sockets, links. Removed when dropped.
pub(crate) struct Folder {
    path: PathBuf,
    kept: bool,
}

impl Folder {
    /// Makes it, for root only.
    fn create(path: &Path) -> Result<Self> {
        let made = fs::DirBuilder::new().mode(0o700).create(path);
        made.map_err(Error::io(format!("make the folder {}", path.display())))?;
        Ok(Self { path: path.to_path_buf(), kept: false })
    }

    /// A file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Whose a name of the lab's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A lab that was told to stand.
    Kept,
    /// A run with this process id.
    Run(u32),
}

/// Whose a namespace or a folder is by its name; `None` when it is not the lab's.
fn owner(name: &str) -> Option<Owner> {
    let rest = name.strip_prefix(PREFIX)?;
    if rest.is_empty() {
        return Some(Owner::Kept);
    }
    let first = rest.strip_prefix('-')?.split('-').next()?;
    Some(first.parse().map_or(Owner::Kept, Owner::Run))
}

/// Everything of this lab that stands on the machine.
pub(crate) struct Standing {
    namespaces: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Standing {
    /// Looks for what belongs to owners that `wanted` names.
    pub(crate) fn find(wanted: impl Fn(Owner) -> bool) -> Result<Self> {
        let ours = |name: &str| owner(name).is_some_and(&wanted);
        let namespaces = netns::list()?.into_iter().filter(|name| ours(name)).collect();
        let entries = fs::read_dir("/run").map_err(Error::io("read /run"))?;
        let folders = entries
            .filter_map(|entry| entry.ok())
            .filter(|entry| ours(&entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .collect();
        Ok(Self { namespaces, folders })
    }

    /// Whether nothing stands.
    pub(crate) fn is_empty(&self) -> bool {
        self.namespaces.is_empty() && self.folders.is_empty()
    }

    /// Removes it: the processes inside, the namespaces, the folders. Returns their names.
    pub(crate) fn remove(self) -> Result<Vec<String>> {
        for name in &self.namespaces {
            netns::delete(name)?;
        }
        for folder in &self.folders {
            let what = format!("remove {}", folder.display());
            fs::remove_dir_all(folder).map_err(Error::io(what))?;
        }
        let folders = self.folders.iter().map(|folder| folder.display().to_string());
        Ok(self.namespaces.into_iter().chain(folders).collect())
    }
}

/// Whether an owner is a run that has died without cleaning up.
pub(crate) fn is_dead(owner: Owner) -> bool {
    // A number alone may have gone to another process since.
    let is_a_lab = |pid: u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "lab")
    };
    matches!(owner, Owner::Run(pid) if !is_a_lab(pid))
}

/// The process ids of other labs that are running now.
pub(crate) fn running() -> Result<BTreeSet<u32>> {
    let names = netns::list()?;
    let owners = names.iter().filter_map(|name| owner(name)).filter(|&owner| !is_dead(owner));
    let pids = owners.filter_map(|owner| match owner {
        Owner::Run(pid) => Some(pid),
        Owner::Kept => None,
    });
    Ok(pids.filter(|&pid| pid != std::process::id()).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("weirlab-alice"), Some(Owner::Kept));
        assert_eq!(owner("weirlab"), Some(Owner::Kept));
        assert_eq!(owner("weirlab-12-bob"), Some(Owner::Run(12)));
        assert_eq!(owner("weirlab-12"), Some(Owner::Run(12)));
        assert_eq!(owner("weirlaboratory"), None);
        assert_eq!(owner("weir-12-0-left"), None);
    }

    #[test]
    fn the_dead_are_told_from_the_living() {
        assert!(is_dead(Owner::Run(u32::MAX)));
        assert!(!is_dead(Owner::Kept));
    }

    #[test]
    fn the_world_is_all_but_the_firewall_and_alice() {
        let mut answered = [0_u8; 256];
        for prefix in WORLD {
            let (address, len) = prefix.split_once('/').expect("a prefix");
            let address: Ipv4Addr = address.parse().expect("an address");
            let len: u32 = len.parse().expect("a length");
            let first = usize::from(address.octets()[3]);
            assert_eq!(first % (1 << (32 - len)), 0, "{prefix} has host bits");
            answered[first..first + (1 << (32 - len))].iter_mut().for_each(|count| *count += 1);
        }
        assert_eq!(answered[..3], [0, 0, 0]);
        assert!(answered[3..].iter().all(|&count| count == 1));
    }
}
