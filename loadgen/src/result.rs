//! What a run came to: the one form in which results are kept, printed, compared and drawn.
//!
//! A file of results is one [`RunResult`] in JSON. Whoever reads it (`weirgen report`, `weirgen compare`, a study of
//! many runs) needs nothing else: the figures carry their units in their names, and histograms are kept whole, so that
//! percentiles of several runs can be joined without averaging percentiles.
//!
//! Numbers that were not measured are `None` and not 0.

use serde::{Deserialize, Serialize};

pub use crate::engine::Way;

/// The version of this form; a reader refuses others.
pub const FORMAT: u32 = 1;

/// One run of a profile, or one trial of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`FORMAT`].
    pub format: u32,
    /// The command line.
    pub command: Vec<String>,
    /// What a reader may call it: the profile's name, or what `--label` said.
    pub label: String,
    /// The machine it ran on.
    pub environment: Environment,
    /// When it began, in seconds since 1970, UTC.
    pub begun_unix_s: u64,
    /// The seed of everything drawn at random.
    pub seed: u64,
    /// Threads that sent and received.
    #[serde(default)]
    pub threads: Option<usize>,
    /// How long packets were sent, in seconds.
    pub elapsed_s: f64,
    /// What ended it.
    pub ended_by: End,
    /// Why the result must not be used: the generator could not keep up, an interface went away, a peer never
    /// answered. `None` if it may be used.
    pub void: Option<String>,
    /// Whether it is void for no other reason than that nothing arrived of streams that were to pass. To a search that
    /// is an answer: all was lost.
    #[serde(default)]
    pub is_silent: bool,
    /// How much faster than the kernel's monotonic clock ours ran, in millionths: rates and times are wrong by as much.
    /// `None` for a run that was too short to tell.
    #[serde(default)]
    pub clock_drift_ppm: Option<f64>,
    /// One for each stream of the profile, in its order.
    pub streams: Vec<StreamResult>,
    /// The legitimate users, if the profile has any.
    pub users: Option<UsersResult>,
    /// Each second of the run, for the live view and for drawing.
    pub seconds: Vec<Second>,
    /// Processor time of the run.
    pub cpu: Option<Cpu>,
    /// When the generator itself was kept from its work.
    #[serde(default)]
    pub stalls: Stalls,
    /// Frames that are of no stream and no user: neighbour discovery, errors, answers of other machines.
    pub foreign_frames: u64,
    /// Frames that arrived and were lost before they could be looked at, for want of room in our own rings. If there
    /// are any, losses of streams may be ours; the run is void.
    pub overrun_frames: u64,
}

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Its duration was over.
    Duration,
    /// All packets were sent.
    Count,
    /// Ctrl-C.
    Interrupt,
    /// An interface was switched off or vanished.
    DeviceLost,
}

/// What is meant to become of a stream's packets on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// All arrive: a missing one is *lost*.
    #[default]
    Pass,
    /// None arrives: one that does is *leaked*.
    Drop,
    /// Some do: neither is a fault. (A limiter thins this stream; its acceptance is arrived / sent.)
    Either,
}

/// One stream: packets of one kind, numbered from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamResult {
    /// Its name in the profile.
    pub name: String,
    /// What kind of packet, as the profile says it.
    pub kind: String,
    /// What was meant to become of it.
    pub expect: Expect,
    /// The mean rate that its schedule asks for over the run, in packets a second; `None`: as fast as they go.
    pub requested_pps: Option<f64>,
    /// The rate at which the device took them, in packets a second.
    pub achieved_pps: f64,
    /// Frames that the device took.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Different frames that arrived on the other side.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Sent, and not arrived when the wait for them was over. A fault if they were to pass.
    pub missing: u64,
    /// Arrived more than once: the additional copies.
    pub duplicated: u64,
    /// Arrived after one that was sent later (RFC 4737 section 3).
    pub reordered: u64,
    /// Arrived changed where nothing on the way may change them.
    pub damaged: u64,
    /// How it was sent.
    #[serde(default)]
    pub engine: Way,
    /// Live frames that were made and that the device did not take; they are not among those that were sent. (A socket
    /// waits for room.)
    #[serde(default)]
    pub refused: u64,
    /// From the moment at which each was *due* to its arrival: a generator that is late does not hide what users would
    /// have waited (no coordinated omission). `None` when nothing arrived, the frame is too short for a stamp, or it
    /// went by live frames.
    pub latency: Option<Latency>,
}

impl StreamResult {
    /// Should have passed, and did not.
    #[must_use]
    pub fn lost(&self) -> u64 {
        if self.expect == Expect::Pass { self.missing } else { 0 }
    }

    /// Should have been dropped, and was not.
    #[must_use]
    pub fn leaked(&self) -> u64 {
        if self.expect == Expect::Drop { self.received } else { 0 }
    }

    /// The share that arrived, 0 to 1; `None` when nothing was sent.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    pub fn acceptance(&self) -> Option<f64> {
        (self.sent > 0).then(|| self.received as f64 / self.sent as f64)
    }
}

/// A distribution of times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// The least, in nanoseconds; so are all that follow.
    pub min_ns: u64,
    /// The mean.
    pub mean_ns: f64,
    /// The median.
    pub p50_ns: u64,
    /// 90 of 100 are no longer.
    pub p90_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1,000.
    pub p999_ns: u64,
    /// 9,999 of 10,000.
    pub p9999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
    /// The whole histogram: upper bounds of its buckets in nanoseconds with how many fell into each, empty ones left
    /// out, in rising order. Buckets are at most 1 % wide.
    pub buckets: Vec<(u64, u64)>,
}

/// What legitimate users got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UsersResult {
    /// Connections that were to begin, a second (open loop: they begin whatever became of those before them).
    pub requested_cps: f64,
    /// Connections begun.
    pub attempted: u64,
    /// Connections that were due and could not begin: no port of their address was free, or our own table was full.
    /// If there are any, the run is void: this is a limit of ours and not of what is measured.
    pub not_begun: u64,
    /// Handshakes completed, as the client sees it.
    pub connected: u64,
    /// Answers received whole and connections closed.
    pub completed: u64,
    /// Given up: the handshake was never answered.
    pub failed_connect: u64,
    /// Given up later.
    pub failed_transfer: u64,
    /// Ended by a reset.
    pub reset: u64,
    /// Neither completed nor failed when the run ended.
    pub unfinished: u64,
    /// Segments that clients sent again.
    pub client_retransmissions: u64,
    /// Segments that servers sent again.
    pub server_retransmissions: u64,
    /// Bytes of answers that arrived.
    pub goodput_bytes: u64,
    /// Most connections open at once.
    pub concurrent_max: u64,
    /// From the moment a connection was due to its completed handshake.
    pub connect: Option<Latency>,
    /// From the moment a connection was due to the first byte of the answer.
    pub first_byte: Option<Latency>,
    /// From the moment a connection was due to the last byte of the answer.
    pub last_byte: Option<Latency>,
    /// Frames of both ends that found no room in our own buffers and were lost: resets and cookies beyond those that
    /// may wait, and frames longer than a buffer.
    #[serde(default)]
    pub dropped_by_us: u64,
    /// Memory for connections that both ends allocated before the run, in bytes.
    #[serde(default)]
    pub memory_bytes: u64,
    /// Segments that reached clients with a wrong checksum, a broken header, or other data than was sent.
    pub damaged: u64,
    /// Of these connections, those from the address that many users share, if there is one.
    pub shared: Option<SharedResult>,
    /// What the servers saw of it, of strangers' segments too.
    pub server: ServerResult,
}

/// What users behind one address got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SharedResult {
    /// Connections begun.
    pub attempted: u64,
    /// Connections that could not begin.
    pub not_begun: u64,
    /// Answers received whole and connections closed.
    pub completed: u64,
    /// Given up or reset.
    pub failed: u64,
}

/// What reached the servers, and what they did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerResult {
    /// SYN segments that came in, a flood's and repeated ones too.
    pub syns: u64,
    /// SYN segments thrown away because the queue of half-open connections was full.
    pub backlog_dropped: u64,
    /// SYN segments answered with a cookie and no memory.
    pub cookies_sent: u64,
    /// Connections accepted: handshakes completed, as the server sees it.
    pub accepted: u64,
    /// Most half-open connections at once.
    pub half_open_max: u64,
    /// Half-open connections given up, their SYN-ACK never answered.
    pub half_open_expired: u64,
    /// Resets sent to segments that belong to no connection.
    pub resets_sent: u64,
    /// Segments with a wrong checksum, a broken header, or other data than was sent.
    pub damaged: u64,
}

/// One second of a run: what happened in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Frames sent, of each stream.
    pub sent: Vec<u64>,
    /// Frames received, of each stream.
    pub received: Vec<u64>,
    /// Connections completed.
    pub completed: u64,
    /// Connections given up or reset.
    pub failed: u64,
}

/// Processor time over the run, in seconds of one core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Of this process.
    pub generator_s: f64,
    /// Of the whole machine, without idle and waiting time, all cores together.
    pub machine_s: f64,
    /// What a virtual machine's host has given to others, of all cores together.
    #[serde(default)]
    pub stolen_s: f64,
    /// Cores that are online.
    pub cores: usize,
    /// The time that these are of, in seconds: the run, and the wait for its last packets.
    pub over_s: f64,
}

/// Turns of the generator's threads that took a millisecond or more: somebody else had the core. Whoever was to be
/// answered meanwhile waited, and what came for longer than the rings reach was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stalls {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub total_ns: u64,
    /// The longest.
    pub longest_ns: u64,
}

/// What a reader must know to make anything of the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// What the machine calls itself (`uname -n`).
    #[serde(default)]
    pub host: Option<String>,
    /// The processor.
    pub cpu: String,
    /// How many cores are online.
    pub cores: usize,
    /// `uname -r`.
    pub kernel: String,
    /// Timer interrupts a second, if the kernel tells.
    pub hz: Option<u32>,
    /// Vulnerabilities that are worked around, which costs.
    pub mitigations: Vec<String>,
    /// The governor of the processor's frequency, if there is one.
    pub governor: Option<String>,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The version of this program, and the commit it was built from if known.
    pub version: String,
    /// The interfaces that were used.
    pub interfaces: Vec<Interface>,
}

/// An interface that was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `left` (attackers and users) or `right` (the server).
    pub side: String,
    /// Its driver.
    pub driver: String,
    /// How packets reach the device: zero-copy, copy or skb.
    pub mode: String,
    /// Queues used.
    pub queues: usize,
    /// MTU, in bytes.
    pub mtu: usize,
}
