//! Days and dates, UTC, without leap seconds: as the kernel counts time.

/// Days before each month of a year that is no leap year.
const DAYS_BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// A day of the calendar, 1970 or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalendarDate {
    /// The year.
    pub year: u32,
    /// The month, 1 to 12.
    pub month: u32,
    /// The day of the month, 1 to 31.
    pub day: u32,
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days from 1970-01-01 to the first of January of a year.
fn days_before_year(year: u32) -> u32 {
    let leap_days = |year: u32| year / 4 - year / 100 + year / 400;
    let last = year.saturating_sub(1);
    (year - 1970) * 365 + leap_days(last) - leap_days(1969)
}

fn days_before_month(year: u32, month: u32) -> u32 {
    let before = DAYS_BEFORE.into_iter().nth(month as usize - 1).unwrap_or(0);
    before + u32::from(month > 2 && is_leap(year))
}

impl CalendarDate {
    /// The date that is so many days after 1970-01-01.
    pub fn from_days(days: u32) -> Self {
        // A year has at most 366 days, so this year is not too late.
        let mut year = 1970 + days / 366;
        while days_before_year(year + 1) <= days {
            year += 1;
        }
        let of_year = days - days_before_year(year);
        let begun = |month: &u32| days_before_month(year, *month) <= of_year;
        let month = (1..=12).rev().find(begun).unwrap_or(1);
        Self { year, month, day: of_year - days_before_month(year, month) + 1 }
    }

    /// Days from 1970-01-01. A `month` 0 is December of the year before, and a `day` that the month
    /// does not have is counted on from its first, backward too, as C's `mktime` does. Negative
    /// before 1970.
    pub fn days(self) -> i64 {
        let (year, month) = match self.month {
            0 => (i64::from(self.year) - 1, 12),
            month => (i64::from(self.year), month),
        };
        let first = match u32::try_from(year) {
            Ok(year @ 1970..) => days_before_year(year) + days_before_month(year, month),
            // December 1969 is all that can be said.
            _ => return i64::from(self.day) - 1 - 31,
        };
        i64::from(first) + i64::from(self.day) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_to_2106_has_its_date() {
        let mut date = CalendarDate { year: 1970, month: 1, day: 1 };
        for days in 0..=49_710 {
            assert_eq!((CalendarDate::from_days(days), date.days()), (date, days.into()));
            let leap = date.year.is_multiple_of(4) && date.year != 2100;
            let length = match date.month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            date.day += 1;
            if date.day > length {
                (date.day, date.month) = (1, date.month + 1);
            }
            if date.month > 12 {
                (date.month, date.year) = (1, date.year + 1);
            }
        }
    }

    #[test]
    fn days_out_of_the_calendar_are_counted_on() {
        let days = |year, month, day| CalendarDate { year, month, day }.days();
        assert_eq!(days(2025, 0, 1), days(2024, 12, 1));
        assert_eq!(days(2025, 2, 31), days(2025, 3, 3));
        assert_eq!(days(2025, 2, 0), days(2025, 1, 31));
        assert_eq!((days(1970, 1, 0), days(1970, 0, 31), days(1970, 0, 1)), (-1, -1, -31));
    }
}
