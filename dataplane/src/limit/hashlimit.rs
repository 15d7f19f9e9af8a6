//! The tables of `-m hashlimit` (net/netfilter/xt_hashlimit.c): an account for each key.
//!
//! An account is what the kernel keeps of a key, and its numbers are the kernel's. Of packets: a credit that grows by
//! 2^39 with each tick up to what the burst costs, of which a packet takes its cost. Of bytes: a credit that grows by
//! 2^24 with each tick up to that of a second, of which a packet takes its cost for each 16 bytes and for the rest;
//! where it does not reach, and the burst is not used up, it is filled once more. A second of a flood is all that is
//! ever paid for at once, so a packet may be larger than what there is.
//!
//! With `--hashlimit-rate-match` there is no credit. What comes is counted, of packets or bytes, in windows: the first
//! packet that comes an interval or more after a window began begins another, and if the rate up to then was above the
//! limit, all of the new window is above it, whatever comes. If not, it is from the packet on with which it has come to
//! more than rate and burst.
//!
//! What differs is the table. In the kernel one that is full drops the packets of all keys that it does not know; here
//! something else gives way ([`Table`]). And an account that has expired is gone, where in the kernel it may live on
//! until the next collection, at most `--hashlimit-htable-gcinterval`.

use weir_control::rule::{Family, HASHLIMIT_CREDITS, HashlimitMatch, HashlimitRate};

use super::key::{ByFamily, Key4, Key6, KeySpec};
use super::table::{State, Table};
use super::table4::Table4;
use super::{HZ, JIFFY_NS};

/// Credits of packets that a tick is worth.
const PER_JIFFY: u64 = 1 << 39;

/// Credits of bytes that a tick is worth.
const PER_JIFFY_BYTES: u64 = 1 << 24;

/// What a second of bytes is worth, the most that there may be at once.
const SECOND_OF_BYTES: u64 = PER_JIFFY_BYTES * HZ;

/// What an account begins with, and what packets cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tariff {
    bytes: bool,
    /// The most credit that there may be, or the most that may come in a window before that counts as too much.
    size: u64,
    /// Of a packet, or of 16 bytes.
    cost: u64,
    refills: u32,
    window: Option<Window>,
    /// By how much a debt is shifted to be a weight.
    weight_shift: u32,
}

/// How it is counted where there is no credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// How long it is at least, in ticks.
    ticks: u32,
    /// Packets or bytes in that time.
    rate: u64,
}

impl Tariff {
    /// Of a match that a rule may hold: then nothing overflows.
    #[must_use]
    pub fn new(asked: &HashlimitMatch) -> Self {
        let rate = asked.rate.unwrap_or(HashlimitRate::Packets { period_us: 1, burst: 1 });
        let tariff = match asked.window_s {
            None => Self::of_credit(rate),
            Some(seconds) => Self::of_windows(rate, seconds),
        };
        let weight_shift = (u64::BITS - tariff.size.leading_zeros()).saturating_sub(u8::BITS);
        Self { weight_shift, ..tariff }
    }

    fn of_credit(rate: HashlimitRate) -> Self {
        let (bytes, size, cost, refills) = match rate {
            HashlimitRate::Packets { period_us, burst } => {
                let cost = period_us.saturating_mul(HASHLIMIT_CREDITS);
                (false, cost.saturating_mul(burst), cost, 0)
            }
            HashlimitRate::Bytes { cost, refills } => {
                (true, SECOND_OF_BYTES, (u64::from(cost) * SECOND_OF_BYTES) >> 32, refills)
            }
        };
        Self { bytes, size, cost, refills, window: None, weight_shift: 0 }
    }

    /// `rateinfo_init`, of revision 3.
    fn of_windows(rate: HashlimitRate, seconds: u32) -> Self {
        let (bytes, rate, size) = match rate {
            HashlimitRate::Packets { period_us, burst } => {
                let rate = HashlimitMatch::SCALE / period_us.max(1);
                (false, rate, rate.saturating_add(burst))
            }
            HashlimitRate::Bytes { cost, refills } => {
                let rate = HashlimitMatch::bytes_of_cost(cost);
                (true, rate, rate.saturating_mul(refills.max(1).into()))
            }
        };
        let ticks = seconds.saturating_mul(weir_control::rule::HZ);
        let window = Some(Window { ticks, rate });
        Self { bytes, size, cost: 0, refills: 0, window, weight_shift: 0 }
    }
}

/// What is kept of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// The credit, or what has come in this window: higher half, lower half, so that four bytes are enough to align it.
    halves: [u32; 2],
    /// Refills that are left, or how old the window was when something came last, in ticks.
    rest: u32,
    weight: u8,
    /// Whether all of this window is too much.
    over: bool,
}

impl State for Account {
    fn weight(&self) -> u8 {
        self.weight
    }
}

impl Account {
    fn new(tariff: &Tariff) -> Self {
        match tariff.window {
            None => Self { rest: tariff.refills, ..Self::default() }.with_number(tariff.size),
            Some(_) => Self::default(),
        }
    }

    fn number(&self) -> u64 {
        u64::from(self.halves[0]) << 32 | u64::from(self.halves[1])
    }

    #[expect(clippy::cast_possible_truncation, reason = "one half each")]
    fn with_number(self, number: u64) -> Self {
        Self { halves: [(number >> 32) as u32, number as u32], ..self }
    }

    /// Whether a packet of so many bytes is within the limit, `age` ticks after the one before. `by_bytes` is what the
    /// rule says that asks, which need not be what the table counts.
    fn take(&mut self, tariff: &Tariff, age: u32, len: u32, by_bytes: bool) -> bool {
        if let Some(window) = tariff.window {
            return self.count(tariff, window, age, if by_bytes { len.into() } else { 1 });
        }
        let per_jiffy = if tariff.bytes { PER_JIFFY_BYTES } else { PER_JIFFY };
        let grown = per_jiffy.saturating_mul(age.into());
        let mut credit = self.number().saturating_add(grown).min(tariff.size);
        let cost = if by_bytes {
            let cost = (u64::from(len >> 4) + 1).saturating_mul(tariff.cost).min(SECOND_OF_BYTES);
            if credit < cost && self.rest > 0 {
                (self.rest, credit) = (self.rest - 1, SECOND_OF_BYTES);
            }
            cost
        } else {
            tariff.cost
        };
        let within = credit >= cost;
        if within {
            credit -= cost;
        }
        let debt = tariff.size.saturating_sub(credit) >> tariff.weight_shift;
        self.weight = u8::try_from(debt).unwrap_or(u8::MAX);
        *self = self.with_number(credit);
        within
    }

    /// Counts so much in its window, and tells whether that is within the limit (`rateinfo_recalc` and
    /// `hashlimit_mt_common`).
    fn count(&mut self, tariff: &Tariff, window: Window, age: u32, amount: u64) -> bool {
        let mut come = self.number();
        self.rest = self.rest.saturating_add(age);
        if self.rest >= window.ticks {
            let [rest, ticks] = [self.rest, window.ticks].map(u128::from);
            self.over = u128::from(come) * ticks > rest * u128::from(window.rate);
            (come, self.rest) = (0, 0);
        }
        come = come.saturating_add(amount);
        let within = !self.over && come <= tariff.size;
        let weight = u8::try_from(come >> tariff.weight_shift).unwrap_or(u8::MAX);
        self.weight = if within { weight } else { u8::MAX };
        *self = self.with_number(come);
        within
    }

    /// The share of its credit that there is so many ticks after the last packet, in percent; where windows are
    /// counted, of what may still come in this one.
    #[must_use]
    pub fn left_percent(&self, tariff: &Tariff, age: u32) -> u32 {
        let left = match tariff.window {
            None => {
                let per_jiffy = if tariff.bytes { PER_JIFFY_BYTES } else { PER_JIFFY };
                self.number().saturating_add(per_jiffy.saturating_mul(age.into()))
            }
            Some(window) => {
                let mut next = *self;
                next.count(tariff, window, age, 0);
                if next.over { 0 } else { tariff.size.saturating_sub(next.number()) }
            }
        };
        let share = u128::from(left.min(tariff.size)) * 100 / u128::from(tariff.size.max(1));
        u32::try_from(share).unwrap_or(100).min(100)
    }
}

/// The accounts of all keys of a name.
#[derive(Debug)]
pub struct Accounts {
    /// What the first rule of the name said of it.
    asked: HashlimitMatch,
    tariff: Tariff,
    spec: KeySpec,
    table: ByFamily<Table4<Account>, Table<Key6, Account>>,
}

impl Accounts {
    /// For a rule of this family, allocated here.
    #[must_use]
    pub fn new(asked: &HashlimitMatch, family: Family, seed: u64) -> Self {
        let tariff = Tariff::new(asked);
        let (keys, expire) = (asked.keys_max(), ticks_of_ms(asked.expire_ms));
        let blank = Account::default();
        let spec = KeySpec::new(family, asked.parts, asked.masks);
        let table = match family {
            Family::V4 => ByFamily::V4(Table4::new(&spec, keys, expire, seed, blank)),
            Family::V6 => ByFamily::V6(Table::new(keys, expire, seed, blank)),
        };
        Self { asked: asked.clone(), tariff, spec, table }
    }

    /// Whether a rule that says this would have made the same.
    #[must_use]
    pub fn is_as(&self, asked: &HashlimitMatch) -> bool {
        // Which side of the rate is meant is the rule's own.
        HashlimitMatch { above: self.asked.above, ..asked.clone() } == self.asked
    }

    /// What the first rule of the name said.
    #[must_use]
    pub fn asked(&self) -> &HashlimitMatch {
        &self.asked
    }

    /// What makes its keys.
    #[must_use]
    pub fn spec(&self) -> &KeySpec {
        &self.spec
    }

    /// What packets cost.
    #[must_use]
    pub fn tariff(&self) -> &Tariff {
        &self.tariff
    }

    /// The accounts.
    #[must_use]
    pub fn table(&self) -> &ByFamily<Table4<Account>, Table<Key6, Account>> {
        &self.table
    }

    /// Whether a packet of IPv4 of so many bytes is within its key's limit at the tick `now`.
    #[inline]
    pub fn take4(&self, key: Key4, now: u64, (len, by_bytes): (u32, bool)) -> bool {
        let ByFamily::V4(table) = &self.table else { return true };
        let turn = |account: &mut Account, age| account.take(&self.tariff, age, len, by_bytes);
        table.with(key, now, || Account::new(&self.tariff), turn)
    }

    /// The same of IPv6.
    #[inline]
    pub fn take6(&self, key: Key6, now: u64, (len, by_bytes): (u32, bool)) -> bool {
        let ByFamily::V6(table) = &self.table else { return true };
        let turn = |account: &mut Account, age| account.take(&self.tariff, age, len, by_bytes);
        table.with(key, now, || Account::new(&self.tariff), turn)
    }
}

/// As the kernel rounds: upwards.
pub(super) fn ticks_of_ms(ms: u32) -> u32 {
    let ticks = u64::from(ms).div_ceil(JIFFY_NS / 1_000_000);
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel keeps of a key and does with it, with the sizes of its numbers (`struct dsthash_ent`,
    /// `rateinfo_init`, `rateinfo_recalc`, `hashlimit_byte_cost`, `hashlimit_mt_common`).
    #[derive(Default)]
    struct Model {
        prev: u64,
        credit: u64,
        credit_cap: u64,
        cost: u64,
        bytes: bool,
        prev_window: bool,
        current_rate: u64,
        rate: u64,
        burst: u64,
        interval: u64,
    }

    const CPJ: u64 = 1 << 39;
    const CPJ_BYTES: u64 = 1 << 24;

    fn user2credits(user: u64) -> u64 {
        user * (250 * CPJ / 1_000_000)
    }

    fn user2rate_bytes(user: u32) -> u64 {
        u64::from(u32::MAX.checked_div(user).unwrap_or(u32::MAX) - 1) << 4
    }

    impl Model {
        fn new(rate: HashlimitRate, window_s: Option<u32>, now: u64) -> Self {
            let (new, interval) =
                (Self { prev: now, ..Self::default() }, window_s.unwrap_or(0).into());
            match (rate, window_s) {
                (HashlimitRate::Bytes { cost, refills }, Some(_)) => {
                    let rate = user2rate_bytes(cost);
                    let burst = if refills == 0 { rate } else { u64::from(refills) * rate };
                    Self { rate, burst, interval, bytes: true, ..new }
                }
                (HashlimitRate::Packets { period_us, burst }, Some(_)) => {
                    let rate = 1_000_000 / period_us;
                    Self { rate, burst: burst + rate, interval, ..new }
                }
                (HashlimitRate::Bytes { cost, refills }, None) => Self {
                    credit: CPJ_BYTES * 250,
                    credit_cap: refills.into(),
                    cost: (u64::from(cost) * (250 * CPJ_BYTES)) >> 32,
                    bytes: true,
                    ..new
                },
                (HashlimitRate::Packets { period_us, burst }, None) => {
                    let credit = user2credits(period_us * burst);
                    let cost = user2credits(period_us);
                    Self { credit, credit_cap: credit, cost, ..new }
                }
            }
        }

        fn recalc(&mut self, now: u64) {
            let delta = now - self.prev;
            if delta == 0 {
                return;
            }
            if self.interval > 0 {
                let interval = self.interval * 250;
                if delta < interval {
                    return;
                }
                self.prev = now;
                self.prev_window = self.current_rate * interval > delta * self.rate;
                self.current_rate = 0;
                return;
            }
            self.prev = now;
            if self.bytes {
                let before = self.credit;
                self.credit = self.credit.wrapping_add(CPJ_BYTES.wrapping_mul(delta));
                if before >= self.credit || self.credit > CPJ_BYTES * 250 {
                    self.credit = CPJ_BYTES * 250;
                }
            } else {
                let grown = self.credit.wrapping_add(delta.wrapping_mul(CPJ));
                self.credit = grown.min(self.credit_cap);
            }
        }

        fn packet(&mut self, now: u64, len: u32) -> bool {
            self.recalc(now);
            if self.interval > 0 {
                self.current_rate += if self.bytes { u64::from(len) } else { 1 };
                return !self.prev_window && self.current_rate <= self.burst;
            }
            let mut cost = self.cost;
            if self.bytes {
                cost = (u64::from(len >> 4) + 1) * self.cost;
                cost = cost.min(CPJ_BYTES * 250);
                if self.credit < cost && self.credit_cap != 0 {
                    self.credit_cap -= 1;
                    self.credit = CPJ_BYTES * 250;
                }
                cost &= 0xffff_ffff;
            }
            let within = self.credit >= cost;
            if within {
                self.credit -= cost;
            }
            within
        }
    }

    fn rate() -> impl Strategy<Value = HashlimitRate> {
        prop_oneof![
            (1_u64..2_000_000, 1_u64..30)
                .prop_map(|(period_us, burst)| HashlimitRate::Packets { period_us, burst }),
            (2_u32..4_000_000, 0_u32..5)
                .prop_map(|(cost, refills)| HashlimitRate::Bytes { cost, refills }),
        ]
    }

    fn tariff(rate: HashlimitRate, window_s: Option<u32>) -> Tariff {
        Tariff::new(&HashlimitMatch { rate: Some(rate), window_s, ..HashlimitMatch::default() })
    }

    fn packets() -> impl Strategy<Value = Vec<(u64, u32)>> {
        let step = prop_oneof![4 => Just(0), 4 => 0_u64..3, 2 => 0_u64..400, 1 => 0_u64..20_000];
        prop::collection::vec((step, 20_u32..9000), 1..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn an_account_says_what_the_kernels_says(rate in rate(), packets in packets()) {
            let tariff = tariff(rate, None);
            let mut now = 1000;
            let (mut account, mut model) = (Account::new(&tariff), Model::new(rate, None, now));
            for (step, len) in packets {
                now += step;
                let age = u32::try_from(step).expect("small");
                prop_assert_eq!(account.take(&tariff, age, len, tariff.bytes), model.packet(now, len));
                prop_assert_eq!(account.number(), model.credit);
            }
        }

        /// Rates of a few packets a window, so that some windows are above them and some are not.
        #[test]
        fn windows_are_counted_as_the_kernels(
            rate in prop_oneof![
                (8_000_u64..1_000_000, 1_u64..9)
                    .prop_map(|(period_us, burst)| HashlimitRate::Packets { period_us, burst }),
                (200_000_u32..40_000_000, 0_u32..3)
                    .prop_map(|(cost, refills)| HashlimitRate::Bytes { cost, refills }),
            ],
            window_s in prop_oneof![4 => 1_u32..4, 1 => 1_u32..90],
            packets in packets(),
        ) {
            let tariff = tariff(rate, Some(window_s));
            let mut now = 1000;
            let (mut account, mut model) =
                (Account::new(&tariff), Model::new(rate, Some(window_s), now));
            for (step, len) in packets {
                now += step;
                let age = u32::try_from(step).expect("small");
                let within = model.packet(now, len);
                prop_assert_eq!(account.take(&tariff, age, len, tariff.bytes), within);
                prop_assert_eq!((account.number(), account.over), (model.current_rate, model.prev_window));
            }
        }
    }

    #[test]
    fn what_has_its_whole_credit_weighs_nothing() {
        let tariff = tariff(HashlimitRate::Packets { period_us: 1_000_000, burst: 5 }, None);
        let mut account = Account::new(&tariff);
        assert_eq!((account.weight(), account.left_percent(&tariff, 0)), (0, 100));
        let weights: Vec<u8> = (0..6)
            .map(|_| {
                account.take(&tariff, 0, 60, false);
                account.weight()
            })
            .collect();
        assert!(weights.is_sorted() && weights[0] > 0, "{weights:?}");
        assert_eq!(account.left_percent(&tariff, 0), 0);
        account.take(&tariff, 10_000, 60, false);
        assert_eq!((account.weight(), account.left_percent(&tariff, 0)), (weights[0], 80));
    }

    #[test]
    fn what_is_left_of_a_window_is_what_may_still_come() {
        // 10 packets in 2 seconds, and 10 more.
        let tariff = tariff(HashlimitRate::Packets { period_us: 100_000, burst: 10 }, Some(2));
        let mut account = Account::new(&tariff);
        let mut take = |age, packets: u32| {
            let within = (0..packets).filter(|packet| {
                account.take(&tariff, if *packet == 0 { age } else { 0 }, 60, false)
            });
            (within.count(), account.left_percent(&tariff, 0), account.weight())
        };
        assert_eq!(take(0, 5), (5, 75, 5));
        assert_eq!(take(499, 16), (15, 0, u8::MAX), "more than both");
        assert_eq!(take(1, 9), (0, 0, u8::MAX), "after a window that was above the rate");
        assert_eq!(take(500, 1), (1, 95, 1), "after one that was not");
        assert_eq!(account.left_percent(&tariff, 499), 95);
        assert_eq!(account.left_percent(&tariff, 500), 100);
    }
}
