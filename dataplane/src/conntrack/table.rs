//! The flow table: where a flow is found by its tuple, in two cache lines.
//!
//! ```text
//!   hash ──► bucket  64 bytes: eight tags of 16 bits, eight places         ──► flow  64 bytes
//!              │
//!              └──► the next bucket, only if a flow that belongs here had to go on ("passed")
//! ```
//!
//! A flow belongs in the bucket that its hash names; where that is full, in the next one with room. Every full
//! bucket that it passed counts it, and a search ends at the first bucket that nobody passed: nearly always the
//! first. So there are no tombstones, and a table that had been full is as fast as before.
//!
//! The hash is the same for both directions ([`crate::handover::FlowHash`]), so a flow stands in one bucket and not
//! in two as in the kernel; which direction a packet has, the comparison of its tuple tells. Bits 0 to 31 of the
//! hash choose the bucket, 32 to 47 are the tag; the highest choose the worker.
//!
//! Everything is allocated, and touched, when the table is made. A bucket holds 6 flows on average when the table is
//! full: 10.7 bytes of bucket, 64 of flow, 16 of [`Aside`] and 4 of mark are 94.7 bytes for an IPv4 flow; 32 of
//! addresses besides are 126.7 for IPv6. Counting adds 32 to each.

use super::count::{Counts, FlowCount};
use super::flow::{Aside, Flow};
use super::mark::Marks;
use super::proxy::Proxied;
use super::wheel::NIL;

const WAYS: usize = 8;

/// Flows of a bucket on average, when the table is full.
const FLOWS_PER_BUCKET: usize = 6;

/// Eight places where flows may stand, and what is known of each without looking there.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
struct Bucket {
    /// A tag of 16 bits for each place, four in a word; 0 where nothing is.
    tags: [u64; WAYS / 4],
    flows: [u32; WAYS],
    /// How many flows went on to a later bucket because this one was full.
    passed: u32,
    /// A bit for each place that is taken.
    used: u8,
    /// Places of flows that are worth keeping when the table is full.
    assured: u8,
    /// Places of assured connections that are on their way out.
    closing: u8,
    /// Places of connections whose handshake is not over.
    half_open: u8,
    spare: u64,
}

/// What a bucket knows of a flow: who gives way first when the table is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) assured: bool,
    pub(super) closing: bool,
    pub(super) half_open: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    pub(super) flows: Box<[Flow]>,
    pub(super) asides: Box<[Aside]>,
    /// Source and destination of IPv6 flows; empty in a table of IPv4 flows.
    pub(super) addresses6: Box<[[u128; 2]]>,
    pub(super) marks: Marks,
    /// Empty where no connection is proxied.
    pub(super) proxied: Box<[Proxied]>,
    /// Empty where nothing is counted.
    pub(super) counts: Box<[Counts]>,
    free: u32,
    len: u32,
    half_open: u32,
}

impl Bucket {
    /// Places that have this tag, a bit each.
    #[inline]
    fn matching(&self, tag: u16) -> u8 {
        let [low, high] = self.tags.map(|word| lanes_equal(word, tag));
        low | high << 4
    }

    fn set_tag(&mut self, way: usize, tag: u16) {
        let shift = way % 4 * 16;
        let word = &mut self.tags[way / 4];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    fn mark(&mut self, way: usize, standing: Standing) {
        let bit = 1 << way;
        let put = |mask: &mut u8, value: bool| *mask = *mask & !bit | if value { bit } else { 0 };
        put(&mut self.assured, standing.assured);
        put(&mut self.closing, standing.closing);
        put(&mut self.half_open, standing.half_open);
    }
}

/// Which of the four 16-bit lanes of a word are equal to `tag`, a bit each. All four at once: where a lane of the
/// difference is zero, adding 0x7fff to it does not reach its highest bit; the multiplication brings the four bits
/// together.
#[inline]
fn lanes_equal(word: u64, tag: u16) -> u8 {
    const LOW: u64 = 0x7fff_7fff_7fff_7fff;
    let difference = word ^ (u64::from(tag) * 0x0001_0001_0001_0001);
    let nonzero = ((difference & LOW) + LOW) | difference;
    let zero = (!nonzero & !LOW) >> 15;
    let gathered = zero.wrapping_mul((1 << 48) | (1 << 33) | (1 << 18) | (1 << 3));
    (gathered >> 48 & 0xf) as u8
}

/// The tag of a hash: 16 of its bits, but never 0.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "16 of its bits")]
fn tag(hash: u64) -> u16 {
    ((hash >> 32) as u16).max(1)
}

impl Table {
    /// The same with room for what is kept of proxied connections, or without.
    pub(super) fn proxying(self, proxies: bool) -> Self {
        let count = if proxies { self.flows.len() } else { 0 };
        // Written to, so that no page is first touched by a packet; and not as zeros, which need not be written.
        let mut proxied = vec![Proxied { is: true, ..Proxied::default() }; count];
        std::hint::black_box(&mut proxied).fill(Proxied::default());
        Self { proxied: proxied.into(), ..self }
    }

    /// A table for `flows_max` flows; with room for their addresses if they are IPv6, and for what their packets come
    /// to if that is counted.
    pub(super) fn new(flows_max: u32, ipv6: bool, acct: bool) -> Self {
        let count = flows_max as usize;
        let mut asides = vec![Aside::default(); count];
        // Free flows are a list, the first one first.
        for (aside, next) in asides.iter_mut().zip(1..) {
            aside.next = if next < flows_max { next } else { NIL };
        }
        let flows = vec![Flow::FREE; count];
        let mut buckets = vec![Bucket::default(); count / FLOWS_PER_BUCKET + 2];
        // Written to, so that no page is first touched by a packet.
        buckets.iter_mut().for_each(|bucket| bucket.spare = 1);
        Self {
            buckets: buckets.into(),
            flows: flows.into(),
            asides: asides.into(),
            addresses6: vec![[1; 2]; if ipv6 { count } else { 0 }].into(),
            marks: Marks::new(count),
            proxied: Box::default(),
            counts: Counts::table(if acct { count } else { 0 }),
            free: if flows_max == 0 { NIL } else { 0 },
            len: 0,
            half_open: 0,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn half_open(&self) -> u32 {
        self.half_open
    }

    pub(super) fn is_full(&self) -> bool {
        self.free == NIL
    }

    /// Bytes of memory, all of it.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.buckets)
            + size_of_val(&*self.flows)
            + size_of_val(&*self.asides)
            + size_of_val(&*self.addresses6)
            + self.marks.bytes()
            + size_of_val(&*self.proxied)
            + size_of_val(&*self.counts)
    }

    /// What the packets of a flow have come to, if that is counted.
    pub(super) fn counts_of(&self, flow: u32) -> Option<[FlowCount; 2]> {
        self.counts.get(flow as usize).map(|counts| counts.0)
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        let spread = (hash & 0xffff_ffff) * self.buckets.len() as u64;
        usize::try_from(spread >> 32).unwrap_or(0)
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// Asks for the bucket of a hash to be brought near.
    #[inline]
    pub(super) fn prefetch_bucket(&self, hash: u64) {
        crate::frame::prefetch(&self.buckets[self.home(hash)]);
    }

    /// Asks for the flow that most likely has this hash to be brought near, and says which it is. [`NIL`]: none in the
    /// bucket where it belongs.
    #[inline]
    pub(super) fn prefetch_flow(&self, hash: u64) -> u32 {
        let bucket = &self.buckets[self.home(hash)];
        let matching = bucket.matching(tag(hash));
        if matching == 0 {
            return NIL;
        }
        let flow = bucket.flows[matching.trailing_zeros() as usize % WAYS];
        crate::frame::prefetch(&self.flows[flow as usize]);
        flow
    }

    /// Finds the flow with this hash that `is_it` says yes to.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(&Flow, u32) -> bool) -> Option<u32> {
        let found = self.search(hash, |flow| is_it(&self.flows[flow as usize], flow));
        found.map(|(bucket, way)| self.buckets[bucket].flows[way])
    }

    /// The bucket, and the place in it, of the flow with this hash that `is_it` says yes to.
    #[inline]
    fn search(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        let mut at = self.home(hash);
        // Once around at most: every bucket may have been passed by somebody, though none is full now.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let mut matching = bucket.matching(tag(hash));
            while matching != 0 {
                let way = matching.trailing_zeros() as usize % WAYS;
                if is_it(bucket.flows[way]) {
                    return Some((at, way));
                }
                matching &= matching - 1;
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Puts a flow in; `None` if the table is full. The caller knows that it is not in there.
    pub(super) fn insert(&mut self, hash: u64, flow: &Flow, standing: Standing) -> Option<u32> {
        let index = self.free;
        let aside = self.asides.get_mut(index as usize)?;
        self.free = aside.next;
        aside.next = NIL;
        let mut at = self.home(hash);
        while self.buckets[at].used == u8::MAX {
            self.buckets[at].passed += 1;
            at = self.after(at);
        }
        let bucket = &mut self.buckets[at];
        let way = bucket.used.trailing_ones() as usize % WAYS;
        bucket.used |= 1 << way;
        bucket.set_tag(way, tag(hash));
        bucket.flows[way] = index;
        bucket.mark(way, standing);
        self.flows[index as usize] = *flow;
        self.len += 1;
        self.half_open += u32::from(standing.half_open);
        Some(index)
    }

    /// Takes a flow out, and bumps its generation. It must not be linked into the wheel any more.
    pub(super) fn remove(&mut self, hash: u64, flow: u32) {
        let Some((found, way)) = self.search(hash, |other| other == flow) else { return };
        let mut at = self.home(hash);
        while at != found {
            self.buckets[at].passed -= 1;
            at = self.after(at);
        }
        let bucket = &mut self.buckets[at];
        let bit = 1 << way;
        bucket.set_tag(way, 0);
        self.half_open -= u32::from(bucket.half_open & bit != 0);
        for mask in
            [&mut bucket.used, &mut bucket.assured, &mut bucket.closing, &mut bucket.half_open]
        {
            *mask &= !bit;
        }
        self.flows[flow as usize] = Flow::FREE;
        let aside = &mut self.asides[flow as usize];
        debug_assert!(!aside.linked, "the wheel would lead to a free place");
        let generation = aside.generation.wrapping_add(1);
        *aside = Aside { next: self.free, generation, ..Aside::default() };
        self.free = flow;
        self.len -= 1;
    }

    /// Keeps what the bucket knows of a flow up to date.
    pub(super) fn restand(&mut self, hash: u64, flow: u32, standing: Standing) {
        let Some((bucket, way)) = self.search(hash, |other| other == flow) else { return };
        let bucket = &mut self.buckets[bucket];
        let was = bucket.half_open & 1 << way != 0;
        bucket.mark(way, standing);
        self.half_open = self.half_open + u32::from(standing.half_open) - u32::from(was);
    }

    /// Looks for a flow that may give way to one with this hash, in `range` buckets from its own on, or from
    /// `from` on. The best is the first of the least worth.
    pub(super) fn victim(&self, from: Search, range: usize) -> Option<(Victim, u32)> {
        let mut at = match from {
            Search::Hash(hash) | Search::HalfOpen(hash) => self.home(hash),
        };
        let only_half_open = matches!(from, Search::HalfOpen(_));
        let (mut second, mut third) = (None, None);
        for _ in 0..range.min(self.buckets.len()) {
            let bucket = &self.buckets[at];
            let pick = |mask: u8| bucket.flows[mask.trailing_zeros() as usize % WAYS];
            let half_open = bucket.used & bucket.half_open;
            if half_open != 0 {
                return Some((Victim::HalfOpen, pick(half_open)));
            }
            let unassured = bucket.used & !bucket.assured;
            if !only_half_open && unassured != 0 && second.is_none() {
                second = Some((Victim::Unassured, pick(unassured)));
            }
            let closing = bucket.used & bucket.closing;
            if !only_half_open && closing != 0 && third.is_none() {
                third = Some((Victim::Closing, pick(closing)));
            }
            at = self.after(at);
        }
        second.or(third)
    }
}

/// Where to look for a victim, and for which.
#[derive(Debug, Clone, Copy)]
pub(super) enum Search {
    /// Any that may give way.
    Hash(u64),
    /// Only those whose handshake is not over.
    HalfOpen(u64),
}

/// Why a flow was chosen to give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    HalfOpen,
    Unassured,
    Closing,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const PLAIN: Standing = Standing { assured: false, closing: false, half_open: false };

    #[test]
    fn a_bucket_is_a_cache_line_and_a_flow_costs_what_is_said() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
        for (ipv6, acct, limit) in
            [(false, false, 94.8), (true, false, 126.8), (false, true, 126.8), (true, true, 158.8)]
        {
            let bytes = Table::new(1 << 20, ipv6, acct).bytes() as f64 / f64::from(1 << 20);
            assert!(bytes < limit, "{bytes} of {limit}");
        }
    }

    proptest! {
        #[test]
        fn equal_lanes_are_found(lanes: [u16; 4], tag: u16, same in 0_usize..5) {
            let mut lanes = lanes;
            if let Some(lane) = lanes.get_mut(same) {
                *lane = tag;
            }
            let word = (0..4).map(|lane| u64::from(lanes[lane]) << (16 * lane)).sum();
            let expected = (0..4).map(|lane| u8::from(lanes[lane] == tag) << lane).sum::<u8>();
            prop_assert_eq!(lanes_equal(word, tag), expected);
        }

        /// Against a map, with hashes so poor that buckets overflow far and wide, and around the end.
        #[test]
        fn the_table_holds_what_a_map_holds(
            steps in prop::collection::vec((0_u64..40, any::<bool>(), any::<bool>()), 1..400),
            poor in prop::sample::select(vec![1_u64, 3, 0xffff_ffff]),
        ) {
            let mut table = Table::new(24, false, false);
            let mut twin: HashMap<u64, (u32, bool)> = HashMap::new();
            for (name, insert, half_open) in steps {
                let hash = ((name % poor) << 30) & 0xffff_ffff | ((name % 2) << 33);
                let found = table.find(hash, |flow, _| flow.addresses == name);
                prop_assert_eq!(found, twin.get(&name).map(|(flow, _)| *flow));
                match found {
                    Some(found) if !insert => {
                        let generation = table.asides[found as usize].generation;
                        table.remove(hash, found);
                        prop_assert_eq!(table.asides[found as usize].generation, generation + 1);
                        twin.remove(&name);
                    }
                    Some(found) => {
                        table.restand(hash, found, Standing { half_open, ..PLAIN });
                        twin.insert(name, (found, half_open));
                    }
                    None => {
                        let flow = Flow { addresses: name, ..Flow::default() };
                        let full = table.is_full();
                        let inserted = table.insert(hash, &flow, Standing { half_open, ..PLAIN });
                        prop_assert_eq!(inserted.is_none(), full);
                        prop_assert_eq!(full, twin.len() == 24);
                        if let Some(found) = inserted {
                            twin.insert(name, (found, half_open));
                        }
                    }
                }
                prop_assert_eq!(table.len() as usize, twin.len());
                let half_open = twin.values().filter(|(_, half_open)| *half_open).count();
                prop_assert_eq!(table.half_open() as usize, half_open);
            }
            for (name, _) in twin {
                let hash = ((name % poor) << 30) & 0xffff_ffff | ((name % 2) << 33);
                let found = table.find(hash, |flow, _| flow.addresses == name);
                table.remove(hash, found.expect("it is in there"));
            }
            prop_assert!(table.buckets.iter().all(|bucket| bucket.passed == 0 && bucket.used == 0));
        }
    }

    #[test]
    fn a_search_ends_although_every_bucket_was_passed() {
        let mut table = Table::new(16, false, false);
        let buckets = table.buckets.len() as u64;
        let hash = |bucket: u64| (bucket << 32).div_ceil(buckets);
        let flow = Flow::default();
        for bucket in 0..buckets {
            let natives: Vec<u32> =
                (0..8).map(|_| table.insert(hash(bucket), &flow, PLAIN).expect("room")).collect();
            table.insert(hash(bucket), &flow, PLAIN).expect("room");
            natives.into_iter().for_each(|native| table.remove(hash(bucket), native));
        }
        assert!(table.buckets.iter().all(|bucket| bucket.passed > 0), "{:?}", table.buckets);
        assert_eq!(table.find(0, |_, _| false), None);
    }

    #[test]
    fn who_gives_way_is_whoever_is_worth_least() {
        let mut table = Table::new(12, false, false);
        let stand = |assured, closing, half_open| Standing { assured, closing, half_open };
        let put = |table: &mut Table, name, standing| {
            let flow = Flow { addresses: name, ..Flow::default() };
            table.insert(0, &flow, standing).expect("room")
        };
        let assured = put(&mut table, 1, stand(true, false, false));
        assert_eq!(table.victim(Search::Hash(0), 8), None, "never an assured one");
        let closing = put(&mut table, 2, stand(true, true, false));
        assert_eq!(table.victim(Search::Hash(0), 8), Some((Victim::Closing, closing)));
        let unassured = put(&mut table, 3, PLAIN);
        assert_eq!(table.victim(Search::Hash(0), 8), Some((Victim::Unassured, unassured)));
        assert_eq!(table.victim(Search::HalfOpen(0), 8), None);
        // Wherever it stands: two buckets further on.
        let flow = Flow { addresses: 4, ..Flow::default() };
        let half_open = table.insert(0x8000_0000, &flow, stand(false, false, true)).expect("room");
        assert_eq!(table.victim(Search::Hash(0), 1), Some((Victim::Unassured, unassured)));
        assert_eq!(table.victim(Search::Hash(0), 8), Some((Victim::HalfOpen, half_open)));
        assert_ne!(assured, half_open);
    }
}
