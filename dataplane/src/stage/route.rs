//! `route`: time to live, next hop, path MTU.
//!
//! The order is the kernel's (`ip_route_input_slow`, then `ip_forward` in `net/ipv4/ip_forward.c`): the
//! route is looked up first, so a packet without one is answered by "unreachable" whatever its TTL; then
//! the TTL; then the MTU; and only then chain FORWARD sees the packet. A packet that a rule would have
//! dropped is thus still answered when its TTL ends here.
//!
//! What the machine itself sends goes by the same routes, with its TTL as it is; what is for the machine itself goes to
//! its port, if it has one here ([`Forwarding::host`]), whatever its TTL and its length.

use std::net::Ipv4Addr;

use crate::batch::{Batch, Headers};
use crate::respond::{self, Answer, IcmpError};
use crate::route::{Forwarding, Route, Unreachable};
use crate::verdict::{DropReason, Verdict};

/// Finds the way of every open packet.
pub fn route(batch: &mut Batch, forwarding: &Forwarding) {
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        let from_host = forwarding.host() == Some(batch.ingress[i]);
        let way = way(&batch.headers[i], from_host, forwarding);
        batch.verdict[i] = way.verdict;
        batch.next_hop[i] = way.next_hop;
        batch.mtu[i] = way.mtu;
        batch.answer[i] = way.answer.map(Answer::Error);
    }
}

struct Way {
    verdict: Verdict,
    next_hop: Ipv4Addr,
    mtu: u16,
    answer: Option<IcmpError>,
}

impl Way {
    fn end(reason: DropReason, answer: Option<IcmpError>) -> Self {
        Self { verdict: Verdict::Drop(reason), next_hop: Ipv4Addr::UNSPECIFIED, mtu: 0, answer }
    }

    fn to_host() -> Self {
        let verdict = Verdict::ToHost;
        Self { verdict, next_hop: Ipv4Addr::UNSPECIFIED, mtu: u16::MAX, answer: None }
    }

    fn unreachable(reason: DropReason, code: respond::Unreachable) -> Self {
        Self::end(reason, Some(IcmpError::DestinationUnreachable(code)))
    }
}

fn way(headers: &Headers, from_host: bool, forwarding: &Forwarding) -> Way {
    let (port, next_hop, mtu) = match forwarding.route(headers.destination) {
        // Back to where it came from: a route that somebody else made to the device of the machine itself.
        Route::Forward { port, .. } if forwarding.host() == Some(port) => {
            return Way::end(DropReason::NotAPort, None);
        }
        Route::Forward { port, next_hop, mtu, .. } => (port, next_hop, mtu),
        Route::Local if forwarding.host().is_some() && !from_host => return Way::to_host(),
        Route::Local | Route::Broadcast | Route::Multicast => {
            return Way::end(DropReason::LocalAddress, None);
        }
        Route::None => return Way::unreachable(DropReason::NoRoute, respond::Unreachable::Net),
        Route::NotOurs => return Way::end(DropReason::NotAPort, None),
        // The codes of net/ipv4/route.c ip_error.
        Route::Unreachable(Unreachable::Unreachable) => {
            return Way::unreachable(DropReason::RouteUnreachable, respond::Unreachable::Host);
        }
        Route::Unreachable(Unreachable::Prohibit) => {
            return Way::unreachable(
                DropReason::RouteUnreachable,
                respond::Unreachable::AdminProhibited,
            );
        }
        Route::Unreachable(Unreachable::Blackhole) => {
            return Way::end(DropReason::RouteUnreachable, None);
        }
    };
    if headers.ttl <= 1 && !from_host {
        return Way::end(DropReason::TtlExceeded, Some(IcmpError::TimeExceeded));
    }
    let Some(link) = forwarding.port(port).filter(|link| link.up) else {
        return Way::unreachable(DropReason::PortDown, respond::Unreachable::Host);
    };
    let mtu = mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    let size = match headers.largest_fragment {
        0 => headers.total_len,
        largest => largest,
    };
    if size > mtu && headers.dont_fragment {
        return Way::end(DropReason::MtuExceeded, Some(IcmpError::FragmentationNeeded { mtu }));
    }
    Way { verdict: Verdict::Forward(port), next_hop, mtu, answer: None }
}
