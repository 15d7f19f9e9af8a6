//! `-j REJECT`: the packet is thrown away and its sender told so.

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{Family, InvalidRule, ListedLine, Negatable, Protocol, Rule, SavedWords, Table};

/// `--reject-with`: what the sender is told. The order is that of `enum ipt_reject_with`
/// (linux/netfilter_ipv4/ipt_REJECT.h), in which a shortened name is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectWith {
    /// ICMP destination unreachable, code 0.
    IcmpNetUnreachable,
    /// Code 1.
    IcmpHostUnreachable,
    /// Code 2.
    IcmpProtoUnreachable,
    /// Code 3: what is sent unless something else is asked for.
    #[default]
    IcmpPortUnreachable,
    /// Code 9.
    IcmpNetProhibited,
    /// Code 10.
    IcmpHostProhibited,
    /// A TCP reset. The rule must select TCP.
    TcpReset,
    /// Code 13.
    IcmpAdminProhibited,
}

impl RejectWith {
    /// All of them in the kernel's order, with the name that is printed and the short one
    /// (extensions/libipt_REJECT.c of iptables).
    pub const NAMES: [(Self, &'static str, &'static str); 8] = [
        (Self::IcmpNetUnreachable, "icmp-net-unreachable", "net-unreach"),
        (Self::IcmpHostUnreachable, "icmp-host-unreachable", "host-unreach"),
        (Self::IcmpProtoUnreachable, "icmp-proto-unreachable", "proto-unreach"),
        (Self::IcmpPortUnreachable, "icmp-port-unreachable", "port-unreach"),
        (Self::IcmpNetProhibited, "icmp-net-prohibited", "net-prohib"),
        (Self::IcmpHostProhibited, "icmp-host-prohibited", "host-prohib"),
        (Self::TcpReset, "tcp-reset", "tcp-rst"),
        (Self::IcmpAdminProhibited, "icmp-admin-prohibited", "admin-prohib"),
    ];

    /// The word after `--reject-with`.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(with, ..)| *with == self);
        named.map_or("", |(_, name, _)| name)
    }
}

impl TargetExtension for RejectWith {
    /// A reset answers a segment (`reject_tg_check`, net/ipv4/netfilter/ipt_REJECT.c).
    fn validate(&self, rule: &Rule) -> Result<(), InvalidRule> {
        let tcp = rule.protocol == Some(Negatable::is(Protocol::TCP));
        if *self == Self::TcpReset && !tcp {
            return Err(InvalidRule::ResetNeedsTcp);
        }
        Ok(())
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        super::extension::only(Family::V4, self.name(), family)
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
