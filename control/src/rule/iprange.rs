//! What the `iprange` match looks at (net/netfilter/xt_iprange.c).

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::transport::is_default;
use super::{Extension, Family, InvalidRule, ListedLine, Negatable, SavedWords, address_text};

/// Addresses of one family from `first` to `last`, both included. As in iptables, `first` may be above `last`;
/// then no address is inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressRange {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
}

impl AddressRange {
    /// Whether `address` is inside.
    pub fn contains(self, address: IpAddr) -> bool {
        self.first <= address && address <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", address_text(self.first), address_text(self.last))
    }
}

/// The `iprange` match. All that is asked for must hold; a rule asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IprangeMatch {
    /// `--src-range`
    #[serde(skip_serializing_if = "is_default")]
    pub source: Option<Negatable<AddressRange>>,
    /// `--dst-range`
    #[serde(skip_serializing_if = "is_default")]
    pub destination: Option<Negatable<AddressRange>>,
}

impl IprangeMatch {
    /// The ranges in which no address is.
    pub(crate) fn reversed(&self) -> impl Iterator<Item = AddressRange> {
        let ranges = [self.source, self.destination].into_iter().flatten();
        ranges.map(|condition| condition.value).filter(|range| range.first > range.last)
    }
}

impl Extension for IprangeMatch {
    fn name(&self) -> &'static str {
        "iprange"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        if *self == Self::default() {
            return Err(InvalidRule::IprangeMissing);
        }
        Ok(())
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        let ranges = [self.source, self.destination].into_iter().flatten();
        let mut ends = ranges.flat_map(|range| [range.value.first, range.value.last]);
        ends.try_for_each(|end| only(end.into(), "an address of -m iprange", family))
    }

    fn save(&self, words: &mut SavedWords) {
        for (option, range) in [("--src-range", &self.source), ("--dst-range", &self.destination)] {
            if let Some(range) = range {
                words.option(option, range);
            }
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        for (end, range) in [("source", self.source), ("destination", self.destination)] {
            if let Some(Negatable { value, negated }) = range {
                let not = if negated { "! " } else { "" };
                line.push(format_args!(" {end} IP range {not}{value}"));
            }
        }
    }
}
