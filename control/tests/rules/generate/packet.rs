//! Matches that look at one packet alone: its headers, its frame, its size.

use std::num::NonZeroU8;

use proptest::prelude::*;
use weir_control::rule::{
    AddressRange, AddressTypes, AddrtypeMatch, CommentMatch, Dscp, DscpMatch, EcnMatch, Family,
    HlMatch, Icmp6Match, Icmp6Type, IcmpMatch, IcmpType, IfaceLimit, IprangeMatch, LengthMatch,
    MacAddress, MacMatch, Match, MultiportEnd, MultiportMatch, Negatable, NumberRange, PacketType,
    PkttypeMatch, PortRange, Protocol, RtMatch, SizeRange, TcpMssMatch, Tos, TosMatch, TtlMatch,
};

use super::{host, negatable, port_range, sometimes};

fn addrtype(family: Family) -> impl Strategy<Value = Match> {
    // Of IPv6: UNSPEC UNICAST LOCAL ANYCAST MULTICAST UNREACHABLE.
    let known = if family == Family::V4 { 0xfff } else { 0xb7 };
    let types = move || {
        (1_u16..0x1000)
            .prop_map(move |bits| bits & known)
            .prop_filter("a type is needed", |bits| *bits != 0)
            .prop_map(|bits| AddressTypes::from_bits(bits).expect("twelve kinds"))
    };
    let limit = prop::option::of(prop_oneof![Just(IfaceLimit::In), Just(IfaceLimit::Out)]);
    (sometimes(types()), sometimes(types()), limit)
        .prop_map(|(source, destination, limit)| AddrtypeMatch { source, destination, limit })
        .prop_filter("a type is needed", |asked| {
            asked.source.is_some() || asked.destination.is_some()
        })
        .prop_map(Match::Addrtype)
}

fn comment() -> impl Strategy<Value = Match> {
    let text = prop_oneof![
        "[a-zA-Z0-9_-]{0,20}",
        "[ -~]{0,30}",
        "[ -~äöüß€]{0,60}",
        // Line breaks would take the listing apart.
        Just("x".repeat(255)),
    ];
    text.prop_map(|comment| Match::Comment(CommentMatch { comment }))
}

fn dscp() -> impl Strategy<Value = Match> {
    negatable((0..=Dscp::MAX).prop_map(|number| Dscp::new(number).expect("six bits")))
        .prop_map(|dscp| Match::Dscp(DscpMatch { dscp }))
}

/// `tcp` where it may look into TCP headers.
fn ecn(tcp: bool) -> impl Strategy<Value = Match> {
    let flag = || prop::option::of(any::<bool>()).prop_map(move |flag| flag.filter(|_| tcp));
    (flag(), flag(), prop::option::of(negatable(0..=EcnMatch::IP_ECT_MAX)))
        .prop_map(|(tcp_ece, tcp_cwr, ip_ect)| EcnMatch { tcp_ece, tcp_cwr, ip_ect })
        .prop_filter("a condition is needed", |ecn| *ecn != EcnMatch::default())
        .prop_map(Match::Ecn)
}

pub(super) fn icmp() -> BoxedStrategy<Match> {
    let every =
        any::<u8>().prop_map(|number| IcmpType { number, first_code: 0, last_code: u8::MAX });
    let one = (0_u8..20, 0_u8..18).prop_map(|(number, code)| IcmpType {
        number,
        first_code: code,
        last_code: code,
    });
    let several = any::<(u8, u8, u8)>().prop_map(|(number, first_code, last_code)| IcmpType {
        number,
        first_code,
        last_code,
    });
    let kind = prop_oneof![3 => every, 4 => one, 1 => several, 1 => Just(IcmpType::ANY)];
    negatable(kind).prop_map(|icmp_type| Match::Icmp(IcmpMatch { icmp_type })).boxed()
}

pub(super) fn icmp6() -> BoxedStrategy<Match> {
    let number = prop_oneof![0_u8..5, 128_u8..140, any::<u8>()];
    let codes = prop_oneof![
        3 => Just((0, u8::MAX)),
        4 => (0_u8..8).prop_map(|code| (code, code)),
        1 => any::<(u8, u8)>(),
    ];
    let kind = (number, codes).prop_map(|(number, (first_code, last_code))| Icmp6Type {
        number,
        first_code,
        last_code,
    });
    negatable(kind).prop_map(|icmp6_type| Match::Icmp6(Icmp6Match { icmp6_type })).boxed()
}

fn iprange(family: Family) -> impl Strategy<Value = Match> {
    let range = move || {
        (host(family), host(family), any::<bool>()).prop_map(|(a, b, one)| {
            let (first, last) = if one { (a, a) } else { (a.min(b), a.max(b)) };
            AddressRange { first, last }
        })
    };
    (sometimes(range()), sometimes(range()))
        .prop_map(|(source, destination)| IprangeMatch { source, destination })
        .prop_filter("a range is needed", |iprange| *iprange != IprangeMatch::default())
        .prop_map(Match::Iprange)
}

fn sizes() -> impl Strategy<Value = Negatable<SizeRange>> {
    let size = prop_oneof![any::<u16>(), prop::sample::select(vec![0, 536, 1460, 1500, u16::MAX])];
    negatable((size.clone(), size).prop_flat_map(|(a, b)| {
        let range = SizeRange::new(a.min(b), a.max(b)).expect("ordered");
        prop_oneof![Just(range), Just(SizeRange::new(a, a).expect("ordered"))]
    }))
}

fn mac() -> impl Strategy<Value = Match> {
    negatable(any::<[u8; 6]>().prop_map(MacAddress))
        .prop_map(|source| Match::Mac(MacMatch { source }))
}

fn multiport() -> impl Strategy<Value = Match> {
    let end = prop::sample::select(vec![
        MultiportEnd::Source,
        MultiportEnd::Destination,
        MultiportEnd::Either,
    ]);
    (end, negatable(prop::collection::vec(port_range(), 1..=15))).prop_map(|(end, mut ports)| {
        let slots = |ports: &[PortRange]| -> usize {
            ports.iter().map(|range| if range.first() == range.last() { 1 } else { 2 }).sum()
        };
        while slots(&ports.value) > MultiportMatch::SLOTS_MAX {
            ports.value.pop();
        }
        Match::Multiport(MultiportMatch { end, ports })
    })
}

fn pkttype() -> impl Strategy<Value = Match> {
    let kind = prop::sample::select(vec![
        PacketType::Unicast,
        PacketType::Broadcast,
        PacketType::Multicast,
        PacketType::OtherHost,
    ]);
    negatable(kind).prop_map(|packet_type| Match::Pkttype(PkttypeMatch { packet_type }))
}

fn tos() -> impl Strategy<Value = Match> {
    let any = any::<(u8, u8)>().prop_map(|(value, mask)| Tos { value, mask });
    let named =
        prop::sample::select(vec![0, 2, 4, 8, 16, 17]).prop_map(|value| Tos { value, mask: 0x3f });
    negatable(prop_oneof![any, named]).prop_map(|tos| Match::Tos(TosMatch { tos }))
}

fn ttl(family: Family) -> impl Strategy<Value = Match> {
    let how = [TtlMatch::Equal, TtlMatch::NotEqual, TtlMatch::Less, TtlMatch::Greater];
    (0..how.len(), any::<u8>()).prop_map(move |(n, ttl)| match family {
        Family::V4 => Match::Ttl(how[n](ttl)),
        Family::V6 => Match::Hl(HlMatch(how[n](ttl))),
    })
}

/// Conditions of which each says something: iptables does not print a range of all numbers.
fn rt() -> impl Strategy<Value = Match> {
    let number = || prop::option::of(negatable(prop_oneof![0_u32..260, any::<u32>()].boxed()));
    let left = (number(), number()).prop_map(|ends| {
        let (a, b) = ends.0.zip(ends.1)?;
        let (first, last) = (a.value.min(b.value), a.value.max(b.value));
        let value = NumberRange::new(first, last).expect("ordered");
        Some(Negatable { value, negated: a.negated }).filter(|_| !value.is_all())
    });
    (number(), left, number()).prop_map(|(kind, segments_left, length)| {
        Match::Rt(RtMatch { kind, segments_left, length })
    })
}

pub(super) fn tcp_option() -> impl Strategy<Value = Option<Negatable<NonZeroU8>>> {
    sometimes((1_u8..=255).prop_map(|number| NonZeroU8::new(number).expect("not 0")))
}

/// Matches for packets of any protocol.
pub(super) fn any_protocol(family: Family) -> BoxedStrategy<Match> {
    let of_both = of_any_protocol(family);
    match family {
        Family::V4 => of_both,
        Family::V6 => prop_oneof![9 => of_both, 1 => rt()].boxed(),
    }
}

fn of_any_protocol(family: Family) -> BoxedStrategy<Match> {
    prop_oneof![
        addrtype(family),
        comment(),
        dscp(),
        ecn(false),
        iprange(family),
        sizes().prop_map(|length| Match::Length(LengthMatch { length })),
        mac(),
        pkttype(),
        tos(),
        ttl(family),
    ]
    .boxed()
}

/// Matches for TCP beside `-m tcp`.
pub(super) fn tcp_protocol() -> BoxedStrategy<Match> {
    prop_oneof![ecn(true), multiport(), sizes().prop_map(|mss| Match::TcpMss(TcpMssMatch { mss })),]
        .boxed()
}

/// A protocol that has ports, and lists of them.
pub(super) fn with_ports() -> BoxedStrategy<(Protocol, Vec<Match>)> {
    let protocol = prop::sample::select([6, 17, 136, 132, 33].map(Protocol).to_vec());
    (protocol, prop::collection::vec(multiport(), 1..3)).boxed()
}
