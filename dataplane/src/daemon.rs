//! The daemon: sets everything up, follows what happens to the interfaces, and ends in order.
//!
//! ```text
//!   main thread       supervises: interfaces that go and come, the machine's addresses, signals
//!   weir-worker-N     one pinned poll loop each
//!   weir-mirror       follows the kernel's routes and neighbours
//!   weir-server       the control socket; one thread a client
//! ```
//!
//! Order of the start: what can fail without touching anything comes first (configuration, control
//! socket, tables of the kernel), then the sockets and programs on all ports, then the workers, then
//! "ready". Order of the end: programs first, so that from one packet to the next `on_exit` holds.

use std::io;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::RandomState;

use crate::config::Config;
use crate::control::Rules;
use crate::engine::{Engine, EngineConfig};
use crate::frame::{FramePool, Memory};
use crate::handover::{FlowHash, INBOX_PACKETS_MAX, Inboxes};
use crate::port::PortIndex;
use crate::port::xdp::{Bank, HostAddresses, OpenError, OpenPort, XdpQueue};
use crate::report;
use crate::route::{Forwarding, Mirror, MirrorConfig, MirrorEvent, RouteError};
use crate::server::{Server, ServerError};
use crate::worker::{Order, OrderError, State, Worker, WorkerConfig};

/// How often the supervisor looks at what nobody tells it: closed ports, IPv6 addresses.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a signal may wait to be noticed.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(50);

/// How long a worker may take over an order.
const ORDER_PATIENCE: Duration = Duration::from_secs(2);

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The kernel's tables cannot be followed.
    #[error("cannot follow the kernel's routes: {0}")]
    Route(#[from] RouteError),
    /// A port cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A thread or descriptor is not to be had.
    #[error("the system gives no {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A worker's thread has panicked; what it printed says where.
    #[error(
        "worker {0} has died: stopping, for its share of the traffic is lost; please report it"
    )]
    WorkerDied(usize),
    /// The thread that follows the kernel's routes has panicked.
    #[error("the mirror of the kernel's routes has died: stopping; please report it")]
    MirrorDied,
    /// A worker did not take its ports.
    #[error("while starting: {0}")]
    Order(#[from] OrderError),
}

/// A port as the supervisor sees it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: PortIndex,
    pub(crate) interface: String,
    pub(crate) state: SlotState,
}

/// Whether a port works.
#[derive(Debug)]
pub(crate) enum SlotState {
    /// Packets flow.
    Open(Box<OpenPort>),
    /// They do not; why.
    Closed(String),
}

/// What all control threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) slots: Mutex<Vec<Slot>>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) forwarding: Arc<crate::publish::Published<Forwarding>>,
    pub(crate) frames: usize,
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn warnings(&self) -> MutexGuard<'_, Vec<String>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running daemon.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    bank: Bank,
    memory: Arc<Memory>,
    rung: af_xdp::Rung,
    mirror: Mirror,
    server: Server,
    host: HostAddresses,
    /// What [`Daemon::look_at_links`] has warned of.
    troubles: Vec<String>,
}

impl Daemon {
    /// Starts everything; packets flow when it returns.
    ///
    /// # Errors
    /// [`DaemonError`]; nothing is left behind then.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        let server = Server::bind(&config.control)?;
        let mirror = Mirror::start(&MirrorConfig::new(config.interfaces.clone()))?;
        let host = host_addresses(&mirror.forwarding().current());
        let bank = Bank {
            area: config.area,
            mode: config.mode,
            sockets: config.sockets,
            on_exit: config.on_exit,
            workers: config.cores.len(),
            ports: config.interfaces.len(),
        };
        let opened = bank.open(&config.interfaces, &host)?;
        for (rung, why) in &opened.refused {
            tracing::info!("{rung} is not possible here: {why}");
        }
        let frames = opened.frames.len();
        let rules = Rules::new(config.cores.len(), config.interfaces.clone());
        let workers = start_workers(&config, &rules, &mirror, opened.frames)?;
        let mut slots = Vec::new();
        for (port, sockets) in opened.ports {
            hand_out(&workers, &port, sockets)?;
            tracing::info!(
                "{} (interface {}): {} queue(s), {}",
                port.interface(),
                port.ifindex(),
                port.queues(),
                port.rung()
            );
            let (index, interface) = (port.index(), port.interface().to_owned());
            slots.push(Slot { index, interface, state: SlotState::Open(Box::new(port)) });
        }
        let shared = Arc::new(Shared {
            config,
            started: Instant::now(),
            rules: Mutex::new(rules),
            slots: Mutex::new(slots),
            workers,
            forwarding: Arc::clone(mirror.forwarding()),
            frames,
            warnings: Mutex::default(),
        });
        let server = server.start(Arc::clone(&shared))?;
        let (memory, rung) = (opened.memory, opened.rung);
        let mut daemon =
            Self { shared, bank, memory, rung, mirror, server, host, troubles: Vec::new() };
        daemon.look_at_links();
        Ok(daemon)
    }

    /// Supervises until `stop` is set, then ends in order.
    ///
    /// # Errors
    /// [`DaemonError::WorkerDied`] and [`DaemonError::MirrorDied`]: it has ended, and not by request.
    pub fn run(mut self, stop: &AtomicBool) -> Result<(), DaemonError> {
        let mut looked = Instant::now();
        let mut outcome = Ok(());
        while !stop.load(Ordering::Relaxed) {
            match self.mirror.events().recv_timeout(SIGNAL_INTERVAL) {
                Ok(event) => self.react(&event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    outcome = Err(DaemonError::MirrorDied);
                    break;
                }
            }
            if looked.elapsed() >= LOOK_INTERVAL {
                looked = Instant::now();
                self.look();
            }
            if let Some(dead) = self.shared.workers.iter().find(|w| w.state() == State::Stopped) {
                outcome = Err(DaemonError::WorkerDied(dead.id()));
                break;
            }
        }
        self.end();
        outcome
    }

    fn react(&mut self, event: &MirrorEvent) {
        match event {
            MirrorEvent::PortVanished { port, .. } => {
                self.close_port(*port, "the interface is gone; Weir waits for its return");
            }
            MirrorEvent::PortAppeared { port, ifindex } => self.reappeared(*port, *ifindex),
            MirrorEvent::PortUp { .. } => self.reopen_closed(),
            MirrorEvent::LocalAddressesChanged => self.refresh_addresses(),
            // `look` tells.
            MirrorEvent::PortDown { .. } => {}
            MirrorEvent::MtuChanged { port, mtu } => {
                tracing::info!("{}: MTU {mtu}", self.name_of(*port));
            }
            MirrorEvent::RulesSupported => {
                self.shared.warnings().retain(|w| !w.starts_with("routing rules"))
            }
            MirrorEvent::RulesUnsupported { what } => self.warn(format!("routing rules: {what}")),
            MirrorEvent::RouteUnsupported { what } => self.warn(format!("route: {what}")),
            MirrorEvent::RoutesFull { routes_max } => {
                self.warn(format!(
                    "the kernel has more than {routes_max} routes; the rest is not used"
                ));
            }
            MirrorEvent::NeighboursFull { neighbours_max } => {
                self.warn(format!(
                    "the kernel has more than {neighbours_max} neighbours; the rest is not used"
                ));
            }
            MirrorEvent::Failing { why } => {
                tracing::warn!("the kernel's routes cannot be read: {why}")
            }
            other => tracing::debug!("{other:?}"),
        }
    }

    fn warn(&self, what: String) {
        tracing::warn!("{what}");
        /// Warnings kept for `weirctl status`; the log has them all.
        const WARNINGS_MAX: usize = 32;
        let mut warnings = self.shared.warnings();
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&what) {
            warnings.push(what);
        }
    }

    fn name_of(&self, port: PortIndex) -> String {
        self.shared.config.interfaces.get(port.as_usize()).cloned().unwrap_or_default()
    }

    /// What is not told by events: ports that could not be opened yet, IPv6 addresses.
    fn look(&mut self) {
        self.refresh_addresses();
        self.reopen_closed();
        self.look_at_links();
    }

    /// Warns of open ports that packets do not get through, or not all; takes back what is over.
    fn look_at_links(&mut self) {
        let forwarding = self.shared.forwarding.current();
        let mut troubles = Vec::new();
        for slot in self.shared.slots().iter() {
            let (SlotState::Open(open), Some(link)) = (&slot.state, forwarding.port(slot.index))
            else {
                continue;
            };
            troubles.extend(report::link_troubles(
                &slot.interface,
                open.rung(),
                link,
                &self.bank.area,
            ));
        }
        let mut warnings = self.shared.warnings();
        warnings.retain(|warning| !self.troubles.contains(warning) || troubles.contains(warning));
        drop(warnings);
        for trouble in &troubles {
            if !self.troubles.contains(trouble) {
                self.warn(trouble.clone());
            }
        }
        self.troubles = troubles;
    }

    fn refresh_addresses(&mut self) {
        let host = host_addresses(&self.shared.forwarding.current());
        if host == self.host {
            return;
        }
        for slot in self.shared.slots().iter_mut() {
            let SlotState::Open(port) = &mut slot.state else { continue };
            if let Err(error) = port.program_mut().set_local_addresses(&host.v4, &host.v6) {
                tracing::error!("{}: the machine's addresses: {error}", slot.interface);
            }
        }
        self.host = host;
    }

    /// An interface with a known number that "appears" is the one in use; with a new number it is another
    /// one of that name, and the sockets on the old one are dead.
    fn reappeared(&self, port: PortIndex, ifindex: u32) {
        let stale = self.shared.slots().iter().any(|slot| match &slot.state {
            SlotState::Open(open) => slot.index == port && open.ifindex() != ifindex,
            SlotState::Closed(_) => false,
        });
        if stale {
            self.close_port(port, "the interface was replaced by another of that name");
        }
        self.reopen_closed();
    }

    fn close_port(&self, port: PortIndex, why: &str) {
        let mut slots = self.shared.slots();
        let Some(slot) = slots.iter_mut().find(|slot| slot.index == port) else { return };
        let closed = SlotState::Closed(why.to_owned());
        let SlotState::Open(open) = std::mem::replace(&mut slot.state, closed) else { return };
        tracing::warn!("{}: closed: {why}", slot.interface);
        open.close();
        drop(slots);
        for worker in &self.shared.workers {
            if let Err(error) = worker.order(Order::Close(port), ORDER_PATIENCE) {
                tracing::error!("closing {}: {error}", self.name_of(port));
            }
        }
    }

    fn reopen_closed(&self) {
        let mut slots = self.shared.slots();
        for place in 0..slots.len() {
            if !matches!(slots[place].state, SlotState::Closed(_)) {
                continue;
            }
            let (index, interface) = (slots[place].index, slots[place].interface.clone());
            if af_xdp::nic::ifindex(&interface).is_err() {
                continue;
            }
            let share = slots.iter().find_map(|slot| match &slot.state {
                SlotState::Open(port) => port.any_socket(),
                SlotState::Closed(_) => None,
            });
            let area = self.memory.area();
            let opened =
                self.bank.open_port(area, share.as_ref(), self.rung, index, &interface, &self.host);
            drop(share);
            let opened = opened.map_err(|error| error.to_string()).and_then(|(port, sockets)| {
                hand_out(&self.shared.workers, &port, sockets)
                    .map_err(|error| error.to_string())?;
                Ok(port)
            });
            slots[place].state = match opened {
                Ok(port) => {
                    tracing::info!("{interface}: open again, {}", port.rung());
                    SlotState::Open(Box::new(port))
                }
                Err(why) => SlotState::Closed(why),
            };
        }
    }

    fn end(self) {
        tracing::info!("stopping");
        let Self { shared, server, mirror, .. } = self;
        server.stop();
        for slot in shared.slots().iter_mut() {
            let closed = SlotState::Closed("the daemon is stopping".to_owned());
            if let SlotState::Open(port) = std::mem::replace(&mut slot.state, closed) {
                port.close();
            }
        }
        for worker in &shared.workers {
            if let Err(error) = worker.order(Order::Stop, ORDER_PATIENCE) {
                tracing::error!("{error}");
            }
        }
        drop(mirror);
    }
}

fn start_workers(
    config: &Config,
    rules: &Rules,
    mirror: &Mirror,
    frames: Vec<crate::frame::Frame>,
) -> Result<Vec<Worker>, DaemonError> {
    let count = config.cores.len();
    let inboxes = Inboxes::new(count, INBOX_PACKETS_MAX)
        .map_err(|source| DaemonError::System { what: "eventfd", source })?;
    // Whoever knows the seed can choose flows that all meet on one worker: it is drawn anew at each start.
    let keys = RandomState::new();
    let flow_hash = FlowHash::new([0, 1, 2, 3].map(|word: u64| keys.hash_one(word)), count);
    let pools = FramePool::split(frames, count);
    let mut workers = Vec::with_capacity(count);
    for ((id, pool), core) in pools.into_iter().enumerate().zip(&config.cores) {
        let engine = Engine::new(EngineConfig {
            worker: id,
            flow_hash: flow_hash.clone(),
            inboxes: inboxes.clone(),
            forwarding: Arc::clone(mirror.forwarding()),
            policy: Arc::clone(rules.policy()),
            resolver: mirror.resolver(),
            pool,
        });
        let config = WorkerConfig { id, core: *core, idle: config.idle };
        let worker = Worker::start(config, engine)
            .map_err(|source| DaemonError::System { what: "thread", source })?;
        workers.push(worker);
    }
    Ok(workers)
}

/// Gives each queue to a worker: queue by queue, round and round, so that every worker has one.
fn hand_out(
    workers: &[Worker],
    port: &OpenPort,
    sockets: Vec<af_xdp::Socket>,
) -> Result<(), OrderError> {
    for (socket, worker) in sockets.into_iter().zip(workers.iter().cycle()) {
        let queue = XdpQueue::new(port.index(), socket, port.fill_frames());
        worker.order(Order::Open(Box::new(queue)), ORDER_PATIENCE)?;
    }
    Ok(())
}

fn host_addresses(forwarding: &Forwarding) -> HostAddresses {
    let v4 = [forwarding.local_addresses(), forwarding.broadcast_addresses()].concat();
    HostAddresses { v4, v6: ipv6_addresses() }
}

/// The machine's IPv6 addresses (`/proc/net/if_inet6`: 32 hexadecimal digits, then what does not matter
/// here). Weir forwards no IPv6 yet; it must only leave the machine's own alone.
fn ipv6_addresses() -> Vec<Ipv6Addr> {
    // Of the thread, not of the process: `/proc/net` follows the network namespace.
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let words = table.lines().filter_map(|line| line.split_whitespace().next());
    words.filter_map(|word| u128::from_str_radix(word, 16).ok()).map(Ipv6Addr::from).collect()
}
