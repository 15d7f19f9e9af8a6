//! What rules ask of addresses.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::BitAnd;

use weir_control::rule::{Family, IpNet, Negatable};

use super::classify::{AddressKey, PacketKey};
use super::flow_cache::{Key, Key6};
use crate::batch::Addresses;

/// An address test: `(address & mask == network) != negated`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressTest<B = u32> {
    pub(super) network: B,
    pub(super) mask: B,
    pub(super) negated: bool,
}

impl<B: Copy + PartialEq + BitAnd<Output = B>> AddressTest<B> {
    fn holds(self, address: B) -> bool {
        (address & self.mask == self.network) != self.negated
    }
}

impl AddressTest<u32> {
    /// Holds for every address.
    pub(super) const ANY: Self = Self { network: 0, mask: 0, negated: false };

    /// What the classifier looks at. Whatever is negated stays open.
    fn key(self) -> AddressKey {
        match self {
            Self { network, mask, negated: false } => AddressKey { network, mask },
            _ => AddressKey::ANY,
        }
    }
}

impl AddressTest<u128> {
    /// Holds for every address.
    pub(super) const ANY: Self = Self { network: 0, mask: 0, negated: false };

    /// The same of the window before so many bits.
    fn key(self, behind: u8) -> AddressKey {
        let Self { network, mask, negated } = self;
        match negated {
            false => AddressKey { network: cut(network, behind), mask: cut(mask, behind) },
            true => AddressKey::ANY,
        }
    }
}

/// One address test, of either family.
#[derive(Debug, Clone, Copy)]
pub(super) enum IpTest {
    /// Of IPv4.
    V4(AddressTest<u32>),
    /// Of IPv6.
    V6(AddressTest<u128>),
}

impl IpTest {
    pub(super) fn new(net: Negatable<IpNet>) -> Self {
        let negated = net.negated;
        match net.value {
            IpNet::V4(net) => {
                let (network, mask) = (net.address().to_bits(), net.mask().to_bits());
                Self::V4(AddressTest { network, mask, negated })
            }
            IpNet::V6(net) => {
                let (network, mask) = (net.address().to_bits(), net.mask().to_bits());
                Self::V6(AddressTest { network, mask, negated })
            }
        }
    }

    /// Never for an address of the other family.
    pub(super) fn holds(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(test), IpAddr::V4(address)) => test.holds(address.to_bits()),
            (Self::V6(test), IpAddr::V6(address)) => test.holds(address.to_bits()),
            _ => false,
        }
    }
}

/// What a rule asks of a packet's source and destination.
#[derive(Debug, Clone)]
pub(super) enum AddressTests {
    /// Of IPv4.
    V4 {
        /// Of the source.
        source: AddressTest<u32>,
        /// Of the destination.
        destination: AddressTest<u32>,
    },
    /// Of IPv6: source, destination. Apart, so that rules of IPv4 stay close together.
    V6(Box<[AddressTest<u128>; 2]>),
}

impl AddressTests {
    /// Of a rule of that family. What names an address of the other one is in no rule set; it is refused.
    pub(super) fn new(
        family: Family,
        source: Option<Negatable<IpNet>>,
        destination: Option<Negatable<IpNet>>,
    ) -> Result<Self, &'static str> {
        let other = "an address of the other family";
        let four = |net: Option<_>| match net.map(IpTest::new) {
            None => Ok(AddressTest::<u32>::ANY),
            Some(IpTest::V4(test)) => Ok(test),
            Some(IpTest::V6(_)) => Err(other),
        };
        let six = |net: Option<_>| match net.map(IpTest::new) {
            None => Ok(AddressTest::<u128>::ANY),
            Some(IpTest::V6(test)) => Ok(test),
            Some(IpTest::V4(_)) => Err(other),
        };
        Ok(match family {
            Family::V4 => Self::V4 { source: four(source)?, destination: four(destination)? },
            Family::V6 => Self::V6(Box::new([six(source)?, six(destination)?])),
        })
    }

    /// What the classifier looks at: source and destination.
    pub(super) fn keys(&self, windows: Windows) -> [AddressKey; 2] {
        match self {
            Self::V4 { source, destination } => [source.key(), destination.key()],
            Self::V6(tests) => [tests[0].key(windows.source), tests[1].key(windows.destination)],
        }
    }
}

/// Source and destination of a packet as numbers: read once, and compared by each rule of its family.
pub(super) trait Ends: Copy {
    /// Whether the classifier looks at other bits of them in each chain.
    const WINDOWED: bool;

    /// By what a flow cache knows a packet.
    type Key: Key;

    /// That of a packet between these, whose other parts are those of `packet`.
    fn key(self, packet: PacketKey) -> Self::Key;

    /// Whether a rule's tests hold; never those of the other family.
    fn meet(self, tests: &AddressTests) -> bool;
}

/// Of IPv4.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends4 {
    source: u32,
    destination: u32,
}

impl Ends4 {
    #[inline]
    pub(super) fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { source: source.to_bits(), destination: destination.to_bits() }
    }
}

impl Ends for Ends4 {
    const WINDOWED: bool = false;

    type Key = PacketKey;

    #[inline(always)]
    fn key(self, packet: PacketKey) -> PacketKey {
        packet
    }

    #[inline(always)]
    fn meet(self, tests: &AddressTests) -> bool {
        match tests {
            AddressTests::V4 { source, destination } => {
                source.holds(self.source) && destination.holds(self.destination)
            }
            AddressTests::V6(_) => false,
        }
    }
}

/// Of IPv6.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends6 {
    source: u128,
    destination: u128,
}

impl Ends6 {
    #[inline]
    pub(super) fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { source: source.to_bits(), destination: destination.to_bits() }
    }
}

impl Ends for Ends6 {
    const WINDOWED: bool = true;

    type Key = Key6;

    #[inline(always)]
    fn key(self, packet: PacketKey) -> Key6 {
        let [source, destination] = [self.source, self.destination].map(Ipv6Addr::from_bits);
        Key6 { source, destination, rest: packet.rest }
    }

    #[inline(always)]
    fn meet(self, tests: &AddressTests) -> bool {
        match tests {
            AddressTests::V4 { .. } => false,
            AddressTests::V6(tests) => {
                tests[0].holds(self.source) && tests[1].holds(self.destination)
            }
        }
    }
}

/// The classifier knows 32 bits of an address: of IPv6 those of a window, another in each chain, in which its rules
/// differ most. The other bits stay open, so that a rule is a candidate too often, never too seldom.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Windows {
    /// Bits behind the window of source addresses.
    source: u8,
    /// Of destination addresses.
    destination: u8,
}

impl Windows {
    /// Those for the rules of a chain. Of IPv4 there is nothing to choose.
    pub(super) fn choose<'a>(rules: impl Iterator<Item = &'a AddressTests> + Clone) -> Self {
        let best = |end: usize| {
            let tests = rules.clone().filter_map(|rule| match rule {
                AddressTests::V4 { .. } => None,
                AddressTests::V6(tests) => Some(tests[end]).filter(|test| test.mask != 0),
            });
            if tests.clone().next().is_none() {
                return 0;
            }
            let told_apart = |behind: &u8| {
                let key = |test: AddressTest<u128>| test.key(*behind);
                tests
                    .clone()
                    .map(key)
                    .map(|key| (key.network, key.mask))
                    .collect::<HashSet<_>>()
                    .len()
            };
            (0..=96).step_by(8).max_by_key(told_apart).unwrap_or_default()
        };
        Self { source: best(0), destination: best(1) }
    }

    /// The bits that the classifier looks at: of source and destination.
    #[inline]
    pub(super) fn of(self, addresses: &Addresses) -> (u32, u32) {
        match *addresses {
            Addresses::V4 { source, destination } => (source.to_bits(), destination.to_bits()),
            Addresses::V6 { source, destination } => {
                (cut(source.to_bits(), self.source), cut(destination.to_bits(), self.destination))
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a window of 32 bits is what is wanted")]
fn cut(bits: u128, behind: u8) -> u32 {
    (bits >> behind) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(net: &str, negated: bool) -> IpTest {
        let value = IpNet::from_prefix(net).expect("a net");
        IpTest::new(Negatable { value, negated })
    }

    #[test]
    fn negation_turns_each_test_round_and_families_never_mix() {
        for (net, inside, outside) in [
            ("10.0.0.0/8", "10.1.2.3", "11.1.2.3"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::", "10.1.2.3"),
        ] {
            for negated in [false, true] {
                let holds = |address: &str| test(net, negated).holds(address.parse().unwrap());
                assert_eq!(holds(inside), !negated, "{net}");
                let other = net.contains(':') != outside.contains(':');
                assert_eq!(holds(outside), negated && !other, "{net}");
            }
        }
    }

    #[test]
    fn windows_lie_where_rules_differ() {
        let net = |text: String| Some(Negatable::is(IpNet::from_prefix(&text).expect("a net")));
        let rules: Vec<_> = (0..40)
            .map(|n| {
                let (source, destination) =
                    (format!("2001:db8:{n:x}::/48"), format!("fd00::{n:x}"));
                AddressTests::new(Family::V6, net(source), net(destination)).expect("one family")
            })
            .collect();
        let windows = Windows::choose(rules.iter());
        for (n, rule) in rules.iter().enumerate() {
            let source = format!("2001:db8:{n:x}:7::9").parse().unwrap();
            let destination = format!("fd00::{n:x}").parse().unwrap();
            let (a, b) = windows.of(&Addresses::V6 { source, destination });
            let fits = |rule: &AddressTests| {
                let [x, y] = rule.keys(windows);
                a & x.mask == x.network && b & y.mask == y.network
            };
            assert!(fits(rule));
            assert_eq!(rules.iter().filter(|rule| fits(rule)).count(), 1);
        }
        assert_eq!(Windows::choose([].into_iter()), Windows::default());
    }

    #[test]
    fn both_ends_must_hold() {
        let net = |net: &str, negated| {
            Some(Negatable { value: IpNet::from_prefix(net).expect("a net"), negated })
        };
        let (a, b) = (net("2001:db8:1::/48", false), net("2001:db8:2::9", true));
        let tests = AddressTests::new(Family::V6, a, b).expect("of the family");
        let holds = |source: &str, destination: &str| {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            Ends6::new(source, destination).meet(&tests)
        };
        assert!(holds("2001:db8:1::7", "2001:db8:2::8"));
        assert!(!holds("2001:db8:1::7", "2001:db8:2::9"));
        assert!(!holds("2001:db8:3::7", "2001:db8:2::8"));
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(Ipv4Addr::from);
        assert!(!Ends4::new(one, other).meet(&tests), "of the other family");
        assert!(AddressTests::new(Family::V4, a, None).is_err());
        assert!(AddressTests::new(Family::V6, None, net("10.0.0.1", false)).is_err());
        // Rules are looked at one after the other.
        assert_eq!(size_of::<AddressTests>(), 24);
    }
}
