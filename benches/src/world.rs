//! A firewall over [`LoopPort`]s: two ports, one worker, rules.

use std::net::Ipv4Addr;
use std::sync::Arc;

use af_xdp::{Area, AreaConfig};
use weir_control::command::{ChainName, Command, CommandLine, Parsed, parse};
use weir_control::rule::{
    Family, IpNet, Ipv4Net, Match, Names, Negatable, PortRange, Protocol, Rule, Table,
    Target as Verdict, UdpMatch,
};
use weir_control::ruleset::Ruleset;
use weir_dataplane::batch::Headers;
use weir_dataplane::conntrack::{Conntrack, ConntrackConfig};
use weir_dataplane::engine::{Engine, EngineConfig};
use weir_dataplane::frame::{Frame, FramePool, Memory};
use weir_dataplane::handover::{FlowHash, Inboxes};
use weir_dataplane::policy::{
    Candidate, Compiler, Connection, Dice, FlowCache, Hook, Policies, Policy,
};
use weir_dataplane::port::PortIndex;
use weir_dataplane::publish::Published;
use weir_dataplane::route::{
    Forwarding, ForwardingBuilder, InterfaceAddress, Neighbour, NeighbourState, PortLink, Resolver,
    Target,
};

use crate::LoopPort;
use crate::traffic::{DESTINATION, FIREWALL_MAC};

/// The port that packets come in by.
pub const INGRESS: PortIndex = PortIndex(0);
/// The port that they leave by.
pub const EGRESS: PortIndex = PortIndex(1);

/// Chunks of packet memory: Weir's default.
const CHUNKS: u32 = 16_384;

/// Frames of a fresh area.
///
/// # Panics
/// Without 64 MiB of memory.
#[must_use]
pub fn frames() -> (Arc<Memory>, Vec<Frame>) {
    let config = AreaConfig { chunks: CHUNKS, ..AreaConfig::default() };
    Memory::new(Area::new(&config).expect("64 MiB of memory"))
}

/// Two ports with a subnet each, and the receiver's MAC address.
#[must_use]
pub fn forwarding() -> Forwarding {
    ports().build()
}

/// The same, and by the first port, through its second address, to everywhere.
#[must_use]
pub fn forwarding_back() -> Forwarding {
    let (gateway, port) = (Ipv4Addr::new(198, 18, 0, 2), INGRESS);
    let everywhere = Target::Forward { port, gateway: Some(gateway), mtu: None, source: None };
    let sender = Neighbour::new([2, 0, 0, 0, 0, 9], NeighbourState::Reachable);
    ports().route(Ipv4Addr::UNSPECIFIED, 0, everywhere).neighbour(port, gateway, sender).build()
}

fn ports() -> ForwardingBuilder {
    let link = |name: &str, number: u8, address: [u8; 4]| PortLink {
        name: name.to_owned(),
        ifindex: Some(u32::from(number)),
        mac: [2, 0, 0, 0, 0, number],
        mtu: 1500,
        up: true,
        addresses: vec![InterfaceAddress::new(Ipv4Addr::from(address), 24)],
    };
    assert_eq!(FIREWALL_MAC.0[5], 1, "packets are sent to the first port");
    let receiver = Neighbour::new([2, 0, 0, 0, 0, 8], NeighbourState::Reachable);
    Forwarding::builder()
        .port(link("in", 1, [198, 18, 0, 1]))
        .port(link("out", 2, [198, 19, 0, 1]))
        .neighbour(EGRESS, DESTINATION, receiver)
}

/// A packet before the rules that only has headers, on its way from [`INGRESS`] to [`EGRESS`].
#[must_use]
pub fn candidate<'a>(
    headers: &'a Headers,
    forwarding: &'a Forwarding,
    dice: &'a Dice,
) -> Candidate<'a> {
    Candidate {
        hook: Hook::Forward,
        headers,
        ingress: INGRESS,
        egress: EGRESS,
        packet: &[],
        link: &[],
        forwarding,
        connection: Connection::UNTRACKED,
        dice,
        now_ns: 0,
        wall_s: 0,
        mark: 0,
    }
}

/// `rules` rules that the packets pass by (the policy accepts them): every second looks at the
/// source, the others at protocol and port.
///
/// # Panics
/// Never: such rules compile.
#[must_use]
pub fn policy(rules: u32) -> Policy {
    compiled(Ruleset::new(), ChainName::forward(), rules)
}

/// As [`policy`], of chain PREROUTING of table raw.
///
/// # Panics
/// Never: such rules compile.
#[must_use]
pub fn raw_policy(rules: u32) -> Policy {
    compiled(Ruleset::raw(Family::V4), ChainName::prerouting(), rules)
}

/// The one rule that a line of iptables appends.
///
/// # Panics
/// If the words are wrong.
#[must_use]
pub fn policy_of(line: &str) -> Policy {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    match parse(&words, &Names::builtin()) {
        Ok(Parsed::Command(parsed)) => {
            let CommandLine { command, .. } = *parsed;
            changed(Ruleset::new(), &command)
        }
        other => panic!("{line}: {other:?}"),
    }
}

/// What these lines of iptables come to, each of which appends a rule to table filter or, with `-t raw`, to that.
///
/// # Panics
/// If the words are wrong.
#[must_use]
pub fn policies_of(lines: &[&str]) -> Policies {
    let (mut filter, mut raw) = (Ruleset::new(), Ruleset::raw(Family::V4));
    let mut is_raw_used = false;
    for line in lines {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let Ok(Parsed::Command(parsed)) = parse(&words, &Names::builtin()) else {
            panic!("{line}: not understood");
        };
        let is_raw = parsed.table == Table::Raw;
        is_raw_used |= is_raw;
        let ruleset = if is_raw { &mut raw } else { &mut filter };
        ruleset.apply(&parsed.command).expect("the chain exists");
    }
    let compile = |ruleset: &Ruleset| {
        let ports = vec!["in".to_owned(), "out".to_owned()];
        let mut compiler = Compiler::new(1, ports).proxying(true);
        compiler.compile(ruleset).expect("only what this version enforces")
    };
    let policies = Policies::new(compile(&filter), Policy::accept_all(1));
    match is_raw_used {
        true => policies.with(Family::V4, Table::Raw, Arc::new(compile(&raw))),
        false => policies,
    }
}

fn compiled(ruleset: Ruleset, chain: ChainName, rules: u32) -> Policy {
    let rules = (0..rules).map(|number| {
        if number % 2 == 0 {
            let network = Ipv4Addr::from_bits(0x0a00_0000 | number << 8);
            let source = IpNet::V4(Ipv4Net::new(network, Ipv4Addr::new(255, 255, 255, 0)));
            return Rule {
                source: Some(Negatable::is(source)),
                target: Some(Verdict::Drop),
                ..Rule::default()
            };
        }
        let port = u16::try_from(10_000 + number).unwrap_or(u16::MAX);
        let destination_ports = Negatable::is(PortRange::one(port));
        Rule {
            protocol: Some(Negatable::is(Protocol::UDP)),
            matches: vec![Match::Udp(UdpMatch { destination_ports, ..UdpMatch::default() })],
            target: Some(Verdict::Drop),
            ..Rule::default()
        }
    });
    changed(ruleset, &Command::Append { chain, rules: rules.collect(), counters: None })
}

/// The rule set after a command.
fn changed(mut ruleset: Ruleset, command: &Command) -> Policy {
    ruleset.apply(command).expect("the chain exists");
    let mut compiler = Compiler::new(1, vec!["in".to_owned(), "out".to_owned()]);
    compiler.compile(&ruleset).expect("only matches that this version enforces")
}

/// The same, and no rules of IPv6.
#[must_use]
pub fn policies(rules: u32) -> Policies {
    Policies::new(policy(rules), Policy::accept_all(1))
}

/// An engine that receives these packets by [`INGRESS`], a full batch at each poll, and sends
/// them by [`EGRESS`]; `always_track` with connection tracking.
///
/// # Panics
/// When the process is out of memory or file descriptors.
#[must_use]
pub fn engine(templates: Arc<[Vec<u8>]>, rules: u32, always_track: bool) -> Engine {
    engine_of(templates, policies(rules), always_track)
}

/// The same with any policies that accept these packets.
///
/// # Panics
/// As [`engine`].
#[must_use]
pub fn engine_of(templates: Arc<[Vec<u8>]>, policies: Policies, always_track: bool) -> Engine {
    let (forwarding, conntrack) = (forwarding(), ConntrackConfig::default());
    engine_with(templates, Parts { policies, forwarding, conntrack, always_track })
}

/// What an engine of a benchmark is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its rules.
    pub policies: Policies,
    /// Where packets go.
    pub forwarding: Forwarding,
    /// Its connection tracking.
    pub conntrack: ConntrackConfig,
    /// Whether packets are tracked although no rule asks for it.
    pub always_track: bool,
}

/// An engine that receives these packets by [`INGRESS`], a full batch at each poll.
///
/// # Panics
/// When the process is out of memory or file descriptors.
#[must_use]
pub fn engine_with(templates: Arc<[Vec<u8>]>, parts: Parts) -> Engine {
    let (_, frames) = frames();
    let pool = FramePool::split(frames, 1).pop().expect("one pool");
    let mut engine = Engine::new(EngineConfig {
        worker: 0,
        flow_hash: FlowHash::new([1, 2, 3, 4], 1),
        inboxes: Inboxes::new(1, 64).expect("a file descriptor"),
        forwarding: Arc::new(Published::new(parts.forwarding)),
        policies: Arc::new(Published::new(parts.policies)),
        flow_cache: FlowCache::new(1 << 16),
        conntrack: Conntrack::new(&parts.conntrack),
        always_track: parts.always_track,
        dice_seed: 1,
        resolver: Resolver::new().expect("a file descriptor"),
        pool,
    });
    engine.open(Box::new(LoopPort::new(INGRESS, templates)));
    engine.open(Box::new(LoopPort::new(EGRESS, Arc::new([]))));
    engine
}

#[cfg(test)]
mod tests {
    use weir_dataplane::batch::BATCH_MAX;
    use weir_dataplane::telemetry::Counter;

    use super::*;
    use crate::traffic::udp_flows;

    /// A benchmark of dropped packets would be fast and wrong.
    #[test]
    fn every_packet_of_the_benchmark_is_forwarded() {
        for (rules, tracked) in [(0, false), (3, false), (100, false), (3, true)] {
            let mut engine = engine(udp_flows(1000, 60), rules, tracked);
            for turn in 0..200 {
                let work = engine.poll(turn, 0);
                assert_eq!((work.packets, work.transmitted), (BATCH_MAX as u64, BATCH_MAX as u64));
            }
            let counters = engine.published().read();
            assert_eq!(counters.get(Counter::Transmitted), 200 * BATCH_MAX as u64);
            assert_eq!((counters.dropped_all(), counters.imbalance()), (0, 0));
            assert_eq!(engine.frames(), CHUNKS as usize);
            assert_eq!(engine.conntrack().len(), if tracked { 1000 } else { 0 });
        }
    }
}
