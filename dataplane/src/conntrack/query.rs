//! What others ask of a worker's flows: nothing here changes any.

use super::count::FlowCount;
use super::pending::{Entry, Fate};
use super::stats::Stats;
use super::tracker::{Conntrack, Family};
use super::tuple::Tuple;
use super::view::{FlowId, FlowView};
use super::wanted::Wanted;
use super::{Direction, FlowRef, Tracked};

/// Where a packet's flow stands.
pub(super) enum Place<'a> {
    /// In the table of this family, there.
    Table(usize, u32),
    /// Among those that this batch begins or ends.
    Entry(&'a Entry),
}

impl Conntrack {
    /// The flow that this tuple is part of, and as which direction.
    #[must_use]
    pub fn find(&self, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        let wanted = Wanted::of(tuple, false, &self.hash)?;
        let (found, direction) = self.find_wanted(&wanted, || Some(*tuple))?;
        let family = wanted.family();
        let deadline = self.families[family].table.flows[found as usize].bits.deadline();
        (!deadline.is_over(self.now)).then(|| (self.id(family, found), direction))
    }

    /// A flow, if it still lives.
    #[must_use]
    pub fn flow(&self, id: FlowId) -> Option<FlowView> {
        let (family, flow) = self.place(id)?;
        Some(self.view_place(family, flow))
    }

    /// The flow of the packet that was tracked last, as the packet left it.
    #[must_use]
    pub fn view(&self, tracked: &Tracked) -> Option<FlowView> {
        match tracked.flow {
            FlowRef::None => None,
            FlowRef::Known(place) => {
                let (family, flow) = self.split(place);
                Some(self.view_place(family, flow))
            }
            FlowRef::Batch(at) => self.pending.get(at).map(|entry| {
                let confirmed = entry.fate == Fate::Ended;
                let rest = (self.mark(tracked).unwrap_or(0), self.counts_of(entry));
                FlowView::new(&entry.flow, entry.addresses6.as_ref(), rest, confirmed, self.now)
            }),
        }
    }

    /// Shows the living flows in `count` places from `from` on. Returns the place to go on at; `None` at the end.
    pub fn scan(
        &self,
        from: u32,
        count: u32,
        each: &mut dyn FnMut(FlowId, FlowView),
    ) -> Option<u32> {
        let end = self.places();
        let until = from.saturating_add(count).min(end);
        for place in from..until {
            let (family, flow) = self.split(place);
            let Family { table, .. } = &self.families[family];
            let aside = &table.asides[flow as usize];
            let alive =
                aside.linked && !table.flows[flow as usize].bits.deadline().is_over(self.now);
            if alive {
                let generation = aside.generation;
                each(FlowId { place, generation }, self.view_place(family, flow));
            }
        }
        (until < end).then_some(until)
    }

    /// Flows in the table, both families.
    #[must_use]
    pub fn len(&self) -> usize {
        self.families.iter().map(|family| family.table.len() as usize).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connections whose handshake is not over.
    #[must_use]
    pub fn half_open(&self) -> u64 {
        self.families.iter().map(|family| u64::from(family.table.half_open())).sum()
    }

    /// Places for flows, taken or not.
    #[must_use]
    pub fn places(&self) -> u32 {
        let count = |family: &Family| family.table.flows.len();
        u32::try_from(self.families.iter().map(count).sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// Bytes of memory of all tables.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.families.iter().map(|family| family.table.bytes()).sum()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What the packets of the packet's flow have come to, which must be the packet that was tracked last; `None` if it
    /// has no flow, or if nothing is counted.
    #[must_use]
    pub fn counts(&self, tracked: &Tracked) -> Option<[FlowCount; 2]> {
        match self.place_of(tracked)? {
            Place::Table(family, flow) => self.families[family].table.counts_of(flow),
            Place::Entry(entry) => self.counts_of(entry),
        }
    }

    fn counts_of(&self, entry: &Entry) -> Option<[FlowCount; 2]> {
        self.acct.then_some(entry.counts.0)
    }

    pub(super) fn place_of(&self, tracked: &Tracked) -> Option<Place<'_>> {
        let entry = match tracked.flow {
            FlowRef::None => return None,
            FlowRef::Known(place) => {
                let (family, flow) = self.split(place);
                return Some(Place::Table(family, flow));
            }
            FlowRef::Batch(at) => self.pending.get(at)?,
        };
        match entry.fate {
            Fate::New | Fate::Ended => Some(Place::Entry(entry)),
            Fate::Confirmed(id) => self.place(id).map(|(family, flow)| Place::Table(family, flow)),
        }
    }

    pub(super) fn view_place(&self, family: usize, flow: u32) -> FlowView {
        let table = &self.families[family].table;
        let addresses6 = table.addresses6.get(flow as usize);
        let rest = (table.marks.get(flow), table.counts_of(flow));
        FlowView::new(&table.flows[flow as usize], addresses6, rest, true, self.now)
    }

    #[inline]
    pub(super) fn id(&self, family: usize, flow: u32) -> FlowId {
        let generation = self.families[family].table.asides[flow as usize].generation;
        FlowId { place: self.join(family, flow), generation }
    }

    /// The number of a place among those of both families.
    #[inline]
    pub(super) fn join(&self, family: usize, flow: u32) -> u32 {
        let first = if family == 0 { 0 } else { self.families[0].table.flows.len() };
        u32::try_from(first).unwrap_or(u32::MAX) + flow
    }

    pub(super) fn split(&self, place: u32) -> (usize, u32) {
        let first = u32::try_from(self.families[0].table.flows.len()).unwrap_or(u32::MAX);
        if place < first { (0, place) } else { (1, place - first) }
    }

    /// The family and place of a flow that still lives.
    pub(super) fn place(&self, id: FlowId) -> Option<(usize, u32)> {
        let (family, flow) = self.split(id.place);
        let Family { table, .. } = &self.families[family];
        let aside = table.asides.get(flow as usize)?;
        (aside.linked && aside.generation == id.generation).then_some((family, flow))
    }
}
