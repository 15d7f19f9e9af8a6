//! Results made up for tests, with figures that can be checked by hand.

use crate::result::{
    Cpu, End, Environment, Expect, FORMAT, Interface, Latency, RunResult, Second, ServerResult,
    Stalls, StreamResult, UsersResult,
};

/// A flood of so many packets a second on a protected server: 1,000 users a second for 10 s, of whom 990 are served;
/// a probe that loses 1 of 1,000. The seed moves the median latency a little.
pub(crate) fn study(label: &str, flood_pps: f64, seed: u64) -> RunResult {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small rate")]
    let flood_sent = (flood_pps * 0.999 * 10.0) as u64;
    let flood = StreamResult {
        expect: Expect::Drop,
        requested_pps: Some(flood_pps),
        achieved_pps: flood_pps * 0.999,
        received: 0,
        missing: flood_sent,
        latency: None,
        ..stream("flood", "syn", flood_sent)
    };
    let probe = StreamResult {
        received: 9_990,
        missing: 10,
        latency: Some(latency(20_000 + seed * 100)),
        ..stream("probe", "udp", 10_000)
    };
    let mut streams = vec![flood, probe];
    if flood_pps == 0.0 {
        streams.remove(0);
    }
    RunResult {
        format: FORMAT,
        command: ["weirgen", "run", "syn flood"].map(str::to_owned).to_vec(),
        label: label.to_owned(),
        environment: environment(),
        begun_unix_s: 1_790_000_000,
        seed,
        threads: Some(1),
        elapsed_s: 10.0,
        ended_by: End::Duration,
        void: None,
        is_silent: false,
        clock_drift_ppm: Some(0.5),
        seconds: seconds(streams.len()),
        streams,
        users: Some(users(seed)),
        cpu: Some(Cpu { generator_s: 5.0, machine_s: 10.0, stolen_s: 0.1, cores: 2, over_s: 10.0 }),
        foreign_frames: 3,
        overrun_frames: 0,
        stalls: Stalls { count: 3, total_ns: 12_000_000, longest_ns: 9_000_000 },
    }
}

/// A stream that loses nothing.
pub(crate) fn stream(name: &str, kind: &str, sent: u64) -> StreamResult {
    StreamResult {
        name: name.to_owned(),
        kind: kind.to_owned(),
        expect: Expect::Pass,
        requested_pps: Some(1_000.0),
        achieved_pps: 1_000.0,
        sent,
        sent_bytes: sent * 60,
        received: sent,
        received_bytes: sent * 60,
        missing: 0,
        duplicated: 0,
        reordered: 0,
        damaged: 0,
        engine: crate::result::Way::Socket,
        refused: 0,
        latency: None,
    }
}

/// 1,000 connections a second.
fn users(seed: u64) -> UsersResult {
    UsersResult {
        requested_cps: 1_000.0,
        attempted: 10_000,
        not_begun: 0,
        connected: 9_950,
        completed: 9_900,
        failed_connect: 50,
        failed_transfer: 50,
        reset: 0,
        unfinished: 0,
        dropped_by_us: 0,
        memory_bytes: 1 << 20,
        client_retransmissions: 120,
        server_retransmissions: 30,
        goodput_bytes: 9_900 * 1_000,
        concurrent_max: 40,
        connect: Some(latency(100_000 + seed)),
        first_byte: Some(latency(200_000 + seed)),
        last_byte: Some(latency(300_000 + seed)),
        damaged: 0,
        shared: None,
        server: ServerResult {
            syns: 10_120,
            accepted: 9_950,
            half_open_max: 12,
            ..ServerResult::default()
        },
    }
}

/// 10,000 times around a median, with a tail to 50 times as much.
pub(crate) fn latency(median_ns: u64) -> Latency {
    let at = |percent: u64| median_ns * percent / 100;
    Latency {
        count: 10_000,
        min_ns: at(50),
        mean_ns: 1.1 * crate::report::figures::count(median_ns),
        p50_ns: median_ns,
        p90_ns: at(150),
        p99_ns: at(300),
        p999_ns: at(1_000),
        p9999_ns: at(5_000),
        max_ns: at(5_000),
        buckets: vec![
            (at(75), 2_000),
            (median_ns, 3_000),
            (at(150), 4_000),
            (at(300), 900),
            (at(1_000), 90),
            (at(5_000), 10),
        ],
    }
}

fn seconds(streams: usize) -> Vec<Second> {
    let second = |n: u64| Second {
        sent: vec![1_000; streams],
        received: vec![999 - n; streams],
        completed: 990,
        failed: n,
    };
    (0..10).map(second).collect()
}

/// A machine that nobody has.
pub(crate) fn environment() -> Environment {
    Environment {
        host: Some("abacus".to_owned()),
        cpu: "Abacus <7> & sons".to_owned(),
        cores: 2,
        kernel: "6.18.0".to_owned(),
        hz: Some(250),
        mitigations: vec!["spectre_v1: barriers".to_owned()],
        governor: None,
        memory_bytes: 8 << 30,
        version: "weirgen 0.1.0 (0123456789ab)".to_owned(),
        interfaces: ["left", "right"].map(interface).to_vec(),
    }
}

fn interface(side: &str) -> Interface {
    Interface {
        name: format!("veth-{side}"),
        side: side.to_owned(),
        driver: "veth".to_owned(),
        mode: "copy".to_owned(),
        queues: 1,
        mtu: 1500,
    }
}
