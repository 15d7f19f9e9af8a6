//! `-m addrtype` (`net/netfilter/xt_addrtype.c`).

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_control::rule::{AddressTypes, AddrtypeMatch, IfaceLimit, Negatable};

use crate::batch::Addresses;
use crate::policy::Candidate;
use crate::port::PortIndex;
use crate::route::{AddressAt, AddressType, Forwarding, Route};
use crate::wire::ipv6;

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
    match candidate.headers.addresses {
        Addresses::V4 { source, destination } => {
            is(test.source, source) && is(test.destination, destination)
        }
        Addresses::V6 { source, destination } => {
            let is = |types: Option<Negatable<AddressTypes>>, address: Ipv6Addr| {
                types.is_none_or(|types| {
                    of_these(types.value, address, port, candidate.forwarding) != types.negated
                })
            };
            is(test.source, source) && is(test.destination, destination)
        }
    }
}

/// `match_type6`: what the address says itself must all hold; of what the routes say, one thing must. With a port it is
/// the routes out of that one alone. (Of anycast routes the kernel here knows only those that it has made itself, with
/// the machine's addresses; Weir does not tell them from others.)
fn of_these(
    types: AddressTypes,
    address: Ipv6Addr,
    port: Option<PortIndex>,
    forwarding: &Forwarding,
) -> bool {
    let asked = |kind: AddressTypes| types.intersects(kind);
    let excluded = asked(AddressTypes::MULTICAST) && !address.is_multicast()
        || asked(AddressTypes::UNICAST) && !ipv6::is_unicast(address)
        || asked(AddressTypes::UNSPEC) && !address.is_unspecified();
    if excluded {
        return false;
    }
    let by_route = [AddressTypes::ANYCAST, AddressTypes::LOCAL, AddressTypes::UNREACHABLE];
    if !by_route.into_iter().any(asked) {
        return true;
    }
    if let Some(port) = port {
        return match forwarding.address6_at(address, port) {
            AddressAt::Unreachable => asked(AddressTypes::UNREACHABLE),
            AddressAt::Reached { local, anycast } => {
                local && asked(AddressTypes::LOCAL) || anycast && asked(AddressTypes::ANYCAST)
            }
        };
    }
    asked(match forwarding.route_type6(address) {
        Route::Local => AddressTypes::LOCAL,
        Route::Broadcast => AddressTypes::ANYCAST,
        Route::Unreachable(_) | Route::None => AddressTypes::UNREACHABLE,
        Route::Forward { .. } | Route::NotOurs | Route::Multicast => return false,
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
