//! What the `addrtype` match looks at (net/netfilter/xt_addrtype.c, revision 1).

use std::fmt;
use std::ops::BitOr;

use serde::{Deserialize, Serialize};

use super::transport::is_default;
use super::{Extension, Family, InvalidRule, ListedLine, Negatable, SavedWords, negation};

/// Kinds of addresses, by the kinds of routes (linux/rtnetlink.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct AddressTypes(u16);

/// A bit that is no kind of route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("address types {0:#06x} are outside {known:#06x}", known = AddressTypes::ALL)]
pub struct AddressTypesError(u16);

impl AddressTypes {
    /// No address: of IPv6 `::`.
    pub const UNSPEC: Self = Self(1 << 0);
    /// Everything else.
    pub const UNICAST: Self = Self(1 << 1);
    /// The machine's own addresses.
    pub const LOCAL: Self = Self(1 << 2);
    /// Broadcast addresses of its subnets, 255.255.255.255, 0.0.0.0/8.
    pub const BROADCAST: Self = Self(1 << 3);
    /// Addresses of anycast routes.
    pub const ANYCAST: Self = Self(1 << 4);
    /// 224.0.0.0/4, ff00::/8.
    pub const MULTICAST: Self = Self(1 << 5);
    /// Of IPv6: addresses that a route forbids, or that have none.
    pub const UNREACHABLE: Self = Self(1 << 7);

    /// All names in the order of their bits. No address is of a kind that is not above: the kernel
    /// finds unicast for those whose routes forbid them.
    pub(crate) const NAMES: [(&'static str, Self); 12] = [
        ("UNSPEC", Self::UNSPEC),
        ("UNICAST", Self::UNICAST),
        ("LOCAL", Self::LOCAL),
        ("BROADCAST", Self::BROADCAST),
        ("ANYCAST", Self::ANYCAST),
        ("MULTICAST", Self::MULTICAST),
        ("BLACKHOLE", Self(1 << 6)),
        ("UNREACHABLE", Self::UNREACHABLE),
        ("PROHIBIT", Self(1 << 8)),
        ("THROW", Self(1 << 9)),
        ("NAT", Self(1 << 10)),
        ("XRESOLVE", Self(1 << 11)),
    ];

    const ALL: u16 = 0x0fff;

    /// Those of which the kernel says that no IPv6 address is: BROADCAST, BLACKHOLE, and all from
    /// PROHIBIT on.
    const NOT_OF_IPV6: Self = Self(Self::BROADCAST.0 | 1 << 6 | 0x0f00);

    /// The kinds with these bits.
    ///
    /// # Errors
    /// If there is a bit of no kind.
    pub fn from_bits(bits: u16) -> Result<Self, AddressTypesError> {
        if bits & !Self::ALL == 0 { Ok(Self(bits)) } else { Err(AddressTypesError(bits)) }
    }

    /// Whether a kind is in both.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for AddressTypes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for AddressTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = Self::NAMES.iter().filter(|(_, kind)| self.intersects(*kind));
        let names: Vec<&str> = set.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl TryFrom<u16> for AddressTypes {
    type Error = AddressTypesError;

    fn try_from(bits: u16) -> Result<Self, Self::Error> {
        Self::from_bits(bits)
    }
}

impl From<AddressTypes> for u16 {
    fn from(types: AddressTypes) -> Self {
        types.0
    }
}

/// The interface at which an address has to be of its kind; elsewhere it is unicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfaceLimit {
    /// `--limit-iface-in`: that by which the packet came.
    In,
    /// `--limit-iface-out`: that by which it will leave.
    Out,
}

/// The `addrtype` match. All that is asked for must hold; a rule asks for a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AddrtypeMatch {
    /// `--src-type`
    #[serde(skip_serializing_if = "is_default")]
    pub source: Option<Negatable<AddressTypes>>,
    /// `--dst-type`
    #[serde(skip_serializing_if = "is_default")]
    pub destination: Option<Negatable<AddressTypes>>,
    /// `--limit-iface-in`, `--limit-iface-out`
    #[serde(skip_serializing_if = "is_default")]
    pub limit: Option<IfaceLimit>,
}

impl Extension for AddrtypeMatch {
    fn name(&self) -> &'static str {
        "addrtype"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let asked = [self.source, self.destination].into_iter().flatten();
        match asked.map(|types| types.value.is_empty()).reduce(|one, other| one || other) {
            Some(false) => Ok(()),
            None | Some(true) => Err(InvalidRule::AddrtypeMissing),
        }
    }

    /// `addrtype_mt_checkentry_v1` (net/netfilter/xt_addrtype.c).
    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        let mut asked = [self.source, self.destination].into_iter().flatten();
        let refused = family == Family::V6
            && asked.any(|types| types.value.intersects(AddressTypes::NOT_OF_IPV6));
        if refused { Err(InvalidRule::AddrtypeNotOfIpv6) } else { Ok(()) }
    }

    fn save(&self, words: &mut SavedWords) {
        for (option, types) in [("--src-type", &self.source), ("--dst-type", &self.destination)] {
            if let Some(types) = types {
                words.option(option, types);
            }
        }
        match self.limit {
            None => {}
            Some(IfaceLimit::In) => words.word("--limit-iface-in"),
            Some(IfaceLimit::Out) => words.word("--limit-iface-out"),
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" ADDRTYPE match"));
        for (end, types) in [("src", self.source), ("dst", self.destination)] {
            if let Some(Negatable { value, negated }) = types {
                line.push(format_args!(" {end}-type {}{value}", negation(negated)));
            }
        }
        match self.limit {
            None => {}
            Some(IfaceLimit::In) => line.push(format_args!(" limit-in")),
            Some(IfaceLimit::Out) => line.push(format_args!(" limit-out")),
        }
    }
}
