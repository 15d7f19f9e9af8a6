//! The source address for a packet of the machine itself, when its route names none.
//!
//! Follows `inet_select_addr` of the kernel (`net/ipv4/devinet.c`): a primary address of the outgoing interface whose
//! scope is not narrower than the route's, preferably one whose subnet contains the gateway; without any, one of
//! another interface that is not confined to its link.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::link::InterfaceAddress;

/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;

/// The address for packets out of `ifindex` by way of `gateway`, on a route of this scope.
pub(crate) fn select_source(
    addresses: &BTreeMap<u32, Vec<InterfaceAddress>>,
    ifindex: u32,
    gateway: Option<Ipv4Addr>,
    scope: u8,
) -> Option<Ipv4Addr> {
    let on_interface = addresses.get(&ifindex).map(Vec::as_slice).unwrap_or_default();
    let mut fitting = on_interface
        .iter()
        // Narrower than link counts as link, for 127.0.0.1 must not leave the machine.
        .filter(|address| !address.secondary && address.scope.min(SCOPE_LINK) <= scope);
    let first = fitting.clone().next();
    let best = match gateway {
        Some(gateway) => fitting.find(|address| address.subnet_contains(gateway)).or(first),
        None => first,
    };
    let elsewhere = || {
        // The kernel goes through its interfaces in the order of their creation, which is that of their numbers.
        addresses.values().find_map(|list| {
            list.iter().find(|address| {
                !address.secondary && address.scope != SCOPE_LINK && address.scope <= scope
            })
        })
    };
    best.or_else(elsewhere).map(|address| address.address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnet_of_the_gateway_decides_then_the_order() {
        let address = |octets: [u8; 4]| InterfaceAddress::new(octets.into(), 24);
        let secondary = InterfaceAddress { secondary: true, ..address([10, 0, 1, 9]) };
        let host = InterfaceAddress { scope: 254, ..address([127, 0, 0, 1]) };
        let link = InterfaceAddress { scope: SCOPE_LINK, ..address([169, 254, 0, 1]) };
        let addresses = BTreeMap::from([
            (1, vec![host]),
            (2, vec![link]),
            (3, vec![secondary, address([10, 0, 0, 1]), address([10, 0, 1, 1])]),
        ]);
        let select = |ifindex, gateway: Option<[u8; 4]>, scope| {
            select_source(&addresses, ifindex, gateway.map(Into::into), scope)
                .map(|address| address.octets())
        };
        assert_eq!(select(3, None, 0), Some([10, 0, 0, 1]));
        assert_eq!(select(3, Some([10, 0, 1, 7]), 0), Some([10, 0, 1, 1]));
        assert_eq!(select(3, Some([10, 0, 2, 7]), 0), Some([10, 0, 0, 1]));
        // An address of link scope serves routes of link scope only.
        assert_eq!(select(2, None, SCOPE_LINK), Some([169, 254, 0, 1]));
        assert_eq!(select(2, None, 0), Some([10, 0, 0, 1]));
        // No address of its own: borrowed, never one of host scope.
        assert_eq!(select(9, None, 0), Some([10, 0, 0, 1]));
        assert_eq!(select_source(&BTreeMap::new(), 9, None, 0), None);
    }
}
