//! What addresses of the two families have in common, so that tables of routes are written once.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::table::Bits;

/// An address of one of the two families.
pub(crate) trait Address:
    Copy + Ord + Hash + Debug + Display + Into<IpAddr> + 'static
{
    /// Its bits as a number.
    type Bits: Bits;
    /// The one whose bits are all clear.
    const ZERO: Self;

    /// Its bits.
    fn bits(self) -> Self::Bits;
    /// The address of these bits.
    fn of_bits(bits: Self::Bits) -> Self;
    /// The part of an address that is of this family.
    fn of(address: IpAddr) -> Option<Self>;
}

impl Address for Ipv4Addr {
    type Bits = u32;
    const ZERO: Self = Self::UNSPECIFIED;

    #[inline]
    fn bits(self) -> u32 {
        self.to_bits()
    }

    fn of_bits(bits: u32) -> Self {
        Self::from_bits(bits)
    }

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }
}

impl Address for Ipv6Addr {
    type Bits = u128;
    const ZERO: Self = Self::UNSPECIFIED;

    #[inline]
    fn bits(self) -> u128 {
        self.to_bits()
    }

    fn of_bits(bits: u128) -> Self {
        Self::from_bits(bits)
    }

    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }
}
