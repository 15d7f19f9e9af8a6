//! The classifier beside its naive twin: rule sets of all shapes, packets at the edges of rules.

use proptest::prelude::*;

use super::build::Limits;
use super::*;
use crate::batch::BATCH_MAX;
use crate::port::PortIndex;

/// A packet as numbers: source, destination, ports, protocol, interfaces.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    addresses: [u32; 2],
    ports: [u16; 2],
    protocol: u8,
    interfaces: [u8; 2],
}

impl Numbers {
    fn key(self) -> PacketKey {
        let Self { addresses, ports, protocol, interfaces } = self;
        let [ingress, egress] = interfaces.map(|index| PortIndex(index % 32));
        PacketKey::new(
            (addresses[0], ports[0]),
            (addresses[1], ports[1]),
            protocol,
            ingress,
            egress,
        )
    }
}

/// How the addresses of a rule set look.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Any mask at all, few networks: everything overlaps.
    Wild,
    /// Prefixes of all lengths below few networks.
    Prefixes,
    /// Hosts only.
    Hosts,
    /// All addresses.
    Any,
}

fn address(shape: Shape) -> BoxedStrategy<AddressKey> {
    let network = prop_oneof![
        4 => (0_u32..4, 0_u32..16).prop_map(|(net, host)| 0x0a00_0000 | net << 12 | host),
        1 => any::<u32>(),
    ];
    match shape {
        Shape::Wild => (network, prop_oneof![Just(0xff00_00ff), Just(0x0000_ffff), any::<u32>()])
            .prop_map(|(network, mask)| AddressKey { network, mask })
            .boxed(),
        Shape::Prefixes => (network, prop_oneof![Just(0), 1_u32..24, 20_u32..=32])
            .prop_map(|(network, length)| AddressKey::prefix(network, length))
            .boxed(),
        Shape::Hosts => network.prop_map(|network| AddressKey::prefix(network, 32)).boxed(),
        Shape::Any => Just(AddressKey::ANY).boxed(),
    }
}

fn ports() -> impl Strategy<Value = std::ops::RangeInclusive<u16>> {
    prop_oneof![
        4 => Just(0..=u16::MAX),
        2 => prop_oneof![Just(22_u16), Just(80), Just(443), any::<u16>()].prop_map(|port| port..=port),
        1 => Just(1024..=u16::MAX),
        1 => Just(0..=1023),
        1 => (0_u16..200).prop_map(|edge| edge..=u16::MAX - edge),
        1 => any::<(u16, u16)>().prop_map(|(a, b)| a.min(b)..=a.max(b)),
        // One that is empty, now and then.
        1 => any::<(u16, u16)>().prop_map(|(a, b)| a..=b),
    ]
}

fn interfaces() -> impl Strategy<Value = u32> {
    prop_oneof![
        6 => Just(u32::MAX),
        2 => (0_u32..4).prop_map(|index| 1 << index),
        1 => Just(!2),
        1 => any::<u32>(),
    ]
}

fn rule(source: Shape, destination: Shape) -> impl Strategy<Value = RuleKey> {
    let protocol = prop_oneof![
        3 => Just(Some(6)),
        1 => Just(Some(17)),
        1 => Just(Some(0)),
        2 => Just(None),
        1 => any::<u8>().prop_map(Some),
    ];
    let parts = (
        address(source),
        address(destination),
        interfaces(),
        interfaces(),
        protocol,
        ports(),
        ports(),
    );
    parts.prop_map(
        |(source, destination, ingress, egress, protocol, source_ports, destination_ports)| {
            RuleKey {
                source,
                destination,
                ingress,
                egress,
                protocol,
                source_ports,
                destination_ports,
            }
        },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        1 => Just(Shape::Wild),
        2 => Just(Shape::Prefixes),
        1 => Just(Shape::Hosts),
        2 => Just(Shape::Any),
    ]
}

/// Rules of one shape, some of them again and again.
fn rules(most: usize) -> impl Strategy<Value = Vec<RuleKey>> {
    let one_shape = (shape(), shape()).prop_flat_map(move |(source, destination)| {
        prop::collection::vec((rule(source, destination), 1_usize..4), 0..most)
    });
    let rules = prop::collection::vec(one_shape, 1..3);
    (rules, 0_usize..3).prop_map(|(shapes, rotation)| {
        let all = shapes.into_iter().flatten();
        let mut rules: Vec<RuleKey> =
            all.flat_map(|(rule, times)| std::iter::repeat_n(rule, times)).collect();
        if !rules.is_empty() {
            let middle = rotation * rules.len() / 3;
            rules.rotate_left(middle);
        }
        rules
    })
}

/// A packet at the edge of a rule, or a step beyond it.
#[expect(clippy::cast_possible_truncation, reason = "dice")]
fn at_edge(rule: &RuleKey, dice: [u32; 8]) -> Numbers {
    let address = |key: AddressKey, dice: u32, flip: u32| {
        let inside = key.network & key.mask | dice & !key.mask;
        // One bit in eight cases is another one.
        if flip.is_multiple_of(8) { inside ^ 1 << (flip >> 8 & 31) } else { inside }
    };
    let port = |range: &std::ops::RangeInclusive<u16>, dice: u32| match dice % 6 {
        0 | 1 => *range.start(),
        2 | 3 => *range.end(),
        4 => range.start().wrapping_sub(1),
        _ => range.end().wrapping_add(1),
    };
    let interface =
        |set: u32, dice: u32| if dice.is_multiple_of(8) { dice >> 8 } else { set.trailing_zeros() };
    Numbers {
        addresses: [
            address(rule.source, dice[0], dice[1]),
            address(rule.destination, dice[2], dice[3]),
        ],
        ports: [port(&rule.source_ports, dice[4]), port(&rule.destination_ports, dice[5])],
        protocol: rule.protocol.unwrap_or((dice[6] % 20) as u8) ^ u8::from(dice[6] % 8 == 7),
        interfaces: [
            interface(rule.ingress, dice[7]) as u8,
            interface(rule.egress, dice[7].rotate_left(16)) as u8,
        ],
    }
}

/// All candidates of a packet, one after the other.
fn walk(mut next: impl FnMut(u32) -> Option<u32>) -> Vec<u32> {
    let mut found = Vec::new();
    while let Some(rule) = next(found.last().map_or(0, |last| last + 1)) {
        found.push(rule);
    }
    found
}

/// Ways of dividing that sets of few rules have to go, too: tables at once, several sets of vectors, lists only.
const LIMITS: [Limits; 4] = [
    Limits::USUAL,
    Limits { vector_rules: 8, part_rules: 8, vector_bytes: 16 << 20 },
    Limits { vector_rules: 130, part_rules: 65, vector_bytes: 16 << 20 },
    Limits { vector_rules: 40, part_rules: 40, vector_bytes: 0 },
];

fn assert_same(rules: &[RuleKey], packets: &[PacketKey]) -> Result<(), TestCaseError> {
    let expected: Vec<Vec<u32>> =
        packets.iter().map(|key| walk(|from| naive::next(rules, key, from))).collect();
    let mut scratch = Scratch::default();
    for limits in LIMITS {
        let classifier = Classifier::build_within(rules, limits).expect("few rules");
        for (key, expected) in packets.iter().zip(&expected) {
            let found = walk(|from| classifier.next(key, from));
            prop_assert_eq!(&found, expected, "{:?} {:?}", limits, key);
        }
        for (batch, expected) in packets.chunks(BATCH_MAX).zip(expected.chunks(BATCH_MAX)) {
            let mut found = vec![Some(u32::MAX); batch.len()];
            classifier.first_of_batch(&mut scratch, batch, &mut found);
            let expected: Vec<_> = expected.iter().map(|all| all.first().copied()).collect();
            prop_assert_eq!(found, expected, "{:?}", limits);
        }
    }
    Ok(())
}

fn check(
    (rules, dice): (Vec<RuleKey>, Vec<(prop::sample::Index, [u32; 8])>),
) -> Result<(), TestCaseError> {
    let aimed = |(at, dice): &(prop::sample::Index, [u32; 8])| {
        let rule = if rules.is_empty() { &RuleKey::ANY } else { at.get(&rules) };
        at_edge(rule, *dice).key()
    };
    let packets: Vec<PacketKey> = dice.iter().map(aimed).collect();
    assert_same(&rules, &packets)
}

fn dice(packets: usize) -> impl Strategy<Value = Vec<(prop::sample::Index, [u32; 8])>> {
    prop::collection::vec(any::<(prop::sample::Index, [u32; 8])>(), packets)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn few_rules_are_found_as_by_the_twin(case in (rules(12), dice(70))) {
        check(case)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn many_rules_are_found_as_by_the_twin(case in (rules(500), dice(300))) {
        check(case)?;
    }
}

/// Numbers that look random.
fn numbers(seed: u64) -> impl FnMut() -> u32 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(state >> 32).unwrap_or(0)
    }
}

/// Sets that a builder may be given by mischief, as large as its limits and time for a test allow.
fn mischief() -> Vec<(&'static str, Vec<RuleKey>)> {
    const RULES: usize = 6000;
    let mut number = numbers(1);
    let mut set = |make: &dyn Fn(&mut dyn FnMut() -> u32) -> RuleKey| {
        (0..RULES).map(|_| make(&mut number)).collect::<Vec<RuleKey>>()
    };
    let port = |number: &mut dyn FnMut() -> u32| u16::try_from(number() >> 16).unwrap_or(0);
    let ports = move |number: &mut dyn FnMut() -> u32| {
        let (a, b) = (port(number), port(number));
        a.min(b)..=a.max(b)
    };
    let masked = |number: &mut dyn FnMut() -> u32| AddressKey { network: number(), mask: number() };
    let last = |rules: usize| {
        let mut all = vec![RuleKey { protocol: Some(200), ..RuleKey::ANY }; rules];
        all.push(RuleKey::ANY);
        all
    };
    vec![
        (
            "masks with holes",
            set(&|n| RuleKey { source: masked(n), destination: masked(n), ..RuleKey::ANY }),
        ),
        (
            "ranges that overlap",
            set(&|n| RuleKey {
                source_ports: ports(n),
                destination_ports: ports(n),
                ..RuleKey::ANY
            }),
        ),
        (
            "ranges below short prefixes",
            set(&|n| RuleKey {
                source: AddressKey::prefix(n(), n() % 9),
                destination_ports: ports(n),
                source_ports: ports(n),
                ..RuleKey::ANY
            }),
        ),
        ("interfaces", set(&|n| RuleKey { ingress: n(), egress: n(), ..RuleKey::ANY })),
        (
            "all lengths",
            set(&|n| RuleKey {
                source: AddressKey::prefix(n(), n() % 33),
                destination: AddressKey::prefix(n(), n() % 33),
                ..RuleKey::ANY
            }),
        ),
        ("the same rule", vec![RuleKey { protocol: Some(6), ..RuleKey::ANY }; RULES]),
        ("all but the last the same", last(RULES)),
    ]
}

#[test]
fn mischief_is_answered_in_bounded_memory() {
    for (name, rules) in mischief() {
        let classifier = Classifier::build(&rules).expect("few rules");
        let bound = rules.len() * 512 + Limits::USUAL.vector_bytes;
        assert!(classifier.bytes() <= bound, "{name}: {} bytes", classifier.bytes());
        let mut number = numbers(2);
        let packets: Vec<PacketKey> = (0..BATCH_MAX)
            .map(|at| {
                let dice = std::array::from_fn(|_| number());
                at_edge(&rules[at * 91 % rules.len()], dice).key()
            })
            .collect();
        let expected: Vec<_> = packets.iter().map(|key| naive::next(&rules, key, 0)).collect();
        let mut found = vec![None; packets.len()];
        classifier.first_of_batch(&mut Scratch::default(), &packets, &mut found);
        assert_eq!(found, expected, "{name}");
        for (key, first) in packets.iter().zip(expected) {
            assert_eq!(classifier.next(key, 0), first, "{name}");
            let second = first.and_then(|first| naive::next(&rules, key, first + 1));
            let found = first.and_then(|first| classifier.next(key, first + 1));
            assert_eq!(found, second, "{name}");
        }
    }
}

#[test]
fn vectors_that_have_no_room_are_lists() {
    let rules = &mischief()[1].1[..300];
    let none = Limits { vector_bytes: 0, ..Limits::USUAL };
    let lists = Classifier::build_within(rules, none).expect("few rules");
    let vectors = Classifier::build(rules).expect("few rules");
    assert_eq!((lists.vectors.len(), vectors.vectors.len()), (0, 1));
    assert!(lists.bytes() < vectors.bytes());
}

#[test]
fn no_rules_have_no_candidates() {
    let classifier = Classifier::build(&[]).expect("no rules");
    let key = Numbers { addresses: [0; 2], ports: [0; 2], protocol: 0, interfaces: [0; 2] }.key();
    assert_eq!(classifier.next(&key, 0), None);
    let mut found = [Some(7); 2];
    classifier.first_of_batch(&mut Scratch::default(), &[key], &mut found);
    assert_eq!(found, [None, Some(7)]);
}

#[test]
fn too_many_rules_are_refused() {
    let rules = vec![RuleKey::ANY; RULES_MAX + 1];
    let error = Classifier::build(&rules).expect_err("more than the limit");
    assert_eq!(
        error.to_string(),
        "131073 rules in one chain; 131072 are the most: move some to a chain of their own"
    );
    assert!(Classifier::build(&rules[1..]).is_ok());
}
