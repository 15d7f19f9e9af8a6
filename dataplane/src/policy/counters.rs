//! A rule's packet and byte counters, exact however many workers count.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One worker's share, on a cache line of its own so that workers never disturb each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Share {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// The counters of one rule. They are shared by every policy in which the rule stands, so they go on
/// counting through changes that do not touch the rule.
#[derive(Debug)]
pub struct RuleCounters {
    shares: Box<[Share]>,
}

/// What a rule has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets that matched.
    pub packets: u64,
    /// Their lengths, IP headers included.
    pub bytes: u64,
}

impl RuleCounters {
    /// Zeroed counters for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { shares: (0..workers).map(|_| Share::default()).collect() })
    }

    /// Counts one packet. Only worker `worker` may call this for its own number: its share has one
    /// writer, so a load and a store suffice and no bus lock is taken.
    #[inline]
    pub fn add(&self, worker: usize, bytes: u64) {
        self.add_some(worker, 1, bytes);
    }

    /// The same of some packets with so many bytes together.
    #[inline]
    pub fn add_some(&self, worker: usize, packets: u64, bytes: u64) {
        let share = &self.shares[worker];
        share.packets.store(share.packets.load(Ordering::Relaxed) + packets, Ordering::Relaxed);
        share.bytes.store(share.bytes.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// The sum over workers.
    #[must_use]
    pub fn read(&self) -> Count {
        self.shares.iter().fold(Count::default(), |sum, share| Count {
            packets: sum.packets.wrapping_add(share.packets.load(Ordering::Relaxed)),
            bytes: sum.bytes.wrapping_add(share.bytes.load(Ordering::Relaxed)),
        })
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(more.packets),
            bytes: self.bytes.wrapping_add(more.bytes),
        }
    }
}

impl std::ops::Sub for Count {
    type Output = Self;

    /// What was counted since `earlier`, which may lie below zero: a counter that was set to begin higher.
    fn sub(self, earlier: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(earlier.packets),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_count_apart_and_read_together() {
        let counters = RuleCounters::new(3);
        for worker in 0..3 {
            counters.add(worker, 100);
        }
        counters.add(2, 40);
        assert_eq!(counters.read(), Count { packets: 4, bytes: 340 });
        assert_eq!(
            counters.read() - Count { packets: 1, bytes: 40 },
            Count { packets: 3, bytes: 300 }
        );
        assert_eq!(size_of::<Share>(), 64);
    }
}
