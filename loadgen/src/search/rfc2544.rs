//! The plain set: throughput, latency, loss curve and back-to-back frames (RFC 2544 section 26, RFC 9004).
//!
//! These are what the field knows and asks for. Where a box shares its processor, a trial of a minute without any loss
//! may never come; [`mlr`](super::mlr) is then the better question.

use serde::{Deserialize, Serialize};

use super::{Failure, Offer, Trial, check, measure};
use crate::report::study::Joined;
use crate::result::Latency;
use crate::statistics::Summary;

/// How the set is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The least rate, in packets a second.
    pub rate_min: f64,
    /// The greatest rate: what the link or the generator carries.
    pub rate_max: f64,
    /// The throughput is found to this share of the greatest rate.
    pub resolution: f64,
    /// How long a trial of the bisection is, in seconds.
    pub trial_s: f64,
    /// How long the trial is that confirms the throughput; section 24 wants 60 s at least.
    pub final_s: f64,
    /// How long packets are sent for one measurement of the latency; section 26.2 wants 120 s at least.
    pub latency_s: f64,
    /// How often the latency is measured; section 26.2 wants 20 times at least.
    pub latency_trials: u32,
    /// How often the longest burst is measured; RFC 9004 section 5.4 wants 50 times.
    pub burst_trials: u32,
    /// The longest burst that is tried, in frames.
    pub burst_max: u64,
}

impl Default for Settings {
    /// As the documents want it, without the rates.
    fn default() -> Self {
        Self {
            rate_min: 1e3,
            rate_max: 1e6,
            resolution: 0.005,
            trial_s: 5.0,
            final_s: 60.0,
            latency_s: 120.0,
            latency_trials: 20,
            burst_trials: 50,
            burst_max: 2_000_000,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), Failure> {
        check("least rate", self.rate_min, 0.001..=1e12, "0.001 to 10^12 packets a second")?;
        check("greatest rate", self.rate_max, self.rate_min..=1e12, "the least rate to 10^12")?;
        check("resolution", self.resolution, 1e-6..=0.5, "0.000001 to 0.5")?;
        for (what, seconds) in [
            ("trial", self.trial_s),
            ("final trial", self.final_s),
            ("latency trial", self.latency_s),
        ] {
            check(what, seconds, 0.001..=86_400.0, "0.001 to 86400 seconds")?;
        }
        check("latency trials", f64::from(self.latency_trials), 1.0..=1e4, "1 to 10000")?;
        check("burst trials", f64::from(self.burst_trials), 1.0..=1e4, "1 to 10000")
    }
}

/// The highest rate at which a trial lost nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Throughput {
    /// The rate, in packets a second.
    pub rate: f64,
    /// The lowest rate that lost something; `None`: the greatest did not.
    pub lost_at: Option<f64>,
    /// How long the last trial at the rate was, in seconds.
    pub confirmed_s: f64,
    /// The greatest rate of the generator, where it did not reach what it was told.
    pub generator_max: Option<f64>,
}

/// Bisects for the highest rate without loss and confirms it with a long trial; a rate that is not confirmed is lost
/// ground, and the bisection goes on below it (section 26.1).
///
/// # Errors
/// A setting is out of its range; the least rate loses packets; or the trial says that there is no going on.
pub fn throughput(settings: &Settings, trial: &mut dyn Trial) -> Result<Throughput, Failure> {
    settings.check()?;
    let mut bisection = Bisection {
        good: None,
        bad: None,
        step: settings.rate_max * settings.resolution,
        width: settings.rate_max * settings.resolution,
        denied: false,
    };
    let mut generator_max = None;
    let mut rate = settings.rate_max;
    loop {
        if is_lossless(trial, rate, settings.trial_s, &mut generator_max)? {
            bisection.good = Some(rate);
        } else {
            bisection.refuse(rate, settings)?;
        }
        if let Some(rate) = bisection.answer() {
            let confirmed_s = settings.final_s;
            if is_lossless(trial, rate, confirmed_s, &mut generator_max)? {
                return Ok(Throughput { rate, lost_at: bisection.bad, confirmed_s, generator_max });
            }
            bisection.refuse(rate, settings)?;
            (bisection.good, bisection.denied) = (None, true);
        }
        rate = bisection.next(settings);
    }
}

/// Where the highest rate without loss is between.
struct Bisection {
    good: Option<f64>,
    bad: Option<f64>,
    /// How far below a rate that was not confirmed the next one is; it doubles.
    step: f64,
    width: f64,
    /// Whether a rate was not confirmed: then the answer is near below it, and not anywhere.
    denied: bool,
}

impl Bisection {
    fn refuse(&mut self, rate: f64, settings: &Settings) -> Result<(), Failure> {
        self.bad = Some(rate);
        if rate > settings.rate_min {
            return Ok(());
        }
        Err(Failure::LeastLoad { load: rate.to_string(), what: "packets were lost".to_owned() })
    }

    /// The good rate, when nothing is left between it and the bad one.
    fn answer(&self) -> Option<f64> {
        let good = self.good?;
        self.bad.is_none_or(|bad| bad - good <= self.width).then_some(good)
    }

    fn next(&mut self, settings: &Settings) -> f64 {
        let bad = self.bad.unwrap_or(settings.rate_max);
        let below = match self.good {
            Some(good) => good + (bad - good) / 2.0,
            None if self.denied => {
                let next = bad - self.step;
                self.step *= 2.0;
                next
            }
            None if bad - settings.rate_min > self.width => {
                settings.rate_min + (bad - settings.rate_min) / 2.0
            }
            None => settings.rate_min,
        };
        below.max(settings.rate_min)
    }
}

/// Whether a trial lost nothing. A rate beyond the generator counts as bad, and is noted.
fn is_lossless(
    trial: &mut dyn Trial,
    per_second: f64,
    duration_s: f64,
    generator_max: &mut Option<f64>,
) -> Result<bool, Failure> {
    let outcome = measure(trial, Offer::Rate { per_second, duration_s })?;
    if outcome.void.is_some() {
        let reached = outcome.offered_per_second().min(per_second);
        *generator_max = Some(generator_max.map_or(reached, |max| max.min(reached)));
        return Ok(false);
    }
    Ok(outcome.completed >= outcome.offered)
}

/// How long packets take at a rate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LatencyFound {
    /// The rate, in packets a second.
    pub rate: f64,
    /// The trials' means, in nanoseconds: their median and its interval.
    pub mean_ns: Summary,
    /// Of all packets of all trials: the median.
    pub p50_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1,000.
    pub p999_ns: u64,
    /// The longest, to the width of a bucket.
    pub max_ns: u64,
    /// How many packets were timed.
    pub timed: u64,
}

/// Measures the latency at a rate several times (section 26.2). Every packet is timed, not one in a minute.
///
/// # Errors
/// A setting is out of its range; the trials are void or time nothing; or the trial says that there is no going on.
pub fn latency(
    settings: &Settings,
    rate: f64,
    trial: &mut dyn Trial,
) -> Result<LatencyFound, Failure> {
    settings.check()?;
    let mut found: Vec<Latency> = Vec::new();
    for _ in 0..settings.latency_trials {
        let offer = Offer::Rate { per_second: rate, duration_s: settings.latency_s };
        let outcome = measure(trial, offer)?;
        found.extend(outcome.latency.filter(|_| outcome.void.is_none()));
    }
    let means: Vec<f64> = found.iter().map(|latency| latency.mean_ns).collect();
    let (Some(mean_ns), Some(joined)) = (Summary::of(&means), Joined::of(found.iter())) else {
        let what = "no trial timed a packet".to_owned();
        return Err(Failure::LeastLoad { load: rate.to_string(), what });
    };
    Ok(LatencyFound {
        rate,
        mean_ns,
        p50_ns: joined.quantile_ns(0.5),
        p99_ns: joined.quantile_ns(0.99),
        p999_ns: joined.quantile_ns(0.999),
        max_ns: joined.quantile_ns(1.0),
        timed: joined.count,
    })
}

/// What is lost at one rate of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// The rate, in packets a second.
    pub rate: f64,
    /// The share that was lost; `None`: the generator did not reach the rate.
    pub loss_ratio: Option<f64>,
}

/// The loss at 100 % of the greatest rate, 90 %, and so on, until two rates in a row lose nothing (section 26.3).
///
/// # Errors
/// A setting is out of its range, or the trial says that there is no going on.
pub fn loss_curve(settings: &Settings, trial: &mut dyn Trial) -> Result<Vec<CurvePoint>, Failure> {
    settings.check()?;
    let mut curve: Vec<CurvePoint> = Vec::new();
    for tenths in (1..=10).rev() {
        let rate = settings.rate_max * f64::from(tenths) / 10.0;
        let outcome =
            measure(trial, Offer::Rate { per_second: rate, duration_s: settings.trial_s })?;
        let loss_ratio = outcome.void.is_none().then(|| outcome.loss_ratio());
        curve.push(CurvePoint { rate, loss_ratio });
        let clean = |point: &CurvePoint| point.loss_ratio == Some(0.0);
        if curve.len() > 1 && curve[curve.len() - 2..].iter().all(clean) {
            break;
        }
    }
    Ok(curve)
}

/// The longest burst without loss, and what it says of the box's memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackToBack {
    /// Frames of the longest burst of which nothing was lost: median and interval of the repeats.
    pub frames: Summary,
    /// Whether even the longest burst that was tried came through: then the box has at least so much.
    pub at_maximum: bool,
    /// How long the box can take frames at line rate, in seconds.
    pub buffer_s: f64,
    /// The same without what it forwarded meanwhile (RFC 9004 section 6.4).
    pub corrected_buffer_s: f64,
}

/// Bisects for the longest burst without loss, several times (RFC 9004 section 5). `throughput` is the box's, in
/// packets a second, `line_rate` that of the burst.
///
/// # Errors
/// A setting is out of its range, or the trial says that there is no going on.
pub fn back_to_back(
    settings: &Settings,
    throughput: f64,
    line_rate: f64,
    trial: &mut dyn Trial,
) -> Result<BackToBack, Failure> {
    settings.check()?;
    check("line rate", line_rate, 1.0..=1e12, "1 to 10^12 packets a second")?;
    let mut lengths = Vec::new();
    let mut at_maximum = true;
    for _ in 0..settings.burst_trials {
        let frames = longest_burst(settings.burst_max, trial)?;
        at_maximum &= frames == settings.burst_max;
        lengths.push(crate::report::figures::count(frames));
    }
    let Some(frames) = Summary::of(&lengths) else {
        return Err(Failure::Setting {
            what: "burst trials",
            value: "0".to_owned(),
            allowed: "1 to 10000",
        });
    };
    let buffer_s = frames.median / line_rate;
    let corrected_buffer_s = buffer_s - buffer_s * (throughput / line_rate).min(1.0);
    Ok(BackToBack { frames, at_maximum, buffer_s, corrected_buffer_s })
}

/// 0 if even one frame is lost.
fn longest_burst(most: u64, trial: &mut dyn Trial) -> Result<u64, Failure> {
    let mut passes = |frames: u64| -> Result<bool, Failure> {
        let outcome = measure(trial, Offer::Burst { frames })?;
        Ok(outcome.void.is_none() && outcome.completed >= outcome.offered)
    };
    if passes(most)? {
        return Ok(most);
    }
    let (mut good, mut bad) = (0, most);
    while bad - good > 1 {
        let frames = good + (bad - good) / 2;
        if passes(frames)? { good = frames } else { bad = frames }
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Device;
    use super::super::{Outcome, Trial};
    use super::*;
    use crate::report::sample;

    fn settings() -> Settings {
        Settings { burst_trials: 5, latency_trials: 6, burst_max: 100_000, ..Settings::default() }
    }

    #[test]
    fn the_throughput_of_an_exact_box_is_found() {
        for capacity in [1_500.0, 123_456.0, 800_000.0] {
            let mut device = Device::exact(capacity);
            let found = throughput(&settings(), &mut device).unwrap();
            assert!(
                found.rate <= capacity + 1.0 && found.rate > capacity - 5_001.0,
                "{found:?} {capacity}"
            );
            assert!(found.lost_at.unwrap() - found.rate <= 5_000.0);
            let last = device.offers.last().unwrap();
            assert_eq!(*last, Offer::Rate { per_second: found.rate, duration_s: 60.0 });
        }
    }

    #[test]
    fn what_limits_the_throughput_is_told() {
        let beyond = throughput(&settings(), &mut Device::exact(5e6)).unwrap();
        assert_eq!((beyond.rate, beyond.lost_at, beyond.generator_max), (1e6, None, None));
        let slow =
            throughput(&settings(), &mut Device { generator: 3e5, ..Device::exact(5e6) }).unwrap();
        assert!(
            slow.rate > 295_000.0 && slow.rate <= 3e5 && slow.generator_max == Some(3e5),
            "{slow:?}"
        );
        let error = throughput(&settings(), &mut Device::exact(10.0)).unwrap_err().to_string();
        assert_eq!(error, "at the least load, 1000, packets were lost");
    }

    /// Loses a packet in every trial longer than 10 s above a rate.
    struct Tiring(f64);

    impl Trial for Tiring {
        fn measure(&mut self, offer: Offer) -> Result<Outcome, Failure> {
            let mut device = Device::exact(5e5);
            let mut outcome = device.measure(offer)?;
            if let Offer::Rate { per_second, duration_s } = offer
                && duration_s > 10.0
                && per_second > self.0
            {
                outcome.completed -= 1;
            }
            outcome.latency = Some(sample::latency(10_000));
            Ok(outcome)
        }
    }

    #[test]
    fn a_rate_that_is_not_confirmed_is_no_throughput() {
        let found = throughput(&settings(), &mut Tiring(200_000.0)).unwrap();
        assert!(found.rate <= 200_000.0 && found.rate > 190_000.0, "{found:?}");
        let error = throughput(&settings(), &mut Tiring(10.0)).unwrap_err().to_string();
        assert_eq!(error, "at the least load, 1000, packets were lost");
    }

    #[test]
    fn latency_is_of_all_packets() {
        let found = latency(&settings(), 1e4, &mut Tiring(1e6)).unwrap();
        assert_eq!(
            (found.timed, found.p50_ns, found.p99_ns, found.max_ns),
            (60_000, 10_000, 30_000, 500_000)
        );
        assert_eq!((found.mean_ns.values, found.mean_ns.median), (6, 11_000.0));
        let error = latency(&settings(), 1e4, &mut Device::exact(1e6)).unwrap_err().to_string();
        assert!(error.ends_with("no trial timed a packet"), "{error}");
    }

    #[test]
    fn the_curve_ends_after_two_clean_rates() {
        let curve = loss_curve(&settings(), &mut Device::exact(700_000.0)).unwrap();
        let expected = [(1e6, 0.3), (9e5, 2.0 / 9.0), (8e5, 0.125), (7e5, 0.0), (6e5, 0.0)];
        assert_eq!(curve.len(), expected.len());
        for (point, (rate, loss)) in curve.iter().zip(expected) {
            assert!(
                point.rate == rate && (point.loss_ratio.unwrap() - loss).abs() < 1e-6,
                "{point:?}"
            );
        }
        let slow =
            loss_curve(&settings(), &mut Device { generator: 5e5, ..Device::exact(1e7) }).unwrap();
        assert_eq!((slow.len(), slow[0].loss_ratio), (7, None));
    }

    #[test]
    fn the_burst_shows_the_queue() {
        let mut device = Device { queue: 1_000, generator: 1e6, ..Device::exact(200_000.0) };
        let found = back_to_back(&settings(), 200_000.0, 1e6, &mut device).unwrap();
        // A fifth leaves while the burst comes: 1,250 fill the queue of 1,000.
        assert!((found.frames.median - 1_250.0).abs() <= 1.0, "{found:?}");
        assert!((found.corrected_buffer_s - 0.001).abs() < 2e-6, "{found:?}");
        assert!(!found.at_maximum);
        let deep = back_to_back(
            &settings(),
            1e6,
            1e6,
            &mut Device { queue: 1 << 40, ..Device::exact(1e6) },
        )
        .unwrap();
        assert!(deep.at_maximum && deep.frames.median == 100_000.0);
    }
}
