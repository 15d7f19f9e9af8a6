//! ICMP for IPv4 (RFC 792, RFC 1122 section 3.2.2).
//!
//! ```text
//!  0      1      2          4                    8
//!  | type | code | checksum | rest of the header | data …
//!                             echo: identifier, sequence
//!                             error: unused, or the MTU of the next hop in the low half (RFC 1191)
//! ```
//!
//! An error's data is the start of the packet it is about: its IP header and at least eight bytes more.
//! [`Icmp::quoted`] reads it.

use super::checksum;
use super::{Ipv4, Malformed, NoRoom, need, read, read_u16, room, write_u16};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IcmpType(pub u8);

impl IcmpType {
    /// The answer to an echo request.
    pub const ECHO_REPLY: Self = Self(0);
    /// The packet could not be delivered.
    pub const DESTINATION_UNREACHABLE: Self = Self(3);
    /// Obsolete (RFC 6633).
    pub const SOURCE_QUENCH: Self = Self(4);
    /// There is a better first hop.
    pub const REDIRECT: Self = Self(5);
    /// Ping.
    pub const ECHO_REQUEST: Self = Self(8);
    /// TTL or the time for reassembly ran out.
    pub const TIME_EXCEEDED: Self = Self(11);
    /// A header field was bad.
    pub const PARAMETER_PROBLEM: Self = Self(12);
    /// Timestamp.
    pub const TIMESTAMP: Self = Self(13);
    /// The answer to it.
    pub const TIMESTAMP_REPLY: Self = Self(14);
    /// Information request (obsolete).
    pub const INFORMATION_REQUEST: Self = Self(15);
    /// The answer to it.
    pub const INFORMATION_REPLY: Self = Self(16);
    /// Address mask request.
    pub const ADDRESS_MASK_REQUEST: Self = Self(17);
    /// The answer to it; the highest type that Linux knows.
    pub const ADDRESS_MASK_REPLY: Self = Self(18);

    /// Whether a message of this type quotes the packet it is about (RFC 1122 section 3.2.2).
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::DESTINATION_UNREACHABLE
                | Self::SOURCE_QUENCH
                | Self::REDIRECT
                | Self::TIME_EXCEEDED
                | Self::PARAMETER_PROBLEM
        )
    }

    /// Whether the message asks something or answers it. What is neither that nor an error is unknown to
    /// Linux, which takes it for an error when asked to answer it with one (kernel
    /// `net/ipv4/icmp.c`, table `icmp_pointers`).
    #[must_use]
    pub const fn is_query_or_reply(self) -> bool {
        matches!(self.0, 0 | 8 | 13..=18)
    }
}

mod field {
    use std::ops::Range;

    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const REST: Range<usize> = 4..8;
    pub(super) const IDENTIFIER: Range<usize> = 4..6;
    pub(super) const SEQUENCE: Range<usize> = 6..8;
    pub(super) const NEXT_HOP_MTU: Range<usize> = 6..8;
}

/// A message: header and data.
#[derive(Debug, Clone, Copy)]
pub struct Icmp<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Icmp<T> {
    /// Looks at `bytes`, the payload of an IPv4 packet, as a message.
    ///
    /// # Errors
    /// `Truncated` below 8 bytes.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        need(bytes.as_ref(), HEADER_BYTES)?;
        Ok(Self { bytes })
    }

    /// What the message is.
    #[inline]
    #[must_use]
    pub fn message_type(&self) -> IcmpType {
        IcmpType(self.bytes.as_ref()[field::TYPE])
    }

    /// Which of its kind.
    #[inline]
    #[must_use]
    pub fn code(&self) -> u8 {
        self.bytes.as_ref()[field::CODE]
    }

    /// The checksum as it stands.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::CHECKSUM)
    }

    /// Whether the checksum is right.
    #[must_use]
    pub fn checksum_ok(&self) -> bool {
        checksum::verify_transport(0, self.bytes.as_ref())
    }

    /// Bytes 4 to 7, whose meaning depends on the type.
    #[must_use]
    pub fn rest_of_header(&self) -> [u8; 4] {
        read(self.bytes.as_ref(), field::REST)
    }

    /// Who pings; of queries and replies.
    #[inline]
    #[must_use]
    pub fn identifier(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::IDENTIFIER)
    }

    /// Which ping; of queries and replies.
    #[must_use]
    pub fn sequence(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::SEQUENCE)
    }

    /// The largest packet that the next hop takes; of "fragmentation needed" (RFC 1191).
    #[must_use]
    pub fn next_hop_mtu(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::NEXT_HOP_MTU)
    }

    /// The data.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[HEADER_BYTES..]
    }

    /// The packet that an error is about; `None` for what is no error.
    #[must_use]
    pub fn quoted(&self) -> Option<Result<Ipv4<&[u8]>, Malformed>> {
        self.message_type().is_error().then(|| Ipv4::new_quoted(self.payload()))
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmp<T> {
    /// Sets who pings. The checksum is for the caller.
    pub fn set_identifier(&mut self, identifier: u16) {
        write_u16(self.bytes.as_mut(), field::IDENTIFIER, identifier);
    }

    /// Sets the checksum as it stands, e.g. after an update by [`checksum::replace_u16`].
    pub fn set_checksum(&mut self, value: u16) {
        write_u16(self.bytes.as_mut(), field::CHECKSUM, value);
    }

    /// Computes the checksum anew.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let value = checksum::checksum(self.bytes.as_ref());
        self.set_checksum(value);
    }

    /// The data, to write.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes.as_mut()[HEADER_BYTES..]
    }
}

/// The header of a message that Weir sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpHeader {
    /// What the message is.
    pub message_type: IcmpType,
    /// Which of its kind.
    pub code: u8,
    /// Bytes 4 to 7.
    pub rest_of_header: [u8; 4],
}

impl IcmpHeader {
    /// Writes the header at the start of `message`, whose bytes behind the header are the data already in
    /// place, fills the checksum over the whole of it, and returns the header's length, 8.
    ///
    /// # Errors
    /// [`NoRoom`] below 8 bytes.
    pub fn emit(&self, message: &mut [u8]) -> Result<usize, NoRoom> {
        room(message, HEADER_BYTES)?;
        message[field::TYPE] = self.message_type.0;
        message[field::CODE] = self.code;
        message[field::REST].copy_from_slice(&self.rest_of_header);
        Icmp { bytes: message }.fill_checksum();
        Ok(HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_echo_reads_back_what_was_emitted() {
        let mut bytes = [0xaa; 11];
        let header = IcmpHeader {
            message_type: IcmpType::ECHO_REQUEST,
            code: 0,
            rest_of_header: [0x12, 0x34, 0, 7],
        };
        assert_eq!(header.emit(&mut bytes), Ok(8));
        // 0800 + 1234 + 0007 + aaaa + aa00 = 16ee5 -> 6ee6 -> complement
        assert_eq!(bytes, [8, 0, 0x91, 0x19, 0x12, 0x34, 0, 7, 0xaa, 0xaa, 0xaa]);
        let mut icmp = Icmp::new_checked(&mut bytes[..]).unwrap();
        assert!(icmp.checksum_ok());
        assert_eq!((icmp.message_type(), icmp.code()), (IcmpType::ECHO_REQUEST, 0));
        assert_eq!((icmp.identifier(), icmp.sequence(), icmp.checksum()), (0x1234, 7, 0x9119));
        assert!(icmp.quoted().is_none());
        icmp.set_identifier(9);
        assert!(!icmp.checksum_ok());
        assert_eq!(header.emit(&mut [0; 7]), Err(NoRoom { need: 8, have: 7 }));
    }

    #[test]
    fn an_error_quotes_its_packet() {
        let mut bytes = vec![3, 4, 0, 0, 0, 0, 0x05, 0x78];
        bytes.extend([0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 63, 17, 0, 0, 10, 0, 0, 2, 192, 168, 0, 2]);
        bytes.extend([0x13, 0x88, 0, 53, 0, 0, 0, 0]);
        let icmp = Icmp::new_checked(&bytes).unwrap();
        assert_eq!((icmp.next_hop_mtu(), icmp.rest_of_header()), (1400, [0, 0, 5, 0x78]));
        let quoted = icmp.quoted().unwrap().unwrap();
        assert_eq!((quoted.total_len(), quoted.payload().len()), (1500, 8));
        assert_eq!(crate::wire::transport_ports(quoted.payload()), Ok((5000, 53)));
        let cut = Icmp::new_checked(&bytes[..27]).unwrap();
        assert_eq!(cut.quoted().unwrap().unwrap_err(), Malformed::Truncated { need: 20, have: 19 });
    }

    #[test]
    fn types_are_errors_or_queries_or_unknown() {
        let all = (0..=255u8).map(IcmpType);
        let errors: Vec<u8> = all.clone().filter(|t| t.is_error()).map(|t| t.0).collect();
        assert_eq!(errors, [3, 4, 5, 11, 12]);
        let queries: Vec<u8> = all.filter(|t| t.is_query_or_reply()).map(|t| t.0).collect();
        assert_eq!(queries, [0, 8, 13, 14, 15, 16, 17, 18]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0u8..20) {
            if bytes.len() > 8 {
                bytes[0] = kind;
                bytes[8] = 0x45;
            }
            let Ok(mut icmp) = Icmp::new_checked(&mut bytes[..]) else { return Ok(()) };
            let _ = icmp.quoted().map(|quoted| quoted.map(|ip| ip.payload().len()));
            icmp.set_identifier(1);
            icmp.payload_mut().fill(0);
            icmp.fill_checksum();
            let nonzero = icmp.payload().len() + usize::from(kind) > 0;
            prop_assert!(!nonzero || icmp.checksum_ok());
            let _ = (icmp.code(), icmp.sequence(), icmp.next_hop_mtu(), icmp.rest_of_header());
        }
    }
}
