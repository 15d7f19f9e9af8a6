//! Connection tracking: established, new, mixed, and a full table, at 1 k to 4 M flows.
//!
//! A batch of 64 segments is made and tracked; what making it costs is measured apart ("segments only"), to be
//! subtracted. Flows are drawn at random, so that at a million of them every one is far away.

use std::hint::black_box;
use std::time::Duration;

use criterion::{
    BenchmarkId, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use weir_benches::flows::{Draw, Segment, Segments, establish, tracker};
use weir_dataplane::batch::BATCH_MAX;
use weir_dataplane::conntrack::Conntrack;

const SIZES: [u32; 4] = [1 << 10, 1 << 16, 1 << 20, 1 << 22];

fn group<'a>(c: &'a mut Criterion, name: &str) -> criterion::BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(BATCH_MAX as u64));
    group
}

/// Writes a batch of random flows' acknowledgments.
fn acknowledgments(segments: &mut Segments, draw: &mut Draw, flows: u32, turn: u16) {
    for i in 0..BATCH_MAX {
        segments.write(i, draw.below(flows), Segment::Ack, turn);
    }
}

fn established(c: &mut Criterion) {
    let mut group = group(c, "conntrack/established");
    for flows in SIZES {
        let mut conntrack = tracker(flows);
        establish(&mut conntrack, flows);
        let bytes = conntrack.bytes() as f64 / f64::from(flows);
        println!("{flows} flows: {bytes:.1} bytes each, all tables counted");
        let (mut segments, mut draw, mut turn) = (Segments::default(), Draw::default(), 0_u16);
        group.bench_function(BenchmarkId::new("tracked", flows), |b| {
            b.iter(|| {
                turn = turn.wrapping_add(2);
                acknowledgments(&mut segments, &mut draw, flows, turn);
                segments.track(&mut conntrack, true)
            });
        });
        assert_eq!(conntrack.stats().invalid, 0);
    }
    let (mut segments, mut draw) = (Segments::default(), Draw::default());
    group.bench_function("segments only", |b| {
        b.iter(|| {
            acknowledgments(&mut segments, &mut draw, 1 << 20, 2);
            black_box(&segments).packet(0).tuple()
        });
    });
    group.finish();
}

/// New flows into a table that is nearly full, from which old ones are removed apart from the measurement.
fn new_flows(c: &mut Criterion) {
    let mut group = group(c, "conntrack/new");
    for flows in SIZES {
        let mut conntrack = tracker(flows + (1 << 16));
        establish(&mut conntrack, flows);
        let (mut segments, mut next) = (Segments::default(), flows);
        group.bench_function(BenchmarkId::new("inserted", flows), |b| {
            b.iter_custom(|batches| {
                let mut spent = Duration::ZERO;
                for _ in 0..batches {
                    for i in 0..BATCH_MAX {
                        segments.write(i, next, Segment::Syn, 1000);
                        next = flows + (next + 1 - flows) % (1 << 20);
                    }
                    let start = std::time::Instant::now();
                    let begun = segments.track(&mut conntrack, true);
                    spent += start.elapsed();
                    assert_eq!(begun, BATCH_MAX, "flows that are not there yet");
                    remove(&mut conntrack, &segments);
                }
                spent
            });
        });
    }
    group.finish();
}

fn remove(conntrack: &mut Conntrack, segments: &Segments) {
    for i in 0..BATCH_MAX {
        let found = segments.packet(i).tuple().and_then(|tuple| conntrack.find(&tuple));
        if let Some((id, _)) = found {
            conntrack.remove(id);
        }
    }
}

/// SYNs from nowhere that the rules throw away: nothing is inserted.
fn refused(c: &mut Criterion) {
    let mut group = group(c, "conntrack/refused by the rules");
    for flows in SIZES {
        let mut conntrack = tracker(flows);
        establish(&mut conntrack, flows);
        let (mut segments, mut draw) = (Segments::default(), Draw::default());
        group.bench_function(BenchmarkId::new("flows", flows), |b| {
            b.iter(|| {
                for i in 0..BATCH_MAX {
                    segments.write(i, flows + draw.below(1 << 26), Segment::Syn, 1000);
                }
                segments.track(&mut conntrack, false)
            });
        });
        assert_eq!(conntrack.len(), flows as usize);
    }
    group.finish();
}

/// SYNs from nowhere into a table full of established connections: none gives way.
fn full(c: &mut Criterion) {
    let mut group = group(c, "conntrack/full table");
    for flows in SIZES {
        let mut conntrack = tracker(flows);
        establish(&mut conntrack, flows);
        let (mut segments, mut draw) = (Segments::default(), Draw::default());
        group.bench_function(BenchmarkId::new("all assured", flows), |b| {
            b.iter(|| {
                for i in 0..BATCH_MAX {
                    segments.write(i, flows + draw.below(1 << 26), Segment::Syn, 1000);
                }
                segments.track(&mut conntrack, true)
            });
        });
        assert_eq!(conntrack.len(), flows as usize, "no established connection gave way");
        let mut conntrack = tracker(flows);
        establish(&mut conntrack, flows / 2);
        group.bench_function(BenchmarkId::new("half of it gives way", flows), |b| {
            b.iter(|| {
                for i in 0..BATCH_MAX {
                    segments.write(i, flows + draw.below(1 << 26), Segment::Syn, 1000);
                }
                segments.track(&mut conntrack, true)
            });
        });
        assert!(conntrack.len() <= flows as usize);
    }
    group.finish();
}

/// A whole table whose time is over at the same moment: what a poll spends on it, and the longest that one spent.
fn expiry(c: &mut Criterion) {
    let flows = 1 << 20;
    let mut group = c.benchmark_group("conntrack/expiry");
    group.sample_size(10);
    let mut all = Vec::new();
    let mut now_ns = 1_000_000_000;
    let mut conntrack = tracker(flows);
    group.bench_function(BenchmarkId::new("64 of flows", flows), |b| {
        b.iter_custom(|polls| {
            let mut spent = Duration::ZERO;
            let mut left = polls;
            while left > 0 {
                let mut segments = Segments::default();
                for first in (0..flows).step_by(BATCH_MAX) {
                    for (i, flow) in (first..).enumerate().take(BATCH_MAX) {
                        segments.write(i, flow, Segment::Syn, 1000);
                    }
                    segments.track(&mut conntrack, true);
                }
                now_ns += 200_000_000_000;
                conntrack.set_time(now_ns);
                while !conntrack.is_empty() {
                    let start = std::time::Instant::now();
                    conntrack.expire(64);
                    let one = start.elapsed();
                    if left > 0 {
                        spent += one;
                        left -= 1;
                    }
                    all.push(one);
                }
            }
            spent
        });
    });
    all.sort_unstable();
    let at = |permille: usize| all[(all.len() - 1) * permille / 1000];
    println!(
        "{flows} flows whose time is over at once, 64 in a poll: {:?} in the median, {:?} at 99.9 %, {:?} at most",
        at(500),
        at(999),
        at(1000)
    );
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = established, new_flows, refused, full, expiry
}
criterion_main!(benches);
