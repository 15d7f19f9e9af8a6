//! The control loop: a source before a rule of `-m fuzzy`, with the program in front of it and without.
//!
//! Time is virtual. The control thread has its turns 50 to 70 ms apart, and once it hangs for three seconds. Bounds: of
//! a flood at ten times the limit the share of packets that pass is, in every second, within 0.01 of the module's
//! curve, with the program and without; and half a second after a flood has ended everything passes.

use std::net::IpAddr;

use weir_dataplane::early_drop::{EarlyDrop, Floored, Net, PushDown, Step};
use weir_dataplane::limit::JIFFY_NS;
use weir_dataplane::limit::fuzzy::{Controller, Limits};

use crate::chance::{Chance, Seed};
use crate::frame;
use crate::lists::{NOW_NS, net, set_conditions};
use crate::model::Model;
use crate::spec::{SIZES, condition};

const LIMITS: Limits = Limits { lower_pps: 100, upper_pps: 1_000 };

/// Of 256 random bytes so many pass at a share of 1 %: those up to 255 * 1 / 100.
const FLOOR_OF_256: u32 = 3;

const SECOND_NS: u64 = 1_000_000_000;

/// The rule's state for the source, and the source's for the rule.
struct Rule {
    controller: Controller,
    trusted_until_ns: u64,
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
        let push_down =
            |()| PushDown::new(condition(source), FLOOR_OF_256 << 24, LIMITS.upper_pps, NOW_NS);
        Self {
            model,
            lists,
            push_down: with_program.then_some(()).map(push_down),
            rule: Rule { controller: Controller::new(LIMITS), trusted_until_ns: 0, counted: 0 },
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
            let reading = self.rule.controller.read(at_ns / JIFFY_NS);
            let at_floor = reading.share_percent == 1 && reading.rate_pps >= LIMITS.upper_pps;
            let floored = Floored { source: self.source, rate_pps: reading.rate_pps };
            let floored: Vec<Floored> = at_floor.then_some(floored).into_iter().collect();
            let was = push_down.is_pushed(self.source);
            let mut steps = Vec::new();
            push_down.turn(&mut self.lists, &feedback, &floored, at_ns, &mut steps).expect("maps");
            for step in steps {
                match step {
                    Step::Count(_, dropped) => {
                        self.rule.counted += dropped.packets;
                        self.rule.controller.add(dropped.packets);
                    }
                    Step::Trust(_, until_ns) => self.rule.trusted_until_ns = until_ns,
                    Step::Distrust(_) => self.rule.trusted_until_ns = 0,
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
        let byte = self.chance.byte();
        let trusted = now_ns < self.rule.trusted_until_ns;
        let passes = self.rule.controller.accepts(now_ns / JIFFY_NS, || byte) || trusted;
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

/// The share that passes at a rate, by the module's curve.
fn curve(rate_pps: u64) -> f64 {
    let share = LIMITS.share(u32::try_from(rate_pps).expect("a rate"));
    if share == 100 { 1.0 } else { f64::from(255 * share / 100 + 1) / 256.0 }
}

#[test]
fn a_steady_flood_passes_as_the_module_says_with_the_program_and_without() {
    let seed = crate::seed();
    let _seed = Seed(seed);
    for rate_pps in [50, 90, 500, 1_200, 1_900, 2_100, 3_000, 10_000] {
        for with_program in [false, true] {
            let mut world = World::new(with_program, seed);
            let shares = world.send(NOW_NS, 12 * SECOND_NS, rate_pps, 12);
            for (second, share) in shares.iter().enumerate().skip(1) {
                // Elsewhere fewer packets come in a second: three standard deviations and the curve's steps.
                let bound = if rate_pps >= 10_000 { 0.01 } else { 0.08 };
                let expected = curve(rate_pps);
                let what = format!(
                    "{rate_pps} pps, program {with_program}, second {second}: {share}, not {expected}"
                );
                assert!((share - expected).abs() <= bound, "{what}");
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
    // The flood is as a new one to the rule, which lets it pass for a window.
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
