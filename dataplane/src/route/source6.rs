//! The source address for an IPv6 packet of the machine itself, when its route names none (RFC 6724 section 5).
//!
//! Follows `ipv6_dev_get_saddr` of the kernel (`net/ipv6/addrconf.c`), with its labels (`net/ipv6/addrlabel.c`) as they
//! are before anybody changes them: the candidates are the addresses of all interfaces, but for a link-local
//! destination only those of the outgoing one. Home addresses (mobile IPv6) and `use_tempaddr` = 2 are not known.

use std::cmp::Reverse;
use std::net::Ipv6Addr;

use super::table::{Bits, Prefix};

/// From how many addresses on nobody looks which of them each part of a prefix gets.
const CUT_ADDRESSES_MAX: usize = 64;

/// An address of the machine, with what decides about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source6 {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of its subnet's prefix.
    pub prefix_len: u8,
    /// The interface that it is on.
    pub ifindex: u32,
    /// Not for new conversations any more (RFC 4862 section 5.5.4), or not yet known to be unique (RFC 4429).
    pub avoided: bool,
    /// Temporary (RFC 8981).
    pub temporary: bool,
}

/// All addresses that packets may bear, in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources6(pub Box<[Source6]>);

impl Sources6 {
    /// The address for packets to `destination` out of the interface `ifindex`.
    #[must_use]
    pub fn choose(&self, destination: Ipv6Addr, ifindex: u32) -> Option<Ipv6Addr> {
        let bound = destination.is_unicast_link_local();
        let candidates = self.0.iter().filter(|source| !bound || source.ifindex == ifindex);
        // `max_by_key` would take the last of equals, the kernel takes the first.
        let best = candidates.min_by_key(|source| Reverse(rank(source, destination, ifindex)));
        best.map(|source| source.address)
    }

    /// The addresses for packets to the destinations of a prefix out of the interface `ifindex`: that of most of them
    /// first, with the prefix itself, then those of the parts that get another (another label, a longer common prefix).
    /// With more than 64 addresses, one for all.
    #[must_use]
    pub(crate) fn by_part(
        &self,
        (network, len): (u128, u8),
        ifindex: u32,
    ) -> Vec<Prefix<Ipv6Addr, u128>> {
        let mut parts = Vec::new();
        if self.0.len() <= CUT_ADDRESSES_MAX {
            let own = self.0.iter().map(|source| (source.address, source.prefix_len));
            let labels = LABELS.iter().map(|(network, len, _)| (*network, *len));
            // What is for these goes elsewhere.
            let bound = |at: Ipv6Addr| at.is_loopback() || at.is_unicast_link_local();
            let borders = own.chain(labels).chain([SITE]).filter(|(at, _)| !bound(*at));
            let borders: Vec<_> = borders.map(|(at, len)| (at.to_bits(), len)).collect();
            self.cut((network, len), &borders, ifindex, &mut parts);
        }
        let most = parts.iter().min_by_key(|part| part.len).map(|part| part.value);
        let most = most.unwrap_or_else(|| self.choose(Ipv6Addr::from_bits(network), ifindex));
        let whole = Prefix { network, len, value: most };
        // And what is for the machine's own addresses.
        let own = |part: &Prefix<Ipv6Addr, u128>| part.value.map(Ipv6Addr::to_bits);
        parts.retain(|part| {
            part.value != most && (part.len < 128 || own(part) != Some(part.network))
        });
        parts.insert(0, whole);
        parts
    }

    /// Cuts a prefix where the choice may change; equal halves are one again.
    fn cut(
        &self,
        (network, len): (u128, u8),
        borders: &[(u128, u8)],
        ifindex: u32,
        parts: &mut Vec<Prefix<Ipv6Addr, u128>>,
    ) {
        let in_it = |(at, deep): &(u128, u8)| *deep > len && (at ^ network) & u128::mask(len) == 0;
        let borders: Vec<_> = borders.iter().copied().filter(in_it).collect();
        if borders.is_empty() {
            let value = self.choose(Ipv6Addr::from_bits(network), ifindex);
            parts.push(Prefix { network, len, value });
            return;
        }
        let first = parts.len();
        for half in [network, network | 1 << (127 - len)] {
            self.cut((half, len + 1), &borders, ifindex, parts);
        }
        let value = parts[first].value;
        if parts[first..].iter().all(|part| part.value == value) {
            parts.truncate(first);
            parts.push(Prefix { network, len, value });
        }
    }
}

/// Addresses of a site (RFC 3879), whose scope is one of its own.
const SITE: (Ipv6Addr, u8) = (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10);

/// The kernel's labels (`ip6addrlbl_init_table`), longest prefixes first; without one it is 1.
const LABELS: [(Ipv6Addr, u8, u8); 7] = {
    const fn ip(a: u16, b: u16) -> Ipv6Addr {
        Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0)
    }
    [
        (Ipv6Addr::LOCALHOST, 128, 0),
        (ip(0, 0), 96, 3),
        (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96, 4),
        (ip(0x2001, 0), 32, 6),
        (ip(0x2001, 0x10), 28, 7),
        (ip(0x2002, 0), 16, 2),
        (ip(0xfc00, 0), 7, 5),
    ]
};

/// The rules of RFC 6724 section 5 in their order; the greatest is chosen.
fn rank(source: &Source6, destination: Ipv6Addr, ifindex: u32) -> impl Ord {
    let (own, wanted) = (scope(source.address), scope(destination));
    let common = (source.address.to_bits() ^ destination.to_bits()).leading_zeros();
    (
        source.address == destination,
        // Wide enough, and of those the narrowest; else the widest.
        if own >= wanted { -own } else { own - 128 },
        !source.avoided || source.address.is_loopback(),
        source.ifindex == ifindex,
        label(source.address) == label(destination),
        !source.temporary,
        common.min(source.prefix_len.into()),
    )
}

/// How far an address reaches (`__ipv6_addr_src_scope`): 2 link, 5 site, 14 global.
fn scope(address: Ipv6Addr) -> i16 {
    match address.segments()[0] {
        0xfe80..=0xfebf => 2,
        0xfec0..=0xfeff => 5,
        0 if address.is_loopback() => 2,
        _ => 14,
    }
}

fn label(address: Ipv6Addr) -> u8 {
    let within = |(network, len, _): &&(Ipv6Addr, u8, u8)| {
        (address.to_bits() ^ network.to_bits()) & u128::mask(*len) == 0
    };
    LABELS.iter().find(within).map_or(1, |(_, _, label)| *label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn source(address: &str, ifindex: u32) -> Source6 {
        let address = ip(address);
        Source6 { address, prefix_len: 64, ifindex, avoided: false, temporary: false }
    }

    fn chosen(sources: &[Source6], destination: &str, ifindex: u32) -> Option<String> {
        let sources = Sources6(sources.into());
        sources.choose(ip(destination), ifindex).map(|address| address.to_string())
    }

    #[test]
    fn each_rule_decides_where_those_before_it_do_not() {
        let all = [
            source("::1", 1),
            source("2001:db8:1::1", 2),
            source("fe80::1", 2),
            source("2001:db8:2::1", 3),
            source("fd00::1", 3),
            source("fe80::2", 3),
        ];
        for (destination, ifindex, expected) in [
            // The same; wide enough; the interface; the label; the longest prefix.
            ("2001:db8:1::1", 3, "2001:db8:1::1"),
            ("2001:db8:9::1", 2, "2001:db8:1::1"),
            ("2001:db8:9::1", 3, "2001:db8:2::1"),
            ("fd00::9", 3, "fd00::1"),
            ("fd00::9", 2, "2001:db8:1::1"),
            ("fe80::9", 3, "fe80::2"),
            ("fe80::9", 2, "fe80::1"),
            // An interface without addresses borrows, by the longest common prefix.
            ("2001:db8:2::9", 7, "2001:db8:2::1"),
        ] {
            let found = chosen(&all, destination, ifindex);
            assert_eq!(found.as_deref(), Some(expected), "{destination} {ifindex}");
        }
        assert_eq!(chosen(&all, "fe80::9", 7), None);
        assert_eq!(chosen(&[], "2001:db8::9", 2), None);
    }

    #[test]
    fn a_prefix_is_cut_where_the_choice_changes() {
        let sources = Sources6(Box::new([
            source("2001:db8:1::1", 2),
            source("2001:db8:5::1", 2),
            source("fd00::1", 2),
            source("2001:db8:1::9", 3),
        ]));
        let parts = |network: &str, len| -> Vec<String> {
            let parts = sources.by_part((ip(network).to_bits(), len), 2).into_iter();
            let text = |part: Prefix<Ipv6Addr, u128>| {
                let (network, source) = (Ipv6Addr::from_bits(part.network), part.value.unwrap());
                format!("{network}/{} {source}", part.len)
            };
            parts.map(text).collect()
        };
        assert_eq!(
            parts("::", 0),
            ["::/0 2001:db8:1::1", "2001:db8:4::/46 2001:db8:5::1", "fc00::/7 fd00::1"]
        );
        assert_eq!(parts("2001:db8:5::", 64), ["2001:db8:5::/64 2001:db8:5::1"]);
        assert_eq!(parts("fd00:7::", 32), ["fd00:7::/32 fd00::1"]);
        // Each destination gets by its longest part what is chosen for itself.
        for destination in ["::2", "2001:db8:1::7", "2001:db8:7::1", "2001:db8:2::", "fdff::"] {
            let wanted = ip(destination);
            let within = |part: &Prefix<Ipv6Addr, u128>| {
                (part.network ^ wanted.to_bits()) & u128::mask(part.len) == 0
            };
            let parts = sources.by_part((0, 0), 2);
            let longest = parts.into_iter().filter(within).max_by_key(|part| part.len);
            assert_eq!(longest.unwrap().value, sources.choose(wanted, 2), "{destination}");
        }
    }

    #[test]
    fn old_and_temporary_addresses_come_last_and_of_equals_the_first() {
        let plain = source("2001:db8::1", 2);
        let old = Source6 { avoided: true, ..source("2001:db8::2", 2) };
        let temporary = Source6 { temporary: true, ..source("2001:db8::3", 2) };
        let far = source("2001:db8::4", 3);
        let first = |sources: &[Source6]| chosen(sources, "2001:db8:f::", 2).unwrap();
        assert_eq!(first(&[old, temporary, plain]), "2001:db8::1");
        assert_eq!(first(&[old, temporary]), "2001:db8::3");
        assert_eq!(first(&[old, far]), "2001:db8::4", "rather another interface's");
        assert_eq!(first(&[source("2001:db8::7", 2), plain]), "2001:db8::7");
    }
}
