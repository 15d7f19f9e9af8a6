//! IPv6 packets made by hand, byte by byte, without the code under test.

use std::net::Ipv6Addr;

use crate::packet::{ethernet, fold, sum};

/// An IPv6 packet; `len` is the payload's length where it is not what it should be.
#[derive(Debug, Clone)]
pub(crate) struct Packet6 {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    /// Of the fixed header: an extension header, or the protocol.
    pub(crate) next: u8,
    /// Traffic class and flow label.
    pub(crate) class_flow: u32,
    pub(crate) hop_limit: u8,
    /// Extension headers, bytes and all.
    pub(crate) extensions: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) len: Option<u16>,
}

impl Packet6 {
    pub(crate) fn new(source: Ipv6Addr, destination: Ipv6Addr, next: u8) -> Self {
        let (extensions, payload) = (Vec::new(), Vec::new());
        Self {
            source,
            destination,
            next,
            class_flow: 0,
            hop_limit: 64,
            extensions,
            payload,
            len: None,
        }
    }

    fn pseudo(&self, protocol: u8) -> u16 {
        let mut bytes = [self.source.octets(), self.destination.octets()].concat();
        bytes.extend(u32::try_from(self.payload.len()).expect("small").to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
        fold(sum(&bytes))
    }

    /// With the checksum at `at` that its payload has.
    pub(crate) fn summed(mut self, at: usize) -> Self {
        let whole = fold(u32::from(self.pseudo(self.next)) + sum(&self.payload));
        self.payload[at..at + 2].copy_from_slice(&(!whole).to_be_bytes());
        self
    }

    /// The same where another stood.
    pub(crate) fn resummed(mut self, at: usize) -> Self {
        self.payload[at..at + 2].fill(0);
        self.summed(at)
    }

    /// Whether the transport checksum could be one that a sender left to its hardware.
    pub(crate) fn looks_partial(&self) -> bool {
        [(6, 16), (17, 6)].into_iter().any(|(protocol, at)| {
            let field = self.payload.get(at..at + 2);
            field.is_some_and(|field| field == self.pseudo(protocol).to_be_bytes())
        })
    }

    /// A UDP datagram with a correct checksum (which the tests' data never make 0).
    pub(crate) fn udp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), data: &[u8]) -> Self {
        let len = u16::try_from(8 + data.len()).expect("a datagram");
        let mut payload = [from.1, to.1, len, 0].map(u16::to_be_bytes).concat();
        payload.extend_from_slice(data);
        Self { payload, ..Self::new(from.0, to.0, 17) }.summed(6)
    }

    /// A TCP segment without options, with a correct checksum.
    pub(crate) fn tcp(from: (Ipv6Addr, u16), to: (Ipv6Addr, u16), flags: u8, data: &[u8]) -> Self {
        let mut payload = [from.1, to.1].map(u16::to_be_bytes).concat();
        let (seq, ack) = if flags & 0x12 == 0x12 { (7, 2) } else { (1, 2) };
        payload.extend([seq, ack].map(u32::to_be_bytes).concat());
        payload.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        payload.extend_from_slice(data);
        Self { payload, ..Self::new(from.0, to.0, 6) }.summed(16)
    }

    /// An echo request with a correct checksum.
    pub(crate) fn ping(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Self {
        Self::icmp6(source, destination, 128, data)
    }

    /// An ICMPv6 message of any type, code 0.
    pub(crate) fn icmp6(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, data: &[u8]) -> Self {
        let mut payload = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        payload.extend_from_slice(data);
        Self { payload, ..Self::new(source, destination, 58) }.summed(2)
    }

    /// Behind extension headers: each its number and what stands behind its first two bytes.
    pub(crate) fn behind(mut self, headers: &[(u8, &[u8])]) -> Self {
        let mut next = self.next;
        for (number, data) in headers.iter().rev() {
            let units = u8::try_from((data.len() + 2) / 8 - 1).expect("short");
            let header = [&[next, units], *data].concat();
            self.extensions.splice(0..0, header);
            next = *number;
        }
        Self { next, ..self }
    }

    /// The piece of this packet from `range` of its payload on.
    pub(crate) fn piece(&self, range: std::ops::Range<usize>, more: bool, id: u32) -> Self {
        let bits = u16::try_from(range.start).expect("small") | u16::from(more);
        let mut data = bits.to_be_bytes().to_vec();
        data.extend(id.to_be_bytes());
        let payload = self.payload[range].to_vec();
        let mut piece = Self { payload, ..self.clone() };
        piece.extensions = [&[self.next, 0][..], &data].concat();
        Self { next: 44, ..piece }
    }

    pub(crate) fn with_partial_checksum(mut self) -> Self {
        let at = if self.next == 6 { 16 } else { 6 };
        let pseudo = self.pseudo(self.next);
        self.payload[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
        self
    }

    /// The IPv6 packet.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let len = u16::try_from(self.extensions.len() + self.payload.len()).expect("a packet");
        let mut bytes = (6 << 28 | self.class_flow).to_be_bytes().to_vec();
        bytes.extend(self.len.unwrap_or(len).to_be_bytes());
        bytes.extend([self.next, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.extensions);
        bytes.extend(&self.payload);
        bytes
    }

    /// The packet in an Ethernet frame.
    pub(crate) fn frame(&self, to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
        ethernet(to, from, 0x86dd, &self.bytes())
    }

    /// As it looks behind a router.
    pub(crate) fn routed(&self) -> Self {
        Self { hop_limit: self.hop_limit - 1, ..self.clone() }
    }
}
