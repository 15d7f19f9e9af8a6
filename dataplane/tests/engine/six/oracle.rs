//! The kernel as judge of IPv6: the same rules and packets through ip6tables in a network namespace and through the
//! engine. Way and fate of every packet, what connection tracking says, and the counters of every rule must be the
//! same. What is answered and written is in `answers`.
//!
//! As [`oracle`](crate::oracle), with TUN devices; packets are told apart by their flow labels.
//!
//! Environment and needs are those of `oracle`, and ip6tables-legacy.

use std::process::Command;

use weir_control::rule::Family;
use weir_dataplane::route::{Forwarding, PortLink};

use super::traffic::{self, rule};
use super::*;
use crate::chance::Seed;
use crate::oracle::{Kernel, number, unmet};

pub(crate) fn unmet6() -> Option<String> {
    let tables = ["-n", "ip6tables-legacy-save", "-t", "filter"];
    let works = || {
        let done = Command::new("unshare").args(tables).output();
        done.is_ok_and(|output| output.status.success())
    };
    unmet().or_else(|| (!works()).then(|| "`ip6tables-legacy-save` does not work here".to_owned()))
}

/// The network as the driver has it.
pub(super) fn network() -> Forwarding {
    let link = |port| PortLink { addresses: Vec::new(), ..link(port, 1500) };
    let net = |third| Ipv6Addr::new(0x2001, 0xdb8, third, 0, 0, 0, 0, 0);
    let via = Target::Forward { port: WAN, gateway: Some(GATEWAY6), mtu: None, source: None };
    let mut builder = Forwarding::builder();
    for port in PORTS {
        builder = builder.port(link(port));
    }
    for port in PORTS {
        let third = u16::from(port.0) + 1;
        builder = builder.address6(port, address6(port), 64);
        builder = builder.route6(net(third), 128, Target::Anycast { port: Some(port) });
    }
    builder
        .neighbour(EAST, ALICE6, reachable6(ALICE6))
        .neighbour(WEST, BOB6, reachable6(BOB6))
        .neighbour(WAN, traffic::CAROL6, reachable6(traffic::CAROL6))
        .neighbour(WAN, GATEWAY6, reachable6(GATEWAY6))
        .route6(net(0x70), 48, via)
        .build()
}

pub(super) fn world(sizes: Sizes) -> World {
    World::over(Sizes { flows6: 8192, ..sizes }, network())
}

pub(super) fn theirs(kernel: &mut Kernel, packets: &[(usize, Packet6)]) -> Vec<Option<PortIndex>> {
    let bare: Vec<_> = packets.iter().map(|(ingress, packet)| (*ingress, packet.bytes())).collect();
    kernel.forward(&bare)
}

pub(super) fn inject(world: &mut World, ingress: usize, packet: &Packet6) {
    let port = PORTS[ingress];
    world.inject(0, port, packet.frame(mac(port), mac6(packet.source)));
    world.settle();
}

/// The port by which each packet left the engine.
pub(super) fn ours(world: &mut World, packets: &[(usize, Packet6)]) -> Vec<Option<PortIndex>> {
    let mut ways = vec![None; packets.len() + 1];
    for (ingress, packet) in packets {
        inject(world, *ingress, packet);
    }
    for (port, frame) in world.left_by_port() {
        // Weir's own have none.
        let label = u32::from_be_bytes([0, frame[15] & 15, frame[16], frame[17]]);
        if label > 0 {
            let way = &mut ways[usize::try_from(label).expect("small")];
            assert_eq!(way.replace(port), None, "packet {label} left twice");
        }
    }
    ways.split_off(1)
}

/// Puts lines in place of all others on both sides, counters at zero.
pub(super) fn load(kernel: &mut Kernel, world: &mut World, lines: &[String], accept: bool) {
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    kernel.lines(&lines, accept);
    let policy = format!("-P FORWARD {}", if accept { "ACCEPT" } else { "DROP" });
    world.rules6(&[&["-F", "-Z", &policy], &lines[..]].concat());
}

#[track_caller]
pub(super) fn compare_counters(kernel: &mut Kernel, world: &World, lines: &[String]) {
    let ours: Vec<_> = (0..=lines.len()).map(|n| world.count6(n)).collect();
    let theirs = kernel.counters();
    let differing: Vec<_> = (0..ours.len())
        .filter(|n| ours[*n] != theirs[*n])
        .map(|n| {
            let line = n.checked_sub(1).map_or("policy", |n| &lines[n]);
            format!("Weir {:?}, kernel {:?}: {line}", ours[n], theirs[n])
        })
        .collect();
    assert_eq!(differing, [""; 0]);
}

/// The number of a packet, in its flow label.
pub(super) fn labelled(packets: &mut [(usize, Packet6)]) {
    for (number, (_, packet)) in (1..).zip(packets) {
        packet.class_flow = packet.class_flow & 0x0ff0_0000 | number;
    }
}

#[test]
fn rules_of_ipv6_mean_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 120);
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let mut matched = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let lines: Vec<String> = (0..chance.below(20)).map(|_| rule(&mut chance)).collect();
        let mut packets: Vec<_> = (0..100).map(|_| traffic::packet(&mut chance)).collect();
        labelled(&mut packets);
        load(&mut kernel, &mut world, &lines, chance.percent(50));
        let ways = ours(&mut world, &packets).into_iter().zip(theirs(&mut kernel, &packets));
        for ((ours, theirs), packet) in ways.zip(&packets) {
            assert_eq!(ours, theirs, "Weir, kernel; {packet:?}\n{lines:#?}");
        }
        compare_counters(&mut kernel, &world, &lines);
        matched += (1..=lines.len()).map(|n| world.count6(n).0).sum::<u64>();
    }
    let hotdropped = world.counters().dropped(DropReason::RuleHotdrop);
    eprintln!("{matched} times a rule matched, {hotdropped} packets hotdropped");
    if cases >= 120 {
        assert!(matched > 5_000 && hotdropped > 20);
    }
    world.shut_down();
}

/// Rules about connections: every state, and what else a rule may ask of a flow.
fn state_lines() -> Vec<String> {
    let mut lines = Vec::new();
    for state in ["INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED"] {
        lines.push(format!("-A FORWARD -m conntrack --ctstate {state}"));
        lines.push(format!("-A FORWARD -p ipv6-icmp -m state --state {state}"));
        lines.push(format!("-A FORWARD -p tcp -m state --state {state}"));
    }
    for asked in [
        "--ctorigsrc 2001:db8:70::/48",
        "! --ctorigdst 2001:db8:2::2",
        "--ctreplsrc 2001:db8:2::/64",
        "--ctdir REPLY",
        "--ctproto 58",
        "--ctstatus ASSURED",
        "--ctstatus SEEN_REPLY",
        "--ctorigdstport 80:81",
    ] {
        let protocol = if asked.contains("port") { " -p tcp" } else { "" };
        lines.push(format!("-A FORWARD{protocol} -m conntrack {asked}"));
    }
    lines.push("-A FORWARD -m connmark --mark 1/3".to_owned());
    lines.push(
        "-A FORWARD -p tcp -m tcp --tcp-flags PSH PSH -j CONNMARK --set-xmark 1/3".to_owned(),
    );
    lines.push("-A FORWARD -m connmark --mark 1/3".to_owned());
    lines.push("-A FORWARD -p udp -m udp --dport 82 -j DROP".to_owned());
    lines
}

#[test]
fn connections_of_ipv6_are_what_they_are_to_the_kernel() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60);
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let lines = state_lines();
    let mut seen = [0; 5];
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let mut packets: Vec<_> = (0..100).map(|_| traffic::of_flow(&mut chance, case)).collect();
        labelled(&mut packets);
        load(&mut kernel, &mut world, &lines, true);
        // One by one, for the first that is judged otherwise.
        for packet in &packets {
            let one = std::slice::from_ref(packet);
            let (theirs, ours) = (theirs(&mut kernel, one), ours_one(&mut world, packet));
            assert_eq!(ours, theirs[0], "Weir, kernel; {packet:?}");
            if chance.percent(if cases < 10 { 100 } else { 10 }) {
                let _said = Said(one);
                compare_counters(&mut kernel, &world, &lines);
            }
        }
        compare_counters(&mut kernel, &world, &lines);
        for (place, seen) in seen.iter_mut().enumerate() {
            *seen += world.count6(1 + 3 * place).0;
        }
    }
    eprintln!("INVALID, NEW, ESTABLISHED, RELATED, UNTRACKED: {seen:?}");
    if cases >= 60 {
        assert!(seen.iter().all(|packets| *packets > 30), "{seen:?}");
    }
    world.shut_down();
}

fn ours_one(world: &mut World, (ingress, packet): &(usize, Packet6)) -> Option<PortIndex> {
    inject(world, *ingress, packet);
    let left = world.left_by_port().into_iter();
    left.filter(|(_, frame)| frame[14 + 1] & 15 != 0 || frame[16..18] != [0, 0])
        .map(|(port, _)| port)
        .next()
}

/// Says which packets it was, if a check fails.
pub(super) struct Said<'a>(pub(super) &'a [(usize, Packet6)]);

impl core::ops::Drop for Said<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.0.len() < 10 {
            eprintln!("it was: {:?}", self.0);
        }
    }
}

/// Where connections are tracked, the rules see whole datagrams.
#[test]
fn rules_about_datagrams_of_ipv6_in_fragments_mean_what_they_mean_to_the_kernel() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let tracking = "-A FORWARD -m conntrack --ctstate INVALID,NEW,ESTABLISHED,RELATED";
    let mut matched = 0;
    for case in seed..seed + number("WEIR_ORACLE_CASES", 120) / 2 {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let mut lines: Vec<String> = (0..12).map(|_| rule(&mut chance)).collect();
        lines.iter_mut().for_each(|line| *line = line.replace("--algo bm", "--algo kmp"));
        lines.insert(0, tracking.to_owned());
        load(&mut kernel, &mut world, &lines, true);
        for _ in 0..40 {
            let pieces = traffic::pieces(&mut chance, false);
            let bare: Vec<_> =
                pieces.iter().map(|(ingress, piece)| (*ingress, piece.bytes())).collect();
            kernel.judge(&bare);
            pieces.iter().for_each(|(ingress, piece)| inject(&mut world, *ingress, piece));
            if number("WEIR_ORACLE_EACH", 0) == 1 {
                eprintln!("{pieces:?}");
                compare_counters(&mut kernel, &world, &lines);
            }
        }
        world.left();
        compare_counters(&mut kernel, &world, &lines);
        matched += world.count6(1).0;
    }
    eprintln!("{matched} datagrams were put together");
    world.shut_down();
}

/// Both tables; table raw without what the kernel refuses there.
#[test]
fn table_raw_of_ipv6_means_what_it_means_to_the_kernel() {
    if let Some(reason) = unmet6() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 120) / 2;
    let mut kernel = Kernel::new("tun 6").expect("unshare runs");
    let mut world = world(Sizes::ONE);
    let mut untracked = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let target = |chance: &mut Chance| {
            chance.one_of(&[
                "",
                " -j DROP",
                " -j NOTRACK",
                " -j CT --notrack",
                " -j MARK --set-mark 1",
            ])
        };
        let mut raw: Vec<String> = Vec::new();
        for _ in 0..chance.below(12) {
            let rule = rule(&mut chance);
            let conditions = rule.split(" -j ").next().unwrap_or_default();
            if !conditions.contains(" -o ") && !conditions.contains("--limit-iface-out") {
                let conditions = conditions.replace("-A FORWARD", "-A PREROUTING");
                raw.push(format!("{conditions}{}", target(&mut chance)));
            }
        }
        let filter = [
            "-A FORWARD -m state --state UNTRACKED".to_owned(),
            "-A FORWARD -m state --state NEW,INVALID,ESTABLISHED".to_owned(),
            "-A FORWARD -m mark --mark 1".to_owned(),
        ];
        kernel.restore(&format!("*raw\n:PREROUTING ACCEPT [0:0]\n{}\nCOMMIT\n", raw.join("\n")));
        let lines: Vec<&str> =
            ["-F", "-Z"].into_iter().chain(raw.iter().map(String::as_str)).collect();
        world.raw6(&lines);
        load(&mut kernel, &mut world, &filter, true);
        let mut packets: Vec<_> = (0..100).map(|_| traffic::packet(&mut chance)).collect();
        labelled(&mut packets);
        let ways = ours(&mut world, &packets).into_iter().zip(theirs(&mut kernel, &packets));
        for ((ours, theirs), packet) in ways.zip(&packets) {
            assert_eq!(ours, theirs, "Weir, kernel; {packet:?}\n{raw:#?}");
        }
        assert_eq!(world.raw_counts(Family::V6), kernel.counted("raw"), "Weir, kernel; {raw:#?}");
        compare_counters(&mut kernel, &world, &filter);
        untracked += world.count6(1).0;
    }
    assert!(untracked > 5 * cases, "{untracked}");
    world.shut_down();
}
