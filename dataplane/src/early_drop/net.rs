//! Sources: an address, or all addresses with a prefix, of either family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use weir_control::rule::{Family, IpNet};

/// A prefix. Sorted by family and first address, a shorter one before the longer ones that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    family: Family,
    /// The first address, as a number.
    first: u128,
    /// At most the bits of the family.
    len: u8,
}

impl Net {
    /// One address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let first = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let family = Family::from(address);
        Self { family, first, len: family.address_bits() }
    }

    /// The prefix of this length that an address is in; `None` if the family has no such length.
    #[must_use]
    pub fn new(address: IpAddr, len: u8) -> Option<Self> {
        let host = Self::host(address);
        (len <= host.len).then(|| host.shortened(len))
    }

    /// Its family.
    #[must_use]
    pub fn family(self) -> Family {
        self.family
    }

    /// Its first address.
    #[must_use]
    pub fn address(self) -> IpAddr {
        match self.family {
            // IPv4 has the lower 32 bits, and nothing above.
            Family::V4 => Ipv4Addr::from_bits(u32::try_from(self.first).unwrap_or(0)).into(),
            Family::V6 => Ipv6Addr::from_bits(self.first).into(),
        }
    }

    /// Its length in bits.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.len
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.len == self.family.address_bits()
    }

    /// Whether all of another's addresses are in it.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.family == other.family && self.len <= other.len && other.shortened(self.len) == self
    }

    /// The prefix of this length that begins alike; itself if it is as short already.
    #[must_use]
    pub fn shortened(self, len: u8) -> Self {
        let len = len.min(self.len);
        let rest = u32::from(self.family.address_bits() - len);
        let first = match rest {
            128.. => 0,
            _ => self.first >> rest << rest,
        };
        Self { first, len, ..self }
    }

    /// A range of keys in which all that it covers is, and some that it does not.
    #[must_use]
    pub fn around(self) -> RangeInclusive<Self> {
        let rest = u32::from(self.family.address_bits() - self.len);
        let span = 1_u128.checked_shl(rest).map_or(u128::MAX, |size| size - 1);
        let last = Self { first: self.first | span, len: u8::MAX, ..self };
        Self { len: 0, ..self }..=last
    }
}

/// Of masks that are prefixes; `Err` is the one that is none.
impl TryFrom<IpNet> for Net {
    type Error = IpNet;

    fn try_from(net: IpNet) -> Result<Self, IpNet> {
        let address = match net {
            IpNet::V4(net) => net.address().into(),
            IpNet::V6(net) => net.address().into(),
        };
        let len = net.prefix_len().and_then(|len| u8::try_from(len).ok());
        len.and_then(|len| Self::new(address, len)).ok_or(net)
    }
}

impl From<Net> for IpNet {
    fn from(net: Net) -> Self {
        let mask = Net { first: u128::MAX, len: net.family.address_bits(), ..net };
        let mask = match net.family {
            Family::V4 => Net { first: u128::from(u32::MAX), ..mask },
            Family::V6 => mask,
        };
        let mask = mask.shortened(net.len).address();
        // Both are of one family.
        Self::masked(net.address(), mask).unwrap_or_else(|| Self::host(net.address()))
    }
}

/// As operators write it: a single address without a length.
impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_host() {
            true => write!(f, "{}", self.address()),
            false => write!(f, "{}/{}", self.address(), self.len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        Net::try_from(IpNet::from_prefix(text).expect(text)).expect(text)
    }

    #[test]
    fn prefixes_are_printed_and_converted() {
        for (text, printed) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("2001:db8::1", "2001:db8::1"),
            ("::/0", "::/0"),
        ] {
            let net = net(text);
            assert_eq!(net.to_string(), printed);
            assert_eq!(Net::try_from(IpNet::from(net)), Ok(net), "{text}");
        }
        assert_eq!(Net::new([10, 0, 0, 0].into(), 33), None);
        let odd = IpNet::masked([10, 0, 0, 0].into(), [255, 0, 255, 0].into()).expect("a mask");
        assert_eq!(Net::try_from(odd), Err(odd));
    }

    #[test]
    fn what_is_covered_is_in_the_range_around() {
        for (outer, inner, covers) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/9", "10.0.0.0/8", false),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::", false),
            ("::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            ("fd00::/8", "fd00::1/64", true),
            ("fd00::/8", "fc00::/7", false),
        ] {
            let (outer, inner) = (net(outer), net(inner));
            assert_eq!(outer.covers(inner), covers, "{outer} {inner}");
            assert!(!covers || outer.around().contains(&inner), "{outer} {inner}");
        }
    }
}
