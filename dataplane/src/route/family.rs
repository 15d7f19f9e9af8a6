//! The routes and rules of one family as the mirror knows them, and the table that workers see.

use std::sync::Arc;

use super::address::Address;
use super::event::MirrorEvent;
use super::fib::{Fib, Placement, RouteBody, RouteKey};
use super::forwarding::{RouteTable, Target};
use super::link::PortIndex;
use super::rule::{Rule, unsupported};

/// The routes and rules of one family.
#[derive(Debug)]
pub(crate) struct Family<A: Address> {
    pub(crate) fib: Fib<A>,
    rules: Vec<Rule>,
    /// The routes as workers see them; `None` when something they depend on changed.
    table: Option<Arc<RouteTable<A>>>,
    /// The routes of the last snapshot.
    published: Arc<RouteTable<A>>,
    /// A refusal was reported already, not to be repeated for every further one.
    full: bool,
    route_unsupported: Option<String>,
}

impl<A: Address> Default for Family<A> {
    fn default() -> Self {
        Self {
            fib: Fib::default(),
            rules: Vec::new(),
            table: None,
            published: Arc::default(),
            full: false,
            route_unsupported: None,
        }
    }
}

impl<A: Address> Family<A> {
    /// Something that the table depends on has changed.
    pub(crate) fn outdate(&mut self) {
        self.table = None;
    }

    /// Starts to take in a list of all routes.
    pub(crate) fn begin_routes(&mut self) {
        self.fib = Fib::default();
        self.full = false;
    }

    /// Starts to take in a list of all rules.
    pub(crate) fn begin_rules(&mut self) {
        self.rules.clear();
    }

    /// Takes in a route. Where there is no room for it, that is reported, once.
    pub(crate) fn insert(
        &mut self,
        (key, body, placement): (RouteKey<A>, RouteBody<A>, Placement),
        routes_max: usize,
        events: &mut Vec<MirrorEvent>,
    ) {
        self.table = None;
        if self.fib.insert(key, body, placement, routes_max).is_err()
            && !std::mem::replace(&mut self.full, true)
        {
            events.push(MirrorEvent::RoutesFull { routes_max });
        }
    }

    /// Forgets a route; true if it was there.
    pub(crate) fn remove(&mut self, key: RouteKey<A>, body: &RouteBody<A>) -> bool {
        let before = self.fib.len();
        self.fib.remove(key, body);
        let gone = self.fib.len() != before;
        if gone {
            self.table = None;
        }
        gone
    }

    /// Whether routes were refused and a sixteenth of the room is free again.
    pub(crate) fn refused_may_fit(&self, routes_max: usize) -> bool {
        let held = self.fib.len();
        self.full && held < routes_max && held <= routes_max - routes_max / 16
    }

    /// Takes in a rule; false if it is known.
    pub(crate) fn add_rule(&mut self, rule: Rule) -> bool {
        let new = !self.rules.contains(&rule);
        if new {
            self.rules.push(rule);
        }
        new
    }

    /// The first deviation from the defaults, which look into these tables.
    pub(crate) fn check_rules(&mut self, tables: &[u32]) -> Option<String> {
        self.table = None;
        self.rules.sort();
        unsupported(&self.rules, tables)
    }

    /// The table for a new snapshot. `merged` as for [`Fib::lists`]; with `main`, the routes of table main beside it,
    /// and those of so many ports by themselves, as `port_of` names them.
    pub(crate) fn snapshot(
        &mut self,
        target: impl Fn(&RouteBody<A>) -> Target<A>,
        (merged, main): (bool, bool),
        (ports, port_of): (usize, impl Fn(u32) -> Option<PortIndex>),
        events: &mut Vec<MirrorEvent>,
    ) -> Arc<RouteTable<A>> {
        let table = match self.table.take() {
            Some(table) => table,
            None => {
                self.report_unsupported(events);
                let table = RouteTable::new(&self.fib.lists(merged, &target))
                    .with_ports(self.fib.by_port(ports, port_of));
                Arc::new(if main { table.with_main(self.fib.main(target)) } else { table })
            }
        };
        if !table.has_addresses_of(&self.published) {
            events.push(MirrorEvent::LocalAddressesChanged);
        }
        self.table = Some(Arc::clone(&table));
        self.published = Arc::clone(&table);
        table
    }

    fn report_unsupported(&mut self, events: &mut Vec<MirrorEvent>) {
        let unsupported = self.fib.unsupported();
        if unsupported != self.route_unsupported {
            self.route_unsupported.clone_from(&unsupported);
            events.extend(unsupported.map(|what| MirrorEvent::RouteUnsupported { what }));
        }
    }
}
