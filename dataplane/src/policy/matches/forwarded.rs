//! A packet's bytes as the rules see them.
//!
//! The kernel takes one hop off the time to live before it asks chain FORWARD (`ip_forward`,
//! `net/ipv4/ip_forward.c`; `ip6_forward`, `net/ipv6/ip6_output.c`), and mends IPv4's checksum; Weir does it when the
//! packet leaves. Matches that read raw bytes
//! must read what the kernel's would, so the two fields are corrected here, in a copy of a few bytes.

use crate::policy::Hook;
use crate::wire::checksum;

/// Bytes of an IPv4 header up to the last that differs: time to live (8) and checksum (10, 11). Of IPv6 it is the hop
/// limit (7).
pub(super) const HEAD_BYTES: usize = 12;

/// The first bytes of a packet that came in as `packet`; zeros if it is no packet. Only in chain FORWARD they
/// are others.
pub(super) fn head(packet: &[u8], hook: Hook) -> [u8; HEAD_BYTES] {
    let Some(mut head) = packet.first_chunk().copied() else { return [0; HEAD_BYTES] };
    if hook != Hook::Forward {
        return head;
    }
    if head[0] >> 4 == 6 {
        head[7] = head[7].saturating_sub(1);
        return head;
    }
    let hop = u16::from_be_bytes([head[8], head[9]]);
    head[8] = head[8].saturating_sub(1);
    let next_hop = u16::from_be_bytes([head[8], head[9]]);
    let old = u16::from_be_bytes([head[10], head[11]]);
    [head[10], head[11]] = checksum::replace_u16(old, hop, next_hop).to_be_bytes();
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ip_decrease_ttl` of the kernel adds 0x0100 with the carry round the end, and makes 0 of 0xffff.
    #[test]
    fn every_checksum_becomes_what_the_kernel_makes_of_it() {
        // 0xffff is the checksum of no header: it would be one of zeros only.
        for old in 0..u16::MAX {
            let mut packet = [0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0];
            packet[10..].copy_from_slice(&old.to_be_bytes());
            let sum = u32::from(old) + 0x0100;
            let new = u16::try_from((sum + u32::from(sum >= 0xffff)) & 0xffff).expect("16 bits");
            let expected = [&packet[..8], &[63, 17], &new.to_be_bytes()].concat();
            assert_eq!(head(&packet, Hook::Forward)[..], expected, "{old:#06x}");
            assert_eq!(head(&packet, Hook::Input), packet);
            assert_eq!(head(&packet, Hook::Output), packet);
        }
        assert_eq!(head(&[0; 11], Hook::Forward), [0; HEAD_BYTES]);
        let six = [0x60, 0, 0, 0, 0, 20, 6, 64, 0x20, 1, 0xd, 0xb8];
        assert_eq!(head(&six, Hook::Forward)[..], [&six[..7], &[63], &six[8..]].concat());
        assert_eq!(head(&six, Hook::Input), six);
    }
}
