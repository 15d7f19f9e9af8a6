//! `-m addrtype` (`net/netfilter/xt_addrtype.c`).

use std::net::Ipv4Addr;

use weir_control::rule::{AddressTypes, AddrtypeMatch, IfaceLimit, Negatable};

use crate::policy::Candidate;
use crate::route::AddressType;

pub(super) fn holds(test: &AddrtypeMatch, candidate: &Candidate<'_>) -> bool {
    let port = test.limit.map(|limit| match limit {
        IfaceLimit::In => candidate.ingress,
        IfaceLimit::Out => candidate.egress,
    });
    let is = |types: Option<Negatable<AddressTypes>>, address: Ipv4Addr| {
        types.is_none_or(|types| {
            let found = named(candidate.forwarding.address_type(address, port));
            types.value.intersects(found) != types.negated
        })
    };
    let addresses = candidate.headers.v4();
    addresses.is_some_and(|(source, destination)| {
        is(test.source, source) && is(test.destination, destination)
    })
}

/// The kernel knows more kinds of routes, but the look-up that it makes here finds no others.
fn named(kind: AddressType) -> AddressTypes {
    match kind {
        AddressType::Unicast => AddressTypes::UNICAST,
        AddressType::Local => AddressTypes::LOCAL,
        AddressType::Broadcast => AddressTypes::BROADCAST,
        AddressType::Anycast => AddressTypes::ANYCAST,
        AddressType::Multicast => AddressTypes::MULTICAST,
    }
}
