//! How a profile says when packets are due.
//!
//! ```toml
//!   rate = 100_000                                          # a second, evenly
//!   rate = "flood"                                          # as fast as they go
//!   rate = { pps = 1000, gaps = "poisson" }                 # at random, with this mean
//!   rate = { pps = 50_000, on_s = 0.1, off_s = 0.9 }        # bursts: a pulse
//!   rate = { from_pps = 0, to_pps = 100_000, over_s = 10 }  # a ramp; then the last rate
//!   rate = { steps = [[1000, 2], [2000, 2]] }               # rate, seconds; then the last rate
//!   rate = { recorded = 1.0 }                               # of a replay: as it was, times this
//! ```

use toml::{Table, Value};

use super::reader::{ProfileError, Reader, number};
use crate::pace::{Curve, Piece, RATE_MAX, RATE_MIN, SECOND_NS, Schedule};

/// What a rate may be.
const RATES: &str = "packets a second from 0.001 to 1000000000, \"flood\", or a table as in { pps = 1000, gaps = \
                     \"poisson\" }, { pps, on_s, off_s }, { from_pps, to_pps, over_s } or { steps = [[pps, s], ...] }";

/// Most steps of a profile.
const STEPS_MAX: usize = 1000;

/// A schedule, or how many times as fast as a recording.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rate {
    Schedule(Schedule),
    Recorded(f64),
}

/// Reads the key `rate`.
pub(crate) fn read(reader: &mut Reader) -> Result<Rate, ProfileError> {
    let value = reader.need("rate", RATES)?;
    match value {
        Value::String(word) if word == "flood" => Ok(Rate::Schedule(Schedule::Flood)),
        Value::Table(table) => {
            let mut inner = reader.inner("rate", table.clone());
            let rate = read_table(&mut inner, &table)?;
            inner.finish()?;
            Ok(rate)
        }
        other => match number(&other).filter(|rate| (RATE_MIN..=RATE_MAX).contains(rate)) {
            Some(rate) => Ok(Rate::Schedule(Schedule::constant(rate))),
            None => Err(reader.refuse("rate", other, RATES)),
        },
    }
}

fn read_table(reader: &mut Reader, table: &Table) -> Result<Rate, ProfileError> {
    let curve =
        |pieces: &[Piece], repeats| Rate::Schedule(Schedule::Curve(Curve::new(pieces, repeats)));
    if table.contains_key("recorded") {
        let factor = reader.number("recorded", 0.001..=1000.0)?.unwrap_or(1.0);
        return Ok(Rate::Recorded(factor));
    }
    if table.contains_key("steps") {
        let value = reader.need("steps", RATES)?;
        let pieces = steps(&value).ok_or_else(|| {
            let allowed = "1 to 1000 pairs [packets a second, seconds], rates 0 to 1000000000, one of them above 0, \
                           seconds 0.001 to 86400";
            reader.refuse("steps", &value, allowed)
        })?;
        return Ok(curve(&pieces, false));
    }
    if table.contains_key("over_s") {
        let from_pps = reader.number("from_pps", 0.0..=RATE_MAX)?.unwrap_or(0.0);
        reader_needs(reader, table, "to_pps")?;
        let to_pps = reader.number("to_pps", 0.0..=RATE_MAX)?.unwrap_or(0.0);
        if from_pps.max(to_pps) < RATE_MIN {
            return Err(reader.refuse(
                "to_pps",
                to_pps,
                "one end of a ramp has to be 0.001 at least",
            ));
        }
        let lasts_ns = nanoseconds(reader.number("over_s", 0.001..=86_400.0)?.unwrap_or(1.0));
        return Ok(curve(&[Piece { lasts_ns, from_pps, to_pps }], false));
    }
    reader_needs(reader, table, "pps")?;
    let pps = reader.number("pps", RATE_MIN..=RATE_MAX)?.unwrap_or(RATE_MIN);
    if table.contains_key("on_s") || table.contains_key("off_s") {
        let on_ns = nanoseconds(reader.number("on_s", 0.000_001..=86_400.0)?.unwrap_or(1.0));
        let off_ns = nanoseconds(reader.number("off_s", 0.0..=86_400.0)?.unwrap_or(1.0)).max(1);
        let flat = |lasts_ns, pps| Piece { lasts_ns, from_pps: pps, to_pps: pps };
        return Ok(curve(&[flat(on_ns, pps), flat(off_ns, 0.0)], true));
    }
    let is_poisson = reader.word("gaps", &[(false, "even"), (true, "poisson")])?.unwrap_or(false);
    let schedule = if is_poisson { Schedule::Poisson(pps) } else { Schedule::constant(pps) };
    Ok(Rate::Schedule(schedule))
}

/// Complains if a key is missing from the table.
fn reader_needs(reader: &mut Reader, table: &Table, key: &'static str) -> Result<(), ProfileError> {
    if table.contains_key(key) { Ok(()) } else { reader.need(key, RATES).map(drop) }
}

fn steps(value: &Value) -> Option<Vec<Piece>> {
    let pairs = value.as_array().filter(|pairs| (1..=STEPS_MAX).contains(&pairs.len()))?;
    let piece = |pair: &Value| {
        let [pps, seconds] = pair.as_array()?.as_slice() else { return None };
        let pps = number(pps).filter(|pps| *pps == 0.0 || (RATE_MIN..=RATE_MAX).contains(pps))?;
        let seconds = number(seconds).filter(|seconds| (0.001..=86_400.0).contains(seconds))?;
        Some(Piece { lasts_ns: nanoseconds(seconds), from_pps: pps, to_pps: pps })
    };
    let pieces: Vec<Piece> = pairs.iter().map(piece).collect::<Option<_>>()?;
    pieces.iter().any(|piece| piece.to_pps > 0.0).then_some(pieces)
}

/// Seconds of a profile in nanoseconds.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#[expect(
    clippy::cast_precision_loss,
    clippy::allow_attributes_without_reason,
    reason = "0 to a day"
)]
pub(crate) fn nanoseconds(seconds: f64) -> u64 {
    (seconds * SECOND_NS as f64).round() as u64
}
