//! What rules do, told as plainly as possible: every packet walks through every rule. The order in which things are
//! asked is the kernel's (net/ipv4/netfilter/ip_tables.c, net/ipv6/netfilter/ip6_tables.c).

use std::collections::BTreeMap;
use std::net::IpAddr;

use weir_control::command::ChainName;
use weir_control::rule::{
    CtDirection, CtStates, Family, InterfacePattern, IpNet, Match, MultiportEnd, Negatable,
    PortRange, Rule, Statistic, Target, TcpMatch,
};
use weir_control::ruleset::{Chain, Policy, RuleId, Ruleset};

/// The base chains.
pub(super) const BASES: [&str; 3] = ["INPUT", "FORWARD", "OUTPUT"];

/// How much of a packet's transport header there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Whole,
    /// All but the options of TCP.
    WithoutOptions,
    /// The ports, and not much more.
    Ports,
    Nothing,
    /// It is in another fragment, so many times eight bytes before this one.
    Later(u16),
    /// Extension headers that end nowhere (of IPv6 alone).
    Lost,
    /// The same in a later fragment.
    LostLater,
}

#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) base: &'static str,
    /// Empty where there is none.
    pub(super) ingress: String,
    pub(super) egress: String,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) header: Header,
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) flags: u8,
    /// An option that it has besides the segment size.
    pub(super) option: u8,
    pub(super) mss: u16,
    pub(super) icmp: (u8, u8),
    pub(super) state: CtStates,
    pub(super) reply: bool,
    pub(super) ttl: u8,
    pub(super) length: u16,
    /// For what is left to chance.
    pub(super) luck: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Holds,
    Differs,
    /// The packet is dropped on the spot.
    Drops,
}

impl From<bool> for Answer {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Differs }
    }
}

fn is<T>(asked: &Negatable<T>, holds: impl FnOnce(&T) -> bool) -> bool {
    holds(&asked.value) != asked.negated
}

pub(super) fn is_by(pattern: Option<&Negatable<InterfacePattern>>, name: &str) -> bool {
    pattern.is_none_or(|pattern| is(pattern, |value| value.matches(name)))
}

/// How often each rule with `--mode nth` was asked.
pub(super) type Turns = BTreeMap<(RuleId, usize), u32>;

/// What becomes of a packet when a rule is asked about it.
pub(super) fn ask(
    family: Family,
    (id, rule): (RuleId, &Rule),
    packet: &Packet,
    mark: u32,
    turns: &mut Turns,
) -> Answer {
    let net = |net: &Option<Negatable<IpNet>>, address| {
        net.is_none_or(|net| is(&net, |net| net.contains(address)))
    };
    if !net(&rule.source, packet.source)
        || !net(&rule.destination, packet.destination)
        || !is_by(rule.in_interface.as_ref(), &packet.ingress)
        || !is_by(rule.out_interface.as_ref(), &packet.egress)
    {
        return Answer::Differs;
    }
    if let Some(protocol) = rule.protocol {
        match packet.header {
            Header::Lost if family == Family::V6 => return Answer::Drops,
            Header::LostLater if family == Family::V6 => return Answer::Differs,
            _ if !is(&protocol, |protocol| protocol.0 == packet.protocol) => {
                return Answer::Differs;
            }
            _ => {}
        }
    }
    let later = matches!(packet.header, Header::Later(_) | Header::LostLater);
    if rule.fragment.is_some_and(|wanted| wanted != later) {
        return Answer::Differs;
    }
    for (place, asked) in rule.matches.iter().enumerate() {
        let answer = match asked {
            Match::Mark(asked) => is(&asked.mark, |wanted| wanted.matches(mark)).into(),
            Match::Statistic(asked) => {
                let turn = turns.entry((id, place)).or_default();
                let is_its = match asked.statistic().expect("drawn as it should be") {
                    Statistic::Random { .. } => (packet.luck >> (id.0 % 60)) & 1 == 1,
                    Statistic::Nth { every, packet } => {
                        let now = *turn;
                        *turn = (now + 1) % every;
                        now == packet
                    }
                };
                (is_its != asked.negated).into()
            }
            other => ask_match(other, packet),
        };
        if answer != Answer::Holds {
            return answer;
        }
    }
    Answer::Holds
}

/// Of a match for which only the packet counts.
fn ask_match(asked: &Match, packet: &Packet) -> Answer {
    match asked {
        Match::Comment(_) => Answer::Holds,
        Match::State(asked) => is(&asked.states, |states| states.intersects(packet.state)).into(),
        Match::Conntrack(asked) => {
            let states = asked.states;
            let holds = states.is_none_or(|asked| is(&asked, |it| it.intersects(packet.state)));
            if packet.state.intersects(CtStates::INVALID | CtStates::UNTRACKED) {
                return (asked.states.is_some() && holds).into();
            }
            let way = asked.direction;
            (holds && way.is_none_or(|way| (way == CtDirection::Reply) == packet.reply)).into()
        }
        Match::Ttl(asked) => asked.matches(packet.ttl).into(),
        Match::Hl(asked) => asked.0.matches(packet.ttl).into(),
        Match::Length(asked) => is(&asked.length, |range| range.contains(packet.length)).into(),
        other => ask_header(other, packet),
    }
}

/// Of a match that reads a transport header (net/netfilter/xt_tcpudp.c, xt_multiport.c, xt_tcpmss.c).
fn ask_header(asked: &Match, packet: &Packet) -> Answer {
    let (source, destination) = (packet.source_port, packet.destination_port);
    let holds = match asked {
        Match::Tcp(asked) => {
            is(&asked.source_ports, |range| range.contains(source))
                && is(&asked.destination_ports, |range| range.contains(destination))
                && is(&asked.flags, |flags| flags.matches(packet.flags))
                && asked.option.is_none_or(|option| is(&option, |kind| kind.get() == packet.option))
        }
        Match::Udp(asked) => {
            is(&asked.source_ports, |range| range.contains(source))
                && is(&asked.destination_ports, |range| range.contains(destination))
        }
        Match::Icmp(asked) => is(&asked.icmp_type, |it| it.matches(packet.icmp.0, packet.icmp.1)),
        Match::Icmp6(asked) => is(&asked.icmp6_type, |it| it.matches(packet.icmp.0, packet.icmp.1)),
        Match::Multiport(asked) => {
            let meets = |range: &PortRange| match asked.end {
                MultiportEnd::Source => range.contains(source),
                MultiportEnd::Destination => range.contains(destination),
                MultiportEnd::Either => range.contains(source) || range.contains(destination),
            };
            is(&asked.ports, |ports| ports.iter().any(meets))
        }
        Match::TcpMss(asked) => is(&asked.mss, |range| range.contains(packet.mss)),
        other => panic!("{other:?} is not drawn"),
    };
    match (packet.header, asked) {
        (Header::Whole, _) => holds.into(),
        // What stands in a later fragment is taken for a header.
        (Header::Later(_), Match::TcpMss(_)) if packet.luck & 1 == 1 => holds.into(),
        (_, Match::TcpMss(_)) => Answer::Drops,
        // The option is looked for when all else holds.
        (Header::WithoutOptions, Match::Tcp(tcp)) if tcp.option.is_some() => {
            let else_holds = Match::Tcp(TcpMatch { option: None, ..*tcp });
            match ask_header(&else_holds, packet) {
                Answer::Holds => Answer::Drops,
                answer => answer,
            }
        }
        (Header::WithoutOptions, _) | (Header::Ports, Match::Multiport(_)) => holds.into(),
        (Header::Later(1), Match::Tcp(_)) => Answer::Drops,
        (Header::Later(_), _) => Answer::Differs,
        (Header::Ports | Header::Nothing | Header::Lost | Header::LostLater, _) => Answer::Drops,
    }
}

/// All chains, ready to be walked through.
#[derive(Debug, Clone)]
pub(super) struct Model {
    family: Family,
    pub(super) chains: Vec<ModelChain>,
}

#[derive(Debug, Clone)]
pub(super) struct ModelChain {
    pub(super) name: ChainName,
    policy: Option<Policy>,
    pub(super) rules: Vec<ModelRule>,
}

#[derive(Debug, Clone)]
pub(super) struct ModelRule {
    pub(super) id: RuleId,
    pub(super) rule: Rule,
    /// The chain that it leads to.
    to: Option<usize>,
}

/// How a packet ends, and what was written about it on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) accepted: bool,
    rejected: Option<Target>,
    lines: Vec<(RuleId, u32)>,
}

/// What packets did.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) traces: Vec<Trace>,
    /// Of each rule, a packet that it held for.
    held: Vec<Option<usize>>,
    /// Chains that one came to.
    pub(super) entered: Vec<bool>,
}

impl Walked {
    /// A packet that a rule held for.
    pub(super) fn held(&self, rule: RuleId) -> Option<usize> {
        self.held[usize::try_from(rule.0).expect("few")]
    }
}

impl Model {
    pub(super) fn of(ruleset: &Ruleset) -> Self {
        let place =
            |name: &ChainName| ruleset.chains().iter().position(|chain| chain.name == *name);
        let rules = |chain: &Chain| {
            let rules = chain.rules.iter().map(|entry| {
                let to = match &entry.rule.target {
                    Some(Target::Jump(name) | Target::Goto(name)) => place(name),
                    _ => None,
                };
                ModelRule { id: entry.id, rule: (*entry.rule).clone(), to }
            });
            rules.collect()
        };
        let chains = ruleset.chains().iter().map(|chain| ModelChain {
            name: chain.name.clone(),
            policy: chain.policy,
            rules: rules(chain),
        });
        Self { family: ruleset.family(), chains: chains.collect() }
    }

    /// Base chains from which rules lead to a chain, whatever they ask for.
    pub(super) fn bases_of(&self, chain: usize) -> Vec<&'static str> {
        let leads = |base: &&str| {
            let mut seen: Vec<usize> = (0..self.chains.len())
                .filter(|at| self.chains[*at].name.as_str() == *base)
                .collect();
            let mut next = 0;
            while let Some(&at) = seen.get(next) {
                next += 1;
                let to = self.chains[at].rules.iter().filter_map(|rule| rule.to);
                let new: Vec<usize> = to.filter(|to| !seen.contains(to)).collect();
                seen.extend(new);
            }
            seen.contains(&chain)
        };
        BASES.into_iter().filter(leads).collect()
    }

    /// Whether a rule alone would hold, asked about a packet with this mark.
    pub(super) fn holds(&self, rule: &ModelRule, packet: &Packet, mark: u32) -> bool {
        ask(self.family, (rule.id, &rule.rule), packet, mark, &mut Turns::new()) == Answer::Holds
    }

    pub(super) fn walk(&self, packets: &[&Packet]) -> Walked {
        let ids = self.chains.iter().flat_map(|chain| &chain.rules).map(|rule| rule.id.0);
        let ids = usize::try_from(ids.max().unwrap_or(0) + 1).expect("few");
        let entered = vec![false; self.chains.len()];
        let mut walked = Walked { traces: Vec::new(), held: vec![None; ids], entered };
        let mut turns = Turns::new();
        for (number, packet) in packets.iter().enumerate() {
            let trace = self.walk_one(packet, number, &mut turns, &mut walked);
            walked.traces.push(trace);
        }
        walked
    }

    fn walk_one(
        &self,
        packet: &Packet,
        number: usize,
        turns: &mut Turns,
        walked: &mut Walked,
    ) -> Trace {
        let (mut mark, mut back, mut lines) = (0, Vec::new(), Vec::new());
        let base = self.chains.iter().position(|chain| chain.name.as_str() == packet.base);
        let base = base.expect("all base chains are there");
        let (mut chain, mut at) = (base, 0);
        walked.entered[base] = true;
        loop {
            let Some(rule) = self.chains[chain].rules.get(at) else {
                let Some(place) = back.pop() else { break };
                (chain, at) = place;
                continue;
            };
            at += 1;
            match ask(self.family, (rule.id, &rule.rule), packet, mark, turns) {
                Answer::Differs => continue,
                Answer::Drops => return Trace { accepted: false, rejected: None, lines },
                Answer::Holds => {
                    walked.held[usize::try_from(rule.id.0).expect("few")] = Some(number)
                }
            };
            match &rule.rule.target {
                None => {}
                Some(Target::Accept) => return Trace { accepted: true, rejected: None, lines },
                Some(Target::Drop) => return Trace { accepted: false, rejected: None, lines },
                Some(rejected @ (Target::Reject(_) | Target::Reject6(_))) => {
                    return Trace { accepted: false, rejected: Some(rejected.clone()), lines };
                }
                Some(Target::Return) => at = usize::MAX,
                Some(Target::Log(_)) => lines.push((rule.id, mark)),
                Some(Target::Mark(set)) => mark = mark & !set.mask ^ set.value,
                Some(target @ (Target::Jump(_) | Target::Goto(_))) => {
                    if matches!(target, Target::Jump(_)) {
                        back.push((chain, at));
                    }
                    (chain, at) = (rule.to.expect("it is there"), 0);
                    walked.entered[chain] = true;
                }
                Some(other) => panic!("{other:?} is not drawn"),
            }
        }
        Trace { accepted: self.chains[base].policy == Some(Policy::Accept), rejected: None, lines }
    }
}
