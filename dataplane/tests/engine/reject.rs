//! Packets that a rule rejects: what their senders hear, and every counter that moves. That the answers are the
//! kernel's is for `reject_oracle`.

use weir_dataplane::telemetry::Counter::{AnswersSuppressed, Held, Originated};
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{self, Count, Drop, In, Out};
use crate::packet::{ACK, FIN, Packet, RST, SYN};
use crate::world::*;

const REJECT: DropReason = DropReason::RuleReject;

fn bytes(packet: &Packet) -> usize {
    14 + usize::try_from(packet.len()).expect("small")
}

fn world(rule: &str) -> World {
    let mut world = World::new(Sizes::ONE);
    world.rules(&[rule]);
    world
}

/// A packet of Alice's that is rejected; the answer, as an IPv4 packet.
#[track_caller]
fn answered(world: &mut World, packet: &Packet, answer_bytes: usize) -> Vec<u8> {
    world.inject_packet(0, EAST, packet);
    let moved = [
        In(0, 1, bytes(packet)),
        Drop(REJECT, 1),
        Count(Originated, 1),
        Out(0, 1, 14 + answer_bytes),
    ];
    let mut left = world.expect(&moved);
    assert_eq!(left.len(), 1);
    let (port, frame) = left.remove(0);
    let ethernet = [&host_mac(ALICE)[..], &mac(EAST), &[8, 0]].concat();
    assert_eq!((port, &frame[..14]), (EAST, &ethernet[..]));
    frame[14..].to_vec()
}

/// A packet of Alice's that is rejected in silence.
#[track_caller]
fn silent(world: &mut World, packet: &Packet) {
    world.inject_packet(0, EAST, packet);
    let moved = [In(0, 1, bytes(packet)), Drop(REJECT, 1), Count(AnswersSuppressed, 1)];
    assert_eq!(world.expect(&moved), [], "{packet:?}");
}

fn udp() -> Packet {
    Packet::udp((ALICE, 1000), (BOB, 53), b"question")
}

fn tcp(flags: u8) -> Packet {
    Packet::segment((ALICE, 1000), (BOB, 80), flags, (7, 9), b"abc")
}

#[test]
fn each_type_has_its_code_and_the_port_is_unreachable_unless_said_otherwise() {
    for (rule, code) in [
        ("", 3),
        (" --reject-with icmp-net-unreachable", 0),
        (" --reject-with icmp-host-unreachable", 1),
        (" --reject-with icmp-proto-unreachable", 2),
        (" --reject-with icmp-port-unreachable", 3),
        (" --reject-with icmp-net-prohibited", 9),
        (" --reject-with icmp-host-prohibited", 10),
        (" --reject-with icmp-admin-prohibited", 13),
    ] {
        let mut world = world(&format!("-A FORWARD -p udp -j REJECT{rule}"));
        let answer = answered(&mut world, &udp(), 28 + 36);
        assert_eq!(answer[12..16], address(EAST).octets(), "from the router");
        assert_eq!(answer[20..22], [3, code], "{rule}");
        assert_eq!(answer[28..], udp().routed().bytes(), "one hop further");
        assert_eq!(world.count(1), (1, 36));
        assert_eq!(world.count(0), (0, 0), "the policy is not asked");
        world.shut_down();
    }
}

#[test]
fn a_reset_comes_as_from_the_other_end() {
    let mut world = world("-A FORWARD -p tcp -j REJECT --reject-with tcp-reset");
    let reset = |flags, numbers| Packet {
        identification: 0,
        dont_fragment: true,
        ..Packet::segment((BOB, 80), (ALICE, 1000), flags, numbers, b"")
    };
    for (packet, mut expected) in [
        (tcp(SYN), reset(RST | ACK, (0, 7 + 1 + 3))),
        (tcp(FIN), reset(RST | ACK, (0, 7 + 1 + 3))),
        (tcp(0), reset(RST | ACK, (0, 7 + 3))),
        (tcp(ACK), reset(RST, (9, 0))),
        (tcp(SYN | ACK), reset(RST, (9, 0))),
    ] {
        // No window.
        expected.payload[14..16].fill(0);
        let expected = expected.with_right_checksum();
        assert_eq!(answered(&mut world, &packet, 40), expected.bytes());
    }
    world.shut_down();
}

#[test]
fn what_must_not_be_answered_is_not() {
    let wrong = |mut packet: Packet| {
        *packet.payload.last_mut().expect("a byte") ^= 1;
        packet
    };
    let later = |packet: Packet| Packet { offset: 5, ..packet };
    let mut icmp = world("-A FORWARD -j REJECT");
    silent(&mut icmp, &later(udp()));
    for packet in [udp(), tcp(ACK), Packet::ping(ALICE, BOB, b"data")] {
        silent(&mut icmp, &wrong(packet));
    }
    for kind in [3, 4, 5, 11, 12, 19, 99] {
        silent(&mut icmp, &Packet::icmp(ALICE, BOB, kind, &[0; 28]));
    }
    // No way back.
    let stranger = "192.0.2.1".parse().expect("an address");
    silent(&mut icmp, &Packet::udp((stranger, 1000), (BOB, 53), b"question"));
    let partial = udp().with_partial_checksum();
    assert_eq!(answered(&mut icmp, &partial, 64)[20..22], [3, 3], "left to hardware");
    icmp.shut_down();
    let mut tcp_only = world("-A FORWARD -p tcp -j REJECT --reject-with tcp-reset");
    silent(&mut tcp_only, &tcp(RST));
    silent(&mut tcp_only, &tcp(RST | ACK));
    silent(&mut tcp_only, &wrong(tcp(ACK)));
    silent(&mut tcp_only, &later(tcp(ACK)));
    silent(&mut tcp_only, &Packet { payload: vec![0; 19], ..tcp(ACK) });
    answered(&mut tcp_only, &tcp(ACK).with_partial_checksum(), 40);
    tcp_only.shut_down();
}

#[test]
fn errors_are_limited_and_resets_are_not() {
    let mut world = World::new(Sizes::ONE);
    world.rules(&["-A FORWARD -p tcp -j REJECT --reject-with tcp-reset", "-A FORWARD -j REJECT"]);
    let burst = |world: &mut World, packet: &Packet, sent: u64, answer: usize| {
        (0..60).for_each(|_| world.inject_packet(0, EAST, packet));
        let all = [
            In(0, 60, 60 * bytes(packet)),
            Drop(REJECT, 60),
            Count(Originated, sent.cast_signed()),
        ];
        let out = Out(0, sent, usize::try_from(sent).expect("few") * (14 + answer));
        let rest = Count(AnswersSuppressed, 60 - sent.cast_signed());
        let moved: Vec<Moved> = [&all[..], &[out, rest]].concat();
        world.expect(&moved);
    };
    burst(&mut world, &udp(), 50, 64);
    burst(&mut world, &tcp(ACK), 60, 40);
    world.shut_down();
}

#[test]
fn pieces_are_rejected_as_the_datagram_they_are() {
    let mut world = World::new(Sizes { always_track: true, ..Sizes::ONE });
    world.rules(&["-A FORWARD -p udp -j REJECT"]);
    let whole = Packet::udp((ALICE, 1000), (BOB, 53), &[7; 40]);
    let piece = |offset: u16, range: std::ops::Range<usize>| Packet {
        offset,
        more_fragments: range.end < 48,
        payload: whole.payload[range].to_vec(),
        ..whole.clone()
    };
    let (first, second) = (piece(0, 0..24), piece(3, 24..48));
    world.inject_packet(0, EAST, &second);
    world.expect(&[In(0, 1, bytes(&second)), Count(Held, 1)]);
    world.inject_packet(0, EAST, &first);
    let answer = 14 + 28 + 68;
    let left = world.expect(&[
        In(0, 1, bytes(&first)),
        Count(Held, -1),
        Drop(REJECT, 2),
        Count(Originated, 1),
        Out(0, 1, answer),
    ]);
    assert_eq!(left[0].1[42..], whole.routed().bytes(), "the whole is quoted");
    assert_eq!(world.count(1), (1, 68));
    assert_eq!(world.engine(0).conntrack().len(), 0, "and began nothing");
    world.shut_down();
}

#[test]
fn pieces_that_nobody_puts_together_are_not_answered() {
    let mut world = world("-A FORWARD -p udp -j REJECT");
    let payload = Packet::udp((ALICE, 1000), (BOB, 53), &[7; 40]).payload;
    silent(&mut world, &Packet { more_fragments: true, payload: payload[..24].to_vec(), ..udp() });
    silent(&mut world, &Packet { offset: 3, payload: payload[24..].to_vec(), ..udp() });
    world.shut_down();
}
