//! What the daemon has counted since its start.

use serde::{Deserialize, Serialize};

/// The answer to `weirctl stats`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Nanoseconds since start when these were read; differences give rates.
    pub uptime_ns: u64,
    /// Sums over all workers.
    pub totals: PacketTotals,
    /// Every reason for which a packet can be thrown away, in a fixed order, zeros included.
    pub drops: Vec<DropCount>,
    /// Other things worth counting, in a fixed order, zeros included.
    #[serde(default)]
    pub events: Vec<EventCount>,
    /// By worker.
    pub workers: Vec<WorkerStats>,
    /// By port.
    pub ports: Vec<PortStats>,
    /// Times, over all workers.
    pub latency: LatencyStats,
    /// What ended before Weir received it.
    #[serde(default)]
    pub early_drop: EarlyDropStats,
}

/// The ways a packet can begin and end. On each worker, at every moment:
/// `received + originated + handed_in = transmitted + to_host + handed_out + dropped + absorbed + held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PacketTotals {
    /// Taken from a port.
    pub received: u64,
    /// Made by Weir itself, such as ICMP errors.
    pub originated: u64,
    /// Taken from another worker.
    pub handed_in: u64,
    /// Given to a port.
    pub transmitted: u64,
    /// Given to the machine's own network stack.
    pub to_host: u64,
    /// Given to another worker.
    pub handed_out: u64,
    /// Thrown away, for all reasons.
    pub dropped: u64,
    /// Consumed on purpose, such as answered packets.
    pub absorbed: u64,
    /// Waiting now; not a count of events.
    pub held: u64,
}

impl PacketTotals {
    /// Whether every packet is accounted for.
    pub fn is_balanced(&self) -> bool {
        let begun =
            u128::from(self.received) + u128::from(self.originated) + u128::from(self.handed_in);
        let ended = u128::from(self.transmitted)
            + u128::from(self.to_host)
            + u128::from(self.handed_out)
            + u128::from(self.dropped)
            + u128::from(self.absorbed)
            + u128::from(self.held);
        begun == ended
    }
}

/// Packets thrown away for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropCount {
    /// The reason's name, as in the README's table.
    pub reason: String,
    /// Packets.
    pub packets: u64,
}

/// How often something happened that is no packet's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCount {
    /// What, as in the README's table.
    pub event: String,
    /// Times.
    pub count: u64,
}

/// One worker's share.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerStats {
    /// From 0.
    pub id: u32,
    /// Its packets.
    pub totals: PacketTotals,
    /// Its drops, in the order of [`Stats::drops`].
    pub drops: Vec<DropCount>,
    /// Polls.
    pub polls: u64,
    /// Polls that found nothing.
    pub polls_idle: u64,
    /// Its times.
    pub latency: LatencyStats,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortStats {
    /// The interface's name.
    pub name: String,
    /// Packets and bytes (whole frames) received by Weir.
    pub received_packets: u64,
    /// See `received_packets`.
    pub received_bytes: u64,
    /// Packets and bytes (whole frames) given to the interface.
    pub transmitted_packets: u64,
    /// See `transmitted_packets`.
    pub transmitted_bytes: u64,
    /// What the kernel says about the sockets; `None` for ports without sockets.
    pub kernel: Option<KernelPortStats>,
    /// What the XDP program counted; `None` where none is attached.
    pub xdp: Option<XdpProgramStats>,
}

/// Sums of `struct xdp_statistics` over a port's sockets (linux/if_xdp.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct KernelPortStats {
    /// Dropped for reasons other than those below.
    pub rx_dropped: u64,
    /// Receive descriptors that were invalid.
    pub rx_invalid_descs: u64,
    /// Transmit descriptors that were invalid.
    pub tx_invalid_descs: u64,
    /// Dropped because the receive ring was full: the worker is too slow.
    pub rx_ring_full: u64,
    /// Dropped because the fill ring was empty: frames are short.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel found the transmit ring empty.
    pub tx_ring_empty_descs: u64,
}

/// What the XDP programs of all ports have dropped for its source, before Weir received it: no part of
/// [`PacketTotals`]. Also of ports that are closed by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EarlyDropStats {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets (whole frames).
    pub bytes: u64,
    /// Entries of the blocklist.
    pub blocked: u64,
    /// Of those, entries that the flood limiter has pushed.
    pub pushed: u64,
    /// Entries of the allowlist.
    pub allowed: u64,
}

/// What the XDP program did with packets before any worker saw them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct XdpProgramStats {
    /// Sent to a worker's socket.
    pub redirected: u64,
    /// Left to the machine's own stack: ARP, and what is addressed to it.
    pub passed: u64,
    /// Dropped because no socket was there (`on_exit = "drop"`).
    pub dropped: u64,
    /// Left to the kernel because no socket was there (`on_exit = "pass"`).
    pub fell_back: u64,
    /// Dropped for their source ([`EarlyDropStats`]).
    #[serde(default)]
    pub early_dropped: u64,
}

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LatencyStats {
    /// From one poll to the next, in nanoseconds.
    pub poll_ns: Percentiles,
    /// From a batch's receipt to its transmission, in nanoseconds.
    pub forward_ns: Percentiles,
}

/// A distribution, in the unit of the field that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Values recorded; if 0, the rest means nothing.
    pub count: u64,
    /// Half of the values are not above this.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// The largest.
    pub max: u64,
}
