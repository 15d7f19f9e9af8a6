//! Every interleaving, and every value a load may return under the memory model, of two threads on
//! a small ring.

use loom::thread;

use crate::ring::HeapRing;

/// Values that go through the ring: one more than it has slots, so that slots are reused.
const VALUES: u64 = 3;

#[test]
fn loom_two_threads_pass_every_entry_once() {
    // One start in the middle of the number circle and one that wraps during the test.
    for start in [0, u32::MAX] {
        loom::model(move || {
            let (mut producer, mut consumer) = HeapRing::<u64>::pair(2, start);
            let sender = thread::spawn(move || {
                let mut values = 1..=VALUES;
                while !values.is_empty() {
                    let mut slots = producer.reserve(2);
                    slots.extend(&mut values);
                    if slots.submit() == 0 {
                        thread::yield_now();
                    }
                }
                assert!(!producer.is_broken());
            });
            let mut next = 1;
            while next <= VALUES {
                let seen = consumer.peek(2);
                for value in &seen {
                    assert_eq!(value, next);
                    next += 1;
                }
                if seen.release() == 0 {
                    thread::yield_now();
                }
            }
            assert!(!consumer.is_broken());
            sender.join().unwrap();
        });
    }
}

#[test]
fn loom_cancelled_entries_are_never_seen() {
    loom::model(|| {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(2, u32::MAX);
        let sender = thread::spawn(move || {
            let mut slots = producer.reserve(2);
            slots.extend([100, 101]);
            slots.cancel();
            let mut slots = producer.reserve(1);
            slots.extend([1]);
            slots.submit();
        });
        let seen = consumer.peek(2);
        assert!(seen.len() <= 1);
        assert_eq!(seen.get(0).unwrap_or(1), 1);
        drop(seen);
        sender.join().unwrap();
        assert_eq!(consumer.peek(2).iter().collect::<Vec<_>>(), [1]);
    });
}
