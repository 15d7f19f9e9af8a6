//! What the flow cache keeps of the rules, beside the rules themselves: the same ways, counters and draws of lots.

use crate::chance::{Chance, Seed};
use crate::oracle::{forward, frame, number};
use crate::packet::Packet;
use crate::spec::{MARKS, Spec, traffic};
use crate::world::*;

/// User-defined chains, from which rules lead to later ones only: so there are no loops.
const CHAINS: [&str; 5] = ["FORWARD", "a", "b", "c", "d"];

/// What may stand before or behind the other conditions: what differs from packet to packet of a flow, and what has to
/// be asked exactly as often as the kernel would.
const LOTS: [&str; 10] = [
    " -m statistic --mode nth --every 3 --packet 1",
    " -m statistic --mode random --probability 0.5",
    " -m limit --limit 1/s --limit-burst 4",
    " -m fuzzy --lower-limit 3 --upper-limit 90",
    " -m hashlimit --hashlimit-upto 1/s --hashlimit-mode srcip --hashlimit-name a --hashlimit-htable-max 64",
    " -m fuzzy --lower-limit 3 --upper-limit 90 --fuzzy-mode srcip,dstport --fuzzy-htable-max 64",
    " -m ttl --ttl-gt 60",
    " -m length --length 40:60",
    " -m mark --mark 0x1/0x1",
    " -m state --state NEW,ESTABLISHED",
];

fn rule(chance: &mut Chance, chain: usize) -> String {
    let words = Spec::draw(chance).words();
    let conditions = words.split(" -j ").next().unwrap_or_default();
    let conditions = conditions.strip_prefix("-A FORWARD").unwrap_or_default();
    let later = CHAINS.len() - 1 - chain;
    let target = match chance.below(10) {
        0..3 if later > 0 => format!(" -j {}", CHAINS[chain + 1 + chance.below(later)]),
        3 if later > 0 => format!(" -g {}", CHAINS[chain + 1 + chance.below(later)]),
        4 => " -j RETURN".to_owned(),
        5 => " -j ACCEPT".to_owned(),
        6 => " -j DROP".to_owned(),
        7 => format!(" -j MARK --set-xmark {}/{}", chance.one_of(&MARKS), chance.one_of(&MARKS)),
        _ => String::new(),
    };
    let conditions = if chance.percent(40) { "" } else { conditions };
    let lot = if chance.percent(40) { chance.one_of(&LOTS) } else { "" };
    format!("-A {}{conditions}{lot}{target}", CHAINS[chain])
}

/// The commands that put random rules into `chains`, of which the first is FORWARD, in the place of what there is.
/// `rule` draws one for the chain of a number.
pub(crate) fn rule_set(
    chance: &mut Chance,
    chains: &[&str],
    rule: fn(&mut Chance, usize) -> String,
) -> Vec<String> {
    let accept = if chance.percent(50) { "ACCEPT" } else { "DROP" };
    let mut lines = ["-F", "-X", "-Z"].map(str::to_owned).to_vec();
    lines.push(format!("-P FORWARD {accept}"));
    lines.extend(chains[1..].iter().map(|chain| format!("-N {chain}")));
    for chain in 0..chains.len() {
        let rules = 1 + chance.below(24);
        lines.extend((0..rules).map(|_| rule(chance, chain)));
    }
    lines
}

/// Packets of a few flows, each several times with other bytes. Fragments, which have no key, would wait for others.
fn packets(chance: &mut Chance) -> Vec<(usize, Packet)> {
    let whole = |(_, packet): &(usize, Packet)| !packet.more_fragments && packet.offset == 0;
    let flows: Vec<_> = std::iter::repeat_with(|| traffic(chance)).filter(whole).take(8).collect();
    let mut packets = Vec::new();
    for identification in 0..120 {
        let (ingress, mut packet) = flows[chance.below(flows.len())].clone();
        packet.identification = identification;
        packet.ttl = chance.one_of(&[2, 60, 61, 64, 255]);
        if packet.protocol == 6 && packet.payload.len() > 13 {
            packet.payload[13] = chance.byte();
            if chance.percent(10) {
                packet.payload.truncate(12);
            }
        }
        packets.push((ingress, packet));
    }
    packets
}

#[test]
fn a_cached_flow_is_decided_about_as_the_rules_say() {
    let seed = number("WEIR_SEED", 0x5eed);
    let cases = number("WEIR_CASES", 150);
    let mut cached = World::new(Sizes::ONE);
    let mut plain = World::new(Sizes { flow_cache: 0, ..Sizes::ONE });
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let lines = rule_set(&mut chance, &CHAINS, rule);
        let frames: Vec<_> = packets(&mut chance).iter().map(frame).collect();
        let [ours, theirs] = [&mut cached, &mut plain].map(|world| {
            world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let ways = forward(world, &frames, true);
            (ways, world.count(0), world.counts())
        });
        assert_eq!(ours, theirs, "cached, not cached\n{}", lines.join("\n"));
    }
    assert_eq!(cached.counters(), plain.counters());
    cached.shut_down();
    plain.shut_down();
}
