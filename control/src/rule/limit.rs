//! What the `limit` match allows: so many packets a time, and some at once.
//!
//! The words are those of extensions/libxt_limit.c of iptables, the meaning is that of net/netfilter/xt_limit.c.

use serde::{Deserialize, Serialize};

use super::{Extension, InvalidRule, ListedLine, SavedWords};

/// Ticks a second of the clock that limits are counted by. Weir's `limit` module says why it is this one.
pub const HZ: u32 = 250;

/// Credits that a tick is worth: the largest power of two with which a day's still fit into 32 bits.
pub const LIMIT_CREDITS_PER_JIFFY: u32 = 128;

/// Credits that a microsecond is worth to `hashlimit`, whose ticks are worth 2^39.
pub const HASHLIMIT_CREDITS: u64 = ((HZ as u64) << 39) / 1_000_000;

/// Times by which rates are written, and their seconds. Rates are read by any beginning of the first name, and written
/// by the second.
pub(crate) const TIMES: [(&str, &str, u32); 4] =
    [("second", "sec", 1), ("minute", "min", 60), ("hour", "hour", 3600), ("day", "day", 86_400)];

/// The time by which iptables writes a rate of one packet a period, of which there are so many in a second: the
/// shortest in which there is one, or that says it more exactly. Its name and its seconds.
pub(super) fn time_of(period: u64, scale: u64) -> (&'static str, u64) {
    let says = |(.., seconds): &(_, _, u32)| {
        let time = u64::from(*seconds) * scale;
        period <= time && time / period >= time % period
    };
    let longer = TIMES.iter().rev().skip(1).take_while(|time| says(time));
    let (_, name, seconds) = longer.last().unwrap_or(&TIMES[TIMES.len() - 1]);
    (name, u64::from(*seconds))
}

/// The `limit` match. Its default is what `-m limit` alone means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitMatch {
    /// `--limit`, as the time that one packet takes, in units of 100 us; not 0.
    pub period_100us: u32,
    /// `--limit-burst`: packets that may come at once, from 1.
    pub burst: u32,
}

impl Default for LimitMatch {
    /// 3 an hour.
    fn default() -> Self {
        Self { period_100us: Self::SCALE * 3600 / 3, burst: Self::BURST }
    }
}

impl LimitMatch {
    /// Units of a second.
    pub const SCALE: u32 = 10_000;

    /// `--limit-burst` unless it is said.
    const BURST: u32 = 5;

    /// The most that `--limit-burst` may say.
    pub const BURST_MAX: u32 = 10_000;

    /// What a packet costs, in credits ([`LIMIT_CREDITS_PER_JIFFY`]).
    pub fn cost(&self) -> u32 {
        credits(self.period_100us).unwrap_or(u32::MAX)
    }

    /// What the bucket holds, in credits; `None` where the kernel's numbers cannot say it.
    pub fn size(&self) -> Option<u32> {
        credits(self.period_100us.checked_mul(self.burst)?)
    }

    /// As iptables writes rates.
    fn rate(&self) -> String {
        let (period, scale) = (self.period_100us.max(1).into(), Self::SCALE.into());
        let (name, seconds) = time_of(period, scale);
        format!("{}/{name}", seconds * scale / period)
    }
}

/// `user2credits`: it divides first where multiplying would overflow.
fn credits(periods_100us: u32) -> Option<u32> {
    let a_second = HZ * LIMIT_CREDITS_PER_JIFFY;
    match periods_100us.checked_mul(a_second) {
        Some(product) => Some(product / LimitMatch::SCALE),
        None => (periods_100us / LimitMatch::SCALE).checked_mul(a_second),
    }
}

impl Extension for LimitMatch {
    fn name(&self) -> &'static str {
        "limit"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        if self.period_100us == 0 {
            return Err(InvalidRule::LimitEndless);
        }
        match self.size() {
            Some(size) if size >= self.cost() && self.burst != 0 => Ok(()),
            _ => Err(InvalidRule::LimitBurst { burst: self.burst, rate: self.rate() }),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        words.word("--limit");
        words.word(self.rate());
        if self.burst != Self::BURST {
            words.word("--limit-burst");
            words.word(self.burst.to_string());
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" limit: avg {} burst {}", self.rate(), self.burst));
    }
}
