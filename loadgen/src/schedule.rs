//! When each packet is due: an absolute schedule.
//!
//! Packet `n` is due at `n / rate` after the start, whatever happened to the packets before it. A
//! generator that waited a fixed time *between* packets would add every delay of its own to all
//! that follows, and would report a slower network where only itself was late. One that is late
//! here sends the missing packets as soon as it can; one that stays late shows in the achieved
//! rate.

/// Nanoseconds in a second.
const SECOND_NS: u64 = 1_000_000_000;

/// A constant rate, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// So many packets a second, evenly spaced. Not 0.
    Constant(u64),
    /// As fast as they go.
    Flood,
}

impl Schedule {
    /// How many packets are due `elapsed_ns` after the start. The first is due at once.
    pub(crate) fn due(self, elapsed_ns: u64) -> u64 {
        let Self::Constant(rate) = self else { return u64::MAX };
        let whole = u128::from(elapsed_ns) * u128::from(rate) / u128::from(SECOND_NS) + 1;
        u64::try_from(whole).unwrap_or(u64::MAX)
    }

    /// When packet `n` (from 0) is due, in nanoseconds after the start: the first at which
    /// [`due`](Self::due) counts it.
    pub(crate) fn time_ns(self, n: u64) -> u64 {
        let Self::Constant(rate) = self else { return 0 };
        let time = (u128::from(n) * u128::from(SECOND_NS)).div_ceil(u128::from(rate));
        u64::try_from(time).unwrap_or(u64::MAX)
    }

    /// The rate that was asked for, if one was.
    pub(crate) fn rate(self) -> Option<u64> {
        match self {
            Self::Constant(rate) => Some(rate),
            Self::Flood => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_due_evenly() {
        let schedule = Schedule::Constant(4);
        let due =
            [0, 249_999_999, 250_000_000, 999_999_999, 1_000_000_000].map(|t| schedule.due(t));
        assert_eq!(due, [1, 1, 2, 4, 5]);
        assert_eq!(
            [0, 1, 2, 4].map(|n| schedule.time_ns(n)),
            [0, 250_000_000, 500_000_000, SECOND_NS]
        );
    }

    #[test]
    fn a_time_is_the_first_at_which_its_packet_is_due() {
        for rate in [1, 3, 7, 1_000, 999_983, 14_880_952, 1_000_000_000] {
            let schedule = Schedule::Constant(rate);
            for n in [0, 1, 2, 10, 999, 1_000_000, 123_456_789] {
                let time = schedule.time_ns(n);
                assert!(schedule.due(time) > n, "rate {rate}, packet {n}");
                assert!(time == 0 || schedule.due(time - 1) <= n, "rate {rate}, packet {n}");
            }
        }
    }

    #[test]
    fn a_flood_is_always_due() {
        assert_eq!((Schedule::Flood.due(0), Schedule::Flood.time_ns(9)), (u64::MAX, 0));
        assert_eq!((Schedule::Flood.rate(), Schedule::Constant(5).rate()), (None, Some(5)));
    }
}
