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
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::builder::ForwardingBuilder;
use super::link::{PortIndex, PortLink};
use super::neighbour::{Neighbour, NeighbourTable};
use super::table::{Prefix, PrefixTable};

/// Where a destination leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Out of one of our ports.
    Forward {
        /// The port.
        port: PortIndex,
        /// Whose MAC address to send to: the gateway, or the destination itself.
        next_hop: Ipv4Addr,
        /// The route's own limit in bytes, where it has one (`ip route add .. mtu`); the port's MTU counts besides.
        mtu: Option<u32>,
        /// The address that packets of the machine itself would bear on this way.
        source: Option<Ipv4Addr>,
    },
    /// To this machine.
    Local,
    /// A broadcast address of one of this machine's subnets, or 255.255.255.255.
    Broadcast,
    /// 224.0.0.0/4 (RFC 1112 section 4).
    Multicast,
    /// A route forbids it.
    Unreachable(Unreachable),
    /// Out of an interface that is no port of Weir: not to be forwarded by Weir.
    NotOurs,
    /// No route.
    None,
}

/// How a route forbids a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// `unreachable`: ICMP host unreachable.
    Unreachable,
    /// `prohibit`: ICMP communication administratively prohibited.
    Prohibit,
    /// `blackhole`: silence. Also for 0.0.0.0/8, which is never a destination (RFC 1122 section 3.2.1.3).
    Blackhole,
}

/// What a prefix leads to, before the destination is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Out of one of our ports.
    Forward {
        /// The port.
        port: PortIndex,
        /// The gateway; `None` when the destination is on the link.
        gateway: Option<Ipv4Addr>,
        /// The route's own MTU in bytes.
        mtu: Option<u32>,
        /// Source address of the machine's own packets.
        source: Option<Ipv4Addr>,
    },
    /// To this machine; `source` where its answers are to bear another address than the one asked.
    Local {
        /// Source address of the machine's own packets to it.
        source: Option<Ipv4Addr>,
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
        source: Option<Ipv4Addr>,
    },
}

/// Routes by destination, each leading to one of a few targets. Shared by snapshots between which no route changed.
#[derive(Debug, Default)]
pub(crate) struct RouteTable {
    table: PrefixTable<u32>,
    /// Where routes lead, and whether they are of the first list.
    targets: Vec<(Target, bool)>,
    /// The machine's own addresses, sorted.
    local: Vec<Ipv4Addr>,
    /// Prefixes shorter than 32 bits that are its own, sorted.
    local_prefixes: Vec<(Ipv4Addr, u8)>,
    broadcast: Vec<Ipv4Addr>,
    /// The routes of table main by themselves, sorted by prefix, where somebody wants them.
    main: Vec<RouteSpec>,
}

/// A route as given to a table: `None` lets the tables below answer (`throw`).
pub(crate) type RouteSpec = Prefix<Target>;

impl RouteTable {
    /// Builds the table from lists of routes: an earlier list's answer comes before a later list's, whatever the
    /// prefix lengths; inside a list the longest prefix counts, and of equal ones the first.
    pub(crate) fn new(lists: &[Vec<RouteSpec>]) -> Self {
        let mut targets = Vec::new();
        let mut numbers = HashMap::new();
        let mut number = |target: (Target, bool)| {
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
        let single = |wanted: fn(Target) -> bool| {
            prefixes_of(lists, wanted).filter(|&(_, len)| len == 32).map(|(address, _)| address)
        };
        Self {
            table: table.indexed(),
            targets,
            local: sorted(single(is_local)),
            local_prefixes: sorted(prefixes_of(lists, is_local).filter(|&(_, len)| len < 32)),
            broadcast: sorted(single(is_broadcast)),
            main: Vec::new(),
        }
    }

    /// With the routes of table main beside those of all tables.
    pub(crate) fn with_main(mut self, main: Vec<RouteSpec>) -> Self {
        self.main = main;
        self
    }

    /// Whether the machine has the same addresses, broadcast addresses included, in both tables.
    pub(crate) fn has_addresses_of(&self, other: &Self) -> bool {
        (&self.local, &self.local_prefixes, &self.broadcast)
            == (&other.local, &other.local_prefixes, &other.broadcast)
    }

    #[inline]
    fn lookup(&self, destination: Ipv4Addr) -> Option<Target> {
        self.lookup_with_list(destination).map(|(target, _)| target)
    }

    /// Where a destination leads, and whether the first list says so.
    #[inline]
    pub(super) fn lookup_with_list(&self, destination: Ipv4Addr) -> Option<(Target, bool)> {
        let number = self.table.lookup(u32::from(destination))?;
        self.targets.get(number as usize).copied()
    }
}

/// As broadcast addresses are treated: what is for them goes up to the kernel.
fn is_broadcast(target: Target) -> bool {
    matches!(target, Target::Broadcast { .. } | Target::Anycast { .. })
}

fn is_local(target: Target) -> bool {
    matches!(target, Target::Local { .. })
}

/// The prefixes that lead to a wanted target.
fn prefixes_of(
    lists: &[Vec<RouteSpec>],
    wanted: fn(Target) -> bool,
) -> impl Iterator<Item = (Ipv4Addr, u8)> {
    lists
        .iter()
        .flatten()
        .filter(move |route| route.value.is_some_and(wanted))
        .map(|route| (Ipv4Addr::from(route.network), route.len))
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
    neighbours: NeighbourTable,
}

impl Forwarding {
    /// Starts an empty snapshot, to be filled by hand; the mirror makes its own.
    pub fn builder() -> ForwardingBuilder {
        ForwardingBuilder::new()
    }

    pub(crate) fn from_parts(
        (ports, host): (Vec<PortLink>, Option<PortIndex>),
        routes: Arc<RouteTable>,
        neighbours: NeighbourTable,
    ) -> Self {
        Self { ports, host, routes, neighbours }
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

    /// The routes of table main, one for each prefix; without [`host`](Self::host), none.
    pub(crate) fn main_routes(&self) -> &[RouteSpec] {
        &self.routes.main
    }

    /// What changes with every change of a route.
    pub(crate) fn route_table(&self) -> &Arc<RouteTable> {
        &self.routes
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
        match self.routes.lookup(destination) {
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

    /// The neighbour with this address on a port, or `None` when nobody has asked for it yet.
    #[inline]
    pub fn neighbour(&self, port: PortIndex, address: Ipv4Addr) -> Option<&Neighbour> {
        self.neighbours.get(port, address)
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
mod tests {
    use super::super::link::InterfaceAddress;
    use super::super::neighbour::NeighbourState;
    use super::*;

    const EAST: PortIndex = PortIndex(0);
    const WEST: PortIndex = PortIndex(1);

    fn ip(octets: [u8; 4]) -> Ipv4Addr {
        octets.into()
    }

    /// A port with one address.
    fn link(name: &str, address: [u8; 4], prefix_len: u8) -> PortLink {
        PortLink {
            name: name.into(),
            ifindex: Some(2),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            up: true,
            addresses: vec![InterfaceAddress::new(ip(address), prefix_len)],
        }
    }

    fn lab() -> ForwardingBuilder {
        Forwarding::builder().port(link("east", [10, 0, 0, 1], 24)).port(link(
            "west",
            [192, 168, 0, 1],
            24,
        ))
    }

    #[test]
    fn each_kind_of_destination_is_told_apart() {
        let gateway = ip([192, 168, 0, 254]);
        let default =
            Target::Forward { port: WEST, gateway: Some(gateway), mtu: Some(1400), source: None };
        let forwarding = lab()
            .route(ip([0, 0, 0, 0]), 0, default)
            .route(ip([10, 9, 0, 0]), 16, Target::Unreachable(Unreachable::Prohibit))
            .route(ip([10, 8, 0, 0]), 16, Target::NotOurs { source: None })
            .route(ip([127, 0, 0, 0]), 8, Target::Local { source: None, port: None })
            .build();
        let on_link = |port, next_hop, source: [u8; 4]| Route::Forward {
            port,
            next_hop: ip(next_hop),
            mtu: None,
            source: Some(ip(source)),
        };
        let expected = [
            ([10, 0, 0, 2], on_link(EAST, [10, 0, 0, 2], [10, 0, 0, 1])),
            ([192, 168, 0, 2], on_link(WEST, [192, 168, 0, 2], [192, 168, 0, 1])),
            (
                [8, 8, 8, 8],
                Route::Forward { port: WEST, next_hop: gateway, mtu: Some(1400), source: None },
            ),
            ([10, 0, 0, 1], Route::Local),
            ([127, 0, 0, 5], Route::Local),
            ([10, 0, 0, 255], Route::Broadcast),
            ([255, 255, 255, 255], Route::Broadcast),
            ([224, 0, 0, 1], Route::Multicast),
            ([239, 255, 255, 255], Route::Multicast),
            ([10, 9, 1, 1], Route::Unreachable(Unreachable::Prohibit)),
            ([0, 0, 0, 1], Route::Unreachable(Unreachable::Blackhole)),
            ([10, 8, 1, 1], Route::NotOurs),
        ];
        for (destination, route) in expected {
            assert_eq!(forwarding.route(ip(destination)), route, "{destination:?}");
        }
        assert_eq!(forwarding.local_addresses(), [ip([10, 0, 0, 1]), ip([192, 168, 0, 1])]);
        assert_eq!(forwarding.local_prefixes(), [(ip([127, 0, 0, 0]), 8)]);
        assert_eq!(forwarding.broadcast_addresses(), [ip([10, 0, 0, 255]), ip([192, 168, 0, 255])]);
    }

    #[test]
    fn without_a_route_there_is_none() {
        let forwarding = lab().build();
        assert_eq!(forwarding.route(ip([8, 8, 8, 8])), Route::None);
        assert_eq!(forwarding.source_for(ip([8, 8, 8, 8])), None);
        assert_eq!(forwarding.source_for(ip([10, 0, 0, 7])), Some(ip([10, 0, 0, 1])));
        assert_eq!(forwarding.source_for(ip([192, 168, 0, 1])), Some(ip([192, 168, 0, 1])));
        assert_eq!(forwarding.source_for(ip([10, 0, 0, 255])), None);
    }

    #[test]
    fn subnets_of_31_and_32_bits_have_no_broadcast_address() {
        let forwarding = Forwarding::builder()
            .port(link("east", [10, 0, 0, 0], 31))
            .port(link("west", [10, 0, 0, 9], 32))
            .build();
        let port_of = |address| match forwarding.route(ip(address)) {
            Route::Forward { port, .. } => Some(port),
            _ => None,
        };
        assert_eq!(port_of([10, 0, 0, 1]), Some(EAST));
        assert_eq!(forwarding.route(ip([10, 0, 0, 0])), Route::Local);
        assert_eq!(forwarding.route(ip([10, 0, 0, 2])), Route::None);
        assert_eq!(forwarding.route(ip([10, 0, 0, 9])), Route::Local);
        assert!(forwarding.broadcast_addresses().is_empty());
    }

    #[test]
    fn an_earlier_list_answers_before_a_longer_prefix_of_a_later_one() {
        let spec = |network: [u8; 4], len, value| Prefix {
            network: u32::from_be_bytes(network),
            len,
            value,
        };
        let broadcast = Target::Broadcast { port: None };
        let multicast = Target::Multicast { port: None };
        let routes = RouteTable::new(&[
            vec![spec([10, 0, 0, 0], 8, Some(broadcast)), spec([10, 5, 0, 0], 16, None)],
            vec![spec([10, 0, 0, 0], 8, Some(multicast))],
        ]);
        assert_eq!(routes.lookup_with_list(ip([10, 1, 1, 1])), Some((broadcast, true)));
        assert_eq!(routes.lookup_with_list(ip([10, 5, 1, 1])), Some((multicast, false)));
    }

    #[test]
    fn neighbours_share_their_note_of_use_between_snapshots() {
        let address = ip([10, 0, 0, 2]);
        let neighbour = Neighbour::new([2, 0, 0, 0, 0, 2], NeighbourState::Stale);
        let first = lab().neighbour(EAST, address, neighbour.clone()).build();
        let second = lab().neighbour(EAST, address, neighbour).build();
        assert!(first.neighbour(WEST, address).is_none());
        let found = first.neighbour(EAST, address).unwrap();
        assert!(found.is_usable() && !found.is_used());
        found.mark_used();
        let found = second.neighbour(EAST, address).unwrap();
        assert!(found.is_used());
        assert!(found.take_used() && !found.take_used());
    }
}
