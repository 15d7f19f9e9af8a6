//! From what a command names to entries: ranges and nets, as the kernel takes them apart
//! (`hash_ip4_uadt`, `hash_net4_uadt`, `hash_ipport4_uadt`: net/netfilter/ipset/ip_set_hash_ip.c and
//! its neighbours).

use std::net::IpAddr;

use weir_control::set::{Addresses, Element, SetError, SetKind, SetSpec, To};

use super::key::{Key, Key4, mask};

/// Entries of a family that one command names.
pub(super) trait Span: Copy {
    /// What they are.
    type Key: Key;

    /// How many entries it is.
    fn count(self) -> u64;

    /// Whether an entry is among them.
    fn has(self, key: Self::Key) -> bool;

    /// All of them, from the lowest on, addresses before ports.
    fn keys(self) -> Box<dyn Iterator<Item = Self::Key>>;
}

/// Those of IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span4 {
    /// Nets, to be made of the addresses from the one to the other.
    Nets { first: u32, last: u32 },
    /// One net.
    Net(Key4),
    /// Every `step`-th address.
    Addresses { first: u32, last: u32, step: u64 },
    /// Every address with every port.
    Ports { first: u32, last: u32, protocol: u8, ports: (u16, u16) },
}

impl Span4 {
    /// What `element` means to a set that was made so; `alone`: only what `test` looks at, the first.
    pub(super) fn new(spec: &SetSpec, element: &Element, alone: bool) -> Result<Self, SetError> {
        match (spec.kind, element) {
            (SetKind::HashIp, Element::Addresses(addresses)) => {
                let length = spec.netmask.unwrap_or(32);
                let start = number(addresses.first)? & mask(length);
                if start == 0 {
                    return Err(SetError::Null);
                }
                let (first, last) = match alone {
                    true => (start, start),
                    false => range(start, *addresses, true)?,
                };
                let first = first & mask(length);
                Ok(Self::Addresses { first, last, step: 1 << (32 - length) })
            }
            (SetKind::HashNet, Element::Addresses(Addresses { first, to })) => {
                let first = number(*first)?;
                match to {
                    To::Length(0) => Err(SetError::Length),
                    To::Length(length) => Ok(Self::Net(Key4::net(first, *length))),
                    To::Alone => Ok(Self::Net(Key4::net(first, 32))),
                    To::Address(last) => {
                        let last = number(*last)?;
                        let (first, last) = (first.min(last), first.max(last));
                        match (first, last) {
                            (0, u32::MAX) => Err(SetError::WholeSpace),
                            _ => Ok(Self::Nets { first, last }),
                        }
                    }
                }
            }
            (SetKind::HashIpPort, Element::Ports { addresses, protocol, first, last }) => {
                let start = number(addresses.first)?;
                if start == 0 {
                    return Err(SetError::NullAddress);
                }
                let (lowest, highest) = match alone {
                    true => (start, start),
                    false => range(start, *addresses, false)?,
                };
                let ports =
                    if alone { (*first, *first) } else { (*first.min(last), *first.max(last)) };
                Ok(Self::Ports { first: lowest, last: highest, protocol: *protocol, ports })
            }
            _ => Err(other_type(spec)),
        }
    }
}

impl Span for Span4 {
    type Key = Key4;

    fn count(self) -> u64 {
        match self {
            Self::Net(_) => 1,
            // At most 31 on the way up to the largest, and as many down.
            Self::Nets { .. } => 62,
            Self::Addresses { first, last, step } => {
                u64::from(last.saturating_sub(first)) / step + 1
            }
            Self::Ports { first, last, ports, .. } => {
                (u64::from(last - first) + 1) * (u64::from(ports.1 - ports.0) + 1)
            }
        }
    }

    fn has(self, key: Key4) -> bool {
        match self {
            Self::Net(net) => net == key,
            Self::Nets { .. } => self.keys().any(|net| net == key),
            Self::Addresses { first, last, step } => {
                (first..=last).contains(&key.ip())
                    && u64::from(key.ip() - first).is_multiple_of(step)
            }
            Self::Ports { first, last, protocol, ports } => {
                (first..=last).contains(&key.ip())
                    && key.protocol() == protocol
                    && (ports.0..=ports.1).contains(&key.port_number())
            }
        }
    }

    fn keys(self) -> Box<dyn Iterator<Item = Key4>> {
        match self {
            Self::Net(net) => Box::new(std::iter::once(net)),
            Self::Nets { first, last } => Box::new(nets(first, last)),
            Self::Addresses { first, last, step } => {
                let step = usize::try_from(step).unwrap_or(usize::MAX);
                Box::new((first..=last).step_by(step).map(Key4::address))
            }
            Self::Ports { first, last, protocol, ports } => {
                Box::new((first..=last).flat_map(move |address| {
                    (ports.0..=ports.1).map(move |port| Key4::port(address, protocol, port))
                }))
            }
        }
    }
}

/// What only a client other than `weirctl` sends.
pub(super) fn other_type(spec: &SetSpec) -> SetError {
    let reason = format!("an entry of another type than {}", spec.kind);
    SetError::Malformed { reason }
}

fn number(address: IpAddr) -> Result<u32, SetError> {
    match address {
        IpAddr::V4(address) => Ok(address.into()),
        IpAddr::V6(_) => {
            let reason = "an IPv6 address for a set of IPv4".to_owned();
            Err(SetError::Malformed { reason })
        }
    }
}

/// The addresses from `start` on. Where `null` is an error, it is as the other end, too.
fn range(start: u32, addresses: Addresses, null: bool) -> Result<(u32, u32), SetError> {
    match addresses.to {
        To::Alone => Ok((start, start)),
        To::Length(0) => Err(SetError::Length),
        To::Length(length) => Ok((start & mask(length), start | !mask(length))),
        To::Address(last) => match number(last)? {
            0 if null => Err(SetError::Null),
            last => Ok((start.min(last), start.max(last))),
        },
    }
}

/// The fewest nets that have these addresses and no others (`ip_set_range_to_cidr`).
fn nets(first: u32, last: u32) -> impl Iterator<Item = Key4> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let address = next?;
        let fits = |length: &u8| address & !mask(*length) == 0 && address | !mask(*length) <= last;
        let length = (1..=32).find(fits).unwrap_or(32);
        let end = address | !mask(length);
        next = end.checked_add(1).filter(|following| *following <= last);
        Some(Key4::net(address, length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_the_fewest_nets() {
        let cut = |first: [u8; 4], last: [u8; 4]| {
            let span =
                Span4::Nets { first: u32::from_be_bytes(first), last: u32::from_be_bytes(last) };
            let nets: Vec<String> = span
                .keys()
                .map(|key| match key.element(SetKind::HashNet) {
                    Element::Addresses(net) => net.to_string(),
                    other => panic!("{other:?}"),
                })
                .collect();
            nets.join(" ")
        };
        assert_eq!(cut([1, 2, 3, 0], [1, 2, 3, 10]), "1.2.3.0/29 1.2.3.8/31 1.2.3.10");
        assert_eq!(cut([0, 0, 0, 0], [127, 255, 255, 255]), "0.0.0.0/1");
        assert_eq!(cut([255, 255, 255, 254], [255, 255, 255, 255]), "255.255.255.254/31");
        let most = Span4::Nets { first: 1, last: u32::MAX - 1 };
        assert_eq!(most.keys().count() as u64, most.count());
    }
}
