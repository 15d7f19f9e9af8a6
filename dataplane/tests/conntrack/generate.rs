//! Which kinds of sequences there are, and how many of each.

use crate::chance::Chance;
use crate::datagram::{datagrams, others, queries};
use crate::mutate::{some_dropped, spoilt, with_errors, with_options, with_pause};
use crate::session::session;
use crate::shot::Sequence;

/// The sequence of a seed.
pub(crate) fn draw(seed: u64) -> Sequence {
    let chance = &mut Chance::new(seed);
    let kind = chance.below(100);
    let name = |kind: &str| format!("seed {seed}: {kind}");
    let mut sequence = match kind {
        0..30 => session(name("TCP"), chance),
        30..70 => {
            let sequence = session(name("TCP, spoilt"), chance);
            spoilt(sequence, chance)
        }
        70..82 => datagrams(name("UDP"), chance),
        82..90 => queries(name("ICMP"), chance),
        90..94 => others(name("other protocols"), chance),
        _ => {
            let sequence = session(name("TCP, ICMP errors"), chance);
            with_errors(sequence, chance)
        }
    };
    if (70..94).contains(&kind) && chance.percent(40) {
        sequence = with_errors(sequence, chance);
    }
    if chance.percent(3) {
        sequence = with_options(sequence, chance);
    }
    if chance.percent(15) {
        sequence = some_dropped(sequence, chance);
    }
    if chance.percent(15) {
        sequence = with_pause(sequence, chance);
    }
    sequence
}
