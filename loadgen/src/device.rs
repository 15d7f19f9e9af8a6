//! Whether an interface may and can be used, asked before anything is sent.

use std::fs;

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
    fn an_interface_that_does_not_exist_is_named() {
        let error = check("no-such-if", false).unwrap_err().to_string();
        assert!(error.contains("no-such-if"), "{error}");
    }
}
