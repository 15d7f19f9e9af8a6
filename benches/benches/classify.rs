//! The classifier, uncached: ClassBench's three families at 1 k, 10 k and 100 k rules, beside DPDK's `rte_acl`.
//!
//! ```text
//!   cargo bench -p weir-benches --bench classify                the generator's sets
//!   cargo bench -p weir-benches --bench classify -- FILE...     files of ClassBench
//! ```
//!
//! Nanoseconds a packet, best and median of many samples of 16,384 packets; every packet of the trace is drawn anew,
//! so that nothing can be cached, and "repeated" is one with ClassBench's locality (Pareto, shape 1, scale 1). Building
//! is best and median, too. The samples of both contenders come in turns.

use std::hint::black_box;
use std::time::Instant;

use weir_benches::classbench::family::FAMILIES;
use weir_benches::classbench::peer::Peer;
use weir_benches::classbench::trace::{Locality, Packet, trace};
use weir_benches::classbench::{file, generate::generate};
use weir_benches::flows::Draw;
use weir_benches::statistics::Summary;
use weir_dataplane::batch::BATCH_MAX;
use weir_dataplane::policy::classify::{Classifier, PacketKey, RuleKey, Scratch, naive};

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];

/// Packets of a trace: more than caches keep.
const TRACE: usize = 1 << 18;

/// Packets of a sample.
const SAMPLE: usize = 1 << 14;

/// Samples of one contender before it is the other's turn, and turns.
const SAMPLES: usize = 64;
const TURNS: usize = 3;

/// Packets of the trace that the peer gets, and most rules: for 100,000 it is known to need 13 s and 1.5 GB, or more.
const PEER_TRACE: usize = 1 << 16;
const PEER_RULES_MAX: usize = 20_000;

/// Packets that are compared with the naive twin first.
const CHECKED: usize = 256;

fn main() {
    let files: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    println!("ns a packet, best / median");
    for path in &files {
        match file::read(path.as_ref()) {
            Ok(rules) => set(path.rsplit('/').next().unwrap_or(path), &rules),
            Err(error) => println!("{path}: SKIPPED: {error}"),
        }
    }
    if files.is_empty() {
        for size in SIZES {
            for family in FAMILIES {
                let rules = generate(family, size, &mut Draw::default());
                set(&format!("{} {size}", family.name), &rules);
            }
        }
    }
}

fn set(name: &str, rules: &[RuleKey]) {
    let mut built = Vec::new();
    let mut classifier = None;
    for _ in 0..10 {
        let start = Instant::now();
        let new = Classifier::build(black_box(rules)).expect("fewer rules than the limit");
        built.push(start.elapsed().as_secs_f64() * 1e3);
        classifier = Some(new);
    }
    let Some(classifier) = classifier else { return };
    let packets = trace(rules, TRACE, Locality::None, &mut Draw::default());
    let keys: Vec<PacketKey> = packets.iter().map(Packet::key).collect();
    for key in keys.iter().take(CHECKED) {
        assert_eq!(classifier.next(key, 0), naive::next(rules, key, 0), "{name}");
    }
    let repeated = trace(rules, TRACE, Locality::Pareto(1.0), &mut Draw::default());
    let repeated: Vec<PacketKey> = repeated.iter().map(Packet::key).collect();
    let peer = if rules.len() > PEER_RULES_MAX {
        Err(format!("{} rules are too many for it", rules.len()))
    } else {
        Peer::new(rules, &packets[..PEER_TRACE])
    };
    let (mut one, mut batch, mut again, mut other) = (vec![], vec![], vec![], vec![]);
    let mut skipped = peer.as_ref().err().cloned();
    for _ in 0..TURNS {
        samples(&keys, &mut one, |keys| {
            for key in keys {
                black_box(classifier.next(key, 0));
            }
        });
        let mut scratch = Scratch::default();
        let mut found = [None; BATCH_MAX];
        let mut batches = |keys: &[PacketKey]| {
            for keys in keys.chunks(BATCH_MAX) {
                classifier.first_of_batch(&mut scratch, keys, &mut found);
                black_box(&found);
            }
        };
        samples(&keys, &mut batch, &mut batches);
        samples(&repeated, &mut again, &mut batches);
        match peer.as_ref().map(Peer::run_ns) {
            Ok(Ok(ns)) => other.push(ns),
            Ok(Err(error)) => skipped = Some(error),
            Err(_) => {}
        }
    }
    println!(
        "{name}: batch {}, one by one {}, repeated {}; built in {} ms, {} KiB",
        shown(&batch),
        shown(&one),
        shown(&again),
        shown(&built),
        classifier.bytes() / 1024,
    );
    match skipped {
        Some(reason) => println!("    rte_acl: SKIPPED: {reason}"),
        None => println!("    rte_acl {}", shown(&other)),
    }
}

/// Takes samples: nanoseconds a packet.
fn samples(keys: &[PacketKey], into: &mut Vec<f64>, mut work: impl FnMut(&[PacketKey])) {
    for sample in keys.chunks(SAMPLE).cycle().take(SAMPLES) {
        let start = Instant::now();
        work(sample);
        into.push(start.elapsed().as_secs_f64() * 1e9 / sample.len() as f64);
    }
}

/// Best and median.
fn shown(values: &[f64]) -> String {
    Summary::of(values)
        .map_or("nothing".to_owned(), |all| format!("{:.1} / {:.1}", all.min, all.median))
}
