//! What a classifier is made of: records in leaves, slots, and the tables whose slots they are.

use super::key::{Mask, PROTOCOL, PacketKey, RuleKey, Ternary};

/// No rule. Larger than every rule's index.
pub(super) const NONE: u32 = u32::MAX;

/// Multipliers of the hash: odd, and without a pattern (from the digits of the golden ratio and of the square root
/// of three).
const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbb67_ae85_84ca_a73b];

/// A hash of a masked key; its highest bits are the good ones. 0 of the empty key.
#[inline]
pub(super) fn hash(key: PacketKey) -> u64 {
    key.addresses.wrapping_mul(MULTIPLIERS[0]) ^ key.rest.wrapping_mul(MULTIPLIERS[1])
}

/// The rules that care about `mask`, found by what they want there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Table {
    pub(super) mask: Mask,
    /// Its first slot's place.
    pub(super) base: u32,
    /// 64 less the logarithm of the number of its slots; 63 for one slot, whose mask is empty.
    pub(super) shift: u32,
    /// The first rule in it.
    pub(super) first: u32,
}

impl Table {
    /// Where the slot for a packet stands.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a table has fewer than 2^32 slots")]
    pub(super) fn place(&self, key: PacketKey) -> u32 {
        self.base + (hash(key.masked(&self.mask)) >> self.shift) as u32
    }
}

/// What is known about the packets whose masked key has one hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// The first rule in it; [`NONE`] where there is none.
    pub(super) first: u32,
    pub(super) child: Child,
}

impl Slot {
    pub(super) const EMPTY: Self = Self { first: NONE, child: Child(0) };
}

/// Where a slot leads: 2 bits of kind, 9 of length, 21 of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Child(u32);

/// A child, unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records, all of which are looked at.
    Leaf(usize, usize),
    /// Tables, all of which are looked at.
    Tables(usize, usize),
    /// One set of bit vectors.
    Vectors(usize),
}

/// Longest leaf, and most tables side by side.
pub(super) const LENGTH_MAX: usize = (1 << 9) - 1;

/// Most records, and most tables.
pub(super) const PLACES_MAX: usize = 1 << 21;

const LEAF: u32 = 0;
const TABLES: u32 = 1;
const VECTORS: u32 = 2;

impl Child {
    fn new(kind: u32, place: usize, length: usize) -> Option<Self> {
        if place >= PLACES_MAX || length > LENGTH_MAX {
            return None;
        }
        let (place, length) = (u32::try_from(place).ok()?, u32::try_from(length).ok()?);
        Some(Self(kind << 30 | length << 21 | place))
    }

    /// `length` records from `place` on; `None` when either is too large.
    pub(super) fn leaf(place: usize, length: usize) -> Option<Self> {
        Self::new(LEAF, place, length)
    }

    /// `length` tables from `place` on; `None` when either is too large.
    pub(super) fn tables(place: usize, length: usize) -> Option<Self> {
        Self::new(TABLES, place, length)
    }

    /// The bit vectors at `place`; `None` when it is too large.
    pub(super) fn vectors(place: usize) -> Option<Self> {
        Self::new(VECTORS, place, 1)
    }

    /// An empty leaf.
    pub(super) const NOTHING: Self = Self(0);

    #[inline]
    pub(super) fn is_leaf(self) -> bool {
        self.0 >> 30 == LEAF
    }

    #[inline]
    pub(super) fn is_tables(self) -> bool {
        self.0 >> 30 == TABLES
    }

    #[inline]
    pub(super) fn place(self) -> usize {
        (self.0 & 0x1f_ffff) as usize
    }

    #[inline]
    pub(super) fn length(self) -> usize {
        (self.0 >> 21 & 0x1ff) as usize
    }

    /// All but the first record or table. It must have one.
    #[inline]
    pub(super) fn rest(self) -> Self {
        Self(self.0.wrapping_sub((1 << 21) - 1))
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        let (place, length) = (self.place(), self.length());
        match self.0 >> 30 {
            LEAF => Kind::Leaf(place, length),
            TABLES => Kind::Tables(place, length),
            _ => Kind::Vectors(place),
        }
    }
}

/// A rule as it is tested: half a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(32))]
pub(super) struct Record {
    addresses: u64,
    care: u64,
    /// Lowest source port, lowest destination port.
    ports: [u16; 2],
    /// Highest less lowest.
    spans: [u16; 2],
    /// Protocol in bits 0 to 7, bit 8 set when any will do, from bit 9 on which interfaces.
    rest: u32,
    pub(super) index: u32,
}

/// A set of ports that the packet may come in by, and one that it may leave by.
pub(super) type Interfaces = (u32, u32);

impl Record {
    /// `interfaces` is the place of the rule's interfaces; place 0 allows all.
    pub(super) fn new(rule: &RuleKey, ternary: &Ternary, interfaces: u32, index: u32) -> Self {
        let span =
            |range: &std::ops::RangeInclusive<u16>| range.end().saturating_sub(*range.start());
        let protocol = rule.protocol.map_or(1 << 8, u32::from);
        Self {
            addresses: ternary.value.addresses,
            care: ternary.care.addresses,
            ports: [*rule.source_ports.start(), *rule.destination_ports.start()],
            spans: [span(&rule.source_ports), span(&rule.destination_ports)],
            rest: protocol | interfaces << 9,
            index,
        }
    }

    /// Whether a packet has everything that the rule asks for.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "fields are taken out of a packed word")]
    pub(super) fn matches(&self, key: PacketKey, interfaces: &[Interfaces]) -> bool {
        let source = (key.rest as u16).wrapping_sub(self.ports[0]);
        let destination = ((key.rest >> 16) as u16).wrapping_sub(self.ports[1]);
        let protocol = (key.rest >> PROTOCOL) as u8 ^ self.rest as u8;
        let holds = ((key.addresses ^ self.addresses) & self.care == 0)
            & (source <= self.spans[0])
            & (destination <= self.spans[1])
            & ((protocol == 0) | (self.rest & 1 << 8 != 0));
        holds & self.interfaces_hold(key, interfaces)
    }

    #[inline]
    fn interfaces_hold(&self, key: PacketKey, interfaces: &[Interfaces]) -> bool {
        let (ingress, egress) = interfaces[(self.rest >> 9) as usize];
        (ingress & key.ingress_bit() != 0) & (egress & key.egress_bit() != 0)
    }
}
