//! What the `fuzzy` match lets pass: all below one rate, 1 % above another, and the less the faster between.
//!
//! The match is that of Hime Aguiar e Oliveira Jr. (patch-o-matic, 2002; later `libxt_fuzzy` and `xt_fuzzy` of
//! xtables-addons), and so are the words.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Extension, Family, InvalidRule, KeyMasks, KeyParts, ListedLine, SavedWords};

/// The `fuzzy` match. It holds for what must be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FuzzyMatch {
    /// `--lower-limit`: up to so many packets a second all pass; at least [`FuzzyMatch::RATE_MIN`].
    pub lower_pps: u32,
    /// `--upper-limit`: from so many packets a second on 1 % pass, with keys or `--fuzzy-unverified` 1 % of the limit;
    /// above the other, at most [`FuzzyMatch::RATE_MAX`].
    pub upper_pps: u32,
    /// What begins with `--fuzzy`: a controller for each key instead of one for the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Box<FuzzyKeys>>,
    /// `--fuzzy-unverified`: controllers of verified sources, and of nets and destinations for all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unverified: Option<Box<FuzzyUnverified>>,
}

/// Two rates, `LOWER:UPPER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FuzzyRates {
    /// Up to so many packets a second all pass.
    pub lower_pps: u32,
    /// From so many on 1 % of so many pass.
    pub upper_pps: u32,
}

impl FuzzyRates {
    /// So many times as much, as far as rates go.
    fn times(self, factor: u32) -> Self {
        let upper_pps = self.upper_pps.saturating_mul(factor).min(FuzzyMatch::RATE_MAX);
        let lower_pps = self.lower_pps.saturating_mul(factor).min(upper_pps - 1);
        Self { lower_pps, upper_pps }
    }

    fn are_valid(self) -> bool {
        let Self { lower_pps: lower, upper_pps: upper } = self;
        lower >= FuzzyMatch::RATE_MIN && upper <= FuzzyMatch::RATE_MAX && lower < upper
    }
}

impl fmt::Display for FuzzyRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.lower_pps, self.upper_pps)
    }
}

/// How sources are held back together that nobody knows to be real: those that were not seen to complete a handshake.
/// Weir's own.
///
/// A verified source has a controller of its own, with the rates of the match. All others feed, until one of these
/// throws the packet away, the controllers of their net, of their wide net, and of the destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FuzzyUnverified {
    /// `--fuzzy-net`: of a /24, of IPv6 a /64; [`Self::NET_TIMES`] the rates of the match unless said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub net: Option<FuzzyRates>,
    /// `--fuzzy-wide-net`: of a /16, of IPv6 a /48; [`Self::WIDE_NET_TIMES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wide_net: Option<FuzzyRates>,
    /// `--fuzzy-dst`: of a destination address; [`Self::DESTINATION_TIMES`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<FuzzyRates>,
}

impl FuzzyUnverified {
    /// How many sources of a net may come as fast as one may, unless it is said.
    pub const NET_TIMES: u32 = 4;

    /// The same of a wide net.
    pub const WIDE_NET_TIMES: u32 = 16;

    /// The same of all that come to a destination.
    pub const DESTINATION_TIMES: u32 = 64;

    /// The rates that hold, with those of the match: of a net, a wide net, a destination.
    pub fn rates(&self, own: FuzzyRates) -> [FuzzyRates; 3] {
        [
            self.net.unwrap_or_else(|| own.times(Self::NET_TIMES)),
            self.wide_net.unwrap_or_else(|| own.times(Self::WIDE_NET_TIMES)),
            self.destination.unwrap_or_else(|| own.times(Self::DESTINATION_TIMES)),
        ]
    }

    /// What was said, with names.
    fn said(&self) -> impl Iterator<Item = (&'static str, FuzzyRates)> {
        let said = [("net", self.net), ("wide-net", self.wide_net), ("dst", self.destination)];
        said.into_iter().filter_map(|(name, rates)| Some((name, rates?)))
    }
}

/// What makes keys, and how many are remembered. This is Weir's own: the module knows one controller a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FuzzyKeys {
    /// `--fuzzy-mode`; not empty.
    pub parts: KeyParts,
    /// `--fuzzy-srcmask`, `--fuzzy-dstmask`
    pub masks: KeyMasks,
    /// `--fuzzy-name`: rules of one name and family share controllers. Without, they are the rule's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `--fuzzy-htable-max`: for so many keys there is room.
    pub keys_max: u32,
    /// `--fuzzy-htable-expire`: when a key is forgotten that does not come any more, in milliseconds.
    pub expire_ms: u32,
}

impl Default for FuzzyKeys {
    fn default() -> Self {
        Self {
            parts: KeyParts::default(),
            masks: KeyMasks::default(),
            name: None,
            keys_max: Self::KEYS,
            expire_ms: Self::EXPIRE_MS,
        }
    }
}

impl FuzzyKeys {
    /// `--fuzzy-htable-max` unless it is said.
    const KEYS: u32 = 65_536;

    /// The most that it may say.
    pub const KEYS_MAX: u32 = 1_048_576;

    /// `--fuzzy-htable-expire` unless it is said.
    const EXPIRE_MS: u32 = 60_000;

    /// The least that it may say: a window and a half, or controllers would forget what they are for.
    pub const EXPIRE_MIN_MS: u32 = 150;

    /// Bytes of a name, at most.
    pub const NAME_BYTES_MAX: usize = 32;

    fn validate(&self) -> Result<(), InvalidRule> {
        if self.parts.is_empty() {
            return Err(InvalidRule::FuzzyNoMode);
        }
        let odd = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.' | ':');
        if let Some(name) = &self.name
            && (name.is_empty() || name.len() > Self::NAME_BYTES_MAX || name.contains(odd))
        {
            return Err(InvalidRule::FuzzyName { name: name.as_str().into() });
        }
        if !(1..=Self::KEYS_MAX).contains(&self.keys_max) || self.expire_ms < Self::EXPIRE_MIN_MS {
            return Err(InvalidRule::FuzzyTable);
        }
        Ok(())
    }

    /// What is not as it would be unless it was said, with names.
    fn numbers(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let said = [
            ("htable-max", self.keys_max, Self::KEYS),
            ("htable-expire", self.expire_ms, Self::EXPIRE_MS),
        ];
        said.into_iter().filter(|(_, is, unless)| is != unless).map(|(name, is, _)| (name, is))
    }

    fn save(&self, words: &mut SavedWords) {
        words.word("--fuzzy-mode");
        words.word(self.parts.text(","));
        self.masks.save("fuzzy", words);
        if let Some(name) = &self.name {
            words.word("--fuzzy-name");
            words.word(&**name);
        }
        for (name, value) in self.numbers() {
            words.word(format!("--fuzzy-{name}"));
            words.word(value.to_string());
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!("mode {}", self.parts.text("-")));
        for (name, bits) in self.masks.said() {
            line.push(format_args!(" {name} {bits}"));
        }
        if let Some(name) = &self.name {
            line.push(format_args!(" name {name}"));
        }
        for (name, value) in self.numbers() {
            line.push(format_args!(" {name} {value}"));
        }
        line.push(format_args!(" "));
    }
}

impl Default for FuzzyMatch {
    fn default() -> Self {
        Self { lower_pps: 1000, upper_pps: 2000, keys: None, unverified: None }
    }
}

impl FuzzyMatch {
    /// The least that the module takes for a rate.
    pub const RATE_MIN: u32 = 3;

    /// The most that it takes.
    pub const RATE_MAX: u32 = 10_000_000;

    /// Both rates.
    pub fn rates(&self) -> FuzzyRates {
        FuzzyRates { lower_pps: self.lower_pps, upper_pps: self.upper_pps }
    }
}

impl Extension for FuzzyMatch {
    fn name(&self) -> &'static str {
        "fuzzy"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let unverified = self.unverified.as_deref();
        let all = [self.rates()].into_iter();
        for rates in all.chain(unverified.into_iter().flat_map(|it| it.said()).map(|(_, it)| it)) {
            if !rates.are_valid() {
                let FuzzyRates { lower_pps: lower, upper_pps: upper } = rates;
                return Err(InvalidRule::FuzzyLimits { lower, upper });
            }
        }
        if unverified.is_some() && self.keys.is_some() {
            return Err(InvalidRule::FuzzyUnverifiedKeys);
        }
        self.keys.as_ref().map_or(Ok(()), |keys| keys.validate())
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        let most = family.address_bits();
        let fits = self.keys.as_ref().is_none_or(|keys| keys.masks.fit(family));
        if fits { Ok(()) } else { Err(InvalidRule::KeyMask { name: "fuzzy", most }) }
    }

    /// The module of 2002 printed the two options the other way round, and so could not read what it had written; later
    /// ones do not.
    fn save(&self, words: &mut SavedWords) {
        for (option, rate) in [("--lower-limit", self.lower_pps), ("--upper-limit", self.upper_pps)]
        {
            words.word(option);
            words.word(rate.to_string());
        }
        if let Some(keys) = &self.keys {
            keys.save(words);
        }
        if let Some(unverified) = &self.unverified {
            words.word("--fuzzy-unverified");
            for (name, rates) in unverified.said() {
                words.word(format!("--fuzzy-{name}"));
                words.word(rates.to_string());
            }
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Self { lower_pps: lower, upper_pps: upper, keys, unverified } = self;
        line.push(format_args!(" fuzzy: lower limit = {lower} pps - upper limit = {upper} pps "));
        if let Some(keys) = keys {
            keys.list(line);
        }
        if let Some(unverified) = unverified {
            line.push(format_args!("unverified "));
            for (name, rates) in unverified.said() {
                line.push(format_args!("{name} {rates} "));
            }
        }
    }
}
