//! Rule sets of a family, of any size, the same for the same seed.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use weir_dataplane::policy::classify::{AddressKey, RuleKey};

use super::family::{Family, PortClass, Side, Weights};
use crate::flows::Draw;

/// Prefixes shorter than this are wide, and of 1000 so many lie around addresses that are known.
const WIDE: u32 = 20;
const WIDE_AROUND: u32 = 200;

/// How often a rule is drawn anew that is there already.
const TRIES: usize = 8;

/// A value by its weight.
fn weighted<T: Copy>(weights: Weights<T>, draw: &mut Draw) -> T {
    let mut left = draw.below(weights.iter().map(|(_, weight)| weight).sum());
    for &(value, weight) in weights {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    weights[0].0
}

/// Addresses of one side, as they grow: new ones share the beginning of old ones.
struct Addresses {
    side: &'static Side,
    fresh: u32,
    known: Vec<u32>,
    prefixes: Vec<Vec<u32>>,
}

impl Addresses {
    fn new(side: &'static Side, rules: usize) -> Self {
        // Between 1,000 and 10,000 rules, as the logarithm.
        #[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
        let way = ((rules.max(1) as f64).log10() - 3.0).clamp(0.0, 1.0);
        let [small, large] = side.fresh.map(f64::from);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        let fresh = (small + (large - small) * way) as u32;
        Self { side, fresh, known: Vec::new(), prefixes: vec![Vec::new(); 33] }
    }

    fn draw(&mut self, length: u32, draw: &mut Draw) -> AddressKey {
        let before = &self.prefixes[length as usize];
        if !before.is_empty() && draw.below(1000) >= self.fresh {
            let at = draw.below(u32::try_from(before.len()).unwrap_or(1));
            return AddressKey::prefix(before[at as usize], length);
        }
        let random = draw.below(1 << 16) << 16 | draw.below(1 << 16);
        let address = match u32::try_from(self.known.len()) {
            // Wide networks mostly lie where nothing else is.
            Ok(known) if known > 0 && (length >= WIDE || draw.below(1000) < WIDE_AROUND) => {
                let like = self.known[draw.below(known) as usize];
                let kept = weighted(self.side.departure, draw) * 8 + draw.below(8);
                let mask = u32::MAX.checked_shl(32 - kept).unwrap_or(0);
                like & mask | random & !mask
            }
            _ => random,
        };
        let key = AddressKey::prefix(address, length);
        if length >= 8 {
            self.known.push(address);
        }
        self.prefixes[length as usize].push(key.network);
        key
    }
}

/// Makes `rules` rules of a family, the more specific ones first as ClassBench puts them.
#[must_use]
pub fn generate(family: &'static Family, rules: usize, draw: &mut Draw) -> Vec<RuleKey> {
    let mut sources = Addresses::new(&family.source, rules);
    let mut destinations = Addresses::new(&family.destination, rules);
    let mut known = HashSet::new();
    let mut one = || {
        let lengths = weighted(family.lengths, draw);
        let source = weighted(lengths.source, draw);
        let destination = weighted(lengths.destination, draw);
        let service = weighted(family.services, draw);
        let protocol = weighted(service.protocols, draw);
        let rule = RuleKey {
            source: sources.draw(source, draw),
            destination: destinations.draw(destination, draw),
            source_ports: ports(service.source, family.source_ports, (0, 1), family.ranges, draw),
            destination_ports: ports(
                service.destination,
                family.destination_ports,
                family.unpopular,
                family.ranges,
                draw,
            ),
            protocol: (protocol != 0).then_some(protocol),
            ..RuleKey::ANY
        };
        (64 - source - destination + draw.below(5), rule)
    };
    let mut made: Vec<(u32, RuleKey)> = Vec::with_capacity(rules);
    while made.len() < rules {
        // Few rules of a set are there twice, or below one that takes everything between the same addresses.
        let mut next = one();
        for _ in 0..TRIES {
            let all =
                RuleKey { source: next.1.source, destination: next.1.destination, ..RuleKey::ANY };
            if !known.contains(&all) && known.insert(next.1.clone()) {
                break;
            }
            next = one();
        }
        made.push(next);
    }
    made.sort_by_key(|(breadth, _)| *breadth);
    made.into_iter().map(|(_, rule)| rule).collect()
}

/// Ports of a class; `popular` and `unpopular` are the single ones, as [`Family`] has them.
fn ports(
    class: PortClass,
    popular: Weights<u16>,
    (unpopular, different): (u32, u32),
    ranges: Weights<(u16, u16)>,
    draw: &mut Draw,
) -> RangeInclusive<u16> {
    match class {
        PortClass::Any => 0..=u16::MAX,
        PortClass::High => 1024..=u16::MAX,
        PortClass::Range => {
            let (first, last) = weighted(ranges, draw);
            first..=last
        }
        PortClass::Exact => {
            let port = if draw.below(1000) < unpopular {
                // Numbers without a pattern, below 10000 as most ports of rules.
                let number = draw.below(different) + 1;
                u16::try_from(number * number * 769 % 9973).unwrap_or(0)
            } else {
                weighted(popular, draw)
            };
            port..=port
        }
    }
}
