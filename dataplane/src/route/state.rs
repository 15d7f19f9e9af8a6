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
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::event::MirrorEvent;
use super::fib::{Fib, RouteBody, RouteKind, TABLE_MAIN};
use super::forwarding::{Forwarding, RouteTable, Target};
use super::link::{InterfaceAddress, PortIndex, PortLink};
use super::message::{Change, Link};
use super::neighbour::{Neighbour, NeighbourState, NeighbourTable};
use super::rule::{Rule, unsupported};
use super::source::select_source;
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
    rules: Vec<Rule>,
    /// Whether the kernel keeps `local` and `main` in separate tries (see `fib.rs`); `None` until it has been asked.
    split: Option<bool>,
    fib: Fib,
    neighbours: NeighbourTable,
    /// Seed of the neighbour table's hash.
    seed: u64,
    /// What a dump under way replaces: the interfaces not seen in it yet, or the neighbours as they were.
    links_unseen: Vec<u32>,
    neighbours_before: Option<NeighbourTable>,
    /// The routes as workers see them; `None` when something they depend on changed.
    table: Option<Arc<RouteTable>>,
    /// The routes of the last snapshot.
    table_published: Arc<RouteTable>,
    /// Something has changed since the last snapshot.
    dirty: bool,
    /// Neighbours that vanished while in use, to be asked for again.
    lost: Vec<(PortIndex, Ipv4Addr)>,
    /// Neighbours that have become usable, since the last call of [`MirrorState::take_answered`].
    answered: Vec<(PortIndex, Ipv4Addr)>,
    events: Vec<MirrorEvent>,
    /// [`ROUTES_MAX`] and [`NEIGHBOURS_MAX`], smaller in tests.
    routes_max: usize,
    neighbours_max: usize,
    /// Reported already, not to be repeated for every further refusal.
    routes_full: bool,
    neighbours_full: bool,
    rules_unsupported: Option<String>,
    route_unsupported: Option<String>,
}

impl MirrorState {
    /// Knows the ports' names and nothing else. `seed` goes into the neighbour table's hash.
    pub(crate) fn new(port_names: &[String], host: Option<&String>, seed: u64) -> Self {
        let ports = port_names
            .iter()
            .chain(host)
            .map(|name| PortLink { name: name.clone(), ..PortLink::default() });
        Self {
            ports: ports.collect(),
            host: host.and_then(|_| PortIndex::new(port_names.len())),
            links: BTreeMap::new(),
            addresses: BTreeMap::new(),
            rules: Vec::new(),
            split: None,
            fib: Fib::default(),
            neighbours: NeighbourTable::new(seed),
            seed,
            links_unseen: Vec::new(),
            neighbours_before: None,
            table: None,
            table_published: Arc::default(),
            dirty: true,
            lost: Vec::new(),
            answered: Vec::new(),
            events: Vec::new(),
            routes_max: ROUTES_MAX,
            neighbours_max: NEIGHBOURS_MAX,
            routes_full: false,
            neighbours_full: false,
            rules_unsupported: None,
            route_unsupported: None,
        }
    }

    /// Starts to take in a dump of `part` (or starts again, when the dump was interrupted).
    pub(crate) fn begin(&mut self, part: Part) {
        match part {
            Part::Links => self.links_unseen = self.links.keys().copied().collect(),
            Part::Addresses => self.addresses.clear(),
            Part::Rules => self.rules.clear(),
            Part::Routes => {
                self.fib = Fib::default();
                self.routes_full = false;
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
                self.table = None;
            }
            Part::Rules => self.check_rules(),
            Part::Routes => self.table = None,
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
            Change::AddressGone => {
                let mut stale = Stale::from(Part::Addresses);
                stale |= Part::Routes.into();
                return stale;
            }
            Change::Route { key, body, placement } => {
                self.table = None;
                self.dirty = true;
                if self.fib.insert(key, body, placement, self.routes_max).is_err()
                    && !self.routes_full
                {
                    self.routes_full = true;
                    self.events.push(MirrorEvent::RoutesFull { routes_max: self.routes_max });
                }
            }
            Change::RouteGone { key, body } => {
                let before = self.fib.len();
                self.fib.remove(key, &body);
                if self.fib.len() != before {
                    self.table = None;
                    self.dirty = true;
                }
            }
            Change::Neighbour { ifindex, address, mac, state } => {
                self.neighbour(ifindex, address, mac, state);
            }
            Change::NeighbourGone { ifindex, address } => self.neighbour_gone(ifindex, address),
            Change::Rule(rule) => {
                if !self.rules.contains(&rule) {
                    self.rules.push(rule);
                    return Part::Rules.into();
                }
            }
            Change::RuleGone => return Part::Rules.into(),
            Change::Nexthop => return Part::Routes.into(),
        }
        Stale::NONE
    }

    /// The address to ask the kernel for, to learn whether it has split its tables; `None` when that is known, or there
    /// is no address yet.
    pub(crate) fn split_probe(&self) -> Option<Ipv4Addr> {
        if self.split.is_some() { None } else { self.fib.local_address() }
    }

    /// Notes the table in which the kernel found the probe.
    pub(crate) fn probed(&mut self, table: u32) {
        self.split = Some(table != TABLE_MAIN);
        self.table = None;
        self.dirty = true;
    }

    fn port_of(&self, ifindex: u32) -> Option<PortIndex> {
        let position = self.ports.iter().position(|port| port.ifindex == Some(ifindex))?;
        u8::try_from(position).ok().map(PortIndex)
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
            stale |= Part::Routes.into();
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
        self.table = None;
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
        self.table = None;
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
        self.table = None;
        self.dirty = true;
        Part::Routes.into()
    }

    fn neighbour(
        &mut self,
        ifindex: u32,
        address: Ipv4Addr,
        mac: Option<[u8; 6]>,
        state: NeighbourState,
    ) {
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

    fn neighbour_gone(&mut self, ifindex: u32, address: Ipv4Addr) {
        let Some(port) = self.port_of(ifindex) else { return };
        let Some(gone) = self.neighbours.remove(port, address) else { return };
        self.dirty = true;
        // The kernel collects what it believes unused. Where it is wrong, ask again before a packet has to wait.
        if gone.is_usable() && gone.take_used() && self.ports[port.as_usize()].up {
            self.lost.push((port, address));
        }
    }

    /// Notes that a neighbour is being asked for again, when it had failed: packets may wait for it again.
    pub(crate) fn asked(&mut self, port: PortIndex, address: Ipv4Addr) {
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
    pub(crate) fn wants(&self, port: PortIndex, address: Ipv4Addr) -> Option<u32> {
        let ifindex = self.ports.get(port.as_usize())?.ifindex?;
        let known = self.neighbours.get(port, address).is_some_and(Neighbour::is_usable);
        (!known).then_some(ifindex)
    }

    /// Neighbours to be kept alive now, at most `max`: those in use whose confirmation has run out. Their notes of use
    /// are cleared; a `Reachable` one's stays, so that it counts when the confirmation runs out.
    pub(crate) fn keep_alive(&self, max: usize) -> Vec<(u32, Ipv4Addr)> {
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
        if self.routes_full && roomy(self.fib.len(), self.routes_max) {
            stale |= Part::Routes.into();
        }
        if self.neighbours_full && roomy(self.neighbours.len(), self.neighbours_max) {
            stale |= Part::Neighbours.into();
        }
        stale
    }

    /// Neighbours that vanished while in use, since the last call.
    pub(crate) fn take_lost(&mut self) -> Vec<(PortIndex, Ipv4Addr)> {
        std::mem::take(&mut self.lost)
    }

    /// Neighbours that have become usable since the last call: once they are lost again, they may be asked for anew.
    pub(crate) fn take_answered(&mut self) -> Vec<(PortIndex, Ipv4Addr)> {
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

    /// Compares the rules with the kernel's three defaults.
    fn check_rules(&mut self) {
        // A new rule may just have split them; once split, they stay so.
        self.split = self.split.filter(|&split| split);
        self.table = None;
        self.rules.sort();
        let unsupported = unsupported(&self.rules);
        if unsupported != self.rules_unsupported {
            self.rules_unsupported.clone_from(&unsupported);
            self.events.push(match unsupported {
                Some(what) => MirrorEvent::RulesUnsupported { what },
                None => MirrorEvent::RulesSupported,
            });
        }
    }

    /// Where a route leads, in terms of Weir's ports.
    fn target(&self, body: &RouteBody) -> Target {
        let port = body.hops.first().and_then(|hop| self.port_of(hop.ifindex));
        match body.kind {
            RouteKind::Local => Target::Local { source: body.source, port },
            RouteKind::Broadcast => Target::Broadcast { port },
            RouteKind::Anycast => Target::Anycast { port },
            RouteKind::Multicast => Target::Multicast { port },
            RouteKind::Unreachable(how) => Target::Unreachable(how),
            // A `throw` makes a hole and is never asked.
            RouteKind::Unicast | RouteKind::Throw => self.unicast_target(body),
        }
    }

    fn unicast_target(&self, body: &RouteBody) -> Target {
        let living = || body.hops.iter().filter(|hop| !hop.dead);
        let ours = living()
            .filter(|hop| !hop.foreign)
            .find_map(|hop| Some((hop, self.port_of(hop.ifindex)?)));
        let hop = ours.map(|(hop, _)| hop).or_else(|| living().next());
        let source = body.source.or_else(|| {
            let hop = hop?;
            select_source(&self.addresses, hop.ifindex, hop.gateway, body.scope)
        });
        match ours {
            Some((hop, port)) => {
                Target::Forward { port, gateway: hop.gateway, mtu: body.mtu, source }
            }
            None => Target::NotOurs { source },
        }
    }

    fn build_table(&mut self) -> RouteTable {
        let unsupported = self.fib.unsupported();
        if unsupported != self.route_unsupported {
            self.route_unsupported.clone_from(&unsupported);
            if let Some(what) = unsupported {
                self.events.push(MirrorEvent::RouteUnsupported { what });
            }
        }
        let target = |body: &RouteBody| self.target(body);
        let table = RouteTable::new(&self.fib.lists(!self.split.unwrap_or(false), target));
        match self.host {
            Some(_) => table.with_main(self.fib.main(target)),
            None => table,
        }
    }

    /// A snapshot of everything, for workers.
    pub(crate) fn snapshot(&mut self) -> Forwarding {
        self.dirty = false;
        let table = match self.table.take() {
            Some(table) => table,
            None => Arc::new(self.build_table()),
        };
        if !table.has_addresses_of(&self.table_published) {
            self.events.push(MirrorEvent::LocalAddressesChanged);
        }
        self.table = Some(Arc::clone(&table));
        self.table_published = Arc::clone(&table);
        let ports = (self.ports.clone(), self.host);
        Forwarding::from_parts(ports, table, self.neighbours.clone())
    }
}

#[cfg(test)]
mod tests;
