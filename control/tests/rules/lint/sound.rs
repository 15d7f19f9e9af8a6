//! What lint says of random rule sets is so: each finding is held against a plain evaluation of the rules
//! (`model.rs`) with thousands of packets, with and without the rule that it is about.
//!
//! The seed is the same every time, and printed; `WEIR_SEED=N` draws other rule sets, `WEIR_CASES=N` more.

use std::collections::BTreeMap;

use weir_control::lint::{Finding, Kind, lint};
use weir_control::rule::{CtStates, Family, Rule};
use weir_control::ruleset::Ruleset;

use super::draw::{Dice, Pools, lines};
use super::model::{Header, Model, Packet, Walked, is_by};
use super::{host_ruleset, witness};
use crate::differential::runner;

/// Packets for each rule set, and again for each finding.
const PACKETS: usize = 200;

#[test]
fn findings_about_rules_of_ipv4_are_true() {
    findings_are_true(Family::V4, 200);
}

#[test]
fn findings_about_rules_of_ipv6_are_true() {
    findings_are_true(Family::V6, 100);
}

fn findings_are_true(family: Family, cases: usize) {
    let given = std::env::var("WEIR_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases: usize = given.unwrap_or(cases);
    let mut dice = Dice(runner());
    let mut found: BTreeMap<Kind, usize> = BTreeMap::new();
    for case in 0..cases {
        let lines = lines(&mut dice, family);
        let set = host_ruleset(family, &lines.join("\n"));
        let known = [&["eth0", "eth1", "wan"][..], &["eth0", "eth1"], &["eth0", "wan"]];
        let known = dice.one_of(&known).iter().map(|port| (*port).to_owned()).collect();
        let ports: Option<Vec<String>> = dice.percent(40).then_some(known);
        let ports = ports.as_deref();
        let findings = lint(&set, ports);
        let trial = Trial::new(&set, ports, &mut dice);
        for finding in &findings {
            *found.entry(finding.kind).or_default() += 1;
            if let Err(why) = trial.hold(finding, &mut dice) {
                let lines = lines.join("\n");
                panic!("rule set {case}, ports {ports:?}\n{lines}\n{finding:#?}\n{why}");
            }
        }
    }
    eprintln!("{cases} rule sets: {found:?}");
    assert!(cases < 200 || found.len() == 7, "each kind is found: {found:?}");
}

/// A rule set and packets for it.
struct Trial<'a> {
    model: Model,
    ports: Option<&'a [String]>,
    pools: Pools,
    packets: Vec<Packet>,
}

impl<'a> Trial<'a> {
    fn new(set: &Ruleset, ports: Option<&'a [String]>, dice: &mut Dice) -> Self {
        let model = Model::of(set);
        let pools = Pools::of(set.family(), &model, ports);
        let rules: Vec<&Rule> =
            model.chains.iter().flat_map(|chain| &chain.rules).map(|rule| &rule.rule).collect();
        let any = Rule::default();
        let packets = (0..PACKETS).map(|_| {
            let aim = if rules.is_empty() { &any } else { rules[dice.below(rules.len())] };
            pools.packet(dice, aim)
        });
        let packets = packets.collect();
        Self { model, ports, pools, packets }
    }

    /// Whether a finding is true, as far as these packets tell, and others that are aimed at its rule.
    fn hold(&self, finding: &Finding, dice: &mut Dice) -> Result<(), String> {
        let chains = &self.model.chains;
        let chain = chains.iter().position(|chain| chain.name == finding.chain).expect("is there");
        let number = finding.rule.or_else(|| finding.because_of.first().copied());
        let place = number.map(|number| number - 1);
        let rule = place.map(|place| &chains[chain].rules[place]);
        let any = Rule::default();
        let aim = rule.map_or(&any, |rule| &rule.rule);
        let aimed: Vec<Packet> = (0..PACKETS).map(|_| self.pools.packet(dice, aim)).collect();
        let packets: Vec<&Packet> = self.packets.iter().chain(&aimed).collect();
        match (finding.kind, finding.rule) {
            (Kind::Unreachable, None) => match self.model.walk(&packets).entered[chain] {
                true => Err("a packet comes there".to_owned()),
                false => Ok(()),
            },
            (Kind::OneWay, _) => self.is_one_way((chain, place.expect("one")), &packets),
            (Kind::UnknownInterface, _) if finding.what.contains("always holds") => {
                let rule = &rule.expect("one").rule;
                let by = |packet: &&&Packet| match finding.what.contains("(-i)") {
                    true => !is_by(rule.in_interface.as_ref(), &packet.ingress),
                    false => !is_by(rule.out_interface.as_ref(), &packet.egress),
                };
                packets.iter().find(by).map_or(Ok(()), |packet| Err(format!("not for {packet:?}")))
            }
            _ => self.changes_nothing(finding, (chain, place.expect("one")), &packets),
        }
    }

    /// What rules do is the same without this one.
    fn changes_nothing(
        &self,
        finding: &Finding,
        (chain, place): (usize, usize),
        packets: &[&Packet],
    ) -> Result<(), String> {
        let rule = &self.model.chains[chain].rules[place];
        let bases = self.model.bases_of(chain);
        let before = self.model.walk(packets);
        if matches!(finding.kind, Kind::Contradiction | Kind::UnknownInterface) {
            let fits = |packet: &Packet| (0..3).any(|mark| self.model.holds(rule, packet, mark));
            let mut come = packets.iter().filter(|packet| bases.contains(&packet.base));
            if let Some(packet) = come.find(|packet| fits(packet)) {
                return Err(format!("it holds for {packet:?}"));
            }
        }
        let below = finding.kind == Kind::Redundant && !finding.what.contains("before it");
        if !below
            && finding.kind != Kind::NoEffect
            && let Some(number) = before.held(rule.id)
        {
            return Err(format!("it holds for {:?}", packets[number]));
        }
        if let Some(text) = &finding.witness {
            let mut read = bases.iter().map(|base| witness::read(text, base, self.ports));
            if !bases.is_empty() && !read.any(|packet| self.model.holds(rule, &packet, 0)) {
                return Err(format!("it does not hold for its witness, {text}"));
            }
        }
        let mut idle = self.model.clone();
        idle.chains[chain].rules[place].rule.target = None;
        same(packets, &before, &idle.walk(packets)).map_err(|why| format!("idle: {why}"))?;
        // What the rule itself drops on the spot, because a header is broken, is left aside.
        let whole: Vec<&Packet> =
            packets.iter().copied().filter(|packet| packet.header == Header::Whole).collect();
        let mut without = self.model.clone();
        without.chains[chain].rules.remove(place);
        let (before, after) = (self.model.walk(&whole), without.walk(&whole));
        same(&whole, &before, &after).map_err(|why| format!("gone: {why}"))
    }

    fn is_one_way(
        &self,
        (chain, place): (usize, usize),
        packets: &[&Packet],
    ) -> Result<(), String> {
        let (rule, name) =
            (&self.model.chains[chain].rules[place], self.model.chains[chain].name.as_str());
        let traces = self.model.walk(packets).traces;
        for (packet, trace) in packets.iter().zip(traces) {
            if packet.base != name || packet.state != CtStates::ESTABLISHED {
                continue;
            }
            if trace.accepted {
                return Err(format!("{packet:?} passes"));
            }
            if self.model.holds(rule, packet, 0) {
                return Err(format!("it is for {packet:?}, too"));
            }
        }
        Ok(())
    }
}

/// Whether two rule sets treat all packets the same.
fn same(packets: &[&Packet], before: &Walked, after: &Walked) -> Result<(), String> {
    let mut traces = packets.iter().zip(before.traces.iter().zip(&after.traces));
    match traces.find(|(_, (before, after))| before != after) {
        Some((packet, (before, after))) => {
            Err(format!("{packet:?}: {before:?}, {after:?} without it"))
        }
        None => Ok(()),
    }
}
