//! Connection tracking: flows, which of them are meant, and what happens to them.
//!
//! A table may have millions of entries, so whatever concerns all of them goes by pages. A client
//! asks for the first page with no [`ConntrackCursor`], and for each further one with the
//! [`ConntrackPage::next`] of the one before, until there is none. Neither side keeps anything
//! between two pages: a client may stop anywhere. A flow that lives during the whole listing is in
//! it exactly once; one that comes or goes meanwhile, at most once.
//!
//! Events are pulled: each [`super::RequestBody::ConntrackEvents`] returns those since the last
//! one. What was not pulled in time is lost, and counted ([`ConntrackEvents::lost`]): a slow reader
//! never slows a worker.

mod filter;
mod flow;
mod tcp_state;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

pub use filter::{FilterError, FlowFilter, TupleFilter};
pub use flow::{FlowCount, FlowCounts, FlowEntry, FlowEvent, FlowEventKind, FlowPart, FlowTuple};
pub use tcp_state::TcpState;

/// Flows of a page, or events of a batch, at most. A page may have fewer, or none, and not be the
/// last.
pub const CONNTRACK_PAGE_MAX: usize = 4_096;

/// How long the daemon waits for events at most, in milliseconds.
pub const CONNTRACK_WAIT_MS_MAX: u32 = 2_000;

/// Workers that a reply tells of at most.
const WORKERS_MAX: usize = 1_024;

/// Kinds of eviction that a reply tells of at most.
const EVICTIONS_MAX: usize = 64;

/// Where a page begins. Later pages have greater cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConntrackCursor {
    /// The worker whose table comes next.
    pub worker: u32,
    /// The place in its table from which on.
    pub slot: u32,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackPage {
    /// The flows meant in this part of the tables, at most [`CONNTRACK_PAGE_MAX`].
    #[serde(deserialize_with = "page")]
    pub flows: Vec<FlowEntry>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<ConntrackCursor>,
}

/// What came of deleting in a part of the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackDeleted {
    /// How many flows were deleted in this part.
    pub deleted: u64,
    /// These flows, if they were asked for.
    #[serde(deserialize_with = "page")]
    pub flows: Vec<FlowEntry>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<ConntrackCursor>,
}

/// How many flows there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackCount {
    /// In all tables.
    pub flows: u64,
    /// For how many there is room.
    pub flows_max: u64,
    /// By worker.
    #[serde(deserialize_with = "workers")]
    pub workers: Vec<WorkerFlows>,
}

/// How many flows a worker tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerFlows {
    /// The worker, from 0.
    pub worker: u32,
    /// Flows in its table.
    pub flows: u64,
    /// For how many there is room.
    pub flows_max: u64,
}

/// Events since the last time, in the order of each worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackEvents {
    /// At most [`CONNTRACK_PAGE_MAX`]; none if nothing happened while the daemon waited.
    #[serde(deserialize_with = "page")]
    pub events: Vec<FlowEvent>,
    /// How many were lost since the last time, because they were not pulled in time.
    pub lost: u64,
}

/// What connection tracking has counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConntrackStats {
    /// By worker.
    #[serde(deserialize_with = "workers")]
    pub workers: Vec<ConntrackCounters>,
}

/// What one worker has counted since its start: first what `conntrack -S` has, by the same names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConntrackCounters {
    /// The worker, from 0.
    pub worker: u32,
    /// Packets whose flow was in the table.
    pub found: u64,
    /// Packets that can be part of no flow.
    pub invalid: u64,
    /// Flows that were put into the table.
    pub insert: u64,
    /// Flows that were not, although their packets were accepted.
    pub insert_failed: u64,
    /// Packets that were dropped because the table had no room for their flows.
    pub drop: u64,
    /// Flows that gave way to new ones, see [`Self::evicted`].
    pub early_drop: u64,
    /// ICMP errors that cannot be assigned to a flow.
    pub error: u64,
    /// Lookups that had to begin anew: none, each table has one thread.
    pub search_restart: u64,
    /// Flows whose time was over.
    pub expired: u64,
    /// Flows that an operator has deleted.
    pub deleted: u64,
    /// Flows that gave way, by what they were.
    #[serde(deserialize_with = "evictions")]
    pub evicted: Vec<EvictedCount>,
    /// Flows in the table now.
    pub flows: u64,
    /// For how many there is room.
    pub flows_max: u64,
    /// TCP connections in the table now whose handshake is not over.
    pub half_open: u64,
    /// For how many of them there is room.
    pub half_open_max: u64,
    /// Bytes of memory for each flow that there is room for, rounded up.
    pub bytes_per_flow: u64,
    /// Bytes of memory of the table; the same whether it is empty or full.
    pub memory_bytes: u64,
}

/// How many flows of one kind gave way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvictedCount {
    /// What they were, such as `half_open`.
    pub kind: String,
    /// How many.
    pub flows: u64,
}

fn page<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    input.deserialize_seq(Bounded(CONNTRACK_PAGE_MAX, PhantomData))
}

fn workers<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    input.deserialize_seq(Bounded(WORKERS_MAX, PhantomData))
}

fn evictions<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    input.deserialize_seq(Bounded(EVICTIONS_MAX, PhantomData))
}

/// A list of at most so many elements: a longer one is refused at its first element too many.
struct Bounded<T>(usize, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Bounded<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} elements", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            if list.len() == self.0 {
                return Err(A::Error::invalid_length(list.len() + 1, &self));
            }
            list.push(element);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::REPLY_BYTES_MAX;

    /// The flow with the longest JSON.
    fn longest() -> FlowEntry {
        let tuple = FlowTuple {
            source: std::net::Ipv6Addr::from_bits(u128::MAX).into(),
            destination: std::net::Ipv6Addr::from_bits(u128::MAX).into(),
            part: FlowPart::Ports { source: u16::MAX, destination: u16::MAX },
        };
        let count = FlowCount { packets: u64::MAX, bytes: u64::MAX };
        FlowEntry {
            worker: u32::MAX,
            slot: u32::MAX,
            generation: u32::MAX,
            protocol: u8::MAX,
            tcp_state: Some(TcpState::Established),
            timeout_s: u32::MAX,
            original: tuple,
            reply: tuple,
            seen_reply: false,
            assured: false,
            mark: u32::MAX,
            counts: Some(FlowCounts { original: count, reply: count }),
        }
    }

    #[test]
    fn a_full_page_fits_into_a_reply() {
        let event = FlowEvent { event: FlowEventKind::Destroy, flow: longest() };
        let full = ConntrackEvents { events: vec![event; CONNTRACK_PAGE_MAX], lost: u64::MAX };
        let json = serde_json::to_vec(&full).expect("JSON");
        println!("the longest page has {} bytes", json.len());
        assert!(json.len() < REPLY_BYTES_MAX / 16, "{}", json.len());
        assert_eq!(serde_json::from_slice::<ConntrackEvents>(&json).expect("a batch"), full);
    }

    #[test]
    fn longer_pages_are_refused() {
        let flows = vec![longest(); CONNTRACK_PAGE_MAX + 1];
        let json = serde_json::to_vec(&ConntrackPage { flows, next: None }).expect("JSON");
        let error = serde_json::from_slice::<ConntrackPage>(&json).expect_err("too long");
        assert!(error.to_string().contains("at most 4096 elements"), "{error}");
    }

    #[test]
    fn cursors_are_ordered_by_worker_first() {
        let cursor = |worker, slot| ConntrackCursor { worker, slot };
        assert!(cursor(0, u32::MAX) < cursor(1, 0) && cursor(1, 0) < cursor(1, 1));
    }
}
