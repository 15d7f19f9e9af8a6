//! The source address for an IPv6 packet of the machine itself, when its route names none (RFC 6724 section 5).
//!
//! Follows `ipv6_dev_get_saddr` of the kernel (`net/ipv6/addrconf.c`), with its labels (`net/ipv6/addrlabel.c`) as they
//! are before anybody changes them: the candidates are the addresses of all interfaces, but for a link-local
//! destination only those of the outgoing one. Home addresses (mobile IPv6) and `use_tempaddr` = 2 are not known.

use std::cmp::Reverse;
use std::net::Ipv6Addr;

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
}

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

/// The kernel's labels (`ip6addrlbl_init_table`).
fn label(address: Ipv6Addr) -> u8 {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 0,
        [0, 0, 0, 0, 0, 0, ..] => 3,
        [0, 0, 0, 0, 0, 0xffff, ..] => 4,
        [0x2001, 0, ..] => 6,
        [0x2001, 0x10..=0x1f, ..] => 7,
        [0x2002, ..] => 2,
        [0xfc00..=0xfdff, ..] => 5,
        _ => 1,
    }
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
