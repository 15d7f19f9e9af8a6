//! The thread that follows the kernel's tables and publishes what it finds.
//!
//! ```text
//!              notices                 MirrorState                  Published<Forwarding>
//!   kernel  ------------>  netlink.rs  ---------->  snapshot() ---------------------------> workers
//!           <------------              <---------- Resolver's queue <----------------------
//!            dumps, NTF_USE
//! ```
//!
//! A first change is published at once; what follows is gathered until [`PUBLISH_INTERVAL_MIN`] has passed, or four
//! times as long as the last snapshot took to build, so that a storm of changes costs at most a fifth of a core.
//!
//! Once a second the neighbours in use are kept alive. The kernel sees none of the forwarded packets: it would let an
//! entry go stale and, a minute later, forget it. So for each stale one that a worker marked as used it is told
//! `NTF_USE`, which makes it ask the neighbour again (STALE, DELAY, PROBE). If the neighbour has a new MAC address by
//! then, this is how it is found out. A used entry that vanishes all the same is asked for anew at once.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::event::{MirrorEvent, RouteError};
use super::forwarding::Forwarding;
use super::link::PORTS_MAX;
use super::netlink::{Netlink, Received};
use super::resolve::{Outstanding, ResolveRequest, Resolver};
use super::stale::{Part, Stale};
use super::state::MirrorState;
use crate::publish::{Published, Retired};

/// Between two publications passes at least this time.
const PUBLISH_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// How often neighbours are kept alive.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Neighbours kept alive at one time; the others are at the next.
const KEEP_ALIVE_MAX: usize = 4096;

/// Notices taken in before requests and publications have their turn.
const NOTICES_PER_TURN_MAX: usize = 1024;

/// How often stale parts are read before what has been read is published, though more has changed meanwhile.
const CATCH_UP_ROUNDS_MAX: usize = 4;

/// After a failure to read the tables, the time until the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Events that may wait for the supervisor.
const EVENTS_MAX: usize = 1024;

/// Replaced snapshots kept for slow readers. A reader that sleeps through more frees what it held by itself.
const RETIRED_MAX: usize = 64;

/// What the mirror is to follow.
#[derive(Debug, Clone)]
pub struct MirrorConfig {
    /// Interface names of the ports, 1 to [`PORTS_MAX`]. They need not exist yet.
    pub port_names: Vec<String>,
    /// The device by which packets of the machine itself come and go, where they pass through Weir: one more port,
    /// after the others.
    pub host: Option<String>,
    /// Whether IPv6 is forwarded, and so followed.
    pub ipv6: bool,
    /// Bytes of notices that may queue up before some are lost and everything has to be read again. The kernel counts
    /// its overhead in, about 1 KiB a notice; it doubles the number.
    pub notices_bytes: usize,
}

impl MirrorConfig {
    /// Ports with these names, none for the machine itself, no IPv6, and 8 MiB for notices.
    pub fn new(port_names: Vec<String>) -> Self {
        Self { port_names, host: None, ipv6: false, notices_bytes: 8 << 20 }
    }
}

/// What the mirror has done since its start.
#[derive(Debug, Default)]
pub struct MirrorStats {
    /// Snapshots published after the first.
    pub publications: AtomicU64,
    /// Times that everything was read again because notices were lost.
    pub resynchronisations: AtomicU64,
    /// Requests to the kernel to resolve or confirm a neighbour.
    pub neighbours_asked: AtomicU64,
    /// Requests that the kernel refused, for instance because its neighbour table is full.
    pub neighbours_refused: AtomicU64,
    /// Events that found the supervisor's channel full and are lost; the snapshot tells the state they led to.
    pub events_lost: AtomicU64,
}

/// The running mirror. Ends its thread when dropped.
#[derive(Debug)]
pub struct Mirror {
    forwarding: Arc<Published<Forwarding>>,
    resolver: Resolver,
    stats: Arc<MirrorStats>,
    events: Receiver<MirrorEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Mirror {
    /// Reads the tables of the calling thread's network namespace and starts to follow them. When it returns, the
    /// first snapshot is complete.
    ///
    /// # Errors
    /// [`RouteError`] when the configuration makes no sense, or the kernel refuses the sockets or the tables.
    pub fn start(config: &MirrorConfig) -> Result<Self, RouteError> {
        check(config.port_names.iter().chain(&config.host).cloned().collect())?;
        let socket = |action| move |source| RouteError::Socket { action, source };
        let netlink = Netlink::open(config.notices_bytes, config.ipv6)
            .map_err(socket("open netlink sockets"))?;
        let resolver = Resolver::new().map_err(socket("make an eventfd"))?;
        // Hosts on the ports' networks choose addresses: they must not know how these are hashed.
        let seed = RandomState::new().hash_one(0_u8);
        let state = MirrorState::new(&config.port_names, config.host.as_ref(), config.ipv6, seed);
        let (sender, events) = sync_channel(EVENTS_MAX);
        let stats = Arc::new(MirrorStats::default());
        let mut follower = Follower {
            netlink,
            state,
            stale: Stale::all(),
            whole: false,
            outstanding: Outstanding::default(),
            resolver: resolver.clone(),
            stats: Arc::clone(&stats),
            events: sender,
            retired: Retired::default(),
            failing: None,
        };
        follower.read_stale().map_err(|(what, source)| RouteError::Dump { what, source })?;
        let forwarding = Arc::new(Published::new(follower.state.snapshot()));
        follower.send_events();
        let published = Arc::clone(&forwarding);
        let thread = std::thread::Builder::new()
            .name("weir-mirror".into())
            .spawn(move || follower.run(&published))
            .map_err(|source| RouteError::Thread { source })?;
        Ok(Self { forwarding, resolver, stats, events, thread: Some(thread) })
    }

    /// Where snapshots are published; workers take a reader of it.
    pub fn forwarding(&self) -> &Arc<Published<Forwarding>> {
        &self.forwarding
    }

    /// A worker's way to ask for neighbours.
    pub fn resolver(&self) -> Resolver {
        self.resolver.clone()
    }

    /// Events for the supervisor, in order. At most 1,024 wait; further ones are lost and counted.
    pub fn events(&self) -> &Receiver<MirrorEvent> {
        &self.events
    }

    /// Counters.
    pub fn stats(&self) -> &MirrorStats {
        &self.stats
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.resolver.stop();
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed there; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn check(mut names: Vec<String>) -> Result<(), RouteError> {
    let count = names.len();
    if count == 0 || count > PORTS_MAX {
        return Err(RouteError::PortCount { count });
    }
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(RouteError::PortTwice { name: pair[0].clone() }),
        None => Ok(()),
    }
}

/// What the thread owns.
struct Follower {
    netlink: Netlink,
    state: MirrorState,
    stale: Stale,
    /// No part is half read. While one is, the last snapshot stays.
    whole: bool,
    outstanding: Outstanding,
    resolver: Resolver,
    stats: Arc<MirrorStats>,
    events: SyncSender<MirrorEvent>,
    retired: Retired<Forwarding>,
    /// When the last attempt to read the tables failed, and what was said about it.
    failing: Option<(Instant, String)>,
}

impl Follower {
    fn run(mut self, published: &Published<Forwarding>) {
        let start = Instant::now();
        let mut publish_after = start;
        let mut keep_alive_at = start + KEEP_ALIVE_INTERVAL;
        while !self.resolver.is_stopped() {
            let mut wake_at = keep_alive_at;
            if self.state.is_dirty() && self.whole {
                wake_at = wake_at.min(publish_after);
            }
            if let Some((failed, _)) = self.failing
                && !self.stale.is_empty()
            {
                wake_at = wake_at.min(failed + RETRY_INTERVAL);
            }
            let timeout = wake_at.saturating_duration_since(Instant::now());
            if let Err(error) = self.netlink.wait(self.resolver.bell(), Some(timeout)) {
                self.fail("notices", &error);
            }
            let now_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // Requests first: a packet waits for each.
            self.resolve(now_ns);
            self.catch_up();
            let now = Instant::now();
            if now >= keep_alive_at {
                keep_alive_at = now + KEEP_ALIVE_INTERVAL;
                self.keep_alive();
            }
            if self.state.is_dirty() && self.whole && now >= publish_after {
                self.publish(published);
                let end = Instant::now();
                publish_after = end + PUBLISH_INTERVAL_MIN.max((end - now) * 4);
            }
            self.send_events();
        }
    }

    /// Takes in what has happened: notices, then the parts that they make stale, and so on until all is quiet. A part
    /// is read while the kernel goes on changing it; only with the notices of these changes is it what the kernel had
    /// at one time.
    fn catch_up(&mut self) {
        let failed_just_now =
            self.failing.as_ref().is_some_and(|(at, _)| at.elapsed() < RETRY_INTERVAL);
        for _ in 0..CATCH_UP_ROUNDS_MAX {
            self.take_notices();
            if self.stale.is_empty() || failed_just_now {
                return;
            }
            match self.read_stale() {
                Ok(()) => self.failing = None,
                Err((what, error)) => {
                    self.fail(what, &error);
                    return;
                }
            }
        }
        // Changes without end. What has been read is as good as it gets; the rest has its turn after a publication.
        self.take_notices();
    }

    /// Reads the stale parts again, until none is left. On an error the rest stays stale.
    fn read_stale(&mut self) -> Result<(), (&'static str, io::Error)> {
        // Reading links can make routes stale, never the other way round: one pass in order does.
        for part in Part::ALL {
            if !self.stale.contains(part) {
                continue;
            }
            if part == Part::Routes6 && !self.state.follows_ipv6() {
                self.stale.remove(part);
                continue;
            }
            self.whole = false;
            let stale = &mut self.stale;
            let take = |state: &mut MirrorState, change| *stale |= state.apply(change);
            self.netlink
                .dump(part, &mut self.state, |state| state.begin(part), take)
                .map_err(|error| (part.name(), error))?;
            self.stale.remove(part);
            self.stale |= self.state.finish(part);
        }
        if let Some(probe) = self.state.split_probe() {
            let table = self.netlink.table_of(probe).map_err(|error| ("rules", error))?;
            if let Some(table) = table {
                self.state.probed(table);
            }
        }
        self.whole = true;
        Ok(())
    }

    fn take_notices(&mut self) {
        for _ in 0..NOTICES_PER_TURN_MAX {
            let (state, stale) = (&mut self.state, &mut self.stale);
            match self.netlink.notices(|change| *stale |= state.apply(change)) {
                Ok(Received::Messages) => {}
                Ok(Received::Nothing) => break,
                Ok(Received::Lost) => {
                    self.stale = Stale::all();
                    self.stats.resynchronisations.fetch_add(1, Ordering::Relaxed);
                    self.state.report(MirrorEvent::Resynchronised);
                }
                Err(error) => {
                    self.stale = Stale::all();
                    self.fail("notices", &error);
                    break;
                }
            }
        }
    }

    /// Passes on to the kernel what workers asked for, and what vanished while in use.
    fn resolve(&mut self, now_ns: u64) {
        self.resolver.hear();
        let lost = self.state.take_lost();
        let mut wanted = Vec::new();
        let mut want = |state: &mut MirrorState, ResolveRequest { port, address }| {
            if let Some(ifindex) = state.wants(port, address) {
                state.asked(port, address);
                wanted.push((ifindex, address));
            }
        };
        for (port, address) in self.state.take_answered() {
            self.outstanding.answered(ResolveRequest { port, address });
        }
        for (port, address) in lost {
            want(&mut self.state, ResolveRequest { port, address });
        }
        while let Some(request) = self.resolver.next() {
            if self.state.wants(request.port, request.address).is_some()
                && self.outstanding.admit(request, now_ns)
            {
                want(&mut self.state, request);
            }
        }
        self.ask(&wanted);
    }

    fn keep_alive(&mut self) {
        let used = self.state.keep_alive(KEEP_ALIVE_MAX);
        self.ask(&used);
        self.stale |= self.state.refused_may_fit();
        self.retired.collect();
    }

    fn ask(&mut self, neighbours: &[(u32, std::net::IpAddr)]) {
        let refused = self.netlink.drain_answers();
        self.stats.neighbours_refused.fetch_add(refused, Ordering::Relaxed);
        if neighbours.is_empty() {
            return;
        }
        self.stats.neighbours_asked.fetch_add(neighbours.len() as u64, Ordering::Relaxed);
        if let Err(error) = self.netlink.use_neighbours(neighbours) {
            self.fail("neighbours", &error);
        }
    }

    fn publish(&mut self, published: &Published<Forwarding>) {
        let (_, old) = published.publish(self.state.snapshot());
        self.retired.push(old);
        if self.retired.collect() > RETIRED_MAX {
            self.retired = Retired::default();
        }
        self.stats.publications.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes a failure; reports it when it is not the one reported last.
    fn fail(&mut self, what: &str, error: &io::Error) {
        let why = format!("cannot read the kernel's {what}: {error}");
        if self.failing.as_ref().is_none_or(|(_, last)| *last != why) {
            self.state.report(MirrorEvent::Failing { why: why.clone() });
        }
        self.failing = Some((Instant::now(), why));
    }

    fn send_events(&mut self) {
        for event in self.state.take_events() {
            if self.events.try_send(event).is_err() {
                self.stats.events_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
