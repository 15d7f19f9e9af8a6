//! Searches: what a box carries, found by trial.
//!
//! A search asks a [`Trial`] for what becomes of an offer, again and again, and knows nothing else: not of packets,
//! not of clocks. So each is tested on simulated boxes whose capacity is known (`simulated.rs`).
//!
//! ```text
//!   mlr          NDR, PDR and any other goal: RFC 9971, short trials with sums of durations, bounds with confidence
//!   rfc2544      the plain set: throughput, latency, loss curve, back-to-back (RFC 9004)
//!   connections  connections a second, and connections at once (RFC 9411 sections 7.2 and 7.5)
//!   transactions a trial with the users of a profile
//!   sweep        a flood at rising rates, repeated and interleaved
//! ```
//!
//! # What is lost and what is void
//!
//! A trial in which the generator itself could not do what it was told says nothing about the box. It is repeated, and
//! when it fails again the load is out of the generator's reach: the search goes on below it, and its result says so.

pub mod connections;
pub mod engine;
pub mod mlr;
pub mod rfc2544;
pub mod show;
#[cfg(test)]
pub(crate) mod simulated;
pub mod sweep;
pub mod transactions;

use std::time::Duration;

use serde::Serialize;

use crate::result::{End, Latency, RunResult};

/// How often a load is tried that the generator could not offer.
pub const VOID_TRIES: u32 = 2;

/// What is asked of a box.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// Packets or connections at a constant rate.
    Rate {
        /// How many a second.
        per_second: f64,
        /// For how long, in seconds.
        duration_s: f64,
    },
    /// Packets back to back, as fast as the generator sends.
    Burst {
        /// How many.
        frames: u64,
    },
    /// Connections that are all open at once.
    Hold {
        /// How many.
        connections: u64,
    },
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was really offered: packets sent, connections begun.
    pub offered: u64,
    /// What came through.
    pub completed: u64,
    /// How long it was offered, in seconds.
    pub elapsed_s: f64,
    /// How long it took on its way, if that was measured.
    pub latency: Option<Latency>,
    /// How often it was offered until the generator kept up, or gave up.
    pub tries: u32,
    /// Why the trial says nothing: the generator could not keep up, for one.
    pub void: Option<String>,
}

impl Outcome {
    /// The share that did not come through, 0 to 1; 1 where nothing was offered.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    pub fn loss_ratio(&self) -> f64 {
        if self.offered == 0 {
            return 1.0;
        }
        self.offered.saturating_sub(self.completed) as f64 / self.offered as f64
    }

    /// What was really offered in a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    pub fn offered_per_second(&self) -> f64 {
        if self.elapsed_s > 0.0 { self.offered as f64 / self.elapsed_s } else { 0.0 }
    }

    /// What came through in a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    pub fn completed_per_second(&self) -> f64 {
        if self.elapsed_s > 0.0 { self.completed as f64 / self.elapsed_s } else { 0.0 }
    }
}

/// Something that can be asked.
pub trait Trial {
    /// Offers it once, waits for the last answer, and lets the box come to rest.
    ///
    /// # Errors
    /// [`Failure`]: there is no sense in going on. A trial that is only void is an [`Outcome`].
    fn measure(&mut self, offer: Offer) -> Result<Outcome, Failure>;
}

/// A failure in results: its words.
impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a search cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// An interface is gone, or something of the like.
    #[error("{0}")]
    Lost(String),
    /// Not even the least load came through as it should.
    #[error("at the least load, {load}, {what}")]
    LeastLoad {
        /// The load.
        load: String,
        /// What was wrong.
        what: String,
    },
    /// The search was asked for something that it cannot do.
    #[error("{what} = {value} is not possible: {allowed}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
}

impl Failure {
    /// Whether it came from outside of the search: then what was found until then is still worth something.
    fn cuts_short(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Lost(_))
    }

    /// Why no trial can follow a run; `None` where the run came to its own end.
    fn of(result: &RunResult) -> Option<Self> {
        match result.ended_by {
            End::Interrupt => Some(Self::Interrupted),
            End::DeviceLost => {
                let why = result.void.clone();
                Some(Self::Lost(why.unwrap_or_else(|| "an interface was lost".to_owned())))
            }
            End::Duration | End::Count => None,
        }
    }
}

/// Seconds of a setting, as a profile has them.
fn nanoseconds(seconds: f64) -> u64 {
    let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Offers it up to [`VOID_TRIES`] times, until the generator keeps up. The last outcome, void or not.
fn measure(trial: &mut dyn Trial, offer: Offer) -> Result<Outcome, Failure> {
    let mut outcome = trial.measure(offer)?;
    for tries in 2..=VOID_TRIES {
        if outcome.void.is_none() {
            break;
        }
        outcome = Outcome { tries, ..trial.measure(offer)? };
    }
    Ok(outcome)
}

/// Refuses a number outside of a range.
fn check(
    what: &'static str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    allowed: &'static str,
) -> Result<(), Failure> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(Failure::Setting { what, value: value.to_string(), allowed })
}
