//! What the matches that limit keep from packet to packet.

pub mod connections;
mod groups;
pub mod recent;
mod spin;

/// Ticks a second.
pub const HZ: u64 = 250;

/// Nanoseconds of a tick.
pub const JIFFY_NS: u64 = 1_000_000_000 / HZ;

/// The tick that a time lies in.
#[must_use]
pub const fn jiffies(now_ns: u64) -> u64 {
    now_ns / JIFFY_NS
}

/// What a rule would keep needs more memory than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory")]
pub struct NoMemory;
