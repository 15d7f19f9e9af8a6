//! What the `fuzzy` match lets pass: all below one rate, 1 % above another, and the less the faster between.
//!
//! The match is that of Hime Aguiar e Oliveira Jr. (patch-o-matic, 2002; later `libxt_fuzzy` and `xt_fuzzy` of
//! xtables-addons), and so are the words.

use serde::{Deserialize, Serialize};

use super::{Extension, Family, InvalidRule, KeyMasks, KeyParts, ListedLine, SavedWords};

/// The `fuzzy` match. It holds for what must be thrown away.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FuzzyMatch {
    /// `--lower-limit`: up to so many packets a second all pass; at least [`FuzzyMatch::RATE_MIN`].
    pub lower_pps: u32,
    /// `--upper-limit`: from so many packets a second on 1 % pass; above the other, at most [`FuzzyMatch::RATE_MAX`].
    pub upper_pps: u32,
    /// What begins with `--fuzzy`: a controller for each key instead of one for the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Box<FuzzyKeys>>,
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
        Self { lower_pps: 1000, upper_pps: 2000, keys: None }
    }
}

impl FuzzyMatch {
    /// The least that the module takes for a rate.
    pub const RATE_MIN: u32 = 3;

    /// The most that it takes.
    pub const RATE_MAX: u32 = 10_000_000;
}

impl Extension for FuzzyMatch {
    fn name(&self) -> &'static str {
        "fuzzy"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let Self { lower_pps: lower, upper_pps: upper, .. } = *self;
        if lower < Self::RATE_MIN || upper > Self::RATE_MAX || lower >= upper {
            return Err(InvalidRule::FuzzyLimits { lower, upper });
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
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Self { lower_pps: lower, upper_pps: upper, keys } = self;
        line.push(format_args!(" fuzzy: lower limit = {lower} pps - upper limit = {upper} pps "));
        if let Some(keys) = keys {
            keys.list(line);
        }
    }
}
