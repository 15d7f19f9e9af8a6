//! The spaces of a chain's rules, and which of them may have something in common.
//!
//! Every rule is compared with every other one, and most have nothing in common. Their bounds tell, side by side in
//! memory.

use std::ops::Range;

use super::space::Space;

/// Rules that are compared at once.
const GROUP: usize = 64;

/// The spaces of a chain's rules, in order.
#[derive(Debug)]
pub(super) struct Spaces<'a> {
    spaces: Vec<Space<'a>>,
    groups: Vec<Bounds>,
}

/// The least and the greatest addresses and ports of [`GROUP`] rules. Where there is no rule, nothing is between them.
#[derive(Debug)]
struct Bounds([([u32; GROUP], [u32; GROUP]); 4]);

impl Bounds {
    fn of(spaces: &[Space<'_>]) -> Self {
        let mut bounds = [([u32::MAX; GROUP], [0; GROUP]); 4];
        for (place, space) in spaces.iter().enumerate() {
            for ((least, greatest), own) in bounds.iter_mut().zip(space.bounds()) {
                (least[place], greatest[place]) = own;
            }
        }
        Self(bounds)
    }

    /// A bit for each rule that has something between the bounds of that one.
    fn near(&self, own: &[(u32, u32); 4]) -> u64 {
        let mut near = [u32::MAX; GROUP];
        for ((least, greatest), (from, to)) in self.0.iter().zip(own) {
            for ((near, least), greatest) in near.iter_mut().zip(least).zip(greatest) {
                *near &= if (from <= greatest) & (least <= to) { u32::MAX } else { 0 };
            }
        }
        (0..).zip(near).fold(0, |bits, (place, near)| bits | u64::from(near & 1) << place)
    }
}

impl<'a> Spaces<'a> {
    pub(super) fn of(spaces: impl Iterator<Item = Space<'a>>) -> Self {
        let spaces: Vec<Space<'a>> = spaces.collect();
        let groups = spaces.chunks(GROUP).map(Bounds::of).collect();
        Self { spaces, groups }
    }

    pub(super) fn at(&self, place: usize) -> &Space<'a> {
        &self.spaces[place]
    }

    /// Of the rules of `range`, in order, those that may have a packet in common with the one at `place`: all that do,
    /// and few others.
    pub(super) fn near(&self, place: usize, range: Range<usize>) -> impl Iterator<Item = usize> {
        let own = self.spaces[place].bounds();
        let (first, end) = (range.start / GROUP, range.end.div_ceil(GROUP));
        let groups = (first..end).zip(&self.groups[first..end]);
        let near = groups.flat_map(move |(group, bounds)| {
            let mut bits = bounds.near(&own);
            std::iter::from_fn(move || {
                let place = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(group * GROUP + place)
            })
        });
        near.filter(move |place| range.contains(place))
    }
}
