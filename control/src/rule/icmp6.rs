//! What the `icmp6` match looks at (`icmp6_match`, net/ipv6/netfilter/ip6_tables.c).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::extension::only;
use super::{Extension, Family, InvalidRule, ListedLine, Negatable, Protocol, SavedWords};

/// A type of ICMPv6 message and a range of its codes. Other than with IPv4, no number stands for
/// all types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Icmp6Type {
    /// The message's type.
    #[serde(rename = "type")]
    pub number: u8,
    /// The lowest code.
    pub first_code: u8,
    /// The highest code. As in ip6tables it may be below the first: no message has such a code.
    pub last_code: u8,
}

const fn every_code(number: u8) -> Icmp6Type {
    Icmp6Type { number, first_code: 0, last_code: u8::MAX }
}

const fn one_code(number: u8, code: u8) -> Icmp6Type {
    Icmp6Type { number, first_code: code, last_code: code }
}

impl Icmp6Type {
    /// Names of types, and of types with a code, in the order of ip6tables 1.8.11
    /// (extensions/libxt_icmp.h): in a listing the first that fits is printed.
    pub(crate) const NAMES: [(&'static str, Self); 32] = [
        ("destination-unreachable", every_code(1)),
        ("no-route", one_code(1, 0)),
        ("communication-prohibited", one_code(1, 1)),
        ("beyond-scope", one_code(1, 2)),
        ("address-unreachable", one_code(1, 3)),
        ("port-unreachable", one_code(1, 4)),
        ("failed-policy", one_code(1, 5)),
        ("reject-route", one_code(1, 6)),
        ("packet-too-big", every_code(2)),
        ("time-exceeded", every_code(3)),
        ("ttl-exceeded", every_code(3)),
        ("ttl-zero-during-transit", one_code(3, 0)),
        ("ttl-zero-during-reassembly", one_code(3, 1)),
        ("parameter-problem", every_code(4)),
        ("bad-header", one_code(4, 0)),
        ("unknown-header-type", one_code(4, 1)),
        ("unknown-option", one_code(4, 2)),
        ("echo-request", every_code(128)),
        ("ping", every_code(128)),
        ("echo-reply", every_code(129)),
        ("pong", every_code(129)),
        ("mld-listener-query", every_code(130)),
        ("mld-listener-report", every_code(131)),
        ("mld-listener-done", every_code(132)),
        ("mld-listener-reduction", every_code(132)),
        ("router-solicitation", every_code(133)),
        ("router-advertisement", every_code(134)),
        ("neighbour-solicitation", every_code(135)),
        ("neighbor-solicitation", every_code(135)),
        ("neighbour-advertisement", every_code(136)),
        ("neighbor-advertisement", every_code(136)),
        ("redirect", every_code(137)),
    ];

    /// Whether a message of this type and code is meant.
    pub fn matches(self, number: u8, code: u8) -> bool {
        self.number == number && (self.first_code..=self.last_code).contains(&code)
    }

    fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(_, known)| *known == self).map(|(name, _)| *name)
    }
}

impl fmt::Display for Icmp6Type {
    /// As after `--icmpv6-type`. Of several codes ip6tables prints the first only, so that its
    /// output, loaded again, means something else; here it is the whole range.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, first_code, last_code } = *self;
        match (first_code, last_code) {
            (0, u8::MAX) => write!(f, "{number}"),
            _ if first_code == last_code => write!(f, "{number}/{first_code}"),
            _ => write!(f, "{number}/{first_code}:{last_code}"),
        }
    }
}

/// The `icmp6` match. It is false for later fragments, which have no ICMPv6 header, even with `!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Icmp6Match {
    /// `--icmpv6-type`
    pub icmp6_type: Negatable<Icmp6Type>,
}

impl Default for Icmp6Match {
    fn default() -> Self {
        Self { icmp6_type: Negatable::is(every_code(0)) }
    }
}

impl Extension for Icmp6Match {
    fn name(&self) -> &'static str {
        "icmp6"
    }

    fn required_protocol(&self) -> Option<Protocol> {
        Some(Protocol::ICMPV6)
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        only(Family::V6, "-m icmp6", family)
    }

    fn save(&self, words: &mut SavedWords) {
        words.option("--icmpv6-type", &self.icmp6_type);
    }

    /// Without a blank before `type`, as ip6tables prints it.
    fn list(&self, line: &mut ListedLine<'_>) {
        let Negatable { value, negated } = self.icmp6_type;
        let name = value.name().filter(|_| !line.numeric);
        match (name, negated) {
            (Some(name), true) => return line.push(format_args!(" ipv6-icmp !{name}")),
            (Some(name), false) => return line.push(format_args!(" ipv6-icmp {name}")),
            (None, true) => line.push(format_args!(" ipv6-icmp !")),
            (None, false) => line.push(format_args!(" ipv6-icmp")),
        }
        let Icmp6Type { number, first_code, last_code } = value;
        line.push(format_args!("type {number}"));
        match (first_code, last_code) {
            (0, u8::MAX) => {}
            _ if first_code == last_code => line.push(format_args!(" code {first_code}")),
            _ => line.push(format_args!(" codes {first_code}-{last_code}")),
        }
    }
}
