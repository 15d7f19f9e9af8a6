//! A [`Forwarding`] made by hand.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::forwarding::{Forwarding, RouteSpec, RouteTable, Target};
use super::link::{PORTS_MAX, PortIndex, PortLink};
use super::neighbour::{Neighbour, NeighbourTable};
use super::table::Prefix;

/// Fills a [`Forwarding`] by hand: for tests, for replaying captures, for machines without a kernel to mirror.
#[derive(Debug)]
pub struct ForwardingBuilder {
    ports: Vec<PortLink>,
    host: Option<PortIndex>,
    main: Vec<RouteSpec>,
    routes: Vec<RouteSpec>,
    neighbours: NeighbourTable,
}

impl ForwardingBuilder {
    pub(super) fn new() -> Self {
        Self {
            ports: Vec::new(),
            host: None,
            main: Vec::new(),
            routes: Vec::new(),
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

    /// Adds a route. Of routes for the same prefix the first one counts.
    #[must_use]
    pub fn route(mut self, network: Ipv4Addr, prefix_len: u8, target: Target) -> Self {
        let network = u32::from(network);
        self.routes.push(Prefix { network, len: prefix_len, value: Some(target) });
        self
    }

    /// Adds a neighbour, or replaces it.
    #[must_use]
    pub fn neighbour(mut self, port: PortIndex, address: Ipv4Addr, neighbour: Neighbour) -> Self {
        self.neighbours.insert(port, address, neighbour);
        self
    }

    /// The snapshot.
    pub fn build(self) -> Forwarding {
        let routes = Arc::new(RouteTable::new(&[self.routes]).with_main(self.main));
        Forwarding::from_parts((self.ports, self.host), routes, self.neighbours)
    }
}
