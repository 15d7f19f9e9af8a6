//! `Counts`: what the packets of each flow have come to (`nf_conntrack_acct`, `net/netfilter/nf_conntrack_core.c`).
//!
//! 32 bytes for each place in an array of their own, which is made with the table and only if that is wanted
//! ([`super::ConntrackConfig::acct`]). As in the kernel a packet counts, before the rules see it, if it prolongs its
//! flow's life or ends it (`nf_ct_refresh_acct`, `nf_ct_kill_acct`): so neither what is INVALID or RELATED counts, nor
//! what TCP lets pass without looking at it. Bytes are those of the IP packet, or of the datagram that came in pieces.

use super::Direction;

/// Packets of one direction, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowCount {
    /// How many.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// Both directions of a flow, in one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(32))]
pub(super) struct Counts(pub(super) [FlowCount; 2]);

impl Counts {
    /// For so many places.
    pub(super) fn table(count: usize) -> Box<[Self]> {
        let mut counts = vec![Self([FlowCount { packets: 1, bytes: 1 }; 2]); count];
        // Written to, so that no page is first touched by a packet; and not as zeros, which need not be written.
        std::hint::black_box(&mut counts).fill(Self::default());
        counts.into()
    }

    /// Counts a packet of the flow in a place, if anything is counted.
    #[inline]
    pub(super) fn add_to(counts: &mut [Self], flow: u32, direction: Direction, bytes: u32) {
        if let Some(counts) = counts.get_mut(flow as usize) {
            counts.add(direction, bytes);
        }
    }

    /// Sums go round: in 64 bits nobody will see it.
    #[inline]
    pub(super) fn add(&mut self, direction: Direction, bytes: u32) {
        let FlowCount { packets, bytes: sum } = &mut self.0[direction as usize];
        *packets = packets.wrapping_add(1);
        *sum = sum.wrapping_add(bytes.into());
    }
}
