//! Conditions: the program and `Condition::is_met` say the same of every packet, whole or spoilt.

use std::net::IpAddr;

use weir_dataplane::early_drop::{
    ANY_PORT, Condition, ConditionNumber, EarlyDrop, Hook, Net, Pushed, Sizes,
};

use crate::chance::{Chance, Seed};
use crate::frame;
use crate::kernel::{Judge, LOOPBACK, now_ns, require_root};

const SIZES: Sizes = Sizes { sources_max: 4, prefixes_max: 4 };

fn address(chance: &mut Chance, v6: bool) -> IpAddr {
    let last = chance.one_of(&[1_u8, 2, 128]);
    match v6 {
        false => [192, 0, chance.one_of(&[2, 3]), last].into(),
        true => [0xfd00, 0, 0, chance.one_of(&[2, 3]), 0, 0, 0, u16::from(last)].into(),
    }
}

fn condition(chance: &mut Chance, v6: bool) -> Condition {
    let lens: &[u8] = if v6 { &[0, 0, 33, 64, 127, 128] } else { &[0, 0, 7, 24, 31, 32] };
    let destination = Net::new(address(chance, v6), chance.one_of(lens)).expect("a length");
    let protocols =
        [None, None, None, Some(6), Some(6), Some(17), Some(if v6 { 58 } else { 1 }), Some(47)];
    let ports = [(80, 80), (0, 79), (1024, u16::MAX), (81, 80)];
    let mut ports = || if chance.percent(70) { ANY_PORT } else { chance.one_of(&ports) };
    let (source_ports, destination_ports) = (ports(), ports());
    let (tcp_mask, tcp_flags) =
        chance.one_of(&[(0, 0), (0, 0), (0, 0), (0x17, 0x02), (0x3f, 0), (0x02, 0x02)]);
    Condition {
        hook: chance.one_of(&[Hook::Forward, Hook::Forward, Hook::Forward, Hook::Input]),
        protocol: chance.one_of(&protocols),
        destination,
        source_ports,
        destination_ports,
        tcp_mask,
        tcp_flags,
        ifindex: chance.one_of(&[0, 0, 0, 0, LOOPBACK, LOOPBACK + 1]),
    }
}

fn frame(chance: &mut Chance, source: IpAddr) -> Vec<u8> {
    let v6 = source.is_ipv6();
    let (from, to) = (chance.one_of(&[79, 80, 1024]), chance.one_of(&[79, 80, 81, 1024]));
    let (protocol, payload) = match chance.below(8) {
        0..=3 => (6, frame::tcp(from, to, chance.one_of(&[0x02, 0x12, 0x10, 0x00, 0xc2, 0x3f]))),
        4..=5 => (17, frame::udp(from, to)),
        6 => (if v6 { 58 } else { 1 }, vec![8, 0, 0, 0, 0, 0, 0, 0]),
        _ => (47, vec![0; 12]),
    };
    let mut frame = frame::ip(source, address(chance, v6), protocol, &payload);
    // Half of them are spoilt: a byte changed, cut off, padded.
    match chance.below(8) {
        0..=1 => {
            let place = 14 + chance.below((frame.len() - 14).min(60));
            // Not the source, by which the entry is found.
            let source = if v6 { 22..38 } else { 26..30 };
            if !source.contains(&place) {
                frame[place] = chance.byte();
            }
        }
        2 => frame.truncate(14 + chance.below(frame.len() - 14)),
        3 => frame.extend(chance.bytes(6)),
        4 if chance.percent(30) => frame[0] |= 1,
        _ => {}
    }
    frame
}

#[test]
fn the_program_and_the_limiter_mean_the_same_by_a_condition() {
    if !require_root() {
        return;
    }
    let seed = crate::seed();
    let (_seed, mut chance) = (Seed(seed), Chance::new(seed));
    let judges = [false, true].map(|host_firewalled| Judge::new(SIZES, host_firewalled));
    let mut met = 0;
    for round in 0..400 {
        let firewalled = chance.percent(40);
        let judge = &judges[usize::from(firewalled)];
        let v6 = chance.percent(50);
        let source: IpAddr =
            if v6 { [0xfd00, 0, 0, 9, 0, 0, 0, 9].into() } else { [198, 51, 100, 9].into() };
        let meaning = condition(&mut chance, v6);
        let mut lists = EarlyDrop::new(judge.maps(), SIZES);
        let number = ConditionNumber::all().nth(round % 16).expect("sixteen");
        lists.set_condition(number, Some(meaning), 0).expect("maps");
        let until_ns = now_ns() + 3_600_000_000_000;
        let entry =
            Pushed { source: Net::host(source), acceptance: 0, until_ns, condition: number };
        assert_eq!(lists.push(&[entry], now_ns()).expect("maps"), [Ok(())]);
        for _ in 0..25 {
            let frame = frame(&mut chance, source);
            // What is for the machine itself goes to Weir only where it is firewalled.
            let own = judge.is_own(&frame);
            let hook = match (own, firewalled) {
                (false, _) => Some(Hook::Forward),
                (true, true) => Some(Hook::Input),
                (true, false) => None,
            };
            let is_met = hook.is_some_and(|hook| meaning.is_met(hook, LOOPBACK, &frame));
            met += usize::from(is_met);
            assert_eq!(judge.drops(&frame), is_met, "round {round}: {meaning:?}\n{frame:02x?}");
        }
        lists.take_back(&[Net::host(source)], 0).expect("maps");
    }
    assert!(met > 300, "{met} of 10,000: it tested little");
}
