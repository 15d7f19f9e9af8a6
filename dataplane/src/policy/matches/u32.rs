//! `-m u32` (`net/netfilter/xt_u32.c`): four bytes anywhere in a packet, compared as a number.

use weir_control::rule::{U32Match, U32Operator, U32Test};

use super::forwarded::{HEAD_BYTES, head};
use crate::policy::Hook;

/// The tests of one `-m u32`; all must hold.
#[derive(Debug)]
pub(in crate::policy) struct WordTest {
    tests: Box<[U32Test]>,
    negated: bool,
}

impl From<&U32Match> for WordTest {
    fn from(asked: &U32Match) -> Self {
        let tests = asked.tests.as_ref();
        Self {
            tests: tests.map(|tests| tests.value.tests().into()).unwrap_or_default(),
            negated: tests.is_some_and(|tests| tests.negated),
        }
    }
}

/// A packet as chain FORWARD sees it.
struct Bytes<'a> {
    head: [u8; HEAD_BYTES],
    packet: &'a [u8],
}

impl Bytes<'_> {
    /// Four bytes, in network order; `None` beyond the end.
    fn word(&self, at: usize) -> Option<u32> {
        let mut word = *self.packet.get(at..)?.first_chunk::<4>()?;
        if let Some(seen) = self.head.get(at..) {
            let seen = &seen[..seen.len().min(4)];
            word[..seen.len()].copy_from_slice(seen);
        }
        Some(u32::from_be_bytes(word))
    }
}

impl WordTest {
    /// Asks it of a packet, from its IP header to its end.
    pub(super) fn holds(&self, packet: &[u8], hook: Hook) -> bool {
        let bytes = Bytes { head: head(packet, hook), packet };
        self.tests.iter().all(|test| one_holds(test, &bytes)) != self.negated
    }
}

fn one_holds(test: &U32Test, bytes: &Bytes<'_>) -> bool {
    let value = value(test, bytes);
    value.is_some_and(|value| {
        test.values.iter().any(|(first, last)| (*first..=*last).contains(&value))
    })
}

/// The number that a location comes to; `None` if it leads out of the packet.
fn value(test: &U32Test, bytes: &Bytes<'_>) -> Option<u32> {
    // Sums of a few 32-bit numbers: no `usize` overflows.
    let mut start = 0_usize;
    let mut value = bytes.word(test.place as usize)?;
    for (operator, number) in &test.operations {
        match operator {
            U32Operator::And => value &= number,
            U32Operator::ShiftLeft => value = value.checked_shl(*number).unwrap_or(0),
            U32Operator::ShiftRight => value = value.checked_shr(*number).unwrap_or(0),
            U32Operator::At => {
                start += value as usize;
                value = bytes.word(start + *number as usize)?;
            }
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use weir_control::rule::{Negatable, U32Tests};

    use super::*;

    #[test]
    fn places_are_found_and_values_compared() {
        let mut packet = [0; 40];
        packet[..12].copy_from_slice(&[0x46, 0, 0, 40, 1, 2, 3, 4, 64, 17, 0, 0]);
        packet[24..28].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
        packet[36..].copy_from_slice(&[9, 8, 7, 6]);
        for (tests, holds) in [
            ("0>>22&0x3C@0=0x12345678", true),
            ("0>>22&0x3C@0>>16=0x1234", true),
            ("0>>22&0x3C@0<<8=0x34567800", true),
            ("8>>24=63", true),
            ("6>>8=0x03043f", true),
            ("36=0x09080706", true),
            ("37=0:0xffffffff", false),
            ("0xffffffff=0:0xffffffff", false),
            ("24@0=0:0xffffffff", false),
            ("0=1,2:3,0x46000028", true),
            ("0=5:3", false),
            ("4=0x01020304&&36=0", false),
            ("4=0x01020304&&36=9,0x09080706", true),
        ] {
            let value = U32Tests::from_text(tests).expect(tests);
            for negated in [false, true] {
                let value = value.clone();
                let asked = U32Match { tests: Some(Negatable { value, negated }) };
                assert_eq!(
                    WordTest::from(&asked).holds(&packet, Hook::Forward),
                    holds != negated,
                    "{tests}"
                );
            }
        }
        let any = U32Tests::from_text("0=0:0xffffffff").expect("a test");
        let asked = U32Match { tests: Some(Negatable::is(any)) };
        assert!(!WordTest::from(&asked).holds(&[1, 2, 3], Hook::Forward));
    }
}
