//! By what keyed limits tell packets apart: masked addresses, and ports.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_control::rule::{Family, KeyMasks, KeyParts};

use super::table;

/// A key of IPv4. What is not asked for is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key4 {
    source: u32,
    destination: u32,
    /// Source in the first half, destination in the second.
    ports: u32,
}

impl Key4 {
    /// The source in it.
    #[inline]
    pub(super) const fn source(&self) -> u32 {
        self.source
    }

    /// One of a source and nothing else.
    pub(super) const fn of_source(source: u32) -> Self {
        Self { source, destination: 0, ports: 0 }
    }
}

/// A key of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Key6 {
    source: [u64; 2],
    destination: [u64; 2],
    ports: u32,
}

table::key!(Key4);
table::key!(Key6);

/// An address, first half first, so that eight bytes are enough to align it.
#[expect(clippy::cast_possible_truncation, reason = "one half each")]
const fn halves(bits: u128) -> [u64; 2] {
    [(bits >> 64) as u64, bits as u64]
}

/// What makes a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    parts: KeyParts,
    /// Bits of source and destination that count; none where it is not asked for. Of IPv4 the last 32.
    source: u128,
    destination: u128,
}

impl KeySpec {
    /// Of these parts, of so many bits.
    #[must_use]
    pub fn new(family: Family, parts: KeyParts, masks: KeyMasks) -> Self {
        let all = family.address_bits();
        let mask = |asked: bool, bits: Option<u8>| {
            let bits = u32::from(bits.unwrap_or(all).min(all));
            let ones = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            if asked { ones >> (128 - u32::from(all)) } else { 0 }
        };
        Self {
            parts,
            source: mask(parts.source, masks.source),
            destination: mask(parts.destination, masks.destination),
        }
    }

    /// Bits of the source that count.
    #[must_use]
    pub fn source_bits(&self) -> u8 {
        u8::try_from(self.source.count_ones()).unwrap_or(u8::MAX)
    }

    /// Whether keys are sources and nothing else.
    pub(super) fn is_source_alone(&self) -> bool {
        self.parts == KeyParts { source: true, ..KeyParts::default() }
    }

    /// Whether ports are asked for.
    #[must_use]
    pub fn ports(&self) -> bool {
        self.parts.ports()
    }

    fn ports_of(&self, (source, destination): (u16, u16)) -> u32 {
        let asked = |asked: bool, port: u16| if asked { u32::from(port) } else { 0 };
        asked(self.parts.source_port, source) << 16
            | asked(self.parts.destination_port, destination)
    }

    /// The key of a packet between these addresses and ports.
    #[must_use]
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masks of IPv4 have 32 bits")]
    pub fn v4(&self, (source, destination): (Ipv4Addr, Ipv4Addr), ports: (u16, u16)) -> Key4 {
        Key4 {
            source: source.to_bits() & self.source as u32,
            destination: destination.to_bits() & self.destination as u32,
            ports: self.ports_of(ports),
        }
    }

    /// The same of IPv6.
    #[must_use]
    #[inline]
    pub fn v6(&self, (source, destination): (Ipv6Addr, Ipv6Addr), ports: (u16, u16)) -> Key6 {
        Key6 {
            source: halves(source.to_bits() & self.source),
            destination: halves(destination.to_bits() & self.destination),
            ports: self.ports_of(ports),
        }
    }

    /// A key as words.
    #[must_use]
    pub fn text<K: Parts>(&self, key: &K) -> String {
        let (source, destination, ports) = key.parts();
        let KeyParts { source: a, source_port: b, destination: c, destination_port: d } =
            self.parts;
        let words = [
            a.then(|| source.to_string()),
            b.then(|| format!("port {}", ports >> 16)),
            (c || d).then(|| "to".to_owned()),
            c.then(|| destination.to_string()),
            d.then(|| format!("port {}", ports & 0xffff)),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        if words.is_empty() { "all".to_owned() } else { words.join(" ") }
    }
}

/// What a key is made of.
pub trait Parts {
    /// Source, destination, both ports.
    fn parts(&self) -> (std::net::IpAddr, std::net::IpAddr, u32);
}

impl Parts for Key4 {
    fn parts(&self) -> (std::net::IpAddr, std::net::IpAddr, u32) {
        let address = |bits| Ipv4Addr::from_bits(bits).into();
        (address(self.source), address(self.destination), self.ports)
    }
}

impl Parts for Key6 {
    fn parts(&self) -> (std::net::IpAddr, std::net::IpAddr, u32) {
        let address = |[first, last]: [u64; 2]| {
            Ipv6Addr::from_bits(u128::from(first) << 64 | u128::from(last)).into()
        };
        (address(self.source), address(self.destination), self.ports)
    }
}

/// A table of the keys of one family.
#[derive(Debug)]
pub enum ByFamily<A, B> {
    /// Of IPv4.
    V4(A),
    /// Of IPv6.
    V6(B),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_makes_the_key() {
        let parts = |source, source_port, destination, destination_port| KeyParts {
            source,
            source_port,
            destination,
            destination_port,
        };
        let masks = KeyMasks { source: Some(24), destination: None };
        let (a, b) = (Ipv4Addr::new(10, 1, 2, 3), Ipv4Addr::new(192, 0, 2, 9));
        for (asked, text) in [
            (parts(true, false, false, false), "10.1.2.0"),
            (parts(false, false, true, true), "to 192.0.2.9 port 80"),
            (parts(true, true, true, true), "10.1.2.0 port 5000 to 192.0.2.9 port 80"),
            (parts(false, false, false, true), "to port 80"),
            (KeyParts::default(), "all"),
        ] {
            let spec = KeySpec::new(Family::V4, asked, masks);
            assert_eq!(spec.text(&spec.v4((a, b), (5000, 80))), text);
        }
        let none = KeyMasks { source: Some(0), destination: Some(64) };
        let spec = KeySpec::new(Family::V6, parts(true, false, true, false), none);
        let key =
            spec.v6(("2001:db8::1".parse().unwrap(), "2001:db8:1:2:3::4".parse().unwrap()), (1, 2));
        assert_eq!(spec.text(&key), ":: to 2001:db8:1:2::");
    }
}
