//! The daemon: sets everything up, follows what happens to the interfaces, and ends in order.
//!
//! ```text
//!   main thread       supervises: interfaces that go and come, the machine's addresses, signals
//!   weir-worker-N     one pinned poll loop each
//!   weir-mirror       follows the kernel's routes and neighbours
//!   weir-log          writes what rules say about packets
//!   weir-server       the control socket; one thread a client
//! ```
//!
//! Order of the start: what can fail without touching anything comes first (configuration, control
//! socket, tables of the kernel), then the sockets and programs on all ports, then the workers, then
//! "ready". Order of the end: programs first, so that no packet is on its way to a socket that is closing;
//! then the workers, and last their flows go into a file (`flows.rs`).

mod conntrack;
mod early_drop;
mod flows;
mod host;
mod ipv6;
mod limits;
mod log;
mod push_down;
mod recent;
mod report;
mod rules;
mod server;
mod sets;
mod shared;
mod supervise;

pub use early_drop::trouble as address_list_trouble;
pub use log::LogFileError;
pub use rules::Rules;
pub use server::ServerError;
pub use sets::load_sets;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ahash::RandomState;
use conntrack::Events;
use host::HostTraffic;
use log::Log;
use server::Server;
use shared::{Shared, Slot, SlotState};
use supervise::{hand_out, host_addresses};

use crate::config::{Config, ConntrackSettings, HostMode};
use crate::conntrack::{Conntrack, ConntrackConfig};
use crate::engine::{Engine, EngineConfig};
use crate::frame::{FramePool, Memory};
use crate::handover::{FlowHash, INBOX_PACKETS_MAX, Inboxes};
use crate::host::{HOST_DEVICE, HostError, HostNetwork};
use crate::packet_log::PacketLog;
use crate::policy::{FlowCache, LimitSettings};
use crate::port::xdp::{Bank, HostAddresses, OpenError, OpenPort};
use crate::program::{ProgramConfig, ProgramError};
use crate::route::{Mirror, MirrorConfig, RouteError};
use crate::synproxy::CookieKey;
use crate::worker::{OrderError, State, Worker, WorkerConfig};

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
    /// The file for lines about packets cannot be opened.
    #[error(transparent)]
    LogFile(#[from] LogFileError),
    /// There is no memory for the tables that the configuration asks for.
    #[error("not enough memory: {0}")]
    Memory(String),
    /// The flows could not be kept where the configuration says.
    #[error("{0}")]
    Snapshot(String),
    /// The sets that the configuration names cannot be loaded.
    #[error("{0}")]
    Sets(String),
    /// The blocklist or the allowlist cannot be loaded.
    #[error("{0}")]
    AddressList(String),
    /// The maps of early drop cannot be made.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The machine's own traffic cannot be led through Weir.
    #[error(transparent)]
    Host(#[from] HostError),
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

/// The running daemon.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    bank: Bank,
    memory: Arc<Memory>,
    rung: af_xdp::Rung,
    mirror: Mirror,
    server: Server,
    /// Ends after the workers.
    log: Log,
    host: HostAddresses,
    /// Where the machine's own traffic passes through Weir.
    network: Option<HostNetwork>,
    /// What [`Daemon::tell_of_host`] has warned of.
    host_trouble: Option<String>,
    /// What [`Daemon::look_at_links`] has warned of.
    troubles: Vec<String>,
}

impl Daemon {
    /// Starts everything; packets flow when it returns.
    ///
    /// # Errors
    /// [`DaemonError`]; nothing is left behind then.
    pub fn start(config: Config) -> Result<Self, DaemonError> {
        if let Some(trouble) = config.memory_trouble() {
            return Err(DaemonError::Memory(trouble));
        }
        if let Some(trouble) = config.snapshot_trouble() {
            return Err(DaemonError::Snapshot(trouble));
        }
        let sets = config.sets.as_deref().map(load_sets).transpose().map_err(DaemonError::Sets)?;
        let lists = early_drop::load(&config.early_drop).map_err(DaemonError::AddressList)?;
        let server = Server::bind(&config.control)?;
        let (log, logs) =
            Log::start(config.log.file.as_deref(), config.port_names(), config.cores.len())?;
        let mut host_traffic = HostTraffic::prepare(&config)?;
        let mut ports = MirrorConfig::new(config.interfaces.clone());
        ports.ipv6 = config.ipv6;
        ports.host = host_traffic.is_some().then(|| HOST_DEVICE.to_owned());
        let mirror = Mirror::start(&ports)?;
        let host = {
            let device = host_traffic.as_ref().map_or(0, HostTraffic::ifindex);
            host_addresses(&mirror.forwarding().current(), device)
        };
        let early_drop = lists.begin(&config.early_drop, &host, &mirror.forwarding().current())?;
        let bank = Bank {
            area: config.area,
            mode: config.mode,
            sockets: config.sockets,
            program: ProgramConfig {
                on_exit: config.on_exit,
                host_firewalled: host_traffic.is_some(),
                discovery_redirected: false,
            },
            early: Some(Arc::clone(early_drop.maps())),
            workers: config.cores.len(),
            ports: config.interfaces.len(),
        };
        let early_drop = Arc::new(Mutex::new(early_drop));
        let rules = match config.host {
            HostMode::Kernel => Rules::new,
            HostMode::Firewalled => Rules::with_host_chains,
        };
        let mut rules = rules(config.cores.len(), config.port_names(), config.policy)
            .forwarding_ipv6(config.ipv6)
            .counting_flows(config.conntrack.acct)
            .proxying(config.conntrack.synproxy)
            .limiting(limits(&config));
        if config.early_drop.limiter {
            rules = rules.pushing_down(Arc::clone(&early_drop));
        }
        if let Some(sets) = sets {
            let loaded = rules.change_sets(&sets);
            loaded.map_err(|failure| DaemonError::Sets(failure.to_string()))?;
        }
        // Before anything stands still: with many flows this takes a while.
        let (flow_hash, tables, restored) = begin_flows(&config);
        let opened = bank.open(&config.interfaces, &host)?;
        for (rung, why) in &opened.refused {
            tracing::info!("{rung} is not possible here: {why}");
        }
        let frames = opened.frames.len();
        let (mut ports, sockets): (Vec<_>, Vec<_>) = opened.ports.into_iter().unzip();
        let events = Events::new(config.cores.len());
        let workers = start_workers(
            &config,
            &rules,
            &mirror,
            (&events, logs),
            opened.frames,
            (flow_hash, tables),
        )
        .and_then(|workers| {
            for (port, sockets) in ports.iter().zip(sockets) {
                hand_out(&workers, port, sockets, &bank, &opened.memory)?;
            }
            // Last: what comes from there can leave by all others.
            if let Some(traffic) = &mut host_traffic {
                traffic.begin(&workers, &mirror.forwarding().current())?;
            }
            Ok(workers)
        })
        .inspect_err(|_| ports.drain(..).for_each(OpenPort::abandon))?;
        let mut slots = Vec::new();
        for port in ports {
            tracing::info!(
                "{} (interface {}): {} queue(s), {}",
                port.interface(),
                port.ifindex(),
                port.queues(),
                port.rung()
            );
            let (index, interface) = (port.index(), port.interface().to_owned());
            let state = SlotState::Open(Box::new(port));
            let (pause, tried) = (Duration::ZERO, Instant::now());
            slots.push(Slot { index, interface, state, pause, tried });
        }
        let shared = Arc::new(Shared {
            config,
            started: Instant::now(),
            rules: Mutex::new(rules),
            slots: Mutex::new(slots),
            workers,
            events,
            forwarding: Arc::clone(mirror.forwarding()),
            frames,
            log_unwritten: log.unwritten(),
            early_drop,
            warnings: Mutex::default(),
        });
        let server = server.start(Arc::clone(&shared)).inspect_err(|_| {
            for slot in shared.slots().drain(..) {
                if let SlotState::Open(port) = slot.state {
                    port.abandon();
                }
            }
        })?;
        let (memory, rung) = (opened.memory, opened.rung);
        let network = host_traffic.map(HostTraffic::into_network);
        let mut daemon = Self {
            shared,
            bank,
            memory,
            rung,
            mirror,
            server,
            log,
            host,
            network,
            host_trouble: None,
            troubles: Vec::new(),
        };
        daemon.look_at_links();
        restored.conclude().into_iter().for_each(|warning| daemon.warn(warning));
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
            self.follow_routes();
            self.undo_unconfirmed();
            // Workers that hang are reported elsewhere; the next look takes out what is over then.
            let _ = self.shared.rules().expire_sets();
            self.shared.rules().free_replaced();
            self.tick_early_drop();
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

    /// Goes back to the rules of before if a change was not confirmed in time.
    fn undo_unconfirmed(&self) {
        let undone = self.shared.rules().undo_unconfirmed(Instant::now());
        match undone {
            Ok(false) => {}
            Ok(true) => tracing::warn!("the last change of rules was not confirmed: undone"),
            Err(error) => {
                tracing::error!("the last change of rules was not confirmed, and: {error}")
            }
        }
    }

    fn end(self) {
        tracing::info!("stopping");
        let Self { shared, server, mirror, log, network, .. } = self;
        server.stop();
        // From here on the machine's own packets leave by the kernel; those to it still come through Weir.
        drop(network);
        for slot in shared.slots().iter_mut() {
            let closed = SlotState::Closed("the daemon is stopping".to_owned());
            if let SlotState::Open(port) = std::mem::replace(&mut slot.state, closed) {
                port.close();
            }
        }
        let mut tables = Vec::new();
        for worker in &shared.workers {
            match worker.stop(ORDER_PATIENCE) {
                Some(remains) => tables.push(remains.conntrack),
                None => tracing::error!("worker {} did not stop in order", worker.id()),
            }
        }
        drop(mirror);
        drop(log);
        // Also after the death of one worker: nobody but their owner has touched the others' flows.
        if let Some(path) =
            shared.config.conntrack.snapshot.as_deref().filter(|_| !tables.is_empty())
        {
            flows::keep(path, &tables);
        }
    }
}

/// How large what rules keep is made.
fn limits(config: &Config) -> LimitSettings {
    let flows_max = ConntrackSettings::share(config.conntrack.flows_max, config.cores.len());
    LimitSettings {
        recent_addresses: config.recent.addresses_max,
        flows_max: [flows_max, if config.ipv6 { flows_max } else { 0 }],
        verified: config.verified,
    }
}

/// The hash of all flows, and a table for each worker, with the flows of the last snapshot.
fn begin_flows(config: &Config) -> (FlowHash, Vec<Conntrack>, flows::Restored) {
    let count = config.cores.len();
    // Whoever knows the seed can choose flows that all meet on one worker: it is drawn anew at each start.
    let keys = RandomState::new();
    let flow_hash = FlowHash::new([0, 1, 2, 3].map(|word: u64| keys.hash_one(word)), count);
    let conntrack = ConntrackConfig {
        flows_max: ConntrackSettings::share(config.conntrack.flows_max, count),
        flows6_max: match config.ipv6 {
            true => ConntrackSettings::share(config.conntrack.flows_max, count),
            false => 0,
        },
        half_open_max: ConntrackSettings::share(config.conntrack.half_open_max, count),
        settings: config.conntrack.settings,
        acct: config.conntrack.acct,
        // As that of the flows: whoever knows it needs no connection to make one.
        cookie_key: config.conntrack.synproxy.then(|| {
            let keys = RandomState::new();
            CookieKey([4, 5].map(|word: u64| keys.hash_one(word)))
        }),
        flow_hash: flow_hash.clone(),
        events: None,
    };
    let path = config.conntrack.snapshot.as_deref();
    let (tables, restored) = flows::tables(&conntrack, count, path, config.on_exit);
    (flow_hash, tables, restored)
}

fn start_workers(
    config: &Config,
    rules: &Rules,
    mirror: &Mirror,
    (events, logs): (&Events, Vec<PacketLog>),
    frames: Vec<crate::frame::Frame>,
    (flow_hash, tables): (FlowHash, Vec<Conntrack>),
) -> Result<Vec<Worker>, DaemonError> {
    let count = config.cores.len();
    let inboxes = Inboxes::new(count, INBOX_PACKETS_MAX)
        .map_err(|source| DaemonError::System { what: "eventfd", source })?;
    let pools = FramePool::split(frames, count);
    let dice_seed = RandomState::new().hash_one(0);
    let mut workers = Vec::with_capacity(count);
    let shares = pools.into_iter().zip(tables).zip(logs).zip(&config.cores);
    for (id, (((pool, mut conntrack), log), core)) in shares.enumerate() {
        conntrack.set_events(events.queue(id));
        let mut engine = Engine::new(EngineConfig {
            worker: id,
            flow_hash: flow_hash.clone(),
            inboxes: inboxes.clone(),
            forwarding: Arc::clone(mirror.forwarding()),
            policies: Arc::clone(rules.policies()),
            flow_cache: FlowCache::new(config.flow_cache).with_ipv6(config.ipv6),
            conntrack,
            always_track: config.conntrack.always_track,
            dice_seed,
            resolver: mirror.resolver(),
            pool,
        });
        engine.set_log(log);
        let config = WorkerConfig { id, core: *core, idle: config.idle, clock: rules.clock() };
        let worker = Worker::start(config, engine)
            .map_err(|source| DaemonError::System { what: "thread", source })?;
        workers.push(worker);
    }
    Ok(workers)
}
