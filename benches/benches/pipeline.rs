//! The engine over memory ports, from one poll's receive to its transmit: nanoseconds a packet,
//! 64 packets a poll.
//!
//! The port's own work (copying 60 bytes in, moving frames) is part of every figure; `port only`
//! says how much it is.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::LoopPort;
use weir_benches::traffic::udp_flows;
use weir_benches::world::{INGRESS, engine, forwarding, frames};
use weir_dataplane::batch::{BATCH_MAX, Batch};
use weir_dataplane::frame::FramePool;
use weir_dataplane::port::Port;
use weir_dataplane::stage;

/// Flows: source ports that the packets come from in turn.
const FLOWS: u16 = 1000;

fn packets() -> Throughput {
    Throughput::Elements(BATCH_MAX as u64)
}

fn whole_pipeline(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline/60 bytes, 1000 flows");
    group.throughput(packets());
    for (rules, tracked) in [(0, false), (3, false), (100, false), (3, true)] {
        let mut engine = engine(udp_flows(FLOWS, 60), rules, tracked);
        let mut now_ns = 0;
        let name = if tracked { "tracked, rules" } else { "rules" };
        group.bench_function(BenchmarkId::new(name, rules), |b| {
            b.iter(|| {
                now_ns += 1;
                engine.poll(now_ns, 0)
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("pipeline/1514 bytes, 1000 flows");
    group.throughput(packets());
    let mut engine = engine(udp_flows(FLOWS, 1514), 3, false);
    group.bench_function(BenchmarkId::new("rules", 3), |b| b.iter(|| engine.poll(1, 0)));
    group.finish();
}

fn first_stages(c: &mut Criterion) {
    let mut group = c.benchmark_group("stages/60 bytes, 1000 flows");
    group.throughput(packets());
    let (_memory, frames) = frames();
    let mut pool = FramePool::split(frames, 1).pop().expect("one pool");
    let mut port = LoopPort::new(INGRESS, udp_flows(FLOWS, 60));
    let mut batch = Box::new(Batch::new());
    let forwarding = forwarding();
    let mut turn = |work: &dyn Fn(&mut Batch)| {
        port.recycle(&mut pool);
        port.receive(&mut batch);
        work(&mut batch);
        for frame in batch.drain() {
            pool.put(frame);
        }
    };
    group.bench_function("port only", |b| b.iter(|| turn(&|_| {})));
    group.bench_function("parse", |b| b.iter(|| turn(&|batch| stage::parse(batch, &forwarding))));
    group.bench_function("parse, route", |b| {
        b.iter(|| {
            turn(&|batch| {
                stage::parse(batch, &forwarding);
                stage::route(batch, &forwarding);
            });
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = first_stages, whole_pipeline
}
criterion_main!(benches);
