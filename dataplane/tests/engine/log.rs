//! What rules write about packets: which, and every counter that moves. What a line says beside the kernel's own is for
//! `log_oracle`; here are the lines that need an Ethernet header, as Linux 6.18 writes them over veth.

use weir_dataplane::packet_log::{PacketLog, Records, line};
use weir_dataplane::telemetry::Counter::{LogSuppressed, Logged};
use weir_dataplane::verdict::DropReason;

use crate::delta::Moved::{Count, Drop, In, Out};
use crate::packet::{ACK, Packet};
use crate::world::*;

fn world(rules: &[&str]) -> (World, Records) {
    let mut world = World::new(Sizes::ONE);
    world.rules(rules);
    let (log, records) = PacketLog::new();
    world.engine(0).set_log(log);
    (world, records)
}

fn lines(records: &Records) -> Vec<String> {
    let names = NAMES.map(str::to_owned);
    std::iter::from_fn(|| records.pop()).map(|record| line(&record, &names)).collect()
}

#[test]
fn a_rule_that_writes_decides_nothing() {
    let (mut world, records) = world(&[
        "-A FORWARD -p udp -j LOG --log-prefix first:",
        "-A FORWARD -p udp --dport 53 -j LOG --log-prefix second: --log-level 0",
        "-A FORWARD -p udp --dport 53 -j DROP",
        "-A FORWARD -j LOG",
        "-P FORWARD DROP",
    ]);
    let packet = Packet::udp((ALICE, 1000), (BOB, 53), b"?");
    world.inject_packet(0, EAST, &packet);
    world.expect(&[In(0, 1, 43), Drop(DropReason::Rule, 1), Count(Logged, 2)]);
    assert_eq!([1, 2, 3, 4].map(|n| world.count(n).0), [1, 1, 1, 0]);
    let rest = "IN=east OUT=west MAC=02:00:00:00:00:00:06:00:0a:00:01:02:08:00 SRC=10.0.1.2 DST=10.0.2.2 \
                LEN=29 TOS=0x00 PREC=0x00 TTL=63 ID=4660 PROTO=UDP SPT=1000 DPT=53 LEN=9 ";
    assert_eq!(lines(&records), ["first:", "second:"].map(|prefix| format!("{prefix}{rest}")));
    let other = Packet::tcp((ALICE, 1000), (BOB, 80), ACK, b"");
    world.inject_packet(0, EAST, &other);
    world.expect(&[In(0, 1, 54), Drop(DropReason::RulePolicy, 1), Count(Logged, 1)]);
    assert_eq!(records.pop().map(|record| record.spec.level.number()), Some(4));
    world.shut_down();
}

#[test]
fn the_ethernet_header_is_told_apart_on_demand() {
    let (mut world, records) = world(&["-A FORWARD -j LOG --log-macdecode"]);
    world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, b""));
    world.expect(&[In(0, 1, 42), Out(1, 1, 42), Count(Logged, 1)]);
    let expected = "IN=east OUT=west MACSRC=06:00:0a:00:01:02 MACDST=02:00:00:00:00:00 MACPROTO=0800 SRC=10.0.1.2 \
                    DST=10.0.2.2 LEN=28 TOS=0x00 PREC=0x00 TTL=63 ID=4660 PROTO=ICMP TYPE=8 CODE=0 ID=7 SEQ=1 ";
    assert_eq!(lines(&records), [expected]);
    world.shut_down();
}

#[test]
fn a_mark_is_told_by_the_lines_behind_the_rule_that_gives_it() {
    let (mut world, records) = world(&[
        "-N marks",
        "-A FORWARD -j LOG --log-prefix none:",
        "-A FORWARD -p icmp -j marks",
        "-A FORWARD -m mark --mark 0x2a/0xff -j LOG --log-prefix low:",
        "-A FORWARD -j MARK --set-mark 0",
        "-A FORWARD -j LOG --log-prefix again:",
        "-A FORWARD -m mark ! --mark 0 -j DROP",
        "-A marks -j MARK --or-mark 0xff",
        "-A marks -j MARK --xor-mark 0x80d5",
    ]);
    let ends = |records: &Records| -> Vec<(String, String)> {
        let ends = lines(records).into_iter().map(|line| {
            let (prefix, end) =
                (line.split_once(':').expect("a prefix"), line.rsplit_once(" SEQ=1 "));
            (prefix.0.to_owned(), end.expect("an end").1.to_owned())
        });
        ends.collect()
    };
    let expected = [("none", ""), ("low", "MARK=0x802a "), ("again", "")];
    let expected = expected.map(|(prefix, end)| (prefix.to_owned(), end.to_owned()));
    // The next packet comes without a mark again.
    for _ in 0..2 {
        world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, b""));
        world.expect(&[In(0, 1, 42), Out(1, 1, 42), Count(Logged, 3)]);
        assert_eq!(ends(&records), expected);
    }
    world.shut_down();
}

#[test]
fn what_is_too_much_is_not_written_and_all_of_it_forwarded() {
    let (mut world, records) = world(&["-A FORWARD -j LOG"]);
    for round in 0..10 {
        (0..60).for_each(|_| world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, b"")));
        let written = if round < 8 { 60 } else { 20 * i64::from(round == 8) };
        let mut moved = vec![In(0, 60, 60 * 42), Out(1, 60, 60 * 42)];
        moved.extend([Count(Logged, written), Count(LogSuppressed, 60 - written)]);
        world.expect(&moved);
    }
    assert_eq!(world.count(1).0, 600, "the rule has seen them all");
    assert_eq!(lines(&records).len(), 500);
    world.now_ns += 10_000_000;
    (0..60).for_each(|_| world.inject_packet(0, EAST, &Packet::ping(ALICE, BOB, b"")));
    let both = [Count(Logged, 10), Count(LogSuppressed, 50)];
    world.expect(&[&[In(0, 60, 60 * 42), Out(1, 60, 60 * 42)], &both[..]].concat());
    world.shut_down();
}

#[test]
fn a_datagram_in_pieces_is_one_line() {
    let (mut world, records) =
        world(&["-A FORWARD -m state --state NEW -j LOG", "-A FORWARD -j ACCEPT"]);
    let whole = Packet::udp((ALICE, 1000), (BOB, 53), &[7; 40]);
    for (offset, range) in [(0, 0..24), (3, 24..48)] {
        let payload = whole.payload[range.clone()].to_vec();
        let more_fragments = range.end < 48;
        world.inject_packet(0, EAST, &Packet { offset, more_fragments, payload, ..whole.clone() });
    }
    world.expect(&[In(0, 2, 34 * 2 + 48), Out(1, 2, 34 * 2 + 48), Count(Logged, 1)]);
    let lines = lines(&records);
    assert!(
        lines[0].contains(" LEN=68 TOS=0x00 PREC=0x00 TTL=63 ID=4660 PROTO=UDP SPT=1000"),
        "{lines:?}"
    );
    world.shut_down();
}
