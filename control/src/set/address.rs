//! The address part of an entry: `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS-ADDRESS`.

use std::fmt;
use std::net::Ipv4Addr;

use super::error::SetLineErrorKind;
use super::number::byte;

/// What follows the first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum To {
    /// Nothing: that address alone.
    Alone,
    /// The length of a prefix, 0 to 32. No set takes 0.
    Length(u8),
    /// Another address, which may be the lower of the two.
    Address(Ipv4Addr),
}

/// Addresses as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// The first.
    pub first: Ipv4Addr,
    /// What follows it.
    pub to: To,
}

impl Addresses {
    /// One address.
    pub fn one(first: Ipv4Addr) -> Self {
        Self { first, to: To::Alone }
    }

    pub(super) fn parse(text: &str) -> Result<Self, SetLineErrorKind> {
        if let Some((first, length)) = text.split_once('/') {
            let (first, length) = (address(first)?, byte(length, 0, 32)?);
            return Ok(Self { first, to: To::Length(length) });
        }
        match text.split_once('-') {
            None => Ok(Self::one(address(text)?)),
            Some((first, last)) => {
                Ok(Self { first: address(first)?, to: To::Address(address(last)?) })
            }
        }
    }
}

fn address(text: &str) -> Result<Ipv4Addr, SetLineErrorKind> {
    text.parse().map_err(|_| SetLineErrorKind::Address { text: text.to_owned() })
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        match self.to {
            To::Alone | To::Length(32) => Ok(()),
            To::Length(length) => write!(f, "/{length}"),
            To::Address(last) => write!(f, "-{last}"),
        }
    }
}
