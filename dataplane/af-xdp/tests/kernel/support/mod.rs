//! Namespaces, programs and frames for the tests.

pub(crate) mod bpf;
pub(crate) mod frames;
pub(crate) mod namespace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use af_xdp::{Area, AreaConfig, Rung, Socket, SocketConfig};

/// An area of 256 chunks.
pub(crate) fn area() -> Arc<Area> {
    Area::new(&AreaConfig { chunks: 256, ..AreaConfig::default() }).expect("1 MiB of memory")
}

/// Small rings on the rung that veth has.
pub(crate) fn config() -> SocketConfig {
    SocketConfig {
        rx_entries: 64,
        tx_entries: 128,
        fill_entries: 64,
        completion_entries: 128,
        rung: Rung::DriverCopy,
        bind_retry: Duration::from_secs(10),
        ..SocketConfig::default()
    }
}

/// A configuration that does not wait for a busy queue.
pub(crate) fn impatient() -> SocketConfig {
    SocketConfig { bind_retry: Duration::ZERO, ..config() }
}

/// Binds without sharing; must work.
pub(crate) fn bind(area: &Arc<Area>, ifname: &str, queue: u32) -> Socket {
    let ifindex = af_xdp::nic::ifindex(ifname).expect("the test's device");
    Socket::bind(area, None, ifindex, queue, &config()).expect("a free queue in copy mode")
}

/// Repeats `attempt` until it gives a value; the test fails after ten seconds, which no sound run
/// comes near.
pub(crate) fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
