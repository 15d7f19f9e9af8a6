//! What kind of address one is to this machine, for `-m addrtype`.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::Address;
use super::fib::RouteKind;
use super::forwarding::{Forwarding, Target};
use super::link::PortIndex;
use super::table::{Bits, Prefix};

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

/// What a route out of a port says of the addresses that it leads to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AtPort {
    /// They are reached.
    Reached,
    /// They are anycast addresses.
    Anycast,
}

impl AtPort {
    /// Of a kind of route; none counts that forbids.
    pub(super) fn of(kind: RouteKind) -> Option<Self> {
        match kind {
            RouteKind::Unicast | RouteKind::Local | RouteKind::Broadcast | RouteKind::Multicast => {
                Some(Self::Reached)
            }
            RouteKind::Anycast => Some(Self::Anycast),
            RouteKind::Unreachable(_) | RouteKind::Throw => None,
        }
    }

    /// The same of a target, and at which port.
    pub(super) fn of_target<A>(target: Target<A>) -> Option<(PortIndex, Self)> {
        match target {
            Target::Forward { port, .. } => Some((port, Self::Reached)),
            Target::Local { port, .. }
            | Target::Broadcast { port }
            | Target::Multicast { port } => port.map(|port| (port, Self::Reached)),
            Target::Anycast { port } => port.map(|port| (port, Self::Anycast)),
            Target::Unreachable(_) | Target::NotOurs { .. } => None,
        }
    }

    /// Puts the prefix of such a route into a list. The first address of one on the link is anycast, whoever has it
    /// (`ipv6_anycast_destination`, include/net/ip6_route.h).
    pub(super) fn push<A: Address>(
        self,
        (network, len): (A, u8),
        on_link: bool,
        list: &mut Vec<Prefix<Self, A::Bits>>,
    ) {
        let network = network.bits();
        list.push(Prefix { network, len, value: Some(self) });
        if on_link && len < 127 {
            list.push(Prefix { network, len: A::Bits::LEN, value: Some(Self::Anycast) });
        }
    }
}

/// What an IPv6 address is at one port (`match_lookup_rt6`, net/netfilter/xt_addrtype.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressAt {
    /// No route out of that port leads to it.
    Unreachable,
    /// One does.
    Reached {
        /// The port has this address.
        local: bool,
        /// It is an anycast address there.
        anycast: bool,
    },
}

impl Forwarding {
    /// What an IPv6 address is at a port alone.
    #[must_use]
    pub fn address6_at(&self, address: Ipv6Addr, port: PortIndex) -> AddressAt {
        let Some(found) = self.at_port6(address, port) else { return AddressAt::Unreachable };
        let ifindex = self.port(port).and_then(|link| link.ifindex);
        let sources = self.sources6().into_iter().flat_map(|sources| &sources.0);
        let mut own = sources.filter(|source| Some(source.ifindex) == ifindex);
        AddressAt::Reached {
            local: own.any(|source| source.address == address),
            anycast: found == AtPort::Anycast,
        }
    }

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
