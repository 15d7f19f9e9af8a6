//! What a change of rules costs the control thread, with ten thousand rules there: the rule set, and the policy.
//!
//! A rule added at the end leaves the classifier as it is; one deleted in the middle means a new one.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use weir_control::command::{ChainName, Command, Transaction};
use weir_control::restore::{Options, read};
use weir_control::rule::{Names, Rule};
use weir_control::ruleset::Ruleset;
use weir_dataplane::policy::Compiler;

const RULES: u32 = 10_000;

fn transaction() -> Transaction {
    let mut text = String::from("*filter\n:FORWARD ACCEPT [0:0]\n");
    for rule in 0..RULES {
        let [_, _, high, low] = rule.to_be_bytes();
        text +=
            &format!("-A FORWARD -s 172.16.{high}.{low} -p udp --dport {} -j DROP\n", 1024 + rule);
    }
    text += "COMMIT\n";
    let plan = read(text.as_bytes(), &Options::default(), &Names::builtin(), |_| Vec::new());
    plan.expect("right").tables.remove(0).transaction
}

fn changes(c: &mut Criterion) {
    let mut group = c.benchmark_group("change");
    let transaction = transaction();
    group.bench_function("restore: rule set", |b| {
        b.iter(|| Ruleset::new().apply_all(black_box(&transaction)).expect("right"));
    });
    let mut ruleset = Ruleset::new();
    ruleset.apply_all(&transaction).expect("right");
    let names = || vec!["in0".to_owned(), "out0".to_owned()];
    group.bench_function("restore: policy", |b| {
        b.iter(|| Compiler::new(1, names()).compile(black_box(&ruleset)).expect("known words"));
    });
    let chain = ChainName::forward();
    let append =
        Command::Append { chain: chain.clone(), rules: vec![Rule::default()], counters: None };
    group.bench_function("append: rule set", |b| {
        b.iter(|| ruleset.clone().apply(black_box(&append)).expect("right"));
    });
    let mut compiler = Compiler::new(1, names());
    compiler.compile(&ruleset).expect("known words");
    let mut longer = ruleset.clone();
    longer.apply(&append).expect("right");
    group.bench_function("append: policy", |b| {
        b.iter(|| compiler.compile(black_box(&longer)).expect("known words"));
    });
    let mut shorter = ruleset.clone();
    shorter.apply(&Command::DeleteNumber { chain, number: RULES / 2 }).expect("right");
    let mut either = [&ruleset, &shorter].into_iter().cycle();
    group.bench_function("delete: policy", |b| {
        b.iter(|| compiler.compile(black_box(either.next().expect("endless"))).expect("known"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = changes
}
criterion_main!(benches);
