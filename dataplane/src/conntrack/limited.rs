//! Flows that rules with `-m connlimit` count: when they begin, come to nothing, and end.
//!
//! What is counted stands in [`Connections`], one for each rule and for all workers. This worker's part is to say which
//! of its flows they are, by their places, and to take them off: when they leave the table, and already when a TCP
//! connection is closed (`already_closed`, net/netfilter/nf_conncount.c). A packet's flow is counted when the rule is
//! asked, before it is known whether there will be one; those are remembered until the batch ends.

use std::cell::RefCell;
use std::sync::Arc;

use super::flow::{Bits, Flow};
use super::pending::Fate;
use super::query;
use super::tcp::TcpState;
use super::tracker::{Conntrack, Family};
use super::{CtState, Direction, FlowRef, Kind, Packet, Tracked, Wanted};
use crate::limit::connections::{Age, Begun, Connections, Counting, Place};
use crate::limit::verified::Verified;

/// Flows that one batch may begin and rules count, each by several. Beyond, what is counted is not remembered.
const BEGUN_MAX: usize = 512;

/// The rules that count, and flows whose fate is not known yet.
#[derive(Debug)]
pub(super) struct Limited {
    worker: usize,
    rules: Arc<dyn Counting>,
    begun: RefCell<Vec<Counted>>,
}

/// A flow that a packet of this batch begins, and who counts it.
#[derive(Debug, Clone, Copy)]
struct Counted {
    entry: u8,
    family: usize,
    rule: usize,
    begun: Begun,
}

impl Limited {
    pub(super) fn new() -> Self {
        let begun = Vec::with_capacity(BEGUN_MAX).into();
        Self { worker: 0, rules: Arc::new(()), begun }
    }

    /// Who is told of verified sources of a family.
    pub(super) fn verified(&self, family: usize) -> Option<&Verified> {
        self.rules.verified(family)
    }
}

fn age(flow: &Flow) -> Age {
    let assured = flow.bits.has(Bits::ASSURED);
    let tcp = flow.bits.kind() == Kind::Tcp;
    match flow.bits.state() {
        TcpState::TimeWait | TcpState::Close if tcp => Age::Over { assured },
        _ if assured => Age::Assured,
        _ => Age::Young,
    }
}

impl Conntrack {
    /// Sets this worker's number, and who knows the rules that count connections. It is held until the next call, so
    /// that it is not the worker who frees it.
    pub fn set_limited(&mut self, worker: usize, rules: Arc<dyn Counting>) {
        (self.limited.worker, self.limited.rules) = (worker, rules);
    }

    /// How many connections there are of an address, by which a rule counts the packet that was tracked last; its own
    /// is one of them. `None` if the packet is part of no flow and could not be.
    pub(crate) fn connections(
        &self,
        counted: &Connections,
        address: u128,
        tracked: &Tracked,
        packet: &Packet<'_>,
    ) -> Option<u32> {
        let (place, direction) = match self.place_of(tracked) {
            Some(query::Place::Table(family, flow)) => ((family, flow), tracked.direction),
            Some(query::Place::Entry(entry)) if entry.fate == Fate::New => {
                let family = usize::from(entry.addresses6.is_some());
                return Some(self.begins(counted, address, family, tracked));
            }
            // It has just been taken off, and nobody has answered in it.
            Some(query::Place::Entry(_)) => return Some(counted.with_one_more(address)),
            // One that has this packet's addresses, though it is no valid part of it.
            None => match self.find(&packet.own_tuple()?) {
                Some((id, direction)) => (self.place(id)?, direction),
                None => return Some(counted.with_one_more(address)),
            },
        };
        if tracked.state == CtState::Related {
            // The address is that of whoever reports on the flow.
            return Some(counted.of_other(address));
        }
        let (family, flow) = place;
        let place = Place { worker: self.limited.worker, flow };
        let age = age(&self.families[family].table.flows[flow as usize]);
        Some(counted.of_known(address, (place, direction), age))
    }

    fn begins(
        &self,
        counted: &Connections,
        address: u128,
        family: usize,
        tracked: &Tracked,
    ) -> u32 {
        let rules = self.limited.rules.connections(family);
        let rule = rules.iter().position(|rule| std::ptr::eq(&**rule, counted));
        let mut begun = self.limited.begun.borrow_mut();
        let (Some(rule), FlowRef::Batch(entry)) = (rule, tracked.flow) else {
            return counted.with_one_more(address);
        };
        // Packets are decided about one after the other: what this one began stands at the end.
        let own = begun.iter().rev().take_while(|counted| counted.entry == entry);
        if let Some(known) = own.into_iter().find(|of| (of.family, of.rule) == (family, rule)) {
            return counted.of_begun(known.begun);
        }
        if begun.len() == BEGUN_MAX {
            return counted.with_one_more(address);
        }
        let (new, count) = counted.begin(address);
        begun.extend(new.map(|begun| Counted { entry, family, rule, begun }));
        count
    }

    /// A flow that a packet of this batch began is in the table.
    pub(super) fn keep_counted(&mut self, entry: u8, flow: u32) {
        let Self { limited: Limited { worker, rules, begun }, .. } = self;
        let place = Place { worker: *worker, flow };
        begun.get_mut().retain(|counted| {
            let is_it = counted.entry == entry;
            if is_it && let Some(rule) = rules.connections(counted.family).get(counted.rule) {
                rule.keep(counted.begun, place);
            }
            !is_it
        });
    }

    /// What a packet of this batch would have begun came to nothing.
    #[inline]
    pub fn give_up_begun(&self, tracked: &Tracked) {
        let FlowRef::Batch(entry) = tracked.flow else { return };
        let Limited { rules, begun, .. } = &self.limited;
        let mut begun = begun.borrow_mut();
        while let Some(counted) = begun.pop_if(|counted| counted.entry == entry) {
            if let Some(rule) = rules.connections(counted.family).get(counted.rule) {
                rule.give_up(counted.begun);
            }
        }
    }

    /// Whether to track this packet may change what counts for packets that were tracked before and not decided about
    /// yet: it may end a flow, or find one in another standing.
    #[must_use]
    pub fn may_change_counts(&self, packet: &Packet<'_>, wanted: &Wanted) -> bool {
        if wanted.quoted {
            return false;
        }
        // What begins a flow counts no earlier than a rule asks about it.
        let Some((found, direction)) = self.find_wanted(wanted, || packet.tuple()) else {
            return false;
        };
        let bits = self.families[wanted.family()].table.flows[found as usize].bits;
        let stands = match bits.kind() {
            Kind::Tcp => bits.is_established() && packet.merely_acknowledges(),
            // As long as nobody answers it is not assured.
            Kind::Udp | Kind::Gre => {
                let answers = bits.has(Bits::SEEN_REPLY) || direction == Direction::Reply;
                bits.has(Bits::ASSURED) || !answers
            }
            _ => true,
        };
        bits.deadline().is_over(self.now) || !stands
    }

    /// How many packets may begin flows that are decided about together, so that none of these is refused, none of
    /// others has to give way, and all that rules count of them is remembered.
    #[must_use]
    pub fn room_for_a_run(&self) -> usize {
        let rules = (0..self.families.len()).map(|family| self.limited.rules.connections(family));
        let remembered = BEGUN_MAX / rules.map(<[_]>::len).max().unwrap_or(0).max(1);
        let free = self.families.iter().filter(|Family { table, .. }| !table.flows.is_empty()).map(
            |Family { table, .. }| {
                let places = table.flows.len().saturating_sub(table.len() as usize);
                places.min(self.half_open_max.saturating_sub(table.half_open()) as usize)
            },
        );
        free.min().unwrap_or(0).min(remembered)
    }

    /// The others came to nothing.
    #[inline]
    pub(super) fn give_up_counted(&mut self) {
        let Limited { rules, begun, .. } = &mut self.limited;
        for counted in begun.get_mut().drain(..) {
            if let Some(rule) = rules.connections(counted.family).get(counted.rule) {
                rule.give_up(counted.begun);
            }
        }
    }

    /// A flow leaves the table.
    #[inline]
    pub(super) fn uncount(&self, family: usize, flow: u32) {
        let place = Place { worker: self.limited.worker, flow };
        self.limited.rules.connections(family).iter().for_each(|rule| rule.end(place));
    }

    /// The same if it is closed now and was not before.
    pub(super) fn uncount_closed(&self, family: usize, flow: u32, before: Bits) {
        let after = &self.families[family].table.flows[flow as usize];
        if after.bits.state() != before.state() && matches!(age(after), Age::Over { .. }) {
            self.uncount(family, flow);
        }
    }
}
