//! Three hosts in network namespaces of their own, deleted at the end, and what one can see of them
//! from outside.
//!
//! ```text
//!   alice 10.77.1.2 --- west [router: forwards] east --- bob 10.77.2.2
//!                     10.77.1.1              10.77.2.1
//! ```
//! The program under test sits on `west`, so alice's packets meet it, to the router itself and
//! through it.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use libbpf_rs::ErrorKind;
use weir_dataplane::program::{OnExit, Program, ProgramConfig, ProgramError};

pub(crate) const ROUTER: &str = "10.77.1.1";
pub(crate) const BOB: &str = "10.77.2.2";
/// The router's device with the program.
pub(crate) const WEST: &str = "west";

/// True if this process may load programs and make namespaces; else says why the test is skipped.
pub(crate) fn require_root() -> bool {
    let reason = if !rustix::process::geteuid().is_root() {
        "loading XDP programs needs root"
    } else if is_denied() {
        "root here (a container?) may not load BPF programs"
    } else {
        return true;
    };
    eprintln!("SKIPPED: {reason}");
    false
}

fn is_denied() -> bool {
    match Program::load(ProgramConfig::forwarding(OnExit::Drop)) {
        Err(ProgramError::Load { source }) => source.kind() == ErrorKind::PermissionDenied,
        _ => false,
    }
}

pub(crate) struct World {
    tag: String,
}

impl World {
    /// Builds the three hosts, or says why the test is skipped.
    pub(crate) fn new() -> Option<Self> {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        if !require_root() {
            return None;
        }
        for tool in ["ip", "ping"] {
            let found = Command::new(tool).arg("-V").stdout(Stdio::null()).status();
            if found.is_err() {
                eprintln!("SKIPPED: the tool `{tool}` is not installed");
                return None;
            }
        }
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let world = World { tag: format!("weir-prog-{}-{number}", std::process::id()) };
        if !run(Command::new("ip").args(["netns", "add", &world.host("router")])) {
            eprintln!("SKIPPED: network namespaces cannot be made here");
            return None;
        }
        for host in ["alice", "bob"] {
            world.must(&format!("netns add {}", world.host(host)));
        }
        world.wire("alice", WEST, 1);
        world.wire("bob", "east", 2);
        assert!(world.shell("router", "echo 1 > /proc/sys/net/ipv4/ip_forward"));
        Some(world)
    }

    fn wire(&self, host: &str, device: &str, subnet: u8) {
        let (router, host) = (self.host("router"), self.host(host));
        self.must(&format!(
            "link add {device} netns {router} type veth peer name eth0 netns {host}"
        ));
        self.must(&format!("-n {router} addr add 10.77.{subnet}.1/24 dev {device}"));
        self.must(&format!("-n {router} link set {device} up"));
        self.must(&format!("-n {host} addr add 10.77.{subnet}.2/24 dev eth0"));
        self.must(&format!("-n {host} link set eth0 up"));
        self.must(&format!("-n {host} route add default via 10.77.{subnet}.1"));
    }

    /// The name of a host's namespace.
    pub(crate) fn host(&self, host: &str) -> String {
        format!("{}-{host}", self.tag)
    }

    /// A command inside a host.
    pub(crate) fn command(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.host(host), program]);
        command
    }

    pub(crate) fn shell(&self, host: &str, line: &str) -> bool {
        run(self.command(host, "sh").args(["-c", line]))
    }

    fn must(&self, arguments: &str) {
        let done = run(Command::new("ip").args(arguments.split_whitespace()));
        assert!(done, "ip {arguments}");
    }

    /// True if at least one of five pings from alice is answered.
    pub(crate) fn alice_reaches(&self, address: &str) -> bool {
        run(self.command("alice", "ping").args(["-c", "5", "-i", "0.05", "-W", "1", address]))
    }

    /// Makes alice ask by ARP again.
    pub(crate) fn alice_forgets_neighbours(&self) {
        self.must(&format!("-n {} neigh flush all", self.host("alice")));
    }

    /// What `ip link` says about the program on the router's west device: mode (1 driver, 2 skb)
    /// and id.
    pub(crate) fn program_on_west(&self) -> Option<(u64, u64)> {
        let output = Command::new("ip")
            .args(["-n", &self.host("router"), "-j", "link", "show", "dev", WEST])
            .output()
            .unwrap();
        let links: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let xdp = links[0].get("xdp")?;
        Some((xdp["mode"].as_u64().unwrap(), xdp["prog"]["id"].as_u64().unwrap()))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in ["alice", "bob", "router"] {
            run(Command::new("ip").args(["netns", "del", &self.host(host)]));
        }
    }
}

/// Runs a command silently; true if it succeeds.
fn run(command: &mut Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
