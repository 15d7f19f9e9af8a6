//! Sets of numbers as sorted ranges: addresses and ports.

/// Ranges, both ends included, sorted, with gaps between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intervals(Vec<(u128, u128)>);

impl Intervals {
    /// `first..=last`.
    pub(super) fn range(first: u128, last: u128) -> Self {
        Self(vec![(first, last)])
    }

    /// The ranges, sorted and joined.
    pub(super) fn of(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its least number.
    pub(super) fn first(&self) -> Option<u128> {
        self.0.first().map(|(first, _)| *first)
    }

    /// Its least and its greatest number; a range without numbers if it has none.
    pub(super) fn bounds(&self) -> (u128, u128) {
        match (self.0.first(), self.0.last()) {
            (Some((first, _)), Some((_, last))) => (*first, *last),
            _ => (u128::MAX, 0),
        }
    }

    /// Whether something is in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let overlap = |a: &(u128, u128), b: &(u128, u128)| a.0 <= b.1 && b.0 <= a.1;
        self.0.iter().any(|a| other.0.iter().any(|b| overlap(a, b)))
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Self) -> Self {
        let pairs = self.0.iter().flat_map(|a| other.0.iter().map(move |b| (a, b)));
        Self::of(pairs.map(|((a, b), (c, d))| (*a.max(c), *b.min(d))))
    }

    /// What is in this and not in the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = self.0.clone();
        for &(from, to) in &other.0 {
            left = left
                .into_iter()
                .flat_map(|(first, last)| {
                    if to < first || last < from {
                        return [Some((first, last)), None];
                    }
                    let before = (first < from).then(|| (first, from - 1));
                    let after = (to < last).then(|| (to + 1, last));
                    [before, after]
                })
                .flatten()
                .collect();
        }
        Self(left)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<(u128, u128)>> {
        prop::collection::vec((0_u128..30, 0_u128..30), 0..5)
    }

    proptest! {
        #[test]
        fn sets_do_what_sets_do(a in ranges(), b in ranges()) {
            let members = |set: &Intervals| -> Vec<u128> {
                set.0.iter().flat_map(|(first, last)| *first..=*last).collect()
            };
            let has = |ranges: &[(u128, u128)], n: u128| {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&n))
            };
            let (left, right) = (Intervals::of(a.clone()), Intervals::of(b.clone()));
            let expected = |keep: &dyn Fn(bool, bool) -> bool| -> Vec<u128> {
                (0..30).filter(|n| keep(has(&a, *n), has(&b, *n))).collect()
            };
            prop_assert_eq!(members(&left), expected(&|a, _| a));
            prop_assert_eq!(members(&left.and(&right)), expected(&|a, b| a && b));
            prop_assert_eq!(left.meets(&right), !left.and(&right).is_empty());
            prop_assert_eq!(members(&left.without(&right)), expected(&|a, b| a && !b));
        }
    }
}
