//! `Wanted`: a tuple, ready to be compared with flows.

use super::flow::Flow;
use super::tuple::{Key, Tuple, bits6};
use super::{Direction, Kind};

/// A packet's tuple and its answer's, ready for comparison.
pub(super) struct Wanted<'a> {
    pub(super) tuple: &'a Tuple,
    pub(super) hash: u64,
    pub(super) kind: Kind,
    pub(super) there: Key,
    back: Key,
}

impl<'a> Wanted<'a> {
    #[inline]
    pub(super) fn new(tuple: &'a Tuple, kind: Kind, hash: u64) -> Option<Self> {
        let back = tuple.inverted()?;
        Some(Self { tuple, hash, kind, there: Key::new(tuple), back: Key::new(&back) })
    }

    /// The direction that this tuple has in a flow, if it is part of it. Where both would do (who speaks to
    /// itself), the kernel finds the reply.
    #[inline]
    pub(super) fn direction(
        &self,
        flow: &Flow,
        addresses6: Option<&[u128; 2]>,
    ) -> Option<Direction> {
        let key = flow.key();
        let direction = if key == self.back {
            Direction::Reply
        } else if key == self.there {
            Direction::Original
        } else {
            return None;
        };
        if !flow.is_of(self.kind, self.tuple.protocol) {
            return None;
        }
        let Some(addresses6) = addresses6 else { return Some(direction) };
        let mut own = [bits6(self.tuple.source), bits6(self.tuple.destination)];
        if direction == Direction::Reply {
            own.reverse();
        }
        (own == *addresses6).then_some(direction)
    }
}
