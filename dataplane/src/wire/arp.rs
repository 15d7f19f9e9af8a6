//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).
//!
//! Weir lets the kernel answer and ask; it reads ARP only where a bridge filters it, and in tests.
//!
//! ```text
//!  0    2    4  5  6    8        14     18       24     28
//!  | HW | PR |HL|PL| op | sender | s.IP | target | t.IP |
//! ```

use super::{EtherType, MacAddr, Malformed, NoRoom, need, read, read_u16, room, write_u16};
use std::net::Ipv4Addr;

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const PACKET_BYTES: usize = 28;

/// Hardware type of Ethernet.
const HARDWARE_ETHERNET: u16 = 1;

/// What an ARP packet wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArpOperation(pub u16);

impl ArpOperation {
    /// Who has the target address?
    pub const REQUEST: Self = Self(1);
    /// The sender has its address.
    pub const REPLY: Self = Self(2);
}

mod field {
    use std::ops::Range;

    pub(super) const HARDWARE: Range<usize> = 0..2;
    pub(super) const PROTOCOL: Range<usize> = 2..4;
    pub(super) const HARDWARE_BYTES: usize = 4;
    pub(super) const PROTOCOL_BYTES: usize = 5;
    pub(super) const OPERATION: Range<usize> = 6..8;
    pub(super) const SENDER_MAC: Range<usize> = 8..14;
    pub(super) const SENDER_IP: Range<usize> = 14..18;
    pub(super) const TARGET_MAC: Range<usize> = 18..24;
    pub(super) const TARGET_IP: Range<usize> = 24..28;
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy)]
pub struct Arp<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Arp<T> {
    /// Looks at `bytes` as an ARP packet; trailing padding is ignored.
    ///
    /// # Errors
    /// [`Malformed::Truncated`] below 28 bytes, [`Malformed::AddressFamily`] when it is about other
    /// addresses than Ethernet and IPv4, or gives them other lengths than 6 and 4.
    pub fn new_checked(bytes: T) -> Result<Self, Malformed> {
        let b = bytes.as_ref();
        need(b, PACKET_BYTES)?;
        let (hardware, protocol) = (read_u16(b, field::HARDWARE), read_u16(b, field::PROTOCOL));
        let kinds = hardware == HARDWARE_ETHERNET && protocol == EtherType::IPV4.0;
        let lengths = b[field::HARDWARE_BYTES] == 6 && b[field::PROTOCOL_BYTES] == 4;
        if kinds && lengths {
            Ok(Self { bytes })
        } else {
            Err(Malformed::AddressFamily { hardware, protocol })
        }
    }

    /// What it wants.
    #[must_use]
    pub fn operation(&self) -> ArpOperation {
        ArpOperation(read_u16(self.bytes.as_ref(), field::OPERATION))
    }

    /// The sender's Ethernet address.
    #[must_use]
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr(read(self.bytes.as_ref(), field::SENDER_MAC))
    }

    /// The sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    #[must_use]
    pub fn sender_ip(&self) -> Ipv4Addr {
        read::<4>(self.bytes.as_ref(), field::SENDER_IP).into()
    }

    /// The target's Ethernet address; without meaning in a request.
    #[must_use]
    pub fn target_mac(&self) -> MacAddr {
        MacAddr(read(self.bytes.as_ref(), field::TARGET_MAC))
    }

    /// The address asked about, or of the one who asked.
    #[must_use]
    pub fn target_ip(&self) -> Ipv4Addr {
        read::<4>(self.bytes.as_ref(), field::TARGET_IP).into()
    }
}

/// An ARP packet to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpHeader {
    /// What it wants.
    pub operation: ArpOperation,
    /// The sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// The sender's IPv4 address.
    pub sender_ip: Ipv4Addr,
    /// The target's Ethernet address; zero in a request.
    pub target_mac: MacAddr,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl ArpHeader {
    /// The answer of `mac`, who has the address that `request` asks for.
    #[must_use]
    pub fn reply_to<T: AsRef<[u8]>>(request: &Arp<T>, mac: MacAddr) -> Self {
        Self {
            operation: ArpOperation::REPLY,
            sender_mac: mac,
            sender_ip: request.target_ip(),
            target_mac: request.sender_mac(),
            target_ip: request.sender_ip(),
        }
    }

    /// Writes the packet at the start of `out` and returns its length, 28.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let bytes = room(out, PACKET_BYTES)?;
        write_u16(bytes, field::HARDWARE, HARDWARE_ETHERNET);
        write_u16(bytes, field::PROTOCOL, EtherType::IPV4.0);
        bytes[field::HARDWARE_BYTES] = 6;
        bytes[field::PROTOCOL_BYTES] = 4;
        write_u16(bytes, field::OPERATION, self.operation.0);
        bytes[field::SENDER_MAC].copy_from_slice(&self.sender_mac.0);
        bytes[field::SENDER_IP].copy_from_slice(&self.sender_ip.octets());
        bytes[field::TARGET_MAC].copy_from_slice(&self.target_mac.0);
        bytes[field::TARGET_IP].copy_from_slice(&self.target_ip.octets());
        Ok(PACKET_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALICE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const WEIR: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn request() -> [u8; PACKET_BYTES] {
        let mut bytes = [0; PACKET_BYTES];
        let header = ArpHeader {
            operation: ArpOperation::REQUEST,
            sender_mac: ALICE,
            sender_ip: Ipv4Addr::new(10, 0, 0, 2),
            target_mac: MacAddr::ZERO,
            target_ip: Ipv4Addr::new(10, 0, 0, 1),
        };
        assert_eq!(header.emit(&mut bytes), Ok(28));
        bytes
    }

    #[test]
    fn a_request_has_the_bytes_of_rfc_826() {
        let expected =
            [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
        assert_eq!(request(), expected);
    }

    #[test]
    fn a_reply_swaps_the_sides() {
        let bytes = request();
        let reply = ArpHeader::reply_to(&Arp::new_checked(&bytes).unwrap(), WEIR);
        let mut out = [0; PACKET_BYTES];
        reply.emit(&mut out).unwrap();
        let arp = Arp::new_checked(&out).unwrap();
        assert_eq!(arp.operation(), ArpOperation::REPLY);
        assert_eq!((arp.sender_mac(), arp.sender_ip()), (WEIR, Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!((arp.target_mac(), arp.target_ip()), (ALICE, Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn other_address_families_are_refused() {
        let mut bytes = request();
        bytes[field::PROTOCOL_BYTES] = 16;
        assert_eq!(
            Arp::new_checked(&bytes).map(|_| ()),
            Err(Malformed::AddressFamily { hardware: 1, protocol: 0x0800 })
        );
        assert_eq!(
            Arp::new_checked(&bytes[..27]).map(|_| ()),
            Err(Malformed::Truncated { need: 28, have: 27 })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = bytes;
            for prefix in [&[][..], &[0, 1, 8, 0, 6, 4]] {
                let end = prefix.len().min(bytes.len());
                bytes[..end].copy_from_slice(&prefix[..end]);
                if let Ok(arp) = Arp::new_checked(&bytes) {
                    let _ = ArpHeader::reply_to(&arp, WEIR);
                    let _ = (arp.operation(), arp.target_mac());
                }
            }
        }
    }
}
