//! A box whose capacity is known, for tests of searches.

use super::{Failure, Offer, Outcome, Trial};

/// It forwards up to a capacity that differs from trial to trial, after a queue has filled; now and then it stumbles.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// What it carries, a second.
    pub(crate) capacity: f64,
    /// The capacity of a trial is up to this share more or less, evenly spread.
    pub(crate) noise: f64,
    /// The chance that a trial loses [`STUMBLE`] frames whatever the load.
    pub(crate) stumbles: f64,
    /// Frames that it keeps when it cannot forward them yet.
    pub(crate) queue: u64,
    /// Above this rate the generator does not keep up.
    pub(crate) generator: f64,
    /// Connections that it holds at once.
    pub(crate) table: u64,
    /// After so many trials somebody presses Ctrl-C.
    pub(crate) trials_max: usize,
    /// What its noise is drawn from.
    pub(crate) random: fastrand::Rng,
    /// Every offer, for tests to look at.
    pub(crate) offers: Vec<Offer>,
}

/// Frames lost in a stumble.
const STUMBLE: u64 = 20;

impl Device {
    /// Without noise.
    pub(crate) fn exact(capacity: f64) -> Self {
        Self {
            capacity,
            noise: 0.0,
            stumbles: 0.0,
            queue: 0,
            generator: f64::INFINITY,
            table: 1_000_000,
            trials_max: usize::MAX,
            random: fastrand::Rng::with_seed(0x5eed),
            offers: Vec::new(),
        }
    }

    /// How long all trials took, in seconds.
    pub(crate) fn spent_s(&self) -> f64 {
        let seconds = self.offers.iter().map(|offer| match offer {
            Offer::Rate { duration_s, .. } => *duration_s,
            Offer::Burst { .. } | Offer::Hold { .. } => 0.0,
        });
        seconds.sum()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "frames of a short trial"
)]
fn whole(frames: f64) -> u64 {
    frames.max(0.0).round() as u64
}

#[expect(clippy::cast_precision_loss, reason = "frames of a short trial")]
fn real(frames: u64) -> f64 {
    frames as f64
}

impl Trial for Device {
    fn measure(&mut self, offer: Offer) -> Result<Outcome, Failure> {
        if self.offers.len() >= self.trials_max {
            return Err(Failure::Interrupted);
        }
        self.offers.push(offer);
        let capacity = self.capacity * (1.0 + self.noise * (2.0 * self.random.f64() - 1.0));
        let stumble = if self.random.f64() < self.stumbles { STUMBLE } else { 0 };
        let (offered, carried, elapsed_s, void) = match offer {
            Offer::Rate { per_second, duration_s } => {
                let slow = per_second > self.generator;
                let offered = whole(per_second.min(self.generator) * duration_s);
                let carried = whole(capacity * duration_s).saturating_add(self.queue);
                (offered, carried, duration_s, slow.then(|| "could not keep up".to_owned()))
            }
            Offer::Burst { frames } => {
                // At line rate, which is the generator's or ten times the capacity.
                let line = self.generator.min(capacity * 10.0);
                let forwarded = whole(real(frames) * capacity / line);
                (frames, forwarded.saturating_add(self.queue), real(frames) / line, None)
            }
            Offer::Hold { connections } => (connections, self.table, 1.0, None),
        };
        let completed = offered.min(carried).saturating_sub(stumble);
        Ok(Outcome { offered, completed, elapsed_s, latency: None, tries: 1, void })
    }
}
