//! The tracker as a whole under random traffic: limits, counts and lives, whatever comes.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::wire::checksum;

/// One packet, or a step of time.
#[derive(Debug, Clone)]
enum Event {
    /// From host `from` to `to`, of this protocol and with these bytes in front of the rest of its header.
    Packet { from: u8, to: u8, protocol: u8, header: Vec<u8>, confirm: bool },
    /// So many milliseconds.
    Wait(u64),
    /// A look at this many flows whose time may have come.
    Expire(u32),
    /// The flow in this place is deleted.
    Delete(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let protocol = prop::sample::select(vec![1_u8, 6, 6, 6, 17, 47, 50, 132]);
    let port = prop::sample::select(vec![0_u8, 1, 80]);
    let flags = prop::sample::select(vec![0x02_u8, 0x12, 0x10, 0x10, 0x11, 0x04, 0x14, 0x00, 0x29]);
    let number = prop::sample::select(vec![0_u8, 1, 2, 3, 0x7f, 0xff]);
    let tcp = (
        port.clone(),
        port,
        flags,
        number.clone(),
        number,
        prop::collection::vec(any::<u8>(), 0..44),
    );
    let segment = tcp.prop_map(|(from, to, flags, seq, ack, mut rest)| {
        let options = rest.len() / 4 * 4;
        rest.truncate(options);
        let mut bytes = vec![0, from, 0, to, seq, 0, 0, seq, ack, 0, 0, ack];
        bytes.extend([
            0x50 + u8::try_from(options / 4).unwrap_or(0) * 16,
            flags,
            0x20,
            0,
            0,
            0,
            0,
            0,
        ]);
        bytes.extend(rest);
        bytes
    });
    let header = prop_oneof![4 => segment, 1 => prop::collection::vec(any::<u8>(), 0..48)];
    prop_oneof![
        20 => (0..3_u8, 0..3_u8, protocol, header, any::<bool>()).prop_map(
            |(from, to, protocol, header, confirm)| Event::Packet { from, to, protocol, header, confirm }
        ),
        2 => (0_u64..400_000).prop_map(Event::Wait),
        2 => (0_u32..40).prop_map(Event::Expire),
        1 => (0_u32..40).prop_map(Event::Delete),
    ]
}

fn host(number: u8) -> std::net::IpAddr {
    [10, 0, 0, number].into()
}

/// What must hold after every event.
fn check(conntrack: &Conntrack, flows_max: usize) {
    let (mut tuples, mut seen) = (HashSet::new(), 0);
    conntrack.scan(0, u32::MAX, &mut |id, view| {
        seen += 1;
        assert!(tuples.insert(view.original), "{view:?} twice");
        assert!(view.original == view.reply || tuples.insert(view.reply), "{view:?} both ways");
        assert_eq!(conntrack.flow(id), Some(view));
        let (found, direction) = conntrack.find(&view.original).expect("it is found");
        // Who speaks to itself is found as its own answer.
        assert!(found == id && (direction == Direction::Original || view.original == view.reply));
        assert_eq!(conntrack.find(&view.reply), Some((id, Direction::Reply)));
        assert!(view.expires_ms > 0 && view.expires_ms <= 432_000_000, "{view:?}");
    });
    // Flows whose time is over may still stand in the table; nobody finds them.
    assert!(seen <= conntrack.len() && conntrack.len() <= flows_max);
    assert!(conntrack.half_open() <= conntrack.len() as u64);
    let stats = conntrack.stats();
    let gone = stats.early_drop + stats.expired + stats.delete;
    assert!(stats.insert >= gone + conntrack.len() as u64, "{stats:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// Limits hold, nothing is found twice or lost, and nothing panics.
    #[test]
    fn whatever_comes_the_table_is_sound(
        events in prop::collection::vec(event(), 1..200), flows_max in 0_u32..12, half_open_max in 0_u32..8,
        checksum: bool, tcp_loose: bool, tcp_be_liberal: bool,
        start in prop::sample::select(vec![0_u64, 1 << 31, (1 << 29) * 4 - 40]),
    ) {
        let settings = Settings { checksum, tcp_loose, tcp_be_liberal, ..Settings::default() };
        let config = ConntrackConfig { flows_max, half_open_max, settings, ..ConntrackConfig::default() };
        let mut conntrack = Conntrack::new(&config);
        let mut now_ms = start;
        conntrack.set_time(now_ms * 1_000_000);
        for event in events {
            match event {
                Event::Packet { from, to, protocol, header, confirm } => {
                    let packet = Packet::new(host(from), host(to), protocol, &header);
                    let tracked = conntrack.track(&packet);
                    let view = conntrack.view(&tracked);
                    let has_flow = !matches!(tracked.state, CtState::Invalid | CtState::Untracked);
                    prop_assert_eq!(view.is_some(), has_flow);
                    if confirm {
                        let _ = conntrack.confirm(&tracked);
                    }
                }
                Event::Wait(ms) => {
                    now_ms += ms;
                    conntrack.set_time(now_ms * 1_000_000);
                }
                Event::Expire(budget) => {
                    prop_assert!(conntrack.expire(budget) <= budget);
                }
                Event::Delete(place) => {
                    let _ = conntrack.remove(FlowId { place, generation: 0 });
                }
            }
            check(&conntrack, flows_max as usize);
        }
        // In the end everything ends.
        for _ in 0..20_000 {
            now_ms += 30_000;
            conntrack.set_time(now_ms * 1_000_000);
            conntrack.expire(64);
            if conntrack.is_empty() {
                break;
            }
        }
        prop_assert!(conntrack.is_empty() && conntrack.half_open() == 0);
    }

    /// Any bytes as an IPv4 packet: read or refused, tracked without a panic.
    #[test]
    fn any_bytes_are_tracked_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..120), valid: bool) {
        if valid && bytes.len() >= 20 {
            bytes[0] = 0x45;
            let len = u16::try_from(bytes.len()).unwrap_or(0);
            bytes[2..4].copy_from_slice(&len.to_be_bytes());
            bytes[6..8].fill(0);
            bytes[9] = [1, 6, 17, 47][usize::from(bytes[9] & 3)];
            bytes[10..12].fill(0);
            let sum = checksum::checksum(&bytes[..20]);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        let settings = Settings { checksum: false, ..Settings::default() };
        let mut conntrack = Conntrack::new(&ConntrackConfig { flows_max: 8, settings, ..ConntrackConfig::default() });
        conntrack.set_time(1);
        for _ in 0..3 {
            if let Ok(packet) = Packet::ipv4(&bytes) {
                let tracked = conntrack.track(&packet);
                let _ = conntrack.confirm(&tracked);
            }
        }
        check(&conntrack, 8);
    }
}

/// `PROPTEST_CASES` asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

#[test]
fn ipv6_flows_are_kept_apart_by_their_addresses() {
    let config = ConntrackConfig { flows_max: 4, flows6_max: 64, ..ConntrackConfig::default() };
    let config =
        ConntrackConfig { settings: Settings { checksum: false, ..Settings::default() }, ..config };
    let mut conntrack = Conntrack::new(&config);
    conntrack.set_time(1);
    let address = |n: u128| std::net::IpAddr::V6((0x2001_0db8 << 96 | n).into());
    let udp = [0_u8, 7, 0, 9, 0, 8, 0, 0];
    let back = [0_u8, 9, 0, 7, 0, 8, 0, 0];
    for n in 0..60 {
        let packet = Packet::new(address(n), address(1000), 17, &udp);
        let tracked = conntrack.track(&packet);
        assert_eq!(tracked.state, CtState::New);
        conntrack.confirm(&tracked).expect("room");
    }
    assert_eq!(conntrack.len(), 60);
    for n in 0..60 {
        let packet = Packet::new(address(1000), address(n), 17, &back);
        let tracked = conntrack.track(&packet);
        assert_eq!((tracked.state, tracked.direction), (CtState::Established, Direction::Reply));
        let view = conntrack.view(&tracked).expect("known");
        assert_eq!((view.original.source, view.original.destination), (address(n), address(1000)));
    }
    let echo = [128_u8, 0, 0, 0, 0, 5, 0, 1];
    let answer = [129_u8, 0, 0, 0, 0, 5, 0, 1];
    let query = Packet::new(address(1), address(2), 58, &echo);
    let tracked = conntrack.track(&query);
    conntrack.confirm(&tracked).expect("room");
    let reply = Packet::new(address(2), address(1), 58, &answer);
    assert_eq!(conntrack.track(&reply).state, CtState::Established);
    let other = Packet::new(address(3), address(1), 58, &answer);
    assert_eq!(conntrack.track(&other).state, CtState::Invalid);
    // An error that quotes one of them.
    let mut error = vec![1_u8, 4, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 8, 17, 64];
    for n in [address(5), address(1000)] {
        if let std::net::IpAddr::V6(n) = n {
            error.extend(n.octets());
        }
    }
    error.extend(udp);
    let related = Packet::new(address(77), address(5), 58, &error);
    assert_eq!(conntrack.track(&related).state, CtState::Related);
    let astray = Packet::new(address(77), address(6), 58, &error);
    assert_eq!(conntrack.track(&astray).state, CtState::Invalid);
    let solicitation = [135_u8, 0, 0, 0, 0, 0, 0, 0];
    let discovery = Packet::new(address(1), address(2), 58, &solicitation);
    assert_eq!(conntrack.track(&discovery), Tracked::UNTRACKED);
}
