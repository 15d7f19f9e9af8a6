//! How much may be on its way: slow start, congestion avoidance, fast retransmit and recovery (RFC 5681, RFC 6582),
//! limited transmit (RFC 3042), the first window of RFC 6928. Positions are offsets of the connection.

/// Acknowledgments of the same byte after which it is taken for lost.
const DUPLICATES: u8 = 3;

/// See the module. In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Congestion {
    window: u32,
    threshold: u32,
    /// Recovery ends when this is acknowledged; no second one begins before.
    recover: u32,
    /// Bytes acknowledged in congestion avoidance since the window last grew.
    acknowledged: u32,
    duplicates: u8,
    recovering: bool,
}

impl Congestion {
    pub(super) fn new() -> Self {
        let (window, threshold) = (0, u32::MAX);
        Self { window, threshold, recover: 0, acknowledged: 0, duplicates: 0, recovering: false }
    }

    /// The handshake is done. One that needed a second SYN begins with one segment (RFC 5681 section 3.1).
    pub(super) fn begin(&mut self, mss: u32, segments: u32, syn_was_lost: bool) {
        self.window = if syn_was_lost { mss } else { segments * mss };
    }

    /// Bytes that may be on their way, in the state after so many duplicates.
    pub(super) fn window(&self, mss: u32) -> u32 {
        let limited = if self.recovering { 0 } else { u32::from(self.duplicates.min(2)) * mss };
        self.window.saturating_add(limited)
    }

    /// Another acknowledgment of `una`; whether the segment there is to be sent again at once.
    pub(super) fn duplicate(&mut self, una: u32, flight: u32, mss: u32) -> bool {
        self.duplicates = self.duplicates.saturating_add(1);
        if self.recovering {
            self.window = self.window.saturating_add(mss);
            return false;
        }
        if self.duplicates != DUPLICATES || una <= self.recover {
            return false;
        }
        self.recover = una + flight;
        self.threshold = (flight / 2).max(2 * mss);
        self.window = self.threshold + u32::from(DUPLICATES) * mss;
        self.recovering = true;
        true
    }

    /// `bytes` more are acknowledged, all before `una`; whether the segment there is to be sent again at once.
    pub(super) fn advanced(&mut self, una: u32, bytes: u32, flight: u32, mss: u32) -> bool {
        self.duplicates = 0;
        if self.recovering {
            if una >= self.recover {
                self.recovering = false;
                self.window = self.threshold.min(flight.max(mss) + mss);
                return false;
            }
            // RFC 6582 section 3.2: the next hole is lost, too.
            self.window = self.window.saturating_sub(bytes) + if bytes >= mss { mss } else { 0 };
            return true;
        }
        if self.window < self.threshold {
            self.window = self.window.saturating_add(bytes.min(mss));
        } else {
            self.acknowledged += bytes;
            if self.acknowledged >= self.window {
                self.acknowledged -= self.window;
                self.window = self.window.saturating_add(mss);
            }
        }
        false
    }

    /// The timer has run out; `first` if it is the first time for this segment.
    pub(super) fn timed_out(&mut self, una: u32, flight: u32, mss: u32, first: bool) {
        if first {
            self.threshold = (flight / 2).max(2 * mss);
        }
        self.recover = una + flight;
        (self.window, self.duplicates, self.recovering, self.acknowledged) = (mss, 0, false, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    fn begun() -> Congestion {
        let mut congestion = Congestion::new();
        congestion.begin(MSS, 10, false);
        congestion
    }

    #[test]
    fn slow_start_doubles_and_avoidance_adds_one() {
        let mut congestion = begun();
        for acknowledged in 1..=10 {
            congestion.advanced(acknowledged * MSS, MSS, 10 * MSS, MSS);
        }
        assert_eq!(congestion.window(MSS), 20 * MSS);
        congestion.threshold = 20 * MSS;
        for acknowledged in 11..=30 {
            congestion.advanced(acknowledged * MSS, MSS, 20 * MSS, MSS);
        }
        assert_eq!(congestion.window(MSS), 21 * MSS);
    }

    #[test]
    fn three_duplicates_make_one_repetition_and_each_hole_another() {
        let mut congestion = begun();
        congestion.advanced(1_001, MSS, 9 * MSS, MSS);
        let again: Vec<bool> = (0..5).map(|_| congestion.duplicate(1_001, 10 * MSS, MSS)).collect();
        assert_eq!(again, [false, false, true, false, false]);
        assert_eq!(congestion.window(MSS), (5 + 3 + 2) * MSS);
        assert!(congestion.advanced(3_001, 2 * MSS, 8 * MSS, MSS), "a second hole");
        assert!(!congestion.advanced(11_001, 8 * MSS, 0, MSS), "all is well again");
        assert_eq!(congestion.window(MSS), 2 * MSS);
    }

    #[test]
    fn limited_transmit_lets_two_more_out() {
        let mut congestion = begun();
        congestion.duplicate(1, 10 * MSS, MSS);
        assert_eq!(congestion.window(MSS), 11 * MSS);
        congestion.duplicate(1, 10 * MSS, MSS);
        assert_eq!(congestion.window(MSS), 12 * MSS);
    }

    #[test]
    fn after_a_timeout_one_segment_at_a_time() {
        let mut congestion = begun();
        congestion.timed_out(1, 10 * MSS, MSS, true);
        assert_eq!((congestion.window(MSS), congestion.threshold), (MSS, 5 * MSS));
        congestion.timed_out(1, MSS, MSS, false);
        assert_eq!(congestion.threshold, 5 * MSS, "halved once");
    }
}
