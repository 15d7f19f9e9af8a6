//! `-m string`: one rule that looks for a pattern which is not in the packet, beside a search byte by byte.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use weir_benches::world::{candidate, forwarding, policy_of};
use weir_dataplane::batch::Headers;
use weir_dataplane::packet_log::PacketLog;
use weir_dataplane::policy::{Candidate, Dice};

const PATTERN: &[u8] = b"secret";

/// A packet of English without the pattern, though with the letters of it.
fn packet(bytes: usize) -> Vec<u8> {
    let text = b"Sector by sector the crew read its secrecy off the screens; ";
    let mut packet: Vec<u8> = text.iter().copied().cycle().take(bytes).collect();
    packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0]);
    packet
}

fn search(c: &mut Criterion) {
    let mut group = c.benchmark_group("string");
    for bytes in [64, 1500] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let packet = packet(bytes);
        let total_len = u16::try_from(bytes).expect("a packet");
        let (dice, forwarding, mut log) = (Dice::new(0), forwarding(), PacketLog::silent());
        let headers = Headers { total_len, ..Headers::default() };
        let candidate = Candidate { packet: &packet, ..candidate(&headers, &forwarding, &dice) };
        for (name, options) in [("rule", ""), ("rule, --icase", " --icase")] {
            let line = format!("-A FORWARD -m string --string secret --algo bm{options} -j DROP");
            let policy = policy_of(&line);
            group.bench_function(BenchmarkId::new(name, bytes), |b| {
                b.iter(|| policy.decide(0, black_box(&candidate), &mut log));
            });
        }
        group.bench_function(BenchmarkId::new("byte by byte", bytes), |b| {
            b.iter(|| black_box(&packet).windows(PATTERN.len()).any(|window| window == PATTERN));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = search
}
criterion_main!(benches);
