//! What a rule set looks like, in a few numbers: how sets of the generator are compared with ClassBench's own.

use std::collections::HashSet;

use weir_dataplane::policy::classify::{AddressKey, PacketKey, RuleKey, naive};

use super::family::PortClass;
use super::trace::{Locality, trace};
use crate::flows::Draw;

/// Numbers about a rule set. Shares are of all rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    /// Rules.
    pub rules: usize,
    /// Distinct source prefixes and destination prefixes.
    pub distinct: [usize; 2],
    /// Rules whose prefix has 8 bits or fewer, for the source, for the destination, and for both.
    pub open: [f64; 3],
    /// Distinct source port ranges and destination port ranges.
    pub ranges: [usize; 2],
    /// Rules that ask for one port, for the source and for the destination.
    pub exact: [f64; 2],
    /// Distinct combinations of prefix lengths, port classes and protocol.
    pub tuples: usize,
    /// Rules that match a packet drawn from a rule, on average.
    pub depth: f64,
}

/// The class of a range of ports.
#[must_use]
pub fn port_class(range: &std::ops::RangeInclusive<u16>) -> PortClass {
    match (*range.start(), *range.end()) {
        (0, u16::MAX) => PortClass::Any,
        (1024, u16::MAX) => PortClass::High,
        (first, last) if first == last => PortClass::Exact,
        _ => PortClass::Range,
    }
}

/// Packets whose matching rules are counted.
const PACKETS: usize = 300;

impl Structure {
    /// Of a rule set with at least one rule.
    #[must_use]
    pub fn of(rules: &[RuleKey]) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
        let share = |holds: &dyn Fn(&RuleKey) -> bool| {
            rules.iter().filter(|rule| holds(rule)).count() as f64 / rules.len() as f64
        };
        fn distinct<T: Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> usize {
            values.collect::<HashSet<T>>().len()
        }
        let open = |key: AddressKey| key.mask.count_ones() <= 8;
        let exact = |range: &std::ops::RangeInclusive<u16>| port_class(range) == PortClass::Exact;
        let packets = trace(rules, PACKETS, Locality::None, &mut Draw::default());
        let depth = |key: &PacketKey| rules.iter().filter(|rule| naive::matches(rule, key)).count();
        let depths: usize = packets.iter().map(|packet| depth(&packet.key())).sum();
        #[expect(clippy::cast_precision_loss, reason = "depths are below 2^53")]
        let depth = depths as f64 / PACKETS as f64;
        Self {
            rules: rules.len(),
            distinct: [
                distinct(rules.iter().map(|rule| rule.source)),
                distinct(rules.iter().map(|rule| rule.destination)),
            ],
            open: [
                share(&|rule| open(rule.source)),
                share(&|rule| open(rule.destination)),
                share(&|rule| open(rule.source) && open(rule.destination)),
            ],
            ranges: [
                distinct(rules.iter().map(|rule| rule.source_ports.clone())),
                distinct(rules.iter().map(|rule| rule.destination_ports.clone())),
            ],
            exact: [
                share(&|rule| exact(&rule.source_ports)),
                share(&|rule| exact(&rule.destination_ports)),
            ],
            tuples: distinct(rules.iter().map(|rule| {
                let classes = [&rule.source_ports, &rule.destination_ports].map(port_class);
                let classes = classes.map(|class| class as u8);
                (rule.source.mask, rule.destination.mask, classes, rule.protocol)
            })),
            depth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classbench::family::{ACL1, FW1, Family, IPC1};
    use crate::classbench::generate::generate;

    /// Sets that ClassBench's own generator made, in the order of the fields of [`Structure`].
    type Measured =
        (&'static Family, usize, [usize; 2], [f64; 3], [usize; 2], [f64; 2], usize, f64);

    const MEASURED: [Measured; 6] = [
        (&ACL1, 948, [69, 310], [0.019, 0.043, 0.013], [1, 97], [0.0, 0.558], 188, 2.6),
        (&ACL1, 9729, [4122, 348], [0.009, 0.032, 0.006], [1, 108], [0.0, 0.554], 406, 7.8),
        (&FW1, 861, [135, 146], [0.606, 0.348, 0.074], [13, 42], [0.146, 0.571], 231, 5.0),
        (&FW1, 9353, [3428, 6612], [0.638, 0.294, 0.036], [13, 43], [0.130, 0.619], 483, 10.7),
        (&IPC1, 973, [264, 471], [0.140, 0.092, 0.007], [28, 46], [0.152, 0.367], 414, 3.5),
        (&IPC1, 9483, [1496, 2829], [0.126, 0.090, 0.005], [34, 54], [0.147, 0.370], 1093, 7.4),
    ];

    /// Shares differ by less than a twelfth of all rules, numbers by less than this factor.
    const SHARE: f64 = 1.0 / 12.0;
    const FACTOR: f64 = 2.5;

    fn assert_near(what: &str, made: &[f64], measured: &[f64], near: impl Fn(f64, f64) -> bool) {
        let all = made.iter().zip(measured).all(|(made, measured)| near(*made, *measured));
        assert!(all, "{what}: {made:?} made, {measured:?} measured");
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "counts are below 2^53")]
    fn sets_of_the_generator_look_like_those_of_classbench() {
        for (family, rules, distinct, open, ranges, exact, tuples, depth) in MEASURED {
            let made = Structure::of(&generate(family, rules, &mut Draw::default()));
            assert_eq!(made.rules, rules);
            let what = |of: &str| format!("{} {rules}: {of}", family.name);
            let share = |a: f64, b: f64| (a - b).abs() < SHARE;
            let factor = |a: f64, b: f64| a < b * FACTOR && b < a * FACTOR;
            let floats = |counts: [usize; 2]| counts.map(|count| count as f64);
            assert_near(&what("open"), &made.open, &open, share);
            assert_near(&what("exact"), &made.exact, &exact, share);
            assert_near(&what("distinct"), &floats(made.distinct), &floats(distinct), factor);
            assert_near(&what("ranges"), &floats(made.ranges), &floats(ranges), factor);
            assert_near(&what("tuples"), &[made.tuples as f64], &[tuples as f64], factor);
            assert_near(&what("depth"), &[made.depth], &[depth], factor);
        }
    }

    #[test]
    fn the_classifier_finds_what_its_twin_finds() {
        use weir_dataplane::policy::classify::Classifier;
        for family in [&ACL1, &FW1, &IPC1] {
            let rules = generate(family, 3000, &mut Draw::default());
            let classifier = Classifier::build(&rules).expect("few rules");
            for packet in trace(&rules, 500, Locality::None, &mut Draw::default()) {
                let key = packet.key();
                assert_eq!(classifier.next(&key, 0), naive::next(&rules, &key, 0), "{packet:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_makes_the_same_set() {
        let make = || generate(&FW1, 500, &mut Draw::default());
        assert_eq!(make(), make());
    }
}
