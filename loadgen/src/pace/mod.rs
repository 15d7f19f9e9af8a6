//! When each packet is due: an absolute schedule, set before the run.
//!
//! Packet `n` is due at a time that depends on `n` alone (and on the seed), whatever happened to the packets before it.
//! A generator that waited a fixed time *between* packets would add every delay of its own to all that follows, and
//! would report a slower network where only itself was late. One that is late here sends the missing packets as soon as
//! it can, and their latency counts from the time at which they were due.
//!
//! ```text
//!   constant  | | | | | | | | | |        pulse     ||||||      ||||||       ramp   |   |  | | |||||||
//!   poisson   ||  |   |||   |  | |       steps     | | | | |||||||||| ||||
//! ```
//!
//! Everything but Poisson is a piecewise linear rate: [`Curve`] counts how many packets are due by a time, and finds
//! the time at which the n-th is. Both are exact in whole packets: over whole seconds the count is what rate times
//! seconds says.
//!
//! With `lanes` threads each takes every `lanes`-th packet of the schedule, or a Poisson process of its own at a share
//! of the rate: together they are one at the whole rate.

mod curve;

use fastrand::Rng;

pub use curve::{Curve, Piece};

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A schedule is kept up with if so large a share of what was due was sent.
pub const KEPT_UP: f64 = 0.99;

/// The rates that a schedule may ask for, in packets a second.
pub const RATE_MIN: f64 = 0.001;
/// See [`RATE_MIN`].
pub const RATE_MAX: f64 = 1e9;

/// What a schedule is, as a profile says it.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// As fast as they go.
    Flood,
    /// Rates over time.
    Curve(Curve),
    /// A constant mean rate, in packets a second, with gaps that are drawn from an exponential distribution.
    Poisson(f64),
    /// Due times of one round in nanoseconds, rising, and how long a round takes: what was recorded.
    Recorded {
        /// When each packet of a round is due after its begin.
        due_ns: std::sync::Arc<[u64]>,
        /// How long a round is, at least 1.
        round_ns: u64,
    },
}

impl Schedule {
    /// The same number of packets every second.
    #[must_use]
    pub fn constant(rate_pps: f64) -> Self {
        Self::Curve(Curve::constant(rate_pps))
    }

    /// The mean rate over a time, in packets a second; `None` for a flood.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    pub fn mean_pps(&self, duration_ns: u64) -> Option<f64> {
        let seconds = duration_ns as f64 / SECOND_NS as f64;
        match self {
            Self::Flood => None,
            Self::Curve(curve) => Some(curve.packets(duration_ns) / seconds),
            Self::Poisson(rate) => Some(*rate),
            Self::Recorded { due_ns, round_ns } => {
                let whole = duration_ns / round_ns * due_ns.len() as u64;
                let rest = due_ns.partition_point(|&due| due < duration_ns % round_ns) as u64;
                Some((whole + rest) as f64 / seconds)
            }
        }
    }

    /// The same shape at `factor` times the rate.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    #[expect(
        clippy::allow_attributes_without_reason,
        reason = "times are positive and below 2^53 ns"
    )]
    pub fn scaled(&self, factor: f64) -> Self {
        match self {
            Self::Flood => Self::Flood,
            Self::Curve(curve) => Self::Curve(curve.scaled(factor)),
            Self::Poisson(rate) => Self::Poisson(rate * factor),
            Self::Recorded { due_ns, round_ns } => {
                let scale = |time: u64| (time as f64 / factor) as u64;
                Self::Recorded {
                    due_ns: due_ns.iter().map(|&due| scale(due)).collect(),
                    round_ns: scale(*round_ns).max(1),
                }
            }
        }
    }
}

/// A schedule being followed by one of `lanes` threads: a cursor over the due times.
#[derive(Clone, Debug)]
pub struct Pace {
    schedule: Schedule,
    /// Place of the next packet in the whole schedule.
    next: u64,
    lanes: u64,
    due_ns: u64,
    /// Due time of the Poisson process, unrounded.
    exact_ns: f64,
    rng: Rng,
}

impl Pace {
    /// The first packet of lane `lane` (from 0) out of `lanes`.
    #[must_use]
    pub fn new(schedule: Schedule, lane: u64, lanes: u64, seed: u64) -> Self {
        let lanes = lanes.max(1);
        let mut pace = Self {
            schedule,
            next: lane,
            lanes,
            due_ns: 0,
            exact_ns: 0.0,
            rng: Rng::with_seed(seed),
        };
        pace.due_ns = pace.find();
        pace
    }

    /// When the next packet is due, in nanoseconds after the start; `u64::MAX` for never. Of a flood that is always 0.
    #[inline]
    #[must_use]
    pub fn due_ns(&self) -> u64 {
        self.due_ns
    }

    /// Whether packets are always due.
    #[must_use]
    pub fn is_flood(&self) -> bool {
        self.schedule == Schedule::Flood
    }

    /// Goes on to the packet after.
    #[inline]
    pub fn advance(&mut self) {
        self.next += self.lanes;
        if !matches!(self.schedule, Schedule::Flood) {
            self.due_ns = self.find();
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    #[expect(
        clippy::allow_attributes_without_reason,
        reason = "times are positive and below 2^53 ns"
    )]
    fn find(&mut self) -> u64 {
        match &self.schedule {
            Schedule::Flood => 0,
            Schedule::Curve(curve) => curve.time_ns(self.next).unwrap_or(u64::MAX),
            Schedule::Poisson(rate) => {
                // The inverse of the exponential distribution's function; `f64` draws from 0 on and below 1.
                let gap_s = -(1.0 - self.rng.f64()).ln() * self.lanes as f64 / rate;
                self.exact_ns += gap_s * SECOND_NS as f64;
                self.exact_ns as u64
            }
            Schedule::Recorded { due_ns, round_ns } => {
                let each = due_ns.len() as u64;
                let (round, place) = (self.next / each, self.next % each);
                let place = usize::try_from(place).unwrap_or(usize::MAX);
                round.saturating_mul(*round_ns).saturating_add(due_ns[place])
            }
        }
    }
}

#[cfg(test)]
mod tests;
