use super::*;

fn times(schedule: Schedule, count: usize) -> Vec<u64> {
    let mut pace = Pace::new(schedule, 0, 1, 7);
    let mut take = || {
        let due = pace.due_ns();
        pace.advance();
        due
    };
    (0..count).map(|_| take()).collect()
}

fn piece(lasts_ns: u64, from_pps: f64, to_pps: f64) -> Piece {
    Piece { lasts_ns, from_pps, to_pps }
}

#[test]
fn a_constant_rate_is_even_and_exact_for_a_day() {
    assert_eq!(times(Schedule::constant(4.0), 4), [0, 250_000_000, 500_000_000, 750_000_000]);
    assert_eq!(times(Schedule::constant(0.5), 2), [0, 2 * SECOND_NS]);
    let curve = Curve::constant(1e9);
    assert_eq!(curve.time_ns(86_400 * SECOND_NS), Some(86_400 * SECOND_NS));
    let curve = Curve::constant(999_983.0);
    assert_eq!(curve.time_ns(999_983 * 3600), Some(3600 * SECOND_NS));
    assert_eq!(Schedule::constant(100.0).mean_pps(10 * SECOND_NS), Some(100.0));
}

#[test]
fn a_ramp_has_the_packets_of_its_area() {
    // From 0 to 1000 a second in 2 s: 1000 packets, three quarters of them in the second half.
    let curve = Curve::new(&[piece(2 * SECOND_NS, 0.0, 1000.0)], false);
    assert_eq!(curve.time_ns(250), Some(SECOND_NS));
    assert_eq!(curve.time_ns(1000), Some(2 * SECOND_NS));
    // Then the last rate stays.
    assert_eq!(curve.time_ns(1500), Some(2 * SECOND_NS + SECOND_NS / 2));
    assert_eq!(Schedule::Curve(curve.clone()).mean_pps(2 * SECOND_NS), Some(500.0));
    assert_eq!(curve.scaled(2.0).time_ns(2000), Some(2 * SECOND_NS));
    // And down to nothing: the last packet is due, and none after.
    let down = Curve::new(&[piece(2 * SECOND_NS, 1000.0, 0.0)], false);
    assert_eq!(down.time_ns(750), Some(SECOND_NS));
    assert_eq!(down.time_ns(1001), None);
}

#[test]
fn steps_follow_each_other() {
    let curve = Curve::new(&[piece(SECOND_NS, 10.0, 10.0), piece(SECOND_NS, 100.0, 100.0)], false);
    let due = [0, 9, 10, 11, 109, 110, 111].map(|n| curve.time_ns(n).unwrap() / 1_000_000);
    assert_eq!(due, [0, 900, 1000, 1010, 1990, 2000, 2010]);
}

#[test]
fn a_pulse_is_silent_between_its_bursts_and_begins_again() {
    let curve = Curve::new(&[piece(SECOND_NS / 10, 50.0, 50.0), piece(SECOND_NS, 0.0, 0.0)], true);
    let due = times(Schedule::Curve(curve), 11).iter().map(|ns| ns / 1_000_000).collect::<Vec<_>>();
    assert_eq!(due, [0, 20, 40, 60, 80, 1100, 1120, 1140, 1160, 1180, 2200]);
}

#[test]
fn a_poisson_process_has_its_rate_and_its_spread() {
    let due = times(Schedule::Poisson(1000.0), 100_001);
    let gaps: Vec<f64> = due.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e6).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    // Exponential: mean and standard deviation are the same, 1 ms. The seed is fixed, so this cannot waver.
    assert!((0.99..1.01).contains(&mean), "{mean}");
    assert!((0.99..1.01).contains(&variance.sqrt()), "{variance}");
    let median = due.windows(2).filter(|pair| pair[1] - pair[0] < 693_147).count();
    assert!((49_500..50_500).contains(&median), "{median}");
    assert_ne!(due, times(Schedule::Poisson(1000.0), 100_001).split_off(1), "it moves");
    assert_eq!(due, times(Schedule::Poisson(1000.0), 100_001), "the seed decides");
}

#[test]
fn lanes_share_a_schedule_without_gap_or_overlap() {
    let whole = times(Schedule::constant(1000.0), 30);
    let mut shared: Vec<u64> = (0..3)
        .flat_map(|lane| {
            let mut pace = Pace::new(Schedule::constant(1000.0), lane, 3, 7);
            (0..10).map(move |_| {
                let due = pace.due_ns();
                pace.advance();
                due
            })
        })
        .collect();
    shared.sort_unstable();
    assert_eq!(shared, whole);
}

#[test]
fn what_was_recorded_comes_again_each_round() {
    let schedule = Schedule::Recorded { due_ns: [0, 5, 9].into(), round_ns: 20 };
    assert_eq!(times(schedule.clone(), 7), [0, 5, 9, 20, 25, 29, 40]);
    assert_eq!(times(schedule.scaled(0.5), 4), [0, 10, 18, 40]);
    assert_eq!(schedule.mean_pps(2 * SECOND_NS), Some(0.15 * 1e9));
}

#[test]
fn a_flood_is_always_due() {
    assert_eq!(times(Schedule::Flood, 3), [0, 0, 0]);
    assert_eq!(Schedule::Flood.mean_pps(1), None);
}
