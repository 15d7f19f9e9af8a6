//! IPv4 fragmentation (RFC 791 sections 2.3 and 3.2, RFC 1812 section 4.2.2.7).
//!
//! ```text
//!   | header | payload ………………………………………… |                  total length > MTU, DF clear
//!   | header | a |   offset 0,      more
//!   | header'| b |   offset |a|,    more                       |a|, |b| multiples of 8
//!   | header'| c |   offset |a|+|b|, "more" as in the original  the last one takes what fits
//! ```
//!
//! `header'` is the header of later fragments: options without the *copied* flag become no-operations, so
//! that all headers have one length, as the kernel does it (`ip_options_fragment`). A fragment
//! can be fragmented again: offsets add up, and its last piece keeps its own "more".
//!
//! [`fragments`] plans and [`write_fragment`] copies, so that the caller can first see how many frames it
//! takes and send all or none.

use crate::wire::ipv4::{HEADER_BYTES_MIN, MTU_BYTES_MIN, option};
use crate::wire::{Ipv4, Malformed, NoRoom};

/// One fragment of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where its data starts in the payload of the packet at hand, in bytes.
    pub offset: u16,
    /// Bytes of its data.
    pub len: u16,
    /// Whether its "more fragments" is set.
    pub more: bool,
}

/// Why a packet is not fragmented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFragmented {
    /// It cannot be read.
    #[error("the packet cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// Its sender forbids it: it is owed an ICMP "fragmentation needed".
    #[error("\"don't fragment\" is set")]
    DontFragment,
    /// It fits as it is.
    #[error("{len} bytes fit the MTU as they are")]
    Fits {
        /// Its total length.
        len: u16,
    },
    /// No IPv4 link has such an MTU (RFC 791: 68 bytes at least).
    #[error("an MTU of {mtu} bytes is below IPv4's minimum of 68")]
    Mtu {
        /// The MTU given.
        mtu: u16,
    },
    /// It is a fragment that would end behind the largest packet there can be (as in a "ping of
    /// death").
    #[error("a fragment that ends at byte {end}, behind 65,535")]
    BehindTheEnd {
        /// Header and data up to its end in the reassembled packet, in bytes.
        end: usize,
    },
    /// The fragment is not one of this packet's.
    #[error("the fragment is not one of this packet")]
    NotOfThisPacket,
    /// The caller's buffer is too small.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// The fragments of a packet in order; see [`fragments`].
#[derive(Debug, Clone)]
pub struct Fragments {
    next: u16,
    end: u16,
    /// What a link takes beside the header.
    payload_max: u16,
    /// The original's "more fragments".
    more: bool,
}

impl Iterator for Fragments {
    type Item = Fragment;

    fn next(&mut self) -> Option<Fragment> {
        let offset = self.next;
        let left = self.end - offset;
        if left == 0 {
            return None;
        }
        // Only the last one may have a length that is no multiple of 8.
        let len = if left > self.payload_max { self.payload_max & !7 } else { left };
        self.next += len;
        Some(Fragment { offset, len, more: self.next < self.end || self.more })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (left, max) = (self.end - self.next, self.payload_max);
        let full = usize::from(left.saturating_sub(max).div_ceil(max & !7));
        let count = full + usize::from(left > 0);
        (count, Some(count))
    }
}

impl ExactSizeIterator for Fragments {}

/// Plans the fragments of the packet at the start of `packet` (its IPv4 header) for a link that takes `mtu`
/// bytes. Two at least.
///
/// # Errors
/// [`NotFragmented`] when there is no need, or no way.
pub fn fragments(packet: &[u8], mtu: u16) -> Result<Fragments, NotFragmented> {
    let ip = Ipv4::new_checked(packet)?;
    if mtu < MTU_BYTES_MIN {
        return Err(NotFragmented::Mtu { mtu });
    }
    if ip.total_len() <= mtu {
        return Err(NotFragmented::Fits { len: ip.total_len() });
    }
    if ip.dont_fragment() {
        return Err(NotFragmented::DontFragment);
    }
    let end = usize::from(ip.fragment_offset()) + usize::from(ip.total_len());
    let header_len = ip.header_len_u16();
    if end > usize::from(u16::MAX) {
        return Err(NotFragmented::BehindTheEnd { end });
    }
    Ok(Fragments {
        next: 0,
        end: ip.total_len() - header_len,
        payload_max: mtu - header_len,
        more: ip.more_fragments(),
    })
}

/// Writes one fragment of `packet` at the start of `out`, and returns its length.
///
/// # Errors
/// [`NotFragmented::NotOfThisPacket`] when `fragment` does not come from [`fragments`] of this packet;
/// `NoRoom`; `Malformed`. `out` is unchanged then.
pub fn write_fragment(
    packet: &[u8],
    fragment: &Fragment,
    out: &mut [u8],
) -> Result<usize, NotFragmented> {
    let ip = Ipv4::new_checked(packet)?;
    let start = usize::from(fragment.offset);
    let data = ip.payload().get(start..start + usize::from(fragment.len));
    let offset = ip.fragment_offset().checked_add(fragment.offset);
    let (Some(data), Some(offset)) = (data, offset.filter(|offset| offset % 8 == 0)) else {
        return Err(NotFragmented::NotOfThisPacket);
    };
    let header_len = ip.header_len();
    // Not above the total length of `packet`.
    let len = ip.header_len_u16() + fragment.len;
    let (need, have) = (usize::from(len), out.len());
    let out = out.get_mut(..need).ok_or(NoRoom { need, have })?;
    let (header, rest) = out.split_at_mut(header_len);
    header.copy_from_slice(ip.header());
    rest.copy_from_slice(data);
    // In a later fragment the options are already what its fragmenter left.
    if fragment.offset > 0 && ip.fragment_offset() == 0 {
        clear_options(&ip, header);
    }
    header[2..4].copy_from_slice(&len.to_be_bytes()); // the total length, before the view looks at it
    let mut piece = Ipv4::new_checked(out)?;
    piece.set_fragment(offset, fragment.more);
    piece.fill_checksum();
    Ok(need)
}

/// Makes no-operations of the options that only the first fragment has. Stops at a broken one, as the
/// kernel does.
fn clear_options(ip: &Ipv4<&[u8]>, header: &mut [u8]) {
    for option in ip.options().map_while(Result::ok).filter(|option| !option.is_copied()) {
        header[option.at..option.at + option.wire_len()].fill(option::NO_OPERATION);
    }
}

const _: () = assert!(HEADER_BYTES_MIN + 40 + 8 == MTU_BYTES_MIN as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::IpProtocol;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    /// A packet with options (padded to 4 bytes with end-of-list) and a payload of counting bytes.
    fn packet(options: &[u8], payload_len: usize) -> Vec<u8> {
        let header_len = 20 + options.len().next_multiple_of(4);
        let mut bytes = vec![0; header_len + payload_len];
        bytes[0] = 0x40 | u8::try_from(header_len / 4).unwrap();
        let total = u16::try_from(bytes.len()).unwrap();
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        bytes[4..6].copy_from_slice(&[0xab, 0xcd]);
        bytes[8] = 64;
        bytes[9] = IpProtocol::UDP.0;
        bytes[12..16].copy_from_slice(&Ipv4Addr::new(10, 0, 0, 2).octets());
        bytes[16..20].copy_from_slice(&Ipv4Addr::new(192, 168, 0, 2).octets());
        bytes[20..20 + options.len()].copy_from_slice(options);
        for (byte, count) in bytes[header_len..].iter_mut().zip((0..=255).cycle()) {
            *byte = count;
        }
        Ipv4::new_checked(&mut bytes[..]).unwrap().fill_checksum();
        bytes
    }

    fn pieces(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
        let plan = fragments(packet, mtu).unwrap();
        let announced = plan.len();
        let pieces: Vec<Vec<u8>> = plan
            .map(|fragment| {
                let mut out = vec![0xee; usize::from(mtu)];
                let len = write_fragment(packet, &fragment, &mut out).unwrap();
                assert!(out[len..].iter().all(|byte| *byte == 0xee), "nothing behind its end");
                out.truncate(len);
                out
            })
            .collect();
        assert_eq!(announced, pieces.len());
        pieces
    }

    /// A naive receiver: data by offset, and the end once a piece without "more" came.
    fn reassemble(pieces: &[Vec<u8>]) -> Option<Vec<u8>> {
        let mut parts = BTreeMap::new();
        let mut end = None;
        for piece in pieces {
            let ip = Ipv4::new_checked(piece).unwrap();
            let offset = usize::from(ip.fragment_offset());
            if !ip.more_fragments() {
                end = Some(offset + ip.payload().len());
            }
            parts.insert(offset, ip.payload().to_vec());
        }
        let mut data = Vec::new();
        for (offset, part) in parts {
            if offset != data.len() {
                return None;
            }
            data.extend(part);
        }
        (Some(data.len()) == end).then_some(data)
    }

    fn plan(packet: &[u8], mtu: u16) -> Result<Vec<(u16, u16, bool)>, NotFragmented> {
        fragments(packet, mtu).map(|plan| plan.map(|f| (f.offset, f.len, f.more)).collect())
    }

    #[test]
    fn lengths_are_multiples_of_eight_but_the_last() {
        assert_eq!(
            plan(&packet(&[], 3000), 1500),
            Ok(vec![(0, 1480, true), (1480, 1480, true), (2960, 40, false)])
        );
        // 1007 bytes of link leave 987 for data, 984 in multiples of 8; the last one may have all 987.
        assert_eq!(
            plan(&packet(&[], 984 + 987), 1007),
            Ok(vec![(0, 984, true), (984, 987, false)])
        );
        assert_eq!(plan(&packet(&[], 988), 1007), Ok(vec![(0, 984, true), (984, 4, false)]));
    }

    #[test]
    fn what_needs_no_fragments_or_forbids_them_is_refused() {
        let mut bytes = packet(&[], 100);
        assert_eq!(plan(&bytes, 120), Err(NotFragmented::Fits { len: 120 }));
        assert_eq!(plan(&bytes, 67), Err(NotFragmented::Mtu { mtu: 67 }));
        let short = Malformed::TotalLength { declared: 120, min: 20, have: 119 };
        assert_eq!(plan(&bytes[..119], 100), Err(NotFragmented::Malformed(short)));
        bytes[6] = 0x40;
        assert_eq!(plan(&bytes, 119), Err(NotFragmented::DontFragment));
        bytes[6..8].copy_from_slice(&[0x1f, 0xff]);
        assert_eq!(plan(&bytes, 119), Err(NotFragmented::BehindTheEnd { end: 65_528 + 120 }));
    }

    #[test]
    fn only_copied_options_go_into_later_fragments() {
        // Record route (first only), router alert (copied), timestamp (first only).
        let options = [7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0, 68, 8, 5, 0, 0, 0, 0, 0];
        let all = pieces(&packet(&options, 300), 200);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0][20..39], options);
        let later = [1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1];
        assert_eq!(all[1][20..39], later);
    }

    #[test]
    fn a_fragment_of_another_packet_is_refused() {
        let bytes = packet(&[], 100);
        let mut out = [0xee; 200];
        for (offset, len) in [(0, 101), (96, 5), (104, 0), (65_528, 8), (4, 8)] {
            let fragment = Fragment { offset, len, more: true };
            let refused = write_fragment(&bytes, &fragment, &mut out);
            assert_eq!(refused, Err(NotFragmented::NotOfThisPacket), "{fragment:?}");
        }
        let fragment = Fragment { offset: 8, len: 16, more: true };
        let refused = write_fragment(&bytes, &fragment, &mut out[..35]);
        assert_eq!(refused, Err(NotFragmented::NoRoom(NoRoom { need: 36, have: 35 })));
        assert_eq!(out, [0xee; 200]);
    }

    #[test]
    fn options_of_a_later_fragment_are_not_touched() {
        let mut bytes = packet(&[7, 3, 4, 0], 300);
        Ipv4::new_checked(&mut bytes[..]).unwrap().set_fragment(8, true);
        for piece in pieces(&bytes, 200) {
            assert_eq!(piece[20..24], [7, 3, 4, 0]);
        }
    }

    proptest! {
        #[test]
        fn fragments_reassemble_to_the_original(
            options in prop::sample::select(vec![0usize, 4, 20, 40]),
            payload_len in 1usize..6000, mtu in 68u16..2000
        ) {
            let options = vec![1; options];
            let bytes = packet(&options, payload_len);
            if bytes.len() <= usize::from(mtu) {
                prop_assert!(fragments(&bytes, mtu).is_err());
                return Ok(());
            }
            let all = pieces(&bytes, mtu);
            for piece in &all {
                let ip = Ipv4::new_checked(piece).unwrap();
                prop_assert!(piece.len() <= usize::from(mtu) && ip.checksum_ok());
                prop_assert_eq!(ip.identification(), 0xabcd);
                prop_assert_eq!(&piece[12..ip.header_len()], &bytes[12..ip.header_len()]);
            }
            let data = reassemble(&all);
            prop_assert_eq!(data.as_deref(), Some(&bytes[20 + options.len()..]));
        }

        #[test]
        fn fragments_can_be_fragmented_again(
            payload_len in 1000usize..6000, first in 500u16..1000, second in 68u16..500
        ) {
            let bytes = packet(&[148, 4, 0, 0], payload_len);
            let mut all = Vec::new();
            for piece in pieces(&bytes, first) {
                if piece.len() > usize::from(second) {
                    all.extend(pieces(&piece, second));
                } else {
                    all.push(piece);
                }
            }
            let data = reassemble(&all);
            prop_assert_eq!(data.as_deref(), Some(&bytes[24..]));
        }

        #[test]
        fn any_bytes_are_fragmented_or_refused(
            mut bytes in prop::collection::vec(any::<u8>(), 0..400), readable: bool, mtu in 0u16..300,
            offset: u16, len: u16
        ) {
            if readable && bytes.len() >= 60 {
                let total = u16::try_from(bytes.len()).unwrap();
                bytes[0] = 0x45 + bytes[0] % 11;
                bytes[2..4].copy_from_slice(&total.to_be_bytes());
                bytes[6] &= 0x3f;
            }
            let mut out = [0; 300];
            let _ = write_fragment(&bytes, &Fragment { offset, len, more: false }, &mut out);
            if let Ok(plan) = fragments(&bytes, mtu) {
                prop_assert!(plan.len() >= 2);
                for fragment in plan {
                    let written = write_fragment(&bytes, &fragment, &mut out);
                    prop_assert!(written.is_ok_and(|len| len <= usize::from(mtu)));
                }
            }
        }
    }
}
