//! Longest prefix match over addresses of one family, built once and never altered.
//!
//! Prefixes are nested or disjoint, never half overlapping. So a set of them cuts the address space into consecutive
//! ranges, each with one answer: that of the longest prefix around it. The table keeps these ranges, sorted by their
//! first address, and finds the one around an address by binary search:
//!
//! ```text
//!   10.0.0.0/8 = A, 10.1.0.0/16 = B
//!
//!   prefixes     |          AAAAAAABBBBBAAAAAAAAAAA             |
//!   starts       0.0.0.0    10.0.. 10.1 10.2       11.0.0.0
//!   values       none       A      B    A          none
//! ```
//!
//! Compared with a trie there is nothing to chase: one array of four-byte keys is searched, one value read. An index by
//! the upper 16 bits of the address first cuts the search to the ranges that touch one /16. The price is that a change
//! means building anew, which suits values published whole (`publish.rs`).
//!
//! Measured on one core of a virtual machine, random addresses, random prefixes of 16 to 24 bits:
//!
//! | prefixes | build | lookup | without the index |
//! |---|---|---|---|
//! | 100 | 0.3 ms | 8 ns | 23 ns |
//! | 10,000 | 1.4 ms | 15 ns | 80 ns |
//! | 100,000 | 18 ms | 56 ns | 218 ns |
//! | 1,000,000 | 0.2 s | 205 ns | 790 ns |
//!
//! Memory: `n` prefixes make at most `2 n + 1` ranges of `4 + size_of::<Option<V>>()` bytes, and the index takes
//! 256 KiB. For IPv6 keys have 16 bytes, and the upper 16 bits tell less. With the limit of
//! [`ROUTES_MAX`](crate::route::ROUTES_MAX) routes and four-byte values that is 25 MB.

use std::fmt::Debug;
use std::hash::Hash;
use std::ops::{BitAnd, BitOr, Not};

/// The bits of an address, as a number: `u32` of IPv4, `u128` of IPv6.
pub trait Bits:
    Copy + Ord + Hash + Debug + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self>
{
    /// How many there are.
    const LEN: u8;
    /// All of them clear.
    const ZERO: Self;

    /// The network mask of a prefix length of at most [`Bits::LEN`].
    #[must_use]
    fn mask(len: u8) -> Self;
    /// The next address; `None` after the last.
    #[must_use]
    fn next(self) -> Option<Self>;
    /// The upper 16 bits.
    #[must_use]
    fn upper(self) -> u16;
    /// The first address with these upper 16 bits.
    #[must_use]
    fn first_of(upper: u16) -> Self;
}

macro_rules! bits {
    ($number:ty) => {
        impl Bits for $number {
            #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
            const LEN: u8 = <$number>::BITS as u8;
            const ZERO: Self = 0;

            fn mask(len: u8) -> Self {
                <$number>::MAX.checked_shl(u32::from(Self::LEN - len)).unwrap_or(0)
            }

            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }

            #[inline]
            fn upper(self) -> u16 {
                (self >> (<$number>::BITS - 16)) as u16
            }

            fn first_of(upper: u16) -> Self {
                <$number>::from(upper) << (<$number>::BITS - 16)
            }
        }
    };
}

bits!(u32);
bits!(u128);

/// Ranges from which on an index is worth its memory. Below, five steps inside two cache lines do.
const INDEX_RANGES_MIN: usize = 32;

/// One prefix and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix<V, K = u32> {
    /// An address inside the prefix; bits beyond `len` are ignored.
    pub network: K,
    /// Bits that count, 0 to 32, of IPv6 to 128; more is taken as all.
    pub len: u8,
    /// The answer. `None` makes a hole: inside it, shorter prefixes do not answer either.
    pub value: Option<V>,
}

/// Immutable longest-prefix-match table from addresses (host byte order) to `V`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixTable<V, K = u32> {
    /// First address of each range, ascending; the first is 0.
    starts: Vec<K>,
    /// The answer of each range.
    values: Vec<Option<V>>,
    /// With an index: for each value of the upper 16 bits, the range around its first address; and one more entry that
    /// names the last range. Else empty.
    index: Vec<u32>,
}

impl<V: Copy + PartialEq, K: Bits> PrefixTable<V, K> {
    /// Builds the table. Where a prefix occurs more than once, its first occurrence counts. Without an index.
    pub fn new(mut prefixes: Vec<Prefix<V, K>>) -> Self {
        for prefix in &mut prefixes {
            prefix.len = prefix.len.min(K::LEN);
            prefix.network = prefix.network & K::mask(prefix.len);
        }
        // Outer prefixes come before those inside them. Stable, so the first of equals stays first.
        prefixes.sort_by_key(|prefix| (prefix.network, prefix.len));
        prefixes.dedup_by_key(|prefix| (prefix.network, prefix.len));

        let mut ranges = Ranges::with_capacity(prefixes.len() * 2 + 1);
        // The prefixes around the current position, outermost first: the last address of each, and its value.
        let mut open: Vec<(K, Option<V>)> = Vec::with_capacity(usize::from(K::LEN) + 1);
        ranges.begin(K::ZERO, None);
        for prefix in &prefixes {
            close(&mut open, &mut ranges, Some(prefix.network));
            open.push((prefix.network | !K::mask(prefix.len), prefix.value));
            ranges.begin(prefix.network, prefix.value);
        }
        close(&mut open, &mut ranges, None);
        ranges.finish()
    }

    /// The same table with an index, if it has enough ranges to gain by it: lookups take a third of the time, building
    /// takes a quarter of a millisecond longer.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        if self.starts.len() >= INDEX_RANGES_MIN {
            self.index = index(&self.starts);
        }
        self
    }

    /// A table that answers as `self` where `self` has an answer, and as `below` elsewhere. Without an index.
    pub fn over(&self, below: &Self) -> Self {
        let mut ranges = Ranges::with_capacity(self.starts.len() + below.starts.len());
        let (mut upper, mut lower) = (0, 0);
        let mut start = K::ZERO;
        loop {
            ranges.begin(start, self.values[upper].or(below.values[lower]));
            let next_upper = self.starts.get(upper + 1).copied();
            let next_lower = below.starts.get(lower + 1).copied();
            start = match (next_upper, next_lower) {
                (None, None) => return ranges.finish(),
                (Some(next), None) | (None, Some(next)) => next,
                (Some(a), Some(b)) => a.min(b),
            };
            upper += usize::from(next_upper == Some(start));
            lower += usize::from(next_lower == Some(start));
        }
    }

    /// The value of the longest prefix around `address`.
    #[inline]
    pub fn lookup(&self, address: K) -> Option<V> {
        let (from, to) = if self.index.is_empty() {
            (0, self.starts.len())
        } else {
            // Two entries always exist for an upper half: the index has 2^16 + 1 of them.
            let upper = usize::from(address.upper());
            (self.index[upper] as usize, self.index[upper + 1] as usize + 1)
        };
        // The range at `from` starts at or before the address, so the count is never 0.
        let after = self.starts[from..to].partition_point(|&start| start <= address);
        self.values[from + after - 1]
    }

    /// How many ranges the prefixes came to.
    pub fn ranges(&self) -> usize {
        self.starts.len()
    }
}

impl<V: Copy + PartialEq, K: Bits> Default for PrefixTable<V, K> {
    /// The table without a prefix.
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// Ends the open prefixes that lie wholly before `position`, or all of them: after each, the one around it answers
/// again.
fn close<V: Copy + PartialEq, K: Bits>(
    open: &mut Vec<(K, Option<V>)>,
    ranges: &mut Ranges<V, K>,
    position: Option<K>,
) {
    while let Some(&(last, _)) = open.last()
        && position.is_none_or(|position| last < position)
    {
        open.pop();
        // After the last address of all nothing follows.
        if let Some(start) = last.next() {
            ranges.begin(start, open.last().and_then(|&(_, value)| value));
        }
    }
}

/// The ranges under construction.
struct Ranges<V, K> {
    starts: Vec<K>,
    values: Vec<Option<V>>,
}

impl<V: Copy + PartialEq, K: Bits> Ranges<V, K> {
    fn with_capacity(ranges: usize) -> Self {
        Self { starts: Vec::with_capacity(ranges), values: Vec::with_capacity(ranges) }
    }

    /// From `start` on the answer is `value`. Starts never descend; the last word on one start counts.
    fn begin(&mut self, start: K, value: Option<V>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        // Neighbours with the same answer are one range.
        if self.values.last() != Some(&value) {
            self.starts.push(start);
            self.values.push(value);
        }
    }

    fn finish(self) -> PrefixTable<V, K> {
        let Self { mut starts, mut values } = self;
        starts.shrink_to_fit();
        values.shrink_to_fit();
        PrefixTable { starts, values, index: Vec::new() }
    }
}

/// For each value of the upper 16 bits the range around its first address, then the last range.
fn index<K: Bits>(starts: &[K]) -> Vec<u32> {
    let mut index = Vec::with_capacity((1 << 16) + 1);
    let mut range = 0;
    for upper in 0..=u16::MAX {
        while starts.get(range + 1).is_some_and(|&start| start <= K::first_of(upper)) {
            range += 1;
        }
        index.push(position(range));
    }
    index.push(position(starts.len() - 1));
    index
}

/// There are far fewer prefixes than 2^31, so the positions of their ranges fit.
fn position(range: usize) -> u32 {
    u32::try_from(range).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(len: u8) -> u32 {
        u32::mask(len)
    }

    fn prefix(network: [u8; 4], len: u8, value: u32) -> Prefix<u32> {
        Prefix { network: u32::from_be_bytes(network), len, value: Some(value) }
    }

    fn at(table: &PrefixTable<u32>, address: [u8; 4]) -> Option<u32> {
        table.lookup(u32::from_be_bytes(address))
    }

    /// Longest prefix match as its definition reads.
    fn naive(prefixes: &[Prefix<u32>], address: u32) -> Option<u32> {
        let around = |p: &&Prefix<u32>| (p.network ^ address) & mask(p.len) == 0;
        let longest = prefixes.iter().filter(around).map(|p| p.len).max()?;
        prefixes.iter().filter(around).find(|p| p.len == longest)?.value
    }

    #[test]
    fn an_empty_table_answers_nothing() {
        let table = PrefixTable::<u32>::default();
        assert_eq!((table.ranges(), at(&table, [0; 4]), at(&table, [255; 4])), (1, None, None));
    }

    #[test]
    fn the_longest_prefix_answers() {
        let table = PrefixTable::new(vec![
            prefix([0, 0, 0, 0], 0, 1),
            prefix([10, 0, 0, 0], 8, 2),
            prefix([10, 1, 0, 0], 16, 3),
            prefix([10, 1, 255, 255], 32, 4),
            prefix([255, 255, 255, 254], 31, 5),
        ]);
        let answers = [
            ([0, 0, 0, 0], 1),
            ([9, 255, 255, 255], 1),
            ([10, 0, 0, 0], 2),
            ([10, 1, 0, 0], 3),
            ([10, 1, 255, 254], 3),
            ([10, 1, 255, 255], 4),
            ([10, 2, 0, 0], 2),
            ([11, 0, 0, 0], 1),
            ([255, 255, 255, 253], 1),
            ([255, 255, 255, 254], 5),
            ([255, 255, 255, 255], 5),
        ];
        for (address, value) in answers {
            assert_eq!(at(&table, address), Some(value), "{address:?}");
        }
    }

    #[test]
    fn the_first_of_equal_prefixes_counts_and_stray_bits_do_not() {
        let table = PrefixTable::new(vec![
            prefix([10, 0, 0, 9], 24, 1),
            prefix([10, 0, 0, 0], 24, 2),
            prefix([10, 0, 0, 77], 200, 3),
        ]);
        assert_eq!((at(&table, [10, 0, 0, 1]), at(&table, [10, 0, 0, 77])), (Some(1), Some(3)));
    }

    #[test]
    fn a_hole_hides_shorter_prefixes_and_lets_the_table_below_through() {
        let hole = Prefix { value: None, ..prefix([10, 1, 0, 0], 16, 0) };
        let upper = PrefixTable::new(vec![prefix([10, 0, 0, 0], 8, 1), hole]);
        assert_eq!((at(&upper, [10, 0, 0, 1]), at(&upper, [10, 1, 0, 1])), (Some(1), None));
        let below = PrefixTable::new(vec![prefix([0, 0, 0, 0], 0, 7)]);
        let both = upper.over(&below);
        assert_eq!((at(&both, [10, 0, 0, 1]), at(&both, [10, 1, 0, 1])), (Some(1), Some(7)));
        assert_eq!(at(&both, [11, 0, 0, 0]), Some(7));
    }

    fn prefixes(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Prefix<u32>>> {
        // Few distinct upper bits, so that prefixes nest and repeat.
        let one = (0_u32..8, any::<u32>(), 0_u8..=32, prop::option::weighted(0.9, 0_u32..6));
        let one = one.prop_map(|(high, low, len, value)| {
            let network = ((high << 29) | (low & 0x1fff_ffff)) & mask(len);
            Prefix { network, len, value }
        });
        prop::collection::vec(one, count)
    }

    /// Random addresses, and the edges of every prefix.
    fn probes(prefixes: &[Prefix<u32>], random: &[u32]) -> Vec<u32> {
        let edges = prefixes.iter().flat_map(|p| {
            let last = p.network | !mask(p.len);
            [p.network, p.network.wrapping_sub(1), last, last.wrapping_add(1)]
        });
        edges.chain(random.iter().copied()).collect()
    }

    /// The same prefixes of IPv6: their bits shifted to the left, behind so many others.
    fn wide(set: &[Prefix<u32>], shift: u32, longer: u8) -> PrefixTable<u32, u128> {
        let prefixes = set.iter().map(|prefix| Prefix {
            network: u128::from(prefix.network) << shift,
            len: prefix.len + longer,
            value: prefix.value,
        });
        PrefixTable::new(prefixes.collect()).indexed()
    }

    #[test]
    fn prefixes_of_128_bits_nest() {
        let at = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().to_bits();
        let prefix = |text, len, value| Prefix { network: at(text), len, value: Some(value) };
        let table = PrefixTable::new(vec![
            prefix("::", 0, 1),
            prefix("2001:db8::", 32, 2),
            prefix("2001:db8:0:1::", 64, 3),
            prefix("2001:db8:0:1::7", 128, 4),
            prefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 255, 5),
        ]);
        for (address, value) in [
            ("::", 1),
            ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 1),
            ("2001:db8::", 2),
            ("2001:db8:0:1::6", 3),
            ("2001:db8:0:1::7", 4),
            ("2001:db8:0:1::8", 3),
            ("2001:db8:0:2::", 2),
            ("2001:db9::", 1),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 1),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 5),
        ] {
            assert_eq!(table.lookup(at(address)), Some(value), "{address}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn tables_of_both_families_agree(
            set in prefixes(0..40), random in prop::collection::vec(any::<u32>(), 30),
        ) {
            let narrow = PrefixTable::new(set.clone());
            let (upper, lower) = (wide(&set, 96, 0), wide(&set, 0, 96));
            for address in probes(&set, &random) {
                let expected = narrow.lookup(address);
                prop_assert_eq!(upper.lookup(u128::from(address) << 96), expected, "{:#x}", address);
                prop_assert_eq!(lower.lookup(address.into()), expected, "{:#x}", address);
            }
        }
    }

    proptest! {
        #[test]
        fn small_tables_agree_with_a_naive_scan(
            set in prefixes(0..40),
            random in prop::collection::vec(any::<u32>(), 100),
        ) {
            let table = PrefixTable::new(set.clone());
            prop_assert!(table.ranges() <= 2 * set.len() + 1);
            for address in probes(&set, &random) {
                prop_assert_eq!(table.lookup(address), naive(&set, address), "{:#x}", address);
            }
        }

        #[test]
        fn overlaid_tables_agree_with_asking_both(
            upper in prefixes(0..30),
            lower in prefixes(0..30),
            random in prop::collection::vec(any::<u32>(), 100),
        ) {
            let table = PrefixTable::new(upper.clone()).over(&PrefixTable::new(lower.clone()));
            for address in probes(&upper, &random).into_iter().chain(probes(&lower, &random)) {
                let expected = naive(&upper, address).or_else(|| naive(&lower, address));
                prop_assert_eq!(table.lookup(address), expected, "{:#x}", address);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn tables_with_an_index_agree_with_a_naive_scan(
            set in prefixes(1_500..2_000),
            random in prop::collection::vec(any::<u32>(), 500),
        ) {
            let table = PrefixTable::new(set.clone()).indexed();
            prop_assert!(!table.index.is_empty());
            for address in probes(&set[..200], &random) {
                prop_assert_eq!(table.lookup(address), naive(&set, address), "{:#x}", address);
            }
        }
    }
}
