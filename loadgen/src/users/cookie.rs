//! SYN cookies: a server's answer that remembers for it (D. J. Bernstein, 1996; RFC 4987 section 3.6).
//!
//! ```text
//!   31      27 26     24 23                                  0
//!  | minute    | MSS    | keyed hash of addresses, ports, both and the client's number |
//! ```
//!
//! The rest of what a SYN says would be lost; as Linux does it, the low bits of the timestamp that the client sends
//! back hold it: window scale and SACK. A client without timestamps gets neither. And data that overtakes the third
//! segment is of no connection yet, and is reset.

use ahash::RandomState;

use super::index::Pair;
use super::tcp::{Options, Segment};

/// Segment sizes that a cookie can say; the greatest that is not above the client's is taken.
const SIZES: [u16; 8] = [48, 536, 1_220, 1_300, 1_400, 1_440, 1_452, 1_460];

/// A cookie counts for this and the next minute.
const MINUTE_NS: u64 = 60_000_000_000;

/// Minutes that a cookie tells apart.
const MINUTES: u32 = 32;

/// Bits of the timestamp: the window scale, 15 for none, and SACK.
const CLOCK_BITS: u32 = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct Cookies {
    secret: RandomState,
    /// When the last one was sent: without one in the last two minutes, none is believed. So old acknowledgments wake
    /// no dead connections while there are no cookies about.
    last_ns: Option<u64>,
}

impl Cookies {
    pub(super) fn new(seed: u64) -> Self {
        Self { secret: RandomState::with_seeds(seed, 0xc00c, !seed, 0x1e), last_ns: None }
    }

    /// The number of the SYN-ACK that answers this SYN.
    pub(super) fn bake(&mut self, now_ns: u64, pair: &Pair, syn: &Segment) -> u32 {
        self.last_ns = Some(now_ns);
        let offered = syn.options.mss.unwrap_or(536);
        let size = SIZES.iter().rposition(|size| *size <= offered).unwrap_or(0);
        self.cookie(minute(now_ns), u32::try_from(size).unwrap_or(0), pair, syn.sequence)
    }

    /// The clock that the SYN-ACK shows, which says what the SYN offered.
    pub(super) fn clock(clock: u32, syn: &Options) -> u32 {
        let scale = u32::from(syn.window_shift.unwrap_or(15));
        let bits = scale | u32::from(syn.sack_permitted) << 4;
        // Not later than it is: RFC 7323 wants a clock that never goes back by more than it must.
        (clock & !((1 << CLOCK_BITS) - 1)).wrapping_sub(1 << CLOCK_BITS) | bits
    }

    /// The SYN that led to this acknowledgment, if it brings back one of our cookies of this or the last minute.
    pub(super) fn check(&self, now_ns: u64, pair: &Pair, ack: &Segment) -> Option<Segment> {
        self.last_ns.filter(|last_ns| now_ns.saturating_sub(*last_ns) < 2 * MINUTE_NS)?;
        let cookie = ack.acknowledgment.wrapping_sub(1);
        let client = ack.sequence.wrapping_sub(1);
        let now = minute(now_ns);
        let size = cookie >> 24 & 7;
        let is_ours = [now, (now + MINUTES - 1) % MINUTES]
            .into_iter()
            .any(|at| self.cookie(at, size, pair, client) == cookie);
        if !is_ours {
            return None;
        }
        let mut options = Options { mss: Some(SIZES[size as usize]), ..Options::default() };
        if let Some((value, echo)) = ack.options.timestamps {
            options.timestamps = Some((value, 0));
            options.sack_permitted = echo >> 4 & 1 == 1;
            options.window_shift = u8::try_from(echo & 15).ok().filter(|scale| *scale != 15);
        }
        Some(Segment { sequence: client, window: ack.window, options, ..Segment::default() })
    }

    fn cookie(&self, minute: u32, size: u32, pair: &Pair, client: u32) -> u32 {
        let hash = self.secret.hash_one((minute, size, pair, client)) >> 40;
        minute << 27 | size << 24 | u32::try_from(hash).unwrap_or(0)
    }
}

/// The minute, on a circle.
fn minute(now_ns: u64) -> u32 {
    u32::try_from(now_ns / MINUTE_NS).unwrap_or(0) % MINUTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::address::Address;

    fn pair() -> Pair {
        let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().unwrap());
        Pair {
            local: address("198.19.0.2"),
            remote: address("198.18.0.2"),
            local_port: 80,
            remote_port: 40_000,
        }
    }

    fn syn() -> Segment {
        let options = Options {
            mss: Some(1_450),
            window_shift: Some(7),
            sack_permitted: true,
            timestamps: Some((5, 0)),
            ..Options::default()
        };
        Segment { sequence: 1_000, options, ..Segment::default() }
    }

    #[test]
    fn a_cookie_brings_the_syn_back() {
        let mut cookies = Cookies::new(1);
        let sent_ns = 31 * MINUTE_NS + 5;
        let none = cookies.check(sent_ns, &pair(), &Segment::default());
        assert_eq!(none, None, "none has been sent");
        let cookie = cookies.bake(sent_ns, &pair(), &syn());
        let clock = Cookies::clock(77_777, &syn().options);
        let options = Options { timestamps: Some((6, clock)), ..Options::default() };
        let (sequence, acknowledgment) = (1_001, cookie.wrapping_add(1));
        let ack = Segment { sequence, acknowledgment, options, ..Segment::default() };
        let options = Options { mss: Some(1_440), timestamps: Some((6, 0)), ..syn().options };
        let rebuilt = Segment { sequence: 1_000, options, ..Segment::default() };
        assert_eq!(cookies.check(sent_ns, &pair(), &ack), Some(rebuilt));
        assert_eq!(
            cookies.check(sent_ns + MINUTE_NS, &pair(), &ack),
            Some(rebuilt),
            "in the next minute"
        );
        assert_eq!(cookies.check(sent_ns + 2 * MINUTE_NS, &pair(), &ack), None, "too old");
        let other = Pair { remote_port: 40_001, ..pair() };
        assert_eq!(cookies.check(sent_ns, &other, &ack), None, "another's");
        let forged = Segment { acknowledgment: ack.acknowledgment ^ 0x100, ..ack };
        assert_eq!(cookies.check(sent_ns, &pair(), &forged), None, "forged");
        let bare = Segment { options: Options::default(), ..ack };
        let found = cookies.check(sent_ns, &pair(), &bare).unwrap().options;
        assert_eq!(found, Options { mss: Some(1_440), ..Options::default() }, "without timestamps");
    }

    #[test]
    fn no_scale_is_said_as_none() {
        let clock = Cookies::clock(1_000, &Options::default());
        assert!(clock & 15 == 15 && clock < 1_000);
    }
}
