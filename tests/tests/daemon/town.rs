//! Alice, the firewall and Bob: the topology of every test, and what they all ask the daemon.
//!
//! ```text
//!   alice                  firewall                     bob
//!   eth0 10.0.0.2 ------ left 10.0.0.1
//!                        right 192.168.0.1 ------ eth0 192.168.0.2
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::netns::{Namespace, Veth};
use weir_tests::process;
use weir_tests::weir::{Binaries, Daemon, Profile};

/// How long anything may take that has to happen. Generous: it is a limit, not an expectation.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Alice's address.
pub(crate) const ALICE: &str = "10.0.0.2";
/// Bob's address.
pub(crate) const BOB: &str = "192.168.0.2";
/// The firewall's address on Alice's side.
pub(crate) const LEFT: &str = "10.0.0.1";
/// The firewall's address on Bob's side.
pub(crate) const RIGHT: &str = "192.168.0.1";

/// The programs, built once for all tests.
pub(crate) fn binaries() -> &'static Binaries {
    static BINARIES: OnceLock<Binaries> = OnceLock::new();
    BINARIES.get_or_init(|| Binaries::build(Profile::Debug).expect("weir and weirctl are built"))
}

/// The two hosts and the firewall between them, with a folder for the daemon's files.
#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) alice: Namespace,
    pub(crate) firewall: Namespace,
    pub(crate) bob: Namespace,
    pub(crate) folder: tempfile::TempDir,
    queues: u32,
}

impl Town {
    /// The topology with one queue on each device, nobody forwarding.
    pub(crate) fn new() -> Self {
        Self::with_queues(1)
    }

    /// The topology with this many queues on each device, nobody forwarding.
    pub(crate) fn with_queues(queues: u32) -> Self {
        let namespace = |label| Namespace::unique(label).expect("a namespace");
        let town = Self {
            alice: namespace("alice"),
            firewall: namespace("firewall"),
            bob: namespace("bob"),
            folder: tempfile::tempdir().expect("a folder"),
            queues,
        };
        town.firewall.set("net/ipv4/ip_forward", "0").expect("a setting");
        town.connect_left();
        town.connect_right();
        town
    }

    /// The cable between Alice and the firewall, with addresses.
    pub(crate) fn connect_left(&self) {
        Veth::between(&self.alice, "eth0", &self.firewall, "left")
            .queues(self.queues)
            .create()
            .expect("a cable");
        self.firewall.add_address("left", "10.0.0.1/24").expect("an address");
        self.alice.add_address("eth0", "10.0.0.2/24").expect("an address");
        self.alice.add_default_route(LEFT).expect("a route");
    }

    /// The cable between the firewall and Bob, with addresses.
    pub(crate) fn connect_right(&self) {
        Veth::between(&self.firewall, "right", &self.bob, "eth0")
            .queues(self.queues)
            .create()
            .expect("a cable");
        self.firewall.add_address("right", "192.168.0.1/24").expect("an address");
        self.bob.add_address("eth0", "192.168.0.2/24").expect("an address");
        self.bob.add_default_route(RIGHT).expect("a route");
    }

    /// A daemon with this `on_exit` and one worker.
    pub(crate) fn start(&self, on_exit: &str) -> Daemon {
        self.start_with(&config(on_exit, ""))
    }

    /// A daemon with this configuration.
    pub(crate) fn start_with(&self, config: &str) -> Daemon {
        Daemon::start(binaries(), &self.firewall, config, self.folder.path()).expect("weir starts")
    }

    /// Lets the kernel of the firewall forward, or not.
    pub(crate) fn kernel_forwards(&self, yes: bool) {
        self.firewall.set("net/ipv4/ip_forward", if yes { "1" } else { "0" }).expect("a setting");
    }

    /// Whether one ping from Alice to this address is answered.
    pub(crate) fn pings(&self, address: &str) -> bool {
        pings(&self.alice, address)
    }

    /// The XDP programs on an interface of the firewall, as `ip` prints them: "" if there is none.
    pub(crate) fn program_on(&self, device: &str) -> String {
        let shown = self.firewall.ip(&format!("-details link show {device}")).expect("the device");
        let lines = shown.lines().filter(|line| line.contains("prog/xdp"));
        lines.map(str::trim).collect::<Vec<_>>().join("; ")
    }
}

/// A configuration for the two ports, and what follows them.
pub(crate) fn config(on_exit: &str, rest: &str) -> String {
    let mut text = format!("mode = \"route\"\non_exit = \"{on_exit}\"\n");
    if !rest.contains("[xdp]") {
        // The kernel lets go of a queue a while after its last owner is gone: how long is no matter here.
        text.push_str("xdp.bind_retry_ms = 30000\n");
    }
    for port in ["left", "right"] {
        let _ = write!(text, "[[ports]]\ninterface = \"{port}\"\n");
    }
    text + rest
}

/// Whether one ping is answered.
pub(crate) fn pings(from: &Namespace, address: &str) -> bool {
    from.run(&format!("ping -n -c 1 -W 2 {address}")).is_ok()
}

/// Whether one ping with options is answered.
pub(crate) fn pings_with(from: &Namespace, options: &str, address: &str) -> bool {
    from.run(&format!("ping -n -c 1 -W 1 {options} {address}")).is_ok()
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < SOON, "never: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What `weirctl --json status` says.
pub(crate) fn status(daemon: &Daemon) -> Value {
    serde_json::from_str(&daemon.ctl("--json status").expect("a status")).expect("JSON")
}

/// The status of one port.
pub(crate) fn port(daemon: &Daemon, name: &str) -> Value {
    let status = status(daemon);
    let ports = status["ports"].as_array().expect("ports");
    ports.iter().find(|port| port["name"] == name).expect("the port").clone()
}

/// A number in JSON.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// How often an event was counted.
pub(crate) fn event(daemon: &Daemon, name: &str) -> u64 {
    let stats = daemon.stats().expect("stats");
    let events = stats["events"].as_array().expect("events");
    let event = events.iter().find(|event| event["event"] == name).expect("the event is known");
    number(&event["count"])
}

/// Packets dropped for a reason, on all workers.
pub(crate) fn dropped(daemon: &Daemon, reason: &str) -> u64 {
    let stats = daemon.stats().expect("stats");
    let drops = stats["drops"].as_array().expect("drops");
    let drop = drops.iter().find(|drop| drop["reason"] == reason).expect("the reason is known");
    number(&drop["packets"])
}

/// The daemon lives, and accounts for every packet and every frame.
///
/// Each worker's packets balance in every snapshot, since a worker publishes its counters whole.
/// Frames do when nothing is under way, and so do hand-overs: those are waited for.
pub(crate) fn assert_conserved(daemon: &mut Daemon) {
    assert_eq!(daemon.exit_status().expect("a status"), None, "{}", log(daemon));
    let totals = |totals: &Value, keys: &[&str]| -> u64 {
        keys.iter().map(|key| number(&totals[key])).sum()
    };
    let start = Instant::now();
    loop {
        let stats = daemon.stats().expect("stats");
        let workers = stats["workers"].as_array().expect("workers");
        for (id, worker) in workers.iter().enumerate() {
            let begun = totals(&worker["totals"], &["received", "originated", "handed_in"]);
            let ended = totals(
                &worker["totals"],
                &["transmitted", "to_host", "handed_out", "dropped", "absorbed", "held"],
            );
            assert_eq!(begun, ended, "worker {id} does not balance: {worker:#}");
            let drops = worker["drops"].as_array().expect("drops");
            let drops: u64 = drops.iter().map(|drop| number(&drop["packets"])).sum();
            assert_eq!(drops, number(&worker["totals"]["dropped"]), "worker {id}: {worker:#}");
        }
        let frames = status(daemon)["frames"].clone();
        let placed = totals(&frames, &["pool", "lent", "held"]);
        assert!(placed <= number(&frames["capacity"]), "frames multiply: {frames}");
        if number(&stats["totals"]["handed_in"]) == number(&stats["totals"]["handed_out"])
            && placed == number(&frames["capacity"])
        {
            break;
        }
        assert!(start.elapsed() < SOON, "for ever under way: {frames:#}, {:#}", stats["totals"]);
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(dropped(daemon, "unclassified"), 0, "every packet is decided about");
    assert!(!log(daemon).contains("panicked"), "{}", log(daemon));
}

/// What the daemon has logged.
pub(crate) fn log(daemon: &Daemon) -> String {
    daemon.log().expect("a log")
}

/// Runs `weir` in the firewall until it ends by itself; its status and what it printed.
pub(crate) fn run_weir(town: &Town, arguments: &[&str]) -> Output {
    let mut command = town.firewall.command(&binaries().weir.to_string_lossy());
    command.args(arguments);
    process::output(command, SOON).expect("weir ends")
}

/// Runs `weirctl` on this socket; its status and what it printed.
pub(crate) fn run_weirctl(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(&binaries().weirctl);
    command.arg("--socket").arg(socket).args(arguments);
    process::output(command, SOON).expect("weirctl ends")
}

/// What a program printed on standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
