//! `Unverified`: what `-m fuzzy --fuzzy-unverified` keeps, against floods whose sources are forged.
//!
//! A limit for each source is none for who has a new source for each packet. What such a flood cannot have is a past:
//! none of its sources has ever completed a handshake. So those that have ([`Verified`]) get a controller each, and all
//! others are counted together, in ever wider circles:
//!
//! ```text
//!   verified?  yes -> controller of the source (IPv6: of its /64)          table,  --lower-limit, --upper-limit
//!              no  -> of its /24 (IPv6: /64)  -- passes -->                sketch, --fuzzy-net
//!                     of its /16 (IPv6: /48)  -- passes -->                sketch, --fuzzy-wide-net
//!                     of the destination      -- passes --> next rule      sketch, --fuzzy-dst
//! ```
//!
//! * **The narrowest circle first**, and what it throws away the wider ones never see. So a flood that comes from one
//!   net is thinned in that net, and strangers from elsewhere do not notice; only one that comes from everywhere
//!   reaches the destination's controller.
//! * **Over the limit only unverified traffic is thinned.** A verified source is never asked about nets and
//!   destinations.
//! * **A flood is held to packets** ([`Bounds`](super::fuzzy::Bounds)): in each circle, however fast it is, to what the
//!   upper limit allows in a tenth of a second, and then to a hundredth of that limit. So a server's backlog says what
//!   the limit of a destination may be.
//! * **A table for verified sources, sketches for the others.** Of the first there are as many as there is room in the
//!   table of [`Verified`], so each has a controller that is its alone. Of the others there are as many as an attacker
//!   likes: see [`cells`](super::cells) for why a sketch then, its error and who suffers by it.
//!
//! What it cannot do: tell a stranger who comes for the first time from the flood beside him. While the flood lasts he
//! is thinned with it, and his client's repetitions after 1, 2 and 4 seconds as well. With `-j SYNPROXY` in the place
//! of `-j DROP` he is asked for proof instead, as all others of the flood are, at no cost but an answer; he gives it,
//! and is verified. The rule matches only while there is a flood, so nothing is proxied in times of peace.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_control::rule::{
    Family, FuzzyKeys, FuzzyMatch, FuzzyRates, FuzzyUnverified, KeyMasks, KeyParts,
};

use super::cells::{CELLS, Cells, Found};
use super::fuzzy::{Controllers, Limits};
use super::verified::{SOURCE6_BITS, Verified};
use crate::batch::Addresses;

/// A circle of unverified sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circle {
    /// A /24, of IPv6 a /64.
    Net,
    /// A /16, of IPv6 a /48.
    WideNet,
    /// All that come to an address.
    Destination,
}

impl Circle {
    /// The narrowest first.
    pub const ALL: [Self; 3] = [Self::Net, Self::WideNet, Self::Destination];

    /// Bits of an address that make a key.
    #[must_use]
    pub const fn bits(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Net, Family::V4) => 24,
            (Self::WideNet, Family::V4) => 16,
            (Self::Destination, Family::V4) => 32,
            (Self::Net, Family::V6) => SOURCE6_BITS as u32,
            (Self::WideNet, Family::V6) => 48,
            (Self::Destination, Family::V6) => 128,
        }
    }

    /// A key as words.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "keys of IPv4 have 32 bits")]
    pub fn text(self, family: Family, key: u128) -> String {
        let address = match family {
            Family::V4 => Ipv4Addr::from_bits(key as u32).to_string(),
            Family::V6 => Ipv6Addr::from_bits(key).to_string(),
        };
        match self {
            Self::Net | Self::WideNet => format!("unverified of {address}/{}", self.bits(family)),
            Self::Destination => format!("unverified to {address}"),
        }
    }
}

/// The keys of a packet of IPv4 in each circle.
fn keys4(source: Ipv4Addr, destination: Ipv4Addr) -> [u128; 3] {
    let bits = u128::from(source.to_bits());
    [bits & !0xff, bits & !0xffff, u128::from(destination.to_bits())]
}

/// The same of IPv6.
fn keys6(source: Ipv6Addr, destination: Ipv6Addr) -> [u128; 3] {
    let bits = source.to_bits();
    [bits >> 64 << 64, bits >> 80 << 80, destination.to_bits()]
}

/// What a rule keeps. See the module.
#[derive(Debug)]
pub struct Unverified {
    family: Family,
    verified: Controllers,
    circles: [Cells; 3],
}

impl Unverified {
    /// Keys that count as kept by a rule for which there is room for so many verified sources.
    #[must_use]
    pub const fn keys_for(sources_max: usize) -> usize {
        sources_max + 3 * CELLS
    }

    /// For a rule of this family, with controllers for so many verified sources, allocated here.
    #[must_use]
    pub fn new(
        asked: &FuzzyMatch,
        rates: &FuzzyUnverified,
        (family, sources_max): (Family, u32),
        seed: u64,
    ) -> Self {
        let keys = FuzzyKeys {
            parts: KeyParts { source: true, ..KeyParts::default() },
            masks: KeyMasks {
                source: (family == Family::V6).then_some(SOURCE6_BITS),
                destination: None,
            },
            keys_max: sources_max,
            ..FuzzyKeys::default()
        };
        let mut seed_of = seed;
        let circles = rates.rates(asked.rates()).map(|FuzzyRates { lower_pps, upper_pps }| {
            seed_of = seed_of.rotate_left(13) ^ seed;
            Cells::new(Limits { lower_pps, upper_pps }, seed_of)
        });
        Self { family, verified: Controllers::new(asked, &keys, family, seed), circles }
    }

    /// The controllers of verified sources.
    #[must_use]
    pub fn verified(&self) -> &Controllers {
        &self.verified
    }

    /// Those of a circle.
    #[must_use]
    pub fn circle(&self, circle: Circle) -> &Cells {
        &self.circles[circle as usize]
    }

    /// Of which family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Asks for what is needed of a packet to be brought near: of an unverified source, for of a flood all are. What is
    /// kept of a destination that many packets come to is near already.
    #[inline]
    pub fn prefetch(&self, known: &Verified, addresses: Addresses) {
        let [net, wide_net, _] = match addresses {
            Addresses::V4 { source, destination } => {
                known.prefetch4(source);
                keys4(source, destination)
            }
            Addresses::V6 { source, destination } => {
                known.prefetch6(source);
                keys6(source, destination)
            }
        };
        self.circles[0].prefetch(net);
        self.circles[1].prefetch(wide_net);
    }

    /// Whether a packet of IPv4 passes that comes at the tick `now`.
    #[inline]
    pub fn accepts4(
        &self,
        known: &Verified,
        (source, destination): (Ipv4Addr, Ipv4Addr),
        now: u64,
        draw: impl Fn() -> u8,
    ) -> bool {
        let keys = keys4(source, destination);
        // Before it is known whether they are needed: in a flood they are.
        let found = self.find(keys);
        if known.knows4(source, now) {
            let key = self.verified.spec().v4((source, destination), (0, 0));
            return self.verified.accepts4(key, now, || false, draw);
        }
        self.circles_accept(found, now, draw)
    }

    /// The same of IPv6.
    #[inline]
    pub fn accepts6(
        &self,
        known: &Verified,
        (source, destination): (Ipv6Addr, Ipv6Addr),
        now: u64,
        draw: impl Fn() -> u8,
    ) -> bool {
        let found = self.find(keys6(source, destination));
        if known.knows6(source, now) {
            let key = self.verified.spec().v6((source, destination), (0, 0));
            return self.verified.accepts6(key, now, || false, draw);
        }
        self.circles_accept(found, now, draw)
    }

    #[inline]
    fn find(&self, [net, wide_net, destination]: [u128; 3]) -> [Found; 3] {
        let [a, b, c] = &self.circles;
        [a.find(net), b.find(wide_net), c.find(destination)]
    }

    #[inline]
    fn circles_accept(&self, found: [Found; 3], now: u64, draw: impl Fn() -> u8) -> bool {
        self.circles.iter().zip(found).all(|(cells, found)| cells.accepts(found, now, &draw))
    }
}

#[cfg(test)]
mod tests {
    use super::super::verified::VerifiedSettings;
    use super::*;

    const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
    const READER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
    const STRANGER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

    /// A rule with 20 to 100 packets a second for each source: 80 to 400 of a net, 320 to 1,600 of a wide one,
    /// 1,280 to 6,400 to a destination.
    struct World {
        known: Verified,
        rule: Unverified,
        state: std::cell::Cell<u64>,
    }

    impl World {
        fn new() -> Self {
            let asked = FuzzyMatch { lower_pps: 20, upper_pps: 100, ..FuzzyMatch::default() };
            let settings = VerifiedSettings::default();
            let family = Family::V4;
            let known = Verified::new(family, settings, 7);
            known.verify(READER.into(), 0);
            let unverified = FuzzyUnverified::default();
            let rule = Unverified::new(&asked, &unverified, (family, settings.sources_max), 7);
            Self { known, rule, state: std::cell::Cell::new(0x5eed) }
        }

        /// Splitmix, for sources and bytes.
        fn draw(&self) -> u64 {
            let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.state.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        }

        fn accepts(&self, source: Ipv4Addr, tick: u64) -> bool {
            self.rule.accepts4(&self.known, (source, SERVER), tick, || self.draw().to_be_bytes()[3])
        }

        /// Ten seconds of a flood of `rate` packets a second, with a packet of the reader's and one of the stranger's
        /// every tenth of a second; how many of theirs pass of 90 after the first second, and what share of the flood.
        fn play(&self, rate: u64, source: impl Fn(u64) -> Ipv4Addr) -> ([u32; 2], f64) {
            let (mut passed, mut flood) = ([0; 2], 0_u64);
            for tick in 1000..3500 {
                let counts = tick >= 1250;
                for _ in 0..rate / 250 {
                    let passes = self.accepts(source(self.draw()), tick);
                    flood += u64::from(passes && counts);
                }
                if tick % 25 == 0 {
                    for (client, passed) in [READER, STRANGER].into_iter().zip(&mut passed) {
                        *passed += u32::from(self.accepts(client, tick) && counts);
                    }
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            (passed, flood as f64 / (rate * 9) as f64)
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "32 bits of it")]
    fn anywhere(drawn: u64) -> Ipv4Addr {
        Ipv4Addr::from_bits(drawn as u32)
    }

    #[expect(clippy::cast_possible_truncation, reason = "8 bits of it")]
    fn of_one_net(drawn: u64) -> Ipv4Addr {
        Ipv4Addr::new(100, 64, 3, drawn as u8)
    }

    #[test]
    fn in_peace_nobody_is_held_back() {
        assert_eq!(World::new().play(1000, anywhere), ([90, 90], 1.0));
    }

    #[test]
    fn a_flood_of_forged_sources_is_thinned_and_who_is_verified_does_not_notice() {
        let ([reader, stranger], flood) = World::new().play(100_000, anywhere);
        assert_eq!(reader, 90);
        assert!(stranger < 9, "{stranger}: thinned with the flood");
        // 6,400 packets a second are the limit of the destination, of 100,000.
        assert!(flood < 0.000_7, "{flood}");
    }

    #[test]
    fn a_flood_from_one_net_is_thinned_there_and_strangers_from_elsewhere_do_not_notice() {
        let world = World::new();
        let (clients, flood) = world.play(100_000, of_one_net);
        assert_eq!(clients, [90, 90]);
        assert!(flood < 0.000_05, "{flood}");
        let told: Vec<String> = world
            .rule
            .circle(Circle::Net)
            .named(3500)
            .filter(|(_, reading)| reading.share_percent < 100)
            .map(|(key, _)| Circle::Net.text(Family::V4, key))
            .collect();
        assert_eq!(told, ["unverified of 100.64.3.0/24"]);
    }

    #[test]
    fn whoever_is_verified_and_floods_is_held_back_by_his_own_controller_alone() {
        let (world, attacker) = (World::new(), Ipv4Addr::new(100, 64, 3, 3));
        world.known.verify(attacker.into(), 0);
        let (clients, flood) = world.play(100_000, |_| attacker);
        assert_eq!(clients, [90, 90]);
        assert!(flood < 0.000_02, "{flood}");
        // The others of his net as well.
        assert!((0..40).all(|_| world.accepts(Ipv4Addr::new(100, 64, 3, 4), 3500)));
    }

    /// What a verified source is not safe from: that somebody takes its address.
    #[test]
    fn whoever_forges_a_verified_source_hurts_that_one_alone() {
        let world = World::new();
        let ([reader, stranger], flood) = world.play(100_000, |_| READER);
        assert!(reader < 9 && flood < 0.000_02, "{reader}, {flood}");
        assert_eq!(stranger, 90);
    }

    #[test]
    fn of_ipv6_who_has_a_net_is_one_source() {
        let asked = FuzzyMatch { lower_pps: 20, upper_pps: 100, ..FuzzyMatch::default() };
        let known = Verified::new(Family::V6, VerifiedSettings::default(), 7);
        let unverified = FuzzyUnverified::default();
        let rule = Unverified::new(&asked, &unverified, (Family::V6, 1000), 7);
        let address =
            |net: u128, host: u128| Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | net << 64 | host);
        known.verify(address(1, 1).into(), 0);
        let accepted = |net| {
            let packets = (0..10_000_u64).filter(|n| {
                let source = address(net, u128::from(*n) << 7);
                rule.accepts6(&known, (source, address(9, 9)), 1000 + n / 40, || 255)
            });
            packets.count()
        };
        // Of the verified net and of the other what is due in a window at the limit, and in a second.
        assert_eq!([1, 2].map(accepted), [16 + 1, 42 + 4]);
        assert_eq!(
            Circle::WideNet.text(Family::V6, address(0, 0).to_bits()),
            "unverified of 2001:db8::/48"
        );
    }
}
