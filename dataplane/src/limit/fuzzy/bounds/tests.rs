use proptest::prelude::*;

use super::super::keyed::Asked;
use super::super::tests::module::{self, fuzzy_mt};
use super::super::tests::{CURVE, Noise, SEED, START_NS, limits, passed, phase};
use super::super::{Controller, Limits, Window, passes};
use super::*;
use crate::limit::cells::Cells;
use crate::limit::jiffies;

/// The controller of one key, which knows no time but that between its packets.
struct OneKey {
    window: Window,
    bounds: Bounds,
    before: u64,
}

impl OneKey {
    fn new(limits: Limits) -> Self {
        Self { window: Window::new(), bounds: Bounds::new(limits), before: 0 }
    }

    fn count(&mut self, now: u64) -> Asked {
        let since = u32::try_from(now - self.before).unwrap_or(u32::MAX);
        self.before = now;
        self.window.count(&self.bounds, (since, now), || false)
    }

    fn accepts(&mut self, now: u64, byte: u8) -> bool {
        match self.count(now) {
            Asked::Share(share) => passes(share, || byte),
            Asked::Held(passes) => passes,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_window_that_is_not_full_says_the_modules_share(
        limits in limits(),
        start in START_NS..2 * START_NS,
        phases in prop::collection::vec(phase(), 1..12),
    ) {
        let (mut ours, mut theirs) =
            (OneKey::new(limits), module::Info::new(limits.lower_pps, limits.upper_pps));
        let cells = Cells::new(limits, 7);
        let (bounds, mut number, mut ended) = (Bounds::new(limits), 0_u32, 0);
        let gaps = phases.iter().flat_map(|(packets, gap)| std::iter::repeat_n(*gap, *packets));
        let mut now_ns = start;
        for gap in gaps {
            now_ns += gap;
            let now = jiffies(now_ns);
            fuzzy_mt(&mut theirs, now, &mut || 0);
            if now - ended > WINDOW_JIFFIES {
                (number, ended) = (0, now);
            } else {
                number += 1;
            }
            let share = u32::from(theirs.acceptance_rate);
            let asked = ours.count(now);
            let by_cells = cells.accepts(cells.find(9), now, || 128);
            if share > FLOOR_PERCENT && number < bounds.window_packets() {
                prop_assert_eq!(asked, Asked::Share(share));
                prop_assert_eq!(by_cells, passes(share, || 128));
            } else {
                prop_assert_eq!(asked, Asked::Held(by_cells), "both hold it alike");
            }
        }
    }

    #[test]
    fn of_any_flood_no_more_passes_than_a_window_and_the_floor(
        limits in limits(), start in START_NS..2 * START_NS, per_tick in 1_u64..100,
    ) {
        let (mut ours, cells, start) = (OneKey::new(limits), Cells::new(limits, 7), jiffies(start));
        let (bounds, seconds) = (Bounds::new(limits), 2);
        let mut passed = [0_u64; 2];
        for now in start..start + seconds * HZ {
            for _ in 0..per_tick {
                passed[0] += u64::from(ours.accepts(now, 0));
                passed[1] += u64::from(cells.accepts(cells.find(9), now, || 0));
            }
        }
        prop_assert_eq!(passed[0], passed[1]);
        let is_flood = per_tick * HZ >= u64::from(limits.upper_pps);
        if is_flood {
            // Two windows: where it is near the limit the first may not be full.
            let least = (seconds - 1) * u64::from(bounds.floor_pps());
            let most = u64::from(bounds.window_packets()) + (seconds + 1) * u64::from(bounds.floor_pps()) + 1;
            prop_assert!((least..=most).contains(&passed[0]), "{} of {least} to {most}", passed[0]);
        }
    }
}

/// What passes in each of the first windows of 400,000 packets a second, 26 ticks each.
fn first_windows(mut accepts: impl FnMut(u64) -> bool) -> Vec<u32> {
    let begin = 1_000_000;
    (0..30)
        .map(|window| {
            let ticks = begin + window * WINDOW_TICKS..begin + (window + 1) * WINDOW_TICKS;
            let packets = ticks.flat_map(|tick| std::iter::repeat_n(tick, 400_000 / 250));
            packets.map(|tick| u32::from(accepts(tick))).sum()
        })
        .collect()
}

#[test]
fn of_a_fast_flood_a_window_at_the_limit_passes_and_then_a_hundredth_of_the_limit() {
    // What a window at the limit holds; then as many as windows begin and seconds end, 10 and 1 a second.
    let expected = |full: u32, due: fn(u64) -> bool| -> Vec<u32> {
        let floor = (0..30).map(|window| 1_000_000 + window * WINDOW_TICKS);
        let due =
            floor.map(|began| (began + 1..=began + WINDOW_TICKS).filter(|tick| due(*tick)).count());
        let mut due: Vec<u32> = due.map(|n| u32::try_from(n).expect("few")).collect();
        due[0] += full;
        due
    };
    let seed = expected(104, |tick| tick % 25 == 0);
    assert_eq!(seed[..6], [105, 1, 1, 1, 1, 1]);
    assert_eq!(seed.iter().sum::<u32>(), 104 + 31, "3.12 seconds");
    let slow = Limits { lower_pps: 20, upper_pps: 100 };
    let browser = expected(16, |tick| tick % 250 == 0);
    assert_eq!(browser.iter().sum::<u32>(), 16 + 3);
    for (limits, expected) in [(SEED, seed), (slow, browser)] {
        let (mut key, cells) = (OneKey::new(limits), Cells::new(limits, 7));
        assert_eq!(first_windows(|now| key.accepts(now, 0)), expected);
        assert_eq!(first_windows(|now| cells.accepts(cells.find(9), now, || 0)), expected);
    }
    // The module, with the luck of never drawing what passes at its floor, and with that of always.
    let controller = Controller::new(SEED);
    let module = first_windows(|now| controller.accepts(now, || 255));
    assert_eq!((module[0], module[1]), (41_600, 0));
}

#[test]
fn workers_share_what_is_due() {
    let cells = Cells::new(SEED, 7);
    let worker = || {
        let packets = (1_000_000..1_000_026_u64).flat_map(|tick| std::iter::repeat_n(tick, 4000));
        packets.filter(|tick| cells.accepts(cells.find(9), *tick, || 0)).count()
    };
    let passed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().expect("it counts")).sum()
    });
    assert_eq!(passed, 105);
}

#[test]
fn below_the_upper_limit_the_curve_is_the_modules_and_at_it_both_agree() {
    for (rate, _, _) in CURVE.into_iter().filter(|(rate, ..)| *rate <= 1001.0) {
        for poisson in [false, true] {
            let share = |accepts: &mut dyn FnMut(u64, u8) -> bool| {
                let mut noise = Noise(0xf10d);
                let gap_ns = || if poisson { -noise.fraction().ln() } else { 1.0 } * 1e9 / rate;
                passed(accepts, gap_ns)
            };
            let (mut key, cells) = (OneKey::new(SEED), Cells::new(SEED, 7));
            let controller = Controller::new(SEED);
            let module = share(&mut |now, byte| controller.accepts(now, || byte));
            let one = share(&mut |now, byte| key.accepts(now, byte));
            let of_cells = share(&mut |now, byte| cells.accepts(cells.find(9), now, || byte));
            let what =
                format!("{rate} a second, Poisson {poisson}: {one:.4}, {of_cells:.4}, {module:.4}");
            assert!((one - module).abs() < 0.02 && (of_cells - module).abs() < 0.02, "{what}");
        }
    }
}

/// Whoever stays below the lower limit is thinned by chance alone, as by the module: never by a window that is full.
#[test]
fn nobody_below_the_lower_limit_is_held() {
    for (lower_pps, upper_pps) in [(3, 10), (20, 100), (100, 400), (100, 1000), (1000, 2000)] {
        let limits = Limits { lower_pps, upper_pps };
        for (poisson, share) in [(false, 1.0), (true, 0.9)] {
            let (mut key, controller) = (OneKey::new(limits), Controller::new(limits));
            let (mut noise, rate) = (Noise(0xf10d), f64::from(lower_pps) * share);
            let mut held = 0;
            passed(
                |now, byte| {
                    let module = controller.accepts(now, || byte);
                    let share = controller.read(now).share_percent;
                    let asked = key.count(now);
                    held += u32::from(asked != Asked::Share(share) && share > FLOOR_PERCENT);
                    module
                },
                || if poisson { -noise.fraction().ln() } else { 1.0 } * 1e9 / rate,
            );
            assert_eq!(held, 0, "{limits:?}, Poisson {poisson}: none is that the module lets pass");
        }
    }
}

#[test]
fn what_is_told_of_a_flood_is_told_at_once() {
    let mut key = OneKey::new(SEED);
    let read = |key: &OneKey, since| key.window.read(&key.bounds, since);
    for (more, expected) in [
        (104, Reading { rate_pps: 0, share_percent: 100 }),
        // So much at least, and 10 of 1,000.
        (1, Reading { rate_pps: 1000, share_percent: 1 }),
        (1895, Reading { rate_pps: 19_221, share_percent: 0 }),
    ] {
        (0..more).for_each(|_| _ = key.count(1000));
        assert_eq!(read(&key, 0), expected, "{more} more");
    }
    key.count(1026);
    assert_eq!(read(&key, 0), Reading { rate_pps: 19_230, share_percent: 0 });
    assert_eq!(read(&key, 250), Reading { rate_pps: 0, share_percent: 100 });
    // Four minutes later nothing is left of any window.
    (0..9000).for_each(|_| _ = key.count(1030));
    assert_eq!(read(&key, 70_000), Reading { rate_pps: 32, share_percent: 100 });
    assert_eq!(key.count(71_030), Asked::Share(100));
}

#[test]
fn limits_make_bounds() {
    for (upper_pps, window, floor_pps) in [
        (4, BURST, FLOOR_PPS_MIN),
        (100, BURST, 1),
        (154, 17, 1),
        (1000, 104, 10),
        (10_000_000, 1_040_000, 100_000),
    ] {
        let bounds = Bounds::new(Limits { lower_pps: 3, upper_pps });
        assert_eq!((bounds.window_packets(), bounds.floor_pps()), (window, floor_pps));
        // As many as pass of a flood at the limit.
        let let_through = (u64::from(bounds.acceptance()) * u64::from(upper_pps)) >> 32;
        assert!(let_through + 1 >= floor_pps.into(), "{upper_pps}: {let_through}");
    }
    assert_eq!(Bounds::new(SEED).acceptance(), 3 << 24);
    assert_eq!(Bounds::new(Limits { lower_pps: 3, upper_pps: 4 }).acceptance(), 1 << 30);
}
