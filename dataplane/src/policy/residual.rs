//! What is left of the rules for a packet of a known flow.
//!
//! Most tests of a rule say the same of every packet of a flow: addresses, ports, interfaces, the state by which
//! connection tracking knows the packet. Once they have been asked, what is left of all chains is short: rules that
//! hold for every packet of the flow and only count, rules that still ask something of each packet (flags, length,
//! chance, ...), and how it ends. That is a [`Residual`]; chains are unrolled in it.
//!
//! ```text
//!   -A FORWARD -s 10.0.0.0/8 -j web          counts                   the flow: 10.1.2.3:5000 > 192.0.2.1:80
//!   -A FORWARD -s 10.0.0.0/8 -m length ...   asks, counts
//!   -A web -p udp -j DROP                    (differs: not in it)
//!   -A web -p tcp --dport 80 -j ACCEPT       counts, ends
//!
//!   residual: counts 1 | counts 4, ends      (rule 2 comes behind the end)
//! ```
//!
//! Where a rule that still asks would lead to another chain or back from one, where a residual would be too long, or
//! chains are nested too deep, it ends in the middle of the rules, and the walk through them goes on from there.
//! So a residual never decides otherwise than the rules, and counts what they count.

use super::address::Ends;
use super::rule::Settled;
use super::target;
use super::{Action, Candidate, Decision, Effects, Evaluation, PacketKey, Policy, Walk};
use crate::packet_log::PacketLog;
use crate::verdict::DropReason;

/// Rules in a residual, at most. With it, key and number an entry of the cache is a cache line.
const STEPS_MAX: usize = 8;

/// Chains, one in the other, in whose middle a residual may end.
const WAYS_MAX: usize = 1;

/// A rule, and whether it still asks something of each packet.
#[derive(Debug, Clone, Copy, Default)]
struct Step(u32);

impl Step {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most RULES_MAX rules")]
    fn new(rule: usize, asks: bool) -> Self {
        Self((rule as u32) << 1 | u32::from(asks))
    }

    fn rule(self) -> usize {
        (self.0 >> 1) as usize
    }

    fn asks(self) -> bool {
        self.0 & 1 != 0
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Residual {
    steps: [Step; STEPS_MAX],
    len: u8,
    /// What comes behind the steps, unless one has decided: the rules from `at` on if this is true, else the policy of
    /// the chain that the packet came from.
    walks: bool,
    /// How many chains lead to `at`.
    depth: u8,
    at: u32,
    /// The rules that lead there.
    ways: [u32; WAYS_MAX],
}

impl Residual {
    /// Adds a step; `false` if there is no room.
    fn push(&mut self, step: Step) -> bool {
        let room = usize::from(self.len) < STEPS_MAX;
        if room {
            self.steps[usize::from(self.len)] = step;
            self.len += 1;
        }
        room
    }

    /// Lets it end at a rule in the middle of the others. Too deep in chains for that, it is nothing but the way
    /// through all rules.
    #[expect(clippy::cast_possible_truncation, reason = "there are at most RULES_MAX rules")]
    fn end_at(mut self, walk: &Walk, start: &Walk) -> Self {
        let walk = if walk.ways.depth() > WAYS_MAX {
            self = Self::default();
            start
        } else {
            walk
        };
        let depth = walk.ways.depth();
        self.ways[..depth].copy_from_slice(&walk.ways.rules[..depth]);
        (self.walks, self.at, self.depth) = (true, walk.at as u32, depth as u8);
        self
    }

    /// Where the walk goes on.
    fn walk(&self, policy: &Policy) -> Walk {
        let at = self.at as usize;
        let mut walk = Walk { at, chain: policy.rules[at].chain as usize, ..Walk::default() };
        walk.ways.rules.extend(self.ways.into_iter().take(self.depth.into()));
        walk
    }
}

impl Policy {
    /// What is left of the rules for packets like this one: of its flow, in its state, with the same interfaces.
    pub(super) fn residual<E: Ends>(
        &self,
        candidate: &Candidate<'_>,
        ends: E,
        key: &PacketKey,
    ) -> Residual {
        let start = self.start(candidate.hook);
        let mut walk = start.clone();
        let mut residual = Residual::default();
        loop {
            let chain = &self.chains[walk.chain];
            walk.at = chain.next(walk.at, Some(&chain.key::<E>(candidate, *key)));
            if walk.at == chain.end {
                let Some(back) = walk.ways.back() else { return residual };
                (walk.at, walk.chain) = (back + 1, self.rules[back].chain as usize);
                continue;
            }
            let rule = &self.rules[walk.at];
            let leads = matches!(rule.action, Action::Jump(_) | Action::Goto(_) | Action::Return);
            let asks = match rule.settled(candidate, ends) {
                Settled::Differs => {
                    walk.at += 1;
                    continue;
                }
                Settled::Open if leads => return residual.end_at(&walk, &start),
                Settled::Open => true,
                Settled::Holds => false,
            };
            if !residual.push(Step::new(walk.at, asks)) {
                return residual.end_at(&walk, &start);
            }
            match rule.action {
                Action::End(_) if !asks => return residual,
                Action::End(_)
                | Action::Continue
                | Action::Log(_)
                | Action::Mark { .. }
                | Action::Connmark(_)
                | Action::Notrack
                | Action::Synproxy(_) => walk.at += 1,
                Action::Return => walk.at = chain.end,
                Action::Jump(place) => {
                    walk.ways.leave(walk.at);
                    (walk.at, walk.chain) = (self.chains[place as usize].first, place as usize);
                }
                Action::Goto(place) => {
                    (walk.at, walk.chain) = (self.chains[place as usize].first, place as usize);
                }
            }
        }
    }

    /// Decides about a packet of a flow whose residual is known.
    pub(super) fn decide_rest<E: Ends>(
        &self,
        worker: usize,
        candidate: &Candidate<'_>,
        ends: E,
        log: &mut PacketLog,
        (residual, key): (&Residual, &PacketKey),
    ) -> Decision {
        let bytes = u64::from(candidate.headers.total_len);
        let mut changed;
        let mut candidate = candidate;
        let effects = &mut Effects::default();
        for step in &residual.steps[..usize::from(residual.len)] {
            let rule = &self.rules[step.rule()];
            if step.asks() {
                match rule.evaluate(candidate, ends, &self.sets) {
                    Evaluation::Differs => continue,
                    Evaluation::Hotdrop => return Decision::Drop(DropReason::RuleHotdrop),
                    Evaluation::Matches => {}
                }
            }
            rule.counters.add(worker, bytes);
            match rule.action {
                Action::End(decision) => return decision,
                Action::Synproxy(asked) => {
                    if let Some(decision) = target::synproxy(asked, candidate) {
                        return decision;
                    }
                }
                _ => {}
            }
            // Where it leads, the next step knows.
            if let Some(after) = self.act(rule.action, candidate, log, effects) {
                changed = after;
                candidate = &changed;
            }
        }
        if residual.walks {
            let walk = &mut residual.walk(self);
            let key = self.chains[walk.chain].key::<E>(candidate, *key);
            return self.walk((worker, candidate), ends, log, (walk, Some(key)), effects);
        }
        self.default(worker, candidate)
    }
}

#[cfg(test)]
mod tests {
    use weir_control::command::{Command, Context, Parsed, parse_in};
    use weir_control::rule::Names;
    use weir_control::ruleset::Ruleset;

    use super::*;
    use crate::batch::{Addresses, Headers};
    use crate::policy::address::{Ends4, Windows};
    use crate::policy::candidate::packet_key;
    use crate::policy::{Compiler, Connection, Dice, Hook};
    use crate::port::PortIndex;
    use crate::route::Forwarding;

    fn command(line: &str) -> Command {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let names = Names::builtin();
        let context = Context { is_chain: &|_, _| true, ..Context::new(&names) };
        let Ok(Parsed::Command(line)) = parse_in(&words, context) else { panic!("{line}") };
        line.command
    }

    /// What is left of rules for TCP from 10.0.0.1 port 5000 to 192.0.2.1 port 80: rules that count (`7`) and that ask
    /// (`7?`), by their place among all, and where the walk goes on (`> 7`), from within how many chains.
    fn residual(lines: &[&str]) -> String {
        let mut ruleset = Ruleset::new();
        for line in lines {
            ruleset.apply(&command(line)).expect("fine");
        }
        let mut compiler = Compiler::new(1, vec!["eth0".to_owned(), "eth1".to_owned()]);
        let policy = compiler.compile(&ruleset).expect("known words");
        let headers = Headers {
            addresses: Addresses::V4 {
                source: [10, 0, 0, 1].into(),
                destination: [192, 0, 2, 1].into(),
            },
            protocol: 6,
            source_port: 5000,
            destination_port: 80,
            transport: true,
            ..Headers::default()
        };
        let ports = (PortIndex(0), PortIndex(1));
        let candidate = Candidate {
            hook: Hook::Forward,
            headers: &headers,
            ingress: ports.0,
            egress: ports.1,
            packet: &[],
            link: &[],
            forwarding: &Forwarding::builder().build(),
            connection: Connection::UNTRACKED,
            dice: &Dice::new(0),
            now_ns: 0,
            wall_s: 0,
            mark: 0,
        };
        let key = packet_key(&headers, ports, Windows::default()).expect("a whole header");
        let (source, destination) = headers.v4().expect("an IPv4 packet");
        let left = policy.residual(&candidate, Ends4::new(source, destination), &key);
        let shown = |step: &Step| format!("{}{}", step.rule(), if step.asks() { "?" } else { "" });
        let mut steps: Vec<String> =
            left.steps[..usize::from(left.len)].iter().map(shown).collect();
        if left.walks {
            steps.push(format!("> {} from {}", left.at, left.depth));
        }
        steps.join(" ")
    }

    #[test]
    fn what_is_settled_is_left_out_and_chains_are_unrolled() {
        let rules = [
            "-N web",
            "-A FORWARD -s 10.0.0.0/8 -p tcp -m state --state NEW -j DROP",
            "-A FORWARD -s 10.0.0.0/8 -p tcp -m state --state UNTRACKED",
            "-A FORWARD -i eth0 -j web",
            "-A FORWARD -p tcp --syn -j DROP",
            "-A FORWARD -j ACCEPT",
            "-A FORWARD -j DROP",
            "-A web -p tcp -m multiport --dports 1,2 -m length --length 3 -j DROP",
            "-A web -m length --length 3 -p tcp --dport 81 -j DROP",
            "-A web -m length --length 3 -j DROP",
            "-A web -p tcp --dport 80 -j RETURN",
            "-A web -j DROP",
        ];
        assert_eq!(residual(&rules), "1 2 8? 9 3? 4");
        assert_eq!(residual(&["-P FORWARD DROP", "-A FORWARD -o eth0"]), "");
    }

    #[test]
    fn a_test_with_effects_is_asked_though_a_later_one_does_not_hold() {
        let lot = "-A FORWARD -m statistic --mode nth --every 2 --packet 0 -p tcp -m tcp --dport 81 -j DROP";
        let quiet = "-A FORWARD -m ttl --ttl-gt 9 -p tcp -m tcp --dport 81 -j DROP";
        assert_eq!(residual(&[lot, quiet]), "0?");
        let before = "-A FORWARD -p tcp -m tcp --dport 81 -m statistic --mode nth --every 2 --packet 0 -j DROP";
        assert_eq!(residual(&[before]), "");
    }

    #[test]
    fn marks_of_flows_are_asked_for_each_time() {
        let asked = "-A FORWARD -m connmark --mark 1 -p tcp -m tcp --dport 80 -j DROP";
        let never = "-A FORWARD -m connmark --mark 1 -p tcp -m tcp --dport 81 -j DROP";
        assert_eq!(residual(&[asked, never, "-A FORWARD -j CONNMARK --save-mark"]), "0? 2");
    }

    #[test]
    fn it_ends_in_the_middle_where_it_must() {
        let asked = ["-N a", "-A FORWARD", "-A FORWARD -m ttl --ttl-gt 9 -j a", "-A FORWARD"];
        assert_eq!(residual(&asked), "0 > 1 from 0");
        let long = ["-A FORWARD"; STEPS_MAX + 1];
        assert_eq!(residual(&long), "0 1 2 3 4 5 6 7 > 8 from 0");
        let deep = ["-N a", "-A FORWARD -j a", "-A a -m ttl --ttl-gt 9 -j RETURN"];
        assert_eq!(residual(&deep), "0 > 1 from 1");
        let deeper =
            ["-N a", "-N b", "-A FORWARD -j a", "-A a -j b", "-A b -m ttl --ttl-gt 9 -j RETURN"];
        assert_eq!(residual(&deeper), "> 0 from 0", "all of it");
    }
}
