//! `-j SYNPROXY`: the firewall answers SYNs itself, and connects those who prove that they are there
//! (net/ipv4/netfilter/ipt_SYNPROXY.c, net/ipv6/netfilter/ip6t_SYNPROXY.c, net/netfilter/nf_synproxy_core.c).

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{InvalidRule, ListedLine, Negatable, Protocol, Rule, SavedWords, Table};

/// The target SYNPROXY: what it may promise in the server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SynproxyTarget {
    /// `--sack-perm`: selective acknowledgments.
    pub sack_perm: bool,
    /// `--timestamp`: timestamps, without which neither of the others can be kept.
    pub timestamp: bool,
    /// `--wscale`: the server's window scale.
    pub wscale: Option<u8>,
    /// `--mss`: the server's maximum segment size.
    pub mss: Option<u16>,
    /// `--ecn`: explicit congestion notification.
    pub ecn: bool,
}

impl TargetExtension for SynproxyTarget {
    /// It reads TCP headers (`synproxy_tg4_check`).
    fn validate(&self, rule: &Rule) -> Result<(), InvalidRule> {
        let tcp = rule.protocol == Some(Negatable::is(Protocol::TCP));
        if tcp { Ok(()) } else { Err(InvalidRule::SynproxyNeedsTcp) }
    }

    /// Chains INPUT and FORWARD, which table raw has not (`.hooks` of `synproxy_tg4_reg`).
    fn check_table(&self, table: Table) -> Result<(), InvalidRule> {
        super::target::only(Table::Filter, "SYNPROXY", table)
    }

    fn save(&self, words: &mut SavedWords) {
        if self.sack_perm {
            words.word("--sack-perm");
        }
        if self.timestamp {
            words.word("--timestamp");
        }
        if let Some(scale) = self.wscale {
            words.word("--wscale");
            words.word(scale.to_string());
        }
        if let Some(mss) = self.mss {
            words.word("--mss");
            words.word(mss.to_string());
        }
        if self.ecn {
            words.word("--ecn");
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" SYNPROXY "));
        if self.sack_perm {
            line.push(format_args!("sack-perm "));
        }
        if self.timestamp {
            line.push(format_args!("timestamp "));
        }
        if let Some(scale) = self.wscale {
            line.push(format_args!("wscale {scale} "));
        }
        if let Some(mss) = self.mss {
            line.push(format_args!("mss {mss} "));
        }
        if self.ecn {
            line.push(format_args!("ecn "));
        }
    }
}
