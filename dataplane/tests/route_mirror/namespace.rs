//! Network namespaces for the tests, and how to wait for the mirror.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use weir_dataplane::publish::Published;
use weir_dataplane::route::{
    Forwarding, Mirror, MirrorConfig, MirrorEvent, PortIndex, Route, Unreachable,
};

/// The first port.
pub(crate) const EAST: PortIndex = PortIndex(0);
/// The second port.
pub(crate) const WEST: PortIndex = PortIndex(1);

/// Longer than anything here takes, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A network namespace, deleted at the end.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    /// `None`, with a reason printed, where namespaces cannot be made.
    pub(crate) fn new(test: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-route-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        match made {
            Ok(output) if output.status.success() => {
                let namespace = Self { name };
                namespace.ip("link set lo up");
                Some(namespace)
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                eprintln!("SKIPPED: {test}: cannot make a network namespace: {}", why.trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: {test}: cannot run ip: {error}");
                None
            }
        }
    }

    /// Runs `ip` in the namespace; it must succeed.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.split_whitespace();
        let output = Command::new("ip").args(["-n", &self.name]).args(arguments.clone()).output();
        let output = output.unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {:?}: {why}", arguments.collect::<Vec<_>>());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs many commands of `ip`, some of which may fail.
    pub(crate) fn batch(&self, commands: &str) -> Output {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-o", "-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let commands = commands.to_owned();
        // In a thread of its own, or both sides could wait for a full pipe.
        let writer = std::thread::spawn(move || input.write_all(commands.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        output
    }

    /// Runs `body` in a thread inside the namespace.
    pub(crate) fn inside<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let thread = std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        });
        thread.join().unwrap()
    }

    pub(crate) fn mirror_with(&self, mut change: impl FnMut(&mut MirrorConfig)) -> Mirror {
        let mut config = MirrorConfig::new(vec!["east".into(), "west".into()]);
        change(&mut config);
        self.inside(move || Mirror::start(&config)).unwrap()
    }

    pub(crate) fn mirror(&self) -> Mirror {
        self.mirror_with(|_| {})
    }

    /// Sets a sysctl of the namespace.
    pub(crate) fn sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/{path}");
        let value = value.to_owned();
        self.inside(move || std::fs::write(&path, value).unwrap());
    }

    /// Interfaces `east` (10.0.0.1/24), `west` (192.168.0.1/24) and `other` (172.16.0.1/24), with peers beside them.
    pub(crate) fn with_three_links(test: &str) -> Option<Self> {
        let namespace = Self::new(test)?;
        for (name, address) in
            [("east", "10.0.0.1/24"), ("west", "192.168.0.1/24"), ("other", "172.16.0.1/24")]
        {
            namespace.ip(&format!("link add {name} type veth peer name {name}-peer"));
            namespace.ip(&format!("link set {name} up"));
            namespace.ip(&format!("link set {name}-peer up"));
            namespace.ip(&format!("address add {address} broadcast + dev {name}"));
        }
        Some(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

pub(crate) fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Waits until a published snapshot is as wanted, and returns it.
#[track_caller]
pub(crate) fn eventually(
    mirror: &Mirror,
    what: &str,
    wanted: impl Fn(&Forwarding) -> bool,
) -> Arc<Forwarding> {
    let start = Instant::now();
    let published: &Published<Forwarding> = mirror.forwarding();
    loop {
        let current = published.current();
        if wanted(&current) {
            return current;
        }
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until everything that happened in the namespace so far is published: notices come in order, so a route added
/// now comes after them.
#[track_caller]
pub(crate) fn settled(namespace: &Namespace, mirror: &Mirror) -> Arc<Forwarding> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let marker = Ipv4Addr::from(u32::from(ip("198.18.0.0")) + number);
    namespace.ip(&format!("route add prohibit {marker}/32"));
    let wanted = Route::Unreachable(Unreachable::Prohibit);
    let settled = eventually(mirror, "the marker", |now| now.route(marker) == wanted);
    namespace.ip(&format!("route del prohibit {marker}/32"));
    settled
}

pub(crate) fn events(mirror: &Mirror) -> Vec<MirrorEvent> {
    mirror.events().try_iter().collect()
}

/// Waits for an event; returns those before it, and itself.
#[track_caller]
pub(crate) fn events_up_to(mirror: &Mirror, last: &MirrorEvent) -> Vec<MirrorEvent> {
    let mut all = Vec::new();
    while all.last() != Some(last) {
        match mirror.events().recv_timeout(PATIENCE) {
            Ok(event) => all.push(event),
            Err(error) => panic!("{last:?}: {error}, after {all:?}"),
        }
    }
    all
}
