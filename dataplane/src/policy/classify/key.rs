//! What rules ask for and what packets have, in the form in which they are compared.
//!
//! ```text
//!   addresses  bits  0..32 source         32..64 destination
//!   rest       bits  0..16 source port    16..32 destination port    32..40 protocol
//!                   40..48 ingress        48..56 egress
//! ```
//!
//! A rule's *care mask* has a one wherever every packet that matches the rule has the same bit: an address mask as it
//! stands, the common prefix of a port range's ends, the protocol, and an interface where the rule allows just one.

use std::net::Ipv6Addr;
use std::ops::RangeInclusive;

use super::table::hash;
use crate::port::{PORTS_MAX, PortIndex};

/// `value & mask == network`: an address with any mask, not only that of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressKey {
    /// What the masked address must be. Bits outside the mask do not matter.
    pub network: u32,
    /// The bits that are looked at.
    pub mask: u32,
}

impl AddressKey {
    /// Holds for every address.
    pub const ANY: Self = Self { network: 0, mask: 0 };

    /// The addresses that share the first `length` bits of `network`; 32 at most.
    #[must_use]
    pub fn prefix(network: u32, length: u32) -> Self {
        let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
        Self { network: network & mask, mask }
    }
}

/// The part of a rule that is the same for every packet of a flow.
///
/// A part that the rule negates, or that cannot be said here, is left at its value of [`RuleKey::ANY`]; then the
/// rule is a candidate for more packets than it matches, and whoever asks tests the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleKey {
    /// Source addresses.
    pub source: AddressKey,
    /// Destination addresses.
    pub destination: AddressKey,
    /// Ports (bits, as [`PortIndex::bit`]) by which the packet may come in.
    pub ingress: u32,
    /// Ports (bits) by which it may leave.
    pub egress: u32,
    /// Protocol number; `None` holds for every protocol, `Some(0)` for protocol 0 alone.
    pub protocol: Option<u8>,
    /// Source ports. An empty range holds for no packet.
    pub source_ports: RangeInclusive<u16>,
    /// Destination ports.
    pub destination_ports: RangeInclusive<u16>,
}

impl RuleKey {
    /// Holds for every packet.
    pub const ANY: Self = Self {
        source: AddressKey::ANY,
        destination: AddressKey::ANY,
        ingress: u32::MAX,
        egress: u32::MAX,
        protocol: None,
        source_ports: 0..=u16::MAX,
        destination_ports: 0..=u16::MAX,
    };

    /// Whether no packet at all can match: an empty range of ports, or no interface.
    pub(super) fn is_void(&self) -> bool {
        self.source_ports.is_empty()
            || self.destination_ports.is_empty()
            || self.ingress == 0
            || self.egress == 0
    }
}

/// The flow-constant part of a packet.
///
/// A packet without ports has ports 0; no rule that asks for ports matches it, for such a rule asks for its
/// protocol as well. A packet whose ports cannot be *read* (a later fragment, a truncated header) is none for a
/// classifier: what a port test makes of it depends on the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PacketKey {
    pub(super) addresses: u64,
    pub(in crate::policy) rest: u64,
}

impl PacketKey {
    /// The same with a byte of its own meaning, for a table of such keys.
    #[inline]
    #[must_use]
    pub(in crate::policy) fn marked(self, mark: u8) -> Self {
        Self { rest: self.rest | u64::from(mark) << MARK, ..self }
    }

    /// A hash of it, whose low bits are worth as much as the others.
    #[inline]
    #[must_use]
    pub(in crate::policy) fn mixed(self) -> u64 {
        const ODD: u64 = 0xd6e8_feb8_6659_fd93;
        let hash = hash(self);
        (hash ^ hash >> 32).wrapping_mul(ODD) >> 16
    }

    /// The same of it and of addresses of IPv6.
    #[inline]
    #[must_use]
    pub(in crate::policy) fn mixed_with(self, source: Ipv6Addr, destination: Ipv6Addr) -> u64 {
        const ODD: [u64; 3] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f, 0xff51_afd7_ed55_8ccd];
        // Each half turned by another number of bits, so that none is lost where two are alike.
        let [a, b, c, d] = [source, destination].map(halves).as_flattened()[..] else { return 0 };
        let one = (a.wrapping_mul(ODD[0]) ^ b.rotate_left(23)).wrapping_mul(ODD[1]);
        let two = (c.wrapping_mul(ODD[1]) ^ d.rotate_left(41)).wrapping_mul(ODD[2]);
        Self { addresses: one ^ one >> 29 ^ two.rotate_left(17), ..self }.mixed()
    }

    /// Of a packet from `source` to `destination`, addresses and ports in host order.
    #[inline]
    #[must_use]
    pub fn new(
        (source, source_port): (u32, u16),
        (destination, destination_port): (u32, u16),
        protocol: u8,
        ingress: PortIndex,
        egress: PortIndex,
    ) -> Self {
        Self {
            addresses: pack_addresses(source, destination),
            rest: u64::from(pack_ports(source_port, destination_port))
                | u64::from(protocol) << PROTOCOL
                | u64::from(ingress.0) << INGRESS
                | u64::from(egress.0) << EGRESS,
        }
    }

    /// The number of the port by which it came in, below 32.
    #[inline]
    pub(super) fn ingress(self) -> u64 {
        self.rest >> INGRESS & 31
    }

    /// The number of the port by which it leaves.
    #[inline]
    pub(super) fn egress(self) -> u64 {
        self.rest >> EGRESS & 31
    }

    #[inline]
    pub(super) fn ingress_bit(self) -> u32 {
        1 << self.ingress()
    }

    #[inline]
    pub(super) fn egress_bit(self) -> u32 {
        1 << self.egress()
    }

    #[inline]
    pub(super) fn masked(self, mask: &Mask) -> Self {
        Self { addresses: self.addresses & mask.addresses, rest: self.rest & mask.rest }
    }
}

pub(super) const PROTOCOL: u32 = 32;
pub(super) const INGRESS: u32 = 40;
pub(super) const EGRESS: u32 = 48;

/// The upper and the lower 64 bits of an address.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = address.to_bits();
    [(bits >> 64) as u64, bits as u64]
}

/// Where the byte of [`PacketKey::marked`] is, which no rule cares for.
const MARK: u32 = 56;

// Interfaces have five bits in a key.
const _: () = assert!(PORTS_MAX == 32);

#[inline]
pub(super) fn pack_addresses(source: u32, destination: u32) -> u64 {
    u64::from(source) | u64::from(destination) << 32
}

#[inline]
fn pack_ports(source: u16, destination: u16) -> u32 {
    u32::from(source) | u32::from(destination) << 16
}

/// A set of bits of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Mask {
    pub(super) addresses: u64,
    pub(super) rest: u64,
}

impl Mask {
    pub(super) fn and(self, other: Self) -> Self {
        Self { addresses: self.addresses & other.addresses, rest: self.rest & other.rest }
    }

    /// Whether it has every bit that `other` has.
    #[inline]
    pub(super) fn covers(self, other: Self) -> bool {
        (other.addresses & !self.addresses) | (other.rest & !self.rest) == 0
    }
}

/// A rule's care mask and the value of those bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ternary {
    pub(super) value: PacketKey,
    pub(super) care: Mask,
}

impl Ternary {
    pub(super) fn of(rule: &RuleKey) -> Self {
        let (source, source_care) = common_prefix(&rule.source_ports);
        let (destination, destination_care) = common_prefix(&rule.destination_ports);
        let (ingress, ingress_care) = single(rule.ingress);
        let (egress, egress_care) = single(rule.egress);
        let (protocol, protocol_care) = rule.protocol.map_or((0, 0), |number| (number, u8::MAX));
        let rest = |ports: u32, protocol: u8, ingress: u64, egress: u64| {
            u64::from(ports)
                | u64::from(protocol) << PROTOCOL
                | ingress << INGRESS
                | egress << EGRESS
        };
        let care = Mask {
            addresses: pack_addresses(rule.source.mask, rule.destination.mask),
            rest: rest(
                pack_ports(source_care, destination_care),
                protocol_care,
                ingress_care,
                egress_care,
            ),
        };
        let value = PacketKey {
            addresses: pack_addresses(rule.source.network, rule.destination.network),
            rest: rest(pack_ports(source, destination), protocol, ingress, egress),
        };
        Self { value: value.masked(&care), care }
    }
}

/// The bits that all numbers of a range have in common from the top, and which those are.
fn common_prefix(range: &RangeInclusive<u16>) -> (u16, u16) {
    let differing = (range.start() ^ range.end()).leading_zeros();
    let care = !u16::MAX.checked_shr(differing).unwrap_or(0);
    (range.start() & care, care)
}

/// The one interface of a set, and the mask that asks for it.
fn single(set: u32) -> (u64, u64) {
    if set.is_power_of_two() { (u64::from(set.trailing_zeros()), 0xff) } else { (0, 0) }
}
