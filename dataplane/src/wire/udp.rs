//! UDP (RFC 768, RFC 1122 section 4.1).
//!
//! ```text
//!  0             2           4        6          8
//!  | source port | dest port | length | checksum | data …
//! ```
//!
//! A checksum of 0 says that there is none (IPv4 only). Data behind the length field's end belongs to nobody.
//! The first fragment of a datagram has a length field greater than what is there: for its ports
//! [`super::transport_ports`].

use super::checksum;
use super::{IpProtocol, Malformed, NoRoom, need, read_u16, room, write_u16};
use std::net::Ipv4Addr;
use std::ops::Range;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// Where the checksum stands; other files complete and update it.
pub(super) const CHECKSUM: Range<usize> = field::CHECKSUM;

mod field {
    use std::ops::Range;

    pub(super) const SOURCE_PORT: Range<usize> = 0..2;
    pub(super) const DESTINATION_PORT: Range<usize> = 2..4;
    pub(super) const LENGTH: Range<usize> = 4..6;
    pub(super) const CHECKSUM: Range<usize> = 6..8;
}

/// A datagram: header and data.
#[derive(Debug, Clone, Copy)]
pub struct Udp<T> {
    bytes: T,
    /// 8 to the bytes there are.
    len: u16,
}

impl<T: AsRef<[u8]>> Udp<T> {
    /// Looks at `bytes`, the payload of an unfragmented IP packet, as a datagram.
    ///
    /// # Errors
    /// `Truncated` below 8 bytes, `TotalLength` when the length field is below 8 or above `bytes`.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let b = bytes.as_ref();
        need(b, HEADER_BYTES)?;
        let len = read_u16(b, field::LENGTH);
        let (declared, have) = (usize::from(len), b.len());
        if declared < HEADER_BYTES || declared > have {
            return Err(Malformed::TotalLength { declared, min: HEADER_BYTES, have });
        }
        Ok(Self { bytes, len })
    }

    /// The sender's port; 0 when no answer is wanted.
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

    /// Bytes of header and data; never below 8.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a datagram has 8 bytes at least")]
    pub fn len(&self) -> u16 {
        self.len
    }

    /// The checksum as it stands; 0 for none.
    #[inline]
    #[must_use]
    pub fn checksum(&self) -> u16 {
        read_u16(self.bytes.as_ref(), field::CHECKSUM)
    }

    /// Whether the checksum is right between these addresses, or none is there.
    #[must_use]
    pub fn checksum_ok(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        let pseudo = checksum::pseudo_v4(source, destination, IpProtocol::UDP, self.len);
        self.checksum() == 0 || checksum::verify_transport(pseudo, self.datagram())
    }

    /// The data.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.datagram()[HEADER_BYTES..]
    }

    #[inline]
    fn datagram(&self) -> &[u8] {
        &self.bytes.as_ref()[..usize::from(self.len)]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Udp<T> {
    /// Sets the sender's port. The checksum is for the caller.
    pub fn set_source_port(&mut self, port: u16) {
        write_u16(self.bytes.as_mut(), field::SOURCE_PORT, port);
    }

    /// Sets the receiver's port. The checksum is for the caller.
    pub fn set_destination_port(&mut self, port: u16) {
        write_u16(self.bytes.as_mut(), field::DESTINATION_PORT, port);
    }

    /// Sets the checksum as it stands, e.g. after an update by [`checksum::replace_udp`].
    pub fn set_checksum(&mut self, value: u16) {
        write_u16(self.bytes.as_mut(), field::CHECKSUM, value);
    }

    /// Computes the checksum anew between these addresses.
    pub fn fill_checksum(&mut self, source: Ipv4Addr, destination: Ipv4Addr) {
        self.set_checksum(0);
        let pseudo = checksum::pseudo_v4(source, destination, IpProtocol::UDP, self.len);
        let sum = checksum::add(pseudo, checksum::sum(self.datagram()));
        self.set_checksum(checksum::nonzero(!sum));
    }

    /// The data, to write.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let end = usize::from(self.len);
        &mut self.bytes.as_mut()[HEADER_BYTES..end]
    }
}

/// The header of a datagram that Weir sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpHeader {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
}

impl UdpHeader {
    /// Writes the header for `payload_len` bytes of data at the start of `out` and returns its length, 8.
    /// The checksum is 0, "none": once the data is in place, it is for [`Udp::fill_checksum`].
    ///
    /// # Errors
    /// [`NoRoom`] when `out` has no room for header and data, or both together exceed 65,535.
    pub fn emit(&self, payload_len: usize, out: &mut [u8]) -> Result<usize, NoRoom> {
        let need = HEADER_BYTES.saturating_add(payload_len);
        let have = out.len().min(usize::from(u16::MAX));
        let Ok(len) = u16::try_from(need) else { return Err(NoRoom { need, have }) };
        let bytes = room(out, need)?;
        write_u16(bytes, field::SOURCE_PORT, self.source_port);
        write_u16(bytes, field::DESTINATION_PORT, self.destination_port);
        write_u16(bytes, field::LENGTH, len);
        write_u16(bytes, field::CHECKSUM, 0);
        Ok(HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const DESTINATION: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);

    #[test]
    fn a_datagram_reads_back_what_was_emitted() {
        let header = UdpHeader { source_port: 5000, destination_port: 53 };
        let mut bytes = [0xaa; 12];
        assert_eq!(header.emit(3, &mut bytes), Ok(8));
        assert_eq!(bytes, [0x13, 0x88, 0, 53, 0, 11, 0, 0, 0xaa, 0xaa, 0xaa, 0xaa]);
        let mut udp = Udp::new_checked(&mut bytes[..]).unwrap();
        assert_eq!((udp.source_port(), udp.destination_port(), udp.len()), (5000, 53, 11));
        assert!(udp.checksum_ok(SOURCE, DESTINATION), "0 is no checksum");
        udp.fill_checksum(SOURCE, DESTINATION);
        assert_ne!(udp.checksum(), 0);
        assert!(udp.checksum_ok(SOURCE, DESTINATION));
        udp.payload_mut()[0] = 0xab;
        assert!(!udp.checksum_ok(SOURCE, DESTINATION));
        assert_eq!(udp.payload(), [0xab, 0xaa, 0xaa]);
        assert_eq!(header.emit(5, &mut bytes), Err(NoRoom { need: 13, have: 12 }));
        let mut large = vec![0; 70_000];
        assert_eq!(header.emit(65_528, &mut large), Err(NoRoom { need: 65_536, have: 65_535 }));
    }

    #[test]
    fn what_is_no_datagram_is_refused_with_the_reason() {
        let mut bytes = [0, 1, 0, 2, 0, 9, 0, 0, 0];
        let refusal = |bytes: &[u8]| Udp::new_checked(bytes).map(|_| ()).unwrap_err();
        assert_eq!(refusal(&bytes[..7]), Malformed::Truncated { need: 8, have: 7 });
        let long = Malformed::TotalLength { declared: 9, min: 8, have: 8 };
        assert_eq!(refusal(&bytes[..8]), long);
        bytes[5] = 7;
        assert_eq!(refusal(&bytes), Malformed::TotalLength { declared: 7, min: 8, have: 9 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..60), len in 0u8..60
        ) {
            let mut bytes = bytes;
            if bytes.len() > 6 {
                bytes[4..6].copy_from_slice(&[0, len]);
            }
            let Ok(mut udp) = Udp::new_checked(&mut bytes[..]) else { return Ok(()) };
            udp.set_source_port(1);
            udp.set_destination_port(2);
            udp.payload_mut().fill(0xff);
            udp.fill_checksum(SOURCE, DESTINATION);
            prop_assert!(udp.checksum_ok(SOURCE, DESTINATION) && udp.checksum() != 0);
            prop_assert_eq!(udp.payload().len() + HEADER_BYTES, usize::from(udp.len()));
        }
    }
}
