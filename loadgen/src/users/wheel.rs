//! Timers of many connections: a wheel of fine slots.
//!
//! ```text
//!   slot    0   1   2  ...  65535      65.5 µs each, 4.3 s around
//!           |       |
//!           v       v
//!           c       c <-> c            connections, a list through `Link`
//! ```
//!
//! It is lazy as the tracker's in the dataplane is: a deadline that moves later moves nothing; the connection is looked
//! at in the old slot and put off, at most once around. The owner compares with the deadline itself. A timer runs out
//! at most one slot late, and never early.

/// Slots, a power of two.
const SLOTS: usize = 1 << 16;

/// A slot in nanoseconds, as a shift.
const SLOT_SHIFT: u32 = 16;

/// No connection.
const NIL: u32 = u32::MAX;

/// A connection's place. `slot` is a tick of the wheel, counted from the start without wrapping around; 0: not linked.
#[derive(Clone, Copy, Debug)]
struct Link {
    tick: u64,
    next: u32,
    previous: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32]>,
    links: Box<[Link]>,
    /// A bit for each slot that is not empty, and one for each word of them that is not 0.
    full: Box<[u64]>,
    words: Box<[u64]>,
    /// The tick that is being emptied.
    at: u64,
}

impl Wheel {
    /// For so many connections.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            heads: vec![NIL; SLOTS].into(),
            links: vec![Link { tick: 0, next: NIL, previous: NIL }; connections].into(),
            full: vec![0; SLOTS / 64].into(),
            words: vec![0; SLOTS / 64 / 64].into(),
            at: 1,
        }
    }

    /// Bytes that each connection costs.
    pub(super) const CONNECTION_BYTES: usize = size_of::<Link>();

    /// Sees to it that a connection comes up once its deadline is over, or before.
    pub(super) fn set(&mut self, connection: u32, deadline_ns: u64) {
        // The first tick that begins at or after the deadline.
        let tick = (deadline_ns >> SLOT_SHIFT) + 1;
        let tick = tick.clamp(self.at, self.at + SLOTS as u64 - 1);
        let linked = self.links[connection as usize].tick;
        if linked != 0 && linked <= tick {
            return;
        }
        self.clear(connection);
        let slot = slot_of(tick);
        let head = std::mem::replace(&mut self.heads[slot], connection);
        self.links[connection as usize] = Link { tick, next: head, previous: NIL };
        if head != NIL {
            self.links[head as usize].previous = connection;
        }
        self.full[slot / 64] |= 1 << (slot % 64);
        self.words[slot / 64 / 64] |= 1 << (slot / 64 % 64);
    }

    /// Takes a connection out.
    pub(super) fn clear(&mut self, connection: u32) {
        let Link { tick, next, previous } = self.links[connection as usize];
        if tick == 0 {
            return;
        }
        self.links[connection as usize].tick = 0;
        if next != NIL {
            self.links[next as usize].previous = previous;
        }
        if previous != NIL {
            self.links[previous as usize].next = next;
            return;
        }
        let slot = slot_of(tick);
        self.heads[slot] = next;
        if next == NIL {
            self.full[slot / 64] &= !(1 << (slot % 64));
            if self.full[slot / 64] == 0 {
                self.words[slot / 64 / 64] &= !(1 << (slot / 64 % 64));
            }
        }
    }

    /// The next connection to look at, taken out; `None` once the wheel has come to `now_ns`.
    pub(super) fn next_due(&mut self, now_ns: u64) -> Option<u32> {
        let target = now_ns >> SLOT_SHIFT;
        let due = self.next_tick().filter(|tick| *tick <= target);
        let Some(tick) = due else {
            self.at = self.at.max(target);
            return None;
        };
        self.at = tick;
        let connection = self.heads[slot_of(tick)];
        self.clear(connection);
        Some(connection)
    }

    /// When [`next_due`](Self::next_due) has something next.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.next_tick().map(|tick| tick << SLOT_SHIFT)
    }

    /// The first tick from `at` on whose slot is not empty.
    fn next_tick(&self) -> Option<u64> {
        let from = slot_of(self.at);
        let slot = self.first_full(from, SLOTS).or_else(|| self.first_full(0, from))?;
        Some(self.at + slot.wrapping_sub(from) as u64 % SLOTS as u64)
    }

    /// The first slot of `from..to` that is not empty.
    fn first_full(&self, from: usize, to: usize) -> Option<usize> {
        let here = self.full.get(from / 64)? >> (from % 64);
        let slot = if here != 0 {
            from + here.trailing_zeros() as usize
        } else {
            let word = next_bit(&self.words, from / 64 + 1)?;
            word * 64 + self.full[word].trailing_zeros() as usize
        };
        (slot < to).then_some(slot)
    }
}

fn slot_of(tick: u64) -> usize {
    usize::try_from(tick % SLOTS as u64).unwrap_or(0)
}

/// The first bit at or behind `from` that is set.
fn next_bit(words: &[u64], from: usize) -> Option<usize> {
    let here = words.get(from / 64)? >> (from % 64);
    if here != 0 {
        return Some(from + here.trailing_zeros() as usize);
    }
    let behind = words.iter().enumerate().skip(from / 64 + 1).find(|(_, word)| **word != 0);
    behind.map(|(at, word)| at * 64 + word.trailing_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SLOT_NS: u64 = 1 << SLOT_SHIFT;

    #[test]
    fn an_empty_wheel_has_nothing_due() {
        let mut wheel = Wheel::new(1);
        assert_eq!((wheel.due_ns(), wheel.next_due(u64::MAX >> 1)), (None, None));
    }

    proptest! {
        /// Against the obvious: each comes up once, not early unless it lies beyond a turn, and when `due_ns` says.
        #[test]
        fn every_timer_runs_out_in_time(
            start in 0_u64..1 << 40,
            spans in prop::collection::vec((0_u64..10_000_000_000, any::<bool>(), 0_u64..10_000_000_000), 1..50),
        ) {
            let mut wheel = Wheel::new(spans.len());
            prop_assert_eq!(wheel.next_due(start), None);
            let mut deadlines = Vec::new();
            for (connection, (span, moves, other)) in (0_u32..).zip(&spans) {
                wheel.set(connection, start + span);
                // A later deadline may be kept to itself, an earlier one must be told.
                let span = if *moves { *other } else { *span };
                wheel.set(connection, start + span);
                deadlines.push(Some(start + span));
            }
            for dead in (0..spans.len()).step_by(7) {
                wheel.clear(u32::try_from(dead).unwrap());
                deadlines[dead] = None;
            }
            while let Some(now_ns) = wheel.due_ns() {
                let connection = wheel.next_due(now_ns).expect("what due_ns says");
                let deadline_ns = deadlines[connection as usize].expect("one that waits");
                if now_ns < deadline_ns {
                    wheel.set(connection, deadline_ns);
                } else {
                    prop_assert!(now_ns <= deadline_ns + SLOT_NS);
                    deadlines[connection as usize] = None;
                }
            }
            prop_assert!(deadlines.iter().all(Option::is_none));
        }
    }
}
