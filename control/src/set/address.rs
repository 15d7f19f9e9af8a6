//! The address part of an entry: `ADDRESS`, `ADDRESS/LENGTH` or `ADDRESS-ADDRESS`.

use std::fmt;
use std::net::IpAddr;

use super::error::SetLineErrorKind;
use super::number::byte;
use super::{SetForm, SetKind};
use crate::rule::{Family, address_text};

/// What follows the first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum To {
    /// Nothing: that address alone.
    Alone,
    /// The length of a prefix, 0 to 32, of IPv6 to 128. No set takes 0.
    Length(u8),
    /// Another address, which may be the lower of the two. There are no ranges of IPv6.
    Address(IpAddr),
}

/// Addresses as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// The first.
    pub first: IpAddr,
    /// What follows it, of the same family.
    pub to: To,
}

impl Addresses {
    /// One address.
    pub fn one(first: impl Into<IpAddr>) -> Self {
        Self { first: first.into(), to: To::Alone }
    }

    pub(super) fn parse(
        text: &str,
        SetForm { kind, family }: SetForm,
    ) -> Result<Self, SetLineErrorKind> {
        if family == Family::V6 {
            return match kind {
                SetKind::HashNet => net6(text),
                SetKind::HashIp | SetKind::HashIpPort | SetKind::ListSet => single6(text),
            };
        }
        if let Some((first, length)) = text.split_once('/') {
            let length = byte(length, 0, 32)?;
            return Ok(Self { first: address(first, family)?, to: To::Length(length) });
        }
        match text.split_once('-') {
            None => Ok(Self::one(address(text, family)?)),
            Some((first, last)) => {
                let (first, last) = (address(first, family)?, address(last, family)?);
                Ok(Self { first, to: To::Address(last) })
            }
        }
    }
}

/// One address of IPv6, with the length that says no more (`ipset_parse_ip4_single6`, lib/parse.c).
fn single6(text: &str) -> Result<Addresses, SetLineErrorKind> {
    let plain = || SetLineErrorKind::PlainAddress { text: text.to_owned() };
    match text.split_once('/') {
        Some((first, length)) => match byte(length, 128, 128) {
            Ok(length) => {
                Ok(Addresses { first: address(first, Family::V6)?, to: To::Length(length) })
            }
            Err(_) => Err(plain()),
        },
        None if text.contains('-') => Err(plain()),
        None => Ok(Addresses::one(address(text, Family::V6)?)),
    }
}

/// One net of IPv6 (`ipset_parse_ip4_net6`).
fn net6(text: &str) -> Result<Addresses, SetLineErrorKind> {
    match text.split_once('/') {
        Some((first, length)) => {
            let length = byte(length, 0, 128)?;
            Ok(Addresses { first: address(first, Family::V6)?, to: To::Length(length) })
        }
        None if text.contains('-') => Err(SetLineErrorKind::AddressOrNet { text: text.to_owned() }),
        None => Ok(Addresses::one(address(text, Family::V6)?)),
    }
}

/// An address, which may stand in brackets.
fn address(text: &str, family: Family) -> Result<IpAddr, SetLineErrorKind> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = match family {
        Family::V4 => text.parse().map(IpAddr::V4),
        Family::V6 => text.parse().map(IpAddr::V6),
    };
    address.map_err(|_| SetLineErrorKind::Address { text: text.to_owned(), family })
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address_text(self.first))?;
        let whole = if self.first.is_ipv4() { 32 } else { 128 };
        match self.to {
            To::Alone => Ok(()),
            To::Length(length) if length == whole => Ok(()),
            To::Length(length) => write!(f, "/{length}"),
            To::Address(last) => write!(f, "-{}", address_text(last)),
        }
    }
}
