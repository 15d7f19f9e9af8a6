//! `route`: time to live, next hop, path MTU.
//!
//! The order is the kernel's (`ip_route_input_slow`, then `ip_forward` in `net/ipv4/ip_forward.c`): the
//! route is looked up first, so a packet without one is answered by "unreachable" whatever its TTL; then
//! the TTL; then the MTU; and only then chain FORWARD sees the packet. A packet that a rule would have
//! dropped is thus still answered when its TTL ends here.
//!
//! IPv6 goes the same way (`ip6_route_input`, then `ip6_forward` in `net/ipv6/ip6_output.c`), with one question more
//! behind the hop limit: what comes from an address of the link must not leave it. (The kernel lets it leave by the
//! port that it came by; Weir does not.)
//!
//! What the machine itself sends goes by the same routes, with its TTL as it is; what is for the machine itself goes to
//! its port, if it has one here ([`Forwarding::host`]), whatever its TTL and its length. Of IPv6 that is also what is
//! for an anycast address of the machine, which datagrams from anywhere reach as any other; not what is for one of the
//! link, whose port could not be told any more.

use std::net::{IpAddr, Ipv4Addr};

use crate::batch::{Addresses, Batch, Headers};
use crate::respond::{self, Answer, IcmpError, Icmpv6Error, Unreachable6};
use crate::route::{Forwarding, Route, Unreachable};
use crate::verdict::{DropReason, Verdict};

/// The smallest MTU that IPv6 allows a link (RFC 8200 section 5).
const IPV6_MTU_MIN: u32 = 1280;

/// Finds the way of every open packet.
pub fn route(batch: &mut Batch, forwarding: &Forwarding) {
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        let from_host = forwarding.host() == Some(batch.ingress[i]);
        let headers = &batch.headers[i];
        let way = match headers.addresses {
            Addresses::V4 { destination, .. } => {
                way(forwarding.route(destination), headers, from_host, forwarding)
            }
            Addresses::V6 { destination, .. } => {
                way(forwarding.route6(destination), headers, from_host, forwarding)
            }
        };
        batch.verdict[i] = way.verdict;
        batch.next_hop[i] = way.next_hop;
        batch.mtu[i] = way.mtu;
        batch.answer[i] = way.trouble.map(|trouble| trouble.answer(&batch.headers[i].addresses));
    }
}

/// What a packet's sender is told.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// There is no route.
    NoRoute,
    /// A route says "unreachable".
    Forbidden,
    /// A route says "prohibit".
    Prohibited,
    /// The link is down.
    LinkDown,
    /// Its time to live is over.
    TimeOver,
    /// It comes from an address of the link.
    BeyondScope,
    /// It is larger than the way allows.
    TooBig { mtu: u16 },
}

impl Trouble {
    #[cold]
    fn answer(self, addresses: &Addresses) -> Answer {
        match addresses {
            Addresses::V4 { .. } => Answer::Error(self.icmp()),
            Addresses::V6 { .. } => Answer::Error6(self.icmpv6()),
        }
    }

    /// The codes of `ip_error` (`net/ipv4/route.c`).
    fn icmp(self) -> IcmpError {
        IcmpError::DestinationUnreachable(match self {
            Self::TimeOver => return IcmpError::TimeExceeded,
            Self::TooBig { mtu } => return IcmpError::FragmentationNeeded { mtu },
            Self::NoRoute => respond::Unreachable::Net,
            Self::Prohibited => respond::Unreachable::AdminProhibited,
            Self::Forbidden | Self::LinkDown | Self::BeyondScope => respond::Unreachable::Host,
        })
    }

    /// The codes of `ip6_rt_init_dst_reject` (`net/ipv6/route.c`) and `ip6_forward`.
    fn icmpv6(self) -> Icmpv6Error {
        Icmpv6Error::DestinationUnreachable(match self {
            Self::TimeOver => return Icmpv6Error::TimeExceeded,
            Self::TooBig { mtu } => return Icmpv6Error::PacketTooBig { mtu: mtu.into() },
            Self::NoRoute | Self::Forbidden => Unreachable6::NoRoute,
            Self::Prohibited => Unreachable6::AdminProhibited,
            Self::BeyondScope => Unreachable6::BeyondScope,
            Self::LinkDown => Unreachable6::Address,
        })
    }
}

/// Whether a packet between these addresses is for the machine itself, and goes up by the port that it may have here.
pub(super) fn is_for_host(addresses: &Addresses, forwarding: &Forwarding) -> bool {
    match *addresses {
        Addresses::V4 { destination, .. } => goes_up(&forwarding.route(destination), addresses),
        Addresses::V6 { destination, .. } => goes_up(&forwarding.route6(destination), addresses),
    }
}

fn goes_up<A>(route: &Route<A>, addresses: &Addresses) -> bool {
    match (route, addresses) {
        (Route::Local, Addresses::V4 { .. }) => true,
        // "Broadcast" is said of anycast addresses.
        (Route::Local | Route::Broadcast, Addresses::V6 { destination, .. }) => {
            !destination.is_unicast_link_local()
        }
        _ => false,
    }
}

struct Way {
    verdict: Verdict,
    next_hop: IpAddr,
    mtu: u16,
    trouble: Option<Trouble>,
}

/// Of a packet that goes nowhere.
const NO_HOP: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Way {
    fn end(reason: DropReason, trouble: Option<Trouble>) -> Self {
        Self { verdict: Verdict::Drop(reason), next_hop: NO_HOP, mtu: 0, trouble }
    }

    fn to_host() -> Self {
        Self { verdict: Verdict::ToHost, next_hop: NO_HOP, mtu: u16::MAX, trouble: None }
    }
}

#[inline]
fn way<A: Into<IpAddr>>(
    route: Route<A>,
    headers: &Headers,
    from_host: bool,
    forwarding: &Forwarding,
) -> Way {
    let (port, next_hop, mtu) = match route {
        // Back to where it came from: a route that somebody else made to the device of the machine itself.
        Route::Forward { port, .. } if forwarding.host() == Some(port) => {
            return Way::end(DropReason::NotAPort, None);
        }
        Route::Forward { port, next_hop, mtu, .. } => (port, next_hop, mtu),
        Route::Local | Route::Broadcast
            if forwarding.host().is_some() && !from_host && goes_up(&route, &headers.addresses) =>
        {
            return Way::to_host();
        }
        Route::Local | Route::Broadcast | Route::Multicast => {
            return Way::end(DropReason::LocalAddress, None);
        }
        Route::None => return Way::end(DropReason::NoRoute, Some(Trouble::NoRoute)),
        Route::NotOurs => return Way::end(DropReason::NotAPort, None),
        Route::Unreachable(how) => {
            let trouble = match how {
                Unreachable::Unreachable => Some(Trouble::Forbidden),
                Unreachable::Prohibit => Some(Trouble::Prohibited),
                Unreachable::Blackhole => None,
            };
            return Way::end(DropReason::RouteUnreachable, trouble);
        }
    };
    if headers.ttl <= 1 && !from_host {
        return Way::end(DropReason::TtlExceeded, Some(Trouble::TimeOver));
    }
    let six = match headers.addresses {
        Addresses::V4 { .. } => false,
        Addresses::V6 { source, .. } if source.is_unicast_link_local() => {
            return Way::end(DropReason::BeyondScope, Some(Trouble::BeyondScope));
        }
        Addresses::V6 { .. } => true,
    };
    let Some(link) = forwarding.port(port).filter(|link| link.up) else {
        return Way::end(DropReason::PortDown, Some(Trouble::LinkDown));
    };
    let mtu = mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu));
    let mtu = if six { mtu.max(IPV6_MTU_MIN) } else { mtu };
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    let size = match headers.largest_fragment {
        0 => headers.total_len,
        largest => largest,
    };
    if size > mtu && headers.dont_fragment {
        return Way::end(DropReason::MtuExceeded, Some(Trouble::TooBig { mtu }));
    }
    Way { verdict: Verdict::Forward(port), next_hop: next_hop.into(), mtu, trouble: None }
}
