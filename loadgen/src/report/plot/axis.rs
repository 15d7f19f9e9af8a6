//! Where a value stands on an axis, and which values are named there.
//!
//! Every scale is a rising function from values to 0 (the axis' begin) to 1 (its end).

use crate::report::unit::Unit;

/// An axis: its name and unit, and how values are spaced on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Its name, without unit.
    pub name: String,
    /// The unit of its values.
    pub unit: Unit,
    /// How values are spaced.
    pub scale: Scale,
}

/// How values are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// Shares from 0 to 1, evenly, whatever the values are.
    Whole,
    /// By their logarithm where they span more than a factor of 20, else evenly from 0. A value of 0 stands apart, at
    /// the begin.
    Wide,
    /// Shares by the number of nines: 90 %, 99 % and 99.9 % are equally far from each other.
    Nines,
}

/// Values that span more than this factor go on a logarithmic axis.
const WIDE: f64 = 20.0;

/// How far from the begin the smallest value stands when a 0 stands there.
const BESIDE_ZERO: f64 = 0.12;

/// Ticks that an even axis has at most, the begin counted.
const TICKS_MAX: f64 = 7.0;

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Where, 0 to 1.
    pub at: f64,
    /// Its name.
    pub label: String,
}

/// An axis that knows its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    form: Form,
    /// How far from either end of the axis its begin and end are drawn, as a share of its length: room for marks.
    pub(super) inset: f64,
    /// The named values, rising.
    pub ticks: Vec<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Even { end: f64 },
    Log { low: f64, high: f64, begin: f64 },
    Nines { end: f64 },
}

impl Axis {
    /// The axis for these values. Values that are not finite, or below 0, are not looked at.
    #[must_use]
    pub fn place(&self, values: impl Iterator<Item = f64>) -> Placed {
        let values: Vec<f64> = values.filter(|value| value.is_finite() && *value >= 0.0).collect();
        let max = values.iter().copied().fold(0.0, f64::max);
        let above_zero = values.iter().copied().filter(|value| *value > 0.0);
        let min = above_zero.fold(f64::INFINITY, f64::min);
        match self.scale {
            Scale::Nines => nines(max),
            Scale::Whole => self.even(1.0),
            Scale::Wide if max > min * WIDE => self.log(min, max, values.contains(&0.0)),
            Scale::Wide | Scale::Linear => self.even(max),
        }
    }

    /// The name with the unit in which the ticks stand.
    #[must_use]
    pub fn title(&self) -> String {
        match self.unit {
            // Each tick of time has a unit of its own, and what is counted has none.
            Unit::Nanoseconds | Unit::Packets | Unit::Connections => self.name.clone(),
            unit => format!("{} [{}]", self.name, unit.sign()),
        }
    }

    /// From 0 to the first round number at or above `max`.
    fn even(&self, max: f64) -> Placed {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / (TICKS_MAX - 1.0));
        let steps = (max / step - 1e-9).ceil().max(1.0);
        let end = steps * step;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most TICKS_MAX"
        )]
        let count = steps as u32;
        let ticks = (0..=count).map(|index| {
            let value = f64::from(index) * step;
            Tick { at: value / end, label: self.unit.tick(value) }
        });
        Placed { form: Form::Even { end }, inset: 0.0, ticks: ticks.collect() }
    }

    /// From the decade below `min` to a round number at or above `max`.
    fn log(&self, min: f64, max: f64, with_zero: bool) -> Placed {
        let few = (max / min).log10() < 2.5;
        let low = if few { round_below(min) } else { 10_f64.powf(min.log10().floor()) };
        let high = if few { -round_below(-max) } else { 10_f64.powf((max.log10() - 1e-9).ceil()) };
        let begin = if with_zero { BESIDE_ZERO } else { 0.0 };
        let form = Form::Log { low, high, begin };
        let mut ticks = Vec::new();
        if with_zero {
            ticks.push(Tick { at: 0.0, label: self.unit.tick(0.0) });
        }
        // Every decade is named up to eight of them; of more, each second or third one.
        let every = ((high / low).log10() / 8.0).ceil().max(1.0);
        let mut decade = 10_f64.powf(low.log10().floor());
        while decade <= high * 1.000_001 {
            for factor in if few { &[1.0, 2.0, 5.0][..] } else { &[1.0] } {
                let value = decade * factor;
                if value >= low * 0.999_999 && value <= high * 1.000_001 {
                    ticks.push(Tick { at: form.at(value), label: self.unit.tick(value) });
                }
            }
            decade *= 10_f64.powf(every);
        }
        Placed { form, inset: 0.0, ticks }
    }
}

/// Nines up to the first whole number of them at or above `max`; at most nine.
fn nines(max: f64) -> Placed {
    let end = (-(1.0 - max).max(1e-9).log10() - 1e-9).ceil().clamp(1.0, 9.0);
    let form = Form::Nines { end };
    #[expect(clippy::cast_possible_truncation, reason = "1 to 9")]
    let count = end as i32;
    let ticks = (0..=count).map(|nines| {
        let places = usize::try_from(nines - 2).unwrap_or(0);
        let label = format!("{:.places$}", 100.0 - 100.0 * 0.1_f64.powi(nines));
        Tick { at: f64::from(nines) / end, label }
    });
    Placed { form, inset: 0.0, ticks: ticks.collect() }
}

impl Placed {
    /// Where a value stands: 0 to 1, and at the nearer end if it is beyond.
    #[must_use]
    pub fn at(&self, value: f64) -> f64 {
        self.form.at(value).clamp(0.0, 1.0)
    }

    /// The name of the tick nearest to a place.
    #[must_use]
    pub fn label(&self, at: f64) -> String {
        let nearest =
            self.ticks.iter().min_by(|a, b| (a.at - at).abs().total_cmp(&(b.at - at).abs()));
        nearest.map_or_else(String::new, |tick| tick.label.clone())
    }
}

impl Form {
    fn at(self, value: f64) -> f64 {
        match self {
            Self::Even { end } => value / end,
            Self::Log { low, high, begin } => {
                if value <= 0.0 {
                    return 0.0;
                }
                begin + (1.0 - begin) * (value / low).log10() / (high / low).log10()
            }
            Self::Nines { end } => -(1.0 - value).max(1e-12).log10() / end,
        }
    }
}

/// The least of 1, 2, 2.5 or 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0];
    let fits = |factor: &&f64| **factor * power >= least * (1.0 - 1e-9);
    factors.iter().find(fits).map_or(10.0 * power, |factor| factor * power)
}

/// The greatest of 1, 2 or 5 times a power of ten not above a positive number; for a negative number, minus the least
/// not below its amount.
fn round_below(value: f64) -> f64 {
    let size = value.abs();
    let power = 10_f64.powf(size.log10().floor());
    if value > 0.0 {
        let fits = |factor: &&f64| **factor * power <= size * (1.0 + 1e-9);
        [5.0, 2.0, 1.0].iter().find(fits).map_or(power, |factor| factor * power)
    } else {
        let fits = |factor: &&f64| **factor * power >= size * (1.0 - 1e-9);
        -[1.0, 2.0, 5.0].iter().find(fits).map_or(10.0 * power, |factor| factor * power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(unit: Unit, scale: Scale, values: &[f64]) -> Vec<(f64, String)> {
        let axis = Axis { name: "axis".to_owned(), unit, scale };
        let placed = axis.place(values.iter().copied());
        let rounded = |at: f64| (at * 1000.0).round() / 1000.0;
        placed.ticks.into_iter().map(|tick| (rounded(tick.at), tick.label)).collect()
    }

    fn labels(unit: Unit, scale: Scale, values: &[f64]) -> Vec<String> {
        ticks(unit, scale, values).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn even_axes_end_at_a_round_number() {
        let pps = Unit::PacketsPerSecond;
        let expected = ["0", "200k", "400k", "600k"].map(str::to_owned);
        assert_eq!(
            labels(pps, Scale::Linear, &[0.0, 550_000.0]),
            ["0", "100k", "200k", "300k", "400k", "500k", "600k"]
        );
        assert_eq!(labels(pps, Scale::Linear, &[0.0, 601_000.0]).len(), 5);
        assert_eq!(labels(pps, Scale::Linear, &[1_200_000.0])[..4], expected);
        assert_eq!(labels(Unit::Share, Scale::Whole, &[0.3]), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(pps, Scale::Linear, &[]).first().unwrap(), "0");
        assert_eq!(
            labels(pps, Scale::Linear, &[0.0, f64::NAN, f64::INFINITY]).last().unwrap(),
            "1"
        );
    }

    #[test]
    fn wide_axes_are_logarithmic_with_zero_beside() {
        let flood = [0.0, 1e4, 1e5, 1e6];
        let expected = [(0.0, "0"), (0.12, "10k"), (0.56, "100k"), (1.0, "1M")];
        let found = ticks(Unit::PacketsPerSecond, Scale::Wide, &flood);
        for (at, label) in expected {
            assert!(found.contains(&(at, label.to_owned())), "{found:?}");
        }
        let times = labels(Unit::Nanoseconds, Scale::Wide, &[120_000.0, 3_000_000.0]);
        assert_eq!(times, ["100 µs", "200 µs", "500 µs", "1 ms", "2 ms", "5 ms"]);
        // A narrow span is even.
        assert_eq!(labels(Unit::PacketsPerSecond, Scale::Wide, &[1e4, 9e4]).first().unwrap(), "0");
        // Many decades: not all are named.
        assert!(labels(Unit::Nanoseconds, Scale::Wide, &[1.0, 1e12]).len() <= 9);
    }

    #[test]
    fn nines_are_equally_far_apart() {
        let nines = ticks(Unit::Share, Scale::Nines, &[0.0, 0.5, 0.9995]);
        let expected = [(0.0, "0"), (0.25, "90"), (0.5, "99"), (0.75, "99.9"), (1.0, "99.99")];
        assert_eq!(nines, expected.map(|(at, label)| (at, label.to_owned())));
        assert_eq!(ticks(Unit::Share, Scale::Nines, &[1.0]).last().unwrap().1, "99.9999999");
    }

    #[test]
    fn every_scale_rises_and_keeps_within() {
        for scale in [Scale::Linear, Scale::Whole, Scale::Wide, Scale::Nines] {
            let axis = Axis { name: String::new(), unit: Unit::Share, scale };
            let values = [0.0, 0.001, 0.02, 0.3, 0.5, 0.9, 0.99, 0.999];
            let placed = axis.place(values.iter().copied());
            let places: Vec<f64> = values.iter().map(|value| placed.at(*value)).collect();
            assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{scale:?} {places:?}");
            assert!(placed.at(-1.0) == 0.0 && placed.at(1e30) == 1.0, "{scale:?}");
            assert!(placed.ticks.windows(2).all(|pair| pair[0].at < pair[1].at), "{scale:?}");
        }
    }

    #[test]
    fn titles_name_the_unit() {
        let axis = |unit| Axis { name: "Flood".to_owned(), unit, scale: Scale::Linear }.title();
        assert_eq!(axis(Unit::PacketsPerSecond), "Flood [pps]");
        assert_eq!(axis(Unit::Share), "Flood [%]");
        assert_eq!(axis(Unit::Nanoseconds), "Flood");
    }
}
