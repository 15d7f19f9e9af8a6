//! `Bounds`: to how many packets Weir's own controllers hold a flood.
//!
//! The module decides when a window is over, and at its floor a hundredth passes of whatever comes: of 400,000 packets
//! a second 40,000 before anything is noticed, and 4,000 a second from then on. Controllers of keys and of sketches are
//! held to what the *limit* says, however fast the flood is:
//!
//! ```text
//!   the window before      what passes of the running one
//!   below upper limit      by its share, as far as a whole window at the upper limit goes; beyond, as at the floor
//!   at it, or above        the first packets, as many as are a hundredth of the upper limit
//! ```
//!
//! * **Nothing is decided that the module would not decide.** A window is full when it holds so many packets that it
//!   cannot end on time but at the floor. What the module says of the next window is said of the rest of this one, too.
//!   So whoever stays below the upper limit in every window is treated as by the module, bit by bit of its share; a
//!   window of fewer than [`BURST`] packets is never full, whatever the limit, for a browser begins with as many.
//! * **At the upper limit both agree**: a hundredth of it is what the module lets pass there. Beyond, that is all there
//!   is; and where the module's share is rounded to nothing, a little below the limit, it is as much.
//! * **At least one packet passes in a second** ([`FLOOR_PPS_MIN`]), that of who tries again some will get through.
//! * **No state for it.** Windows are parts of time. What is due in one is what the whole packets of an even stream
//!   come to between its begin and the soonest end, so fractions of a window add up over several, and never to more.
//!   It goes to the first packets of the window: to count is to decide, and of several workers none needs the other.
//!   Nobody has an advantage by that who is not faster than all others.

use super::{FLOOR_OF_256, FLOOR_PERCENT, Limits, Reading, WINDOW_JIFFIES};
use crate::limit::HZ;

/// Packets that a window holds at least before it is full.
pub const BURST: u32 = 16;

/// Packets that pass at the floor in a second at least.
pub const FLOOR_PPS_MIN: u32 = 1;

/// Ticks of the shortest window.
const WINDOW_TICKS: u64 = WINDOW_JIFFIES + 1;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    limits: Limits,
    /// Packets with which a window is full.
    window: u32,
    /// Packets a second that pass at the floor.
    floor_pps: u32,
}

impl Bounds {
    /// Those that go with limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let window = (u64::from(limits.upper_pps) * WINDOW_TICKS).div_ceil(HZ);
        Self {
            limits,
            window: u32::try_from(window).unwrap_or(u32::MAX).max(BURST),
            floor_pps: (limits.upper_pps * FLOOR_PERCENT / 100).max(FLOOR_PPS_MIN),
        }
    }

    /// Between which rates.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// With how many packets a window is full.
    #[must_use]
    pub const fn window_packets(&self) -> u32 {
        self.window
    }

    /// How many packets pass at the floor in a second.
    #[must_use]
    pub const fn floor_pps(&self) -> u32 {
        self.floor_pps
    }

    /// Of 2^32 packets of a flood at the upper limit, how many pass. Who throws before this counts (the XDP program)
    /// lets so many through, that what is due is there.
    #[must_use]
    pub fn acceptance(&self) -> u32 {
        let share = (u64::from(self.floor_pps) << 32) / u64::from(self.limits.upper_pps.max(1));
        u32::try_from(share).unwrap_or(u32::MAX).max(FLOOR_OF_256 << 24)
    }

    /// Whether a packet of this number in its window is held to the floor, where the window before says this share. The
    /// one that ends a window is number 0 of the next.
    #[inline]
    pub(in crate::limit) fn holds(&self, share_percent: u32, number: u64) -> bool {
        share_percent <= FLOOR_PERCENT || number >= self.window.into()
    }

    /// How many packets pass at the floor of a window that began at this tick.
    #[inline]
    pub(in crate::limit) fn floor_of_window(&self, began: u64) -> u64 {
        let floor_pps = u64::from(self.floor_pps);
        (began * floor_pps % HZ + WINDOW_TICKS * floor_pps) / HZ
    }

    /// Whether a packet that is held passes, of this number in a window that began at this tick.
    #[inline]
    pub(in crate::limit) fn passes_held(
        &self,
        share_percent: u32,
        number: u64,
        began: u64,
    ) -> bool {
        let first = if share_percent <= FLOOR_PERCENT { 0 } else { u64::from(self.window) };
        number < first + self.floor_of_window(began)
    }

    /// What there is to say of a window of so many packets and ticks, where the last one came to this. At the floor it
    /// is the share that passes of the rate, which may be less than a hundredth.
    pub(in crate::limit) fn read(&self, last: Reading, packets: u64, elapsed: u64) -> Reading {
        let (rate_pps, share_percent) = if elapsed > WINDOW_JIFFIES {
            self.limits.close(packets, elapsed)
        } else if self.holds(last.share_percent, packets) {
            // It may have come to more by now than the one before.
            let (rate_pps, _) = self.limits.close(packets, WINDOW_TICKS);
            (rate_pps.max(last.rate_pps), FLOOR_PERCENT)
        } else {
            return last;
        };
        if share_percent > FLOOR_PERCENT {
            return Reading { rate_pps, share_percent };
        }
        let passing = u64::from(self.floor_pps) * 100 / u64::from(rate_pps.max(1));
        let share_percent = u32::try_from(passing).unwrap_or(FLOOR_PERCENT).min(FLOOR_PERCENT);
        Reading { rate_pps, share_percent }
    }
}

#[cfg(test)]
mod tests;
