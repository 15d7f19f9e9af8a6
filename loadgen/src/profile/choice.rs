//! How a profile says which values a field has.
//!
//! ```toml
//!   source = "198.18.0.1"                      # one
//!   source = "198.18.0.1-198.18.0.9"           # each in turn; so is a prefix
//!   source = "2001:2::/48"                     # of IPv6 likewise; then all addresses of the stream are
//!   source = "anywhere"                        # every IPv4 address that a host may have, at random
//!   source = { in = "198.18.0.0/15", order = "random" }
//!   source = { in = "anywhere", some = 1000 }  # a thousand of them, which the seed chooses
//!   source_port = 1024                         # ports and TTLs likewise
//!   source_port = "1024-65535"
//! ```

use std::fmt;
use std::net::IpAddr;

use toml::Value;

use super::reader::{ProfileError, Reader};
use crate::address::Address;
use crate::packet::{Order, Pick, Space};

/// What the key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Addresses,
    Ports,
    Ttls,
}

/// Values to choose from, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// All of them.
    pub space: Space,
    /// In which order.
    pub order: Order,
    /// So many of them only.
    pub some: Option<u64>,
}

impl Choice {
    /// One value.
    #[must_use]
    pub fn one(value: impl Into<u128>) -> Self {
        Self { space: Space::one(value), order: Order::Walk, some: None }
    }

    /// The values in order; the seed chooses which, if only some of them are wanted.
    #[must_use]
    pub fn pick(&self, seed: u64) -> Pick {
        match self.some {
            Some(count) => Pick::some(self.space, self.order, count, seed),
            None => Pick::new(self.space, self.order),
        }
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u128 {
        self.some.map_or(self.space.len(), |some| self.space.len().min(some.into()))
    }

    /// The first and the last address of a choice of addresses.
    #[must_use]
    pub fn ends(&self) -> (Address, Address) {
        let end = |place| Address::from_bits(self.space.value(place));
        (end(0), end(self.space.len() - 1))
    }

    /// Whether it is one of IPv4 addresses.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.ends().1.is_ipv4()
    }
}

/// An address as profiles write it.
pub(crate) struct Written(pub(crate) Choice);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(some) = self.0.some {
            write!(f, "{some} of ")?;
        }
        match self.0.space {
            Space::Anywhere => f.write_str("anywhere"),
            Space::Range { len: 1, .. } => write!(f, "{}", self.0.ends().0),
            Space::Range { first, len } => {
                let (lowest, last) = self.0.ends();
                // Two addresses of IPv6 in full say less than a prefix.
                if !lowest.is_ipv4() && len.is_power_of_two() && first % len == 0 {
                    return write!(f, "{lowest}/{}", 128 - len.trailing_zeros());
                }
                write!(f, "{lowest}-{last}")
            }
        }
    }
}

impl Of {
    fn allowed(self) -> &'static str {
        match self {
            Self::Addresses => {
                "an address of IPv4 or IPv6, a range as in 10.0.0.1-10.0.0.9, a prefix as in 10.0.0.0/8 or 2001:2::/48, \
                 \"anywhere\" in IPv4, or a table { in = one of these, order = \"walk\" or \"random\", some = how many \
                 of them }"
            }
            Self::Ports => {
                "a port from 0 to 65535, a range as in \"1024-65535\", or a table { in = one of these, order = \
                 \"walk\" or \"random\", some = how many of them }"
            }
            Self::Ttls => "a number from 0 to 255, or a range as in \"32-64\"",
        }
    }

    /// Reads one value or a range of them.
    fn space(self, value: &Value) -> Option<Space> {
        let max = if self == Self::Ttls { 255 } else { 65_535 };
        let number = |number: u32| (number <= max).then_some(number);
        match (self, value) {
            (Self::Addresses, Value::String(text)) => addresses(text),
            (Self::Ports | Self::Ttls, Value::Integer(one)) => {
                u32::try_from(*one).ok().and_then(number).map(Space::one)
            }
            (Self::Ports | Self::Ttls, Value::String(text)) => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let read = |text: &str| text.trim().parse().ok().and_then(number);
                let (first, last) = (read(first)?, read(last)?);
                (first <= last).then(|| Space::between(first, last))
            }
            _ => None,
        }
    }
}

/// Reads addresses.
pub(crate) fn addresses(text: &str) -> Option<Space> {
    if text == "anywhere" {
        return Some(Space::Anywhere);
    }
    let address = |text: &str| text.trim().parse::<IpAddr>().ok().map(Address::from);
    if let Some((network, len)) = text.split_once('/') {
        let network = address(network)?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let len = len.parse::<u32>().ok().filter(|&len| len <= bits)?;
        // All of IPv6 would be one more than can be counted.
        let hosts = 1_u128.checked_shl(bits - len)? - 1;
        return Some(Space::between(network.bits() & !hosts, network.bits() | hosts));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (address(first)?, address(last)?);
    let is_upwards = first.is_ipv4() == last.is_ipv4() && first <= last;
    is_upwards.then(|| Space::addresses(first, last))
}

/// Reads a key; `None` if it is not there.
pub(crate) fn read(
    reader: &mut Reader,
    key: &'static str,
    of: Of,
) -> Result<Option<Choice>, ProfileError> {
    let Some(value) = reader.take(key) else { return Ok(None) };
    let Value::Table(table) = value else {
        let space = of.space(&value).ok_or_else(|| reader.refuse(key, &value, of.allowed()))?;
        let order = if space == Space::Anywhere { Order::Random } else { Order::Walk };
        return Ok(Some(Choice { space, order, some: None }));
    };
    let mut inner = reader.inner(key, table);
    let value = inner.need("in", of.allowed())?;
    let space = of.space(&value).ok_or_else(|| inner.refuse("in", &value, of.allowed()))?;
    let default = if space == Space::Anywhere { Order::Random } else { Order::Walk };
    let order = inner.word("order", &[(Order::Walk, "walk"), (Order::Random, "random")])?;
    let most = u64::try_from(space.len()).unwrap_or(u64::MAX);
    let some = inner.whole("some", 1..=most)?;
    if let Some(some) = some.filter(|_| !space.has_some()) {
        let allowed = "of so many addresses some can be had of a prefix only, and not of a range";
        return Err(inner.refuse("some", some, allowed));
    }
    inner.finish()?;
    Ok(Some(Choice { space, order: order.unwrap_or(default), some }))
}
