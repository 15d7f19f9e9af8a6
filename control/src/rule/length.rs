//! What the `length` match looks at (net/netfilter/xt_length.c).

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, SavedWords, SizeRange, negation};

/// The `length` match: total length of the packet in bytes, its header included. IPv6 says how much
/// follows its header, so the kernel adds 40 (`length_mt6`); of a jumbogram, which says 0, it is 40.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthMatch {
    /// `--length`
    pub length: Negatable<SizeRange>,
}

impl Extension for LengthMatch {
    fn name(&self) -> &'static str {
        "length"
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--length", &self.length);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.length;
        line.push(format_args!(" length {}{value}", negation(negated)));
    }
}
