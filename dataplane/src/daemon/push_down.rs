//! Rules whose sources the XDP program drops: `PushDowns`, a turn of the control thread at a time.
//!
//! ```text
//!   rules ── eligible? ──► a condition in the program for each       (early_drop::eligible)
//!   its controllers ── who is at the floor ──► PushDown::turn ──► entries in the maps of all ports
//!          ▲                                        │
//!          └── dropped, counted in; trusted or not ◄┴─ what the program has dropped ── the rule's counters
//! ```
//!
//! **Before rules change, whatever the change, all entries are taken back**: no packet is dropped by a rule that is in
//! force no more, nor past one that has come before it. Rules that are eligible under the new ones begin anew, and
//! sources that still flood are pushed again after [`HOT_TURNS`](crate::early_drop::HOT_TURNS) turns, a fifth of a
//! second; meanwhile the workers throw, as they would without. What the program dropped in that moment for a rule
//! that is gone is counted where all is (`early dropped`), and nowhere else.
//!
//! A condition's number rests before another rule gets it, longer than counts of its entries may come
//! ([`REST_NS`]). Rules beyond as many as there are conditions are left to the workers.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use weir_control::protocol::LimitPushed;
use weir_control::rule::Family;
use weir_control::ruleset::RuleId;

use super::early_drop::{SharedLists, now_ns};
use super::rules::{Rules, Side};
use crate::early_drop::{
    CONDITIONS_MAX, Condition, ConditionNumber, Eligible, Feedback, Floored, Net, PushDown, Step,
    eligible,
};
use crate::limit::fuzzy::Controllers;
use crate::limit::jiffies;
use crate::policy::Count;
use crate::route::Forwarding;

/// How long a condition's number rests.
const REST_NS: u64 = 1_000_000_000;

/// For how long a rule's sources are looked through after one has met the floor.
const LOOK_NS: u64 = 1_000_000_000;

/// A rule that pushes its sources down.
#[derive(Debug)]
struct Down {
    family: Family,
    rule: RuleId,
    eligible: Eligible,
    controllers: Arc<Controllers>,
    /// Its condition, and who is pushed, as soon as there is a number.
    pushing: Option<(ConditionNumber, PushDown)>,
    /// Until when its sources are looked through.
    look_until_ns: u64,
}

/// All of them. See the module.
#[derive(Debug)]
pub(super) struct PushDowns {
    lists: Arc<Mutex<SharedLists>>,
    downs: Vec<Down>,
    /// Rules that are not eligible, and why.
    others: Vec<(Arc<Controllers>, String)>,
    /// Which rule a number is of, or was; until when it rests.
    numbers: [(Option<(Family, RuleId)>, u64); CONDITIONS_MAX],
    /// Whether rules may have changed since it was found out which are eligible.
    stale: bool,
}

/// Two clocks at the same moment.
#[derive(Clone, Copy)]
struct Now {
    /// CLOCK_MONOTONIC, that of the program.
    program_ns: u64,
    /// That of the workers.
    worker_ns: u64,
}

impl Now {
    fn read(started: Instant) -> Self {
        let worker_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self { program_ns: now_ns(), worker_ns }
    }

    /// A time of the program as a tick of the workers.
    fn tick(self, program_ns: u64) -> u64 {
        let left_ns = program_ns.saturating_sub(self.program_ns);
        jiffies(self.worker_ns.saturating_add(left_ns))
    }
}

impl PushDowns {
    pub(super) fn new(lists: Arc<Mutex<SharedLists>>) -> Self {
        let (downs, others) = Default::default();
        Self { lists, downs, others, numbers: [(None, 0); CONDITIONS_MAX], stale: true }
    }

    /// What there is to say about the rule with these controllers.
    pub(super) fn told(&self, controllers: &Arc<Controllers>) -> Option<LimitPushed> {
        if let Some(down) = self.downs.iter().find(|it| Arc::ptr_eq(&it.controllers, controllers)) {
            let sources = down.pushing.as_ref().map_or(0, |(_, it)| it.pushed_len() as u64);
            let crowded = self.numbers.iter().all(|(owner, _)| owner.is_some());
            let why_not = (down.pushing.is_none() && crowded).then(|| {
                format!(
                    "{CONDITIONS_MAX} rules have their sources dropped early, and that is the most"
                )
            });
            return Some(LimitPushed { sources, why_not });
        }
        let other = self.others.iter().find(|(it, _)| Arc::ptr_eq(it, controllers));
        other.map(|(_, why_not)| LimitPushed { sources: 0, why_not: Some(why_not.clone()) })
    }

    /// Takes all entries back, before rules change.
    fn withdraw(&mut self, sides: &mut [Side], started: Instant) -> Result<(), String> {
        self.stale = true;
        let lists = Arc::clone(&self.lists);
        let (mut lists, now) = (lock(&lists), Now::read(started));
        let mut failed = Ok(());
        let feedback = match lists.feedback(now.program_ns) {
            Ok(feedback) => feedback,
            Err(error) => {
                failed = Err(error.to_string());
                Feedback::default()
            }
        };
        for down in &mut self.downs {
            let mut steps = Vec::new();
            if let Some((number, push_down)) = &mut down.pushing {
                steps.extend(counts(&feedback, *number));
                if let Err(error) = push_down.withdraw(&mut lists, now.program_ns, &mut steps) {
                    failed = Err(error.to_string());
                }
            }
            down.take(steps, sides, now);
        }
        failed
    }

    /// Finds out anew which rules are eligible.
    fn judge(&mut self, sides: &[Side], now_ns: u64) {
        self.stale = false;
        let mut before = std::mem::take(&mut self.downs);
        self.others.clear();
        for (filter, raw) in [(&sides[0], &sides[2]), (&sides[1], &sides[3])] {
            let family = filter.ruleset.family();
            for (rule, judged) in eligible(&filter.ruleset, &raw.ruleset) {
                let Some(controllers) = filter.compiler.kept().of_rule::<Controllers>(rule) else {
                    continue;
                };
                let eligible = match judged {
                    Ok(eligible) => eligible,
                    Err(why_not) => {
                        self.others.push((controllers, why_not.to_string()));
                        continue;
                    }
                };
                let known = before.iter().position(|it| (it.family, it.rule) == (family, rule));
                let pushing = known.and_then(|at| before.swap_remove(at).pushing);
                let look_until_ns = now_ns + LOOK_NS;
                let down = Down { family, rule, eligible, controllers, pushing, look_until_ns };
                self.downs.push(down);
            }
        }
        for (owner, rests_until_ns) in &mut self.numbers {
            let is_there = |it: &Down| *owner == Some((it.family, it.rule));
            if owner.is_some() && !self.downs.iter().any(is_there) {
                (*owner, *rests_until_ns) = (None, now_ns + REST_NS);
            }
        }
    }

    /// A turn of all rules.
    fn turn(
        &mut self,
        sides: &mut [Side],
        started: Instant,
        forwarding: &Forwarding,
    ) -> Result<(), String> {
        let now = Now::read(started);
        if self.stale {
            self.judge(sides, now.program_ns);
        }
        let lists = Arc::clone(&self.lists);
        let mut lists = lock(&lists);
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let feedback = lists.feedback(now.program_ns).map_err(|error| told(&error))?;
        for down in &mut self.downs {
            let condition = down.condition(forwarding);
            if down.pushing.is_none() {
                let Some(number) = number(&mut self.numbers, down, now.program_ns) else {
                    continue;
                };
                let acceptance = down.controllers.bounds().acceptance();
                let upper_pps = down.eligible.upper_pps;
                let push_down = PushDown::new(number, acceptance, upper_pps, now.program_ns);
                down.pushing = Some((number, push_down));
            }
            let floored = down.floored(now);
            let Some((number, push_down)) = &mut down.pushing else { continue };
            lists
                .set_condition(*number, condition, now.program_ns)
                .map_err(|error| told(&error))?;
            let mut steps = Vec::new();
            let turned =
                push_down.turn(&mut lists, &feedback, &floored, now.program_ns, &mut steps);
            down.take(steps, sides, now);
            turned.map_err(|error| told(&error))?;
        }
        Ok(())
    }
}

/// A number for a rule: the one it has, or one that nobody has.
fn number(
    numbers: &mut [(Option<(Family, RuleId)>, u64); CONDITIONS_MAX],
    down: &Down,
    now_ns: u64,
) -> Option<ConditionNumber> {
    let is_free =
        |(owner, rests_until_ns): &(Option<_>, u64)| owner.is_none() && *rests_until_ns <= now_ns;
    let place = numbers.iter().position(is_free)?;
    numbers[place].0 = Some((down.family, down.rule));
    ConditionNumber::all().nth(place)
}

/// What the program has dropped by a condition.
fn counts(feedback: &Feedback, number: ConditionNumber) -> impl Iterator<Item = Step> {
    let of_it = feedback.counted.iter().filter(move |counted| counted.condition == number);
    of_it.map(|counted| Step::Count(counted.source, counted.dropped))
}

impl Down {
    /// What it is about, if its interface is there.
    fn condition(&self, forwarding: &Forwarding) -> Option<Condition> {
        let condition = self.eligible.condition;
        let Some(name) = &self.eligible.interface else { return Some(condition) };
        let port = forwarding.ports().iter().find(|port| *port.name == **name)?;
        Some(Condition { ifindex: port.ifindex?, ..condition })
    }

    /// Its sources at the floor, the fastest first.
    fn floored(&mut self, now: Now) -> Vec<Floored> {
        if self.controllers.met_floor() {
            self.look_until_ns = now.program_ns + LOOK_NS;
        }
        if now.program_ns >= self.look_until_ns {
            return Vec::new();
        }
        let bits = self.controllers.source_bits();
        let floored = self.controllers.floored(jiffies(now.worker_ns)).into_iter();
        let sources = floored.filter_map(|(address, rate_pps)| {
            let source = Net::new(address, bits)?;
            self.eligible.includes(source).then_some(Floored { source, rate_pps })
        });
        let mut sources: Vec<Floored> = sources.collect();
        sources.sort_by_key(|floored| std::cmp::Reverse(floored.rate_pps));
        sources
    }

    /// Does what the loop asks for.
    fn take(&self, steps: Vec<Step>, sides: &mut [Side], now: Now) {
        let tick = jiffies(now.worker_ns);
        for step in steps {
            match step {
                Step::Count(source, dropped) => {
                    let address: IpAddr = source.address();
                    self.controllers.add(address, dropped.packets, tick);
                    let count = Count { packets: dropped.packets, bytes: dropped.bytes };
                    sides[self.family as usize].compiler.count_early(self.rule, count);
                }
                Step::Trust(source, until_ns) => {
                    self.controllers.trust(source.address(), Some(now.tick(until_ns)), tick);
                }
                Step::Distrust(source) => {
                    self.controllers.trust(source.address(), None, tick);
                }
            }
        }
    }
}

fn lock(lists: &Mutex<SharedLists>) -> MutexGuard<'_, SharedLists> {
    lists.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rules {
    /// The same where the sources of rules are dropped early that can be, in these lists.
    #[must_use]
    pub(super) fn pushing_down(mut self, lists: Arc<Mutex<SharedLists>>) -> Self {
        self.push_downs = Some(PushDowns::new(lists));
        self
    }

    /// Takes back what is dropped early for the rules in force. What the maps refuse ends by itself in two seconds.
    pub(super) fn withdraw_pushed(&mut self) {
        let Self { push_downs, sides, started, .. } = self;
        if let Some(Err(error)) = push_downs.as_mut().map(|it| it.withdraw(sides, *started)) {
            tracing::warn!(
                "early drop: {error}; what rules have pushed down ends within two seconds"
            );
        }
    }

    /// A turn of those rules whose sources are dropped early.
    ///
    /// # Errors
    /// What the maps say; the next turn goes on from there.
    pub(super) fn turn_push_downs(&mut self, forwarding: &Forwarding) -> Result<(), String> {
        let Self { push_downs, sides, started, .. } = self;
        push_downs.as_mut().map_or(Ok(()), |it| it.turn(sides, *started, forwarding))
    }
}
