//! By what `hashlimit` and `fuzzy` tell packets apart: parts of addresses, and ports.

use serde::{Deserialize, Serialize};

use super::{Family, SavedWords};

/// Addresses and ports that make a key, each or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyParts {
    /// `srcip`
    pub source: bool,
    /// `srcport`
    pub source_port: bool,
    /// `dstip`
    pub destination: bool,
    /// `dstport`
    pub destination_port: bool,
}

impl KeyParts {
    /// None of them: all packets have one key.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether ports are asked for.
    pub fn ports(&self) -> bool {
        self.source_port || self.destination_port
    }

    /// Reads `srcip,dstport`; `|` does for a comma, as in iptables, and nothing may stand between two of them.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = Self::default();
        for word in text.split([',', '|']).filter(|word| !word.is_empty()) {
            match word {
                "srcip" => parts.source = true,
                "srcport" => parts.source_port = true,
                "dstip" => parts.destination = true,
                "dstport" => parts.destination_port = true,
                _ => return None,
            }
        }
        Some(parts)
    }

    /// In the order in which iptables prints them.
    pub(crate) fn text(&self, separator: &str) -> String {
        let parts = [
            (self.source, "srcip"),
            (self.source_port, "srcport"),
            (self.destination, "dstip"),
            (self.destination_port, "dstport"),
        ];
        let words: Vec<&str> = parts.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        words.join(separator)
    }
}

/// How many bits of the addresses count; all where it is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyMasks {
    /// Of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<u8>,
    /// Of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<u8>,
}

impl KeyMasks {
    /// Whether addresses of the family have so many bits.
    pub(crate) fn fit(&self, family: Family) -> bool {
        let fits = |bits: Option<u8>| bits.is_none_or(|bits| bits <= family.address_bits());
        fits(self.source) && fits(self.destination)
    }

    /// What was said, with the name of each.
    pub(crate) fn said(&self) -> impl Iterator<Item = (&'static str, u8)> {
        let said = [("srcmask", self.source), ("dstmask", self.destination)];
        said.into_iter().filter_map(|(name, bits)| Some((name, bits?)))
    }

    /// As options that begin so.
    pub(crate) fn save(&self, prefix: &str, words: &mut SavedWords) {
        for (name, bits) in self.said() {
            words.word(format!("--{prefix}-{name}"));
            words.word(bits.to_string());
        }
    }
}
