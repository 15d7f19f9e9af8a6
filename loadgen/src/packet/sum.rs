//! A ones'-complement sum in the making (RFC 1071), for templates: what stays the same is added once, what changes with
//! each packet is added to that.
//!
//! Numbers of 32 and 64 bits may be added whole: 2^16 is 1 modulo 65,535, so the fold makes words of them.

use weir_dataplane::wire::checksum::fold;

/// The sum of big-endian 16-bit words so far, folded only at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds the words of `bytes`; an odd last byte is the high half of a word.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        Self(self.0 + u64::from(weir_dataplane::wire::checksum::sum(bytes)))
    }

    /// Adds a number of up to 32 bits, at an even place.
    #[inline]
    pub(crate) fn number(self, number: impl Into<u32>) -> Self {
        Self(self.0 + u64::from(number.into()))
    }

    /// Adds 16 bytes; `odd`: they begin at an odd place, where what would be a word's high byte is a low one.
    #[inline]
    pub(crate) fn block(self, block: &[u8; 16], odd: bool) -> Self {
        let number = u128::from_be_bytes(*block);
        let halves =
            [number >> 96, number >> 64, number >> 32, number].map(|part| part & 0xffff_ffff);
        let sum: u128 = halves.iter().sum();
        let sum = fold(u64::try_from(sum).unwrap_or(0));
        Self(self.0 + u64::from(if odd { sum.swap_bytes() } else { sum }))
    }

    /// The checksum.
    #[inline]
    pub(crate) fn checksum(self) -> u16 {
        !fold(self.0)
    }
}

#[cfg(test)]
mod tests {
    use weir_dataplane::wire::checksum;

    use super::*;

    #[test]
    fn parts_add_up_to_the_whole() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..1_000 {
            let bytes: [u8; 43] = std::array::from_fn(|_| rng.u8(..));
            let number = u32::from_be_bytes(*bytes.first_chunk().unwrap());
            for at in [4, 5] {
                let block: &[u8; 16] = bytes[at..].first_chunk().unwrap();
                let mut rest = bytes;
                rest[..4].fill(0);
                rest[at..at + 16].fill(0);
                let sum = Sum::default().bytes(&rest).number(number).block(block, at % 2 == 1);
                assert_eq!(sum.checksum(), checksum::checksum(&bytes));
            }
        }
    }
}
