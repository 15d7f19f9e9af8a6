//! Random rules and packets: the engine against the naive evaluator of [`spec`](crate::spec).

use proptest::prelude::*;
use weir_dataplane::verdict::DropReason;

use crate::chance::Chance;
use crate::packet::Packet;
use crate::spec::{Outcome, Spec, traffic};
use crate::world::*;

/// The naive chain.
pub(crate) struct Twin {
    pub(crate) specs: Vec<Spec>,
    pub(crate) accept: bool,
    /// Packets and bytes: of the policy, then of each rule.
    pub(crate) counts: Vec<(u64, u64)>,
}

impl Twin {
    fn new(specs: Vec<Spec>, accept: bool) -> Self {
        let counts = vec![(0, 0); specs.len() + 1];
        Self { specs, accept, counts }
    }

    /// Decides and counts.
    fn decide(&mut self, packet: &Packet, ingress: &str, egress: &str) -> Result<(), DropReason> {
        let ip = packet.routed().bytes();
        let mut count = |n: usize| {
            self.counts[n].0 += 1;
            self.counts[n].1 += ip.len() as u64;
        };
        let mut mark = 0;
        for (n, spec) in (1..).zip(&self.specs) {
            match spec.evaluate(&ip, host_mac(packet.source), [ingress, egress], mark) {
                Outcome::Differs => continue,
                Outcome::Hotdrop => return Err(DropReason::RuleHotdrop),
                Outcome::Matches => count(n),
            }
            if let Some((value, mask)) = spec.marks {
                mark = (mark & !mask) ^ value;
            }
            match spec.target {
                None => {}
                Some(true) => return Ok(()),
                Some(false) => return Err(DropReason::Rule),
            }
        }
        count(0);
        if self.accept { Ok(()) } else { Err(DropReason::RulePolicy) }
    }
}

/// The commands that put these rules in place of all others, counters at zero.
pub(crate) fn commands(specs: &[Spec], accept: bool) -> Vec<String> {
    let policy = format!("-P FORWARD {}", if accept { "ACCEPT" } else { "DROP" });
    ["-F".to_owned(), "-Z".to_owned(), policy]
        .into_iter()
        .chain(specs.iter().map(Spec::words))
        .collect()
}

/// The port by which the network sends to a destination.
fn egress(packet: &Packet) -> usize {
    match packet.destination {
        ALICE => 0,
        BOB => 1,
        _ => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Rules and packets are drawn from one seed each, so a failure shrinks to the few that matter.
    #[test]
    fn the_engine_decides_and_counts_as_the_naive_twin(
        rules in prop::collection::vec(any::<u64>(), 0..12),
        packets in prop::collection::vec(any::<u64>(), 1..60),
        accept: bool,
    ) {
        let specs: Vec<_> =
            rules.into_iter().map(|seed| Spec::draw(&mut Chance::new(seed))).collect();
        let mut world = World::new(Sizes { chunks: 256, fill: 64, ..Sizes::ONE });
        let lines = commands(&specs, accept);
        world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let mut twin = Twin::new(specs, accept);
        for seed in packets {
            let (ingress, packet) = traffic(&mut Chance::new(seed));
            let expected = twin.decide(&packet, NAMES[ingress], NAMES[egress(&packet)]);
            let before = world.counters();
            world.inject_packet(0, PORTS[ingress], &packet);
            world.settle();
            let after = world.counters();
            let left: Vec<_> = world.left().into_iter().map(|sent| sent.port).collect();
            match expected {
                Ok(()) => prop_assert_eq!(left, [PORTS[egress(&packet)]], "{:?}", packet),
                Err(reason) => {
                    prop_assert_eq!(left, [], "{:?}", packet);
                    prop_assert_eq!(after.dropped(reason), before.dropped(reason) + 1);
                }
            }
        }
        for (n, count) in twin.counts.iter().enumerate() {
            prop_assert_eq!(world.count(n), *count, "rule {} of {:#?}", n, lines);
        }
        world.shut_down();
    }
}
