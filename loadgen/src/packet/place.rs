//! Where things lie in a frame that was received or recorded, for reading its stamp and seeing damage.
//!
//! Broken headers are no reason to give up here: what a box lets through although it is malformed has to be recognised
//! too. So nothing is believed that would lead out of the frame, and nothing else is asked.

use weir_dataplane::wire::ethernet::EtherType;
use weir_dataplane::wire::ipv4::HEADER_BYTES_MIN as IPV4_BYTES;
use weir_dataplane::wire::ipv6::{HEADER_BYTES as IPV6_BYTES, extension, upper_layer_of};
use weir_dataplane::wire::{IpProtocol, checksum};

use super::stamp::{Bare, STAMP_BYTES};
use super::tag;
use crate::address::Address;

/// The parts of an IPv4 or IPv6 frame, as offsets in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The IP header: behind the Ethernet header and its tags.
    pub(crate) l3: usize,
    /// The transport header.
    pub(crate) l4: usize,
    /// Its payload.
    pub(crate) payload: usize,
    /// The end of the IP packet; what follows is padding.
    pub(crate) end: usize,
    pub(crate) protocol: IpProtocol,
    /// Whether it is a part of a datagram only.
    pub(crate) is_fragment: bool,
    pub(crate) is_ipv4: bool,
}

fn word(frame: &[u8], at: usize) -> u16 {
    frame.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn long(frame: &[u8], at: usize) -> u32 {
    (u32::from(word(frame, at)) << 16) | u32::from(word(frame, at + 2))
}

impl Place {
    /// Finds the parts; `None` if it is no IP or has not even a header.
    #[inline]
    pub(crate) fn of(frame: &[u8]) -> Option<Self> {
        match tag::untagged(frame)? {
            (EtherType::IPV4, l3) => Self::of_ipv4(frame, l3),
            (EtherType::IPV6, l3) => Self::of_ipv6(frame, l3),
            _ => None,
        }
    }

    #[inline]
    fn of_ipv4(frame: &[u8], l3: usize) -> Option<Self> {
        if frame.len() < l3 + IPV4_BYTES {
            return None;
        }
        let l4 = l3 + (usize::from(frame[l3] & 0x0f) * 4).max(IPV4_BYTES);
        let end = (l3 + usize::from(word(frame, l3 + 2))).min(frame.len());
        let protocol = IpProtocol(frame[l3 + 9]);
        let fragment = word(frame, l3 + 6);
        let header = header_bytes(frame, l4, protocol)?;
        let payload = if fragment & 0x1fff == 0 { l4 + header } else { l4 };
        let is_fragment = fragment & 0x3fff != 0;
        let place = Self { l3, l4, payload, end, protocol, is_fragment, is_ipv4: true };
        (l4 <= end).then_some(place)
    }

    #[inline]
    fn of_ipv6(frame: &[u8], l3: usize) -> Option<Self> {
        let next = *frame.get(l3 + 6)?;
        let after = l3 + IPV6_BYTES;
        let end = (after + usize::from(word(frame, l3 + 4))).min(frame.len());
        let (protocol, l4, fragment) = if extension::is_one(next) {
            let upper = upper_layer_of(next, frame.get(after..end)?).ok()?;
            (upper.protocol, after + upper.offset, upper.fragment)
        } else {
            (IpProtocol(next), after, None)
        };
        let is_later = fragment.is_some_and(|fragment| fragment.offset > 0);
        let header = if is_later { 0 } else { header_bytes(frame, l4, protocol)? };
        let is_fragment = fragment.is_some_and(|fragment| fragment.is_fragment());
        let place =
            Self { l3, l4, payload: l4 + header, end, protocol, is_fragment, is_ipv4: false };
        (l4 <= end).then_some(place)
    }

    /// Its last 16 bytes, where a stamp may lie.
    #[inline]
    pub(crate) fn tail<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8; STAMP_BYTES]> {
        let at = self.end.checked_sub(STAMP_BYTES).filter(|&at| at >= self.l4)?;
        frame.get(at..self.end)?.first_chunk()
    }

    /// The words of its TCP header where a stamp may lie.
    #[inline]
    pub(crate) fn bare(&self, frame: &[u8]) -> Option<Bare> {
        let l4 = self.l4;
        // Whatever the protocol: that byte may be what was damaged.
        (self.end >= l4 + 20).then(|| Bare {
            sequence: long(frame, l4 + 4),
            acknowledgment: long(frame, l4 + 8),
            window: word(frame, l4 + 14),
            urgent: word(frame, l4 + 18),
        })
    }

    /// Where source and destination address lie, and how many bytes each has.
    pub(crate) fn addresses_at(&self) -> (usize, usize, usize) {
        if self.is_ipv4 { (self.l3 + 12, self.l3 + 16, 4) } else { (self.l3 + 8, self.l3 + 24, 16) }
    }

    /// Source and destination address.
    pub(crate) fn addresses(&self, frame: &[u8]) -> (Address, Address) {
        let (source, destination, _) = self.addresses_at();
        let address = |at: usize| {
            let long = |place: usize| u128::from(long(frame, at + 4 * place));
            if self.is_ipv4 {
                return std::net::Ipv4Addr::from_bits(self::long(frame, at)).into();
            }
            Address::from_bits((0..4).fold(0, |bits, place| (bits << 32) | long(place)))
        };
        (address(source), address(destination))
    }

    /// Source and destination port, where they can be read; of an echo its identifier and number.
    pub(crate) fn ports(&self, frame: &[u8]) -> Option<(u16, u16)> {
        let at = match self.protocol {
            _ if self.payload == self.l4 => return None,
            IpProtocol::ICMP | IpProtocol::ICMPV6 => self.l4 + 4,
            _ => self.l4,
        };
        (at + 4 <= self.end).then(|| (word(frame, at), word(frame, at + 2)))
    }

    /// Whether the checksums say that nothing was changed. Of a fragment only the header's is asked, of IPv6 none then.
    pub(crate) fn is_intact(&self, frame: &[u8]) -> bool {
        let Some(header) = frame.get(self.l3..self.l4) else { return false };
        if self.is_ipv4 && !checksum::verify_ipv4_header(header) {
            return false;
        }
        let Some(segment) = frame.get(self.l4..self.end).filter(|_| !self.is_fragment) else {
            return true;
        };
        match self.protocol {
            IpProtocol::UDP if self.is_ipv4 && word(segment, 6) == 0 => true,
            // A 0 would say that there is none, which IPv6 does not allow (RFC 8200 section 8.1).
            IpProtocol::UDP if word(segment, 6) == 0 => false,
            IpProtocol::TCP | IpProtocol::UDP | IpProtocol::ICMPV6 => {
                checksum::verify_transport(self.pseudo(frame, segment.len()), segment)
            }
            IpProtocol::ICMP => checksum::sum(segment) == 0xffff,
            _ => true,
        }
    }

    /// The sum of the pseudo-header before a segment of this length.
    fn pseudo(&self, frame: &[u8], len: usize) -> u16 {
        let (source, destination) = self.addresses(frame);
        let short = u16::try_from(len).unwrap_or(u16::MAX);
        if self.is_ipv4 {
            let address = |address: Address| std::net::Ipv4Addr::from_bits(address.low_bits());
            let (source, destination) = (address(source), address(destination));
            return checksum::pseudo_v4(source, destination, self.protocol, short);
        }
        // Mapped addresses have no place on a wire; whoever bears them is summed up all the same.
        let address = |address: Address| std::net::Ipv6Addr::from_bits(address.bits());
        let (source, destination) = (address(source), address(destination));
        checksum::pseudo_v6(source, destination, self.protocol, short.into())
    }
}

/// Bytes of a transport header; `None` if it is cut off.
#[inline]
fn header_bytes(frame: &[u8], l4: usize, protocol: IpProtocol) -> Option<usize> {
    Some(match protocol {
        IpProtocol::TCP => usize::from(frame.get(l4 + 12)? >> 4).max(5) * 4,
        IpProtocol::UDP | IpProtocol::ICMP | IpProtocol::ICMPV6 => 8,
        _ => 0,
    })
}
