//! Kinds of sets, and what `ipset create` says of one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rule::Family;

/// The kind of a set, by the name that ipset gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SetKind {
    /// Addresses.
    #[serde(rename = "hash:ip")]
    HashIp,
    /// Nets, and exceptions from them (`nomatch`): the longest prefix decides.
    #[serde(rename = "hash:net")]
    HashNet,
    /// Addresses with a protocol and a port.
    #[serde(rename = "hash:ip,port")]
    HashIpPort,
    /// Other sets: what is in one of them is in it.
    #[serde(rename = "list:set")]
    ListSet,
}

impl SetKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::HashIp, Self::HashNet, Self::HashIpPort, Self::ListSet];

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashIp => "hash:ip",
            Self::HashNet => "hash:net",
            Self::HashIpPort => "hash:ip,port",
            Self::ListSet => "list:set",
        }
    }

    /// The kind of that name, be it one of those of ipset 4.
    pub fn of_name(name: &str) -> Option<Self> {
        let old = match name {
            "iphash" => Some(Self::HashIp),
            "nethash" => Some(Self::HashNet),
            "ipporthash" => Some(Self::HashIpPort),
            "setlist" => Some(Self::ListSet),
            _ => None,
        };
        old.or_else(|| Self::ALL.into_iter().find(|kind| kind.name() == name))
    }

    /// The revision of ipset 7.17 whose words are understood.
    pub fn revision(self) -> u8 {
        match self {
            Self::HashIp => 6,
            Self::HashNet | Self::HashIpPort => 7,
            Self::ListSet => 3,
        }
    }

    /// How many of a rule's `src` and `dst` it looks at: a rule that has fewer matches nothing
    /// (`ip_set_test`, net/netfilter/ipset/ip_set_core.c).
    pub fn dimension(self) -> usize {
        match self {
            Self::HashIp | Self::HashNet | Self::ListSet => 1,
            Self::HashIpPort => 2,
        }
    }
}

impl fmt::Display for SetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// By what entries of a set are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SetForm {
    /// The set's kind.
    pub kind: SetKind,
    /// The family of its addresses; of a list, which has none, IPv4.
    pub family: Family,
}

/// `family`, as ipset names it.
pub(super) fn family_word(family: Family) -> &'static str {
    match family {
        Family::V4 => "inet",
        Family::V6 => "inet6",
    }
}

fn is_v4(family: &Family) -> bool {
    *family == Family::V4
}

/// What a set is made as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSpec {
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: SetKind,
    /// `family`: that of its addresses; of a list, which has none, IPv4.
    #[serde(default, skip_serializing_if = "is_v4")]
    pub family: Family,
    /// `hashsize`, a power of two. The kernel's table begins with so many buckets and grows; Weir's
    /// begins small and grows as well, so the number is kept and printed, and means nothing else.
    pub hashsize: u32,
    /// `maxelem`: it takes no more entries than that.
    pub maxelem: u32,
    /// `size` of a list, likewise only kept: as in the kernel, a list takes more.
    pub size: u32,
    /// `netmask` of `hash:ip`: the length of the nets that are stored in place of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netmask: Option<u8>,
    /// `timeout`: how long entries stay that say nothing else; 0 for ever. `None`: entries may not
    /// have timeouts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// `comment`: entries may have comments.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub comment: bool,
    /// `bucketsize`, kept and printed as `hashsize`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucketsize: Option<u8>,
    /// `initval`, kept and printed: Weir's hash has a seed of its own, drawn at each start, so that
    /// nobody who has a saved set can make entries that meet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initval: Option<u32>,
}

impl SetSpec {
    /// With ipset's defaults.
    pub fn new(kind: SetKind) -> Self {
        Self {
            kind,
            family: Family::V4,
            hashsize: 1_024,
            maxelem: 65_536,
            size: 8,
            netmask: None,
            timeout_s: None,
            comment: false,
            bucketsize: None,
            initval: None,
        }
    }

    /// By what its entries are read.
    pub fn form(&self) -> SetForm {
        SetForm { kind: self.kind, family: self.family }
    }

    /// Rounds as the kernel does (`IP_SET_HASH_WITH_…_create`, `list_set_create`): buckets to the next
    /// power of two, at least 64; their size to even numbers from 2 to 12; lists to at least 4.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        self.hashsize = self.hashsize.clamp(64, 1 << 31).next_power_of_two();
        self.bucketsize = self.bucketsize.map(|size| size.clamp(2, 12).next_multiple_of(2));
        self.size = self.size.max(4);
        self.netmask = self.netmask.filter(|length| *length != self.family.address_bits());
        self
    }

    /// Whether `create -exist` takes the one for the other (`…_same_set`).
    pub fn is_same(&self, other: &Self) -> bool {
        let sizes = |spec: &Self| match spec.kind {
            SetKind::ListSet => spec.size,
            _ => spec.maxelem,
        };
        self.form() == other.form()
            && sizes(self) == sizes(other)
            && self.netmask == other.netmask
            && self.timeout_s == other.timeout_s
            && self.comment == other.comment
    }
}
