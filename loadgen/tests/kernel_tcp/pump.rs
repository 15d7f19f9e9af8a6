//! An actor on a TUN device: what the kernel of a namespace sends comes to it, and the other way round.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weir_loadgen::users::Actor;
use weir_tests::netns::Namespace;

/// Bytes of the Ethernet header that the device has not and the actor wants.
const ETHERNET_BYTES: usize = 14;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(90);

/// A namespace with a TUN device behind which the actor's addresses lie. The kernel's own are 198.19.0.1 and
/// 2001:db8:19::1.
pub(crate) struct Town {
    pub(crate) namespace: Namespace,
    device: OwnedFd,
}

impl Town {
    pub(crate) fn new(label: &str) -> Self {
        let namespace = Namespace::unique(label).expect("a namespace");
        let inside = namespace.enter().expect("inside");
        let device = af_xdp::tun::open("u0", 1).expect("a TUN device").remove(0);
        drop(inside);
        namespace.set("net/ipv6/conf/u0/accept_dad", "0").expect("no waiting");
        for line in [
            "link set u0 up mtu 1500",
            "address add 198.19.0.1/32 dev u0",
            "route add 198.18.0.0/16 dev u0",
            "-6 address add 2001:db8:19::1/128 dev u0 nodad",
            "-6 route add 2001:db8:18::/48 dev u0",
        ] {
            namespace.ip(line).expect("ip");
        }
        Self { namespace, device }
    }

    /// Plays an actor until `over` says so, of `lossy` in 1,000 frames losing one in each direction.
    pub(crate) fn play<A: Actor>(
        &self,
        actor: &mut A,
        lossy: u64,
        mut over: impl FnMut(&mut A, u64) -> bool,
    ) {
        let mut device = File::from(self.device.try_clone().expect("a descriptor"));
        let mut dice = fastrand::Rng::with_seed(0x5eed);
        let (start, mut last) = (Instant::now(), Instant::now());
        let now_ns = || 1 + u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut buffer = [0; 4_096];
        actor.begin(now_ns());
        while !over(actor, now_ns()) {
            while let Some(length) = actor.send(now_ns(), &mut buffer) {
                last = Instant::now();
                if dice.u64(0..1_000) >= lossy {
                    let packet = packet_of(&buffer[..length]);
                    // A full queue loses it, as a wire would.
                    let _ = device.write(packet);
                }
            }
            let wait_ns = actor
                .due_ns()
                .map_or(20_000_000, |due_ns| due_ns.saturating_sub(now_ns()).min(20_000_000));
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::try_from(wait_ns).unwrap_or(0) };
            let mut ready = [PollFd::new(&self.device, PollFlags::IN)];
            poll(&mut ready, Some(&timeout)).expect("poll");
            while let Ok(length) = device.read(&mut buffer[ETHERNET_BYTES..]) {
                let is_v4 = buffer[ETHERNET_BYTES] >> 4 == 4;
                buffer[12..14].copy_from_slice(if is_v4 { &[8, 0] } else { &[0x86, 0xdd] });
                let frame = &buffer[..ETHERNET_BYTES + length];
                if actor.owns(frame) && dice.u64(0..1_000) >= lossy {
                    last = Instant::now();
                    actor.receive(now_ns(), frame);
                }
            }
            assert!(
                last.elapsed() < PATIENCE,
                "nothing has happened for {PATIENCE:?}: {:?}",
                actor.progress()
            );
        }
    }

    /// What the kernel of the namespace has counted under this name of `/proc/net/snmp`'s or `netstat`'s table.
    pub(crate) fn count(&self, table: &str, name: &str) -> u64 {
        let inside = self.namespace.enter().expect("inside");
        let read = |file| std::fs::read_to_string(file).expect("proc");
        let text = read("/proc/thread-self/net/snmp") + &read("/proc/thread-self/net/netstat");
        drop(inside);
        let mut lines = text.lines().filter(|line| line.starts_with(table));
        let (names, values) = lines.next().zip(lines.next()).expect("a table");
        let at = names.split_whitespace().position(|word| word == name).expect("a name");
        values.split_whitespace().nth(at).and_then(|value| value.parse().ok()).expect("a number")
    }
}

impl Town {
    /// Cookies that the namespace's SYNPROXY has found valid, on all cores.
    pub(crate) fn proxied(&self) -> u64 {
        let inside = self.namespace.enter().expect("inside");
        let text = std::fs::read_to_string("/proc/thread-self/net/stat/synproxy").expect("proc");
        drop(inside);
        let mut lines = text.lines();
        let names = lines.next().expect("names");
        let at = names.split_whitespace().position(|name| name == "cookie_valid").expect("a name");
        let value = |line: &str| {
            u64::from_str_radix(line.split_whitespace().nth(at).expect("a column"), 16)
        };
        lines.map(|line| value(line).expect("a number")).sum()
    }
}

/// Without the Ethernet header and its padding.
fn packet_of(frame: &[u8]) -> &[u8] {
    let packet = &frame[ETHERNET_BYTES..];
    let field = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
    let length = if packet[0] >> 4 == 4 { field(2) } else { 40 + field(4) };
    &packet[..length]
}

/// A thread of the test, told to end and joined when dropped.
pub(crate) struct Helper {
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Helper {
    /// Runs `turn` in the namespace again and again until the end.
    pub(crate) fn start<T>(
        namespace: &Namespace,
        begin: impl FnOnce() -> T,
        mut turn: impl FnMut(&T) + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
    {
        let inside = namespace.enter().expect("inside");
        let state = begin();
        drop(inside);
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                turn(&state);
            }
        });
        Self { over, thread: Some(thread) }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let joined = self.thread.take().map(std::thread::JoinHandle::join);
        assert!(
            joined.is_none_or(|joined| joined.is_ok()) || std::thread::panicking(),
            "a helper has panicked"
        );
    }
}
