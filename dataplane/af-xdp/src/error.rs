//! Why a set-up failed, and what to do about it.

use std::io;
use std::time::Duration;

use crate::area::CHUNK_BYTES_ALLOWED;
use crate::mode::{Mode, Rung};
use crate::ring::RING_ENTRIES_MAX;

/// Why memory, a socket or a device could not be set up.
///
/// Each message says what was tried on what, why it failed as far as the kernel tells, and the
/// remedy. `device` is the name with the number where both are known, such as `eth1 (ifindex 3)`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The process lacks a capability (`EPERM`).
    #[error(
        "{what}: not permitted; run as root, or give the process CAP_NET_RAW (AF_XDP sockets), \
         CAP_NET_ADMIN and CAP_BPF (attaching a program, busy polling)"
    )]
    NoCapability {
        /// What was tried.
        what: String,
    },

    /// The kernel was built without something, or is too old for it.
    #[error(
        "{what}: the running kernel does not know it ({source}); use Linux 5.11 or later with \
         CONFIG_XDP_SOCKETS=y"
    )]
    KernelWithout {
        /// What was tried.
        what: String,
        /// What the kernel answered.
        source: io::Error,
    },

    /// The device's driver refuses this rung of the ladder (`EOPNOTSUPP`, or for zero-copy any
    /// refusal of the driver's own).
    #[error(
        "bind to queue {queue} of {device} in mode {rung}: the driver refuses ({source}); allow \
         a lower mode (auto, copy or skb), or for zero-copy see what the driver wants: fewer \
         queues, a smaller MTU, another ring size"
    )]
    DriverWithout {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// The rung that was asked for.
        rung: Rung,
        /// What the driver or the kernel answered.
        source: io::Error,
    },

    /// The device has no queue of this number.
    #[error(
        "bind to queue {queue} of {device}: the device has {queues} queue(s), numbered from 0; \
         use one of those, or give the device more (ethtool -L)"
    )]
    NoSuchQueue {
        /// The device.
        device: String,
        /// The queue that was asked for.
        queue: u32,
        /// How many there are.
        queues: u32,
    },

    /// Another socket holds the queue (`EBUSY`).
    #[error(
        "bind to queue {queue} of {device}: another AF_XDP socket has it (tried for {} ms); \
         stop the program that owns the socket (ss --xdp --all --processes shows it)",
        waited.as_millis()
    )]
    QueueBusy {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// How long binding was tried.
        waited: Duration,
    },

    /// A chunk size that the kernel would refuse.
    #[error("chunk_bytes = {chunk_bytes}: must be one of {CHUNK_BYTES_ALLOWED:?}")]
    ChunkSize {
        /// What was asked for.
        chunk_bytes: u32,
    },

    /// No chunks, or more than the address space holds.
    #[error(
        "chunks = {chunks}: must be at least 1, and all chunks must fit into the address space"
    )]
    ChunkCount {
        /// What was asked for.
        chunks: u32,
    },

    /// A ring size that the kernel would refuse.
    #[error("{ring}_entries = {entries}: must be a power of two from 1 to {RING_ENTRIES_MAX}")]
    RingSize {
        /// The ring: `rx`, `tx`, `fill` or `completion`.
        ring: &'static str,
        /// What was asked for.
        entries: u32,
    },

    /// A value out of its range.
    #[error("{key} = {value}: must be {allowed}")]
    OutOfRange {
        /// The setting.
        key: &'static str,
        /// What was asked for.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },

    /// Memory could not be had or locked.
    #[error(
        "{what}: {source}; use fewer chunks or smaller rings, or let the process lock memory \
         (CAP_IPC_LOCK, or a higher RLIMIT_MEMLOCK)"
    )]
    Memory {
        /// What was tried.
        what: String,
        /// What the kernel answered.
        source: io::Error,
    },

    /// Too few huge pages.
    #[error(
        "map {pages} huge page(s) of {page_bytes} bytes: {source}; reserve them by writing at \
         least that number to /proc/sys/vm/nr_hugepages, or switch huge pages off"
    )]
    HugePages {
        /// Huge pages needed.
        pages: usize,
        /// Their size.
        page_bytes: usize,
        /// What the kernel answered.
        source: io::Error,
    },

    /// There is no such device in this network namespace (`ENODEV`).
    #[error("{device}: no such device in this network namespace; ip link shows those there are")]
    NoSuchDevice {
        /// The device.
        device: String,
    },

    /// The device is there but switched off (`ENETDOWN`).
    #[error("bind to queue {queue} of {device}: the device is down; ip link set it up")]
    DeviceDown {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
    },

    /// The device has no Ethernet address.
    #[error("{device}: not an Ethernet device (hardware type {hardware}); AF_XDP ports need one")]
    NotEthernet {
        /// The device.
        device: String,
        /// `ARPHRD_*` of `linux/if_arp.h`.
        hardware: u16,
    },

    /// The kernel bound the socket in another mode than the rung stands for.
    #[error(
        "bind to queue {queue} of {device}: asked for {wanted}, the kernel says {got}; sockets \
         that share a UMEM inherit the mode of the first one, so put all of them on the same \
         rung"
    )]
    ModeMismatch {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
        /// The rung that was asked for.
        wanted: Rung,
        /// The mode that came out.
        got: Mode,
    },

    /// The socket whose UMEM was to be shared is not bound any more (`EBADF`).
    #[error(
        "bind to queue {queue} of {device}: the socket whose UMEM is to be shared lost its own \
         device; share through any other socket of that UMEM"
    )]
    SharedGone {
        /// The device that was to be bound.
        device: String,
        /// The queue.
        queue: u32,
    },

    /// The socket to share with has its UMEM in another area.
    #[error(
        "bind to queue {queue} of {device}: the socket whose UMEM is to be shared was bound \
         with another area; pass that socket's area"
    )]
    AreaMismatch {
        /// The device.
        device: String,
        /// The queue.
        queue: u32,
    },

    /// The device has an XDP program that is not ours. This crate never returns it; it is here so
    /// that those who attach programs report it alike.
    #[error(
        "{ifname}: another XDP program is attached: {name:?}, id {id}; it is left alone: stop \
         its owner, or remove it (ip link set dev {ifname} xdp off)"
    )]
    OtherProgram {
        /// The device.
        ifname: String,
        /// The name that the program was loaded with.
        name: String,
        /// Its number, as bpftool prog shows it.
        id: u32,
    },

    /// Anything else that the kernel said.
    #[error("{what}: {source}")]
    Os {
        /// What was tried.
        what: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl SetupError {
    /// Whether the next rung down might work where this one failed: the driver refused the mode, or
    /// a shared UMEM brought another one. All other causes stay the same on every rung.
    #[must_use]
    pub fn is_rung_refusal(&self) -> bool {
        matches!(self, SetupError::DriverWithout { .. } | SetupError::ModeMismatch { .. })
    }
}
