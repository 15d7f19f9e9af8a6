//! One behaviour a test, each from several first indices, the wrapping ones among them.

use std::sync::atomic::Ordering;
use std::thread;

use crate::ring::{HeapRing, Storage};

/// First indices from which eight entries stay clear of the wrap, begin at it, or cross it.
const STARTS: [u32; 4] = [0, 5, u32::MAX - 3, u32::MAX];

#[test]
fn what_goes_in_comes_out_in_order() {
    for start in STARTS {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(8, start);
        for round in 0..5 {
            let mut slots = producer.reserve(8);
            assert_eq!((slots.len(), slots.written(), slots.remaining()), (8, 0, 8));
            assert_eq!(slots.extend((0..).map(|i| round * 100 + i)), 8);
            assert_eq!((slots.written(), slots.remaining()), (8, 0));
            assert_eq!(slots.push(77), Err(77));
            assert_eq!(slots.submit(), 8);
            assert_eq!((producer.free(), producer.pending()), (0, 8));

            assert_eq!(consumer.available(), 8);
            let seen = consumer.peek(8);
            assert_eq!(seen.iter().len(), 8);
            let expected: Vec<u64> = (0..8).map(|i| round * 100 + i).collect();
            assert_eq!(seen.iter().collect::<Vec<_>>(), expected);
            assert_eq!(seen.release(), 8);
            assert_eq!((producer.free(), producer.pending()), (8, 0));
        }
    }
}

#[test]
fn reservation_is_partial_when_the_ring_is_nearly_full() {
    for start in STARTS {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(8, start);
        let mut slots = producer.reserve(6);
        slots.extend(0..6);
        slots.submit();
        let slots = producer.reserve(6);
        assert_eq!((slots.len(), slots.is_empty()), (2, false));
        slots.cancel();
        let mut slots = producer.reserve(u32::MAX);
        assert_eq!(slots.len(), 2);
        slots.extend(6..);
        slots.submit();
        let slots = producer.reserve(1);
        assert_eq!((slots.len(), slots.is_empty()), (0, true));
        assert_eq!(slots.submit(), 0);

        // Three given back are three to reserve, and the order of entries is kept over the wrap.
        assert_eq!(consumer.peek(3).release(), 3);
        let mut slots = producer.reserve(8);
        assert_eq!(slots.len(), 3);
        slots.extend(8..);
        slots.submit();
        assert_eq!(consumer.peek(8).iter().collect::<Vec<_>>(), [3, 4, 5, 6, 7, 8, 9, 10]);
    }
}

#[test]
fn peek_is_partial_and_repeats_what_was_not_released() {
    for start in STARTS {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(8, start);
        assert_eq!((consumer.peek(4).len(), consumer.peek(4).is_empty()), (0, true));
        assert_eq!(consumer.peek(4).release(), 0);
        producer.reserve(3).submit();
        assert_eq!(consumer.available(), 0, "an unwritten reservation publishes nothing");
        let mut slots = producer.reserve(3);
        slots.extend([10, 11, 12]);
        slots.submit();

        let seen = consumer.peek(8);
        assert_eq!(seen.len(), 3);
        assert_eq!([0, 1, 2, 3].map(|i| seen.get(i)), [Some(10), Some(11), Some(12), None]);
        drop(seen);
        assert_eq!(consumer.peek(2).iter().collect::<Vec<_>>(), [10, 11]);
        assert_eq!(producer.free(), 5, "a look gives nothing back");
        assert_eq!(consumer.peek(3).release_n(1), 1);
        assert_eq!((consumer.available(), producer.free()), (2, 6));
        assert_eq!(consumer.peek(8).release_n(99), 2);
        assert_eq!((consumer.available(), producer.free()), (0, 8));
    }
}

#[test]
fn without_submit_nothing_is_published() {
    for start in STARTS {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(4, start);
        let mut slots = producer.reserve(4);
        assert_eq!(slots.extend(0..4), 4);
        slots.cancel();
        let mut slots = producer.reserve(4);
        assert_eq!(slots.extend(10..14), 4);
        drop(slots);
        assert_eq!((producer.free(), consumer.available()), (4, 0));

        // The abandoned entries are overwritten by the next reservation.
        let mut slots = producer.reserve(2);
        slots.extend([20, 21]);
        slots.submit();
        assert_eq!(consumer.peek(4).iter().collect::<Vec<_>>(), [20, 21]);
    }
}

#[test]
fn partly_written_reservation_publishes_what_was_pushed() {
    for start in STARTS {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(4, start);
        let mut slots = producer.reserve(4);
        assert_eq!((slots.push(1), slots.push(2)), (Ok(()), Ok(())));
        assert_eq!(slots.submit(), 2);
        assert_eq!(consumer.peek(4).iter().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(producer.free(), 2);
    }
}

#[test]
fn extend_takes_no_more_than_fits() {
    let (mut producer, _consumer) = HeapRing::<u64>::pair(2, 0);
    let mut values = 0..5;
    let mut slots = producer.reserve(2);
    assert_eq!(slots.extend(&mut values), 2);
    slots.submit();
    assert_eq!(values, 2..5, "what did not fit is still the caller's");
}

#[test]
fn ring_of_one_entry_works() {
    for start in STARTS {
        let (mut producer, mut consumer) = HeapRing::<u64>::pair(1, start);
        for value in 0..4 {
            let mut slots = producer.reserve(9);
            assert_eq!((slots.len(), slots.push(value)), (1, Ok(())));
            slots.submit();
            let seen = consumer.peek(9);
            assert_eq!((seen.len(), seen.get(0)), (1, Some(value)));
            seen.release();
        }
    }
}

#[test]
fn peer_index_is_read_again_only_when_short() {
    let ((mut producer, mut consumer), memory) = HeapRing::<u64>::with_memory(4, 0);
    let mut slots = producer.reserve(4);
    slots.extend(0..4);
    slots.submit();
    assert_eq!(consumer.peek(2).len(), 2);
    // Were it read now, this index would be seen as impossible.
    memory.set_producer(1000, Ordering::Release);
    assert_eq!(consumer.peek(4).len(), 4);
    assert!(!consumer.is_broken());
    assert_eq!(consumer.peek(5).len(), 0);
    assert!(consumer.is_broken());
}

#[test]
fn impossible_consumer_index_breaks_the_producer() {
    for start in STARTS {
        // Ahead of what was published, one short of a whole ring behind it, and the far end of the
        // number circle.
        for wrong in [start.wrapping_add(1), start.wrapping_sub(9), start.wrapping_add(1 << 31)] {
            let ((mut producer, _), memory) = HeapRing::<u64>::with_memory(8, start);
            memory.set_consumer(wrong, Ordering::Release);
            assert_eq!((producer.free(), producer.is_broken()), (0, true));
            assert_eq!((producer.reserve(8).len(), producer.pending()), (0, 0));
            memory.set_consumer(start, Ordering::Release);
            assert_eq!((producer.free(), producer.is_broken()), (0, true), "it stays broken");
        }
    }
}

#[test]
fn impossible_producer_index_breaks_the_consumer() {
    for start in STARTS {
        for wrong in [start.wrapping_sub(1), start.wrapping_add(9), start.wrapping_add(1 << 31)] {
            let ((_, mut consumer), memory) = HeapRing::<u64>::with_memory(8, start);
            memory.set_producer(wrong, Ordering::Release);
            assert_eq!((consumer.available(), consumer.is_broken()), (0, true));
            let seen = consumer.peek(8);
            assert_eq!((seen.len(), seen.get(0)), (0, None));
            assert_eq!(seen.release(), 0);
            memory.set_producer(start.wrapping_add(1), Ordering::Release);
            assert_eq!((consumer.available(), consumer.is_broken()), (0, true), "it stays broken");
        }
    }
}

#[test]
fn wakeup_follows_the_lowest_flag() {
    let ((producer, consumer), memory) = HeapRing::<u64>::with_memory(8, 0);
    for (flags, expected) in [(0, false), (1, true), (2, false), (3, true)] {
        memory.set_flags(flags);
        assert_eq!((producer.needs_wakeup(), consumer.needs_wakeup()), (expected, expected));
    }
}

#[test]
#[should_panic(expected = "a power of two of entries, up to 1048576, not 6")]
fn sizes_that_are_no_power_of_two_are_refused() {
    let _ = HeapRing::<u64>::pair(6, 0);
}

#[test]
fn two_threads_pass_every_entry_once() {
    const ENTRIES: u64 = if cfg!(miri) { 200 } else { 50_000 };
    let (mut producer, mut consumer) = HeapRing::<u64>::pair(8, u32::MAX - 3);
    let sender = thread::spawn(move || {
        let mut values = 0..ENTRIES;
        while !values.is_empty() {
            let mut slots = producer.reserve(5);
            slots.extend(&mut values);
            if slots.submit() == 0 {
                assert!(!producer.is_broken());
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    loop {
        // Asked before the look, so that nothing can come in between.
        let last_look = sender.is_finished();
        let seen = consumer.peek(3);
        for value in &seen {
            assert_eq!(value, next);
            next += 1;
        }
        if seen.release() == 0 {
            if last_look {
                break;
            }
            thread::yield_now();
        }
    }
    sender.join().unwrap();
    assert_eq!((next, consumer.is_broken()), (ENTRIES, false));
}
