//! What the `connlimit` match counts: connections that there are (net/netfilter/xt_connlimit.c).
//!
//! Those are counted of which a packet has met the match, in groups by the address of that packet. Connections of TCP
//! that have come to an end, in state TIME_WAIT or CLOSE, are not counted; the packet's own one is.

use serde::{Deserialize, Serialize};

use super::{Extension, Family, InvalidRule, ListedLine, Negatable, SavedWords};

/// By which of a packet's addresses its connection is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnlimitSide {
    /// `--connlimit-saddr`
    #[default]
    Source,
    /// `--connlimit-daddr`
    Destination,
}

/// The `connlimit` match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnlimitMatch {
    /// `--connlimit-above N`: more than so many; negated, and as `--connlimit-upto N`, at most so many. `None` only
    /// while the line is read.
    pub above: Option<Negatable<u32>>,
    /// `--connlimit-mask`: so many bits of addresses make a group.
    pub prefix_len: u8,
    /// `--connlimit-saddr`, `--connlimit-daddr`
    #[serde(default)]
    pub side: ConnlimitSide,
}

impl ConnlimitMatch {
    /// One that says nothing yet, for packets of the family.
    pub fn of(family: Family) -> Self {
        Self { above: None, prefix_len: family.address_bits(), side: ConnlimitSide::Source }
    }
}

impl Extension for ConnlimitMatch {
    fn name(&self) -> &'static str {
        "connlimit"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        self.above.map_or(Err(InvalidRule::ConnlimitMissing), |_| Ok(()))
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        match self.prefix_len <= family.address_bits() {
            true => Ok(()),
            false => Err(InvalidRule::OtherFamily {
                what: "the mask of -m connlimit",
                its: family.other(),
            }),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        if let Some(Negatable { value, negated }) = self.above {
            let option = if negated { "--connlimit-upto" } else { "--connlimit-above" };
            words.option(option, &Negatable::is(value));
        }
        words.option("--connlimit-mask", &Negatable::is(self.prefix_len));
        words.word(match self.side {
            ConnlimitSide::Source => "--connlimit-saddr",
            ConnlimitSide::Destination => "--connlimit-daddr",
        });
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let side = match self.side {
            ConnlimitSide::Source => "src",
            ConnlimitSide::Destination => "dst",
        };
        if let Some(Negatable { value, negated }) = self.above {
            let than = if negated { "<=" } else { ">" };
            line.push(format_args!(" #conn {side}/{} {than} {value}", self.prefix_len));
        }
    }
}
