//! `Front`: which address has which cell of the table before the hash of blocked IPv4 sources (`early_front_v4`).
//!
//! All sources stand in the hash. Who comes first to a cell has it, too, and is found without a call of the hash;
//! others of the same cell are found there, and the cell says that there are some. A cell that gets an owner is
//! written twice, at first as one that is not valid, so that the program never sees half of a new one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::early_maps::entry_bytes;
use crate::early_drop::MapEntry;

/// What an address is multiplied by to be spread (`SPREAD` in the program).
const SPREAD: u32 = 0x9e37_79b1;

/// Where the shift stands in `early_lists`, behind what the maps hold (`EARLY_FRONT_SHIFT`).
const SHIFT_AT: u32 = 8;

/// `tags` of a cell (`EARLY_CELL_VALID`, `EARLY_CELL_MORE`).
const VALID: u32 = 1 << 0;
const MORE: u32 = 1 << 1;

/// Bytes of `struct early_cell`.
pub(super) const CELL_BYTES: u32 = 32;

/// A word spread evenly, for its first bits to be taken.
pub(super) fn spread(word: u32) -> u32 {
    word.wrapping_mul(SPREAD)
}

#[derive(Debug, Default)]
struct Cell {
    owner: Option<(Ipv4Addr, MapEntry)>,
    others: BTreeSet<Ipv4Addr>,
}

/// A cell as it is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) place: u32,
    pub(super) value: [u8; CELL_BYTES as usize],
}

/// See the module.
#[derive(Debug)]
pub(super) struct Front {
    /// By how much a spread address is shifted to be its place.
    shift: u32,
    /// Those that are not empty.
    cells: BTreeMap<u32, Cell>,
}

impl Front {
    /// An empty one, of two cells for each of so many addresses, or some more.
    pub(super) fn new(sources_max: u32) -> Self {
        let cells = sources_max.clamp(1, 1 << 30).next_power_of_two() * 2;
        Self { shift: u32::BITS - cells.trailing_zeros(), cells: BTreeMap::new() }
    }

    /// How many cells the map needs.
    pub(super) fn len(&self) -> u32 {
        1 << (u32::BITS - self.shift)
    }

    /// The word of `early_lists` where maps hold this: how to find a cell stands behind it.
    pub(super) fn lists_word(&self, held: u32) -> u32 {
        if held == 0 { 0 } else { held | self.shift << SHIFT_AT }
    }

    fn place(&self, source: Ipv4Addr) -> u32 {
        spread(source.to_bits()) >> self.shift
    }

    /// Adds an entry that is in the hash already, or replaces it: what is to be written first, and then.
    pub(super) fn block(
        &mut self,
        source: Ipv4Addr,
        entry: MapEntry,
    ) -> (Option<Written>, Option<Written>) {
        let place = self.place(source);
        let cell = self.cells.entry(place).or_default();
        match cell.owner {
            Some((owner, _)) if owner != source => {
                let is_first = cell.others.is_empty();
                cell.others.insert(source);
                (None, is_first.then(|| cell.written(place, true)))
            }
            // One that stood in the hash alone gets the cell of who has gone, and is found there until it has it.
            before => {
                cell.owner = Some((source, entry));
                let invalid = before.is_none().then(|| cell.written(place, false));
                cell.others.remove(&source);
                (invalid, Some(cell.written(place, true)))
            }
        }
    }

    /// Takes an entry out that is still in the hash: what is to be written before it is taken out there, and then.
    pub(super) fn unblock(&mut self, source: Ipv4Addr) -> (Option<Written>, Option<Written>) {
        let place = self.place(source);
        let Some(cell) = self.cells.get_mut(&place) else { return (None, None) };
        let written = match cell.owner {
            Some((owner, _)) if owner == source => {
                let invalid = cell.written(place, false);
                cell.owner = None;
                (Some(invalid), None)
            }
            _ => {
                let was_there = cell.others.remove(&source);
                let written = (was_there && cell.others.is_empty())
                    .then(|| cell.written(place, cell.owner.is_some()));
                (None, written)
            }
        };
        if cell.owner.is_none() && cell.others.is_empty() {
            self.cells.remove(&place);
        }
        written
    }
}

impl Cell {
    /// `struct early_cell`.
    fn written(&self, place: u32, valid: bool) -> Written {
        let mut value = [0; CELL_BYTES as usize];
        let (entry, rest) = value.split_at_mut(CELL_BYTES as usize - 8);
        let (source, tags) = rest.split_at_mut(4);
        let mut bits = if self.others.is_empty() { 0 } else { MORE };
        if let Some((owner, owned)) = &self.owner {
            entry.copy_from_slice(&entry_bytes(owned));
            source.copy_from_slice(&owner.octets());
            bits |= if valid { VALID } else { 0 };
        }
        tags.copy_from_slice(&bits.to_ne_bytes());
        Written { place, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: u32) -> MapEntry {
        MapEntry { until_ns: 7, acceptance: 0, slot, condition: None }
    }

    /// Address and slot, if it is valid, and whether there are more.
    fn told(written: Option<Written>) -> Option<(Option<(u32, u32)>, bool)> {
        let value = written?.value;
        let word = |at: usize| u32::from_ne_bytes(*value[at..].first_chunk().expect("a word"));
        let owner = (u32::from_be(word(24)), word(12));
        Some(((word(28) & VALID != 0).then_some(owner), word(28) & MORE != 0))
    }

    #[test]
    fn it_has_two_cells_for_each_address() {
        for (sources_max, cells) in [(1, 2), (3, 8), (16_384, 32_768), (1 << 20, 1 << 21)] {
            let front = Front::new(sources_max);
            assert_eq!(front.len(), cells);
            for source in [0_u32, 1, 0x0a00_0042, u32::MAX] {
                assert!(front.place(source.into()) < cells, "{source} of {cells}");
            }
        }
        let front = Front::new(16_384);
        assert_eq!((front.lists_word(0), front.lists_word(5)), (0, 5 | 17 << 8));
        let places: BTreeSet<u32> =
            (0..10_000).map(|number| front.place((0xc612_0000_u32 + number).into())).collect();
        assert_eq!(places.len(), 10_000, "neighbours are spread");
    }

    #[test]
    fn who_comes_first_has_the_cell_and_others_are_said_to_be_there() {
        let mut front = Front::new(1);
        let place = front.place(1.into());
        let alike: Vec<u32> =
            (1..100).filter(|number| front.place((*number).into()) == place).take(3).collect();
        let [a, b, c] = alike[..] else { panic!("{alike:?}") };
        let mut block = |number: u32, slot| {
            let (first, then) = front.block(number.into(), entry(slot));
            (told(first), told(then))
        };
        assert_eq!(block(a, 1), (Some((None, false)), Some((Some((a, 1)), false))));
        assert_eq!(block(a, 2), (None, Some((Some((a, 2)), false))), "renewed");
        assert_eq!(block(b, 3), (None, Some((Some((a, 2)), true))));
        assert_eq!(block(c, 4), (None, None), "it is said already");
        let mut unblock = |number: u32| {
            let (first, then) = front.unblock(number.into());
            (told(first), told(then))
        };
        assert_eq!(unblock(a), (Some((None, true)), None));
        assert_eq!(unblock(a), (None, None), "gone already");
        assert_eq!(unblock(c), (None, None), "there still are more");
        // One of the others is written anew, and is the owner now.
        let (first, then) = front.block(b.into(), entry(5));
        let told_of = (told(first), told(then));
        assert_eq!(told_of, (Some((None, true)), Some((Some((b, 5)), false))));
        let (first, then) = front.block(c.into(), entry(6));
        assert_eq!((told(first), told(then)), (None, Some((Some((b, 5)), true))));
        let (first, then) = front.unblock(c.into());
        assert_eq!((told(first), told(then)), (None, Some((Some((b, 5)), false))));
        let (first, _) = front.unblock(b.into());
        assert_eq!(told(first), Some((None, false)));
        assert!(front.cells.is_empty());
    }
}
