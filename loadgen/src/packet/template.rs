//! The frame that is sent, with what changes left out, and how one packet is made of it.
//!
//! A template is a whole frame in which the changing fields, the stamp and the checksums are zero, together with the
//! sums over the rest. Making a packet is: copy the headers, write the fields, add them to the sums. Nothing is
//! remembered of the packet before, so it does not matter which chunk of memory is used; only the bytes behind the
//! headers are left alone where a chunk is known to have them already (`whole` of [`write`](Template::write)).

use std::net::Ipv4Addr;

use weir_dataplane::wire::ethernet::{EtherType, EthernetHeader, HEADER_BYTES as L3, MacAddr};
use weir_dataplane::wire::ipv4::{HEADER_BYTES_MIN as IPV4_BYTES, Ipv4Header};
use weir_dataplane::wire::{IpProtocol, NoRoom, TcpFlags, checksum};

use super::Fields;
use super::kind::{Kind, Part, Transport};
use super::place::Place;
use super::stamp::{Key, STAMP_BYTES, Stamp};
use super::sum::Sum;
use super::text::{Text, clock};

pub use weir_dataplane::wire::ethernet::FRAME_BYTES_MIN;

/// Longest frame without a tag, without the frame check sequence.
pub const FRAME_BYTES_MAX: usize = 1514;

/// Bytes of the option that [`Kind::BadIpOption`] bears: one of padding and a loose source route over two stations.
const OPTION: [u8; 12] = [1, 131, 11, 4, 198, 18, 0, 1, 198, 19, 0, 1];

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
    /// What kind.
    pub kind: Kind,
    /// Bytes of a frame, without the frame check sequence.
    pub frame_bytes: usize,
    /// What its payload begins with.
    pub text: Option<&'a Text>,
    /// The time that the text tells at first.
    pub wall_s: i64,
    /// TCP's window, where it bears no stamp.
    pub window: u16,
    /// The IP header's flag.
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
    /// Where the transport header begins.
    l4: usize,
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
        let (kind, transport) = (shape.kind, shape.kind.transport(part));
        let options: &[u8] = if kind == Kind::BadIpOption { &OPTION } else { &[] };
        let l4 = L3 + IPV4_BYTES + options.len();
        let text = shape.text.map(|text| text.at(shape.wall_s)).unwrap_or_default();
        let l4_header = header_bytes(transport);
        let need = l4 + l4_header + text.len();
        if shape.frame_bytes < need.max(FRAME_BYTES_MIN) {
            return Err(NoRoom { need: need.max(FRAME_BYTES_MIN), have: shape.frame_bytes });
        }
        let mut bytes = vec![0; shape.frame_bytes];
        let ip_payload = ip_payload_bytes(shape, l4, l4_header, part);
        let end = l4 + ip_payload;
        write_ethernet(shape, &mut bytes)?;
        write_ip(shape, part, ip_payload, options, &mut bytes[L3..])?;
        // A tiny fragment ends in the middle of the header; the rest of it is padding.
        if kind != Kind::FragmentTiny && l4 + l4_header + text.len() <= end {
            bytes[l4 + l4_header..l4 + l4_header + text.len()].copy_from_slice(&text);
        }
        write_transport(shape, transport, l4, end, &mut bytes);
        let sign = sign(shape, transport, l4 + l4_header + text.len(), end);
        let time_at = shape.text.and_then(Text::time_at).map(|at| l4 + l4_header + at);
        let mut template = Self {
            head: (l4 + l4_header.max(8)).min(bytes.len()),
            bytes: bytes.into(),
            l4,
            transport,
            is_recorded: false,
            checksum_at: checksum_at(kind, transport, part).map(|at| l4 + at),
            ip_sum: Sum::default(),
            l4_sum: Sum::default(),
            ip_twist: if kind == Kind::BadIpChecksum { 0x5555 } else { 0 },
            l4_twist: match kind {
                Kind::BadTcpChecksum | Kind::BadUdpChecksum => 0x5555,
                _ => 0,
            },
            sign,
            time_at,
        };
        template.add_up(end);
        Ok(template)
    }

    /// A frame that was recorded, to be sent as it is but for a stamp in its last 16 bytes, if it is to bear one and
    /// its payload has room. Its checksums have to be right.
    pub(crate) fn recorded(frame: &[u8], is_stamped: bool) -> Self {
        let place = Place::of(frame).filter(|place| is_stamped && !place.is_fragment);
        let (l4, end) = place.map_or((L3, frame.len()), |place| (place.l4, place.end));
        let transport = match place.map(|place| place.protocol) {
            Some(IpProtocol::TCP) => Transport::Tcp(TcpFlags::NONE),
            Some(IpProtocol::UDP) => Transport::Udp,
            Some(IpProtocol::ICMP) => Transport::Icmp(0),
            _ => Transport::Nothing,
        };
        let sign = match place.and_then(|place| Some((place.tail(frame)?, place))) {
            Some((_, place)) if place.payload + STAMP_BYTES <= end => {
                Sign::Behind(end - STAMP_BYTES)
            }
            _ => Sign::Not,
        };
        let mut bytes: Box<[u8]> = frame.into();
        let checksum_at = checksum_at(Kind::Udp, transport, Part::Whole).map(|at| l4 + at);
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
            l4,
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
        let ip = &self.bytes[L3..self.l4];
        self.ip_sum = Sum::default().bytes(ip);
        let segment = Sum::default().bytes(&self.bytes[self.l4..end]);
        let len = u32::try_from(end - self.l4).unwrap_or(0);
        self.l4_sum = match self.transport {
            Transport::Tcp(_) => segment.number(6_u32).number(len),
            Transport::Udp => segment.number(17_u32).number(len),
            Transport::Icmp(_) | Transport::Nothing => segment,
        };
        if self.is_recorded && self.bytes.len() >= L3 + IPV4_BYTES {
            self.l4_sum = match self.transport {
                Transport::Tcp(_) | Transport::Udp => self.l4_sum.bytes(&self.bytes[26..34]),
                Transport::Icmp(_) | Transport::Nothing => self.l4_sum,
            };
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
        out[18..20].copy_from_slice(&fields.identification.to_be_bytes());
        let ttl_and_protocol = u16::from(fields.ttl) << 8;
        out[22] = fields.ttl;
        out[26..30].copy_from_slice(&fields.source.to_be_bytes());
        out[30..34].copy_from_slice(&fields.destination.to_be_bytes());
        let sum = self.ip_sum.number(fields.identification).number(ttl_and_protocol);
        let sum = sum.number(fields.source).number(fields.destination).checksum();
        out[24..26].copy_from_slice(&(sum ^ self.ip_twist).to_be_bytes());
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
        let addressed = sum.number(fields.source).number(fields.destination).number(ports);
        match self.transport {
            Transport::Nothing => sum,
            Transport::Udp => {
                out[l4..l4 + 4].copy_from_slice(&ports.to_be_bytes());
                addressed
            }
            Transport::Icmp(_) => {
                out[l4 + 4..l4 + 8].copy_from_slice(&ports.to_be_bytes());
                sum.number(ports)
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

/// Bytes of a transport header.
fn header_bytes(transport: Transport) -> usize {
    match transport {
        Transport::Tcp(_) => 20,
        Transport::Udp | Transport::Icmp(_) => 8,
        Transport::Nothing => 0,
    }
}

/// Where the checksum lies in its header. Fragments have none: it would cover bytes that are elsewhere, and UDP may do
/// without (RFC 768).
fn checksum_at(kind: Kind, transport: Transport, part: Part) -> Option<usize> {
    if part != Part::Whole || kind == Kind::FragmentTiny {
        return None;
    }
    match transport {
        Transport::Tcp(_) => Some(16),
        Transport::Udp => Some(6),
        Transport::Icmp(_) => Some(2),
        Transport::Nothing => None,
    }
}

/// Bytes behind the IP header that are no padding.
///
/// The shortest frame has six bytes more than a bare TCP segment. A SYN may carry data (RFC 9293 3.4), but hardly any
/// does, so there these six are Ethernet padding.
fn ip_payload_bytes(shape: &Shape<'_>, l4: usize, l4_header: usize, part: Part) -> usize {
    let all = shape.frame_bytes - l4;
    let is_tcp = matches!(shape.kind.transport(part), Transport::Tcp(_));
    match part {
        Part::First if shape.kind == Kind::FragmentTiny => 8,
        // All but a last fragment have a multiple of 8 (RFC 791 section 3.2); both halves are as long as each other.
        Part::First | Part::Later(..) => all & !7,
        Part::Whole if is_tcp && shape.frame_bytes == FRAME_BYTES_MIN && shape.text.is_none() => {
            l4_header
        }
        Part::Whole => match shape.text {
            // A text is as long as it is; what is left of the shortest frame is padding.
            Some(text) if shape.frame_bytes == FRAME_BYTES_MIN => l4_header + text.len(),
            _ => all,
        },
    }
}

/// Where the stamp goes. `free` is the first byte that it may take, `end` the end of the packet.
fn sign(shape: &Shape<'_>, transport: Transport, free: usize, end: usize) -> Sign {
    match transport {
        _ if !shape.is_stamped || shape.kind == Kind::FragmentTiny => Sign::Not,
        _ if end >= free + STAMP_BYTES => Sign::Behind(end - STAMP_BYTES),
        Transport::Tcp(_) => Sign::Bare,
        _ => Sign::Not,
    }
}

fn write_ethernet(shape: &Shape<'_>, out: &mut [u8]) -> Result<(), NoRoom> {
    let (source, destination) = (shape.source_mac, shape.destination_mac);
    EthernetHeader { source, destination, ether_type: EtherType::IPV4 }.emit(out).map(drop)
}

fn write_ip(
    shape: &Shape<'_>,
    part: Part,
    payload: usize,
    options: &[u8],
    out: &mut [u8],
) -> Result<(), NoRoom> {
    let any = Ipv4Addr::UNSPECIFIED;
    let header = Ipv4Header {
        dont_fragment: shape.dont_fragment && part == Part::Whole,
        ..Ipv4Header::new(any, any, shape.kind.protocol())
    };
    let at = header.emit(payload + options.len(), out)?;
    out[at..at + options.len()].copy_from_slice(options);
    let words = (IPV4_BYTES + options.len()) / 4;
    out[0] = match shape.kind {
        Kind::BadIpVersion => 0x55,
        Kind::BadIpHeader => 0x44,
        _ => 0x40 | u8::try_from(words).unwrap_or(5),
    };
    if shape.kind == Kind::BadIpLength {
        let total = u16::from_be_bytes([out[2], out[3]]).saturating_add(400);
        out[2..4].copy_from_slice(&total.to_be_bytes());
    }
    let fragment = match part {
        Part::Whole => None,
        Part::First => Some(0x2000),
        Part::Later(0, more) => {
            Some(u16::try_from(payload / 8).unwrap_or(0) | (u16::from(more) << 13))
        }
        Part::Later(offset, more) => Some(offset | (u16::from(more) << 13)),
    };
    if let Some(word) = fragment {
        out[6..8].copy_from_slice(&word.to_be_bytes());
    }
    // What each packet brings: TTL, checksum.
    (out[8], out[10], out[11]) = (0, 0, 0);
    Ok(())
}

fn write_transport(shape: &Shape<'_>, transport: Transport, l4: usize, end: usize, out: &mut [u8]) {
    match transport {
        Transport::Nothing => {}
        Transport::Tcp(_) if shape.kind == Kind::FragmentTiny => {}
        Transport::Tcp(flags) => {
            let words: u8 = if shape.kind == Kind::BadTcpOffset { 4 } else { 5 };
            out[l4 + 12..l4 + 14].copy_from_slice(&[words << 4, flags.0]);
            let window = if sign_is_bare(shape, l4, end) { 0 } else { shape.window };
            out[l4 + 14..l4 + 16].copy_from_slice(&window.to_be_bytes());
        }
        Transport::Udp => {
            let len = end - l4;
            let len = match shape.kind {
                Kind::FragmentPair => 2 * len,
                Kind::FragmentFirst => len + 1480,
                Kind::BadUdpLength => len + 400,
                _ => len,
            };
            let len = u16::try_from(len).unwrap_or(u16::MAX);
            out[l4 + 4..l4 + 6].copy_from_slice(&len.to_be_bytes());
        }
        Transport::Icmp(message) => out[l4] = message,
    }
}

fn sign_is_bare(shape: &Shape<'_>, l4: usize, end: usize) -> bool {
    let text = shape.text.map_or(0, Text::len);
    let transport = shape.kind.transport(Part::Whole);
    sign(shape, transport, l4 + header_bytes(transport) + text, end) == Sign::Bare
}

#[cfg(test)]
mod tests;
