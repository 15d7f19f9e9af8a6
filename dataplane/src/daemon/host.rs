//! The machine's own traffic: its device given to the workers, its routes kept up with.

use std::os::fd::OwnedFd;

use super::{Daemon, DaemonError, ORDER_PATIENCE};
use crate::config::{Config, HostMode};
use crate::host::{HOST_DEVICE, HostError, HostNetwork};
use crate::port::{HostPort, PortIndex};
use crate::route::Mirror;
use crate::worker::{Order, OrderError, Worker};

/// The machine's own traffic during the start.
#[derive(Debug)]
pub(super) struct HostTraffic {
    network: HostNetwork,
    index: PortIndex,
    /// A queue a worker, until they have them.
    queues: Vec<OwnedFd>,
}

impl HostTraffic {
    /// Makes the device, if the configuration says so.
    pub(super) fn prepare(config: &Config) -> Result<Option<Self>, HostError> {
        let index = match config.host {
            HostMode::Kernel => return Ok(None),
            // The configuration leaves room for it.
            HostMode::Firewalled => PortIndex::new(config.interfaces.len()),
        };
        let Some(index) = index else { return Ok(None) };
        let (workers, frame_bytes) = (config.cores.len(), config.area.frame_bytes_max());
        let (network, queues) = HostNetwork::open(&config.interfaces, workers, frame_bytes)?;
        Ok(Some(Self { network, index, queues }))
    }

    /// Gives each worker its queue, and leads the traffic there.
    pub(super) fn begin(&mut self, workers: &[Worker], mirror: &Mirror) -> Result<(), DaemonError> {
        hand_out_host(workers, self.index, self.queues.drain(..))?;
        self.network.divert(&mirror.forwarding().current())?;
        tracing::info!("{HOST_DEVICE}: the machine's own IPv4 traffic passes through Weir");
        Ok(())
    }

    pub(super) fn into_network(self) -> HostNetwork {
        self.network
    }
}

/// Gives each worker a queue of the machine's own port.
fn hand_out_host(
    workers: &[Worker],
    index: PortIndex,
    queues: impl IntoIterator<Item = OwnedFd>,
) -> Result<(), OrderError> {
    for (worker, queue) in workers.iter().zip(queues) {
        worker.order(Order::Open(Box::new(HostPort::new(index, queue))), ORDER_PATIENCE)?;
    }
    Ok(())
}

impl Daemon {
    /// Keeps up with the routes for the machine's own traffic.
    pub(super) fn follow_routes(&mut self) {
        let Some(network) = &mut self.network else { return };
        let forwarding = self.shared.forwarding.current();
        let outcome = network.follow(&forwarding);
        let why = match outcome {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        if why != self.routes_trouble {
            let mut warnings = self.shared.warnings();
            warnings.retain(|warning| Some(warning) != self.routes_trouble.as_ref());
            drop(warnings);
            if let Some(why) = &why {
                self.warn(format!("{why}"));
            }
            self.routes_trouble = why;
        }
    }

    /// What an operator should know about the machine's own traffic.
    pub(super) fn host_troubles(&self) -> Vec<String> {
        let Some(network) = &self.network else { return Vec::new() };
        let config = &self.shared.config;
        let mut troubles: Vec<String> = config
            .interfaces
            .iter()
            .filter_map(|interface| crate::host::strict(interface))
            .collect();
        if af_xdp::nic::ifindex(HOST_DEVICE).ok() != Some(network.ifindex()) {
            troubles.push(format!(
                "{HOST_DEVICE} is gone: nothing comes to the machine itself, and what it sends passes Weir by; \
                 restart weir"
            ));
        }
        troubles
    }
}
