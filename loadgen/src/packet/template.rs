//! The frame that is sent, with what changes left out, and how one packet is made of it.
//!
//! A template is a whole frame in which the changing fields, the stamp and the checksums are zero, together with the
//! sums over the rest. Making a packet is: copy the headers, write the fields, add them to the sums. Nothing is
//! remembered of the packet before, so it does not matter which chunk of memory is used; only the bytes behind the
//! headers are left alone where a chunk is known to have them already (`whole` of [`write`](Template::write)).

use weir_dataplane::wire::ethernet::{HEADER_BYTES as ETHERNET_BYTES, MacAddr};
use weir_dataplane::wire::{IpProtocol, NoRoom, TcpFlags, checksum};

use super::Fields;
use super::kind::{Kind, Part, Transport};
use super::place::Place;
use super::stamp::{Key, STAMP_BYTES, Stamp};
use super::sum::Sum;
use super::tag::Tag;
use super::text::{Text, clock};

pub use weir_dataplane::wire::ethernet::FRAME_BYTES_MIN;

/// Longest frame without a tag, without the frame check sequence.
pub const FRAME_BYTES_MAX: usize = 1514;

/// Where a packet bears its stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Nowhere.
    Not,
    /// In its last bytes, from this offset in the frame on.
    Behind(usize),
    /// In its bare TCP header.
    Bare,
}

/// What all packets of a template have in common.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'a> {
    /// From which station.
    pub source_mac: MacAddr,
    /// To which.
    pub destination_mac: MacAddr,
    /// The VLAN tag, if there is one.
    pub tag: Option<Tag>,
    /// Whether it is IPv4; else IPv6.
    pub is_ipv4: bool,
    /// What kind.
    pub kind: Kind,
    /// Bytes of a frame, without the tag and without the frame check sequence.
    pub frame_bytes: usize,
    /// What its payload begins with.
    pub text: Option<&'a Text>,
    /// The time that the text tells at first.
    pub wall_s: i64,
    /// TCP's window, where it bears no stamp.
    pub window: u16,
    /// The IPv4 header's flag.
    pub dont_fragment: bool,
    /// Whether it is to bear a stamp, if it has room for one.
    pub is_stamped: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Box<[u8]>,
    /// Bytes that are written for each packet at least.
    head: usize,
    /// Where the IP header begins.
    l3: usize,
    /// Where the transport header begins.
    l4: usize,
    is_ipv4: bool,
    transport: Transport,
    /// Fields are taken as they lie in `bytes`: a packet that was recorded.
    is_recorded: bool,
    /// Where the transport's checksum lies, if it has one.
    checksum_at: Option<usize>,
    ip_sum: Sum,
    l4_sum: Sum,
    /// What makes checksums wrong; 0 leaves them right.
    ip_twist: u16,
    l4_twist: u16,
    sign: Sign,
    time_at: Option<usize>,
}

impl Template {
    /// The frame of one part of a datagram.
    ///
    /// # Errors
    /// When `frame_bytes` are too few for what has to be in it.
    pub(crate) fn new(shape: &Shape<'_>, part: Part) -> Result<Self, NoRoom> {
        let built = build::frame(shape, part)?;
        let (kind, transport) = (shape.kind, shape.kind.transport(part));
        let mut template = Self {
            head: (built.l4 + build::header_bytes(transport).max(8)).min(built.bytes.len()),
            bytes: built.bytes.into(),
            l3: built.l3,
            l4: built.l4,
            is_ipv4: shape.is_ipv4,
            transport,
            is_recorded: false,
            checksum_at: build::checksum_at(kind, transport, part).map(|at| built.l4 + at),
            ip_sum: Sum::default(),
            l4_sum: Sum::default(),
            ip_twist: if kind == Kind::BadIpChecksum { 0x5555 } else { 0 },
            l4_twist: match kind {
                Kind::BadTcpChecksum | Kind::BadUdpChecksum => 0x5555,
                _ => 0,
            },
            sign: built.sign,
            time_at: built.time_at,
        };
        template.add_up(built.end);
        Ok(template)
    }

    /// A frame that was recorded, to be sent as it is but for a stamp in its last 16 bytes, if it is to bear one and
    /// its payload has room. Its checksums have to be right.
    pub(crate) fn recorded(frame: &[u8], is_stamped: bool) -> Self {
        let place = Place::of(frame).filter(|place| is_stamped && !place.is_fragment);
        let nowhere = (ETHERNET_BYTES, ETHERNET_BYTES, frame.len(), true);
        let (l3, l4, end, is_ipv4) =
            place.map_or(nowhere, |place| (place.l3, place.l4, place.end, place.is_ipv4));
        let transport = match place.map(|place| place.protocol) {
            Some(IpProtocol::TCP) => Transport::Tcp(TcpFlags::NONE),
            Some(IpProtocol::UDP) => Transport::Udp,
            Some(IpProtocol::ICMP) if is_ipv4 => Transport::Icmp(0),
            Some(IpProtocol::ICMPV6) if !is_ipv4 => Transport::Icmp(0),
            _ => Transport::Nothing,
        };
        let sign = match place.and_then(|place| Some((place.tail(frame)?, place))) {
            Some((_, place)) if place.payload + STAMP_BYTES <= end => {
                Sign::Behind(end - STAMP_BYTES)
            }
            _ => Sign::Not,
        };
        let mut bytes: Box<[u8]> = frame.into();
        let checksum_at = build::checksum_at(Kind::Udp, transport, Part::Whole).map(|at| l4 + at);
        let has_none = checksum_at.is_some_and(|at| {
            transport == Transport::Udp && bytes.get(at..at + 2) == Some([0, 0].as_slice())
        });
        let checksum_at = checksum_at.filter(|_| !has_none && sign != Sign::Not);
        if let Sign::Behind(at) = sign {
            bytes[at..at + STAMP_BYTES].fill(0);
        }
        if let Some(at) = checksum_at {
            bytes[at..at + 2].fill(0);
        }
        let mut template = Self {
            head: bytes.len(),
            bytes,
            l3,
            l4,
            is_ipv4,
            transport,
            is_recorded: true,
            checksum_at,
            ip_sum: Sum::default(),
            l4_sum: Sum::default(),
            ip_twist: 0,
            l4_twist: 0,
            sign,
            time_at: None,
        };
        template.add_up(end);
        template
    }

    /// Sums what does not change; `end` is where the IP packet ends.
    fn add_up(&mut self, end: usize) {
        self.ip_sum = Sum::default().bytes(&self.bytes[self.l3..self.l4]);
        let segment = Sum::default().bytes(&self.bytes[self.l4..end]);
        let len = u32::try_from(end - self.l4).unwrap_or(0);
        let protocol = match self.transport {
            Transport::Tcp(_) => IpProtocol::TCP,
            Transport::Udp => IpProtocol::UDP,
            Transport::Icmp(_) if !self.is_ipv4 => IpProtocol::ICMPV6,
            // Nothing of the IP header is in its sum.
            Transport::Icmp(_) | Transport::Nothing => {
                self.l4_sum = segment;
                return;
            }
        };
        self.l4_sum = segment.number(u32::from(protocol.0)).number(len);
        if self.is_recorded {
            let addresses =
                if self.is_ipv4 { self.l3 + 12..self.l3 + 20 } else { self.l3 + 8..self.l3 + 40 };
            self.l4_sum = self.l4_sum.bytes(&self.bytes[addresses]);
        }
    }

    /// Bytes of a frame, without the frame check sequence.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame has 60 bytes at least")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Where its packets bear their stamp.
    #[must_use]
    pub fn sign(&self) -> Sign {
        self.sign
    }

    /// Makes the text tell another time. True if it tells the time at all: then chunks that had the text have the old
    /// one.
    pub fn tell(&mut self, wall_s: i64) -> bool {
        let Some(at) = self.time_at else { return false };
        let now = clock(wall_s);
        let (area, odd) = (at..at + now.len(), (at - self.l4) % 2 == 1);
        // The time has 19 bytes: sum the words that it touches, before and after.
        let (from, to) = (area.start - usize::from(odd), (area.end + 1).min(self.bytes.len()));
        let to = to - (to - from) % 2 * usize::from(to < self.bytes.len());
        let before = Sum::default().bytes(&self.bytes[from..to]).checksum();
        self.bytes[area].copy_from_slice(&now);
        // Adding the complement takes away (RFC 1624).
        self.l4_sum = self.l4_sum.number(before).bytes(&self.bytes[from..to]);
        true
    }

    /// Makes `out` a packet of this template. `whole` writes the bytes behind the headers too. False, and nothing
    /// written, if `out` is not as long as the frame.
    #[inline]
    pub fn write(
        &self,
        fields: &Fields,
        stamp: Stamp,
        key: Key,
        out: &mut [u8],
        whole: bool,
    ) -> bool {
        if out.len() != self.bytes.len() {
            return false;
        }
        let head = if whole { self.bytes.len() } else { self.head };
        out[..head].copy_from_slice(&self.bytes[..head]);
        let mut l4_sum = self.l4_sum;
        if !self.is_recorded {
            self.write_ip(fields, out);
            l4_sum = self.write_transport(fields, stamp, key, l4_sum, out);
        }
        if let Sign::Behind(at) = self.sign {
            let sealed = key.seal(stamp);
            out[at..at + STAMP_BYTES].copy_from_slice(&sealed);
            l4_sum = l4_sum.block(&sealed, (at - self.l4) % 2 == 1);
        }
        if let Some(at) = self.checksum_at {
            let sum = l4_sum.checksum();
            let sum = if self.transport == Transport::Udp { checksum::nonzero(sum) } else { sum };
            let sum = match (self.l4_twist, sum ^ self.l4_twist) {
                (0, right) => right,
                // Of UDP a 0 would mean that there is none.
                (_, 0) => 0xaaaa,
                (_, wrong) => wrong,
            };
            out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        true
    }

    #[inline]
    fn write_ip(&self, fields: &Fields, out: &mut [u8]) {
        let ip = &mut out[self.l3..];
        if !self.is_ipv4 {
            ip[7] = fields.ttl;
            ip[8..24].copy_from_slice(&fields.source.bits().to_be_bytes());
            ip[24..40].copy_from_slice(&fields.destination.bits().to_be_bytes());
            return;
        }
        let (source, destination) = (fields.source.low_bits(), fields.destination.low_bits());
        ip[4..6].copy_from_slice(&fields.identification.to_be_bytes());
        let ttl_and_protocol = u16::from(fields.ttl) << 8;
        ip[8] = fields.ttl;
        ip[12..16].copy_from_slice(&source.to_be_bytes());
        ip[16..20].copy_from_slice(&destination.to_be_bytes());
        let sum = self.ip_sum.number(fields.identification).number(ttl_and_protocol);
        let sum = sum.number(source).number(destination).checksum();
        ip[10..12].copy_from_slice(&(sum ^ self.ip_twist).to_be_bytes());
    }

    /// A sum with the addresses, as the pseudo-header has them.
    #[inline]
    fn with_addresses(&self, sum: Sum, fields: &Fields) -> Sum {
        if self.is_ipv4 {
            sum.number(fields.source.low_bits()).number(fields.destination.low_bits())
        } else {
            let sum = sum.block(&fields.source.bits().to_be_bytes(), false);
            sum.block(&fields.destination.bits().to_be_bytes(), false)
        }
    }

    /// Writes the transport's fields and returns its sum with them.
    #[inline]
    fn write_transport(
        &self,
        fields: &Fields,
        stamp: Stamp,
        key: Key,
        sum: Sum,
        out: &mut [u8],
    ) -> Sum {
        let l4 = self.l4;
        let ports = (u32::from(fields.source_port) << 16) | u32::from(fields.destination_port);
        let addressed = self.with_addresses(sum, fields).number(ports);
        match self.transport {
            Transport::Nothing => sum,
            Transport::Udp => {
                out[l4..l4 + 4].copy_from_slice(&ports.to_be_bytes());
                addressed
            }
            Transport::Icmp(_) => {
                out[l4 + 4..l4 + 8].copy_from_slice(&ports.to_be_bytes());
                if self.is_ipv4 { sum.number(ports) } else { addressed }
            }
            Transport::Tcp(flags) => {
                out[l4..l4 + 4].copy_from_slice(&ports.to_be_bytes());
                if self.sign == Sign::Bare {
                    let bare = key.seal_bare(stamp);
                    let tail = (u32::from(bare.window) << 16) | u32::from(bare.urgent);
                    out[l4 + 4..l4 + 8].copy_from_slice(&bare.sequence.to_be_bytes());
                    out[l4 + 8..l4 + 12].copy_from_slice(&bare.acknowledgment.to_be_bytes());
                    out[l4 + 14..l4 + 16].copy_from_slice(&bare.window.to_be_bytes());
                    out[l4 + 18..l4 + 20].copy_from_slice(&bare.urgent.to_be_bytes());
                    return addressed
                        .number(bare.sequence)
                        .number(bare.acknowledgment)
                        .number(tail);
                }
                let acknowledgment =
                    if flags.contains(TcpFlags::ACK) { fields.acknowledgment } else { 0 };
                out[l4 + 4..l4 + 8].copy_from_slice(&fields.sequence.to_be_bytes());
                if out.len() >= l4 + 20 && self.head >= l4 + 20 {
                    out[l4 + 8..l4 + 12].copy_from_slice(&acknowledgment.to_be_bytes());
                }
                addressed.number(fields.sequence).number(acknowledgment)
            }
        }
    }
}

mod build;
#[cfg(test)]
mod tests;
