//! The generator measures itself: what a faulty port does is reported, exactly that, and nothing else.

use std::collections::BTreeMap;

use super::*;
use crate::faulty::{Fault, FaultyPort, Time};
use crate::result::{Latency, StreamResult};

/// One stream of 20,000 packets.
fn text(more: &str) -> String {
    format!(
        "duration_s = 0.2\nsettle_s = 0.1\n[[stream]]\nname = \"one\"\nrate = 100_000\n\
         source = \"198.18.0.0/24\"\ndestination = \"198.19.0.2\"\n{more}"
    )
}

/// Runs it with faults on what the right side receives.
fn run(more: &str, faults: &[(u64, Fault)]) -> (StreamResult, u64) {
    let faults: BTreeMap<u64, Fault> = faults.iter().copied().collect();
    let mut cables = Cables::with(1, |port, side| match side {
        Side::Left => Box::new(port),
        Side::Right => Box::new(FaultyPort::new(Box::new(port), faults.clone())),
    });
    let mut result = cables.run(&text(more), |frame, out| out(0, frame));
    assert_eq!(result.void, None);
    (result.streams.remove(0), result.foreign_frames)
}

const KINDS: [&str; 4] = [
    "kind = \"udp\"\nframe_bytes = 128",
    "kind = \"udp\"",
    "kind = \"tcp-syn\"",
    "kind = \"icmp-echo\"\nframe_bytes = \"imix\"",
];

#[test]
fn without_faults_there_are_none() {
    for kind in KINDS {
        let (stream, foreign) = run(kind, &[]);
        assert_eq!((stream.sent, stream.received, stream.missing), (20_000, 20_000, 0), "{kind}");
        assert_eq!((stream.duplicated, stream.reordered, stream.damaged, foreign), (0, 0, 0, 0));
    }
}

#[test]
fn every_planned_fault_is_reported_and_no_other() {
    let plan = [
        (10, Fault::Lose),
        (500, Fault::Lose),
        (19_999, Fault::Lose),
        (20, Fault::Double),
        (600, Fault::Double),
        (19_998, Fault::Double),
        (21, Fault::Double),
        (30, Fault::Behind(1)),
        (700, Fault::Behind(5)),
        (10_000, Fault::Behind(3_000)),
        (40, Fault::Damage(43)),
        (41, Fault::Damage(30)),
    ];
    for kind in KINDS {
        let (stream, foreign) = run(kind, &plan);
        assert_eq!((stream.sent, stream.received, stream.missing), (20_000, 19_997, 3), "{kind}");
        let faults = (stream.duplicated, stream.reordered, stream.damaged);
        assert_eq!(faults, (4, 3, 2), "{kind}: copies, order, damage");
        assert_eq!(foreign, 0, "{kind}");
    }
}

#[test]
fn a_bit_that_is_turned_over_anywhere_behind_the_ethernet_header_is_damage() {
    for (kind, bytes) in [(KINDS[0], 124), (KINDS[2], 54)] {
        let plan: Vec<_> = (14..bytes).map(|at| (at as u64, Fault::Damage(at))).collect();
        let (stream, foreign) = run(kind, &plan);
        assert_eq!((stream.damaged, foreign), (plan.len() as u64, 0), "{kind}");
        assert_eq!((stream.received, stream.missing, stream.duplicated), (20_000, 0, 0), "{kind}");
    }
}

/// Runs it with delays, and says what was measured beside the delays in order.
fn delayed(delays: impl Fn(u64) -> u64 + Send + Clone + 'static) -> (Latency, Vec<u64>) {
    let time = Time::default();
    let mut cables = Cables::with(1, |port, side| match side {
        Side::Left => Box::new(port),
        Side::Right => {
            let faulty = FaultyPort::new(Box::new(port), BTreeMap::new());
            Box::new(faulty.with_delays(time.clone(), Box::new(delays.clone())))
        }
    });
    let profile = profile(&text("kind = \"udp\"").replace("100_000", "20_000"));
    let wires = cables.wires.clone();
    let carry = &mut |now_ns| {
        time.set(now_ns);
        wires[0][0].take_sent().into_iter().for_each(|frame| wires[0][1].send(frame));
    };
    let result =
        simulate(&profile, &mut cables.ports, &options(), STEP_NS, carry).expect("it runs");
    let stream = &result.streams[0];
    assert_eq!((stream.sent, stream.received), (4_000, 4_000));
    let mut planned: Vec<u64> = (0..4_000).map(delays).collect();
    planned.sort_unstable();
    (stream.latency.clone().expect("stamps"), planned)
}

fn assert_within_two_percent(latency: &Latency, planned: &[u64]) {
    let exact = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank")]
        let rank = (share * planned.len() as f64).ceil() as usize;
        planned[rank.clamp(1, planned.len()) - 1]
    };
    for (share, measured) in [
        (0.0, latency.min_ns),
        (0.5, latency.p50_ns),
        (0.9, latency.p90_ns),
        (0.99, latency.p99_ns),
        (0.999, latency.p999_ns),
        (0.9999, latency.p9999_ns),
        (1.0, latency.max_ns),
    ] {
        let exact = exact(share);
        assert!(measured.abs_diff(exact) * 50 <= exact, "{share}: {measured} for {exact}");
    }
}

#[test]
fn percentiles_of_a_known_distribution_are_within_two_percent() {
    // One delay for all; evenly from 1 to 11 ms; and a long tail: exponential on top of 1 ms.
    let (latency, planned) = delayed(|_| 2_000_000);
    assert_within_two_percent(&latency, &planned);
    let (latency, planned) = delayed(|n| 1_000_000 + crate::packet::mix(n) % 10_000_000);
    assert_within_two_percent(&latency, &planned);
    let (latency, planned) = delayed(|n| {
        let draw = (crate::packet::mix(n) >> 11) as f64 / (1_u64 << 53) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 1e8")]
        let tail = (-(1.0 - draw).ln() * 2e6) as u64;
        1_000_000 + tail
    });
    assert_within_two_percent(&latency, &planned);
}

#[test]
fn a_generator_that_stumbles_does_not_hide_the_wait() {
    // The threads get no turn for 20 ms: packets that were due then are sent late, and their latency says so.
    let mut cables = Cables::new(1);
    let profile = profile(&text("kind = \"udp\""));
    let wires = cables.wires.clone();
    let carry = &mut |_| {
        wires[0][0].take_sent().into_iter().for_each(|frame| wires[0][1].send(frame));
    };
    let result =
        simulate(&profile, &mut cables.ports, &options(), 20_000_000, carry).expect("it runs");
    let latency = result.streams[0].latency.as_ref().expect("stamps");
    assert!(latency.p50_ns >= 20_000_000 && latency.max_ns >= 38_000_000, "{latency:?}");
}
