//! `-m time` (`net/netfilter/xt_time.c`).

use weir_control::rule::{CalendarDate, TimeMatch};

const DAY_S: u32 = 86_400;

/// Whether the clock shows what is asked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct TimeTest(TimeMatch);

impl From<TimeMatch> for TimeTest {
    fn from(asked: TimeMatch) -> Self {
        Self(asked)
    }
}

impl TimeTest {
    /// Asks it at a time of day, UTC, in seconds since 1970.
    pub(super) fn holds(self, wall_s: u64) -> bool {
        let asked = &self.0;
        // Dates end in 2038: what does not fit into 32 bits is later.
        let Ok(now_s) = u32::try_from(wall_s) else { return false };
        if !(asked.date_start..=asked.date_stop).contains(&now_s) {
            return false;
        }
        let (mut day, daytime) = (now_s / DAY_S, now_s % DAY_S);
        let (start, stop) = (asked.daytime_start, asked.daytime_stop);
        if start < stop {
            if !(start..=stop).contains(&daytime) {
                return false;
            }
        } else {
            if daytime < start && daytime > stop {
                return false;
            }
            if asked.contiguous && daytime <= stop {
                day = day.saturating_sub(1);
            }
        }
        // 1970-01-01 was a Thursday.
        if asked.weekdays >> ((day + 3) % 7 + 1) & 1 == 0 {
            return false;
        }
        asked.monthdays == TimeMatch::ALL_MONTHDAYS
            || asked.monthdays >> CalendarDate::from_days(day).day & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since 1970 of a date in the form of `--datestart`.
    fn at(text: &str) -> u64 {
        TimeMatch::date(text).expect(text).into()
    }

    fn daytime(text: &str) -> u32 {
        TimeMatch::daytime(text).expect(text)
    }

    #[track_caller]
    fn assert_holds(asked: TimeMatch, times: &[(&str, bool)]) {
        for (time, holds) in times {
            assert_eq!(TimeTest(asked).holds(at(time)), *holds, "{time}");
        }
    }

    #[test]
    fn without_conditions_it_holds_till_2038() {
        let last = "2038-01-19T03:14:07";
        assert_holds(TimeMatch::default(), &[("1970", true), (last, true), ("2038-02", false)]);
        let test = TimeTest(TimeMatch::default());
        assert!(test.holds(at(last)) && !test.holds(at(last) + 1) && !test.holds(1 << 32));
    }

    #[test]
    fn both_ends_belong_to_it() {
        let (date_start, date_stop) =
            (TimeMatch::date("2025-03-04"), TimeMatch::date("2025-03-05"));
        let (date_start, date_stop) = (date_start.expect("a date"), date_stop.expect("a date"));
        assert_holds(
            TimeMatch { date_start, date_stop, ..TimeMatch::default() },
            &[
                ("2025-03-03T23:59:59", false),
                ("2025-03-04", true),
                ("2025-03-05", true),
                ("2025-03-05T00:00:01", false),
            ],
        );
        let (daytime_start, daytime_stop) = (daytime("8:00"), daytime("17:30"));
        assert_holds(
            TimeMatch { daytime_start, daytime_stop, ..TimeMatch::default() },
            &[
                ("2025-03-04T07:59:59", false),
                ("2025-03-04T08:00:00", true),
                ("2025-03-04T17:30:00", true),
                ("2025-03-04T17:30:01", false),
            ],
        );
    }

    #[test]
    fn a_night_belongs_to_two_days_or_to_the_first() {
        let (daytime_start, daytime_stop) = (daytime("22:00"), daytime("6:00"));
        // Friday 2025-02-28 to Saturday 2025-03-01.
        let night = TimeMatch { daytime_start, daytime_stop, ..TimeMatch::default() };
        let friday = TimeMatch { weekdays: 1 << 5, ..night };
        let last = TimeMatch { monthdays: 1 << 28, ..night };
        for (asked, after_midnight) in [(friday, false), (last, false)] {
            let contiguous = TimeMatch { contiguous: true, ..asked };
            let times = |holds| {
                [
                    ("2025-02-28T21:59:59", false),
                    ("2025-02-28T22:00:00", true),
                    ("2025-03-01T00:00:00", holds),
                    ("2025-03-01T06:00:00", holds),
                    ("2025-03-01T06:00:01", false),
                    ("2025-03-01T22:00:00", false),
                ]
            };
            assert_holds(asked, &times(after_midnight));
            assert_holds(contiguous, &times(true));
            assert_holds(asked, &[("2025-02-28T05:00:00", true)]);
            assert_holds(contiguous, &[("2025-02-28T05:00:00", false)]);
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let leap_day = TimeMatch { monthdays: 1 << 29, ..TimeMatch::default() };
        let days = [("2024-02-29", true), ("2025-02-28", false), ("2025-03-01", false)];
        assert_holds(leap_day, &days);
        let sunday = TimeMatch { weekdays: 1 << 7, ..TimeMatch::default() };
        let week = [("2026-11-21", false), ("2026-11-22", true), ("2026-11-23", false)];
        assert_holds(sunday, &week);
    }
}
