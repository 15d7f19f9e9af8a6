//! What the `tcpmss` match looks at (net/netfilter/xt_tcpmss.c).

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, Protocol, SavedWords, SizeRange, negation};

/// The `tcpmss` match: the maximum segment size that a TCP header announces (RFC 9293, 3.7.1).
/// A segment without the option is in no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpMssMatch {
    /// `--mss`
    pub mss: Negatable<SizeRange>,
}

impl Extension for TcpMssMatch {
    fn name(&self) -> &'static str {
        "tcpmss"
    }

    fn required_protocol(&self) -> Option<Protocol> {
        Some(Protocol::TCP)
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--mss", &self.mss);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.mss;
        line.push(format_args!(" tcpmss match {}{value}", negation(negated)));
    }
}
