//! A daemon without packets: answers requests on a socket in a temporary directory.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use weir_control::command::Transaction;
use weir_control::protocol::{
    DropCount, EarlyDropStats, EventCount, Failure, FrameStatus, KernelPortStats, LatencyStats,
    LimitKey, LimitPushed, LimitReport, Listing, MessageError, PacketTotals, Percentiles,
    PortState, PortStats, PortStatus, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request,
    RequestBody, Response, Stats, Status, WorkerState, WorkerStats, WorkerStatus, XdpProgramStats,
    read_frame, write_message,
};
use weir_control::rule::{Family, Table};
use weir_control::ruleset::{CounterTable, Counters, Outcome, Ruleset};

pub(crate) struct Daemon {
    /// Removed, socket and all, with the daemon.
    pub(crate) directory: tempfile::TempDir,
}

impl Daemon {
    /// Answers as a real one would, on any number of connections.
    pub(crate) fn start() -> Self {
        let mut state = States::default();
        Self::with(move |stream| {
            loop {
                let request = match read_frame(stream, REQUEST_BYTES_MAX) {
                    Ok(json) => Request::from_json(&json),
                    Err(MessageError::Closed) => return,
                    Err(error) => panic!("the client sent nonsense: {error}"),
                };
                let result = request.and_then(|request| state.answer(&request.body));
                let response = Response::new(result);
                write_message(stream, &response, REPLY_BYTES_MAX).expect("the client reads");
            }
        })
    }

    /// Does `serve` with each connection, one after the other.
    pub(crate) fn with(mut serve: impl FnMut(&mut UnixStream) + Send + 'static) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let listener = UnixListener::bind(directory.path().join("s")).expect("socket");
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&mut stream.expect("a client"));
            }
        });
        Self { directory }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }
}

/// Of one table of a family; the epochs are apart, too.
struct State {
    ruleset: Ruleset,
    counters: CounterTable,
    epoch: u64,
}

/// One for each table of each family: this daemon takes the rules of both.
struct States(Vec<State>);

impl States {
    fn answer(&mut self, body: &RequestBody) -> Result<Reply, Failure> {
        let (family, table) = match body {
            RequestBody::Iptables { family, table, .. }
            | RequestBody::ChainNames { family, table } => (*family, *table),
            RequestBody::Restore { family, transactions, dry_run, .. } => {
                return self.restore(*family, transactions, *dry_run);
            }
            _ => (Family::V4, Table::Filter),
        };
        self.of(family, table).answer(body)
    }

    fn of(&mut self, family: Family, table: Table) -> &mut State {
        let mut states = self.0.iter_mut();
        let asked =
            |state: &&mut State| state.ruleset.family() == family && state.ruleset.table() == table;
        states.find(asked).expect("there is one of each")
    }

    fn restore(
        &mut self,
        family: Family,
        transactions: &[Transaction],
        dry_run: bool,
    ) -> Result<Reply, Failure> {
        let mut candidates = Vec::new();
        for (transaction, asked) in transactions.iter().enumerate() {
            let failed = |(command, error)| Failure::Transaction { transaction, command, error };
            let after = self.of(family, asked.table).ruleset.after_all(asked);
            candidates.push(after.map_err(failed)?);
        }
        let mut policy_epoch = 0;
        for (candidate, outcome) in candidates {
            let state = self.of(family, candidate.table());
            if !dry_run {
                state.ruleset = candidate;
                state.count(&outcome);
                state.epoch += 1;
            }
            policy_epoch = policy_epoch.max(state.epoch);
        }
        Ok(Reply::Done { policy_epoch })
    }
}

impl Default for States {
    fn default() -> Self {
        let fresh = |family| [Ruleset::of(family), Ruleset::raw(family)];
        let state = |ruleset| State { ruleset, counters: CounterTable::default(), epoch: 0 };
        Self(Family::ALL.into_iter().flat_map(fresh).map(state).collect())
    }
}

impl State {
    fn answer(&mut self, body: &RequestBody) -> Result<Reply, Failure> {
        Ok(match body {
            RequestBody::Iptables { command, .. } => {
                let outcome = self.ruleset.apply(command)?;
                if command.is_listing() {
                    let (ruleset, counters) = (self.ruleset.clone(), self.counters.clone());
                    return Ok(Reply::Listing(Listing { ruleset, counters }));
                }
                self.count(&outcome);
                self.epoch += u64::from(outcome.changed);
                Reply::Done { policy_epoch: self.epoch }
            }
            RequestBody::ChainNames { .. } => {
                let names = self.ruleset.chains().iter().map(|chain| chain.name.clone());
                Reply::ChainNames(names.collect())
            }
            RequestBody::Limits { top } => Reply::Limits(limits(*top)),
            RequestBody::Status => Reply::Status(Box::new(status())),
            RequestBody::Stats => Reply::Stats(Box::new(stats())),
            RequestBody::Ports => Reply::Ports(status().ports),
            other => return Err(Failure::Other { reason: format!("{other:?} is not known") }),
        })
    }

    /// Every new rule is given 7 packets of 100 bytes.
    fn count(&mut self, outcome: &Outcome) {
        let seven = Counters { packets: 7, bytes: 700 };
        self.counters.rules.extend(outcome.added.iter().map(|id| (*id, seven)));
        self.counters.rules.retain(|id, _| !outcome.removed.contains(id));
        self.counters.rules.retain(|id, _| !outcome.zeroed_rules.contains(id));
        self.counters.policies.retain(|chain, _| !outcome.zeroed_policies.contains(chain));
        let first = self.ruleset.chains()[0].name.clone();
        self.counters.policies.entry(first).or_default();
    }
}

pub(crate) fn status() -> Status {
    let port = |name: &str, state| PortStatus {
        name: name.to_owned(),
        ifindex: 4,
        state,
        rung: "driver copy".to_owned(),
        queues: 2,
        mac: "02:00:00:00:00:01".to_owned(),
        mtu: 1500,
        addresses: vec!["10.0.0.1/24".to_owned()],
    };
    Status {
        version: "0.1.0".to_owned(),
        pid: 4711,
        uptime_s: 3_700,
        mode: "route".to_owned(),
        host: "firewalled".to_owned(),
        host_device: Some("weir0".to_owned()),
        on_exit: "pass".to_owned(),
        config_path: "/etc/weir/weir.toml".to_owned(),
        workers: vec![
            WorkerStatus {
                id: 0,
                core: Some(1),
                state: WorkerState::Busy,
                polls: 1_234_567,
                policy_epoch: 3,
            },
            WorkerStatus { id: 1, core: None, state: WorkerState::Idle, polls: 9, policy_epoch: 2 },
        ],
        ports: vec![
            port("enp0s8", PortState::Up),
            port("enp0s3", PortState::Closed("the interface is gone".to_owned())),
        ],
        policy_epoch: 3,
        rules: 12,
        frames: FrameStatus { capacity: 8_192, pool: 4_000, lent: 4_180, held: 2, in_flight: 10 },
        tracking: false,
        warnings: vec!["one core is shared".to_owned()],
    }
}

pub(crate) fn stats() -> Stats {
    let totals = PacketTotals {
        received: 1_000,
        transmitted: 900,
        dropped: 98,
        held: 2,
        ..PacketTotals::default()
    };
    let percentiles = Percentiles {
        count: 10,
        p50: 900,
        p90: 1_500,
        p99: 20_000,
        p999: 3_000_000,
        max: 4_000_000,
    };
    let latency = LatencyStats { poll_ns: percentiles, forward_ns: Percentiles::default() };
    let drop = |reason: &str, packets| DropCount { reason: reason.to_owned(), packets };
    let drops = vec![drop("policy", 98), drop("no_route", 0)];
    Stats {
        uptime_ns: 1_000_000_000,
        totals,
        drops: drops.clone(),
        events: vec![EventCount { event: "sleeps".into(), count: 12 }],
        workers: vec![WorkerStats { id: 0, totals, drops, polls: 50, polls_idle: 40, latency }],
        ports: vec![PortStats {
            name: "enp0s8".to_owned(),
            received_packets: 1_000,
            received_bytes: 64_000,
            kernel: Some(KernelPortStats { rx_ring_full: 3, ..KernelPortStats::default() }),
            xdp: Some(XdpProgramStats { redirected: 1_003, ..XdpProgramStats::default() }),
            ..PortStats::default()
        }],
        latency,
        early_drop: EarlyDropStats {
            packets: 5_000,
            bytes: 300_000,
            blocked: 2,
            pushed: 0,
            allowed: 1,
        },
    }
}

/// A rule's own controller, and a table of a name.
pub(crate) fn limits(top: u32) -> Vec<LimitReport> {
    let key = |key: &str, rate_pps, percent| LimitKey { key: key.to_owned(), rate_pps, percent };
    let keys = [key("10.0.0.66", None, 0), key("10.0.0.7", None, 80)];
    vec![
        LimitReport {
            family: Family::V4,
            of: "fuzzy".to_owned(),
            name: None,
            settings: "-A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 -j REJECT"
                .to_owned(),
            keys_max: None,
            keys: 0,
            top: vec![key("all", Some(20_000), 1)],
            pushed: None,
        },
        LimitReport {
            family: Family::V6,
            of: "hashlimit".to_owned(),
            name: Some("web".to_owned()),
            settings: "-m hashlimit --hashlimit-upto 10/sec --hashlimit-name web".to_owned(),
            keys_max: Some(65_536),
            keys: 1234,
            top: keys.into_iter().take(top as usize).collect(),
            pushed: None,
        },
        LimitReport {
            family: Family::V4,
            of: "fuzzy".to_owned(),
            name: None,
            settings: "-A FORWARD -m fuzzy --fuzzy-mode srcip -j DROP".to_owned(),
            keys_max: Some(65_536),
            keys: 2,
            top: vec![key("10.0.0.66", Some(90_000), 0)],
            pushed: Some(LimitPushed { sources: 1, why_not: None }),
        },
    ]
}
