//! IPv6 addresses with masks, contiguous or not.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{IpNetError, parse_number};

/// As [`super::Ipv4Net`]: `fd00::/8`, `2001:db8::1/128`, `::1/ffff::ffff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ipv6Net {
    address: Ipv6Addr,
    mask: Ipv6Addr,
}

impl Ipv6Net {
    /// Every address.
    pub const ALL: Self = Self { address: Ipv6Addr::UNSPECIFIED, mask: Ipv6Addr::UNSPECIFIED };

    /// `address` under `mask`; bits outside the mask are cleared.
    pub fn new(address: Ipv6Addr, mask: Ipv6Addr) -> Self {
        Self { address: Ipv6Addr::from_bits(address.to_bits() & mask.to_bits()), mask }
    }

    /// One address.
    pub fn host(address: Ipv6Addr) -> Self {
        Self { address, mask: Ipv6Addr::from_bits(u128::MAX) }
    }

    /// The address, already masked.
    pub fn address(self) -> Ipv6Addr {
        self.address
    }

    /// The mask.
    pub fn mask(self) -> Ipv6Addr {
        self.mask
    }

    /// The prefix length, if the mask is contiguous.
    pub fn prefix_len(self) -> Option<u32> {
        let mask = self.mask.to_bits();
        let ones = mask.leading_ones();
        (mask.count_ones() == ones).then_some(ones)
    }

    /// Whether `address` is inside.
    pub fn contains(self, address: Ipv6Addr) -> bool {
        address.to_bits() & self.mask.to_bits() == self.address.to_bits()
    }

    /// The form of `ip6tables -L -n`: as [`fmt::Display`], but a single address has no `/128`.
    pub fn to_listing(self) -> String {
        match self.prefix_len() {
            Some(128) => ipv6_text(self.address),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Ipv6Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = ipv6_text(self.address);
        match self.prefix_len() {
            Some(length) => write!(f, "{address}/{length}"),
            None => write!(f, "{address}/{}", ipv6_text(self.mask)),
        }
    }
}

impl FromStr for Ipv6Net {
    type Err = IpNetError;

    /// Reads `ADDRESS[/MASK]` as ip6tables does (`xtables_ip6parse_multiple`, libxtables/xtables.c):
    /// the mask follows the last `/`, and before one of no bits stands whatever you like (`any/0`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
        let (address, mask) = match text.rsplit_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let mask = match mask {
            None => Ipv6Addr::from_bits(u128::MAX),
            Some(mask) => parse_mask(mask).ok_or_else(|| IpNetError::Mask(mask.to_owned()))?,
        };
        if mask.is_unspecified() {
            return Ok(Self::ALL);
        }
        let address = address.parse().map_err(|_| IpNetError::Address(address.to_owned()))?;
        Ok(Self::new(address, mask))
    }
}

/// A whole mask, or a prefix length up to 128.
pub(super) fn parse_mask(text: &str) -> Option<Ipv6Addr> {
    text.parse().ok().or_else(|| {
        let length = parse_number(text, 128)?;
        Some(Ipv6Addr::from_bits(u128::MAX.checked_shl(128 - length).unwrap_or(0)))
    })
}

/// An address as `inet_ntop` of the GNU C library writes it, and so ip6tables. Other than here in
/// Rust, six groups of zeros make an IPv4 address of the rest: `::1.2.3.4` is not `::102:304`.
pub(crate) fn ipv6_text(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, _] if high != 0 => {
            let [.., a, b, c, d] = address.octets();
            format!("::{}", Ipv4Addr::new(a, b, c, d))
        }
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_like_ip6tables() {
        // Each pair was taken from `ip6tables -A … ; ip6tables -S` of 1.8.9.
        for (text, printed) in [
            ("fe80::1/10", "fe80::/10"),
            ("2001:DB8::1", "2001:db8::1/128"),
            ("::1.2.3.4", "::1.2.3.4/128"),
            ("::1:0", "::0.1.0.0/128"),
            ("::1", "::1/128"),
            ("::ffff:1.2.3.4/ffff::ffff", "::304/ffff::ffff"),
            ("::ffff:102:304", "::ffff:1.2.3.4/128"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3/128"),
            ("1:0:2:0:0:3:0:0", "1:0:2::3:0:0/128"),
            ("any/0", "::/0"),
            ("a/b/0", "::/0"),
            (" ::1/0x40", "::/64"),
            ("::1/010", "::/8"),
            ("::1/ffff:ffff::", "::/32"),
        ] {
            assert_eq!(text.parse::<Ipv6Net>().map(|net| net.to_string()), Ok(printed.into()));
        }
    }

    #[test]
    fn refuses_what_ip6tables_refuses() {
        for text in ["1.2.3.4", "::1::", "1:2:3:4:5:6:7", "", "a", "fe80::12345", "::1 "] {
            assert_eq!(text.parse::<Ipv6Net>(), Err(IpNetError::Address(text.into())), "{text}");
        }
        for mask in ["129", "255.0.0.0", "", "-1", "08", "ffff"] {
            let text = format!("::1/{mask}");
            assert_eq!(text.parse::<Ipv6Net>(), Err(IpNetError::Mask(mask.into())), "{text}");
        }
    }
}
