//! What a packet moved: every counter of all workers, before and after.

use weir_dataplane::port::PortIndex;
use weir_dataplane::telemetry::{Counter, Counters};
use weir_dataplane::verdict::DropReason;

/// One counter that a test expects to move, and by how much.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moved {
    /// A general counter (for `Held`: a level, so it may fall).
    Count(Counter, i64),
    /// A drop reason.
    Drop(DropReason, u64),
    /// Packets and bytes received on a port; moves `Received` too.
    In(u8, u64, usize),
    /// Packets and bytes transmitted on a port; moves `Transmitted` too.
    Out(u8, u64, usize),
    /// Packets and bytes given to the machine itself by a port; moves `ToHost` too.
    ToHost(u8, u64, usize),
}

/// Levels of memory and counts of polls: they say nothing about packets.
const APART: [Counter; 5] =
    [Counter::FramesPool, Counter::FramesLent, Counter::Polls, Counter::PollsIdle, Counter::Sleeps];

const GENERAL: [Counter; 13] = [
    Counter::Received,
    Counter::Originated,
    Counter::HandedIn,
    Counter::Transmitted,
    Counter::ToHost,
    Counter::HandedOut,
    Counter::Absorbed,
    Counter::Held,
    Counter::AnswersSuppressed,
    Counter::Logged,
    Counter::LogSuppressed,
    Counter::ForeignAddresses,
    Counter::KickErrors,
];

/// Checks that exactly the counters named have moved, and by what was said.
#[track_caller]
pub(crate) fn check(before: &Counters, after: &Counters, moved: &[Moved]) {
    let mut expected = before.clone();
    for one in moved {
        match *one {
            Moved::Count(counter, by) => {
                let value = expected.get(counter).checked_add_signed(by).expect("not below zero");
                expected.set(counter, value);
            }
            Moved::Drop(reason, packets) => {
                (0..packets).for_each(|_| expected.drop_one(reason));
            }
            Moved::In(port, packets, bytes) => {
                expected.received(PortIndex(port), packets, bytes as u64);
            }
            Moved::Out(port, packets, bytes) => {
                expected.transmitted(PortIndex(port), packets, bytes as u64);
            }
            Moved::ToHost(port, packets, bytes) => {
                expected.delivered(PortIndex(port), packets, bytes as u64);
            }
        }
    }
    for apart in APART {
        expected.set(apart, after.get(apart));
    }
    // The whole of the counters is compared; the names below only tell which.
    assert!(expected == *after, "wrong counters:\n{}", differences(before, &expected, after));
}

fn differences(before: &Counters, expected: &Counters, after: &Counters) -> String {
    let mut lines = String::new();
    let mut line = |name: String, values: [u64; 3]| {
        let [was, wanted, is] = values;
        if wanted != is {
            lines += &format!("  {name}: was {was}, expected {wanted}, is {is}\n");
        }
    };
    let all = [before, expected, after];
    for counter in GENERAL {
        line(format!("{counter:?}"), all.map(|counters| counters.get(counter)));
    }
    for reason in DropReason::ALL {
        line(format!("drop {}", reason.name()), all.map(|counters| counters.dropped(*reason)));
    }
    for port in (0..32).map(PortIndex) {
        let traffic = all.map(|counters| counters.port(port));
        line(format!("{port} received"), traffic.map(|t| t.received));
        line(format!("{port} received bytes"), traffic.map(|t| t.received_bytes));
        line(format!("{port} transmitted"), traffic.map(|t| t.transmitted));
        line(format!("{port} transmitted bytes"), traffic.map(|t| t.transmitted_bytes));
    }
    lines
}

#[test]
#[should_panic(expected = "drop ttl_exceeded: was 0, expected 1, is 0")]
fn a_counter_that_stands_still_is_told() {
    check(&Counters::default(), &Counters::default(), &[Moved::Drop(DropReason::TtlExceeded, 1)]);
}

#[test]
#[should_panic(expected = "Absorbed: was 0, expected 0, is 1")]
fn a_counter_that_moves_unnamed_is_told() {
    let mut after = Counters::default();
    after.add(Counter::Absorbed, 1);
    check(&Counters::default(), &after, &[]);
}
