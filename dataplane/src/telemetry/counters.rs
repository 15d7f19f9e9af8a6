//! A worker's counters: plain words while it works, published whole between polls.
//!
//! The identity of [`crate::verdict`] holds at the end of every poll, not inside one. So a reader must
//! never see half a poll. The worker counts in a plain array that only it touches, and at the end of a
//! poll in which something moved it copies the array into atomics under a sequence lock: odd while it
//! writes, even when done. A reader copies and starts again if the sequence was odd or has changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::port::{PORTS_MAX, PortIndex};
use crate::verdict::DropReason;

/// What is counted for a whole worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// Packets taken from ports.
    Received,
    /// Packets that Weir made itself: ICMP errors, resets, fragments, handshakes of SYNPROXY.
    Originated,
    /// Packets that came from other workers.
    HandedIn,
    /// Packets accepted by a transmit ring.
    Transmitted,
    /// Packets given to the machine itself.
    ToHost,
    /// Packets given to the worker of their flow.
    HandedOut,
    /// Packets that went into something else: cut into fragments, or answered by SYNPROXY.
    Absorbed,
    /// Packets that wait now for their next hop (a level, not a sum).
    Held,
    /// Frames in the pool now (a level).
    FramesPool,
    /// Frames lent to the kernel now (a level).
    FramesLent,
    /// Polls.
    Polls,
    /// Polls that found nothing to do.
    PollsIdle,
    /// Times that the worker went to sleep.
    Sleeps,
    /// ICMP errors and resets not sent: rate limit, or the packet is one that must not be answered.
    AnswersSuppressed,
    /// Lines about packets that were asked for: `-j LOG`.
    Logged,
    /// Lines about packets that were too many.
    LogSuppressed,
    /// SYNs that SYNPROXY has answered.
    SynproxySyns,
    /// Acknowledgments of what SYNPROXY has sent.
    SynproxyCookiesValid,
    /// Acknowledgments of something else.
    SynproxyCookiesInvalid,
    /// Of the valid ones, those of which the server has been told already.
    SynproxyCookiesRepeated,
    /// Proxied connections that have come about.
    SynproxyConnections,
    /// Addresses that the kernel named although they were not lent to it.
    ForeignAddresses,
    /// Unexpected errors of the system call that starts transmission or reception.
    KickErrors,
}

const GENERAL: usize = Counter::KickErrors as usize + 1;
const DROPS: usize = GENERAL;
const PORTS: usize = DROPS + DropReason::COUNT;
const PORT_WORDS: usize = 4;
const WORDS: usize = PORTS + PORTS_MAX * PORT_WORDS;

/// Traffic of one port as one worker saw it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortTraffic {
    /// Packets received.
    pub received: u64,
    /// Bytes received, Ethernet header included.
    pub received_bytes: u64,
    /// Packets transmitted.
    pub transmitted: u64,
    /// Bytes transmitted.
    pub transmitted_bytes: u64,
}

/// The counters themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    words: [u64; WORDS],
}

impl Default for Counters {
    fn default() -> Self {
        Self { words: [0; WORDS] }
    }
}

impl Counters {
    /// Adds to a counter.
    pub fn add(&mut self, counter: Counter, n: u64) {
        self.words[counter as usize] += n;
    }

    /// Sets a level.
    pub fn set(&mut self, counter: Counter, n: u64) {
        self.words[counter as usize] = n;
    }

    /// Reads a counter.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.words[counter as usize]
    }

    /// Counts a dropped packet.
    pub fn drop_one(&mut self, reason: DropReason) {
        self.words[DROPS + reason as usize] += 1;
    }

    /// Packets dropped for a reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.words[DROPS + reason as usize]
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn dropped_all(&self) -> u64 {
        self.words[DROPS..PORTS].iter().sum()
    }

    /// Counts packets received on a port, also in the total.
    pub fn received(&mut self, port: PortIndex, packets: u64, bytes: u64) {
        self.add(Counter::Received, packets);
        let at = PORTS + port.as_usize() * PORT_WORDS;
        self.words[at] += packets;
        self.words[at + 1] += bytes;
    }

    /// Counts packets transmitted on a port, also in the total.
    pub fn transmitted(&mut self, port: PortIndex, packets: u64, bytes: u64) {
        self.add(Counter::Transmitted, packets);
        let at = PORTS + port.as_usize() * PORT_WORDS;
        self.words[at + 2] += packets;
        self.words[at + 3] += bytes;
    }

    /// Counts packets given to the machine itself, for which `port` is the way.
    pub fn delivered(&mut self, port: PortIndex, packets: u64, bytes: u64) {
        self.add(Counter::ToHost, packets);
        let at = PORTS + port.as_usize() * PORT_WORDS;
        self.words[at + 2] += packets;
        self.words[at + 3] += bytes;
    }

    /// One port's traffic.
    #[must_use]
    pub fn port(&self, port: PortIndex) -> PortTraffic {
        let at = PORTS + port.as_usize() * PORT_WORDS;
        PortTraffic {
            received: self.words[at],
            received_bytes: self.words[at + 1],
            transmitted: self.words[at + 2],
            transmitted_bytes: self.words[at + 3],
        }
    }

    /// Adds another worker's counters to these.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.words.iter_mut().zip(other.words) {
            *mine += theirs;
        }
    }

    /// What came in less what is accounted for: 0 at the end of every poll.
    #[must_use]
    pub fn imbalance(&self) -> i128 {
        let sum = |counters: &[Counter]| -> i128 {
            counters.iter().map(|counter| i128::from(self.get(*counter))).sum()
        };
        let entered = sum(&[Counter::Received, Counter::Originated, Counter::HandedIn]);
        let left = sum(&[
            Counter::Transmitted,
            Counter::ToHost,
            Counter::HandedOut,
            Counter::Absorbed,
            Counter::Held,
        ]);
        entered - left - i128::from(self.dropped_all())
    }
}

/// The published copy that others read.
#[derive(Debug)]
pub struct PublishedCounters {
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Default for PublishedCounters {
    fn default() -> Self {
        Self { sequence: AtomicU64::new(0), words: [const { AtomicU64::new(0) }; WORDS] }
    }
}

impl PublishedCounters {
    /// A new copy, all zero.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Publishes. Only the one worker that owns the counters may call this.
    pub fn publish(&self, counters: &Counters) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in self.words.iter().zip(counters.words) {
            word.store(value, Ordering::Relaxed);
        }
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// A consistent copy, as it stood at the end of some poll.
    #[must_use]
    pub fn read(&self) -> Counters {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            let mut counters = Counters::default();
            for (value, word) in counters.words.iter_mut().zip(&self.words) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                return counters;
            }
            // The writer needs well under a microsecond; give up this time slice if it was preempted.
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_count_has_a_word_of_its_own() {
        let mut counters = Counters::default();
        let port = PortIndex::new(PORTS_MAX - 1).expect("the last port");
        counters.received(port, 1, 60);
        counters.transmitted(port, 2, 120);
        counters.add(Counter::KickErrors, 7);
        counters.drop_one(DropReason::ALL[0]);
        counters.drop_one(DropReason::ALL[DropReason::COUNT - 1]);
        let traffic =
            PortTraffic { received: 1, received_bytes: 60, transmitted: 2, transmitted_bytes: 120 };
        assert_eq!(counters.port(port), traffic);
        assert_eq!(counters.get(Counter::Received), 1);
        assert_eq!(counters.get(Counter::Transmitted), 2);
        assert_eq!(counters.get(Counter::KickErrors), 7);
        assert_eq!(counters.dropped_all(), 2);
        assert_eq!(counters.imbalance(), 1 - 2 - 2);
        assert_eq!(counters.words.iter().filter(|word| **word != 0).count(), 9);
    }

    #[test]
    fn a_reader_never_sees_half_a_poll() {
        let published = PublishedCounters::new();
        std::thread::scope(|scope| {
            let writer = Arc::clone(&published);
            scope.spawn(move || {
                let mut counters = Counters::default();
                for _ in 0..50_000 {
                    counters.add(Counter::Received, 3);
                    counters.add(Counter::Transmitted, 2);
                    counters.drop_one(DropReason::Rule);
                    writer.publish(&counters);
                }
            });
            while published.read().get(Counter::Received) < 150_000 {
                assert_eq!(published.read().imbalance(), 0);
            }
        });
    }
}
