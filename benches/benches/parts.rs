//! The parts by themselves: checksum completion, rules, flow hash, routes, rings.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Duration;

use af_xdp::{Desc, HeapRing};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::traffic::{DESTINATION, SOURCE, partial_packet};
use weir_benches::world::{candidate, forwarding, policy};
use weir_dataplane::batch::{Addresses, Headers};
use weir_dataplane::conntrack::Tuple;
use weir_dataplane::handover::FlowHash;
use weir_dataplane::packet_log::PacketLog;
use weir_dataplane::policy::Dice;
use weir_dataplane::route::{Prefix, PrefixTable};
use weir_dataplane::wire::checksum::{self, Completion, complete_partial};
use weir_dataplane::wire::ipv4::HEADER_BYTES_MIN as IPV4_BYTES;

/// Where a UDP header keeps its checksum (RFC 768).
const UDP_CHECKSUM: usize = 6;

fn headers(source_port: u16) -> Headers {
    Headers {
        l3: 14,
        l4: 34,
        total_len: 46,
        addresses: Addresses::V4 { source: SOURCE, destination: DESTINATION },
        protocol: 17,
        ttl: 64,
        source_port,
        destination_port: 9,
        transport: true,
        ..Headers::default()
    }
}

fn checksums(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for packet_bytes in [46, 1500] {
        group.throughput(Throughput::Bytes(packet_bytes as u64));
        let (mut packet, partial) = partial_packet(packet_bytes);
        let field = IPV4_BYTES + UDP_CHECKSUM;
        group.bench_function(BenchmarkId::new("complete_partial", packet_bytes), |b| {
            b.iter(|| {
                // Partial again: two bytes, beside the sum of all others.
                packet[field..field + 2].copy_from_slice(&partial.to_be_bytes());
                let completion = complete_partial(&mut packet);
                assert_eq!(completion, Completion::Completed);
            });
        });
        group.bench_function(BenchmarkId::new("not partial", packet_bytes), |b| {
            b.iter(|| complete_partial(black_box(&mut packet)));
        });
        group.bench_function(BenchmarkId::new("sum", packet_bytes), |b| {
            b.iter(|| checksum::sum(black_box(&packet)));
        });
    }
    group.finish();
}

fn rules(c: &mut Criterion) {
    let mut group = c.benchmark_group("policy.decide");
    for rules in [0, 3, 10, 100, 1_000, 10_000] {
        let (policy, forwarding) = (policy(rules), &forwarding());
        let (headers, dice, mut log) = (headers(1024), &Dice::new(0), PacketLog::silent());
        group.bench_function(BenchmarkId::new("rules passed by", rules), |b| {
            b.iter(|| {
                let headers = black_box(&headers);
                let candidate = candidate(headers, forwarding, dice);
                policy.decide(0, &candidate, &mut log)
            });
        });
    }
    group.finish();
}

fn flow_hash(c: &mut Criterion) {
    let hash = FlowHash::new([1, 2, 3, 4], 4);
    let headers = headers(1024);
    let tuple = Tuple {
        source: headers.source(),
        destination: headers.destination(),
        source_port: headers.source_port,
        destination_port: headers.destination_port,
        protocol: headers.protocol,
    };
    c.bench_function("FlowHash::worker", |b| b.iter(|| hash.worker(black_box(&tuple))));
}

fn routes(c: &mut Criterion) {
    let mut group = c.benchmark_group("PrefixTable::lookup");
    for routes in [4_u32, 1_000, 100_000] {
        // Prefixes of 24 bits spread evenly; every address is looked for in turn by a large odd
        // step.
        let step = u32::MAX / routes;
        let prefixes = (0..routes).map(|n| Prefix { network: n * step, len: 24, value: Some(n) });
        let table = PrefixTable::new(prefixes.collect());
        let mut address = u32::from(Ipv4Addr::new(10, 0, 0, 1));
        group.bench_function(BenchmarkId::new("routes", routes), |b| {
            b.iter(|| {
                address = address.wrapping_add(0x9e37_79b1);
                table.lookup(address)
            });
        });
    }
    group.finish();
}

fn rings(c: &mut Criterion) {
    const BATCH: u32 = 64;
    let mut group = c.benchmark_group("ring");
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    let (mut producer, mut consumer) = HeapRing::<Desc>::pair(2048, u32::MAX - 3);
    group.bench_function("reserve, submit, peek, release of 64", |b| {
        b.iter(|| {
            let mut slots = producer.reserve(BATCH);
            slots.extend((0..u64::from(BATCH)).map(|chunk| Desc::new(chunk << 12, 60)));
            let submitted = slots.submit();
            let seen = consumer.peek(BATCH);
            let sum: u64 = seen.iter().map(|descriptor| descriptor.addr).sum();
            seen.release();
            (submitted, sum)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = checksums, rules, flow_hash, routes, rings
}
criterion_main!(benches);
