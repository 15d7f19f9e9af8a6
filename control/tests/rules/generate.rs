//! Random rules and the many ways to write them.

mod packet;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use weir_control::rule::{
    ConntrackMatch, CtAddress, CtDirection, CtStates, CtStatuses, Family, Icmp6Match, Icmp6Type,
    IcmpMatch, IcmpType, InterfacePattern, IpNet, LogFlags, LogLevel, LogPrefix, LogTarget, Match,
    Names, Negatable, NumberRange, PortRange, Protocol, Reject6With, RejectWith, Rule, StateMatch,
    Target, TcpFlags, TcpMatch, TupleTest, UdpMatch,
};

use crate::{connbytes, connlimit, connmark, content, hashlimit, limit, mark, recent};

fn negatable<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Negatable<T>> {
    (value, prop::bool::weighted(0.25)).prop_map(|(value, negated)| Negatable { value, negated })
}

/// An address; of IPv6 with groups of zeros, and such as are written like those of IPv4.
pub(crate) fn host(family: Family) -> BoxedStrategy<IpAddr> {
    if family == Family::V4 {
        return any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()).boxed();
    }
    let groups = any::<([u16; 8], u8)>().prop_map(|(mut groups, zero)| {
        (0..8).filter(|at| zero >> at & 1 == 1).for_each(|at| groups[at] = 0);
        Ipv6Addr::from(groups)
    });
    let low = any::<u32>().prop_map(|bits| Ipv6Addr::from_bits(bits.into()));
    let mapped = any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped());
    prop_oneof![6 => groups, 1 => low, 1 => mapped].prop_map(IpAddr::V6).boxed()
}

fn net(family: Family) -> BoxedStrategy<IpNet> {
    let most: u8 = if family == Family::V4 { 32 } else { 128 };
    let prefix = (host(family), 0..=most)
        .prop_map(|(host, length)| IpNet::from_prefix(&format!("{host}/{length}")).expect("a net"));
    let ragged = (host(family), host(family))
        .prop_map(|(host, mask)| IpNet::masked(host, mask).expect("one family"));
    prop_oneof![4 => prefix, 1 => ragged].boxed()
}

/// No condition, or one that is more than `0.0.0.0/0`.
fn address(family: Family) -> impl Strategy<Value = Option<Negatable<IpNet>>> {
    let everything = Negatable::is(IpNet::all(family));
    prop::option::of(negatable(net(family)))
        .prop_map(move |condition| condition.filter(|condition| *condition != everything))
}

fn interface() -> impl Strategy<Value = Option<Negatable<InterfacePattern>>> {
    let pattern = "[a-z][a-z0-9.:_-]{0,13}[0-9+]?".prop_map(|name| name.parse().expect("valid"));
    prop::option::of(negatable(pattern))
}

fn port_range() -> impl Strategy<Value = PortRange> {
    let known = prop::sample::select(vec![0, 1, 20, 21, 22, 25, 53, 80, 443, 514, 8080, 65535]);
    let port = prop_oneof![known, any::<u16>()];
    let range = (port.clone(), port.clone())
        .prop_map(|(a, b)| PortRange::new(a.min(b), a.max(b)).expect("ordered"));
    prop_oneof![port.prop_map(PortRange::one), range]
}

fn ports() -> impl Strategy<Value = Negatable<PortRange>> {
    prop_oneof![1 => Just(Negatable::default()), 2 => negatable(port_range())]
}

fn flags() -> impl Strategy<Value = Negatable<TcpFlags>> {
    let any = (0_u8..0x40, 0_u8..0x40).prop_map(|(mask, set)| {
        // With an empty mask iptables prints nothing, whatever should be set.
        TcpFlags::new(mask, if mask == 0 { 0 } else { set }).expect("six flags")
    });
    let given = prop_oneof![Just(TcpFlags::SYN), any];
    prop_oneof![1 => Just(Negatable::default()), 1 => negatable(given)]
}

fn tcp() -> impl Strategy<Value = Match> {
    (ports(), ports(), packet::tcp_option(), flags()).prop_map(
        |(source_ports, destination_ports, option, flags)| {
            Match::Tcp(TcpMatch { source_ports, destination_ports, option, flags })
        },
    )
}

fn udp() -> impl Strategy<Value = Match> {
    (ports(), ports()).prop_map(|(source_ports, destination_ports)| {
        Match::Udp(UdpMatch { source_ports, destination_ports })
    })
}

fn states(known: &'static [(&'static str, CtStates)]) -> impl Strategy<Value = CtStates> {
    prop::sample::subsequence(known, 1..=known.len()).prop_map(|chosen| {
        chosen.iter().fold(CtStates::default(), |states, (_, state)| states | *state)
    })
}

fn state() -> impl Strategy<Value = Match> {
    // SNAT and DNAT, the last two, are not for -m state.
    negatable(states(&CtStates::NAMES[..5])).prop_map(|states| Match::State(StateMatch { states }))
}

fn sometimes<T: std::fmt::Debug + Clone>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Negatable<T>>> {
    prop::option::weighted(0.3, negatable(value))
}

/// One side of a connection's tuple in a condition; bits outside of the mask included.
fn tuple(family: Family) -> impl Strategy<Value = TupleTest> {
    let address = move || {
        let nothing = Just(unspecified(family));
        let any = (prop_oneof![1 => nothing, 4 => host(family)], net(family))
            .prop_map(|(host, net)| CtAddress::new(host, net.mask()).expect("one family"));
        sometimes(any)
    };
    let ports = || sometimes(port_range());
    (address(), address(), ports(), ports()).prop_map(
        |(source, destination, source_ports, destination_ports)| TupleTest {
            source,
            destination,
            source_ports,
            destination_ports,
        },
    )
}

/// The address of no bits.
pub(crate) fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
        Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn conntrack(family: Family) -> BoxedStrategy<Match> {
    let second = prop_oneof![0_u32..9, any::<u32>(), Just(u32::MAX)];
    let expires = (second.clone(), second)
        .prop_map(|(a, b)| NumberRange::new(a.min(b), a.max(b)).expect("ordered"));
    let statuses = (0_u8..0x10).prop_map(|bits| CtStatuses::from_bits(bits).expect("known"));
    let way = prop_oneof![Just(CtDirection::Original), Just(CtDirection::Reply)];
    let conditions = (
        sometimes(states(&CtStates::NAMES)),
        sometimes((1_u8..=255).prop_map(Protocol)),
        (tuple(family), tuple(family)),
        sometimes(statuses),
        sometimes(expires),
        prop::option::weighted(0.3, way),
    );
    conditions
        .prop_map(|(states, protocol, (original, reply), statuses, expires, direction)| {
            ConntrackMatch { states, protocol, original, reply, statuses, expires, direction }
        })
        .prop_filter("a condition is needed", |conntrack| *conntrack != ConntrackMatch::default())
        .prop_map(|conntrack| Match::Conntrack(Box::new(conntrack)))
        .boxed()
}

/// Matches for any protocol, each with its place among the others.
fn others(family: Family) -> BoxedStrategy<Vec<(Match, usize)>> {
    let one = prop_oneof![
        2 => state(),
        4 => conntrack(family),
        12 => packet::any_protocol(family),
        1 => content::statistic(),
        1 => limit::asked(),
        1 => hashlimit::asked(family),
        2 => content::string(),
        2 => mark::asked(),
        2 => connbytes::asked(),
        2 => connlimit::asked(family),
        2 => connmark::asked(),
        2 => recent::asked(family),
        2 => content::time(),
        1 => content::u32(),
    ];
    prop_oneof![
        1 => Just(Vec::new()),
        1 => prop::collection::vec((one, 0_usize..4), 1..3),
    ]
    .boxed()
}

/// A protocol and matches that go with it.
fn transport(family: Family) -> BoxedStrategy<(Option<Negatable<Protocol>>, Vec<Match>)> {
    let other = prop_oneof![Just(None), negatable((1_u8..=255).prop_map(Protocol)).prop_map(Some),];
    prop_oneof![
        1 => other.prop_map(|protocol| (protocol, Vec::new())),
        1 => packet::with_ports()
            .prop_map(|(protocol, matches)| (Some(Negatable::is(protocol)), matches)),
        1 => match family {
            Family::V4 => prop::collection::vec(packet::icmp(), 0..3)
                .prop_map(|matches| (Some(Negatable::is(Protocol::ICMP)), matches))
                .boxed(),
            Family::V6 => prop::collection::vec(packet::icmp6(), 0..3)
                .prop_map(|matches| (Some(Negatable::is(Protocol::ICMPV6)), matches))
                .boxed(),
        },
        2 => prop::collection::vec(prop_oneof![3 => tcp(), 2 => packet::tcp_protocol()], 0..3)
            .prop_map(|matches| (Some(Negatable::is(Protocol::TCP)), matches)),
        1 => prop::collection::vec(udp(), 0..3)
            .prop_map(|matches| (Some(Negatable::is(Protocol::UDP)), matches)),
    ]
    .boxed()
}

fn log() -> impl Strategy<Value = Target> {
    let prefix = prop_oneof![
        2 => Just(String::new()),
        1 => "[a-zA-Z0-9_-]{1,29}",
        2 => "[ -~\té]{1,14}",
    ];
    let flags = prop::sample::subsequence(&LogFlags::NAMES[..], 0..=5).prop_map(|chosen| {
        chosen.iter().fold(LogFlags::default(), |flags, (flag, _)| flags | *flag)
    });
    (0_u8..8, prefix, flags).prop_map(|(level, prefix, flags)| {
        let level = LogLevel::try_from(level).expect("a level");
        Target::Log(LogTarget { level, prefix: LogPrefix::try_from(prefix).expect("short"), flags })
    })
}

/// A target, or none; a reset only for TCP.
fn target(family: Family) -> impl Strategy<Value = Option<Target>> {
    let with = match family {
        Family::V4 => prop::sample::select(&RejectWith::NAMES[..])
            .prop_map(|(with, ..)| Target::Reject(with))
            .boxed(),
        Family::V6 => prop::sample::select(&Reject6With::NAMES[..])
            .prop_map(|(with, ..)| Target::Reject6(with))
            .boxed(),
    };
    prop_oneof![
        3 => Just(None),
        3 => Just(Some(Target::Accept)),
        2 => Just(Some(Target::Drop)),
        4 => with.prop_map(Some),
        4 => log().prop_map(Some),
        4 => mark::target().prop_map(Some),
        4 => connmark::target().prop_map(Some),
    ]
}

fn fitting(target: Option<Target>, protocol: Option<Negatable<Protocol>>) -> Option<Target> {
    let reset = [Target::Reject(RejectWith::TcpReset), Target::Reject6(Reject6With::TcpReset)];
    let reset = target.as_ref().is_some_and(|target| reset.contains(target));
    if reset && protocol != Some(Negatable::is(Protocol::TCP)) { None } else { target }
}

/// Any rule that a command line can make.
pub(crate) fn rule(family: Family) -> impl Strategy<Value = Rule> {
    let fragment = prop::option::weighted(0.1, any::<bool>())
        .prop_map(move |fragment| fragment.filter(|_| family == Family::V4));
    let transport =
        (transport(family), others(family)).prop_map(|((protocol, mut matches), others)| {
            for (other, place) in others {
                matches.insert(place.min(matches.len()), other);
            }
            (protocol, matches)
        });
    let addresses = (address(family), address(family));
    let interfaces = (interface(), interface());
    (transport, addresses, interfaces, fragment, target(family)).prop_map(
        |(
            (protocol, matches),
            (source, destination),
            (in_interface, out_interface),
            fragment,
            target,
        )| Rule {
            protocol,
            source,
            destination,
            in_interface,
            out_interface,
            fragment,
            matches,
            target: fitting(target, protocol),
        },
    )
}

/// The addresses that a rule wants of connections.
pub(crate) fn connection_addresses(
    conntrack: &mut ConntrackMatch,
) -> impl Iterator<Item = &mut CtAddress> {
    let ConntrackMatch { original, reply, .. } = conntrack;
    let TupleTest { source: a, destination: b, .. } = original;
    let TupleTest { source: c, destination: d, .. } = reply;
    [a, b, c, d].into_iter().flatten().map(|condition| &mut condition.value)
}

/// Whether iptables before 1.8.11 prints it without losing a `!`, a code of ICMP messages, or the
/// mask of a connection's address, which had to be contiguous.
pub(crate) fn survives_old_iptables(rule: &Rule) -> bool {
    let whole = Negatable::not(PortRange::ALL);
    rule.matches.iter().all(|extension| match extension {
        Match::Tcp(tcp) => tcp.source_ports != whole && tcp.destination_ports != whole,
        // It prints the first of several codes, and of type 255 none.
        Match::Icmp(IcmpMatch { icmp_type: Negatable { value, .. } }) => {
            let IcmpType { number, first_code, last_code } = *value;
            let every = (first_code, last_code) == (0, u8::MAX);
            every || (first_code == last_code && number != IcmpType::ANY_TYPE)
        }
        // It does not know the names of types 130 to 132, either.
        Match::Icmp6(Icmp6Match { icmp6_type: Negatable { value, .. } }) => {
            let Icmp6Type { number, first_code, last_code } = *value;
            let every = (first_code, last_code) == (0, u8::MAX);
            (every && !(130..=132).contains(&number)) || first_code == last_code
        }
        Match::Udp(udp) => udp.source_ports != whole && udp.destination_ports != whole,
        Match::Conntrack(conntrack) => connection_addresses(&mut conntrack.clone())
            .all(|address| address.net().prefix_len().is_some()),
        // A range of 0 to 0 is printed as one from 0 on.
        Match::Connbytes(connbytes) => !connbytes.is_none_at_all(),
        // A --datestop of 0 is not printed.
        Match::Time(time) => time.date_stop != 0,
        _ => true,
    })
}

// long: a line for each liberty
/// The rule in words, not in canonical form: `style` has a bit for each liberty taken.
pub(crate) fn words(rule: &Rule, style: u32, names: &Names) -> Vec<String> {
    let liberty = |bit: u32| style >> bit & 1 == 1;
    // Beside `--dports` a shorter `--dport` could be either.
    let lists = rule.matches.iter().any(|extension| matches!(extension, Match::Multiport(_)));
    let mut words = Vec::new();
    for word in rule.arguments(names) {
        let option = words.last().map_or("", String::as_str);
        let other = match word.as_str() {
            text if option == "--comment" => text,
            "-s" if liberty(0) => "--source",
            "-s" if liberty(1) => "--src",
            "-d" if liberty(2) => "--dst",
            "-i" if liberty(3) => "--in-interface",
            "-o" if liberty(4) => "--out-int",
            "-p" if liberty(5) => "--protocol",
            "-j" if liberty(6) => "--jump",
            "--sport" if liberty(7) => "--source-port",
            "--dport" if liberty(8) => "--destination-port",
            "--dport" if liberty(9) && !lists => "--dpor",
            "-f" if liberty(18) => "--frag",
            "--sports" if liberty(7) => "--source-ports",
            "--dports" if liberty(8) => "--destination-ports",
            "--icmp-type" if liberty(19) => "--icmp",
            "--ttl-eq" if liberty(20) => "--ttl",
            "--icmpv6-type" if liberty(19) => "--icmpv6",
            "icmp6" if liberty(21) => "icmpv6",
            "icmp6" if liberty(22) => "ipv6-icmp",
            "--hl-eq" if liberty(20) => "--hl",
            "128" if option.starts_with("--icmpv6") && liberty(21) => "echo-req",
            "icmp6-adm-prohibited" if liberty(19) => "ADM",
            "0x10/0x3f" if option == "--tos" && liberty(21) => "minimize-DELAY",
            "0x2e" if option == "--dscp" && liberty(22) => "46",
            "unicast" if option == "--pkt-type" && liberty(21) => "HOST",
            "multicast" if option == "--pkt-type" && liberty(21) => "mcast",
            "8" if option.starts_with("--icmp") && liberty(21) => "echo-req",
            "-m" if liberty(10) => "--match",
            "--reject-with" if liberty(18) => "--reject",
            "icmp-host-unreachable" if liberty(19) => "host-unreach",
            "icmp-admin-prohibited" if liberty(19) => "ADMIN",
            "tcp-reset" if liberty(19) => "tcp",
            "--log-tcp-options" if liberty(20) => "--log-tcp-o",
            "--log-level" if liberty(21) => "--log-l",
            "--state" if liberty(13) => "--stat",
            "--ctorigsrcport" if liberty(14) => "--ctorigsrcp",
            "--ctexpire" if liberty(15) => "--cte",
            "--probability" if liberty(19) => "--prob",
            "--connbytes-mode" if liberty(19) => "--connbytes-m",
            "--connlimit-above" if liberty(19) => "--connlimit-a",
            "--hitcount" if liberty(18) => "--hit",
            "--string" if liberty(18) => "--str",
            "NEW" if liberty(16) => "n",
            "NEW,ESTABLISHED" if liberty(16) => "Est,NEW",
            "ORIGINAL" if liberty(17) => "original",
            same => same,
        };
        words.push(other.to_owned());
    }
    mark::shorten(&mut words, rule.target.as_ref().filter(|_| liberty(23)));
    connmark::shorten(&mut words, rule.target.as_ref().filter(|_| liberty(23)));
    // One match with options needs no -m: -p brings it.
    let explicit = words.iter().position(|word| word == "-m" || word == "--match");
    let implied = rule.matches.first().is_some_and(|first| {
        rule.protocol == first.required_protocol().map(Negatable::is)
            && matches!(first, Match::Tcp(_) | Match::Udp(_) | Match::Icmp(_) | Match::Icmp6(_))
    });
    let options =
        ["--tcp-flags", "--tcp-option", "--icmp-type", "--icmp", "--icmpv6-type", "--icmpv6"];
    let is_option = |word: &String| {
        word.starts_with("--") && word.contains("port") || options.contains(&word.as_str())
    };
    let has_options = implied && words.iter().any(is_option);
    if let Some(index) = explicit.filter(|_| liberty(11) && rule.matches.len() == 1 && has_options)
    {
        words.drain(index..index + 2);
    }
    let syn = words.windows(3).position(|three| {
        three[0] == "--tcp-flags" && three[1] == "FIN,SYN,RST,ACK" && three[2] == "SYN"
    });
    if let Some(index) = syn.filter(|_| liberty(12)) {
        words.splice(index..index + 3, ["--syn".to_owned()]);
    }
    words
}
