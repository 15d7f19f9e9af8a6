//! What is played: sequences of packets, kept as what they say, so that they can be changed, shortened and read.
//!
//! A sequence knows no addresses: it gets them from the *place* at which it is played, so that thousands can be
//! played at once without meeting each other.

use std::net::Ipv4Addr;

use crate::packet::{Packet, fold, sum};

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

/// Packets with this time to live are dropped by a rule of chain FORWARD.
const DROPPED_TTL: u8 = 67;

/// Where a packet comes from: the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    East = 0,
    West = 1,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::East, Self::West];

    pub(crate) fn other(self) -> Self {
        match self {
            Self::East => Self::West,
            Self::West => Self::East,
        }
    }

    /// The address of the host on this side at a place.
    pub(crate) fn address(self, place: u32) -> Ipv4Addr {
        let network = [[10, 64, 0, 0], [10, 128, 0, 0]][self as usize];
        Ipv4Addr::from_bits(u32::from_be_bytes(network) + 256 + place)
    }

    /// The place of an address, if it is a host's.
    pub(crate) fn place(address: Ipv4Addr) -> Option<u32> {
        // Strangers are beyond all places.
        let host = address.to_bits() & 0x1f_ffff;
        (address.octets()[0] == 10).then_some(host)?.checked_sub(256)
    }
}

/// A TCP segment; every field may be nonsense.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    /// Of the side that the sequence begins on, and of the other.
    pub(crate) ports: [u16; 2],
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) len: u16,
    pub(crate) doff: Option<u8>,
    pub(crate) bad_checksum: bool,
    /// All of the segment that is sent.
    pub(crate) cut: Option<usize>,
}

/// What a packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Tcp(Tcp),
    Udp {
        ports: [u16; 2],
        len: u16,
        claimed: Option<u16>,
        checksum: Checksum,
    },
    /// A query or an answer, or nonsense.
    Icmp {
        kind: u8,
        code: u8,
        id: u16,
        len: u16,
        bad_checksum: bool,
    },
    /// An ICMP error that quotes a packet.
    Error {
        kind: u8,
        code: u8,
        quoted: Box<Shot>,
        /// Bytes of the quoted packet's payload.
        bytes: usize,
        header: Header,
        bad_checksum: bool,
    },
    Other {
        protocol: u8,
        bytes: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    Good,
    /// Of all bytes, whatever the length field says.
    OfAll,
    Bad,
    Absent,
}

/// Whom a packet names as its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// From the host of its side to that of the other.
    Hosts,
    /// From a stranger.
    Stranger,
    /// To a stranger: of the other side.
    ToStranger,
    /// From and to the host of the other side.
    Land,
}

/// What is unusual about an IPv4 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    Plain,
    /// It has options, of so many words.
    Options(u8),
    /// It is a fragment from the middle; only to be quoted.
    Fragment,
    /// It is a first fragment; only to be quoted.
    First,
    /// Version and length are these; only to be quoted.
    VersionLength(u8),
}

impl Header {
    fn change(self, packet: &mut Packet) {
        match self {
            Self::Plain => {}
            Self::Options(words) => packet.options = vec![1; 4 * usize::from(words)],
            Self::Fragment => packet.offset = 4,
            Self::First => packet.more_fragments = true,
            Self::VersionLength(byte) => packet.version_ihl = Some(byte),
        }
    }
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) from: Side,
    pub(crate) ends: Ends,
    pub(crate) header: Header,
    pub(crate) body: Body,
    /// A rule drops it.
    pub(crate) dropped: bool,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Shot(Shot),
    /// Nothing, for [`crate::play::PAUSE`].
    Pause,
}

/// Packets of one conversation, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Family and seed.
    pub(crate) name: String,
    pub(crate) events: Vec<Event>,
}

impl Sequence {
    pub(crate) fn shots(&self) -> impl Iterator<Item = &Shot> {
        self.events.iter().filter_map(|event| match event {
            Event::Shot(shot) => Some(shot),
            Event::Pause => None,
        })
    }
}

impl Shot {
    pub(crate) fn new(from: Side, body: Body) -> Self {
        Self { from, ends: Ends::Hosts, header: Header::Plain, body, dropped: false }
    }

    pub(crate) fn tcp(from: Side, segment: Tcp) -> Self {
        Self::new(from, Body::Tcp(segment))
    }

    fn addresses(&self, place: u32) -> (Ipv4Addr, Ipv4Addr) {
        let (here, there) = (self.from.address(place), self.from.other().address(place));
        // Beyond all places, on the same side.
        let stranger = |side: Side| Ipv4Addr::from_bits(side.address(place).to_bits() + (1 << 21));
        match self.ends {
            Ends::Hosts => (here, there),
            Ends::Stranger => (stranger(self.from), there),
            Ends::ToStranger => (here, stranger(self.from.other())),
            Ends::Land => (there, there),
        }
    }

    /// The packet as it is sent at a place.
    pub(crate) fn packet(&self, place: u32) -> Packet {
        let (source, destination) = self.addresses(place);
        let (protocol, payload) = match &self.body {
            Body::Tcp(tcp) => (6, tcp.bytes(self.from, source, destination)),
            Body::Udp { ports, len, claimed, checksum } => {
                let length = claimed.unwrap_or(8 + len);
                let mut bytes = port_bytes(*ports, self.from);
                bytes.extend(length.to_be_bytes());
                bytes.extend([0, 0]);
                bytes.resize(8 + usize::from(*len), 0x55);
                let covered = bytes.get(..usize::from(length)).unwrap_or(&bytes);
                let good = match transport_checksum(source, destination, 17, covered) {
                    0 => 0xffff,
                    sum => sum,
                };
                let sum = match checksum {
                    Checksum::Good => good,
                    Checksum::OfAll => transport_checksum(source, destination, 17, &bytes),
                    Checksum::Bad => spoilt(good),
                    Checksum::Absent => 0,
                };
                bytes[6..8].copy_from_slice(&sum.to_be_bytes());
                (17, bytes)
            }
            Body::Icmp { kind, code, id, len, bad_checksum } => {
                let mut bytes = vec![*kind, *code, 0, 0];
                bytes.extend(id.to_be_bytes());
                bytes.extend([0, 1]);
                bytes.resize(8 + usize::from(*len), 0x55);
                bytes.truncate(if *len == u16::MAX { 4 } else { bytes.len() });
                (1, icmp_checked(bytes, *bad_checksum))
            }
            Body::Error { kind, code, quoted, bytes: count, header, bad_checksum } => {
                let mut inner = quoted.packet(place);
                header.change(&mut inner);
                let mut bytes = vec![*kind, *code, 0, 0, 0, 0, 0, 0];
                bytes.extend(inner.bytes().iter().take(20 + count));
                (1, icmp_checked(bytes, *bad_checksum))
            }
            Body::Other { protocol, bytes } => (*protocol, bytes.clone()),
        };
        let mut packet = Packet::new(source, destination, protocol);
        packet.payload = payload;
        self.header.change(&mut packet);
        packet.ttl = if self.dropped { DROPPED_TTL } else { 64 };
        packet
    }
}

impl Tcp {
    /// Sequence number behind it.
    pub(crate) fn end(&self) -> u32 {
        let counted = u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0);
        self.seq.wrapping_add(u32::from(self.len) + counted)
    }

    fn bytes(&self, from: Side, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
        let mut options = self.options.clone();
        options.truncate(40);
        options.resize(options.len().next_multiple_of(4), 0);
        let words = u8::try_from(5 + options.len() / 4).expect("at most 15");
        let mut bytes = port_bytes(self.ports, from);
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([self.doff.unwrap_or(words) << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.resize(bytes.len() + usize::from(self.len), 0x55);
        bytes.truncate(self.cut.unwrap_or(bytes.len()));
        let good = transport_checksum(source, destination, 6, &bytes);
        let sum = if self.bad_checksum { spoilt(good) } else { good };
        if let Some(field) = bytes.get_mut(16..18) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}

fn port_bytes(ports: [u16; 2], from: Side) -> Vec<u8> {
    let (source, destination) = match from {
        Side::East => (ports[0], ports[1]),
        Side::West => (ports[1], ports[0]),
    };
    [source, destination].map(u16::to_be_bytes).concat()
}

/// Another sum, and neither that of "absent" nor that of the pseudo-header alone.
fn spoilt(checksum: u16) -> u16 {
    match checksum ^ 0x0101 {
        0 | 0xffff => checksum ^ 0x0202,
        sum => sum,
    }
}

/// Of bytes whose checksum field is zero.
fn transport_checksum(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, bytes: &[u8]) -> u16 {
    let addresses = [source.octets(), destination.octets()].concat();
    let len = u32::try_from(bytes.len()).expect("small");
    !fold(sum(&addresses) + u32::from(protocol) + len + sum(bytes))
}

fn icmp_checked(mut bytes: Vec<u8>, bad: bool) -> Vec<u8> {
    let good = !fold(sum(&bytes));
    let checksum = if bad { spoilt(good) } else { good };
    bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
    bytes
}
