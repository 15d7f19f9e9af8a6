//! `-j REJECT` of ip6tables: the packet is thrown away and its sender told so.

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{Family, InvalidRule, ListedLine, RejectWith, Rule, SavedWords, Table};

/// `--reject-with`: what the sender is told. The order is that of `enum ip6t_reject_with`
/// (linux/netfilter_ipv6/ip6t_REJECT.h), in which a shortened name is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reject6With {
    /// ICMPv6 destination unreachable, code 0.
    #[serde(rename = "icmp6-no-route")]
    NoRoute,
    /// Code 1.
    #[serde(rename = "icmp6-adm-prohibited")]
    AdmProhibited,
    /// Code 3.
    #[serde(rename = "icmp6-addr-unreachable")]
    AddrUnreachable,
    /// Code 4: what is sent unless something else is asked for.
    #[default]
    #[serde(rename = "icmp6-port-unreachable")]
    PortUnreachable,
    /// A TCP reset. The rule must select TCP.
    TcpReset,
    /// Code 5.
    #[serde(rename = "icmp6-policy-fail")]
    PolicyFail,
    /// Code 6.
    #[serde(rename = "icmp6-reject-route")]
    RejectRoute,
}

impl Reject6With {
    /// All of them in the kernel's order, with the name that is printed and the short one
    /// (extensions/libip6t_REJECT.c of iptables).
    pub const NAMES: [(Self, &'static str, &'static str); 7] = [
        (Self::NoRoute, "icmp6-no-route", "no-route"),
        (Self::AdmProhibited, "icmp6-adm-prohibited", "adm-prohibited"),
        (Self::AddrUnreachable, "icmp6-addr-unreachable", "addr-unreach"),
        (Self::PortUnreachable, "icmp6-port-unreachable", "port-unreach"),
        (Self::TcpReset, "tcp-reset", "tcp-reset"),
        (Self::PolicyFail, "icmp6-policy-fail", "policy-fail"),
        (Self::RejectRoute, "icmp6-reject-route", "reject-route"),
    ];

    /// The word after `--reject-with`.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(with, ..)| *with == self);
        named.map_or("", |(_, name, _)| name)
    }
}

impl TargetExtension for Reject6With {
    /// A reset answers a segment (`reject_tg6_check`, net/ipv6/netfilter/ip6t_REJECT.c).
    fn validate(&self, rule: &Rule) -> Result<(), InvalidRule> {
        match self {
            Self::TcpReset => RejectWith::TcpReset.validate(rule),
            _ => Ok(()),
        }
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        super::extension::only(Family::V6, self.name(), family)
    }

    fn check_table(&self, table: Table) -> Result<(), InvalidRule> {
        super::target::only(Table::Filter, "REJECT", table)
    }

    fn save(&self, words: &mut SavedWords) {
        words.word("--reject-with");
        words.word(self.name());
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" reject-with {}", self.name()));
    }
}
