//! `Conntrack`: one worker's flows.

use std::net::IpAddr;
use std::sync::Arc;

use super::clock::{Ticks, Time};
use super::event::{EventKind, EventQueue, FlowEvent};
use super::flow::{Bits, Flow};
use super::packet::{Packet, Subject, Untrackable};
use super::pending::{Entry, Fate, Pending};
use super::settings::{Settings, Timeouts};
use super::stats::Stats;
use super::table::{Found, Search, Standing, Table, Victim};
use super::tcp::{self, Segment, TcpState};
use super::tuple::{Key, Tuple, bits6};
use super::view::{self, FlowId, FlowView};
use super::wheel::{AROUND, Wheel};
use super::{CtState, Direction, FlowRef, Kind, Step, Tracked, datagram};
use crate::handover::FlowHash;

/// Most flows of one worker and family: ids of places have 31 bits, and both families share them.
pub const FLOWS_MAX_LIMIT: u32 = 1 << 29;

/// Buckets that are looked through for a flow that may give way (`NF_CT_EVICTION_RANGE`).
const EVICTION_RANGE: usize = 8;

/// As [`EVICTION_RANGE`], for a half-open one: with a small limit there are few of them.
const HALF_OPEN_RANGE: usize = 64;

/// What a worker's connection tracking is made of.
#[derive(Debug, Clone)]
pub struct ConntrackConfig {
    /// IPv4 flows at most, 0 to [`FLOWS_MAX_LIMIT`].
    pub flows_max: u32,
    /// IPv6 flows at most.
    pub flows6_max: u32,
    /// Connections whose handshake is not over, at most, of each family.
    pub half_open_max: u32,
    /// Netfilter's knobs.
    pub settings: Settings,
    /// Finds a flow's place.
    pub flow_hash: FlowHash,
    /// Where events go.
    pub events: Option<Arc<EventQueue>>,
}

impl Default for ConntrackConfig {
    /// A small table under a fixed hash: for tests.
    fn default() -> Self {
        Self {
            flows_max: 65_536,
            flows6_max: 0,
            half_open_max: 65_536,
            settings: Settings::default(),
            flow_hash: FlowHash::new([1, 2, 3, 4], 1),
            events: None,
        }
    }
}

/// Why a new flow was not put into the table. Its packet is to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no room, and no flow near by that may give way.
    #[error("the flow table is full")]
    TableFull,
    /// Too many connections are half-open, and none near by.
    #[error("too many connections are half-open")]
    HalfOpenFull,
}

/// The flows of one address family.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) table: Table,
    pub(super) wheel: Wheel,
}

/// One worker's flows. Time is set once for all packets of a poll.
#[derive(Debug)]
pub struct Conntrack {
    settings: Settings,
    timeouts: Timeouts,
    hash: FlowHash,
    /// IPv4, IPv6.
    pub(super) families: [Family; 2],
    pub(super) half_open_max: u32,
    pub(super) now: Time,
    pending: Pending,
    pub(super) stats: Stats,
    events: Option<Arc<EventQueue>>,
    /// Whether somebody listens, as of the last [`Conntrack::set_time`].
    watched: bool,
}

/// A packet's tuple and its answer's, ready for comparison.
pub(super) struct Wanted<'a> {
    tuple: &'a Tuple,
    hash: u64,
    kind: Kind,
    there: Key,
    back: Key,
}

impl<'a> Wanted<'a> {
    #[inline]
    pub(super) fn new(tuple: &'a Tuple, kind: Kind, hash: u64) -> Option<Self> {
        let back = tuple.inverted()?;
        Some(Self { tuple, hash, kind, there: Key::new(tuple), back: Key::new(&back) })
    }

    /// The direction that this tuple has in a flow, if it is part of it. Where both would do (who speaks to
    /// itself), the kernel finds the reply.
    #[inline]
    fn direction(&self, flow: &Flow, addresses6: Option<&[u128; 2]>) -> Option<Direction> {
        let key = flow.key();
        let direction = if key == self.back {
            Direction::Reply
        } else if key == self.there {
            Direction::Original
        } else {
            return None;
        };
        if !flow.is_of(self.kind, self.tuple.protocol) {
            return None;
        }
        let Some(addresses6) = addresses6 else { return Some(direction) };
        let mut own = [bits6(self.tuple.source), bits6(self.tuple.destination)];
        if direction == Direction::Reply {
            own.reverse();
        }
        (own == *addresses6).then_some(direction)
    }
}

/// What became of a packet of a known flow.
enum Known {
    Tracked(Tracked),
    /// The flow is no more, and the packet begins another.
    Gone,
}

impl Conntrack {
    /// An empty table. All of its memory is allocated, and touched, here.
    ///
    /// # Panics
    /// When a limit is above [`FLOWS_MAX_LIMIT`].
    #[must_use]
    pub fn new(config: &ConntrackConfig) -> Self {
        assert!(config.flows_max.max(config.flows6_max) <= FLOWS_MAX_LIMIT, "too many flows");
        let now = Time::default();
        let family =
            |flows_max, ipv6| Family { table: Table::new(flows_max, ipv6), wheel: Wheel::new(now) };
        Self {
            settings: config.settings,
            timeouts: Timeouts::new(&config.settings),
            hash: config.flow_hash.clone(),
            families: [family(config.flows_max, false), family(config.flows6_max, true)],
            half_open_max: config.half_open_max,
            now,
            pending: Pending::new(),
            stats: Stats::default(),
            events: config.events.clone(),
            watched: false,
        }
    }

    /// Sets the time for all that follows. It must not go back.
    #[inline]
    pub fn set_time(&mut self, now_ns: u64) {
        self.now = Time::from_ns(now_ns);
        self.watched = self.events.as_ref().is_some_and(|events| events.is_wanted());
    }

    /// The hash of a flow, equal for both directions.
    #[must_use]
    #[inline]
    pub fn hash(&self, tuple: &Tuple) -> u64 {
        self.hash.flow(tuple)
    }

    /// Asks for the first of two cache lines of a flow.
    #[inline]
    pub fn prefetch_bucket(&self, packet: &Packet<'_>, hash: u64) {
        self.families[family_of(packet.source)].table.prefetch_bucket(hash);
    }

    /// Asks for the second; the first should be here by now.
    #[inline]
    pub fn prefetch_flow(&self, packet: &Packet<'_>, hash: u64) {
        self.families[family_of(packet.source)].table.prefetch_flow(hash);
    }

    /// Tracks one packet, for callers that decide about each before they come with the next.
    pub fn track(&mut self, packet: &Packet<'_>) -> Tracked {
        self.end_batch();
        let hash = self.hash(packet.tuple());
        self.track_in_batch(packet, hash).unwrap_or(Tracked::INVALID)
    }

    /// Counts a packet that cannot be tracked.
    pub fn untrackable(&mut self, why: Untrackable) -> Tracked {
        match why {
            Untrackable::Malformed => self.invalid(),
            Untrackable::Icmp => self.error(),
            Untrackable::NeighbourDiscovery => Tracked::UNTRACKED,
        }
    }

    /// Tracks one packet of a batch; `None` if an earlier packet of the batch begins its flow, so that it is to be
    /// tracked again when that packet's fate is known and [`Conntrack::end_batch`] was called.
    #[inline]
    pub fn track_in_batch(&mut self, packet: &Packet<'_>, hash: u64) -> Option<Tracked> {
        let tuple = match &packet.subject {
            Subject::Own(tuple) => tuple,
            Subject::Quoted(tuple) => return self.related(packet, tuple, hash),
        };
        let Some(wanted) = Wanted::new(tuple, packet.kind, hash) else {
            return Some(self.invalid());
        };
        if let Some((found, direction)) = self.find_wanted(&wanted) {
            match self.known(packet, &wanted, found, direction) {
                Known::Tracked(tracked) => return Some(tracked),
                Known::Gone => {}
            }
        }
        if self.is_pending(&wanted) {
            return None;
        }
        Some(self.begin(packet, &wanted))
    }

    /// Puts the flow that a packet begins into the table, now that the packet was accepted. Does nothing for packets of
    /// known flows, and of none.
    ///
    /// # Errors
    /// [`Refused`]: there is no room, and the packet is to be dropped.
    pub fn confirm(&mut self, tracked: &Tracked) -> Result<(), Refused> {
        let FlowRef::Batch(at) = tracked.flow else { return Ok(()) };
        let Some(entry) = self.pending.get(at).copied() else { return Ok(()) };
        if entry.fate != Fate::New {
            return Ok(());
        }
        let family = usize::from(entry.addresses6.is_some());
        let standing = standing(&entry.flow);
        self.make_room(family, entry.hash, standing).inspect_err(|_| {
            self.stats.insert_failed += 1;
            self.stats.drop += 1;
        })?;
        let mut flow = entry.flow;
        let deadline = self.now.after(entry.timeout);
        flow.bits.set_deadline(deadline);
        let Family { table, wheel } = &mut self.families[family];
        let Some(found) = table.insert(entry.hash, &flow, standing) else {
            return Err(Refused::TableFull);
        };
        if let Some(addresses6) = entry.addresses6 {
            table.addresses6[found.flow as usize] = addresses6;
        }
        let aside = &mut table.asides[found.flow as usize];
        (aside.retrans, aside.last_scale, aside.last_flags) =
            (entry.aside.retrans, entry.aside.last_scale, entry.aside.last_flags);
        wheel.link(&mut table.asides, found.flow, deadline);
        self.stats.insert += 1;
        let id = self.id(family, found.flow);
        if let Some(entry) = self.pending.get_mut(at) {
            entry.fate = Fate::Confirmed(id);
        }
        self.note(EventKind::New, family, found.flow);
        Ok(())
    }

    /// Forgets the new flows of this batch that were not confirmed: their packets were dropped.
    #[inline]
    pub fn end_batch(&mut self) {
        self.pending.clear();
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

    /// The flow that this tuple is part of, and as which direction.
    #[must_use]
    pub fn find(&self, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        let kind = Kind::of(tuple.protocol, tuple.source.is_ipv4());
        let wanted = Wanted::new(tuple, kind, self.hash(tuple))?;
        let (found, direction) = self.find_wanted(&wanted)?;
        let family = family_of(tuple.source);
        let deadline = self.families[family].table.flows[found.flow as usize].bits.deadline();
        (!deadline.is_over(self.now)).then(|| (self.id(family, found.flow), direction))
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
                FlowView::new(&entry.flow, entry.addresses6.as_ref(), confirmed, self.now)
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

    /// Deletes a flow on request; false if it lives no more.
    pub fn remove(&mut self, id: FlowId) -> bool {
        let Some((family, flow)) = self.place(id) else { return false };
        self.stats.delete += 1;
        self.remove_place(family, flow);
        true
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

    fn invalid(&mut self) -> Tracked {
        self.stats.invalid += 1;
        Tracked::INVALID
    }

    fn error(&mut self) -> Tracked {
        self.stats.error += 1;
        Tracked::INVALID
    }

    #[inline]
    pub(super) fn find_wanted(&self, wanted: &Wanted<'_>) -> Option<(Found, Direction)> {
        let table = &self.families[family_of(wanted.tuple.source)].table;
        let mut direction = Direction::Original;
        let found = table.find(wanted.hash, |flow, place| {
            let addresses6 = table.addresses6.get(place as usize);
            let same = wanted.direction(flow, addresses6);
            direction = same.unwrap_or(direction);
            same.is_some()
        });
        found.map(|found| (found, direction))
    }

    #[inline]
    fn is_pending(&self, wanted: &Wanted<'_>) -> bool {
        self.pending.has(wanted.hash, |entry| {
            wanted.direction(&entry.flow, entry.addresses6.as_ref()).is_some()
        })
    }

    /// A packet of a flow in the table.
    #[inline]
    fn known(
        &mut self,
        packet: &Packet<'_>,
        wanted: &Wanted<'_>,
        found: Found,
        direction: Direction,
    ) -> Known {
        let family = family_of(wanted.tuple.source);
        let table = &mut self.families[family].table;
        let flow = &mut table.flows[found.flow as usize];
        let aside = &mut table.asides[found.flow as usize];
        let before = flow.bits;
        if before.deadline().is_over(self.now) {
            self.stats.expired += 1;
            self.remove_found(family, wanted.hash, found);
            return Known::Gone;
        }
        if self.settings.checksum && !packet.checksum_ok() {
            return Known::Tracked(self.invalid());
        }
        let answered = before.has(Bits::SEEN_REPLY);
        let state = match direction {
            Direction::Original if !answered => CtState::New,
            _ => CtState::Established,
        };
        let step = match wanted.kind {
            Kind::Tcp => match Segment::read(packet.l4) {
                Some(segment) => {
                    let knobs = (&self.settings, &self.timeouts);
                    tcp::follow(flow, aside, &segment, direction, knobs, self.now)
                }
                None => Step::Invalid,
            },
            _ => datagram::follow(flow, packet, &self.timeouts, self.now),
        };
        let (life, valid) = match step {
            Step::Live(life) => (Some(life), true),
            Step::Pass => (None, true),
            Step::Invalid => (None, false),
            Step::InvalidShortened(life) => (Some(life), false),
            Step::Kill => {
                return Known::Tracked(self.kill(family, wanted.hash, found, (state, direction)));
            }
            Step::Reopen => {
                self.remove_found(family, wanted.hash, found);
                return Known::Gone;
            }
        };
        if valid && direction == Direction::Reply {
            flow.bits.set(Bits::SEEN_REPLY, true);
        }
        if let Some(life) = life {
            flow.bits.set_deadline(self.now.after(life));
        }
        if flow.bits.has_changed_standing(before) {
            self.restand(family, found, before);
        }
        if let Some(life) = life.filter(|life| *life < AROUND) {
            self.move_nearer(family, found, before.deadline(), life);
        }
        if !valid {
            return Known::Tracked(self.invalid());
        }
        Known::Tracked(Tracked {
            state,
            direction,
            flow: FlowRef::Known(self.join(family, found.flow)),
        })
    }

    /// A packet that ends its flow and passes. What the rules may ask of the flow is kept until the batch ends.
    #[cold]
    fn kill(
        &mut self,
        family: usize,
        hash: u64,
        found: Found,
        (state, direction): (CtState, Direction),
    ) -> Tracked {
        let table = &self.families[family].table;
        let mut flow = table.flows[found.flow as usize];
        flow.bits.set(
            Bits::SEEN_REPLY,
            flow.bits.has(Bits::SEEN_REPLY) || direction == Direction::Reply,
        );
        let addresses6 = table.addresses6.get(found.flow as usize).copied();
        let mut entry = Entry::new(flow, hash, Fate::Ended);
        entry.addresses6 = addresses6;
        self.remove_found(family, hash, found);
        let flow = self.pending.push(entry).map_or(FlowRef::None, FlowRef::Batch);
        Tracked { state, direction, flow }
    }

    /// Tells the table and listeners what has become of a flow.
    #[cold]
    fn restand(&mut self, family: usize, found: Found, before: Bits) {
        let table = &mut self.families[family].table;
        let flow = table.flows[found.flow as usize];
        table.restand(found, standing(&flow));
        let told = [Bits::SEEN_REPLY, Bits::ASSURED];
        let changed = told.iter().any(|field| flow.bits.has(*field) != before.has(*field))
            || flow.bits.state() != before.state();
        if changed {
            self.note(EventKind::Update, family, found.flow);
        }
    }

    /// Moves a flow in the wheel if its life became shorter, and so short that the wheel would look too late.
    #[inline]
    fn move_nearer(&mut self, family: usize, found: Found, before: Time, life: Ticks) {
        let deadline = self.now.after(life);
        if deadline.since(before) >= 0 {
            return;
        }
        let Family { table, wheel } = &mut self.families[family];
        wheel.unlink(&mut table.asides, found.flow);
        wheel.link(&mut table.asides, found.flow, deadline);
    }

    /// A packet that may begin a flow.
    fn begin(&mut self, packet: &Packet<'_>, wanted: &Wanted<'_>) -> Tracked {
        if self.settings.checksum && !packet.checksum_ok() {
            return self.invalid();
        }
        let flow = Flow::new(wanted.there, wanted.kind, wanted.tuple.protocol);
        let mut entry = Entry::new(flow, wanted.hash, Fate::New);
        if let (IpAddr::V6(source), IpAddr::V6(destination)) =
            (wanted.tuple.source, wanted.tuple.destination)
        {
            entry.addresses6 = Some([source.to_bits(), destination.to_bits()]);
        }
        let step = match wanted.kind {
            Kind::Tcp => match Segment::read(packet.l4) {
                Some(segment) if tcp::begin(&mut entry.flow, &segment, &self.settings) => {
                    let (flow, aside) = (&mut entry.flow, &mut entry.aside);
                    let knobs = (&self.settings, &self.timeouts);
                    tcp::follow(flow, aside, &segment, Direction::Original, knobs, self.now)
                }
                _ => Step::Invalid,
            },
            _ if datagram::begin(&mut entry.flow, packet, self.now) => {
                datagram::follow(&mut entry.flow, packet, &self.timeouts, self.now)
            }
            _ => Step::Invalid,
        };
        let Step::Live(timeout) = step else { return self.invalid() };
        entry.timeout = timeout;
        let flow = self.pending.push(entry).map_or(FlowRef::None, FlowRef::Batch);
        Tracked { state: CtState::New, direction: Direction::Original, flow }
    }

    /// An ICMP error (`nf_conntrack_inet_error`): it must quote a packet of a known flow, and be sent to whom that
    /// packet came from. It moves nothing.
    fn related(&mut self, packet: &Packet<'_>, tuple: &Tuple, hash: u64) -> Option<Tracked> {
        if self.settings.checksum && !packet.checksum_ok() {
            return Some(self.error());
        }
        let kind = Kind::of(tuple.protocol, tuple.source.is_ipv4());
        let Some(wanted) = Wanted::new(tuple, kind, hash) else { return Some(self.error()) };
        let family = family_of(tuple.source);
        let living = self.find_wanted(&wanted).filter(|(found, _)| {
            let flow = &self.families[family].table.flows[found.flow as usize];
            !flow.bits.deadline().is_over(self.now)
        });
        let Some((found, direction)) = living else {
            return if self.is_pending(&wanted) { None } else { Some(self.error()) };
        };
        if tuple.destination != packet.destination {
            return Some(self.error());
        }
        let flow = FlowRef::Known(self.join(family, found.flow));
        Some(Tracked { state: CtState::Related, direction, flow })
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

    fn give_way(&mut self, family: usize, victim: Victim, flow: u32) {
        self.stats.early_drop += 1;
        match victim {
            Victim::HalfOpen => self.stats.early_drop_half_open += 1,
            Victim::Closing => self.stats.early_drop_closing += 1,
            Victim::Unassured => {}
        }
        self.remove_place(family, flow);
    }

    /// Removes the flow in a place.
    fn remove_place(&mut self, family: usize, flow: u32) {
        let table = &self.families[family].table;
        let tuple = view::tuple(&table.flows[flow as usize], table.addresses6.get(flow as usize));
        let hash = self.hash(&tuple);
        if let Some(found) = table.find(hash, |_, place| place == flow) {
            self.remove_found(family, hash, found);
        }
    }

    fn remove_found(&mut self, family: usize, hash: u64, found: Found) {
        self.note(EventKind::Destroy, family, found.flow);
        let Family { table, wheel } = &mut self.families[family];
        wheel.unlink(&mut table.asides, found.flow);
        table.remove(hash, found);
    }

    #[inline]
    pub(super) fn note(&self, kind: EventKind, family: usize, flow: u32) {
        if let Some(events) = self.events.as_ref().filter(|_| self.watched) {
            events.put(FlowEvent { kind, flow: self.view_place(family, flow) });
        }
    }

    fn view_place(&self, family: usize, flow: u32) -> FlowView {
        let table = &self.families[family].table;
        let addresses6 = table.addresses6.get(flow as usize);
        FlowView::new(&table.flows[flow as usize], addresses6, true, self.now)
    }

    #[inline]
    fn id(&self, family: usize, flow: u32) -> FlowId {
        let generation = self.families[family].table.asides[flow as usize].generation;
        FlowId { place: self.join(family, flow), generation }
    }

    /// The number of a place among those of both families.
    #[inline]
    fn join(&self, family: usize, flow: u32) -> u32 {
        let first = if family == 0 { 0 } else { self.families[0].table.flows.len() };
        u32::try_from(first).unwrap_or(u32::MAX) + flow
    }

    pub(super) fn split(&self, place: u32) -> (usize, u32) {
        let first = u32::try_from(self.families[0].table.flows.len()).unwrap_or(u32::MAX);
        if place < first { (0, place) } else { (1, place - first) }
    }

    /// The family and place of a flow that still lives.
    fn place(&self, id: FlowId) -> Option<(usize, u32)> {
        let (family, flow) = self.split(id.place);
        let Family { table, .. } = &self.families[family];
        let aside = table.asides.get(flow as usize)?;
        (aside.linked && aside.generation == id.generation).then_some((family, flow))
    }
}

#[inline]
pub(super) fn family_of(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// Who gives way first when the table is full.
pub(super) fn standing(flow: &Flow) -> Standing {
    let assured = flow.bits.has(Bits::ASSURED);
    let state = flow.bits.state();
    let tcp = flow.bits.kind() == Kind::Tcp;
    let opening = matches!(state, TcpState::SynSent | TcpState::SynRecv | TcpState::SynSent2);
    Standing { assured, closing: assured && tcp && state.is_closing(), half_open: tcp && opening }
}
