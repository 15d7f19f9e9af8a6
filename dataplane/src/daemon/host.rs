//! The machine's own traffic: its device given to the workers, its routes kept up with.

use std::os::fd::OwnedFd;

use super::shared::Shared;
use super::{Daemon, DaemonError, ORDER_PATIENCE};
use crate::config::{Config, HostMode};
use crate::host::{HOST_DEVICE, HostError, HostNetwork};
use crate::port::{HostPort, PortIndex};
use crate::route::Forwarding;
use crate::worker::{Order, Worker};

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
        let (network, queues) =
            HostNetwork::open(&config.interfaces, config.ipv6, workers, frame_bytes)?;
        Ok(Some(Self { network, index, queues }))
    }

    /// Gives each worker its queue, and leads the traffic there.
    pub(super) fn begin(
        &mut self,
        workers: &[Worker],
        forwarding: &Forwarding,
    ) -> Result<(), DaemonError> {
        for (worker, queue) in workers.iter().zip(self.queues.drain(..)) {
            let port = HostPort::new(self.index, queue);
            worker.order(Order::Open(Box::new(port)), ORDER_PATIENCE)?;
        }
        self.network.divert(forwarding)?;
        let families = if forwarding.forwards_ipv6() { "IPv4 and IPv6" } else { "IPv4" };
        tracing::info!("{HOST_DEVICE}: the machine's own {families} traffic passes through Weir");
        Ok(())
    }

    pub(super) fn ifindex(&self) -> u32 {
        self.network.ifindex()
    }

    pub(super) fn into_network(self) -> HostNetwork {
        self.network
    }
}

impl Daemon {
    /// Keeps up with the routes for the machine's own traffic.
    pub(super) fn follow_routes(&mut self) {
        let Some(network) = &mut self.network else { return };
        let forwarding = self.shared.forwarding.current();
        let why = network.follow(&forwarding).err().map(|error| error.to_string());
        self.tell_of_host(why);
    }

    /// Makes the device again if somebody has deleted it, and puts right what somebody has changed.
    pub(super) fn restore_host(&mut self) {
        let Some(host) = self.shared.host_port() else { return };
        let now = af_xdp::nic::ifindex(HOST_DEVICE).ok();
        if let Some(network) = self.network.as_mut().filter(|one| now == Some(one.ifindex())) {
            match network.put_right() {
                Ok(wrong) => wrong.iter().for_each(|what| {
                    tracing::warn!("{HOST_DEVICE}: {what}, and the machine's own traffic may have passed Weir by: put back");
                }),
                Err(error) => tracing::warn!("{error}"),
            }
            return;
        }
        if self.network.take().is_some() {
            tracing::warn!("{HOST_DEVICE} is gone: it is made again");
            self.order_closed(host);
        }
        match begin_anew(&self.shared) {
            Ok(network) => {
                self.network = network;
                self.tell_of_host(None);
            }
            Err(error) => {
                self.order_closed(host);
                self.tell_of_host(Some(format!("the machine's own traffic is cut off: {error}")));
            }
        }
    }

    /// Warns of what is wrong with the machine's own traffic now, and takes back what was.
    fn tell_of_host(&mut self, why: Option<String>) {
        if why == self.host_trouble {
            return;
        }
        self.shared.warnings().retain(|warning| Some(warning) != self.host_trouble.as_ref());
        if let Some(why) = &why {
            self.warn(why.clone());
        }
        self.host_trouble = why;
    }

    /// What an operator should know about the machine's own traffic.
    pub(super) fn host_troubles(&self) -> Vec<String> {
        if self.network.is_none() {
            return Vec::new();
        }
        let interfaces = self.shared.config.interfaces.iter();
        let strict = interfaces.filter_map(|interface| crate::host::strict(interface));
        let down = matches!(af_xdp::nic::is_up(HOST_DEVICE), Ok(false)).then(|| {
            format!(
                "{HOST_DEVICE} is switched off, and the machine's own traffic cut off: `ip link set {HOST_DEVICE} up`"
            )
        });
        strict.chain(down).collect()
    }
}

fn begin_anew(shared: &Shared) -> Result<Option<HostNetwork>, DaemonError> {
    let Some(mut traffic) = HostTraffic::prepare(&shared.config)? else { return Ok(None) };
    traffic.begin(&shared.workers, &shared.forwarding.current())?;
    Ok(Some(traffic.into_network()))
}
