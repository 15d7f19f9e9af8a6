//! A decision about a packet, with the flow cache and without: rule sets as ClassBench's, packets of as many flows.
//!
//! ```text
//!   cargo bench -p weir-benches --bench flow_cache
//! ```
//!
//! IPv4, and IPv6 with the same rules: the 32 bits of their addresses stand behind the first 32 of an IPv6 network, in
//! all of which the rules agree.
//!
//! Nanoseconds a packet, best and median; each is a packet of a flow drawn evenly, so of many flows hardly any is
//! met again soon. "New" flows never come again: what a flood costs. The samples of both contenders come in turns, and
//! they count the same packets in the same rules, which is checked first.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use weir_benches::classbench::family::FAMILIES;
use weir_benches::classbench::generate::generate;
use weir_benches::classbench::trace::{Locality, Packet, trace};
use weir_benches::flows::Draw;
use weir_benches::statistics::Summary;
use weir_benches::world::{EGRESS, INGRESS, candidate, forwarding};
use weir_control::command::{ChainName, Command};
use weir_control::rule::{
    Family, IpNet, Ipv4Net, Ipv6Net, Match, Negatable, PortRange, Protocol, Rule, Target, TcpMatch,
    UdpMatch,
};
use weir_control::ruleset::Ruleset;
use weir_dataplane::batch::{Addresses, BATCH_MAX, Headers};
use weir_dataplane::conntrack::CtState;
use weir_dataplane::packet_log::PacketLog;
use weir_dataplane::policy::classify::{AddressKey, RuleKey};
use weir_dataplane::policy::{Compiler, Dice, FlowCache, Hook, Policy, cache_key};
use weir_dataplane::route::Forwarding;

const SIZES: [usize; 3] = [100, 1_000, 10_000];

/// Flows that packets are of; the last has each packet a flow of its own.
const FLOWS: [(&str, usize); 4] =
    [("1 k flows", 1 << 10), ("16 k", 1 << 14), ("64 k", 1 << 16), ("new", TRACE)];

/// Packets of a trace: more than the cache keeps.
const TRACE: usize = 1 << 18;

/// What the cache keeps: Weir's default.
const ENTRIES: usize = 1 << 16;

/// Packets of a sample, and samples of one contender before it is the other's turn, and turns.
const SAMPLE: usize = 1 << 14;
const SAMPLES: usize = 16;
const TURNS: usize = 6;

fn main() {
    let forwarding = forwarding();
    for size in SIZES {
        for family in FAMILIES {
            let rules = generate(family, size, &mut Draw::default());
            for (name, flows) in FLOWS {
                let distinct = trace(&rules, flows, Locality::None, &mut Draw::default());
                let mut draw = Draw::default();
                let bound = u32::try_from(flows).expect("few");
                let drawn: Vec<usize> = (0..TRACE)
                    .map(|at| if flows == TRACE { at } else { draw.below(bound) as usize })
                    .collect();
                for of in [Family::V4, Family::V6] {
                    let packets: Vec<Headers> =
                        drawn.iter().map(|flow| headers(&distinct[*flow], of)).collect();
                    let shown = compare(&rules, of, &packets, &forwarding);
                    println!("{} {size}, {name}, {of}: {shown}", family.name);
                }
            }
        }
    }
}

fn compare(
    rules: &[RuleKey],
    family: Family,
    packets: &[Headers],
    forwarding: &Forwarding,
) -> String {
    let (mut plain, counts) = policy(rules, family);
    let (mut kept, kept_counts) = policy(rules, family);
    let mut cache = FlowCache::new(ENTRIES).with_ipv6(true);
    let mut contenders =
        [Contender::new(&mut plain, None), Contender::new(&mut kept, Some(&mut cache))];
    for contender in &mut contenders {
        contender.run(packets, forwarding);
    }
    assert_eq!(counts.counters(), kept_counts.counters(), "they count the same");
    let mut times = [vec![], vec![]];
    for turn in 0..TURNS {
        for (contender, into) in contenders.iter_mut().zip(&mut times) {
            for sample in packets.chunks(SAMPLE).cycle().skip(turn * SAMPLES).take(SAMPLES) {
                let start = Instant::now();
                contender.run(sample, forwarding);
                into.push(start.elapsed().as_secs_f64() * 1e9 / sample.len() as f64);
            }
        }
    }
    let [plain, cached] = times.map(|values| {
        Summary::of(&values)
            .map_or("nothing".to_owned(), |all| format!("{:.1} / {:.1}", all.min, all.median))
    });
    format!("cached {cached}, uncached {plain}")
}

/// Who decides, with a cache or without.
struct Contender<'a> {
    policy: &'a Policy,
    cache: Option<&'a mut FlowCache>,
    dice: Dice,
    log: PacketLog,
}

impl<'a> Contender<'a> {
    fn new(policy: &'a mut Policy, cache: Option<&'a mut FlowCache>) -> Self {
        Self { policy, cache, dice: Dice::new(0), log: PacketLog::silent() }
    }

    fn run(&mut self, packets: &[Headers], forwarding: &Forwarding) {
        for batch in packets.chunks(BATCH_MAX) {
            let mut keys = [None; BATCH_MAX];
            if let Some(cache) = &self.cache {
                for (headers, key) in batch.iter().zip(&mut keys) {
                    let ports = (INGRESS, EGRESS);
                    *key = cache_key(Hook::Forward, headers, ports, CtState::Untracked);
                    key.iter().for_each(|key| cache.prefetch_tags(key));
                }
                keys.iter().flatten().for_each(|key| cache.prefetch_entry(key));
            }
            for (headers, key) in batch.iter().zip(keys) {
                let candidate = candidate(black_box(headers), forwarding, &self.dice);
                let log = &mut self.log;
                black_box(match (&mut self.cache, key) {
                    (Some(cache), Some(key)) => {
                        self.policy.decide_cached(0, &candidate, log, (cache, &key))
                    }
                    _ => self.policy.decide(0, &candidate, log),
                });
            }
        }
    }
}

/// Where the addresses of IPv4 are in those of IPv6.
const NETWORK: u128 = 0x2001_0db8 << 96;

fn six(bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(NETWORK | u128::from(bits) << 64 | 1)
}

fn headers(packet: &Packet, family: Family) -> Headers {
    let ((source, source_port), (destination, destination_port)) =
        (packet.source, packet.destination);
    Headers {
        l3: 14,
        l4: 34,
        total_len: 100,
        addresses: match family {
            Family::V4 => Addresses::V4 {
                source: Ipv4Addr::from_bits(source),
                destination: Ipv4Addr::from_bits(destination),
            },
            Family::V6 => Addresses::V6 { source: six(source), destination: six(destination) },
        },
        protocol: packet.protocol,
        ttl: 64,
        source_port,
        destination_port,
        tcp_flags: 0x10,
        transport: true,
        ..Headers::default()
    }
}

/// The rules as operators write them; every second drops.
fn policy(rules: &[RuleKey], family: Family) -> (Policy, Compiler) {
    let mut ruleset = Ruleset::of(family);
    let rules = rules.iter().enumerate().map(|(at, key)| rule(at, key, family)).collect();
    let command = Command::Append { chain: ChainName::forward(), rules, counters: None };
    ruleset.apply(&command).expect("the chain exists");
    let mut compiler = Compiler::new(1, vec!["in".to_owned(), "out".to_owned()]);
    let policy = compiler.compile(&ruleset).expect("only matches that this version enforces");
    (policy, compiler)
}

fn rule(at: usize, key: &RuleKey, family: Family) -> Rule {
    let net = |key: AddressKey| {
        let net = match family {
            Family::V4 => {
                let [network, mask] = [key.network, key.mask].map(Ipv4Addr::from_bits);
                IpNet::V4(Ipv4Net::new(network, mask))
            }
            Family::V6 => {
                let mask = u128::from(u32::MAX) << 96 | u128::from(key.mask) << 64;
                IpNet::V6(Ipv6Net::new(six(key.network), Ipv6Addr::from_bits(mask)))
            }
        };
        (key.mask != 0).then_some(Negatable::is(net))
    };
    let ports = |range: &std::ops::RangeInclusive<u16>| {
        Negatable::is(PortRange::new(*range.start(), *range.end()).expect("in order"))
    };
    let (source_ports, destination_ports) =
        (ports(&key.source_ports), ports(&key.destination_ports));
    let matches = match key.protocol {
        Some(6) => {
            vec![Match::Tcp(TcpMatch { source_ports, destination_ports, ..TcpMatch::default() })]
        }
        Some(17) => vec![Match::Udp(UdpMatch { source_ports, destination_ports })],
        _ => Vec::new(),
    };
    let target = if at.is_multiple_of(2) { Target::Accept } else { Target::Drop };
    Rule {
        source: net(key.source),
        destination: net(key.destination),
        protocol: key.protocol.map(|number| Negatable::is(Protocol(number))),
        matches,
        target: Some(target),
        ..Rule::default()
    }
}
