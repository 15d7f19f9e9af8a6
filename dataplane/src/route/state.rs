// long: one state machine over one set of fields; its messages and its tests are elsewhere.
//! The mirror's knowledge and how messages change it: no socket, no thread, no clock.
//!
//! Notices do not tell everything. When an interface goes down or loses an address, or a nexthop object is deleted, the
//! kernel drops the routes that depended on it without a word (`fib_table_flush`), and the order of addresses, which
//! decides about source addresses, shows in a dump only. So [`MirrorState::apply`] returns what has to be asked for
//! again, as [`Stale`] parts:
//!
//! ```text
//!   notice             applied as it is        part read again
//!   link               yes                     routes, if it went up or down or away
//!   address            no                      addresses; routes, if one was removed
//!   route              yes                     -
//!   IPv6 route         if it is the only one   else routes
//!                      of prefix and metric
//!   neighbour          yes                     neighbours, if a port appeared
//!   rule               no                      rules
//!   nexthop object     no                      routes
//!   notices were lost  -                       everything
//! ```
//!
//! A dump begins with [`MirrorState::begin`], its messages are applied like notices, and [`MirrorState::finish`] puts
//! the new part in the place of the old one. Notices queued up meanwhile are applied after it; telling again what the
//! dump has told does no harm.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::address::Address;
use super::event::MirrorEvent;
use super::family::Family;
use super::fib::{
    Hop, Placement, RouteBody, RouteKey, RouteKind, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN,
};
use super::forwarding::{Forwarding, Forwarding6, Target};
use super::link::{InterfaceAddress, PortIndex, PortLink};
use super::message::{Change, Link};
use super::neighbour::{Neighbour, NeighbourState, NeighbourTable};
use super::source::select_source;
use super::source6::{Source6, Sources6};
use super::stale::{Part, Stale};
use super::{NEIGHBOURS_MAX, ROUTES_MAX};

/// Everything the mirror knows.
#[derive(Debug)]
pub(crate) struct MirrorState {
    ports: Vec<PortLink>,
    /// The port of the machine itself, the last one.
    host: Option<PortIndex>,
    links: BTreeMap<u32, Link>,
    addresses: BTreeMap<u32, Vec<InterfaceAddress>>,
    /// Whether the kernel keeps `local` and `main` in separate tries (see `fib.rs`); `None` until it has been asked.
    split: Option<bool>,
    four: Family<Ipv4Addr>,
    /// Of IPv6, if that is followed.
    six: Option<Six>,
    neighbours: NeighbourTable,
    /// Seed of the neighbour table's hash.
    seed: u64,
    /// What a dump under way replaces: the interfaces not seen in it yet, or the neighbours as they were.
    links_unseen: Vec<u32>,
    neighbours_before: Option<NeighbourTable>,
    /// Something has changed since the last snapshot.
    dirty: bool,
    /// Neighbours that vanished while in use, to be asked for again.
    lost: Vec<(PortIndex, IpAddr)>,
    /// Neighbours that have become usable, since the last call of [`MirrorState::take_answered`].
    answered: Vec<(PortIndex, IpAddr)>,
    events: Vec<MirrorEvent>,
    /// [`ROUTES_MAX`] and [`NEIGHBOURS_MAX`], smaller in tests.
    routes_max: usize,
    neighbours_max: usize,
    /// Reported already, not to be repeated for every further refusal.
    neighbours_full: bool,
    rules_unsupported: Option<String>,
}

/// What is known of IPv6.
#[derive(Debug, Default)]
struct Six {
    family: Family<Ipv6Addr>,
    addresses: Vec<Source6>,
    /// All routes are being listed.
    listing: bool,
}

impl MirrorState {
    /// Knows the ports' names and nothing else. `seed` goes into the neighbour table's hash.
    pub(crate) fn new(port_names: &[String], host: Option<&String>, ipv6: bool, seed: u64) -> Self {
        let ports = port_names
            .iter()
            .chain(host)
            .map(|name| PortLink { name: name.clone(), ..PortLink::default() });
        Self {
            ports: ports.collect(),
            host: host.and_then(|_| PortIndex::new(port_names.len())),
            links: BTreeMap::new(),
            addresses: BTreeMap::new(),
            split: None,
            four: Family::default(),
            six: ipv6.then(Six::default),
            neighbours: NeighbourTable::new(seed),
            seed,
            links_unseen: Vec::new(),
            neighbours_before: None,
            dirty: true,
            lost: Vec::new(),
            answered: Vec::new(),
            events: Vec::new(),
            routes_max: ROUTES_MAX,
            neighbours_max: NEIGHBOURS_MAX,
            neighbours_full: false,
            rules_unsupported: None,
        }
    }

    /// Whether IPv6 is followed.
    pub(crate) fn follows_ipv6(&self) -> bool {
        self.six.is_some()
    }

    /// The routes of all families that are followed, to be read again.
    fn all_routes(&self) -> Stale {
        let mut stale = Stale::from(Part::Routes);
        if self.follows_ipv6() {
            stale |= Part::Routes6.into();
        }
        stale
    }

    /// Something that all routes depend on has changed.
    fn outdate(&mut self) {
        self.four.outdate();
        self.six.iter_mut().for_each(|six| six.family.outdate());
    }

    /// Starts to take in a dump of `part` (or starts again, when the dump was interrupted).
    pub(crate) fn begin(&mut self, part: Part) {
        match part {
            Part::Links => self.links_unseen = self.links.keys().copied().collect(),
            Part::Addresses => {
                self.addresses.clear();
                self.six.iter_mut().for_each(|six| six.addresses.clear());
            }
            Part::Rules => {
                self.four.begin_rules();
                self.six.iter_mut().for_each(|six| six.family.begin_rules());
            }
            Part::Routes => self.four.begin_routes(),
            Part::Routes6 => {
                if let Some(six) = &mut self.six {
                    six.family.begin_routes();
                    six.listing = true;
                }
            }
            Part::Neighbours => {
                self.neighbours_full = false;
                let before =
                    std::mem::replace(&mut self.neighbours, NeighbourTable::new(self.seed));
                // At a second start the first one's half is worth nothing.
                self.neighbours_before.get_or_insert(before);
            }
        }
    }

    /// Ends a dump of `part`; returns what has to be read again for it.
    pub(crate) fn finish(&mut self, part: Part) -> Stale {
        let mut stale = Stale::NONE;
        self.dirty = true;
        match part {
            Part::Links => {
                for ifindex in std::mem::take(&mut self.links_unseen) {
                    stale |= self.link_gone(ifindex);
                }
            }
            Part::Addresses => {
                for port in &mut self.ports {
                    let addresses = port.ifindex.and_then(|index| self.addresses.get(&index));
                    port.addresses = addresses.cloned().unwrap_or_default();
                }
                self.outdate();
            }
            Part::Rules => self.check_rules(),
            Part::Routes => self.four.outdate(),
            Part::Routes6 => {
                if let Some(six) = &mut self.six {
                    six.family.outdate();
                    six.listing = false;
                }
            }
            Part::Neighbours => self.neighbours_before = None,
        }
        stale
    }

    /// Takes in a change; returns what has to be read again because of it.
    pub(crate) fn apply(&mut self, change: Change) -> Stale {
        match change {
            Change::Link(link) => return self.link(link),
            Change::LinkGone { ifindex } => return self.link_gone(ifindex),
            Change::Address { ifindex, address } => {
                let held = self.addresses.entry(ifindex).or_default();
                if !held.contains(&address) {
                    held.push(address);
                    return Part::Addresses.into();
                }
            }
            Change::Address6(address) => return self.address6(address),
            Change::Address6Gone => {
                let mut stale = Stale::from(Part::Addresses);
                stale |= Part::Routes6.into();
                return stale;
            }
            Change::AddressGone => {
                let mut stale = Stale::from(Part::Addresses);
                stale |= Part::Routes.into();
                return stale;
            }
            Change::Route { key, body, placement } => {
                self.dirty = true;
                self.four.insert((key, body, placement), self.routes_max, &mut self.events);
            }
            Change::RouteGone { key, body } => self.dirty |= self.four.remove(key, &body),
            Change::Route6 { key, body, alone } => return self.route6(key, body, alone),
            Change::Route6Gone { key, body } => return self.route6_gone(key, &body),
            Change::Neighbour { ifindex, address, mac, state } => {
                self.neighbour(ifindex, address, mac, state);
            }
            Change::NeighbourGone { ifindex, address } => self.neighbour_gone(ifindex, address),
            Change::Rule(rule) => {
                if self.four.add_rule(rule) {
                    return Part::Rules.into();
                }
            }
            Change::Rule6(rule) => {
                if self.six.as_mut().is_some_and(|six| six.family.add_rule(rule)) {
                    return Part::Rules.into();
                }
            }
            Change::RuleGone => return Part::Rules.into(),
            Change::Nexthop => return self.all_routes(),
        }
        Stale::NONE
    }

    /// An IPv6 address; one that packets may not bear yet matters only when it goes.
    fn address6(&mut self, address: Option<Source6>) -> Stale {
        let (Some(six), Some(address)) = (&mut self.six, address) else { return Stale::NONE };
        if six.addresses.contains(&address) {
            return Stale::NONE;
        }
        six.addresses.push(address);
        Part::Addresses.into()
    }

    /// An IPv6 route. What a notice says of several of one prefix and metric depends on which of them the kernel has
    /// made one route with several next hops (`fib6_add_rt2node`, `net/ipv6/ip6_fib.c`); a list of all says it plainly.
    fn route6(&mut self, key: RouteKey<Ipv6Addr>, body: RouteBody<Ipv6Addr>, alone: bool) -> Stale {
        let Some(six) = &mut self.six else { return Stale::NONE };
        let plain = |held: &RouteBody<Ipv6Addr>| held.is_same(&body);
        let only = alone && six.family.fib.of_key(key).all(plain);
        if !six.listing && !only {
            return Part::Routes6.into();
        }
        self.dirty = true;
        let route = (key, body, Placement::Last);
        six.family.insert(route, self.routes_max, &mut self.events);
        Stale::NONE
    }

    fn route6_gone(&mut self, key: RouteKey<Ipv6Addr>, body: &RouteBody<Ipv6Addr>) -> Stale {
        let Some(six) = &mut self.six else { return Stale::NONE };
        if six.family.fib.of_key(key).all(|held| held.is_same(body)) {
            self.dirty |= six.family.remove(key, body);
            return Stale::NONE;
        }
        Part::Routes6.into()
    }

    /// The address to ask the kernel for, to learn whether it has split its tables; `None` when that is known, or there
    /// is no address yet.
    pub(crate) fn split_probe(&self) -> Option<Ipv4Addr> {
        if self.split.is_some() { None } else { self.four.fib.local_address() }
    }

    /// Notes the table in which the kernel found the probe.
    pub(crate) fn probed(&mut self, table: u32) {
        self.split = Some(table != TABLE_MAIN);
        self.four.outdate();
        self.dirty = true;
    }

    fn port_of(&self, ifindex: u32) -> Option<PortIndex> {
        port_of(&self.ports, ifindex)
    }

    fn link(&mut self, link: Link) -> Stale {
        self.links_unseen.retain(|&ifindex| ifindex != link.ifindex);
        let mut stale = Stale::NONE;
        let before = self.links.insert(link.ifindex, link.clone());
        if before.as_ref() == Some(&link) {
            return stale;
        }
        self.dirty = true;
        if before.as_ref().is_none_or(|old| (old.up, old.admin_up) != (link.up, link.admin_up)) {
            // Routes go with an interface without a notice, and their next hops die and revive.
            stale |= self.all_routes();
        }
        // A renamed interface stops being one port and may become another.
        if let Some(port) = self.port_of(link.ifindex)
            && self.ports[port.as_usize()].name != link.name
        {
            self.detach(port);
        }
        let Some(position) = self.ports.iter().position(|port| port.name == link.name) else {
            return stale;
        };
        let port = PortIndex(u8::try_from(position).unwrap_or(u8::MAX));
        if self.ports[position].ifindex != Some(link.ifindex) {
            // Recreated, and the notice of its end still to come.
            self.detach(port);
            self.attach(port, &link);
            stale |= Part::Neighbours.into();
            stale |= Part::Addresses.into();
        } else {
            self.update(port, &link);
        }
        stale
    }

    /// A port's interface has appeared.
    fn attach(&mut self, port: PortIndex, link: &Link) {
        let held = &mut self.ports[port.as_usize()];
        held.ifindex = Some(link.ifindex);
        (held.mac, held.mtu, held.up) = (link.mac, link.mtu, link.up);
        held.addresses = self.addresses.get(&link.ifindex).cloned().unwrap_or_default();
        self.events.push(MirrorEvent::PortAppeared { port, ifindex: link.ifindex });
        if link.up {
            self.events.push(MirrorEvent::PortUp { port });
        }
        self.outdate();
    }

    /// A port's interface is the same, and something about it changed.
    fn update(&mut self, port: PortIndex, link: &Link) {
        let held = &mut self.ports[port.as_usize()];
        if held.mtu != link.mtu {
            self.events.push(MirrorEvent::MtuChanged { port, mtu: link.mtu });
        }
        if held.mac != link.mac {
            self.events.push(MirrorEvent::MacChanged { port, mac: link.mac });
        }
        if held.up != link.up {
            self.events.push(if link.up {
                MirrorEvent::PortUp { port }
            } else {
                MirrorEvent::PortDown { port }
            });
        }
        (held.mac, held.mtu, held.up) = (link.mac, link.mtu, link.up);
    }

    /// A port has no interface any more.
    fn detach(&mut self, port: PortIndex) {
        let held = &mut self.ports[port.as_usize()];
        let Some(ifindex) = held.ifindex.take() else { return };
        *held = PortLink { name: std::mem::take(&mut held.name), ..PortLink::default() };
        self.neighbours.remove_port(port);
        self.events.push(MirrorEvent::PortVanished { port, ifindex });
        self.outdate();
        self.dirty = true;
    }

    fn link_gone(&mut self, ifindex: u32) -> Stale {
        if let Some(port) = self.port_of(ifindex) {
            self.detach(port);
        }
        if self.links.remove(&ifindex).is_none() {
            return Stale::NONE;
        }
        self.addresses.remove(&ifindex);
        if let Some(six) = &mut self.six {
            six.addresses.retain(|source| source.ifindex != ifindex);
        }
        self.outdate();
        self.dirty = true;
        self.all_routes()
    }

    fn neighbour(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        mac: Option<[u8; 6]>,
        state: NeighbourState,
    ) {
        // Notices of both families come on one group.
        if address.is_ipv6() && self.six.is_none() {
            return;
        }
        let Some(port) = self.port_of(ifindex) else { return };
        let before = self.neighbours_before.as_ref().and_then(|table| table.get(port, address));
        let held = self.neighbours.get(port, address).or(before);
        let mut next = match held {
            // A clone shares the note of use.
            Some(held) => held.clone(),
            None => Neighbour::new([0; 6], state),
        };
        let same =
            held.is_some_and(|held| held.state == state && mac.is_none_or(|m| m == held.mac));
        next.state = state;
        if let Some(mac) = mac {
            next.mac = mac;
        }
        if self.neighbours.len() >= self.neighbours_max
            && self.neighbours.get(port, address).is_none()
        {
            if !std::mem::replace(&mut self.neighbours_full, true) {
                self.events
                    .push(MirrorEvent::NeighboursFull { neighbours_max: self.neighbours_max });
            }
            return;
        }
        if !same && next.is_usable() && !held.is_some_and(Neighbour::is_usable) {
            self.answered.push((port, address));
        }
        self.neighbours.insert(port, address, next);
        self.dirty |= !same;
    }

    fn neighbour_gone(&mut self, ifindex: u32, address: IpAddr) {
        let Some(port) = self.port_of(ifindex) else { return };
        let Some(gone) = self.neighbours.remove(port, address) else { return };
        self.dirty = true;
        // The kernel collects what it believes unused. Where it is wrong, ask again before a packet has to wait.
        if gone.is_usable() && gone.take_used() && self.ports[port.as_usize()].up {
            self.lost.push((port, address));
        }
    }

    /// Notes that a neighbour is being asked for again, when it had failed: packets may wait for it again.
    pub(crate) fn asked(&mut self, port: PortIndex, address: IpAddr) {
        if let Some(held) = self.neighbours.get(port, address)
            && held.state == NeighbourState::Failed
        {
            let mut next = held.clone();
            next.state = NeighbourState::Incomplete;
            self.neighbours.insert(port, address, next);
            self.dirty = true;
        }
    }

    /// Whether there is anything to ask: a port with an interface, and a neighbour not usable yet.
    pub(crate) fn wants(&self, port: PortIndex, address: IpAddr) -> Option<u32> {
        let ifindex = self.ports.get(port.as_usize())?.ifindex?;
        let known = self.neighbours.get(port, address).is_some_and(Neighbour::is_usable);
        (!known).then_some(ifindex)
    }

    /// Neighbours to be kept alive now, at most `max`: those in use whose confirmation has run out. Their notes of use
    /// are cleared; a `Reachable` one's stays, so that it counts when the confirmation runs out.
    pub(crate) fn keep_alive(&self, max: usize) -> Vec<(u32, IpAddr)> {
        let stale = self.neighbours.iter().filter_map(|(port, address, neighbour)| {
            if neighbour.state != NeighbourState::Stale || !neighbour.is_used() {
                return None;
            }
            let ifindex = self.ports.get(port.as_usize())?.ifindex?;
            Some((ifindex, address, neighbour))
        });
        stale
            .take(max)
            .map(|(ifindex, address, neighbour)| {
                neighbour.take_used();
                (ifindex, address)
            })
            .collect()
    }

    /// Parts of which entries were refused and a sixteenth of the room is free again: worth reading again.
    pub(crate) fn refused_may_fit(&self) -> Stale {
        let roomy = |held: usize, max: usize| held < max && held <= max - max / 16;
        let mut stale = Stale::NONE;
        if self.four.refused_may_fit(self.routes_max) {
            stale |= Part::Routes.into();
        }
        if self.six.as_ref().is_some_and(|six| six.family.refused_may_fit(self.routes_max)) {
            stale |= Part::Routes6.into();
        }
        if self.neighbours_full && roomy(self.neighbours.len(), self.neighbours_max) {
            stale |= Part::Neighbours.into();
        }
        stale
    }

    /// Neighbours that vanished while in use, since the last call.
    pub(crate) fn take_lost(&mut self) -> Vec<(PortIndex, IpAddr)> {
        std::mem::take(&mut self.lost)
    }

    /// Neighbours that have become usable since the last call: once they are lost again, they may be asked for anew.
    pub(crate) fn take_answered(&mut self) -> Vec<(PortIndex, IpAddr)> {
        std::mem::take(&mut self.answered)
    }

    /// What the supervisor should know, since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<MirrorEvent> {
        std::mem::take(&mut self.events)
    }

    /// Adds an event of the caller's to those to be taken.
    pub(crate) fn report(&mut self, event: MirrorEvent) {
        self.events.push(event);
    }

    /// Whether a new snapshot would differ from the last.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Compares the rules with the kernel's defaults.
    fn check_rules(&mut self) {
        // A new rule may just have split them; once split, they stay so.
        self.split = self.split.filter(|&split| split);
        let four = self.four.check_rules(&[TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT]);
        let of_six = |six: &mut Six| six.family.check_rules(&[TABLE_LOCAL, TABLE_MAIN]);
        let six = self.six.as_mut().and_then(of_six).map(|what| format!("IPv6: {what}"));
        let unsupported = four.or(six);
        if unsupported != self.rules_unsupported {
            self.rules_unsupported.clone_from(&unsupported);
            self.events.push(match unsupported {
                Some(what) => MirrorEvent::RulesUnsupported { what },
                None => MirrorEvent::RulesSupported,
            });
        }
    }

    /// A snapshot of everything, for workers.
    pub(crate) fn snapshot(&mut self) -> Forwarding {
        self.dirty = false;
        let Self { ports, addresses, four, six, events, .. } = self;
        let (port_of, host) = (|ifindex| port_of(ports, ifindex), self.host.is_some());
        let source = |body: &RouteBody, hop: Option<&Hop>| {
            let hop = hop?;
            select_source(addresses, hop.ifindex, hop.gateway, body.scope)
        };
        let four_target = |body: &RouteBody| target(body, port_of, source);
        let merged = !self.split.unwrap_or(false);
        let table = four.snapshot(four_target, (merged, host), (0, port_of), events);
        let six = six.as_mut().map(|Six { family, addresses, .. }| {
            // Which address it is depends on the destination, too.
            let six_target = |body: &RouteBody<Ipv6Addr>| target(body, port_of, |_, _| None);
            Forwarding6 {
                routes: family.snapshot(six_target, (false, host), (ports.len(), port_of), events),
                sources: Arc::new(Sources6(addresses.clone().into())),
            }
        });
        let ports = (self.ports.clone(), self.host);
        Forwarding::from_parts(ports, (table, six), self.neighbours.clone())
    }
}

fn port_of(ports: &[PortLink], ifindex: u32) -> Option<PortIndex> {
    let position = ports.iter().position(|port| port.ifindex == Some(ifindex))?;
    u8::try_from(position).ok().map(PortIndex)
}

/// Where a route leads, in terms of Weir's ports. `source` chooses the address of the machine's own packets, where the
/// route names none.
fn target<A: Address>(
    body: &RouteBody<A>,
    port_of: impl Fn(u32) -> Option<PortIndex>,
    source: impl Fn(&RouteBody<A>, Option<&Hop<A>>) -> Option<A>,
) -> Target<A> {
    let port = body.hops.first().and_then(|hop| port_of(hop.ifindex));
    match body.kind {
        RouteKind::Local => return Target::Local { source: body.source, port },
        RouteKind::Broadcast => return Target::Broadcast { port },
        RouteKind::Anycast => return Target::Anycast { port },
        RouteKind::Multicast => return Target::Multicast { port },
        RouteKind::Unreachable(how) => return Target::Unreachable(how),
        // A `throw` makes a hole and is never asked.
        RouteKind::Unicast | RouteKind::Throw => {}
    }
    let living = || body.hops.iter().filter(|hop| !hop.dead);
    let ours =
        living().filter(|hop| !hop.foreign).find_map(|hop| Some((hop, port_of(hop.ifindex)?)));
    let hop = ours.map(|(hop, _)| hop).or_else(|| living().next());
    let source = body.source.or_else(|| source(body, hop));
    match ours {
        Some((hop, port)) => Target::Forward { port, gateway: hop.gateway, mtu: body.mtu, source },
        None => Target::NotOurs { source },
    }
}

#[cfg(test)]
mod tests;
