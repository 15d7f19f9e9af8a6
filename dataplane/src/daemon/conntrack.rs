//! What the control socket says about tracked flows: pages, counts, deletions, events.
//!
//! Pages are made of errands ([`crate::errand`]), one worker and one errand at a time. Nothing is kept between two
//! pages, so a client that vanishes leaves nothing behind; one that listens to events stops the recording when its
//! connection ends ([`Subscription`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_control::protocol::{
    CONNTRACK_PAGE_MAX, CONNTRACK_WAIT_MS_MAX, ConntrackCount, ConntrackCounters, ConntrackCursor,
    ConntrackDeleted, ConntrackEvents, ConntrackPage, ConntrackStats, EvictedCount, Failure,
    FlowEntry, FlowEvent, FlowEventKind, FlowFilter, Reply, WorkerFlows,
};

use super::ORDER_PATIENCE;
use super::shared::Shared;
use crate::config::ConntrackSettings;
use crate::conntrack::{EventKind, EventQueue};
use crate::errand::{ERRAND_PLACES, Report, Task, entry};
use crate::worker::OrderError;

/// Events that wait for a listener at most, of each worker: 1.5 MiB or so.
const EVENTS_MAX: usize = 8_192;

/// Errands of a page at most: a filter that hardly any flow meets must not let the client wait for long.
const PAGE_ERRANDS_MAX: usize = 64;

/// Workers' events on their way to whoever listens.
#[derive(Debug)]
pub(super) struct Events {
    /// By worker.
    queues: Vec<Arc<EventQueue>>,
    taken: AtomicBool,
}

impl Events {
    pub(super) fn new(workers: usize) -> Self {
        let queues = (0..workers).map(|_| Arc::new(EventQueue::new(EVENTS_MAX))).collect();
        Self { queues, taken: AtomicBool::new(false) }
    }

    /// Where a worker puts them.
    pub(super) fn queue(&self, worker: usize) -> Option<Arc<EventQueue>> {
        self.queues.get(worker).cloned()
    }

    /// At most so many events, a fair share of each worker's, in its order.
    fn take(&self, events_max: usize) -> Vec<FlowEvent> {
        let share = events_max / self.queues.len().max(1);
        let mut events = Vec::new();
        for (worker, queue) in (0..).zip(&self.queues) {
            let news = std::iter::from_fn(|| queue.take()).take(share);
            events.extend(news.map(|event| FlowEvent {
                event: match event.kind {
                    EventKind::New => FlowEventKind::New,
                    EventKind::Update => FlowEventKind::Update,
                    EventKind::Destroy => FlowEventKind::Destroy,
                },
                flow: entry(worker, event.id, &event.flow),
            }));
        }
        events
    }

    fn take_lost(&self) -> u64 {
        self.queues.iter().map(|queue| queue.take_lost()).sum()
    }

    fn listen(&self, wanted: bool) {
        self.queues.iter().for_each(|queue| queue.listen(wanted));
    }
}

/// The right to the events; given back when dropped.
#[derive(Debug)]
pub(super) struct Subscription(Arc<Shared>);

impl Subscription {
    /// Begins to record events.
    ///
    /// # Errors
    /// [`Failure::Busy`] while somebody else listens.
    pub(super) fn new(shared: &Arc<Shared>) -> Result<Self, Failure> {
        if shared.events.taken.swap(true, Ordering::Acquire) {
            let reason = "another client is listening to conntrack events, and there can be one";
            return Err(Failure::Busy { reason: reason.to_owned() });
        }
        // What a worker noted while the last listener left.
        shared.events.listen(false);
        shared.events.listen(true);
        Ok(Self(Arc::clone(shared)))
    }

    /// Events since the last time. Waits for the first one until `wait_ms` are over or `rest` says that it is of no
    /// use any more; `rest` is to take some milliseconds.
    pub(super) fn events(&self, wait_ms: u32, mut rest: impl FnMut() -> bool) -> Reply {
        let patience = Duration::from_millis(wait_ms.min(CONNTRACK_WAIT_MS_MAX).into());
        let start = Instant::now();
        loop {
            let events = self.0.events.take(CONNTRACK_PAGE_MAX);
            let lost = self.0.events.take_lost();
            let over = start.elapsed() >= patience;
            if !events.is_empty() || lost > 0 || over || !rest() {
                return Reply::ConntrackEvents(ConntrackEvents { events, lost });
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.events.listen(false);
        self.0.events.taken.store(false, Ordering::Release);
    }
}

/// A page of flows.
pub(super) fn list(
    shared: &Shared,
    filter: FlowFilter,
    cursor: Option<ConntrackCursor>,
) -> Result<Reply, Failure> {
    let (flows, next) = page(shared, &filter, cursor, |from| Task::List { filter, from })?;
    Ok(Reply::ConntrackPage(ConntrackPage { flows, next }))
}

/// A page of deletions.
pub(super) fn delete(
    shared: &Shared,
    filter: FlowFilter,
    cursor: Option<ConntrackCursor>,
    show: bool,
) -> Result<Reply, Failure> {
    let (mut flows, next) = page(shared, &filter, cursor, |from| Task::Delete { filter, from })?;
    let deleted = flows.len() as u64;
    if !show {
        flows = Vec::new();
    }
    Ok(Reply::ConntrackDeleted(ConntrackDeleted { deleted, flows, next }))
}

/// How many flows there are.
pub(super) fn count(shared: &Shared) -> Result<Reply, Failure> {
    let workers: Vec<WorkerFlows> = reports(shared)?
        .iter()
        .map(|(worker, report)| WorkerFlows {
            worker: *worker,
            flows: report.flows,
            flows_max: report.flows_max,
        })
        .collect();
    let flows = workers.iter().map(|worker| worker.flows).sum();
    let flows_max = workers.iter().map(|worker| worker.flows_max).sum();
    Ok(Reply::ConntrackCount(ConntrackCount { flows, flows_max, workers }))
}

/// What was counted.
pub(super) fn stats(shared: &Shared) -> Result<Reply, Failure> {
    let half_open_max =
        ConntrackSettings::share(shared.config.conntrack.half_open_max, shared.workers.len());
    let workers = reports(shared)?
        .into_iter()
        .map(|(worker, report)| counters(worker, &report, half_open_max))
        .collect();
    Ok(Reply::ConntrackStats(ConntrackStats { workers }))
}

fn counters(worker: u32, report: &Report, half_open_max: u32) -> ConntrackCounters {
    let stats = &report.stats;
    let unassured = stats
        .early_drop
        .saturating_sub(stats.early_drop_half_open)
        .saturating_sub(stats.early_drop_closing);
    let evicted = [
        ("half_open", stats.early_drop_half_open),
        ("unassured", unassured),
        ("closing", stats.early_drop_closing),
    ];
    ConntrackCounters {
        worker,
        // As in the kernel, which counts it only where NAT looks for a free tuple.
        found: 0,
        invalid: stats.invalid,
        insert: stats.insert,
        insert_failed: stats.insert_failed,
        drop: stats.drop,
        early_drop: stats.early_drop,
        error: stats.error,
        search_restart: 0,
        expired: stats.expired,
        deleted: stats.delete,
        evicted: evicted
            .map(|(kind, flows)| EvictedCount { kind: kind.to_owned(), flows })
            .to_vec(),
        flows: report.flows,
        flows_max: report.flows_max,
        half_open: report.half_open,
        half_open_max: half_open_max.into(),
        bytes_per_flow: report.bytes.div_ceil(report.flows_max.max(1)),
        memory_bytes: report.bytes,
    }
}

fn reports(shared: &Shared) -> Result<Vec<(u32, Report)>, Failure> {
    let report = |(id, worker): (u32, &crate::worker::Worker)| {
        let report = worker.errand(Task::Report, ORDER_PATIENCE, |errand| *errand.report());
        report.map(|report| (id, report)).map_err(|error| late(&error))
    };
    (0..).zip(&shared.workers).map(report).collect()
}

/// Flows of one worker from a cursor on, and where to go on.
fn page(
    shared: &Shared,
    filter: &FlowFilter,
    cursor: Option<ConntrackCursor>,
    task: impl Fn(u32) -> Task,
) -> Result<(Vec<FlowEntry>, Option<ConntrackCursor>), Failure> {
    check(filter)?;
    let ConntrackCursor { worker: id, slot } =
        cursor.unwrap_or(ConntrackCursor { worker: 0, slot: 0 });
    let worker = shared.workers.get(id as usize).ok_or_else(|| Failure::Malformed {
        reason: format!("there is no worker {id} whose flows could come next"),
    })?;
    let mut flows = Vec::new();
    let mut from = slot;
    for _ in 0..PAGE_ERRANDS_MAX {
        if flows.len() + ERRAND_PLACES as usize > CONNTRACK_PAGE_MAX {
            break;
        }
        let next = worker.errand(task(from), ORDER_PATIENCE, |errand| {
            flows.extend_from_slice(errand.flows());
            errand.next()
        });
        match next.map_err(|error| late(&error))? {
            Some(next) => from = next,
            None => {
                let next = (id as usize + 1 < shared.workers.len())
                    .then_some(ConntrackCursor { worker: id + 1, slot: 0 });
                return Ok((flows, next));
            }
        }
    }
    Ok((flows, Some(ConntrackCursor { worker: id, slot: from })))
}

fn check(filter: &FlowFilter) -> Result<(), Failure> {
    filter.validate().map_err(|error| Failure::Other { reason: error.to_string() })?;
    if filter.wants_ipv6() {
        let reason =
            "IPv6 is not forwarded yet, so no IPv6 flow is tracked: filter by IPv4 addresses";
        return Err(Failure::Other { reason: reason.to_owned() });
    }
    Ok(())
}

fn late(error: &OrderError) -> Failure {
    Failure::Other { reason: format!("{error}: see `weirctl status`") }
}
