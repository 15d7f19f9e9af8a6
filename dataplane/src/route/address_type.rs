//! What kind of address one is to this machine, for `-m addrtype`.

use std::net::Ipv4Addr;

use super::forwarding::{Forwarding, Target};
use super::link::PortIndex;

/// A kind of address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressType {
    /// Any other address.
    Unicast,
    /// One of the machine's own.
    Local,
    /// Of one of its subnets, 255.255.255.255, or of 0.0.0.0/8.
    Broadcast,
    /// Of an anycast route (`ip route add anycast`).
    Anycast,
    /// 224.0.0.0/4, or of a multicast route.
    Multicast,
}

impl Forwarding {
    /// What kind of address this is, or with `port`, what kind it is there: elsewhere it is unicast.
    ///
    /// As `inet_dev_addr_type` (`net/ipv4/fib_frontend.c`) it looks into the kernel's table `local` alone, which the
    /// kernel keeps together with `main` unless there have been routing rules of one's own. An address that a route
    /// forbids, or that has none, is unicast.
    #[must_use]
    pub fn address_type(&self, address: Ipv4Addr, port: Option<PortIndex>) -> AddressType {
        match address.octets()[0] {
            0 => return AddressType::Broadcast,
            224..=239 => return AddressType::Multicast,
            255 if address == Ipv4Addr::BROADCAST => return AddressType::Broadcast,
            _ => {}
        }
        let (kind, there) = match self.routes.lookup_with_list(address) {
            Some((Target::Local { port, .. }, true)) => (AddressType::Local, port),
            Some((Target::Broadcast { port }, true)) => (AddressType::Broadcast, port),
            Some((Target::Anycast { port }, true)) => (AddressType::Anycast, port),
            Some((Target::Multicast { port }, true)) => (AddressType::Multicast, port),
            _ => return AddressType::Unicast,
        };
        if port.is_none() || port == there { kind } else { AddressType::Unicast }
    }
}

#[cfg(test)]
mod tests {
    use super::super::forwarding::Unreachable;
    use super::super::link::{InterfaceAddress, PortLink};
    use super::*;

    const EAST: PortIndex = PortIndex(0);
    const WEST: PortIndex = PortIndex(1);

    fn link(name: &str, address: [u8; 4]) -> PortLink {
        PortLink {
            name: name.into(),
            ifindex: Some(2),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
            up: true,
            addresses: vec![InterfaceAddress::new(address.into(), 24)],
        }
    }

    #[test]
    fn addresses_are_of_a_kind_where_they_are() {
        let loopback = Target::Local { source: None, port: None };
        let anycast = Target::Anycast { port: Some(EAST) };
        let forwarding = Forwarding::builder()
            .port(link("east", [10, 0, 1, 1]))
            .port(link("west", [10, 0, 2, 1]))
            .route([127, 0, 0, 0].into(), 8, loopback)
            .route([10, 9, 0, 1].into(), 32, anycast)
            .route([10, 8, 0, 0].into(), 16, Target::Unreachable(Unreachable::Blackhole))
            .build();
        use AddressType::{Anycast, Broadcast, Local, Multicast, Unicast};
        for (address, anywhere, east, west) in [
            ([10, 0, 1, 1], Local, Local, Unicast),
            ([10, 0, 2, 1], Local, Unicast, Local),
            ([127, 0, 0, 1], Local, Unicast, Unicast),
            ([10, 0, 1, 255], Broadcast, Broadcast, Unicast),
            ([255, 255, 255, 255], Broadcast, Broadcast, Broadcast),
            ([0, 1, 2, 3], Broadcast, Broadcast, Broadcast),
            ([224, 0, 0, 1], Multicast, Multicast, Multicast),
            ([10, 9, 0, 1], Anycast, Anycast, Unicast),
            ([10, 0, 1, 2], Unicast, Unicast, Unicast),
            ([10, 8, 0, 1], Unicast, Unicast, Unicast),
            ([8, 8, 8, 8], Unicast, Unicast, Unicast),
        ] {
            let kind = |port| forwarding.address_type(address.into(), port);
            assert_eq!(
                [None, Some(EAST), Some(WEST)].map(kind),
                [anywhere, east, west],
                "{address:?}"
            );
        }
    }
}
