//! `Controller`: the controller of `-m fuzzy`, in one word.
//!
//! What the module of 2002 does (`xt_fuzzy.c` of xtables-addons, unchanged since then but for its dress), and this does
//! to the bit: it counts packets; the first one that comes more than a tenth of a second, in whole ticks, after the
//! window began ends it. Its rate, that packet counted in, says which share of packets pass from then on, in percent:
//!
//! ```text
//!   100 |-------.                 a rule "high": 0 up to the lower limit, 100 from the upper one on
//!       |        \                a rule "low":  100 up to the lower limit, 0 from the upper one on
//!       |         \               share = high * 1 % + low          each of them rounded down
//!     1 |          '--------
//!       +------|---|-------- rate
//! ```
//!
//! So the share is 1 at the upper limit and beyond, and 0 a little below it, where "high" is not yet 100. A packet
//! passes if a random byte is not above 255 * share / 100: with a share of 1 % that are 3 of 256, with 0 it is 1. With
//! 100 % nobody asks for a byte. The share always is that of the window before: a flood passes for one window, and so
//! does whatever comes first after a silence, which makes for a low rate.
//!
//! All of that is one word, so that all workers share it:
//!
//! ```text
//!   packets (27 bits) | tick at which the window began (30 bits) | share (7 bits)
//! ```
//!
//! A packet within the window is one addition: packets are the highest bits, so nothing is carried into the others,
//! and the share comes back with the same instruction. (Another worker may have begun the next window in between; then
//! the packet counts there, as if it had come after it.) Who ends a window does so by compare-and-swap. A worker whose
//! clock is a little behind that of the one that began the window takes it for just begun.
//!
//! A new controller lets all pass, as the module's does: its window began when the machine started, long ago.
//!
//! With keys ([`Controllers`]), each has the same numbers in an entry of a [`Table`], which workers take turns with.
//!
//! Ticks of 30 bits go round in 49 days. Who was silent for so long, to a tenth of a second, keeps the share of before
//! for that tenth.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use weir_control::rule::{Family, FuzzyKeys, FuzzyMatch};

use super::HZ;
use super::hashlimit::ticks_of_ms;
use super::key::{ByFamily, Key4, Key6, KeySpec, Parts};
use super::table::{self, Seen, Table};

/// The share at the upper limit and beyond.
const FLOOR_PERCENT: u32 = 1;

/// How many of 256 packets pass at the floor: those with a random byte up to 255 * 1 / 100.
pub const FLOOR_OF_256: u32 = 255 * FLOOR_PERCENT / 100 + 1;

/// A window is over when more ticks than that have passed.
pub const WINDOW_JIFFIES: u64 = HZ / 10;

/// Between which rates packets begin to be thrown away and nearly all are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Up to so many packets a second all pass.
    pub lower_pps: u32,
    /// From so many on, above the other, 1 % pass.
    pub upper_pps: u32,
}

impl Limits {
    /// Which share of packets passes at a rate, in percent.
    #[must_use]
    pub fn share(self, rate_pps: u32) -> u32 {
        let Self { lower_pps: lower, upper_pps: upper } = self;
        if rate_pps <= lower {
            100
        } else if rate_pps >= upper {
            FLOOR_PERCENT
        } else {
            // "high" is below 100, and a hundredth of that rounds to nothing.
            100 * (upper - rate_pps) / (upper - lower)
        }
    }
}

impl Limits {
    /// The rate of a window of so many packets and ticks, and the share that passes then.
    fn close(self, packets: u64, elapsed: u64) -> (u32, u32) {
        let rate = u32::try_from(HZ * packets / elapsed.max(1)).unwrap_or(u32::MAX);
        (rate, self.share(rate))
    }
}

/// Whether a packet passes, of which a share does.
pub(super) fn passes(share_percent: u32, draw: impl FnOnce() -> u8) -> bool {
    share_percent >= 100 || u32::from(draw()) <= 255 * share_percent / 100
}

const SHARE_BITS: u32 = 7;
const TICK_BITS: u32 = 30;
const TICKS: u64 = 1 << TICK_BITS;
const ONE_PACKET: u64 = 1 << (SHARE_BITS + TICK_BITS);

/// How far behind the clock of another worker may be: a second, which is long for a poll.
const BEHIND_MAX: u64 = HZ;

/// What the word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    packets: u64,
    began: u64,
    share: u64,
}

impl State {
    const fn of(word: u64) -> Self {
        Self {
            packets: word >> (SHARE_BITS + TICK_BITS),
            began: word >> SHARE_BITS & (TICKS - 1),
            share: word & ((1 << SHARE_BITS) - 1),
        }
    }

    const fn word(self) -> u64 {
        self.packets << (SHARE_BITS + TICK_BITS) | self.began << SHARE_BITS | self.share
    }

    /// How many ticks ago the window began.
    const fn elapsed(self, now: u64) -> u64 {
        let elapsed = now.wrapping_sub(self.began) & (TICKS - 1);
        if elapsed >= TICKS - BEHIND_MAX { 0 } else { elapsed }
    }
}

/// A controller without its limits, which others may have in common with it.
#[derive(Debug)]
pub(super) struct Cell {
    word: AtomicU64,
    /// Of the last window that ended, for whoever wants to know.
    rate_pps: AtomicU32,
}

/// What a cell says of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// The share that holds for it.
    pub(super) share_percent: u32,
    /// Whether it is the one that has ended a window.
    pub(super) ends_window: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Controller {
    limits: Limits,
    cell: Cell,
}

/// What a controller has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Packets a second in the last window that ended.
    pub rate_pps: u32,
    /// Which share passes now, in percent.
    pub share_percent: u32,
}

impl Controller {
    /// As before the first packet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, cell: Cell::default() }
    }

    /// Whether a packet that comes at the tick `now` passes. `draw` gives a random byte, if one is needed.
    pub fn accepts(&self, now: u64, draw: impl FnOnce() -> u8) -> bool {
        passes(self.cell.count(self.cell.look(), self.limits, now).share_percent, draw)
    }

    /// Counts packets that were dropped before they came here ([`crate::early_drop`]), into the window in which this is
    /// told. A window holds 2^27 packets; more are counted as that.
    pub fn add(&self, packets: u64) {
        self.cell.add(packets);
    }

    /// What it has come to at the tick `now`. Where the window would be over, it is what the window has come to until
    /// now: a flood that has ended is not shown for ever.
    #[must_use]
    pub fn read(&self, now: u64) -> Reading {
        self.cell.read(self.limits, now)
    }
}

impl Default for Cell {
    fn default() -> Self {
        let state = State { packets: 0, began: 0, share: 100 };
        Self { word: AtomicU64::new(state.word()), rate_pps: AtomicU32::new(0) }
    }
}

impl Cell {
    fn add(&self, packets: u64) {
        let more = |word: u64| {
            let sum = State::of(word).packets.saturating_add(packets);
            Some(State { packets: sum.min(u64::MAX / ONE_PACKET), ..State::of(word) }.word())
        };
        // The closure never declines.
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// What [`count`](Self::count) begins with. Whoever counts in several cells looks at all of them first: then they
    /// come from memory together, for an addition waits for the one before it.
    #[inline]
    pub(super) fn look(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Counts a packet in a cell that looked like `word` a moment ago.
    #[inline]
    pub(super) fn count(&self, mut word: u64, limits: Limits, now: u64) -> Counted {
        loop {
            let state = State::of(word);
            let elapsed = state.elapsed(now);
            if elapsed <= WINDOW_JIFFIES {
                let counted = State::of(self.word.fetch_add(ONE_PACKET, Ordering::Relaxed));
                let share_percent = u32::try_from(counted.share).unwrap_or(100);
                return Counted { share_percent, ends_window: false };
            }
            let (rate, share) = limits.close(state.packets + 1, elapsed);
            let next = State { packets: 0, began: now & (TICKS - 1), share: share.into() };
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.word.compare_exchange_weak(word, next.word(), success, failure) {
                Ok(_) => {
                    self.rate_pps.store(rate, Ordering::Relaxed);
                    return Counted { share_percent: share, ends_window: true };
                }
                Err(current) => word = current,
            }
        }
    }

    pub(super) fn read(&self, limits: Limits, now: u64) -> Reading {
        let state = State::of(self.word.load(Ordering::Relaxed));
        let elapsed = state.elapsed(now);
        if elapsed > WINDOW_JIFFIES {
            let (rate_pps, share_percent) = limits.close(state.packets, elapsed);
            return Reading { rate_pps, share_percent };
        }
        let share_percent = u32::try_from(state.share).unwrap_or(100);
        Reading { rate_pps: self.rate_pps.load(Ordering::Relaxed), share_percent }
    }
}

/// The controller of one key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    packets: u32,
    /// Ticks since it began, up to the packet before.
    age: u32,
    rate_pps: u32,
    share_percent: u8,
    /// Whether the XDP program throws for this key ([`crate::early_drop`]), and until which tick, by its last 16 bits:
    /// it is two seconds away at most.
    trusts: bool,
    trusts_until: u16,
}

/// What a window says of a packet.
#[derive(Debug, Clone, Copy)]
struct Asked {
    share: u32,
    /// Whether it may have been thrown for already.
    trusts: bool,
}

impl table::State for Window {
    /// Who is held back must not be forgotten.
    fn weight(&self) -> u8 {
        100 - self.share_percent.min(100)
    }
}

impl Window {
    /// As before the first packet: the window began long ago.
    fn new() -> Self {
        Self { age: u32::MAX, share_percent: 100, ..Self::default() }
    }

    /// Counts a packet that comes at a tick, so many after the one before.
    fn count(&mut self, limits: Limits, since: u32, now: u64) -> Asked {
        self.age = self.age.saturating_add(since);
        self.packets = self.packets.saturating_add(1);
        if u64::from(self.age) > WINDOW_JIFFIES {
            let (rate, share) = limits.close(self.packets.into(), self.age.into());
            let share_percent = u8::try_from(share).unwrap_or(100);
            *self = Self { packets: 0, age: 0, rate_pps: rate, share_percent, ..*self };
        }
        self.trusts = self.trusts && {
            let left = self.trusts_until.wrapping_sub(last16(now));
            (1..=u16::MAX / 2).contains(&left)
        };
        Asked { share: self.share_percent.into(), trusts: self.trusts }
    }

    /// Counts packets that never came here, into the window in which this is told.
    fn add(&mut self, since: u32, packets: u64) {
        self.age = self.age.saturating_add(since);
        self.packets = self.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// What it has come to so many ticks after the last packet.
    #[must_use]
    pub fn read(&self, limits: Limits, since: u32) -> Reading {
        let age = u64::from(self.age.saturating_add(since));
        if age > WINDOW_JIFFIES {
            let (rate_pps, share_percent) = limits.close(self.packets.into(), age);
            return Reading { rate_pps, share_percent };
        }
        Reading { rate_pps: self.rate_pps, share_percent: self.share_percent.into() }
    }
}

/// The last 16 bits.
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
const fn last16(tick: u64) -> u16 {
    tick as u16
}

/// The controllers of all keys of a rule, or of all rules of a name.
#[derive(Debug)]
pub struct Controllers {
    /// What the first of these rules said.
    asked: FuzzyMatch,
    limits: Limits,
    spec: KeySpec,
    table: ByFamily<Table<Key4, Window>, Table<Key6, Window>>,
    /// Whether a packet has met the floor since somebody looked.
    floor_met: AtomicBool,
}

impl Controllers {
    /// For a rule of this family, allocated here.
    #[must_use]
    pub fn new(asked: &FuzzyMatch, keys: &FuzzyKeys, family: Family, seed: u64) -> Self {
        let (room, expire) = (keys.keys_max as usize, ticks_of_ms(keys.expire_ms));
        let blank = Window::default();
        let table = match family {
            Family::V4 => ByFamily::V4(Table::new(room, expire, seed, blank)),
            Family::V6 => ByFamily::V6(Table::new(room, expire, seed, blank)),
        };
        let spec = KeySpec::new(family, keys.parts, keys.masks);
        let floor_met = AtomicBool::new(false);
        Self { asked: asked.clone(), limits: asked.into(), spec, table, floor_met }
    }

    /// What the first rule said.
    #[must_use]
    pub fn asked(&self) -> &FuzzyMatch {
        &self.asked
    }

    /// What makes keys.
    #[must_use]
    pub fn spec(&self) -> &KeySpec {
        &self.spec
    }

    /// Between which rates.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The controllers.
    #[must_use]
    pub fn table(&self) -> &ByFamily<Table<Key4, Window>, Table<Key6, Window>> {
        &self.table
    }

    /// Whether a packet of IPv4 of this key passes that comes at the tick `now`. `thrown_for` says whether it is one
    /// that the XDP program throws for, where that is trusted for the key.
    #[inline]
    pub fn accepts4(
        &self,
        key: Key4,
        now: u64,
        thrown_for: impl FnOnce() -> bool,
        draw: impl FnOnce() -> u8,
    ) -> bool {
        let ByFamily::V4(table) = &self.table else { return true };
        let count = |window: &mut Window, since| window.count(self.limits, since, now);
        self.decide(table.with(key, now, Window::new, count), thrown_for, draw)
    }

    /// The same of IPv6.
    #[inline]
    pub fn accepts6(
        &self,
        key: Key6,
        now: u64,
        thrown_for: impl FnOnce() -> bool,
        draw: impl FnOnce() -> u8,
    ) -> bool {
        let ByFamily::V6(table) = &self.table else { return true };
        let count = |window: &mut Window, since| window.count(self.limits, since, now);
        self.decide(table.with(key, now, Window::new, count), thrown_for, draw)
    }

    #[inline]
    fn decide(
        &self,
        Asked { share, trusts }: Asked,
        thrown_for: impl FnOnce() -> bool,
        draw: impl FnOnce() -> u8,
    ) -> bool {
        // Mostly read: whoever looks resets it twenty times a second at most.
        if share <= FLOOR_PERCENT && !self.floor_met.load(Ordering::Relaxed) {
            self.floor_met.store(true, Ordering::Relaxed);
        }
        passes(share, draw) || trusts && thrown_for()
    }
}

/// What the control thread does for sources that the XDP program drops ([`crate::early_drop`]): keys are sources alone.
impl Controllers {
    /// Bits of an address that make a source.
    #[must_use]
    pub fn source_bits(&self) -> u8 {
        self.spec.source_bits()
    }

    /// Whether a packet has met the floor since this was asked last.
    pub fn met_floor(&self) -> bool {
        self.floor_met.swap(false, Ordering::Relaxed)
    }

    /// Sources that are at the floor at the tick `now`, with their rates.
    #[must_use]
    pub fn floored(&self, now: u64) -> Vec<(IpAddr, u32)> {
        match &self.table {
            ByFamily::V4(table) => self.floored_of(table, now),
            ByFamily::V6(table) => self.floored_of(table, now),
        }
    }

    fn floored_of<K>(&self, table: &Table<K, Window>, now: u64) -> Vec<(IpAddr, u32)>
    where
        K: Parts + Copy + Default + Eq + Hash,
    {
        let read = |seen: Seen<K, Window>| (seen.key, seen.state.read(self.limits, seen.age));
        let at_floor = |(key, reading): (K, Reading)| {
            let Reading { rate_pps, share_percent } = reading;
            let is_at = share_percent <= FLOOR_PERCENT && rate_pps >= self.limits.upper_pps;
            is_at.then(|| (key.parts().0, rate_pps))
        };
        table.entries(now).map(read).filter_map(at_floor).collect()
    }

    /// Counts packets of a source that were dropped before they came here, at the tick `now`.
    pub fn add(&self, source: IpAddr, packets: u64, now: u64) {
        self.with_source(source, now, |window, since| window.add(since, packets));
    }

    /// Lets pass, until a tick that is less than two minutes away, what the XDP program throws for; or not any more.
    pub fn trust(&self, source: IpAddr, until: Option<u64>, now: u64) {
        self.with_source(source, now, |window, since| {
            window.add(since, 0);
            window.trusts = until.is_some();
            window.trusts_until = last16(until.unwrap_or(0));
        });
    }

    fn with_source(&self, source: IpAddr, now: u64, turn: impl FnOnce(&mut Window, u32)) {
        match (&self.table, source) {
            (ByFamily::V4(table), IpAddr::V4(source)) => {
                let key = self.spec.v4((source, Ipv4Addr::UNSPECIFIED), (0, 0));
                table.with(key, now, Window::new, turn);
            }
            (ByFamily::V6(table), IpAddr::V6(source)) => {
                let key = self.spec.v6((source, Ipv6Addr::UNSPECIFIED), (0, 0));
                table.with(key, now, Window::new, turn);
            }
            _ => {}
        }
    }
}

impl From<&FuzzyMatch> for Limits {
    fn from(asked: &FuzzyMatch) -> Self {
        Self { lower_pps: asked.lower_pps, upper_pps: asked.upper_pps }
    }
}

#[cfg(test)]
mod tests;
