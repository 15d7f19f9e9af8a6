//! Network namespaces and the veth pairs between them.
//!
//! A [`Namespace`] is a named one (`ip netns`), so that a person can enter it too. Dropping it ends
//! the processes left inside, by process id, and deletes it; its devices go with it. Nothing here
//! touches a device, a route or a setting of the namespace the caller runs in.

use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::AsFd;
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{Error, Result, process};

/// How long `ip` may take. It needs milliseconds; the rest is for a machine under load.
const IP_MAX: Duration = Duration::from_secs(20);

/// How long the processes in a namespace may take to follow SIGTERM before SIGKILL.
const TERMINATE_MAX: Duration = Duration::from_secs(2);

/// Counts the namespaces of this process, so that each gets its own name.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A named network namespace, deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    kept: bool,
}

impl Namespace {
    /// Makes a namespace with a name no other one has: `weir-<process id>-<count>-<label>`.
    ///
    /// # Errors
    ///
    /// As [`Namespace::named`].
    pub fn unique(label: &str) -> Result<Self> {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("weir-{}-{count}-{label}", std::process::id()))
    }

    /// Makes a namespace of this name, its loopback device up.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when `ip` refuses: not root, or the name is taken.
    pub fn named(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let namespace = Self { name: name.to_owned(), kept: false };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// The name, as `ip netns exec` takes it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip -n <this namespace>` with these words, and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when `ip` refuses.
    pub fn ip(&self, words: &str) -> Result<String> {
        let mut all = vec!["-n", &self.name];
        all.extend(words.split_whitespace());
        ip(&all)
    }

    /// Gives a device an address with its prefix length, as in `10.0.0.1/24`.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when `ip` refuses.
    pub fn add_address(&self, device: &str, address: &str) -> Result<()> {
        self.ip(&format!("address add {address} dev {device}")).map(drop)
    }

    /// Sends what has no better route to this gateway.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when `ip` refuses.
    pub fn add_default_route(&self, gateway: &str) -> Result<()> {
        self.ip(&format!("route add default via {gateway}")).map(drop)
    }

    /// Writes a kernel setting of this namespace, as in `("net/ipv4/ip_forward", "1")`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the setting does not exist or refuses the value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let _inside = self.enter()?;
        fs::write(Path::new("/proc/sys").join(key), value)
            .map_err(Error::io(format!("set {key} to {value} in {}", self.name)))
    }

    /// A command that will run in this namespace.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a line of words to its end in this namespace, and returns its standard output.
    ///
    /// # Errors
    ///
    /// As [`process::run`], with half a minute as the limit.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap_or_default());
        command.args(words);
        process::run(command, Duration::from_secs(30))
    }

    /// Moves the calling thread into this namespace until the guard is dropped. Sockets it opens
    /// belong to the namespace for good; other threads stay where they are.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the namespace cannot be opened or entered (not root).
    pub fn enter(&self) -> Result<Entered> {
        let own = "/proc/thread-self/ns/net";
        let home = File::open(own).map_err(Error::io(format!("open {own}")))?;
        let file = self.file();
        let target = File::open(&file).map_err(Error::io(format!("open {}", file.display())))?;
        move_into(&target).map_err(Error::io(format!("enter {}", self.name)))?;
        Ok(Entered { home, _this_thread: PhantomData })
    }

    /// Lets the namespace stand after this value, and after us.
    pub fn keep(&mut self) {
        self.kept = true;
    }

    /// The file that names the namespace.
    fn file(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = delete(&self.name)
        {
            // Nobody above can act on it, but whoever looks at the screen can.
            eprintln!("namespace {} is left behind: {error}", self.name);
        }
    }
}

/// The calling thread is inside a namespace; dropping this brings it back.
#[derive(Debug)]
pub struct Entered {
    home: File,
    /// The guard must not leave the thread that it brings back.
    _this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let back = move_into(&self.home);
        assert!(back.is_ok() || thread::panicking(), "cannot leave the namespace: {back:?}");
    }
}

/// Moves the calling thread.
fn move_into(namespace: &File) -> io::Result<()> {
    let moved = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
    moved.map_err(io::Error::from)
}

/// The names of all named namespaces of the machine.
///
/// # Errors
///
/// [`Error::Command`] when `ip` refuses.
pub fn list() -> Result<Vec<String>> {
    // A line is a name, or "name (id: 3)".
    let lines = ip(&["netns", "list"])?;
    Ok(lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Deletes the namespaces that [`Namespace::unique`] made in processes that died without deleting
/// them (SIGKILL), and returns their names.
///
/// # Errors
///
/// As [`list`] and [`delete`].
pub fn remove_stale() -> Result<Vec<String>> {
    let is_stale = |name: &String| unique_owner(name).is_some_and(|pid| !is_alive(pid));
    let stale: Vec<String> = list()?.into_iter().filter(is_stale).collect();
    stale.iter().try_for_each(|name| delete(name))?;
    Ok(stale)
}

/// The process whose [`Namespace::unique`] made this name; `None` for every other name.
fn unique_owner(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix("weir-")?.split_once('-')?;
    let (count, _label) = rest.split_once('-')?;
    count.parse::<u32>().ok()?;
    pid.parse().ok()
}

/// Whether a process with this id runs.
fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Ends the processes inside a namespace and deletes it.
///
/// # Errors
///
/// [`Error::Command`] when `ip` refuses: not root, or no such namespace.
pub fn delete(name: &str) -> Result<()> {
    let start = Instant::now();
    for pid in pids(name)? {
        process::signal(pid, Signal::TERM);
    }
    while !pids(name)?.is_empty() {
        if start.elapsed() > TERMINATE_MAX {
            pids(name)?.into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    ip(&["netns", "delete", name]).map(drop)
}

/// The processes inside a namespace, without ourselves (a thread of ours may be inside).
fn pids(name: &str) -> Result<Vec<u32>> {
    let lines = ip(&["netns", "pids", name])?;
    let own = std::process::id();
    Ok(lines
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .filter(|&pid| pid != own)
        .collect())
}

/// Runs `ip` with these words. It must work while the user waits for the cleaning up, so it does
/// not heed Ctrl-C.
fn ip(words: &[&str]) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(words);
    process::run_to_end(command, IP_MAX)
}

/// A veth pair to be made: two devices, one in each namespace, a cable between them.
///
/// Offloads stay as the kernel sets them: nobody here touches `ethtool`.
#[derive(Debug)]
pub struct Veth<'a> {
    ends: [VethEnd<'a>; 2],
    queues: u32,
}

/// One end of a pair.
#[derive(Debug)]
struct VethEnd<'a> {
    namespace: &'a Namespace,
    device: &'a str,
    mac: Option<&'a str>,
}

impl<'a> Veth<'a> {
    /// A pair between two namespaces (or inside one), with one queue and random MAC addresses.
    #[must_use]
    pub fn between(
        left: &'a Namespace,
        left_device: &'a str,
        right: &'a Namespace,
        right_device: &'a str,
    ) -> Self {
        let end = |namespace, device| VethEnd { namespace, device, mac: None };
        Self { ends: [end(left, left_device), end(right, right_device)], queues: 1 }
    }

    /// Gives the two ends these MAC addresses.
    #[must_use]
    pub fn macs(mut self, left: &'a str, right: &'a str) -> Self {
        self.ends[0].mac = Some(left);
        self.ends[1].mac = Some(right);
        self
    }

    /// Gives each end this many receive and transmit queues.
    #[must_use]
    pub fn queues(mut self, queues: u32) -> Self {
        self.queues = queues;
        self
    }

    /// Makes the pair and brings both ends up.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when `ip` refuses: a name is taken, a MAC address is malformed.
    pub fn create(self) -> Result<()> {
        let queues = self.queues;
        let describe = |end: &VethEnd<'_>| {
            let mac = end.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
            let (device, namespace) = (end.device, end.namespace.name());
            format!("{device} netns {namespace}{mac} numrxqueues {queues} numtxqueues {queues}")
        };
        let [left, right] = &self.ends;
        let line = format!("link add {} type veth peer name {}", describe(left), describe(right));
        ip(&line.split_whitespace().collect::<Vec<_>>())?;
        for end in &self.ends {
            end.namespace.ip(&format!("link set {} up", end.device))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unique_names_tell_their_owner() {
        assert_eq!(unique_owner("weir-12-0-left"), Some(12));
        assert_eq!(unique_owner("weir-wire-12"), None);
        assert_eq!(unique_owner("weir-12-left"), None);
        assert_eq!(unique_owner("weirlab-12-alice"), None);
        assert!(is_alive(std::process::id()) && !is_alive(u32::MAX));
    }
}
