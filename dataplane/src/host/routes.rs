//! Which routes the table of the machine's own traffic has: those of `main`, with the machine's own port in the place
//! of Weir's others.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::route::{Bits, Forwarding, Prefix, Target};

/// The smallest MTU that IPv6 allows a link (RFC 8200 section 5).
pub(super) const IPV6_MTU_MIN: u32 = 1280;

/// Most routes of table main of each family that are mirrored.
pub const HOST_ROUTES_MAX: usize = 65_536;

/// What becomes of the machine's own packets to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostRoute {
    /// They go through Weir.
    Through {
        /// The address that they bear, where nobody has chosen one: that of the port which they leave by in the end.
        source: Option<IpAddr>,
        /// The largest that this port and the route take, in bytes.
        mtu: u32,
    },
    /// They are left to table main, which the kernel asks next (`throw`): they leave by no port of Weir's.
    Past,
}

/// Routes by prefix.
pub(super) type HostRoutes = BTreeMap<(IpAddr, u8), HostRoute>;

/// Multicast and the limited broadcast stay with the kernel, as on their way in.
const LEFT_ALONE: [(Ipv4Addr, u8); 2] =
    [(Ipv4Addr::new(224, 0, 0, 0), 4), (Ipv4Addr::BROADCAST, 32)];

/// As do groups and addresses of the link of IPv6.
const LEFT_ALONE6: [(Ipv6Addr, u8); 2] = [
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

/// The routes to have now, of IPv6 where that is forwarded; `mtu_max` is the largest packet that the machine's own port
/// can carry. `None` where there are more than [`HOST_ROUTES_MAX`] of a family.
pub(super) fn wanted(forwarding: &Forwarding, mtu_max: u32) -> Option<HostRoutes> {
    let mut routes = wanted4(forwarding, mtu_max)?;
    if forwarding.forwards_ipv6() {
        routes.extend(wanted6(forwarding, mtu_max)?);
    }
    Some(routes)
}

fn wanted4(forwarding: &Forwarding, mtu_max: u32) -> Option<HostRoutes> {
    let main = forwarding.main_routes();
    if main.len() > HOST_ROUTES_MAX {
        return None;
    }
    let route = |target: Option<Target>| match target {
        Some(Target::Forward { port, mtu, source, .. }) if forwarding.host() != Some(port) => {
            let link = forwarding.port(port).map_or(mtu_max, |link| link.mtu);
            let mtu = mtu.unwrap_or(link).min(link).min(mtu_max);
            HostRoute::Through { source: source.map(IpAddr::from), mtu }
        }
        _ => HostRoute::Past,
    };
    let mut routes: HostRoutes = main
        .iter()
        .map(|spec| ((Ipv4Addr::from(spec.network).into(), spec.len), route(spec.value)))
        .collect();
    routes.extend(LEFT_ALONE.map(|(network, len)| ((network.into(), len), HostRoute::Past)));
    Some(routes)
}

/// The same of IPv6. Which source address the kernel would choose depends on the destination; where it would be
/// different ones, a route stands there as several. What can have only an address of the link stays with table main.
fn wanted6(forwarding: &Forwarding, mtu_max: u32) -> Option<HostRoutes> {
    let main = forwarding.main_routes6();
    if main.len() > HOST_ROUTES_MAX {
        return None;
    }
    let mut routes = HostRoutes::new();
    let mut parts = Vec::new();
    let named = |network: u128, len| (IpAddr::from(Ipv6Addr::from_bits(network)), len);
    for spec in main {
        let Some(Target::Forward { port, mtu, source, .. }) = spec.value else {
            routes.insert(named(spec.network, spec.len), HostRoute::Past);
            continue;
        };
        let link = forwarding.port(port).filter(|_| forwarding.host() != Some(port));
        let ifindex = link.and_then(|link| link.ifindex).unwrap_or_default();
        let link_mtu = link.map_or(mtu_max, |link| link.mtu);
        let mtu = mtu.unwrap_or(link_mtu).min(link_mtu).min(mtu_max).max(IPV6_MTU_MIN);
        let through = |source: Option<Ipv6Addr>| match source {
            Some(source) if link.is_some() && !source.is_unicast_link_local() => {
                HostRoute::Through { source: Some(source.into()), mtu }
            }
            _ => HostRoute::Past,
        };
        let chosen = match (source, forwarding.sources6()) {
            (None, Some(sources)) => sources.by_part((spec.network, spec.len), ifindex),
            _ => vec![Prefix { network: spec.network, len: spec.len, value: source }],
        };
        let mut chosen = chosen.into_iter();
        let whole = chosen.next().and_then(|whole| whole.value);
        routes.insert(named(spec.network, spec.len), through(whole));
        parts.extend(chosen.map(|part| (part, spec.len, through(part.value))));
    }
    // A part of a route counts where no longer one of main does.
    parts.retain(|(part, route_len, _)| {
        let mut longer = route_len + 1..=part.len;
        !longer.any(|len| routes.contains_key(&named(part.network & u128::mask(len), len)))
    });
    routes.extend(parts.into_iter().map(|(part, _, route)| (named(part.network, part.len), route)));
    routes.extend(LEFT_ALONE6.map(|(network, len)| ((network.into(), len), HostRoute::Past)));
    (routes.len() <= HOST_ROUTES_MAX + LEFT_ALONE6.len()).then_some(routes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PortIndex;
    use crate::route::{InterfaceAddress, PortLink, Prefix, Unreachable};

    #[test]
    fn what_leaves_by_ports_goes_through_and_the_rest_past() {
        let ip = |octets: [u8; 4]| Ipv4Addr::from(octets);
        let link = |name: &str, mtu| PortLink {
            name: name.into(),
            ifindex: Some(3),
            mtu,
            up: true,
            addresses: vec![InterfaceAddress::new(ip([10, 0, 0, 1]), 24)],
            ..PortLink::default()
        };
        let spec = |network: [u8; 4], len, value| Prefix {
            network: u32::from_be_bytes(network),
            len,
            value,
        };
        let source = Some(ip([10, 0, 0, 1]));
        let by = |port, mtu| {
            let (port, gateway) = (PortIndex(port), None);
            Some(Target::Forward { port, gateway, mtu, source })
        };
        let main = vec![
            spec([0, 0, 0, 0], 0, by(0, None)),
            spec([10, 1, 0, 0], 16, by(0, Some(1400))),
            spec([10, 2, 0, 0], 16, by(0, Some(9000))),
            spec([10, 3, 0, 0], 16, by(1, None)),
            spec([10, 4, 0, 0], 16, by(2, None)),
            spec([10, 5, 0, 0], 16, Some(Target::NotOurs { source })),
            spec([10, 6, 0, 0], 16, Some(Target::Unreachable(Unreachable::Prohibit))),
            spec([10, 7, 0, 0], 16, None),
        ];
        let forwarding = Forwarding::builder()
            .port(link("left", 1500))
            .port(link("right", 3000))
            .host_port(link("weir0", 1500))
            .main(main)
            .build();
        let through = |mtu| HostRoute::Through { source: source.map(IpAddr::from), mtu };
        let expected = HostRoutes::from(
            [
                ((ip([0, 0, 0, 0]), 0), through(1500)),
                ((ip([10, 1, 0, 0]), 16), through(1400)),
                ((ip([10, 2, 0, 0]), 16), through(1500)),
                ((ip([10, 3, 0, 0]), 16), through(2000)),
                ((ip([10, 4, 0, 0]), 16), HostRoute::Past),
                ((ip([10, 5, 0, 0]), 16), HostRoute::Past),
                ((ip([10, 6, 0, 0]), 16), HostRoute::Past),
                ((ip([10, 7, 0, 0]), 16), HostRoute::Past),
                ((ip([224, 0, 0, 0]), 4), HostRoute::Past),
                ((ip([255, 255, 255, 255]), 32), HostRoute::Past),
            ]
            .map(|((network, len), route)| ((network.into(), len), route)),
        );
        assert_eq!(wanted(&forwarding, 2000), Some(expected));
        let route = spec([0, 0, 0, 0], 0, by(0, None));
        let full = Forwarding::builder().main(vec![route; HOST_ROUTES_MAX + 1]).build();
        assert_eq!(wanted(&full, 2000), None);
    }

    #[test]
    fn routes_of_ipv6_have_the_source_that_the_kernel_would_choose() {
        let ip = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
        let link = |name: &str, ifindex| PortLink {
            name: name.into(),
            ifindex: Some(ifindex),
            mtu: 1500,
            up: true,
            ..PortLink::default()
        };
        let spec =
            |network: &str, len, value| Prefix { network: ip(network).to_bits(), len, value };
        let by = |port, mtu, source: Option<&str>| {
            let source = source.map(ip);
            Some(Target::Forward { port: PortIndex(port), gateway: None, mtu, source })
        };
        let main = vec![
            spec("::", 0, by(0, None, None)),
            spec("2001:db8:1::", 64, by(0, None, None)),
            spec("2001:db8:4::", 46, by(1, Some(1400), None)),
            spec("2001:db8:8::", 48, by(0, Some(1000), Some("2001:db8:1::9"))),
            spec("2001:db8:9::", 48, by(2, None, None)),
            spec("fd00::", 8, Some(Target::NotOurs { source: None })),
            spec("fe80::", 64, by(0, None, None)),
        ];
        let forwarding = Forwarding::builder()
            .port(link("left", 3))
            .port(link("right", 4))
            .host_port(link("weir0", 5))
            .address6(PortIndex(0), ip("2001:db8:1::1"), 64)
            .address6(PortIndex(0), ip("2001:db8:5::1"), 64)
            .address6(PortIndex(0), ip("fc00::1"), 64)
            .address6(PortIndex(0), ip("fe80::1"), 64)
            .address6(PortIndex(1), ip("fe80::1"), 64)
            .main6(main)
            .build();
        let through =
            |mtu, source: &str| HostRoute::Through { source: Some(ip(source).into()), mtu };
        let expected: [(&str, u8, HostRoute); 10] = [
            ("::", 0, through(1500, "2001:db8:1::1")),
            ("2001:db8:1::", 64, through(1500, "2001:db8:1::1")),
            // That of main is as long as the part of the default route that another address is for.
            ("2001:db8:4::", 46, through(1400, "2001:db8:5::1")),
            ("2001:db8:8::", 48, through(1280, "2001:db8:1::9")),
            ("2001:db8:9::", 48, HostRoute::Past),
            ("fc00::", 7, through(1500, "fc00::1")),
            ("fd00::", 8, HostRoute::Past),
            ("fe80::", 10, HostRoute::Past),
            ("fe80::", 64, HostRoute::Past),
            ("ff00::", 8, HostRoute::Past),
        ];
        let routes = wanted(&forwarding, 2000).expect("not too many");
        let six: Vec<_> =
            routes.into_iter().filter(|((network, _), _)| network.is_ipv6()).collect();
        let expected = expected.map(|(network, len, route)| ((ip(network).into(), len), route));
        assert_eq!(six, expected);
    }
}
