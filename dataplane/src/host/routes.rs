//! Which routes the table of the machine's own traffic has: those of `main`, with the machine's own port in the place
//! of Weir's others.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::route::{Forwarding, Target};

/// Most routes of table main that are mirrored.
pub const HOST_ROUTES_MAX: usize = 65_536;

/// What becomes of the machine's own packets to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostRoute {
    /// They go through Weir.
    Through {
        /// The address that they bear, where nobody has chosen one: that of the port which they leave by in the end.
        source: Option<Ipv4Addr>,
        /// The largest that this port and the route take, in bytes.
        mtu: u32,
    },
    /// They are left to table main, which the kernel asks next (`throw`): they leave by no port of Weir's.
    Past,
}

/// Routes by prefix.
pub(super) type HostRoutes = BTreeMap<(Ipv4Addr, u8), HostRoute>;

/// Multicast and the limited broadcast stay with the kernel, as on their way in.
const LEFT_ALONE: [(Ipv4Addr, u8); 2] =
    [(Ipv4Addr::new(224, 0, 0, 0), 4), (Ipv4Addr::BROADCAST, 32)];

/// The routes to have now; `mtu_max` is the largest packet that the machine's own port can carry. `None` where there
/// are more than [`HOST_ROUTES_MAX`].
pub(super) fn wanted(forwarding: &Forwarding, mtu_max: u32) -> Option<HostRoutes> {
    let main = forwarding.main_routes();
    if main.len() > HOST_ROUTES_MAX {
        return None;
    }
    let route = |target: Option<Target>| match target {
        Some(Target::Forward { port, mtu, source, .. }) if forwarding.host() != Some(port) => {
            let link = forwarding.port(port).map_or(mtu_max, |link| link.mtu);
            HostRoute::Through { source, mtu: mtu.unwrap_or(link).min(link).min(mtu_max) }
        }
        _ => HostRoute::Past,
    };
    let mut routes: HostRoutes = main
        .iter()
        .map(|spec| ((Ipv4Addr::from(spec.network), spec.len), route(spec.value)))
        .collect();
    routes.extend(LEFT_ALONE.map(|prefix| (prefix, HostRoute::Past)));
    Some(routes)
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
        let through = |mtu| HostRoute::Through { source, mtu };
        let expected = HostRoutes::from([
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
        ]);
        assert_eq!(wanted(&forwarding, 2000), Some(expected));
        let route = spec([0, 0, 0, 0], 0, by(0, None));
        let full = Forwarding::builder().main(vec![route; HOST_ROUTES_MAX + 1]).build();
        assert_eq!(wanted(&full, 2000), None);
    }
}
