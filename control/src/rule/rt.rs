//! What the `rt` match looks at (net/ipv6/netfilter/ip6t_rt.c).

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::transport::is_default;
use super::{
    Extension, Family, InvalidRule, ListedLine, Negatable, NumberRange, SavedWords, negation,
};

/// The `rt` match: packets with a routing header of IPv6 (RFC 8200 section 4.4) that fulfils all
/// conditions. Of several routing headers the first counts. Without a routing header it does not hold,
/// whatever is negated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RtMatch {
    /// `--rt-type`. Above 255 no header has it.
    #[serde(skip_serializing_if = "is_default")]
    pub kind: Option<Negatable<u32>>,
    /// `--rt-segsleft`: stations that the packet has yet to visit. `None` where every number will do.
    #[serde(skip_serializing_if = "is_default")]
    pub segments_left: Option<Negatable<NumberRange>>,
    /// `--rt-len`: bytes of the header, a multiple of 8.
    #[serde(skip_serializing_if = "is_default")]
    pub length: Option<Negatable<u32>>,
}

impl RtMatch {
    /// Whether a routing header fulfils the conditions that is of this type, leads to so many stations yet and has so
    /// many bytes.
    pub fn matches(&self, kind: u8, segments_left: u8, length: u16) -> bool {
        let is = |asked: Option<Negatable<u32>>, found: u32| {
            asked.is_none_or(|asked| (asked.value == found) != asked.negated)
        };
        let left = self.segments_left.is_none_or(|asked| {
            asked.value.range().contains(&segments_left.into()) != asked.negated
        });
        is(self.kind, kind.into()) && left && is(self.length, length.into())
    }
}

impl Extension for RtMatch {
    fn name(&self) -> &'static str {
        "rt"
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        only(Family::V6, "-m rt", family)
    }

    fn save(&self, words: &mut SavedWords) {
        if let Some(kind) = &self.kind {
            words.option("--rt-type", kind);
        }
        if let Some(segments_left) = &self.segments_left {
            words.option("--rt-segsleft", segments_left);
        }
        if let Some(length) = &self.length {
            words.option("--rt-len", length);
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" rt"));
        if let Some(Negatable { value, negated }) = self.kind {
            line.push(format_args!(" type:{}{value}", negation(negated)));
        }
        if let Some(Negatable { value, negated }) = self.segments_left {
            let label = if value.is_one() { "segsleft" } else { "segslefts" };
            line.push(format_args!(" {label}:{}{value}", negation(negated)));
        }
        if let Some(Negatable { value, negated }) = self.length {
            line.push(format_args!(" length:{}{value}", negation(negated)));
        }
    }
}
