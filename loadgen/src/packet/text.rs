//! A payload of text, which may tell the time, as the trojan's does.

use chrono::{DateTime, Datelike, Timelike};

/// Where the time stands in a text.
const PLACE: &str = "{time}";

/// Bytes of the time: `2026.11.26 08:11:28`.
const TIME_BYTES: usize = 19;

/// Text, with the place of the time in it if it tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    bytes: Vec<u8>,
    time_at: Option<usize>,
}

impl Text {
    /// Reads a text; `{time}` in it is where the time stands.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let time_at = text.find(PLACE);
        let mut bytes = text.as_bytes().to_vec();
        if let Some(at) = time_at {
            bytes.splice(at..at + PLACE.len(), [b'0'; TIME_BYTES]);
        }
        Self { bytes, time_at }
    }

    /// Its bytes at a time, in seconds since 1970 where the clock on the wall stands.
    #[must_use]
    pub fn at(&self, wall_s: i64) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Some(at) = self.time_at {
            bytes[at..at + TIME_BYTES].copy_from_slice(&clock(wall_s));
        }
        bytes
    }

    /// How many bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where the time stands in it, if it tells it.
    #[must_use]
    pub fn time_at(&self) -> Option<usize> {
        self.time_at
    }
}

/// The time as `%Y.%m.%d %H:%M:%S`; years beyond 9999 are 9999.
pub(super) fn clock(wall_s: i64) -> [u8; TIME_BYTES] {
    let time = DateTime::from_timestamp(wall_s, 0).unwrap_or_default();
    let year = u32::try_from(time.year()).unwrap_or(0).min(9999);
    let parts = [
        (year, 4),
        (time.month(), 2),
        (time.day(), 2),
        (time.hour(), 2),
        (time.minute(), 2),
        (time.second(), 2),
    ];
    let mut out = *b"0000.00.00 00:00:00";
    let mut at = 0;
    for (mut number, digits) in parts {
        for digit in out[at..at + digits].iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        at += digits + 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_stands_where_it_is_asked_for() {
        let text = Text::new("It is {time}!");
        assert_eq!(text.at(1_795_680_688), b"It is 2026.11.26 08:11:28!");
        assert_eq!((text.len(), text.time_at()), (26, Some(6)));
        assert_eq!(Text::new("no").at(0), b"no");
        assert_eq!(&clock(-1), b"1969.12.31 23:59:59");
        assert_eq!(&clock(i64::MAX), b"1970.01.01 00:00:00");
    }
}
