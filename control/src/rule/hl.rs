//! What the `hl` match looks at (net/netfilter/xt_hl.c).

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::{Extension, Family, InvalidRule, ListedLine, SavedWords, TtlMatch};

/// The `hl` match: `ttl` for the hop limit of IPv6. In chain FORWARD it is one less than the packet
/// came with, for the kernel counts this hop before it asks the rules (`ip6_forward`,
/// net/ipv6/ip6_output.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HlMatch(pub TtlMatch);

impl Extension for HlMatch {
    fn name(&self) -> &'static str {
        "hl"
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        only(Family::V6, "-m hl", family)
    }

    fn save(&self, words: &mut SavedWords) {
        let (option, negated, hops) = match self.0 {
            TtlMatch::Equal(hops) => ("--hl-eq", false, hops),
            TtlMatch::NotEqual(hops) => ("--hl-eq", true, hops),
            TtlMatch::Less(hops) => ("--hl-lt", false, hops),
            TtlMatch::Greater(hops) => ("--hl-gt", false, hops),
        };
        words.flag(option, negated);
        words.word(hops.to_string());
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let (relation, hops) = self.0.relation();
        line.push(format_args!(" HL match HL {relation} {hops}"));
    }
}
