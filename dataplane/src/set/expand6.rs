//! The same of IPv6, where nothing is a range but ports (`hash_ip6_uadt`, `hash_net6_uadt`, `hash_ipport6_uadt`:
//! net/netfilter/ipset/ip_set_hash_ip.c and its neighbours).

use std::net::IpAddr;

use weir_control::set::{Addresses, Element, SetError, SetKind, SetSpec, To};

use super::expand::{Span, other_type};
use super::key::{Key6, mask6};

/// Entries of IPv6 that one command names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span6 {
    /// One address, or a net that stands for its addresses.
    Address(u128),
    /// One net.
    Net { address: u128, length: u8 },
    /// One address with every port.
    Ports { address: u128, protocol: u8, ports: (u16, u16) },
}

impl Span6 {
    /// What `element` means to a set that was made so; `alone`: only what `test` looks at, the first.
    pub(super) fn new(spec: &SetSpec, element: &Element, alone: bool) -> Result<Self, SetError> {
        match (spec.kind, element) {
            (SetKind::HashIp, Element::Addresses(addresses)) => {
                let address = single(*addresses)? & mask6(spec.netmask.unwrap_or(128));
                if address == 0 { Err(SetError::Null) } else { Ok(Self::Address(address)) }
            }
            (SetKind::HashNet, Element::Addresses(Addresses { first, to })) => {
                let address = number(*first)?;
                match to {
                    To::Length(0) => Err(SetError::Length),
                    To::Length(length) => Ok(Self::Net { address, length: *length }),
                    To::Alone => Ok(Self::Net { address, length: 128 }),
                    To::Address(_) => Err(range()),
                }
            }
            (SetKind::HashIpPort, Element::Ports { addresses, protocol, first, last }) => {
                let address = single(*addresses)?;
                if address == 0 {
                    return Err(SetError::NullAddress);
                }
                let ports =
                    if alone { (*first, *first) } else { (*first.min(last), *first.max(last)) };
                Ok(Self::Ports { address, protocol: *protocol, ports })
            }
            _ => Err(other_type(spec)),
        }
    }

    /// The entry that `test` looks for.
    pub(super) fn first(self) -> Key6 {
        match self {
            Self::Address(address) => Key6::address(address),
            Self::Net { address, length } => Key6::net(address, length),
            Self::Ports { address, protocol, ports } => Key6::port(address, protocol, ports.0),
        }
    }
}

impl Span for Span6 {
    type Key = Key6;

    fn count(self) -> u64 {
        match self {
            Self::Address(_) | Self::Net { .. } => 1,
            Self::Ports { ports: (first, last), .. } => u64::from(last - first) + 1,
        }
    }

    fn has(self, key: Key6) -> bool {
        match self {
            Self::Address(_) | Self::Net { .. } => self.first() == key,
            Self::Ports { address, protocol, ports } => {
                key.ip() == address
                    && key.protocol() == protocol
                    && (ports.0..=ports.1).contains(&key.port_number())
            }
        }
    }

    fn keys(self) -> Box<dyn Iterator<Item = Key6>> {
        match self {
            Self::Address(_) | Self::Net { .. } => Box::new(std::iter::once(self.first())),
            Self::Ports { address, protocol, ports } => {
                Box::new((ports.0..=ports.1).map(move |port| Key6::port(address, protocol, port)))
            }
        }
    }
}

fn number(address: IpAddr) -> Result<u128, SetError> {
    match address {
        IpAddr::V6(address) => Ok(address.into()),
        IpAddr::V4(_) => {
            let reason = "an IPv4 address for a set of IPv6".to_owned();
            Err(SetError::Malformed { reason })
        }
    }
}

/// One address and no more.
fn single(addresses: Addresses) -> Result<u128, SetError> {
    match addresses.to {
        To::Alone | To::Length(128) => number(addresses.first),
        To::Length(_) => Err(SetError::Length),
        To::Address(_) => Err(range()),
    }
}

/// What only a client other than `weirctl` sends.
fn range() -> SetError {
    SetError::Malformed { reason: "a range of IPv6 addresses".to_owned() }
}
