//! A [`Forwarding`] made by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::address_type::AtPort;
use super::forwarding::{Forwarding, Forwarding6, RouteSpec, RouteTable, Target};
use super::link::{PORTS_MAX, PortIndex, PortLink};
use super::neighbour::{Neighbour, NeighbourTable};
use super::source6::{Source6, Sources6};
use super::table::{Prefix, PrefixTable};

/// Fills a [`Forwarding`] by hand: for tests, for replaying captures, for machines without a kernel to mirror.
#[derive(Debug)]
pub struct ForwardingBuilder {
    ports: Vec<PortLink>,
    host: Option<PortIndex>,
    main: Vec<RouteSpec>,
    main6: Vec<RouteSpec<Ipv6Addr>>,
    routes: Vec<RouteSpec>,
    /// Of IPv6, where that is forwarded.
    six: Option<(Vec<RouteSpec<Ipv6Addr>>, Vec<Source6>)>,
    neighbours: NeighbourTable,
}

impl ForwardingBuilder {
    pub(super) fn new() -> Self {
        Self {
            ports: Vec::new(),
            host: None,
            main: Vec::new(),
            main6: Vec::new(),
            routes: Vec::new(),
            six: None,
            neighbours: NeighbourTable::new(0),
        }
    }

    /// Adds the next port. Its addresses become local, their subnets on-link, as when the kernel configures them.
    ///
    /// # Panics
    /// When there are [`PORTS_MAX`] ports already.
    #[must_use]
    pub fn port(mut self, link: PortLink) -> Self {
        assert!(self.ports.len() < PORTS_MAX, "a Weir has at most {PORTS_MAX} ports");
        let port = PortIndex(u8::try_from(self.ports.len()).unwrap_or(u8::MAX));
        for address in &link.addresses {
            let here = Some(port);
            self = self.route(address.address, 32, Target::Local { source: None, port: here });
            if let Some(broadcast) = address.broadcast {
                self = self.route(broadcast, 32, Target::Broadcast { port: here });
            }
            let source = Some(address.address);
            let on_link = Target::Forward { port, gateway: None, mtu: None, source };
            self = self.route(address.peer, address.prefix_len, on_link);
        }
        self.ports.push(link);
        self
    }

    /// Adds the last port, by which packets of the machine itself come and go.
    ///
    /// # Panics
    /// As [`port`](Self::port).
    #[must_use]
    pub fn host_port(mut self, link: PortLink) -> Self {
        self = self.port(link);
        self.host = PortIndex::new(self.ports.len() - 1);
        self
    }

    /// Says which routes table main has, beside those that packets go by.
    #[cfg(test)]
    pub(crate) fn main(mut self, routes: Vec<RouteSpec>) -> Self {
        self.main = routes;
        self
    }

    /// The same of IPv6, which is forwarded then.
    #[cfg(test)]
    pub(crate) fn main6(mut self, routes: Vec<RouteSpec<Ipv6Addr>>) -> Self {
        self.main6 = routes;
        self.ipv6()
    }

    /// Adds a route. Of routes for the same prefix the first one counts.
    #[must_use]
    pub fn route(mut self, network: Ipv4Addr, prefix_len: u8, target: Target) -> Self {
        let network = u32::from(network);
        self.routes.push(Prefix { network, len: prefix_len, value: Some(target) });
        self
    }

    /// Forwards IPv6, too.
    #[must_use]
    pub fn ipv6(mut self) -> Self {
        self.six.get_or_insert_default();
        self
    }

    /// Adds an IPv6 route, as [`route`](Self::route); IPv6 is forwarded then.
    #[must_use]
    pub fn route6(mut self, network: Ipv6Addr, prefix_len: u8, target: Target<Ipv6Addr>) -> Self {
        let network = network.to_bits();
        let (routes, _) = self.six.get_or_insert_default();
        routes.push(Prefix { network, len: prefix_len, value: Some(target) });
        self
    }

    /// Gives a port an IPv6 address: it becomes local, its subnet on-link, as when the kernel configures it.
    ///
    /// # Panics
    /// When there is no such port yet.
    #[must_use]
    pub fn address6(self, port: PortIndex, address: Ipv6Addr, prefix_len: u8) -> Self {
        let ifindex = self.ports[port.as_usize()].ifindex.unwrap_or_default();
        let local = Target::Local { source: None, port: Some(port) };
        let on_link = Target::Forward { port, gateway: None, mtu: None, source: None };
        let mut next = self.route6(address, 128, local).route6(address, prefix_len, on_link);
        let source = Source6 { address, prefix_len, ifindex, avoided: false, temporary: false };
        let (_, sources) = next.six.get_or_insert_default();
        sources.push(source);
        next
    }

    /// Adds a neighbour, or replaces it.
    #[must_use]
    pub fn neighbour(
        mut self,
        port: PortIndex,
        address: impl Into<IpAddr>,
        neighbour: Neighbour,
    ) -> Self {
        self.neighbours.insert(port, address.into(), neighbour);
        self
    }

    /// The snapshot.
    pub fn build(self) -> Forwarding {
        let routes = Arc::new(RouteTable::new(&[self.routes]).with_main(self.main));
        let six = self.six.map(|(routes, sources)| Forwarding6 {
            routes: Arc::new(
                RouteTable::new(std::slice::from_ref(&routes))
                    .with_main(self.main6)
                    .with_ports(by_port(&routes, self.ports.len())),
            ),
            sources: Arc::new(Sources6(sources.into())),
        });
        Forwarding::from_parts((self.ports, self.host), (routes, six), self.neighbours)
    }
}

/// The routes out of each port by itself.
fn by_port(routes: &[RouteSpec<Ipv6Addr>], ports: usize) -> Vec<PrefixTable<AtPort, u128>> {
    let mut lists = vec![Vec::new(); ports];
    for route in routes {
        let Some((port, what)) = route.value.and_then(AtPort::of_target) else { continue };
        let on_link = !matches!(route.value, Some(Target::Forward { gateway: Some(_), .. }));
        if let Some(list) = lists.get_mut(port.as_usize()) {
            what.push((Ipv6Addr::from_bits(route.network), route.len), on_link, list);
        }
    }
    lists.into_iter().map(PrefixTable::new).collect()
}
