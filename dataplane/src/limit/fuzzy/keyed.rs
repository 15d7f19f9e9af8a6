//! `Controllers`: a controller for each key of `-m fuzzy --fuzzy-mode`, held to [`Bounds`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use weir_control::rule::{Family, FuzzyKeys, FuzzyMatch};

use super::{Bounds, FLOOR_PERCENT, FLOOR_SHARE, Limits, Reading, WINDOW_JIFFIES, passes};
use crate::limit::hashlimit::ticks_of_ms;
use crate::limit::key::{ByFamily, Key4, Key6, KeySpec, Parts};
use crate::limit::table::{self, Seen, Table};
use crate::limit::table4::Table4;

/// The controller of one key.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// Of the running window, with those that the XDP program has dropped.
    packets: u32,
    /// Of the last window that ended.
    rate_pps: u32,
    /// Ticks since it began, up to the packet before; [`LONG_AGO`] for all above.
    age: u16,
    /// Packets of it that have passed though they were held to the floor.
    passed: u16,
    share_percent: u8,
    /// Whether the XDP program throws for this key ([`crate::early_drop`]), and until which tick, by its last 16 bits:
    /// it is two seconds away at most.
    trusts: bool,
    trusts_until: u16,
}

/// The age of a window that began more than four minutes ago. Whatever it came to is nothing a second.
const LONG_AGO: u16 = u16::MAX;

/// What a window says of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// It passes by this share.
    Share(u32),
    /// It is held to the floor, and whether it passes.
    Held(bool),
}

impl table::State for Window {
    /// Who is held back must not be forgotten.
    fn weight(&self) -> u8 {
        100 - self.share_percent.min(100)
    }
}

impl Window {
    /// As before the first packet: the window began long ago.
    pub(super) fn new() -> Self {
        Self { age: LONG_AGO, share_percent: 100, ..Self::default() }
    }

    /// Counts a packet that comes at a tick, so many after the one before. `thrown_for` says whether the XDP program
    /// has thrown for it, if it does for this key.
    pub(super) fn count(
        &mut self,
        bounds: &Bounds,
        (since, now): (u32, u64),
        thrown_for: impl FnOnce() -> bool,
    ) -> Asked {
        self.add(since, 1);
        let elapsed = self.elapsed(0);
        if elapsed > WINDOW_JIFFIES {
            let (rate, share) = bounds.limits().close(self.packets.into(), elapsed);
            let share_percent = u8::try_from(share).unwrap_or(100);
            *self = Self { packets: 0, age: 0, passed: 0, rate_pps: rate, share_percent, ..*self };
        }
        if bounds.holds(self.share_percent.into(), self.packets.into()) {
            // What the module would say when it ends, and what makes it weigh.
            self.share_percent = self.share_percent.min(FLOOR_SHARE);
        }
        self.trusts = self.trusts && {
            let left = self.trusts_until.wrapping_sub(last16(now));
            (1..=u16::MAX / 2).contains(&left)
        };
        // What the program throws for is at the floor until it is taken back, though a window may miss some counts.
        if self.share_percent > FLOOR_SHARE && !(self.trusts && thrown_for()) {
            return Asked::Share(self.share_percent.into());
        }
        let began = now.wrapping_sub(self.age.into());
        let is_due = u64::from(self.passed) < bounds.floor_of_window(began);
        self.passed += u16::from(is_due);
        Asked::Held(is_due)
    }

    /// Counts packets into the window in which this is told.
    fn add(&mut self, since: u32, packets: u64) {
        self.age = u16::try_from(self.elapsed(since)).unwrap_or(LONG_AGO);
        self.packets = self.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// Ticks since it began, so many after the packet before.
    fn elapsed(&self, since: u32) -> u64 {
        if self.age == LONG_AGO { u64::MAX } else { u64::from(self.age) + u64::from(since) }
    }

    /// What it has come to so many ticks after the last packet.
    #[must_use]
    pub fn read(&self, bounds: &Bounds, since: u32) -> Reading {
        let last = Reading { rate_pps: self.rate_pps, share_percent: self.share_percent.into() };
        bounds.read(last, self.packets.into(), self.elapsed(since))
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
    bounds: Bounds,
    spec: KeySpec,
    table: ByFamily<Table4<Window>, Table<Key6, Window>>,
    /// Whether a packet has met the floor since somebody looked.
    floor_met: AtomicBool,
}

impl Controllers {
    /// For a rule of this family, allocated here.
    #[must_use]
    pub fn new(asked: &FuzzyMatch, keys: &FuzzyKeys, family: Family, seed: u64) -> Self {
        let (room, expire) = (keys.keys_max as usize, ticks_of_ms(keys.expire_ms));
        let blank = Window::default();
        let spec = KeySpec::new(family, keys.parts, keys.masks);
        let table = match family {
            Family::V4 => ByFamily::V4(Table4::new(&spec, room, expire, seed, blank)),
            Family::V6 => ByFamily::V6(Table::new(room, expire, seed, blank)),
        };
        let floor_met = AtomicBool::new(false);
        let bounds = Bounds::new(Limits::from(asked));
        Self { asked: asked.clone(), bounds, spec, table, floor_met }
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

    /// Between which rates they are, and to how many packets they hold a flood.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// The controllers.
    #[must_use]
    pub fn table(&self) -> &ByFamily<Table4<Window>, Table<Key6, Window>> {
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
        let count =
            |window: &mut Window, since| window.count(&self.bounds, (since, now), thrown_for);
        self.decide(table.with(key, now, Window::new, count), draw)
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
        let count =
            |window: &mut Window, since| window.count(&self.bounds, (since, now), thrown_for);
        self.decide(table.with(key, now, Window::new, count), draw)
    }

    #[inline]
    fn decide(&self, asked: Asked, draw: impl FnOnce() -> u8) -> bool {
        match asked {
            Asked::Share(share) => passes(share, draw),
            Asked::Held(is_due) => {
                // Mostly read: whoever looks resets it twenty times a second at most.
                if !self.floor_met.load(Ordering::Relaxed) {
                    self.floor_met.store(true, Ordering::Relaxed);
                }
                is_due
            }
        }
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
            ByFamily::V4(table) => self.floored_of(table.entries(now)),
            ByFamily::V6(table) => self.floored_of(table.entries(now)),
        }
    }

    fn floored_of<K: Parts>(
        &self,
        entries: impl Iterator<Item = Seen<K, Window>>,
    ) -> Vec<(IpAddr, u32)> {
        let read = |seen: Seen<K, Window>| (seen.key, seen.state.read(&self.bounds, seen.age));
        let at_floor = |(key, reading): (K, Reading)| {
            let Reading { rate_pps, share_percent } = reading;
            let is_at =
                share_percent <= FLOOR_PERCENT && rate_pps >= self.bounds.limits().upper_pps;
            is_at.then(|| (key.parts().0, rate_pps))
        };
        entries.map(read).filter_map(at_floor).collect()
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
