//! The control protocol: what travels over the daemon's Unix socket.
//!
//! ```text
//!  client                                   daemon
//!    │  u32 length (LE) │ Request  (JSON)  ──►│
//!    │◄── u32 length (LE) │ Response (JSON)   │   one answer for each request, in order
//! ```
//!
//! A connection may carry any number of requests, one at a time. A change is answered when every
//! worker enforces it ([`Reply::Done`]). Sizes are bounded in both directions
//! ([`REQUEST_BYTES_MAX`], [`REPLY_BYTES_MAX`]); what may be longer, the table of tracked flows, goes
//! by pages ([`ConntrackCursor`]). Time and number of clients are bounded by the daemon. Both sides
//! state [`PROTOCOL_VERSION`] in every message; the daemon answers a request of another version with
//! [`Failure::Version`].
//!
//! JSON rather than a compact form: these messages are rare, and a person with `socat` can read
//! them.

mod address_list;
mod conntrack;
mod limits;
mod message;
mod recent;
mod set;
mod stats;
mod status;

pub use address_list::{ADDRESS_PAGE_MAX, AddressListChange, AddressListed, AddressPage, ListedBy};
pub use conntrack::{
    CONNTRACK_PAGE_MAX, CONNTRACK_WAIT_MS_MAX, ConntrackCount, ConntrackCounters, ConntrackCursor,
    ConntrackDeleted, ConntrackEvents, ConntrackPage, ConntrackStats, EvictedCount, FilterError,
    FlowCount, FlowCounts, FlowEntry, FlowEvent, FlowEventKind, FlowFilter, FlowPart, FlowTuple,
    TcpState, TupleFilter, WorkerFlows,
};
pub use limits::{LIMIT_KEYS_MAX, LimitKey, LimitPushed, LimitReport};
pub use message::{MessageError, read_frame, read_message, write_message};
pub use recent::{RECENT_PAGE_MAX, RecentAddress, RecentChange, RecentHeader, RecentPage};
pub use set::{SET_PAGE_MAX, SetCursor, SetHeader, SetPage};
pub use stats::{
    DropCount, EarlyDropStats, EventCount, KernelPortStats, LatencyStats, PacketTotals,
    Percentiles, PortStats, Stats, WorkerStats, XdpProgramStats,
};
pub use status::{FrameStatus, PortState, PortStatus, Status, WorkerState, WorkerStatus};

use serde::{Deserialize, Serialize};

use crate::address_list::{AddressList, AddressListError};
use crate::command::{ChainName, Command, Transaction};
use crate::rule::{Family, IpNet, RecentName, Table};
use crate::ruleset::{CounterTable, Counters, RuleError, Ruleset};
use crate::set::{SetChange, SetError, SetName};

/// The version of all types in this module. Raised by every change that an older peer would
/// misread.
pub const PROTOCOL_VERSION: u32 = 6;

/// The longest request in bytes, without its length: a full rule set to be restored.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;

/// How long a change may wait to be confirmed, in seconds: an hour.
pub const CONFIRM_S_MAX: u32 = 3_600;

/// The longest reply in bytes, without its length: a listing of a full rule set, each rule with
/// one match and every condition in use, has 33 MiB (a test prints and holds this).
pub const REPLY_BYTES_MAX: usize = 64 << 20;

/// Where the daemon listens unless told otherwise.
pub const SOCKET_DEFAULT: &str = "/run/weir/weir.sock";

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`PROTOCOL_VERSION`] of the client.
    pub version: u32,
    /// What it wants.
    pub body: RequestBody,
}

impl Request {
    /// A request of this version.
    pub fn new(body: RequestBody) -> Self {
        Self { version: PROTOCOL_VERSION, body }
    }

    /// Reads a request as [`read_frame`] returned it.
    ///
    /// # Errors
    /// [`Failure::Version`] or [`Failure::Malformed`]: what to answer.
    pub fn from_json(json: &[u8]) -> Result<Self, Failure> {
        let other = |version| Failure::Version { client: version, daemon: PROTOCOL_VERSION };
        let malformed = |error: serde_json::Error| Failure::Malformed { reason: error.to_string() };
        match serde_json::from_slice::<Self>(json) {
            Ok(request) if request.version == PROTOCOL_VERSION => Ok(request),
            Ok(request) => Err(other(request.version)),
            // Of another version, it need not be readable.
            Err(error) => match serde_json::from_slice(json).map_err(malformed)? {
                Envelope { version: PROTOCOL_VERSION } => Err(malformed(error)),
                Envelope { version } => Err(other(version)),
            },
        }
    }
}

/// The version alone: read where the body cannot be, so that a peer of another version gets
/// [`Failure::Version`] and not a complaint about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub version: u32,
}

/// What a client can ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RequestBody {
    /// Change the rules ([`Reply::Done`] once in force) or list them ([`Reply::Listing`]).
    Iptables {
        /// Of which family's rules.
        family: Family,
        /// Of which table.
        #[serde(default)]
        table: Table,
        /// The command, already parsed.
        command: Command,
        /// Go back to the rules of before unless [`RequestBody::Confirm`] comes within so many
        /// seconds, at most [`CONFIRM_S_MAX`]. While a change waits for it, no other is made
        /// ([`Failure::Busy`]).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_s: Option<u32>,
    },
    /// Many commands at once, of one table or several: [`Reply::Done`] once all are in force, or
    /// [`Failure::Transaction`] and nothing has changed.
    Restore {
        /// Of which family's rules.
        family: Family,
        /// The commands, table by table.
        transactions: Vec<Transaction>,
        /// Whether only to say what would come of it.
        dry_run: bool,
        /// As for `Iptables`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_s: Option<u32>,
    },
    /// The change that waits for it stays: [`Reply::Done`]. Without one, [`Failure::Other`].
    Confirm,
    /// The names of all chains: [`Reply::ChainNames`].
    ChainNames {
        /// Of which family's rules.
        family: Family,
        /// Of which table.
        #[serde(default)]
        table: Table,
    },
    /// How the daemon is: [`Reply::Status`].
    Status,
    /// What it has counted: [`Reply::Stats`].
    Stats,
    /// Only the ports: [`Reply::Ports`].
    Ports,
    /// Tracked flows, a page of them: [`Reply::ConntrackPage`].
    ConntrackList {
        /// Which.
        filter: FlowFilter,
        /// Where the page begins; `None` for the first.
        cursor: Option<ConntrackCursor>,
    },
    /// How many flows there are: [`Reply::ConntrackCount`].
    ConntrackCount,
    /// Delete tracked flows, a page of them: [`Reply::ConntrackDeleted`]. The next packet of such
    /// a flow is the first of a new one, or INVALID.
    ConntrackDelete {
        /// Which.
        filter: FlowFilter,
        /// Where the page begins; `None` for the first.
        cursor: Option<ConntrackCursor>,
        /// Whether the answer is to contain them.
        show: bool,
    },
    /// What connection tracking has counted: [`Reply::ConntrackStats`].
    ConntrackStats,
    /// What has happened to flows since this request was made last on this connection:
    /// [`Reply::ConntrackEvents`]. The first one begins to collect, and the end of the connection
    /// ends it; while another connection does so, it is refused with [`Failure::Busy`].
    ConntrackEvents {
        /// How long to wait for the first event, in milliseconds; no longer than
        /// [`CONNTRACK_WAIT_MS_MAX`].
        wait_ms: u32,
    },
    /// All tables of `-m recent`, without their addresses: [`Reply::Recents`].
    Recents,
    /// Addresses of a table, a page of them: [`Reply::RecentPage`].
    RecentList {
        /// The table.
        name: RecentName,
        /// Where the page begins; `None` for the first.
        cursor: Option<u32>,
    },
    /// Change a table by hand: [`Reply::RecentChanged`], and workers see it with the next packet.
    RecentChange {
        /// The table.
        name: RecentName,
        /// What to do.
        change: RecentChange,
    },
    /// Change sets, all of these changes or none: [`Reply::Done`] once workers see them, or
    /// [`Failure::Set`] and nothing has changed.
    SetChange {
        /// What to do, in order.
        changes: Vec<SetChange>,
    },
    /// Whether an entry is in a set: [`Reply::SetTest`].
    SetTest {
        /// The set.
        name: SetName,
        /// The entry, as it is saved.
        entry: String,
    },
    /// What rules that limit keep: [`Reply::Limits`].
    Limits {
        /// How many keys of each to tell, at most [`LIMIT_KEYS_MAX`].
        top: u32,
    },
    /// All sets, without their entries: [`Reply::Sets`].
    Sets,
    /// Entries of a set, a page of them: [`Reply::SetPage`].
    SetList {
        /// The set.
        name: SetName,
        /// Where the page begins; `None` for the first.
        cursor: Option<SetCursor>,
    },
    /// Change the blocklist or the allowlist: [`Reply::AddressListChanged`] once every port enforces it, or
    /// [`Failure::AddressList`] and nothing has changed.
    AddressListChange {
        /// Which list.
        list: AddressList,
        /// What to do.
        change: AddressListChange,
    },
    /// Entries of one of these lists, a page of them: [`Reply::AddressPage`].
    AddressList {
        /// Which list.
        list: AddressList,
        /// What the page comes after; `None` for the first.
        after: Option<IpNet>,
    },
}

/// What the daemon answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// [`PROTOCOL_VERSION`] of the daemon.
    pub version: u32,
    /// What came of the request.
    pub body: ResponseBody,
}

impl Response {
    /// A response of this version.
    pub fn new(result: Result<Reply, Failure>) -> Self {
        let body = match result {
            Ok(reply) => ResponseBody::Ok(reply),
            Err(failure) => ResponseBody::Error(failure),
        };
        Self { version: PROTOCOL_VERSION, body }
    }

    /// Reads a response as [`read_frame`] returned it, the version first.
    ///
    /// # Errors
    /// [`Failure::Version`], or [`Failure::Other`] if it is no response.
    pub fn from_json(json: &[u8]) -> Result<Self, Failure> {
        let malformed = |error: serde_json::Error| Failure::Other {
            reason: format!("the daemon's answer cannot be read: {error}"),
        };
        let Envelope { version } = serde_json::from_slice(json).map_err(malformed)?;
        if version != PROTOCOL_VERSION {
            return Err(Failure::Version { client: PROTOCOL_VERSION, daemon: version });
        }
        serde_json::from_slice(json).map_err(malformed)
    }
}

/// Success or failure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseBody {
    /// It worked.
    Ok(Reply),
    /// It did not; nothing was changed.
    Error(Failure),
}

impl From<ResponseBody> for Result<Reply, Failure> {
    fn from(body: ResponseBody) -> Self {
        match body {
            ResponseBody::Ok(reply) => Ok(reply),
            ResponseBody::Error(failure) => Err(failure),
        }
    }
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reply {
    /// The command is in force on every worker.
    Done {
        /// The policy epoch that contains it.
        policy_epoch: u64,
    },
    /// For `-L` and `-S`.
    Listing(Listing),
    /// For [`RequestBody::ChainNames`], in the order of listings.
    ChainNames(Vec<ChainName>),
    /// For [`RequestBody::Status`].
    Status(Box<Status>),
    /// For [`RequestBody::Stats`].
    Stats(Box<Stats>),
    /// For [`RequestBody::Ports`].
    Ports(Vec<PortStatus>),
    /// For [`RequestBody::ConntrackList`].
    ConntrackPage(ConntrackPage),
    /// For [`RequestBody::ConntrackCount`].
    ConntrackCount(ConntrackCount),
    /// For [`RequestBody::ConntrackDelete`].
    ConntrackDeleted(ConntrackDeleted),
    /// For [`RequestBody::ConntrackStats`].
    ConntrackStats(ConntrackStats),
    /// For [`RequestBody::ConntrackEvents`].
    ConntrackEvents(ConntrackEvents),
    /// For [`RequestBody::Recents`], by name.
    Recents(Vec<RecentHeader>),
    /// For [`RequestBody::RecentList`].
    RecentPage(RecentPage),
    /// For [`RequestBody::RecentChange`]: whether anything changed; an address that is to be deleted may not be there.
    RecentChanged(bool),
    /// For [`RequestBody::SetTest`]: whether it is in the set.
    SetTest(bool),
    /// For [`RequestBody::Limits`]: rules in their order, then tables by name.
    Limits(Vec<LimitReport>),
    /// For [`RequestBody::Sets`], in the order of listings.
    Sets(Vec<SetHeader>),
    /// For [`RequestBody::SetList`].
    SetPage(SetPage),
    /// For [`RequestBody::AddressListChange`].
    AddressListChanged {
        /// Entries that were added, altered or taken out.
        entries: u64,
    },
    /// For [`RequestBody::AddressList`].
    AddressPage(AddressPage),
}

/// A table's rule set with its counters, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The rules.
    pub ruleset: Ruleset,
    /// What they counted.
    pub counters: CounterTable,
}

impl Listing {
    /// Whether nothing has happened to the table since a fresh start.
    pub fn is_untouched(&self) -> bool {
        let counted = |counters: &Counters| *counters != Counters::default();
        self.ruleset.is_untouched() && !self.counters.policies.values().any(counted)
    }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failure {
    /// The rule set refused the command.
    #[error(transparent)]
    Rule(RuleError),
    /// The rule set refused a transaction.
    #[error("{error}")]
    Transaction {
        /// Which transaction it was, from 0.
        #[serde(default)]
        transaction: usize,
        /// Which command of it it was, from 0; their number if it was all together.
        command: usize,
        /// Why.
        error: RuleError,
    },
    /// A change of rules for packets that this daemon does not forward.
    #[error(
        "{family} is not forwarded here, so no rule of it would decide about anything: write `ipv6 = \"forward\"' into \
         Weir's configuration and start it again; until then `{0} -L' and `-S' show what there is", .family.program()
    )]
    NotFiltered {
        /// Whose packets.
        family: Family,
    },
    /// A change of sets, or a question about them, was refused.
    #[error("{error}")]
    Set {
        /// Which change it was, from 0.
        change: usize,
        /// Which of its entries, from 0.
        entry: usize,
        /// Why.
        error: SetError,
    },
    /// A change of the blocklist or the allowlist was refused.
    #[error(transparent)]
    AddressList(AddressListError),
    /// Client and daemon are of different releases.
    #[error(
        "this weirctl speaks control protocol version {client}, the running weir speaks version {daemon}: run the weirctl of the same release as the daemon, or restart the daemon after an upgrade"
    )]
    Version {
        /// The client's.
        client: u32,
        /// The daemon's.
        daemon: u32,
    },
    /// The message was not a request.
    #[error("the daemon could not read the request: {reason}")]
    Malformed {
        /// Where and why.
        reason: String,
    },
    /// Not all workers adopted the new policy in time. The rule set has the command; which
    /// packets already meet it is unknown.
    #[error(
        "the command is in the rule set, but after {waited_ms} ms not every worker enforces it: see `weirctl status`"
    )]
    NotYetInForce {
        /// How long the daemon waited, in milliseconds.
        waited_ms: u64,
    },
    /// The daemon is stopping, or at its limit of clients.
    #[error("the daemon is not taking requests: {reason}")]
    Busy {
        /// Why.
        reason: String,
    },
    /// The answer would be longer than [`REPLY_BYTES_MAX`].
    #[error("the answer would have {bytes} bytes, above the limit of {REPLY_BYTES_MAX}")]
    ReplyTooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Anything else, in words.
    #[error("{reason}")]
    Other {
        /// What went wrong and what to do.
        reason: String,
    },
}

impl From<RuleError> for Failure {
    fn from(error: RuleError) -> Self {
        Self::Rule(error)
    }
}
