//! Which packets of a stream have arrived, and in which order.
//!
//! A window of the last million numbers below the highest seen is kept, a bit each. In it every arrival is told
//! exactly: new or a copy, in order or not. A packet that is further behind than that (at a million packets a second:
//! later than a second) is taken for a new one that is out of order; it could be a copy.
//!
//! Order is RFC 4737's: the stream expects the number after the highest that has arrived; a new packet with a smaller
//! one is reordered (section 3.3, Type-P-Reordered). A gap alone is no reordering; that is loss, or it becomes
//! reordering when the packet does come.

/// Numbers in the window; a power of two.
pub const WINDOW: u64 = 1 << 20;

/// What an arrival is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first copy of its packet, later than all that have arrived.
    InOrder,
    /// The first copy of its packet, after one that was sent later.
    Reordered,
    /// A further copy.
    Duplicate,
}

/// The arrivals of one lane.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// A bit for each number of the window, at its place modulo the window's size.
    seen: Box<[u64]>,
    /// The number after the highest that has arrived.
    next: u64,
    received: u64,
    duplicated: u64,
    reordered: u64,
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

impl Sequence {
    /// Nothing has arrived. Allocates all that it will ever need (128 KB).
    #[must_use]
    pub fn new() -> Self {
        let words = usize::try_from(WINDOW / 64).unwrap_or(0);
        Self { seen: vec![0; words].into(), next: 0, received: 0, duplicated: 0, reordered: 0 }
    }

    /// Takes note of an arrival.
    #[inline]
    pub fn arrive(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            self.clear(number);
            self.next = number + 1;
            self.mark(number);
            self.received += 1;
            return Arrival::InOrder;
        }
        if self.next - number <= WINDOW && self.mark(number) {
            self.duplicated += 1;
            return Arrival::Duplicate;
        }
        self.received += 1;
        self.reordered += 1;
        Arrival::Reordered
    }

    /// Sets a number's bit; whether it was set.
    #[inline]
    fn mark(&mut self, number: u64) -> bool {
        let place = number % WINDOW;
        let (word, bit) = (usize::try_from(place / 64).unwrap_or(0), 1 << (place % 64));
        let was = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        was
    }

    /// Makes room for the numbers from `next` to `number`: those that they push out of the window are forgotten.
    #[inline]
    fn clear(&mut self, number: u64) {
        let skipped = number - self.next;
        if skipped == 0 {
            let place = number % WINDOW;
            self.seen[usize::try_from(place / 64).unwrap_or(0)] &= !(1 << (place % 64));
        } else if skipped >= WINDOW {
            self.seen.fill(0);
        } else {
            for each in self.next..=number {
                let place = each % WINDOW;
                self.seen[usize::try_from(place / 64).unwrap_or(0)] &= !(1 << (place % 64));
            }
        }
    }

    /// Different packets that have arrived.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Further copies that have arrived.
    #[must_use]
    pub fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Packets that arrived after one that was sent later.
    #[must_use]
    pub fn reordered(&self) -> u64 {
        self.reordered
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn told(numbers: impl IntoIterator<Item = u64>) -> (u64, u64, u64) {
        let mut sequence = Sequence::new();
        numbers.into_iter().for_each(|number| {
            sequence.arrive(number);
        });
        (sequence.received(), sequence.duplicated(), sequence.reordered())
    }

    #[test]
    fn loss_duplicates_and_order_are_told_apart() {
        assert_eq!(told(0..1000), (1000, 0, 0));
        assert_eq!(told([0, 1, 3, 4]), (4, 0, 0), "a gap is no reordering");
        assert_eq!(told([0, 2, 1, 3]), (4, 0, 1));
        assert_eq!(told([0, 1, 1, 2, 0]), (3, 2, 0), "copies are not reordered");
        assert_eq!(told([5, 4, 3, 2, 1, 0]), (6, 0, 5));
    }

    #[test]
    fn it_agrees_with_one_that_remembers_everything() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut sequence = Sequence::new();
            let (mut all, mut highest) = (BTreeSet::new(), None);
            for at in 0..20_000_u64 {
                // Now and then a leap over most of the window; never behind it.
                let number = match rng.u32(..1000) {
                    0 => at * 40,
                    1..50 => (at * 40).saturating_sub(rng.u64(..1000)),
                    _ => at * 40 + rng.u64(..50),
                };
                let expected = match (all.insert(number), highest) {
                    (false, _) => Arrival::Duplicate,
                    (true, Some(highest)) if number < highest => Arrival::Reordered,
                    _ => Arrival::InOrder,
                };
                highest = highest.max(Some(number));
                assert_eq!(sequence.arrive(number), expected, "seed {seed}, {number}");
            }
        }
    }

    #[test]
    fn what_is_behind_the_window_counts_as_new_and_late() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.arrive(0), Arrival::InOrder);
        assert_eq!(sequence.arrive(WINDOW - 1), Arrival::InOrder);
        assert_eq!(sequence.arrive(0), Arrival::Duplicate, "just inside");
        assert_eq!(sequence.arrive(WINDOW), Arrival::InOrder);
        assert_eq!(sequence.arrive(0), Arrival::Reordered, "just outside");
        assert_eq!(sequence.arrive(10 * WINDOW), Arrival::InOrder, "a leap forgets all");
        assert_eq!(sequence.arrive(9 * WINDOW + 1), Arrival::Reordered);
        assert_eq!(sequence.arrive(9 * WINDOW + 1), Arrival::Duplicate);
    }
}
