//! What has arrived of one lane.

use crate::measure::{Arrival, Histogram, Sequence};

/// See the module.
#[derive(Debug)]
pub(super) struct Arrivals {
    sequence: Sequence,
    pub(super) latency: Histogram,
    /// Those whose number cannot be read.
    unnumbered: u64,
    pub(super) bytes: u64,
    pub(super) damaged: u64,
    /// Frames received in each second of the run.
    pub(super) seconds: Box<[u64]>,
}

impl Arrivals {
    /// Nothing yet; with all memory for a run of so many seconds.
    pub(super) fn new(seconds: usize) -> Self {
        Self {
            sequence: Sequence::new(),
            latency: Histogram::new(),
            unnumbered: 0,
            bytes: 0,
            damaged: 0,
            seconds: vec![0; seconds].into(),
        }
    }

    /// A frame with a number.
    #[inline]
    pub(super) fn numbered(&mut self, number: u64, latency_ns: u64, second: usize, bytes: usize) {
        if self.sequence.arrive(number) != Arrival::Duplicate {
            self.latency.record(latency_ns);
            self.count(second, bytes);
        }
    }

    /// A frame without one.
    pub(super) fn unnumbered(&mut self, is_damaged: bool, second: usize, bytes: usize) {
        self.unnumbered += 1;
        self.damaged += u64::from(is_damaged);
        self.count(second, bytes);
    }

    #[inline]
    fn count(&mut self, second: usize, bytes: usize) {
        self.bytes += bytes as u64;
        if let Some(count) = self.seconds.get_mut(second) {
            *count += 1;
        }
    }

    /// Different frames.
    #[inline]
    pub(super) fn received(&self) -> u64 {
        self.sequence.received() + self.unnumbered
    }

    /// Further copies.
    pub(super) fn duplicated(&self) -> u64 {
        self.sequence.duplicated()
    }

    /// Frames that came after one that was sent later.
    pub(super) fn reordered(&self) -> u64 {
        self.sequence.reordered()
    }
}
