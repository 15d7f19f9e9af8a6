//! What the `recent` match asks for and does (net/netfilter/xt_recent.c): tables of addresses, and when packets of
//! each were seen last.
//!
//! A table has a name. The first rule that names it makes it, with the mask of that rule; it lasts as long as a rule
//! names it, of IPv4 or of IPv6.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::transport::is_default;
use super::{Extension, Family, InvalidRule, ListedLine, Negatable, SavedWords, address_text};

/// The longest name in bytes (`XT_RECENT_NAME_LEN` less the final zero).
pub const RECENT_NAME_BYTES_MAX: usize = 199;

/// The most packets that `--hitcount` can ask for (`XT_RECENT_MAX_NSTAMPS` less one).
pub const HITCOUNT_MAX: u32 = 65_535;

/// A table's name, at most [`RECENT_NAME_BYTES_MAX`] bytes, without blanks, control characters and double quotes:
/// a saved rule could not be read again. iptables takes them, and cuts off what is longer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecentName(String);

/// A name that no table can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecentNameError {
    /// Two tables would become one.
    #[error("recent: a name has at most {RECENT_NAME_BYTES_MAX} bytes")]
    TooLong,
    /// No saved rule set could hold it.
    #[error("recent: a name has no blanks, control characters and double quotes")]
    Odd,
}

impl RecentName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it could be that of a file: the kernel makes one of each table's name.
    fn is_of_file(&self) -> bool {
        !matches!(&*self.0, "" | "." | "..") && !self.0.contains('/')
    }
}

impl Default for RecentName {
    fn default() -> Self {
        Self("DEFAULT".to_owned())
    }
}

impl fmt::Display for RecentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RecentName {
    type Err = RecentNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for RecentName {
    type Error = RecentNameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > RECENT_NAME_BYTES_MAX {
            return Err(RecentNameError::TooLong);
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
            return Err(RecentNameError::Odd);
        }
        Ok(Self(text))
    }
}

impl From<RecentName> for String {
    fn from(name: RecentName) -> Self {
        name.0
    }
}

/// What is done about the packet's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecentAction {
    /// `--set`: it is noted that a packet came. Holds.
    Set,
    /// `--rcheck`: whether it was seen often enough.
    Rcheck,
    /// `--update`: likewise, and if it holds, it is noted that a packet came.
    Update,
    /// `--remove`: it is forgotten. Holds if it was there.
    Remove,
}

impl RecentAction {
    /// All of them, in the order in which iptables looks for them.
    pub const ALL: [Self; 4] = [Self::Set, Self::Rcheck, Self::Update, Self::Remove];

    /// The option, without dashes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Rcheck => "rcheck",
            Self::Update => "update",
            Self::Remove => "remove",
        }
    }

    /// The word in listings.
    fn listed(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Rcheck => "CHECK",
            Self::Update => "UPDATE",
            Self::Remove => "REMOVE",
        }
    }

    /// Whether it looks at what is known of an address.
    pub fn checks(self) -> bool {
        matches!(self, Self::Rcheck | Self::Update)
    }
}

/// Which of a packet's addresses is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecentSide {
    /// `--rsource`
    #[default]
    Source,
    /// `--rdest`
    Dest,
}

/// The `recent` match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecentMatch {
    /// `--name`
    pub name: RecentName,
    /// `--set`, `--rcheck`, `--update` or `--remove`; `None` only while the line is read.
    pub action: Option<Negatable<RecentAction>>,
    /// `--seconds`, at least 1: packets that came longer ago do not count.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seconds: Option<u32>,
    /// `--reap`: with each look the address that was seen longest ago goes, if that was more than `seconds` ago.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reap: bool,
    /// `--hitcount`: so many packets are often enough; 0 is not printed and asks for one, as 1 does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hitcount: u32,
    /// `--rttl`: only if the packet's time to live is that of the last one that was noted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rttl: bool,
    /// `--rsource`, `--rdest`
    #[serde(default, skip_serializing_if = "is_default")]
    pub side: RecentSide,
    /// `--mask`, contiguous or not: the bits by which addresses are told apart, if this rule makes the table. iptables
    /// tells a rule with the mask that holds without one from a rule without one (`-C`, `-D`); here they are equal.
    pub mask: IpAddr,
}

/// Why a `recent` match means nothing. The words are iptables', as far as it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum RecentError {
    #[error("recent: you must specify one of `--set', `--rcheck' `--update' or `--remove'")]
    NoAction,
    #[error("recent: option \"--reap\" also requires \"--seconds\".")]
    NoSeconds,
    #[error("recent: option \"--rttl\" cannot be used together with \"--{0}\".")]
    Rttl(&'static str),
    #[error("recent: `--{action}' looks at nothing, so `--{option}' has no meaning with it")]
    NotAsked { action: &'static str, option: &'static str },
    #[error("recent: `--seconds 0' is no time")]
    NoTime,
    #[error("recent: `--hitcount {0}' is more than the {HITCOUNT_MAX} packets that are noted")]
    Hitcount(u32),
    #[error("recent: a table's name is not empty, `.' or `..', and has no `/' in it")]
    Name,
}

impl RecentError {
    /// Whether iptables leaves it to the kernel to say so.
    pub(crate) fn is_left_to_the_kernel(self) -> bool {
        matches!(self, Self::NotAsked { .. } | Self::Hitcount(_) | Self::Name)
    }
}

impl RecentMatch {
    /// One that says nothing yet, for packets of the family.
    pub fn of(family: Family) -> Self {
        Self {
            name: RecentName::default(),
            action: None,
            seconds: None,
            reap: false,
            hitcount: 0,
            rttl: false,
            side: RecentSide::Source,
            mask: family.host_mask(),
        }
    }

    /// In the order in which iptables looks, then the kernel.
    fn check(&self) -> Result<(), RecentError> {
        let action = self.action.ok_or(RecentError::NoAction)?.value;
        if self.reap && self.seconds.is_none() {
            return Err(RecentError::NoSeconds);
        }
        if self.rttl && !action.checks() {
            return Err(RecentError::Rttl(action.name()));
        }
        if self.seconds == Some(0) {
            return Err(RecentError::NoTime);
        }
        let asked = [("seconds", self.seconds.is_some()), ("hitcount", self.hitcount > 0)];
        if let Some((option, _)) = asked.into_iter().find(|(_, said)| *said && !action.checks()) {
            return Err(RecentError::NotAsked { action: action.name(), option });
        }
        if self.hitcount > HITCOUNT_MAX {
            return Err(RecentError::Hitcount(self.hitcount));
        }
        if self.name.is_of_file() { Ok(()) } else { Err(RecentError::Name) }
    }
}

impl Extension for RecentMatch {
    fn name(&self) -> &'static str {
        "recent"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        Ok(self.check()?)
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        only(self.mask.into(), "a mask of -m recent", family)
    }

    fn save(&self, words: &mut SavedWords) {
        if let Some(Negatable { value, negated }) = self.action {
            words.flag(&format!("--{}", value.name()), negated);
        }
        if let Some(seconds) = self.seconds {
            words.option("--seconds", &Negatable::is(seconds));
        }
        if self.reap {
            words.word("--reap");
        }
        if self.hitcount > 0 {
            words.option("--hitcount", &Negatable::is(self.hitcount));
        }
        if self.rttl {
            words.word("--rttl");
        }
        words.option("--name", &Negatable::is(&self.name));
        words.option("--mask", &Negatable::is(address_text(self.mask)));
        words.word(match self.side {
            RecentSide::Source => "--rsource",
            RecentSide::Dest => "--rdest",
        });
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        if let Some(Negatable { value, negated }) = self.action {
            let not = if negated { " !" } else { "" };
            line.push(format_args!("{not} recent: {}", value.listed()));
        }
        if let Some(seconds) = self.seconds {
            line.push(format_args!(" seconds: {seconds}"));
        }
        if self.reap {
            line.push(format_args!(" reap"));
        }
        if self.hitcount > 0 {
            line.push(format_args!(" hit_count: {}", self.hitcount));
        }
        if self.rttl {
            line.push(format_args!(" TTL-Match"));
        }
        let side = match self.side {
            RecentSide::Source => "source",
            RecentSide::Dest => "dest",
        };
        let mask = address_text(self.mask);
        line.push(format_args!(" name: {} side: {side} mask: {mask}", self.name));
    }
}
