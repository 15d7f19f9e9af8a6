//! What the flow cache keeps of the rules for packets of IPv6, beside the rules themselves.

use super::oracle::{inject, labelled, network};
use super::*;
use crate::chance::Seed;
use crate::oracle::number;
use crate::residual::rule_set;

/// User-defined chains, from which rules lead to later ones only: so there are no loops.
const CHAINS: [&str; 4] = ["FORWARD", "a", "b", "c"];

fn rule(chance: &mut Chance, chain: usize) -> String {
    let rule = traffic::rule(chance).replacen("FORWARD", CHAINS[chain], 1);
    let later = CHAINS.len() - 1 - chain;
    if later == 0 || chance.percent(60) {
        return rule;
    }
    let conditions = rule.split(" -j ").next().unwrap_or_default();
    let next = CHAINS[chain + 1 + chance.below(later)];
    format!("{conditions} {} {next}", chance.one_of(&["-j", "-g"]))
}

/// Packets of a few flows, each several times with another hop limit and other bytes.
fn packets(chance: &mut Chance) -> Vec<(usize, Packet6)> {
    let whole = |(_, packet): &(usize, Packet6)| packet.next != 44;
    let flows: Vec<_> =
        std::iter::repeat_with(|| traffic::packet(chance)).filter(whole).take(8).collect();
    let flow = |_| flows[chance.below(flows.len())].clone();
    let mut packets: Vec<_> = (0..120).map(flow).collect();
    for (_, packet) in &mut packets {
        packet.hop_limit = chance.one_of(&[2, 60, 64, 255]);
        if packet.next == 6 && packet.payload.len() > 13 {
            packet.payload[13] = chance.byte();
            if chance.percent(10) {
                packet.payload.truncate(12);
            }
        }
    }
    labelled(&mut packets);
    packets
}

#[test]
fn a_cached_flow_of_ipv6_is_decided_about_as_the_rules_say() {
    let seed = number("WEIR_SEED", 0x5eed);
    let cases = number("WEIR_CASES", 150);
    let world =
        |flow_cache| World::over(Sizes { flows6: 8192, flow_cache, ..Sizes::ONE }, network());
    let (mut cached, mut plain) = (world(64), world(0));
    let mut counted = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let mut lines = rule_set(&mut chance, &CHAINS, rule);
        // With connections tracked, or not.
        if chance.percent(50) {
            lines.push("-I FORWARD -m state --state ESTABLISHED".to_owned());
        }
        let packets = packets(&mut chance);
        let [ours, theirs] = [&mut cached, &mut plain].map(|world| {
            world.rules6(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            packets.iter().for_each(|(ingress, packet)| inject(world, *ingress, packet));
            (world.left_by_port(), world.count6(0), world.counts6())
        });
        assert_eq!(ours, theirs, "cached, not cached\n{}", lines.join("\n"));
        counted += ours.2.iter().map(|(packets, _)| packets).sum::<u64>();
    }
    assert_eq!(cached.counters(), plain.counters());
    if cases >= 150 {
        assert!(counted > 20_000, "{counted}");
    }
    cached.shut_down();
    plain.shut_down();
}
