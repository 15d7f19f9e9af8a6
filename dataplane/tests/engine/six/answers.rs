//! The kernel as judge of what is said about IPv6 packets: ICMPv6 errors, resets, lines in the log. What leaves must be
//! the same, byte for byte.
//!
//! Environment and needs are those of [`oracle`](super::oracle), `conntrack` for one test, and `/dev/kmsg` for another.

use weir_dataplane::packet_log::{PacketLog, line};

use super::oracle::{Said, compare_counters, inject, load, unmet6, world};
use super::*;
use crate::chance::Seed;
use crate::log_oracle::{Switched, log_rule, without_link};
use crate::oracle::{Kernel, hex, number};
use crate::packet::{FIN, PSH, RST, URG};
use crate::reject_oracle::{RESETS, compare_flows, conntrack_unmet};

/// What left: devices and packets.
type Left = Vec<(u8, String)>;

fn their_answers(kernel: &mut Kernel, packets: &[(usize, Packet6)]) -> Vec<Left> {
    let left = kernel.answers(&bytes(packets)).into_iter();
    left.map(|left| left.into_iter().map(|(port, packet)| (port, hex(&packet))).collect()).collect()
}

fn bytes(packets: &[(usize, Packet6)]) -> Vec<(usize, Vec<u8>)> {
    packets.iter().map(|(ingress, packet)| (*ingress, packet.bytes())).collect()
}

fn our_answers(world: &mut World, ingress: usize, packet: &Packet6) -> Left {
    world.now_ns += 2_000_000;
    inject(world, ingress, packet);
    world.left_by_port().into_iter().map(|(port, frame)| (port.0, hex(&frame[14..]))).collect()
}

/// Has both judge the packets; how many were answered.
#[track_caller]
fn compare_answers(
    kernel: &mut Kernel,
    world: &mut World,
    lines: &[String],
    packets: &[(usize, Packet6)],
) -> usize {
    load(kernel, world, lines, true);
    let theirs = their_answers(kernel, packets);
    let mut answered = 0;
    for ((ingress, packet), theirs) in packets.iter().zip(theirs) {
        let ours = our_answers(world, *ingress, packet);
        assert_eq!(ours, theirs, "Weir left, the kernel right; {lines:?}\n{packet:?}");
        answered += ours.len();
    }
    let said = Said(packets);
    compare_counters(kernel, world, lines);
    drop(said);
    answered
}

#[test]
fn every_rejected_packet_of_ipv6_is_answered_as_the_kernel_does() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60);
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let types = [
        "icmp6-no-route",
        "icmp6-adm-prohibited",
        "icmp6-addr-unreachable",
        "icmp6-port-unreachable",
        "icmp6-policy-fail",
        "icmp6-reject-route",
    ];
    let mut answered = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let rest = format!("-A FORWARD -j REJECT --reject-with {}", chance.one_of(&types));
        let reset = "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset".to_owned();
        let lines = if chance.percent(60) { vec![reset, rest] } else { vec![rest] };
        let packets: Vec<_> = (0..100).map(|_| traffic::rejected(&mut chance)).collect();
        answered += compare_answers(&mut kernel, &mut world, &lines, &packets);
    }
    eprintln!("{answered} of {} packets were answered", cases * 100);
    assert!(answered as u64 > cases * 20, "only {answered} answers");
    world.shut_down();
}

/// Packets that a router may or may not forward, and what it says about those that it does not.
fn doubtful() -> Vec<(usize, Packet6)> {
    let good = Packet6::udp((ALICE6, 1), (BOB6, 2), b"12345678");
    let mut packets = vec![good.clone()];
    for address in [
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::1",
        "100::1",
        "2001:db8:1::1",
        "2001:db8:2::1",
        "2001:db8:1::",
        "2001:db8:70:3::4",
        "2001:db8:99::1",
        "3fff::1",
        "e000::1",
        "fc00::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ] {
        packets.push(Packet6 { source: ip6(address), ..good.clone() });
        // The machine itself would answer as what it is.
        if !address.starts_with("2001:db8:1::") && !address.ends_with("2::1") {
            packets.push(Packet6 { destination: ip6(address), ..good.clone() });
        }
    }
    packets.extend([0, 1, 2, 255].map(|hop_limit| Packet6 { hop_limit, ..good.clone() }));
    packets.extend([0, 15, 17, 0xffff].map(|len| Packet6 { len: Some(len), ..good.clone() }));
    let ping = Packet6::ping(ALICE6, BOB6, b"data");
    let nobody = ip6("2001:db8:99::1");
    packets.push(Packet6 { destination: nobody, ..ping.clone() });
    packets.push(Packet6 { destination: nobody, ..Packet6::icmp6(ALICE6, BOB6, 1, &[0; 48]) });
    packets.push(Packet6 { hop_limit: 1, ..Packet6::icmp6(ALICE6, BOB6, 129, &[0; 48]) });
    for options in [
        &[1, 4, 0, 0, 0, 0][..],
        &[5, 2, 0, 0, 1, 0],
        &[5, 3, 0, 0, 0, 0],
        &[1, 4, 0, 0, 0, 1],
        &[1, 5, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 1],
        &[0x1e, 4, 9, 9, 9, 9],
        &[0x5e, 4, 9, 9, 9, 9],
        &[0x9e, 4, 9, 9, 9, 9],
        &[0xde, 4, 9, 9, 9, 9],
        &[0, 0, 0xde, 2, 9, 9],
        &[0xc2, 4, 0, 1, 0, 0],
    ] {
        packets.push(ping.clone().behind(&[(0, options)]));
        packets.push(ping.clone().behind(&[(60, options)]));
    }
    for len in [1232, 1233, 1440, 1452, 1453] {
        packets.push(Packet6::udp((ALICE6, 1), (BOB6, 2), &vec![7; len]));
    }
    packets.into_iter().map(|packet| (0, packet)).collect()
}

#[test]
fn what_is_not_forwarded_of_ipv6_is_answered_as_the_kernel_does() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    kernel.lines(&[], true);
    let packets: Vec<_> =
        doubtful().into_iter().filter(|(_, packet)| packet.bytes().len() <= 1500).collect();
    let theirs = their_answers(&mut kernel, &packets);
    let mut differing = Vec::new();
    for ((ingress, packet), theirs) in packets.iter().zip(theirs) {
        let ours = our_answers(&mut world, *ingress, packet);
        // On purpose: nobody is at `::`, and no packet of IPv6 comes from an IPv4 address (the kernel has no route to
        // the one, and takes the other for any address). A jumbogram gets no answer.
        let on_purpose = packet.destination.is_unspecified()
            || packet.source.to_ipv4_mapped().is_some()
            || packet.extensions.get(2) == Some(&0xc2) && packet.next == 0;
        if ours != theirs && !on_purpose {
            differing.push(format!("Weir {ours:?}, kernel {theirs:?}: {packet:?}"));
        }
    }
    assert_eq!(differing, [""; 0]);
    world.shut_down();
}

#[test]
fn a_datagram_of_ipv6_in_pieces_is_answered_as_the_whole() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60) / 3;
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes { always_track: true, ..Sizes::ONE });
    let mut answered = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let lines = [
            "-A FORWARD -m state --state INVALID",
            "-A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
            "-A FORWARD -j REJECT",
        ]
        .map(str::to_owned);
        for _ in 0..30 {
            let mut pieces = traffic::pieces(&mut chance, true);
            // The kernel adds up what routers said about congestion; Weir leaves each piece as it is.
            pieces.iter_mut().for_each(|(_, piece)| piece.class_flow &= 0x0fcf_ffff);
            answered += compare_answers(&mut kernel, &mut world, &lines, &pieces);
        }
    }
    eprintln!("{answered} of {} datagrams were answered", cases * 30);
    assert!(answered as u64 > cases * 5, "only {answered} answers");
    world.shut_down();
}

#[test]
fn a_reset_of_ipv6_closes_the_connection() {
    if let Some(reason) = unmet6().or_else(conntrack_unmet) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let lines = RESETS.map(str::to_owned);
    let there =
        |port, flags, numbers| (0, traffic::segment((ALICE6, port), (BOB6, 80), flags, numbers));
    let back =
        |port, flags, numbers| (1, traffic::segment((BOB6, 80), (ALICE6, port), flags, numbers));
    let mut packets = Vec::new();
    for (port, last) in [
        // Rejected by a reset, in either direction; half-open; closed already; out of the window, so INVALID.
        (1001, there(1001, ACK | PSH, (101, 501))),
        (1002, back(1002, ACK | PSH, (501, 101))),
        (1003, there(1003, FIN | ACK | PSH, (101, 501))),
        (1004, there(1004, ACK | PSH, (9_000_101, 501))),
        // By an ICMPv6 error, which changes nothing; not answered, for it is a reset itself.
        (1005, there(1005, ACK | URG, (101, 501))),
        (1006, there(1006, RST | ACK | PSH, (101, 501))),
    ] {
        packets.push(there(port, SYN, (100, 0)));
        packets.push(back(port, SYN | ACK, (500, 101)));
        packets.push(there(port, ACK, (101, 501)));
        packets.push(last);
    }
    packets.push(there(1007, SYN | PSH, (100, 0)));
    packets.push(there(1008, SYN, (100, 0)));
    packets.push(back(1008, SYN | ACK | PSH, (500, 101)));
    compare_answers(&mut kernel, &mut world, &lines, &packets);
    compare_flows(&mut kernel, &mut world);
    world.shut_down();
}

#[test]
fn a_line_about_ipv6_says_what_the_kernels_says() {
    let switch = unmet6().map_or_else(Switched::on, Err);
    let _switch = match switch {
        Ok(switch) => switch,
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            return;
        }
    };
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60) / 10;
    let word = format!("six{}", std::process::id());
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let (log, records) = PacketLog::new();
    world.engine(0).set_log(log);
    let names = NAMES.map(str::to_owned);
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let rule = log_rule(&mut chance, &word);
        let mark = format!("-A FORWARD -j MARK --set-mark {}", chance.below(3));
        let packets: Vec<_> = (0..50).map(|_| traffic::telling(&mut chance)).collect();
        load(&mut kernel, &mut world, &[mark, rule.clone()], true);
        let theirs = kernel.logged(&word, &bytes(&packets));
        for ((ingress, packet), theirs) in packets.iter().zip(theirs) {
            world.now_ns += 1_000_000_000;
            inject(&mut world, *ingress, packet);
            world.left();
            let record = records.pop().expect("a line");
            let ours = without_link(&line(&record, &names));
            assert_eq!(ours, theirs, "Weir left, the kernel right; {rule}\n{packet:?}");
        }
    }
    world.shut_down();
}
