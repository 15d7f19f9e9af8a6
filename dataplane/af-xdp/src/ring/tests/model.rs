//! Any sequence of operations does to a ring what it does to a queue of limited length.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::desc::Desc;
use crate::ring::HeapRing;

/// What a test does to both ends.
#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Reserve `wanted`, push up to `pushed`, then submit or cancel.
    Produce { wanted: u32, pushed: u32, submit: bool },
    /// Peek `wanted`, compare, then release up to `released`.
    Consume { wanted: u32, released: u32 },
    /// Ask both ends how they stand.
    Count,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..40_u32, 0..40_u32, prop::bool::weighted(0.8))
            .prop_map(|(wanted, pushed, submit)| Operation::Produce { wanted, pushed, submit }),
        4 => (0..40_u32, 0..40_u32)
            .prop_map(|(wanted, released)| Operation::Consume { wanted, released }),
        1 => Just(Operation::Count),
    ]
}

/// Near the wrap, at zero, or anywhere.
fn first_index() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(u32::MAX - 3), (u32::MAX - 64)..=u32::MAX, any::<u32>()]
}

fn cases() -> ProptestConfig {
    // Miri has no files to keep failures in, and is slow.
    if cfg!(miri) {
        ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() }
    } else {
        ProptestConfig::default()
    }
}

/// As a `u32`; the numbers here are small.
fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a short queue")
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn ring_is_a_queue_of_limited_length(
        size_log2 in 0..6_u32,
        first_index in first_index(),
        operations in prop::collection::vec(operation(), 1..120),
    ) {
        let entries = 1 << size_log2;
        let (mut producer, mut consumer) = HeapRing::<Desc>::pair(entries, first_index);
        let mut model = VecDeque::new();
        let mut serial = 0_u64;
        for operation in operations {
            match operation {
                Operation::Produce { wanted, pushed, submit } => {
                    let mut slots = producer.reserve(wanted);
                    prop_assert_eq!(slots.len(), wanted.min(entries - count(model.len())));
                    let mut written = Vec::new();
                    for _ in 0..pushed {
                        serial += 1;
                        let desc = Desc { addr: serial, len: !0, options: 1 };
                        match slots.push(desc) {
                            Ok(()) => written.push(desc),
                            Err(back) => prop_assert_eq!(back, desc),
                        }
                    }
                    prop_assert_eq!(count(written.len()), pushed.min(slots.len()));
                    if submit {
                        prop_assert_eq!(slots.submit(), count(written.len()));
                        model.extend(written);
                    } else {
                        slots.cancel();
                    }
                }
                Operation::Consume { wanted, released } => {
                    let seen = consumer.peek(wanted);
                    let shown = wanted.min(count(model.len()));
                    let expected: Vec<Desc> = model.iter().take(shown as usize).copied().collect();
                    prop_assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
                    let released = released.min(shown);
                    prop_assert_eq!(seen.release_n(released), released);
                    model.drain(..released as usize);
                }
                Operation::Count => {
                    prop_assert_eq!(producer.free(), entries - count(model.len()));
                    prop_assert_eq!(producer.pending(), count(model.len()));
                    prop_assert_eq!(consumer.available(), count(model.len()));
                }
            }
            prop_assert!(!producer.is_broken() && !consumer.is_broken());
        }
    }
}
