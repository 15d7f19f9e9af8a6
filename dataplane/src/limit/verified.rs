//! `Verified`: sources that are known to be real.
//!
//! Whoever forges the source of a packet does not see the answer. So a source is *verified* when the client of a TCP
//! connection has acknowledged its server's SYN and ACK, by number: connection tracking sees both, and tells this table
//! at that one moment of a connection's life. It holds for connections that SYNPROXY makes as well, where the server
//! answers only after the client has acknowledged a cookie.
//!
//! The number must be the very one. To *track* a connection, an acknowledgment of the last 66,000 bytes will do (as in
//! the kernel), and to guess one of those takes 65,000 packets, a second of a flood. To guess the one takes 2^32 for
//! each source, and of one handshake's guesses each that comes near ends it (the connection counts as established, and
//! is not asked again). A cookie is checked to some 29 bits (`synproxy/cookie.rs`).
//!
//! **What it says, and what not.** That somebody at this address could send and receive a moment ago: not that he means
//! well. He has a limit of his own for that. Nor that all later packets are his: whoever knows of a verified source can
//! forge *its* address, and then it is held back by its own controller, with whom it belongs to. Connections that stand
//! are none the worse for it if a rule accepts ESTABLISHED first; for new ones `-j SYNPROXY` in the place of `-j DROP`
//! asks for proof once more. A server behind the firewall that gives away its numbers can have any address verified.
//!
//! **Who.** Of IPv4 an address. Of IPv6 the /64 that it is in: who has one address there has all of them (RFC 4291
//! 2.5.4), and as many sources would each have a limit of its own.
//!
//! **Bounded.** Only those get in that have shown it, so a flood of forged sources displaces nobody. The table is
//! that of [`table`](super::table), allocated with the first rule that asks: an entry lasts for a time after the last
//! handshake; where there is no room in its bucket, the one that was seen longest ago gives way, to another that is
//! verified. Whoever has as many real addresses as there is room can displace others; he needs them all, again and
//! again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_control::rule::Family;

use super::key::ByFamily;
use super::table::{State, Table};
use super::{HZ, jiffies};

/// What its table is found by.
pub const VERIFIED: &str = "verified";

/// Bits of an IPv6 address that make a source.
pub const SOURCE6_BITS: u8 = 64;

/// Sources for which there is room, and how long one stays verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedSettings {
    /// Of each family, at least 1.
    pub sources_max: u32,
    /// After the last handshake, in seconds.
    pub expire_s: u32,
}

impl VerifiedSettings {
    /// Sources at most.
    pub const SOURCES_MAX: u32 = 1 << 20;

    /// A day, at least: who reads a site once in the morning is known for the next one.
    pub const EXPIRE_S_MAX: u32 = 30 * 86_400;
}

impl Default for VerifiedSettings {
    fn default() -> Self {
        Self { sources_max: 65_536, expire_s: 86_400 }
    }
}

/// That it is there is all that is kept of a source.
#[derive(Debug, Clone, Copy, Default)]
struct Proven;

impl State for Proven {
    fn weight(&self) -> u8 {
        0
    }
}

/// The verified sources of a family. See the module.
#[derive(Debug)]
pub struct Verified {
    table: ByFamily<Table<u32, Proven>, Table<u64, Proven>>,
}

/// The first 64 bits.
fn net6(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

impl Verified {
    /// None yet. Which sources meet depends on the seed.
    #[must_use]
    pub fn new(family: Family, settings: VerifiedSettings, seed: u64) -> Self {
        let room = settings.sources_max as usize;
        let ticks = u64::from(settings.expire_s) * HZ;
        // Half of what the table can tell apart.
        let expire = u32::try_from(ticks).unwrap_or(u32::MAX).min(u32::MAX / 2);
        Self {
            table: match family {
                Family::V4 => ByFamily::V4(Table::new(room, expire, seed, Proven)),
                Family::V6 => ByFamily::V6(Table::new(room, expire, seed, Proven)),
            },
        }
    }

    /// A source has completed a handshake. One of the other family is none of its business.
    pub fn verify(&self, source: IpAddr, now_ns: u64) {
        let now = jiffies(now_ns);
        match (&self.table, source) {
            (ByFamily::V4(table), IpAddr::V4(source)) => {
                table.with(source.to_bits(), now, Proven::default, |_, _| ());
            }
            (ByFamily::V6(table), IpAddr::V6(source)) => {
                table.with(net6(source), now, Proven::default, |_, _| ());
            }
            _ => {}
        }
    }

    /// Asks for what says whether an address of IPv4 is verified to be brought near.
    #[inline]
    pub fn prefetch4(&self, source: Ipv4Addr) {
        if let ByFamily::V4(table) = &self.table {
            table.prefetch_head(&source.to_bits());
        }
    }

    /// The same of IPv6.
    #[inline]
    pub fn prefetch6(&self, source: Ipv6Addr) {
        if let ByFamily::V6(table) = &self.table {
            table.prefetch_head(&net6(source));
        }
    }

    /// Whether an address of IPv4 is verified at the tick `now`.
    #[inline]
    #[must_use]
    pub fn knows4(&self, source: Ipv4Addr, now: u64) -> bool {
        matches!(&self.table, ByFamily::V4(table) if table.knows(&source.to_bits(), now))
    }

    /// The same of IPv6.
    #[inline]
    #[must_use]
    pub fn knows6(&self, source: Ipv6Addr, now: u64) -> bool {
        matches!(&self.table, ByFamily::V6(table) if table.knows(&net6(source), now))
    }

    /// How many there are at the tick `now`, and for how many there is room.
    #[must_use]
    pub fn count(&self, now: u64) -> (usize, usize) {
        match &self.table {
            ByFamily::V4(table) => (table.entries(now).count(), table.keys_max()),
            ByFamily::V6(table) => (table.entries(now).count(), table.keys_max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn verified(family: Family) -> Verified {
        Verified::new(family, VerifiedSettings { sources_max: 100, expire_s: 10 }, 7)
    }

    #[test]
    fn a_source_is_known_for_a_time_after_its_last_handshake() {
        let (verified, reader) = (verified(Family::V4), Ipv4Addr::new(192, 0, 2, 7));
        let known = |at_ns| verified.knows4(reader, jiffies(at_ns));
        assert!(!known(S));
        verified.verify(reader.into(), S);
        assert!(known(S) && known(11 * S - 1) && !known(11 * S));
        assert!(!verified.knows4(Ipv4Addr::new(192, 0, 2, 8), jiffies(S)), "nobody else");
        // To look does not renew; to shake hands again does.
        verified.verify(reader.into(), 9 * S);
        assert!(known(19 * S - 1) && !known(19 * S));
        assert_eq!(verified.count(jiffies(9 * S)), (1, 100));
        assert_eq!(verified.count(jiffies(19 * S)), (0, 100));
    }

    #[test]
    fn of_ipv6_it_is_the_net_of_a_host() {
        let verified = verified(Family::V6);
        let address = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
        verified.verify(address("2001:db8:1:2::3").into(), S);
        verified.verify(Ipv4Addr::LOCALHOST.into(), S);
        let known = |text| verified.knows6(address(text), jiffies(S));
        assert!(known("2001:db8:1:2:ffff::") && !known("2001:db8:1:3::3"));
        assert_eq!(verified.count(jiffies(S)).0, 1, "none of the other family");
    }

    #[test]
    fn a_table_that_is_full_forgets_whom_it_saw_longest_ago() {
        let verified = verified(Family::V4);
        let regular = Ipv4Addr::new(198, 51, 100, 1);
        for stranger in 0..100_000_u32 {
            let now_ns = S + u64::from(stranger) * 10_000;
            // A regular comes again after every ten others.
            if stranger % 10 == 0 {
                verified.verify(regular.into(), now_ns);
            }
            verified.verify(Ipv4Addr::from_bits(stranger).into(), now_ns);
            assert!(verified.knows4(Ipv4Addr::from_bits(stranger), jiffies(now_ns)));
        }
        assert!(verified.knows4(regular, jiffies(2 * S)));
        assert!(verified.count(jiffies(2 * S)).0 <= 222, "37 buckets of 6");
    }
}
