//! Which class a number belongs to, when classes are unions of ranges: a trie without branches.
//!
//! A cell is a class, or the number of a node in which the next seven bits choose a cell. A class's own cell leads to
//! itself, so that a lookup always takes as many steps as there are levels, and there is nothing to predict. A binary
//! search among the ranges' beginnings is a third as large, and was slower by a quarter.

use std::hint::select_unpredictable;

/// Bits that choose a cell of a node.
const NODE_BITS: u32 = 7;

const NODE_CELLS: usize = 1 << NODE_BITS;

/// Marks the number of a node.
const INNER: u16 = 1 << 15;

/// Classes of numbers of `ROOT + LEVELS * 7` bits.
#[derive(Debug, Clone)]
pub(super) struct Trie<const ROOT: u32, const LEVELS: u32> {
    root: Box<[u16]>,
    cells: Box<[u16]>,
}

/// Classes of addresses.
pub(super) type Addresses = Trie<11, 3>;

/// Classes of ports.
pub(super) type Ports = Trie<9, 1>;

/// Classes of protocols.
pub(super) type Protocols = Trie<8, 0>;

impl<const ROOT: u32, const LEVELS: u32> Trie<ROOT, LEVELS> {
    /// Bits of a number.
    pub(super) const BITS: u32 = ROOT + LEVELS * NODE_BITS;

    /// `ranges` are the first number and the class of each range, in rising order, the first from 0. `None` when there
    /// are too many of them for cells of 16 bits.
    pub(super) fn new(ranges: &[(u32, u16)]) -> Option<Self> {
        let last_class = ranges.iter().map(|&(_, class)| class).max()?;
        if let [(_, class)] = ranges {
            return Some(Self { root: Box::new([*class]), cells: Box::default() });
        }
        let mut cells: Vec<u16> = (0..=last_class).collect();
        cells.resize(cells.len().next_multiple_of(NODE_CELLS), 0);
        let mut root = Vec::with_capacity(1 << ROOT);
        let mut left = ranges;
        for part in 0..1 << ROOT {
            let first = part << (LEVELS * NODE_BITS);
            left = from_range_of(left, first);
            root.push(grow(&mut cells, LEVELS, left, first)?);
        }
        (last_class < INNER).then(|| Self { root: root.into(), cells: cells.into() })
    }

    /// The class of a number.
    #[inline(always)]
    pub(super) fn class(&self, number: u32) -> usize {
        if self.root.len() == 1 {
            return usize::from(self.root[0]);
        }
        let mut cell = self.root[(number >> (LEVELS * NODE_BITS)) as usize];
        for level in (0..LEVELS).rev() {
            let below = (number >> (level * NODE_BITS)) as usize & (NODE_CELLS - 1);
            let node = usize::from(cell & !INNER);
            let inner = cell & INNER != 0;
            let at = select_unpredictable(inner, node << NODE_BITS | below, node);
            cell = self.cells[at];
        }
        usize::from(cell)
    }

    /// Memory that it holds besides itself, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.root) + size_of_val(&*self.cells)
    }
}

/// The cell for the numbers from `from` on that differ in the bits of `levels` nodes. The first of `ranges` is the one
/// that `from` is in.
fn grow(cells: &mut Vec<u16>, levels: u32, ranges: &[(u32, u16)], from: u32) -> Option<u16> {
    let last = from | ((1 << (levels * NODE_BITS)) - 1);
    if ranges.get(1).is_none_or(|&(start, _)| start > last) {
        return Some(ranges[0].1);
    }
    let place = cells.len();
    cells.resize(place + NODE_CELLS, 0);
    let mut left = ranges;
    for value in 0..NODE_CELLS {
        let first = from + (u32::try_from(value).ok()? << ((levels - 1) * NODE_BITS));
        left = from_range_of(left, first);
        cells[place + value] = grow(cells, levels - 1, left, first)?;
    }
    let node = u16::try_from(place / NODE_CELLS).ok()?;
    (node < INNER).then_some(node | INNER)
}

/// The ranges from the one on that `number` is in, which is not before the first.
fn from_range_of(ranges: &[(u32, u16)], number: u32) -> &[(u32, u16)] {
    let before = ranges.iter().skip(1).take_while(|&&(start, _)| start <= number).count();
    &ranges[before..]
}
