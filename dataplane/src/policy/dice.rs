//! Random numbers for rules.

use std::cell::Cell;

/// One worker's source of random numbers: the same seed gives the same numbers. (SplitMix64, by Guy Steele, Doug Lea
/// and Christine Flood, 2014. Whoever sees which packets pass learns nothing that would matter.)
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// Begins with a seed; workers need different ones.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// A random byte.
    pub(super) fn byte(&self) -> u8 {
        self.draw().to_be_bytes()[0]
    }

    /// The next number.
    pub(super) fn draw(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_paper() {
        let dice = Dice::new(1_234_567);
        let drawn = [dice.draw(), dice.draw(), dice.draw()];
        assert_eq!(
            drawn,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }
}
