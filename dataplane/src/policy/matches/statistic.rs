//! `-m statistic` (`net/netfilter/xt_statistic.c`): chance, or every n-th packet.

use std::sync::atomic::{AtomicU32, Ordering};

use weir_control::rule::{Statistic, StatisticMatch};

use crate::policy::Dice;

/// Whether it is a packet's turn.
#[derive(Debug)]
pub(in crate::policy) struct StatisticTest {
    mode: Mode,
    negated: bool,
}

#[derive(Debug)]
enum Mode {
    /// A random number of 31 bits is below this one.
    Random(u32),
    /// The counter goes from 0 to `last` and round; it is 0 now. One for all workers. As in the kernel's own tables, it
    /// begins anew with every change of the rules.
    Nth { last: u32, count: AtomicU32 },
}

impl From<&StatisticMatch> for StatisticTest {
    fn from(asked: &StatisticMatch) -> Self {
        let mode = match asked.statistic() {
            Some(Statistic::Random { probability }) => Mode::Random(probability),
            Some(Statistic::Nth { every, packet }) => {
                let last = every.saturating_sub(1);
                Mode::Nth { last, count: AtomicU32::new(last.saturating_sub(packet)) }
            }
            // A rule that validates asks for one of the two.
            None => Mode::Random(0),
        };
        Self { mode, negated: asked.negated }
    }
}

impl StatisticTest {
    /// Asks whether it is the turn of one more packet.
    pub(super) fn holds(&self, dice: &Dice) -> bool {
        let turn = match &self.mode {
            Mode::Random(probability) => dice.draw() >> 33 < u64::from(*probability),
            Mode::Nth { last, count } => {
                let next = |count| Some(if count == *last { 0 } else { count + 1 });
                let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
                before == Ok(*last)
            }
        };
        turn != self.negated
    }
}

#[cfg(test)]
mod tests {
    use weir_control::rule::StatisticMode;

    use super::*;

    fn random(probability: u32, negated: bool) -> StatisticTest {
        let (mode, probability) = (Some(StatisticMode::Random), Some(probability));
        (&StatisticMatch { mode, probability, negated, ..StatisticMatch::default() }).into()
    }

    #[test]
    fn chance_is_as_likely_as_it_says() {
        // Of 100,000 packets, the standard deviation is 158 at most; five of them are 790.
        for (probability, expected) in [
            (0, 0..=0),
            (1 << 31, 100_000..=100_000),
            (1 << 30, 49_210..=50_790),
            (1 << 28, 11_900..=13_100),
        ] {
            for negated in [false, true] {
                let (test, dice) = (random(probability, negated), Dice::new(7));
                let held = (0..100_000).filter(|_| test.holds(&dice)).count();
                let held = if negated { 100_000 - held } else { held };
                assert!(expected.contains(&held), "{probability}: {held}");
            }
        }
    }

    #[test]
    fn workers_share_one_counter() {
        let mode = Some(StatisticMode::Nth);
        let asked =
            StatisticMatch { mode, every: Some(7), packet: Some(3), ..StatisticMatch::default() };
        let test = StatisticTest::from(&asked);
        let counted: usize = std::thread::scope(|scope| {
            let worker = |seed| {
                let test = &test;
                scope.spawn(move || {
                    let dice = Dice::new(seed);
                    (0..70_000).filter(|_| test.holds(&dice)).count()
                })
            };
            [worker(1), worker(2)].map(|worker| worker.join().expect("it counts")).iter().sum()
        });
        assert_eq!(counted, 20_000);
    }
}
