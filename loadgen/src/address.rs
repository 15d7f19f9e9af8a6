//! Addresses of both families in one form, and ranges of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An IPv4 or IPv6 address as one number; IPv4 as `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(u128);

impl Address {
    /// What an IPv4 address has in front.
    const MAPPED: u128 = 0xffff << 32;

    /// The address as it is written into a header.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        match u32::try_from(self.0.wrapping_sub(Self::MAPPED)) {
            Ok(bits) => Ipv4Addr::from_bits(bits).into(),
            Err(_) => Ipv6Addr::from_bits(self.0).into(),
        }
    }

    /// Whether it is of IPv4.
    #[inline]
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The address with a number, as [`bits`](Self::bits) gives it.
    #[must_use]
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its last 32 bits: of IPv4 all that is written into a header.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "cut off on purpose")]
    pub fn low_bits(self) -> u32 {
        self.0 as u32
    }

    /// The next one.
    #[must_use]
    pub fn following(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The number behind it; what [`Hash`] cannot give in one piece.
    #[inline]
    #[must_use]
    pub fn bits(self) -> u128 {
        self.0
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self(Self::MAPPED | u128::from(address.to_bits()))
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self(address.to_bits())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// The most addresses of a range: each costs its port allocator four bytes.
pub const ADDRESSES_MAX: u32 = 1 << 24;

/// Addresses in a row: `198.18.0.0/24`, `198.18.0.10-198.18.0.20`, `2001:db8::1`. In a prefix of IPv4 shorter than 31
/// bits the first and the last address, which are the network's and the broadcast, are left out; in one of IPv6
/// shorter than 127 bits the first, which is any router's (RFC 4291 section 2.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: Address,
    count: u32,
}

impl Range {
    /// How many; at least 1.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The address number `index`, below [`count`](Self::count).
    #[must_use]
    pub fn address(&self, index: u32) -> Address {
        Address(self.first.0 + u128::from(index))
    }

    /// Which of them an address is.
    #[must_use]
    pub fn index(&self, address: Address) -> Option<u32> {
        let distance = address.0.checked_sub(self.first.0)?;
        u32::try_from(distance).ok().filter(|index| *index < self.count)
    }

    /// Whether they are of IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }
}

/// Why text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotARange {
    /// It is not written like one.
    #[error("`{0}` is neither an address, nor a prefix (198.18.0.0/24), nor first-last")]
    Unreadable(String),
    /// Ends of two families, or the last before the first.
    #[error("`{0}` does not lead upwards within one family")]
    Backwards(String),
    /// Bits behind the prefix.
    #[error("`{0}` has bits set behind its prefix")]
    HostBits(String),
    /// It is too long.
    #[error("`{0}` holds more than {ADDRESSES_MAX} addresses")]
    TooMany(String),
}

impl FromStr for Range {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let unreadable = || NotARange::Unreadable(text.to_owned());
        let address =
            |text: &str| text.trim().parse::<IpAddr>().map(Address::from).map_err(|_| unreadable());
        let between = |first: Address, last: Address| {
            let backwards = first.is_ipv4() != last.is_ipv4() || last < first;
            if backwards {
                return Err(NotARange::Backwards(text.to_owned()));
            }
            let count =
                u32::try_from(last.0 - first.0 + 1).ok().filter(|count| *count <= ADDRESSES_MAX);
            count
                .map(|count| Self { first, count })
                .ok_or_else(|| NotARange::TooMany(text.to_owned()))
        };
        if let Some((first, last)) = text.split_once('-') {
            return between(address(first)?, address(last)?);
        }
        let Some((first, length)) = text.split_once('/') else {
            let only = address(text)?;
            return between(only, only);
        };
        let first = address(first)?;
        let bits = if first.is_ipv4() { 32_u32 } else { 128 };
        let length: u32 =
            length.parse().ok().filter(|length| *length <= bits).ok_or_else(unreadable)?;
        let host_bits = bits - length;
        if host_bits > 24 {
            return Err(NotARange::TooMany(text.to_owned()));
        }
        let host_mask = (1_u128 << host_bits) - 1;
        if first.0 & host_mask != 0 {
            return Err(NotARange::HostBits(text.to_owned()));
        }
        let (skip_first, skip_last) = match (host_bits, first.is_ipv4()) {
            (0 | 1, _) => (0, 0),
            (_, true) => (1, 1),
            (_, false) => (1, 0),
        };
        between(Address(first.0 + skip_first), Address(first.0 + host_mask - skip_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str) -> (String, String, u32) {
        let range: Range = text.parse().unwrap();
        let (first, last) = (range.address(0), range.address(range.count() - 1));
        (first.to_string(), last.to_string(), range.count())
    }

    #[test]
    fn ranges_are_read() {
        let expect = |text: &str, first: &str, last: &str, count| {
            assert_eq!(ends(text), (first.to_owned(), last.to_owned(), count), "{text}");
        };
        expect("198.18.0.0/24", "198.18.0.1", "198.18.0.254", 254);
        expect("198.18.0.0/31", "198.18.0.0", "198.18.0.1", 2);
        expect("198.18.0.7", "198.18.0.7", "198.18.0.7", 1);
        expect("198.18.0.250-198.18.1.5", "198.18.0.250", "198.18.1.5", 12);
        expect("2001:db8::/120", "2001:db8::1", "2001:db8::ff", 255);
        expect("2001:db8::1-2001:db8::3", "2001:db8::1", "2001:db8::3", 3);
    }

    #[test]
    fn what_is_none_is_refused_with_its_text() {
        for (text, error) in [
            ("", NotARange::Unreadable(String::new())),
            ("x/24", NotARange::Unreadable("x/24".into())),
            ("1.2.3.0/33", NotARange::Unreadable("1.2.3.0/33".into())),
            ("1.2.3.4/24", NotARange::HostBits("1.2.3.4/24".into())),
            ("1.2.3.4-1.2.3.3", NotARange::Backwards("1.2.3.4-1.2.3.3".into())),
            ("1.2.3.4-2001:db8::1", NotARange::Backwards("1.2.3.4-2001:db8::1".into())),
            ("1.0.0.0/7", NotARange::TooMany("1.0.0.0/7".into())),
            ("::/0", NotARange::TooMany("::/0".into())),
            ("1.0.0.0-3.0.0.0", NotARange::TooMany("1.0.0.0-3.0.0.0".into())),
        ] {
            assert_eq!(text.parse::<Range>(), Err(error));
        }
    }

    #[test]
    fn an_address_knows_its_family_and_its_place() {
        let range: Range = "198.18.0.0/24".parse().unwrap();
        assert_eq!(range.index(Ipv4Addr::new(198, 18, 0, 1).into()), Some(0));
        assert_eq!(range.index(Ipv4Addr::new(198, 18, 0, 255).into()), None);
        assert_eq!(range.index(Ipv6Addr::LOCALHOST.into()), None);
        let six: Address = Ipv6Addr::from_bits(0xfffe_ffff_ffff).into();
        assert!(!six.is_ipv4() && range.is_ipv4());
        assert_eq!(six.ip(), IpAddr::from(Ipv6Addr::from_bits(0xfffe_ffff_ffff)));
    }
}
