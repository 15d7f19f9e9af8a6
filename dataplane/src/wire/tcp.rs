//! TCP (RFC 9293).
//!
//! ```text
//!  0             2             4          8          12      13      14       16         18
//!  | source port | dest port   | sequence | ack      | off   | flags | window | checksum | urgent | options …
//! ```
//!
//! The view needs the whole header. Of the packets that ICMP errors quote, only eight bytes are
//! certain: [`super::transport_ports`].

use super::checksum;
use super::{IpProtocol, Malformed, NoRoom, need, read_u16, read_u32, room, write_u16, write_u32};
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::{BitAnd, BitOr, Range};
use std::str::FromStr;

/// Bytes of a header without options.
pub const HEADER_BYTES_MIN: usize = 20;

/// Bytes of a header with the most options it can have.
pub const HEADER_BYTES_MAX: usize = 60;

/// Where the checksum stands; other files complete and update it.
pub(super) const CHECKSUM: Range<usize> = field::CHECKSUM;

/// The flags of a segment, as bits.
///
/// Text is what iptables' `--tcp-flags` takes: names with commas between them, `ALL`, `NONE`. `ALL` is the
/// six flags of RFC 793; ECE and CWR (RFC 3168) are named, which iptables cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The sender has no more data.
    pub const FIN: Self = Self(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment number counts.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer counts.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Self = Self(0x80);
    /// The six that iptables calls ALL.
    pub const ALL: Self = Self(0x3f);

    /// Names in the order of iptables' own output.
    const NAMES: [(&'static str, Self); 8] = [
        ("FIN", Self::FIN),
        ("SYN", Self::SYN),
        ("RST", Self::RST),
        ("PSH", Self::PSH),
        ("ACK", Self::ACK),
        ("URG", Self::URG),
        ("ECE", Self::ECE),
        ("CWR", Self::CWR),
    ];

    /// Whether every flag of `others` is set.
    #[inline]
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any flag of `others` is set.
    #[inline]
    #[must_use]
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// iptables' `--tcp-flags mask set`: of the flags in `mask`, exactly those in `set` are set.
    #[inline]
    #[must_use]
    pub const fn matches(self, mask: Self, set: Self) -> bool {
        self.0 & mask.0 == set.0
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for TcpFlags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NONE {
            return f.write_str("NONE");
        }
        let mut comma = "";
        for (name, _) in Self::NAMES.iter().filter(|(_, flag)| self.contains(*flag)) {
            write!(f, "{comma}{name}")?;
            comma = ",";
        }
        Ok(())
    }
}

/// A word that is no TCP flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no TCP flag; known are FIN SYN RST PSH ACK URG ECE CWR ALL NONE")]
pub struct NotATcpFlag {
    /// The word.
    pub word: String,
}

impl FromStr for TcpFlags {
    type Err = NotATcpFlag;

    /// Reads names with commas between them, in any case of letters.
    fn from_str(text: &str) -> Result<Self, NotATcpFlag> {
        let named = |word: &str| match word.to_ascii_uppercase().as_str() {
            "ALL" => Some(Self::ALL),
            "NONE" => Some(Self::NONE),
            name => Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, flag)| *flag),
        };
        text.split(',').try_fold(Self::NONE, |flags, word| match named(word) {
            Some(flag) => Ok(flags | flag),
            None => Err(NotATcpFlag { word: word.to_owned() }),
        })
    }
}

mod field {
    use std::ops::Range;

    pub(super) const SOURCE_PORT: Range<usize> = 0..2;
    pub(super) const DESTINATION_PORT: Range<usize> = 2..4;
    pub(super) const SEQUENCE: Range<usize> = 4..8;
    pub(super) const ACKNOWLEDGMENT: Range<usize> = 8..12;
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: Range<usize> = 14..16;
    pub(super) const CHECKSUM: Range<usize> = 16..18;
    pub(super) const URGENT: Range<usize> = 18..20;
}

/// A segment: header, options, data.
#[derive(Debug, Clone, Copy)]
pub struct Tcp<T> {
    bytes: T,
    /// 20 to 60, and not above the bytes there are.
    header_len: u8,
}

impl<T: AsRef<[u8]>> Tcp<T> {
    /// Looks at `bytes`, the payload of an IP packet, as a segment.
    ///
    /// # Errors
    /// `Truncated` when the header is cut off, `HeaderLength` when the data offset is below 20 bytes.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let b = bytes.as_ref();
        need(b, HEADER_BYTES_MIN)?;
        let header_len = (b[field::DATA_OFFSET] >> 4) * 4;
        if usize::from(header_len) < HEADER_BYTES_MIN {
            let declared = usize::from(header_len);
            return Err(Malformed::HeaderLength { declared, min: HEADER_BYTES_MIN });
        }
        need(b, usize::from(header_len))?;
        Ok(Self { bytes, header_len })
    }

    /// The sender's port.
    #[inline]
    #[must_use]
    pub fn source_port(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::SOURCE_PORT)
    }

    /// The receiver's port.
    #[inline]
    #[must_use]
    pub fn destination_port(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::DESTINATION_PORT)
    }

    /// The number of the first byte of data, or of SYN.
    #[inline]
    #[must_use]
    pub fn sequence(&self) -> u32 {
        read_u32(self.bytes.as_ref(), field::SEQUENCE)
    }

    /// The number that the sender expects next; counts only with ACK.
    #[inline]
    #[must_use]
    pub fn acknowledgment(&self) -> u32 {
        read_u32(self.bytes.as_ref(), field::ACKNOWLEDGMENT)
    }

    /// Bytes of the header with its options: 20 to 60.
    #[inline]
    #[must_use]
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// The flags.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(self.bytes.as_ref()[field::FLAGS])
    }

    /// The window as it stands, unscaled.
    #[inline]
    #[must_use]
    pub fn window(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::WINDOW)
    }

    /// The checksum as it stands.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::CHECKSUM)
    }

    /// Whether the checksum is right between these addresses.
    #[must_use]
    pub fn checksum_ok(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        let bytes = self.bytes.as_ref();
        u16::try_from(bytes.len()).is_ok_and(|len| {
            let pseudo = checksum::pseudo_v4(source, destination, IpProtocol::TCP, len);
            checksum::verify_transport(pseudo, bytes)
        })
    }

    /// The urgent pointer; counts only with URG.
    #[must_use]
    pub fn urgent_pointer(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::URGENT)
    }

    /// The options in order. Bounded by the header; ends after the first error.
    #[inline]
    #[must_use]
    pub fn options(&self) -> TcpOptions<'_> {
        TcpOptions { rest: &self.bytes.as_ref()[HEADER_BYTES_MIN..self.header_len()] }
    }

    /// The data.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[self.header_len()..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Tcp<T> {
    /// Sets the sender's port. The checksum is for the caller.
    pub fn set_source_port(&mut self, port: u16) {
        write_u16(self.bytes.as_mut(), field::SOURCE_PORT, port);
    }

    /// Sets the receiver's port. The checksum is for the caller.
    pub fn set_destination_port(&mut self, port: u16) {
        write_u16(self.bytes.as_mut(), field::DESTINATION_PORT, port);
    }

    /// Sets the sequence number. The checksum is for the caller.
    pub fn set_sequence(&mut self, sequence: u32) {
        write_u32(self.bytes.as_mut(), field::SEQUENCE, sequence);
    }

    /// Sets the acknowledgment number. The checksum is for the caller.
    pub fn set_acknowledgment(&mut self, acknowledgment: u32) {
        write_u32(self.bytes.as_mut(), field::ACKNOWLEDGMENT, acknowledgment);
    }

    /// Sets the checksum as it stands, e.g. after an update by [`checksum::replace_u32`].
    pub fn set_checksum(&mut self, value: u16) {
        write_u16(self.bytes.as_mut(), field::CHECKSUM, value);
    }

    /// Computes the checksum anew between these addresses. `bytes` must be the whole segment; one of more
    /// than 65,535 bytes cannot be in an IPv4 packet and gets a wrong checksum.
    pub fn fill_checksum(&mut self, source: Ipv4Addr, destination: Ipv4Addr) {
        self.set_checksum(0);
        let bytes = self.bytes.as_ref();
        let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let pseudo = checksum::pseudo_v4(source, destination, IpProtocol::TCP, len);
        let value = !checksum::add(pseudo, checksum::sum(bytes));
        self.set_checksum(value);
    }

    /// The data, to write.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let at = self.header_len();
        &mut self.bytes.as_mut()[at..]
    }
}

/// One option of a header. An option with a length that its kind does not allow comes as `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpOption<'a> {
    /// Kind 2: the largest segment that the sender takes (RFC 9293 section 3.7.1).
    MaxSegmentSize(u16),
    /// Kind 3: windows are to be shifted by this (RFC 7323; above 14 counts as 14).
    WindowScale(u8),
    /// Kind 4: selective acknowledgments are understood (RFC 2018).
    SackPermitted,
    /// Kind 5: blocks received, 8 bytes each (RFC 2018).
    Sack(&'a [u8]),
    /// Kind 8 (RFC 7323).
    Timestamps {
        /// The sender's clock.
        value: u32,
        /// The peer's clock as last seen; counts only with ACK.
        echo: u32,
    },
    /// Anything else.
    Other {
        /// What it is.
        kind: u8,
        /// What it carries, kind and length not included.
        data: &'a [u8],
    },
}

impl<'a> TcpOption<'a> {
    fn new(kind: u8, data: &'a [u8]) -> Self {
        match (kind, data) {
            (2, &[a, b]) => Self::MaxSegmentSize(u16::from_be_bytes([a, b])),
            (3, &[shift]) => Self::WindowScale(shift),
            (4, []) => Self::SackPermitted,
            (5, blocks) if blocks.len() % 8 == 0 && !blocks.is_empty() => Self::Sack(blocks),
            (8, data) if data.len() == 8 => {
                Self::Timestamps { value: read_u32(data, 0..4), echo: read_u32(data, 4..8) }
            }
            _ => Self::Other { kind, data },
        }
    }
}

/// The options of a header in order; see [`Tcp::options`]. No-operation and end are not yielded.
#[derive(Debug, Clone)]
pub struct TcpOptions<'a> {
    /// Always shrinks; empty when done.
    rest: &'a [u8],
}

impl<'a> Iterator for TcpOptions<'a> {
    type Item = Result<TcpOption<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        while let [NO_OPERATION, rest @ ..] = self.rest {
            self.rest = rest;
        }
        // Nothing is read behind the end or a broken option.
        let rest = std::mem::take(&mut self.rest);
        let kind = *rest.first().filter(|kind| **kind != END)?;
        let declared = rest.get(1).map_or(0, |length| usize::from(*length));
        match rest.get(2..declared) {
            Some(data) => {
                self.rest = &rest[declared..];
                Some(Ok(TcpOption::new(kind, data)))
            }
            None => Some(Err(Malformed::OptionLength { kind, declared, left: rest.len() })),
        }
    }
}

/// The header of a segment that Weir sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpHeader {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The number of the first byte of data, or of SYN.
    pub sequence: u32,
    /// The number expected next.
    pub acknowledgment: u32,
    /// The flags.
    pub flags: TcpFlags,
    /// The window, unscaled.
    pub window: u16,
}

impl TcpHeader {
    /// Writes the header with `options`, padded with zeros to a multiple of 4, at the start of `out`, and
    /// returns its length. Checksum and urgent pointer are 0: once the data is in place, it is for
    /// [`Tcp::fill_checksum`]. Options above 40 bytes do not fit a header and are refused.
    ///
    /// # Errors
    /// [`NoRoom`] when `out`, or a header, has no room.
    pub fn emit(&self, options: &[u8], out: &mut [u8]) -> Result<usize, NoRoom> {
        let need = HEADER_BYTES_MIN + options.len().next_multiple_of(4);
        let words = u8::try_from(need / 4).ok().filter(|_| need <= HEADER_BYTES_MAX);
        let Some(words) = words else {
            return Err(NoRoom { need, have: HEADER_BYTES_MAX });
        };
        let bytes = room(out, need)?;
        bytes.fill(0);
        write_u16(bytes, field::SOURCE_PORT, self.source_port);
        write_u16(bytes, field::DESTINATION_PORT, self.destination_port);
        write_u32(bytes, field::SEQUENCE, self.sequence);
        write_u32(bytes, field::ACKNOWLEDGMENT, self.acknowledgment);
        bytes[field::DATA_OFFSET] = words << 4;
        bytes[field::FLAGS] = self.flags.0;
        write_u16(bytes, field::WINDOW, self.window);
        bytes[HEADER_BYTES_MIN..HEADER_BYTES_MIN + options.len()].copy_from_slice(options);
        Ok(need)
    }
}

#[cfg(test)]
mod tests;
