//! The clients: people who come when they come, ask, wait for the answer and go.
//!
//! ```text
//!   arrivals ──► an address, a port ──► SYN … request … answer … FIN ──► counted in exactly one way
//!                     │
//!                     └─ none free: not begun, and the run is void
//! ```

use super::address::Address;
use super::arrivals::Arrivals;
use super::ends::Ends;
use super::frame::{self, Link};
use super::index::Pair;
use super::number::Numbers;
use super::ports::Ports;
use super::settings::{Closer, Settings};
use super::stack::{self, Stack, Visit};
use super::tcp::{Connection, End, Outcome, Start, State};
use super::{Actor, ERRANDS_MAX, Progress};
use crate::measure::Histogram;
use crate::result::{SharedResult, UsersResult};
use weir_dataplane::wire::vlan::TAG_BYTES;

/// A connection in TIME-WAIT is old enough for its port to be used again, where that is allowed, after this
/// (`tcp_tw_reuse`: a second, so that the timestamp is later).
const REUSE_NS: u64 = 1_000_000_000;

/// What a client keeps of a connection besides TCP.
#[derive(Debug)]
struct Call {
    /// When it was due to begin.
    due_ns: u64,
    /// When its user gives up; when it ended, from then on.
    until_ns: u64,
    heard: u32,
    connected: bool,
    whole: bool,
    ended: bool,
    shared: bool,
    /// Counted as one that only waits.
    waiting: bool,
}

impl Visit for Call {
    fn due_ns(&self) -> Option<u64> {
        (!self.ended).then_some(self.until_ns)
    }
}

/// Bytes of a connection at this end, all tables together.
pub const CLIENT_CONNECTION_BYTES: usize = stack::connection_bytes::<Call>();

/// See the module.
#[derive(Debug)]
pub struct Clients {
    stack: Stack<Call>,
    settings: Settings,
    arrivals: Arrivals,
    ports: Ports,
    numbers: Numbers,
    dice: fastrand::Rng,
    ends: Ends,
    shared: Ends,
    open: u64,
    open_max: u64,
    waiting: u64,
    goodput_bytes: u64,
    connect: Histogram,
    first_byte: Histogram,
    last_byte: Histogram,
}

impl Clients {
    /// Clients that have not begun; their memory is allocated here.
    #[must_use]
    pub fn new(settings: &Settings, link: Link, seed: u64) -> Self {
        let connections = settings.connections_max;
        let addresses = settings.clients.count() + 1;
        let (first, last) = settings.client_ports;
        Self {
            stack: Stack::new(
                settings.tcp.clone(),
                link,
                settings.request.clone(),
                connections,
                seed,
            ),
            arrivals: Arrivals::new(settings.spacing, settings.rate, seed ^ 0xa1)
                .at_most(settings.attempts_max),
            ports: Ports::new(first, last, addresses, seed),
            numbers: Numbers::new(seed ^ 0xc1),
            dice: fastrand::Rng::with_seed(seed ^ 0xad),
            ends: Ends::default(),
            shared: Ends::default(),
            open: 0,
            open_max: 0,
            waiting: 0,
            goodput_bytes: 0,
            connect: Histogram::new(),
            first_byte: Histogram::new(),
            last_byte: Histogram::new(),
            settings: settings.clone(),
        }
    }

    /// How the connections ended so far.
    #[must_use]
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Connections that are remembered, those in TIME-WAIT included.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.stack.len()
    }

    /// One connection that is due.
    fn arrive(&mut self, now_ns: u64, due_ns: u64) {
        let shared = self.settings.shared.filter(|shared| self.dice.f64() < shared.share);
        let range = self.settings.clients;
        let (local, number) = match shared {
            Some(shared) => (shared.address, range.count()),
            None => {
                let index = self.dice.u32(0..range.count());
                (range.address(index), index)
            }
        };
        let servers = &self.settings.servers;
        let remote = servers.address(self.dice.u32(0..servers.count()));
        match self.begin_call(now_ns, due_ns, local, number, remote) {
            Some(()) => {
                for ends in self.counted(shared.is_some()) {
                    ends.attempted += 1;
                }
                self.open += 1;
                self.open_max = self.open_max.max(self.open);
            }
            None => self.counted(shared.is_some()).for_each(|ends| ends.not_begun += 1),
        }
    }

    /// The counts that a connection belongs to.
    fn counted(&mut self, shared: bool) -> impl Iterator<Item = &mut Ends> {
        [Some(&mut self.ends), shared.then_some(&mut self.shared)].into_iter().flatten()
    }

    fn begin_call(
        &mut self,
        now_ns: u64,
        due_ns: u64,
        local: Address,
        number: u32,
        remote: Address,
    ) -> Option<()> {
        let remote_port = self.settings.server_port;
        let (stack, reuse) = (&self.stack, self.settings.reuse_time_wait);
        let mut replaced = None;
        let local_port = self.ports.take(number, |local_port| {
            let Some(at) = stack.find(&Pair { local, remote, local_port, remote_port }) else {
                return true;
            };
            let over = stack.entry(at).filter(|entry| {
                let old = now_ns.saturating_sub(entry.visit.until_ns) >= REUSE_NS;
                reuse && entry.connection.is_time_wait() && old
            });
            replaced = over.map(|_| at);
            over.is_some()
        })?;
        if let Some(at) = replaced {
            self.forget(at);
        }
        let pair = Pair { local, remote, local_port, remote_port };
        let start = Start {
            sequence: self.numbers.first(now_ns, &pair),
            clock_offset: self.numbers.clock_offset(&pair),
        };
        let call = Call {
            due_ns,
            until_ns: due_ns.saturating_add(self.settings.patience_ns),
            heard: 0,
            connected: false,
            whole: false,
            ended: false,
            waiting: false,
            shared: number == self.settings.clients.count(),
        };
        let at = self.stack.insert(pair, Connection::open(start), call)?;
        self.stack.settle(at);
        Some(())
    }

    /// What a segment, or time, has done to a connection.
    fn follow(&mut self, now_ns: u64, at: u32, outcome: Outcome) {
        let Some(entry) = self.stack.entry_mut(at) else { return };
        let (connection, call) = (&mut entry.connection, &mut entry.visit);
        let since_ns = now_ns.saturating_sub(call.due_ns);
        if outcome.connected {
            call.connected = true;
            self.connect.record(since_ns);
            connection.say(self.settings.request.bytes());
        }
        if outcome.bytes > 0 {
            if call.heard == 0 {
                self.first_byte.record(since_ns);
            }
            call.heard += outcome.bytes;
            self.goodput_bytes += u64::from(outcome.bytes);
        }
        if !call.whole && self.settings.is_whole(call.heard, connection.peer_has_closed()) {
            call.whole = true;
            self.last_byte.record(since_ns);
        }
        let may_close = call.whole && self.settings.closes_first == Closer::Client;
        if call.connected && (may_close || connection.peer_has_closed()) {
            connection.finish();
        }
        if outcome.connected {
            let shared = call.shared;
            self.counted(shared).for_each(|ends| ends.connected += 1);
        }
        if let Some(end) = outcome.end {
            self.end(now_ns, at, end);
        }
        self.stack.settle(at);
        if self.stack.entry(at).is_some_and(|entry| entry.connection.state() == State::Closed) {
            self.forget(at);
        }
    }

    /// Counts how a connection ended, once.
    fn end(&mut self, now_ns: u64, at: u32, end: End) {
        let Some(entry) = self.stack.entry_mut(at) else { return };
        let call = &mut entry.visit;
        if std::mem::replace(&mut call.ended, true) {
            return;
        }
        // From now on it says since when the connection is over.
        call.until_ns = now_ns;
        let (connected, whole, shared) = (call.connected, call.whole, call.shared);
        let is_time_wait = entry.connection.is_time_wait();
        call.waiting = is_time_wait;
        self.open -= 1;
        for ends in self.counted(shared) {
            let count = match end {
                End::Closed if whole => &mut ends.completed,
                End::Reset => &mut ends.reset,
                End::TimedOut if !connected => &mut ends.failed_connect,
                End::Closed | End::TimedOut => &mut ends.failed_transfer,
            };
            *count += 1;
        }
        if is_time_wait {
            self.waiting += 1;
            if self.waiting > u64::from(self.settings.time_wait_max) {
                self.forget(at);
            }
        }
    }

    fn forget(&mut self, at: u32) {
        let waited = self.stack.entry(at).is_some_and(|entry| entry.visit.waiting);
        self.waiting -= u64::from(waited);
        self.stack.remove(at);
    }

    /// What has become due for one connection.
    fn timer(&mut self, now_ns: u64, at: u32) {
        let Some(entry) = self.stack.entry_mut(at) else { return };
        if !entry.visit.ended && now_ns >= entry.visit.until_ns {
            self.end(now_ns, at, End::TimedOut);
            self.stack.abort(at);
            return;
        }
        let end = entry.connection.timer(&self.settings.tcp, now_ns);
        self.follow(now_ns, at, Outcome { end, ..Outcome::default() });
    }
}

impl Actor for Clients {
    fn begin(&mut self, now_ns: u64) {
        self.arrivals.begin(now_ns);
    }

    fn owns(&self, frame: &[u8]) -> bool {
        frame::peek(frame).is_some_and(|pair| {
            let settings = &self.settings;
            let is_ours = settings.clients.index(pair.local).is_some()
                || settings.shared.is_some_and(|shared| shared.address == pair.local);
            is_ours
                && pair.remote_port == settings.server_port
                && settings.servers.index(pair.remote).is_some()
        })
    }

    fn receive(&mut self, now_ns: u64, frame: &[u8]) {
        let Some((pair, segment, data)) = self.stack.read(frame) else { return };
        let Some(at) = self.stack.find(&pair) else {
            self.stack.refuse(pair, &segment);
            return;
        };
        let Some(entry) = self.stack.entry_mut(at) else { return };
        let connection = &entry.connection;
        let checked =
            self.settings.is_checked() && connection.is_synchronized() && !data.is_empty();
        if checked && !self.settings.response.is_at(connection.place(&segment), data) {
            self.stack.counts.damaged += 1;
            return;
        }
        let outcome = entry.connection.receive(&self.settings.tcp, now_ns, &segment);
        if outcome.refused {
            self.stack.refuse(pair, &segment);
        }
        self.follow(now_ns, at, outcome);
    }

    fn due_ns(&self) -> Option<u64> {
        stack::earlier(self.stack.due_ns(), self.arrivals.due_ns())
    }

    fn send(&mut self, now_ns: u64, out: &mut [u8]) -> Option<usize> {
        for _ in 0..ERRANDS_MAX {
            let arrival = self.arrivals.take(now_ns);
            if let Some(due_ns) = arrival {
                self.arrive(now_ns, due_ns);
            }
            let timer = self.stack.due(now_ns);
            if let Some(at) = timer {
                self.timer(now_ns, at);
            }
            let written = self.stack.write(now_ns, out);
            if written.is_some() || arrival.is_none() && timer.is_none() {
                return written;
            }
        }
        None
    }

    fn frame_bytes_max(&self) -> usize {
        self.settings.frame_bytes_max() + TAG_BYTES
    }

    fn wind_down(&mut self, _now_ns: u64) {
        self.arrivals.stop();
    }

    fn is_idle(&self) -> bool {
        self.open == 0
    }

    fn progress(&self) -> Progress {
        Progress {
            begun: self.ends.attempted,
            completed: self.ends.completed,
            failed: self.ends.failed(),
        }
    }

    fn tell(&self, result: &mut UsersResult) {
        let ends = self.ends;
        result.requested_cps = self.settings.rate;
        result.attempted = ends.attempted;
        result.not_begun = ends.not_begun;
        result.connected = ends.connected;
        result.completed = ends.completed;
        result.failed_connect = ends.failed_connect;
        result.failed_transfer = ends.failed_transfer;
        result.reset = ends.reset;
        result.unfinished = ends.unfinished();
        result.client_retransmissions = self.stack.counts.repeated;
        result.dropped_by_us += self.stack.counts.dropped();
        result.goodput_bytes = self.goodput_bytes;
        result.concurrent_max = self.open_max;
        result.connect = self.connect.result();
        result.first_byte = self.first_byte.result();
        result.last_byte = self.last_byte.result();
        result.damaged = self.stack.counts.damaged;
        result.shared = self.settings.shared.map(|_| SharedResult {
            attempted: self.shared.attempted,
            not_begun: self.shared.not_begun,
            completed: self.shared.completed,
            failed: self.shared.failed(),
        });
    }
}
