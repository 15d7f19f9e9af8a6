//! `Tuple`: what names one direction of a flow.
//!
//! A flow has two: the one of its first packet, and the one that answers to it would have
//! (`struct nf_conntrack_tuple`, `nf_ct_invert_tuple` in `net/netfilter/nf_conntrack_core.c`). TCP, UDP and the
//! like are told apart by ports; ICMP queries by identifier, type and code; all other protocols by their addresses
//! alone.

use std::net::IpAddr;

use crate::wire::IpProtocol;

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Source port; of an ICMP query its identifier; else 0.
    pub source_port: u16,
    /// Destination port; of an ICMP query its type (high byte) and code; else 0.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

impl Tuple {
    /// The tuple of the packets that answer these; `None` for ICMP messages that are no part of a query and its
    /// answer (`nf_conntrack_invert_icmp_tuple`, `nf_conntrack_invert_icmpv6_tuple`).
    #[must_use]
    #[inline]
    pub fn inverted(&self) -> Option<Self> {
        let (source_port, destination_port) = match IpProtocol(self.protocol) {
            IpProtocol::ICMP => (self.source_port, with_type(self.destination_port, inverse_icmp)?),
            IpProtocol::ICMPV6 => {
                (self.source_port, with_type(self.destination_port, inverse_icmpv6)?)
            }
            _ => (self.destination_port, self.source_port),
        };
        Some(Self {
            source: self.destination,
            destination: self.source,
            source_port,
            destination_port,
            protocol: self.protocol,
        })
    }
}

fn with_type(type_and_code: u16, inverse: fn(u8) -> Option<u8>) -> Option<u16> {
    let [kind, code] = type_and_code.to_be_bytes();
    Some(u16::from_be_bytes([inverse(kind)?, code]))
}

/// The type that answers an ICMP query, or asks for the answer: echo, timestamp, information and address mask
/// (RFC 792, RFC 950).
fn inverse_icmp(kind: u8) -> Option<u8> {
    match kind {
        8 => Some(0),
        0 => Some(8),
        13 => Some(14),
        14 => Some(13),
        15 => Some(16),
        16 => Some(15),
        17 => Some(18),
        18 => Some(17),
        _ => None,
    }
}

/// Echo (RFC 4443) and node information (RFC 4620).
fn inverse_icmpv6(kind: u8) -> Option<u8> {
    match kind {
        128 => Some(129),
        129 => Some(128),
        139 => Some(140),
        140 => Some(139),
        _ => None,
    }
}

/// A tuple in the form in which flows are compared: two words.
///
/// Of IPv6 the addresses are represented by a fingerprint; whoever finds it equal compares the addresses
/// themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) addresses: u64,
    pub(super) ports: u32,
}

impl Key {
    #[inline]
    pub(super) fn new(tuple: &Tuple) -> Self {
        let ports = u32::from(tuple.source_port) << 16 | u32::from(tuple.destination_port);
        let addresses = match (tuple.source, tuple.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                u64::from(source.to_bits()) << 32 | u64::from(destination.to_bits())
            }
            (source, destination) => fingerprint(bits6(source), bits6(destination)),
        };
        Self { addresses, ports }
    }
}

/// An address as 128 bits; an IPv4 address in its mapped form (RFC 4291 2.5.5.2).
pub(crate) fn bits6(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// 64 bits that tell most pairs of addresses apart, and a pair from the same one turned round. Nothing relies on
/// it for correctness, nor against an attacker: the bucket is found by a keyed hash.
fn fingerprint(source: u128, destination: u128) -> u64 {
    let fold = |address: u128, factor: u64| {
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let (low, high) = (address as u64, (address >> 64) as u64);
        (low ^ high.rotate_left(29)).wrapping_mul(factor)
    };
    fold(source, 0x9e37_79b9_7f4a_7c15) ^ fold(destination, 0xd1b5_4a32_d192_ed03).rotate_left(23)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tuple(protocol: u8, source_port: u16, destination_port: u16) -> Tuple {
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        Tuple { source, destination, source_port, destination_port, protocol }
    }

    #[test]
    fn queries_and_answers_are_inverse() {
        for (protocol, there, back) in
            [(1, 8, 0), (1, 13, 14), (1, 15, 16), (1, 17, 18), (58, 128, 129), (58, 139, 140)]
        {
            let query = tuple(protocol, 77, there << 8 | 3);
            let answer = query.inverted().expect("a query");
            assert_eq!((answer.source_port, answer.destination_port), (77, back << 8 | 3));
            assert_eq!(answer.source, query.destination);
            assert_eq!(answer.inverted(), Some(query));
        }
        for kind in [1, 3, 4, 5, 9, 10, 11, 12, 19, 255] {
            assert_eq!(tuple(1, 0, kind << 8).inverted(), None);
        }
        assert_eq!(tuple(58, 0, 135 << 8).inverted(), None);
    }

    proptest! {
        #[test]
        fn turning_round_twice_changes_nothing(
            source: u128, destination: u128, a: u16, b: u16, protocol in prop::sample::select(vec![6_u8, 17, 89]),
        ) {
            let six = |bits: u128| IpAddr::V6(bits.into());
            let there = Tuple {
                source: six(source), destination: six(destination),
                source_port: a, destination_port: b, protocol,
            };
            let back = there.inverted().expect("ports can be exchanged");
            prop_assert_eq!(back.inverted(), Some(there));
            prop_assert_eq!(Key::new(&back) == Key::new(&there), back == there);
        }
    }
}
