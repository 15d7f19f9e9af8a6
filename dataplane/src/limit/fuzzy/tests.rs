use proptest::prelude::*;

use super::*;
use crate::limit::{JIFFY_NS, jiffies};

/// The module as it is, with the sizes of its numbers: what it keeps, and one packet.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as in the module")]
pub(super) mod module {
    pub(in crate::limit) struct Info {
        pub(in crate::limit) minimum_rate: u32,
        pub(in crate::limit) maximum_rate: u32,
        packets_total: u32,
        previous_time: u64,
        present_time: u64,
        pub(in crate::limit) mean_rate: u32,
        pub(in crate::limit) acceptance_rate: u8,
    }

    impl Info {
        pub(in crate::limit) fn new(minimum_rate: u32, maximum_rate: u32) -> Self {
            Self {
                minimum_rate,
                maximum_rate,
                packets_total: 0,
                previous_time: 0,
                present_time: 0,
                mean_rate: 0,
                acceptance_rate: 0,
            }
        }
    }

    const HZ: u64 = 250;

    fn mf_high(tx: u32, mini: u32, maxi: u32) -> u8 {
        if tx >= maxi {
            return 100;
        }
        if tx <= mini {
            return 0;
        }
        (100_u32.wrapping_mul(tx - mini) / (maxi - mini)) as u8
    }

    fn mf_low(tx: u32, mini: u32, maxi: u32) -> u8 {
        if tx <= mini {
            return 100;
        }
        if tx >= maxi {
            return 0;
        }
        (100_u32.wrapping_mul(maxi - tx) / (maxi - mini)) as u8
    }

    /// So many packets have come meanwhile.
    pub(in crate::limit) fn arrived(info: &mut Info, packets: u64) {
        info.packets_total = info.packets_total.wrapping_add(packets as u32);
    }

    /// Whether it matches.
    pub(in crate::limit) fn fuzzy_mt(
        info: &mut Info,
        jiffies: u64,
        get_random_byte: &mut dyn FnMut() -> u8,
    ) -> bool {
        info.packets_total = info.packets_total.wrapping_add(1);
        info.present_time = jiffies;
        let amount = if info.present_time >= info.previous_time {
            info.present_time - info.previous_time
        } else {
            info.previous_time = info.present_time;
            info.packets_total = 0;
            0
        };
        if amount > HZ / 10 {
            info.mean_rate = (HZ * u64::from(info.packets_total) / amount) as u32;
            info.previous_time = info.present_time;
            info.packets_total = 0;
            let how_high = mf_high(info.mean_rate, info.minimum_rate, info.maximum_rate);
            let how_low = mf_low(info.mean_rate, info.minimum_rate, info.maximum_rate);
            info.acceptance_rate = (i32::from(how_high) / 100 + i32::from(how_low)) as u8;
        }
        if info.acceptance_rate < 100 {
            let random_number = get_random_byte();
            return i32::from(random_number) > 255 * i32::from(info.acceptance_rate) / 100;
        }
        false
    }
}

/// Bytes in order, and how many were asked for.
struct Bytes(Vec<u8>, usize);

impl Bytes {
    fn next(&mut self) -> u8 {
        self.1 += 1;
        self.0[(self.1 - 1) % self.0.len()]
    }
}

/// Both are asked about packets at these times.
fn assert_same(limits: Limits, bytes: &[u8], arrivals_ns: impl IntoIterator<Item = u64>) {
    let controller = Controller::new(limits);
    let mut module = module::Info::new(limits.lower_pps, limits.upper_pps);
    let (mut ours, mut theirs) = (Bytes(bytes.to_vec(), 0), Bytes(bytes.to_vec(), 0));
    for (packet, at_ns) in arrivals_ns.into_iter().enumerate() {
        let now = jiffies(at_ns);
        let accepted = controller.accepts(now, || ours.next());
        let matched = module::fuzzy_mt(&mut module, now, &mut || theirs.next());
        assert_eq!(accepted, !matched, "packet {packet} at {at_ns} ns");
        assert_eq!(ours.1, theirs.1, "bytes drawn by packet {packet}");
        let reading = controller.read(now);
        let expected = (module.mean_rate, u32::from(module.acceptance_rate));
        assert_eq!((reading.rate_pps, reading.share_percent), expected, "packet {packet}");
    }
}

/// A time at which a machine may be up.
pub(super) const START_NS: u64 = 3_600_000_000_000;

pub(super) fn limits() -> impl Strategy<Value = Limits> {
    let both = prop_oneof![
        Just((100, 1000)),
        Just((3, 4)),
        Just((9_999_999, 10_000_000)),
        (3_u32..3000, 1_u32..3000).prop_map(|(lower, more)| (lower, lower + more)),
        (3_u32..9_000_000, 1_u32..1_000_000).prop_map(|(lower, more)| (lower, lower + more)),
    ];
    both.prop_map(|(lower_pps, upper_pps)| Limits { lower_pps, upper_pps })
}

/// So many packets, each so long after the one before.
pub(super) fn phase() -> impl Strategy<Value = (usize, u64)> {
    let gap_ns = prop_oneof![
        4 => 0_u64..50_000,
        4 => 50_000_u64..JIFFY_NS,
        4 => JIFFY_NS..12 * JIFFY_NS,
        2 => 24 * JIFFY_NS..28 * JIFFY_NS,
        1 => 0_u64..90_000_000_000,
    ];
    (1_usize..300, gap_ns)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn it_decides_as_the_module_packet_by_packet(
        limits in limits(),
        bytes in prop::collection::vec(any::<u8>(), 1..100),
        start in START_NS..2 * START_NS,
        phases in prop::collection::vec(phase(), 1..12),
    ) {
        let gaps = phases.iter().flat_map(|(packets, gap)| std::iter::repeat_n(*gap, *packets));
        let times = gaps.scan(start, |now, gap| { *now += gap; Some(*now) });
        assert_same(limits, &bytes, times);
    }

    #[test]
    fn a_share_is_what_the_modules_two_rules_say(limits in limits(), rate in any::<u32>()) {
        for rate in [rate, rate % 10_000_001, limits.lower_pps + rate % 3, limits.upper_pps - rate % 3] {
            let arrivals = u64::from(rate);
            let mut module = module::Info::new(limits.lower_pps, limits.upper_pps);
            // A window of a second in which so many packets came, the last of them at its end.
            module::fuzzy_mt(&mut module, 250_000, &mut || 0);
            module::arrived(&mut module, arrivals.saturating_sub(1));
            module::fuzzy_mt(&mut module, 250_250, &mut || 0);
            if arrivals > 0 {
                prop_assert_eq!(module.mean_rate, rate);
                prop_assert_eq!(u32::from(module.acceptance_rate), limits.share(rate));
            }
        }
    }
}

/// The recording: seconds and packets of a flood that swells, stands, pulses and ends, with packets between. Times are
/// in microseconds.
fn recording() -> impl Iterator<Item = u64> {
    let mut now_us = START_NS / 1000;
    let mut step = 0_u64;
    std::iter::from_fn(move || {
        step += 1;
        now_us += match step {
            0..400 => 20_000 - 45 * step,
            400..2000 => 1000 + (step * 7919) % 137,
            // Pulses: 50 packets at once, then 90 to 109 ms of nothing.
            2000..4000 if step.is_multiple_of(50) => 90_000 + (step * 31) % 20_000,
            2000..4000 => (step * 13) % 40,
            4000..24_000 => 50,
            24_000..24_100 => 103_000 + (step * 97) % 6000,
            24_100..24_200 => 3_000_000,
            _ => return None,
        };
        Some(now_us * 1000)
    })
}

#[test]
fn it_decides_as_the_module_over_the_recorded_flood() {
    let bytes: Vec<u8> = (0..=255_u8).map(|byte| byte.wrapping_mul(167).wrapping_add(41)).collect();
    for (lower_pps, upper_pps) in [(100, 1000), (3, 4), (1000, 2000), (50, 20_000)] {
        assert_same(Limits { lower_pps, upper_pps }, &bytes, recording());
    }
}

/// The share that passes of a minute of packets of which each comes so long after the one before. Who decides is told
/// when a packet comes, and given a byte.
pub(super) fn passed(
    mut accepts: impl FnMut(u64, u8) -> bool,
    mut gap_ns: impl FnMut() -> f64,
) -> f64 {
    let mut bytes = Noise(0x5eed);
    let (mut now_ns, mut packets, mut passed) = (0.0, 0.0, 0.0);
    while now_ns < 60e9 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a minute")]
        let now = jiffies(START_NS + now_ns as u64);
        packets += 1.0;
        if accepts(now, bytes.next().to_be_bytes()[0]) {
            passed += 1.0;
        }
        now_ns += gap_ns();
    }
    passed / packets
}

/// The seed's rule.
pub(super) const SEED: Limits = Limits { lower_pps: 100, upper_pps: 1000 };

fn passed_of_module(gap_ns: impl FnMut() -> f64) -> f64 {
    let controller = Controller::new(SEED);
    passed(|now, byte| controller.accepts(now, || byte), gap_ns)
}

/// Numbers without a pattern.
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0, at most 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    pub(super) fn fraction(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// Rate, and the share that the module lets pass of even and of Poisson arrivals, as simulated apart from this.
pub(super) const CURVE: [(f64, f64, f64); 16] = [
    (50.0, 1.000, 0.999),
    (90.0, 1.000, 0.988),
    (100.0, 0.996, 0.985),
    (110.0, 0.982, 0.976),
    (150.0, 0.941, 0.932),
    (200.0, 0.884, 0.884),
    (325.0, 0.739, 0.746),
    (550.0, 0.499, 0.495),
    (775.0, 0.246, 0.247),
    (900.0, 0.108, 0.121),
    (950.0, 0.055, 0.077),
    (1000.0, 0.014, 0.049),
    (1001.0, 0.014, 0.048),
    (1500.0, 0.013, 0.013),
    (5000.0, 0.0135, 0.013),
    (20_000.0, 0.0134, 0.0135),
];

#[test]
fn what_passes_lies_on_the_modules_curve() {
    for (rate, even, poisson) in CURVE {
        let share = passed_of_module(|| 1e9 / rate);
        assert!((share - even).abs() < 0.02, "{rate} a second: {share:.4} pass, not {even}");
        let mut noise = Noise(0x5eed);
        let share = passed_of_module(|| -noise.fraction().ln() * 1e9 / rate);
        assert!((share - poisson).abs() < 0.05, "{rate} a second: {share:.4} pass, not {poisson}");
        let ideal = 1.0 - 0.99 * ((rate - 100.0) / 900.0).clamp(0.0, 1.0);
        assert!((even - ideal).abs() < 0.02, "the seed's line is the curve");
    }
}

/// One packet of many.
fn flood(controller: &Controller, now: u64) {
    controller.accepts(now, || 255);
}

#[test]
fn workers_count_together() {
    let limits = Limits { lower_pps: 3, upper_pps: 10_000_000 };
    let controller = Controller::new(limits);
    assert!(controller.accepts(1000, || 255), "a window begins");
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let controller = &controller;
            // Clocks differ by a tick.
            scope.spawn(move || (0..50_000).for_each(|_| flood(controller, 999 + worker)));
        }
    });
    controller.accepts(1000 + 250, || 255);
    assert_eq!(controller.read(1250).rate_pps, 150_001);
}

#[test]
fn nothing_is_carried_over_and_silence_is_seen() {
    let limits = Limits { lower_pps: 100, upper_pps: 1000 };
    let full = State { packets: (1 << 27) - 1, began: 77, share: 42 };
    assert_eq!(State::of(full.word()), full);
    assert_eq!(State::of(full.word().wrapping_add(ONE_PACKET)), State { packets: 0, ..full });
    // After a flood, all pass again as soon as the window has come to little enough.
    let controller = Controller::new(limits);
    (0..1000).for_each(|_| flood(&controller, 100));
    controller.accepts(126, || 0);
    assert_eq!(controller.read(126), Reading { rate_pps: 9615, share_percent: 1 });
    (0..500).for_each(|_| flood(&controller, 127));
    assert_eq!(controller.read(126 + 26), Reading { rate_pps: 4807, share_percent: 1 });
    assert_eq!(controller.read(126 + 250), Reading { rate_pps: 500, share_percent: 55 });
    assert_eq!(controller.read(9000), Reading { rate_pps: 14, share_percent: 100 });
}
