//! Neighbours: resolved, reported as failed, kept alive while in use.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use weir_dataplane::route::{Forwarding, NeighbourState, PortIndex};

use crate::namespace::{EAST, Namespace, PATIENCE, WEST, eventually, ip, settled};

/// A firewall with `east` towards a host that has 10.0.0.2 at 02:00:00:00:00:02.
fn with_host(test: &str) -> Option<(Namespace, Namespace)> {
    let (firewall, host) = (Namespace::new(test)?, Namespace::new(test)?);
    firewall.ip(&format!("link add east type veth peer name eth netns {}", host.name));
    firewall.ip("link set east up");
    firewall.ip("address add 10.0.0.1/24 dev east");
    host.ip("link set eth address 02:00:00:00:00:02");
    host.ip("link set eth up");
    host.ip("address add 10.0.0.2/24 dev eth");
    Some((firewall, host))
}

#[test]
fn neighbours_are_resolved_or_fail() {
    let Some((firewall, _host)) = with_host("neighbours") else { return };
    // One ARP request a tenth of a second, so that failing does not take three seconds.
    firewall.sysctl("net/ipv4/neigh/east/retrans_time_ms", "100");
    let mirror = firewall.mirror();
    let resolver = mirror.resolver();
    let host = ip("10.0.0.2");
    assert!(mirror.forwarding().current().neighbour(EAST, host).is_none());
    let start = Instant::now();
    assert!(resolver.request(EAST, host));
    resolver.wake();
    let forwarding = eventually(&mirror, "the host's MAC address", |now| {
        now.neighbour(EAST, host).is_some_and(|neighbour| neighbour.is_usable())
    });
    eprintln!("resolved and published after {:?}", start.elapsed());
    let neighbour = forwarding.neighbour(EAST, host).unwrap();
    assert_eq!((neighbour.mac, neighbour.state), ([2, 0, 0, 0, 0, 2], NeighbourState::Reachable));
    assert!(forwarding.neighbour(WEST, host).is_none());

    let nobody = ip("10.0.0.99");
    let asked = || mirror.stats().neighbours_asked.load(Ordering::Relaxed);
    let before = asked();
    for _ in 0..100 {
        resolver.request(EAST, nobody);
        resolver.wake();
    }
    let failed = |now: &Forwarding| {
        now.neighbour(EAST, nobody).map(|neighbour| neighbour.state) == Some(NeighbourState::Failed)
    };
    eventually(&mirror, "failure", failed);
    assert_eq!(asked(), before + 1, "repeated requests within a second count once");
    // Asked again, it is open again.
    std::thread::sleep(Duration::from_millis(1100));
    resolver.request(EAST, nobody);
    resolver.wake();
    eventually(&mirror, "a new attempt", |now| {
        now.neighbour(EAST, nobody).map(|neighbour| neighbour.state) != Some(NeighbourState::Failed)
    });
    eventually(&mirror, "failure again", failed);
    // A port without an interface, or that does not exist: ignored.
    resolver.request(WEST, host);
    resolver.request(PortIndex(31), host);
    resolver.wake();
    settled(&firewall, &mirror);
    assert_eq!(mirror.stats().neighbours_refused.load(Ordering::Relaxed), 0);
}

#[test]
fn neighbours_in_use_are_kept_and_followed() {
    let Some((firewall, host)) = with_host("keep alive") else { return };
    // Reachable for about 0.15 s, probed 0.1 s after first use, three times 0.1 s apart; forgotten after a second.
    for (key, value) in [
        ("base_reachable_time_ms", "150"),
        ("retrans_time_ms", "100"),
        ("gc_stale_time", "1"),
        ("delay_first_probe_time", "0"),
    ] {
        firewall.sysctl(&format!("net/ipv4/neigh/east/{key}"), value);
    }
    let mirror = firewall.mirror();
    let resolver = mirror.resolver();
    let address = ip("10.0.0.2");
    resolver.request(EAST, address);
    resolver.wake();
    let mac = |now: &Forwarding| {
        now.neighbour(EAST, address).filter(|neighbour| neighbour.is_usable()).map(|n| n.mac)
    };
    let old = [2, 0, 0, 0, 0, 2];
    eventually(&mirror, "the host's MAC address", |now| mac(now) == Some(old));

    // As a worker does: every packet marks the neighbour. It never ceases to be usable.
    let use_for = |time: Duration| {
        let start = Instant::now();
        let mut reader = mirror.forwarding().reader();
        while start.elapsed() < time {
            reader.refresh();
            match reader.get().neighbour(EAST, address) {
                Some(neighbour) if neighbour.is_usable() => neighbour.mark_used(),
                other => panic!("not usable: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let asked = || mirror.stats().neighbours_asked.load(Ordering::Relaxed);
    use_for(Duration::from_secs(4));
    assert!(asked() >= 3, "kept alive {} times", asked());

    // The host's network card is replaced, silently.
    host.sysctl("net/ipv4/conf/eth/arp_notify", "0");
    host.ip("link set eth address 02:00:00:00:00:05");
    let new = [2, 0, 0, 0, 0, 5];
    let start = Instant::now();
    while mac(&mirror.forwarding().current()) != Some(new) {
        if let Some(neighbour) = mirror.forwarding().current().neighbour(EAST, address)
            && neighbour.is_usable()
        {
            neighbour.mark_used();
        } else {
            // The old card does not answer; a packet comes and asks.
            resolver.request(EAST, address);
            resolver.wake();
        }
        assert!(start.elapsed() < PATIENCE, "the new MAC address never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    eprintln!("a changed MAC address noticed after {:?}", start.elapsed());

    // Not used any more, it is left alone.
    std::thread::sleep(Duration::from_millis(2500));
    let before = asked();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(asked(), before);
}

/// With 2001:db8::1/64 and 2001:db8::2/64 besides.
fn with_host6(test: &str) -> Option<(Namespace, Namespace)> {
    let (firewall, host) = with_host(test)?;
    firewall.ip("address add 2001:db8::1/64 dev east nodad");
    host.ip("address add 2001:db8::2/64 dev eth nodad");
    // The first packets of a link wait until its own addresses are known to be unique.
    for (namespace, link) in [(&firewall, "east"), (&host, "eth")] {
        let start = Instant::now();
        while namespace.ip(&format!("-6 address show dev {link} tentative")).contains("inet6") {
            assert!(start.elapsed() < PATIENCE, "{link} stays tentative");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    Some((firewall, host))
}

#[test]
fn neighbours_of_ipv6_are_resolved_or_fail_and_kept_while_in_use() {
    let Some((firewall, _host)) = with_host6("IPv6 neighbours") else { return };
    for (key, value) in [
        ("base_reachable_time_ms", "150"),
        ("retrans_time_ms", "100"),
        ("gc_stale_time", "1"),
        ("delay_first_probe_time", "0"),
    ] {
        firewall.sysctl(&format!("net/ipv6/neigh/east/{key}"), value);
    }
    let mirror = firewall.mirror_with(|config| config.ipv6 = true);
    let resolver = mirror.resolver();
    let six = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap();
    let (host, nobody) = (six("2001:db8::2"), six("2001:db8::99"));
    for address in [host, nobody] {
        assert!(mirror.forwarding().current().neighbour(EAST, address).is_none());
        assert!(resolver.request(EAST, address));
    }
    resolver.wake();
    let usable = |now: &Forwarding| {
        now.neighbour(EAST, host).is_some_and(|n| n.is_usable() && n.mac == [2, 0, 0, 0, 0, 2])
    };
    eventually(&mirror, "the host's MAC address", usable);
    eventually(&mirror, "failure", |now| {
        now.neighbour(EAST, nobody).map(|n| n.state) == Some(NeighbourState::Failed)
    });
    // As a worker does: every packet marks the neighbour. It never ceases to be usable.
    let start = Instant::now();
    let mut reader = mirror.forwarding().reader();
    while start.elapsed() < Duration::from_secs(4) {
        reader.refresh();
        match reader.get().neighbour(EAST, host) {
            Some(neighbour) if neighbour.is_usable() => neighbour.mark_used(),
            other => panic!("not usable: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let asked = mirror.stats().neighbours_asked.load(Ordering::Relaxed);
    assert!(asked >= 5, "asked for twice and kept alive {} times", asked - 2);
    // A mirror of IPv4 alone hears of it on the same group, and does not care.
    assert_eq!(firewall.mirror().forwarding().current().neighbours_len(), 0);
}
