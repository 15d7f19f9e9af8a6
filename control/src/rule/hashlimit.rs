//! What the `hashlimit` match allows to each key: so many packets or bytes a time, and some at once.
//!
//! The words are those of extensions/libxt_hashlimit.c of iptables (revision 3), the meaning is that of
//! net/netfilter/xt_hashlimit.c.

use serde::{Deserialize, Serialize};

use super::limit::time_of;
use super::transport::is_default;
use super::{Extension, Family, InvalidRule, KeyMasks, KeyParts, ListedLine, SavedWords};

/// How much a key may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashlimitRate {
    /// Packets.
    Packets {
        /// The time that one packet takes, in microseconds; not 0. Where windows are counted, in units of a millionth
        /// of a window.
        period_us: u64,
        /// Packets that may come at once, from 1.
        burst: u64,
    },
    /// Bytes, counted in pieces of 16.
    Bytes {
        /// What a piece costs, of 2^32 a second; not 0.
        cost: u32,
        /// How often what a second allows may be had once more.
        refills: u32,
    },
}

/// The `hashlimit` match. Its default says nothing, and no rule may hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HashlimitMatch {
    /// `--hashlimit-upto` or `--hashlimit-above`.
    pub rate: Option<HashlimitRate>,
    /// Whether packets are meant that come faster.
    #[serde(skip_serializing_if = "is_default")]
    pub above: bool,
    /// `--hashlimit-rate-match`: what came in the last window of so many seconds (`--hashlimit-rate-interval`) decides
    /// about all of the next one, instead of what is left of an account.
    #[serde(skip_serializing_if = "is_default")]
    pub window_s: Option<u32>,
    /// `--hashlimit-mode`
    #[serde(skip_serializing_if = "is_default")]
    pub parts: KeyParts,
    /// `--hashlimit-srcmask`, `--hashlimit-dstmask`
    #[serde(skip_serializing_if = "is_default")]
    pub masks: KeyMasks,
    /// `--hashlimit-name`: rules of one name and family share a table.
    pub name: String,
    /// `--hashlimit-htable-size`; 0 where it is not said.
    #[serde(skip_serializing_if = "is_default")]
    pub size: u32,
    /// `--hashlimit-htable-max`; 0 where it is not said.
    #[serde(skip_serializing_if = "is_default")]
    pub max: u32,
    /// `--hashlimit-htable-gcinterval`, in milliseconds. What has expired gives way at once, so nothing waits for it.
    pub gc_interval_ms: u32,
    /// `--hashlimit-htable-expire`, in milliseconds.
    pub expire_ms: u32,
}

impl Default for HashlimitMatch {
    fn default() -> Self {
        Self {
            rate: None,
            above: false,
            window_s: None,
            parts: KeyParts::default(),
            masks: KeyMasks::default(),
            name: String::new(),
            size: 0,
            max: 0,
            gc_interval_ms: Self::GC_INTERVAL_MS,
            expire_ms: 0,
        }
    }
}

impl HashlimitMatch {
    /// Units of a second in which periods are counted.
    pub const SCALE: u64 = 1_000_000;

    /// `--hashlimit-burst` unless it is said.
    pub(crate) const BURST: u64 = 5;

    /// The most that it may say, in packets.
    pub const BURST_MAX: u64 = 1_000_000;

    /// `--hashlimit-htable-gcinterval` unless it is said.
    pub(crate) const GC_INTERVAL_MS: u32 = 1000;

    /// The most buckets, and the most entries, that a table may have.
    pub const ENTRIES_MAX: u32 = 1_048_576;

    /// Seconds of a window, at most: as many ticks as 32 bits can count.
    pub const WINDOW_S_MAX: u32 = u32::MAX / super::HZ;

    /// Bytes of a name, at most.
    pub const NAME_BYTES_MAX: usize = 254;

    /// After how many milliseconds without a packet a key is forgotten unless it is said: where there are bursts of
    /// bytes, and where not.
    const BYTE_EXPIRES_MS: [u32; 2] = [15_000, 60_000];

    /// How many keys the table has room for: what is said, or what the kernel takes on a machine with more than 1 GiB
    /// of memory.
    pub fn keys_max(&self) -> usize {
        let keys = match (self.max, self.size) {
            (0, 0) => 65_536,
            (0, size) => size.saturating_mul(8).min(Self::ENTRIES_MAX),
            (max, size) => max.max(size),
        };
        keys as usize
    }

    /// The bytes that a second allows, by what a piece costs.
    pub fn bytes_of_cost(cost: u32) -> u64 {
        let pieces = u32::MAX.checked_div(cost).unwrap_or(u32::MAX);
        u64::from(pieces.saturating_sub(1)) << 4
    }

    /// What a piece costs where a second allows so many bytes; 0 if that is too many.
    pub(crate) fn cost_of_bytes(bytes: u64) -> u32 {
        let pieces = bytes >> 4;
        u32::try_from(u64::from(u32::MAX) / (pieces + 1)).unwrap_or(0)
    }

    /// When keys are forgotten unless it is said, as far as it can be told from a rate that is written in this time.
    fn quantum_ms(&self, windows: u64) -> u32 {
        match self.rate {
            Some(HashlimitRate::Packets { period_us, .. }) => {
                let (_, seconds) = time_of(period_us.saturating_mul(windows).max(1), Self::SCALE);
                u32::try_from(seconds * 1000).unwrap_or(u32::MAX)
            }
            Some(HashlimitRate::Bytes { refills, .. }) => {
                Self::BYTE_EXPIRES_MS[usize::from(refills != 0)]
            }
            None => 0,
        }
    }

    /// When keys are forgotten where the option is not there.
    pub(crate) fn default_expire_ms(rate: HashlimitRate, unit_s: u32) -> u32 {
        match rate {
            HashlimitRate::Packets { .. } => unit_s * 1000,
            HashlimitRate::Bytes { refills, .. } => {
                Self::BYTE_EXPIRES_MS[usize::from(refills != 0)]
            }
        }
    }

    /// The rate as iptables writes it, of a period so many times as long, and how much may come at once, if anything is
    /// said of that.
    fn rate_texts(&self, windows: u64) -> Option<(String, Option<String>)> {
        Some(match self.rate? {
            HashlimitRate::Packets { period_us, burst } => {
                let period = period_us.saturating_mul(windows).max(1);
                let (name, seconds) = time_of(period, Self::SCALE);
                let rate = seconds * Self::SCALE / period;
                (format!("{rate}/{name}"), Some(burst.to_string()))
            }
            HashlimitRate::Bytes { cost, refills } => {
                const UNITS: [(&str, u64); 3] = [("m", 1 << 20), ("k", 1 << 10), ("", 1)];
                let bytes = Self::bytes_of_cost(cost);
                let exact = |unit: u64| {
                    // iptables has a mask of 32 bits here.
                    let rounded = bytes & u64::from(u32::MAX) & !(unit - 1);
                    bytes >= unit && Self::cost_of_bytes(rounded) == cost
                };
                let [rest @ .., last] = UNITS;
                let (name, unit) = rest.into_iter().find(|(_, unit)| exact(*unit)).unwrap_or(last);
                let burst = bytes * u64::from(refills);
                let of_burst = rest.into_iter().find(|(_, unit)| burst >= *unit).unwrap_or(last);
                let burst = format!("{}{}b", burst / of_burst.1, of_burst.0);
                (format!("{}{name}b/s", bytes / unit), (refills != 0).then_some(burst))
            }
        })
    }
}

impl Extension for HashlimitMatch {
    fn name(&self) -> &'static str {
        "hashlimit"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let Some(rate) = self.rate else { return Err(InvalidRule::HashlimitMissing) };
        if self.name.is_empty() {
            return Err(InvalidRule::HashlimitNameMissing);
        }
        if let Some(seconds) = self.window_s
            && !(1..=Self::WINDOW_S_MAX).contains(&seconds)
        {
            return Err(InvalidRule::HashlimitWindow { seconds });
        }
        let overflows = match rate {
            HashlimitRate::Packets { period_us, burst } if self.window_s.is_some() => {
                if period_us == 0 {
                    return Err(InvalidRule::HashlimitWindowRate);
                }
                burst == 0 || burst > Self::BURST_MAX
            }
            // The bucket holds so many times 2^-37 of a packet's time as 64 bits can say.
            HashlimitRate::Packets { period_us, burst } => {
                let holds = period_us.checked_mul(burst);
                period_us == 0
                    || burst == 0
                    || burst > Self::BURST_MAX
                    || holds.and_then(|holds| holds.checked_mul(super::HASHLIMIT_CREDITS)).is_none()
            }
            HashlimitRate::Bytes { cost, .. } => {
                if Self::bytes_of_cost(cost) == 0 {
                    return Err(InvalidRule::HashlimitBytes);
                }
                // `user2credits_byte`
                (u64::from(cost) * (u64::from(super::HZ) << 24)) >> 32 == 0
            }
        };
        if overflows {
            let (rate, burst) = self.rate_texts(1).unwrap_or_default();
            let burst = burst.unwrap_or_default();
            return Err(InvalidRule::HashlimitRate { rate, burst });
        }
        let name = &*self.name;
        if name.len() > Self::NAME_BYTES_MAX
            || matches!(name, "." | "..")
            || name.contains(|character: char| character == '/' || character.is_control())
        {
            return Err(InvalidRule::HashlimitName { name: name.into() });
        }
        if self.expire_ms == 0 || self.gc_interval_ms == 0 {
            return Err(InvalidRule::HashlimitTimes);
        }
        let most = self.size.max(self.max);
        if most > Self::ENTRIES_MAX {
            return Err(InvalidRule::HashlimitSize { entries: most });
        }
        Ok(())
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        let most = family.address_bits();
        if self.masks.fit(family) {
            Ok(())
        } else {
            Err(InvalidRule::KeyMask { name: "hashlimit", most })
        }
    }

    fn save(&self, words: &mut SavedWords) {
        let Some((rate, burst)) = self.rate_texts(1) else { return };
        words.word(if self.above { "--hashlimit-above" } else { "--hashlimit-upto" });
        words.word(rate);
        if let Some(burst) = burst {
            words.word("--hashlimit-burst");
            words.word(burst);
        }
        if !self.parts.is_empty() {
            words.word("--hashlimit-mode");
            words.word(self.parts.text(","));
        }
        words.word("--hashlimit-name");
        // iptables prints it as it is, and cannot read all that it prints.
        match self
            .name
            .contains(|odd: char| odd.is_whitespace() || matches!(odd, '"' | '\\' | '\''))
        {
            true => words.text(&self.name),
            false => words.word(&*self.name),
        }
        for (name, value) in self.numbers(1) {
            words.word(format!("--hashlimit-{name}"));
            words.word(value.to_string());
        }
        self.masks.save("hashlimit", words);
        if let Some(seconds) = self.window_s {
            words.word("--hashlimit-rate-match");
            if seconds != 1 {
                words.word("--hashlimit-rate-interval");
                words.word(seconds.to_string());
            }
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        // Here, and only here, iptables writes the rate in the time in which it was said.
        let windows = self.window_s.unwrap_or(1).into();
        let Some((rate, burst)) = self.rate_texts(windows) else { return };
        let which = if self.above { "above" } else { "up to" };
        line.push(format_args!(" limit: {which} {rate}"));
        if let Some(burst) = burst {
            line.push(format_args!(" burst {burst}"));
        }
        if !self.parts.is_empty() {
            line.push(format_args!(" mode {}", self.parts.text("-")));
        }
        for (name, value) in self.numbers(windows) {
            line.push(format_args!(" {name} {value}"));
        }
        for (name, bits) in self.masks.said() {
            line.push(format_args!(" {name} {bits}"));
        }
        if let Some(seconds) = self.window_s {
            line.push(format_args!(" rate-match"));
            if seconds != 1 {
                line.push(format_args!(" rate-interval {seconds}"));
            }
        }
    }
}

impl HashlimitMatch {
    /// The settings of the table that are not those of old, with their names.
    fn numbers(&self, windows: u64) -> impl Iterator<Item = (&'static str, u32)> {
        let Self { size, max, gc_interval_ms: gc, expire_ms: expire, .. } = *self;
        let said = [
            ("htable-size", size, size != 0),
            ("htable-max", max, max != 0),
            ("htable-gcinterval", gc, gc != Self::GC_INTERVAL_MS),
            ("htable-expire", expire, expire != self.quantum_ms(windows)),
        ];
        said.into_iter().filter(|(.., said)| *said).map(|(name, value, _)| (name, value))
    }
}
