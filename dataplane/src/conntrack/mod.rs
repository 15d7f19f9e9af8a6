//! Connection tracking: which packets belong together, and which to nothing.
//!
//! The states that rules ask for are netfilter's, and so is every decision behind them: the judge is the kernel, given
//! the same packets (`tests/conntrack` plays them through both). For each packet, in this order:
//!
//! ```text
//!   Packet ──► track ──► state, direction ──► the rules ──accepted──► confirm
//!                │                               │                       │
//!                └ moves the flow it belongs to,  └ dropped: a new flow   └ a new flow stands in the table,
//!                  whatever the rules then say      was never there         if there is room
//! ```
//!
//! | file | what |
//! |---|---|
//! | `packet` | a datagram as connection tracking sees it |
//! | `tuple` | what names a direction of a flow |
//! | `tracker` | [`Conntrack`]: one worker's flows; what becomes of a packet |
//! | `room` | how flows come into the table and leave it |
//! | `query` | what others ask |
//! | `wanted` | a tuple, ready to be compared with flows |
//! | `table`, `flow`, `mark`, `count`, `wheel`, `clock` | where they are kept, what is kept, how they end |
//! | `limited` | flows that rules count |
//! | `pending` | flows that this batch begins |
//! | `verify` | clients that have completed a handshake |
//! | `proxy` | connections that SYNPROXY has made |
//! | `tcp`, `datagram` | protocols, as functions of flow, packet and time |
//! | `settings` | netfilter's knobs |
//! | `snapshot` | a table's flows as a file, for the next process |
//! | `view`, `stats`, `event` | what others may see |
//!
//! # Differences from netfilter, all on purpose
//!
//! * **When the table is full.** The kernel makes room when a flow *begins*; here it is made when its first packet was
//!   *accepted*: a flood that the rules throw away displaces nobody. The kernel throws out all unassured flows of the
//!   first of eight buckets that has one; here one gives way, half-open connections first, then other unassured flows,
//!   then assured connections that are closing (the kernel does the last in the background, above 95 %). An assured
//!   flow that is not closing never gives way; the new packet is dropped then (`flow_table_full`).
//! * **Half-open connections** have a limit of their own ([`ConntrackConfig::half_open_max`]), above which they
//!   displace each other.
//! * **SCTP and UDP-Lite** are tracked with the generic timeout (SCTP by ports, too), without their states and checks.
//!   The kernel tracks both; DCCP it knows no more.
//! * **No helpers, no expectations, no NAT, no zones.** RELATED are ICMP errors only.
//! * **Accounting** (`acct`) is on from the start or off for good: the kernel turns it on by itself when a rule with
//!   `-m connbytes` comes, and flows that began before are never counted.
//! * A flow is kept in one place for both directions, so `found`, `search_restart` and `clash_resolve` stay 0.
//! * Timeouts are at most [`TIMEOUT_S_MAX`] seconds.

mod clock;
mod close;
mod count;
mod datagram;
mod event;
mod flow;
mod limited;
mod mark;
mod packet;
mod pending;
mod proxy;
mod query;
mod room;
mod settings;
pub mod snapshot;
mod stats;
mod table;
mod tcp;
mod tracker;
mod tuple;
mod verify;
mod view;
mod wanted;
mod wheel;

#[cfg(test)]
mod tests;

pub use count::FlowCount;
pub use event::{EventKind, EventQueue, FlowEvent};
pub use packet::{Packet, Untrackable};
pub use proxy::{Proxied, Shaken};
pub use settings::{Settings, TIMEOUT_S_MAX};
pub use stats::Stats;
pub use tcp::TcpState;
pub use tracker::{Conntrack, ConntrackConfig, FLOWS_MAX_LIMIT, Refused};
pub use tuple::Tuple;
pub use view::{FlowId, FlowView};
pub use wanted::Wanted;

pub(crate) use tuple::bits6;

use clock::Ticks;

use crate::wire::IpProtocol;

/// What a packet is to connection tracking (`enum ip_conntrack_info`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CtState {
    /// Not tracked, and not to be.
    #[default]
    Untracked,
    /// Part of nothing that is known or could begin.
    Invalid,
    /// From who began a flow that was not answered yet.
    New,
    /// Of a flow that was answered, or the answer.
    Established,
    /// An ICMP error about a packet of a known flow.
    Related,
}

/// Which of a flow's two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// That of its first packet.
    #[default]
    Original = 0,
    /// The other.
    Reply = 1,
}

impl Direction {
    /// The other one.
    #[must_use]
    #[inline]
    pub fn opposite(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

/// What was found out about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tracked {
    /// What rules see.
    pub state: CtState,
    /// Its direction; [`Direction::Original`] where it has no flow.
    pub direction: Direction,
    pub(in crate::conntrack) flow: FlowRef,
}

impl Tracked {
    /// A packet that belongs to nothing.
    pub const INVALID: Self =
        Self { state: CtState::Invalid, direction: Direction::Original, flow: FlowRef::None };
    /// A packet that is not tracked.
    pub const UNTRACKED: Self =
        Self { state: CtState::Untracked, direction: Direction::Original, flow: FlowRef::None };

    /// Whether it begins a flow, which [`Conntrack::confirm`] would put into the table.
    #[must_use]
    #[inline]
    pub fn begins_flow(&self) -> bool {
        matches!(self.flow, FlowRef::Batch(_))
    }
}

/// Where the flow of a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum FlowRef {
    /// It has none.
    #[default]
    None,
    /// In the table, in this place. Only for as long as no other packet is tracked: a place does not say whose it is,
    /// and the generation that would lies in another cache line.
    Known(u32),
    /// Among those that this batch begins or ends.
    Batch(u8),
}

/// Protocols that are tracked differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Other = 0,
    Tcp = 1,
    Udp = 2,
    Icmp = 3,
    Icmpv6 = 4,
    Gre = 5,
    /// Of no packet: marks a place that is free.
    Free = 7,
}

const GRE: u8 = 47;

impl Kind {
    #[inline]
    fn of(protocol: u8, ipv4: bool) -> Self {
        match IpProtocol(protocol) {
            IpProtocol::TCP => Self::Tcp,
            IpProtocol::UDP => Self::Udp,
            IpProtocol::ICMP if ipv4 => Self::Icmp,
            IpProtocol::ICMPV6 if !ipv4 => Self::Icmpv6,
            IpProtocol(GRE) => Self::Gre,
            _ => Self::Other,
        }
    }

    #[inline]
    fn from_index(index: usize) -> Self {
        match index {
            1 => Self::Tcp,
            2 => Self::Udp,
            3 => Self::Icmp,
            4 => Self::Icmpv6,
            5 => Self::Gre,
            7 => Self::Free,
            _ => Self::Other,
        }
    }

    /// Its IP protocol number, unless it stands for many.
    fn protocol(self) -> Option<u8> {
        match self {
            Self::Other | Self::Free => None,
            Self::Tcp => Some(IpProtocol::TCP.0),
            Self::Udp => Some(IpProtocol::UDP.0),
            Self::Icmp => Some(IpProtocol::ICMP.0),
            Self::Icmpv6 => Some(IpProtocol::ICMPV6.0),
            Self::Gre => Some(GRE),
        }
    }
}

/// What a packet does to its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The flow lives on for so long.
    Live(Ticks),
    /// The packet passes, and the flow's life is as before.
    Pass,
    /// The packet is INVALID.
    Invalid,
    /// The packet is INVALID, and the flow lives for so long.
    InvalidShortened(Ticks),
    /// The packet passes, and the flow ends.
    Kill,
    /// The flow ends, and the packet begins another.
    Reopen,
}
