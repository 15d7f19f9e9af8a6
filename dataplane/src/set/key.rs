//! Entries as numbers.
//!
//! ```text
//!   bits  0..32 address   32..48 port, or length of the prefix   48..56 protocol
//!         62 nomatch, of the slot only     63 taken
//! ```

use std::net::Ipv4Addr;

use weir_control::set::{Addresses, Element, SetKind, To};

/// An entry. Two entries of a set are the same if their keys are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(u64);

const TAKEN: u64 = 1 << 63;
const NOMATCH: u64 = 1 << 62;

/// The mask of a prefix.
#[inline]
pub(super) fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0)
}

impl Key {
    #[inline]
    pub(super) fn address(address: u32) -> Self {
        Self(TAKEN | u64::from(address))
    }

    /// The net of that length that the address is in.
    #[inline]
    pub(super) fn net(address: u32, length: u8) -> Self {
        Self(TAKEN | u64::from(address & mask(length)) | u64::from(length) << 32)
    }

    #[inline]
    pub(super) fn port(address: u32, protocol: u8, port: u16) -> Self {
        Self(TAKEN | u64::from(address) | u64::from(port) << 32 | u64::from(protocol) << 48)
    }

    /// What stands in a slot, and whether it is an exception.
    pub(super) fn of_slot(slot: u64) -> (Self, bool) {
        (Self(slot & !NOMATCH), slot & NOMATCH != 0)
    }

    pub(super) fn slot(self, nomatch: bool) -> u64 {
        self.0 | if nomatch { NOMATCH } else { 0 }
    }

    /// The number to be hashed.
    #[inline]
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// The length of a net.
    pub(super) fn length(self) -> u8 {
        self.0.to_be_bytes()[3]
    }

    #[expect(clippy::cast_possible_truncation, reason = "the address is the lower half")]
    pub(super) fn ip(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn protocol(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    pub(super) fn port_number(self) -> u16 {
        let [_, _, high, low, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// As it is printed.
    pub(super) fn element(self, kind: SetKind) -> Element {
        let address = Ipv4Addr::from(self.ip());
        match kind {
            SetKind::HashNet => {
                Element::Addresses(Addresses { first: address, to: To::Length(self.length()) })
            }
            SetKind::HashIpPort => Element::port(address, self.protocol(), self.port_number()),
            SetKind::HashIp | SetKind::ListSet => Element::Addresses(Addresses::one(address)),
        }
    }
}
