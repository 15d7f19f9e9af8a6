//! IPv4 packets made by hand, byte by byte, without the code under test: what it writes is compared
//! with what is written here.

use std::net::Ipv4Addr;

/// An IPv4 packet; every field may be set to nonsense. `None` means "as it should be".
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    pub(crate) identification: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) more_fragments: bool,
    /// In 8-byte units.
    pub(crate) offset: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) version_ihl: Option<u8>,
    pub(crate) total_len: Option<u16>,
    pub(crate) checksum: Option<u16>,
}

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;

impl Packet {
    pub(crate) fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            tos: 0,
            ttl: 64,
            identification: 0x1234,
            dont_fragment: false,
            more_fragments: false,
            offset: 0,
            options: Vec::new(),
            payload: Vec::new(),
            version_ihl: None,
            total_len: None,
            checksum: None,
        }
    }

    /// A UDP datagram with a correct checksum.
    pub(crate) fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), data: &[u8]) -> Self {
        let mut packet = Self::new(from.0, to.0, 17);
        let len = u16::try_from(8 + data.len()).expect("a datagram");
        let mut segment = [from.1, to.1, len, 0].map(u16::to_be_bytes).concat();
        segment.extend_from_slice(data);
        let sum = !fold(pseudo(&packet, &segment) + sum(&segment));
        segment[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
        packet.payload = segment;
        packet
    }

    /// A TCP segment without options, with a correct checksum.
    pub(crate) fn tcp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), flags: u8, data: &[u8]) -> Self {
        Self::segment(from, to, flags, (1, 2), data)
    }

    /// As [`Packet::tcp`] with sequence and acknowledgment numbers.
    pub(crate) fn segment(
        from: (Ipv4Addr, u16),
        to: (Ipv4Addr, u16),
        flags: u8,
        (seq, ack): (u32, u32),
        data: &[u8],
    ) -> Self {
        let mut packet = Self::new(from.0, to.0, 6);
        let mut segment = [from.1, to.1].map(u16::to_be_bytes).concat();
        segment.extend([seq, ack].map(u32::to_be_bytes).concat());
        segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(data);
        let sum = !fold(pseudo(&packet, &segment) + sum(&segment));
        segment[16..18].copy_from_slice(&sum.to_be_bytes());
        packet.payload = segment;
        packet
    }

    /// An echo request with a correct checksum.
    pub(crate) fn ping(source: Ipv4Addr, destination: Ipv4Addr, data: &[u8]) -> Self {
        Self::icmp(source, destination, 8, data)
    }

    /// An ICMP message of any type, code 0.
    pub(crate) fn icmp(source: Ipv4Addr, destination: Ipv4Addr, kind: u8, data: &[u8]) -> Self {
        let mut packet = Self::new(source, destination, 1);
        packet.payload = vec![kind, 0, 0, 0, 0, 7, 0, 1];
        packet.payload.extend_from_slice(data);
        let sum = !fold(sum(&packet.payload));
        packet.payload[2..4].copy_from_slice(&sum.to_be_bytes());
        packet
    }

    /// The IPv4 packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let ihl = u8::try_from(header_len / 4).expect("at most 60 bytes");
        let total = u16::try_from(header_len + self.payload.len()).expect("a packet");
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut bytes = vec![self.version_ihl.unwrap_or(0x40 | ihl), self.tos];
        bytes.extend(self.total_len.unwrap_or(total).to_be_bytes());
        bytes.extend(self.identification.to_be_bytes());
        bytes.extend((flags | self.offset).to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let checksum = self.checksum.unwrap_or(!fold(sum(&bytes)));
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// What iptables counts.
    pub(crate) fn len(&self) -> u64 {
        (20 + self.options.len() + self.payload.len()) as u64
    }

    /// The packet in an Ethernet frame.
    pub(crate) fn frame(&self, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        ethernet(to, from, 0x0800, &self.bytes())
    }

    /// As it looks behind a router.
    pub(crate) fn routed(&self) -> Self {
        Self { ttl: self.ttl - 1, ..self.clone() }
    }

    /// TCP or UDP with the checksum that its bytes have.
    pub(crate) fn with_right_checksum(mut self) -> Self {
        let at = if self.protocol == 6 { 16 } else { 6 };
        self.payload[at..at + 2].fill(0);
        let right = !fold(pseudo(&self, &self.payload) + sum(&self.payload));
        self.payload[at..at + 2].copy_from_slice(&right.to_be_bytes());
        self
    }

    /// Whether its checksum looks like one that was left to hardware; one wrong one in 65,536 does.
    pub(crate) fn looks_partial(&self) -> bool {
        let at = if self.protocol == 6 { 16 } else { 6 };
        let field = self.payload.get(at..at + 2);
        let partial = fold(pseudo(self, &self.payload)).to_be_bytes();
        matches!(self.protocol, 6 | 17) && field.is_some_and(|field| field == partial)
    }

    /// TCP or UDP whose checksum is only the pseudo-header's sum: what leaves a virtual machine.
    pub(crate) fn with_partial_checksum(mut self) -> Self {
        let at = if self.protocol == 6 { 16 } else { 6 };
        let partial = fold(pseudo(&self, &self.payload));
        self.payload[at..at + 2].copy_from_slice(&partial.to_be_bytes());
        self
    }
}

/// An Ethernet frame, not padded.
pub(crate) fn ethernet(to: [u8; 6], from: [u8; 6], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [to, from].concat();
    bytes.extend(ether_type.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

fn pseudo(packet: &Packet, segment: &[u8]) -> u32 {
    let addresses = [packet.source.octets(), packet.destination.octets()].concat();
    sum(&addresses) + u32::from(packet.protocol) + u32::try_from(segment.len()).expect("small")
}

/// Adds big-endian words; an odd last byte is a high one.
pub(crate) fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    bytes.chunks(2).map(word).sum()
}

pub(crate) fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).expect("folded")
}

/// Whether bytes that contain their own checksum add up.
pub(crate) fn adds_up(bytes: &[u8]) -> bool {
    fold(sum(bytes)) == 0xffff
}
