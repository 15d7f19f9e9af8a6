//! What is read from a TCP header, and which headers cannot be.

use super::super::flow::SideFlags;
use super::state::Class;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// The combinations of FIN, SYN, RST, ACK and URG that are valid, a bit each.
const VALID_FLAGS: u64 = 1 << SYN
    | 1 << (SYN | URG)
    | 1 << (SYN | ACK)
    | 1 << RST
    | 1 << (RST | ACK)
    | 1 << (FIN | ACK)
    | 1 << (FIN | ACK | URG)
    | 1 << ACK
    | 1 << (ACK | URG);

const HEADER_BYTES_MIN: usize = 20;

/// Largest window scale (RFC 7323 2.3); larger ones are taken for it.
const SCALE_MAX: u8 = 14;

/// A TCP segment as the tracker sees it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Segment<'a> {
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// Sequence number behind it: payload, SYN and FIN counted.
    pub(super) end: u32,
    pub(super) window: u16,
    pub(super) flags: u8,
    pub(super) options: &'a [u8],
    /// What its sender counts the other side's bytes too high by.
    shift: u32,
}

/// What a SYN's options say (RFC 7323 2, RFC 2018 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SynOptions {
    pub(super) scale: u8,
    /// [`SideFlags::WINDOW_SCALE`] and [`SideFlags::SACK_PERM`].
    pub(super) flags: u8,
}

impl<'a> Segment<'a> {
    /// Reads a segment, header and payload; `None` if the header is cut off, or its flags are a combination
    /// that no TCP sends (`tcp_error`, `tcp_valid_flags`). PSH, ECE and CWR go with everything.
    #[inline]
    pub(in super::super) fn read(l4: &'a [u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES_MIN] = l4.first_chunk()?;
        let header_bytes = usize::from(header[12] >> 4) * 4;
        let options = l4.get(HEADER_BYTES_MIN..header_bytes)?;
        let flags = header[13] & (FIN | SYN | RST | ACK | URG);
        if VALID_FLAGS >> flags & 1 == 0 {
            return None;
        }
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let seq = word(4);
        let counted = u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        // A datagram is shorter than 64 KiB.
        let payload = u32::try_from(l4.len() - header_bytes).unwrap_or(0);
        Some(Self {
            seq,
            ack: word(8),
            end: seq.wrapping_add(payload + counted),
            window: u16::from_be_bytes([header[14], header[15]]),
            flags,
            options,
            shift: 0,
        })
    }

    /// Reads its acknowledgments as less by so much.
    #[inline]
    pub(in super::super) fn shift(&mut self, by: u32) {
        self.ack = self.ack.wrapping_sub(by);
        self.shift = by;
    }

    /// Its sequence number and acknowledgment.
    #[inline]
    pub(in super::super) fn numbers(&self) -> (u32, u32) {
        (self.seq, self.ack)
    }

    /// Whether it does nothing but that, and perhaps carry data.
    #[inline]
    pub(in super::super) fn acknowledges(&self) -> bool {
        self.class() == Class::Ack
    }

    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    #[inline]
    pub(super) fn class(&self) -> Class {
        if self.has(RST) {
            Class::Rst
        } else if self.has(SYN) {
            if self.has(ACK) { Class::SynAck } else { Class::Syn }
        } else if self.has(FIN) {
            Class::Fin
        } else if self.has(ACK) {
            Class::Ack
        } else {
            Class::None
        }
    }

    /// Window scale and SACK permission; `None` where the header has no options at all, which says less than
    /// options that lack them (`tcp_options`).
    pub(super) fn syn_options(&self) -> Option<SynOptions> {
        if self.options.is_empty() {
            return None;
        }
        let mut found = SynOptions::default();
        for (kind, value) in Options(self.options) {
            match (kind, value) {
                (3, &[scale]) => {
                    found.scale = scale.min(SCALE_MAX);
                    found.flags |= SideFlags::WINDOW_SCALE;
                }
                (4, []) => found.flags |= SideFlags::SACK_PERM,
                _ => {}
            }
        }
        Some(found)
    }

    /// The highest right edge of its SACK blocks, if it is beyond `ack` (`tcp_sack`). Only the first SACK option
    /// counts.
    #[inline]
    pub(super) fn highest_sack(&self, ack: u32) -> u32 {
        // No operation twice, then a timestamp: nearly every segment, and nothing to look for.
        if self.options.is_empty()
            || self.options.len() == 12 && self.options.starts_with(&[1, 1, 8, 10])
        {
            return ack;
        }
        let mut highest = ack;
        let blocks = |(kind, value): &(u8, &[u8])| {
            *kind == 5 && !value.is_empty() && value.len().is_multiple_of(8)
        };
        if let Some((_, value)) = Options(self.options).find(blocks) {
            for [_, _, _, _, right @ ..] in value.as_chunks::<8>().0 {
                let edge = u32::from_be_bytes(*right).wrapping_sub(self.shift);
                if super::window::is_after(edge, highest) {
                    highest = edge;
                }
            }
        }
        highest
    }
}

/// Options as kind and value, up to the first that cannot be read.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                [] | [0, ..] => return None,
                [1, ref rest @ ..] => self.0 = rest,
                [_] => return None,
                [kind, len, ..] => {
                    let value = self.0.get(2..usize::from(len))?;
                    self.0 = &self.0[usize::from(len)..];
                    return Some((kind, value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(flags: u8, options: &[u8], payload: usize) -> Vec<u8> {
        let mut bytes = vec![0; 20 + options.len() + payload];
        bytes[4..8].copy_from_slice(&7_u32.to_be_bytes());
        bytes[12] = u8::try_from((20 + options.len()) / 4).expect("short") << 4;
        bytes[13] = flags;
        bytes[20..20 + options.len()].copy_from_slice(options);
        bytes
    }

    #[test]
    fn nine_combinations_of_flags_are_valid() {
        let valid: Vec<u8> = (0..=u8::MAX)
            .filter(|flags| Segment::read(&segment(*flags, &[], 0)).is_some())
            .collect();
        // PSH, ECE and CWR are free: eight times each.
        assert_eq!(valid.len(), 9 * 8);
        let plain: Vec<u8> = valid.into_iter().filter(|flags| flags & 0xc8 == 0).collect();
        assert_eq!(plain, [0x02, 0x04, 0x10, 0x11, 0x12, 0x14, 0x22, 0x30, 0x31]);
    }

    #[test]
    fn what_takes_up_sequence_numbers_is_counted() {
        let end = |flags, payload| Segment::read(&segment(flags, &[], payload)).expect("whole").end;
        assert_eq!([end(SYN, 0), end(ACK, 0), end(ACK, 9), end(FIN | ACK, 9)], [8, 7, 16, 17]);
    }

    #[test]
    fn options_are_read_up_to_the_first_that_is_broken() {
        let read = |options: &[u8]| {
            let bytes = segment(SYN, options, 0);
            Segment::read(&bytes).expect("whole").syn_options()
        };
        let both = SideFlags::WINDOW_SCALE | SideFlags::SACK_PERM;
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[4, 2, 3, 3, 7, 0, 0, 0]), Some(SynOptions { scale: 7, flags: both }));
        assert_eq!(read(&[3, 3, 200, 0]).map(|found| found.scale), Some(14));
        assert_eq!(read(&[3, 1, 7, 4]), Some(SynOptions::default()), "a length of 1");
        assert_eq!(read(&[1, 1, 3, 3]), Some(SynOptions::default()), "cut off");
        assert_eq!(read(&[0, 4, 2, 0]), Some(SynOptions::default()), "behind the end");
        assert_eq!(read(&[3, 4, 7, 7]), Some(SynOptions::default()), "of another length");
    }

    #[test]
    fn the_first_option_of_sack_blocks_counts() {
        let block = |left: u32, right: u32| [left.to_be_bytes(), right.to_be_bytes()].concat();
        let options = [&[1, 1, 5, 18][..], &block(30, 40), &block(10, 20)].concat();
        let bytes = segment(ACK, &options, 0);
        let segment = Segment::read(&bytes).expect("whole");
        assert_eq!(segment.highest_sack(5), 40);
        assert_eq!(segment.highest_sack(50), 50);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(segment) = Segment::read(&bytes) {
                let _ = (segment.syn_options(), segment.highest_sack(0), segment.class());
                prop_assert!(segment.end.wrapping_sub(segment.seq) <= 62);
            }
        }
    }
}
