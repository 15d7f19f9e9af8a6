//! The supervisor: interfaces that vanish and return, the machine's addresses, what an operator should know.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use super::shared::SlotState;
use super::{Daemon, ORDER_PATIENCE, ipv6, report};
use crate::frame::Memory;
use crate::host::{HOST_DEVICE, HostNetwork};
use crate::port::PortIndex;
use crate::port::xdp::{Bank, HostAddresses, OpenPort, Site, XdpQueue};
use crate::route::{Forwarding, MirrorEvent};
use crate::worker::{Order, OrderError, Worker};

/// Pauses between two attempts to open a port that cannot be opened: they double from the first to the second.
const REOPEN_PAUSE_MIN: Duration = Duration::from_millis(500);
const REOPEN_PAUSE_MAX: Duration = Duration::from_secs(8);

impl Daemon {
    pub(super) fn react(&mut self, event: &MirrorEvent) {
        match event {
            // An event can be late, and the interface back already: what is open is looked at.
            MirrorEvent::PortVanished { .. } => self.close_stale(),
            // Its routes went when it was switched off.
            MirrorEvent::PortUp { port } if Some(*port) == self.shared.host_port() => {
                self.network.iter_mut().for_each(HostNetwork::forget);
            }
            // It may be another of that name, with the sockets on the one before dead.
            MirrorEvent::PortAppeared { .. } | MirrorEvent::PortUp { .. } => {
                self.close_stale();
                self.hurry();
                self.reopen_closed();
            }
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

    /// Tells the operator, once: in the log, and in `weirctl status` as long as there is room.
    pub(super) fn warn(&self, what: String) {
        /// Warnings kept for `weirctl status`.
        const WARNINGS_MAX: usize = 32;
        let mut warnings = self.shared.warnings();
        if warnings.contains(&what) {
            return;
        }
        tracing::warn!("{what}");
        if warnings.len() < WARNINGS_MAX {
            warnings.push(what);
        }
    }

    fn name_of(&self, port: PortIndex) -> String {
        let interface = self.shared.config.interfaces.get(port.as_usize());
        interface.cloned().unwrap_or_else(|| HOST_DEVICE.to_owned())
    }

    /// What is not told by events, or was told by one that got lost.
    pub(super) fn look(&mut self) {
        self.close_stale();
        self.reopen_closed();
        self.restore_host();
        self.refresh_addresses();
        self.look_at_links();
    }

    /// Warns of open ports that packets do not get through, or not all; takes back what is over.
    pub(super) fn look_at_links(&mut self) {
        let forwarding = self.shared.forwarding.current();
        let mut troubles = Vec::new();
        for slot in self.shared.slots().iter() {
            let (SlotState::Open(open), Some(link)) = (&slot.state, forwarding.port(slot.index))
            else {
                continue;
            };
            troubles.extend(open.unguarded());
            troubles.extend(report::link_troubles(
                &slot.interface,
                open.rung(),
                link,
                &self.bank.area,
            ));
        }
        troubles.extend(self.host_troubles());
        troubles.extend(self.exposed_addresses());
        if self.shared.config.ipv6 {
            troubles.extend(ipv6::troubles(&self.shared.config.interfaces));
        }
        // The program knows addresses, not prefixes. (127.0.0.0/8 never comes from outside.) What it does not know
        // comes to Weir, which has a way for it where the machine's own traffic passes through.
        let kernel = self.network.is_none();
        let prefixes = forwarding.local_prefixes().iter();
        let prefixes = prefixes.filter(|(network, _)| kernel && !network.is_loopback());
        troubles.extend(prefixes.map(|(network, len)| {
            format!(
                "local route {network}/{len}: only single addresses are passed up; packets to the others of \
                 that prefix are dropped (local_address)"
            )
        }));
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

    /// Tells the programs of all ports the machine's addresses, and again next time if one did not take
    /// them.
    fn refresh_addresses(&mut self) {
        let device = self.network.as_ref().map_or(0, HostNetwork::ifindex);
        let host = host_addresses(&self.shared.forwarding.current(), device);
        if host == self.host {
            return;
        }
        let mut failed = false;
        for slot in self.shared.slots().iter_mut() {
            let SlotState::Open(port) = &mut slot.state else { continue };
            if let Err(error) = host.tell(port.program_mut()) {
                self.warn(format!("{}: the machine's addresses: {error}", slot.interface));
                failed = true;
            }
        }
        if !failed {
            self.host = host;
        }
    }

    /// Closes ports that serve an interface which is not that of their name any more, or that packets may
    /// pass by. Events tell most of it at once; an event can be lost, this cannot.
    fn close_stale(&self) {
        let mut stale = Vec::new();
        for slot in self.shared.slots().iter() {
            let SlotState::Open(open) = &slot.state else { continue };
            // Asked of the kernel itself: a snapshot may be older than the event that led here.
            if af_xdp::nic::ifindex(&slot.interface).ok() != Some(open.ifindex()) {
                let why = "the interface is gone; Weir waits for its return".to_owned();
                stale.push((slot.index, why));
            } else if let Some(why) = open.bypass() {
                stale.push((slot.index, why));
            }
        }
        for (port, why) in stale {
            self.close_port(port, &why);
        }
    }

    pub(super) fn close_port(&self, port: PortIndex, why: &str) {
        let mut slots = self.shared.slots();
        let Some(slot) = slots.iter_mut().find(|slot| slot.index == port) else { return };
        let closed = SlotState::Closed(why.to_owned());
        let SlotState::Open(open) = std::mem::replace(&mut slot.state, closed) else { return };
        tracing::warn!("{}: closed: {why}", slot.interface);
        drop(slots);
        let renamed = af_xdp::nic::name(open.ifindex()).is_ok_and(|name| name != open.interface());
        if renamed {
            // Still there under another name, which is not for Weir to drop traffic on.
            open.withdraw();
        } else {
            open.close();
        }
        self.order_closed(port);
    }

    pub(super) fn order_closed(&self, port: PortIndex) {
        for worker in &self.shared.workers {
            if let Err(error) = worker.order(Order::Close(port), ORDER_PATIENCE) {
                tracing::error!("closing {}: {error}", self.name_of(port));
            }
        }
    }

    /// Tries to open what is closed. The list of ports is not locked meanwhile, so `weirctl status`
    /// answers; only this thread changes it.
    fn reopen_closed(&self) {
        let closed: Vec<(PortIndex, String)> = self
            .shared
            .slots()
            .iter()
            .filter(|slot| matches!(slot.state, SlotState::Closed(_)))
            .filter(|slot| slot.tried.elapsed() >= slot.pause)
            .map(|slot| (slot.index, slot.interface.clone()))
            .collect();
        for (index, interface) in closed {
            if af_xdp::nic::ifindex(&interface).is_err() {
                continue;
            }
            let opened = self.reopen(index, &interface);
            let mut slots = self.shared.slots();
            let Some(slot) = slots.iter_mut().find(|slot| slot.index == index) else { continue };
            slot.tried = Instant::now();
            match opened {
                Ok(port) => {
                    tracing::info!("{interface}: open again, {}", port.rung());
                    slot.pause = Duration::ZERO;
                    slot.state = SlotState::Open(Box::new(port));
                }
                Err(why) => {
                    // Each attempt takes the NIC's queues for a moment: not twice a second for ever.
                    slot.pause = (slot.pause * 2).clamp(REOPEN_PAUSE_MIN, REOPEN_PAUSE_MAX);
                    if matches!(&slot.state, SlotState::Closed(before) if *before != why) {
                        tracing::warn!("{interface}: still closed: {why}");
                    }
                    slot.state = SlotState::Closed(why);
                }
            }
        }
    }

    /// Something happened to an interface: what is closed is tried again at once.
    fn hurry(&self) {
        self.shared.slots().iter_mut().for_each(|slot| slot.pause = Duration::ZERO);
    }

    fn reopen(&self, index: PortIndex, interface: &str) -> Result<OpenPort, String> {
        let share = self.shared.slots().iter().find_map(|slot| match &slot.state {
            SlotState::Open(port) => port.any_socket(),
            SlotState::Closed(_) => None,
        });
        let site = Site { rung: self.rung, index, interface };
        let opened = self.bank.open_port(self.memory.area(), share.as_ref(), site, &self.host);
        // Held on to, it would keep another port's queue busy.
        drop(share);
        let (port, sockets) = opened.map_err(|error| error.to_string())?;
        hand_out(&self.shared.workers, &port, sockets, &self.bank, &self.memory).map_err(
            |error| {
                // Some worker may have its queue, or get it late: all of them let go.
                self.order_closed(index);
                error.to_string()
            },
        )?;
        Ok(port)
    }
}

/// Gives each queue to a worker: queue by queue, round and round, so that every worker has one.
pub(super) fn hand_out(
    workers: &[Worker],
    port: &OpenPort,
    sockets: Vec<af_xdp::Socket>,
    bank: &Bank,
    memory: &Memory,
) -> Result<(), OrderError> {
    for (socket, worker) in sockets.into_iter().zip(workers.iter().cycle()) {
        let queue = XdpQueue::new(port.index(), socket, memory, port.fill_frames())
            .with_busy_poll(bank.sockets.busy_poll.is_some());
        worker.order(Order::Open(Box::new(queue)), ORDER_PATIENCE)?;
    }
    Ok(())
}

/// With the device of the machine's own traffic, or 0.
pub(super) fn host_addresses(forwarding: &Forwarding, device: u32) -> HostAddresses {
    // Where IPv6 is forwarded: the anycast addresses, too, which routers have (RFC 4291 2.6.1).
    let v6: BTreeSet<Ipv6Addr> = forwarding.local_addresses6().collect();
    HostAddresses {
        v4: forwarding.local_addresses().to_vec(),
        v4_broadcast: forwarding.broadcast_addresses().to_vec(),
        v6_kernel: listed_addresses6().into_iter().filter(|one| !v6.contains(one)).collect(),
        v6: v6.into_iter().collect(),
        devices: [device, if forwarding.forwards_ipv6() { device } else { 0 }],
    }
}

/// The machine's IPv6 addresses in whatever state, in order (`/proc/net/if_inet6`: 32 hexadecimal digits, then what
/// does not matter here).
fn listed_addresses6() -> BTreeSet<Ipv6Addr> {
    // Of the thread, not of the process: `/proc/net` follows the network namespace.
    let table = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let words = table.lines().filter_map(|line| line.split_whitespace().next());
    words.filter_map(|word| u128::from_str_radix(word, 16).ok()).map(Ipv6Addr::from).collect()
}
