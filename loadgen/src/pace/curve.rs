//! A rate that changes over time in straight lines, and the due times it makes.
//!
//! The number of packets due by a time is the area below the rate. In a piece that goes from rate `a` to rate `b` in
//! time `T` it is `a t + (b - a) t² / 2T`, so the n-th packet's time is the root of a quadratic. Constant pieces, which
//! are most, are computed in whole numbers and have no rounding that grows.

use super::SECOND_NS;

/// A stretch of time in which the rate goes in a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// How long it lasts, in nanoseconds; at least 1.
    pub lasts_ns: u64,
    /// Packets a second at its begin, 0 or more.
    pub from_pps: f64,
    /// Packets a second at its end.
    pub to_pps: f64,
}

/// Pieces one after the other; then they begin again, or the last rate stays.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pieces: Vec<Laid>,
    repeats: bool,
    /// Packets and time of all pieces together.
    total: f64,
    lasts_ns: u64,
}

/// A piece with where it begins.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Laid {
    piece: Piece,
    begin_ns: u64,
    /// Packets due before it.
    before: f64,
}

impl Piece {
    #[expect(clippy::cast_precision_loss, reason = "a day is below 2^53 ns")]
    fn lasts_s(&self) -> f64 {
        self.lasts_ns as f64 / SECOND_NS as f64
    }

    /// Packets due in the first `seconds` of it.
    fn packets(&self, seconds: f64) -> f64 {
        let slope = (self.to_pps - self.from_pps) / self.lasts_s();
        self.from_pps * seconds + slope * seconds * seconds / 2.0
    }

    /// Seconds after its begin at which `packets` are due; `None` if they never are.
    fn time_s(&self, packets: f64) -> Option<f64> {
        let slope = (self.to_pps - self.from_pps) / self.lasts_s();
        if packets <= 0.0 {
            return Some(0.0);
        }
        let root = self.from_pps * self.from_pps + 2.0 * slope * packets;
        // This form of the root has no difference of two numbers that are nearly the same.
        let sum = self.from_pps + root.max(0.0).sqrt();
        (sum > 0.0).then(|| 2.0 * packets / sum)
    }
}

impl Curve {
    /// The same rate for ever.
    #[must_use]
    pub fn constant(rate_pps: f64) -> Self {
        let piece = Piece { lasts_ns: SECOND_NS, from_pps: rate_pps, to_pps: rate_pps };
        Self::new(&[piece], false)
    }

    /// Pieces one after the other. With `repeats` they begin again after the last; else its last rate stays.
    ///
    /// # Panics
    /// If there is no piece, or one that takes no time: a profile is checked before.
    #[must_use]
    pub fn new(pieces: &[Piece], repeats: bool) -> Self {
        assert!(!pieces.is_empty() && pieces.iter().all(|piece| piece.lasts_ns > 0), "no time");
        let (mut begin_ns, mut before) = (0, 0.0);
        let mut laid = Vec::new();
        for &piece in pieces {
            laid.push(Laid { piece, begin_ns, before });
            begin_ns += piece.lasts_ns;
            before += piece.packets(piece.lasts_s());
        }
        if !repeats {
            let rate = pieces[pieces.len() - 1].to_pps;
            let piece = Piece { lasts_ns: u64::MAX, from_pps: rate, to_pps: rate };
            laid.push(Laid { piece, begin_ns, before });
        }
        Self { pieces: laid, repeats, total: before, lasts_ns: begin_ns }
    }

    /// The same at `factor` times the rate.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let pieces = self.pieces.iter().take(self.pieces.len() - usize::from(!self.repeats));
        let scale = |laid: &Laid| Piece {
            from_pps: laid.piece.from_pps * factor,
            to_pps: laid.piece.to_pps * factor,
            ..laid.piece
        };
        Self::new(&pieces.map(scale).collect::<Vec<_>>(), self.repeats)
    }

    /// Packets that are due before a time, as a real number.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a day is below 2^53 ns")]
    pub fn packets(&self, time_ns: u64) -> f64 {
        let (rounds, rest) = if self.repeats {
            (time_ns / self.lasts_ns, time_ns % self.lasts_ns)
        } else {
            (0, time_ns)
        };
        let at = self.pieces.partition_point(|laid| laid.begin_ns <= rest) - 1;
        let laid = &self.pieces[at];
        let seconds = (rest - laid.begin_ns) as f64 / SECOND_NS as f64;
        rounds as f64 * self.total + laid.before + laid.piece.packets(seconds)
    }

    /// When packet `n` (from 0) is due, in nanoseconds after the start; `None` if never. The first is due when the rate
    /// is first above 0.
    #[must_use]
    #[inline]
    pub fn time_ns(&self, n: u64) -> Option<u64> {
        if !self.repeats && self.pieces.len() == 2 && self.pieces[0].piece.is_flat() {
            return Some(flat_ns(self.pieces[0].piece.from_pps, n));
        }
        self.general_ns(n)
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    #[expect(
        clippy::allow_attributes_without_reason,
        reason = "times and packets are positive and below 2^53"
    )]
    fn general_ns(&self, n: u64) -> Option<u64> {
        if self.total <= 0.0 {
            return None;
        }
        let (rounds, rest) = if self.repeats {
            let rounds = (n as f64 / self.total).floor();
            (rounds, n as f64 - rounds * self.total)
        } else {
            (0.0, n as f64)
        };
        // The last piece that begins before the packet is due; of those that begin with it, the one with packets.
        let behind = self.pieces.partition_point(|laid| laid.before <= rest);
        let laid = &self.pieces[behind - 1];
        let seconds = laid.piece.time_s(rest - laid.before)?;
        let time = (rounds as u64).saturating_mul(self.lasts_ns);
        Some(time + laid.begin_ns + (seconds * SECOND_NS as f64).round() as u64)
    }
}

impl Piece {
    #[expect(clippy::float_cmp, reason = "both were copied from one number")]
    fn is_flat(&self) -> bool {
        self.from_pps == self.to_pps
    }
}

/// The n-th packet's time at a constant rate, in whole thousandths of packets a second: exact for as long as a run
/// lasts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are 0.001 to 1e9"
)]
fn flat_ns(rate_pps: f64, n: u64) -> u64 {
    let thousandths = (rate_pps * 1000.0).round().max(1.0) as u64;
    match n.checked_mul(1000) {
        // The usual case: a rate in whole packets, and a run of days; one division by hardware.
        Some(n) if n < u64::MAX / SECOND_NS => (n * SECOND_NS).div_ceil(thousandths),
        _ => {
            let time =
                (u128::from(n) * 1000 * u128::from(SECOND_NS)).div_ceil(u128::from(thousandths));
            u64::try_from(time).unwrap_or(u64::MAX)
        }
    }
}
