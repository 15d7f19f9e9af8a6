//! What a worker needs to know to send a packet on: a snapshot of the machine's ports, addresses, routes, neighbours.
//!
//! The kernel stays the control plane; `mirror.rs` follows it and publishes a new [`Forwarding`] for every change.
//! Workers adopt it between batches and ask it three things: where does this destination lead ([`Forwarding::route`]),
//! which MAC address is that ([`Forwarding::neighbour`]), and from which address would the machine answer
//! ([`Forwarding::source_for`]).
//!
//! ```text
//!   destination --route()--> Forward { port, next_hop, .. } --neighbour()--> MAC
//!                            Local, Broadcast, Multicast      up to the kernel
//!                            Unreachable, None                ICMP destination unreachable, or silence
//!                            NotOurs                          leaves by an interface without Weir
//! ```

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::address::Address;
use super::builder::ForwardingBuilder;
use super::link::{PortIndex, PortLink};
use super::neighbour::{Neighbour, NeighbourTable};
use super::source6::Sources6;
use super::table::{Bits, Prefix, PrefixTable};

/// Where a destination leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<A = Ipv4Addr> {
    /// Out of one of our ports.
    Forward {
        /// The port.
        port: PortIndex,
        /// Whose MAC address to send to: the gateway, or the destination itself.
        next_hop: A,
        /// The route's own limit in bytes, where it has one (`ip route add .. mtu`); the port's MTU counts besides.
        mtu: Option<u32>,
        /// The address that packets of the machine itself would bear on this way.
        source: Option<A>,
    },
    /// To this machine.
    Local,
    /// A broadcast address of one of this machine's subnets, or 255.255.255.255; an anycast address of this machine.
    Broadcast,
    /// 224.0.0.0/4 (RFC 1112 section 4), ff00::/8 (RFC 4291 section 2.7).
    Multicast,
    /// A route forbids it.
    Unreachable(Unreachable),
    /// Out of an interface that is no port of Weir: not to be forwarded by Weir.
    NotOurs,
    /// No route.
    None,
}

impl<A> Route<A> {
    /// The same with addresses of another kind.
    pub(crate) fn map<B>(self, address: impl Fn(A) -> B) -> Route<B> {
        match self {
            Self::Forward { port, next_hop, mtu, source } => {
                let (next_hop, source) = (address(next_hop), source.map(address));
                Route::Forward { port, next_hop, mtu, source }
            }
            Self::Local => Route::Local,
            Self::Broadcast => Route::Broadcast,
            Self::Multicast => Route::Multicast,
            Self::Unreachable(why) => Route::Unreachable(why),
            Self::NotOurs => Route::NotOurs,
            Self::None => Route::None,
        }
    }
}

/// How a route forbids a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// `unreachable`: ICMP host unreachable, of IPv6 no route.
    Unreachable,
    /// `prohibit`: ICMP communication administratively prohibited.
    Prohibit,
    /// `blackhole`: silence. Also for 0.0.0.0/8 and ::, which are never a destination (RFC 1122 section 3.2.1.3, RFC
    /// 4291 section 2.5.2).
    Blackhole,
}

/// What a prefix leads to, before the destination is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target<A = Ipv4Addr> {
    /// Out of one of our ports.
    Forward {
        /// The port.
        port: PortIndex,
        /// The gateway; `None` when the destination is on the link.
        gateway: Option<A>,
        /// The route's own MTU in bytes.
        mtu: Option<u32>,
        /// Source address of the machine's own packets; of IPv6 only one that the route itself names.
        source: Option<A>,
    },
    /// To this machine; `source` where its answers are to bear another address than the one asked.
    Local {
        /// Source address of the machine's own packets to it.
        source: Option<A>,
        /// The port whose address it is, if it is one's.
        port: Option<PortIndex>,
    },
    /// A broadcast address.
    Broadcast {
        /// The port whose subnet it is of, if it is one's.
        port: Option<PortIndex>,
    },
    /// An anycast route (`ip route add anycast`), which is taken for broadcast.
    Anycast {
        /// The port that it names, if it is one.
        port: Option<PortIndex>,
    },
    /// A multicast route.
    Multicast {
        /// The port that it names, if it is one.
        port: Option<PortIndex>,
    },
    /// Forbidden.
    Unreachable(Unreachable),
    /// Out of an interface that is no port of Weir.
    NotOurs {
        /// Source address of the machine's own packets.
        source: Option<A>,
    },
}

/// Routes by destination, each leading to one of a few targets. Shared by snapshots between which no route changed.
#[derive(Debug)]
pub(crate) struct RouteTable<A: Address = Ipv4Addr> {
    table: PrefixTable<u32, A::Bits>,
    /// Where routes lead, and whether they are of the first list.
    targets: Vec<(Target<A>, bool)>,
    /// The machine's own addresses, sorted.
    local: Vec<A>,
    /// Prefixes shorter than an address that are its own, sorted.
    local_prefixes: Vec<(A, u8)>,
    broadcast: Vec<A>,
    /// The routes of table main by themselves, sorted by prefix, where somebody wants them.
    main: Vec<RouteSpec<A>>,
}

/// A route as given to a table: `None` lets the tables below answer (`throw`).
pub(crate) type RouteSpec<A = Ipv4Addr> = Prefix<Target<A>, <A as Address>::Bits>;

impl<A: Address> Default for RouteTable<A> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl<A: Address> RouteTable<A> {
    /// Builds the table from lists of routes: an earlier list's answer comes before a later list's, whatever the
    /// prefix lengths; inside a list the longest prefix counts, and of equal ones the first.
    pub(crate) fn new(lists: &[Vec<RouteSpec<A>>]) -> Self {
        let mut targets = Vec::new();
        let mut numbers = HashMap::new();
        let mut number = |target: (Target<A>, bool)| {
            *numbers.entry(target).or_insert_with(|| {
                targets.push(target);
                // Not more targets than routes, which are far fewer than 2^32.
                u32::try_from(targets.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let mut table = PrefixTable::default();
        for (n, list) in lists.iter().enumerate() {
            let numbered = list.iter().map(|route| Prefix {
                network: route.network,
                len: route.len,
                value: route.value.map(|target| number((target, n == 0))),
            });
            table = table.over(&PrefixTable::new(numbered.collect()));
        }
        let single = |wanted: fn(Target<A>) -> bool| {
            prefixes_of(lists, wanted)
                .filter(|&(_, len)| len == A::Bits::LEN)
                .map(|(address, _)| address)
        };
        Self {
            table: table.indexed(),
            targets,
            local: sorted(single(is_local)),
            local_prefixes: sorted(
                prefixes_of(lists, is_local).filter(|&(_, len)| len < A::Bits::LEN),
            ),
            broadcast: sorted(single(is_broadcast)),
            main: Vec::new(),
        }
    }

    /// With the routes of table main beside those of all tables.
    pub(crate) fn with_main(mut self, main: Vec<RouteSpec<A>>) -> Self {
        self.main = main;
        self
    }

    /// Whether the machine has the same addresses, broadcast addresses included, in both tables.
    pub(crate) fn has_addresses_of(&self, other: &Self) -> bool {
        (&self.local, &self.local_prefixes, &self.broadcast)
            == (&other.local, &other.local_prefixes, &other.broadcast)
    }

    fn gateways(&self) -> impl Iterator<Item = A> {
        self.targets.iter().filter_map(|(target, _)| match target {
            Target::Forward { gateway, .. } => *gateway,
            _ => None,
        })
    }

    #[inline]
    fn lookup(&self, destination: A) -> Option<Target<A>> {
        self.lookup_with_list(destination).map(|(target, _)| target)
    }

    /// Where a destination leads, and whether the first list says so.
    #[inline]
    pub(super) fn lookup_with_list(&self, destination: A) -> Option<(Target<A>, bool)> {
        let number = self.table.lookup(destination.bits())?;
        self.targets.get(number as usize).copied()
    }

    /// What the routes say of a destination.
    #[inline]
    fn route(&self, destination: A) -> Route<A> {
        match self.lookup(destination) {
            Some(Target::Forward { port, gateway, mtu, source }) => {
                Route::Forward { port, next_hop: gateway.unwrap_or(destination), mtu, source }
            }
            Some(Target::Local { .. }) => Route::Local,
            Some(Target::Broadcast { .. } | Target::Anycast { .. }) => Route::Broadcast,
            Some(Target::Multicast { .. }) => Route::Multicast,
            Some(Target::Unreachable(how)) => Route::Unreachable(how),
            Some(Target::NotOurs { .. }) => Route::NotOurs,
            None => Route::None,
        }
    }
}

/// As broadcast addresses are treated: what is for them goes up to the kernel.
fn is_broadcast<A>(target: Target<A>) -> bool {
    matches!(target, Target::Broadcast { .. } | Target::Anycast { .. })
}

fn is_local<A>(target: Target<A>) -> bool {
    matches!(target, Target::Local { .. })
}

/// The prefixes that lead to a wanted target.
fn prefixes_of<A: Address>(
    lists: &[Vec<RouteSpec<A>>],
    wanted: fn(Target<A>) -> bool,
) -> impl Iterator<Item = (A, u8)> {
    lists
        .iter()
        .flatten()
        .filter(move |route| route.value.is_some_and(wanted))
        .map(|route| (A::of_bits(route.network), route.len))
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut items: Vec<_> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

/// An immutable snapshot of everything that forwarding needs to know.
#[derive(Debug)]
pub struct Forwarding {
    ports: Vec<PortLink>,
    /// The port of the machine itself.
    host: Option<PortIndex>,
    pub(super) routes: Arc<RouteTable>,
    /// Of IPv6, where that is forwarded.
    six: Option<Forwarding6>,
    neighbours: NeighbourTable,
}

/// The routes of both families, and what else IPv6 needs.
pub(crate) type MadeOf = (Arc<RouteTable>, Option<Forwarding6>);

/// What forwarding needs to know of IPv6 besides.
#[derive(Debug, Clone, Default)]
pub(crate) struct Forwarding6 {
    pub(crate) routes: Arc<RouteTable<Ipv6Addr>>,
    pub(crate) sources: Arc<Sources6>,
}

impl Forwarding {
    /// Starts an empty snapshot, to be filled by hand; the mirror makes its own.
    pub fn builder() -> ForwardingBuilder {
        ForwardingBuilder::new()
    }

    pub(crate) fn from_parts(
        (ports, host): (Vec<PortLink>, Option<PortIndex>),
        (routes, six): MadeOf,
        neighbours: NeighbourTable,
    ) -> Self {
        Self { ports, host, routes, six, neighbours }
    }

    /// Whether IPv6 is forwarded.
    #[inline]
    pub fn forwards_ipv6(&self) -> bool {
        self.six.is_some()
    }

    /// All ports; a [`PortIndex`] is a position in it.
    #[inline]
    pub fn ports(&self) -> &[PortLink] {
        &self.ports
    }

    /// One port, or `None` when there is no such one.
    #[inline]
    pub fn port(&self, port: PortIndex) -> Option<&PortLink> {
        self.ports.get(port.as_usize())
    }

    /// The port by which packets of the machine itself come and go, where these pass through Weir: the last one.
    #[inline]
    pub fn host(&self) -> Option<PortIndex> {
        self.host
    }

    /// The next hops of all routes that lead out of ports through a router.
    pub fn gateways(&self) -> Vec<IpAddr> {
        let v4 = self.routes.gateways().map(IpAddr::from);
        let v6 = self.six.iter().flat_map(|six| six.routes.gateways()).map(IpAddr::from);
        sorted(v4.chain(v6))
    }

    /// The routes of table main, one for each prefix; without [`host`](Self::host), none.
    pub(crate) fn main_routes(&self) -> &[RouteSpec] {
        &self.routes.main
    }

    /// The same of IPv6; none where that is not forwarded.
    pub(crate) fn main_routes6(&self) -> &[RouteSpec<Ipv6Addr>] {
        self.six.as_ref().map_or(&[], |six| &six.routes.main)
    }

    /// What changes with every change of a route, or of an IPv6 address.
    pub(crate) fn made_of(&self) -> MadeOf {
        (Arc::clone(&self.routes), self.six.clone())
    }

    /// Whether routes and IPv6 addresses are still [these](Self::made_of).
    pub(crate) fn is_made_of(&self, (routes, six): &MadeOf) -> bool {
        let same6 = match (&self.six, six) {
            (None, None) => true,
            (Some(now), Some(then)) => {
                Arc::ptr_eq(&now.routes, &then.routes) && now.sources == then.sources
            }
            _ => false,
        };
        Arc::ptr_eq(&self.routes, routes) && same6
    }

    /// The IPv6 addresses of which one is chosen for a packet of the machine itself.
    pub(crate) fn sources6(&self) -> Option<&Sources6> {
        self.six.as_ref().map(|six| &*six.sources)
    }

    /// Where a received packet for `destination` leads, as in `ip_route_input_slow` of the kernel (`net/ipv4/route.c`).
    #[inline]
    pub fn route(&self, destination: Ipv4Addr) -> Route {
        // The kernel decides these before it looks for a route.
        match destination.octets()[0] {
            0 => return Route::Unreachable(Unreachable::Blackhole),
            224..=239 => return Route::Multicast,
            255 if destination == Ipv4Addr::BROADCAST => return Route::Broadcast,
            _ => {}
        }
        self.routes.route(destination)
    }

    /// Where a received IPv6 packet for `destination` leads (`ip6_route_input`, `net/ipv6/route.c`). What is for a
    /// link-local address (fe80::/10) never leaves its link: it is taken for the machine's own, as the XDP program
    /// does.
    #[inline]
    pub fn route6(&self, destination: Ipv6Addr) -> Route<Ipv6Addr> {
        let Some(six) = &self.six else { return Route::None };
        if destination.is_multicast() {
            return Route::Multicast;
        }
        if destination.is_unicast_link_local() {
            return Route::Local;
        }
        if destination.is_unspecified() {
            return Route::Unreachable(Unreachable::Blackhole);
        }
        six.routes.route(destination)
    }

    /// What the routes themselves say of an IPv6 address: other than [`route6`](Self::route6) also of those that are
    /// never looked up for a packet.
    pub fn route_type6(&self, address: Ipv6Addr) -> Route<Ipv6Addr> {
        self.six.as_ref().map_or(Route::None, |six| six.routes.route(address))
    }

    /// The neighbour with this address on a port, or `None` when nobody has asked for it yet.
    #[inline]
    pub fn neighbour(&self, port: PortIndex, address: impl Into<IpAddr>) -> Option<&Neighbour> {
        self.neighbours.get(port, address.into())
    }

    /// How many neighbours are known.
    pub fn neighbours_len(&self) -> usize {
        self.neighbours.len()
    }

    /// The source address that the kernel would give a packet of the machine itself to `destination`: the route's
    /// preferred source, else the address that `inet_select_addr` (`net/ipv4/devinet.c`) finds for the interface.
    /// `None` when there is no way there or the machine has no fitting address.
    pub fn source_for(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        match self.routes.lookup(destination)? {
            Target::Forward { source, .. } | Target::NotOurs { source } => source,
            Target::Local { source, .. } => Some(source.unwrap_or(destination)),
            Target::Broadcast { .. }
            | Target::Anycast { .. }
            | Target::Multicast { .. }
            | Target::Unreachable(_) => None,
        }
    }

    /// The source address that the kernel would give an IPv6 packet of the machine itself to `destination` out of
    /// `port`: the route's preferred source, else the one that RFC 6724 section 5 chooses. `None` when the machine has
    /// no address to choose.
    pub fn source6_for(&self, destination: Ipv6Addr, port: PortIndex) -> Option<Ipv6Addr> {
        let six = self.six.as_ref()?;
        if let Some(Target::Forward { source: Some(source), .. }) = six.routes.lookup(destination) {
            return Some(source);
        }
        six.sources.choose(destination, self.port(port)?.ifindex?)
    }

    /// Whether the machine may answer from this IPv6 address when it was asked there: whether it is one of its own, or
    /// an anycast one.
    pub fn is_own6(&self, address: Ipv6Addr) -> bool {
        let own = |target| is_local(target) || is_broadcast(target);
        self.six.as_ref().is_some_and(|six| six.routes.lookup(address).is_some_and(own))
    }

    /// Whether this is one of the machine's own IPv6 addresses, anycast ones and whole prefixes excluded.
    #[inline]
    pub fn has6(&self, address: Ipv6Addr) -> bool {
        self.six.as_ref().is_some_and(|six| six.routes.local.binary_search(&address).is_ok())
    }

    /// The machine's own IPv6 addresses, anycast ones included; none where IPv6 is not forwarded.
    pub fn local_addresses6(&self) -> impl Iterator<Item = Ipv6Addr> {
        let tables = self.six.iter().map(|six| &six.routes);
        tables.flat_map(|routes| routes.local.iter().chain(&routes.broadcast).copied())
    }

    /// The machine's own addresses on all its interfaces, sorted. Packets for them go up to the kernel.
    pub fn local_addresses(&self) -> &[Ipv4Addr] {
        &self.routes.local
    }

    /// Whole prefixes that are the machine's own, as (first address, prefix length), sorted: `127.0.0.0`, 8 and what
    /// `ip route add local` adds. Single addresses are in [`Forwarding::local_addresses`].
    pub fn local_prefixes(&self) -> &[(Ipv4Addr, u8)] {
        &self.routes.local_prefixes
    }

    /// Broadcast addresses of the machine's subnets, sorted, without 255.255.255.255.
    pub fn broadcast_addresses(&self) -> &[Ipv4Addr] {
        &self.routes.broadcast
    }
}

#[cfg(test)]
mod tests;
