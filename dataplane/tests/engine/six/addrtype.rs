//! `-m addrtype` of IPv6, also of one interface alone, beside the kernel.

use super::oracle::{inject, load, network_builder, unmet6};
use super::*;
use crate::oracle::Kernel;

const KINDS: [&str; 5] = ["UNICAST", "LOCAL", "ANYCAST", "UNREACHABLE", "LOCAL,ANYCAST"];

/// The rules: each kind of either end, at each interface or at all.
fn rules() -> Vec<String> {
    let mut lines = Vec::new();
    for limit in ["", " --limit-iface-in", " --limit-iface-out"] {
        for end in ["src", "dst"] {
            for not in ["", " !"] {
                let line = |kind| format!("-A FORWARD -m addrtype{not} --{end}-type {kind}{limit}");
                lines.extend(KINDS.map(line));
            }
        }
    }
    lines
}

/// Routes of every kind that tells interfaces apart, in the kernel and here.
fn routes(kernel: &mut Kernel) -> Forwarding {
    for route in [
        "unreachable 2001:db8:66::/48",
        "prohibit 2001:db8:67::/48",
        "2001:db8:71::/48 dev east",
        "2001:db8:71::/64 dev west",
        "2001:db8:72::/48 via 2001:db8:2::2 dev west",
        "local 2001:db8:74::/64 dev wan0 table local",
    ] {
        assert_eq!(kernel.ask(&format!("ip -6 route add {route}")), "ok\n", "{route}");
    }
    let by = |port, gateway| Target::Forward { port, gateway, mtu: None, source: None };
    network_builder()
        .route6(ip6("2001:db8:66::"), 48, Target::Unreachable(Unreachable::Unreachable))
        .route6(ip6("2001:db8:67::"), 48, Target::Unreachable(Unreachable::Prohibit))
        .route6(ip6("2001:db8:71::"), 48, by(EAST, None))
        .route6(ip6("2001:db8:71::"), 64, by(WEST, None))
        .route6(ip6("2001:db8:72::"), 48, by(WEST, Some(BOB6)))
        .route6(ip6("2001:db8:74::"), 64, Target::Local { source: None, port: Some(WAN) })
        .build()
}

#[test]
fn addresses_of_ipv6_are_of_a_kind_at_each_interface() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let forwarding = routes(&mut kernel);
    let mut world = World::over(Sizes { flows6: 512, ..Sizes::ONE }, forwarding);
    let lines = rules();
    let sources = [
        "2001:db8:1::2",
        "2001:db8:1::1",
        "2001:db8:2::1",
        "2001:db8:1::",
        "2001:db8:66::1",
        "2001:db8:67::1",
        "2001:db8:71::1",
        "2001:db8:71:1::1",
        "2001:db8:72::1",
        "2001:db8:72::",
        "2001:db8:74::9",
        "3000::1",
    ];
    let mut matched = 0;
    for source in sources.map(ip6) {
        for ingress in 0..3 {
            for destination in [BOB6, traffic::CAROL6, ip6("2001:db8:71:1::2")] {
                load(&mut kernel, &mut world, &lines, true);
                let packet = Packet6::udp((source, 1), (destination, 2), b"12345678");
                kernel.forward(&[(ingress, packet.bytes())]);
                inject(&mut world, ingress, &packet);
                world.left();
                let ours: Vec<_> = (0..=lines.len()).map(|n| world.count6(n)).collect();
                let theirs = kernel.counters();
                let differing: Vec<_> = (1..ours.len())
                    .filter(|n| ours[*n] != theirs[*n])
                    .map(|n| {
                        format!("Weir {:?}, kernel {:?}: {}", ours[n], theirs[n], lines[n - 1])
                    })
                    .collect();
                assert_eq!(differing, [""; 0], "{source} by {ingress} to {destination}");
                matched += ours.iter().skip(1).filter(|(packets, _)| *packets > 0).count();
            }
        }
    }
    assert!(matched > 1_000, "{matched}");
    world.shut_down();
}
