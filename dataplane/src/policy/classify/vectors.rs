//! Bit vectors: for each class of a field's values, which of some rules allow it.
//!
//! The rules that a packet may match are those whose bit is set in every field's vector: one *and* over the fields
//! for 64 rules. Each vector begins with a summary, a bit for each of its words that is not zero, so that words that
//! cannot have a common bit are not read (Baboescu and Varghese, Scalable Packet Classification, SIGCOMM 2001).
//!
//! What is not a range, an address mask with holes, is left open here and tested in the rule's record.

use std::hint::select_unpredictable;

use ahash::AHashMap;

use super::key::{PROTOCOL, PacketKey, RuleKey};
use super::table::{Interfaces, Record};
use super::trie::{Addresses, Ports, Protocols, Trie};
use crate::frame::prefetch;

/// Most rules of one set of vectors: a summary is one word.
pub(super) const VECTOR_RULES_MAX: usize = 64 * 64;

/// The vectors of one field.
#[derive(Debug, Clone)]
struct Field<T> {
    classes: T,
    /// A row for each class: the summary, then a bit for each rule.
    rows: Box<[u64]>,
}

/// Fields that have vectors.
const FIELDS: usize = 7;

/// Where a packet's rows begin, in the order of the fields of [`Vectors`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Located([u32; FIELDS]);

/// Words that a lookup looks at without asking whether it needs them.
const WORDS_AT_ONCE: usize = 2;

/// A packet's rows.
struct Rows<'a> {
    source: &'a [u64],
    destination: &'a [u64],
    source_port: &'a [u64],
    destination_port: &'a [u64],
    protocol: &'a [u64],
    interfaces: Option<(&'a [u64], &'a [u64])>,
}

impl Rows<'_> {
    /// The rules, or words, that every row has in a word.
    #[inline(always)]
    fn all(&self, word: usize) -> u64 {
        let all = self.source[word]
            & self.destination[word]
            & self.source_port[word]
            & self.destination_port[word]
            & self.protocol[word];
        match self.interfaces {
            None => all,
            Some((ingress, egress)) => all & ingress[word] & egress[word],
        }
    }
}

/// Bit vectors of some rules.
#[derive(Debug, Clone)]
pub(super) struct Vectors {
    /// Words of a row, the summary counted.
    row: usize,
    source: Field<Addresses>,
    destination: Field<Addresses>,
    source_port: Field<Ports>,
    destination_port: Field<Ports>,
    protocol: Field<Protocols>,
    /// A row for each interface, or one for all.
    ingress: Box<[u64]>,
    egress: Box<[u64]>,
    asks_interfaces: bool,
    /// Whether the vectors say everything; else the records are to be tested, too.
    exact: bool,
    /// The rules.
    indices: Box<[u32]>,
    records: Box<[Record]>,
}

/// Rows under construction, equal ones kept once.
struct Builder {
    row: usize,
    words: Vec<u64>,
    known: AHashMap<Vec<u64>, u16>,
}

impl Builder {
    fn new(row: usize) -> Self {
        Self { row, words: Vec::new(), known: AHashMap::new() }
    }

    /// The class whose rules are those with a bit in `bits`.
    fn class(&mut self, bits: &[u64]) -> u16 {
        if let Some(&class) = self.known.get(bits) {
            return class;
        }
        let class = u16::try_from(self.known.len()).expect("few classes");
        self.known.insert(bits.to_vec(), class);
        self.push(bits);
        class
    }

    fn push(&mut self, bits: &[u64]) {
        let summary = bits.iter().enumerate().map(|(at, &word)| u64::from(word != 0) << at);
        self.words.push(summary.sum());
        self.words.extend_from_slice(bits);
        self.words.resize(self.words.len().next_multiple_of(self.row), 0);
    }
}

fn toggle(bits: &mut [u64], rule: usize) {
    bits[rule / 64] ^= 1 << (rule % 64);
}

impl<const ROOT: u32, const LEVELS: u32> Field<Trie<ROOT, LEVELS>> {
    /// `allows` is what a rule allows, first and last. `None` when there are too many classes.
    fn new(rules: &[&RuleKey], allows: impl Fn(&RuleKey) -> (u32, u32)) -> Option<Self> {
        let width = Trie::<ROOT, LEVELS>::BITS;
        let ranges: Vec<(u32, u32)> = rules.iter().map(|rule| allows(rule)).collect();
        let words = ranges.len().div_ceil(64);
        // A rule begins and ends to hold at these numbers.
        let mut edges: Vec<(u32, usize)> = Vec::with_capacity(2 * ranges.len());
        for (rule, &(first, last)) in ranges.iter().enumerate() {
            edges.push((first, rule));
            let end = u64::from(last) + 1;
            edges.extend(
                u32::try_from(end).ok().filter(|_| end >> width == 0).map(|end| (end, rule)),
            );
        }
        edges.sort_unstable();
        let mut set = vec![0; words];
        let mut rows = Builder::new(words + 1);
        let mut classes = Vec::new();
        if edges.first().is_none_or(|&(first, _)| first > 0) {
            classes.push((0, rows.class(&set)));
        }
        for same in edges.chunk_by(|a, b| a.0 == b.0) {
            for &(_, rule) in same {
                toggle(&mut set, rule);
            }
            let class = rows.class(&set);
            if classes.last().is_none_or(|&(_, last)| last != class) {
                classes.push((same[0].0, class));
            }
        }
        let classes = Trie::new(&classes)?;
        Some(Self { classes, rows: rows.words.into_boxed_slice() })
    }

    fn bytes(&self) -> usize {
        self.classes.bytes() + size_of_val(&*self.rows)
    }
}

/// Rows of a field whose values are below `values`; one row if every rule allows every value.
fn few(values: u32, rules: &[&RuleKey], allows: impl Fn(&RuleKey, u32) -> bool) -> Box<[u64]> {
    let words = rules.len().div_ceil(64);
    let mut rows = Builder::new(words + 1);
    for value in 0..values {
        let mut bits = vec![0; words];
        for (at, rule) in rules.iter().enumerate() {
            bits[at / 64] |= u64::from(allows(rule, value)) << (at % 64);
        }
        rows.push(&bits);
    }
    if rows.words.chunks_exact(words + 1).all(|row| *row == rows.words[..=words]) {
        rows.words.truncate(words + 1);
    }
    rows.words.into_boxed_slice()
}

/// What an address mask allows, as a range, and whether that is all it says.
fn range(key: super::AddressKey) -> ((u32, u32), bool) {
    let prefix = key.mask.leading_ones() + key.mask.trailing_zeros() >= 32;
    if !prefix {
        return ((0, u32::MAX), false);
    }
    let first = key.network & key.mask;
    ((first, first | !key.mask), true)
}

impl Vectors {
    /// Whether vectors can say everything that a rule asks for.
    pub(super) fn say_all_of(rule: &RuleKey) -> bool {
        range(rule.source).1 && range(rule.destination).1
    }

    /// Of at least one rule and at most [`VECTOR_RULES_MAX`], in the order of their records.
    pub(super) fn new(rules: &[&RuleKey], records: Box<[Record]>) -> Option<Self> {
        let words = rules.len().div_ceil(64);
        let of = |range: &std::ops::RangeInclusive<u16>| {
            (u32::from(*range.start()), u32::from(*range.end()))
        };
        let protocol = |protocol: Option<u8>| {
            protocol.map_or((0, 255), |number| (number.into(), number.into()))
        };
        let ingress = few(32, rules, |rule, value| rule.ingress >> value & 1 != 0);
        let egress = few(32, rules, |rule, value| rule.egress >> value & 1 != 0);
        let any = |rule: &&RuleKey| rule.ingress == u32::MAX && rule.egress == u32::MAX;
        Some(Self {
            row: words + 1,
            source: Field::new(rules, |rule| range(rule.source).0)?,
            destination: Field::new(rules, |rule| range(rule.destination).0)?,
            source_port: Field::new(rules, |rule| of(&rule.source_ports))?,
            destination_port: Field::new(rules, |rule| of(&rule.destination_ports))?,
            protocol: Field::new(rules, |rule| protocol(rule.protocol))?,
            ingress,
            egress,
            asks_interfaces: !rules.iter().all(any),
            exact: rules.iter().all(|rule| Self::say_all_of(rule)),
            indices: records.iter().map(|record| record.index).collect(),
            records,
        })
    }

    /// Where the rows for a packet are, and the first of each asked for.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "fields are taken out of packed words")]
    pub(super) fn locate(&self, key: PacketKey) -> Located {
        let row = self.row;
        let value = |rows: &[u64], value: u64| {
            if rows.len() == row { 0 } else { value as usize * row }
        };
        let (ports, addresses) = (key.rest as u32, key.addresses);
        Located(
            [
                self.source.classes.class(addresses as u32) * row,
                self.destination.classes.class((addresses >> 32) as u32) * row,
                self.source_port.classes.class(ports & 0xffff) * row,
                self.destination_port.classes.class(ports >> 16) * row,
                self.protocol.classes.class((key.rest >> PROTOCOL & 0xff) as u32) * row,
                value(&self.ingress, key.ingress()),
                value(&self.egress, key.egress()),
            ]
            .map(|place| place as u32),
        )
    }

    /// Asks for the beginnings of the larger rows.
    #[inline]
    pub(super) fn prefetch(&self, located: &Located) {
        let at = |place: usize| located.0[place] as usize;
        prefetch(&self.source.rows[at(0)]);
        prefetch(&self.destination.rows[at(1)]);
        prefetch(&self.source_port.rows[at(2)]);
        prefetch(&self.destination_port.rows[at(3)]);
    }

    /// The first rule that matches a packet, if it comes before `best`; else `best`.
    #[inline]
    pub(super) fn first(
        &self,
        located: &Located,
        key: PacketKey,
        interfaces: &[Interfaces],
        best: u32,
    ) -> u32 {
        let rows = self.rows(located);
        let mut summary = rows.all(0);
        let (mut word, mut bits) = (0, 0);
        // Nearly always one of the first words has it. Which one, no prediction knows.
        for _ in 0..WORDS_AT_ONCE {
            let at = (summary.trailing_zeros() & 63) as usize;
            let these = select_unpredictable(summary == 0, 0, rows.all(at + 1));
            word = select_unpredictable(bits == 0, at, word);
            bits = select_unpredictable(bits == 0, these, bits);
            summary &= summary.wrapping_sub(1);
        }
        while bits == 0 {
            if summary == 0 {
                return best;
            }
            word = summary.trailing_zeros() as usize;
            bits = rows.all(word + 1);
            summary &= summary - 1;
        }
        if !self.exact {
            return self.next(located, key, interfaces, 0, best);
        }
        best.min(self.indices[word * 64 + bits.trailing_zeros() as usize])
    }

    #[inline(always)]
    fn rows(&self, located: &Located) -> Rows<'_> {
        let row = self.row;
        fn at(field: &[u64], place: u32, row: usize) -> &[u64] {
            &field[place as usize..][..row]
        }
        Rows {
            source: at(&self.source.rows, located.0[0], row),
            destination: at(&self.destination.rows, located.0[1], row),
            source_port: at(&self.source_port.rows, located.0[2], row),
            destination_port: at(&self.destination_port.rows, located.0[3], row),
            protocol: at(&self.protocol.rows, located.0[4], row),
            interfaces: self.asks_interfaces.then(|| {
                (at(&self.ingress, located.0[5], row), at(&self.egress, located.0[6], row))
            }),
        }
    }

    /// The first rule from `from` on, and before `best`, that matches a packet; else `best`.
    pub(super) fn next(
        &self,
        located: &Located,
        key: PacketKey,
        interfaces: &[Interfaces],
        from: u32,
        best: u32,
    ) -> u32 {
        let rows = self.rows(located);
        let skipped = self.skipped(from);
        let skipped_words = u32::try_from(skipped / 64).unwrap_or(u32::MAX);
        let mut summary = rows.all(0);
        summary &= u64::MAX.checked_shl(skipped_words).unwrap_or(0);
        while summary != 0 {
            let at = summary.trailing_zeros() as usize;
            summary &= summary - 1;
            let mut bits = rows.all(at + 1);
            if at == skipped / 64 {
                bits &= u64::MAX << (skipped % 64);
            }
            while bits != 0 {
                let rule = at * 64 + bits.trailing_zeros() as usize;
                let index = self.indices[rule];
                if index >= best {
                    return best;
                }
                if self.exact || self.records[rule].matches(key, interfaces) {
                    return index;
                }
                bits &= bits - 1;
            }
        }
        best
    }

    /// How many of its rules come before `from`.
    #[inline]
    fn skipped(&self, from: u32) -> usize {
        self.indices.partition_point(|index| *index < from)
    }

    /// Memory that it holds, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let few = [&self.ingress, &self.egress];
        size_of_val(self)
            + self.source.bytes()
            + self.destination.bytes()
            + self.source_port.bytes()
            + self.destination_port.bytes()
            + self.protocol.bytes()
            + few.map(|words| size_of_val(&**words)).iter().sum::<usize>()
            + size_of_val(&*self.indices)
            + size_of_val(&*self.records)
    }
}
