//! Table raw, directed: what the kernel cannot be asked, and what each case is about.

use weir_control::rule::Family;
use weir_dataplane::packet_log::{PacketLog, line};
use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{Drop, In, Out, ToHost};
use crate::packet::{ACK, Packet, SYN};
use crate::six;
use crate::world::*;

fn udp(port: u16) -> Packet {
    Packet::udp((ALICE, port), (BOB, 53), b"?")
}

/// Flows that worker 0 knows.
fn flows(world: &mut World) -> usize {
    let mut count = 0;
    world.engine(0).conntrack().scan(0, u32::MAX, &mut |_, _| count += 1);
    count
}

#[test]
fn what_it_drops_has_a_reason_of_its_own_and_comes_to_nothing_else() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::ONE });
    world.rules(&["-A FORWARD"]);
    world.raw(&[
        "-A PREROUTING -p udp --sport 1 -j DROP",
        "-A PREROUTING -p udp --sport 2 -j ACCEPT",
        "-P PREROUTING DROP",
    ]);
    for port in 1..=3 {
        world.inject_packet(0, EAST, &udp(port));
    }
    // Cut off where the port should be.
    world.inject_packet(0, EAST, &Packet { payload: vec![0; 7], ..Packet::new(ALICE, BOB, 17) });
    world.expect(&[In(0, 4, 3 * 43 + 41), Drop(DropReason::Raw, 3), Out(1, 1, 43)]);
    assert_eq!(world.raw_counts(Family::V4), [(1, 29), (1, 29), (1, 29)]);
    assert_eq!((world.count(1), flows(&mut world)), ((1, 29), 1));
    world.shut_down();
}

#[test]
fn without_rules_it_only_counts_and_before_its_first_change_not_even_that() {
    let mut world = World::new(Sizes::ONE);
    world.inject_packet(0, EAST, &udp(1));
    world.settle();
    assert_eq!(world.raw_counts(Family::V4), [(0, 0)]);
    world.raw(&["-F"]);
    for port in 1..=3 {
        world.inject_packet(0, EAST, &udp(port));
    }
    world.settle();
    assert_eq!(world.raw_counts(Family::V4), [(3, 87)]);
    assert_eq!(world.left().len(), 4);
    world.shut_down();
}

#[test]
fn a_mark_lives_as_long_as_its_packet() {
    let mut world = World::new(Sizes::ONE);
    world.raw(&["-A PREROUTING -p udp --sport 1 -j MARK --set-mark 5"]);
    world.rules(&["-A FORWARD -m mark --mark 5 -j DROP", "-A FORWARD -m mark --mark 0"]);
    for port in [1, 2, 1] {
        world.inject_packet(0, EAST, &udp(port));
    }
    world.expect(&[In(0, 3, 129), Drop(DropReason::Rule, 2), Out(1, 1, 43)]);
    // The next batch has other packets in the places of these.
    for port in [2, 3, 4] {
        world.inject_packet(0, EAST, &udp(port));
    }
    world.expect(&[In(0, 3, 129), Out(1, 3, 129)]);
    assert_eq!((world.count(1).0, world.count(2).0), (2, 4));
    world.shut_down();
}

#[test]
fn packets_that_wait_for_an_earlier_one_are_asked_about_once() {
    let mut world = World::new(Sizes::ONE);
    world.raw(&["-A PREROUTING -p udp --sport 9 -j NOTRACK", "-A PREROUTING -p udp"]);
    world.rules(&["-A FORWARD -m state --state NEW", "-A FORWARD -m connmark --mark 0 -j ACCEPT"]);
    // Those of a flow that the first begins wait for it, and all for each other where marks are asked for.
    for port in [1, 1, 9, 1] {
        world.inject_packet(0, EAST, &udp(port));
    }
    world.expect(&[In(0, 4, 172), Out(1, 4, 172)]);
    assert_eq!(world.raw_counts(Family::V4), [(4, 116), (1, 29), (4, 116)]);
    assert_eq!((world.count(1).0, world.count(2).0, flows(&mut world)), (3, 3, 1));
    world.shut_down();
}

#[test]
fn a_packet_that_is_handed_over_is_asked_about_where_its_flow_lives() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::TWO });
    world.raw(&["-A PREROUTING -p udp --sport 0:49 -j DROP", "-A PREROUTING -j MARK --set-mark 1"]);
    world.rules(&["-A FORWARD -m mark --mark 1"]);
    for port in 0..100 {
        world.inject_packet(usize::from(port % 2), EAST, &udp(port));
    }
    world.settle();
    assert_eq!((world.left().len(), world.count(1)), (50, (50, 1450)));
    assert_eq!(world.raw_counts(Family::V4), [(50, 1450), (50, 1450), (50, 1450)]);
    assert_eq!(world.counters().dropped(DropReason::Raw), 50);
    assert!(world.counters().get(Counter::HandedIn) > 20);
    world.shut_down();
}

#[test]
fn what_the_machine_sends_has_a_chain_of_its_own() {
    let mut world = World::over(Sizes::ONE, hosted_network().build());
    world.raw(&[
        "-N u",
        "-A PREROUTING -i east -j u",
        "-A OUTPUT -o west -p tcp --syn -j CT --notrack",
        "-A OUTPUT -p udp -j DROP",
        "-A OUTPUT -j u",
        "-A u -o west",
        "-A u -i east ! -o west -j MARK --set-mark 7",
    ]);
    world.rules(&[
        "-A INPUT -m mark --mark 7",
        "-A OUTPUT -m state --state UNTRACKED",
        "-A OUTPUT -m state --state INVALID",
    ]);
    let to_us = Packet::tcp((ALICE, 1), (address(EAST), 80), SYN, b"");
    world.inject_packet(0, EAST, &to_us);
    world.expect(&[In(0, 1, 54), ToHost(HOST.0, 1, 54)]);
    let ours = |to, packet: fn(_, _) -> Packet| packet((address(WEST), 80), (to, 1));
    let syn = |from, to| Packet::tcp(from, to, SYN, b"");
    for (packet, moved) in [
        (ours(BOB, syn), Out(WEST.0, 1, 54)),
        (ours(ALICE, |from, to| Packet::tcp(from, to, ACK | SYN, b"")), Out(EAST.0, 1, 54)),
        (ours(BOB, |from, to| Packet::udp(from, to, b"")), Drop(DropReason::Raw, 1)),
    ] {
        let bytes = 14 + usize::try_from(packet.len()).expect("small");
        world.inject(0, HOST, packet.frame([0; 6], [0; 6]));
        world.expect(&[In(HOST.0, 1, bytes), moved]);
    }
    // Nothing leads there: as in the kernel, it does not come to the rules.
    let to_itself = ours(address(EAST), syn);
    world.inject(0, HOST, to_itself.frame([0; 6], [0; 6]));
    world.expect(&[In(HOST.0, 1, 54), Drop(DropReason::LocalAddress, 1)]);
    // By chain: PREROUTING, OUTPUT, u.
    let raw: Vec<u64> = world.raw_counts(Family::V4).iter().map(|count| count.0).collect();
    assert_eq!(raw, [1, 1, 1, 1, 2, 1, 1]);
    assert_eq!([1, 2, 3].map(|rule| world.counts()[rule - 1].0), [1, 1, 1]);
    world.shut_down();
}

/// Fragments of what is for the machine itself are put together behind these rules where nothing is tracked; the whole
/// has the mark of the first.
#[test]
fn fragments_for_the_machine_are_marked_one_by_one() {
    let mut world = World::over(Sizes::TWO, hosted_network().build());
    world.raw(&[
        "-A PREROUTING -f -j MARK --set-mark 2",
        "-A PREROUTING ! -f -j MARK --set-mark 1",
        "-A PREROUTING -m length --length 36",
    ]);
    world.rules(&["-A INPUT -m mark --mark 1", "-A INPUT -m mark --mark 2"]);
    let whole = Packet::udp((ALICE, 1), (address(EAST), 53), &[0; 24]);
    for at in [1, 0] {
        let payload = whole.payload[at * 16..(at + 1) * 16].to_vec();
        let offset = u16::try_from(2 * at).expect("small");
        let piece = Packet { payload, offset, more_fragments: at == 0, ..whole.clone() };
        world.inject_packet(0, EAST, &piece);
    }
    world.settle();
    assert_eq!(world.raw_counts(Family::V4), [(2, 72), (1, 36), (1, 36), (2, 72)]);
    assert_eq!((world.counts()[0].0, world.counts()[1].0), (1, 0));
    assert_eq!(world.left().iter().filter(|sent| sent.port == HOST).count(), 2);
    world.shut_down();
}

#[test]
fn its_lines_name_no_interface_to_leave_by() {
    let mut world = World::new(Sizes::ONE);
    let (log, records) = PacketLog::new();
    world.engine(0).set_log(log);
    world.raw(&["-A PREROUTING -j MARK --set-mark 9", "-A PREROUTING -j LOG --log-prefix raw:"]);
    world.inject_packet(0, EAST, &Packet { ttl: 64, ..udp(1) });
    world.settle();
    let text = line(&records.pop().expect("a line"), &NAMES.map(str::to_owned));
    assert!(
        text.starts_with("raw:IN=east OUT= MAC=02:00:00:00:00:00:06:00:0a:00:01:02:08:00 "),
        "{text}"
    );
    // The hop is not counted yet.
    assert!(text.contains(" TTL=64 ") && text.trim_end().ends_with(" MARK=0x9"), "{text}");
    world.shut_down();
}

#[test]
fn ipv6_has_one_too() {
    let mut world = World::over(Sizes { flows6: 64, ..Sizes::ONE }, six::network6());
    world
        .raw6(&["-A PREROUTING -p udp --dport 53 -j CT --notrack", "-A PREROUTING -p tcp -j DROP"]);
    world.rules6(&["-A FORWARD -m state --state UNTRACKED", "-A FORWARD -m state --state NEW"]);
    for port in [53, 54] {
        let packet = six::Packet6::udp((six::ALICE6, 1), (six::BOB6, port), b"");
        world.inject(0, EAST, packet.frame(mac(EAST), [2; 6]));
    }
    world.settle();
    assert_eq!(world.left().len(), 2);
    assert_eq!((world.count6(1).0, world.count6(2).0), (1, 1));
    assert_eq!(world.raw_counts(Family::V6), [(2, 96), (1, 48), (0, 0)]);
    assert_eq!(world.raw_counts(Family::V4), [(0, 0)]);
    world.shut_down();
}
