//! Entries as numbers.
//!
//! ```text
//!   [`Key4`]   bits  0..32 address   32..48 port, or length of the prefix   48..56 protocol
//!              62 nomatch, of the slot only     63 taken
//!   [`Key6`]   an address in front, and a number as above without one
//! ```

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use ahash::RandomState;
use weir_control::set::{Addresses, Element, SetKind, To};

use super::shard::Shard;

const TAKEN: u64 = 1 << 63;
const NOMATCH: u64 = 1 << 62;

/// An entry of one of the two families. Two entries of a set are the same if their keys are.
pub(super) trait Key: Copy + Ord + Debug + 'static {
    /// What stands in a slot without an entry.
    const FREE: Self;

    /// Where it belongs in a table of that seed.
    fn hash(self, by: &RandomState) -> u64;

    /// What stands in a slot: the key, and whether it is an exception.
    fn of_slot(slot: Self) -> (Self, bool);

    /// As it stands in a slot.
    fn slot(self, nomatch: bool) -> Self;

    /// The length of a net.
    fn length(self) -> u8;

    /// As it is printed.
    fn element(self, kind: SetKind) -> Element;

    /// What stands in a table's directory while a shard is changed.
    fn blank() -> Arc<Shard<Self>>;
}

/// The mask of a prefix.
#[inline]
pub(super) fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0)
}

/// The same of IPv6.
#[inline]
pub(super) fn mask6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0)
}

/// What is not the address: bits from 32 on, as in the module.
#[inline]
fn port_bits(protocol: u8, port: u16) -> u64 {
    TAKEN | u64::from(port) << 32 | u64::from(protocol) << 48
}

#[inline]
fn length_bits(length: u8) -> u64 {
    TAKEN | u64::from(length) << 32
}

fn length_of(bits: u64) -> u8 {
    bits.to_be_bytes()[3]
}

fn protocol_of(bits: u64) -> u8 {
    bits.to_be_bytes()[1]
}

fn port_of(bits: u64) -> u16 {
    let [_, _, high, low, ..] = bits.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// As it is printed, with what is not the address.
fn element(address: IpAddr, bits: u64, kind: SetKind) -> Element {
    match kind {
        SetKind::HashNet => {
            Element::Addresses(Addresses { first: address, to: To::Length(length_of(bits)) })
        }
        SetKind::HashIpPort => Element::port(address, protocol_of(bits), port_of(bits)),
        SetKind::HashIp | SetKind::ListSet => Element::Addresses(Addresses::one(address)),
    }
}

/// An entry of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key4(u64);

impl Key4 {
    #[inline]
    pub(super) fn address(address: u32) -> Self {
        Self(TAKEN | u64::from(address))
    }

    /// The net of that length that the address is in.
    #[inline]
    pub(super) fn net(address: u32, length: u8) -> Self {
        Self(length_bits(length) | u64::from(address & mask(length)))
    }

    #[inline]
    pub(super) fn port(address: u32, protocol: u8, port: u16) -> Self {
        Self(port_bits(protocol, port) | u64::from(address))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the address is the lower half")]
    pub(super) fn ip(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn protocol(self) -> u8 {
        protocol_of(self.0)
    }

    pub(super) fn port_number(self) -> u16 {
        port_of(self.0)
    }
}

impl Key for Key4 {
    const FREE: Self = Self(0);

    #[inline]
    fn hash(self, by: &RandomState) -> u64 {
        by.hash_one(self.0)
    }

    #[inline]
    fn of_slot(slot: Self) -> (Self, bool) {
        (Self(slot.0 & !NOMATCH), slot.0 & NOMATCH != 0)
    }

    fn slot(self, nomatch: bool) -> Self {
        Self(self.0 | if nomatch { NOMATCH } else { 0 })
    }

    fn length(self) -> u8 {
        length_of(self.0)
    }

    fn element(self, kind: SetKind) -> Element {
        element(Ipv4Addr::from(self.ip()).into(), self.0, kind)
    }

    fn blank() -> Arc<Shard<Self>> {
        static BLANK: LazyLock<Arc<Shard<Key4>>> = LazyLock::new(|| Arc::new(Shard::new(0)));
        Arc::clone(&BLANK)
    }
}

/// An entry of IPv6. The address is in two halves, so that a slot takes 24 bytes and not 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key6 {
    address: [u64; 2],
    rest: u64,
}

impl Key6 {
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "each half by itself")]
    fn new(address: u128, rest: u64) -> Self {
        Self { address: [(address >> 64) as u64, address as u64], rest }
    }

    #[inline]
    pub(super) fn address(address: u128) -> Self {
        Self::new(address, TAKEN)
    }

    /// The net of that length that the address is in.
    #[inline]
    pub(super) fn net(address: u128, length: u8) -> Self {
        Self::new(address & mask6(length), length_bits(length))
    }

    #[inline]
    pub(super) fn port(address: u128, protocol: u8, port: u16) -> Self {
        Self::new(address, port_bits(protocol, port))
    }

    pub(super) fn ip(self) -> u128 {
        u128::from(self.address[0]) << 64 | u128::from(self.address[1])
    }

    pub(super) fn protocol(self) -> u8 {
        protocol_of(self.rest)
    }

    pub(super) fn port_number(self) -> u16 {
        port_of(self.rest)
    }
}

impl Key for Key6 {
    const FREE: Self = Self { address: [0; 2], rest: 0 };

    #[inline]
    fn hash(self, by: &RandomState) -> u64 {
        by.hash_one(self)
    }

    #[inline]
    fn of_slot(slot: Self) -> (Self, bool) {
        (Self { rest: slot.rest & !NOMATCH, ..slot }, slot.rest & NOMATCH != 0)
    }

    fn slot(self, nomatch: bool) -> Self {
        Self { rest: self.rest | if nomatch { NOMATCH } else { 0 }, ..self }
    }

    fn length(self) -> u8 {
        length_of(self.rest)
    }

    fn element(self, kind: SetKind) -> Element {
        element(Ipv6Addr::from(self.ip()).into(), self.rest, kind)
    }

    fn blank() -> Arc<Shard<Self>> {
        static BLANK: LazyLock<Arc<Shard<Key6>>> = LazyLock::new(|| Arc::new(Shard::new(0)));
        Arc::clone(&BLANK)
    }
}
