//! What the `ttl` match looks at (net/netfilter/xt_hl.c).

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::{Extension, Family, InvalidRule, ListedLine, SavedWords};

/// The `ttl` match. In chain FORWARD a packet's time to live is one less than it came with, for
/// the kernel counts this hop before it asks the rules (`ip_forward`, net/ipv4/ip_forward.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TtlMatch {
    /// `--ttl-eq`
    Equal(u8),
    /// `! --ttl-eq`
    NotEqual(u8),
    /// `--ttl-lt`: less than.
    Less(u8),
    /// `--ttl-gt`: greater than.
    Greater(u8),
}

impl Default for TtlMatch {
    fn default() -> Self {
        Self::Equal(0)
    }
}

impl TtlMatch {
    /// Whether this time to live is meant.
    pub fn matches(self, ttl: u8) -> bool {
        match self {
            Self::Equal(wanted) => ttl == wanted,
            Self::NotEqual(wanted) => ttl != wanted,
            Self::Less(limit) => ttl < limit,
            Self::Greater(limit) => ttl > limit,
        }
    }

    /// How a listing says it.
    pub(super) fn relation(self) -> (&'static str, u8) {
        match self {
            Self::Equal(ttl) => ("==", ttl),
            Self::NotEqual(ttl) => ("!=", ttl),
            Self::Less(ttl) => ("<", ttl),
            Self::Greater(ttl) => (">", ttl),
        }
    }
}

impl Extension for TtlMatch {
    fn name(&self) -> &'static str {
        "ttl"
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        only(Family::V4, "-m ttl", family)
    }

    fn save(&self, words: &mut SavedWords) {
        let (option, negated, ttl) = match *self {
            Self::Equal(ttl) => ("--ttl-eq", false, ttl),
            Self::NotEqual(ttl) => ("--ttl-eq", true, ttl),
            Self::Less(ttl) => ("--ttl-lt", false, ttl),
            Self::Greater(ttl) => ("--ttl-gt", false, ttl),
        };
        words.flag(option, negated);
        words.word(ttl.to_string());
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let (relation, ttl) = self.relation();
        line.push(format_args!(" TTL match TTL {relation} {ttl}"));
    }
}
