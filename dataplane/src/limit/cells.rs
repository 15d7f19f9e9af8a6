//! `Cells`: controllers of very many keys, in memory that does not grow with them.
//!
//! ```text
//!   key --hash--> a cell of the first row, a cell of the second
//!   both count the packet; it passes by the share of the one that thinks better of it;
//!   where both hold it to the floor, by what is due in the window of the first (`Bounds`)
//! ```
//!
//! That is a count-min sketch (Cormode and Muthukrishnan 2005) of two rows, whose counters are those of `-m fuzzy`.
//! What speaks for it where keys are nets of sources that anybody may forge:
//!
//! * **Nobody slips through.** A cell counts at least what its key has sent, so a key that is above the limit is held
//!   back, whatever else comes. In a table of keys a flood of forged nets is a flood of new entries, each of which
//!   needs another's place.
//! * **It costs what it costs.** No key is compared, none is driven out, nobody waits: two additions in memory of
//!   a fixed size, [`CELLS`] * 8 bytes a row, which stays near a core, whatever comes.
//! * **The error has a bound, on the safe side of it.** A cell takes in what others send that share it: of a flood
//!   with random sources `rate / CELLS`, 24 packets a second of 400,000. And somebody is held back for another's sake
//!   who shares *both* cells with one that is above the limit: where there are A of those, a share of (A / CELLS)^2,
//!   four in a million of 32 nets, 0.4 % of a thousand.
//! * **Nobody chooses whom he meets:** the hash has a seed that nobody knows, drawn when the daemon starts.
//!
//! The price: a sketch does not know its keys. So that an operator can be told, each cell of the first row notes the
//! key of the packet that ended its last window, if that was above the lower limit. That is nearly always who made it
//! so.

use ahash::RandomState;

use super::fuzzy::{Bounds, Cell, Counted, Limits, Reading, passes};
use super::spin::Spin;
use crate::frame::prefetch;

/// Cells of a row.
pub const CELLS: usize = 1 << 14;

/// See the module.
#[derive(Debug)]
pub struct Cells {
    bounds: Bounds,
    rows: [Box<[Cell]>; 2],
    /// Who ended the last window of a cell of the first row that was above the lower limit.
    names: Box<[Spin<Name>]>,
    hashes: RandomState,
}

/// A key, and the rate of its cell.
#[derive(Debug, Clone, Copy, Default)]
struct Name {
    key: u128,
    rate_pps: u32,
}

/// The cells of a key, and what they looked like.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    key: u128,
    places: [usize; 2],
    words: [u64; 2],
}

impl Cells {
    /// As before the first packet.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        let row = || (0..CELLS).map(|_| Cell::default()).collect();
        Self {
            bounds: Bounds::new(limits),
            rows: [row(), row()],
            names: (0..CELLS).map(|_| Spin::new(Name::default())).collect(),
            hashes: RandomState::with_seeds(
                seed,
                !seed,
                seed.rotate_left(16),
                0x2545_f491_4f6c_dd1d,
            ),
        }
    }

    /// Between which rates, and to how many packets a flood is held.
    #[must_use]
    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// One of each row, by different bits of the hash.
    #[expect(clippy::cast_possible_truncation, reason = "what is left are few bits")]
    #[inline]
    fn places(&self, key: u128) -> [usize; 2] {
        let hash = self.hashes.hash_one(key);
        [hash as usize % CELLS, (hash >> 32) as usize % CELLS]
    }

    /// Looks for the cells of a key.
    #[inline]
    #[must_use]
    pub fn find(&self, key: u128) -> Found {
        let places = self.places(key);
        let [first, second] = places;
        Found { key, places, words: [self.rows[0][first].look(), self.rows[1][second].look()] }
    }

    /// Asks for what is needed of a key to be brought near.
    #[inline]
    pub fn prefetch(&self, key: u128) {
        let [first, second] = self.places(key);
        prefetch(&self.rows[0][first]);
        prefetch(&self.rows[1][second]);
    }

    /// Whether a packet of this key passes that comes at the tick `now`.
    #[inline]
    pub fn accepts(&self, found: Found, now: u64, draw: impl FnOnce() -> u8) -> bool {
        let Found { key, places: [first, second], words: [one, other] } = found;
        let one = self.rows[0][first].count(one, self.bounds.limits(), now);
        let other = self.rows[1][second].count(other, self.bounds.limits(), now);
        if let Some(rate_pps) = one.ended_pps
            && one.share_percent < 100
        {
            self.names[first].with(|name| *name = Name { key, rate_pps });
        }
        let share = |it: Counted| {
            (!self.bounds.holds(it.share_percent, it.number)).then_some(it.share_percent)
        };
        match share(one).max(share(other)) {
            Some(share_percent) => passes(share_percent, draw),
            None => self.bounds.passes_held(one.share_percent, one.number, one.began),
        }
    }

    /// What is known of a key at the tick `now`.
    #[must_use]
    pub fn read(&self, key: u128, now: u64) -> Reading {
        let [first, second] = self.places(key);
        let name = self.names[first].with(|name| *name);
        let read = |cell: &Cell| {
            let (share_percent, packets, elapsed) = cell.window(now);
            // Of a quiet cell it is not noted.
            let is_noted = name.key == key && share_percent < 100;
            let rate_pps = if is_noted { name.rate_pps } else { 0 };
            self.bounds.read(Reading { rate_pps, share_percent }, packets, elapsed)
        };
        let (one, other) = (read(&self.rows[0][first]), read(&self.rows[1][second]));
        if one.share_percent >= other.share_percent { one } else { other }
    }

    /// Keys that are held back, as far as they are known, and what is known of them.
    pub fn named(&self, now: u64) -> impl Iterator<Item = (u128, Reading)> {
        let names = self.names.iter().map(|name| name.with(|name| name.key));
        let readings = names.map(move |key| (key, self.read(key, now)));
        readings.filter(|(_, reading)| reading.share_percent < 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { lower_pps: 100, upper_pps: 1000 };

    /// Ten windows of a flood: in each 200 packets of each key, at once. Whose turn it is goes round.
    fn flood(cells: &Cells, keys: &[u128]) {
        for window in 1..=10 {
            for packet in 0..200 {
                for key in keys {
                    cells.accepts(cells.find(*key), window * 26 + packet / 8, || 255);
                }
            }
        }
    }

    #[test]
    fn who_is_above_the_limit_is_held_back_and_named_and_nobody_else() {
        let cells = Cells::new(LIMITS, 7);
        flood(&cells, &[9]);
        let Reading { rate_pps, share_percent } = cells.read(9, 285);
        assert_eq!(share_percent, 0, "10 of {rate_pps}");
        assert!((1900..=2100).contains(&rate_pps), "{rate_pps}");
        let named: Vec<u128> = cells.named(285).map(|(key, _)| key).collect();
        assert_eq!(named, [9]);
        let others = (1000..101_000).filter(|key| !cells.accepts(cells.find(*key), 285, || 255));
        assert_eq!(
            others.count(),
            0,
            "of 100,000, each of which shares a cell with a chance of 1 in 8,000"
        );
    }

    /// The bound of the module, with room for chance: of 1,000 nets in a flood (A / CELLS)^2 is 0.37 %.
    #[test]
    fn how_many_are_held_back_for_the_sake_of_others() {
        let cells = Cells::new(LIMITS, 0x5eed);
        let attackers: Vec<u128> = (0..1000).collect();
        flood(&cells, &attackers);
        assert!(attackers.iter().all(|key| cells.read(*key, 285).share_percent == 0));
        let innocent =
            (1 << 64..(1 << 64) + 20_000).filter(|key| cells.read(*key, 285).share_percent < 100);
        let share = innocent.count();
        assert!((20..=140).contains(&share), "{share} of 20,000; 70 are expected");
    }

    /// Whoever has the source of this program finds keys that meet, under a seed of his own.
    #[test]
    fn keys_that_meet_under_one_seed_do_not_under_another() {
        let (known, unknown) = (Cells::new(LIMITS, 1), Cells::new(LIMITS, 0x9e37_79b9_7f4a_7c15));
        let victim = 77;
        let place = known.places(victim);
        let meets = |key: &u128| known.places(*key)[0] == place[0];
        let chosen: Vec<u128> = (1000..).filter(meets).take(200).collect();
        flood(&known, &chosen[..20]);
        let (share_percent, ..) = known.rows[0][place[0]].window(285);
        assert_eq!(share_percent, 1, "what he hopes for: one of two cells");
        let both = |cells: &Cells| {
            let [first, second] = cells.places(victim);
            chosen.iter().filter(|key| cells.places(**key) == [first, second]).count()
        };
        let first = |cells: &Cells| {
            let [first, _] = cells.places(victim);
            chosen.iter().filter(|key| cells.places(**key)[0] == first).count()
        };
        assert_eq!(first(&known), 200);
        assert!(first(&unknown) <= 2, "as chance has it: 200 in {CELLS}");
        assert_eq!(both(&unknown), 0);
        flood(&unknown, &chosen[..20]);
        assert_eq!(unknown.read(victim, 285).share_percent, 100);
    }
}
