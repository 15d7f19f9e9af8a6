//! How a profile says how long frames are, counted as RFC 2544 counts them: with the frame check sequence, 64 to 1518.
//!
//! ```toml
//!   frame_bytes = 64
//!   frame_bytes = "64-1518"               # each length in turn
//!   frame_bytes = "imix"                  # 7 of 64, 4 of 594, 1 of 1518
//!   frame_bytes = [[60, 28], [590, 16]]   # length, how many of each
//! ```

use toml::Value;

use super::reader::{ProfileError, Reader};

/// Bytes of the frame check sequence, which the device adds.
pub(crate) const FCS_BYTES: usize = 4;

/// Shortest and longest frame.
pub(crate) const SIZES: std::ops::RangeInclusive<usize> = 64..=1518;

/// The simple IMIX: lengths of IP packets of 40, 576 and 1500 bytes, 7 to 4 to 1, in frames.
const IMIX: [(usize, usize); 3] = [(64, 7), (594, 4), (1518, 1)];

/// Most frames in a mix.
const MIX_MAX: usize = 1000;

const ALLOWED: &str = "bytes from 64 to 1518, check sequence included, a range as in \"64-1518\", \"imix\", or pairs \
                       [[bytes, how many], ...] with at most 1000 frames together";

/// Reads the key; lengths in the order in which they are sent, without the check sequence. `None` if it is not there.
pub(crate) fn read(reader: &mut Reader) -> Result<Option<Vec<usize>>, ProfileError> {
    let Some(value) = reader.take("frame_bytes") else { return Ok(None) };
    let sizes = match &value {
        Value::Integer(_) => bytes(&value).map(|size| vec![size]),
        Value::String(word) if word == "imix" => Some(mix(&IMIX)),
        Value::String(range) => range.split_once('-').and_then(|(first, last)| {
            let read = |text: &str| text.trim().parse::<usize>().ok().filter(|n| SIZES.contains(n));
            let (first, last) = (read(first)?, read(last)?);
            (first <= last).then(|| (first..=last).collect())
        }),
        Value::Array(pairs) => pairs_of(pairs).map(|pairs| mix(&pairs)),
        _ => None,
    };
    let sizes = sizes.filter(|sizes| !sizes.is_empty());
    let sizes = sizes.ok_or_else(|| reader.refuse("frame_bytes", &value, ALLOWED))?;
    Ok(Some(sizes.into_iter().map(|size| size - FCS_BYTES).collect()))
}

fn bytes(value: &Value) -> Option<usize> {
    value.as_integer().and_then(|n| usize::try_from(n).ok()).filter(|n| SIZES.contains(n))
}

fn pairs_of(pairs: &[Value]) -> Option<Vec<(usize, usize)>> {
    let pair = |value: &Value| {
        let [size, count] = value.as_array()?.as_slice() else { return None };
        let count = count.as_integer().and_then(|n| usize::try_from(n).ok())?;
        Some((bytes(size)?, count)).filter(|_| (1..=MIX_MAX).contains(&count))
    };
    let pairs: Vec<(usize, usize)> = pairs.iter().map(pair).collect::<Option<_>>()?;
    (pairs.iter().map(|(_, count)| count).sum::<usize>() <= MIX_MAX).then_some(pairs)
}

/// One round of a mix, each length spread over it as evenly as whole frames allow.
fn mix(pairs: &[(usize, usize)]) -> Vec<usize> {
    let total: usize = pairs.iter().map(|(_, count)| count).sum();
    let mut sent = vec![0_usize; pairs.len()];
    let next = |place: usize| {
        // The one that is furthest behind its share.
        let behind = |at: &usize| {
            let due = (place + 1) * pairs[*at].1;
            i64::try_from(due).unwrap_or(0) - i64::try_from(sent[*at] * total).unwrap_or(0)
        };
        let at = (0..pairs.len()).rev().max_by_key(behind).unwrap_or(0);
        sent[at] += 1;
        pairs[at].0
    };
    (0..total).map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_its_shares_spread_evenly() {
        let imix = mix(&IMIX);
        let count = |size| imix.iter().filter(|&&each| each == size).count();
        assert_eq!((imix.len(), count(64), count(594), count(1518)), (12, 7, 4, 1));
        assert!(imix.windows(3).all(|three| three.contains(&64)), "{imix:?}");
    }
}
