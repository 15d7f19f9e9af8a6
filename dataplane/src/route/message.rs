//! From netlink messages to changes: only what the mirror keeps, checked once.
//!
//! rtnetlink(7) describes the messages, `linux/rtnetlink.h` and `linux/neighbour.h` their attributes. Messages of other
//! families (the bridge's notices about its ports, which look like deleted links) come on the same groups and mean
//! nothing here. Those of IPv6 are read whether or not it is forwarded; that is for `state.rs` to ask.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::NLM_F_APPEND;
use netlink_packet_core::NLM_F_REPLACE;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState as Nud,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::address::Address;
use super::fib::{
    Hop, Placement, RouteBody, RouteKey, RouteKind, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN,
};
use super::forwarding::Unreachable;
use super::link::InterfaceAddress;
use super::neighbour::NeighbourState;
use super::rule::Rule;
use super::source6::Source6;
use super::table::Bits;

/// One thing that the kernel says about its tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// An interface exists, with these properties.
    Link(Link),
    /// An interface is gone.
    LinkGone { ifindex: u32 },
    /// An interface has an address.
    Address { ifindex: u32, address: InterfaceAddress },
    /// An interface has an IPv6 address; `None`: one that is not to be used yet, or not to be used at all.
    Address6(Option<Source6>),
    /// An interface lost an address.
    AddressGone,
    /// An interface lost an IPv6 address.
    Address6Gone,
    /// There is a route, put at this place among those of the same key.
    Route { key: RouteKey, body: RouteBody, placement: Placement },
    /// A route is gone.
    RouteGone { key: RouteKey, body: RouteBody },
    /// There is an IPv6 route; `alone` unless it has several next hops or takes another's place.
    Route6 { key: RouteKey<Ipv6Addr>, body: RouteBody<Ipv6Addr>, alone: bool },
    /// An IPv6 route is gone.
    Route6Gone { key: RouteKey<Ipv6Addr>, body: RouteBody<Ipv6Addr> },
    /// A neighbour is in this state.
    Neighbour { ifindex: u32, address: IpAddr, mac: Option<[u8; 6]>, state: NeighbourState },
    /// A neighbour is gone.
    NeighbourGone { ifindex: u32, address: IpAddr },
    /// There is a routing rule.
    Rule(Rule),
    /// There is a routing rule of IPv6.
    Rule6(Rule),
    /// A routing rule is gone.
    RuleGone,
    /// A nexthop object was made, changed or deleted.
    Nexthop,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u32,
    /// `IFF_UP` and `IFF_LOWER_UP`.
    pub(crate) up: bool,
    /// `IFF_UP` alone.
    pub(crate) admin_up: bool,
}

impl Change {
    /// What a message says; `None` when it does not concern the mirror. `flags` are those of the netlink header.
    pub(crate) fn parse(message: RouteNetlinkMessage, flags: u16) -> Option<Self> {
        match message {
            RouteNetlinkMessage::NewLink(message) => link(message).map(Self::Link),
            RouteNetlinkMessage::DelLink(message) => {
                let concerns = message.header.interface_family == AddressFamily::Unspec;
                concerns.then_some(Self::LinkGone { ifindex: message.header.index })
            }
            RouteNetlinkMessage::NewAddress(message) => address(&message),
            RouteNetlinkMessage::DelAddress(message) => match message.header.family {
                AddressFamily::Inet => Some(Self::AddressGone),
                AddressFamily::Inet6 => Some(Self::Address6Gone),
                _ => None,
            },
            RouteNetlinkMessage::NewRoute(message)
                if message.header.address_family == AddressFamily::Inet6 =>
            {
                let (key, body) = route(message)?;
                let alone = body.hops.len() <= 1 && flags & NLM_F_REPLACE == 0;
                Some(Self::Route6 { key, body, alone })
            }
            RouteNetlinkMessage::DelRoute(message)
                if message.header.address_family == AddressFamily::Inet6 =>
            {
                let (key, body) = route(message)?;
                Some(Self::Route6Gone { key, body })
            }
            RouteNetlinkMessage::NewRoute(message) => {
                let (key, body) = route(message)?;
                Some(Self::Route { key, body, placement: placement(flags) })
            }
            RouteNetlinkMessage::DelRoute(message) => {
                let (key, body) = route(message)?;
                Some(Self::RouteGone { key, body })
            }
            RouteNetlinkMessage::NewNeighbour(message) => neighbour(&message),
            RouteNetlinkMessage::DelNeighbour(message) => match neighbour(&message)? {
                Self::Neighbour { ifindex, address, .. } => {
                    Some(Self::NeighbourGone { ifindex, address })
                }
                _ => None,
            },
            RouteNetlinkMessage::NewRule(message) => match message.header.family {
                AddressFamily::Inet => Some(Self::Rule(rule(&message))),
                AddressFamily::Inet6 => Some(Self::Rule6(rule(&message))),
                _ => None,
            },
            RouteNetlinkMessage::DelRule(message) => {
                let ours = [AddressFamily::Inet, AddressFamily::Inet6];
                ours.contains(&message.header.family).then_some(Self::RuleGone)
            }
            _ => None,
        }
    }
}

/// Where the kernel put a new route: its notice repeats the flags of the request (`fib_table_insert`).
fn placement(flags: u16) -> Placement {
    if flags & NLM_F_REPLACE != 0 {
        Placement::Replace
    } else if flags & NLM_F_APPEND != 0 {
        Placement::Last
    } else {
        Placement::First
    }
}

fn link(message: LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let mut link = Link {
        ifindex: message.header.index,
        name: String::new(),
        mac: [0; 6],
        mtu: 0,
        up: flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        admin_up: flags.contains(LinkFlags::Up),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            // Other lengths belong to links that are not Ethernet.
            LinkAttribute::Address(mac) => link.mac = mac.try_into().unwrap_or_default(),
            _ => {}
        }
    }
    // Notices about one property (wireless events) lack the rest.
    (!link.name.is_empty() && link.mtu != 0).then_some(link)
}

fn address(message: &AddressMessage) -> Option<Change> {
    match message.header.family {
        AddressFamily::Inet => {}
        AddressFamily::Inet6 => return address6(message),
        _ => return None,
    }
    let (mut local, mut peer, mut broadcast) = (None, None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match *attribute {
            AddressAttribute::Local(IpAddr::V4(address)) => local = Some(address),
            AddressAttribute::Address(IpAddr::V4(address)) => peer = Some(address),
            AddressAttribute::Broadcast(address) => broadcast = Some(address),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    let address = local.or(peer)?;
    Some(Change::Address {
        ifindex: message.header.index,
        address: InterfaceAddress {
            address,
            prefix_len: message.header.prefix_len.min(32),
            peer: peer.unwrap_or(address),
            broadcast,
            scope: message.header.scope.into(),
            secondary: flags.contains(AddressFlags::Secondary),
        },
    })
}

fn address6(message: &AddressMessage) -> Option<Change> {
    let (mut local, mut peer) = (None, None);
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match *attribute {
            AddressAttribute::Local(IpAddr::V6(address)) => local = Some(address),
            AddressAttribute::Address(IpAddr::V6(address)) => peer = Some(address),
            AddressAttribute::Flags(all) => flags = all,
            _ => {}
        }
    }
    // As `ipv6_dev_get_saddr`: not before it is known to be unique, unless it is optimistic.
    let usable =
        !flags.contains(AddressFlags::Tentative) || flags.contains(AddressFlags::Optimistic);
    let address = local.or(peer)?;
    Some(Change::Address6(usable.then_some(Source6 {
        address,
        prefix_len: message.header.prefix_len.min(128),
        ifindex: message.header.index,
        avoided: flags.intersects(AddressFlags::Deprecated | AddressFlags::Optimistic),
        // Of IPv6 the flag of secondary addresses has this meaning (`IFA_F_TEMPORARY`).
        temporary: flags.contains(AddressFlags::Secondary),
    })))
}

fn inet<A: Address>(address: &RouteAddress) -> Option<A> {
    match address {
        RouteAddress::Inet(address) => A::of((*address).into()),
        RouteAddress::Inet6(address) => A::of((*address).into()),
        _ => None,
    }
}

/// A route of the tables that ordinary rules look into; `None` for others, and for entries of the route cache.
fn route<A: Address>(message: RouteMessage) -> Option<(RouteKey<A>, RouteBody<A>)> {
    let header = message.header;
    let (family, narrowed) = match A::ZERO.into() {
        IpAddr::V4(_) => (AddressFamily::Inet, header.tos),
        IpAddr::V6(_) => (AddressFamily::Inet6, header.source_prefix_length),
    };
    if header.address_family != family || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut key = RouteKey {
        table: header.table.into(),
        network: A::ZERO,
        len: header.destination_prefix_length.min(A::Bits::LEN),
        narrowed,
        priority: 0,
    };
    let mut body = RouteBody {
        kind: kind(header.kind)?,
        scope: header.scope.into(),
        source: None,
        mtu: None,
        hops: Vec::new(),
    };
    let mut many = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(table) => key.table = *table,
            RouteAttribute::Destination(to) => key.network = inet(to).unwrap_or(A::ZERO),
            RouteAttribute::Priority(priority) => key.priority = *priority,
            RouteAttribute::PrefSource(source) => body.source = inet(source),
            RouteAttribute::Metrics(metrics) => {
                body.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(hops) => many = Some(hops),
            _ => {}
        }
    }
    if ![TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT].contains(&key.table) {
        return None;
    }
    body.hops = match many {
        Some(hops) => hops.iter().map(hop_of_many).collect(),
        None => {
            let dead = header.flags.contains(RouteFlags::Dead);
            let (hop, nexthop_id) = hop(&message.attributes, dead);
            // A route may name no interface: `blackhole`, for one. Naming only a nexthop object, it does have one.
            if hop.ifindex != 0 || nexthop_id { vec![hop] } else { Vec::new() }
        }
    };
    Some((key, body))
}

fn hop_of_many<A: Address>(next_hop: &RouteNextHop) -> Hop<A> {
    let dead = next_hop.flags.contains(RouteNextHopFlags::Dead);
    let (mut hop, _) = hop(&next_hop.attributes, dead);
    hop.ifindex = next_hop.interface_index;
    hop
}

/// The way described by attributes, and whether they name a nexthop object.
fn hop<A: Address>(attributes: &[RouteAttribute], dead: bool) -> (Hop<A>, bool) {
    let mut hop = Hop { ifindex: 0, gateway: None, dead, foreign: false };
    let mut nexthop_id = false;
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(ifindex) => hop.ifindex = *ifindex,
            RouteAttribute::Gateway(gateway) => hop.gateway = inet(gateway),
            // A gateway of the other family, or a tunnel: not ours to build.
            RouteAttribute::Via(RouteVia::Inet(gateway)) => {
                hop.gateway = A::of((*gateway).into());
                hop.foreign |= hop.gateway.is_none();
            }
            RouteAttribute::Via(_) | RouteAttribute::EncapType(_) => hop.foreign = true,
            RouteAttribute::NhId(_) => nexthop_id = true,
            _ => {}
        }
    }
    (hop, nexthop_id)
}

fn kind(kind: RouteType) -> Option<RouteKind> {
    Some(match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::Anycast => RouteKind::Anycast,
        RouteType::Multicast => RouteKind::Multicast,
        RouteType::BlackHole => RouteKind::Unreachable(Unreachable::Blackhole),
        RouteType::Unreachable => RouteKind::Unreachable(Unreachable::Unreachable),
        RouteType::Prohibit => RouteKind::Unreachable(Unreachable::Prohibit),
        RouteType::Throw => RouteKind::Throw,
        _ => return None,
    })
}

fn neighbour(message: &NeighbourMessage) -> Option<Change> {
    let header = &message.header;
    let ours = [AddressFamily::Inet, AddressFamily::Inet6].contains(&header.family);
    if !ours || header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(to)) => {
                address = Some(IpAddr::V4(*to));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(to)) => {
                address = Some(IpAddr::V6(*to));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let state = match header.state {
        Nud::Reachable | Nud::Permanent | Nud::Noarp => NeighbourState::Reachable,
        Nud::Stale => NeighbourState::Stale,
        Nud::Delay | Nud::Probe => NeighbourState::Probing,
        Nud::Failed => NeighbourState::Failed,
        _ => NeighbourState::Incomplete,
    };
    Some(Change::Neighbour { ifindex: header.ifindex, address: address?, mac, state })
}

fn rule(message: &RuleMessage) -> Rule {
    let header = &message.header;
    let mut rule = Rule { priority: 0, plain_table: None, own_traffic_only: false };
    let mut table = u32::from(header.table);
    let mut plain = header.action == RuleAction::ToTable
        && (header.dst_len, header.src_len, header.tos) == (0, 0, 0)
        && !header.flags.contains(RuleFlags::Invert);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Iifname(name) => {
                rule.own_traffic_only = name == "lo" && !header.flags.contains(RuleFlags::Invert);
                plain = false;
            }
            // u32::MAX says "none", and the kernel always sends it.
            RuleAttribute::SuppressPrefixLen(u32::MAX) | RuleAttribute::Protocol(_) => {}
            _ => plain = false,
        }
    }
    rule.plain_table = plain.then_some(table);
    rule
}
