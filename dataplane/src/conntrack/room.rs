//! How flows come into the table, and how they leave it: confirmed, expired, deleted, or giving way.

use super::clock::{Ticks, Time};
use super::count::Counts;
use super::event::{EventKind, FlowEvent};
use super::flow::{Aside, Bits, Flow};
use super::pending::Fate;
use super::proxy::Proxied;
use super::table::{Search, Standing, Victim};
use super::tcp::{TcpState, is_closing};
use super::tracker::{Conntrack, Family, Refused};
use super::view::{self, FlowId};
use super::{FlowRef, Kind, Tracked};

/// Buckets that are looked through for a flow that may give way (`NF_CT_EVICTION_RANGE`).
const EVICTION_RANGE: usize = 8;

/// As [`EVICTION_RANGE`], for a half-open one: with a small limit there are few of them.
const HALF_OPEN_RANGE: usize = 64;

/// What of a flow does not stand in its line.
#[derive(Debug)]
pub(super) struct Rest {
    /// The fields that segments have left.
    pub(super) aside: Aside,
    /// Source and destination of an IPv6 flow.
    pub(super) addresses6: Option<[u128; 2]>,
    pub(super) mark: u32,
    pub(super) proxied: Proxied,
    /// Of no use where nothing is counted.
    pub(super) counts: Counts,
}

impl Conntrack {
    /// Puts the flow that a packet begins into the table, now that the packet was accepted. Does nothing for packets of
    /// known flows, and of none.
    ///
    /// # Errors
    /// [`Refused`]: there is no room, and the packet is to be dropped.
    pub fn confirm(&mut self, tracked: &Tracked) -> Result<(), Refused> {
        let FlowRef::Batch(at) = tracked.flow else { return Ok(()) };
        let Some(entry) = self.pending.get(at).cloned() else { return Ok(()) };
        if entry.fate != Fate::New {
            return Ok(());
        }
        let family = usize::from(entry.addresses6.is_some());
        let standing = standing(&entry.flow);
        self.make_room(family, entry.hash, standing).inspect_err(|_| {
            self.stats.insert_failed += 1;
            self.stats.drop += 1;
        })?;
        let rest = Rest {
            aside: entry.aside,
            addresses6: entry.addresses6,
            mark: entry.mark.get(),
            proxied: entry.proxied.get(),
            counts: entry.counts,
        };
        let id = self.put_in(entry.hash, &entry.flow, rest, entry.timeout)?;
        if let Some(entry) = self.pending.get_mut(at) {
            entry.fate = Fate::Confirmed(id);
        }
        let (_, flow) = self.split(id.place);
        self.keep_counted(at, flow);
        Ok(())
    }

    /// Puts a flow in that lives for so long from now on.
    pub(super) fn put_in(
        &mut self,
        hash: u64,
        flow: &Flow,
        rest: Rest,
        life: Ticks,
    ) -> Result<FlowId, Refused> {
        let Rest { aside: known, addresses6, mark, proxied, counts } = rest;
        let family = usize::from(addresses6.is_some());
        let deadline = self.now.after(life);
        let Family { table, wheel } = &mut self.families[family];
        let place = table.insert(hash, flow, standing(flow)).ok_or(Refused::TableFull)?;
        table.flows[place as usize].bits.set_deadline(deadline);
        if let (Some(own), Some(addresses6)) =
            (table.addresses6.get_mut(place as usize), addresses6)
        {
            *own = addresses6;
        }
        let aside = &mut table.asides[place as usize];
        (aside.retrans, aside.last_scale, aside.last_flags) =
            (known.retrans, known.last_scale, known.last_flags);
        wheel.link(&mut table.asides, place, deadline);
        table.marks.set(place, mark);
        if let Some(own) = table.proxied.get_mut(place as usize) {
            *own = proxied;
        }
        if let Some(own) = table.counts.get_mut(place as usize) {
            *own = counts;
        }
        self.stats.insert += 1;
        self.note(EventKind::New, family, place);
        Ok(self.id(family, place))
    }

    /// Looks at up to `budget` flows whose time may have come, and removes those whose time has. Returns how many it
    /// looked at.
    pub fn expire(&mut self, budget: u32) -> u32 {
        let mut looked = 0;
        for family in 0..self.families.len() {
            while looked < budget {
                let Family { table, wheel } = &mut self.families[family];
                let Some(flow) = wheel.next_due(&mut table.asides, self.now) else { break };
                looked += 1;
                let deadline = table.flows[flow as usize].bits.deadline();
                if deadline.is_over(self.now) {
                    self.stats.expired += 1;
                    self.remove_place(family, flow);
                } else {
                    wheel.link(&mut table.asides, flow, deadline);
                }
            }
        }
        looked
    }

    /// Deletes a flow on request; false if it lives no more.
    pub fn remove(&mut self, id: FlowId) -> bool {
        let Some((family, flow)) = self.place(id) else { return false };
        self.stats.delete += 1;
        self.remove_place(family, flow);
        true
    }

    /// Makes sure that a flow can be put in.
    pub(super) fn make_room(
        &mut self,
        family: usize,
        hash: u64,
        standing: Standing,
    ) -> Result<(), Refused> {
        let table = &self.families[family].table;
        if standing.half_open && table.half_open() >= self.half_open_max {
            let victim = table.victim(Search::HalfOpen(hash), HALF_OPEN_RANGE);
            let (victim, flow) = victim.ok_or(Refused::HalfOpenFull)?;
            self.give_way(family, victim, flow);
            return Ok(());
        }
        if table.is_full() {
            let victim = table.victim(Search::Hash(hash), EVICTION_RANGE);
            let (victim, flow) = victim.ok_or(Refused::TableFull)?;
            self.give_way(family, victim, flow);
        }
        Ok(())
    }

    pub(super) fn give_way(&mut self, family: usize, victim: Victim, flow: u32) {
        self.stats.early_drop += 1;
        match victim {
            Victim::HalfOpen => self.stats.early_drop_half_open += 1,
            Victim::Closing => self.stats.early_drop_closing += 1,
            Victim::Unassured => {}
        }
        self.remove_place(family, flow);
    }

    /// Removes the flow in a place.
    pub(super) fn remove_place(&mut self, family: usize, flow: u32) {
        let table = &self.families[family].table;
        let tuple = view::tuple(&table.flows[flow as usize], table.addresses6.get(flow as usize));
        let hash = self.hash.flow(&tuple);
        self.remove_found(family, hash, flow);
    }

    pub(super) fn remove_found(&mut self, family: usize, hash: u64, found: u32) {
        self.note(EventKind::Destroy, family, found);
        self.uncount(family, found);
        let Family { table, wheel } = &mut self.families[family];
        wheel.unlink(&mut table.asides, found);
        table.remove(hash, found);
    }

    /// Tells the table and listeners what has become of a flow.
    #[cold]
    pub(super) fn restand(&mut self, family: usize, hash: u64, found: u32, before: Bits) {
        let table = &mut self.families[family].table;
        let flow = table.flows[found as usize];
        table.restand(hash, found, standing(&flow));
        let told = [Bits::SEEN_REPLY, Bits::ASSURED];
        let changed = told.iter().any(|field| flow.bits.has(*field) != before.has(*field))
            || flow.bits.state() != before.state();
        if changed {
            self.note(EventKind::Update, family, found);
        }
        self.uncount_closed(family, found, before);
        self.verify(family, found, before);
    }

    /// Moves a flow in the wheel if its life became shorter, and so short that the wheel would look too late.
    #[inline]
    pub(super) fn move_nearer(&mut self, family: usize, found: u32, before: Time, life: Ticks) {
        let deadline = self.now.after(life);
        if deadline.since(before) >= 0 {
            return;
        }
        let Family { table, wheel } = &mut self.families[family];
        wheel.unlink(&mut table.asides, found);
        wheel.link(&mut table.asides, found, deadline);
    }

    #[inline]
    pub(super) fn note(&self, kind: EventKind, family: usize, flow: u32) {
        if let Some(events) = self.events.as_ref().filter(|_| self.watched) {
            let id = self.id(family, flow);
            events.put(FlowEvent { kind, id, flow: self.view_place(family, flow) });
        }
    }
}

/// Who gives way first when the table is full.
pub(super) fn standing(flow: &Flow) -> Standing {
    let assured = flow.bits.has(Bits::ASSURED);
    let state = flow.bits.state();
    let tcp = flow.bits.kind() == Kind::Tcp;
    let opening = matches!(state, TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2);
    Standing {
        assured,
        closing: assured && tcp && is_closing(state),
        half_open: tcp && opening && !assured,
    }
}
