//! Requests to the kernel: a device, a routing rule, routes of a table of Weir's own. Each is answered before the next.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkPayload,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::routes::{HostRoute, IPV6_MTU_MIN};
use crate::route::netlink::{encode, messages};

/// The routing table: "weir" in ASCII. By it rules and routes of an earlier Weir are recognised.
pub(super) const TABLE: u32 = 0x7765_6972;

/// `RT_TABLE_LOCAL`.
const TABLE_LOCAL: u32 = 255;

/// Where the rule stands: after `local`, before what else there may be.
const PRIORITY: u32 = 100;

/// What a receive holds at most: the kernel fills 32 KiB in a dump.
const BUFFER_BYTES: usize = 64 * 1024;

/// The gateway of IPv6 routes to the device, behind which there is nobody. Without one the kernel would keep an entry
/// in its table of neighbours for each destination, of 1,024 at most.
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket for requests in one network namespace.
#[derive(Debug)]
pub(super) struct Requests {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Requests {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Then lists are only of the table that is asked for. Without it (before Linux 4.20) they are of all.
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER_BYTES] })
    }

    /// Switches a device on, with this MTU.
    pub(super) fn set_up(&mut self, ifindex: u32, mtu: u32) -> io::Result<()> {
        self.set_link(ifindex, mtu, LinkFlags::Up, LinkFlags::Up)
    }

    /// Takes a device that is off out of the groups of IPv6 that a router's devices are in: it would tell of them, and
    /// nobody hears it. With an MTU that is too small for IPv6, the kernel forgets what it knew of the device; what it
    /// knows afterwards is of one that has no groups.
    pub(super) fn forget_groups6(&mut self, ifindex: u32) -> io::Result<()> {
        self.set_link(ifindex, IPV6_MTU_MIN - 1, LinkFlags::empty(), LinkFlags::Multicast)?;
        self.set_mtu(ifindex, IPV6_MTU_MIN)
    }

    /// Gives a device this MTU, and leaves it on or off.
    pub(super) fn set_mtu(&mut self, ifindex: u32, mtu: u32) -> io::Result<()> {
        self.set_link(ifindex, mtu, LinkFlags::empty(), LinkFlags::empty())
    }

    fn set_link(
        &mut self,
        ifindex: u32,
        mtu: u32,
        flags: LinkFlags,
        changed: LinkFlags,
    ) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.flags = flags;
        message.header.change_mask = changed;
        message.attributes.push(LinkAttribute::Mtu(mtu));
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Leads what the machine itself sends to the table.
    pub(super) fn add_rule(&mut self, family: AddressFamily) -> io::Result<()> {
        self.change(RouteNetlinkMessage::NewRule(rule(family)), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Removes all rules that lead to the table; returns how many there were.
    pub(super) fn remove_rules(&mut self, family: AddressFamily) -> io::Result<usize> {
        let rules = self.rules(family)?;
        let count = rules.len();
        for rule in rules {
            self.change(RouteNetlinkMessage::DelRule(rule), 0)?;
        }
        Ok(count)
    }

    /// All rules that lead to the table.
    pub(super) fn rules(&mut self, family: AddressFamily) -> io::Result<Vec<RuleMessage>> {
        let mut all = RuleMessage::default();
        all.header.family = family;
        let ours = |message: &RuleMessage| {
            message.attributes.contains(&RuleAttribute::Table(TABLE))
                && message.header.family == family
        };
        let mut rules = Vec::new();
        self.list(RouteNetlinkMessage::GetRule(all), |message| {
            if let RouteNetlinkMessage::NewRule(rule) = message
                && ours(&rule)
            {
                rules.push(rule);
            }
        })?;
        Ok(rules)
    }

    /// Puts a route into the table, in the place of one for the same prefix. `ifindex` is the machine's own port.
    pub(super) fn put_route(
        &mut self,
        prefix: (IpAddr, u8),
        route: HostRoute,
        ifindex: u32,
    ) -> io::Result<()> {
        let message = route_message(prefix, Some((route, ifindex)));
        self.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes a route out of the table. One that is not there is no error.
    pub(super) fn remove_route(&mut self, prefix: (IpAddr, u8)) -> io::Result<()> {
        gone(self.change(RouteNetlinkMessage::DelRoute(route_message(prefix, None)), 0))
    }

    /// The prefixes of all routes in the table.
    pub(super) fn routes(&mut self, family: AddressFamily) -> io::Result<Vec<(IpAddr, u8)>> {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        all.attributes.push(RouteAttribute::Table(TABLE));
        let mut prefixes = Vec::new();
        self.list(RouteNetlinkMessage::GetRoute(all), |message| {
            let RouteNetlinkMessage::NewRoute(route) = message else { return };
            if !route.attributes.contains(&RouteAttribute::Table(TABLE))
                || route.header.address_family != family
            {
                return;
            }
            let network = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(network)) => Some((*network).into()),
                RouteAttribute::Destination(RouteAddress::Inet6(network)) => {
                    Some((*network).into())
                }
                _ => None,
            });
            let network = network.unwrap_or(match family {
                AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
                _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            });
            prefixes.push((network, route.header.destination_prefix_length));
        })?;
        Ok(prefixes)
    }

    /// Takes out the route for groups of IPv6 that the kernel gives every device that is switched on: what programs
    /// send to a group and name no device for is to leave by the one that it left by before.
    pub(super) fn leave_groups6(&mut self, ifindex: u32) -> io::Result<()> {
        let groups = (IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)), 8);
        let mut message = route_message(groups, None);
        message.attributes[0] = RouteAttribute::Table(TABLE_LOCAL);
        message.attributes.push(RouteAttribute::Oif(ifindex));
        gone(self.change(RouteNetlinkMessage::DelRoute(message), 0))
    }

    /// Asks for a change and waits until it is made.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_ACK | flags)?;
        loop {
            let bytes = self.receive()?;
            for message in messages(&self.buffer[..bytes]).flatten() {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                if let NetlinkPayload::Error(error) = message.payload {
                    return match error.code {
                        // "Error 0" is the acknowledgement.
                        None => Ok(()),
                        Some(_) => Err(error.to_io()),
                    };
                }
            }
        }
    }

    /// Reads a table of the kernel's.
    fn list(
        &mut self,
        message: RouteNetlinkMessage,
        mut take: impl FnMut(RouteNetlinkMessage),
    ) -> io::Result<()> {
        self.send(message, NLM_F_REQUEST | NLM_F_DUMP)?;
        loop {
            let bytes = self.receive()?;
            for message in messages(&self.buffer[..bytes]).flatten() {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => take(inner),
                    NetlinkPayload::Done(_) => return Ok(()),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = encode(message, flags, self.sequence);
        self.socket.send_to(&request, &SocketAddr::new(0, 0), 0).map(drop)
    }

    fn receive(&mut self) -> io::Result<usize> {
        loop {
            let timeout = Timespec::try_from(PATIENCE).ok();
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => {
                    let why = "the kernel does not answer";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut room = &mut self.buffer[..];
            match self.socket.recv_from(&mut room, 0) {
                // Only the kernel's own answers count.
                Ok((bytes, sender)) if sender.port_number() == 0 => return Ok(bytes),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

/// An address in a message.
fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

/// `iif lo lookup TABLE`: for the kernel, what the machine itself sends came in by `lo`.
fn rule(family: AddressFamily) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Iifname("lo".to_owned()),
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::Table(TABLE),
    ];
    message
}

/// A route of the table; without its body, all that names it.
fn route_message((network, len): (IpAddr, u8), body: Option<(HostRoute, u32)>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: match network {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        },
        destination_prefix_length: len,
        // A number above 255 stands in the attribute (`RT_TABLE_COMPAT`).
        table: 252,
        scope: RouteScope::NoWhere,
        ..RouteHeader::default()
    };
    message.attributes =
        vec![RouteAttribute::Table(TABLE), RouteAttribute::Destination(route_address(network))];
    let Some((route, ifindex)) = body else {
        message.header.kind = RouteType::Unspec;
        return message;
    };
    message.header.protocol = RouteProtocol::Static;
    match route {
        HostRoute::Past => {
            message.header.kind = RouteType::Throw;
            message.header.scope = RouteScope::Universe;
        }
        HostRoute::Through { source, mtu } => {
            message.header.kind = RouteType::Unicast;
            // Not `link`: the kernel would find the gateways of new routes behind the device (`fib_check_nh_v4_gw`,
            // `net/ipv4/fib_semantics.c`, looks for routes of that scope, and as the machine itself).
            message.header.scope = RouteScope::Universe;
            message.attributes.push(RouteAttribute::Oif(ifindex));
            message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
            if network.is_ipv6() {
                message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet6(GATEWAY6)));
            }
            let source = source.map(|source| RouteAttribute::PrefSource(route_address(source)));
            message.attributes.extend(source);
        }
    }
    message
}
