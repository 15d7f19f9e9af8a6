//! The kernel's routes of one family, kept in the order in which the kernel would try them.
//!
//! Its lookup (`fib_table_lookup` in `net/ipv4/fib_trie.c`) goes from the longest prefix around an address to the
//! shortest. For one prefix there may be several routes, tried by ascending metric and, where that is equal, in the
//! order in which they were put there. A forbidding route ends the search; a unicast route counts if at least one of
//! its next hops lives, else the search goes on as if it were not there; `throw` leaves the table.
//!
//! ```text
//!   rules:   0: local   ->   32766: main   ->   32767: default        each table by itself, in this order
//! ```
//!
//! One detail is easily missed: as long as no rule was ever added, the kernel keeps `local` and `main` in *one* trie
//! (`fib_new_table`), where the longest prefix wins whatever the table and `local` goes first only between equal
//! prefixes. `ip route add local 10.0.0.0/24 dev lo` then does not hide `10.0.0.7/32` of `main`. The first rule
//! splits them, for good, even if it is deleted again. Which of the two it is shows when the kernel is asked for the
//! route to one of its own addresses: together, both tables call themselves `main`.
//!
//! IPv6 (`fib6_table_lookup`, `net/ipv6/ip6_fib.c`) is like it, but for these: `local` is always asked before `main`,
//! there is no `default`, and of routes with equal prefix and metric the kernel prefers one by the interface that the
//! packet came in by, where this mirror takes the first.
//!
//! Left out, and reported: routes for one type of service or (IPv6) for some sources, routes through tunnels or
//! gateways of the other family. Of several next hops the first living one that leaves by a Weir port is used; the
//! kernel would spread flows over them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::address::Address;
use super::address_type::AtPort;
use super::forwarding::{RouteSpec, Target, Unreachable};
use super::link::PortIndex;
use super::table::{Bits, Prefix, PrefixTable};

/// `RT_TABLE_DEFAULT`.
pub(crate) const TABLE_DEFAULT: u32 = 253;
/// `RT_TABLE_MAIN`.
pub(crate) const TABLE_MAIN: u32 = 254;
/// `RT_TABLE_LOCAL`.
pub(crate) const TABLE_LOCAL: u32 = 255;

/// What tells routes apart, in the order in which they are tried. Not unique: `ip route append` adds a second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteKey<A = Ipv4Addr> {
    pub(crate) table: u32,
    pub(crate) network: A,
    pub(crate) len: u8,
    /// Type of service; of IPv6 the length of the source's prefix. 0: for all packets.
    pub(crate) narrowed: u8,
    /// The metric; the lowest is tried first.
    pub(crate) priority: u32,
}

/// What a route does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteBody<A = Ipv4Addr> {
    pub(crate) kind: RouteKind,
    pub(crate) scope: u8,
    /// Preferred source address.
    pub(crate) source: Option<A>,
    pub(crate) mtu: Option<u32>,
    pub(crate) hops: Vec<Hop<A>>,
}

/// The kinds of routes (`RTN_*` in `linux/rtnetlink.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteKind {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Unreachable(Unreachable),
    Throw,
}

/// One way out of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop<A = Ipv4Addr> {
    /// 0 when only a nexthop object is named, whose interface is not known here.
    pub(crate) ifindex: u32,
    pub(crate) gateway: Option<A>,
    /// `RTNH_F_DEAD`: its interface is down, or has no carrier and `ignore_routes_with_linkdown` is set.
    pub(crate) dead: bool,
    /// Through a tunnel or a gateway of the other family.
    pub(crate) foreign: bool,
}

/// Where among the routes of one key a new one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    First,
    Last,
    /// In the place of the first.
    Replace,
}

/// The limit is reached; the route was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// All routes of the three tables.
#[derive(Debug)]
pub(crate) struct Fib<A> {
    /// The number orders the routes of one key.
    routes: BTreeMap<(RouteKey<A>, i32), RouteBody<A>>,
}

impl<A> Default for Fib<A> {
    fn default() -> Self {
        Self { routes: BTreeMap::new() }
    }
}

impl<A: Address> RouteBody<A> {
    /// Whether this is the same route as `other`, though the state of its next hops may differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let ways = |body: &Self| -> Vec<_> {
            body.hops.iter().map(|hop| (hop.ifindex, hop.gateway, hop.foreign)).collect()
        };
        (self.kind, self.scope, self.source, self.mtu)
            == (other.kind, other.scope, other.source, other.mtu)
            && ways(self) == ways(other)
    }

    /// Whether the kernel would stop at this route.
    fn counts(&self) -> bool {
        self.kind != RouteKind::Unicast || self.hops.iter().any(|hop| !hop.dead)
    }
}

impl<A: Address> Fib<A> {
    /// How many routes are held.
    pub(crate) fn len(&self) -> usize {
        self.routes.len()
    }

    /// Adds a route, or updates it when it is there already: a notice may repeat what a dump has told.
    ///
    /// # Errors
    /// When there are `routes_max` routes already and this would be one more.
    pub(crate) fn insert(
        &mut self,
        key: RouteKey<A>,
        body: RouteBody<A>,
        placement: Placement,
        routes_max: usize,
    ) -> Result<(), Full> {
        let mut same_key = self.routes.range_mut((key, i32::MIN)..=(key, i32::MAX));
        if let Some((_, held)) = same_key.by_ref().find(|(_, held)| held.is_same(&body)) {
            *held = body;
            return Ok(());
        }
        let mut numbers = self.routes.range((key, i32::MIN)..=(key, i32::MAX)).map(|(k, _)| k.1);
        let number = match (numbers.next(), placement) {
            (None, _) => 0,
            (Some(first), Placement::Replace) => first,
            // After 2^31 additions at one end without a removal numbers collide, far beyond any limit.
            (Some(first), Placement::First) => first.saturating_sub(1),
            (Some(first), Placement::Last) => {
                numbers.next_back().unwrap_or(first).saturating_add(1)
            }
        };
        if self.routes.len() >= routes_max && !self.routes.contains_key(&(key, number)) {
            return Err(Full);
        }
        self.routes.insert((key, number), body);
        Ok(())
    }

    /// Removes a route; one that is not there is no error.
    pub(crate) fn remove(&mut self, key: RouteKey<A>, body: &RouteBody<A>) {
        let mut same_key = self.routes.range((key, i32::MIN)..=(key, i32::MAX));
        let found = same_key.find(|(_, held)| held.is_same(body)).map(|(held_key, _)| *held_key);
        if let Some(held_key) = found {
            self.routes.remove(&held_key);
        }
    }

    /// The routes of one key, in their order.
    pub(crate) fn of_key(&self, key: RouteKey<A>) -> impl Iterator<Item = &RouteBody<A>> {
        self.routes.range((key, i32::MIN)..=(key, i32::MAX)).map(|(_, body)| body)
    }

    /// The first route that this mirror cannot follow, in words.
    pub(crate) fn unsupported(&self) -> Option<String> {
        self.routes.iter().find_map(|((key, _), body)| {
            let v4 = key.network.into().is_ipv4();
            let why = if key.narrowed != 0 && v4 {
                "is for one type of service only"
            } else if key.narrowed != 0 {
                "is for some sources only"
            } else if body.hops.iter().any(|hop| hop.foreign) {
                if v4 {
                    "goes through a tunnel or an IPv6 gateway"
                } else {
                    "goes through a tunnel"
                }
            } else if body.hops.iter().any(|hop| hop.ifindex == 0) {
                "names a nexthop object that the kernel does not spell out"
            } else {
                return None;
            };
            Some(format!("route {}/{} {why}", key.network, key.len))
        })
    }

    /// One of the machine's own addresses, of the table `local`.
    pub(crate) fn local_address(&self) -> Option<A> {
        let first = first_of(TABLE_LOCAL);
        self.routes
            .range((first, i32::MIN)..)
            .find(|((key, _), body)| key.len == A::Bits::LEN && body.kind == RouteKind::Local)
            .map(|((key, _), _)| key.network)
    }

    /// The routes that count, as lists for [`RouteTable::new`](super::forwarding::RouteTable::new). `merged` says
    /// whether the kernel keeps `local` and `main` in one trie. `target` says where a route leads.
    pub(crate) fn lists(
        &self,
        merged: bool,
        target: impl Fn(&RouteBody<A>) -> Target<A>,
    ) -> Vec<Vec<RouteSpec<A>>> {
        let mut local = self.list(TABLE_LOCAL, &target);
        let main = self.list(TABLE_MAIN, &target);
        let default = self.list(TABLE_DEFAULT, &target);
        if merged {
            // Of equal prefixes the first counts.
            local.extend(main);
            vec![local, default]
        } else {
            vec![local, main, default]
        }
    }

    /// The routes of table main that count.
    pub(crate) fn main(&self, target: impl Fn(&RouteBody<A>) -> Target<A>) -> Vec<RouteSpec<A>> {
        self.list(TABLE_MAIN, target)
    }

    /// The routes out of each port by itself, as the kernel finds them if it is asked for one interface alone: then no
    /// forbidding route counts.
    pub(crate) fn by_port(
        &self,
        ports: usize,
        port_of: impl Fn(u32) -> Option<PortIndex>,
    ) -> Vec<PrefixTable<AtPort, A::Bits>> {
        let of_table = |table| {
            let mut lists = vec![Vec::new(); ports];
            let (first, after) = (first_of(table), first_of(table + 1));
            for ((key, _), body) in self.routes.range((first, i32::MIN)..(after, i32::MIN)) {
                for hop in body.hops.iter().filter(|hop| !hop.dead && key.narrowed == 0) {
                    let list = port_of(hop.ifindex).and_then(|port| lists.get_mut(port.as_usize()));
                    let (prefix, on_link) = ((key.network, key.len), hop.gateway.is_none());
                    if let Some((list, what)) = list.zip(AtPort::of(body.kind)) {
                        what.push(prefix, on_link, list);
                    }
                }
            }
            lists
        };
        let (local, main) = (of_table(TABLE_LOCAL), of_table(TABLE_MAIN));
        let local_first = |(local, main)| PrefixTable::new(local).over(&PrefixTable::new(main));
        local.into_iter().zip(main).map(local_first).collect()
    }

    fn list(&self, table: u32, target: impl Fn(&RouteBody<A>) -> Target<A>) -> Vec<RouteSpec<A>> {
        let (first, after) = (first_of(table), first_of(table + 1));
        let routes = self.routes.range((first, i32::MIN)..(after, i32::MIN));
        let mut list: Vec<RouteSpec<A>> = Vec::new();
        for ((key, _), body) in routes.filter(|((key, _), body)| key.narrowed == 0 && body.counts())
        {
            let network = key.network.bits();
            let again =
                list.last().is_some_and(|last| (last.network, last.len) == (network, key.len));
            if !again {
                let value = (body.kind != RouteKind::Throw).then(|| target(body));
                list.push(Prefix { network, len: key.len, value });
            }
        }
        list
    }
}

/// The least key of a table.
fn first_of<A: Address>(table: u32) -> RouteKey<A> {
    RouteKey { table, network: A::ZERO, len: 0, narrowed: 0, priority: 0 }
}
