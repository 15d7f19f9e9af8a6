//! `Conntrack`: one worker's flows.

use std::sync::Arc;

use super::clock::Time;
use super::count::Counts;
use super::event::EventQueue;
use super::flow::{Bits, Flow};
use super::limited::Limited;
use super::packet::{Packet, Untrackable};
use super::pending::{Entry, Fate, Pending};
use super::settings::{Settings, Timeouts};
use super::stats::Stats;
use super::table::Table;
use super::tcp::{self, Segment};
use super::tuple::{Tuple, bits6};
use super::wanted::Wanted;
use super::wheel::{AROUND, Wheel};
use super::{CtState, Direction, FlowRef, Kind, Step, Tracked, datagram, proxy};
use crate::handover::FlowHash;
use crate::synproxy::CookieKey;

/// Most flows of one worker and family: ids of places have 31 bits, and both families share them.
pub const FLOWS_MAX_LIMIT: u32 = 1 << 26;

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
    /// Whether packets and bytes of each flow are counted (`nf_conntrack_acct`), for 32 bytes more each.
    pub acct: bool,
    /// What SYN cookies are made with, where connections may be proxied, for 20 bytes more each flow.
    pub cookie_key: Option<CookieKey>,
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
            acct: false,
            cookie_key: None,
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
    pub(super) settings: Settings,
    pub(super) timeouts: Timeouts,
    pub(super) acct: bool,
    pub(super) cookie_key: Option<CookieKey>,
    pub(super) hash: FlowHash,
    /// IPv4, IPv6.
    pub(super) families: [Family; 2],
    pub(super) half_open_max: u32,
    pub(super) now: Time,
    /// The same, as others count it.
    pub(super) now_ns: u64,
    pub(super) pending: Pending,
    pub(super) limited: Limited,
    pub(super) stats: Stats,
    pub(super) events: Option<Arc<EventQueue>>,
    /// Whether somebody listens, as of the last [`Conntrack::set_time`].
    pub(super) watched: bool,
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
        let family = |flows_max, ipv6| Family {
            table: Table::new(flows_max, ipv6, config.acct).proxying(config.cookie_key.is_some()),
            wheel: Wheel::new(now),
        };
        Self {
            settings: config.settings,
            timeouts: Timeouts::new(&config.settings),
            acct: config.acct,
            cookie_key: config.cookie_key,
            hash: config.flow_hash.clone(),
            families: [family(config.flows_max, false), family(config.flows6_max, true)],
            half_open_max: config.half_open_max,
            now,
            now_ns: 0,
            pending: Pending::new(),
            limited: Limited::new(),
            stats: Stats::default(),
            events: config.events.clone(),
            watched: false,
        }
    }

    /// Sets where events go.
    pub fn set_events(&mut self, events: Option<Arc<EventQueue>>) {
        self.events = events;
    }

    /// Sets the time for all that follows. It must not go back.
    #[inline]
    pub fn set_time(&mut self, now_ns: u64) {
        (self.now, self.now_ns) = (Time::from_ns(now_ns), now_ns);
        self.watched = self.events.as_ref().is_some_and(|events| events.is_wanted());
    }

    /// Names the flow of a packet.
    ///
    /// # Errors
    /// [`Untrackable`]: it can be part of none.
    #[inline]
    pub fn wanted(&self, packet: &Packet<'_>) -> Result<Wanted, Untrackable> {
        Wanted::new(packet, &self.hash)
    }

    /// Asks for the first of two cache lines of a flow.
    #[inline]
    pub fn prefetch_bucket(&self, wanted: &Wanted) {
        self.families[wanted.family()].table.prefetch_bucket(wanted.hash);
    }

    /// Asks for the second; the first should be here by now.
    #[inline]
    pub fn prefetch_flow(&self, wanted: &mut Wanted) {
        wanted.hint = self.families[wanted.family()].table.prefetch_flow(wanted.hash);
    }

    /// Tracks one packet, for callers that decide about each before they come with the next.
    pub fn track(&mut self, packet: &Packet<'_>) -> Tracked {
        self.end_batch();
        match self.wanted(packet) {
            Ok(wanted) => self.track_in_batch(packet, &wanted).unwrap_or(Tracked::INVALID),
            Err(why) => self.untrackable(why),
        }
    }

    /// Counts a packet that cannot be tracked.
    pub fn untrackable(&mut self, why: Untrackable) -> Tracked {
        match why {
            Untrackable::Malformed => self.invalid(),
            Untrackable::Icmp => self.error(),
            Untrackable::NeighbourDiscovery { sound } if sound || !self.settings.checksum => {
                Tracked::UNTRACKED
            }
            Untrackable::NeighbourDiscovery { .. } => self.error(),
        }
    }

    /// Tracks one packet of a batch; `None` if an earlier packet of the batch begins its flow, so that it is to be
    /// tracked again when that packet's fate is known and [`Conntrack::end_batch`] was called.
    #[inline]
    pub fn track_in_batch(&mut self, packet: &Packet<'_>, wanted: &Wanted) -> Option<Tracked> {
        if wanted.quoted {
            return self.related(packet, wanted);
        }
        if let Some((found, direction)) = self.find_wanted(wanted, || packet.tuple()) {
            match self.known(packet, wanted, found, direction) {
                Known::Tracked(tracked) => return Some(tracked),
                Known::Gone => {}
            }
        }
        if self.is_pending(wanted, packet) {
            return None;
        }
        Some(self.begin(packet, wanted))
    }

    /// Forgets the new flows of this batch that were not confirmed: their packets were dropped.
    #[inline]
    pub fn end_batch(&mut self) {
        self.pending.clear();
        self.give_up_counted();
    }

    pub(super) fn invalid(&mut self) -> Tracked {
        self.stats.invalid += 1;
        Tracked::INVALID
    }

    fn error(&mut self) -> Tracked {
        self.stats.error += 1;
        Tracked::INVALID
    }

    #[inline]
    pub(super) fn find_wanted(
        &self,
        wanted: &Wanted,
        tuple: impl Fn() -> Option<Tuple>,
    ) -> Option<(u32, Direction)> {
        let table = &self.families[wanted.family()].table;
        let compare = |flow: &Flow, place: u32| {
            wanted.direction(flow, table.addresses6.get(place as usize), &tuple)
        };
        // Whatever is in the place that the hint names: if it is the flow, there is no other.
        let hinted = table.flows.get(wanted.hint as usize);
        if let Some(direction) = hinted.and_then(|flow| compare(flow, wanted.hint)) {
            return Some((wanted.hint, direction));
        }
        let mut direction = Direction::Original;
        let found = table.find(wanted.hash, |flow, place| {
            let same = compare(flow, place);
            direction = same.unwrap_or(direction);
            same.is_some()
        });
        found.map(|found| (found, direction))
    }

    #[inline]
    fn is_pending(&self, wanted: &Wanted, packet: &Packet<'_>) -> bool {
        self.pending.has(wanted.hash, |entry| {
            let addresses6 = entry.addresses6.as_ref();
            wanted.direction(&entry.flow, addresses6, || packet.tuple()).is_some()
        })
    }

    /// A packet of a flow in the table.
    #[inline]
    fn known(
        &mut self,
        packet: &Packet<'_>,
        wanted: &Wanted,
        found: u32,
        direction: Direction,
    ) -> Known {
        let family = wanted.family();
        let table = &mut self.families[family].table;
        let flow = &mut table.flows[found as usize];
        let aside = &mut table.asides[found as usize];
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
            Kind::Tcp => {
                let knobs = (&self.settings, &self.timeouts);
                let proxied = self.cookie_key.zip(table.proxied.get(found as usize));
                proxy::follow(flow, packet, direction, (proxied, self.now_ns), |flow, segment| {
                    tcp::follow(flow, aside, segment, direction, knobs, self.now)
                })
            }
            _ => datagram::follow(flow, packet, &self.timeouts, self.now),
        };
        if matches!(step, Step::Live(_) | Step::Kill) {
            Counts::add_to(&mut table.counts, found, direction, packet.len);
        }
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
            self.restand(family, wanted.hash, found, before);
        }
        if let Some(life) = life.filter(|life| *life < AROUND) {
            self.move_nearer(family, found, before.deadline(), life);
        }
        if !valid {
            return Known::Tracked(self.invalid());
        }
        Known::Tracked(Tracked { state, direction, flow: FlowRef::Known(self.join(family, found)) })
    }

    /// A packet that ends its flow and passes. What the rules may ask of the flow is kept until the batch ends.
    #[cold]
    fn kill(
        &mut self,
        family: usize,
        hash: u64,
        found: u32,
        (state, direction): (CtState, Direction),
    ) -> Tracked {
        let table = &self.families[family].table;
        let mut flow = table.flows[found as usize];
        flow.bits.set(
            Bits::SEEN_REPLY,
            flow.bits.has(Bits::SEEN_REPLY) || direction == Direction::Reply,
        );
        let addresses6 = table.addresses6.get(found as usize).copied();
        let mut entry = Entry::new(flow, hash, Fate::Ended);
        entry.addresses6 = addresses6;
        entry.mark.set(table.marks.get(found));
        entry.proxied.set(table.proxied.get(found as usize).copied().unwrap_or_default());
        entry.counts = table.counts.get(found as usize).copied().unwrap_or_default();
        self.remove_found(family, hash, found);
        let flow = self.pending.push(entry).map_or(FlowRef::None, |(at, _)| FlowRef::Batch(at));
        Tracked { state, direction, flow }
    }

    /// A packet that may begin a flow.
    fn begin(&mut self, packet: &Packet<'_>, wanted: &Wanted) -> Tracked {
        if self.settings.checksum && !packet.checksum_ok() {
            return self.invalid();
        }
        // Put there first and filled in there: a copy of what was just written in pieces would have to wait for it.
        let mut entry = Entry::new(wanted.begin(), wanted.hash, Fate::New);
        entry.addresses6 = wanted.ipv6.then(|| [packet.source, packet.destination].map(bits6));
        let Some((at, entry)) = self.pending.push(entry) else { return self.invalid() };
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
        let Step::Live(timeout) = step else {
            self.pending.pop();
            return self.invalid();
        };
        entry.timeout = timeout;
        entry.counts.add(Direction::Original, packet.len);
        let flow = FlowRef::Batch(at);
        Tracked { state: CtState::New, direction: Direction::Original, flow }
    }

    /// An ICMP error (`nf_conntrack_inet_error`): it must quote a packet of a known flow, and be sent to whom that
    /// packet came from. It moves nothing.
    fn related(&mut self, packet: &Packet<'_>, wanted: &Wanted) -> Option<Tracked> {
        let Some(tuple) =
            packet.tuple().filter(|_| !self.settings.checksum || packet.checksum_ok())
        else {
            return Some(self.error());
        };
        let family = wanted.family();
        let living = self.find_wanted(wanted, || Some(tuple)).filter(|(found, _)| {
            let flow = &self.families[family].table.flows[*found as usize];
            !flow.bits.deadline().is_over(self.now)
        });
        let Some((found, direction)) = living else {
            return if self.is_pending(wanted, packet) { None } else { Some(self.error()) };
        };
        if tuple.destination != packet.destination {
            return Some(self.error());
        }
        let flow = FlowRef::Known(self.join(family, found));
        Some(Tracked { state: CtState::Related, direction, flow })
    }
}
