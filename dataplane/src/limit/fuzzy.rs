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
//! Ticks of 30 bits go round in 49 days. Who was silent for so long, to a tenth of a second, keeps the share of before
//! for that tenth.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::HZ;

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
            1
        } else {
            // "high" is below 100, and a hundredth of that rounds to nothing.
            100 * (upper - rate_pps) / (upper - lower)
        }
    }
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

/// See the module.
#[derive(Debug)]
pub struct Controller {
    word: AtomicU64,
    /// Of the last window that ended, for whoever wants to know.
    rate_pps: AtomicU32,
}

impl Default for Controller {
    fn default() -> Self {
        Self::new()
    }
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
    pub const fn new() -> Self {
        let state = State { packets: 0, began: 0, share: 100 };
        Self { word: AtomicU64::new(state.word()), rate_pps: AtomicU32::new(0) }
    }

    /// Whether a packet that comes at the tick `now` passes. `draw` gives a random byte, if one is needed.
    pub fn accepts(&self, limits: Limits, now: u64, draw: impl FnOnce() -> u8) -> bool {
        let share = self.count(limits, now);
        share >= 100 || u64::from(draw()) <= 255 * share / 100
    }

    /// Counts a packet; the share that holds for it.
    fn count(&self, limits: Limits, now: u64) -> u64 {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let state = State::of(word);
            let elapsed = state.elapsed(now);
            if elapsed <= WINDOW_JIFFIES {
                return State::of(self.word.fetch_add(ONE_PACKET, Ordering::Relaxed)).share;
            }
            let rate = HZ * (state.packets + 1) / elapsed;
            let rate = u32::try_from(rate).unwrap_or(u32::MAX);
            let share = limits.share(rate).into();
            let next = State { packets: 0, began: now & (TICKS - 1), share };
            let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
            match self.word.compare_exchange_weak(word, next.word(), success, failure) {
                Ok(_) => {
                    self.rate_pps.store(rate, Ordering::Relaxed);
                    return share;
                }
                Err(current) => word = current,
            }
        }
    }

    /// What it has come to at the tick `now`. Where the window would be over, it is what the window has come to until
    /// now: a flood that has ended is not shown for ever.
    #[must_use]
    pub fn read(&self, limits: Limits, now: u64) -> Reading {
        let state = State::of(self.word.load(Ordering::Relaxed));
        let elapsed = state.elapsed(now);
        if elapsed > WINDOW_JIFFIES {
            let rate_pps = u32::try_from(HZ * state.packets / elapsed).unwrap_or(u32::MAX);
            return Reading { rate_pps, share_percent: limits.share(rate_pps) };
        }
        let share_percent = u32::try_from(state.share).unwrap_or(100);
        Reading { rate_pps: self.rate_pps.load(Ordering::Relaxed), share_percent }
    }
}

#[cfg(test)]
mod tests;
