//! What the `tos` match looks at (net/netfilter/xt_dscp.c, extensions/libxt_tos.c revision 1).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, SavedWords, negation};

/// Some bits of the second byte of the IPv4 header, which RFC 791 calls type of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tos {
    /// What the bits must be. One outside of the mask is never met.
    pub value: u8,
    /// Which bits are looked at.
    pub mask: u8,
}

impl Tos {
    /// The names of RFC 1349 (section 4), in the order in which iptables looks for them.
    pub(crate) const NAMES: [(&'static str, u8); 5] = [
        ("Minimize-Delay", 0x10),
        ("Maximize-Throughput", 0x08),
        ("Maximize-Reliability", 0x04),
        ("Minimize-Cost", 0x02),
        ("Normal-Service", 0x00),
    ];

    /// The mask that a name brings.
    pub(crate) const NAME_MASK: u8 = 0x3f;

    /// Whether this byte has the bits.
    pub fn matches(self, byte: u8) -> bool {
        byte & self.mask == self.value
    }

    fn name(self) -> Option<&'static str> {
        let mut known = Self::NAMES.iter().filter(|_| self.mask == Self::NAME_MASK);
        known.find(|(_, value)| *value == self.value).map(|(name, _)| *name)
    }
}

impl fmt::Display for Tos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02x}/0x{:02x}", self.value, self.mask)
    }
}

/// The `tos` match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TosMatch {
    /// `--tos`
    pub tos: Negatable<Tos>,
}

impl Extension for TosMatch {
    fn name(&self) -> &'static str {
        "tos"
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--tos", &self.tos);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.tos;
        let not = negation(negated);
        // Only names have a blank before them.
        match value.name().filter(|_| !line.numeric) {
            Some(name) => line.push(format_args!(" tos match{not} {name}")),
            None => line.push(format_args!(" tos match{not}{value}")),
        }
    }
}
