//! How large a [`World`](crate::world::World) is.

use weir_dataplane::conntrack::{Conntrack, ConntrackConfig, Settings};
use weir_dataplane::handover::FlowHash;
use weir_dataplane::synproxy::CookieKey;

/// How large everything is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) workers: usize,
    pub(crate) chunks: u32,
    pub(crate) fill: usize,
    pub(crate) tx: usize,
    pub(crate) completion_lag: usize,
    pub(crate) inbox: usize,
    /// Flows that each worker can keep.
    pub(crate) flows: u32,
    /// Flows of IPv6.
    pub(crate) flows6: u32,
    /// Of them, half-open ones.
    pub(crate) half_open: u32,
    /// Whether packets are tracked although no rule asks for it.
    pub(crate) always_track: bool,
    /// Entries of each worker's flow cache, which is eager: every test is also one of it.
    pub(crate) flow_cache: usize,
    /// Whether packets and bytes of flows are counted.
    pub(crate) acct: bool,
    /// Whether connections may be proxied.
    pub(crate) synproxy: bool,
    /// Of the hash that finds a flow's worker.
    pub(crate) seed: u64,
}

impl Sizes {
    pub(crate) const ONE: Self = Self {
        workers: 1,
        chunks: 1024,
        fill: 128,
        tx: 128,
        completion_lag: 0,
        inbox: 64,
        flows: 512,
        flows6: 0,
        half_open: 512,
        always_track: false,
        flow_cache: 64,
        acct: false,
        synproxy: false,
        seed: 1,
    };
    pub(crate) const TWO: Self = Self { workers: 2, ..Self::ONE };

    pub(crate) fn flow_hash(self) -> FlowHash {
        FlowHash::new([self.seed, 2, 3, 4], self.workers)
    }

    /// A table for each worker.
    pub(crate) fn tables(self, settings: Settings) -> Vec<Conntrack> {
        let config = ConntrackConfig {
            flows_max: self.flows,
            flows6_max: self.flows6,
            half_open_max: self.half_open,
            acct: self.acct,
            cookie_key: self.synproxy.then_some(CookieKey([self.seed, 5])),
            settings,
            flow_hash: self.flow_hash(),
            ..ConntrackConfig::default()
        };
        (0..self.workers).map(|_| Conntrack::new(&config)).collect()
    }
}
