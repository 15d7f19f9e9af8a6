//! What the `ecn` match looks at (net/netfilter/xt_ecn.c).

use serde::{Deserialize, Serialize};

use super::transport::is_default;
use super::{Extension, InvalidRule, ListedLine, Negatable, Protocol, SavedWords, negation};

/// The `ecn` match: explicit congestion notification (RFC 3168). All that is asked for must hold;
/// a rule asks for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EcnMatch {
    /// `--ecn-tcp-ece`: whether the TCP flag ECE must be set, or clear.
    #[serde(skip_serializing_if = "is_default")]
    pub tcp_ece: Option<bool>,
    /// `--ecn-tcp-cwr`: whether the TCP flag CWR must be set, or clear.
    #[serde(skip_serializing_if = "is_default")]
    pub tcp_cwr: Option<bool>,
    /// `--ecn-ip-ect`: the codepoint in the IPv4 header, 0 to [`Self::IP_ECT_MAX`].
    #[serde(skip_serializing_if = "is_default")]
    pub ip_ect: Option<Negatable<u8>>,
}

impl EcnMatch {
    /// The largest codepoint: there are two bits for it.
    pub const IP_ECT_MAX: u8 = 3;

    /// Whether it looks into TCP headers.
    pub fn reads_tcp(&self) -> bool {
        self.tcp_ece.is_some() || self.tcp_cwr.is_some()
    }
}

impl Extension for EcnMatch {
    fn name(&self) -> &'static str {
        "ecn"
    }

    fn required_protocol(&self) -> Option<Protocol> {
        self.reads_tcp().then_some(Protocol::TCP)
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        if *self == Self::default() {
            return Err(InvalidRule::EcnMissing);
        }
        match self.ip_ect {
            Some(Negatable { value: beyond, .. }) if beyond > Self::IP_ECT_MAX => {
                Err(InvalidRule::EcnCodepoint)
            }
            _ => Ok(()),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        for (option, set) in [("--ecn-tcp-ece", self.tcp_ece), ("--ecn-tcp-cwr", self.tcp_cwr)] {
            if let Some(set) = set {
                words.flag(option, !set);
            }
        }
        if let Some(ect) = &self.ip_ect {
            words.option("--ecn-ip-ect", ect);
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" ECN match"));
        for (flag, set) in [("ECE", self.tcp_ece), ("CWR", self.tcp_cwr)] {
            if let Some(set) = set {
                line.push(format_args!(" {}{flag}", negation(!set)));
            }
        }
        if let Some(Negatable { value, negated }) = self.ip_ect {
            line.push(format_args!(" {}ECT={value}", negation(negated)));
        }
    }
}
