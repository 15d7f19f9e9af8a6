//! What an operator's entry drops and what it never does; how the program counts, throws and forgets.

use std::net::IpAddr;
use std::sync::Arc;

use weir_dataplane::early_drop::{EarlyDrop, FOR_EVER, Pushed, Sizes};
use weir_dataplane::program::{EarlyMaps, PacketCount, ProgramError};

use crate::frame::{ethernet, from, ip, udp};
use crate::kernel::{Judge, OWN_V4, OWN_V6, now_ns, require_root};
use crate::lists::{net, set_conditions};
use crate::spec::condition;

const SIZES: Sizes = Sizes { sources_max: 64, prefixes_max: 64 };

fn address(text: &str) -> IpAddr {
    text.parse().expect(text)
}

/// An ICMPv6 message of a type, with a hop limit.
fn icmpv6(source: &str, destination: IpAddr, kind: u8, hop_limit: u8) -> Vec<u8> {
    let mut frame = ip(address(source), destination, 58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    frame[14 + 7] = hop_limit;
    frame
}

#[test]
fn all_ip_packets_of_a_source_end_and_nothing_else() {
    if !require_root() {
        return;
    }
    for host_firewalled in [false, true] {
        let judge = Judge::new(SIZES, host_firewalled);
        let mut lists = EarlyDrop::new(judge.maps(), SIZES);
        let (four, six) = ("198.51.100.7", "2001:db8:bad::7");
        for source in [four, six] {
            assert!(!judge.drops(&from(address(source))), "{source} before");
            lists.block(net(source), FOR_EVER, None, now_ns()).expect("room");
        }
        let group = IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 1]);
        let own_v6: IpAddr = OWN_V6.into();
        let mut fragment = from(address(four));
        fragment[14 + 6] = 0x20;
        let cut_off = from(address(four))[..33].to_vec();
        let tagged = ethernet(0x8100, &[&[0, 5, 8, 0][..], &from(address(four))[14..]].concat());
        for (what, frame, dropped) in [
            ("forwarded", from(address(four)), true),
            ("forwarded, IPv6", from(address(six)), true),
            ("to the machine", ip(address(four), OWN_V4.into(), 17, &udp(1, 2)), true),
            ("to the machine, IPv6", ip(address(six), own_v6, 17, &udp(1, 2)), true),
            ("to a group", ip(address(four), [224, 0, 0, 5].into(), 89, &[0; 24]), true),
            ("a fragment", fragment, true),
            ("a ping of the machine", icmpv6(six, own_v6, 128, 64), true),
            ("of another source", from(address("198.51.100.8")), false),
            ("of another source, IPv6", from(address("2001:db8:bad::8")), false),
            ("to the source", ip(address("192.168.0.2"), address(four), 17, &udp(1, 2)), false),
            ("ARP", ethernet(0x0806, &[0; 28]), false),
            ("cut off", cut_off, false),
            ("in a VLAN", tagged, false),
            ("a neighbour's solicitation", icmpv6(six, group, 135, 255), false),
            ("a neighbour's advertisement", icmpv6(six, own_v6, 136, 255), false),
            ("a router's advertisement", icmpv6(six, group, 134, 255), false),
            ("one from behind a router", icmpv6(six, group, 134, 254), true),
            ("a type above", icmpv6(six, group, 138, 255), true),
            ("a type below", icmpv6(six, group, 132, 255), true),
        ] {
            assert_eq!(judge.drops(&frame), dropped, "{what}, firewalled {host_firewalled}");
        }
        let listed = lists.page(None, 10).expect("maps");
        let counted = |place: usize| listed[place].dropped.packets;
        assert_eq!((counted(0), counted(1)), (4, 6), "{listed:?}");
        lists.unblock(net(four), now_ns()).expect("it is there");
        lists.unblock(net(six), now_ns()).expect("it is there");
        assert!(!judge.drops(&from(address(four))) && !judge.drops(&from(address(six))));
    }
}

#[test]
fn the_allowlist_wins_and_entries_end_by_themselves() {
    if !require_root() {
        return;
    }
    let judge = Judge::new(SIZES, false);
    let mut lists = EarlyDrop::new(judge.maps(), SIZES);
    let now_ns = now_ns();
    for (blocked, allowed, inside, outside) in [
        ("198.51.0.0/16", "198.51.100.7", "198.51.100.7", "198.51.100.8"),
        ("203.0.113.9", "203.0.113.0/24", "203.0.113.9", "198.51.1.1"),
        ("2001:db8::/32", "2001:db8:1::/48", "2001:db8:1::5", "2001:db8:2::5"),
    ] {
        lists.block(net(blocked), FOR_EVER, None, now_ns).expect("room");
        lists.allow(net(allowed), FOR_EVER, None, now_ns).expect("room");
        assert!(!judge.drops(&from(address(inside))), "{inside}");
        assert!(judge.drops(&from(address(outside))), "{outside}");
        lists.allow(net(allowed), now_ns, None, now_ns).expect("it is there");
        assert!(judge.drops(&from(address(inside))), "{inside} is allowed no longer");
    }
    let short = "192.0.2.77";
    lists.block(net(short), now_ns - 1, None, now_ns).expect("room");
    assert!(!judge.drops(&from(address(short))), "it is over, though nobody has taken it out");
    // One that is over soon is over at some time, by the program's own clock.
    lists
        .block(net(short), crate::kernel::now_ns() + 50_000_000, None, now_ns)
        .expect("it is there");
    while judge.drops(&from(address(short))) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn the_program_throws_with_the_probability_it_is_given() {
    if !require_root() {
        return;
    }
    let judge = Judge::new(SIZES, false);
    let mut lists = EarlyDrop::new(judge.maps(), SIZES);
    set_conditions(&mut lists);
    // The floor of the module of 2002: of 256 bytes it accepts those up to 255 * 1 / 100.
    const RUNS: u32 = 100_000;
    for of_256 in [3_u32, 128, 253] {
        let source = net("198.51.100.7");
        let (until_ns, condition) = (now_ns() + 3_600_000_000_000, condition(source));
        let pushed = Pushed { source, acceptance: of_256 << 24, until_ns, condition };
        assert_eq!(lists.push(&[pushed], now_ns()).expect("maps"), [Ok(())]);
        lists.feedback(now_ns()).expect("maps");
        let frame = from(source.address());
        judge.program.time(&frame, RUNS).expect("runs");
        let counted = lists.feedback(now_ns()).expect("maps").counted;
        assert_eq!(counted.len(), 1);
        let PacketCount { packets, bytes } = counted[0].dropped;
        assert_eq!(bytes, packets * frame.len() as u64);
        let (passed, runs) = (f64::from(RUNS) - packets as f64, f64::from(RUNS));
        let share = f64::from(of_256) / 256.0;
        // Six standard deviations: it fails for no reason once in half a billion times.
        let bound = 6.0 * (runs * share * (1.0 - share)).sqrt();
        assert!(
            (passed - runs * share).abs() <= bound,
            "{passed} of {runs} passed, {share} of them are to"
        );
    }
}

#[test]
fn programs_of_two_devices_share_the_lists_and_nothing_else() {
    if !require_root() {
        return;
    }
    let maps = Arc::new(EarlyMaps::new(SIZES).expect("maps"));
    let judges = [Judge::sharing(&maps, false), Judge::sharing(&maps, true)];
    let mut lists = EarlyDrop::new(Arc::clone(&maps), SIZES);
    lists.block(net("198.51.100.0/24"), FOR_EVER, None, now_ns()).expect("room");
    let frame = from(address("198.51.100.7"));
    for judge in &judges {
        assert!(judge.drops(&frame));
        assert_eq!(judge.program.counters().expect("counters").early_dropped.packets, 1);
    }
    assert_eq!(lists.dropped().expect("maps").packets, 2);
    // The maps go on with the program when nobody holds them any more.
    drop((lists, maps));
    assert!(judges.iter().all(|judge| judge.drops(&frame)));
}

#[test]
fn ten_thousand_entries_are_added_looked_up_and_taken_out() {
    if !require_root() {
        return;
    }
    let sizes = Sizes { sources_max: 10_000, prefixes_max: 1_000 };
    let judge = Judge::new(sizes, false);
    let mut lists = EarlyDrop::new(judge.maps(), sizes);
    set_conditions(&mut lists);
    let source = |number: u32| IpAddr::from((0x0b00_0000 + number).to_be_bytes());
    let until_ns = now_ns() + 3_600_000_000_000;
    let condition = condition(net("10.0.0.1"));
    let pushed = |number| Pushed {
        source: weir_dataplane::early_drop::Net::host(source(number)),
        acceptance: 0,
        until_ns,
        condition,
    };
    let batch: Vec<Pushed> = (0..10_000).map(pushed).collect();
    assert!(lists.push(&batch, now_ns()).expect("maps").iter().all(Result::is_ok));
    for number in [0, 1, 4_999, 9_999] {
        assert!(judge.drops(&from(source(number))), "{number}");
    }
    assert!(!judge.drops(&from(source(10_000))));
    assert_eq!(lists.feedback(now_ns()).expect("maps").counted.len(), 4);
    let all: Vec<_> = batch.iter().map(|pushed| pushed.source).collect();
    lists.take_back(&all, now_ns()).expect("maps");
    assert!(!judge.drops(&from(source(1))));
    // As many again at once: the maps are empty, and slots enough.
    assert!(lists.push(&batch, now_ns()).expect("maps").iter().all(Result::is_ok));
    assert!(judge.drops(&from(source(9_999))));
}

#[test]
fn a_size_that_the_kernel_has_no_memory_for_is_an_error() {
    if !require_root() {
        return;
    }
    let sizes = Sizes { sources_max: u32::MAX, prefixes_max: 1 };
    let error = EarlyMaps::new(sizes).expect_err("four thousand million entries");
    assert!(matches!(error, ProgramError::EarlyMaps { .. }), "{error}");
    assert!(error.to_string().contains("[early_drop] sources_max = 4294967295"), "{error}");
}
