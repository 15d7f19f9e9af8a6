//! What the mirror tells its supervisor, and why it may fail to start.

use std::io;

use super::link::{PORTS_MAX, PortIndex};

/// A change that concerns more than forwarding, or something that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MirrorEvent {
    /// A port's interface exists, for the first time or again.
    PortAppeared {
        /// The port.
        port: PortIndex,
        /// The interface's number, new after each return.
        ifindex: u32,
    },
    /// A port's interface was deleted, renamed or moved to another namespace.
    PortVanished {
        /// The port.
        port: PortIndex,
        /// The number that the interface had.
        ifindex: u32,
    },
    /// A port is switched on and has a carrier.
    PortUp {
        /// The port.
        port: PortIndex,
    },
    /// A port was switched off or lost its carrier.
    PortDown {
        /// The port.
        port: PortIndex,
    },
    /// A port's MTU changed.
    MtuChanged {
        /// The port.
        port: PortIndex,
        /// The new one in bytes.
        mtu: u32,
    },
    /// A port's Ethernet address changed.
    MacChanged {
        /// The port.
        port: PortIndex,
        /// The new one.
        mac: [u8; 6],
    },
    /// The machine's own addresses or broadcast addresses are others now: read them from the published snapshot.
    LocalAddressesChanged,
    /// Routing rules exist that Weir does not follow: it forwards by the tables local, main, default.
    RulesUnsupported {
        /// Which, in words.
        what: String,
    },
    /// The routing rules are back to what Weir follows.
    RulesSupported,
    /// A route exists that Weir does not follow; it is left out, or its packets are not forwarded.
    RouteUnsupported {
        /// Which and why, in words.
        what: String,
    },
    /// The kernel has more routes than Weir takes. Those held stay; further ones are refused until
    /// there is room again, a sixteenth of the limit.
    RoutesFull {
        /// The limit.
        routes_max: usize,
    },
    /// The kernel has more neighbours than Weir takes. Those held stay; further ones are refused until
    /// there is room again, a sixteenth of the limit.
    NeighboursFull {
        /// The limit.
        neighbours_max: usize,
    },
    /// Notices were lost or unreadable, and everything was read again.
    Resynchronised,
    /// The kernel's tables cannot be read at the moment; the last snapshot stays in force, the mirror tries again.
    Failing {
        /// Why, in words.
        why: String,
    },
}

/// Why the mirror cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// More ports than Weir can have.
    #[error("{count} ports are configured, Weir can have 1 to {PORTS_MAX}: remove some")]
    PortCount {
        /// How many were named.
        count: usize,
    },
    /// The same interface twice.
    #[error("interface {name:?} is named for two ports: each port needs its own")]
    PortTwice {
        /// The interface.
        name: String,
    },
    /// A netlink socket or its companion could not be made.
    #[error(
        "cannot {action}: {source}; netlink (NETLINK_ROUTE) must be allowed for this process and memory left"
    )]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel refused to list one of its tables.
    #[error("cannot read the kernel's {what}: {source}")]
    Dump {
        /// Which table.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The thread could not be started.
    #[error(
        "cannot start the thread that follows the kernel's routes: {source}; is there a limit on threads?"
    )]
    Thread {
        /// The system's answer.
        source: io::Error,
    },
}
