//! What a packet says of itself: which stream it belongs to, its number, and when it was due.
//!
//! A stamp lies where a firewall has no business, so that it arrives as it was sent whatever is done to the headers.
//! There are two forms.
//!
//! **Behind the headers**: the last 16 bytes of the IP packet, if its payload has so many.
//!
//! ```text
//!    0            3     4                   9                           15    16
//!   +------------+-----+-------------------+---------------------------+-----+
//!   | key        |lane | number            | due, ns after the start   |check|
//!   +------------+-----+-------------------+---------------------------+-----+
//! ```
//!
//! **In a bare TCP header**, for segments without data (a SYN of 64 bytes has none): sequence number, acknowledgment
//! number, window and urgent pointer. None of them is looked at by a firewall before the connection exists; a flood's
//! are random anyhow. They are whitened by the key, so they look random here too.
//!
//! ```text
//!   sequence number   lane (8), number (24: the rest follows from how many were sent)
//!   acknowledgment    due, in units of 16 ns (32: the rest follows from the time of arrival)
//!   window, urgent    check (32)
//! ```
//!
//! The key is another one in every run, so that late packets of an earlier run are foreign. A packet of somebody else
//! is taken for one of ours with a chance of 2^-32.

/// Bytes of the stamp behind the headers.
pub const STAMP_BYTES: usize = 16;

/// Lanes that stamps tell apart: streams times threads.
pub const LANES_MAX: usize = 256;

/// Due times in a bare header are counted in `1 << DUE_SHIFT` nanoseconds.
const DUE_SHIFT: u32 = 4;

/// How much later than now a packet may have been due that is here already, in the same unit, about a second: the
/// receiving thread has read the clock before it was sent by another.
const AHEAD_MAX: u64 = 1 << 26;

/// What a stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which stream, and which thread sent it.
    pub lane: u8,
    /// The packet's number in its lane, below 2^40.
    pub number: u64,
    /// When it was due, in nanoseconds after the run's start, below 2^48 (three days).
    pub due_ns: u64,
}

/// The words of a bare TCP header that carry a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bare {
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Window.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
}

/// A run's key, from its seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The key of a run.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x7765_6972_6765_6e00))
    }

    /// The stamp as it lies behind the headers.
    #[inline]
    #[must_use]
    pub fn seal(self, stamp: Stamp) -> [u8; STAMP_BYTES] {
        let high = ((self.0 & 0xff_ffff) << 40)
            | (u64::from(stamp.lane) << 32)
            | ((stamp.number >> 8) & 0xffff_ffff);
        let low = ((stamp.number & 0xff) << 56) | ((stamp.due_ns & 0xffff_ffff_ffff) << 8);
        let low = low | self.check(high, low);
        ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
    }

    /// Reads a stamp from the last bytes of a packet; `None` if they are none of this run.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "halves and bytes are cut out on purpose")]
    pub fn open(self, bytes: &[u8; STAMP_BYTES]) -> Option<Stamp> {
        let both = u128::from_be_bytes(*bytes);
        let (high, low) = ((both >> 64) as u64, both as u64);
        if high >> 40 != self.0 & 0xff_ffff || low & 0xff != self.check(high, low & !0xff) {
            return None;
        }
        let number = ((high & 0xffff_ffff) << 8) | (low >> 56);
        Some(Stamp { lane: (high >> 32) as u8, number, due_ns: (low >> 8) & 0xffff_ffff_ffff })
    }

    #[inline]
    fn check(self, high: u64, low: u64) -> u64 {
        mix(self.0 ^ high ^ mix(low)) >> 56
    }

    /// The stamp as a bare TCP header carries it.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "words are cut out on purpose")]
    pub fn seal_bare(self, stamp: Stamp) -> Bare {
        let plain = (u32::from(stamp.lane) << 24) | (stamp.number as u32 & 0xff_ffff);
        let due = (stamp.due_ns >> DUE_SHIFT) as u32;
        let check = self.check_bare(plain, due);
        Bare {
            sequence: plain ^ (self.0 >> 32) as u32 ^ due,
            acknowledgment: due ^ self.0 as u32,
            window: (check >> 16) as u16,
            urgent: check as u16,
        }
    }

    /// Reads a stamp from a bare TCP header. `now_ns` is the time of arrival or a little before it, `sent` how many
    /// packets each lane has sent: what the header has no room for follows from them.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "words are cut out on purpose")]
    pub fn open_bare(
        self,
        bare: Bare,
        now_ns: u64,
        sent: impl Fn(u8) -> Option<u64>,
    ) -> Option<Stamp> {
        let due = bare.acknowledgment ^ self.0 as u32;
        let plain = bare.sequence ^ (self.0 >> 32) as u32 ^ due;
        let check = (u32::from(bare.window) << 16) | u32::from(bare.urgent);
        if check != self.check_bare(plain, due) {
            return None;
        }
        let lane = (plain >> 24) as u8;
        let last = sent(lane)?.checked_sub(1)?;
        // The latest number below what was sent, and the latest time not much after now, that end in these bits.
        let number = last.checked_sub(last.wrapping_sub(u64::from(plain)) & 0xff_ffff)?;
        let latest = (now_ns >> DUE_SHIFT) + AHEAD_MAX;
        let due = latest.checked_sub(latest.wrapping_sub(u64::from(due)) & 0xffff_ffff)?;
        Some(Stamp { lane, number, due_ns: due << DUE_SHIFT })
    }

    #[inline]
    fn check_bare(self, plain: u32, due: u32) -> u32 {
        (mix(self.0 ^ (u64::from(plain) << 32) ^ u64::from(due)) >> 32) as u32
    }
}

/// Spreads every bit over all (the finalizer of `SplitMix64`, Steele, Lea and Flood 2014).
#[inline]
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(rng: &mut fastrand::Rng) -> Stamp {
        let (number, due_ns) = (rng.u64(..1 << 40), rng.u64(..1 << 48));
        Stamp { lane: rng.u8(..), number, due_ns }
    }

    #[test]
    fn a_stamp_is_read_back_by_its_own_run_only() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (key, other) = (Key::new(1), Key::new(2));
        for _ in 0..10_000 {
            let stamp = random(&mut rng);
            let sealed = key.seal(stamp);
            assert_eq!(key.open(&sealed), Some(stamp));
            assert_eq!(other.open(&sealed), None);
        }
    }

    #[test]
    fn a_bare_stamp_is_read_back_near_its_time_and_number() {
        let mut rng = fastrand::Rng::with_seed(2);
        let key = Key::new(3);
        for _ in 0..10_000 {
            let stamp = random(&mut rng);
            let (behind, later) = (rng.u64(0..1 << 24), rng.u64(0..61_000_000_000));
            let now_ns = (stamp.due_ns + later).saturating_sub(1_000_000_000);
            let sent = |lane| (lane == stamp.lane).then_some(stamp.number + 1 + behind);
            let read = key.open_bare(key.seal_bare(stamp), now_ns, sent).unwrap();
            assert_eq!(read, Stamp { due_ns: stamp.due_ns & !15, ..stamp });
        }
    }

    #[test]
    fn what_is_no_stamp_is_told_apart() {
        let (mut rng, key) = (fastrand::Rng::with_seed(4), Key::new(5));
        // A chance of 2^-32 each: none in so many, with this seed.
        for _ in 0..200_000 {
            assert_eq!(key.open(&std::array::from_fn(|_| rng.u8(..))), None);
            let (sequence, acknowledgment) = (rng.u32(..), rng.u32(..));
            let bare = Bare { sequence, acknowledgment, window: rng.u16(..), urgent: rng.u16(..) };
            assert_eq!(key.open_bare(bare, 1 << 40, |_| Some(1 << 30)), None);
        }
    }

    #[test]
    fn a_flipped_bit_is_seen() {
        let key = Key::new(6);
        let stamp = Stamp { lane: 3, number: 77, due_ns: 1_000_000 };
        let sealed = key.seal(stamp);
        let seen = (0..128).filter(|bit| {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            key.open(&flipped).is_none()
        });
        // Eight bits of check miss one in 256; the checksum of the packet is there for that one.
        assert!(seen.count() >= 126);
    }

    #[test]
    fn a_number_that_was_never_sent_is_no_stamp() {
        let key = Key::new(7);
        let due_ns = 5_000_000_000;
        let bare = key.seal_bare(Stamp { lane: 0, number: 5, due_ns });
        assert_eq!(key.open_bare(bare, due_ns, |_| Some(5)), None);
        assert_eq!(key.open_bare(bare, due_ns, |_| None), None);
        assert_eq!(key.open_bare(bare, due_ns, |_| Some(6)).map(|stamp| stamp.number), Some(5));
        assert_eq!(key.open_bare(bare, due_ns / 2, |_| Some(6)), None, "due long after now");
    }
}
