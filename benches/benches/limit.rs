//! Rules that limit, 64 packets at a time as the stages do it: `limit`, `fuzzy`, `recent`, and `hashlimit` and keyed
//! `fuzzy` with one source that is known and with sources that nobody has seen before, beside what one would write
//! first: numbers and a map behind a lock.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::traffic::udp_flows;
use weir_benches::world::{candidate, engine_of, forwarding, policy_of};
use weir_dataplane::batch::{Addresses, Headers};
use weir_dataplane::packet_log::PacketLog;
use weir_dataplane::policy::{Candidate, Dice, Policies, Policy};

/// Packets that are decided about together.
const BATCH: usize = 64;

/// Packets of a million a second, from one source or each from another.
struct Traffic {
    now_ns: Cell<u64>,
    source: Cell<u32>,
    random: bool,
}

impl Traffic {
    fn new(random: bool) -> Self {
        Self { now_ns: Cell::new(1_000_000_000), source: Cell::new(1), random }
    }

    fn next(&self) -> (u64, u32) {
        self.now_ns.set(self.now_ns.get() + 1000);
        if self.random {
            self.source.set(self.source.get().wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f));
        }
        (self.now_ns.get(), self.source.get())
    }
}

fn rules(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit");
    group.throughput(Throughput::Elements(BATCH as u64));
    let (dice, forwarding, mut log) = (Dice::new(0), forwarding(), PacketLog::silent());
    let keyed = "--hashlimit-above 100/s --hashlimit-mode srcip --hashlimit-name t";
    let fuzzy = "-m fuzzy --lower-limit 100 --upper-limit 1000";
    let recent = "-m recent --name r --set";
    for (name, options, random) in [
        ("no match", String::new(), false),
        ("limit", "-m limit --limit 1000/s".to_owned(), false),
        ("fuzzy", fuzzy.to_owned(), false),
        ("recent, a known source", recent.to_owned(), false),
        ("recent, new sources", recent.to_owned(), true),
        ("hashlimit, a known source", format!("-m hashlimit {keyed}"), false),
        ("hashlimit, new sources", format!("-m hashlimit {keyed}"), true),
        ("fuzzy srcip, a known source", format!("{fuzzy} --fuzzy-mode srcip"), false),
        ("fuzzy srcip, new sources", format!("{fuzzy} --fuzzy-mode srcip"), true),
        ("fuzzy unverified, one source", format!("{fuzzy} --fuzzy-unverified"), false),
        ("fuzzy unverified, new sources", format!("{fuzzy} --fuzzy-unverified"), true),
    ] {
        let policy = policy_of(format!("-A FORWARD {options} -j DROP").replace("  ", " ").as_str());
        let traffic = Traffic::new(random);
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut now_ns = 0;
                let batch: [Headers; BATCH] = std::array::from_fn(|_| {
                    let source;
                    (now_ns, source) = traffic.next();
                    let (source, destination) = (Ipv4Addr::from_bits(source), Ipv4Addr::LOCALHOST);
                    let addresses = Addresses::V4 { source, destination };
                    Headers { total_len: 60, addresses, ..Headers::default() }
                });
                batch.iter().for_each(|headers| policy.prefetch_limits(headers));
                for headers in &batch {
                    let candidate = Candidate { now_ns, ..candidate(headers, &forwarding, &dice) };
                    black_box(policy.decide(0, black_box(&candidate), &mut log));
                }
            });
        });
    }
    group.finish();
}

/// What a lock and the standard map cost, with a bucket's arithmetic and no bound.
fn peers(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit, a lock and a map");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, random) in [("a known source", false), ("new sources of 65,536", true)] {
        let (accounts, traffic) =
            (Mutex::new(HashMap::<u32, (u64, u64)>::new()), Traffic::new(random));
        group.bench_function(name, |b| {
            b.iter(|| {
                for _ in 0..BATCH {
                    let (now_ns, source) = traffic.next();
                    let now = now_ns / 4_000_000;
                    let mut accounts = accounts.lock().expect("nobody panics");
                    let (seen, credit) = accounts.entry(source & 0xffff).or_insert((now, 100));
                    *credit = (*credit + (now - *seen)).min(100);
                    *seen = now;
                    let within = *credit > 0;
                    *credit -= u64::from(within);
                    black_box(within);
                }
            });
        });
    }
    group.finish();
}

/// Connections counted beside packets noted, through the whole engine, with connection tracking: 1,000 flows that pass,
/// and a flood whose flows are dropped, and so begin anew with each packet.
fn connections(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit, whole engine");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, options) in [
        ("no match", "-j ACCEPT"),
        ("recent", "-m recent --name r --set -j ACCEPT"),
        ("connlimit", "-m connlimit --connlimit-above 100000 -j DROP"),
        ("a flood, no match", "-j DROP"),
        ("a flood, recent", "-m recent --name r --set -j DROP"),
        ("a flood, connlimit", "-m connlimit --connlimit-above 0 -j DROP"),
    ] {
        let policy = policy_of(&format!("-A FORWARD {options}"));
        let policies = Policies::new(policy, Policy::accept_all(1));
        let mut engine = engine_of(udp_flows(1000, 60), policies, true);
        let mut now_ns = 0;
        let mut poll = || {
            now_ns += 1;
            engine.poll(now_ns, 0)
        };
        (0..100).for_each(|_| _ = poll());
        group.bench_function(name, |b| b.iter(&mut poll));
        let (flood, flows) = (name.starts_with("a flood"), engine.conntrack().len());
        assert_eq!(flows, if flood { 0 } else { 1000 }, "{name}");
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = rules, peers, connections
}
criterion_main!(benches);
