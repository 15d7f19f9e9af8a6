//! `-m string` (`net/netfilter/xt_string.c`, `skb_find_text` in `net/core/skbuff.c`).
//!
//! A pattern is found if it lies, whole, in the bytes `from..to` of the packet, counted from the IP header on. Of a
//! datagram that was put together the whole is searched; of fragments that were not, each by itself.
//!
//! Whatever `--algo` says, the search is `memchr::memmem` (two-way with a vectorised prefilter): linear in the
//! worst case, so that no packet can be made slow to search. It finds what the kernel's `kmp` finds. Two things that
//! the kernel's `bm` misses are found: patterns across the borders of fragments, and with `--icase` some with the
//! letters 0xdf or 0xff, whose shifts its tables have wrong.
//!
//! `--icase` folds as the kernel does, by its `toupper` of Latin-1, piece by piece into a buffer on the stack.

use memchr::memmem::Finder;
use weir_control::rule::StringMatch;

use super::forwarded::{HEAD_BYTES, head};
use crate::policy::Hook;

/// Bytes that are folded at a time.
const PIECE_BYTES: usize = 512;

/// Whether a pattern is in a packet.
#[derive(Debug)]
pub(in crate::policy) struct StringTest {
    /// Knows the pattern; with `ignore_case`, folded.
    finder: Finder<'static>,
    from: usize,
    to: usize,
    ignore_case: bool,
    negated: bool,
}

impl From<&StringMatch> for StringTest {
    fn from(asked: &StringMatch) -> Self {
        let pattern = asked.pattern.as_ref();
        let mut bytes = pattern.map(|pattern| pattern.value.bytes().to_vec()).unwrap_or_default();
        if asked.ignore_case {
            fold(&mut bytes);
        }
        Self {
            finder: Finder::new(&bytes).into_owned(),
            from: asked.from.into(),
            to: asked.to.into(),
            ignore_case: asked.ignore_case,
            negated: pattern.is_some_and(|pattern| pattern.negated),
        }
    }
}

impl StringTest {
    /// Asks it of a packet, from its IP header to its end.
    pub(super) fn holds(&self, packet: &[u8], hook: Hook) -> bool {
        self.finds(packet, hook) != self.negated
    }

    fn finds(&self, packet: &[u8], hook: Hook) -> bool {
        let end = self.to.min(packet.len());
        if self.from < HEAD_BYTES && self.finds_in_head(head(packet, hook), packet, end) {
            return true;
        }
        let rest = packet.get(self.from.max(HEAD_BYTES)..end).unwrap_or_default();
        if self.ignore_case { self.finds_folded(rest) } else { self.finder.find(rest).is_some() }
    }

    /// Whether the pattern begins in the bytes that differ when the packet is forwarded.
    fn finds_in_head(&self, mut head: [u8; HEAD_BYTES], packet: &[u8], end: usize) -> bool {
        let pattern = self.finder.needle();
        let rest = packet.get(HEAD_BYTES..).unwrap_or_default();
        if self.ignore_case {
            fold(&mut head);
        }
        let begins = |at: usize| {
            let here = &head[at..];
            let (in_head, beyond) = pattern.split_at(pattern.len().min(here.len()));
            let same = |(a, b): (&u8, &u8)| *a == if self.ignore_case { upper(*b) } else { *b };
            here.starts_with(in_head)
                && at + pattern.len() <= end
                && beyond.iter().zip(rest).all(same)
        };
        (self.from..HEAD_BYTES).any(|at| pattern.first() == Some(&head[at]) && begins(at))
    }

    fn finds_folded(&self, mut rest: &[u8]) -> bool {
        let mut piece = [0; PIECE_BYTES];
        // Neighbouring pieces share what a pattern on the border needs.
        let shared = self.finder.needle().len().saturating_sub(1);
        while rest.len() > shared {
            let piece = &mut piece[..rest.len().min(PIECE_BYTES)];
            piece.copy_from_slice(&rest[..piece.len()]);
            fold(piece);
            if self.finder.find(piece).is_some() {
                return true;
            }
            rest = &rest[piece.len() - shared..];
        }
        false
    }
}

/// Makes a capital of a letter of Latin-1, as `toupper` of the kernel (`lib/ctype.c`) does: 0xdf and 0xff are small
/// letters to it, although Latin-1 has no capitals for them.
fn upper(byte: u8) -> u8 {
    let small = matches!(byte, b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..=0xff);
    byte - (u8::from(small) << 5)
}

fn fold(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = upper(*byte));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_control::rule::{Negatable, Pattern, StringAlgorithm};

    use super::*;

    fn test(pattern: &[u8], from: u16, to: u16, ignore_case: bool) -> StringTest {
        let pattern = Pattern::new(pattern.to_vec()).expect("short");
        let asked = StringMatch {
            pattern: Some(Negatable::is(pattern)),
            algorithm: Some(StringAlgorithm::Kmp),
            from,
            to,
            ignore_case,
        };
        (&asked).into()
    }

    /// The definition: some window, byte by byte.
    fn naive(pattern: &[u8], (from, to): (u16, u16), ignore_case: bool, packet: &[u8]) -> bool {
        let mut seen = packet.to_vec();
        seen[..HEAD_BYTES].copy_from_slice(&head(packet, Hook::Forward));
        let seen_as = |byte: u8| match byte {
            b'a'..=b'z' | 0xdf..=0xf6 | 0xf8..=0xff if ignore_case => byte - 32,
            same => same,
        };
        let window = seen.get(from.into()..seen.len().min(to.into())).unwrap_or_default();
        let same =
            |window: &[u8]| window.iter().zip(pattern).all(|(a, b)| seen_as(*a) == seen_as(*b));
        window.windows(pattern.len()).any(same)
    }

    fn letters() -> impl Strategy<Value = u8> {
        prop::sample::select(&b"aAbB\xe0\xc0\xff\xdf\xbf\xf7\xd7"[..])
    }

    proptest! {
        #[test]
        fn what_is_found_is_there(
            pattern in prop::collection::vec(letters(), 1..5),
            mut packet in prop::collection::vec(letters(), 20..90),
            (from, to) in (0_u16..70, 0_u16..90),
            ignore_case: bool,
        ) {
            packet[8] = 65;
            let found = test(&pattern, from, to, ignore_case).finds(&packet, Hook::Forward);
            prop_assert_eq!(found, naive(&pattern, (from, to), ignore_case, &packet));
        }
    }

    #[test]
    fn a_pattern_on_the_border_of_pieces_is_found() {
        for len in [1, 2, 127, 128] {
            let pattern = vec![b'X'; len];
            for at in (PIECE_BYTES - 140..PIECE_BYTES + 20).chain([3000 - len]) {
                let mut packet = vec![b'.'; 3000];
                packet[at..at + len].fill(b'x');
                assert!(
                    test(&pattern, 0, u16::MAX, true).finds(&packet, Hook::Forward),
                    "{len} bytes at {at}"
                );
                packet[at] = b'y';
                assert!(
                    !test(&pattern, 0, u16::MAX, true).finds(&packet, Hook::Forward),
                    "{len} bytes at {at}"
                );
            }
        }
    }

    #[test]
    fn the_window_counts_from_the_header_and_holds_the_whole_pattern() {
        let mut packet = vec![0; 40];
        packet[30..36].copy_from_slice(b"secret");
        for (from, to, found) in [
            (0, u16::MAX, true),
            (30, 36, true),
            (31, u16::MAX, false),
            (0, 35, false),
            (30, 30, false),
            (40, 60, false),
            (60, u16::MAX, false),
        ] {
            assert_eq!(
                test(b"secret", from, to, false).holds(&packet, Hook::Forward),
                found,
                "{from}..{to}"
            );
        }
        let negated = StringTest { negated: true, ..test(b"secret", 31, u16::MAX, false) };
        assert!(negated.holds(&packet, Hook::Forward));
    }
}
