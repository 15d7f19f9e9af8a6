//! Whether an interface may and can be used, asked before anything is sent.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_dataplane::wire::MacAddr;

use crate::error::Error;

/// The kernel's IPv4 routes: name, destination, gateway, flags, reference count, use, metric,
/// mask, …
const ROUTES_V4: &str = "/proc/net/route";

/// The kernel's IPv6 routes: destination, its length, source, its length, gateway, metric,
/// reference count, use, flags, name.
const ROUTES_V6: &str = "/proc/net/ipv6_route";

/// An interface that is there and on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    pub(crate) ifindex: u32,
    pub(crate) mac: MacAddr,
    pub(crate) mtu: usize,
}

/// Looks at the interface.
pub(crate) fn check(interface: &str, allow_default_route: bool) -> Result<Device, Error> {
    let ifindex = af_xdp::nic::ifindex(interface)?;
    let mac = MacAddr(af_xdp::nic::mac(interface)?);
    if !af_xdp::nic::is_up(interface)? {
        return Err(Error::Down { interface: interface.to_owned() });
    }
    if !allow_default_route && holds_default_route(interface)? {
        return Err(Error::DefaultRoute { interface: interface.to_owned() });
    }
    let mtu = usize::try_from(af_xdp::nic::mtu(interface)?).unwrap_or(usize::MAX);
    Ok(Device { ifindex, mac, mtu })
}

fn holds_default_route(interface: &str) -> Result<bool, Error> {
    let v4 = fs::read_to_string(ROUTES_V4).map_err(unreadable(ROUTES_V4))?;
    // A kernel without IPv6 has no such file.
    let v6 = fs::read_to_string(ROUTES_V6).unwrap_or_default();
    Ok(is_default_v4(&v4, interface) || is_default_v6(&v6, interface))
}

/// The machine's own addresses of IPv4: its routing trie, in which a leaf of type LOCAL with 32 bits is one.
const TRIE_V4: &str = "/proc/net/fib_trie";

/// Its addresses of IPv6: address, interface index, prefix length, scope, flags, name.
const ADDRESSES_V6: &str = "/proc/net/if_inet6";

/// What the kernel answers for on an interface while nobody else does: of IPv4 all of the machine's addresses
/// (`arp_ignore` = 0), of IPv6 the interface's.
pub(crate) fn own_addresses(interface: &str) -> Vec<IpAddr> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let v4 = local_v4(&read(TRIE_V4)).into_iter().map(IpAddr::from);
    v4.chain(addresses_v6(&read(ADDRESSES_V6), interface).into_iter().map(IpAddr::from)).collect()
}

fn local_v4(trie: &str) -> Vec<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut leaf = None;
    for line in trie.lines().map(str::trim_start) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(leaf.filter(|address| !address.is_loopback()));
        }
    }
    found.into_iter().collect()
}

fn addresses_v6(table: &str, interface: &str) -> Vec<Ipv6Addr> {
    let address = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, .., name] = words.as_slice() else { return None };
        let bits = u128::from_str_radix(address, 16).ok()?;
        (*name == interface).then_some(Ipv6Addr::from_bits(bits))
    };
    table.lines().filter_map(address).collect()
}

fn unreadable(path: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Read { path, source }
}

fn is_default_v4(routes: &str, interface: &str) -> bool {
    routes.lines().skip(1).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, destination, _, _, _, _, _, mask, ..] = words.as_slice() else { return false };
        *name == interface && [*destination, *mask] == ["00000000"; 2]
    })
}

fn is_default_v6(routes: &str, interface: &str) -> bool {
    routes.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [destination, "00", .., name] = words.as_slice() else { return false };
        destination.bytes().all(|digit| digit == b'0') && *name == interface
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_are_found() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\n\
                  eth0\t00000000\t0108A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth1\t0008A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                  eth2\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n";
        assert_eq!(
            ["eth0", "eth1", "eth2", "eth"].map(|name| is_default_v4(v4, name)),
            [true, false, false, false]
        );
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                  fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth3\n\
                  fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
                  00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth4\n";
        assert_eq!(["eth3", "eth4"].map(|name| is_default_v6(v6, name)), [true, false]);
    }

    #[test]
    fn the_machine_s_own_addresses_are_found() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- \
                    10.9.0.0/24 2 0 2\n        |-- 10.9.0.0\n           /24 link UNICAST\n        |-- 10.9.0.1\n           \
                    /32 host LOCAL\n        |-- 10.9.0.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\nLocal:\n        |-- 10.9.0.1\n           /32 host LOCAL\n";
        assert_eq!(local_v4(trie), [Ipv4Addr::new(10, 9, 0, 1)]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     20010db8000000000000000000000002 02 40 00 80     eth0\n\
                     fe800000000000000000000000000003 03 40 20 80     eth1\n";
        let expected: [Ipv6Addr; 2] = ["fe80::1".parse().unwrap(), "2001:db8::2".parse().unwrap()];
        assert_eq!(addresses_v6(table, "eth0"), expected);
    }

    #[test]
    fn an_interface_that_does_not_exist_is_named() {
        let error = check("no-such-if", false).unwrap_err().to_string();
        assert!(error.contains("no-such-if"), "{error}");
    }
}
