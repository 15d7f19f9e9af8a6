//! What the module of 2002 accepts, and whether what was measured is that.
//!
//! `xt_fuzzy.c` counts in whole percent and throws a byte: of a rate `r` between the limits `L` and `U` the share
//! `100 * (U - r) / (U - L)`, rounded down, passes; from `U` on 1; and a packet passes with a byte up to `255 * share /
//! 100`. The share always is that of the window before, more than a tenth of a second in ticks of 4 ms. What the first
//! window of a run passes the silence before says, and what had come before that: up to all of it.

use std::str::FromStr;

use serde_json::{Value, json};
use weir_tests::console::{Console, Tone};

/// The first window, in seconds: 26 ticks.
const FIRST_WINDOW_S: f64 = 0.104;

/// How far from the curve a rate may be accepted; and at its knees, where the share jumps with the rate.
const APART_MAX: f64 = 0.02;
const APART_AT_KNEES_MAX: f64 = 0.05;

/// So near to a limit a rate is at a knee: windows of a tenth of a second do not tell it from the limit.
const KNEE: f64 = 0.1;

/// The limits of the rule, in packets a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) lower_pps: u32,
    pub(crate) upper_pps: u32,
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "two rates in packets a second, the lower first: 100:1000";
        let (lower, upper) = text.split_once(':').ok_or(wanted)?;
        match (lower.parse(), upper.parse()) {
            (Ok(lower_pps), Ok(upper_pps)) if lower_pps < upper_pps => {
                Ok(Self { lower_pps, upper_pps })
            }
            _ => Err(wanted.to_owned()),
        }
    }
}

impl Limits {
    /// The share of packets that passes at a steady rate.
    fn share(self, pps: u32) -> f64 {
        let Self { lower_pps, upper_pps } = self;
        let percent = if pps <= lower_pps {
            return 1.0;
        } else if pps >= upper_pps {
            1
        } else {
            100 * u64::from(upper_pps - pps) / u64::from(upper_pps - lower_pps)
        };
        let bytes = u16::try_from(255 * percent / 100 + 1).unwrap_or(256);
        f64::from(bytes) / 256.0
    }

    fn is_at_a_knee(self, pps: u32) -> bool {
        let near = |limit: u32| (f64::from(pps) / f64::from(limit.max(1)) - 1.0).abs() < KNEE;
        near(self.lower_pps) || near(self.upper_pps)
    }
}

/// What a run says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    offered_pps: f64,
    accepted: f64,
    void: Option<String>,
}

impl Run {
    /// Reads a result of `weirgen`.
    pub(crate) fn of(result: &Value) -> Option<Self> {
        let stream = result["streams"].get(0)?;
        let [sent, received] = [stream["sent"].as_f64()?, stream["received"].as_f64()?];
        Some(Self {
            offered_pps: stream["requested_pps"].as_f64()?,
            accepted: if sent > 0.0 { received / sent } else { 0.0 },
            void: result["void"].as_str().map(str::to_owned),
        })
    }

    /// Whether this is the rate that it was asked for.
    pub(crate) fn is_of(&self, pps: u32) -> bool {
        (self.offered_pps / f64::from(pps) - 1.0).abs() < 0.001
    }
}

/// What became of a rate.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    offered_pps: u32,
    /// What the module would have accepted of these runs, with the least and the most of their first window.
    expected: [f64; 2],
    /// How far from that it may be.
    apart_max: f64,
    /// The median of what was accepted, if any run may be used.
    accepted: Option<f64>,
    /// Why runs may not be used.
    void: Vec<String>,
}

impl Level {
    /// Of runs of so many seconds.
    pub(crate) fn new<'a>(
        limits: Limits,
        offered_pps: u32,
        seconds: u32,
        runs: impl Iterator<Item = &'a Run>,
    ) -> Self {
        let share = limits.share(offered_pps);
        let first = (FIRST_WINDOW_S / f64::from(seconds)).min(1.0);
        let (void, good): (Vec<&Run>, Vec<&Run>) = runs.partition(|run| run.void.is_some());
        let mut accepted: Vec<f64> = good.iter().map(|run| run.accepted).collect();
        accepted.sort_by(f64::total_cmp);
        let knee = limits.is_at_a_knee(offered_pps);
        Self {
            offered_pps,
            expected: [share, share + (1.0 - share) * first],
            apart_max: if knee { APART_AT_KNEES_MAX } else { APART_MAX },
            accepted: accepted.get(accepted.len().saturating_sub(1) / 2).copied(),
            void: void.iter().filter_map(|run| run.void.clone()).collect(),
        }
    }

    /// How far from the module it is.
    fn apart(&self) -> Option<f64> {
        let [least, most] = self.expected;
        self.accepted.map(|accepted| (accepted - accepted.clamp(least, most)).abs())
    }

    /// Whether it is as it should be, if that can be said.
    fn is_as_expected(&self) -> Option<bool> {
        self.apart().map(|apart| apart <= self.apart_max)
    }

    pub(crate) fn line(&self, console: &Console) -> String {
        let void = match self.void.first() {
            Some(why) => format!("   ({} void: {why})", self.void.len()),
            None => String::new(),
        };
        let (Some(accepted), Some(apart)) = (self.accepted, self.apart()) else {
            return format!("{:>12}   no run that could be used{void}", self.offered_pps);
        };
        let tone = if self.is_as_expected() == Some(true) { Tone::Good } else { Tone::Bad };
        let apart = console.paint(tone, &format!("{apart:>12.4}"));
        let [least, most] = self.expected;
        let expected = format!("{least:.4}-{most:.4}");
        format!(
            "{:>12}{accepted:>12.4}{expected:>16}{apart}{:>12.2}{void}",
            self.offered_pps, self.apart_max
        )
    }
}

/// All rates.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) levels: Vec<Level>,
    /// Packets that were lost, and not by the rule.
    pub(crate) lost_elsewhere: u64,
}

impl Outcome {
    fn count(&self, expected: bool) -> usize {
        self.levels.iter().filter(|level| level.is_as_expected() == Some(expected)).count()
    }

    /// Whether all that could be measured is as it should be, and something was.
    pub(crate) fn is_as_expected(&self) -> bool {
        self.count(true) > 0 && self.count(false) == 0
    }

    /// The largest distance from the module.
    pub(crate) fn most_apart(&self) -> f64 {
        self.levels.iter().filter_map(Level::apart).fold(0.0, f64::max)
    }

    /// For programs.
    pub(crate) fn report(&self) -> Value {
        let level = |level: &Level| {
            json!({
                "offered_pps": level.offered_pps, "accepted": level.accepted, "expected": level.expected,
                "apart": level.apart(), "apart_max": level.apart_max, "void": level.void,
            })
        };
        let skipped = self.levels.iter().filter(|level| level.accepted.is_none());
        let skipped: Vec<String> = skipped
            .map(|level| {
                let why = level.void.first().map_or("no run", String::as_str);
                format!("{} packets a second: {why}", level.offered_pps)
            })
            .collect();
        json!({
            "levels": self.levels.iter().map(level).collect::<Vec<_>>(),
            "most_apart": self.most_apart(), "lost_elsewhere": self.lost_elsewhere,
            "passed": self.count(true), "failed": self.count(false), "skipped": skipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { lower_pps: 100, upper_pps: 1_000 };

    #[test]
    fn the_curve_is_the_module_s() {
        let of_256 = [50, 100, 101, 200, 500, 991, 999, 1_000, 20_000]
            .map(|pps| (pps, LIMITS.share(pps) * 256.0));
        let expected = [
            (50, 256.0),
            (100, 256.0),
            (101, 253.0),
            (200, 225.0),
            (500, 141.0),
            (991, 3.0),
            (999, 1.0),
            (1_000, 3.0),
            (20_000, 3.0),
        ];
        assert_eq!(of_256, expected);
        assert_eq!("100:1000".parse(), Ok(LIMITS));
        for wrong in ["100", "1000:100", "100:100", "a:b", "-1:5"] {
            assert!(wrong.parse::<Limits>().is_err(), "{wrong}");
        }
    }

    fn run(accepted: u32, void: Option<&str>) -> Run {
        let stream = json!({"requested_pps": 4999.7, "sent": 1_000, "received": accepted});
        let run = Run::of(&json!({"streams": [stream], "void": void})).expect("a run");
        assert!(run.is_of(5_000) && !run.is_of(10_000));
        run
    }

    #[test]
    fn a_level_is_judged_by_the_median_of_its_sound_runs() {
        let level = |runs: &[Run]| Level::new(LIMITS, 5_000, 10, runs.iter());
        let sound = [run(500, None), run(10, None), run(30, None), run(900, Some("late"))];
        let good = level(&sound);
        assert_eq!((good.accepted, good.is_as_expected()), (Some(0.03), Some(true)));
        let [least, most] = good.expected;
        assert!((least - 3.0 / 256.0).abs() < 1e-12, "{least}");
        assert!((most - (3.0 + 253.0 * 0.0104) / 256.0).abs() < 1e-12, "{most}");
        let apart = good.apart().expect("it was measured");
        assert!((apart - (0.03 - most)).abs() < 1e-12, "{apart}");
        assert_eq!(level(&[run(15, None)]).apart(), Some(0.0), "within");
        let bad = level(&[run(50, None)]);
        assert_eq!(bad.is_as_expected(), Some(false));
        let none = level(&[run(10, Some("late"))]);
        let outcome = Outcome { levels: vec![good, none.clone()], lost_elsewhere: 0 };
        assert!(outcome.is_as_expected());
        let report = outcome.report();
        assert_eq!((&report["passed"], &report["failed"]), (&json!(1), &json!(0)));
        assert_eq!(report["skipped"], json!(["5000 packets a second: late"]));
        let outcome = Outcome { levels: vec![none, bad], lost_elsewhere: 0 };
        assert!(!outcome.is_as_expected());
        assert!(!Outcome { levels: Vec::new(), lost_elsewhere: 0 }.is_as_expected());
    }

    #[test]
    fn rates_at_a_limit_have_more_room() {
        let room = [50, 100, 200, 950, 1_000, 2_000].map(|pps| LIMITS.is_at_a_knee(pps));
        assert_eq!(room, [false, true, false, true, true, false]);
    }
}
