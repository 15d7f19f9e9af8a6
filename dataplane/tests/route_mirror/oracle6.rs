//! `ip route get` as the judge over random sets of IPv6 routes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::sync::atomic::Ordering;

use weir_dataplane::port::PortIndex;
use weir_dataplane::route::{AddressAt, Forwarding, MirrorEvent, Route};

use crate::namespace::{EAST, Namespace, WEST, events, events_up_to, settled};
use crate::oracle::{Random, judge, port, refusal, word_after};

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Three links with IPv6 addresses, in a namespace that is a router.
fn with_three_links(test: &str) -> Option<Namespace> {
    let namespace = Namespace::with_three_links(test)?;
    namespace.sysctl("net/ipv6/conf/all/forwarding", "1");
    for (link, address) in [
        ("east", "2001:db8:1::1/64"),
        ("east", "2001:db8:1:1::1/64"),
        ("east", "fd00:1::1/64"),
        ("west", "2001:db8:2::1/64"),
        ("west", "2001:db8:2::9/128"),
        ("other", "2001:db8:3::1/64"),
    ] {
        namespace.ip(&format!("address add {address} dev {link} nodad"));
    }
    namespace.ip("address add 2001:db8:1:2::1/64 dev east nodad preferred_lft 0");
    Some(namespace)
}

type Judged = (Route<Ipv6Addr>, Option<Ipv6Addr>);

/// How the kernel's judgement reads as a `Route`, and the source address of a way that is ours.
fn translate(address: Ipv6Addr, judgement: &Result<String, String>) -> Judged {
    let line = match judgement {
        Ok(line) => line,
        Err(why) => return (refusal(why), None),
    };
    if line.starts_with("local") {
        return (Route::Local, None);
    }
    if line.starts_with("anycast") {
        return (Route::Broadcast, None);
    }
    let Some(port) = port(line) else { return (Route::NotOurs, None) };
    let next_hop = word_after(line, "via").map_or(address, ip6);
    let mtu = word_after(line, "mtu").map(|mtu| mtu.parse().unwrap());
    // Only of a source that the route itself names the table knows.
    (Route::Forward { port, next_hop, mtu, source: None }, word_after(line, "src").map(ip6))
}

fn found(forwarding: &Forwarding, address: Ipv6Addr) -> Judged {
    match forwarding.route6(address) {
        Route::Forward { port, next_hop, mtu, .. } => (
            Route::Forward { port, next_hop, mtu, source: None },
            forwarding.source6_for(address, port),
        ),
        other => (other, None),
    }
}

/// Whether a route of several next hops leads where the snapshot says: to one of those by a port, if there is one. (In
/// which order the kernel names them depends on which it has just chosen.)
fn one_of_hops(line: &str, address: Ipv6Addr, found: &Judged) -> bool {
    let hop = |hop| Some((port(hop)?, word_after(hop, "via").map_or(address, ip6)));
    let ours: Vec<_> = line.split("nexthop").skip(1).filter_map(hop).collect();
    match found.0 {
        Route::Forward { port, next_hop, .. } => ours.contains(&(port, next_hop)),
        other => other == Route::NotOurs && ours.is_empty(),
    }
}

/// Compares the snapshot with the kernel; returns the differences in words, and how many routes had several hops.
fn differences(
    namespace: &Namespace,
    forwarding: &Forwarding,
    addresses: &[Ipv6Addr],
) -> (Vec<String>, usize) {
    let judgements = judge(namespace, "", addresses);
    let matches = judge(namespace, "fibmatch", addresses);
    let (mut differences, mut several) = (Vec::new(), 0);
    for ((&address, judgement), matched) in addresses.iter().zip(&judgements).zip(&matches) {
        let found = found(forwarding, address);
        let hops = matched.as_ref().ok().filter(|line| line.contains("nexthop"));
        several += usize::from(hops.is_some());
        let same = match hops {
            Some(line) => one_of_hops(line, address, &found),
            None => translate(address, judgement) == found,
        };
        if !same {
            differences.push(format!("{address}: {judgement:?} {matched:?}, found {found:?}"));
        }
    }
    (differences, several)
}

/// What the snapshot says of each address at one port, beside the kernel's own way out of that interface: whether there
/// is one, and whether it leads to an anycast address. Returns the differences in words.
fn differences_at(
    namespace: &Namespace,
    forwarding: &Forwarding,
    (port, name): (PortIndex, &str),
    addresses: &[Ipv6Addr],
) -> Vec<String> {
    let judgements = judge(namespace, &format!("oif {name}"), addresses);
    let differing = addresses.iter().zip(judgements).filter_map(|(&address, judgement)| {
        let found = forwarding.address6_at(address, port);
        let same = match (&judgement, found) {
            (Ok(line), AddressAt::Reached { anycast, .. }) => {
                anycast || !line.starts_with("anycast")
            }
            (Err(_), AddressAt::Unreachable) => true,
            _ => false,
        };
        (!same).then(|| format!("{address} at {name}: {judgement:?}, found {found:?}"))
    });
    differing.collect()
}

/// Often close to others.
fn address(random: &mut Random) -> Ipv6Addr {
    let net = [1, 2, 3, 0x10][random.below(4) as usize];
    let subnet = u16::try_from(random.below(3)).unwrap();
    let [high, low] = [random.next(), random.next()].map(|word| u16::try_from(word >> 16).unwrap());
    match random.below(8) {
        0 => Ipv6Addr::new(0xfd00, net, subnet, 0, 0, 0, 0, low & 3),
        1 => Ipv6Addr::new(0x2001, 0xdb8, net, subnet, high, 0, 0, low),
        _ => Ipv6Addr::new(0x2001, 0xdb8, net, subnet, 0, 0, 0, low & 7),
    }
}

/// One command that adds, appends, replaces or deletes a route.
fn route_command(random: &mut Random) -> String {
    let len = [16, 32, 33, 47, 48, 49, 63, 64, 65, 96, 127, 128][random.below(12) as usize];
    let network = address(random).to_bits() & u128::MAX.checked_shl(128 - len).unwrap_or(0);
    let prefix = format!("{}/{len}", Ipv6Addr::from(network));
    let verb = ["add", "add", "add", "append", "prepend", "replace", "del"];
    let verb = verb[random.below(7) as usize];
    let metric = 1 + random.below(3);
    let table = ["main", "main", "main", "local"][random.below(4) as usize];
    let gateway =
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1 + u16::try_from(random.below(4)).unwrap());
    let kind = |kind| format!("route {verb} {kind} {prefix} metric {metric} table {table}");
    let way = match random.below(13) {
        0 => return kind("unreachable"),
        1 => return kind("prohibit"),
        2 => return kind("blackhole"),
        3 => return kind("throw"),
        4 => return format!("route {verb} local {prefix} dev lo metric {metric} table {table}"),
        5 => "dev other".to_owned(),
        6 => "dev east".to_owned(),
        7 => format!("via {gateway} dev west mtu 1400"),
        8 => format!("via {gateway} dev west src 2001:db8:1::1"),
        9 => format!("via {gateway} dev other"),
        10 => format!("via {gateway} dev west"),
        11 => format!("nexthop via {gateway} dev west nexthop via fe80::9 dev east"),
        _ => format!("via {gateway} dev east"),
    };
    format!("route {verb} {prefix} metric {metric} table {table} {way}")
}

#[test]
fn random_ipv6_routes_agree_with_the_kernel() {
    let Some(namespace) = with_three_links("random IPv6 routes") else { return };
    let mut random = Random::seeded();
    let mirror = namespace.mirror_with(|config| config.ipv6 = true);
    let (mut kinds, mut several) = (HashMap::new(), 0);
    for round in 0..10 {
        if round % 2 == 0 {
            for table in ["main", "local"] {
                namespace.ip(&format!("-6 route flush proto boot table {table}"));
            }
        }
        let mut commands = String::new();
        for _ in 0..300 {
            writeln!(commands, "{}", route_command(&mut random)).unwrap();
        }
        namespace.batch(&commands);
        let mut forwarding = settled(&namespace, &mirror);
        let mut addresses: Vec<_> = (0..500).map(|_| address(&mut random)).collect();
        // And as many at the beginning of some prefix, or just before it.
        let networks = commands.split([' ', '\n']).filter_map(|word| word.split_once('/'));
        let networks: Vec<Ipv6Addr> = networks.map(|(network, _)| ip6(network)).collect();
        let count = u32::try_from(networks.len()).unwrap();
        addresses.extend((0..500).map(|_| {
            let network = networks[random.below(count) as usize];
            Ipv6Addr::from(network.to_bits() + u128::from(random.below(3)) - 1)
        }));
        addresses.extend(["3000::1", "2001:db8:1::1", "2001:db8:1::", "2001:db8:3::5"].map(ip6));
        let (mut different, mut hops) = differences(&namespace, &forwarding, &addresses);
        // While changes do not end, a publication may come before what they have made stale is read again.
        for _ in 0..3 {
            if different.is_empty() {
                break;
            }
            forwarding = settled(&namespace, &mirror);
            (different, hops) = differences(&namespace, &forwarding, &addresses);
        }
        assert!(different.is_empty(), "round {round}: {} {different:#?}", different.len());
        several += hops;
        for port in [(EAST, "east"), (WEST, "west")] {
            let different = differences_at(&namespace, &forwarding, port, &addresses);
            assert!(different.is_empty(), "round {round}: {} {different:#?}", different.len());
        }
        // A mirror that starts now reads by dump what the other one heard.
        let fresh = namespace.mirror_with(|config| config.ipv6 = true);
        let (different, _) = differences(&namespace, &fresh.forwarding().current(), &addresses);
        assert!(different.is_empty(), "fresh, round {round}: {different:#?}");
        for address in addresses {
            *kinds.entry(std::mem::discriminant(&forwarding.route6(address))).or_insert(0) += 1;
        }
    }
    let counts: Vec<u32> = kinds.into_values().collect();
    eprintln!("answers of each kind: {counts:?}, {several} by several next hops");
    assert!(counts.len() >= 5 && several > 0, "{counts:?} {several}");
    assert_eq!(counts.iter().sum::<u32>(), 10_040);
    assert_eq!(mirror.stats().resynchronisations.load(Ordering::Relaxed), 0);
}

#[test]
fn ipv6_addresses_rules_and_links_follow() {
    let Some(namespace) = with_three_links("IPv6 changes") else { return };
    let mirror = namespace.mirror_with(|config| config.ipv6 = true);
    events(&mirror);
    namespace.ip("route add 2001:db8:70::/48 via fe80::1 dev west");
    namespace.ip("address add 2001:db8:5::1/64 dev east nodad");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route6(ip6("2001:db8:5::1")), Route::Local);
    assert_eq!(forwarding.route6(ip6("2001:db8:5::")), Route::Broadcast, "anycast");
    let at = |address, port| forwarding.address6_at(ip6(address), port);
    let reached = |local, anycast| AddressAt::Reached { local, anycast };
    assert_eq!(at("2001:db8:5::1", EAST), reached(true, false));
    assert_eq!(at("2001:db8:5::1", WEST), AddressAt::Unreachable);
    assert_eq!(at("2001:db8:5::", EAST), reached(false, true));
    assert_eq!(at("2001:db8:70::9", WEST), reached(false, false));
    assert_eq!(forwarding.source6_for(ip6("2001:db8:5::9"), EAST), Some(ip6("2001:db8:5::1")));
    let local: Vec<_> = forwarding.local_addresses6().collect();
    assert!(local.contains(&ip6("2001:db8:5::1")) && local.contains(&ip6("2001:db8:5::")));
    let way = |forwarding: &Forwarding| match forwarding.route6(ip6("2001:db8:70::1")) {
        Route::Forward { port, next_hop, .. } => Some((port, next_hop)),
        _ => None,
    };
    assert_eq!(way(&forwarding), Some((WEST, ip6("fe80::1"))));
    let changed = MirrorEvent::LocalAddressesChanged;
    assert_eq!(events_up_to(&mirror, &changed), [changed]);
    namespace.ip("address del 2001:db8:5::1/64 dev east");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route6(ip6("2001:db8:5::1")), Route::None);
    assert_eq!(forwarding.source6_for(ip6("2001:db8:5::9"), EAST), Some(ip6("2001:db8:1:1::1")));
    namespace.ip("link set west down");
    assert_eq!(way(&settled(&namespace, &mirror)), None);
    events(&mirror);
    namespace.ip("-6 rule add from 2001:db8:1::/64 table 100 priority 500");
    let what = "IPv6: rule 500 is not one of the defaults".to_owned();
    let unsupported = MirrorEvent::RulesUnsupported { what };
    assert_eq!(events_up_to(&mirror, &unsupported), [unsupported]);
    namespace.ip("-6 rule del priority 500");
    let supported = MirrorEvent::RulesSupported;
    assert_eq!(events_up_to(&mirror, &supported), [supported]);
    // Without being asked for, it is not followed at all.
    let without = namespace.mirror();
    let forwarding = without.forwarding().current();
    assert!(!forwarding.forwards_ipv6());
    assert_eq!(forwarding.route6(ip6("2001:db8:1::9")), Route::None);
    assert_eq!(forwarding.local_addresses6().count(), 0);
}
