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
//! With keys ([`Controllers`]), each has such numbers in an entry of a table, which workers take turns with. Those, and
//! the sketches of [`cells`](super::cells), are Weir's own, and held to [`Bounds`] besides.
//!
//! Ticks of 30 bits go round in 49 days. Who was silent for so long, to a tenth of a second, keeps the share of before
//! for that tenth.

mod bounds;
mod keyed;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use weir_control::rule::FuzzyMatch;

pub use bounds::{BURST, Bounds, FLOOR_PPS_MIN};
pub use keyed::{Controllers, Window};

use super::HZ;

/// The share at the upper limit and beyond, as it is kept.
const FLOOR_SHARE: u8 = 1;

/// The same, to reckon with.
const FLOOR_PERCENT: u32 = FLOOR_SHARE as u32;

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
pub(super) struct Cell(AtomicU64);

/// What a cell says of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// The share that holds for it.
    pub(super) share_percent: u32,
    /// Which packet of its window it is, and the tick at which that began; 0 is the one that has ended the one before.
    pub(super) number: u64,
    pub(super) began: u64,
    /// The rate of the window that it has ended, in packets a second.
    pub(super) ended_pps: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub struct Controller {
    limits: Limits,
    cell: Cell,
    /// Of the last window that ended, for whoever wants to know.
    rate_pps: AtomicU32,
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
        Self { limits, cell: Cell::default(), rate_pps: AtomicU32::new(0) }
    }

    /// Whether a packet that comes at the tick `now` passes. `draw` gives a random byte, if one is needed.
    pub fn accepts(&self, now: u64, draw: impl FnOnce() -> u8) -> bool {
        let counted = self.cell.count(self.cell.look(), self.limits, now);
        if let Some(rate_pps) = counted.ended_pps {
            self.rate_pps.store(rate_pps, Ordering::Relaxed);
        }
        passes(counted.share_percent, draw)
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
        let (share_percent, packets, elapsed) = self.cell.window(now);
        if elapsed > WINDOW_JIFFIES {
            let (rate_pps, share_percent) = self.limits.close(packets, elapsed);
            return Reading { rate_pps, share_percent };
        }
        Reading { rate_pps: self.rate_pps.load(Ordering::Relaxed), share_percent }
    }
}

impl Default for Cell {
    fn default() -> Self {
        Self(AtomicU64::new(State { packets: 0, began: 0, share: 100 }.word()))
    }
}

impl Cell {
    fn add(&self, packets: u64) {
        let more = |word: u64| {
            let sum = State::of(word).packets.saturating_add(packets);
            Some(State { packets: sum.min(u64::MAX / ONE_PACKET), ..State::of(word) }.word())
        };
        // The closure never declines.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// What [`count`](Self::count) begins with. Whoever counts in several cells looks at all of them first: then they
    /// come from memory together, for an addition waits for the one before it.
    #[inline]
    pub(super) fn look(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts a packet in a cell that looked like `word` a moment ago.
    #[inline]
    pub(super) fn count(&self, mut word: u64, limits: Limits, now: u64) -> Counted {
        loop {
            let state = State::of(word);
            let elapsed = state.elapsed(now);
            if elapsed <= WINDOW_JIFFIES {
                let counted = State::of(self.0.fetch_add(ONE_PACKET, Ordering::Relaxed));
                let share_percent = u32::try_from(counted.share).unwrap_or(100);
                let State { packets, began, .. } = counted;
                return Counted { share_percent, number: packets + 1, began, ended_pps: None };
            }
            let (rate, share) = limits.close(state.packets + 1, elapsed);
            let next = State { packets: 0, began: now & (TICKS - 1), share: share.into() };
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.0.compare_exchange_weak(word, next.word(), success, failure) {
                Ok(_) => {
                    let (began, ended_pps) = (next.began, Some(rate));
                    return Counted { share_percent: share, number: 0, began, ended_pps };
                }
                Err(current) => word = current,
            }
        }
    }

    /// The share that the last window came to, and of how many packets and ticks the running one is.
    pub(super) fn window(&self, now: u64) -> (u32, u64, u64) {
        let state = State::of(self.look());
        (u32::try_from(state.share).unwrap_or(100), state.packets, state.elapsed(now))
    }
}

impl From<&FuzzyMatch> for Limits {
    fn from(asked: &FuzzyMatch) -> Self {
        Self { lower_pps: asked.lower_pps, upper_pps: asked.upper_pps }
    }
}

#[cfg(test)]
mod tests;
