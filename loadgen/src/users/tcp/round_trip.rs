//! How long to wait for an acknowledgment (RFC 6298).

use super::settings::TcpSettings;

/// Granularity of the clock that the RFC's formula takes into account, in microseconds: Linux's, one tick of 1000 Hz.
const GRANULARITY_US: u32 = 1_000;

/// What is known of the round trip, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RoundTrip {
    /// Smoothed; 0 before the first measurement.
    smoothed_us: u32,
    /// How much it varies.
    variation_us: u32,
    /// How often the wait has been doubled.
    doublings: u8,
}

impl RoundTrip {
    /// Takes a measurement (2.2, 2.3). Those of segments sent twice must not come here (Karn), unless a timestamp says
    /// which of them was answered.
    pub(super) fn measured(&mut self, sample_ns: u64) {
        let sample = u32::try_from(sample_ns / 1_000).unwrap_or(u32::MAX).clamp(1, u32::MAX / 8);
        if self.smoothed_us == 0 {
            (self.smoothed_us, self.variation_us) = (sample, sample / 2);
        } else {
            let error = self.smoothed_us.abs_diff(sample);
            self.variation_us = self.variation_us - self.variation_us / 4 + error / 4;
            self.smoothed_us = (self.smoothed_us - self.smoothed_us / 8 + sample / 8).max(1);
        }
    }

    /// Whether nothing has been measured yet.
    pub(super) fn is_unknown(&self) -> bool {
        self.smoothed_us == 0
    }

    /// The timer has run out: the next wait is twice as long (5.5).
    pub(super) fn back_off(&mut self) {
        self.doublings = self.doublings.saturating_add(1);
    }

    /// New data was acknowledged: the wait is what the measurements say.
    pub(super) fn recovered(&mut self) {
        self.doublings = 0;
    }

    /// The SYN had to be sent again, and no timestamp tells the round trip: the wait begins with 3 s (5.7).
    pub(super) fn assume(&mut self, settings: &TcpSettings) {
        if self.is_unknown() && settings.rto_initial_ns < 3_000_000_000 {
            (self.smoothed_us, self.variation_us) = (1_000_000, 500_000);
        }
    }

    /// The wait, `linear` of whose doublings are left out.
    pub(super) fn wait_ns(&self, settings: &TcpSettings, linear: u8) -> u64 {
        let base_ns = if self.is_unknown() {
            settings.rto_initial_ns
        } else {
            let wait_us = self.smoothed_us + (4 * self.variation_us).max(GRANULARITY_US);
            (u64::from(wait_us) * 1_000).max(settings.rto_min_ns)
        };
        let shift = self.doublings.saturating_sub(linear).min(20);
        (base_ns << shift).min(settings.rto_max_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_first_measurement_sets_both() {
        let settings = TcpSettings::default();
        let mut trip = RoundTrip::default();
        assert_eq!(trip.wait_ns(&settings, 0), 1_000 * MS);
        trip.measured(100 * MS);
        // 100 ms and four times the half of it.
        assert_eq!(trip.wait_ns(&settings, 0), 300 * MS);
        for _ in 0..100 {
            trip.measured(100 * MS);
        }
        assert_eq!(trip.wait_ns(&settings, 0), 200 * MS, "the least");
    }

    #[test]
    fn the_wait_doubles_up_to_the_most() {
        let settings = TcpSettings::default();
        let mut trip = RoundTrip::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            waits.push(trip.wait_ns(&settings, 0) / (1_000 * MS));
            trip.back_off();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        assert_eq!(trip.wait_ns(&settings, 9), 1_000 * MS, "all linear");
        trip.recovered();
        assert_eq!(trip.wait_ns(&settings, 0), 1_000 * MS);
    }

    /// Section 5.7: 1 s and 4 x 0.5 s.
    #[test]
    fn a_repeated_syn_makes_it_three_seconds() {
        let settings = TcpSettings::default();
        let mut trip = RoundTrip::default();
        trip.assume(&settings);
        assert_eq!(trip.wait_ns(&settings, 0), 3_000 * MS);
    }
}
