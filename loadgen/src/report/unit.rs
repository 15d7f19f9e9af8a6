//! Units, and numbers as people read them.

use serde::{Deserialize, Serialize};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Packets a second.
    PacketsPerSecond,
    /// Connections a second.
    ConnectionsPerSecond,
    /// Bits a second.
    BitsPerSecond,
    /// A part of a whole: 1 is all of it. Shown in percent.
    Share,
    /// Nanoseconds.
    Nanoseconds,
    /// Seconds of a run, counted from its begin.
    Seconds,
    /// Packets.
    Packets,
    /// Connections.
    Connections,
}

impl Unit {
    /// Its sign, without prefix: `pps`, `cps`, `bit/s`, `%`, `s`; nothing for what is only counted.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::PacketsPerSecond => "pps",
            Self::ConnectionsPerSecond => "cps",
            Self::BitsPerSecond => "bit/s",
            Self::Share => "%",
            Self::Nanoseconds | Self::Seconds => "s",
            Self::Packets | Self::Connections => "",
        }
    }

    /// The name of the unit in which values are kept, for columns that programs read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PacketsPerSecond => "packets per second",
            Self::ConnectionsPerSecond => "connections per second",
            Self::BitsPerSecond => "bits per second",
            Self::Share => "share",
            Self::Nanoseconds => "nanoseconds",
            Self::Seconds => "seconds",
            Self::Packets => "packets",
            Self::Connections => "connections",
        }
    }

    /// The number with its unit, to four digits: `1.25 Mpps`, `99.99 %`, `12.5 µs`. Counts are whole.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Share => format!("{} %", digits(value * 100.0)),
            Self::Packets | Self::Connections => grouped(value),
            _ => {
                let (scaled, prefix) = self.scale(value);
                format!("{} {prefix}{}", digits(scaled), self.sign())
            }
        }
    }

    /// The number for an axis, where the unit stands in the axis's name: `1.2M`, `10µs`, `50`.
    #[must_use]
    pub fn tick(self, value: f64) -> String {
        match self {
            Self::Share => short(value * 100.0),
            Self::Nanoseconds => {
                let (scaled, prefix) = self.scale(value);
                if value == 0.0 { "0".to_owned() } else { format!("{} {prefix}s", short(scaled)) }
            }
            _ => {
                let (scaled, prefix) = prefixed(value);
                format!("{}{prefix}", short(scaled))
            }
        }
    }

    fn scale(self, value: f64) -> (f64, &'static str) {
        match self {
            // Nobody counts in kiloseconds.
            Self::Nanoseconds if value >= 1e9 => (value / 1e9, ""),
            Self::Nanoseconds => prefixed(value / 1e9),
            _ => prefixed(value),
        }
    }
}

/// Divides by the power of 1000 that leaves 1 to 1000.
fn prefixed(value: f64) -> (f64, &'static str) {
    const PREFIXES: [(f64, &str); 7] =
        [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ")];
    let size = value.abs();
    if size == 0.0 || !size.is_finite() {
        return (value, "");
    }
    // A number that rounds to 1000 belongs to the next prefix.
    let fits = |&&(factor, _): &&(f64, &str)| size >= factor * 0.99995;
    PREFIXES
        .iter()
        .find(fits)
        .map_or((value / 1e-9, "n"), |(factor, prefix)| (value / factor, *prefix))
}

/// Four significant digits, without zeroes at the end that say nothing.
fn digits(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        _ if size >= 999.95 => 0,
        _ if size >= 99.995 => 1,
        _ if size >= 9.9995 => 2,
        _ if size >= 0.99995 || size == 0.0 => 3,
        _ => 4,
    };
    trimmed(&format!("{value:.places$}"))
}

/// As few digits as an axis needs.
fn short(value: f64) -> String {
    trimmed(&format!("{value:.3}"))
}

fn trimmed(text: &str) -> String {
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A whole number with its digits in groups of three: `1,234,567`.
#[must_use]
pub fn grouped(value: f64) -> String {
    let whole = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 && whole != "0" { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_a_unit() {
        let cases = [
            (Unit::PacketsPerSecond, 1_250_000.0, "1.25 Mpps"),
            (Unit::PacketsPerSecond, 999_960.0, "1 Mpps"),
            (Unit::PacketsPerSecond, 999.0, "999 pps"),
            (Unit::PacketsPerSecond, 0.0, "0 pps"),
            (Unit::BitsPerSecond, 9_876_543_210.0, "9.877 Gbit/s"),
            (Unit::Share, 0.999_94, "99.99 %"),
            (Unit::Share, 0.000_005, "0.0005 %"),
            (Unit::Share, 1.0, "100 %"),
            (Unit::Share, -0.125, "-12.5 %"),
            (Unit::Nanoseconds, 12_500.0, "12.5 µs"),
            (Unit::Nanoseconds, 999.0, "999 ns"),
            (Unit::Nanoseconds, 3e9, "3 s"),
            (Unit::Nanoseconds, 4_321e9, "4321 s"),
            (Unit::Packets, 1_234_567.0, "1,234,567"),
            (Unit::Packets, -999.0, "-999"),
            (Unit::Connections, 0.0, "0"),
        ];
        for (unit, value, expected) in cases {
            assert_eq!(unit.show(value), expected, "{unit:?} {value}");
        }
        assert!(Unit::PacketsPerSecond.show(f64::NAN).contains("NaN"));
    }

    #[test]
    fn ticks_leave_the_unit_to_the_axis() {
        let cases = [
            (Unit::PacketsPerSecond, 500_000.0, "500k"),
            (Unit::Share, 0.25, "25"),
            (Unit::Nanoseconds, 10_000.0, "10 µs"),
            (Unit::Nanoseconds, 0.0, "0"),
            (Unit::Connections, 1e6, "1M"),
        ];
        for (unit, value, expected) in cases {
            assert_eq!(unit.tick(value), expected, "{unit:?} {value}");
        }
    }
}
