//! What a packet of a flood costs the whole engine, in memory: from one poll's receive to its end, 64 packets a poll,
//! a million a second by the engine's clock.
//!
//! ```text
//!   cargo bench -p weir-benches --bench floods
//! ```
//!
//! 131,072 packets go round, each from another of half a thousand million sources. `policy DROP` is what receiving,
//! parsing and routing such packets cost without any rule; of that, `port only` in the bench `pipeline` is the port's
//! own work. The rules are those of a web server: `strict` of one that lets connections begin with a SYN, the others
//! what the README recommends against floods of SYNs. Of every case a run before the measured one asserts what becomes
//! of the flood: that it is dropped, or answered, and leaves no flow where it must not.

use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::floods::flood;
use weir_benches::world::{INGRESS, Parts, engine_with, forwarding_back, policies_of};
use weir_dataplane::batch::BATCH_MAX;
use weir_dataplane::conntrack::{ConntrackConfig, Settings};
use weir_dataplane::engine::Engine;
use weir_dataplane::synproxy::CookieKey;
use weir_dataplane::telemetry::Counter;

/// Packets that go round.
const PACKETS: usize = 1 << 17;

/// By the engine's clock, a million packets a second.
const POLL_NS: u64 = BATCH_MAX as u64 * 1_000;

/// A web server's rules, where what belongs to no connection is INVALID.
const STRICT: &[&str] = &[
    "-A FORWARD -m state --state INVALID -j DROP",
    "-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -p tcp --syn --dport 81 -j ACCEPT",
    "-A FORWARD -j DROP",
];

const KINDS: [&str; 12] = [
    "tcp-syn",
    "tcp-syn-ack",
    "tcp-ack",
    "tcp-rst",
    "tcp-fin",
    "tcp-xmas",
    "tcp-null",
    "udp",
    "icmp-echo",
    "fragment-first",
    "bad-ip-header",
    "bad-tcp-checksum",
];

/// Rules that hold back, or answer, a flood of SYNs.
const RUNGS: [(&str, &[&str]); 8] = [
    (
        "raw, hashlimit by destination",
        &[
            "-t raw -A PREROUTING -p tcp --syn -m hashlimit --hashlimit-above 1000/s --hashlimit-mode dstip \
           --hashlimit-name t -j DROP",
        ],
    ),
    ("limit", &["-A FORWARD -p tcp --syn -m limit --limit 100/s -j ACCEPT", "-A FORWARD -j DROP"]),
    ("fuzzy", &["-A FORWARD -p tcp --syn -m fuzzy --lower-limit 100 --upper-limit 1000 -j DROP"]),
    (
        "hashlimit by source",
        &[
            "-A FORWARD -p tcp --syn -m hashlimit --hashlimit-above 100/s --hashlimit-mode srcip --hashlimit-name t \
             -j DROP",
            "-A FORWARD -j DROP",
        ],
    ),
    (
        "recent",
        &[
            "-A FORWARD -p tcp --syn -m recent --name r --rcheck --seconds 1 --hitcount 20 -j DROP",
            "-A FORWARD -p tcp --syn -m recent --name r --set",
            "-A FORWARD -j DROP",
        ],
    ),
    (
        "fuzzy by source",
        &[
            "-A FORWARD -p tcp --syn -m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip -j DROP",
            "-A FORWARD -j DROP",
        ],
    ),
    (
        "fuzzy, unverified",
        &[
            "-A FORWARD -p tcp --syn -m fuzzy --lower-limit 20 --upper-limit 100 --fuzzy-unverified -j DROP",
        ],
    ),
    (
        "SYNPROXY",
        &[
            "-t raw -A PREROUTING -p tcp --syn -j CT --notrack",
            "-A FORWARD -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 \
             --mss 1460",
        ],
    ),
];

/// An engine that receives a flood, with rules.
fn engine(traffic: &Arc<[Vec<u8>]>, rules: &[&str]) -> Engine {
    let settings = Settings { tcp_loose: false, ..Settings::default() };
    let cookie_key = Some(CookieKey([1, 2]));
    // Room for what passes before a limit is reached.
    let (flows_max, half_open_max) = (1 << 18, 1 << 18);
    let of = ConntrackConfig::default();
    let conntrack = ConntrackConfig { flows_max, half_open_max, settings, cookie_key, ..of };
    let (policies, forwarding) = (policies_of(rules), forwarding_back());
    engine_with(Arc::clone(traffic), Parts { policies, forwarding, conntrack, always_track: false })
}

/// Polls half a second of the flood, so that what limits has seen it; then says of another that nearly nothing comes
/// through and no flow is left.
fn warm_up(engine: &mut Engine, now_ns: &mut u64, what: &str) {
    let mut play = || {
        for _ in 0..500_000 / BATCH_MAX {
            *now_ns += POLL_NS;
            engine.poll(*now_ns, 0);
        }
        (engine.published().read(), engine.conntrack().len())
    };
    let ((before, flows_before), (after, flows)) = (play(), play());
    let since = |counter| after.get(counter) - before.get(counter);
    let (received, answered) = (since(Counter::Received), since(Counter::Originated));
    let passed = since(Counter::Transmitted) - answered;
    assert!(passed * 50 < received, "{what}: {passed} of {received} passed");
    let sent_back = after.port(INGRESS).transmitted - before.port(INGRESS).transmitted;
    assert_eq!((after.imbalance(), sent_back), (0, answered), "{what}");
    assert!(flows < flows_before + 10_000, "{what}: from {flows_before} flows to {flows}");
}

fn measure(c: &mut Criterion, group: &str, cases: &[(&str, &str, &[&str])]) {
    let mut group = c.benchmark_group(group);
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    for (name, kind, rules) in cases {
        let (mut engine, mut now_ns) = (engine(&flood(kind, PACKETS), rules), 0);
        warm_up(&mut engine, &mut now_ns, name);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                now_ns += POLL_NS;
                engine.poll(now_ns, 0)
            });
        });
    }
    group.finish();
}

fn syn_floods(c: &mut Criterion) {
    let policy: &[&str] = &["-P FORWARD DROP"];
    let rungs = RUNGS.iter().map(|(name, rules)| (*name, "tcp-syn", *rules));
    let cases: Vec<_> = std::iter::once(("policy DROP", "tcp-syn", policy)).chain(rungs).collect();
    measure(c, "floods/SYN", &cases);
}

fn all_kinds(c: &mut Criterion) {
    let cases = KINDS.map(|kind| (kind, kind, STRICT));
    measure(c, "floods/strict", &cases);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = syn_floods, all_kinds
}
criterion_main!(benches);
