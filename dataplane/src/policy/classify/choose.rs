//! Which mask the next table of a set of rules gets.

use super::key::{Mask, Ternary, pack_addresses};
use super::table::hash;

/// Rules that one slot holds without harm: more are not counted in a mask's favour.
const SLOT_RULES: u8 = 4;

/// Prefix lengths of one address that are tried.
const LENGTHS_MAX: usize = 6;

/// Care masks that are tried as they stand, the most frequent first.
const EXACT_MAX: usize = 8;

/// Memory that choosing needs again and again.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    cares: Vec<(Mask, u32)>,
    candidates: Vec<(Mask, u32)>,
    sorted: Vec<Mask>,
    counts: Vec<u8>,
    work: usize,
}

/// A mask and how well it divides the rules that it covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) mask: Mask,
    /// Rules that it covers, at most [`SLOT_RULES`] a slot counted.
    pub(super) score: u32,
}

impl Chooser {
    /// The mask that divides most of the rules well; `None` when none divides any.
    pub(super) fn choose(&mut self, rules: &[u32], all: &[Ternary]) -> Option<Choice> {
        self.count_cares(rules, all);
        self.gather();
        let mut best: Option<Choice> = None;
        let candidates = std::mem::take(&mut self.candidates);
        for &(mask, covered) in &candidates {
            if best.is_some_and(|best| covered <= best.score) {
                break;
            }
            let (score, used) = self.score(mask, rules, all);
            let better = best.is_none_or(|best| score > best.score);
            if better && used > 1 {
                best = Some(Choice { mask, score });
            }
        }
        self.candidates = candidates;
        best
    }

    /// How often a rule has been looked at.
    pub(super) fn work(&self) -> usize {
        self.work
    }

    /// The distinct care masks and how many rules have each, most frequent first.
    fn count_cares(&mut self, rules: &[u32], all: &[Ternary]) {
        self.sorted.clear();
        self.sorted.extend(rules.iter().map(|&rule| all[rule as usize].care));
        self.sorted.sort_unstable_by_key(|care| (care.addresses, care.rest));
        self.cares.clear();
        for &care in &self.sorted {
            match self.cares.last_mut() {
                Some((last, count)) if *last == care => *count += 1,
                _ => self.cares.push((care, 1)),
            }
        }
        self.cares.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    }

    /// Fills in the candidates, with the number of rules each covers, most rules first.
    #[expect(clippy::cast_possible_truncation, reason = "fields are taken out of a packed word")]
    fn gather(&mut self) {
        let sources = self.lengths(|care| care.addresses as u32);
        let destinations = self.lengths(|care| (care.addresses >> 32) as u32);
        let mut masks: Vec<Mask> = Vec::new();
        for &source in &sources {
            for &destination in &destinations {
                for ports in [0, 0xffff, 0xffff_0000, 0xffff_ffff] {
                    masks
                        .push(Mask { addresses: pack_addresses(source, destination), rest: ports });
                }
            }
        }
        masks.extend(self.cares.iter().take(EXACT_MAX).map(|&(care, _)| care));
        self.candidates.clear();
        self.work += masks.len() * self.cares.len() / 4;
        for mask in masks {
            let full = Mask { addresses: u64::MAX, rest: u64::MAX };
            let mut covered = (full, 0);
            for &(care, count) in &self.cares {
                if care.covers(mask) {
                    covered = (covered.0.and(care), covered.1 + count);
                }
            }
            if covered.1 > 1 && covered.0 != Mask::default() {
                self.candidates.push(covered);
            }
        }
        let order = |&(mask, covered): &(Mask, u32)| {
            let bits = mask.addresses.count_ones() + mask.rest.count_ones();
            (std::cmp::Reverse(covered), std::cmp::Reverse(bits), mask.addresses, mask.rest)
        };
        self.candidates.sort_unstable_by_key(order);
        self.candidates.dedup();
    }

    /// Prefix masks of one address, so chosen that each covers about as many rules more than the one before.
    fn lengths(&self, address: impl Fn(Mask) -> u32) -> Vec<u32> {
        let mut histogram = [0_u32; 33];
        for &(care, count) in &self.cares {
            histogram[address(care).leading_ones() as usize] += count;
        }
        let total: u32 = histogram[1..].iter().sum();
        let mut masks = vec![0];
        let mut below = 0;
        let mut due = 0;
        let step = total / (u32::try_from(LENGTHS_MAX).unwrap_or(1)) + 1;
        for (length, &count) in (0_u32..).zip(&histogram).skip(1) {
            if count > 0 && below >= due {
                masks.push(u32::MAX << (32 - length));
                due = below + step;
            }
            below += count;
        }
        masks
    }

    /// How many of the rules that a mask covers it divides well, and how many slots they use.
    #[expect(clippy::cast_possible_truncation, reason = "few slots")]
    fn score(&mut self, mask: Mask, rules: &[u32], all: &[Ternary]) -> (u32, u32) {
        self.work += rules.len();
        let slots = (rules.len() * 2).next_power_of_two();
        self.counts.clear();
        self.counts.resize(slots, 0);
        let shift = 64 - slots.trailing_zeros();
        let (mut score, mut used) = (0, 0);
        for &rule in rules {
            let Ternary { value, care } = &all[rule as usize];
            if !care.covers(mask) {
                continue;
            }
            let count = &mut self.counts[(hash(value.masked(&mask)) >> shift) as usize];
            used += u32::from(*count == 0);
            if *count < SLOT_RULES {
                *count += 1;
                score += 1;
            }
        }
        (score, used)
    }
}
