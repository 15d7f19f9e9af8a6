//! The control loop: a source before a rule of `-m fuzzy`, with the program in front of it and without.
//!
//! Time is virtual. The control thread has its turns 50 to 70 ms apart, and once it hangs for three seconds. Bounds: of
//! a flood above the limit never more packets pass in a second than are due, and hardly fewer, with the program and
//! without; below it the share is within 0.08 of the module's curve; and half a second after a flood has ended
//! everything passes.

use std::net::{IpAddr, Ipv4Addr};

use weir_control::rule::{Family, FuzzyKeys, FuzzyMatch, KeyParts};
use weir_dataplane::early_drop::{EarlyDrop, Floored, Net, PushDown, Step};
use weir_dataplane::limit::JIFFY_NS;
use weir_dataplane::limit::fuzzy::{Controllers, Limits};

use crate::chance::{Chance, Seed};
use crate::frame;
use crate::lists::{NOW_NS, net, set_conditions};
use crate::model::Model;
use crate::spec::{SIZES, condition};

const LIMITS: Limits = Limits { lower_pps: 100, upper_pps: 1_000 };

/// Of a flood so many packets pass in a second, however fast it is.
const FLOOR_PPS: f64 = 10.0;

const SECOND_NS: u64 = 1_000_000_000;

/// The rule's state for the source, and the source's for the rule.
struct Rule {
    controllers: Controllers,
    /// What the rule has dropped, wherever.
    counted: u64,
}

struct World {
    model: Model,
    lists: EarlyDrop<Model>,
    push_down: Option<PushDown>,
    rule: Rule,
    chance: Chance,
    source: Net,
    frame: Vec<u8>,
    next_turn_ns: u64,
    /// How often the source was pushed.
    pushed: u32,
    dropped_all: u64,
}

impl World {
    fn new(with_program: bool, seed: u64) -> Self {
        let model = Model::new(SIZES);
        let mut lists = EarlyDrop::new(model.clone(), SIZES);
        set_conditions(&mut lists);
        let source = net("198.51.100.7");
        let Limits { lower_pps, upper_pps } = LIMITS;
        let asked = FuzzyMatch { lower_pps, upper_pps, ..FuzzyMatch::default() };
        let parts = KeyParts { source: true, ..KeyParts::default() };
        let keys = FuzzyKeys { parts, ..FuzzyKeys::default() };
        let controllers = Controllers::new(&asked, &keys, Family::V4, seed);
        let acceptance = controllers.bounds().acceptance();
        let push_down = |()| PushDown::new(condition(source), acceptance, upper_pps, NOW_NS);
        Self {
            model,
            lists,
            push_down: with_program.then_some(()).map(push_down),
            rule: Rule { controllers, counted: 0 },
            chance: Chance::new(seed),
            source,
            frame: frame::from(source.address()),
            next_turn_ns: NOW_NS,
            pushed: 0,
            dropped_all: 0,
        }
    }

    /// The control thread's work up to a time.
    fn turn(&mut self, now_ns: u64) {
        let Some(push_down) = &mut self.push_down else { return };
        while self.next_turn_ns <= now_ns {
            let at_ns = self.next_turn_ns;
            self.lists.tick(at_ns).expect("maps");
            let feedback = self.lists.feedback(at_ns).expect("maps");
            let (controllers, now) = (&self.rule.controllers, at_ns / JIFFY_NS);
            let floored = controllers.floored(now).into_iter();
            let floored =
                floored.map(|(address, rate_pps)| Floored { source: Net::host(address), rate_pps });
            let floored: Vec<Floored> = floored.collect();
            let was = push_down.is_pushed(self.source);
            let mut steps = Vec::new();
            push_down.turn(&mut self.lists, &feedback, &floored, at_ns, &mut steps).expect("maps");
            for step in steps {
                match step {
                    Step::Count(source, dropped) => {
                        self.rule.counted += dropped.packets;
                        controllers.add(source.address(), dropped.packets, now);
                    }
                    Step::Trust(source, until_ns) => {
                        controllers.trust(source.address(), Some(until_ns / JIFFY_NS), now);
                    }
                    Step::Distrust(source) => controllers.trust(source.address(), None, now),
                }
            }
            self.pushed += u32::from(push_down.is_pushed(self.source) && !was);
            let pause_ms = 50 + self.chance.below(20) as u64;
            self.next_turn_ns += pause_ms * 1_000_000;
        }
    }

    /// A packet; whether it passes.
    fn packet(&mut self, now_ns: u64) -> bool {
        let source: IpAddr = self.source.address();
        let dice = u32::try_from(self.chance.draw() >> 32).expect("32 bits");
        if self.model.drops(source, &self.frame, now_ns, dice) {
            self.dropped_all += 1;
            return false;
        }
        let (byte, now) = (self.chance.byte(), now_ns / JIFFY_NS);
        let IpAddr::V4(address) = source else { unreachable!("the source is of IPv4") };
        let controllers = &self.rule.controllers;
        let key = controllers.spec().v4((address, Ipv4Addr::UNSPECIFIED), (0, 0));
        let passes = controllers.accepts4(key, now, || true, || byte);
        self.rule.counted += u64::from(!passes);
        self.dropped_all += u64::from(!passes);
        passes
    }

    /// Sends for a time at a rate; the share that passes in each of its parts.
    fn send(&mut self, from_ns: u64, duration_ns: u64, rate_pps: u64, parts: u64) -> Vec<f64> {
        let mut passed = vec![(0_u32, 0_u32); usize::try_from(parts).expect("few")];
        for number in 0..duration_ns * rate_pps / SECOND_NS {
            let at_ns = number * SECOND_NS / rate_pps;
            let now_ns = from_ns + at_ns;
            self.turn(now_ns);
            let part = &mut passed[usize::try_from(at_ns * parts / duration_ns).expect("few")];
            part.0 += u32::from(self.packet(now_ns));
            part.1 += 1;
        }
        passed.into_iter().map(|(passed, all)| f64::from(passed) / f64::from(all)).collect()
    }

    /// Takes in what is still owed, and compares what the rule has counted with what was dropped.
    fn assert_counted(&mut self, now_ns: u64) {
        self.turn(now_ns + SECOND_NS);
        assert_eq!(self.rule.counted, self.dropped_all, "every packet that was dropped is counted");
    }
}

/// The share that passes at a rate: by the module's curve, and above its end by packets.
fn curve(rate_pps: u64) -> f64 {
    let share = LIMITS.share(u32::try_from(rate_pps).expect("a rate"));
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    match share {
        100 => 1.0,
        0 | 1 => FLOOR_PPS / rate_pps as f64,
        _ => f64::from(255 * share / 100 + 1) / 256.0,
    }
}

#[test]
fn a_steady_flood_passes_as_the_module_says_with_the_program_and_without() {
    let seed = crate::seed();
    let _seed = Seed(seed);
    for rate_pps in [50, 90, 500, 1_200, 1_900, 2_100, 3_000, 10_000, 30_000] {
        for with_program in [false, true] {
            let mut world = World::new(with_program, seed);
            let shares = world.send(NOW_NS, 12 * SECOND_NS, rate_pps, 12);
            for (second, share) in shares.iter().enumerate().skip(1) {
                let expected = curve(rate_pps);
                let what = format!(
                    "{rate_pps} pps, program {with_program}, second {second}: {share}, not {expected}"
                );
                if rate_pps < LIMITS.upper_pps.into() {
                    // Three standard deviations and the curve's steps.
                    assert!((share - expected).abs() <= 0.08, "{what}");
                    continue;
                }
                // Never more than are due; and of what the program lets through so little may come that a window is
                // long, or has none.
                let passed = share * rate_pps as f64;
                let least = if with_program { 0.4 } else { 0.9 } * FLOOR_PPS;
                assert!((least..=FLOOR_PPS + 1.0).contains(&passed.round()), "{what}");
            }
            let pushes = u32::from(with_program && rate_pps > 2_000);
            assert_eq!(world.pushed, pushes, "{rate_pps} pps, program {with_program}: it swings");
            world.assert_counted(NOW_NS + 12 * SECOND_NS);
        }
    }
}

#[test]
fn when_the_control_thread_hangs_the_rule_goes_on_by_itself() {
    let seed = crate::seed();
    let _seed = Seed(seed);
    let mut world = World::new(true, seed);
    world.send(NOW_NS, 3 * SECOND_NS, 10_000, 1);
    assert_eq!(world.pushed, 1);
    // Longer than an entry lasts: it ends, trust before it, and the rule throws by itself.
    world.next_turn_ns = NOW_NS + 6 * SECOND_NS;
    let shares = world.send(NOW_NS + 3 * SECOND_NS, 6 * SECOND_NS, 10_000, 60);
    // The flood is as a new one to the rule, which lets a window at its limit pass, a tenth of what comes in one.
    let open: Vec<usize> = (0..60).filter(|tenth| shares[*tenth] > 0.05).collect();
    assert!(
        (1..=2).contains(&open.len()) && open.iter().all(|tenth| (10..=21).contains(tenth)),
        "{open:?}"
    );
    world.assert_counted(NOW_NS + 9 * SECOND_NS);
}

#[test]
fn half_a_second_after_a_pulse_everything_passes() {
    let seed = crate::seed();
    let _seed = Seed(seed);
    let mut world = World::new(true, seed);
    for round in 0..4 {
        let from_ns = NOW_NS + round * 6 * SECOND_NS;
        let flood = world.send(from_ns, 3 * SECOND_NS, 10_000, 3);
        assert!(flood[2] <= 0.03, "round {round}: {flood:?}");
        let after = world.send(from_ns + 3 * SECOND_NS, 3 * SECOND_NS, 50, 6);
        assert_eq!(after[1..], [1.0; 5], "round {round}");
    }
    assert_eq!(world.pushed, 4);
    world.assert_counted(NOW_NS + 24 * SECOND_NS);
}
