//! One errand: how long a worker is kept from its packets by whoever lists or deletes flows.
//!
//! The slowest of many count here, so each is timed by itself; they are printed beside what criterion makes of all.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use weir_control::protocol::FlowFilter;
use weir_dataplane::conntrack::{Conntrack, ConntrackConfig, Packet};
use weir_dataplane::errand::{Errand, Task};

/// A full table of UDP flows, in random order of their buckets.
fn full(flows: u32) -> Conntrack {
    let mut conntrack =
        Conntrack::new(&ConntrackConfig { flows_max: flows, ..ConntrackConfig::default() });
    conntrack.set_time(0);
    fill(&mut conntrack, flows);
    conntrack
}

fn fill(conntrack: &mut Conntrack, flows: u32) {
    for flow in 0..flows {
        let [a, b, c, d] = flow.to_be_bytes();
        let udp = [a, b, 0, 53, 0, 8, 0, 0];
        let (source, destination) = (Ipv4Addr::new(10, 0, c, d), Ipv4Addr::new(192, 168, 0, 2));
        let packet = Packet::new(source.into(), destination.into(), 17, &udp);
        let tracked = conntrack.track(&packet);
        // A full bucket's neighbour may be full too; nobody gives way here who matters.
        let _ = conntrack.confirm(&tracked);
    }
}

/// Errands through a table, again and again, each timed by itself.
struct Walk {
    conntrack: Conntrack,
    errand: Errand,
    from: u32,
    times_ns: Vec<u64>,
}

impl Walk {
    fn new(flows: u32) -> Self {
        Self { conntrack: full(flows), errand: Errand::default(), from: 0, times_ns: Vec::new() }
    }

    fn go(&mut self, rounds: u64, task: impl Fn(u32) -> Task) -> Duration {
        let mut sum = Duration::ZERO;
        for _ in 0..rounds {
            self.errand.set(task(self.from));
            let start = Instant::now();
            self.errand.carry_out(0, &mut self.conntrack);
            let took = start.elapsed();
            sum += took;
            self.times_ns.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            self.from = self.errand.next().unwrap_or(0);
            if self.conntrack.is_empty() {
                self.from = 0;
                let flows = self.conntrack.places();
                fill(&mut self.conntrack, flows);
            }
        }
        sum
    }

    /// Prints what the slowest took. The very slowest is the scheduler's on a shared machine.
    fn tell(&mut self, name: &str) {
        self.times_ns.sort_unstable();
        let count = self.times_ns.len().max(1);
        let us = |at: usize| self.times_ns.get(at).copied().unwrap_or(0) / 1_000;
        let (p99, p999, worst) = (us(count * 99 / 100), us(count * 999 / 1_000), us(count - 1));
        let flows = self.conntrack.places();
        println!(
            "{name}, {flows} places: p99 {p99} us, p99.9 {p999} us, worst {worst} us of {count}"
        );
        self.times_ns.clear();
    }
}

fn errands(c: &mut Criterion) {
    let mut group = c.benchmark_group("errand");
    group.measurement_time(Duration::from_secs(3));
    let all = FlowFilter::default();
    let none = FlowFilter { protocol: Some(6), ..all };
    for flows in [1 << 16, 1 << 20] {
        let mut walk = Walk::new(flows);
        for (name, filter) in [("list all", all), ("list none", none)] {
            group.bench_function(BenchmarkId::new(name, flows), |b| {
                b.iter_custom(|rounds| walk.go(rounds, |from| Task::List { filter, from }));
            });
            walk.tell(name);
        }
        group.bench_function(BenchmarkId::new("delete all", flows), |b| {
            b.iter_custom(|rounds| walk.go(rounds, |from| Task::Delete { filter: all, from }));
        });
        walk.tell("delete all");
    }
    group.finish();
}

criterion_group!(benches, errands);
criterion_main!(benches);
