//! What the `icmp` match looks at (`icmp_match`, net/netfilter/xt_tcpudp.c).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::{Extension, Family, InvalidRule, ListedLine, Negatable, Protocol, SavedWords};

/// A type of ICMP message and a range of its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcmpType {
    /// The message's type; [`Self::ANY_TYPE`] stands for all, whatever the codes.
    #[serde(rename = "type")]
    pub number: u8,
    /// The lowest code.
    pub first_code: u8,
    /// The highest code. As in iptables it may be below the first: no message has such a code.
    pub last_code: u8,
}

const fn every_code(number: u8) -> IcmpType {
    IcmpType { number, first_code: 0, last_code: u8::MAX }
}

const fn one_code(number: u8, code: u8) -> IcmpType {
    IcmpType { number, first_code: code, last_code: code }
}

impl IcmpType {
    /// The number that iptables and the kernel use for "any type".
    pub const ANY_TYPE: u8 = 255;

    /// Any message.
    pub const ANY: Self = every_code(Self::ANY_TYPE);

    /// Names of types, and of types with a code, in iptables' order (extensions/libxt_icmp.h):
    /// in a listing the first that fits is printed.
    pub(crate) const NAMES: [(&'static str, Self); 40] = [
        ("any", Self::ANY),
        ("echo-reply", every_code(0)),
        ("pong", every_code(0)),
        ("destination-unreachable", every_code(3)),
        ("network-unreachable", one_code(3, 0)),
        ("host-unreachable", one_code(3, 1)),
        ("protocol-unreachable", one_code(3, 2)),
        ("port-unreachable", one_code(3, 3)),
        ("fragmentation-needed", one_code(3, 4)),
        ("source-route-failed", one_code(3, 5)),
        ("network-unknown", one_code(3, 6)),
        ("host-unknown", one_code(3, 7)),
        ("network-prohibited", one_code(3, 9)),
        ("host-prohibited", one_code(3, 10)),
        ("TOS-network-unreachable", one_code(3, 11)),
        ("TOS-host-unreachable", one_code(3, 12)),
        ("communication-prohibited", one_code(3, 13)),
        ("host-precedence-violation", one_code(3, 14)),
        ("precedence-cutoff", one_code(3, 15)),
        ("source-quench", every_code(4)),
        ("redirect", every_code(5)),
        ("network-redirect", one_code(5, 0)),
        ("host-redirect", one_code(5, 1)),
        ("TOS-network-redirect", one_code(5, 2)),
        ("TOS-host-redirect", one_code(5, 3)),
        ("echo-request", every_code(8)),
        ("ping", every_code(8)),
        ("router-advertisement", every_code(9)),
        ("router-solicitation", every_code(10)),
        ("time-exceeded", every_code(11)),
        ("ttl-exceeded", every_code(11)),
        ("ttl-zero-during-transit", one_code(11, 0)),
        ("ttl-zero-during-reassembly", one_code(11, 1)),
        ("parameter-problem", every_code(12)),
        ("ip-header-bad", one_code(12, 0)),
        ("required-option-missing", one_code(12, 1)),
        ("timestamp-request", every_code(13)),
        ("timestamp-reply", every_code(14)),
        ("address-mask-request", every_code(17)),
        ("address-mask-reply", every_code(18)),
    ];

    /// Whether a message of this type and code is meant.
    pub fn matches(self, number: u8, code: u8) -> bool {
        let codes = self.first_code..=self.last_code;
        self.number == Self::ANY_TYPE || (self.number == number && codes.contains(&code))
    }

    fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(_, known)| *known == self).map(|(name, _)| *name)
    }
}

impl fmt::Display for IcmpType {
    /// As after `--icmp-type`. Of several codes iptables prints the first only, so that its
    /// output, loaded again, means something else; here it is the whole range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, first_code, last_code } = *self;
        match (first_code, last_code) {
            _ if *self == Self::ANY => f.write_str("any"),
            (0, u8::MAX) => write!(f, "{number}"),
            _ if first_code == last_code => write!(f, "{number}/{first_code}"),
            _ => write!(f, "{number}/{first_code}:{last_code}"),
        }
    }
}

/// The `icmp` match. It is false for later fragments, which have no ICMP header, even with `!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcmpMatch {
    /// `--icmp-type`
    pub icmp_type: Negatable<IcmpType>,
}

impl Default for IcmpMatch {
    fn default() -> Self {
        Self { icmp_type: Negatable::is(IcmpType::ANY) }
    }
}

impl Extension for IcmpMatch {
    fn name(&self) -> &'static str {
        "icmp"
    }

    fn required_protocol(&self) -> Option<Protocol> {
        Some(Protocol::ICMP)
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        only(Family::V4, "-m icmp", family)
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--icmp-type", &self.icmp_type);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.icmp_type;
        let name = value.name().filter(|_| !line.numeric);
        match (name, negated) {
            (Some(name), true) => return line.push(format_args!(" icmp !{name}")),
            (Some(name), false) => return line.push(format_args!(" icmp {name}")),
            (None, true) => line.push(format_args!(" icmp !")),
            (None, false) => line.push(format_args!(" icmp")),
        }
        let IcmpType { number, first_code, last_code } = value;
        line.push(format_args!("type {number}"));
        match (first_code, last_code) {
            (0, u8::MAX) => {}
            _ if first_code == last_code => line.push(format_args!(" code {first_code}")),
            _ => line.push(format_args!(" codes {first_code}-{last_code}")),
        }
    }
}
