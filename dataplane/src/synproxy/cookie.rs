//! SYN cookies: what a server would remember of a SYN, in the sequence number that its answer begins with.
//!
//! ```text
//!   cookie = hash(key, ends, the client's sequence number)  +  slot << 24  +  low 24 bits of
//!            (hash(key, ends, slot) + place of the MSS in a table << 22)
//! ```
//!
//! That is nearly the form of D. J. Bernstein and of Linux (`secure_tcp_syn_cookie`, net/ipv4/syncookies.c; RFC 4987
//! 3.6). These add the client's number instead of hashing it, and the place as it is, so that to them later segments of
//! a connection acknowledge cookies, too: those whose sender has heard as much as he has said, or up to three bytes
//! more. A slot is a minute. The acknowledgment that comes back is one more than the cookie: whoever sends it has
//! received the answer, so its source address is not forged. Without the key, one guess in 2^22 succeeds. The hash is
//! SipHash: an attacker sees as many cookies as he likes.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

/// How long a slot lasts, in nanoseconds.
pub const SLOT_NS: u64 = 60_000_000_000;

/// Slots in which a cookie is good, that of its making included (`MAX_SYNCOOKIE_AGE`).
const SLOTS_GOOD: u32 = 2;

/// Maximum segment sizes that a cookie can tell apart: those that most hosts have (net/ipv4/syncookies.c).
const SIZES: [u16; 4] = [536, 1300, 1440, 1460];

/// The same of IPv6, whose headers are longer and whose links are no narrower than 1280 bytes (net/ipv6/syncookies.c).
const SIZES6: [u16; 4] = [1220, 1420, 1440, 8940];

/// What cookies are made with: nobody else may know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieKey(pub [u64; 2]);

/// Who talks to whom: client, then server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// Addresses.
    pub addresses: [IpAddr; 2],
    /// Ports.
    pub ports: [u16; 2],
}

impl Ends {
    /// The segment sizes of their family.
    fn sizes(&self) -> &'static [u16; 4] {
        if self.addresses[0].is_ipv4() { &SIZES } else { &SIZES6 }
    }
}

impl CookieKey {
    /// The cookie for a client that begins with `sequence` and takes segments of `mss` bytes.
    #[must_use]
    pub fn make(self, ends: &Ends, sequence: u32, mss: u16, now_ns: u64) -> u32 {
        let slot = slot(now_ns);
        let place = ends.sizes().iter().rposition(|size| *size <= mss).unwrap_or(0);
        let place = u32::try_from(place).unwrap_or(0);
        let data = self.of_slot(ends, slot).wrapping_add(place << PLACE_SHIFT);
        self.base(ends, sequence).wrapping_add(slot << 24).wrapping_add(data & LOW)
    }

    /// The segment size that a cookie stands for; `None` if it is none of ours, or too old.
    #[must_use]
    pub fn check(self, ends: &Ends, sequence: u32, cookie: u32, now_ns: u64) -> Option<u16> {
        let slot = slot(now_ns);
        let rest = cookie.wrapping_sub(self.base(ends, sequence));
        let age = slot.wrapping_sub(rest >> 24) & 0xff;
        if age >= SLOTS_GOOD {
            return None;
        }
        let place = rest.wrapping_sub(self.of_slot(ends, slot.wrapping_sub(age))) & LOW;
        let whole = place.trailing_zeros() >= PLACE_SHIFT;
        ends.sizes().get(usize::try_from(place >> PLACE_SHIFT).ok().filter(|_| whole)?).copied()
    }

    /// What a client's acknowledgment says that brings a cookie back: the number that it began with, and the segment
    /// size. It may have the number before the next one, with which hosts ask whether a window has opened.
    #[must_use]
    pub fn redeem(
        self,
        ends: &Ends,
        (sequence, acknowledgment): (u32, u32),
        now_ns: u64,
    ) -> Option<(u32, u16)> {
        let cookie = acknowledgment.wrapping_sub(1);
        let check = |first| Some((first, self.check(ends, first, cookie, now_ns)?));
        check(sequence.wrapping_sub(1)).or_else(|| check(sequence))
    }

    // Two hashes that have nothing to do with each other.
    fn base(self, ends: &Ends, sequence: u32) -> u32 {
        self.hash(ends, 2 << 32 | u64::from(sequence))
    }

    fn of_slot(self, ends: &Ends, slot: u32) -> u32 {
        self.hash(ends, 1 << 32 | u64::from(slot))
    }

    fn hash(self, ends: &Ends, rest: u64) -> u32 {
        let mut hasher = SipHasher24::new_with_keys(self.0[0], self.0[1]);
        match ends.addresses {
            [IpAddr::V4(client), IpAddr::V4(server)] => {
                let (client, server) = (client.to_bits(), server.to_bits());
                hasher.write_u64(u64::from(client) << 32 | u64::from(server));
            }
            addresses => addresses.iter().for_each(|address| match address {
                IpAddr::V4(address) => hasher.write_u32(address.to_bits()),
                IpAddr::V6(address) => hasher.write_u128(address.to_bits()),
            }),
        }
        hasher.write_u32(u32::from(ends.ports[0]) << 16 | u32::from(ends.ports[1]));
        hasher.write_u64(rest);
        #[expect(clippy::cast_possible_truncation, reason = "half of it is enough")]
        let hash = hasher.finish() as u32;
        hash
    }
}

/// The part of a cookie below the slot.
const LOW: u32 = 0x00ff_ffff;

/// Where the place of a segment size stands in it.
const PLACE_SHIFT: u32 = 22;

/// Which slot it is; only the lowest eight bits go into a cookie.
fn slot(now_ns: u64) -> u32 {
    // That many minutes do not come about: a number of nanoseconds has 64 bits.
    u32::try_from(now_ns / SLOT_NS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    const KEY: CookieKey = CookieKey([0x0123_4567_89ab_cdef, 42]);

    fn ends(client: u32, ports: [u16; 2]) -> Ends {
        let addresses = [Ipv4Addr::from_bits(client), Ipv4Addr::new(192, 0, 2, 1)];
        Ends { addresses: addresses.map(IpAddr::V4), ports }
    }

    fn ends6(client: u128, ports: [u16; 2]) -> Ends {
        let addresses =
            [Ipv6Addr::from_bits(client), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)];
        Ends { addresses: addresses.map(IpAddr::V6), ports }
    }

    proptest! {
        #[test]
        fn a_cookie_brings_its_segment_size_back_for_a_minute_at_least_and_two_at_most(
            client: u32, ports: [u16; 2], sequence: u32, mss: u16, now_ns in 0..u64::MAX / 2,
        ) {
            let ends = ends(client, ports);
            let cookie = KEY.make(&ends, sequence, mss, now_ns);
            let size = match mss {
                ..1300 => 536,
                1300..1440 => 1300,
                1440..1460 => 1440,
                1460.. => 1460,
            };
            for later in [0, SLOT_NS - now_ns % SLOT_NS, SLOT_NS] {
                prop_assert_eq!(KEY.check(&ends, sequence, cookie, now_ns + later), Some(size));
            }
            prop_assert_eq!(KEY.check(&ends, sequence, cookie, now_ns + 2 * SLOT_NS), None);
        }

        #[test]
        fn one_of_ipv6_brings_those_of_ipv6_back_and_is_good_for_no_other_address(
            client: u128, bit in 0..128_u32, ports: [u16; 2], sequence: u32, mss: u16,
        ) {
            let cookie = KEY.make(&ends6(client, ports), sequence, mss, 0);
            let size = match mss {
                ..1420 => 1220,
                1420..1440 => 1420,
                1440..8940 => 1440,
                8940.. => 8940,
            };
            prop_assert_eq!(KEY.check(&ends6(client, ports), sequence, cookie, 0), Some(size));
            let other = ends6(client ^ 1_u128 << bit, ports);
            prop_assert_eq!(KEY.check(&other, sequence, cookie, 0), None);
        }

        #[test]
        fn a_cookie_is_good_for_nobody_else(client: u32, ports: [u16; 2], sequence: u32) {
            let own = ends(client, ports);
            let cookie = KEY.make(&own, sequence, 1460, 0);
            let good = |key: CookieKey, ends: &Ends, sequence, cookie| {
                key.check(ends, sequence, cookie, 0).is_some()
            };
            // Each of these is right by chance once in four million times; the cases are few.
            prop_assert!(!good(KEY, &ends(client ^ 1, ports), sequence, cookie));
            prop_assert!(!good(KEY, &ends(client, [ports[0] ^ 1, ports[1]]), sequence, cookie));
            prop_assert!(!good(KEY, &ends(client, [ports[0], ports[1] ^ 1]), sequence, cookie));
            prop_assert!(!good(KEY, &own, sequence ^ 1 << 20, cookie));
            for (said, heard) in [(0, 1), (0, 3), (1, 0), (1, 1), (1, 2), (100, 100)] {
                let (sequence, cookie) = (sequence.wrapping_add(said), cookie.wrapping_add(heard));
                prop_assert!(!good(KEY, &own, sequence, cookie));
            }
            prop_assert!(!good(KEY, &own, sequence, cookie ^ 1 << 12));
            prop_assert!(!good(CookieKey([1, 2]), &own, sequence, cookie));
        }
    }

    #[test]
    fn guesses_succeed_as_often_as_there_are_segment_sizes_and_slots() {
        let own = ends(1, [2, 3]);
        // Over all values of the low bits in one slot of the two that are good, four are right, and far from each
        // other.
        let base = KEY.make(&own, 0, 536, 0);
        let guesses = (0..1_u32 << 10).map(|guess| base.wrapping_add(guess << 14));
        let right = guesses.filter(|guess| KEY.check(&own, 0, *guess, 0).is_some());
        assert_eq!(right.count(), 4);
    }
}
