//! Ethernet II frames (IEEE 802.3, RFC 894).
//!
//! ```text
//!  0      6      12   14
//!  | dest | src  | ET | payload … padding to 60 bytes |      (no FCS: the NIC has removed it)
//! ```
//!
//! A frame shorter than 60 bytes is padded by its sender. So the payload may have trailing bytes that
//! belong to nobody; the length field of the packet inside decides, see [`super::ipv4`]. Veth does
//! not pad, so a frame of 42 bytes is as normal. Values below 0x0600 in the type field are lengths
//! (IEEE 802.3 with LLC, e.g. spanning tree): [`EtherType::is_length`].

use super::{Malformed, NoRoom, need, read, read_u16, room, write_u16};
use std::fmt;
use std::str::FromStr;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 14;

/// The least that a frame has on real Ethernet, without FCS.
pub const FRAME_BYTES_MIN: usize = 60;

/// What the payload of a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4 (RFC 894).
    pub const IPV4: Self = Self(0x0800);
    /// ARP (RFC 826).
    pub const ARP: Self = Self(0x0806);
    /// A customer VLAN tag (IEEE 802.1Q).
    pub const VLAN: Self = Self(0x8100);
    /// IPv6 (RFC 2464).
    pub const IPV6: Self = Self(0x86dd);
    /// A service VLAN tag (IEEE 802.1ad, "QinQ").
    pub const SERVICE_VLAN: Self = Self(0x88a8);

    /// Whether the field is the length of an 802.3 frame and not a type.
    #[must_use]
    pub const fn is_length(self) -> bool {
        self.0 < 0x0600
    }

    /// Whether a VLAN tag follows.
    #[must_use]
    pub const fn is_vlan(self) -> bool {
        matches!(self, Self::VLAN | Self::SERVICE_VLAN)
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// The address of an Ethernet station, in the order of transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All stations: `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// No address: what ARP asks with, and what a device without an address has.
    pub const ZERO: Self = Self([0; 6]);

    /// Whether this is the broadcast address.
    #[must_use]
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// Whether the group bit is set: multicast, and broadcast as one case of it.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether it can be a station's own address: neither a group nor zero.
    #[must_use]
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six hexadecimal bytes with colons between them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a MAC address; write six hexadecimal bytes like 02:00:5e:10:00:01")]
pub struct NotAMacAddr {
    /// What was given.
    pub text: String,
}

impl FromStr for MacAddr {
    type Err = NotAMacAddr;

    /// Reads `xx:xx:xx:xx:xx:xx`, one or two digits a byte, as iptables' `mac` match does.
    fn from_str(text: &str) -> Result<Self, NotAMacAddr> {
        let refuse = || NotAMacAddr { text: text.to_owned() };
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or_else(refuse)?;
            // `from_str_radix` alone would take a sign.
            let digits = part.len() <= 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if !digits {
                return Err(refuse());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| refuse())?;
        }
        if parts.next().is_some() { Err(refuse()) } else { Ok(Self(octets)) }
    }
}

mod field {
    use std::ops::Range;

    pub(super) const DESTINATION: Range<usize> = 0..6;
    pub(super) const SOURCE: Range<usize> = 6..12;
    pub(super) const ETHER_TYPE: Range<usize> = 12..14;
}

/// A frame: header and payload.
#[derive(Debug, Clone, Copy)]
pub struct Ethernet<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ethernet<T> {
    /// Looks at `bytes` as a frame.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] below 14 bytes.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        need(bytes.as_ref(), HEADER_BYTES)?;
        Ok(Self { bytes })
    }

    /// Who the frame is for.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> MacAddr {
        MacAddr(read(self.bytes.as_ref(), field::DESTINATION))
    }

    /// Who sent the frame on this link.
    #[inline]
    #[must_use]
    pub fn source(&self) -> MacAddr {
        MacAddr(read(self.bytes.as_ref(), field::SOURCE))
    }

    /// What the payload is. The outermost: a VLAN tag hides the type behind it.
    #[inline]
    #[must_use]
    pub fn ether_type(&self) -> EtherType {
        EtherType(read_u16(self.bytes.as_ref(), field::ETHER_TYPE))
    }

    /// Everything after the header, padding included.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes.as_ref()[HEADER_BYTES..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ethernet<T> {
    /// Sets who the frame is for.
    #[inline]
    pub fn set_destination(&mut self, address: MacAddr) {
        self.bytes.as_mut()[field::DESTINATION].copy_from_slice(&address.0);
    }

    /// Sets who sends the frame.
    #[inline]
    pub fn set_source(&mut self, address: MacAddr) {
        self.bytes.as_mut()[field::SOURCE].copy_from_slice(&address.0);
    }

    /// Sets what the payload is.
    #[inline]
    pub fn set_ether_type(&mut self, ether_type: EtherType) {
        write_u16(self.bytes.as_mut(), field::ETHER_TYPE, ether_type.0);
    }

    /// Everything after the header, to write.
    #[inline]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes.as_mut()[HEADER_BYTES..]
    }
}

/// The header of a frame to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Who the frame is for.
    pub destination: MacAddr,
    /// Who sends it.
    pub source: MacAddr,
    /// What follows.
    pub ether_type: EtherType,
}

impl EthernetHeader {
    /// Writes the header at the start of `out` and returns its length, 14.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let mut frame = Ethernet { bytes: room(out, HEADER_BYTES)? };
        frame.set_destination(self.destination);
        frame.set_source(self.source);
        frame.set_ether_type(self.ether_type);
        Ok(HEADER_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_reads_back_what_was_emitted() {
        let header = EthernetHeader {
            destination: MacAddr([2, 0, 0, 0, 0, 1]),
            source: MacAddr([2, 0, 0, 0, 0, 2]),
            ether_type: EtherType::IPV4,
        };
        let mut bytes = [0xaa; 16];
        assert_eq!(header.emit(&mut bytes), Ok(14));
        assert_eq!(bytes, [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00, 0xaa, 0xaa]);
        let frame = Ethernet::new_checked(&bytes).unwrap();
        assert_eq!(frame.destination(), header.destination);
        assert_eq!(frame.source(), header.source);
        assert_eq!(frame.ether_type(), header.ether_type);
        assert_eq!(frame.payload(), [0xaa, 0xaa]);
        assert_eq!(header.emit(&mut [0; 13]), Err(NoRoom { need: 14, have: 13 }));
    }

    #[test]
    fn thirteen_bytes_are_no_frame() {
        let found = Ethernet::new_checked([0; 13]).map(|_| ());
        assert_eq!(found, Err(Malformed::Truncated { need: 14, have: 13 }));
    }

    #[test]
    fn addresses_know_their_group_bit() {
        assert!(MacAddr::BROADCAST.is_broadcast() && MacAddr::BROADCAST.is_multicast());
        let group = MacAddr([0x01, 0, 0x5e, 0, 0, 1]);
        assert!(group.is_multicast() && !group.is_broadcast() && !group.is_unicast());
        assert!(MacAddr([2, 0, 0, 0, 0, 1]).is_unicast());
        assert!(!MacAddr::ZERO.is_unicast() && !MacAddr::ZERO.is_multicast());
    }

    #[test]
    fn text_that_is_no_address_is_refused_by_name() {
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "+2:0:0:0:0:0",
            "002:0:0:0:0:0",
            "g:0:0:0:0:0",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert_eq!(error.text, text);
        }
        assert_eq!("2:0:5E:10:0:1".parse(), Ok(MacAddr([2, 0, 0x5e, 0x10, 0, 1])));
    }

    proptest! {
        #[test]
        fn addresses_survive_text(octets: [u8; 6]) {
            let address = MacAddr(octets);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}") {
            let _ = text.parse::<MacAddr>();
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(mut frame) = Ethernet::new_checked(&mut bytes[..]) {
                let source = frame.source();
                frame.set_source(frame.destination());
                frame.set_destination(source);
                prop_assert_eq!(frame.destination(), source);
                let _ = (frame.ether_type(), frame.payload().len(), frame.payload_mut().len());
            } else {
                prop_assert!(bytes.len() < HEADER_BYTES);
            }
        }
    }
}
