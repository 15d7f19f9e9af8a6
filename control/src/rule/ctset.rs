//! Sets of connection states and of connection marks.

use std::fmt;
use std::ops::BitOr;

use serde::{Deserialize, Serialize};

/// A set of connection states; the bits are those of `xt_conntrack_mtinfo3::state_mask`
/// (include/uapi/linux/netfilter/xt_conntrack.h).
///
/// Two kinds of bits never occur in a packet yet, and are accepted because netfilter does the same
/// where nothing sets them: [`Self::SNAT`] and [`Self::DNAT`], since Weir translates no addresses,
/// and [`Self::UNTRACKED`], since it has no `NOTRACK`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct CtStates(u16);

/// A bit without a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {bits:#06x} have a bit that stands for nothing")]
pub struct CtBitsError {
    what: &'static str,
    bits: u16,
}

impl CtStates {
    /// The packet belongs to no connection and could not begin one.
    pub const INVALID: Self = Self(0x01);
    /// In reply direction, or after a reply was seen.
    pub const ESTABLISHED: Self = Self(0x02);
    /// Begins an expected connection, or is an ICMP error about a known one.
    pub const RELATED: Self = Self(0x04);
    /// In original direction, before any reply.
    pub const NEW: Self = Self(0x08);
    /// The source of the connection was translated: never so in Weir. The only states that a
    /// packet can have beside another one are this and [`Self::DNAT`].
    pub const SNAT: Self = Self(0x40);
    /// The destination of the connection was translated: never so in Weir.
    pub const DNAT: Self = Self(0x80);
    /// Exempted from tracking: never so in Weir, yet.
    pub const UNTRACKED: Self = Self(0x100);

    /// Names with their bits, in the order in which iptables prints them.
    pub const NAMES: [(&'static str, Self); 7] = [
        ("INVALID", Self::INVALID),
        ("NEW", Self::NEW),
        ("RELATED", Self::RELATED),
        ("ESTABLISHED", Self::ESTABLISHED),
        ("UNTRACKED", Self::UNTRACKED),
        ("SNAT", Self::SNAT),
        ("DNAT", Self::DNAT),
    ];

    /// The states of these bits.
    ///
    /// # Errors
    /// If a bit has no name.
    pub fn from_bits(bits: u16) -> Result<Self, CtBitsError> {
        let known = Self::NAMES.iter().fold(0, |known, (_, state)| known | state.0);
        let what = "connection states";
        if bits & !known == 0 { Ok(Self(bits)) } else { Err(CtBitsError { what, bits }) }
    }

    /// The bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether both sets have a state in common.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is no state in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for CtStates {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for CtStates {
    /// As after `--ctstate`: `NEW,ESTABLISHED`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, Self::NAMES.iter().filter(|(_, state)| self.intersects(*state)).map(|(n, _)| *n))
    }
}

impl TryFrom<u16> for CtStates {
    type Error = CtBitsError;

    fn try_from(bits: u16) -> Result<Self, Self::Error> {
        Self::from_bits(bits)
    }
}

impl From<CtStates> for u16 {
    fn from(states: CtStates) -> Self {
        states.0
    }
}

/// A set of a connection's marks; the bits are those of `nf_conn::status`
/// (include/uapi/linux/netfilter/nf_conntrack_common.h).
///
/// The condition holds if the connection has *any* of them. So the empty set, `NONE`, never holds
/// and `! --ctstatus NONE` always does, as in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct CtStatuses(u8);

impl CtStatuses {
    /// No mark at all.
    pub const NONE: Self = Self(0);
    /// Expected by another connection.
    pub const EXPECTED: Self = Self(0x01);
    /// There were packets in both directions.
    pub const SEEN_REPLY: Self = Self(0x02);
    /// Not to be given up early.
    pub const ASSURED: Self = Self(0x04);
    /// Its first packet has left the firewall.
    pub const CONFIRMED: Self = Self(0x08);

    /// Names with their bits, in the order in which iptables prints them.
    pub const NAMES: [(&'static str, Self); 4] = [
        ("EXPECTED", Self::EXPECTED),
        ("SEEN_REPLY", Self::SEEN_REPLY),
        ("ASSURED", Self::ASSURED),
        ("CONFIRMED", Self::CONFIRMED),
    ];

    /// The marks of these bits.
    ///
    /// # Errors
    /// If a bit has no name.
    pub fn from_bits(bits: u8) -> Result<Self, CtBitsError> {
        let what = "connection statuses";
        if bits <= 0x0f { Ok(Self(bits)) } else { Err(CtBitsError { what, bits: bits.into() }) }
    }

    /// The bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether both sets have a mark in common.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for CtStatuses {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for CtStatuses {
    /// As after `--ctstatus`: `SEEN_REPLY,ASSURED`, or `NONE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("NONE");
        }
        join(f, Self::NAMES.iter().filter(|(_, status)| self.intersects(*status)).map(|(n, _)| *n))
    }
}

impl TryFrom<u8> for CtStatuses {
    type Error = CtBitsError;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        Self::from_bits(bits)
    }
}

impl From<CtStatuses> for u8 {
    fn from(statuses: CtStatuses) -> Self {
        statuses.0
    }
}

fn join<'a>(f: &mut fmt::Formatter<'_>, names: impl Iterator<Item = &'a str>) -> fmt::Result {
    for (index, name) in names.enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        f.write_str(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_know_their_bits() {
        let all = CtStates::NAMES.iter().fold(CtStates::default(), |all, (_, state)| all | *state);
        assert_eq!(all.to_string(), "INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED,SNAT,DNAT");
        assert_eq!(CtStates::from_bits(all.bits()), Ok(all));
        let error = CtStates::from_bits(0x10).expect_err("no such state");
        assert_eq!(
            error.to_string(),
            "connection states 0x0010 have a bit that stands for nothing"
        );
        assert_eq!(CtStatuses::from_bits(0), Ok(CtStatuses::NONE));
        assert!(CtStatuses::from_bits(0x10).is_err());
        assert!(!CtStatuses::NONE.intersects(CtStatuses::from_bits(0x0f).expect("all")));
    }
}
