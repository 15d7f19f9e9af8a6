//! The machine's own traffic, led through Weir: `host = "firewalled"`.
//!
//! ```text
//!                       NIC                                            NIC
//!                        |  to one of the machine's addresses           ^
//!                        v                                              |
//!   XDP program --> parse, track, route, INPUT, confirm     ... OUTPUT, route, track, parse
//!                                          |                             ^
//!                                          v  write               read   |
//!                                         weir0, a TUN device, a queue a worker
//!                                          |                             ^
//!                                          v                             |  `iif lo` looks into Weir's table
//!                                    the kernel's stack ------> its answers, its own connections
//! ```
//!
//! Packets in: the XDP program sends what is for the machine's own unicast addresses to the sockets instead of up. What
//! passes chain INPUT is written to the TUN device, and the stack receives it from there. That is IPv4, and IPv6 where
//! IPv6 is forwarded.
//!
//! Packets out: a routing rule leads what the machine itself sends (`iif lo`) to a table of Weir's own. In it, each
//! route of table main that leaves by a port of Weir's stands once more, with the TUN device in the port's place; with
//! the source address that the port's would have given, or all packets would bear one address; and with the port's
//! MTU. Routes that leave otherwise are there as `throw`, so that the kernel looks on in main. What is read from the
//! device meets chain OUTPUT and then the same routes as any packet. The device is no hop: the TTL stays.
//!
//! What remains with the kernel, in both directions: ARP, multicast and broadcast; what the machine sends to itself
//! (`lo`, and its own addresses: table `local` is asked first); what goes by interfaces that are no ports; and raw
//! Ethernet (packet sockets, as DHCP clients use them), which netfilter does not see either.
//!
//! Of IPv6 also neighbour discovery, which is to it what ARP is to IPv4, and addresses of the link (fe80::/10): such an
//! address means nothing without its link, and what came up by the device could not be answered by the port it came
//! by. A packet from such an address to another one of the machine meets INPUT; an answer finds no way.
//!
//! Other than IPv4, a route of IPv6 names no source address, unless somebody has chosen one: the kernel chooses for
//! each destination (RFC 6724), and prefers addresses of the device by which the packet leaves. That is the TUN device
//! for all, which has none. So the routes here name the address that would have been chosen, and where it would be
//! different ones, a route stands here as several (`routes.rs`). They lead by a gateway that nobody is, since without
//! one the kernel would keep an entry for each destination in its table of neighbours. And the device is taken out of
//! the kernel's list of those by which groups are reached.
//!
//! A program can send past the routing table: by a socket that is bound to a port's interface, or that wants no gateway
//! (`SO_BINDTODEVICE`, `ping -I eth1`; `SO_DONTROUTE`). Such a packet comes to the port's own egress, where a second
//! BPF program (`weir_egress`, by tcx) leads it to the TUN device after all; from there it goes by the routes, and
//! not by the interface it was bound to. A kernel before Linux 6.6 cannot do that: `weirctl status` then warns that
//! these packets do not meet chain OUTPUT. On the way in, sockets bound to a port's interface hear nothing: packets
//! come from the TUN device.
//!
//! When Weir is gone, in whatever way, so are the device and the second program, and with the device all routes to
//! it; the rule then finds nothing but `throw`, and the kernel goes on with table main. An orderly end removes rule
//! and table; a start removes what an earlier one has left. While somebody has switched the device off or deleted
//! it, the machine is cut off from the ports; a deleted one is made again. Twice a second Weir looks whether rule and
//! routes are there, and puts back what somebody has removed: until then the kernel sends past Weir.
//!
//! `rp_filter` must not be 1 (strict), neither on a port nor on the device: the way back to whoever sends to a port
//! now leads, as the kernel sees it, by another device, and it would drop even ARP. Ports are looked at and refused;
//! the device's own setting is made. IPv6 has none.

mod request;
mod routes;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use netlink_packet_route::AddressFamily;
use request::Requests;
use routes::{HostRoute, HostRoutes, IPV6_MTU_MIN};

pub use routes::HOST_ROUTES_MAX;

use crate::route::{Forwarding, MadeOf};
use crate::wire::ethernet::HEADER_BYTES;

/// The name of the TUN device.
pub const HOST_DEVICE: &str = "weir0";

/// From how many routes on nobody looks twice a second whether they are all there.
const HOST_ROUTES_LISTED_MAX: usize = 1_024;

/// The smallest MTU that IPv4 allows a link (RFC 791 3.2).
const MTU_MIN: u32 = 68;

/// What the device is to IPv6: it makes up no address, and nobody there is believed. What of neighbour discovery came
/// to the machine by Weir (behind extension headers) is not to be taken for the device's own.
const SETTINGS6: [(&str, &str); 4] =
    [("addr_gen_mode", "1"), ("accept_ra", "0"), ("accept_redirects", "0"), ("disable_ipv6", "0")];

/// In the order of rules.
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

/// Why the machine's own traffic cannot be led through Weir.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Something on the machine is in the way.
    #[error("{0}")]
    Unfit(String),
    /// The device cannot be made.
    #[error("host = \"firewalled\": {0}")]
    Device(#[from] af_xdp::SetupError),
    /// The kernel refused a step.
    #[error("host = \"firewalled\": cannot {what}: {source}")]
    Step {
        /// The step.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// More routes than are mirrored.
    #[error(
        "host = \"firewalled\": table main has more than {HOST_ROUTES_MAX} routes, and the machine's own traffic \
         would pass Weir by on the others: use fewer, or host = \"kernel\""
    )]
    ManyRoutes,
}

impl HostError {
    fn step(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Step { what, source }
    }
}

/// What stands in the way on this machine, each with its remedy; nothing is changed.
#[must_use]
pub fn troubles(interfaces: &[String]) -> Vec<String> {
    let mut troubles = Vec::new();
    if af_xdp::nic::ifindex(HOST_DEVICE).is_ok() {
        troubles.push(format!(
            "host = \"firewalled\": there is a device {HOST_DEVICE} already: another weir's, or \
             `ip link delete {HOST_DEVICE}`"
        ));
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        troubles.push(
            "host = \"firewalled\" needs /dev/net/tun: `modprobe tun`, or give it to the container"
                .to_owned(),
        );
    }
    troubles.extend(interfaces.iter().filter_map(|interface| strict(interface)));
    troubles
}

/// That the kernel drops packets of a port whose way back leads elsewhere, if it does.
pub(crate) fn strict(interface: &str) -> Option<String> {
    (effective_rp_filter(interface) == 1).then(|| {
        format!(
            "{interface}: rp_filter is 1 (strict), and with host = \"firewalled\" the kernel would drop even the \
             answers to its ARP requests: `echo 2 > /proc/sys/net/ipv4/conf/{interface}/rp_filter`"
        )
    })
}

/// The larger of `all` and the interface's own counts (Documentation/networking/ip-sysctl.rst).
fn effective_rp_filter(interface: &str) -> u8 {
    rp_filter("all").max(rp_filter(interface))
}

fn rp_filter(interface: &str) -> u8 {
    let text = std::fs::read_to_string(setting(4, interface, "rp_filter")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Of the calling thread's network namespace.
fn setting(version: u8, interface: &str, name: &str) -> PathBuf {
    format!("/proc/sys/net/ipv{version}/conf/{interface}/{name}").into()
}

/// The device is there, and the machine's own traffic is led to it. Dropping it leads the traffic back; the device
/// itself goes with its queues.
#[derive(Debug)]
pub struct HostNetwork {
    requests: Requests,
    ifindex: u32,
    /// The families that are led through Weir.
    families: &'static [AddressFamily],
    /// The largest packet that the device may carry: what a frame holds.
    mtu_max: u32,
    /// The device's MTU.
    mtu: u32,
    /// The routes in the table.
    routes: HostRoutes,
    /// What they were made from: the routes, and the ports' MTUs.
    made_from: Option<(MadeOf, Vec<u32>)>,
    /// Routes that the kernel did not take; they are tried again.
    refused: usize,
}

impl HostNetwork {
    /// Makes the device, switched on and with nothing led to it yet. Returns its queues. `ipv6` says whether it is to
    /// carry that, too; `frame_bytes_max` is the longest Ethernet frame that fits a frame of Weir's.
    ///
    /// # Errors
    /// [`HostError`]; nothing is left behind.
    pub fn open(
        interfaces: &[String],
        ipv6: bool,
        queues: usize,
        frame_bytes_max: u32,
    ) -> Result<(Self, Vec<OwnedFd>), HostError> {
        if let Some(trouble) = troubles(interfaces).into_iter().next() {
            return Err(HostError::Unfit(trouble));
        }
        let mut requests = Requests::open().map_err(HostError::step("open a netlink socket"))?;
        let descriptors = af_xdp::tun::open(HOST_DEVICE, queues)?;
        let ifindex = af_xdp::nic::ifindex(HOST_DEVICE)?;
        if ipv6 {
            requests
                .forget_groups6(ifindex)
                .map_err(HostError::step(format!("take groups off {HOST_DEVICE}")))?;
            for (name, value) in SETTINGS6 {
                std::fs::write(setting(6, HOST_DEVICE, name), value)
                    .map_err(HostError::step(format!("set {name} of {HOST_DEVICE}")))?;
            }
        } else {
            // A machine without IPv6 has no such setting, and no need of it.
            let _ = std::fs::write(setting(6, HOST_DEVICE, "disable_ipv6"), "1");
        }
        // Where `all` is strict, the device's own can only be looser by being larger.
        let own = if rp_filter("all") == 1 { "2" } else { "0" };
        std::fs::write(setting(4, HOST_DEVICE, "rp_filter"), own)
            .map_err(HostError::step(format!("set rp_filter of {HOST_DEVICE}")))?;
        tracing::info!("{HOST_DEVICE}: rp_filter set to {own}");
        // ICMP errors about the machine's own packets bear its own address, and nothing else from there does: `parse`
        // lets no packet of that source in from a wire.
        std::fs::write(setting(4, HOST_DEVICE, "accept_local"), "1")
            .map_err(HostError::step(format!("set accept_local of {HOST_DEVICE}")))?;
        let header_bytes = u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX);
        let mtu_max = frame_bytes_max.saturating_sub(header_bytes);
        let mtu = mtu_max.min(1500);
        requests
            .set_up(ifindex, mtu)
            .map_err(HostError::step(format!("switch {HOST_DEVICE} on")))?;
        let network = Self {
            requests,
            ifindex,
            families: if ipv6 { &FAMILIES } else { &FAMILIES[..1] },
            mtu_max,
            mtu,
            routes: HostRoutes::new(),
            made_from: None,
            refused: 0,
        };
        Ok((network, descriptors))
    }

    /// The device's number.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Leads the machine's own traffic to the device, by the routes of `forwarding`. What an earlier Weir has left is
    /// removed before.
    ///
    /// # Errors
    /// [`HostError`]; drop this then.
    pub fn divert(&mut self, forwarding: &Forwarding) -> Result<(), HostError> {
        let step = HostError::step("remove what an earlier weir has left in the routing rules");
        if self.undo().map_err(step)? > 0 {
            tracing::info!("the routing rules of an earlier weir are replaced");
        }
        self.follow(forwarding)?;
        for family in self.families {
            self.requests.add_rule(*family).map_err(HostError::step("add a routing rule"))?;
        }
        Ok(())
    }

    /// Removes rules, and then routes, of both families; returns how many rules there were. The rules first: from then
    /// on table main is asked as ever.
    fn undo(&mut self) -> io::Result<usize> {
        let mut rules = 0;
        for family in FAMILIES {
            rules += self.requests.remove_rules(family)?;
            for prefix in self.requests.routes(family)? {
                self.requests.remove_route(prefix)?;
            }
        }
        Ok(rules)
    }

    /// Makes the routes those of `forwarding`, if they are not. A route that the kernel does not take now (its source
    /// address has just gone) is tried again at the next call.
    ///
    /// # Errors
    /// [`HostError`]; the routes are then a mixture of old and new.
    pub fn follow(&mut self, forwarding: &Forwarding) -> Result<(), HostError> {
        let mtus: Vec<u32> = forwarding.ports().iter().map(|port| port.mtu).collect();
        let same = self
            .made_from
            .as_ref()
            .is_some_and(|(table, before)| forwarding.is_made_of(table) && *before == mtus);
        if same && self.refused == 0 {
            return Ok(());
        }
        let wanted = routes::wanted(forwarding, self.mtu_max).ok_or(HostError::ManyRoutes)?;
        self.adjust_mtu(&wanted)?;
        if self.routes.is_empty() && self.families.contains(&AddressFamily::Inet6) {
            let step = HostError::step(format!("take groups off {HOST_DEVICE}"));
            self.requests.leave_groups6(self.ifindex).map_err(step)?;
        }
        let gone: Vec<_> =
            self.routes.keys().filter(|prefix| !wanted.contains_key(prefix)).copied().collect();
        for prefix in gone {
            self.requests.remove_route(prefix).map_err(HostError::step("remove a route"))?;
            self.routes.remove(&prefix);
        }
        self.refused = 0;
        for (prefix, route) in wanted {
            if self.routes.get(&prefix) == Some(&route) {
                continue;
            }
            match self.requests.put_route(prefix, route, self.ifindex) {
                Ok(()) => {
                    self.routes.insert(prefix, route);
                }
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.refused += 1,
                Err(source) => {
                    let what = format!("mirror the route to {}/{}", prefix.0, prefix.1);
                    return Err(HostError::Step { what, source });
                }
            }
        }
        self.made_from = Some((forwarding.made_of(), mtus));
        Ok(())
    }

    /// Looks whether everything is as this has made it, and puts back what somebody has removed or
    /// changed: the rule, the device's MTU, routes. Tells what; routes are only forgotten, and made by the
    /// next [`follow`](Self::follow). Of 1,024 routes and more, the routes are not looked
    /// at: the kernel takes long to list them.
    ///
    /// # Errors
    /// [`HostError`]; something may not be as it should then.
    pub fn put_right(&mut self) -> Result<Vec<&'static str>, HostError> {
        let mut wrong = Vec::new();
        for family in self.families {
            let rules = self.requests.rules(*family);
            if rules.map_err(HostError::step("list routing rules"))?.is_empty() {
                let step = HostError::step("add a routing rule");
                self.requests.add_rule(*family).map_err(step)?;
                wrong.push("the routing rule was removed");
            }
        }
        if af_xdp::nic::mtu(HOST_DEVICE)? != self.mtu {
            let step = HostError::step(format!("set the MTU of {HOST_DEVICE} to {}", self.mtu));
            self.requests.set_mtu(self.ifindex, self.mtu).map_err(step)?;
            wrong.push("the device's MTU was changed");
        }
        // Of a device that is switched off, the kernel drops them.
        if self.routes.len() < HOST_ROUTES_LISTED_MAX && af_xdp::nic::is_up(HOST_DEVICE)? {
            let mut there = BTreeSet::new();
            for family in self.families {
                let listed = self.requests.routes(*family);
                there.extend(listed.map_err(HostError::step("list routes"))?);
            }
            let before = self.routes.len();
            self.routes.retain(|prefix, _| there.contains(prefix));
            if self.routes.len() < before {
                self.made_from = None;
                wrong.push("routes were removed");
            }
        }
        Ok(wrong)
    }

    /// Routes that the kernel has not taken so far.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// The kernel has dropped the routes: the device was switched off and on again. The next
    /// [`follow`](Self::follow) makes them anew.
    pub fn forget(&mut self) {
        self.routes.clear();
        self.made_from = None;
    }

    /// The device carries what the largest route does.
    fn adjust_mtu(&mut self, wanted: &HostRoutes) -> Result<(), HostError> {
        let largest = wanted.values().filter_map(|route| match route {
            HostRoute::Through { mtu, .. } => Some(*mtu),
            HostRoute::Past => None,
        });
        // With less, the kernel would take IPv6 off the device.
        let six = self.families.contains(&AddressFamily::Inet6);
        let least = if six { IPV6_MTU_MIN } else { MTU_MIN };
        let mtu = largest.max().unwrap_or(self.mtu).max(least);
        if mtu != self.mtu {
            let step = HostError::step(format!("set the MTU of {HOST_DEVICE} to {mtu}"));
            self.requests.set_up(self.ifindex, mtu).map_err(step)?;
            self.mtu = mtu;
        }
        Ok(())
    }
}

impl Drop for HostNetwork {
    fn drop(&mut self) {
        if let Err(error) = self.undo() {
            tracing::warn!("the routing rule of the machine's own traffic is not undone: {error}");
        }
    }
}
