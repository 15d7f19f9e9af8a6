//! Addresses with a mask, of either family.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{Family, Ipv4Net, Ipv6Net};

/// An address and a mask of one family.
///
/// Prints as `iptables -S` and `ip6tables -S` do, and is read back from that; [`Self::parse`] reads
/// what operators write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum IpNet {
    /// Of IPv4.
    V4(Ipv4Net),
    /// Of IPv6.
    V6(Ipv6Net),
}

/// Why a text is no [`IpNet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpNetError {
    /// The part before `/` is no address in digits.
    #[error("host/network `{0}' not found")]
    Address(String),
    /// The part after `/` is neither a prefix length nor a whole mask.
    #[error("invalid mask `{0}' specified")]
    Mask(String),
}

/// Why a text is no address with a prefix length ([`IpNet::from_prefix`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// What stands before the slash.
    #[error("not an IP address, nor one with a prefix length such as 10.0.0.0/8")]
    Address,
    /// What stands behind it.
    #[error("the prefix length is not a number from 0 to {0}")]
    Length(u8),
}

impl IpNet {
    /// Every address of a family.
    pub fn all(family: Family) -> Self {
        match family {
            Family::V4 => Self::V4(Ipv4Net::ALL),
            Family::V6 => Self::V6(Ipv6Net::ALL),
        }
    }

    /// `address` under `mask`; `None` if they are of two families.
    pub fn masked(address: IpAddr, mask: IpAddr) -> Option<Self> {
        match (address, mask) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => Some(Self::V4(Ipv4Net::new(address, mask))),
            (IpAddr::V6(address), IpAddr::V6(mask)) => Some(Self::V6(Ipv6Net::new(address, mask))),
            _ => None,
        }
    }

    /// One address.
    pub fn host(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(Ipv4Net::host(address)),
            IpAddr::V6(address) => Self::V6(Ipv6Net::host(address)),
        }
    }

    /// Reads what stands after `-s` and `-d`.
    ///
    /// # Errors
    /// [`IpNetError`]
    pub fn parse(text: &str, family: Family) -> Result<Self, IpNetError> {
        match family {
            Family::V4 => text.parse().map(Self::V4),
            Family::V6 => text.parse().map(Self::V6),
        }
    }

    /// Reads `ADDRESS[/LENGTH]` of either family without iptables' freedoms.
    ///
    /// # Errors
    /// [`PrefixError`]
    pub fn from_prefix(text: &str) -> Result<Self, PrefixError> {
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| PrefixError::Address);
        };
        let address: IpAddr = address.parse().map_err(|_| PrefixError::Address)?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        // `parse` takes a sign.
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        let rest = length.parse::<u8>().ok().filter(|_| digits);
        let rest = rest.and_then(|length| bits.checked_sub(length));
        let rest = u32::from(rest.ok_or(PrefixError::Length(bits))?);
        Ok(match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
                Self::V4(Ipv4Net::new(address, Ipv4Addr::from_bits(mask)))
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
                Self::V6(Ipv6Net::new(address, Ipv6Addr::from_bits(mask)))
            }
        })
    }

    /// Its family.
    pub fn family(self) -> Family {
        match self {
            Self::V4(_) => Family::V4,
            Self::V6(_) => Family::V6,
        }
    }

    /// If it is of IPv4.
    pub fn v4(self) -> Option<Ipv4Net> {
        if let Self::V4(net) = self { Some(net) } else { None }
    }

    /// If it is of IPv6.
    pub fn v6(self) -> Option<Ipv6Net> {
        if let Self::V6(net) = self { Some(net) } else { None }
    }

    /// The mask.
    pub fn mask(self) -> IpAddr {
        match self {
            Self::V4(net) => net.mask().into(),
            Self::V6(net) => net.mask().into(),
        }
    }

    /// The prefix length, if the mask is contiguous.
    pub fn prefix_len(self) -> Option<u32> {
        match self {
            Self::V4(net) => net.prefix_len(),
            Self::V6(net) => net.prefix_len(),
        }
    }

    /// Whether it is one address.
    pub fn is_host(self) -> bool {
        self.prefix_len() == Some(if self.family() == Family::V4 { 32 } else { 128 })
    }

    /// Whether `address` is inside; never if it is of the other family.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(net), IpAddr::V4(address)) => net.contains(address),
            (Self::V6(net), IpAddr::V6(address)) => net.contains(address),
            _ => false,
        }
    }

    /// The form of `-L -n`: a single address without the length of its prefix.
    pub fn to_listing(self) -> String {
        match self {
            Self::V4(net) => net.to_listing(),
            Self::V6(net) => net.to_listing(),
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(net) => net.fmt(f),
            Self::V6(net) => net.fmt(f),
        }
    }
}

impl TryFrom<String> for IpNet {
    type Error = IpNetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text, if text.contains(':') { Family::V6 } else { Family::V4 })
    }
}

impl From<IpNet> for String {
    fn from(net: IpNet) -> Self {
        net.to_string()
    }
}

/// An address of either family as iptables prints it.
pub(crate) fn address_text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => super::ipv6_text(address),
    }
}

/// An address in digits as iptables reads it where it asks no name server.
pub(crate) fn parse_address(text: &str, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => super::parse_dotted(text).map(IpAddr::V4),
        Family::V6 => text.parse().ok().map(IpAddr::V6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        IpNet::from_prefix(text).expect(text)
    }

    #[test]
    fn prefixes_of_both_families() {
        for (text, printed, listed) in [
            ("10.1.2.3/8", "10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/32", "10.1.2.3/32", "10.1.2.3"),
            ("fd00::1/64", "fd00::/64", "fd00::/64"),
            ("fd00::1", "fd00::1/128", "fd00::1"),
        ] {
            let net = net(text);
            assert_eq!(
                (net.to_string(), net.to_listing()),
                (printed.to_owned(), listed.to_owned())
            );
            assert_eq!(IpNet::try_from(net.to_string()), Ok(net));
        }
        assert!(net("0.0.0.0/0").contains([255; 4].into()));
        assert!(!net("0.0.0.0/0").contains(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        assert!(!net("::/0").contains([0; 4].into()));
        assert!(net("::/0").contains(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))));
        assert!(net("10.0.0.2/31").contains([10, 0, 0, 3].into()));
        assert!(!net("10.0.0.2/31").contains([10, 0, 0, 4].into()));
        for wrong in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8"] {
            assert!(IpNet::from_prefix(wrong).is_err(), "{wrong}");
        }
    }
}
