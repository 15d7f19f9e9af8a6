//! How a profile says which values a field has.
//!
//! ```toml
//!   source = "198.18.0.1"                      # one
//!   source = "198.18.0.1-198.18.0.9"           # each in turn; so is a prefix
//!   source = "anywhere"                        # every address that a host may have, at random
//!   source = { in = "198.18.0.0/15", order = "random" }
//!   source = { in = "anywhere", some = 1000 }  # a thousand of them, which the seed chooses
//!   source_port = 1024                         # ports and TTLs likewise
//!   source_port = "1024-65535"
//! ```

use std::fmt;
use std::net::Ipv4Addr;

use toml::Value;

use super::reader::{ProfileError, Reader};
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
    pub fn one(value: u32) -> Self {
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
    pub fn count(&self) -> u64 {
        self.some.map_or(self.space.len(), |some| some.min(self.space.len()))
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
            Space::Range { first, len: 1 } => write!(f, "{}", Ipv4Addr::from_bits(first)),
            Space::Range { first, .. } => {
                let last = self.0.space.value(self.0.space.len() - 1);
                write!(f, "{}-{}", Ipv4Addr::from_bits(first), Ipv4Addr::from_bits(last))
            }
        }
    }
}

impl Of {
    fn allowed(self) -> &'static str {
        match self {
            Self::Addresses => {
                "an IPv4 address, a range as in 10.0.0.1-10.0.0.9, a prefix as in 10.0.0.0/8, \"anywhere\", or a table \
                 { in = one of these, order = \"walk\" or \"random\", some = how many of them }"
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
    if let Some((network, len)) = text.split_once('/') {
        let network = network.parse::<Ipv4Addr>().ok()?.to_bits();
        let len = len.parse::<u32>().ok().filter(|&len| len <= 32)?;
        let hosts = u32::MAX.checked_shr(len).unwrap_or(0);
        return Some(Space::between(network & !hosts, network | hosts));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let read = |text: &str| text.trim().parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
    let (first, last) = (read(first)?, read(last)?);
    (first <= last).then(|| Space::between(first, last))
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
    let some = inner.whole("some", 1..=space.len())?;
    inner.finish()?;
    Ok(Some(Choice { space, order: order.unwrap_or(default), some }))
}
