//! How the daemon is.

use serde::{Deserialize, Serialize};

/// The answer to `weirctl status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The daemon's release, such as `0.1.0`.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Seconds since it began to forward.
    pub uptime_s: u64,
    /// `mode` of the configuration: `route`.
    pub mode: String,
    /// `host` of the configuration: `kernel` or `firewalled`.
    pub host: String,
    /// The device by which the machine's own traffic passes through Weir, with `firewalled`.
    #[serde(default)]
    pub host_device: Option<String>,
    /// `on_exit` of the configuration: `pass` or `drop`.
    pub on_exit: String,
    /// The configuration file.
    pub config_path: String,
    /// The workers, by id.
    pub workers: Vec<WorkerStatus>,
    /// The ports, in the order of the configuration.
    pub ports: Vec<PortStatus>,
    /// Counts changes of everything a decision depends on.
    pub policy_epoch: u64,
    /// Rules in all chains.
    pub rules: u64,
    /// Whether packets are tracked: some rule has asked for it, or the configuration does.
    #[serde(default)]
    pub tracking: bool,
    /// Where the frames are.
    pub frames: FrameStatus,
    /// What an operator should know now, worst first; empty if all is well.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One worker thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// From 0.
    pub id: u32,
    /// The core it is pinned to; `None` if pinning was refused.
    pub core: Option<u32>,
    /// What it does now.
    pub state: WorkerState,
    /// Polls since start.
    pub polls: u64,
    /// The policy epoch it enforces; below [`Status::policy_epoch`] while a change is under way.
    pub policy_epoch: u64,
}

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WorkerState {
    /// Polls its ports without pause.
    Busy,
    /// Found nothing lately, and sleeps between polls.
    Idle,
    /// Has ended.
    Stopped,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortStatus {
    /// The interface's name.
    pub name: String,
    /// Its index; 0 while it does not exist.
    pub ifindex: u32,
    /// Whether packets flow.
    #[serde(flatten)]
    pub state: PortState,
    /// How packets cross: `driver zero-copy`, `driver copy`, `skb copy`, `memory`, `pcap`.
    pub rung: String,
    /// Queues with a socket.
    pub queues: u32,
    /// The Ethernet address, `02:00:00:00:00:01`.
    pub mac: String,
    /// The largest IP packet in bytes.
    pub mtu: u32,
    /// Addresses with prefix length; of IPv6 where it is forwarded.
    pub addresses: Vec<String>,
}

/// Whether a port works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
#[non_exhaustive]
pub enum PortState {
    /// Packets flow.
    Up,
    /// The port has no sockets; why, and what the daemon waits for.
    Closed(String),
}

/// Where the frames of the UMEM are. At any moment `capacity` is the sum of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FrameStatus {
    /// All frames.
    pub capacity: u64,
    /// Free, in the pools.
    pub pool: u64,
    /// In the rings of the kernel.
    pub lent: u64,
    /// With packets that wait for a neighbour.
    pub held: u64,
    /// In batches and in the queues between workers.
    pub in_flight: u64,
}
